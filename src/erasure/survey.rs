//! What forgetting does not reach: events in clear, what is others', owners who are not known.
//!
//! The vault cannot tell any of it, so the store is looked into: before anything is closed, because
//! it takes as long as the streams are.

use std::collections::{BTreeMap, HashSet};

use super::{Bystander, Plan, Untouched};
use crate::{
    crypto::Token,
    event::{Json, KeyId, Payload, RecordedEvent, StreamName, Subject, Tombstone},
    layer::{
        CodecError, EventRef, KnownSealed, Layer, Placement, SealedTo,
        document::{Document, Stored},
        tombstone::{self, Unvouched},
    },
    policy::{EventFacts, OWN_STREAMS},
    store::{
        Capability, Direction, EventStore, EventStoreExt, ReadAllOptions, ReadOptions, StoreError,
    },
    vault::{KeyLookup, Tagged, Vault},
};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// At every event of every stream.
    Everywhere,
    /// Streams are passed over whose first event is sealed, unless they may hold what is others', or a newer
    /// program wrote the last.
    WhereNeeded,
}

/// Looks into the streams of a plan, and notes what it finds there.
pub(super) async fn survey<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    plan: &mut Plan,
    look: Look,
) -> Result<(), StoreError> {
    let losses: HashSet<Subject> = plan.named().into_iter().collect();
    let survey = Survey { layer, vault, losses };
    plan.owners_unknown = layer.may_miss_owners(vault).map_err(CodecError::from)?;
    let mut looked_into = HashSet::new();
    for affected in &plan.streams {
        let stream = &affected.stream;
        let shared = affected.own && layer.policy().reading_plan(stream).lets_others_in;
        if look == Look::WhereNeeded && !shared && survey.is_sealed(stream).await? {
            plan.passed_over += 1;
            continue;
        }
        let found = survey.look_into(stream, affected.own).await?;
        looked_into.insert(stream.clone());
        let untouched = |events| Untouched { stream: stream.clone(), events };
        plan.unsealed.extend((found.unsealed > 0).then(|| untouched(found.unsealed)));
        plan.unknown_keys.extend((found.unknown > 0).then(|| untouched(found.unknown)));
        plan.unvouched.extend((found.unvouched > 0).then(|| untouched(found.unvouched)));
        plan.newer.extend((found.newer() > 0).then(|| untouched(found.newer())));
        plan.bystanders.extend(found.bystanders.into_iter().map(|(subject, keys)| Bystander {
            stream: stream.clone(),
            subject,
            keys,
        }));
    }
    match layer.known_sealed(vault).map_err(CodecError::from)? {
        KnownSealed::All => {}
        KnownSealed::UpTo(_) if !layer.store.capabilities().has(Capability::ReadAll) => {
            plan.clear_unknown = true;
        }
        KnownSealed::UpTo(known) => survey.look_behind(known, &looked_into, plan).await?,
    }
    Ok(())
}

/// So many events are read behind what is known before it is noted that they are sealed.
const WORTH_NOTING: u64 = 1_000;

struct Survey<'a, S> {
    layer: &'a Layer<S>,
    vault: &'a Vault,
    losses: HashSet<Subject>,
}

/// What is found behind what is known to be sealed.
#[derive(Default)]
struct Behind {
    /// Events in clear of those who are forgotten.
    theirs: BTreeMap<StreamName, u64>,
    /// Whether there are some of which the policy cannot say whose they are.
    unknown: bool,
    /// How many events come before the first in clear, and the last of them.
    sealed: u64,
    to: Option<SealedTo>,
}

/// What is found in a stream.
#[derive(Default)]
struct Found {
    /// Events with something in clear of those who are forgotten, or of whom that is not known.
    unsealed: u64,
    /// Events under keys that the vault does not have.
    unknown: u64,
    /// Events under keys that it has, with a tag that is newer than the vault.
    unvouched: u64,
    /// Events that a newer program wrote; and private halves, of which one may belong to one of these.
    newer: [u64; 2],
    /// The keys in use.
    keys: HashSet<KeyId>,
    /// How many of them are other people's.
    bystanders: BTreeMap<Subject, u64>,
}

impl Found {
    /// How many events a newer program wrote, at least.
    fn newer(&self) -> u64 {
        self.newer[0].max(self.newer[1])
    }
}

