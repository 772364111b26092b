//! Reading and subscribing through the layer.
//!
//! Opening is spread over the processor's cores in chunks, and comes out in order.

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use futures::{Stream, StreamExt, TryStreamExt, future, stream};

use super::{
    CodecError, Layer,
    document::Notes,
    halves::{Found, Joined, join_all, join_one},
    placement::Placement,
};
use crate::{
    event::{Position, StreamName},
    store::{
        Delivery, Direction, EventStore, EventStream, Filter, ReadAllOptions, ReadOptions,
        StoreError, Subscription,
    },
};

/// How many events are opened in one go on one core.
const CHUNK: usize = 128;
/// Fewer than this are opened where they are: handing them to another thread costs more.
const FEW: usize = 8;

pub(super) fn read<S: EventStore>(
    layer: &Arc<Layer<S>>,
    stream: &StreamName,
    options: ReadOptions,
) -> EventStream {
    let (layer, stream) = (Arc::clone(layer), stream.clone());
    let begin = async move {
        // The public half of a split stream may be read by its own name: then it is all there is.
        if layer.codec.policy().logical_of_public(&stream).is_some() {
            return Ok(public_half(&layer, &stream, options));
        }
        let found = match layer.placement(&stream).await? {
            Placement::Single => single(&layer, &stream, options).boxed(),
            Placement::Split(names) => join_one(&layer, stream, &names, options).boxed(),
        };
        Ok::<_, StoreError>(events(open_in_order(layer, found.map_ok(Joined::Event))))
    };
    stream::once(begin).try_flatten().boxed()
}

pub(super) fn read_all<S: EventStore>(
    layer: &Arc<Layer<S>>,
    options: ReadAllOptions,
) -> EventStream {
    // Private halves count for the inner store, so that the limit is applied here.
    let inner = layer.store.read_all(ReadAllOptions { limit: None, ..options });
    let inner = inner.map_ok(Delivery::Event).boxed();
    let joined = join_all(Arc::clone(layer), inner, options.direction);
    let joined = joined.take(options.limit.unwrap_or(usize::MAX));
    events(open_in_order(Arc::clone(layer), joined))
}

pub(super) fn subscribe<S: EventStore>(
    layer: &Arc<Layer<S>>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    // The prefix is one of logical names, which only this layer knows.
    let Filter { stream_prefixes, event_types } = filter;
    let inner = layer.store.subscribe(after, Filter { event_types, ..Filter::default() });
    let logical = Filter { stream_prefixes, ..Filter::default() };
    let joined = join_all(Arc::clone(layer), inner, Direction::Forwards);
    let joined = joined.try_filter(move |joined| {
        future::ready(match joined {
            Joined::Event(found) => logical.passes(&found.event.stream, &found.event.event_type),
            Joined::CaughtUp => true,
        })
    });
    open_in_order(Arc::clone(layer), joined).boxed()
}

fn single<S: EventStore>(
    layer: &Layer<S>,
    stream: &StreamName,
    options: ReadOptions,
) -> impl Stream<Item = Result<Found, StoreError>> + Send + use<S> {
    layer.store.read(stream, options).try_filter_map(|event| {
        let notes = Notes::of(event.metadata.as_ref());
        // A private half that the policy no longer knows as one is still nobody's event.
        let found = notes.public.is_none().then_some(Found { event, notes, private: None });
        future::ready(Ok(found))
    })
}

fn public_half<S: EventStore>(
    layer: &Layer<S>,
    stream: &StreamName,
    options: ReadOptions,
) -> EventStream {
    let strip = |mut event: crate::event::RecordedEvent| {
        event.metadata = Notes::strip(event.metadata.as_ref());
        event
    };
    layer.store.read(stream, options).map_ok(strip).boxed()
}

fn events(
    deliveries: impl Stream<Item = Result<Delivery, StoreError>> + Send + 'static,
) -> EventStream {
    let event = |delivery| match delivery {
        Delivery::Event(event) => Some(event),
        Delivery::CaughtUp => None,
    };
    deliveries.try_filter_map(move |delivery| future::ready(Ok(event(delivery)))).boxed()
}

/// Opens what comes, several chunks at a time, and keeps the order. The first error ends it.
fn open_in_order<S: EventStore>(
    layer: Arc<Layer<S>>,
    found: impl Stream<Item = Result<Joined, StoreError>> + Send + 'static,
) -> impl Stream<Item = Result<Delivery, StoreError>> + Send + 'static {
    let cores = available_parallelism().map_or(2, NonZeroUsize::get);
    found
        .ready_chunks(CHUNK)
        .map(move |chunk| {
            let layer = Arc::clone(&layer);
            async move {
                if chunk.len() < FEW {
                    return open_all(&layer, chunk);
                }
                let opened = tokio::task::spawn_blocking(move || open_all(&layer, chunk)).await;
                opened.unwrap_or_else(|_| vec![Err(interrupted())])
            }
        })
        .buffered(cores)
        .flat_map(stream::iter)
        .scan(false, |failed, opened| {
            // Nothing follows an error.
            let before = std::mem::replace(failed, *failed || opened.is_err());
            future::ready((!before).then_some(opened))
        })
}

fn open_all<S: EventStore>(
    layer: &Layer<S>,
    chunk: Vec<Result<Joined, StoreError>>,
) -> Vec<Result<Delivery, StoreError>> {
    let open = |joined| match joined {
        Joined::Event(found) => layer.open(found).map(Delivery::Event),
        Joined::CaughtUp => Ok(Delivery::CaughtUp),
    };
    chunk.into_iter().map(|joined| joined.and_then(open)).collect()
}

fn interrupted() -> StoreError {
    CodecError::Invalid("the runtime ended while events were being opened".to_owned()).on_append()
}
