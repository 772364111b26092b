//! Bringing the two halves of split events together.
//!
//! In the store of all streams both halves are near each other, because they were appended
//! together: the private half first, so that a reader who meets a public half has met its private
//! half. Where that does not help (the read began between the two, or goes backwards), the
//! private half is waited for a little, then looked up in its stream.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, future, stream, stream::Peekable};

use super::{
    Layer,
    document::{Document, Head, Notes},
    error::unreadable_event,
    opening::{are_dead, data_of},
    placement::logical_of,
    wanted::{Wanted, is_enough},
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

/// How many ids of halves an auditor keeps before it begins anew: at some forty bytes each.
const IDS: usize = 1_000_000;

/// An event as it is stored, complete: with its private half, where it has one.
#[derive(Debug)]
pub(super) struct Found {
    /// The event, or its public half, under its logical stream.
    pub(super) event: RecordedEvent,
    /// What was read of it so far; `None`: nothing that is worth keeping. Boxed, because all events are moved about,
    /// and of most there is nothing.
    pub(super) read: Option<Box<HeadAndHalf>>,
}

/// What was read of an event before it is opened.
#[derive(Debug)]
pub(super) struct HeadAndHalf {
    /// What its metadata say, or why they cannot be read.
    pub(super) head: Result<Head, Unreadable>,
    /// Its private half.
    pub(super) private: Option<Half>,
}

/// The private half of an event.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) event: RecordedEvent,
    head: Result<Head, Unreadable>,
}

impl Half {
    /// Of an event in this logical stream, if it is genuine.
    pub(super) fn of(event: RecordedEvent, logical: &StreamName) -> Self {
        let head = Head::of(event.metadata.as_ref(), Some(logical)).map(Head::kept);
        Self { event, head }
    }
}

impl Found {
    /// An event of which nothing was read.
    pub(super) fn unread(event: RecordedEvent) -> Self {
        Self { event, read: None }
    }

    pub(super) fn new(
        event: RecordedEvent,
        head: Result<Head, Unreadable>,
        private: Option<Half>,
    ) -> Self {
        // What is read again as fast as it is kept is not kept.
        if private.is_none() && head.as_ref().is_ok_and(Head::is_brief) {
            return Self::unread(event);
        }
        Self { event, read: Some(Box::new(HeadAndHalf { head, private })) }
    }

    /// Keeps what its metadata say, so that they are not read twice.
    pub(super) fn set_head(&mut self, head: Result<Head, Unreadable>) {
        self.read = Some(Box::new(HeadAndHalf { head, private: None }));
    }

    fn set_private(&mut self, half: Option<Half>) {
        if let Some(read) = &mut self.read {
            read.private = half;
        }
    }
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

impl Joined {
    /// How many bytes of payload and metadata it holds.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Event(found) => {
                let half = found.read.as_ref().and_then(|read| read.private.as_ref());
                found.event.bytes() + half.map_or(0, |half| half.event.bytes())
            }
            Self::Misplaced(event, _) | Self::LoneHalf(event) => event.bytes(),
            Self::CaughtUp => 0,
        }
    }
}

/// Who reads all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// They get what is somebody's event, and an error at the first that cannot be read.
    Readers,
    /// They get all that is there, also what is wrong with it.
    Auditors,
}

/// What an event is that is stored in one piece or, with its private half, in two. `public_only`: the private one
/// may be left out on purpose.
pub(super) async fn document_of(
    event: &RecordedEvent,
    read: Option<Box<HeadAndHalf>>,
    vault: Option<&dyn Keeper>,
    public_only: bool,
) -> Result<Document, Unreadable> {
    let (head, private) = match read {
        Some(read) => (read.head, read.private),
        None => (Head::of(event.metadata.as_ref(), Some(&event.stream)), None),
    };
    let Some(half) = private else {
        let document = Document::behind(head?, event)?;
        let is_enough = match (vault, &document) {
            (Some(vault), Document::Stored(public)) => {
                public_only && is_enough(vault, &public.notes).await
            }
            _ => false,
        };
        return match document {
            Document::Stored(public) if is_enough => Ok(Document::Stored(public.alone()?)),
            Document::Stored(public) if public.notes.private.is_some() => {
                Ok(Document::Stored(public.without_half(vault).await?))
            }
            document => Ok(document),
        };
    };
    let private = half.head?.with_half(data_of(&half.event)?)?;
    match (Document::behind(head?, event)?, private) {
        (Document::Stored(public), Document::Stored(private)) => {
            Ok(Document::Stored(public.join(event.id, private, half.event.id)?))
        }
        _ => Err(Unreadable::Tampered),
    }
}

