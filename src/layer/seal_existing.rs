//! Sealing in place: events that were in clear before the layer was get the stored form, where they are.
//!
//! Ids, types, revisions, positions and times stay; payload and metadata become what an append of the same event would have
//! stored. Beside running writers: an event is changed only if it is still what was read, in one step of the store's. The
//! permit is held meanwhile, so that forgetting somebody waits, and no one is sealed under a key that dies in between.
//!
//! An event stays in one piece, also where the policy would split it today: a stream's layout is that of its first event.

use std::{collections::HashMap, sync::Arc};

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::{
    CodecError, Layer, Oubliette, SealedTo,
    document::{Document, Notes},
    placement::Placement,
    sealing::{Prepared, SealedEvent, Work, owned, prepare},
    tombstone::{self, Unvouched},
};
use crate::{
    event::{EventId, NewEvent, Position, RecordedEvent, Revision, StreamName},
    runtime,
    store::{EventStore, ReadAllOptions, Refusal, Rewrite, Rewritten, StoreError, Stored},
    vault::Keeper,
};

/// So many events are sealed and changed together.
const BATCH: usize = 128;
/// … or about this many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// So many events that stay in clear are named; all are counted.
const NAMED: usize = 1_000;

/// How far sealing in place has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SealedSoFar {
    /// Events that were in clear and are sealed now.
    pub sealed: u64,
    /// Events that were as they should be: sealed, or the layer's own.
    pub already: u64,
    /// Events that stay in clear.
    pub left: u64,
    /// The position of the last event that was looked at.
    #[serde(skip)]
    pub up_to: Option<Position>,
}

/// An event that stays in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LeftInClear {
    /// Its stream.
    pub stream: StreamName,
    /// Its revision.
    pub revision: Revision,
    /// Its id.
    pub id: EventId,
    /// Why, and what to do.
    pub why: String,
}

/// What sealing in place did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SealedExisting {
    /// The counts.
    #[serde(flatten)]
    pub counts: SealedSoFar,
    /// Events that stay in clear: the first thousand of them.
    #[serde(rename = "left_events")]
    pub left: Vec<LeftInClear>,
    /// Where what they were may still be, each in a sentence that says what to do about it.
    pub former_contents: Vec<String>,
}

impl<S: EventStore> Oubliette<S> {
    /// Seals, in the store beneath, what is there in clear, as the policy has it. `beneath` is that store, the same that this
    /// layer is around, by the trait that lets it change events. Repeatable, and it can be cut off: what is sealed is passed over.
    ///
    /// Afterwards the store clears away what the events were, as far as it can, each time anew; what it cannot reach is named. And where
    /// nothing stays in clear, the vault notes up to where: each [plan](Oubliette::plan) reads what is behind that, because a
    /// person may be in clear anywhere, as long as somebody goes on writing so.
    ///
    /// ```
    /// use oubliette::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let events = MemoryStore::new();
    /// let user = StreamName::new("user-456")?;
    /// let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
    /// events.append_to(&user, ExpectedRevision::Any, vec![moved]).await?; // years ago
    ///
    /// let store = Oubliette::open(events.clone(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
    /// let done = store.seal_existing(&events, |so_far| println!("{}", so_far.sealed)).await?;
    /// assert_eq!((done.counts.sealed, done.counts.left), (1, 0));
    /// store.forget(&Subject::of(&user), "asked for it").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Refused`] without a vault; errors of the store and of the vault. What was done until then is done.
    pub async fn seal_existing(
        &self,
        beneath: &dyn Rewrite,
        mut progress: impl FnMut(SealedSoFar),
    ) -> Result<SealedExisting, StoreError> {
        runtime::check()?;
        let keeper = self.layer.keeper_here()?;
        let mut sealing = Sealing {
            layer: &self.layer,
            keeper,
            beneath,
            counts: SealedSoFar::default(),
            left: Vec::new(),
            last: None,
        };
        // The last batch ends with its end, and the next one asks again.
        let mut events = beneath.read_all(ReadAllOptions::default()).fuse().boxed();
        loop {
            let (batch, last) = sealing.next(&mut events).await?;
            let Some(last) = last else { break };
            sealing.seal(batch).await?;
            sealing.counts.up_to = Some(last);
            progress(sealing.counts);
        }
        // Also where nothing was left to seal: the one before may have been cut off before it cleared away what it left.
        let looked_at = sealing.counts.sealed + sealing.counts.already;
        let former_contents = match looked_at {
            0 => Vec::new(),
            _ => beneath.scrub().await?,
        };
        if let (0, Some(vault), Some(last)) = (sealing.counts.left, self.vault(), sealing.last) {
            self.layer.mark_sealed(vault, last).await.map_err(CodecError::from)?;
        }
        let Sealing { counts, left, .. } = sealing;
        Ok(SealedExisting { counts, left, former_contents })
    }
}

