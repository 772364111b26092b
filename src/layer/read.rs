//! Reading and subscribing through the layer.
//!
//! Opening is spread over the processor's cores in chunks, and comes out in order.

use std::{
    collections::VecDeque,
    future, mem,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    thread::available_parallelism,
    vec,
};

use futures::{
    FutureExt, Stream, StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream,
};

use super::{
    Layer, Oubliette,
    document::Head,
    error::unreadable_event,
    halves::{Audience, Found, Joined, join_all, join_one},
    placement::Placement,
    wanted::Wanted,
};
use crate::{
    event::{EventType, Position, RecordedEvent, SUBJECT_FORGOTTEN, StreamName},
    runtime::{self, Task},
    store::{
        Delivery, Direction, EventStore, EventStream, Filter, ReadAllOptions, ReadOptions,
        StoreError, Subscription,
    },
};

/// How many events are opened in one go on one core.
const CHUNK: usize = 128;
/// Fewer than this are opened where they are: handing them to another thread costs more. So are all
/// outside of a runtime.
const FEW: usize = 8;
/// How many chunks are read at once: one for each core, and one each for when it is done.
/// Asked for once, because the system answers from files.
static AHEAD: LazyLock<usize> =
    LazyLock::new(|| 2 * available_parallelism().map_or(2, NonZeroUsize::get));

pub(super) fn read<S: EventStore>(
    of: &Oubliette<S>,
    stream: &StreamName,
    options: ReadOptions,
) -> EventStream {
    let (layer, wanted) = (Arc::clone(&of.layer), of.wanted.clone());
    let stream = stream.clone();
    let begin = async move {
        // The public half of a split stream may be read by its own name: then it is all there is.
        if let Some(logical) = layer.codec.policy().logical_of_public(&stream) {
            return Ok(public_half(&layer, &stream, logical, options));
        }
        Ok::<_, StoreError>(match layer.placement(&stream).await? {
            Placement::Single => {
                let events = layer.store.read(&stream, options);
                open_in_order::<_, OneStream>(layer, wanted, events)
            }
            Placement::Split(names) => {
                let found = join_one(&layer, wanted.clone(), stream, &names, options).boxed();
                open_in_order::<_, TwoHalves>(layer, wanted, found)
            }
        })
    };
    stream::once(begin).try_flatten().boxed()
}

pub(super) fn read_all<S: EventStore>(of: &Oubliette<S>, options: ReadAllOptions) -> EventStream {
    let layer = &of.layer;
    // Private halves count for the inner store, so that the limit is applied here.
    let inner = layer.store.read_all(ReadAllOptions { limit: None, ..options });
    let inner = inner.map_ok(Delivery::Event).boxed();
    let joined =
        join_all(Arc::clone(layer), of.wanted.clone(), inner, options.direction, Audience::Readers);
    let joined = joined.take(options.limit.unwrap_or(usize::MAX));
    open_in_order::<_, AllStreams>(Arc::clone(layer), of.wanted.clone(), joined.boxed())
}

pub(super) fn subscribe<S: EventStore>(
    of: &Oubliette<S>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    let layer = &of.layer;
    // The prefix is one of logical names, which only this layer knows.
    let Filter { stream_prefixes, mut event_types } = filter;
    // Those who ask for some types only must still hear that somebody is forgotten.
    if !event_types.is_empty() {
        event_types.extend(EventType::new(SUBJECT_FORGOTTEN));
    }
    let inner = layer.store.subscribe(after, Filter { event_types, ..Filter::default() });
    let logical = Filter { stream_prefixes, ..Filter::default() };
    let joined = join_all(
        Arc::clone(layer),
        of.wanted.clone(),
        inner,
        Direction::Forwards,
        Audience::Readers,
    );
    let joined = joined.try_filter(move |joined| {
        future::ready(match joined {
            Joined::Event(found) => logical.passes(&found.event.stream, &found.event.event_type),
            Joined::Misplaced(..) | Joined::LoneHalf(_) | Joined::CaughtUp => true,
        })
    });
    open_in_order::<_, Deliveries>(Arc::clone(layer), of.wanted.clone(), joined.boxed())
}

