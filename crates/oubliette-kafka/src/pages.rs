//! A read as a stream: pages are fetched on blocking threads, the next while the last is used.

use std::{
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    vec,
};

use futures::Stream;
use oubliette::{
    TaskError,
    event::{Position, RecordedEvent, StreamName},
    store::{Direction, Filter, ReadAllOptions, ReadOptions, StoreError},
};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    error::KafkaError,
    log::Cursor,
    record::{self, Entry},
    shared::Shared,
};

/// A page ends with this many events,
const EVENTS: usize = 256;
/// or with about this many bytes,
const BYTES: usize = 4 * 1024 * 1024;
/// or after looking at this many records, because a filter may pass few.
const RECORDS: usize = 8 * 1024;
/// Backwards a page is read forwards first: it cannot end early.
const BACKWARDS: u64 = 64;

/// What was asked for, and how far it has come.
#[derive(Debug)]
pub(crate) enum Reading {
    /// One stream: revisions from … to, both inclusive.
    Stream {
        stream: StreamName,
        direction: Direction,
        between: (u64, u64),
        left: usize,
    },
    /// All streams: offsets from … to, both inclusive.
    All {
        direction: Direction,
        between: (u64, u64),
        left: usize,
    },
    /// As it was asked for: what is there is looked up when the first event is wanted.
    StreamFrom(StreamName, ReadOptions),
    AllFrom(ReadAllOptions),
}

/// Some events, and what is left to read. An error is the last of them.
pub(crate) struct Page {
    pub(crate) events: Events,
    pub(crate) rest: Option<Reading>,
}

pub(crate) type Events = Vec<Result<RecordedEvent, StoreError>>;

impl Reading {
    /// Fixes what the read will see: what is there now.
    fn begin(self, shared: &Shared) -> Option<Self> {
        match self {
            Self::StreamFrom(stream, ReadOptions { from, direction, limit }) => {
                let last = shared.index().next(&stream).checked_sub(1)?;
                let between = match (direction, from) {
                    (Direction::Forwards, from) => (from.map_or(0, |from| from.0), last),
                    (Direction::Backwards, from) => (0, from.map_or(last, |from| from.0.min(last))),
                };
                let left = limit.unwrap_or(usize::MAX);
                Self::Stream { stream, direction, between, left }.unless_done()
            }
            Self::AllFrom(ReadAllOptions { after, direction, limit }) => {
                let last = shared.index().head().checked_sub(1)?;
                let after = after.and_then(|after| after.as_number());
                let between = match (direction, after) {
                    (Direction::Forwards, None) => (0, last),
                    (Direction::Forwards, Some(after)) => (after.checked_add(1)?, last),
                    (Direction::Backwards, None) => (0, last),
                    (Direction::Backwards, Some(before)) => (0, before.checked_sub(1)?.min(last)),
                };
                Self::All { direction, between, left: limit.unwrap_or(usize::MAX) }.unless_done()
            }
            other => other.unless_done(),
        }
    }

    fn unless_done(self) -> Option<Self> {
        match &self {
            Self::Stream { between: (first, last), left, .. }
            | Self::All { between: (first, last), left, .. } => {
                (first <= last && *left > 0).then_some(self)
            }
            _ => Some(self),
        }
    }

    /// The next page.
    fn page(self, shared: &Shared, cancelled: &AtomicBool) -> Result<Page, KafkaError> {
        // What is known of the topic is not of what is there now.
        if let Some(lost @ KafkaError::Lost { .. }) = shared.stopped() {
            return Err(lost.clone());
        }
        let page = match self.begin(shared) {
            Some(Self::Stream { stream, direction, between, left }) => {
                stream_page(shared, cancelled, stream, direction, between, left)
            }
            Some(Self::All { direction, between, left }) => {
                all_page(shared, cancelled, direction, between, left)
            }
            _ => Ok(Page { events: Vec::new(), rest: None }),
        };
        page.map_err(|error| shared.explain(error))
    }
}

