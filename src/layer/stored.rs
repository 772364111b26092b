//! What the store holds under the id of an event.
//!
//! An id is not a statement: somebody may have given it to another event. So anyone who finds an
//! event by its id opens it and asks what it says, before a claim counts and before an append
//! is answered as a retry.

use std::collections::{HashMap, HashSet};

use super::{
    CodecError, Layer,
    document::{Head, Notes},
    error::unreadable_event,
    halves::{Found, Half},
    placement::Placement,
    same::{is_left_of, is_same},
    sealing::{StoreView, Work},
};
use crate::{
    crypto::PublicDigest,
    event::{
        EventId, EventType, Holes, NewEvent, OwnerChange, Payload, RecordedEvent, Revision,
        StreamName, Subject,
    },
    policy::CutEvent,
    store::{Appended, Capability, Direction, EventStore, ReadOptions, StoreError, Unreadable},
    vault::{Claim, Evidence, Keeper, Tenure, VaultError},
};

/// The digest of an event's type and payload. How a store respells JSON makes no difference.
pub(super) fn content(event_type: &EventType, data: &Payload) -> [u8; 32] {
    let (data, kind) = match data {
        Payload::Json(json) => (json.tree().root().to_canonical().into_bytes(), "json"),
        Payload::Bytes(bytes) => (bytes.to_vec(), "bytes"),
    };
    *PublicDigest::of(&data, format!("{kind} {event_type}").as_bytes()).as_bytes()
}

/// Where the store says that an append is: the last revision in the readable stream, and in the
/// stream of the private halves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    pub(super) readable: Option<Revision>,
    pub(super) private: Option<Revision>,
}

impl Ends {
    pub(super) fn of(readable: Appended, private: Option<Appended>) -> Self {
        let private = private.map(|private| private.revision);
        Self { readable: Some(readable.revision), private }
    }
}

/// What an event in the store says, as far as a claim is to be judged by it.
enum Said {
    /// Its content, and the owner changes that it states.
    Readable { content: [u8; 32], changes: Vec<OwnerChange> },
    /// It is there, and what it says is not known: a newer program wrote it, or the store returned no data.
    Unknown,
}

impl<S: EventStore> StoreView for Layer<S> {
    type Error = StoreError;
    const BY_CALLER: bool = false;

    async fn settle(&self, vault: &dyn Keeper, dependent: &Subject) -> Result<(), StoreError> {
        self.settle(vault, dependent).await
    }

    async fn holds_all(&self, claims: &[Claim]) -> Result<bool, StoreError> {
        self.holds_all(claims).await
    }
}

impl<S: EventStore> Layer<S> {
    /// Settles the open claims of a dependent by what its stream holds under the ids of their
    /// events. Claims of appends that are in flight stay open: the vault sees to that.
    pub(crate) async fn settle(
        &self,
        vault: &dyn Keeper,
        dependent: &Subject,
    ) -> Result<(), StoreError> {
        let state = vault.subject_state(dependent).await.map_err(vault_error)?;
        let open: HashSet<EventId> = state.tenures.iter().flat_map(Tenure::open_claims).collect();
        if open.is_empty() {
            return Ok(());
        }
        // From before the look: what an append stores meanwhile, nobody need have seen.
        let look = vault.begin_look(open.iter().copied().collect()).await.map_err(vault_error)?;
        let found = self.evidence(&dependent.stream(), &open).await?;
        let evidence = |event| match found.get(&event) {
            None => Some((event, Evidence::Nothing)),
            Some(Said::Readable { content, changes }) => {
                Some((event, Evidence::Found { content: *content, changes: changes.clone() }))
            }
            // Whether it states what was claimed, cannot be told: the claim stays open.
            Some(Said::Unknown) => None,
        };
        let evidence = open.into_iter().filter_map(evidence).collect();
        vault.settle_by(dependent, evidence, Some(&look)).await.map_err(vault_error)
    }

