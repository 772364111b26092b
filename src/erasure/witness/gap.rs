//! Gaps: announcements of the vault's that the event store does not have any more.
//!
//! Each announcement names those that its vault knew and that no other named. One that is named and not there
//! was removed, or was lost with the events. A vault that was put back may not know whom it took, and then they
//! can be read in it. So nothing is served until somebody says by name that it is accepted. Until then the mark
//! stays where it is, so that what comes back is applied.
//!
//! What was accepted stays noted, and `verify` goes on telling of it. Nothing names the newest
//! announcements: where all of these are missing, only a vault that knows them can tell.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    super::{ErasureError, OperatorError, UnclearError},
    mark::Mark,
    reading::Reading,
};
use crate::{
    event::{AnnouncementRef, Digest, EventId, Timestamp},
    policy::personal_data::check_text,
    vault::{MemoKind, Vault, VaultError, memos},
};

/// The id of the memo of the kind `Witness` that holds the [`Gaps`].
const GAPS: [u8; 16] = 1_u128.to_be_bytes();

/// An announcement of the vault's that the event store does not have any more.
///
/// ```
/// use oubliette::{erasure::{accept_gaps, gaps}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::in_memory()?;
/// for gap in gaps(&vault)? {
///     println!("announcement {} is missing since {}", gap.event, gap.found);
/// }
/// // After you looked into it, and if you go on without them, say so by name.
/// let accepted = accept_gaps(&vault, "ops on call").await;
/// assert!(accepted.is_err()); // there is none
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// Its event.
    pub event: EventId,
    /// What it said: another one in its place is not it.
    digest: Digest,
    /// When it was missed for the first time.
    pub found: Timestamp,
    /// Who said that what is personal is to be served nevertheless; `None`: no one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
}

/// Who accepted a [`Gap`], and when: [`accept_gaps`] notes it.
///
/// ```
/// use oubliette::{erasure::gaps, *};
/// # let vault = Vault::in_memory()?;
/// for gap in gaps(&vault)? {
///     if let Some(accepted) = &gap.accepted {
///         println!("{} is missing, accepted by {} at {}", gap.event, accepted.by, accepted.at);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Acceptance {
    /// As they called themselves.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// All that the vault noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Gaps {
    gaps: Vec<Gap>,
}

impl Gap {
    fn announcement(&self) -> AnnouncementRef {
        AnnouncementRef { event: self.event, digest: self.digest }
    }

    fn is_accepted(&self, missing: &AnnouncementRef) -> bool {
        self.announcement() == *missing && self.accepted.is_some()
    }
}

impl Gaps {
    /// A memo that does not have its form is an error, and keeps everything closed.
    fn load(vault: &Vault) -> Result<Self, VaultError> {
        match vault.memo(MemoKind::Witness, GAPS)? {
            None => Ok(Self::default()),
            Some(note) => memos::from_json(MemoKind::Witness, &note),
        }
    }

    async fn save(&self, vault: &Vault) -> Result<(), VaultError> {
        vault.put_memo(MemoKind::Witness, GAPS, &memos::to_json(self)?).await
    }

    /// Those that are not accepted.
    fn open(&self) -> impl Iterator<Item = AnnouncementRef> {
        self.gaps.iter().filter(|gap| gap.accepted.is_none()).map(Gap::announcement)
    }
}

/// The announcements of which a vault knows that its event store had not got them, the earliest found first:
/// those that keep it closed, and those that somebody accepted.
///
/// # Errors
/// Errors of the vault.
pub fn gaps(vault: &Vault) -> Result<Vec<Gap>, VaultError> {
    Ok(Gaps::load(vault)?.gaps)
}

/// Whether somebody may be called so who accepts that announcements are missing: it is kept in the vault.
/// [`accept_gaps`] asks the same; a program may ask before it opens anything.
///
/// # Errors
/// [`OperatorError::UnfitName`].
pub fn check_name(by: &str) -> Result<(), OperatorError> {
    if by.trim().is_empty() || by.len() > LONGEST_NAME || check_text(by).is_err() {
        return Err(OperatorError::UnfitName);
    }
    Ok(())
}

/// Says who accepts that announcements are missing ([`UnclearError::WitnessGap`]): the next layer over the vault
/// opens without them, and who had been forgotten by them and is not forgotten here can be read. First restore the
/// missing events, or [replay](super::replay) a list that was kept elsewhere.
///
/// `by` stays in the vault: a person, a role or a ticket. Returns what it accepted. It is of what was found, and of
/// nothing that is missed later.
///
/// # Errors
/// [`OperatorError::UnfitName`]; [`OperatorError::NoGap`] where nothing waits for it; errors of the vault.
pub async fn accept_gaps(vault: &Vault, by: &str) -> Result<Vec<Gap>, OperatorError> {
    check_name(by)?;
    if vault.is_read_only() {
        // What it misses is not noted, and could not be accepted.
        return Err(VaultError::ReadOnly.into());
    }
    let _one_at_a_time = vault.erase_alone().await;
    let mut noted = Gaps::load(vault)?;
    let (at, mut accepted) = (Timestamp::now(), Vec::new());
    for gap in noted.gaps.iter_mut().filter(|gap| gap.accepted.is_none()) {
        gap.accepted = Some(Acceptance { by: by.to_owned(), at });
        accepted.push(gap.clone());
    }
    if accepted.is_empty() {
        return Err(OperatorError::NoGap);
    }
    noted.save(vault).await?;
    Ok(accepted)
}