/// Whether an event is surely in one piece, where it belongs, and somebody's.
pub(super) fn is_single(event: &RecordedEvent) -> bool {
    Head::is_tag_at_most(event.metadata.as_ref()) && !event.is_bookkeeping()
}

enum Waiting {
    Ready(Joined),
    /// For the private half with this id.
    Half(Found, EventId),
}

/// Private halves whose public half has not come yet. One append stores both in the same order, so that the first of them
/// is the one that is asked for: no look-up by id, but where another half is missing.
#[derive(Default)]
struct Held {
    in_order: VecDeque<Half>,
    /// Those past which another one was asked for.
    others: HashMap<EventId, Half>,
}

impl Held {
    fn take(&mut self, id: EventId) -> Option<Half> {
        if self.in_order.front().is_some_and(|half| half.event.id == id) {
            return self.in_order.pop_front();
        }
        self.others.extend(self.in_order.drain(..).map(|half| (half.event.id, half)));
        self.others.remove(&id)
    }

    fn len(&self) -> usize {
        self.in_order.len() + self.others.len()
    }

    fn let_go(&mut self) -> impl Iterator<Item = Half> {
        self.others.drain().map(|(_, half)| half).chain(self.in_order.drain(..))
    }
}

struct Join<S> {
    layer: Arc<Layer<S>>,
    wanted: Option<Arc<Wanted>>,
    inner: Subscription,
    backwards: bool,
    audience: Audience,
    ended: bool,
    queue: VecDeque<Waiting>,
    held: Held,
    /// The logical stream that was noted last, and where its halves are: the next one is often the same.
    last: Option<(StreamName, Option<SplitNames>)>,
    /// Which halves are in the private streams of these, for auditors of which a half was looked for.
    there: HashMap<StreamName, HashSet<EventId>>,
}

