//! What a tombstone is, by its bytes and its signature.

use futures::TryStreamExt;

use super::*;
use crate::{
    audit::verify::{Defect, VerifyOptions},
    event::{
        EventType, Json, NewEvent, Position, Revision, SUBJECT_FORGOTTEN, Timestamp, VerifyingKey,
    },
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter, MemoryStore,
        ReadAllOptions, ReadOptions, StoreError, Unreadable,
    },
};

/// The text with a signature of the vault's over all of it.
fn signed(vault: &Vault, stream: &StreamName, id: EventId, text: &str) -> String {
    let zeros = Signature([0; 64]);
    let with = |key: SigningKeyId, sig: &Signature| {
        format!(r#"{},"key":"{key}","sig":"{sig}"}}"#, text.strip_suffix('}').unwrap())
    };
    let bytes = |key| {
        let said = SignedTombstone::read(&Json::parse(&with(key, &zeros)).unwrap()).unwrap();
        said.signed_bytes(vault.id().0, stream, id)
    };
    let (key, sig) = vault.sign(bytes).unwrap();
    with(key, &sig)
}

/// A bank of a person who is there, in whose stream this is written under this id.
async fn saying(
    write: impl FnOnce(&Vault, &StreamName, EventId) -> String,
) -> Oubliette<MemoryStore> {
    let policy = "[[stream]]\nmatch = 'user-{id}'\nlayout = 'split'\npublic = ['/id']";
    let vault = Vault::in_memory().unwrap();
    let policy = Policy::parse(policy).unwrap();
    let bank = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
    let (stream, half) = (StreamName::new("user-1").unwrap(), "user-public-1");
    let named = |name: &str| EventType::new(name).unwrap();
    let data = Json::parse(r#"{"id":1,"name":"Erika"}"#).unwrap();
    let registered = NewEvent::new(named("UserRegistered"), data);
    bank.append_to(&stream, ExpectedRevision::Any, vec![registered]).await.unwrap();

    let id = EventId::random();
    let data = Json::trusted(write(&vault, &stream, id));
    let mut event = NewEvent::new(named(SUBJECT_FORGOTTEN), data).with_id(id);
    event.metadata = bank.layer.placement(&stream).await.unwrap().note(&stream);
    let half = StreamName::new(half).unwrap();
    bank.store().append(vec![Append::new(half, ExpectedRevision::Any, vec![event])]).await.unwrap();
    bank
}

/// All of a tombstone but who signed it.
const SAID: &str = r#"{"state":"forgotten","ref":"AAAAAAAAAAAAAAAAAAAAAA","day":"2026-11-28","keys":[],"subject":"user-1"}"#;

/// How each way of reading ends.
async fn ends(bank: &Oubliette<MemoryStore>) -> [Result<usize, StoreError>; 4] {
    let read = async |name: &str| {
        let name = StreamName::new(name).unwrap();
        bank.events(&name, ReadOptions::default()).await.map(|events| events.len())
    };
    let all: Result<Vec<_>, _> = bank.read_all(ReadAllOptions::default()).try_collect().await;
    let filter =
        Filter { event_types: vec![EventType::new("Other").unwrap()], ..Filter::default() };
    let until = |delivery: &Delivery| std::future::ready(Ok(*delivery != Delivery::CaughtUp));
    let told: Result<Vec<_>, _> =
        bank.subscribe(None, filter).try_take_while(until).try_collect().await;
    [
        read("user-1").await,
        read("user-public-1").await,
        all.map(|events| events.len()),
        told.map(|told| told.len() + 1),
    ]
}

async fn defects(bank: &Oubliette<MemoryStore>) -> Vec<Defect> {
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    report.found.into_keys().collect()
}

/// What a newer version says must not be passed over as if it were nobody's.
#[tokio::test]
async fn what_the_vault_says_and_this_version_does_not_understand_ends_every_read() {
    for (from, to, state) in [
        ("\"forgotten\"", "\"suspended\"", Some("suspended")),
        ("\"forgotten\"", "\"lifted\"", Some("lifted")),
        ("\"forgotten\"", "\"held-for-court\"", Some("held-for-court")),
        ("\"forgotten\"", "\"Erika, 12\"", Some("?")),
        ("\"forgotten\"", "{\"forgotten\":null}", None),
        ("\"user-1\"", "null", None),
        ("{", "{\"until\":\"2031-01-01\",", None),
        ("{", "{\"format\":2,", None),
        ("\"day\":\"2026-11-28\",", "", None),
    ] {
        let later = SAID.replacen(from, to, 1);
        assert_ne!(later, SAID);
        let bank = saying(|vault, stream, id| signed(vault, stream, id, &later)).await;
        for end in ends(&bank).await {
            let error = end.unwrap_err();
            let told = error.to_string();
            let StoreError::Unreadable { unreadable, .. } = error else { panic!("{told}") };
            assert_eq!(unreadable, Unreadable::State(state.map(str::to_owned)));
            assert!(told.contains("newer") && !told.contains("Erika"), "{told}");
            assert!(state.is_none_or(|state| told.contains(state)), "{told}");
        }
        assert_eq!(defects(&bank).await, [Defect::NewerState]);

        // Whoever is not the vault stops nobody.
        let forged = |vault: &Vault, stream: &StreamName, id| {
            signed(vault, stream, id, SAID).replacen(from, to, 1)
        };
        let bank = saying(forged).await;
        for end in ends(&bank).await {
            assert_eq!(end.unwrap(), 2);
        }
        assert_eq!(defects(&bank).await, [Defect::ForgedTombstone]);
    }
}

/// Nobody can say the vault's word in other words, nor stop a reader with what is no word at all.
#[tokio::test]
async fn what_is_no_tombstone_stops_no_reader() {
    let list = |vault: &Vault, stream: &StreamName, id| {
        let whole = signed(vault, stream, id, SAID);
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        let names = ["state", "ref", "day", "keys", "subject", "key", "sig"];
        serde_json::to_string(&names.map(|name| whole[name].clone())).unwrap()
    };
    let twice = |vault: &Vault, stream: &StreamName, id| {
        signed(vault, stream, id, SAID).replacen('{', "{\"day\":\"2026-11-28\",", 1)
    };
    let tokens = |_: &Vault, _: &StreamName, _| r#"{"$sealed":["AAAA"]}"#.to_owned();
    let nothing = |_: &Vault, _: &StreamName, _| "{".to_owned();
    for bank in
        [saying(list).await, saying(twice).await, saying(tokens).await, saying(nothing).await]
    {
        for end in ends(&bank).await {
            assert_eq!(end.unwrap(), 2);
        }
        assert_eq!(defects(&bank).await, [Defect::ForgedTombstone]);
        // Nor is a reader given JSON that is none.
        let stream = StreamName::new("user-1").unwrap();
        let read = bank.events(&stream, ReadOptions::default()).await.unwrap();
        let mut json = read.iter().filter_map(|event| event.data.as_ref()?.as_json());
        assert!(json.all(|json| json.try_tree().is_ok()));
    }
}

fn vectors() -> serde_json::Value {
    crate::layer::document::vectors::committed("tombstones.json")
}

/// What is said of a tombstone by a vault with the signing keys of the vectors, and what is signed.
fn told(file: &serde_json::Value, vector: &serde_json::Value) -> (&'static str, Vec<u8>) {
    let vault = file["vault"].as_str().unwrap().parse().unwrap();
    let keys: Vec<(VerifyingKey, bool)> = file["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| {
            let public: VerifyingKey = key["public"].as_str().unwrap().parse().unwrap();
            assert_eq!(public.id().to_string(), key["key"]);
            (public, key["compromised"].as_bool().unwrap())
        })
        .collect();
    let text = |name: &str| vector[name].as_str().unwrap();
    let event = RecordedEvent::plain(
        text("stream").parse().unwrap(),
        Revision(0),
        Position::number(0),
        text("id").parse().unwrap(),
        EventType::new(SUBJECT_FORGOTTEN).unwrap(),
        Timestamp::now(),
        Json::trusted(text("data")).into(),
        vector["metadata"].as_str().map(|text| Json::parse(text).unwrap()),
    );
    let said = match claimed(&event) {
        Ok(said) => said,
        Err(Unvouched::Misplaced) => return ("misplaced", vec![]),
        Err(_) => return ("malformed", vec![]),
    };
    let bytes = said.signed_bytes(vault, &event.stream, event.id);
    let vouched = match keys.iter().find(|(key, _)| key.id() == said.key) {
        None => Vouched::UnknownKey,
        Some((key, _)) if !key.verifies(&bytes, &said.sig) => Vouched::Forged,
        Some((_, true)) => Vouched::Compromised,
        Some((_, false)) => Vouched::Ours,
    };
    let told = match weighed(said, vouched) {
        Ok(tombstone) => {
            let lives = |key: &KeyId| file["living"][0] == key.to_string();
            if tombstone.keys.iter().any(lives) { "undone" } else { "good" }
        }
        Err(Unvouched::Odd(_)) => "malformed",
        Err(Unvouched::Misplaced) => unreachable!(),
        Err(Unvouched::Forged(_)) => "forged",
        Err(Unvouched::UnknownKey(_)) => "unknown key",
        Err(Unvouched::Compromised(_)) => "compromised",
        Err(Unvouched::Newer(_)) => "newer",
    };
    (told, bytes)
}

/// The vectors of `docs/format.md`.
#[test]
fn the_vectors_are_told_apart() {
    let file = vectors();
    for vector in file["vectors"].as_array().unwrap() {
        let (told, bytes) = told(&file, vector);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((told, &*hex), ("good", vector["signed"].as_str().unwrap()), "{vector}");
        // It is written as it was read.
        let data = Json::parse(vector["data"].as_str().unwrap()).unwrap();
        assert_eq!(Json::of(&Tombstone::parse(&data).unwrap()).unwrap(), data);
    }
    for vector in file["bad"].as_array().unwrap() {
        assert_eq!(told(&file, vector).0, vector["error"].as_str().unwrap(), "{vector}");
    }
}

/// Whatever still reads as a tombstone of this vault's is the same one.
#[test]
fn no_bit_and_no_byte_of_a_tombstone_can_change_unnoticed() {
    let file = vectors();
    let mut read = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let text = vector["data"].as_str().unwrap();
        let whole = Tombstone::parse(&Json::parse(text).unwrap()).unwrap();
        let flipped = (0..text.len() * 8).map(|bit| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        let cut = (0..text.len()).map(|at| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.remove(at);
            bytes
        });
        let short = (0..text.len()).map(|length| text.as_bytes()[..length].to_vec());
        for bytes in flipped.chain(cut).chain(short) {
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let mut changed = vector.clone();
            changed["data"] = text.as_str().into();
            let (told, _) = told(&file, &changed);
            let other = Json::parse(&text).ok().and_then(|data| Tombstone::parse(&data).ok());
            let Some(other) = other else {
                assert_eq!(told, "malformed", "{text}");
                continue;
            };
            read += u32::from(other != whole);
            assert_eq!(told == "good", other == whole, "{told}: {text}");
        }
    }
    assert!(read > 1_000, "{read}");
}