/// The longest name of somebody who accepts a gap, in bytes.
const LONGEST_NAME: usize = 200;

/// What is missing of the announcements that should be there: the last ones that the vault knew, those that
/// it missed before, and those that its own word names.
pub(super) struct Missing {
    noted: Gaps,
    announcements: BTreeSet<AnnouncementRef>,
}

impl Missing {
    pub(super) fn of(vault: &Vault, mark: &Mark, read: &Reading) -> Result<Self, VaultError> {
        let noted = Gaps::load(vault)?;
        let tips = mark.tips();
        let expected =
            tips.iter().copied().chain(noted.open()).chain(read.found.named.iter().copied());
        // Where it was, it was looked for.
        let is_known = |named: &AnnouncementRef| {
            mark.tips.iter().any(|tip| tip.announcement() == *named && tip.seen.is_some())
        };
        let is_there = |named: &AnnouncementRef| {
            read.found.there.contains(named) || (!read.is_whole && is_known(named))
        };
        let announcements = expected.filter(|named| !is_there(named)).collect();
        Ok(Self { noted, announcements })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.announcements.is_empty()
    }

    /// Whether all of it is accepted.
    pub(super) fn is_accepted(&self) -> bool {
        let accepted = |missing| self.noted.gaps.iter().any(|gap| gap.is_accepted(missing));
        self.announcements.iter().all(accepted)
    }

    /// Notes it; an error if not all of it is accepted.
    pub(super) async fn judge(self, vault: &Vault, read: &Reading) -> Result<(), ErasureError> {
        let mut noted = self.noted.clone();
        // What came back is missing no more, also where somebody had accepted that.
        noted.gaps.retain(|gap| match gap.accepted {
            None => self.announcements.contains(&gap.announcement()),
            Some(_) => !read.found.there.contains(&gap.announcement()),
        });
        let found = Timestamp::now();
        for missing in self.announcements {
            if noted.gaps.iter().all(|gap| gap.announcement() != missing) {
                let AnnouncementRef { event, digest } = missing;
                noted.gaps.push(Gap { event, digest, found, accepted: None });
            }
        }
        // Where nothing is written, the next one to open it finds the same.
        if noted != self.noted && !vault.is_read_only() {
            noted.save(vault).await?;
        }
        let open: Vec<_> = noted.open().map(|missing| missing.event).collect();
        if open.is_empty() { Ok(()) } else { Err(UnclearError::WitnessGap(open).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layer::Oubliette, policy::Policy, store::MemoryStore};

    /// One that is accepted, and one that is not.
    fn two() -> Gaps {
        let found = Timestamp::from_micros(1_795_910_400_000_000);
        let at = Timestamp::from_micros(1_795_910_400_000_001);
        let accepted = Some(Acceptance { by: "ticket 12".to_owned(), at });
        let digest = Digest([7; 32]);
        let gap = |accepted| Gap { event: EventId::random(), digest, found, accepted };
        Gaps { gaps: vec![gap(accepted), gap(None)] }
    }

    #[test]
    fn no_other_bytes_are_read_for_a_note_of_gaps() {
        let kind = MemoKind::Witness;
        memos::tests::is_strict(kind, &memos::to_json(&two()).unwrap(), &["accepted"], |text| {
            let read: Gaps = memos::from_json(kind, text).ok()?;
            Some(memos::to_json(&read).unwrap())
        });
    }

    /// One that is damaged may have said that something is missing.
    #[tokio::test]
    async fn a_note_of_gaps_that_does_not_have_its_form_keeps_everything_closed() {
        let vault = Vault::in_memory().unwrap();
        two().save(&vault).await.unwrap();
        let note = vault.memo(MemoKind::Witness, GAPS).unwrap().unwrap();
        for cut in [&note[..note.len() - 1], &note[1..], b"{}", b""] {
            vault.put_memo(MemoKind::Witness, GAPS, cut).await.unwrap();
            let policy = Policy::sealed_by_default();
            let opened = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await;
            let closed = opened.map(drop).unwrap_err();
            assert!(matches!(closed, ErasureError::Vault(VaultError::Damaged(_))), "{closed}");
            let refused = accept_gaps(&vault, "ops").await.map(drop).unwrap_err();
            assert!(matches!(refused, OperatorError::Vault(VaultError::Damaged(_))), "{refused}");
            assert_eq!(*vault.memo(MemoKind::Witness, GAPS).unwrap().unwrap(), cut);
        }
    }
}
