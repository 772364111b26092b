//! Copying a store to another one, event by event: the way in for what is there, and the way out.

use std::fmt;

use futures::{StreamExt, TryStreamExt};

use super::{
    Append, Capability, EventStore, EventStream, ExpectedRevision, ReadAllOptions, StoreError,
};
use crate::event::{EventId, NewEvent, Payload, Position, RecordedEvent, StreamName};

/// The most events that are written at once.
const BATCH: usize = 256;
/// … or about this many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What becomes of an event on its way: `None` leaves it out. It keeps its id, its stream and its revision, or others that
/// fit together.
pub type Transform<'a> = dyn FnMut(RecordedEvent) -> Option<RecordedEvent> + Send + 'a;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Copied {
    /// Events that were written.
    pub written: u64,
    /// Events that were there already, from an earlier attempt.
    pub already: u64,
    /// Events that the transform left out.
    pub left_out: u64,
    /// Where to go on if it is cut off: everything up to this position of the store that is copied is done.
    pub up_to: Option<Position>,
}

/// What the target does not keep of what was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotKept {
    /// Times: each event has the time at which it was copied.
    Times,
    /// Revisions: they are counted anew where those of the source have gaps.
    Revisions,
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Times => "when events were recorded: each has the time at which it was copied",
            Self::Revisions => {
                "revisions, where those of the source have gaps: they are counted anew"
            }
        })
    }
}

/// What a store cannot keep of events that are copied into it. (Positions are its own in every store.)
pub fn not_kept(to: &dyn EventStore) -> &'static [NotKept] {
    match to.capabilities().has(Capability::Restore) {
        true => &[],
        false => &[NotKept::Times, NotKept::Revisions],
    }
}

/// Copies what one store has behind a position (all, for `None`) into another, in order: with ids, and, where the other can
/// [restore](EventStore::restore), with times and revisions; [`not_kept`] says what else. A layer seals what it is given.
///
/// It can be cut off and repeated: what is there already is passed over. Appends to the source meanwhile are copied as far as
/// a read that begins now shows them; so stop the writers, or copy again what came.
///
/// ```
/// use oubliette::{store::{Comparison, compare, copy}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let clear = MemoryStore::new();
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # clear.append_to(&StreamName::new("user-456")?, ExpectedRevision::Any, vec![moved]).await?;
/// let sealed = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let copied = copy(&clear, &sealed, None, &mut Some, &mut |so_far| println!("{}", so_far.written)).await?;
/// assert_eq!(copied.written, 1);
/// let compared = compare(&clear, &sealed, &mut Some, &mut |_| {}).await?;
/// assert_eq!(compared, Comparison::Same { events: 1 });
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`StoreError`] of either store; [`StoreError::Conflict`] and [`StoreError::IdInUse`] where the other has something else
/// in the place of an event.
pub async fn copy(
    from: &dyn EventStore,
    to: &dyn EventStore,
    after: Option<Position>,
    transform: &mut Transform<'_>,
    progress: &mut (dyn FnMut(Copied) + Send),
) -> Result<Copied, StoreError> {
    let mut copied = Copied { up_to: after, ..Copied::default() };
    // The last batch ends with its end, and the next one asks again.
    let events = from.read_all(ReadAllOptions { after, ..ReadAllOptions::default() });
    let mut events = events.fuse().boxed();
    loop {
        let (batch, up_to) = batch(&mut events, transform, &mut copied).await?;
        let Some(up_to) = up_to else { return Ok(copied) };
        if !batch.is_empty() {
            let (written, already) = match to.capabilities().has(Capability::Restore) {
                true => restore(to, batch).await?,
                false => append(to, batch).await?,
            };
            copied.written += written;
            copied.already += already;
        }
        copied.up_to = Some(up_to);
        progress(copied);
    }
}

/// The next events, and the position of the last one that was looked at.
async fn batch(
    events: &mut EventStream,
    transform: &mut Transform<'_>,
    copied: &mut Copied,
) -> Result<(Vec<RecordedEvent>, Option<Position>), StoreError> {
    let (mut batch, mut bytes, mut up_to, mut seen) = (Vec::new(), 0, None, 0);
    while seen < BATCH && bytes < BATCH_BYTES {
        let Some(event) = events.try_next().await? else { break };
        seen += 1;
        up_to = Some(event.position);
        match transform(event) {
            Some(event) => {
                bytes += event.bytes();
                batch.push(event);
            }
            None => copied.left_out += 1,
        }
    }
    Ok((batch, up_to))
}

async fn restore(to: &dyn EventStore, batch: Vec<RecordedEvent>) -> Result<(u64, u64), StoreError> {
    let done = to.restore(batch).await?;
    let already = done.iter().filter(|done| done.already).count();
    Ok(((done.len() - already) as u64, already as u64))
}

