//! What makes an append malformed, whatever the store: for every adapter to ask first.

use std::collections::HashSet;

use super::{Append, Appended, Capabilities, Capability, StoreError};
use crate::event::{EventId, MAX_STORED_BYTES, Payload, Position, Revision, StreamName};

/// Checks what can be known about an append without looking at the store.
///
/// Every adapter calls it first, so that all of them refuse alike.
///
/// # Errors
/// [`StoreError::Invalid`] and [`StoreError::IdInUse`] as the contract of
/// [`EventStore`](super::EventStore) says; [`StoreError::Unsupported`] where the append needs
/// what the capabilities lack.
pub fn check_appends(appends: &[Append], capabilities: Capabilities) -> Result<(), StoreError> {
    if let Some(copy) =
        appends.iter().flat_map(|append| &append.events).find(|event| event.holes.is_some())
    {
        return Err(StoreError::Invalid(format!(
            "event {} is a copy of which parts are missing; only the layer can store it so that \
             readers are told",
            copy.id
        )));
    }
    check_for_layer(appends, capabilities)
}

/// As [`check_appends`], for the layer, which notes what is missing of a copy.
pub(crate) fn check_for_layer(
    appends: &[Append],
    capabilities: Capabilities,
) -> Result<(), StoreError> {
    if appends.is_empty() {
        return Err(StoreError::Invalid("an append needs at least one stream".to_owned()));
    }
    if appends.len() > 1 && !capabilities.has(Capability::AtomicMultiStream) {
        return Err(StoreError::Unsupported(Capability::AtomicMultiStream));
    }
    let mut streams: HashSet<&StreamName> = HashSet::with_capacity(appends.len());
    let mut ids: HashSet<EventId> = HashSet::new();
    for append in appends {
        let stream = &append.stream;
        if !streams.insert(stream) {
            return Err(StoreError::Invalid(format!("stream {stream} is named twice")));
        }
        if append.events.is_empty() {
            return Err(StoreError::Invalid(format!("no events for stream {stream}")));
        }
        for event in &append.events {
            let id = event.id;
            if !ids.insert(id) {
                return Err(StoreError::IdInUse { id, stream: stream.clone() });
            }
            if matches!(event.data, Payload::Bytes(_)) && !capabilities.has(Capability::Bytes) {
                return Err(StoreError::Unsupported(Capability::Bytes));
            }
            check_size(id, "payload", event.data.as_bytes().len())?;
            if let Some(metadata) = &event.metadata {
                check_size(id, "metadata", metadata.as_str().len())?;
                if !metadata.as_str().starts_with('{') {
                    return Err(StoreError::Invalid(format!(
                        "the metadata of event {id} is not a JSON object"
                    )));
                }
            }
        }
    }
    Ok(())
}

fn check_size(id: EventId, what: &str, bytes: usize) -> Result<(), StoreError> {
    if bytes <= MAX_STORED_BYTES {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "the {what} of event {id} has {bytes} bytes, at most {MAX_STORED_BYTES} are accepted"
    )))
}

/// Where an event id that an append brings was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Whether in the stream that the append is for.
    pub(crate) same_stream: bool,
    /// Its revision there.
    pub(crate) revision: Revision,
    /// Its position.
    pub(crate) position: Position,
}

/// What an append is told whose ids are known already: for all of them, where they are; for
/// none, `None`: it is not a retry.
///
/// # Errors
/// [`StoreError::IdInUse`] where only some are known, or one in another stream; the error of
/// `find`.
pub(crate) fn answer_retry(
    appends: &[Append],
    mut find: impl FnMut(EventId, &StreamName) -> Result<Option<Known>, StoreError>,
) -> Result<Option<Vec<Appended>>, StoreError> {
    let mut done = Vec::with_capacity(appends.len());
    let mut some_are_new = false;
    let mut known_id = None;
    for Append { stream, events, .. } in appends {
        let mut last: Option<Known> = None;
        for event in events {
            let Some(known) = find(event.id, stream)? else {
                some_are_new = true;
                continue;
            };
            let in_use = StoreError::IdInUse { id: event.id, stream: stream.clone() };
            if !known.same_stream {
                return Err(in_use);
            }
            known_id.get_or_insert(in_use);
            if last.is_none_or(|last| last.revision < known.revision) {
                last = Some(known);
            }
        }
        done.extend(last.map(|Known { revision, position, .. }| Appended {
            revision,
            position,
            already: true,
        }));
    }
    match known_id {
        None => Ok(None),
        Some(in_use) if some_are_new => Err(in_use),
        Some(_) => Ok(Some(done)),
    }
}
