//! Whether a vault is whole and agrees with itself, and its events with it.
//!
//! Call [`Oubliette::verify`]; it returns a [`VerifyReport`], and tells each [`Finding`] of a [`Defect`] as it is found.
//!
//! It looks at the vault first: every page from the root down, every record, and what they say of each
//! other. Then it reads the events once, as they are stored: the state of each token's key, what was
//! tampered with, which tombstones are there. Damage is told and passed over; only a store or a
//! vault that fails as a whole ends it.
//!
//! Memory: 16 bytes for each page of the vault and each erasure, 8 for each tombstone, and up to 35 for each of
//! [`VerifyOptions::keys_at_once`]. Where there are more keys than that, the events are read once
//! more for each further lot. Where another restoration set tombstones, some 150 bytes for each of these that is read
//! before the vault's own, at most eight of one erasure in one stream.

mod announcements;
mod events;
mod kind;
mod lots;
mod owned;
mod state;
mod tag;
mod tombstones;
mod used;
mod vault;

use std::collections::BTreeMap;

use serde::Serialize;

pub use kind::Defect;
pub(super) use owned::other_subject;

use super::{AuditError, Finding, Severity};
use crate::{event::Timestamp, layer::Oubliette, store::EventStore};

/// How to verify.
///
/// ```
/// use oubliette::{audit::verify::VerifyOptions, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let options = VerifyOptions { repair: true, ..VerifyOptions::default() };
/// let report = store.verify(options, |_| {}).await?;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct VerifyOptions {
    /// Remove the vault's orphan pages. Nothing else is ever changed.
    pub repair: bool,
    /// How many key ids and owner edges are held in memory, of 19 and 35 bytes, to see which of them
    /// no event uses or states.
    pub keys_at_once: usize,
}

impl Default for VerifyOptions {
    /// Repairs nothing; four million at once take 140 MiB at most.
    fn default() -> Self {
        Self { repair: false, keys_at_once: 1 << 22 }
    }
}

/// What is told while it goes on.
///
/// [`Finding`] has an example.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyProgress {
    /// A finding, as soon as it is made.
    Found(Finding<Defect>),
    /// The part of the vault that has been walked over, from 0 to 1.
    Vault(f64),
    /// So many events have been read, in this pass over them.
    Events {
        /// How many events were read so far.
        read: u64,
        /// Which pass, from 1.
        pass: u64,
    },
}

/// What was looked at, and what was found, in numbers.
///
/// ```
/// use oubliette::{audit::verify::{VerifyOptions, VerifyProgress}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let tell = |progress| {
///     if let VerifyProgress::Found(finding) = progress {
///         println!("{}: {}", finding.what, finding.remedy);
///     }
/// };
/// let report = store.verify(VerifyOptions::default(), tell).await?;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// What was counted in the vault.
    pub vault: VaultTotals,
    /// What was counted in the event store.
    pub events: EventTotals,
    /// How many findings there were of each kind.
    pub found: BTreeMap<Defect, u64>,
}

/// A vault in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct VaultTotals {
    /// How many roots there were.
    pub epoch: u64,
    /// Pages that are as they should be.
    pub pages: u64,
    /// Pages that are not.
    pub damaged_pages: u64,
    /// Pages that nothing leads to; `None`: not looked for, because pages are damaged, and what
    /// is beneath those looks the same.
    pub orphan_pages: Option<u64>,
    /// How many keys live.
    pub keys: u64,
    /// Of these, such as no event uses; `None`: not looked for.
    pub unused_keys: Option<u64>,
    /// Keys of streams that should lead to a person and lead to none.
    pub ownerless: u64,
    /// Owners that subjects name.
    pub owners: u64,
    /// Fences: subjects that are forgotten, wholly or in part.
    pub fences: u64,
    /// How many erasures have a record.
    pub erasures: u64,
    /// What could not be compared, because the other side is beneath a damaged page.
    pub unchecked: u64,
}

/// The events in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct EventTotals {
    /// Events; a split one counts once.
    pub events: u64,
    /// Sealed parts that open.
    pub open: u64,
    /// Sealed parts whose key is destroyed.
    pub shredded: u64,
    /// Parts of copies that were missing when the event was copied.
    pub holes: u64,
    /// Sealed parts of whose key nothing is known.
    pub unknown: u64,
    /// Sealed parts whose key is beneath a damaged page of the vault.
    pub lost: u64,
    /// Events in clear of which nothing shows that this vault wrote them.
    pub unsealed: u64,
    /// Events that a newer program wrote.
    pub newer: u64,
    /// Events that another vault wrote, as far as can be told; in clear, they are unsealed as well.
    pub other_vaults: u64,
    /// How many tombstones this vault signed.
    pub tombstones: u64,
}

impl VerifyReport {
    /// How many findings there were of a severity.
    pub fn count(&self, severity: Severity) -> u64 {
        let of = self.found.iter().filter(|(kind, _)| kind.severity() == severity);
        of.map(|(_, count)| count).sum()
    }

    /// Whether there is nothing that somebody should see to: notices do not count.
    pub fn is_clean(&self) -> bool {
        self.found.keys().all(|kind| kind.severity() == Severity::Notice)
    }
}

impl<S: EventStore> Oubliette<S> {
    /// Verifies vault and events, and reports each finding as it is made.
    ///
    /// Appends go on meanwhile, but while the vault's pages are walked over (the first part)
    /// what writes to the vault waits: new keys, and forgetting.
    ///
    /// # Errors
    /// [`AuditError::NoVault`]; errors of a vault or a store that fails as a whole. What is
    /// damaged is reported, not returned as an error.
    pub async fn verify(
        &self,
        options: VerifyOptions,
        mut tell: impl FnMut(VerifyProgress) + Send,
    ) -> Result<VerifyReport, AuditError> {
        let vault = self.vault().ok_or(AuditError::NoVault)?;
        let began = Timestamp::now();
        let mut report = VerifyReport::default();
        let books = vault::verify(vault, options.repair, &mut report, &mut tell).await?;
        events::verify(self, vault, &books, began, options, &mut report, &mut tell).await?;
        Ok(report)
    }
}

impl VerifyReport {
    fn found(&mut self, finding: Finding<Defect>, tell: &mut (impl FnMut(VerifyProgress) + Send)) {
        *self.found.entry(finding.kind).or_default() += 1;
        tell(VerifyProgress::Found(finding));
    }
}
