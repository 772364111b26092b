//! The vectors of `docs/format.md` that need no vault but its keys, opened through the public functions: each
//! gives what it says, and no change of a single byte goes unnoticed. Bad ones, and what a vault knows besides,
//! have their tests beside the code that makes them.

#![allow(clippy::unwrap_used)]

use oubliette::{
    crypto::internals::{Context, DataKey, MIN_TOKEN_BYTES, Plaintext, Purpose, Token, open},
    event::{EventId, EventType, Json, KeyId, Payload, StreamName},
    layer::internals::{Document, Stored, parse},
    store::Unreadable,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    keys: Vec<Key>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Key {
    id: KeyId,
    secret: String,
}

#[derive(Deserialize, Clone)]
struct Vector {
    name: String,
    purpose: u8,
    stream: StreamName,
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    data: Data,
    metadata: Option<String>,
    private: Option<Half>,
    digest: Option<String>,
    associated: Option<String>,
    opened: Option<Opened>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "lowercase")]
enum Data {
    Json(String),
    Bytes(String),
}

#[derive(Deserialize, Clone)]
struct Half {
    id: EventId,
    data: Data,
    metadata: Option<String>,
}

#[derive(Deserialize, Clone)]
struct Opened {
    data: Option<Data>,
    metadata: Option<String>,
    /// The keys of its tokens.
    #[serde(default)]
    keys: Vec<KeyId>,
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn payload(data: &Data) -> Payload {
    match data {
        Data::Json(text) => Json::parse(text).unwrap().into(),
        Data::Bytes(hex) => Payload::Bytes(bytes(hex).into()),
    }
}

fn json(text: Option<&String>) -> Option<Json> {
    text.map(|text| Json::parse(text).unwrap())
}

/// The good vectors with tokens, all of which open.
fn read() -> File {
    let path = format!("{}/tests/vectors/good.json", env!("CARGO_MANIFEST_DIR"));
    let mut file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let lives = |id: &KeyId| file.keys.iter().any(|key| key.id == *id);
    let opens = |vector: &Vector| {
        let keys = &vector.opened.as_ref().unwrap().keys;
        vector.purpose == 2 || !keys.is_empty() && keys.iter().all(lives)
    };
    file.vectors = file.vectors.iter().filter(|vector| opens(vector)).cloned().collect();
    assert_eq!(file.vectors.len(), 16);
    file
}

fn keys(file: &File) -> Vec<DataKey> {
    let key = |key: &Key| DataKey::from_bytes(key.id, &bytes(&key.secret).try_into().unwrap());
    file.keys.iter().map(key).collect()
}

/// An event as it is in a store.
#[derive(Clone)]
struct Event {
    place: Vector,
    data: Payload,
    metadata: Option<Json>,
    private: Option<(EventId, Payload, Option<Json>)>,
}

impl From<&Vector> for Event {
    fn from(vector: &Vector) -> Self {
        Self {
            data: payload(&vector.data),
            metadata: json(vector.metadata.as_ref()),
            private: vector
                .private
                .as_ref()
                .map(|half| (half.id, payload(&half.data), json(half.metadata.as_ref()))),
            place: vector.clone(),
        }
    }
}

/// What a reader gets.
#[derive(Debug, PartialEq)]
enum Read {
    Clear,
    Opened(Option<Payload>, Option<Json>),
    Failed(Unreadable),
}

impl Event {
    fn context(&self) -> Context<'_> {
        Context {
            purpose: match self.place.purpose {
                1 => Purpose::Event,
                _ => Purpose::Snapshot,
            },
            stream: &self.place.stream,
            event_id: self.place.id,
            event_type: &self.place.event_type,
        }
    }

    fn stored(&self) -> Result<Option<Stored>, Unreadable> {
        let Document::Stored(stored) = parse(&self.data, self.metadata.as_ref())? else {
            return Ok(None);
        };
        let Some((id, data, metadata)) = &self.private else { return Ok(Some(stored)) };
        match parse(data, metadata.as_ref())? {
            Document::Stored(half) => stored.join(self.place.id, half, *id).map(Some),
            Document::Clear => Err(Unreadable::HalfMissing),
        }
    }

    fn try_read(&self, keys: &[DataKey]) -> Result<Read, Unreadable> {
        let Some(stored) = self.stored()? else { return Ok(Read::Clear) };
        // The layer takes an event without tokens for a public one, unless it notes a half.
        if stored.tokens.is_empty() {
            return Err(Unreadable::HalfMissing);
        }
        let associated = stored.associated(&self.context());
        let opened: Result<Vec<Plaintext>, Unreadable> = (stored.tokens.iter())
            .map(|token| {
                let key = keys.iter().find(|key| key.id() == token.key_id());
                Ok(open(token.clone(), key.ok_or(Unreadable::KeyMissing)?, &associated)?)
            })
            .collect();
        let (data, metadata) = stored.assemble(opened?)?;
        Ok(Read::Opened(data, metadata))
    }

    fn read(&self, keys: &[DataKey]) -> Read {
        self.try_read(keys).unwrap_or_else(Read::Failed)
    }
}