fn public_half<S: EventStore>(
    layer: &Arc<Layer<S>>,
    stream: &StreamName,
    logical: StreamName,
    options: ReadOptions,
) -> EventStream {
    let events = layer.store.read(stream, options);
    let layer = Arc::clone(layer);
    let strip = move |mut event: RecordedEvent| {
        let (layer, logical) = (Arc::clone(&layer), logical.clone());
        async move {
            layer.head_under(&event, &logical)?;
            // Signed, as sealed, under the logical name.
            let physical = mem::replace(&mut event.stream, logical);
            layer.open_public(&mut event).await?;
            event.stream = physical;
            Ok(event)
        }
    };
    events.and_then(strip).boxed()
}

/// How what is found becomes what is delivered.
trait Open<S>: 'static {
    type Found: Send + 'static;
    type Opened: Send + Unpin + 'static;

    /// `None` where it is not to be seen.
    fn open(
        layer: &Layer<S>,
        wanted: Option<&Wanted>,
        found: Self::Found,
    ) -> impl Future<Output = Result<Option<Self::Opened>, StoreError>> + Send;
}

struct OneStream;

impl<S: EventStore> Open<S> for OneStream {
    type Found = RecordedEvent;
    type Opened = RecordedEvent;

    async fn open(
        layer: &Layer<S>,
        wanted: Option<&Wanted>,
        mut event: RecordedEvent,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        if event.is_announcement() {
            // They are not signed.
            event.metadata = None;
            return Ok(Some(event));
        }
        let head = Head::of(event.metadata.as_ref(), Some(&event.stream)).and_then(|head| {
            layer.logical_of(&event.stream, &head.notes)?;
            Ok(head)
        });
        match &head {
            // A private half that is read by its own name is no event.
            Ok(head) if head.notes.public.is_some() => return Ok(None),
            // Anyone can write what looks like a tombstone, and stops no reader.
            Err(unreadable) if !event.is_tombstone() => {
                return Err(unreadable_event(unreadable.clone(), &event));
            }
            Ok(_) | Err(_) => {}
        }
        layer.open(Found { event, head, private: None }, wanted).await.map(Some)
    }
}

struct TwoHalves;

impl<S: EventStore> Open<S> for TwoHalves {
    type Found = Found;
    type Opened = RecordedEvent;

    async fn open(
        layer: &Layer<S>,
        wanted: Option<&Wanted>,
        found: Found,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        layer.open(found, wanted).await.map(Some)
    }
}

struct AllStreams;

impl<S: EventStore> Open<S> for AllStreams {
    type Found = Joined;
    type Opened = RecordedEvent;

    async fn open(
        layer: &Layer<S>,
        wanted: Option<&Wanted>,
        joined: Joined,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        Ok(match Deliveries::open(layer, wanted, joined).await? {
            Some(Delivery::Event(event)) => Some(event),
            Some(Delivery::CaughtUp) | None => None,
        })
    }
}

struct Deliveries;

impl<S: EventStore> Open<S> for Deliveries {
    type Found = Joined;
    type Opened = Delivery;

    async fn open(
        layer: &Layer<S>,
        wanted: Option<&Wanted>,
        joined: Joined,
    ) -> Result<Option<Delivery>, StoreError> {
        match joined {
            Joined::Event(found) => Ok(Some(Delivery::Event(layer.open(found, wanted).await?))),
            Joined::Misplaced(event, unreadable) => Err(unreadable_event(unreadable, &event)),
            Joined::LoneHalf(_) => Ok(None),
            Joined::CaughtUp => Ok(Some(Delivery::CaughtUp)),
        }
    }
}

/// Opens what comes, several chunks at a time, and keeps the order. The first error ends it.
fn open_in_order<S: EventStore, O: Open<S>>(
    layer: Arc<Layer<S>>,
    wanted: Option<Arc<Wanted>>,
    found: BoxStream<'static, Result<O::Found, StoreError>>,
) -> BoxStream<'static, Result<O::Opened, StoreError>> {
    let (chunks, ready) = (VecDeque::new(), Vec::new().into_iter());
    InOrder::<S, O> { layer, wanted, found, chunks, ready, ended: false }.boxed()
}