/// Joins the halves among the deliveries of all streams; private halves disappear. Only a failure of the store
/// ends it.
pub(super) fn join_all<S: EventStore>(
    layer: Arc<Layer<S>>,
    wanted: Option<Arc<Wanted>>,
    inner: Subscription,
    direction: Direction,
    audience: Audience,
) -> impl futures::Stream<Item = Result<Joined, StoreError>> + Send {
    // Boxed, because it is handed on with each event.
    let join = Box::new(Join {
        layer,
        wanted,
        inner,
        backwards: direction == Direction::Backwards,
        audience,
        ended: false,
        queue: VecDeque::new(),
        held: Held::default(),
        last: None,
        there: HashMap::new(),
    });
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
                    // Whether it can be done without, the opening says. A reader does without one that says nothing: it may
                    // be purged, and the whole stream would be searched for it. An auditor wants to see what is there.
                    let notes = found.read.as_ref().and_then(|read| read.head.as_ref().ok());
                    let is_dead = match notes {
                        Some(head) => self.layer.is_dead(&head.notes).await,
                        None => false,
                    };
                    let logical = &found.event.stream;
                    let is_wanted = match (is_dead, self.audience) {
                        (false, _) => true,
                        (true, Audience::Readers) => false,
                        (true, Audience::Auditors) => self.may_be_there(logical, id).await?,
                    };
                    if is_wanted {
                        found.set_private(self.layer.private_half(logical, id).await?);
                    }
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
                // Asked first, because it is by far the most frequent: it is nobody's half, and need not queue.
                Some(Delivery::Event(event)) if self.queue.is_empty() && is_single(&event) => {
                    return Ok(Some(Joined::Event(Found::unread(event))));
                }
                Some(Delivery::Event(event)) => self.take(event).await,
            }
        }
    }

    /// Whether a dead half is in its stream still, which is read for the ids in it once and not for each that is purged.
    async fn may_be_there(
        &mut self,
        logical: &StreamName,
        id: EventId,
    ) -> Result<bool, StoreError> {
        let Some(names) = self.layer.policy().reading_plan(logical).split_names else {
            return Ok(false);
        };
        if !self.there.contains_key(logical) {
            let known: usize = self.there.values().map(HashSet::len).sum();
            if known > IDS {
                self.there.clear();
            }
            let mut ids = HashSet::new();
            let mut halves = self.layer.store.read(&names.private, ReadOptions::default());
            while let Some(half) = self.layer.next(&mut halves).await? {
                ids.insert(half.id);
            }
            self.there.insert(logical.clone(), ids);
        }
        Ok(self.there.get(logical).is_some_and(|ids| ids.contains(&id)))
    }

    async fn take(&mut self, mut event: RecordedEvent) {
        if event.is_bookkeeping() {
            // The layer's bookkeeping is no event. Read by its stream's name it is shown.
            if self.audience == Audience::Auditors {
                // Only what is signed counts of it: no note beside it, and no token in it.
                event.metadata = None;
                self.ready(Joined::Event(Found::unread(event)));
            }
            return;
        }
        let near = self.last.as_ref().map(|(logical, _)| logical);
        let head = match Head::of(event.metadata.as_ref(), near) {
            Ok(head) => head.kept(),
            Err(unreadable) => return self.misplaced(event, unreadable),
        };
        let notes = &head.notes;
        let names = self.halves_of(notes);
        let logical = logical_of(&self.layer.codec, &event.stream, notes, |_| names);
        if notes.public.is_some() && (logical.is_ok() || self.may_be_anothers(notes)) {
            return self.take_half(Half { event, head: Ok(head) });
        }
        let id = notes.private;
        let private = id.and_then(|id| self.held.take(id));
        event.stream = match logical {
            Ok(logical) => logical,
            // What is told of the one half goes for the other.
            Err(unreadable) => return self.misplaced(event, unreadable),
        };
        let needs_half = id.is_some()
            && self.layer.needs_half(&event, &head.notes, self.wanted.as_deref()).await;
        let private = private.filter(|_| needs_half);
        let waits = needs_half && private.is_none();
        let found = Found::new(event, Ok(head), private);
        self.queue.push_back(match id {
            Some(id) if waits => Waiting::Half(found, id),
            _ => Waiting::Ready(Joined::Event(found)),
        });
    }

    /// Where the halves of the stream are that is noted.
    fn halves_of(&mut self, notes: &Notes) -> Option<SplitNames> {
        let logical = notes.stream.as_ref()?;
        let last = match self.last.take() {
            Some(last) if last.0 == *logical => last,
            _ => (logical.clone(), self.layer.policy().reading_plan(logical).split_names),
        };
        self.last.insert(last).1.clone()
    }

    fn take_half(&mut self, half: Half) {
        let waits = |waiting: &&mut Waiting| matches!(waiting, Waiting::Half(_, id) if *id == half.event.id);
        if let Some(waiting) = self.queue.iter_mut().find(waits) {
            return waiting.resolve(half);
        }
        // More halves than an append has, beside those of one of which the other halves are not
        // read: they are not needed.
        if self.held.len() >= 2 * PATIENCE {
            self.let_go();
        }
        self.held.in_order.push_back(half);
    }

    /// Waits no longer for the public halves of those that are held.
    fn let_go(&mut self) {
        let lone = self.held.let_go();
        if self.audience == Audience::Auditors {
            self.queue.extend(lone.map(|half| Waiting::Ready(Joined::LoneHalf(half.event))));
        }
    }

    fn misplaced(&mut self, event: RecordedEvent, unreadable: Unreadable) {
        // Anybody can write what looks like a tombstone, and stops no reader.
        let passes = event.is_tombstone() && self.audience == Audience::Readers;
        self.ready(match passes {
            true => Joined::Event(Found::unread(event)),
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
    ) -> Result<Option<Half>, StoreError> {
        let Some(names) = self.policy().reading_plan(logical).split_names else {
            return Ok(None);
        };
        let half = self.find_in(&names.private, [id].into(), None).await?.pop();
        Ok(half.map(|half| Half::of(half, logical)))
    }

    /// What the metadata say of an event in the readable half of a logical stream.
    ///
    /// # Errors
    /// [`Unreadable::Misplaced`] where they are those of another stream's, or of a private half; others where
    /// they cannot be read. Of what looks like a tombstone, which stops no reader, judging it says so.
    pub(super) fn head_under(
        &self,
        event: &RecordedEvent,
        logical: &StreamName,
    ) -> Result<Head, StoreError> {
        let placed = Head::of(event.metadata.as_ref(), Some(logical)).and_then(|head| {
            let of_another = head.notes.stream.as_ref().is_some_and(|stream| stream != logical);
            if of_another || head.notes.public.is_some() {
                Err(Unreadable::Misplaced)
            } else {
                Ok(head)
            }
        });
        match placed {
            Err(_) if event.is_tombstone() => Ok(Head::default()),
            placed => placed.map_err(|unreadable| unreadable_event(unreadable, event)),
        }
    }

    /// Whether something is wanted of an event that its public half does not have.
    async fn needs_half(
        &self,
        event: &RecordedEvent,
        notes: &Notes,
        wanted: Option<&Wanted>,
    ) -> bool {
        match (wanted, self.keeper()) {
            (None, _) => true,
            (Some(wanted), _) if !wanted.takes(event) => false,
            (Some(wanted), Some(vault)) => !wanted.public_only || !is_enough(vault, notes).await,
            (Some(_), None) => true,
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
    fn resolve(&mut self, private: Half) {
        let taken = std::mem::replace(self, Self::Ready(Joined::CaughtUp));
        *self = match taken {
            Self::Half(mut found, _) => {
                found.set_private(Some(private));
                Self::Ready(Joined::Event(found))
            }
            ready @ Self::Ready(_) => ready,
        };
    }
}

/// Reads one split stream: its public half, and beside it, in step, its private half.
pub(super) fn join_one<S: EventStore>(
    layer: &Arc<Layer<S>>,
    wanted: Option<Arc<Wanted>>,
    logical: StreamName,
    names: &SplitNames,
    options: ReadOptions,
) -> impl futures::Stream<Item = Result<Joined, StoreError>> + Send + use<S> {
    let public = layer.store.read(&names.public, options);
    // Boxed, because it is handed on with each event.
    let halves = Box::new(Halves {
        layer: Arc::clone(layer),
        wanted,
        logical,
        public,
        private: None,
        private_name: names.private.clone(),
        direction: options.direction,
    });
    stream::try_unfold(halves, |mut halves| async move {
        Ok(halves.next().await?.map(|found| (Joined::Event(found), halves)))
    })
}

/// The two halves of one stream, each in order.
struct Halves<S> {
    layer: Arc<Layer<S>>,
    wanted: Option<Arc<Wanted>>,
    logical: StreamName,
    public: EventStream,
    /// Read from when it is needed first: who wants public fields alone never needs it.
    private: Option<Peekable<EventStream>>,
    private_name: StreamName,
    direction: Direction,
}

impl<S: EventStore> Halves<S> {
    async fn next(&mut self) -> Result<Option<Found>, StoreError> {
        let Some(mut event) = self.public.try_next().await? else { return Ok(None) };
        let head = self.layer.head_under(&event, &self.logical)?;
        event.stream = self.logical.clone();
        let needs = self.layer.needs_half(&event, &head.notes, self.wanted.as_deref()).await;
        let half = match head.notes.private.filter(|_| needs) {
            Some(id) => {
                let read = || {
                    // Where in the private half to begin is not known, because its revisions are its own: from
                    // the same end as the public half, past what is not asked for.
                    let options =
                        ReadOptions { direction: self.direction, ..ReadOptions::default() };
                    self.layer.store.read(&self.private_name, options).peekable()
                };
                let private = self.private.get_or_insert_with(read);
                match next_is(private, id).await {
                    Some(half) => Some(half?),
                    // Where it is not next it may be gone, and the search for it would pass by those
                    // of later events.
                    None if self.layer.is_dead(&head.notes).await => None,
                    None => find(private, id).await?,
                }
            }
            None => None,
        };
        let half = half.map(|half| Half::of(half, &self.logical));
        Ok(Some(Found::new(event, Ok(head), half)))
    }
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
