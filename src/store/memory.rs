//! A store in memory, for tests and for trying things out.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, iter,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    Append, Appended, Capabilities, Capability, Delivery, Direction, EventStore, EventStream,
    Filter, Purge, ReadAllOptions, ReadOptions, Removed, Rewrite, Rewritten, StoreError,
    Subscription,
    check::{Known, answer_retry, check_appends, check_restored, plan_restore},
};
use crate::event::{EventId, Position, RecordedEvent, Revision, StreamName, Timestamp};

/// Events in memory. A clone is the same store.
///
/// It keeps the whole contract, and forgets everything with its last clone.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let event = NewEvent::new(EventType::new("Paid")?, Json::parse(r#"{"amount":5}"#)?);
/// store.append_to(&StreamName::new("account-7")?, ExpectedRevision::Any, vec![event]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    capabilities: Capabilities,
    log: RwLock<Log>,
    /// How many events there are; what subscriptions wait on.
    head: watch::Sender<usize>,
}

/// All events in order: an event's position is its index.
#[derive(Default)]
struct Log {
    events: Vec<RecordedEvent>,
    /// For each stream the indices of its events, by revision.
    streams: HashMap<StreamName, BTreeMap<Revision, usize>>,
    ids: HashMap<EventId, usize>,
    /// Those that were removed: their indices are never given again.
    removed: HashSet<usize>,
}

impl MemoryStore {
    /// An empty store that can do everything.
    pub fn new() -> Self {
        Self::with_capabilities(Capabilities::ALL)
    }

    /// An empty store that can do only this much, to see how its users take it.
    pub fn with_capabilities(capabilities: Capabilities) -> Self {
        let (head, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { capabilities, log: RwLock::default(), head }) }
    }

    fn write(
        &self,
        write: impl FnOnce(&mut Log) -> Result<Vec<Appended>, StoreError>,
    ) -> Result<Vec<Appended>, StoreError> {
        let mut log = self.shared.log.write().unwrap_or_else(PoisonError::into_inner);
        let done = write(&mut log)?;
        // Told under the lock, so that the number never falls.
        self.shared.head.send_replace(log.events.len());
        Ok(done)
    }

    fn require(&self, capability: Capability) -> Result<(), StoreError> {
        if self.shared.capabilities.has(capability) {
            Ok(())
        } else {
            Err(StoreError::Unsupported(capability))
        }
    }

    fn require_direction(&self, direction: Direction) -> Result<(), StoreError> {
        match direction {
            Direction::Forwards => Ok(()),
            Direction::Backwards => self.require(Capability::ReadBackwards),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} events)", self.shared.log().events.len())
    }
}