#[test]
fn every_good_vector_opens_to_what_it_says() {
    let file = read();
    let keys = keys(&file);
    for vector in &file.vectors {
        let event = Event::from(vector);
        let stored = event.stored().unwrap().unwrap();
        let name = &vector.name;
        assert_eq!(&hex(stored.digest.as_bytes()), vector.digest.as_ref().unwrap(), "{name}");
        let associated = stored.associated(&event.context());
        assert_eq!(&hex(&associated), vector.associated.as_ref().unwrap(), "{name}");
        let opened = vector.opened.as_ref().unwrap();
        let expected =
            Read::Opened(opened.data.as_ref().map(payload), json(opened.metadata.as_ref()));
        assert!(event.read(&keys) == expected, "{name}");
    }
}

/// Every text that differs in one bit and is still text.
fn one_bit_off(text: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..text.len() * 8).map(|bit| {
        let mut changed = text.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, changed)
    })
}

/// Variants of a JSON text that differ in one bit, are still JSON, and mean something else.
fn variants(json: &Json) -> Vec<Json> {
    let canonical = json.to_canonical();
    one_bit_off(json.as_str().as_bytes())
        .filter_map(|(_, changed)| Json::parse(std::str::from_utf8(&changed).ok()?).ok())
        .filter(|changed| changed.to_canonical() != canonical)
        .collect()
}

fn payload_variants(payload: &Payload) -> Vec<Payload> {
    match payload {
        Payload::Json(json) => variants(json).into_iter().map(Payload::Json).collect(),
        Payload::Bytes(bytes) => {
            one_bit_off(bytes).map(|(_, changed)| Payload::Bytes(changed.into())).collect()
        }
    }
}

/// Whether the event lost the one member by which it is known to be sealed, and so reads as one
/// that never was: the layer counts those. It shows its ciphertext then, and nothing else.
fn lost_its_mark(event: &Event) -> bool {
    let has = |json: Option<&Json>, key: &str| {
        let value = json.and_then(|json| json.to::<serde_json::Value>().ok());
        value.is_some_and(|value| value.get(key).is_some())
    };
    let data = event.data.as_json();
    let metadata = event.metadata.as_ref();
    !has(data, "$sealed") && !has(metadata, "$sealed") && !has(metadata, "$oubliette")
}

/// Metadata but for the 35 characters of the tag.
fn without_tag(metadata: Option<&Json>) -> Option<String> {
    let text = metadata?.as_str();
    let Some(at) = text.find("\"mac\":\"") else { return Some(text.to_owned()) };
    let (from, to) = (at + 7, at + 7 + 38);
    Some([&text[..from], text.get(to..)?].concat())
}

#[test]
fn no_bit_of_a_stored_event_can_change_unnoticed() {
    let file = read();
    let keys = keys(&file);
    let mut changes = 0;
    for vector in &file.vectors {
        let event = Event::from(vector);
        let mut changed = Vec::new();
        for data in payload_variants(&event.data) {
            changed.push(Event { data, ..event.clone() });
        }
        for metadata in event.metadata.iter().flat_map(variants) {
            changed.push(Event { metadata: Some(metadata), ..event.clone() });
        }
        if let Some((id, data, metadata)) = &event.private {
            for data in payload_variants(data) {
                changed
                    .push(Event { private: Some((*id, data, metadata.clone())), ..event.clone() });
            }
            for metadata in metadata.iter().flat_map(variants) {
                let private = Some((*id, data.clone(), Some(metadata)));
                changed.push(Event { private, ..event.clone() });
            }
        }
        changes += changed.len();
        for event in changed {
            match event.read(&keys) {
                Read::Failed(_) => {}
                Read::Clear => assert!(lost_its_mark(&event), "{}", vector.name),
                Read::Opened(..) => {
                    // While a key lives it vouches for the event, and the tag is not asked.
                    let whole = Event::from(vector);
                    assert!(event.data == whole.data, "{}", vector.name);
                    assert_eq!(event.private, whole.private, "{}", vector.name);
                    let changed = without_tag(event.metadata.as_ref());
                    assert_eq!(changed, without_tag(whole.metadata.as_ref()), "{}", vector.name);
                }
            }
        }
    }
    assert!(changes > 10_000, "{changes}");
}

/// The length of a token without its ciphertext.
const STUB: usize = 50;

#[test]
fn a_token_cut_or_extended_anywhere_is_noticed() {
    let file = read();
    let keys = keys(&file);
    let event = Event::from(&file.vectors[0]);
    let stored = event.stored().unwrap().unwrap();
    let associated = stored.associated(&event.context());
    let whole = stored.tokens[0].as_bytes();
    let key = keys.iter().find(|key| key.id() == stored.tokens[0].key_id()).unwrap();
    assert!(open(stored.tokens[0].clone(), key, &associated).is_ok());
    for length in 0..whole.len() {
        match Token::from_bytes(whole[..length].to_vec()) {
            Ok(token) => {
                assert!(length >= MIN_TOKEN_BYTES || length == STUB);
                assert_eq!(token.is_stub(), length == STUB);
                assert!(open(token, key, &associated).is_err());
            }
            Err(error) => {
                assert!(length < MIN_TOKEN_BYTES && length != STUB);
                assert_eq!(Unreadable::from(error), Unreadable::Truncated);
            }
        }
    }
    for more in 1..=32 {
        for byte in [0, 1, 255] {
            let mut bytes = whole.to_vec();
            bytes.resize(whole.len() + more, byte);
            assert!(open(Token::from_bytes(bytes).unwrap(), key, &associated).is_err());
        }
    }
}
