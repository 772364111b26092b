//! What is appended, as the statements want it: a list for each column.

use oubliette::{
    event::{EventId, Json, StreamName},
    store::{Append, StoreError},
};
use uuid::Uuid;

use super::{
    Inner,
    rows::{to_bytes, uses_our_name, with_id},
    shape::{EVENT_ID, Kept, Shape},
};
use crate::append::as_columns;

/// Our own appends to one stream wait for each other by this many locks: a transaction has room for so many.
const LOCKS: u32 = 1024;

/// What is appended, in columns.
pub(super) struct Columns {
    /// For each part of a stream's name, that of each stream.
    pub(super) parts: Vec<Vec<String>>,
    /// For each event, the number of its stream, from 1.
    pub(super) of: Vec<i64>,
    pub(super) ids: Vec<Uuid>,
    pub(super) id_texts: Vec<String>,
    pub(super) types: Vec<String>,
    pub(super) data: Vec<Option<String>>,
    pub(super) bytes: Vec<Option<Vec<u8>>>,
    pub(super) metadata: Vec<Option<String>>,
    pub(super) locks: Vec<i32>,
}

impl Columns {
    pub(super) fn of(inner: &Inner, appends: &[Append]) -> Result<Self, StoreError> {
        let shape = &inner.shape;
        let events = appends.iter().map(|append| append.events.len()).sum();
        let mut columns = Self {
            parts: vec![Vec::with_capacity(appends.len()); shape.parts.len()],
            of: Vec::with_capacity(events),
            ids: Vec::with_capacity(events),
            id_texts: Vec::with_capacity(events),
            types: Vec::with_capacity(events),
            data: Vec::with_capacity(events),
            bytes: Vec::new(),
            metadata: Vec::with_capacity(events),
            locks: Vec::with_capacity(appends.len()),
        };
        for (number, append) in (1..).zip(appends) {
            let parts = inner
                .parts_of(&append.stream)
                .ok_or_else(|| does_not_fit(shape, &append.stream))?;
            for (column, part) in columns.parts.iter_mut().zip(parts) {
                column.push(part);
            }
            columns.locks.push(lock(&append.stream));
            for event in &append.events {
                columns.of.push(number);
                columns.ids.push(event.id.0);
                columns.id_texts.push(event.id.to_string());
                columns.types.push(event.event_type.as_str().to_owned());
                match shape.data.kind {
                    Kept::Bytes => columns.bytes.push(Some(to_bytes(&event.data))),
                    _ => columns.data.push(as_columns(&event.data).0.map(str::to_owned)),
                }
                columns.metadata.push(metadata(shape, event.id, event.metadata.as_ref())?);
            }
        }
        // In one order, so that nobody waits for somebody who waits for them.
        columns.locks.sort_unstable();
        columns.locks.dedup();
        Ok(columns)
    }
}

/// The lock of a stream's name: the same in every process.
fn lock(stream: &StreamName) -> i32 {
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, stream.as_str().as_bytes()).as_u128();
    i32::try_from(hash % u128::from(LOCKS)).unwrap_or(0)
}

fn does_not_fit(shape: &Shape, stream: &StreamName) -> StoreError {
    let parts = shape.template.columns().zip(&shape.parts);
    let kinds: Vec<String> =
        parts.map(|(column, part)| format!("{column} is {}", part.kind.name())).collect();
    StoreError::Invalid(format!(
        "the stream {stream} cannot be in the table {}: names are {} there, where {}",
        shape.name,
        shape.template.text(),
        kinds.join(", ")
    ))
}

/// What an event's metadata are in the table.
pub(super) fn metadata(
    shape: &Shape,
    id: EventId,
    metadata: Option<&Json>,
) -> Result<Option<String>, StoreError> {
    let is_nothing = metadata.is_none_or(|json| json.as_str() == "{}");
    if shape.metadata.is_none() && !is_nothing {
        return Err(StoreError::Invalid(format!(
            "event {id} has metadata, and the mapping of the table {} names no column for them: map one as `metadata`; a layer \
             that seals needs it",
            shape.name
        )));
    }
    if shape.keeps_ids_in_metadata() {
        if metadata.is_some_and(uses_our_name) {
            return Err(StoreError::Invalid(format!(
                "the metadata of event {id} have the member `{}`, where the table {} keeps an event's id",
                EVENT_ID, shape.name
            )));
        }
        return Ok(Some(with_id(id, metadata)));
    }
    let nothing = shape.metadata_required.then(|| "{}".to_owned());
    Ok(metadata.map(|json| json.as_str().to_owned()).or(nothing))
}