fn all_page(
    shared: &Shared,
    cancelled: &AtomicBool,
    direction: Direction,
    (first, last): (u64, u64),
    left: usize,
) -> Result<Page, KafkaError> {
    let head = shared.index().head();
    let (events, between) = match direction {
        Direction::Forwards => {
            let most = left.min(EVENTS);
            let read = |cursor: &mut Cursor| {
                forwards(shared, cursor, (first, last), most, None, cancelled)
            };
            let (events, next) = shared.cursors.with(first, head, read)?;
            (events, next.map(|next| (next, last)))
        }
        Direction::Backwards => {
            let from = last.saturating_sub(BACKWARDS - 1).max(first);
            let mut events: Events = Vec::new();
            // Over and over, because a page forwards ends with what is damaged.
            let mut next = Some(from);
            while let Some(from) = next {
                let read = |cursor: &mut Cursor| {
                    forwards(shared, cursor, (from, last), usize::MAX, None, cancelled)
                };
                let (more, rest) = shared.cursors.with(from, head, read)?;
                events.extend(more);
                next = rest.filter(|_| !cancelled.load(Ordering::Relaxed));
            }
            events.reverse();
            events.truncate(left);
            (events, from.checked_sub(1).map(|before| (first, before)))
        }
    };
    let left = left - events.len().min(left);
    let rest = between.and_then(|between| Reading::All { direction, between, left }.unless_done());
    Ok(Page { events, rest: rest.filter(|_| !cancelled.load(Ordering::Relaxed)) })
}

