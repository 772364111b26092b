//! Bringing the two halves of split events together.
//!
//! In the store of all streams both halves are near each other, because they were appended
//! together: the private half first, so that a reader who meets a public half has met its private
//! half. Where that does not help (the read began between the two, or goes backwards), the
//! private half is waited for a little, then looked up in its stream.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, future, stream, stream::Peekable};

use super::{
    Layer,
    document::{Document, Notes},
    error::unreadable_event,
    opening::are_dead,
    placement::logical_of,
};
use crate::{
    event::{EventId, RecordedEvent, StreamName},
    policy::SplitNames,
    store::{
        Delivery, Direction, EventStore, EventStream, ReadOptions, StoreError, Subscription,
        Unreadable,
    },
    vault::Keeper,
};

/// How many halves are kept waiting for the other before it is looked up; and how many split
/// events one append has at most, so that this suffices.
pub(super) const PATIENCE: usize = 4096;

/// An event as it is stored, complete: with its private half, where it has one.
#[derive(Debug)]
pub(super) struct Found {
    /// The event, or its public half, under its logical stream.
    pub(super) event: RecordedEvent,
    /// Its private half; boxed, because most events have none and all are moved about.
    pub(super) private: Option<Box<RecordedEvent>>,
}

/// What a stream of deliveries holds once halves are joined.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // as `Delivery`
pub(super) enum Joined {
    Event(Found),
    CaughtUp,
}

/// What an event is that is stored in one piece or, with its private half, in two.
pub(super) async fn document_of(
    event: &RecordedEvent,
    private: Option<&RecordedEvent>,
    vault: Option<&dyn Keeper>,
) -> Result<Document, Unreadable> {
    let taken_apart = |half: &RecordedEvent| Document::of(half).map(|document| (document, half.id));
    let private = private.map(taken_apart).transpose()?;
    match (Document::of(event)?, private) {
        (Document::Stored(public), Some((Document::Stored(private), id))) => {
            Ok(Document::Stored(public.join(event.id, private, id)?))
        }
        (_, Some(_)) => Err(Unreadable::Tampered),
        (Document::Stored(public), None) if public.notes.private.is_some() => {
            Ok(Document::Stored(public.without_half(vault).await?))
        }
        (document, None) => Ok(document),
    }
}

enum Waiting {
    Ready(Result<Joined, StoreError>),
    /// For the private half with this id.
    Half(Found, EventId),
}

struct Join<S> {
    layer: Arc<Layer<S>>,
    inner: Subscription,
    backwards: bool,
    ended: bool,
    queue: VecDeque<Waiting>,
    held: HashMap<EventId, RecordedEvent>,
}

/// Joins the halves among the deliveries of all streams; private halves disappear.
pub(super) fn join_all<S: EventStore>(
    layer: Arc<Layer<S>>,
    inner: Subscription,
    direction: Direction,
) -> impl futures::Stream<Item = Result<Joined, StoreError>> + Send {
    let join = Join {
        layer,
        inner,
        backwards: direction == Direction::Backwards,
        ended: false,
        queue: VecDeque::new(),
        held: HashMap::new(),
    };
    stream::try_unfold(join, |mut join| async move {
        Ok(join.next().await?.map(|joined| (joined, join)))
    })
}

impl<S: EventStore> Join<S> {
    async fn next(&mut self) -> Result<Option<Joined>, StoreError> {
        loop {
            let patience = if self.backwards { PATIENCE } else { 0 };
            let impatient = self.ended || self.queue.len() > patience;
            match self.queue.pop_front() {
                Some(Waiting::Ready(joined)) => return joined.map(Some),
                Some(Waiting::Half(found, id)) if impatient => {
                    return look_up(&self.layer, found, id).await.map(Some);
                }
                Some(waiting) => self.queue.push_front(waiting),
                None if self.ended => return Ok(None),
                None => {}
            }
            match self.inner.next().await.transpose()? {
                None => self.ended = true,
                Some(Delivery::CaughtUp) => {
                    self.queue.push_back(Waiting::Ready(Ok(Joined::CaughtUp)));
                }
                Some(Delivery::Event(event)) => self.take(event),
            }
        }
    }

    fn take(&mut self, mut event: RecordedEvent) {
        // The layer's bookkeeping is no event. Read by its stream's name it is shown.
        if event.is_announcement() {
            return;
        }
        let placed = Notes::of(event.metadata.as_ref())
            .and_then(|notes| Ok((logical_of(&self.layer.codec, &event.stream, &notes)?, notes)));
        let (logical, notes) = match placed {
            Ok(placed) => placed,
            Err(_) if event.is_tombstone() => {
                // Anybody can write what looks like one, and stops no reader.
                let found = Found { event, private: None };
                return self.queue.push_back(Waiting::Ready(Ok(Joined::Event(found))));
            }
            Err(unreadable) => {
                let error = unreadable_event(unreadable, &event);
                return self.queue.push_back(Waiting::Ready(Err(error)));
            }
        };
        if notes.public.is_some() {
            let waits =
                |waiting: &&mut Waiting| matches!(waiting, Waiting::Half(_, id) if *id == event.id);
            match self.queue.iter_mut().find(waits) {
                Some(waiting) => waiting.resolve(event),
                None => {
                    // More halves than an append has, beside those of one of which the other
                    // halves are not read: they are not needed.
                    if self.held.len() >= 2 * PATIENCE {
                        self.held.clear();
                    }
                    self.held.insert(event.id, event);
                }
            }
            return;
        }
        event.stream = logical;
        let half = notes.private;
        let mut found = Found { event, private: None };
        self.queue.push_back(match half {
            None => Waiting::Ready(Ok(Joined::Event(found))),
            Some(id) => match self.held.remove(&id) {
                Some(private) => {
                    found.private = Some(Box::new(private));
                    Waiting::Ready(Ok(Joined::Event(found)))
                }
                None => Waiting::Half(found, id),
            },
        });
    }
}

