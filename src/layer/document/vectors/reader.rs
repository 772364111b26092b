//! Reads vectors as the program does: out of a store, through the layer and through the codec, with a vault that
//! has exactly the eras and keys that the file states. So no vector says another error than the program.

use std::sync::LazyLock;

use futures::{TryStreamExt, executor::block_on};

use super::*;
use crate::{
    event::{NewEvent, RecordedEvent, Shredded, Subject, Withheld},
    layer::{Codec, CodecError, EventRef, Oubliette},
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadAllOptions,
        ReadOptions, StoreError,
    },
};

/// What a reader gets.
#[derive(Debug, PartialEq)]
struct Seen {
    data: Option<Payload>,
    metadata: Option<Json>,
    subject: Option<Subject>,
    keys: Vec<KeyId>,
    shredded: Vec<Shredded>,
    withheld: Vec<Withheld>,
    unsealed: bool,
    unvouched: bool,
}

fn policy() -> Policy {
    Policy::parse("[[stream]]\nmatch = 'user-{id}'\nlayout = 'split'\npublic = ['/id']").unwrap()
}

fn word(vector: &Value, name: &str) -> String {
    vector[name].as_str().unwrap().to_owned()
}

fn data(half: &Value) -> Payload {
    match half["data"]["json"].as_str() {
        Some(text) => Json::parse(text).unwrap().into(),
        None => {
            let text = word(&half["data"], "bytes");
            let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            Payload::Bytes((0..text.len()).step_by(2).map(byte).collect())
        }
    }
}

fn metadata(half: &Value) -> Option<Json> {
    half["metadata"].as_str().map(|text| Json::parse(text).unwrap())
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

async fn store(vector: &Value) -> MemoryStore {
    let store = MemoryStore::new();
    for half in vector.get("private").into_iter().chain([vector]) {
        let of = half["in"].as_str().or(vector["stream"].as_str()).unwrap();
        let event = NewEvent {
            metadata: metadata(half),
            ..NewEvent::new(EventType::new(word(vector, "type")).unwrap(), data(half))
        };
        let event = event.with_id(word(half, "id").parse().unwrap());
        let append = Append::new(stream(of), ExpectedRevision::Any, vec![event]);
        store.append(vec![append]).await.unwrap();
    }
    store
}

fn why(error: StoreError) -> Unreadable {
    match error {
        StoreError::Unreadable { unreadable, .. } => unreadable,
        other => panic!("{other}"),
    }
}

fn by_layer(
    layer: &Oubliette<MemoryStore>,
    read: Result<RecordedEvent, StoreError>,
) -> Result<Seen, Unreadable> {
    let event = read.map_err(why)?;
    let (unsealed, unvouched) = (layer.unsealed() > 0, layer.unvouched() > 0);
    let RecordedEvent { data, metadata, subject, keys, shredded, withheld, .. } = event;
    Ok(Seen { data, metadata, subject, keys, shredded, withheld, unsealed, unvouched })
}

/// Through the layer, among all events.
async fn among_all(vector: &Value) -> Result<Seen, Unreadable> {
    let layer = Oubliette::unresumed(store(vector).await, vault(), policy());
    let mut events = layer.read_all(ReadAllOptions::default());
    // What is no half is by itself.
    let read = loop {
        match events.try_next().await {
            Ok(event) => {
                let event = event.unwrap();
                if event.id.to_string() == word(vector, "id") {
                    break Ok(event);
                }
            }
            Err(error) => break Err(error),
        }
    };
    by_layer(&layer, read)
}

/// Through the layer, in the event's stream; `None`: it is not found there, because its notes are malformed.
async fn in_its_stream(vector: &Value) -> Option<Result<Seen, Unreadable>> {
    let layer = Oubliette::unresumed(store(vector).await, vault(), policy());
    let events = layer.events(&stream(&word(vector, "stream")), ReadOptions::default()).await;
    let first = events.map(|events| events.into_iter().next()).transpose()?;
    Some(by_layer(&layer, first))
}

/// Through the codec, whose caller keeps events in one piece where they belong.
fn by_codec(vector: &Value) -> Result<Seen, Unreadable> {
    static CODEC: LazyLock<Codec> = LazyLock::new(|| Codec::new(vault(), policy()));
    let event_type = EventType::new(word(vector, "type")).unwrap();
    let event = EventRef {
        stream: &stream(&word(vector, "stream")),
        id: word(vector, "id").parse().unwrap(),
        event_type: &event_type,
    };
    let opened = match CODEC.open(event, &data(vector), metadata(vector).as_ref()) {
        Err(CodecError::Unreadable(unreadable)) => return Err(unreadable),
        opened => opened.unwrap(),
    };
    Ok(Seen {
        data: opened.data,
        metadata: opened.metadata,
        subject: opened.subject,
        keys: opened.keys,
        shredded: opened.shredded,
        withheld: opened.withheld,
        unsealed: opened.unsealed,
        unvouched: opened.unvouched,
    })
}

/// What a reader gets of the event of a vector: the same by every way.
pub(super) fn told(vector: &Value) -> Result<Value, Unreadable> {
    let name = &vector["name"];
    let told = block_on(among_all(vector));
    let lies = vector["in"].as_str().unwrap_or(STREAM);
    // Elsewhere it is not found by its stream's name.
    if lies == vector["stream"] || lies == "user-public-456" {
        let found = block_on(in_its_stream(vector));
        assert!(found.is_none_or(|found| found == told), "{name}, in its stream, is not {told:?}");
    }
    if vector.get("in").is_none() && told != Err(Unreadable::Misplaced) {
        assert_eq!(by_codec(vector), told, "{name}, by the codec");
    }
    told.map(|seen| seen.to_json())
}

/// The same, by the codec alone, which takes less time.
pub(super) fn told_quickly(vector: &Value) -> Result<Value, Unreadable> {
    by_codec(vector).map(|seen| seen.to_json())
}

impl Seen {
    /// What there is nothing of is absent, but for data and metadata.
    fn to_json(&self) -> Value {
        let data = self.data.as_ref().map_or(Value::Null, payload);
        let mut seen = json!({ "data": data, "metadata": text(self.metadata.as_ref()) });
        let list = |name, list: Value| (list != json!([])).then_some((name, list));
        let members = [
            self.subject.as_ref().map(|subject| ("subject", subject.as_str().into())),
            list("keys", json!(self.keys)),
            list("shredded", json!(self.shredded)),
            list("withheld", json!(self.withheld)),
            self.unsealed.then_some(("unsealed", true.into())),
            self.unvouched.then_some(("unvouched", true.into())),
        ];
        for (name, value) in members.into_iter().flatten() {
            seen[name] = value;
        }
        seen
    }
}

/// The name of an error, as the page has it.
pub(super) fn named(error: &Unreadable) -> &'static str {
    match error {
        Unreadable::Tampered => "tampered",
        Unreadable::KeyMissing => "key-missing",
        Unreadable::NotBase64 => "not-base64",
        Unreadable::Truncated => "truncated",
        Unreadable::Version(_) | Unreadable::NotesVersion(_) => "version",
        Unreadable::Algorithm(_) => "algorithm",
        Unreadable::Malformed(_) => "malformed",
        Unreadable::Untagged => "untagged",
        Unreadable::OtherVault => "other-vault",
        Unreadable::UnknownEra => "unknown-era",
        Unreadable::ForgedHole => "forged-hole",
        Unreadable::State(_) => "newer",
        Unreadable::Misplaced => "misplaced",
        Unreadable::Purged => "purged",
        Unreadable::Undone => "undone",
        Unreadable::HalfMissing => "half-missing",
    }
}