/// The events of all streams between two offsets, both inclusive, at most so many; and where to read on. There must be
/// an event at the last offset or behind it.
pub(crate) fn forwards(
    shared: &Shared,
    cursor: &mut Cursor,
    (first, last): (u64, u64),
    most: usize,
    filter: Option<&Filter>,
    cancelled: &AtomicBool,
) -> Result<(Events, Option<u64>), KafkaError> {
    let (mut events, mut bytes, mut records) = (Vec::new(), 0, 0);
    let (mut next, is_bounded) = (None, most != usize::MAX);
    let mut has_strangers = false;
    cursor.read(first, last, cancelled, |offset, message| {
        next = Some(offset + 1);
        records += 1;
        if offset > last {
            return Ok(ControlFlow::Break(()));
        }
        // What does not follow is passed over: the index says which records are events.
        let (is_known, wanted) = match record::entry(message) {
            Ok(Entry::Event(place, event_type)) => {
                let is_known = shared.index().is_at(place.id, offset);
                let passes = || filter.is_none_or(|all| all.passes(&place.stream, &event_type));
                (is_known, is_known && passes())
            }
            Ok(Entry::Writer(_)) => (true, false),
            Err(_) => (false, false),
        };
        has_strangers |= !is_known;
        if wanted {
            let event = record::stored(message);
            let is_damaged = event.is_err();
            bytes += message.payload_len();
            events.push(event.map_err(|error| error.at(offset)));
            if is_damaged {
                return Ok(ControlFlow::Break(()));
            }
        }
        let full = events.len() >= most || is_bounded && (bytes >= BYTES || records >= RECORDS);
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    // Between ours there are those of other programs, or these are of another topic.
    if has_strangers {
        shared.check_identity()?;
    }
    Ok((events, next.filter(|next| *next <= last)))
}

fn stream_page(
    shared: &Shared,
    cancelled: &AtomicBool,
    stream: StreamName,
    direction: Direction,
    (first, last): (u64, u64),
    left: usize,
) -> Result<Page, KafkaError> {
    let page = |most: u64| u64::try_from(left).unwrap_or(u64::MAX).min(most) - 1;
    let (from, to) = match direction {
        Direction::Forwards => (first, last.min(first.saturating_add(page(EVENTS as u64)))),
        Direction::Backwards => (first.max(last.saturating_sub(page(BACKWARDS))), last),
    };
    let index = shared.index();
    let head = index.head();
    let places = index.between(&stream, from, to);
    drop(index);
    let offsets: Vec<u64> = places.iter().map(|(_, offset)| *offset).collect();
    // Backwards all of them are read first: the last is wanted first.
    let most = if direction == Direction::Forwards { BYTES } else { usize::MAX };
    let read = |cursor: &mut Cursor| at(shared, cursor, &offsets, cancelled, most);
    let mut events = match offsets.first() {
        Some(near) => shared.cursors.with(*near, head, read)?,
        // All of them are missing.
        None => Vec::new(),
    };
    let between = match direction {
        // Where it had to end early, from the first that it did not come to.
        Direction::Forwards => (places.get(events.len()).map_or(to + 1, |(next, _)| *next), last),
        Direction::Backwards => (first, from.wrapping_sub(1)),
    };
    if direction == Direction::Backwards {
        events.reverse();
    }
    let is_done = direction == Direction::Backwards && from == 0;
    let left = left - events.len().min(left);
    let rest = Reading::Stream { stream, direction, between, left }.unless_done();
    Ok(Page { events, rest: rest.filter(|_| !is_done && !cancelled.load(Ordering::Relaxed)) })
}

/// The events at these offsets, until there are so many bytes.
fn at(
    shared: &Shared,
    cursor: &mut Cursor,
    offsets: &[u64],
    cancelled: &AtomicBool,
    most: usize,
) -> Result<Events, KafkaError> {
    let (mut events, mut bytes) = (Vec::with_capacity(offsets.len()), 0);
    for wanted in offsets {
        let mut found = None;
        cursor.read(*wanted, *wanted, cancelled, |offset, message| {
            if offset < *wanted {
                return Ok(ControlFlow::Continue(()));
            }
            bytes += message.payload_len();
            found = Some(match record::stored(message) {
                Ok(event) if shared.index().is_at(event.id, *wanted) && offset == *wanted => {
                    Ok(event)
                }
                Err(damaged) if offset == *wanted => Err(damaged),
                _ => Err(KafkaError::Damaged("it is not there any more")),
            });
            Ok(ControlFlow::Break(()))
        })?;
        // Given up.
        let Some(event) = found else { break };
        if event.is_err() {
            shared.check_identity()?;
        }
        events.push(event.map_err(|error| error.at(*wanted)));
        if bytes >= most {
            break;
        }
    }
    Ok(events)
}

/// Runs what blocks where that does no harm.
pub(crate) fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, TaskError> {
    let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
    Ok(runtime.spawn_blocking(run))
}

/// The events of a read. Fetches nothing before it is polled.
pub(crate) struct Pages {
    shared: Arc<Shared>,
    next: Option<Reading>,
    fetching: Option<JoinHandle<Result<Page, KafkaError>>>,
    ready: vec::IntoIter<Result<RecordedEvent, StoreError>>,
    cancelled: Arc<AtomicBool>,
}

impl Pages {
    pub(crate) fn new(shared: Arc<Shared>, reading: Reading) -> Self {
        let cancelled = Arc::new(AtomicBool::new(false));
        let ready = Vec::new().into_iter();
        Self { shared, next: Some(reading), fetching: None, ready, cancelled }
    }

    fn fetch(&mut self) -> Result<(), StoreError> {
        let Some(reading) = self.next.take() else { return Ok(()) };
        let (shared, cancelled) = (Arc::clone(&self.shared), Arc::clone(&self.cancelled));
        self.fetching = Some(blocking(move || reading.page(&shared, &cancelled))?);
        Ok(())
    }
}

impl Stream for Pages {
    type Item = Result<RecordedEvent, StoreError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.ready.next() {
                if event.is_err() {
                    (this.next, this.fetching) = (None, None);
                    this.ready = Vec::new().into_iter();
                }
                return Poll::Ready(Some(event));
            }
            if this.fetching.is_none()
                && let Err(error) = this.fetch()
            {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(fetching) = &mut this.fetching else { return Poll::Ready(None) };
            let fetched = ready!(Pin::new(fetching).poll(context));
            this.fetching = None;
            match fetched {
                Err(error) => return Poll::Ready(Some(Err(TaskError::from(error).into()))),
                Ok(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Ok(Ok(Page { events, rest })) => {
                    this.ready = events.into_iter();
                    this.next = rest;
                    if let Err(error) = this.fetch() {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
    }
}

/// The offset that a position is.
pub(crate) fn offset_of(position: Position) -> Result<u64, StoreError> {
    position.as_number().ok_or(StoreError::ForeignPosition(position))
}