impl<S: EventStore> Layer<S> {
    /// The notes of an event in the readable half of a logical stream.
    ///
    /// # Errors
    /// [`Unreadable::Misplaced`] where they are those of another stream's, or of a private half; others where
    /// they cannot be read. Of what looks like a tombstone, which stops no reader, judging it says so.
    pub(super) fn memos_under(
        &self,
        event: &RecordedEvent,
        logical: &StreamName,
    ) -> Result<Notes, StoreError> {
        let placed = Notes::of(event.metadata.as_ref()).and_then(|notes| {
            let of_another = notes.stream.as_ref().is_some_and(|stream| stream != logical);
            if of_another || notes.public.is_some() {
                Err(Unreadable::Misplaced)
            } else {
                Ok(notes)
            }
        });
        match placed {
            Err(_) if event.is_tombstone() => Ok(Notes::default()),
            placed => placed.map_err(|unreadable| unreadable_event(unreadable, event)),
        }
    }

    /// Whether the private half of an event would say nothing, because its keys are all destroyed.
    async fn is_dead(&self, notes: &Notes) -> bool {
        match self.keeper() {
            Some(vault) if !notes.stubs.is_empty() => are_dead(vault, &notes.stubs).await,
            _ => false,
        }
    }
}

impl Waiting {
    fn resolve(&mut self, private: RecordedEvent) {
        let taken = std::mem::replace(self, Self::Ready(Ok(Joined::CaughtUp)));
        *self = match taken {
            Self::Half(mut found, _) => {
                found.private = Some(Box::new(private));
                Self::Ready(Ok(Joined::Event(found)))
            }
            ready @ Self::Ready(_) => ready,
        };
    }
}

/// Finds a private half in its stream; it is likely to be near the end.
async fn look_up<S: EventStore>(
    layer: &Layer<S>,
    mut found: Found,
    id: EventId,
) -> Result<Joined, StoreError> {
    let plan = layer.codec.policy().reading_plan(&found.event.stream);
    let Some(names) = plan.split_names else {
        return Err(unreadable_event(Unreadable::HalfMissing, &found.event));
    };
    // Whether it can be done without, the opening says.
    found.private = layer.find_in(&names.private, [id].into(), None).await?.pop().map(Box::new);
    Ok(Joined::Event(found))
}

/// Reads one split stream: its public half, and beside it, in step, its private half.
pub(super) fn join_one<S: EventStore>(
    layer: &Arc<Layer<S>>,
    logical: StreamName,
    names: &SplitNames,
    options: ReadOptions,
) -> impl futures::Stream<Item = Result<Found, StoreError>> + Send + use<S> {
    // Where in the private half to begin is not known, because its revisions are its own: from
    // the same end as the public half, past what is not asked for.
    let from_the_end = ReadOptions { direction: options.direction, ..ReadOptions::default() };
    let private = layer.store.read(&names.private, from_the_end).peekable();
    let layer = Arc::clone(layer);
    let public = layer.store.read(&names.public, options);
    stream::try_unfold((public, private), move |(mut public, mut private)| {
        let (layer, logical) = (Arc::clone(&layer), logical.clone());
        async move {
            let Some(mut event) = public.try_next().await? else { return Ok(None) };
            let notes = layer.memos_under(&event, &logical)?;
            event.stream = logical;
            let mut found = Found { event, private: None };
            if let Some(id) = notes.private {
                found.private = match next_is(&mut private, id).await {
                    Some(half) => Some(half?),
                    // Where it is not next it may be gone, and the search for it would pass by those
                    // of later events.
                    None if layer.is_dead(&notes).await => None,
                    None => find(&mut private, id).await?,
                }
                .map(Box::new);
            }
            Ok(Some((found, (public, private))))
        }
    })
}

/// The next half, if it has this id.
async fn next_is(
    private: &mut Peekable<EventStream>,
    id: EventId,
) -> Option<Result<RecordedEvent, StoreError>> {
    let wanted = |half: &Result<RecordedEvent, _>| half.as_ref().is_ok_and(|half| half.id == id);
    Pin::new(private).next_if(wanted).await
}

async fn find(
    private: &mut Peekable<EventStream>,
    id: EventId,
) -> Result<Option<RecordedEvent>, StoreError> {
    private.try_skip_while(|event| future::ready(Ok(event.id != id))).try_next().await
}