impl Shared {
    /// A thread that panicked while holding the lock changed nothing or everything: [`Log::append`] and
    /// [`Log::restore`] decide first and then only push.
    fn log(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn last(&self, stream: &StreamName) -> Option<Revision> {
        self.streams.get(stream)?.last_key_value().map(|(last, _)| *last)
    }

    fn find(&self, id: EventId, stream: &StreamName) -> Option<Known> {
        let event = &self.events[*self.ids.get(&id)?];
        Some(Known {
            same_stream: event.stream == *stream,
            revision: event.revision,
            position: event.position,
        })
    }

    fn restore(&mut self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        let planned = plan_restore(
            &events,
            |id, stream| Ok(self.find(id, stream)),
            |stream| Ok(self.last(stream)),
        )?;
        let restored = Timestamp::now();
        let mut done = Vec::with_capacity(events.len());
        for (mut event, known) in events.into_iter().zip(planned) {
            if let Some(Known { revision, position, .. }) = known {
                done.push(Appended { revision, position, already: true });
                continue;
            }
            let position = Position::number(self.events.len() as u64);
            done.push(Appended { revision: event.revision, position, already: false });
            self.ids.insert(event.id, self.events.len());
            let indices = self.streams.entry(event.stream.clone()).or_default();
            indices.insert(event.revision, self.events.len());
            (event.position, event.restored) = (position, Some(restored));
            self.events.push(event);
        }
        Ok(done)
    }

    fn append(&mut self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let retry = answer_retry(&appends, |id, stream| Ok(self.find(id, stream)))?;
        if let Some(done) = retry {
            return Ok(done);
        }
        for Append { stream, expected, .. } in &appends {
            let last = self.last(stream);
            if !expected.matches(last) {
                return Err(StoreError::Conflict {
                    stream: stream.clone(),
                    expected: *expected,
                    actual: Some(last.into()),
                });
            }
        }
        let recorded = Timestamp::now();
        let mut done = Vec::with_capacity(appends.len());
        for append in appends {
            let next = self.last(&append.stream).map_or(0, |last| last.0 + 1);
            let indices = self.streams.entry(append.stream.clone()).or_default();
            let mut revision = Revision(next);
            for (number, event) in (next..).zip(append.events) {
                revision = Revision(number);
                indices.insert(revision, self.events.len());
                self.ids.insert(event.id, self.events.len());
                self.events.push(RecordedEvent::plain(
                    append.stream.clone(),
                    revision,
                    Position::number(self.events.len() as u64),
                    event.id,
                    event.event_type,
                    recorded,
                    event.data,
                    event.metadata,
                ));
            }
            let position = Position::number(self.events.len().saturating_sub(1) as u64);
            done.push(Appended { revision, position, already: false });
        }
        Ok(done)
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        check_appends(&appends, self.shared.capabilities)?;
        self.write(|log| log.append(appends))
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        check_restored(&events, self.shared.capabilities)?;
        self.write(|log| log.restore(events))
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        if let Err(error) = self.require_direction(options.direction) {
            return refuse(error);
        }
        let ReadOptions { from, direction, limit } = options;
        self.walk(Some(stream.clone()), direction, from.map(|from| from.0), limit)
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        let allowed = self
            .require(Capability::ReadAll)
            .and_then(|()| self.require_direction(options.direction));
        let after = allowed.and_then(|()| options.after.map(index_of).transpose());
        // Beyond it there are those of the next index, or, backwards, of the one before.
        let (from, limit) = match (after, options.direction) {
            (Err(error), _) => return refuse(error),
            (Ok(None), _) => (None, options.limit),
            (Ok(Some(0)), Direction::Backwards) => (None, Some(0)),
            (Ok(Some(after)), Direction::Backwards) => (Some(after - 1), options.limit),
            (Ok(Some(after)), Direction::Forwards) => {
                (Some(after.saturating_add(1)), options.limit)
            }
        };
        self.walk(None, options.direction, from.map(|from| from as u64), limit)
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        let allowed = self.require(Capability::Subscribe);
        let index = allowed.and_then(|()| after.map(index_of).transpose());
        let after = match (index, after) {
            (Ok(Some(index)), Some(after)) if index >= self.shared.log().events.len() => {
                return stream::iter([Err(StoreError::ForeignPosition(after))]).boxed();
            }
            (Ok(after), _) => after,
            (Err(error), _) => return stream::iter([Err(error)]).boxed(),
        };
        let state = Subscriber {
            head: self.shared.head.subscribe(),
            shared: Arc::clone(&self.shared),
            next: after.map_or(0, |after| after.saturating_add(1)),
            catching_up_to: None,
            caught_up: false,
            filter,
        };
        stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) }).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities
    }
}

#[async_trait]
impl Rewrite for MemoryStore {
    async fn rewrite(&self, events: Vec<Rewritten>) -> Result<Vec<bool>, StoreError> {
        let mut log = self.shared.log.write().unwrap_or_else(PoisonError::into_inner);
        let mut rewrite = |event: Rewritten| {
            let Rewritten { stream, revision, id, from, to } = event;
            let Some(at) = log.ids.get(&id).copied() else { return false };
            let Some(there) = log.events.get_mut(at) else { return false };
            let is_so = there.stream == stream
                && there.revision == revision
                && there.data.as_ref() == Some(&from.data)
                && there.metadata == from.metadata;
            if is_so {
                (there.data, there.metadata) = (Some(to.data), to.metadata);
            }
            is_so
        };
        Ok(events.into_iter().map(&mut rewrite).collect())
    }
}

#[async_trait]
impl Purge for MemoryStore {
    fn as_rewrite(&self) -> Option<&dyn Rewrite> {
        Some(self)
    }

