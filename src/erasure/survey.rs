//! What forgetting does not reach: events in clear, what is others', owners whom nobody knows.
//!
//! The vault cannot tell any of it, so the store is looked into: before anything is closed, because
//! it takes as long as the streams are.

use std::collections::{BTreeMap, HashSet};

use super::{Foreign, Plan, Unsealed};
use crate::{
    crypto::KeyId,
    event::{RecordedEvent, StreamName, Subject},
    layer::{
        CodecError, EventRef, Layer, Placement,
        document::{self, Document, Stored},
        tombstone,
    },
    policy::EventFacts,
    store::{EventStore, EventStoreExt, ReadOptions, StoreError},
    vault::{KeyState, Tagged, Vault},
};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// At every event of every stream.
    Everywhere,
    /// Streams are passed over whose first event is sealed, unless they may hold what is others'.
    WhereNeeded,
}

/// Looks into the streams of a plan, and notes what it finds there.
pub(super) async fn survey<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    plan: &mut Plan,
    look: Look,
) -> Result<(), StoreError> {
    let doomed: HashSet<Subject> =
        plan.subjects.iter().map(|affected| affected.subject.clone()).collect();
    let survey = Survey { layer, vault, doomed };
    plan.owners_unknown = layer.may_miss_owners(vault).map_err(CodecError::from)?;
    for affected in &plan.streams {
        let stream = &affected.stream;
        let shared = affected.own && layer.policy().reading_plan(stream).lets_others_in;
        if look == Look::WhereNeeded && !shared && survey.begins_sealed(stream).await? {
            plan.passed_over += 1;
            continue;
        }
        let found = survey.look_into(stream, affected.own).await?;
        if found.unsealed > 0 {
            plan.unsealed.push(Unsealed { stream: stream.clone(), events: found.unsealed });
        }
        plan.foreign.extend(found.foreign.into_iter().map(|(subject, keys)| Foreign {
            stream: stream.clone(),
            subject,
            keys,
        }));
    }
    for keeper in plan.kept.iter_mut().flat_map(|kept| &mut kept.by) {
        keeper.unknown &= layer.first_of(&keeper.subject.stream()).await?.is_none();
    }
    Ok(())
}

struct Survey<'a, S> {
    layer: &'a Layer<S>,
    vault: &'a Vault,
    doomed: HashSet<Subject>,
}

#[derive(Default)]
struct Found {
    unsealed: u64,
    foreign: BTreeMap<Subject, u64>,
}

impl<S: EventStore> Survey<'_, S> {
    /// Whether the layer wrote the first event of a stream: then it writes them all.
    async fn begins_sealed(&self, stream: &StreamName) -> Result<bool, StoreError> {
        let Some(mut first) = self.layer.first_of(stream).await? else { return Ok(false) };
        first.stream = stream.clone();
        if first.is_tombstone() {
            // Anybody can give an event that type.
            let judged = tombstone::judge(self.vault, &first).map_err(CodecError::from)?;
            return Ok(judged.is_ok());
        }
        let document = document(&first);
        Ok(document.is_some_and(|document| !self.is_clear(stream, &first, &document)))
    }

    async fn look_into(&self, stream: &StreamName, own: bool) -> Result<Found, StoreError> {
        let placement = self.layer.placement(stream).await?;
        let (mut found, mut keys) = (Found::default(), HashSet::new());
        let readable = placement.readable(stream);
        let mut events = self.layer.store.read(&readable, ReadOptions::default());
        while let Some(event) = self.layer.next(&mut events).await? {
            let Some(document) = document(&event) else { continue };
            if self.is_clear(stream, &event, &document) {
                found.unsealed += u64::from(self.is_theirs(stream, &event));
            } else if let (Document::Stored(stored), true) = (document, own) {
                keys.extend(key_ids(&stored));
            }
        }
        if let (Placement::Split(names), true) = (&placement, own) {
            let mut halves = self.layer.store.read(&names.private, ReadOptions::default());
            while let Some(half) = self.layer.next(&mut halves).await? {
                keys.extend(stored(&half).iter().flat_map(key_ids));
            }
        }
        for id in keys {
            // What is gone, or lost, is nobody's any more.
            if let Ok(KeyState::Live { subject, .. }) = self.vault.opening_key(id)
                && !self.doomed.contains(&subject)
            {
                *found.foreign.entry(subject).or_default() += 1;
            }
        }
        Ok(found)
    }

    /// Whether an event is in clear and not this vault's.
    fn is_clear(&self, stream: &StreamName, event: &RecordedEvent, document: &Document) -> bool {
        let stored = match document {
            Document::Clear => return true,
            Document::Stored(stored) => stored,
        };
        // The tag of a public half is over the tokens of the private one.
        if !stored.tokens.is_empty() || stored.notes.private.is_some() {
            return false;
        }
        let event = EventRef { stream, id: event.id, event_type: &event.event_type };
        stored.tagged(self.vault, event) != Some(Tagged::Ours)
    }

    /// Whether an event in clear is personal, and about somebody who is forgotten; also where nobody
    /// can say.
    fn is_theirs(&self, stream: &StreamName, event: &RecordedEvent) -> bool {
        if event.is_tombstone() || event.is_announcement() {
            return false;
        }
        let Some(data) = &event.data else { return false };
        let facts = EventFacts { stream, event_type: &event.event_type, subject: None };
        match self.layer.policy().carve(&facts, data, event.metadata.as_ref()) {
            Ok(carved) => carved.parts.iter().any(|part| self.doomed.contains(&part.subject)),
            Err(_) => true,
        }
    }
}

impl<S: EventStore> Layer<S> {
    /// The first event of a stream, as it lies in the store.
    pub(super) async fn first_of(
        &self,
        stream: &StreamName,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        let readable = self.placement(stream).await?.readable(stream);
        let first = ReadOptions { limit: Some(1), ..ReadOptions::default() };
        Ok(self.answer(self.store.events(&readable, first)).await?.pop())
    }
}

fn document(event: &RecordedEvent) -> Option<Document> {
    document::parse(event.data.as_ref()?, event.metadata.as_ref()).ok()
}

fn stored(event: &RecordedEvent) -> Option<Stored> {
    match document(event)? {
        Document::Stored(stored) => Some(stored),
        Document::Clear => None,
    }
}

fn key_ids(stored: &Stored) -> impl Iterator<Item = KeyId> {
    stored.tokens.iter().map(|token| token.key_id())
}