impl<S: EventStore> Survey<'_, S> {
    /// Whether this vault sealed the first event of a stream, and no newer program wrote the last: then it is
    /// taken that all are as the first.
    async fn is_sealed(&self, stream: &StreamName) -> Result<bool, StoreError> {
        let Some(mut first) = self.layer.first_of(stream).await? else { return Ok(false) };
        first.stream = stream.clone();
        // Who went back to this program from a newer one has its events behind this one's. Where the last
        // cannot be asked for, each event is looked at.
        if self.layer.newest_first().direction == Direction::Forwards {
            return Ok(false);
        }
        let last = self.layer.end_of(stream, Direction::Backwards).await?;
        if last.is_some_and(|last| Document::of(&last).is_err_and(|error| error.is_newer())) {
            return Ok(false);
        }
        if first.is_tombstone() {
            // Anyone can give an event that type.
            return Ok(self.judge(&first).await?.is_ok());
        }
        Ok(match Document::of(&first) {
            Ok(Document::Stored(stored)) => {
                let known = stored.notes.stubs.iter().chain(&stored.tokens);
                let known = known.map(Token::key_id).all(|id| self.vault.opening_key(id).is_ok());
                known && self.tagged(&first, stored).await == Some(Tagged::Ours)
            }
            _ => false,
        })
    }

    /// Looks at every event of a stream, and at its private halves: what is in clear there hides from
    /// a reader of the stream by its name.
    async fn look_into(&self, stream: &StreamName, own: bool) -> Result<Found, StoreError> {
        let placement = self.layer.placement(stream).await?;
        let mut found = Found::default();
        let readable = placement.readable(stream);
        let mut events = self.layer.store.read(&readable, ReadOptions::default());
        while let Some(mut event) = self.layer.next(&mut events).await? {
            event.stream = stream.clone();
            self.weigh(&event, false, &mut found).await?;
        }
        if let Placement::Split(names) = &placement {
            let mut halves = self.layer.store.read(&names.private, ReadOptions::default());
            while let Some(mut half) = self.layer.next(&mut halves).await? {
                half.stream = stream.clone();
                self.weigh(&half, true, &mut found).await?;
            }
        }
        if !own {
            // It is not known whose they are.
            found.unknown = 0;
            return Ok(found);
        }
        for &id in &found.keys {
            // What is gone, or lost, belongs to no one any more.
            if let Ok(KeyLookup::Live { subject, .. }) = self.vault.opening_key(id)
                && !self.losses.contains(&subject)
            {
                *found.bystanders.entry(subject).or_default() += 1;
            }
        }
        Ok(found)
    }

    /// Looks for what is in clear and theirs in all streams that were not looked into, behind what is known to be sealed: of a store
    /// that has, or had, writers past the layer, the vault does not know where they are. Notes how much is sealed, so that the next one
    /// need not read it again.
    async fn look_behind(
        &self,
        known: Option<SealedTo>,
        looked_into: &HashSet<StreamName>,
        plan: &mut Plan,
    ) -> Result<(), StoreError> {
        let mut behind = self.behind(known, looked_into).await?;
        if behind.is_none() {
            behind = self.behind(None, looked_into).await?;
        }
        let Some(Behind { theirs, unknown, sealed, to }) = behind else { return Ok(()) };
        plan.clear_unknown |= unknown;
        plan.unsealed
            .extend(theirs.into_iter().map(|(stream, events)| Untouched { stream, events }));
        if let Some(to) = to.filter(|_| sealed >= WORTH_NOTING) {
            self.layer.mark_sealed(self.vault, to).await.map_err(CodecError::from)?;
        }
        Ok(())
    }

    /// What is in clear from that event on. `None`: it is not there as it was noted.
    async fn behind(
        &self,
        known: Option<SealedTo>,
        looked_into: &HashSet<StreamName>,
    ) -> Result<Option<Behind>, StoreError> {
        let mut found = Behind::default();
        let mut last = known.and_then(|known| known.behind);
        let options = ReadAllOptions { after: last, ..ReadAllOptions::default() };
        let mut events = self.layer.store.read_all(options);
        let (mut awaited, mut all_so_far) = (known, true);
        loop {
            let event = match self.layer.next(&mut events).await {
                // Noted of another store, whose positions are others.
                Err(StoreError::ForeignPosition(_)) if awaited.is_some() => return Ok(None),
                next => next?,
            };
            let Some(event) = event else { break };
            let in_clear = self.is_in_clear(&event).await?;
            if awaited.take().is_some_and(|known| in_clear || known.event != event.id) {
                return Ok(None);
            }
            all_so_far &= !in_clear;
            if all_so_far {
                found.sealed += 1;
                found.to = Some(SealedTo::new(last, event.id));
            }
            last = Some(event.position);
            if in_clear && let Some(event) = self.layer.under_its_stream(event) {
                self.count_clear(event, looked_into, &mut found);
            }
        }
        // The store ends before it.
        Ok(awaited.is_none().then_some(found))
    }

    /// Counts an event in clear, where it may be of those who are forgotten and was not counted by its stream.
    fn count_clear(
        &self,
        event: RecordedEvent,
        looked_into: &HashSet<StreamName>,
        found: &mut Behind,
    ) {
        let RecordedEvent { stream, event_type, data: Some(data), metadata, .. } = event else {
            return;
        };
        if looked_into.contains(&stream) {
            return;
        }
        let facts = EventFacts { stream: &stream, event_type: &event_type, subject: None };
        match self.layer.policy().cut(&facts, &data, metadata.as_ref()) {
            Ok(cut) if cut.parts.iter().any(|part| self.losses.contains(&part.subject)) => {
                *found.theirs.entry(stream).or_default() += 1;
            }
            Ok(_) => {}
            // It may be anybody's: told, since it would keep everybody else from being forgotten.
            Err(_) => found.unknown = true,
        }
    }

    /// Whether an event has nothing of the layer's, or what looks so and does not read.
    async fn is_in_clear(&self, event: &RecordedEvent) -> Result<bool, StoreError> {
        // What others put into the layer's own streams is told by `verify`: no append of anybody's goes there.
        if event.is_bookkeeping() || event.stream.as_str().starts_with(OWN_STREAMS) {
            return Ok(false);
        }
        if event.is_tombstone() {
            let event = self.layer.under_its_stream(event.clone());
            return Ok(match event {
                Some(event) => !self.has_form(&event).await?,
                None => true,
            });
        }
        Ok(match Document::of(event) {
            Ok(Document::Clear) => true,
            Ok(Document::Stored(_)) => false,
            Err(unreadable) => !unreadable.is_newer(),
        })
    }

    /// Counts an event, under its logical stream, as what it is. A token hides nothing: what has
    /// a dead one, or a note, beside it is still in clear. So it is the tag
    /// that decides, and where there is none the policy.
    async fn weigh(
        &self,
        event: &RecordedEvent,
        half: bool,
        found: &mut Found,
    ) -> Result<(), StoreError> {
        if event.is_bookkeeping() || (event.is_tombstone() && self.has_form(event).await?) {
            return Ok(());
        }
        let stored = match Document::of(event) {
            Ok(Document::Stored(stored)) => stored,
            // Whose it is and under which keys, only a newer program can say.
            Err(unreadable) if unreadable.is_newer() => {
                found.newer[usize::from(half)] += 1;
                return Ok(());
            }
            Ok(Document::Clear) | Err(_) => {
                let (data, metadata) = (event.data.as_ref(), event.metadata.as_ref());
                found.unsealed += u64::from(self.is_theirs(event, data, metadata));
                return Ok(());
            }
        };
        let elsewhere = stored.notes.stream.as_ref().is_some_and(|noted| *noted != event.stream);
        if elsewhere || (stored.notes.public.is_some() && !half) {
            // Somebody moved it to here, or hides it: it is not known whose it is.
            found.unsealed += 1;
            return Ok(());
        }
        let mut unknown = false;
        for token in &stored.tokens {
            let id = token.key_id();
            found.keys.insert(id);
            unknown |= !token.is_stub() && self.vault.opening_key(id).is_err();
        }
        found.unknown += u64::from(unknown);
        // The tag of a private half is on the public one.
        let (data, metadata) = match stored.assemble(Vec::new()) {
            Ok(in_clear) => in_clear,
            Err(_) => (event.data.clone(), event.metadata.clone()),
        };
        let sealed = !stored.tokens.is_empty() || !stored.notes.stubs.is_empty();
        let tagged = if half { None } else { self.tagged(event, stored).await };
        if tagged == Some(Tagged::UnknownEra) && sealed && !unknown {
            found.unvouched += 1;
        }
        if tagged != Some(Tagged::Ours) {
            let theirs = self.is_theirs(event, data.as_ref(), metadata.as_ref());
            found.unsealed += u64::from(theirs);
        }
        Ok(())
    }

    /// What the tag shows of an event, or of the public half of one.
    async fn tagged(&self, event: &RecordedEvent, stored: Stored) -> Option<Tagged> {
        stored.by_itself().ok()?.tagged(self.vault, EventRef::of(event)).await
    }

    /// Whether an event of the type has the form of a tombstone, in which nothing personal has room, and
    /// is where it says.
    async fn has_form(&self, event: &RecordedEvent) -> Result<bool, StoreError> {
        Ok(!matches!(self.judge(event).await?, Err(Unvouched::Odd(_) | Unvouched::Misplaced)))
    }

    async fn judge(
        &self,
        event: &RecordedEvent,
    ) -> Result<Result<Tombstone, Unvouched>, StoreError> {
        Ok(tombstone::judge(self.vault, event).await.map_err(CodecError::from)?)
    }

    /// Whether what is in clear of an event is personal, and about somebody who is forgotten; also where
    /// that is not known.
    fn is_theirs(
        &self,
        event: &RecordedEvent,
        data: Option<&Payload>,
        metadata: Option<&Json>,
    ) -> bool {
        let Some(data) = data else { return false };
        let RecordedEvent { stream, event_type, .. } = event;
        let facts = EventFacts { stream, event_type, subject: None };
        match self.layer.policy().cut(&facts, data, metadata) {
            Ok(cut) => cut.parts.iter().any(|part| self.losses.contains(&part.subject)),
            Err(_) => true,
        }
    }
}

impl<S: EventStore> Layer<S> {
    /// The first event of a stream, as it is stored.
    pub(super) async fn first_of(
        &self,
        stream: &StreamName,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        self.end_of(stream, Direction::Forwards).await
    }

    /// The first event of a stream, or backwards the last, as it is stored.
    async fn end_of(
        &self,
        stream: &StreamName,
        direction: Direction,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        let readable = self.placement(stream).await?.readable(stream);
        let end = ReadOptions { limit: Some(1), direction, ..ReadOptions::default() };
        Ok(self.answer(self.store.events(&readable, end)).await?.pop())
    }
}