/// Events of one stream that follow each other are appended together; and one by one where an earlier attempt was cut off
/// between them.
async fn append(to: &dyn EventStore, batch: Vec<RecordedEvent>) -> Result<(u64, u64), StoreError> {
    let (mut written, mut already) = (0, 0);
    for run in batch.chunk_by(|one, other| one.stream == other.stream) {
        let Some(first) = run.first() else { continue };
        let events: Vec<_> = run.iter().map(NewEvent::copy_of).collect();
        let appended = to.append(vec![any(&first.stream, events.clone())]).await;
        match appended {
            Ok(done) => {
                let is_retry = done.iter().any(|done| done.already);
                *(if is_retry { &mut already } else { &mut written }) += run.len() as u64;
            }
            Err(StoreError::IdInUse { .. }) if run.len() > 1 => {
                for event in events {
                    let done = to.append(vec![any(&first.stream, vec![event])]).await?;
                    let is_retry = done.iter().any(|done| done.already);
                    *(if is_retry { &mut already } else { &mut written }) += 1;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok((written, already))
}

fn any(stream: &StreamName, events: Vec<NewEvent>) -> Append {
    Append::new(stream.clone(), ExpectedRevision::Any, events)
}

/// What reading both sides of a copy showed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Comparison {
    /// Each event is there as it was, as far as the target keeps it.
    Same {
        /// How many.
        events: u64,
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
    /// The stream or the revision.
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

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it is missing, or out of order",
            Self::Place => "it is in another stream, or at another revision",
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
    let mut same = 0;
    while let Some(event) = events.try_next().await? {
        let Some(event) = transform(event) else { continue };
        let different = loop {
            match copies.next().await.transpose()? {
                None => break Some(Difference::Missing),
                Some(copy) if copy.id == event.id => break difference(&event, &copy, keeps),
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
    Ok(Comparison::Same { events: same })
}

fn difference(event: &RecordedEvent, copy: &RecordedEvent, keeps: bool) -> Option<Difference> {
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
    let is_elsewhere = event.stream != copy.stream || keeps && event.revision != copy.revision;
    [
        (is_elsewhere, Difference::Place),
        (event.event_type != copy.event_type, Difference::Type),
        (payload(event) != payload(copy), Difference::Payload),
        (metadata(event) != metadata(copy), Difference::Metadata),
        (keeps && event.recorded != copy.recorded, Difference::Time),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{EventType, Json, Revision},
        store::{Capabilities, EventStoreExt, MemoryStore},
    };

    async fn filled() -> MemoryStore {
        let store = MemoryStore::new();
        for number in 0..700 {
            let stream = StreamName::new(format!("user-{}", number / 3 % 50)).unwrap();
            let data = Json::parse(&format!(r#"{{"n":{number}}}"#)).unwrap();
            let event = NewEvent::new(EventType::new("T").unwrap(), data);
            store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
        }
        store
    }

    fn without_restore() -> MemoryStore {
        MemoryStore::with_capabilities(Capabilities::ALL.without(Capability::Restore))
    }

    #[tokio::test]
    async fn a_copy_is_the_same_and_repeating_it_changes_nothing() {
        let from = filled().await;
        for to in [MemoryStore::new(), without_restore()] {
            let mut last = None;
            let copied = copy(&from, &to, None, &mut Some, &mut |so_far| last = so_far.up_to).await;
            assert_eq!(copied.unwrap().written, 700);
            let again = copy(&from, &to, None, &mut Some, &mut |_| {}).await.unwrap();
            assert_eq!((again.written, again.already, again.up_to), (0, 700, last));
            let none = copy(&from, &to, last, &mut Some, &mut |_| {}).await.unwrap();
            assert_eq!((none.written, none.already, none.up_to), (0, 0, last));
            let compared = compare(&from, &to, &mut Some, &mut |_| {}).await.unwrap();
            assert_eq!(compared, Comparison::Same { events: 700 });
        }
        assert_eq!(not_kept(&MemoryStore::new()), []);
        assert_eq!(not_kept(&without_restore()).len(), 2);
    }

    /// Cut off anywhere, also within what was appended together, it goes on.
    #[tokio::test]
    async fn a_copy_that_was_cut_off_goes_on() {
        let from = filled().await;
        for to in [MemoryStore::new(), without_restore()] {
            for cut in [1, 100, 299, 301] {
                let mut left = cut;
                let mut cutting = |event: RecordedEvent| {
                    left -= i32::from(left > 0);
                    (left > 0).then_some(event)
                };
                copy(&from, &to, None, &mut cutting, &mut |_| {}).await.unwrap();
            }
            let copied = copy(&from, &to, None, &mut Some, &mut |_| {}).await.unwrap();
            assert_eq!((copied.written, copied.already), (400, 300));
            let compared = compare(&from, &to, &mut Some, &mut |_| {}).await.unwrap();
            assert_eq!(compared, Comparison::Same { events: 700 });
        }
    }

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
        assert_eq!(first, Comparison::Same { events: 50 });
    }
}
