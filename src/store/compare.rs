//! Comparing both sides of a copy.

use std::fmt;

use futures::{StreamExt, TryStreamExt};

use super::{Capability, EventStore, ReadAllOptions, StoreError, Transform, copy::BATCH};
use crate::event::{EventId, Payload, RecordedEvent, StreamName};

/// What reading both sides of a copy showed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Comparison {
    /// Each event is there as it was, as far as the target keeps it.
    Same {
        /// How many.
        events: u64,
        /// Those of them that are at a later revision: the target had something of its own in their place.
        later: u64,
    },
    /// One is missing, or is another.
    Different {
        /// The event.
        id: EventId,
        /// Its stream.
        stream: StreamName,
        /// What is different.
        what: Difference,
        /// How many were the same before it.
        same: u64,
    },
}

/// In what an event and its copy differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// There is no copy, or not behind that of the event before.
    Missing,
    /// The stream, or an earlier revision.
    Place,
    /// The type.
    Type,
    /// The payload, or what is readable of it.
    Payload,
    /// The metadata.
    Metadata,
    /// When it was recorded.
    Time,
}

impl Difference {
    /// In what an event and its copy differ; with `keeps`, also in time, and where the copy's revision is an earlier one.
    pub fn between(event: &RecordedEvent, copy: &RecordedEvent, keeps: bool) -> Option<Self> {
        let canonical = |payload: &Payload| match payload {
            Payload::Json(json) => json.tree().root().to_canonical().into_bytes(),
            Payload::Bytes(bytes) => bytes.to_vec(),
        };
        let payload = |event: &RecordedEvent| event.data.as_ref().map(canonical);
        let metadata = |event: &RecordedEvent| {
            let json = event.metadata.as_ref().map(|json| json.tree().root().to_canonical());
            // Metadata without members says nothing: some stores know one kind of nothing only.
            json.filter(|json| json != "{}")
        };
        let is_elsewhere = event.stream != copy.stream || keeps && event.revision > copy.revision;
        [
            (is_elsewhere, Self::Place),
            (event.event_type != copy.event_type, Self::Type),
            (payload(event) != payload(copy), Self::Payload),
            (metadata(event) != metadata(copy), Self::Metadata),
            (keeps && event.recorded != copy.recorded, Self::Time),
        ]
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it is missing, or out of order",
            Self::Place => "it is in another stream, or at an earlier revision",
            Self::Type => "its type is another",
            Self::Payload => "its payload is another",
            Self::Metadata => "its metadata are others",
            Self::Time => "it was recorded at another time",
        })
    }
}

/// Reads both stores to the end of the first, and says whether the second has everything that was copied, as it was and in
/// that order. What it has besides is passed over.
///
/// # Errors
/// [`StoreError`] of either store.
pub async fn compare(
    from: &dyn EventStore,
    to: &dyn EventStore,
    transform: &mut Transform<'_>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Comparison, StoreError> {
    let keeps = to.capabilities().has(Capability::Restore);
    let mut events = from.read_all(ReadAllOptions::default());
    let mut copies = to.read_all(ReadAllOptions::default()).fuse();
    let (mut same, mut later) = (0, 0);
    while let Some(event) = events.try_next().await? {
        let Some(event) = transform(event) else { continue };
        let different = loop {
            match copies.next().await.transpose()? {
                None => break Some(Difference::Missing),
                Some(copy) if copy.id == event.id => {
                    later += u64::from(keeps && copy.revision > event.revision);
                    break Difference::between(&event, &copy, keeps);
                }
                Some(_) => {}
            }
        };
        if let Some(what) = different {
            let RecordedEvent { id, stream, .. } = event;
            return Ok(Comparison::Different { id, stream, what, same });
        }
        same += 1;
        if same % BATCH as u64 == 0 {
            progress(same);
        }
    }
    progress(same);
    Ok(Comparison::Same { events: same, later })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{EventType, Json, Revision},
        store::{MemoryStore, copy, copy::tests::filled},
    };

    #[tokio::test]
    async fn comparing_finds_what_is_different() {
        type Change = fn(&mut RecordedEvent);
        let changes: [(Change, Difference); 4] = [
            (|event| event.id = EventId::random(), Difference::Missing),
            (|event| event.event_type = EventType::new("U").unwrap(), Difference::Type),
            (|event| event.data = Some(Json::trusted("{}").into()), Difference::Payload),
            (|event| event.metadata = Some(Json::trusted(r#"{"a":1}"#)), Difference::Metadata),
        ];
        let from = filled().await;
        for (change, what) in changes {
            let to = MemoryStore::new();
            let mut seen = 0;
            let mut changing = |mut event: RecordedEvent| {
                seen += 1;
                if seen == 500 {
                    change(&mut event);
                }
                Some(event)
            };
            copy(&from, &to, None, &mut changing, &mut |_| {}).await.unwrap();
            let compared = compare(&from, &to, &mut Some, &mut |_| {}).await.unwrap();
            let Comparison::Different { what: found, same, .. } = compared else {
                panic!("{what}")
            };
            assert_eq!((found, same), (what, 499));
        }
        let empty = compare(&from, &MemoryStore::new(), &mut Some, &mut |_| {}).await.unwrap();
        assert!(matches!(empty, Comparison::Different { what: Difference::Missing, same: 0, .. }));
        let to = MemoryStore::new();
        let mut renumber =
            |event: RecordedEvent| Some(event).filter(|event| event.revision == Revision(0));
        copy(&from, &to, None, &mut renumber, &mut |_| {}).await.unwrap();
        let first = compare(&from, &to, &mut renumber, &mut |_| {}).await.unwrap();
        assert_eq!(first, Comparison::Same { events: 50, later: 0 });
    }
}