    /// Whether the streams of those who claim hold the events of all these claims, and these
    /// state them.
    async fn holds_all(&self, claims: &[Claim]) -> Result<bool, StoreError> {
        let mut of_subject: HashMap<&Subject, Vec<&Claim>> = HashMap::new();
        for claim in claims {
            of_subject.entry(&claim.subject).or_default().push(claim);
        }
        for (subject, claims) in of_subject {
            let ids = claims.iter().map(|claim| claim.event).collect();
            let found = self.evidence(&subject.stream(), &ids).await?;
            let states = |claim: &&Claim| {
                matches!(found.get(&claim.event), Some(Said::Readable { content, changes })
                    if *content == claim.content || changes.contains(&claim.change))
            };
            if !claims.iter().all(states) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What these events in a stream say.
    async fn evidence(
        &self,
        stream: &StreamName,
        ids: &HashSet<EventId>,
    ) -> Result<HashMap<EventId, Said>, StoreError> {
        let mut evidence = HashMap::with_capacity(ids.len());
        for Found { event, read } in self.find(stream, ids.clone(), Ends::default()).await? {
            // What does not open is still there in part, and nothing counts but what was
            // claimed before.
            let opened = self.try_open(&event, read, false).await;
            let opened = match opened {
                Ok(opened) => Some(opened),
                Err(CodecError::Unreadable(unreadable)) if unreadable.is_newer() => {
                    evidence.insert(event.id, Said::Unknown);
                    continue;
                }
                Err(CodecError::Unreadable(_) | CodecError::Vault(VaultError::KeyMissing(_))) => {
                    None
                }
                // It may well open the next time. Judged by what it looks like sealed, it would pass for another event.
                Err(error) => return Err(error.into()),
            };
            let data = opened.and_then(|opened| opened.data).or_else(|| event.data.clone());
            let Some(data) = data else {
                evidence.insert(event.id, Said::Unknown);
                continue;
            };
            let changes = self.codec.policy().stated_owners(stream, &event.event_type, &data);
            let content = content(&event.event_type, &data);
            evidence.insert(event.id, Said::Readable { content, changes });
        }
        Ok(evidence)
    }

    /// Compares the events of an append with those that the store holds under their ids, because
    /// it answered that they are there. Metadata are not compared: a retry may well have other
    /// trace headers. Of what is forgotten in part, what is left is compared; where nothing is, the type.
    ///
    /// # Errors
    /// [`StoreError::OtherContent`] where one of them is another event.
    pub(super) async fn compare(&self, work: &Work, ends: Ends) -> Result<(), StoreError> {
        let asked: HashMap<EventId, &(NewEvent, CutEvent)> =
            work.events.iter().map(|asked| (asked.0.id, asked)).collect();
        for Found { event, read } in
            self.find(&work.stream, asked.keys().copied().collect(), ends).await?
        {
            let stored = &event;
            let Some((asked, cut)) = asked.get(&stored.id) else { continue };
            let opened =
                self.try_open(stored, read, false).await.map_err(|error| error.on_read(stored))?;
            // A copy has the same holes each time; what is missing besides was lost here.
            let notes = Notes::of(stored.metadata.as_ref());
            let notes = notes.map_err(|unreadable| unreadable_event(unreadable, stored))?;
            let holes = notes.holes.map(|noted| noted.holes);
            let copied = holes.as_ref().map_or(0, Holes::count);
            let gone = opened.shredded.len() + opened.withheld.len() > copied;
            let same_data = match &opened.data {
                None => true,
                Some(left) if gone => is_left_of(&opened, left, &asked.data, cut.public.as_ref()),
                Some(data) => is_same(&asked.data, data),
            };
            let same_holes = holes.as_ref() == asked.holes.as_deref();
            if asked.event_type != stored.event_type || !same_data || !same_holes {
                return Err(StoreError::OtherContent { id: asked.id, stream: work.stream.clone() });
            }
        }
        Ok(())
    }

    /// Answers an append that the store refused because it knows some of its ids: the private halves of the others may have
    /// been purged since. `None`: that is not why.
    ///
    /// # Errors
    /// [`StoreError::OtherContent`] where one of the events is another one.
    pub(super) async fn answer_purged(
        &self,
        work: &[Work],
    ) -> Result<Option<Vec<Appended>>, StoreError> {
        let (mut done, mut purged) = (Vec::with_capacity(work.len()), false);
        for one in work {
            let ids: HashSet<EventId> = one.events.iter().map(|(event, _)| event.id).collect();
            let count = ids.len();
            let found = self.find(&one.stream, ids, Ends::default()).await?;
            let Some(last) = found.iter().max_by_key(|found| found.event.revision) else {
                return Ok(None);
            };
            if found.len() < count {
                return Ok(None);
            }
            let RecordedEvent { revision, position, .. } = last.event;
            done.push(Appended { revision, position, already: true });
            purged |= found.iter().filter_map(|found| found.read.as_ref()).any(|read| {
                let noted = read.head.as_ref().is_ok_and(|head| head.notes.private.is_some());
                noted && read.private.is_none()
            });
        }
        if !purged {
            return Ok(None);
        }
        for one in work {
            match self.compare(one, Ends::default()).await {
                Ok(()) => {}
                Err(error @ StoreError::OtherContent { .. }) => return Err(error),
                // A half that is missing though its key lives was not purged.
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(done))
    }

    /// The events with these ids in a logical stream, as they are stored, with their private
    /// halves where these are found.
    async fn find(
        &self,
        stream: &StreamName,
        ids: HashSet<EventId>,
        ends: Ends,
    ) -> Result<Vec<Found>, StoreError> {
        let placement = self.placement(stream).await?;
        let events = self.find_in(&placement.readable(stream), ids, ends.readable).await?;
        let read = |event: RecordedEvent| {
            let head = Head::of(event.metadata.as_ref(), Some(stream));
            (event, head)
        };
        let events: Vec<_> = events.into_iter().map(read).collect();
        // Of what cannot be read, opening it says so.
        let half_of = |head: &Result<Head, Unreadable>| head.as_ref().ok()?.notes.private;
        let mut halves: HashMap<EventId, RecordedEvent> = HashMap::new();
        if let Placement::Split(names) = &placement {
            let ids = events.iter().filter_map(|(_, head)| half_of(head)).collect();
            let found = self.find_in(&names.private, ids, ends.private).await?;
            halves.extend(found.into_iter().map(|half| (half.id, half)));
        }
        let join = |(mut event, head): (RecordedEvent, _)| {
            let private = half_of(&head).and_then(|id| halves.remove(&id));
            let private = private.map(|half| Half::of(half, stream));
            event.stream = stream.clone();
            Found::new(event, head, private)
        };
        Ok(events.into_iter().map(join).collect())
    }

    /// The events with these ids in a physical stream. With `last`, the revision of the last of
    /// them: they are mostly one after the other, and end there.
    pub(crate) async fn find_in(
        &self,
        stream: &StreamName,
        mut ids: HashSet<EventId>,
        last: Option<Revision>,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        let near = last.map(|last| self.ending_at(last, ids.len()));
        for options in near.into_iter().chain([self.newest_first()]) {
            if ids.is_empty() {
                break;
            }
            let mut events = self.store.read(stream, options);
            while !ids.is_empty()
                && let Some(event) = self.next(&mut events).await?
            {
                if ids.remove(&event.id) {
                    found.push(event);
                }
            }
        }
        Ok(found)
    }

    /// So many events up to a revision, if the stream's revisions have no gaps.
    fn ending_at(&self, last: Revision, count: usize) -> ReadOptions {
        let (options, limit) = (self.newest_first(), Some(count));
        let from = match options.direction {
            Direction::Backwards => last,
            Direction::Forwards => Revision((last.0 + 1).saturating_sub(count as u64)),
        };
        ReadOptions { from: Some(from), limit, ..options }
    }

    /// Backwards, where the store can: what is looked for is likely to be near the end.
    pub(crate) fn newest_first(&self) -> ReadOptions {
        let backwards = self.store.capabilities().has(Capability::ReadBackwards);
        let direction = if backwards { Direction::Backwards } else { Direction::Forwards };
        ReadOptions { direction, ..ReadOptions::default() }
    }
}

fn vault_error(error: VaultError) -> StoreError {
    CodecError::from(error).into()
}
