//! In which physical streams a logical stream is stored.
//!
//! A stream's layout is fixed by its first event, and the store is the witness: a stream that was
//! split stays split when the policy no longer says so, and the other way round. One look at the
//! store for each stream that is not known yet. The answer is kept once the stream has events, because it never
//! changes from then on.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use super::{Codec, CodecError, Layer, document::Notes};
use crate::{
    cache::lru,
    event::{Json, RecordedEvent, StreamName},
    policy::SplitNames,
    store::{EventStore, EventStoreExt, ReadOptions, StoreError, Unreadable},
    vault::Halves,
};

/// How many streams' placements are kept in memory; each is some hundred bytes.
const KEPT: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Where a logical stream's events are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// In the stream of the same name.
    Single,
    /// In two streams, of which the public one counts.
    Split(SplitNames),
}

impl Placement {
    /// The physical stream whose revisions are the logical ones.
    pub(crate) fn readable(&self, stream: &StreamName) -> StreamName {
        match self {
            Self::Single => stream.clone(),
            Self::Split(names) => names.public.clone(),
        }
    }

    fn of(halves: Halves) -> Self {
        halves.map_or(Self::Single, |(public, private)| Self::Split(SplitNames { public, private }))
    }

    fn halves(self) -> Halves {
        match self {
            Self::Single => None,
            Self::Split(names) => Some((names.public, names.private)),
        }
    }

    /// What an event of the layer's own must say in its metadata to be found again.
    pub(crate) fn note(&self, stream: &StreamName) -> Option<Json> {
        match self {
            Self::Single => None,
            Self::Split(_) => {
                Some(Notes { stream: Some(stream.clone()), ..Notes::default() }.to_metadata())
            }
        }
    }
}

/// The logical stream of an event, by what its notes say and where it is. Notes are not bound to that, so
/// that they count only where the event is in a half of the stream which they name. A private half must be
/// in the private one, everything else in the other, or in the stream itself.
///
/// A reader without a vault believes them: it opens nothing, and may have no policy that names halves.
///
/// `halves`: where those of a logical stream are, by the policy.
pub(super) fn logical_of(
    codec: &Codec,
    physical: &StreamName,
    notes: &Notes,
    halves: impl FnOnce(&StreamName) -> Option<SplitNames>,
) -> Result<StreamName, Unreadable> {
    if codec.keeper().is_none() {
        return Ok(notes.stream.as_ref().unwrap_or(physical).clone());
    }
    let is_private = notes.public.is_some();
    let Some(logical) = &notes.stream else {
        return if is_private { Err(Unreadable::Misplaced) } else { Ok(physical.clone()) };
    };
    let half = |names: SplitNames| if is_private { names.private } else { names.public };
    let itself = !is_private && logical == physical;
    if itself || halves(logical).map(half).as_ref() == Some(physical) {
        Ok(logical.clone())
    } else {
        Err(Unreadable::Misplaced)
    }
}

/// The placements known so far.
pub(super) struct Placements(Mutex<LruCache<StreamName, Placement>>);

/// An error of the inner store in the caller's words: of a split stream they know the logical
/// name, and wrote to no other.
pub(super) fn in_logical_words<'a>(
    mut error: StoreError,
    mut places: impl Iterator<Item = (&'a StreamName, &'a Placement)>,
) -> StoreError {
    if let StoreError::Conflict { stream, .. } | StoreError::IdInUse { stream, .. } = &mut error {
        let is_half = |(_, placement): &(&StreamName, &Placement)| match placement {
            Placement::Single => false,
            Placement::Split(names) => names.public == *stream || names.private == *stream,
        };
        if let Some((logical, _)) = places.find(is_half) {
            *stream = logical.clone();
        }
    }
    error
}

impl Default for Placements {
    fn default() -> Self {
        Self(Mutex::new(lru(KEPT)))
    }
}

impl Placements {
    fn known(&self, stream: &StreamName) -> Option<Placement> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(stream).cloned()
    }

    fn keep(&self, stream: &StreamName, placement: &Placement) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(stream.clone(), placement.clone());
    }
}

impl<S: EventStore> Layer<S> {
    /// As [`logical_of`].
    pub(super) fn logical_of(
        &self,
        physical: &StreamName,
        notes: &Notes,
    ) -> Result<StreamName, Unreadable> {
        let halves = |logical: &StreamName| self.policy().reading_plan(logical).split_names;
        logical_of(&self.codec, physical, notes, halves)
    }

    /// An event as it is stored, under its logical stream. `None`: it is a private half, misplaced,
    /// or of a newer program.
    pub(crate) fn under_its_stream(&self, mut event: RecordedEvent) -> Option<RecordedEvent> {
        let notes = Notes::of(event.metadata.as_ref()).ok()?;
        let logical = self.logical_of(&event.stream, &notes).ok()?;
        event.stream = logical;
        notes.public.is_none().then_some(event)
    }

    /// Where a stream is, or would be by the policy.
    pub(crate) async fn placement(&self, stream: &StreamName) -> Result<Placement, StoreError> {
        Ok(self.find_placement(stream).await?.0)
    }

    /// Where a stream is, or will be if it has no events yet, for an append; and whether that is
    /// so. Another writer may be first, under another policy: all who write share the vault, which decides.
    pub(crate) async fn place(&self, stream: &StreamName) -> Result<(Placement, bool), StoreError> {
        match (self.find_placement(stream).await?, self.keeper()) {
            ((wanted, true), Some(keeper)) => {
                let decided = keeper.place_stream(stream, wanted.halves()).await;
                Ok((Placement::of(decided.map_err(CodecError::from)?), true))
            }
            (found, _) => Ok(found),
        }
    }

    /// Where a stream is, and `false`; or where the policy wants it, and that the store does not say.
    async fn find_placement(&self, stream: &StreamName) -> Result<(Placement, bool), StoreError> {
        if let Some(placement) = self.placements.known(stream) {
            return Ok((placement, false));
        }
        let plan = self.codec.policy().reading_plan(stream);
        let Some(names) = plan.split_names else {
            return Ok((Placement::Single, false));
        };
        let (wanted, other) = match plan.split {
            Some(_) => (Placement::Split(names), Placement::Single),
            None => (Placement::Single, Placement::Split(names)),
        };
        // The placement that the policy does not want counts only where it has events already.
        for placement in [&wanted, &other] {
            if self.has_events(&placement.readable(stream), stream).await? {
                self.is_placed(stream, placement);
                return Ok((placement.clone(), false));
            }
        }
        Ok((wanted, true))
    }

    /// Remembers that a stream has events there.
    pub(super) fn is_placed(&self, stream: &StreamName, placement: &Placement) {
        self.placements.keep(stream, placement);
    }

    /// Whether a physical stream has an event that belongs to the logical one.
    async fn has_events(
        &self,
        physical: &StreamName,
        logical: &StreamName,
    ) -> Result<bool, StoreError> {
        let options = ReadOptions { limit: Some(1), ..ReadOptions::default() };
        let first = self.answer(self.store.events(physical, options)).await?;
        Ok(first.first().is_some_and(|event| {
            physical == logical
                || match Notes::of(event.metadata.as_ref()) {
                    Ok(notes) => notes.stream.as_ref() == Some(logical),
                    // It is not known whose it is: a reader of the stream comes to it, and is told.
                    Err(_) => true,
                }
        }))
    }
}
