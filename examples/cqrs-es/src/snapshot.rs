//! Sealing and opening snapshots.
//!
//! A snapshot holds what its events say, so that it must be gone when one of them is. It is sealed under one key, the stream's
//! own of this moment. It is kept only if all that it is made of is under that key: then destroying a key of any of its
//! events destroys it. Otherwise (the aggregate changed hands, its keys were rotated, its events are several people's) what is stored
//! says that the events are to be folded.

use std::collections::HashSet;

use cqrs_es::persist::{SerializedEvent, SerializedSnapshot};
use oubliette::{
    event::{Json, KeyId, NewEvent, Payload},
    layer::{CodecError, Sealed},
    store::Unreadable,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    SealError,
    place::Place,
    rows::{Draft, Opener, columns, event_type},
};

/// The type under which snapshots are sealed. An event of this type has another id than any snapshot.
const SNAPSHOT: &str = "Snapshot";

/// What is in the payload column.
#[derive(Serialize, Deserialize)]
#[serde(tag = "$snapshot", rename_all = "kebab-case", deny_unknown_fields)]
enum Stored {
    Sealed {
        data: Value,
        metadata: Value,
    },
    /// The events are to be folded.
    Fold {},
}

/// What is sealed: the state, and up to which event.
#[derive(Serialize, Deserialize)]
struct State {
    sequence: usize,
    aggregate: Value,
}

/// A snapshot that was read.
pub(crate) enum Read {
    /// The state, and the keys under which it is.
    Whole { aggregate: Value, keys: Vec<KeyId> },
    /// The events are to be folded: something is missing of it, or of what it was to be made of.
    Fold,
    /// It is from before anything was sealed. It is not used, because it would outlive a forgetting.
    InClear,
}

/// What is stored where no snapshot is kept.
pub(crate) fn fold() -> Value {
    serde_json::json!({ "$snapshot": "fold" })
}

/// The column of a snapshot that was sealed.
pub(crate) fn column(sealed: &Sealed) -> Result<Value, SealError> {
    let (data, metadata) = columns(sealed)?;
    serde_json::to_value(Stored::Sealed { data, metadata }).map_err(|error| not_json(&error))
}

impl Draft {
    pub(crate) fn of_snapshot(
        aggregate_type: &str,
        aggregate_id: &str,
        version: usize,
        sequence: usize,
        aggregate: Value,
    ) -> Result<Self, SealError> {
        let place = Place::of_snapshot(aggregate_type, aggregate_id, version)?;
        // As one text, so that no pointer of the policy makes something of it public.
        let state = serde_json::to_string(&State { sequence, aggregate })
            .map_err(|error| not_json(&error))?;
        let event = NewEvent::new(event_type(aggregate_type, SNAPSHOT)?, Json::of(&state)?)
            .with_id(place.new_id());
        Ok(Self { place, event })
    }
}

fn not_json(error: &serde_json::Error) -> SealError {
    SealError::NotSealed(CodecError::Invalid(error.to_string()))
}

impl Opener {
    pub(crate) fn open_snapshot(
        &self,
        aggregate_type: &str,
        row: &SerializedSnapshot,
    ) -> Result<Read, SealError> {
        let (data, metadata) = match Stored::deserialize(&row.aggregate) {
            Ok(Stored::Sealed { data, metadata }) => (data, metadata),
            Ok(Stored::Fold {}) => return Ok(Read::Fold),
            Err(_) => return Ok(Read::InClear),
        };
        let place = Place::of_snapshot(aggregate_type, &row.aggregate_id, row.current_snapshot)?;
        let opened = self.open_at(&place, aggregate_type, SNAPSHOT, &data, &metadata)?;
        if opened.unsealed {
            return Ok(Read::InClear);
        }
        if !opened.shredded.is_empty() {
            return Ok(Read::Fold);
        }
        let text = opened.data.as_ref().and_then(Payload::as_json);
        let text: Option<String> = text.and_then(|text| text.to().ok());
        let state = text.and_then(|text| serde_json::from_str::<State>(&text).ok());
        let malformed = || place.unreadable(Unreadable::Malformed("it is no snapshot"));
        let state = state.ok_or_else(malformed)?;
        if state.sequence != row.current_sequence {
            return Err(place.tampered());
        }
        Ok(Read::Whole { aggregate: state.aggregate, keys: opened.keys })
    }

    /// Adds the keys of events as they are in the table.
    pub(crate) fn add_keys(
        &self,
        aggregate_type: &str,
        rows: &[SerializedEvent],
        keys: &mut HashSet<KeyId>,
    ) -> Result<(), SealError> {
        for row in rows {
            let (_, opened) = self.open_row(aggregate_type, row)?;
            keys.extend(opened.keys);
        }
        Ok(())
    }
}