    async fn remove(&self, events: Vec<Removed>) -> Result<Vec<bool>, StoreError> {
        let mut log = self.shared.log.write().unwrap_or_else(PoisonError::into_inner);
        let mut remove = |Removed { stream, revision, id }: Removed| {
            let Some(at) = log.ids.get(&id).copied() else { return false };
            let Some(there) = log.events.get_mut(at) else { return false };
            let is_so = there.stream == stream && there.revision == revision;
            if is_so {
                (there.data, there.metadata) = (None, None);
                log.ids.remove(&id);
                log.removed.insert(at);
            }
            is_so
        };
        Ok(events.into_iter().map(&mut remove).collect())
    }

    async fn scrub(&self) -> Result<Vec<String>, StoreError> {
        Ok(vec![
            "the memory of this process, until other data are written there: end it".to_owned(),
        ])
    }
}

impl MemoryStore {
    /// The events of one stream, or of all, as they are when the first is asked for; each is
    /// cloned only when its turn comes. `from` is a revision of the stream, or an index.
    fn walk(
        &self,
        stream: Option<StreamName>,
        direction: Direction,
        from: Option<u64>,
        limit: Option<usize>,
    ) -> EventStream {
        let shared = Arc::clone(&self.shared);
        let mut left: Option<Indices> = None;
        let events = iter::from_fn(move || {
            let log = shared.log();
            let left = left.get_or_insert_with(|| log.indices(stream.as_ref(), direction, from));
            loop {
                let at = match direction {
                    Direction::Forwards => left.next(),
                    Direction::Backwards => left.next_back(),
                }?;
                if !log.removed.contains(&at) {
                    return log.events.get(at).cloned().map(Ok);
                }
            }
        });
        stream::iter(events.take(limit.unwrap_or(usize::MAX))).boxed()
    }
}

/// Which events a read goes through, in the order of the log.
type Indices = Box<dyn DoubleEndedIterator<Item = usize> + Send>;

impl Log {
    fn indices(
        &self,
        stream: Option<&StreamName>,
        direction: Direction,
        from: Option<u64>,
    ) -> Indices {
        let (first, last) = match direction {
            Direction::Forwards => (from.unwrap_or(0), u64::MAX),
            Direction::Backwards => (0, from.unwrap_or(u64::MAX)),
        };
        match stream {
            Some(stream) => {
                let indices = self.streams.get(stream).into_iter();
                let within = indices.flat_map(|all| all.range(Revision(first)..=Revision(last)));
                Box::new(within.map(|(_, at)| *at).collect::<Vec<_>>().into_iter())
            }
            None => {
                let end = index(last).saturating_add(1).min(self.events.len());
                Box::new(index(first)..end)
            }
        }
    }
}

/// A number beyond every index is as good as any other.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The index that a position is.
fn index_of(position: Position) -> Result<usize, StoreError> {
    position.as_number().map(index).ok_or(StoreError::ForeignPosition(position))
}

fn refuse(error: StoreError) -> EventStream {
    stream::iter([Err(error)]).boxed()
}

struct Subscriber {
    shared: Arc<Shared>,
    head: watch::Receiver<usize>,
    /// The index of the next event to look at.
    next: usize,
    /// How many events there were at the start.
    catching_up_to: Option<usize>,
    caught_up: bool,
    filter: Filter,
}

impl Subscriber {
    async fn next(&mut self) -> Option<Result<Delivery, StoreError>> {
        loop {
            if let Some(delivery) = self.delivery() {
                return Some(Ok(delivery));
            }
            let next = self.next;
            // The sender lives in `shared`, so that this fails never.
            self.head.wait_for(|&head| head > next).await.ok()?;
        }
    }

    /// What can be delivered without waiting.
    fn delivery(&mut self) -> Option<Delivery> {
        let log = self.shared.log();
        let target = *self.catching_up_to.get_or_insert(log.events.len());
        loop {
            if !self.caught_up && self.next >= target {
                self.caught_up = true;
                return Some(Delivery::CaughtUp);
            }
            let event = log.events.get(self.next)?;
            self.next += 1;
            if !log.removed.contains(&(self.next - 1))
                && self.filter.passes(&event.stream, &event.event_type)
            {
                return Some(Delivery::Event(event.clone()));
            }
        }
    }
}
