//! Setting the tombstones of an erasure.
//!
//! What is in the store must not show whose forgetting reached which stream: see
//! `docs/decisions/0020-tombstones-that-join-nothing.md`. And no one may keep a tombstone out: ids
//! cannot be foreseen, and what is "there already" is looked at.

use super::{AffectedStream, ErasureError, PendingError, Progress, journal::Journal};
use crate::{
    event::{
        ErasureId, ErasureRef, EventId, EventType, Json, KeyId, NewEvent, SUBJECT_FORGOTTEN,
        StreamName, Subject,
    },
    layer::{Layer, tombstone},
    store::{Append, Appended, Capability, EventStore, ExpectedRevision, StoreError},
    vault::{Vault, VaultError},
};

/// How many streams get their tombstones in one append, where the store can do that.
const TOMBSTONES_PER_APPEND: usize = 256;

/// How many ids of one tombstone may be other events' before something else is the matter than
/// chance.
const MOST_IDS: u32 = 8;

/// How many tombstones are set in one append.
pub(super) fn at_once<S: EventStore>(layer: &Layer<S>) -> usize {
    let atomic = layer.store.capabilities().has(Capability::AtomicMultiStream);
    if atomic { TOMBSTONES_PER_APPEND } else { 1 }
}

pub(super) async fn set_tombstones<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &mut Journal,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), ErasureError> {
    // Neither the depth nor the name of a stream is to be read off their order.
    let mut due: Vec<(ErasureRef, AffectedStream)> = journal
        .plan
        .streams
        .iter()
        .map(|affected| (vault.reference(journal.erasure, &affected.stream), affected.clone()))
        .collect();
    due.sort_unstable_by_key(|(reference, _)| *reference);
    let mut written = 0;
    let erasure = journal.erasure;
    for group in due.chunks(at_once(layer)) {
        let set = set_group(layer, vault, journal, group).await;
        set.map_err(|untold| untold.or(|source| PendingError::Tombstones { erasure, source }))?;
        written += group.len();
        progress(Progress::Tombstones(written));
    }
    Ok(())
}

async fn set_group<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &mut Journal,
    group: &[(ErasureRef, AffectedStream)],
) -> Result<(), Untold> {
    let mut appends = Vec::with_capacity(group.len());
    for (_, affected) in group {
        appends.push(append(layer, vault, journal, affected).await?);
    }
    let doubtful: Vec<&AffectedStream> = match layer.answer(layer.store.append(appends)).await {
        Ok(appended) => {
            let there = group.iter().zip(appended).filter(|(_, appended)| appended.already);
            there.map(|((_, affected), _)| affected).collect()
        }
        // Some of them are there: an earlier attempt made other groups of them, or somebody's
        // event has the id of one.
        Err(StoreError::IdInUse { .. }) => group.iter().map(|(_, affected)| affected).collect(),
        Err(error) => return Err(error.into()),
    };
    for affected in doubtful {
        set_one(layer, vault, journal, affected).await?;
    }
    Ok(())
}

/// Sets one tombstone, and looks at what has its id already.
async fn set_one<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &mut Journal,
    affected: &AffectedStream,
) -> Result<(), Untold> {
    loop {
        let append = append(layer, vault, journal, affected).await?;
        let in_use = match layer.answer(layer.store.append(vec![append])).await {
            Ok(appended) if !appended.iter().any(|Appended { already, .. }| *already) => {
                return Ok(());
            }
            Ok(_) => None,
            Err(error @ StoreError::IdInUse { .. }) => Some(error),
            Err(error) => return Err(error.into()),
        };
        if is_there(layer, vault, journal, &affected.stream).await? {
            return Ok(());
        }
        let id = journal.tombstone(&affected.stream);
        // Neither the erasure, which would join the streams that it reached in a log, too, nor the name of this one:
        // the id leads to it.
        tracing::error!(
            event = %id,
            "another event has the id of a tombstone, which nobody could foresee; the tombstone \
             gets another id: find out who appended that event"
        );
        if journal.tombstone_anew(&affected.stream) > MOST_IDS {
            let in_use =
                in_use.unwrap_or(StoreError::IdInUse { id, stream: affected.stream.clone() });
            return Err(in_use.into());
        }
        // Before it is used: an opening that carries on after a crash must look for this one.
        journal.write(vault).await?;
    }
}

/// Whether the event with the tombstone's id is the tombstone: signed by any key of the history.
/// The bytes may differ, where the key was changed in between.
async fn is_there<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &Journal,
    stream: &StreamName,
) -> Result<bool, Untold> {
    let (id, reference) = (journal.tombstone(stream), vault.reference(journal.erasure, stream));
    let placement = layer.placement(stream).await?;
    let mut found = layer.find_in(&placement.readable(stream), [id].into(), None).await?;
    let Some(mut event) = found.pop() else { return Ok(false) };
    event.stream = stream.clone();
    let judged = tombstone::judge(vault, &event).await?;
    Ok(event.is_tombstone() && judged.is_ok_and(|tombstone| tombstone.reference == reference))
}

async fn append<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &Journal,
    affected: &AffectedStream,
) -> Result<Append, Untold> {
    let stream = &affected.stream;
    let keys = affected.keys.iter().filter_map(|key| key.parse().ok()).collect();
    let id = journal.tombstone(stream);
    appended(layer, vault, id, (journal.erasure, stream), keys, affected.own).await
}

/// Why something is not in the event store that the vault has to say there.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) enum Untold {
    /// The event store did not answer, or did not take it.
    Store(#[from] StoreError),
    /// Anything else.
    Own(#[from] ErasureError),
}

impl Untold {
    /// The error that says what waits for the store.
    pub(super) fn or(self, pending: impl FnOnce(StoreError) -> PendingError) -> ErasureError {
        match self {
            Self::Store(source) => pending(source).into(),
            Self::Own(error) => error,
        }
    }
}

impl From<VaultError> for Untold {
    fn from(error: VaultError) -> Self {
        Self::Own(error.into())
    }
}

/// The append of a signed tombstone. `own`: the stream is that of the one who is forgotten.
pub(super) async fn appended<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    id: EventId,
    (erasure, stream): (ErasureId, &StreamName),
    keys: Vec<KeyId>,
    own: bool,
) -> Result<Append, Untold> {
    let subject = own.then(|| Subject::of(stream));
    let tombstone = tombstone::sign(vault, id, stream, erasure, keys, subject)?;
    let invalid =
        |error: &dyn std::fmt::Display| Untold::Store(StoreError::Invalid(error.to_string()));
    let data = Json::of(&tombstone).map_err(|error| invalid(&error))?;
    let event_type = EventType::new(SUBJECT_FORGOTTEN).map_err(|error| invalid(&error))?;
    let (placement, _) = layer.place(stream).await?;
    let mut event = NewEvent::new(event_type, data).with_id(id);
    event.metadata = placement.note(stream);
    Ok(Append::new(placement.readable(stream), ExpectedRevision::Any, vec![event]))
}