/// See [`open_in_order`]. By hand, because each combinator between an event and its reader moves
/// some hundred bytes once more, on the one thread that the reader waits for.
struct InOrder<S, O: Open<S>> {
    layer: Arc<Layer<S>>,
    wanted: Option<Arc<Wanted>>,
    found: BoxStream<'static, Result<O::Found, StoreError>>,
    /// The chunks being read, the oldest first.
    chunks: VecDeque<Chunk<O::Opened>>,
    ready: vec::IntoIter<Result<O::Opened, StoreError>>,
    /// Whether nothing more is found, or nothing more may follow.
    ended: bool,
}

/// Where a chunk is opened: by the task that polls, or on another thread.
enum Chunk<T> {
    Here(BoxFuture<'static, Vec<Result<T, StoreError>>>),
    There(Task<Vec<Result<T, StoreError>>>),
}

impl<T> Chunk<T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Vec<Result<T, StoreError>>> {
        match self {
            Self::Here(opening) => opening.poll_unpin(context),
            Self::There(task) => task
                .poll_unpin(context)
                .map(|done| done.unwrap_or_else(|error| vec![Err(error.into())])),
        }
    }
}

impl<S: EventStore, O: Open<S>> InOrder<S, O> {
    /// Takes what is there already, and has it opened.
    fn gather(&mut self, context: &mut Context<'_>) {
        while !self.ended && self.chunks.len() < *AHEAD {
            let mut chunk = Vec::new();
            let mut waits = false;
            while chunk.len() < CHUNK && !self.ended && !waits {
                match self.found.poll_next_unpin(context) {
                    Poll::Ready(Some(found)) => {
                        self.ended = found.is_err();
                        chunk.push(found);
                    }
                    Poll::Ready(None) => self.ended = true,
                    Poll::Pending => waits = true,
                }
            }
            if !chunk.is_empty() {
                self.chunks.push_back(self.begin(chunk));
            }
            if waits {
                return;
            }
        }
    }

    fn begin(&self, chunk: Vec<Result<O::Found, StoreError>>) -> Chunk<O::Opened> {
        let (few, layer) = (chunk.len() < FEW, Arc::clone(&self.layer));
        let opening = open_all::<S, O>(layer, self.wanted.clone(), chunk);
        if few || !runtime::is_there() {
            return Chunk::Here(opening.boxed());
        }
        match runtime::spawn_blocking(move || runtime::block_on(opening)) {
            Ok(opening) => Chunk::There(opening),
            Err(error) => Chunk::Here(future::ready(vec![Err(error.into())]).boxed()),
        }
    }
}

impl<S: EventStore, O: Open<S>> Stream for InOrder<S, O> {
    type Item = Result<O::Opened, StoreError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(opened) = this.ready.next() {
                if opened.is_err() {
                    // Nothing follows an error.
                    this.ended = true;
                    this.chunks.clear();
                    this.ready = Vec::new().into_iter();
                }
                return Poll::Ready(Some(opened));
            }
            this.gather(context);
            let opened = match this.chunks.front_mut() {
                None if this.ended => return Poll::Ready(None),
                None => return Poll::Pending,
                Some(chunk) => ready!(chunk.poll(context)),
            };
            this.chunks.pop_front();
            this.ready = opened.into_iter();
        }
    }
}

async fn open_all<S: EventStore, O: Open<S>>(
    layer: Arc<Layer<S>>,
    wanted: Option<Arc<Wanted>>,
    chunk: Vec<Result<O::Found, StoreError>>,
) -> Vec<Result<O::Opened, StoreError>> {
    let mut opened = Vec::with_capacity(chunk.len());
    for found in chunk {
        match found {
            Ok(found) => {
                opened.extend(O::open(&layer, wanted.as_deref(), found).await.transpose());
            }
            Err(error) => opened.push(Err(error)),
        }
    }
    opened
}
