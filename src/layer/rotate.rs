//! Rotation: the vault's, and what it takes to settle owner changes that are in its way.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Layer, Oubliette, sealing::SETTLING_ROUNDS};
use crate::{
    TaskError,
    event::{Generation, Subject, Timestamp},
    runtime,
    store::{EventStore, StoreError},
    vault::{InventoryEntry, KeyState, SubjectState, Vault, VaultError},
};

/// How many subjects are rotated at a time: those of one moment share a write and a change of
/// root, and their appends wait for it.
const TOGETHER: usize = 2048;
/// After how many keys a sweep says again how far it is.
const TOLD_EVERY: u64 = 4096;

/// Why keys were not rotated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// Nothing here was ever sealed for this subject.
    #[error("subject {0} is unknown here; check the spelling (the inventory lists the subjects)")]
    UnknownSubject(Subject),
    /// The layer was opened without a vault.
    #[error("opened without a vault: there are no keys to rotate")]
    NoVault,
    /// The vault failed, or the subject is forgotten.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The event store failed while an owner change was to be settled.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that looks for keys did not end by itself. Repeating it goes on with what is left.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl RotateError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of vault and
    /// store, and a [task](TaskError::is_temporary) that was cut off.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Vault(error) => error.is_temporary(),
            Self::Store(error) => error.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::UnknownSubject(_) | Self::NoVault => false,
        }
    }
}

/// What rotating one subject did.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// // What is sealed from now on has a new key. What is there still opens.
/// let rotated = store.rotate(&Subject::of(&user)).await?;
/// assert!(rotated.generation.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rotated {
    /// The subject whose keys were rotated.
    pub subject: Subject,
    /// The generation of what is sealed from now on; `None`: no key of the present one was ever
    /// made, so that nothing had to change.
    pub generation: Option<Generation>,
}

/// What a rotation of all that is old did.
///
/// ```
/// use oubliette::{event::Timestamp, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// // No key older than a year seals any more.
/// let year = Timestamp::from_micros(Timestamp::now().as_micros() - 365 * 86_400_000_000);
/// let swept = store.rotate_older_than(year, |_| {}).await?;
/// assert_eq!((swept.keys, swept.rotated), (1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Swept {
    /// Keys made before this were too old.
    pub before: Timestamp,
    /// How many keys were looked at.
    pub keys: u64,
    /// How many subjects have a new generation.
    pub rotated: u64,
    /// How many were left as they are, because an owner change of theirs was cut off and cannot be
    /// settled now. Repeating it tries them again.
    pub unsettled: u64,
}

/// How far a rotation of all that is old has come.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Sweeping {
    /// Which part of the vault is looked through, from 0 to 1.
    pub part: f64,
    /// How many keys were looked at.
    pub keys: u64,
}

impl<S: EventStore> Oubliette<S> {
    /// New keys for all that is sealed for a subject from now on, in any stream. What is there
    /// opens as before, and forgetting reaches all of it.
    ///
    /// # Errors
    /// [`RotateError::UnknownSubject`]; [`VaultError::Forgotten`]; other errors of vault and store.
    pub async fn rotate(&self, subject: &Subject) -> Result<Rotated, RotateError> {
        let vault = self.vault().ok_or(RotateError::NoVault)?;
        let generation = rotate(&self.layer, vault, subject, None).await?;
        if generation.is_none() && vault.subject_state(subject)? == SubjectState::default() {
            return Err(RotateError::UnknownSubject(subject.clone()));
        }
        Ok(Rotated { subject: subject.clone(), generation })
    }