impl<S: EventStore> Layer<S> {
    pub(crate) fn keeper_here(&self) -> Result<Arc<dyn Keeper>, StoreError> {
        let refused = || StoreError::Refused { refusal: Refusal::NoVault, source: None };
        self.codec.keeper().cloned().ok_or_else(refused)
    }
}

struct Sealing<'a, S> {
    layer: &'a Arc<Layer<S>>,
    keeper: Arc<dyn Keeper>,
    beneath: &'a dyn Rewrite,
    counts: SealedSoFar,
    left: Vec<LeftInClear>,
    /// The last event that was looked at.
    last: Option<SealedTo>,
}

impl<S: EventStore> Sealing<'_, S> {
    /// The next events in clear, and the position of the last one that was looked at.
    async fn next(
        &mut self,
        events: &mut crate::store::EventStream,
    ) -> Result<(Vec<RecordedEvent>, Option<Position>), StoreError> {
        let (mut batch, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        let mut last = self.counts.up_to;
        while batch.len() < BATCH && bytes < BATCH_BYTES && looked_at < 16 * BATCH {
            let Some(event) = events.try_next().await? else { break };
            self.last = Some(SealedTo::new(last, event.id));
            (looked_at, last) = (looked_at + 1, Some(event.position));
            if event.is_tombstone() && !self.has_form(&event).await? {
                self.leave(
                    &event,
                    "it has the type of a tombstone, and not the form of one: an event of yours needs another type"
                        .to_owned(),
                );
                continue;
            }
            match is_in_clear(&event) {
                Ok(true) => {
                    bytes += event.bytes();
                    batch.push(event);
                }
                Ok(false) => self.counts.already += 1,
                Err(unreadable) => self.leave(&event, unreadable.to_string()),
            }
        }
        Ok((batch, last.filter(|_| looked_at > 0)))
    }

    /// Whether an event of the type of a tombstone has the form of one, in which nothing personal has room.
    async fn has_form(&self, event: &RecordedEvent) -> Result<bool, StoreError> {
        let Some(event) = self.layer.under_its_stream(event.clone()) else { return Ok(false) };
        let judged = tombstone::judge(&*self.keeper, &event).await.map_err(CodecError::from)?;
        Ok(!matches!(judged, Err(Unvouched::Odd(_) | Unvouched::Misplaced)))
    }

    fn leave(&mut self, event: &RecordedEvent, why: String) {
        self.counts.left += 1;
        if self.left.len() < NAMED {
            let RecordedEvent { stream, revision, id, .. } = event;
            self.left.push(LeftInClear {
                stream: stream.clone(),
                revision: *revision,
                id: *id,
                why,
            });
        }
    }

    /// Seals them together; one by one where one of them is refused.
    async fn seal(&mut self, batch: Vec<RecordedEvent>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        match self.try_to_seal(&batch).await {
            Ok(()) => return Ok(()),
            Err(error) if is_of_the_event(&error) && batch.len() > 1 => {}
            Err(error) if is_of_the_event(&error) => {
                let why = crate::words::chain(&error);
                batch.iter().for_each(|event| self.leave(event, why.clone()));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for event in batch {
            match self.try_to_seal(std::slice::from_ref(&event)).await {
                Ok(()) => {}
                Err(error) if is_of_the_event(&error) => {
                    self.leave(&event, crate::words::chain(&error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn try_to_seal(&mut self, batch: &[RecordedEvent]) -> Result<(), StoreError> {
        let (mut streams, mut places) = (Vec::<(StreamName, Vec<NewEvent>)>::new(), Vec::new());
        let mut at: HashMap<&StreamName, usize> = HashMap::new();
        for event in batch {
            let stream = *at.entry(&event.stream).or_insert_with(|| {
                streams.push((event.stream.clone(), Vec::new()));
                streams.len() - 1
            });
            streams[stream].1.push(NewEvent::copy_of(event));
            places.push(stream);
        }
        let policy = self.layer.policy();
        let mut work = Vec::with_capacity(streams.len());
        for (stream, events) in streams {
            policy.rule_for(&stream).map_err(CodecError::Refused)?;
            if let (Placement::Split(_), _) = self.layer.place(&stream).await? {
                return Err(StoreError::Invalid(format!(
                    "stream {stream} is split, and this event is in clear under its logical name: append it again, to the layer"
                )));
            }
            let one = Work::cut(policy, stream, false, events)?;
            one.fits(self.layer.store.capabilities())?;
            work.push(one);
        }
        // To its end, also where nobody waits for it any more.
        let (layer, keeper) = (Arc::clone(self.layer), Arc::clone(&self.keeper));
        let prepared = runtime::spawn(async move {
            let prepared = prepare(&layer.codec, &keeper, &*layer, &work).await;
            prepared.map(|prepared| (prepared, work))
        })?;
        let (Prepared { sealed, mut permit }, work) = prepared.await??;
        let mut sealed: Vec<_> = sealed.into_iter().map(Vec::into_iter).collect();
        let mut rewritten = Vec::with_capacity(batch.len());
        for (event, stream) in batch.iter().zip(places) {
            let (Some(SealedEvent { event: stored, .. }), Some(data)) =
                (sealed[stream].next(), &event.data)
            else {
                continue;
            };
            rewritten.push(Rewritten {
                stream: event.stream.clone(),
                revision: event.revision,
                id: event.id,
                from: Stored { data: data.clone(), metadata: event.metadata.clone() },
                to: Stored { data: stored.data, metadata: stored.metadata },
            });
        }
        let done = self.beneath.rewrite(rewritten).await;
        // The events are there, whoever wrote them: what they state is to be seen there.
        permit.judge(&**self.layer).await;
        let done = done?;
        owned::warn(&*self.keeper, &work).await;
        for (event, changed) in batch.iter().zip(done) {
            match changed {
                true => self.counts.sealed += 1,
                false => {
                    self.leave(event, "somebody changed it at this moment: do it again".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Whether an event is somebody's, and in clear.
fn is_in_clear(event: &RecordedEvent) -> Result<bool, crate::store::Unreadable> {
    if event.is_bookkeeping() || event.is_tombstone() {
        return Ok(false);
    }
    // What the layer wrote has its notes, the tag at least.
    Notes::of(event.metadata.as_ref())?;
    Ok(matches!(Document::of(event)?, Document::Clear))
}

/// Whether an error is about one of the events, so that the others can go on.
fn is_of_the_event(error: &StoreError) -> bool {
    match error {
        StoreError::Refused { refusal, .. } => *refusal != Refusal::NoVault,
        StoreError::Forgotten { .. } | StoreError::Invalid(_) | StoreError::Unsupported(_) => true,
        _ => false,
    }
}
