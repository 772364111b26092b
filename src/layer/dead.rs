//! What of the stored events is dead: tokens whose keys are destroyed, and private halves that hold no others.
//!
//! For `purge`, which removes it, and for the report on storage, which counts it. Both are told the same by construction.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::{
    EventRef, Layer, Oubliette,
    document::{Document, Stored as StoredParts},
    halves::{Audience, Found, Joined, document_of, join_all},
};
use crate::{
    crypto::Token,
    event::{EventId, Json, Payload, Position, RecordedEvent, Revision, StreamName},
    store::{
        Delivery, Direction, EventStore, ReadAllOptions, Removed, Rewritten, StoreError, Stored,
    },
    vault::{Keeper, KeyLookup, Tagged},
};

/// What there is of an event, and what can go of it.
#[derive(Debug)]
pub(crate) struct Weighed {
    /// Its logical stream.
    pub(crate) stream: StreamName,
    pub(crate) revision: Revision,
    pub(crate) id: EventId,
    pub(crate) position: Position,
    pub(crate) kind: Weight,
    /// Bytes of payload and metadata, of both halves.
    pub(crate) bytes: u64,
    /// How many of them are dead, and how they go; `None`: none are.
    pub(crate) dead: Option<Dead>,
    /// Whether something of it is purged already.
    pub(crate) purged: bool,
}

/// What an event is, to whoever counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Somebody's.
    Event,
    /// A tombstone, or the layer's bookkeeping.
    Own,
    /// A private half whose public half is nowhere, or what does not read: nothing is known of it.
    Unknown,
}

/// What is dead of an event.
#[derive(Debug)]
pub(crate) struct Dead {
    /// That go with it, all in all.
    pub(crate) bytes: u64,
    pub(crate) way: Way,
}

/// How it goes.
#[derive(Debug)]
pub(crate) enum Way {
    /// The private half as a whole, since nothing in it lives; or stubs in it, where the store keeps it.
    Half(Removed, Option<Box<Rewritten>>),
    /// Stubs take the place of tokens.
    Stubs(Box<Rewritten>),
    /// It stays, for this reason.
    Stays(&'static str),
}

const UNVOUCHED: &str = "nothing vouches that this vault wrote the event as it stands: `verify` says what is wrong with it";
const OF_ANOTHER_POLICY: &str = "its private half is in a stream that this policy does not name: purge with the policy that split it";
const NOT_FOUND: &str =
    "its tokens are not where the event says: `verify` says what is wrong with it";

impl<S: EventStore> Oubliette<S> {
    /// All events, in the order of their positions, weighed. Only a failure of store or vault ends it.
    pub(crate) fn weighed(
        &self,
        vault: Arc<dyn Keeper>,
    ) -> BoxStream<'static, Result<Weighed, StoreError>> {
        let inner = self.store().read_all(ReadAllOptions::default());
        let inner = inner.map_ok(Delivery::Event).boxed();
        let layer = Arc::clone(&self.layer);
        join_all(Arc::clone(&layer), None, inner, Direction::Forwards, Audience::Auditors)
            .try_filter_map(move |joined| {
                let (layer, vault) = (Arc::clone(&layer), Arc::clone(&vault));
                async move { Ok(layer.weigh(joined, &*vault).await) }
            })
            .boxed()
    }
}

impl<S: EventStore> Layer<S> {
    async fn weigh(&self, joined: Joined, vault: &dyn Keeper) -> Option<Weighed> {
        let mut purged = false;
        let (event, kind, dead, bytes) = match joined {
            Joined::CaughtUp => return None,
            Joined::Misplaced(event, _) | Joined::LoneHalf(event) => {
                let bytes = event.bytes();
                (event, Weight::Unknown, None, bytes)
            }
            Joined::Event(Found { event, .. })
                if event.is_bookkeeping() || event.is_tombstone() =>
            {
                let bytes = event.bytes();
                (event, Weight::Own, None, bytes)
            }
            Joined::Event(Found { event, read }) => {
                let half = read.as_ref().and_then(|read| read.private.as_ref());
                let half = half.map(|half| half.event.clone());
                let bytes = event.bytes() + half.as_ref().map_or(0, RecordedEvent::bytes);
                match document_of(&event, read, Some(vault), false).await {
                    Ok(Document::Clear) => (event, Weight::Event, None, bytes),
                    Ok(Document::Stored(stored)) => {
                        // Stubs stand for the tokens of a private half that is gone as well.
                        purged = stored.tokens.iter().any(Token::is_stub);
                        let dead = self.dead(vault, &event, half, stored).await;
                        (event, Weight::Event, dead, bytes)
                    }
                    Err(_) => (event, Weight::Unknown, None, bytes),
                }
            }
        };
        let RecordedEvent { stream, revision, id, position, .. } = event;
        Some(Weighed { stream, revision, id, position, kind, bytes: bytes as u64, dead, purged })
    }

