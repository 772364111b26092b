//! Copying a store to another one, event by event: the way in for what is there, and the way out.

use std::fmt;

use futures::{StreamExt, TryStreamExt};

use super::{
    Append, Capability, Current, EventStore, EventStream, ExpectedRevision, ReadAllOptions,
    StoreError,
};
use crate::event::{NewEvent, Position, RecordedEvent, Revision, StreamName};

/// The most events that are written at once.
pub(super) const BATCH: usize = 256;
/// … or about this many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What becomes of an event on its way: `None` leaves it out. It keeps its id, its stream and its revision, or others that
/// fit together.
pub type Transform<'a> = dyn FnMut(RecordedEvent) -> Option<RecordedEvent> + Send + 'a;

/// What becomes of an event that the target refused with an error.
pub type WhenRefused<'a> = dyn FnMut(&RecordedEvent, &StoreError) -> Refused + Send + 'a;

/// What becomes of an event that the target of a copy refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The copy ends with the error.
    Ends,
    /// It is left out. What is behind it in its stream is copied all the same.
    LeftOut,
    /// It comes behind what the target has in its stream, at a later revision. For a [`StoreError::Conflict`] that says where the
    /// stream is; any other error ends the copy.
    Later,
}

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
    /// Events that the target refused and that [`copy_except`] left out.
    pub refused: u64,
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
/// assert_eq!(compared, Comparison::Same { events: 1, later: 0 });
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
    copy_except(from, to, after, transform, &mut |_, _| Refused::Ends, progress).await
}

/// As [`copy`], of a target that may refuse events, or that has events of its own in the same streams: `when_refused` says of
/// each event that was refused what becomes of it.
///
/// ```
/// use oubliette::{store::{Refused, StoreError, copy_except}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (clear, sealed) = (MemoryStore::new(), MemoryStore::new());
/// let mut when_refused = |_: &_, error: &StoreError| match error {
///     StoreError::Forgotten { .. } => Refused::LeftOut,
///     // There is a tombstone in its place.
///     StoreError::Conflict { .. } => Refused::Later,
///     _ => Refused::Ends,
/// };
/// let copied = copy_except(&clear, &sealed, None, &mut Some, &mut when_refused, &mut |_| {}).await?;
/// println!("{} copied, {} of people who are forgotten were not", copied.written, copied.refused);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`copy`], where that is what `when_refused` says.
pub async fn copy_except(
    from: &dyn EventStore,
    to: &dyn EventStore,
    after: Option<Position>,
    transform: &mut Transform<'_>,
    when_refused: &mut WhenRefused<'_>,
    progress: &mut (dyn FnMut(Copied) + Send),
) -> Result<Copied, StoreError> {
    let mut copied = Copied { up_to: after, ..Copied::default() };
    // The last batch ends with its end, and the next one asks again.
    let events = from.read_all(ReadAllOptions { after, ..ReadAllOptions::default() });
    let mut events = events.fuse().boxed();
    loop {
        let (batch, up_to) = batch(&mut events, transform, &mut copied).await?;
        let Some(up_to) = up_to else { return Ok(copied) };
        write(to, batch, when_refused, &mut copied).await?;
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

/// Writes them, in ever smaller pieces where one of them is refused, or some are there already.
async fn write(
    to: &dyn EventStore,
    batch: Vec<RecordedEvent>,
    when_refused: &mut WhenRefused<'_>,
    copied: &mut Copied,
) -> Result<(), StoreError> {
    let keeps = to.capabilities().has(Capability::Restore);
    // Those that are still to be written, the next one last.
    let mut pieces: Vec<Vec<RecordedEvent>> = match keeps {
        true => vec![batch],
        // Events of one stream that follow each other are appended together.
        false => batch
            .chunk_by(|one, other| one.stream == other.stream)
            .map(<[RecordedEvent]>::to_vec)
            .rev()
            .collect(),
    };
    while let Some(mut piece) = pieces.pop() {
        let Some(first) = piece.first() else { continue };
        let done = match keeps {
            true => to.restore(piece.clone()).await,
            false => {
                let events = piece.iter().map(NewEvent::copy_of).collect();
                let appended = to.append(vec![any(&first.stream, events)]).await;
                appended.map(|done| done.repeat(piece.len()))
            }
        };
        match done {
            Ok(done) => {
                let already = done.iter().filter(|done| done.already).count();
                copied.already += already as u64;
                copied.written += (done.len() - already) as u64;
            }
            Err(error) if error.is_temporary() => return Err(error),
            Err(_) if piece.len() > 1 => {
                let behind = piece.split_off(piece.len() / 2);
                pieces.extend([behind, piece]);
            }
            Err(error) => match (when_refused(first, &error), &error) {
                (Refused::LeftOut, _) => copied.refused += 1,
                (
                    Refused::Later,
                    StoreError::Conflict { actual: Some(Current::Revision(last)), .. },
                ) if keeps && first.revision <= *last => {
                    let later = RecordedEvent { revision: Revision(last.0 + 1), ..first.clone() };
                    pieces.push(vec![later]);
                }
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

fn any(stream: &StreamName, events: Vec<NewEvent>) -> Append {
    Append::new(stream.clone(), ExpectedRevision::Any, events)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        event::{EventType, Json},
        store::{Capabilities, Comparison, EventStoreExt, MemoryStore, compare},
    };

    pub(in crate::store) async fn filled() -> MemoryStore {
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
            assert_eq!(compared, Comparison::Same { events: 700, later: 0 });
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
            assert_eq!(compared, Comparison::Same { events: 700, later: 0 });
        }
    }
}
