//! What is in the store after a forgetting: it joins nothing, nobody keeps it out, and nobody
//! but the vault can say it.

mod again;
mod forged;
mod moved;
mod rival;

use std::collections::BTreeSet;

use crate::common::{
    all, bank_policy, event, json, layer, layer_over, put, shape, stream, subject,
};
use futures::{StreamExt, TryStreamExt};
use oubliette::{
    audit::{
        Finding,
        verify::{Defect, VerifyOptions, VerifyProgress},
    },
    event::{ErasureRef, EventId, EventType, Json, NewEvent, RecordedEvent, SUBJECT_FORGOTTEN},
    layer::Oubliette,
    store::{Append, Delivery, EventStore, ExpectedRevision, Filter, MemoryStore, ReadAllOptions},
    vault::Vault,
};
use serde_json::Value;

const USER: &str = r#"{"id":1,"name":"Erika Musterfrau"}"#;

/// A person with a stream, an account, and a word in a shared room.
async fn peopled<S: EventStore>(bank: &Oubliette<S>) {
    for (to, event_type, data) in [
        ("user-1", "UserRegistered", USER),
        ("user-2", "UserRegistered", r#"{"id":2,"name":"Otto Normal"}"#),
        ("bankaccount-1", "AccountOpened", r#"{"owner":"user-1","iban":"DE89370400440532013000"}"#),
        ("room-selfhelp", "Said", r#"{"author":1,"at":3,"text":"first"}"#),
        ("room-selfhelp", "Said", r#"{"author":2,"at":4,"text":"second"}"#),
    ] {
        put(bank, to, event(event_type, data)).await.unwrap();
    }
}

async fn raw(store: &impl EventStore) -> Vec<RecordedEvent> {
    store.read_all(ReadAllOptions::default()).try_collect().await.unwrap()
}

fn value(event: &RecordedEvent) -> Value {
    serde_json::from_str(event.data.as_ref().unwrap().as_json().unwrap().as_str()).unwrap()
}

/// Every text and number in a value, but for what all tombstones of a day have.
fn particulars(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let telling = members
                .iter()
                .filter(|(name, _)| !["state", "day", "key"].contains(&name.as_str()));
            telling.for_each(|(_, value)| particulars(value, into));
        }
        Value::Array(elements) => elements.iter().for_each(|value| particulars(value, into)),
        other => drop(into.insert(other.to_string())),
    }
}

#[tokio::test]
async fn from_the_store_alone_nobody_learns_whose_forgetting_reached_which_stream() {
    let bank = layer().await;
    peopled(&bank).await;
    // As many rooms as it takes for no other order to be that of the references by chance.
    for room in 0..13 {
        put(&bank, &format!("room-{room}"), event("Said", r#"{"author":1,"text":"a"}"#))
            .await
            .unwrap();
    }
    let erased = bank.forget(&subject("user-1"), "asked").await.unwrap();
    let events = raw(bank.store()).await;
    let tombstones: Vec<_> = events.iter().filter(|event| event.is_tombstone()).collect();
    assert_eq!(tombstones.len(), 16);
    let id = erased.erasure.to_string();
    let instant = erased.at.to_string();
    let mut told: Vec<BTreeSet<String>> = Vec::new();
    for event in &tombstones {
        let mut one = BTreeSet::from([event.id.to_string()]);
        particulars(&value(event), &mut one);
        let whole = format!("{:?} {}", event.metadata, value(event));
        assert!(!whole.contains(&id) && !whole.contains(&instant[..19]), "{whole}");
        for word in ["depth", "cause", "erasure", "\"at\""] {
            assert!(!whole.contains(word), "{whole}");
        }
        // Who is forgotten is named in their own stream, and nobody else anywhere.
        assert_eq!(
            whole.contains("\"subject\":\"user-1\""),
            event.stream == stream("user-public-1")
        );
        assert_eq!(whole.contains("user-1"), event.stream == stream("user-public-1"));
        assert!(told.iter().all(|other| other.is_disjoint(&one)), "{told:?} and {one:?}");
        told.push(one);
    }
    // They come in an order that tells neither depth nor name: that of their references.
    let reference = |event: &&RecordedEvent| -> ErasureRef {
        value(event)["ref"].as_str().unwrap().parse().unwrap()
    };
    let references: Vec<ErasureRef> = tombstones.iter().map(reference).collect();
    assert!(references.is_sorted(), "{references:?}");
    // The vault can tell, for an auditor.
    for event in bank.read_all(ReadAllOptions::default()).try_collect::<Vec<_>>().await.unwrap() {
        let Some(tombstone) = &event.tombstone else { continue };
        let record = bank.erasure_of(tombstone.reference, &event.stream).unwrap().unwrap();
        assert_eq!((record.erasure, &*record.reason), (erased.erasure, "asked"));
        assert!(bank.erasure_of(tombstone.reference, &stream("elsewhere")).unwrap().is_none());
    }
}

#[tokio::test]
async fn an_event_tells_the_keys_that_a_tombstone_means() {
    let bank = layer().await;
    peopled(&bank).await;
    let before = all(&bank, "room-selfhelp").await;
    assert!(before.iter().all(|event| event.keys.len() == 1 && event.shredded.is_empty()));
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let after = all(&bank, "room-selfhelp").await;
    assert_eq!(shape(&after), "pct");
    let tombstone = after[2].tombstone.clone().unwrap();
    // A projection that kept the keys of each row finds hers, and only hers.
    assert_eq!(tombstone.keys, before[0].keys);
    assert_ne!(tombstone.keys, before[1].keys);
    let gone = &after[0].shredded[0];
    assert_eq!((gone.reference, gone.day), (tombstone.reference, tombstone.day));
    assert_eq!((&gone.keys, &after[0].keys), (&tombstone.keys, &tombstone.keys));
}

#[tokio::test]
async fn whoever_asks_for_some_types_hears_of_a_forgetting_all_the_same() {
    hears_of_a_forgetting(MemoryStore::new()).await;
    #[cfg(feature = "sqlite")]
    {
        let folder = tempfile::tempdir().unwrap();
        let store = oubliette::store::SqliteStore::create(folder.path().join("events"));
        hears_of_a_forgetting(store.unwrap()).await;
    }
}

async fn hears_of_a_forgetting(store: impl EventStore) {
    let bank = layer_over(store).await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let filter = Filter {
        event_types: vec![EventType::new("Said").unwrap()],
        stream_prefixes: vec!["room-".to_owned()],
    };
    let mut told = Vec::new();
    let mut deliveries = bank.subscribe(None, filter);
    while let Some(Delivery::Event(event)) = deliveries.next().await.transpose().unwrap() {
        told.push(event);
    }
    assert_eq!(shape(&told), "pct");
}

#[tokio::test]
async fn whoever_knows_an_event_cannot_take_the_id_of_its_private_half() {
    let bank = layer().await;
    let registered = event("UserRegistered", USER);
    let guess = EventId::derived(registered.id.0, "private half");
    let theirs = event("Noted", "{}").with_id(guess);
    let append = Append::new(stream("elsewhere"), ExpectedRevision::Any, vec![theirs]);
    bank.store().append(vec![append]).await.unwrap();
    put(&bank, "user-1", registered.clone()).await.unwrap();
    // And yet it is the same each time.
    assert!(put(&bank, "user-1", registered).await.unwrap().already);
    assert_eq!(shape(&all(&bank, "user-1").await), "c");
}

#[tokio::test]
async fn without_a_vault_nobody_is_called_forgotten() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let analyst = Oubliette::without_vault(bank.store().clone(), bank_policy());
    assert_eq!(shape(&all(&analyst, "bankaccount-1").await), "pf");
}

#[tokio::test]
async fn a_vault_has_one_signing_key_from_the_beginning() {
    let vault = Vault::in_memory().unwrap();
    let keys = vault.signing_keys().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].key, keys[0].public.id());
}

/// A service logs its errors, and a log is copied.
#[tokio::test]
async fn a_refused_append_does_not_say_which_erasure_it_was() {
    let bank = layer().await;
    put(&bank, "user-1", event("UserRegistered", r#"{"name":"Erika"}"#)).await.unwrap();
    let erased = bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    let error = put(&bank, "user-1", event("UserMoved", r#"{"to":"Bonn"}"#)).await.unwrap_err();
    for told in [error.to_string(), format!("{error:?}")] {
        assert!(told.contains("user-1") && !told.contains(&erased.erasure.to_string()), "{told}");
    }
}

async fn plant<S: EventStore>(bank: &Oubliette<S>, to: &str, data: &Json) -> EventId {
    let event_type = EventType::new(SUBJECT_FORGOTTEN).unwrap();
    let event = NewEvent::new(event_type, data.clone());
    plant_as(bank, to, event).await
}

async fn plant_as<S: EventStore>(bank: &Oubliette<S>, to: &str, event: NewEvent) -> EventId {
    let id = event.id;
    let append = Append::new(stream(to), ExpectedRevision::Any, vec![event]);
    bank.store().append(vec![append]).await.unwrap();
    id
}

async fn found<S: EventStore>(bank: &Oubliette<S>) -> Vec<Finding<Defect>> {
    let mut found = Vec::new();
    let take = |news| {
        if let VerifyProgress::Found(finding) = news {
            found.push(finding);
        }
    };
    bank.verify(VerifyOptions::default(), take).await.unwrap();
    found
}

/// The same vault over a store in which somebody changed events, or moved them.
async fn meddled(
    bank: &Oubliette<MemoryStore>,
    meddle: impl Fn(&mut RecordedEvent),
) -> Oubliette<MemoryStore> {
    let store = MemoryStore::new();
    for mut event in raw(bank.store()).await {
        meddle(&mut event);
        let mut copy = NewEvent::new(event.event_type, event.data.unwrap()).with_id(event.id);
        copy.metadata = event.metadata;
        let append = Append::new(event.stream, ExpectedRevision::Any, vec![copy]);
        store.append(vec![append]).await.unwrap();
    }
    Oubliette::open(store, bank.vault().unwrap().clone(), bank_policy()).await.unwrap()
}

fn note(text: &str) -> Option<Json> {
    Some(json(&format!(r#"{{"$oubliette":{text}}}"#)))
}

async fn kinds<S: EventStore>(bank: &Oubliette<S>) -> BTreeSet<Defect> {
    found(bank).await.iter().map(|finding| finding.kind).collect()
}
