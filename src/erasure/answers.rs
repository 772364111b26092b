//! What a forgetting is asked with, and what it and a reopening answer.

use serde::Serialize;

use super::{Bystander, ErasureError, ErasureRecord, Kept, NotReached, journal::Journal};
use crate::{
    event::{ErasureId, Generation, Subject, Timestamp},
    vault::{Backup, Vault, VaultError},
};

/// Options of a forgetting.
///
/// ```
/// use oubliette::{erasure::ForgetOptions, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// let options = ForgetOptions { look_everywhere: true, ..ForgetOptions::default() };
/// let erased = store.forget_with(&Subject::of(&user), "request 2026-117", options, |_| {}).await?;
/// assert_eq!(erased.passed_over, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ForgetOptions {
    /// Forget also where events about the subject were never sealed, and stay readable.
    pub despite_unsealed: bool,
    /// Forget also where events in the subject's streams are sealed under keys that this vault does not
    /// have, and stay readable to anyone who has them.
    pub despite_unknown_keys: bool,
    /// Forget also where a newer program wrote events in the streams that lose keys: whether forgetting
    /// reaches those, only that program can say.
    pub despite_newer: bool,
    /// Look at every event of the streams that lose keys, as [`Oubliette::plan`](crate::Oubliette::plan) does. Otherwise a stream whose
    /// first event is sealed, and whose last one no newer program wrote, is passed over, and counted
    /// ([`Erased::passed_over`]): what is not met there is neither refused nor counted.
    pub look_everywhere: bool,
}

/// What an erasure did.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// let erased = store.forget(&Subject::of(&user), "request 2026-117").await?;
/// println!("{}: {} keys destroyed, {} tombstones", erased.erasure, erased.keys, erased.streams);
/// for backup in &erased.backups {
///     println!("not out of reach before {}: backup {}", backup.expires, backup.backup);
/// }
/// // Asked again, it is the same erasure.
/// assert!(store.forget(&Subject::of(&user), "request 2026-117").await?.already);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Erased {
    /// The subject who asked to be forgotten.
    pub subject: Subject,
    /// The erasure's id.
    pub erasure: ErasureId,
    /// When it was decided.
    pub at: Timestamp,
    /// Whether an earlier call had done it, and this one changed nothing.
    pub already: bool,
    /// How many keys it destroyed.
    pub keys: u64,
    /// How many subjects lost keys.
    pub subjects: u64,
    /// How many streams got a tombstone.
    pub streams: u64,
    /// How many events about those who are forgotten were never sealed, and stay readable.
    pub unsealed: u64,
    /// How many events in their streams are sealed under keys that this vault does not have, and stay
    /// readable to anyone who has those.
    pub unknown_keys: u64,
    /// For how many events nothing can vouch any more: see [`Plan::unvouched`](super::Plan::unvouched). It is not looked for again where it
    /// had been done already.
    pub unvouched: u64,
    /// How many events a newer program wrote in the streams that lost keys: whether it reached them, only that
    /// one can say. Where it had been done already, they are among [`Self::unknown_keys`].
    pub newer: u64,
    /// How many streams were not looked into for any of these, because their first event is sealed.
    pub passed_over: u64,
    /// What stays of others in the own streams of those who are forgotten, as far as these were
    /// looked into. `None`, and `null` in JSON, where it had been done already: of that no more is known than its
    /// record counts.
    #[serde(rename = "foreign")]
    pub bystanders: Option<Vec<Bystander>>,
    /// Dependents that stay, and who keeps them. `None` where it had been done already, likewise.
    pub kept: Option<Vec<Kept>>,
    /// Dependents that it may have had to reach, and did not: it is not known whose they are. Where it
    /// had been done already, those of whom it is still not known.
    pub not_reached: Vec<NotReached>,
    /// Whether events may state owners of whom the vault does not know, so that it may have missed
    /// somebody: see [`Plan::owners_unknown`](super::Plan::owners_unknown).
    pub owners_unknown: bool,
    /// Whether events about them may be in clear where nobody could look: see [`Plan::clear_unknown`](super::Plan::clear_unknown). It is
    /// not looked for again where it had been done already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub clear_unknown: bool,
    /// Whether the event store has taken its announcement, so that a vault that is rolled back to
    /// before it is found out.
    pub announced: bool,
    /// The vault's epoch since. Noted elsewhere, it finds a rollback out where the event store
    /// cannot.
    pub epoch: u64,
    /// The backups of the vault from which the keys can still be had, until somebody says that they are
    /// destroyed; also those whose day has passed.
    pub backups: Vec<Backup>,
}

