//! What makes an append or a restore malformed, whatever the store: for every adapter to ask first.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::Entry},
};

use super::{Append, Appended, Capabilities, Capability, ExpectedRevision, StoreError};
use crate::event::{
    EventId, Json, Kind, MAX_STORED_BYTES, Node, Payload, Position, RecordedEvent, Revision,
    StreamName, canonical_number,
};

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
            check_stored(id, &event.data, event.metadata.as_ref(), capabilities)?;
        }
    }
    Ok(())
}

/// Checks what can be known about a restore without looking at the store.
///
/// Every adapter calls it first, so that all of them refuse alike.
///
/// # Errors
/// As [`check_appends`]; [`StoreError::Invalid`] for events that a layer opened: in clear, or with
/// holes, they are not what was recorded.
pub fn check_restored(
    events: &[RecordedEvent],
    capabilities: Capabilities,
) -> Result<(), StoreError> {
    if !capabilities.has(Capability::Restore) {
        return Err(StoreError::Unsupported(Capability::Restore));
    }
    let mut ids: HashSet<EventId> = HashSet::with_capacity(events.len());
    for event in events {
        let id = event.id;
        if !ids.insert(id) {
            return Err(StoreError::IdInUse { id, stream: event.stream.clone() });
        }
        let opened = !event.keys.is_empty()
            || !event.shredded.is_empty()
            || !event.withheld.is_empty()
            || event.tombstone.is_some()
            || event.subject.is_some();
        let data = event.data.as_ref().filter(|_| !opened).ok_or_else(|| {
            StoreError::Invalid(format!(
                "event {id} was opened by a layer; restore what the store beneath it returns"
            ))
        })?;
        check_stored(id, data, event.metadata.as_ref(), capabilities)?;
        if event.revision > LAST_REVISION {
            return Err(StoreError::Invalid(format!(
                "event {id} has revision {}; at most {LAST_REVISION} is restored, so that others can follow",
                event.revision
            )));
        }
    }
    Ok(())
}

/// The highest revision that is restored: what every reader of JSON can hold, and no store is at its end there.
const LAST_REVISION: Revision = Revision((1 << 53) - 1);

fn check_stored(
    id: EventId,
    data: &Payload,
    metadata: Option<&Json>,
    capabilities: Capabilities,
) -> Result<(), StoreError> {
    if matches!(data, Payload::Bytes(_)) && !capabilities.has(Capability::Bytes) {
        return Err(StoreError::Unsupported(Capability::Bytes));
    }
    check_size(id, "payload", data.as_bytes().len())?;
    if let Some(metadata) = metadata {
        check_size(id, "metadata", metadata.as_str().len())?;
        if !metadata.as_str().starts_with('{') {
            return Err(StoreError::Invalid(format!(
                "the metadata of event {id} is not a JSON object"
            )));
        }
    }
    match data.as_json().into_iter().chain(metadata).find_map(|json| lacking(json, capabilities)) {
        Some(capability) => Err(StoreError::Unsupported(capability)),
        None => Ok(()),
    }
}

/// What a store would need, and does not have, to give this JSON back as the value that it is.
pub(crate) fn lacking(json: &Json, capabilities: Capabilities) -> Option<Capability> {
    let capabilities = [Capability::LongNumbers, Capability::Nul]
        .map(|one| (!capabilities.has(one)).then_some(one));
    // Most stores have both, and need not look.
    match capabilities {
        [None, None] => None,
        lacked => lacking_in(json.tree().root(), lacked),
    }
}

fn lacking_in(node: Node<'_>, lacked: [Option<Capability>; 2]) -> Option<Capability> {
    let [long_numbers, nul] = lacked;
    let has_nul = |text: Option<Cow<'_, str>>| text.is_some_and(|text| text.contains('\0'));
    let own = match node.kind() {
        Kind::Number => long_numbers.filter(|_| !is_double(node.text())),
        Kind::String => nul.filter(|_| has_nul(node.string())),
        _ => None,
    };
    own.or_else(|| nul.filter(|_| has_nul(node.key())))
        .or_else(|| node.children().find_map(|child| lacking_in(child, lacked)))
}