    /// New keys for every subject with an active key that was made before this instant, or that
    /// says it was made in the future, in constant memory. Where it is cut off, repeating it goes on:
    /// who was rotated has no active key as old as that. `progress` is told how far it is, from another thread.
    ///
    /// An append in flight is waited for, and so is a payload that somebody sealed with a
    /// [`Codec`](super::Codec), until they let go of it or its permit ends.
    ///
    /// # Errors
    /// Errors of vault and store. Who was rotated until then stays so.
    pub async fn rotate_older_than(
        &self,
        before: Timestamp,
        progress: impl Fn(Sweeping) + Send + 'static,
    ) -> Result<Swept, RotateError> {
        let vault = self.vault().ok_or(RotateError::NoVault)?.clone();
        let (found, old) = mpsc::channel(TOGETHER);
        let walking = vault.clone();
        let walk = move || find_old(&walking, before, &found, &progress);
        let walk = runtime::spawn_blocking(walk)?;
        let unsettled = Arc::new(AtomicU64::new(0));
        let old = stream::unfold(old, |mut old| async move { Some((old.recv().await?, old)) });
        let rotated = old
            .map(|(subject, generation)| {
                let (layer, vault, unsettled) = (&self.layer, &vault, &unsettled);
                async move {
                    match rotate(layer, vault, &subject, Some(generation)).await {
                        Ok(generation) => Ok(u64::from(generation.is_some())),
                        // Forgotten meanwhile: there is no key left.
                        Err(RotateError::Vault(VaultError::Forgotten { .. })) => Ok(0),
                        Err(RotateError::Vault(error @ VaultError::Unsettled { .. })) => {
                            tracing::warn!(%error, "not rotated");
                            unsettled.fetch_add(1, Ordering::Relaxed);
                            Ok(0)
                        }
                        Err(error) => Err(error),
                    }
                }
            })
            .buffer_unordered(TOGETHER)
            .try_fold(0, |sum, one| async move { Ok(sum + one) })
            .await?;
        let keys = walk.await??;
        let unsettled = unsettled.load(Ordering::Relaxed);
        Ok(Swept { before, keys, rotated, unsettled })
    }

    /// A new root key. What it gives and does not give: [`Vault::rotate_root`]. Returns the new
    /// epoch.
    ///
    /// # Errors
    /// [`RotateError::NoVault`]; errors of the vault.
    pub async fn rotate_root(&self) -> Result<u64, RotateError> {
        Ok(self.vault().ok_or(RotateError::NoVault)?.rotate_root().await?)
    }
}

/// Walks over all keys, and hands on whose are active and too old, each subject once. Returns how
/// many keys it met.
fn find_old(
    vault: &Vault,
    before: Timestamp,
    found: &mpsc::Sender<(Subject, Generation)>,
    progress: &dyn Fn(Sweeping),
) -> Result<u64, VaultError> {
    let mut keys = 0;
    let mut last = None;
    for entry in vault.inventory() {
        // After the keys come those who have none.
        let InventoryEntry::Key(key) = entry? else { break };
        keys += 1;
        if keys % TOLD_EVERY == 0 {
            progress(Sweeping { part: part(vault.pseudonym(&key.subject)), keys });
        }
        // A key from the future was made while the clock was ahead: it is not known how old it is. The
        // clock is asked again each time, for keys that are made meanwhile.
        let of_unknown_age = || key.created > Timestamp::now();
        let old = key.state == KeyState::Active && (key.created < before || of_unknown_age());
        if !old || last.as_ref() == Some(&key.subject) {
            continue;
        }
        if found.blocking_send((key.subject.clone(), key.generation)).is_err() {
            // No rotation goes on, after an error that is told elsewhere.
            break;
        }
        last = Some(key.subject);
    }
    Ok(keys)
}

/// The walk goes in the order of pseudonyms, which are as good as random.
fn part(pseudonym: [u8; 16]) -> f64 {
    let [a, b, ..] = pseudonym;
    f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX)
}

/// Where the vault first needs to know whether an event of an append that was cut off is in the
/// store: looks, tells it, and asks again.
async fn rotate<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    subject: &Subject,
    past: Option<Generation>,
) -> Result<Option<Generation>, RotateError> {
    let mut rounds = 0;
    loop {
        let answer = match past {
            Some(generation) => vault.rotate_past(subject, generation).await,
            None => vault.rotate(subject).await,
        };
        match answer {
            Err(VaultError::Unsettled { .. }) if rounds < SETTLING_ROUNDS => {
                layer.settle(vault, subject).await?;
                rounds += 1;
            }
            answer => return Ok(answer?),
        }
    }
}