/// What a reopening did.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// # store.forget(&Subject::of(&user), "request 2026-117").await?;
/// let reopened = store.reopen(&Subject::of(&user)).await?;
/// assert!(reopened.generation.is_some()); // new events have new keys; the old stay shredded
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reopened {
    /// The subject who is admitted again.
    pub subject: Subject,
    /// The generation of their new keys; `None`: they were not forgotten, and nothing changed.
    pub generation: Option<Generation>,
    /// Where their own stream depends on others: the types of events by which it gets an owner. Until
    /// one of these is appended, nothing is sealed for it.
    pub owner_events: Vec<String>,
}

/// How far an erasure has come, for a progress bar.
///
/// ```
/// use oubliette::{erasure::{ForgetOptions, Progress}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// let progress = |progress| match progress {
///     Progress::Destroyed { tombstones } => println!("forgotten; {tombstones} tombstones to write"),
///     Progress::Tombstones(written) => println!("{written} written"),
///     _ => {}
/// };
/// let options = ForgetOptions::default();
/// store.forget_with(&Subject::of(&user), "request 2026-117", options, progress).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The keys are destroyed; so many tombstones are to be written.
    Destroyed {
        /// How many tombstones are to be written.
        tombstones: usize,
    },
    /// So many tombstones are written.
    Tombstones(usize),
}

impl Erased {
    /// What an erasure did that is done just now.
    pub(super) fn done(
        vault: &Vault,
        journal: &Journal,
        record: &ErasureRecord,
    ) -> Result<Self, VaultError> {
        let (erasure, plan) = (journal.erasure, &journal.plan);
        Ok(Self {
            subject: plan.subject.clone(),
            erasure,
            at: erasure.at(),
            already: false,
            keys: plan.keys(),
            subjects: plan.subjects.len() as u64,
            streams: plan.streams.len() as u64,
            unsealed: plan.unsealed_events(),
            unknown_keys: plan.unknown_key_events(),
            unvouched: plan.unvouched.iter().map(|untouched| untouched.events).sum(),
            newer: plan.newer_events(),
            passed_over: plan.passed_over,
            bystanders: Some(plan.bystanders.clone()),
            kept: Some(plan.kept.clone()),
            not_reached: plan.not_reached.clone(),
            owners_unknown: plan.owners_unknown,
            clear_unknown: plan.clear_unknown,
            announced: record.announced,
            epoch: vault.epoch()?,
            backups: vault.backups_before(record.epoch)?,
        })
    }

    /// What an erasure did that had been done already, as far as its record says.
    pub(super) fn already(
        vault: &Vault,
        subject: &Subject,
        erasure: ErasureId,
    ) -> Result<Self, ErasureError> {
        let record = ErasureRecord::find(vault, erasure)?;
        let count = |of: fn(&ErasureRecord) -> u64| record.as_ref().map_or(0, of);
        Ok(Self {
            subject: subject.clone(),
            erasure,
            at: erasure.at(),
            already: true,
            keys: count(|record| record.keys),
            subjects: count(|record| record.subjects),
            streams: count(|record| record.streams),
            unsealed: count(|record| record.unsealed),
            unknown_keys: count(|record| record.unknown_keys),
            unvouched: 0,
            newer: 0,
            passed_over: count(|record| record.passed_over),
            bystanders: None,
            kept: None,
            not_reached: vec![],
            owners_unknown: false,
            clear_unknown: false,
            backups: vault.backups_before(record.as_ref().and_then(|record| record.epoch))?,
            announced: record.is_some_and(|record| record.announced),
            epoch: vault.epoch()?,
        })
    }
}