/// Whether a store that keeps numbers as doubles gives back the same number.
fn is_double(literal: &str) -> bool {
    // As the shortest digits that mean the double, which is what such stores write.
    literal.parse::<f64>().is_ok_and(|double| {
        double.is_finite() && canonical_number(&format!("{double:e}")) == canonical_number(literal)
    })
}

fn check_size(id: EventId, what: &str, bytes: usize) -> Result<(), StoreError> {
    if bytes <= MAX_STORED_BYTES {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "the {what} of event {id} has {bytes} bytes, at most {MAX_STORED_BYTES} are accepted"
    )))
}

/// Where a store found an event id: what [`answer_retry`] and [`plan_restore`] ask an adapter.
///
/// `examples/wrap_your_store.rs` makes one.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Whether it is in the stream that was asked for.
    pub same_stream: bool,
    /// Its revision there.
    pub revision: Revision,
    /// Its position.
    pub position: Position,
}

/// Answers an append whose ids the store knows already, as `retry_is_answered_as_done` and
/// `partial_retry_is_refused` of the [contract](crate::store::EventStore#contract) want it. `find` looks up an id, for
/// the stream that it comes for. Returns `None` where no id is known: the append is not a retry.
///
/// An adapter calls it after [`check_appends`] and before it looks at expected revisions, in the transaction that appends.
/// `examples/wrap_your_store.rs` shows it.
///
/// # Errors
/// [`StoreError::IdInUse`] where only some are known, or one in another stream; the error of
/// `find`.
pub fn answer_retry(
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

/// For each event of a restore, where it is already; `None` for those that are to be written, at their revisions, also where
/// these leave a gap. `find` looks up an id, as for [`answer_retry`]; `last` returns the highest revision that a stream ever
/// gave, also of an event that is removed.
///
/// An adapter with [`Capability::Restore`] calls it after [`check_restored`].
///
/// # Errors
/// [`StoreError::Conflict`] where one does not come behind the last of its stream, [`StoreError::IdInUse`] where
/// its id is elsewhere; the errors of `find` and `last`.
pub fn plan_restore(
    events: &[RecordedEvent],
    mut find: impl FnMut(EventId, &StreamName) -> Result<Option<Known>, StoreError>,
    mut last: impl FnMut(&StreamName) -> Result<Option<Revision>, StoreError>,
) -> Result<Vec<Option<Known>>, StoreError> {
    let mut lasts: HashMap<&StreamName, Option<Revision>> = HashMap::new();
    let mut planned = Vec::with_capacity(events.len());
    for event in events {
        let RecordedEvent { id, stream, revision, .. } = event;
        let known = find(*id, stream)?;
        match known {
            // Also where it had to come later than in the store that is copied, because something of this one's was in its place.
            Some(known) if known.same_stream && known.revision >= *revision => {}
            Some(_) => return Err(StoreError::IdInUse { id: *id, stream: stream.clone() }),
            None => {
                let last = match lasts.entry(stream) {
                    Entry::Occupied(last) => last.into_mut(),
                    Entry::Vacant(unknown) => unknown.insert(last(stream)?),
                };
                if last.is_some_and(|last| *revision <= last) {
                    let before = revision.0.checked_sub(1).map(Revision);
                    let expected =
                        before.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
                    let (stream, actual) = (stream.clone(), Some((*last).into()));
                    return Err(StoreError::Conflict { stream, expected, actual });
                }
                *last = Some(*revision);
            }
        }
        planned.push(known);
    }
    Ok(planned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_double_prints_fits_a_double(double in any::<f64>(), integer in any::<i64>()) {
            prop_assume!(double.is_finite() && double != 0.0);
            for spelling in [format!("{double}"), format!("{double:e}"), format!("{double:E}")] {
                prop_assert!(is_double(&spelling), "{}", spelling);
            }
            // A digit behind those that tell it from its neighbours.
            let longer = format!("{double:.20e}").replacen('e', "1e", 1);
            prop_assert!(!is_double(&longer), "{}", longer);
            let (small, large) = (integer >> 11, integer);
            prop_assert!(is_double(&small.to_string()), "{}", small);
            prop_assert!(is_double(&large.to_string()) || large.unsigned_abs() > 1 << 53);
        }
    }
}
