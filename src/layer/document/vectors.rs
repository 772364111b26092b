//! Makes the vectors of `docs/format.md`, under fixed keys and nonces, and checks that the
//! committed ones are still what this program writes. They never change: what once was sealed
//! must open for ever. What a reader gets of each, or its error, [`reader`] finds out by the program's own way.
//! `tests/library/format_vectors.rs` opens those that need no vault through the public functions.

use serde_json::{Value, json};
use uuid::Uuid;

mod bad;
#[path = "../../../tests/common/vectors.rs"]
mod files;
mod good;
mod holes;
mod reader;
mod world;

pub(crate) use files::{are_committed, committed, hex};
#[cfg(feature = "backup")]
pub(crate) use files::{is_wanted, path};

use super::*;
use crate::{
    crypto::{
        Body, Context, DataKey, EventTag, Label, Purpose, SealPart, Secret, Token, derive, keyed,
        seal_with_nonces,
    },
    event::{Era, EventId, EventType, Fillings, Json, KeyId, Payload, PolicyDigest, StreamName},
};
use reader::{named, told};
use world::*;

const STREAM: &str = "user-456";
const TYPE: &str = "AddressChanged";
const ID: Uuid = Uuid::from_u128(0x0190_a6c0_0000_7000_8000_0000_0000_0001);
const PRIVATE_ID: Uuid = Uuid::from_u128(0x0190_a6c0_0000_7000_8000_0000_0000_0002);
const OTHER_ID: Uuid = Uuid::from_u128(0x0190_a6c0_0000_7000_8000_0000_0000_0003);
const POLICY: PolicyDigest = PolicyDigest([0x50, 0x4f, 0x4c, 0x49, 0x43, 0x59, 0x30, 0x31]);

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from.wrapping_add(u8::try_from(i).unwrap()))
}

struct Place {
    stream: StreamName,
    event_type: EventType,
    purpose: Purpose,
}

impl Place {
    fn event() -> Self {
        Self {
            stream: StreamName::new(STREAM).unwrap(),
            event_type: EventType::new(TYPE).unwrap(),
            purpose: Purpose::Event,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            purpose: self.purpose,
            stream: &self.stream,
            event_id: EventId(ID),
            event_type: &self.event_type,
        }
    }
}

/// Fillings as text: container, index, piece.
fn list(fillings: &[(&str, usize, &str)]) -> &'static str {
    let mut text = String::new();
    for (parent, index, piece) in fillings {
        Fillings::write(parent, *index, &[piece], &mut text);
    }
    text.leak()
}

fn payload(data: &Payload) -> Value {
    match data {
        Payload::Json(json) => json!({ "json": json.as_str() }),
        Payload::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
    }
}

fn text(json: Option<&Json>) -> Value {
    json.map_or(Value::Null, |json| json.as_str().into())
}

/// One event to be sealed.
struct Case {
    name: &'static str,
    about: &'static str,
    public: Option<Payload>,
    metadata: Option<&'static str>,
    notes: Notes,
    parts: Vec<(u8, Body<'static>, &'static str, usize)>,
    purpose: Purpose,
    split: bool,
    by: By,
}

/// Whose tag an event has.
#[derive(Clone, Copy)]
enum By {
    /// The vault's, under the secret of this era.
    Us(Era),
    AnotherVault,
    Nobody,
}

impl Case {
    fn new(
        name: &'static str,
        about: &'static str,
        parts: Vec<(u8, Body<'static>, &'static str, usize)>,
    ) -> Self {
        Self {
            name,
            about,
            public: None,
            metadata: None,
            notes: Notes::default(),
            parts,
            purpose: Purpose::Event,
            split: false,
            by: By::Us(ERA),
        }
    }

    fn by(mut self, by: By) -> Self {
        self.by = by;
        self
    }

    fn split(mut self) -> Self {
        self.split = true;
        self.notes.stream = Some(StreamName::new(STREAM).unwrap());
        self.notes.private = Some(EventId(PRIVATE_ID));
        self
    }

    fn public(mut self, text: &str) -> Self {
        self.public = Some(Json::parse(text).unwrap().into());
        self
    }

    fn public_bytes(mut self, bytes: &[u8]) -> Self {
        self.public = Some(Payload::Bytes(bytes.into()));
        self
    }

    fn metadata(mut self, text: &'static str) -> Self {
        self.metadata = Some(text);
        self
    }

    fn notes(mut self, notes: Notes) -> Self {
        self.notes = notes;
        self
    }

