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
    /// What it notes does not fit the place where it is, or cannot be read.
    Misplaced(RecordedEvent, Unreadable),
    /// A private half whose public half is nowhere. Auditors alone are shown it.
    LoneHalf(RecordedEvent),
    CaughtUp,
}

/// Who reads all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// They get what is somebody's event, and an error at the first that cannot be read.
    Readers,
    /// They get all that is there, also what is wrong with it.
    Auditors,
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
    Ready(Joined),
    /// For the private half with this id.
    Half(Found, EventId),
}

struct Join<S> {
    layer: Arc<Layer<S>>,
    inner: Subscription,
    backwards: bool,
    audience: Audience,
    ended: bool,
    queue: VecDeque<Waiting>,
    /// Private halves whose public half has not come yet; each is near the other.
    held: HashMap<EventId, RecordedEvent>,
}

/// Joins the halves among the deliveries of all streams; private halves disappear. Only a failure of the store
/// ends it.
pub(super) fn join_all<S: EventStore>(
    layer: Arc<Layer<S>>,
    inner: Subscription,
    direction: Direction,
    audience: Audience,
) -> impl futures::Stream<Item = Result<Joined, StoreError>> + Send {
    let join = Join {
        layer,
        inner,
        backwards: direction == Direction::Backwards,
        audience,
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
                Some(Waiting::Ready(joined)) => return Ok(Some(joined)),
                Some(Waiting::Half(mut found, id)) if impatient => {
                    // Whether it can be done without, the opening says.
                    found.private =
                        self.layer.private_half(&found.event.stream, id).await?.map(Box::new);
                    return Ok(Some(Joined::Event(found)));
                }
                Some(waiting) => self.queue.push_front(waiting),
                None if self.ended => return Ok(None),
                None => {}
            }
            match self.inner.next().await.transpose()? {
                None => {
                    self.ended = true;
                    self.let_go();
                }
                Some(Delivery::CaughtUp) => self.ready(Joined::CaughtUp),
                Some(Delivery::Event(event)) => self.take(event),
            }
        }
    }

    fn take(&mut self, mut event: RecordedEvent) {
        if event.is_announcement() {
            // The layer's bookkeeping is no event. Read by its stream's name it is shown.
            if self.audience == Audience::Auditors {
                // Only what is signed counts of it: no note beside it, and no token in it.
                event.metadata = None;
                self.ready(Joined::Event(Found { event, private: None }));
            }
            return;
        }
        let notes = match Notes::of(event.metadata.as_ref()) {
            Ok(notes) => notes,
            Err(unreadable) => return self.misplaced(event, unreadable),
        };
        let logical = logical_of(&self.layer.codec, &event.stream, &notes);
        if notes.public.is_some() && (logical.is_ok() || self.may_be_anothers(&notes)) {
            return self.take_half(event);
        }
        let private = notes.private.and_then(|id| self.held.remove(&id)).map(Box::new);
        event.stream = match logical {
            Ok(logical) => logical,
            // What is told of the one half goes for the other.
            Err(unreadable) => return self.misplaced(event, unreadable),
        };
        self.queue.push_back(match notes.private {
            Some(id) if private.is_none() => Waiting::Half(Found { event, private }, id),
            _ => Waiting::Ready(Joined::Event(Found { event, private })),
        });
    }

    fn take_half(&mut self, half: RecordedEvent) {
        let waits =
            |waiting: &&mut Waiting| matches!(waiting, Waiting::Half(_, id) if *id == half.id);
        if let Some(waiting) = self.queue.iter_mut().find(waits) {
            return waiting.resolve(half);
        }
        // More halves than an append has, beside those of one of which the other halves are not
        // read: they are not needed.
        if self.held.len() >= 2 * PATIENCE {
            self.let_go();
        }
        self.held.insert(half.id, half);
    }

    /// Waits no longer for the public halves of those that are held.
    fn let_go(&mut self) {
        let lone = self.held.drain().map(|(_, half)| Waiting::Ready(Joined::LoneHalf(half)));
        if self.audience == Audience::Auditors {
            self.queue.extend(lone);
        }
    }

    fn misplaced(&mut self, event: RecordedEvent, unreadable: Unreadable) {
        // Anybody can write what looks like a tombstone, and stops no reader.
        let passes = event.is_tombstone() && self.audience == Audience::Readers;
        self.ready(match passes {
            true => Joined::Event(Found { event, private: None }),
            false => Joined::Misplaced(event, unreadable),
        });
    }

    fn ready(&mut self, joined: Joined) {
        self.queue.push_back(Waiting::Ready(joined));
    }

    /// Whether no rule of the policy splits the stream that is noted: another vault's policy may. Then its
    /// public half, which has a tag, says whose both are. Readers are told of it at once.
    fn may_be_anothers(&self, notes: &Notes) -> bool {
        let names = |logical| self.layer.policy().reading_plan(logical).split_names;
        self.audience == Audience::Auditors
            && notes.stream.as_ref().is_some_and(|logical| names(logical).is_none())
    }
}

impl<S: EventStore> Layer<S> {
    /// Finds a private half in its stream; it is likely to be near the end.
    async fn private_half(
        &self,
        logical: &StreamName,
        id: EventId,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        let Some(names) = self.policy().reading_plan(logical).split_names else {
            return Ok(None);
        };
        Ok(self.find_in(&names.private, [id].into(), None).await?.pop())
    }

    /// The notes of an event in the readable half of a logical stream.
    ///
    /// # Errors
    /// [`Unreadable::Misplaced`] where they are those of another stream's, or of a private half; others where
    /// they cannot be read. Of what looks like a tombstone, which stops no reader, judging it says so.
    pub(super) fn notes_under(
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
        let taken = std::mem::replace(self, Self::Ready(Joined::CaughtUp));
        *self = match taken {
            Self::Half(mut found, _) => {
                found.private = Some(Box::new(private));
                Self::Ready(Joined::Event(found))
            }
            ready @ Self::Ready(_) => ready,
        };
    }
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
            let notes = layer.notes_under(&event, &logical)?;
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
