//! Sealing what a command stores, and finding out what became of it.

use std::collections::HashSet;

use cqrs_es::{
    Aggregate,
    persist::{PersistedEventRepository, PersistenceError, SerializedEvent},
};
use oubliette::{
    event::{EventType, KeyId, StreamName},
    layer::{CodecError, EventRef, Sealed},
    vault::Settled,
};
use serde_json::Value;

use crate::{
    SealError, SealedRepository,
    rows::{Draft, columns, id_of},
    snapshot::{self, Read},
};

/// What is to be stored, and the right to do so.
pub(crate) struct Ready {
    pub(crate) rows: Vec<SerializedEvent>,
    pub(crate) snapshot_update: Option<(String, Value, usize)>,
    pub(crate) permits: Vec<Sealed>,
    /// A snapshot states nothing, so that nobody has to be told what becomes of it; but nobody is forgotten meanwhile.
    pub(crate) _snapshot_permit: Vec<Sealed>,
}

/// What became of rows that the repository did not acknowledge.
pub(crate) enum Fate {
    Stored,
    Refused,
    Unknown,
}

impl<R: PersistedEventRepository> SealedRepository<R> {
    pub(crate) async fn seal<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<Ready, PersistenceError> {
        let mut drafts = Vec::with_capacity(events.len() + 1);
        for event in events {
            drafts.push(Draft::of_event(A::TYPE, event)?);
        }
        let first = events.first().map_or(1, |event| event.sequence);
        let last = events.last().map_or(0, |event| event.sequence);
        let mut update = None;
        if let Some((aggregate_id, aggregate, version)) = snapshot_update {
            let (version, keys) = self.before::<A>(&aggregate_id, first, version).await?;
            if keys.is_some() {
                let draft = Draft::of_snapshot(A::TYPE, &aggregate_id, version, last, aggregate)?;
                drafts.push(draft);
            }
            update = Some((aggregate_id, version, keys));
        }

        let names: Vec<_> = drafts.iter().map(Draft::names).collect();
        let mut permits = self.seal_drafts(drafts, events.len()).await?;
        let snapshot_update = match update {
            None => None,
            Some((aggregate_id, version, keys)) => {
                let keys = keys.map(|before| self.with_keys_of(before, &names, &permits));
                let column = match (permits.get(events.len()), keys.transpose()?) {
                    (Some(sealed), Some(keys)) if keys.len() == 1 => snapshot::column(sealed)?,
                    _ => snapshot::fold(),
                };
                Some((aggregate_id, column, version))
            }
        };
        let _snapshot_permit = permits.split_off(events.len());
        let mut rows = events.to_vec();
        for (row, sealed) in rows.iter_mut().zip(&permits) {
            (row.payload, row.metadata) = columns(sealed)?;
        }
        Ok(Ready { rows, snapshot_update, permits, _snapshot_permit })
    }

    /// In one call, because an event that changes owners waits for all that was sealed before.
    async fn seal_drafts(
        &self,
        drafts: Vec<Draft>,
        events: usize,
    ) -> Result<Vec<Sealed>, SealError> {
        let mut work: Vec<_> =
            drafts.into_iter().map(|draft| (draft.place.stream, draft.event)).collect();
        let codec = &self.opener.codec;
        let sealed = match codec.seal_many(work.clone()).await {
            // Perhaps of the snapshot: a rule may ask of each payload whose it is, and a snapshot does not say.
            Err(CodecError::Refused(_)) if work.len() > events => {
                work.truncate(events);
                codec.seal_many(work).await
            }
            sealed => sealed,
        };
        sealed.map_err(SealError::NotSealed)
    }

    /// What a snapshot's number has to be, and under which keys all is that it is made of, up to before this event; `None`:
    /// no snapshot can be kept.
    async fn before<A: Aggregate>(
        &self,
        aggregate_id: &str,
        first: usize,
        version: usize,
    ) -> Result<(usize, Option<HashSet<KeyId>>), PersistenceError> {
        let earlier = self.inner.get_snapshot::<A>(aggregate_id).await?;
        let version = match &earlier {
            // The framework does not know the number of a snapshot that it could not use, and would insert a second row.
            Some(earlier) if version == 1 => earlier.current_snapshot + 1,
            _ => version,
        };
        let mut keys = HashSet::new();
        let mut known = 0;
        if let Some(earlier) = &earlier {
            match self.opener.open_snapshot(A::TYPE, earlier)? {
                Read::Whole { keys: own, .. } => {
                    keys.extend(own);
                    known = earlier.current_sequence;
                }
                // What kept it from being one does not go away.
                Read::Fold => return Ok((version, None)),
                Read::InClear => {}
            }
        }
        if known + 1 < first {
            let mut rows = self.inner.get_last_events::<A>(aggregate_id, known).await?;
            rows.retain(|row| row.sequence < first);
            self.opener.add_keys(A::TYPE, &rows, &mut keys)?;
        }
        Ok((version, Some(keys)))
    }

    /// These keys, and those of what was just sealed.
    fn with_keys_of(
        &self,
        mut keys: HashSet<KeyId>,
        names: &[(StreamName, EventType)],
        sealed: &[Sealed],
    ) -> Result<HashSet<KeyId>, SealError> {
        for ((stream, event_type), sealed) in names.iter().zip(sealed) {
            let event = EventRef { stream, id: sealed.id, event_type };
            let opened = self.opener.codec.open(event, &sealed.data, sealed.metadata.as_ref());
            keys.extend(opened.map_err(SealError::NotSealed)?.keys);
        }
        Ok(keys)
    }

    /// What became of rows that the repository did not acknowledge.
    pub(crate) async fn fate<A: Aggregate>(
        &self,
        rows: &[SerializedEvent],
        error: &PersistenceError,
    ) -> Fate {
        let Some(first) = rows.first() else { return Fate::Unknown };
        let before = first.sequence.saturating_sub(1);
        let Ok(found) = self.inner.get_last_events::<A>(&first.aggregate_id, before).await else {
            return Fate::Unknown;
        };
        let is_there = |row: &SerializedEvent| {
            let same = |found: &SerializedEvent| id_of(&found.metadata) == id_of(&row.metadata);
            found.iter().any(same)
        };
        match error {
            _ if rows.iter().all(is_there) => Fate::Stored,
            // Another event has the sequence number, for good.
            PersistenceError::OptimisticLockError if !rows.iter().any(is_there) => Fate::Refused,
            // A server whose connection was lost may be at it still.
            _ => Fate::Unknown,
        }
    }
}

/// Tells the vault what became of the events. Whatever it answers, they are stored or refused: none of it makes the command fail.
pub(crate) async fn tell(permits: Vec<Sealed>, stored: bool) {
    for permit in permits {
        let event = permit.id;
        let told = if stored { permit.stored().await } else { permit.rejected().await };
        match told {
            Ok(Settled::OwnerForgotten) => tracing::warn!(
                %event,
                "an owner was forgotten before the event was known to be stored: forget its aggregate by name (`settle` lists it)"
            ),
            Ok(Settled::Forgotten) if stored => tracing::warn!(
                %event, "somebody was forgotten while the event was being stored: it reads as shredded"
            ),
            Ok(_) => {}
            Err(error) => tracing::error!(
                %event, %error, "the vault was not told what became of the event: `settle` does that after the next start"
            ),
        }
    }
}