    fn vector(self, number: u8) -> Value {
        let place = Place { purpose: self.purpose, ..Place::event() };
        let context = place.context();
        let metadata = self.metadata.map(|text| Json::parse(text).unwrap());
        let keys: Vec<DataKey> = self.parts.iter().map(|part| key(part.0)).collect();
        let parts: Vec<SealPart<'_>> = (self.parts.iter().zip(&keys))
            .map(|(&(_, body, metadata, pad), key)| SealPart {
                key,
                policy: POLICY,
                body,
                metadata,
                pad,
            })
            .collect();
        let nonce = |i| {
            let mut nonce: [u8; 12] = counting(number);
            nonce[11] = i;
            nonce
        };
        let nonces: Vec<[u8; 12]> = (0..).map(nonce).take(parts.len()).collect();
        let draft = Draft::new(self.public, metadata.as_ref(), &self.notes);
        let digest = *draft.digest();
        let tokens = seal_with_nonces(&parts, &context, &digest, &nonces).unwrap();
        let associated = context.associated(tokens.iter().map(Token::key_id), &digest);
        let tag = |vault: Uuid, era: Era| {
            let tags = derive(&Secret::copy_of(&of_era(era)), Label::EVENT_TAGS);
            EventTag::new(&keyed(&tags), vault.as_bytes(), era, &associated, &tokens)
        };
        let draft = match self.by {
            By::Us(era) => draft.tagged(tag(VAULT, era), &tokens),
            By::AnotherVault => draft.tagged(tag(OTHER_VAULT, THEIRS), &tokens),
            By::Nobody => draft,
        };
        let mut vector = json!({
            "name": self.name,
            "about": self.about,
            "purpose": context.purpose as u8,
            "stream": STREAM,
            "id": ID.to_string(),
            "type": TYPE,
            "digest": hex(digest.as_bytes()),
            "associated": hex(&associated),
        });
        let mut plaintexts = Vec::new();
        for token in &tokens {
            let Some(key) = living_key(token.key_id()) else { continue };
            let blob = &token.as_bytes()[22..];
            plaintexts.push(hex(&key.cipher().open_blob(&associated, blob).unwrap()));
        }
        vector["plaintexts"] = plaintexts.into();
        let (data, metadata) = if self.split {
            vector["in"] = "user-public-456".into();
            let notes = Notes {
                stream: self.notes.stream.clone(),
                public: Some(EventId(ID)),
                ..Notes::default()
            };
            if !tokens.is_empty() {
                let (data, metadata) = Draft::new(None, None, &notes).store(&tokens);
                vector["private"] = json!({
                    "id": PRIVATE_ID.to_string(),
                    "in": "user-private-456",
                    "data": payload(&data),
                    "metadata": text(metadata.as_ref()),
                });
            }
            draft.store_clear()
        } else {
            draft.store(&tokens)
        };
        vector["data"] = payload(&data);
        vector["metadata"] = text(metadata.as_ref());
        vector
    }

    /// The same, with what a reader gets.
    fn good(self, number: u8) -> Value {
        let (name, snapshot) = (self.name, self.purpose == Purpose::Snapshot);
        let mut vector = self.vector(number);
        // Nothing reads one yet: see `tests/library/format_vectors.rs`.
        vector["opened"] = if snapshot {
            json!({ "data": { "json": good::WHOLE }, "metadata": null })
        } else {
            told(&vector).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        vector
    }
}

/// A vector that is bad by this name, without what is said of good ones.
fn called(name: &str, error: &str, mut vector: Value) -> Value {
    let members = vector.as_object_mut().unwrap();
    for member in ["opened", "plaintexts", "digest", "associated", "about", "said"] {
        members.remove(member);
    }
    vector["name"] = name.into();
    vector["error"] = error.into();
    vector
}

/// Each bad vector has its own error, by whichever way the program reads it.
fn have_their_names(bad: &[Value]) {
    let wrong: Vec<String> = (bad.iter())
        .map(|vector| match told(vector) {
            Err(error) => (vector, named(&error).to_owned()),
            Ok(seen) => (vector, seen.to_string()),
        })
        .filter(|(vector, found)| vector["error"] != found.as_str())
        .map(|(vector, found)| format!("{} is {found}", vector["name"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The tokens of a vector whose data hold them.
fn tokens(vector: &Value) -> Vec<String> {
    let data: Value = serde_json::from_str(vector["data"]["json"].as_str().unwrap()).unwrap();
    serde_json::from_value(data["$sealed"].clone()).unwrap()
}

/// The vector with other tokens in its data.
fn with_tokens(vector: &Value, tokens: &[String]) -> Value {
    let old: Vec<String> = self::tokens(vector);
    let list = |tokens: &[String]| serde_json::to_string(tokens).unwrap();
    let mut vector = vector.clone();
    let data = vector["data"]["json"].as_str().unwrap().replace(&list(&old), &list(tokens));
    vector["data"]["json"] = data.into();
    vector
}

/// The vector with its only token's bytes changed.
fn edited(vector: &Value, edit: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut bytes = Token::parse(&tokens(vector)[0]).unwrap().into_bytes();
    edit(&mut bytes);
    let mut text = String::new();
    base64::Engine::encode_string(&base64::prelude::BASE64_URL_SAFE_NO_PAD, bytes, &mut text);
    with_tokens(vector, &[text])
}

/// A genuine token of a wrong plaintext.
fn forged(vector: &Value, number: u8, plaintext: &[u8]) -> Value {
    let mut associated = Vec::new();
    let text = vector["associated"].as_str().unwrap();
    for at in (0..text.len()).step_by(2) {
        associated.push(u8::from_str_radix(&text[at..at + 2], 16).unwrap());
    }
    edited(vector, |bytes| {
        let nonce = counting(number);
        bytes.truncate(22);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plaintext);
        key(OWN).cipher().seal_with_nonce(nonce, &associated, bytes, 22).unwrap();
    })
}

#[test]
fn the_committed_vectors_are_what_is_written_today() {
    let good = good::vectors();
    let bad = bad::vectors(&good);
    are_committed("bad.json", &file(json!({ "vectors": bad })));
    are_committed("good.json", &file(json!({ "vectors": good })));
}

#[test]
fn every_bad_vector_fails_with_its_own_error() {
    have_their_names(&bad::vectors(&good::vectors()));
}
