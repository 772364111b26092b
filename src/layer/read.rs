//! Reading and subscribing through the layer.
//!
//! Events are opened in chunks, by the task that reads them and, ahead of it, by other threads, and come out in order.

mod queue;

use std::{
    future, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use futures::{
    FutureExt, Stream, StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream,
};

use self::queue::{CHUNK, CHUNK_BYTES, Helper, IN_A_ROW, Oldest, Queue};
use super::{
    Layer, Oubliette,
    document::Head,
    error::unreadable_event,
    halves::{Audience, Found, Joined, is_single, join_all, join_one},
    placement::Placement,
    wanted::Wanted,
};
use crate::{
    event::{EventType, Position, RecordedEvent, SUBJECT_FORGOTTEN, StreamName},
    runtime,
    store::{
        Delivery, Direction, EventStore, EventStream, Filter, ReadAllOptions, ReadOptions,
        StoreError, Subscription,
    },
};

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
                let source = Source::Stream(layer.store.read(&stream, options));
                InOrder::new(layer, wanted, source, as_event).boxed()
            }
            Placement::Split(names) => {
                let joined = join_one(&layer, wanted.clone(), stream, &names, options);
                InOrder::new(layer, wanted, Source::Joined(joined.boxed()), as_event).boxed()
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
    let source = Source::Joined(joined.boxed());
    InOrder::new(Arc::clone(layer), of.wanted.clone(), source, as_event).boxed()
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
    let source = Source::Joined(joined.boxed());
    InOrder::new(Arc::clone(layer), of.wanted.clone(), source, as_delivery).boxed()
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

/// How what was opened is delivered; `None`: it is not to be seen by this reader.
type Deliver<T> = fn(Joined) -> Option<T>;

fn as_event(opened: Joined) -> Option<RecordedEvent> {
    match opened {
        Joined::Event(found) => Some(found.event),
        Joined::Misplaced(..) | Joined::LoneHalf(_) | Joined::CaughtUp => None,
    }
}

fn as_delivery(opened: Joined) -> Option<Delivery> {
    match opened {
        Joined::CaughtUp => Some(Delivery::CaughtUp),
        opened => as_event(opened).map(Delivery::Event),
    }
}

/// Where events come from.
enum Source {
    /// One stream that is in one piece.
    Stream(EventStream),
    /// Their halves were looked for.
    Joined(BoxStream<'static, Result<Joined, StoreError>>),
}

impl Source {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Joined, StoreError>>> {
        match self {
            Self::Stream(events) => {
                let unread = |event| Joined::Event(Found::unread(event));
                events.poll_next_unpin(context).map(|next| next.map(|event| event.map(unread)))
            }
            Self::Joined(joined) => joined.poll_next_unpin(context),
        }
    }
}

/// Opens what comes, several chunks at a time, and keeps the order. The first error ends it.
///
/// By hand, and each event where it is, because a struct of some hundred bytes is moved in each combinator, each
/// future and each result between the store and the reader, and that came to more than deciphering it.
///
/// The task that reads opens the chunk that it wants next, where no other thread has begun with it: to have a third core
/// open it moves it from cache to cache once more. Helpers open the chunks behind it: as many as there are cores beside
/// this one and the store's; and where the store is quicker than its reader, one more.
struct InOrder<S, T> {
    layer: Arc<Layer<S>>,
    opener: Opener,
    source: Source,
    deliver: Deliver<T>,
    queue: Arc<Queue>,
    /// The chunk that this task opens itself, and its number: kept, where that has to wait for something.
    opening: Option<(u64, BoxFuture<'static, Events>)>,
    /// How many chunks it has opened and handed out since other tasks could run.
    in_a_row: usize,
    ready: vec::IntoIter<Result<Joined, StoreError>>,
    /// Whether nothing more is found, or nothing more may follow.
    ended: bool,
}

/// Events as they were found, or as they were opened.
type Events = Vec<Result<Joined, StoreError>>;

/// How events are opened.
#[derive(Clone)]
struct Opener {
    wanted: Option<Arc<Wanted>>,
    /// Whether it was seen that they are where they belong, as joining halves does.
    placed: bool,
}

impl<S: EventStore, T: Send + 'static> InOrder<S, T> {
    fn new(
        layer: Arc<Layer<S>>,
        wanted: Option<Arc<Wanted>>,
        source: Source,
        deliver: Deliver<T>,
    ) -> Self {
        let opener = Opener { wanted, placed: matches!(source, Source::Joined(_)) };
        let (queue, ready) = (Arc::default(), Vec::new().into_iter());
        let (opening, in_a_row, ended) = (None, 0, false);
        Self { layer, opener, source, deliver, queue, opening, in_a_row, ready, ended }
    }

    /// Takes what is there already.
    fn gather(&mut self, context: &mut Context<'_>) {
        let mut waits = false;
        while !waits && !self.ended && self.queue.has_room() {
            let (mut events, mut bytes) = (Vec::new(), 0);
            while events.len() < CHUNK && bytes < CHUNK_BYTES && !self.ended && !waits {
                match self.source.poll_next(context) {
                    Poll::Ready(Some(found)) => {
                        bytes += found.as_ref().map_or(0, Joined::bytes);
                        self.ended = found.is_err();
                        events.push(found);
                    }
                    Poll::Ready(None) => self.ended = true,
                    Poll::Pending => waits = true,
                }
            }
            if !events.is_empty() {
                self.queue.push(events, bytes);
            }
        }
    }

    /// Sees to it that there are as many helpers as there should be.
    fn call_helpers(&self) {
        if runtime::is_there() && self.queue.lacks_a_helper() {
            let helper = Helper::new(&self.queue);
            let (layer, opener) = (Arc::downgrade(&self.layer), self.opener.clone());
            // Without one it only takes longer.
            let _ = runtime::spawn_blocking(move || helper.run(&layer, &opener));
        }
    }

    /// The oldest chunk, opened; `None`: there is nothing more. While a helper is at it, this task opens a later one.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Events>> {
        loop {
            if self.in_a_row >= IN_A_ROW {
                // Other tasks of this thread wait meanwhile, and so do its timers.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.queue.oldest(context) {
                Oldest::Opened(events) => {
                    self.in_a_row += 1;
                    return Poll::Ready(Some(events));
                }
                Oldest::None if self.ended => return Poll::Ready(None),
                Oldest::None => return Poll::Pending,
                Oldest::Unopened => {}
            }
            if self.opening.is_none() {
                let Some((number, events)) = self.queue.take_closed() else { return Poll::Pending };
                let opening = self.opener.clone().open(Arc::clone(&self.layer), events);
                self.opening = Some((number, opening.boxed()));
            }
            let Some((number, opening)) = &mut self.opening else { return Poll::Pending };
            let opened = ready!(opening.poll_unpin(context));
            self.queue.put_back(*number, opened);
            self.opening = None;
            self.in_a_row += 1;
        }
    }
}

impl<S: EventStore, T: Send + 'static> Stream for InOrder<S, T> {
    type Item = Result<T, StoreError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.ready.next() {
                Some(Ok(opened)) => match (this.deliver)(opened) {
                    Some(delivered) => return Poll::Ready(Some(Ok(delivered))),
                    None => continue,
                },
                Some(Err(error)) => {
                    // Nothing follows an error.
                    this.ended = true;
                    this.opening = None;
                    this.queue.clear();
                    this.ready = Vec::new().into_iter();
                    return Poll::Ready(Some(Err(error)));
                }
                None => {}
            }
            this.gather(context);
            this.call_helpers();
            let polled = this.poll_chunk(context);
            if polled.is_pending() {
                this.in_a_row = 0;
            }
            match ready!(polled) {
                Some(opened) => this.ready = opened.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<S, T> Drop for InOrder<S, T> {
    fn drop(&mut self) {
        // Helpers stop at the next chunk.
        self.queue.clear();
    }
}

impl Opener {
    /// Opens each of them in its place.
    async fn open<S: EventStore>(self, layer: Arc<Layer<S>>, mut events: Events) -> Events {
        for found in &mut events {
            if let Ok(joined) = found
                && let Err(error) = open(&layer, &self, joined).await
            {
                *found = Err(error);
            }
        }
        events
    }
}

async fn open<S: EventStore>(
    layer: &Layer<S>,
    opener: &Opener,
    joined: &mut Joined,
) -> Result<(), StoreError> {
    let found = match joined {
        Joined::Event(found) => found,
        Joined::Misplaced(event, unreadable) => {
            return Err(unreadable_event(unreadable.clone(), event));
        }
        Joined::LoneHalf(_) | Joined::CaughtUp => return Ok(()),
    };
    if !opener.placed && !is_single(&found.event) {
        let event = &mut found.event;
        if event.is_bookkeeping() {
            // They are not signed.
            event.metadata = None;
            return Ok(());
        }
        let head = Head::of(event.metadata.as_ref(), Some(&event.stream)).and_then(|head| {
            layer.logical_of(&event.stream, &head.notes)?;
            Ok(head)
        });
        match head {
            Ok(head) if head.notes.public.is_some() => {
                // A private half that is read by its own name is no event.
                if let Joined::Event(half) = mem::replace(joined, Joined::CaughtUp) {
                    *joined = Joined::LoneHalf(half.event);
                }
                return Ok(());
            }
            // Anyone can write what looks like a tombstone, and stops no reader.
            Err(unreadable) if !event.is_tombstone() => {
                return Err(unreadable_event(unreadable, event));
            }
            head => found.set_head(head),
        }
    }
    layer.open(found, opener.wanted.as_deref()).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::task::noop_waker;
    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::{
        event::{EventId, Json, NewEvent},
        policy::Policy,
        store::{EventStoreExt, ExpectedRevision, MemoryStore},
        vault::Vault,
    };

    const SPLIT: &str = "[[stream]]\nmatch = 'user-{id}'\nlayout = 'split'\npublic = ['/id']";

    fn name(text: &str) -> StreamName {
        StreamName::new(text).unwrap()
    }

    fn event(event_type: &str) -> NewEvent {
        let data = Json::parse(r#"{"id":1,"to":"Leipzig"}"#).unwrap();
        NewEvent::new(EventType::new(event_type).unwrap(), data)
    }

    /// A layer with so many events in `user-1`, and the store beneath it.
    fn bank(
        runtime: &Runtime,
        policy: &str,
        events: usize,
    ) -> (Oubliette<MemoryStore>, MemoryStore) {
        runtime.block_on(async {
            let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
            let policy = Policy::parse(policy).unwrap();
            let layer = Oubliette::open(store.clone(), vault, policy).await.unwrap();
            let events = (0..events).map(|_| event("Moved")).collect();
            layer.append_to(&name("user-1"), ExpectedRevision::Any, events).await.unwrap();
            (layer, store)
        })
    }

    /// How many events came, and how often the reader gave way; it is polled at once again.
    fn polled(
        events: &mut (impl Stream<Item = Result<RecordedEvent, StoreError>> + Unpin),
    ) -> (usize, usize) {
        let waker = noop_waker();
        let (mut read, mut pauses) = (0, 0);
        loop {
            match events.poll_next_unpin(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(event)) => read += usize::from(event.is_ok()),
                Poll::Ready(None) => return (read, pauses),
                Poll::Pending => pauses += 1,
            }
        }
    }

    /// A reader of nothing, whose chunks the test puts into the queue.
    fn reader(layer: &Oubliette<MemoryStore>, chunks: u64) -> InOrder<MemoryStore, RecordedEvent> {
        let source = Source::Stream(stream::empty().boxed());
        let reader = InOrder::new(Arc::clone(&layer.layer), None, source, as_event);
        (0..chunks).for_each(|_| reader.queue.push(Vec::new(), 0));
        reader
    }

    /// Outside of a runtime there are no helpers, and the store in memory is always ready.
    #[test]
    fn a_reader_lets_other_tasks_run_now_and_then() {
        const CHUNKS: usize = 20;
        let (layer, _) = bank(&Runtime::new().unwrap(), "", CHUNKS * CHUNK);
        let mut events = layer.read(&name("user-1"), ReadOptions::default());
        assert_eq!(polled(&mut events), (CHUNKS * CHUNK, 2 * CHUNKS / IN_A_ROW));
    }

    #[test]
    fn a_reader_lets_other_tasks_run_also_where_helpers_open_all_of_it() {
        let (layer, _) = bank(&Runtime::new().unwrap(), "", 1);
        let mut reader = reader(&layer, 20);
        while let Some((number, events)) = reader.queue.take_closed() {
            reader.queue.put_back(number, events);
        }
        assert_eq!(polled(&mut reader), (0, 20 / IN_A_ROW));
    }

    #[test]
    fn what_waits_for_a_vault_elsewhere_keeps_no_earlier_chunk_back() {
        let (layer, _) = bank(&Runtime::new().unwrap(), "", 1);
        let mut reader = reader(&layer, 2);
        let of_helper = reader.queue.take_closed().unwrap();
        let ours = reader.queue.take_closed().unwrap();
        reader.opening = Some((ours.0, future::pending().boxed()));
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        assert!(reader.poll_chunk(&mut context).is_pending());
        reader.queue.put_back(of_helper.0, of_helper.1);
        assert!(reader.poll_chunk(&mut context).is_ready());
    }

    /// A helper that has to wait for a thread is called and has not begun.
    #[test]
    fn no_helper_holds_the_layer_when_the_read_is_over() {
        let runtime =
            Builder::new_multi_thread().enable_all().max_blocking_threads(1).build().unwrap();
        let (layer, _) = bank(&runtime, "", 40 * CHUNK);
        let (go_on, wait) = mpsc::channel::<()>();
        let busy = runtime.spawn_blocking(move || wait.recv());
        let entered = runtime.enter();
        let mut events = layer.read(&name("user-1"), ReadOptions::default());
        assert_eq!(polled(&mut events).0, 40 * CHUNK);
        let weak = Arc::downgrade(&layer.layer);
        drop((events, layer));
        assert!(weak.upgrade().is_none());
        drop((entered, go_on));
        assert!(runtime.block_on(busy).unwrap().is_err());
    }

    /// Anybody can write it: a reader with a vault sees that it is nobody's word, and one without sees that it is there.
    #[test]
    fn what_looks_like_a_tombstone_in_another_place_is_shown() {
        let runtime = Runtime::new().unwrap();
        let (layer, store) = bank(&runtime, SPLIT, 1);
        let notes =
            format!(r#"{{"$oubliette":{{"stream":"user-1","public":"{}"}}}}"#, EventId::random());
        let forged = event(SUBJECT_FORGOTTEN).with_metadata(Json::parse(&notes).unwrap());
        let policy = Policy::parse(SPLIT).unwrap();
        runtime.block_on(async {
            store
                .append_to(&name("user-public-1"), ExpectedRevision::Any, vec![forged])
                .await
                .unwrap();
            for layer in [layer, Oubliette::without_vault(store, policy)] {
                let events = layer.events(&name("user-1"), ReadOptions::default()).await.unwrap();
                assert_eq!(events.len(), 2, "{layer:?}");
            }
        });
    }
}