    /// What is dead of an event that reads, whose private half is `half`, where it has one that is there.
    async fn dead(
        &self,
        vault: &dyn Keeper,
        event: &RecordedEvent,
        half: Option<RecordedEvent>,
        stored: StoredParts,
    ) -> Option<Dead> {
        if stored.notes.private.is_some() && half.is_none() {
            // It is purged.
            return None;
        }
        let mut dead = Vec::new();
        for token in stored.tokens.iter().filter(|token| !token.is_stub()) {
            // Anything but a clear word leaves it as it is.
            if let Ok(KeyLookup::Shredded { .. }) = vault.opening_key(token.key_id()).await {
                dead.push(token.clone());
            }
        }
        let stubs = stored.tokens.iter().filter(|token| token.is_stub()).count();
        let all_dead = dead.len() + stubs == stored.tokens.len();
        if dead.is_empty() && !(all_dead && half.is_some()) {
            return None;
        }
        // Key ids are in clear: who changes one for a dead one must not have a living payload removed.
        let vouched = stored.tagged(vault, EventRef::of(event)).await == Some(Tagged::Ours);
        let names = self.policy().reading_plan(&event.stream).split_names;
        let whole_half = half.as_ref().map_or(0, RecordedEvent::bytes);
        let way = match (half, names) {
            _ if !vouched => Way::Stays(UNVOUCHED),
            (Some(half), Some(names)) if all_dead => {
                let (revision, id) = (half.revision, half.id);
                let removed = Removed { stream: names.private.clone(), revision, id };
                let stubs = (!dead.is_empty()).then(|| stubs_in(names.private, half, &dead));
                Way::Half(removed, stubs.flatten().map(Box::new))
            }
            (Some(half), Some(names)) => Way::stubs(stubs_in(names.private, half, &dead)),
            (Some(_), None) => Way::Stays(OF_ANOTHER_POLICY),
            (None, _) => Way::stubs(stubs_in(event.stream.clone(), event.clone(), &dead)),
        };
        let bytes = match &way {
            Way::Stubs(changed) => shrinks_by(changed),
            // With stubs alone in it, it is not worth a word.
            Way::Half(..) if dead.is_empty() => 0,
            Way::Half(..) => whole_half,
            Way::Stays(_) => {
                dead.iter().map(|token| token.text_len() - token.stub().text_len()).sum()
            }
        };
        Some(Dead { bytes: bytes as u64, way })
    }
}

impl Way {
    fn stubs(changed: Option<Rewritten>) -> Self {
        changed.map_or(Self::Stays(NOT_FOUND), |changed| Self::Stubs(Box::new(changed)))
    }
}

/// How many bytes less there are afterwards.
pub(super) fn shrinks_by(changed: &Rewritten) -> usize {
    bytes_of(&changed.from).saturating_sub(bytes_of(&changed.to))
}

fn bytes_of(stored: &Stored) -> usize {
    stored.data.as_bytes().len() + stored.metadata.as_ref().map_or(0, |json| json.as_str().len())
}

/// The stored event with stubs in the place of these tokens. All else stays as it is spelled. `None`: they are not in it.
fn stubs_in(stream: StreamName, event: RecordedEvent, dead: &[Token]) -> Option<Rewritten> {
    let RecordedEvent { revision, id, data, metadata, .. } = event;
    let from = Stored { data: data?, metadata };
    // A token has no character that JSON must escape; some writer may have escaped one all the same.
    let to = with_stubs(&from, dead, |json| json.as_str().to_owned())
        .or_else(|| with_stubs(&from, dead, |json| without_escapes(json.as_str())))?;
    Some(Rewritten { stream, revision, id, from, to })
}

/// `None`: one of the tokens is not in it.
fn with_stubs(from: &Stored, dead: &[Token], spell: impl Fn(&Json) -> String) -> Option<Stored> {
    let mut data = from.data.as_json().map(&spell);
    let mut bytes = match &from.data {
        Payload::Bytes(bytes) => Some(bytes.to_vec()),
        Payload::Json(_) => None,
    };
    let mut metadata = from.metadata.as_ref().map(&spell);
    for token in dead {
        // A token's text is nowhere by accident.
        let (text, stub) = (token.to_string(), token.stub());
        let mut found = false;
        for json in data.iter_mut().chain(metadata.iter_mut()).filter(|json| json.contains(&text)) {
            *json = json.replace(&text, &stub.to_string());
            found = true;
        }
        for bytes in bytes.iter_mut().filter(|bytes| token.as_bytes() == &***bytes) {
            *bytes = stub.as_bytes().to_vec();
            found = true;
        }
        if !found {
            return None;
        }
    }
    let data = match (data, bytes) {
        (_, Some(bytes)) => Payload::Bytes(bytes.into()),
        (Some(json), None) => Json::trusted(json).into(),
        (None, None) => return None,
    };
    Some(Stored { data, metadata: metadata.map(Json::trusted) })
}

/// JSON in which no string is escaped that needs not be. All between the strings stays.
fn without_escapes(json: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(json.len()), json);
    while let Some((between, string)) = rest.split_once('"') {
        let mut escaped = false;
        let end = string.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        // What is no JSON stays as it is.
        let Some(end) = end else { break };
        plain.push_str(between);
        let literal = &rest[between.len()..between.len() + 1 + end + 1];
        let value = serde_json::from_str::<String>(literal);
        match value.and_then(|value| serde_json::to_string(&value)) {
            Ok(spelled) => plain.push_str(&spelled),
            Err(_) => plain.push_str(literal),
        }
        rest = &string[end + 1..];
    }
    plain.push_str(rest);
    plain
}
