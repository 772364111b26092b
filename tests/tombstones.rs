//! What stands in the store after a forgetting: it joins nothing, nobody keeps it out, and nobody
//! but the vault can say it.

mod common;
#[path = "tombstones/rival.rs"]
mod rival;

use std::collections::BTreeSet;

use common::{
    all, bank_policy, event, everything, json, layer, layer_over, put, shape, stream, subject,
};
use futures::{StreamExt, TryStreamExt};
use oubliette::{
    audit::{
        Finding,
        verify::{Ill, VerifyNews, VerifyOptions},
    },
    event::{
        Content, ErasureRef, EventId, EventType, Json, NewEvent, RecordedEvent, SUBJECT_FORGOTTEN,
        StreamName,
    },
    layer::Oubliette,
    store::{
        Append, Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter, MemoryStore,
        ReadAllOptions, ReadOptions, StoreError, Unreadable,
    },
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

async fn found<S: EventStore>(bank: &Oubliette<S>) -> Vec<Finding<Ill>> {
    let mut found = Vec::new();
    let take = |news| {
        if let VerifyNews::Found(finding) = news {
            found.push(finding);
        }
    };
    bank.verify(VerifyOptions::default(), take).await.unwrap();
    found
}

#[tokio::test]
async fn a_forged_tombstone_forgets_nobody_and_is_named_as_forged() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let genuine = raw(bank.store()).await;
    let genuine = genuine
        .iter()
        .find(|event| event.stream == stream("bankaccount-1") && event.is_tombstone());
    let genuine = value(genuine.unwrap());
    let living = bank.vault().unwrap().keys_of(&subject("user-2")).unwrap()[0].id.to_string();
    let with = |changes: &[(&str, Value)]| {
        let mut changed = genuine.clone();
        for (name, value) in changes {
            changed[*name] = value.clone();
        }
        json(&changed.to_string())
    };
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    let forgeries = [
        // A genuine one, set once more; then changed in each of its parts.
        with(&[]),
        with(&[("subject", "user-2".into())]),
        with(&[("keys", vec![living.clone()].into())]),
        with(&[("day", "2020-01-01".into())]),
        with(&[("ref", unknown.into())]),
        with(&[("key", unknown.into())]),
        // Of no vault at all, with a living key and without.
        with(&[("key", unknown.into()), ("keys", vec![living].into())]),
        with(&[("key", unknown.into()), ("keys", Value::Array(vec![]))]),
        // As it was written once.
        json(r#"{"erasure":"01890a5d-ac96-774b-bcce-b302099a8057","keys":[]}"#),
        with(&[("state", "suspended".into())]),
    ];
    for forgery in &forgeries {
        plant(&bank, "user-public-2", forgery).await;
    }
    let read = all(&bank, "user-2").await;
    assert_eq!(shape(&read), format!("c{}", "f".repeat(forgeries.len())));
    assert!(read.iter().all(|event| event.tombstone.is_none()));
    assert!(matches!(read[1].content(), Content::Foreign(_)));
    // Nor by the name of the public half, nor among all events.
    assert!(all(&bank, "user-public-2").await.iter().all(|event| event.tombstone.is_none()));
    let everywhere = everything(&bank).await;
    assert_eq!(everywhere.iter().filter(|event| event.tombstone.is_some()).count(), 3);

    let found = found(&bank).await;
    assert_eq!(found.len(), forgeries.len(), "{found:?}");
    for finding in &found {
        assert_eq!(finding.kind, Ill::ForgedTombstone, "{finding:?}");
        assert!(finding.cure.starts_with("forged"), "{}", finding.cure);
        assert!(!finding.cure.contains("forget the subject"), "{}", finding.cure);
        // It may be the word of an earlier restoration.
        assert!(finding.cure.contains("--believe-erasure"), "{}", finding.cure);
        assert!(!finding.what.contains("Otto"), "{finding:?}");
    }
    let told: BTreeSet<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert!(told.contains("a tombstone here was not written by this vault"), "{told:?}");
    // Nobody was forgotten by it: she still can be, once.
    let erased = bank.forget(&subject("user-2"), "asked").await.unwrap();
    assert!(!erased.already && erased.keys > 0);
}

#[tokio::test]
async fn a_tombstone_counts_only_where_it_was_set() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let events = raw(bank.store()).await;
    let is_it =
        |event: &&RecordedEvent| event.is_tombstone() && event.stream == stream("bankaccount-1");
    let genuine = events.iter().find(is_it).unwrap();
    // The same event in the store of a test system with the same vault: as it was, in another stream, under
    // another id.
    for (to, id, expected) in [
        ("bankaccount-1", genuine.id, "t"),
        ("room-other", genuine.id, "f"),
        ("bankaccount-1", EventId::random(), "f"),
    ] {
        let copy = NewEvent::new(genuine.event_type.clone(), genuine.data.clone().unwrap());
        let vault = bank.vault().unwrap().clone();
        let other = Oubliette::open(MemoryStore::new(), vault, bank_policy()).await.unwrap();
        plant_as(&other, to, copy.with_id(id)).await;
        assert_eq!(shape(&all(&other, to).await), expected, "{to}");
        let forged = kinds(&other).await.contains(&Ill::ForgedTombstone);
        assert_eq!(forged, expected == "f", "{to}");
    }
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

async fn kinds(bank: &Oubliette<MemoryStore>) -> BTreeSet<Ill> {
    found(bank).await.iter().map(|finding| finding.kind).collect()
}

#[tokio::test]
async fn a_tombstone_that_was_moved_is_nobodys_whatever_it_notes() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    for (from, to, noted) in [
        // As it was noted; and with a note that the attacker adds.
        ("user-public-1", "elsewhere", None),
        ("bankaccount-1", "elsewhere", note(r#"{"stream":"bankaccount-1"}"#)),
        // In a half, but of another stream, or in the private one.
        ("user-public-1", "user-public-2", None),
        ("user-public-1", "user-private-1", None),
    ] {
        let moved = meddled(&bank, |event| {
            if event.is_tombstone() && event.stream == stream(from) {
                event.stream = stream(to);
                event.metadata = noted.clone().or(event.metadata.take());
            }
        });
        let moved = moved.await;
        let read = everything(&moved).await;
        let told = read.iter().filter(|event| event.is_tombstone());
        assert_eq!(
            shape(&told.cloned().collect::<Vec<_>>()).replace('t', "").as_str(),
            "f",
            "{to}"
        );
        for name in [to, "user-2"] {
            let read = all(&moved, name).await;
            let at = |event: &RecordedEvent| event.stream == stream(name);
            assert!(read.iter().all(|event| event.tombstone.is_none() && at(event)), "{name}");
        }
        let kinds = kinds(&moved).await;
        assert!(kinds.contains(&Ill::Misplaced), "{to}: {kinds:?}");
        assert!(kinds.contains(&Ill::TombstonesMissing), "{to}: {kinds:?}");
    }
}

#[tokio::test]
async fn a_tombstone_has_no_other_metadata() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    for metadata in [
        r#"{"evil":"user-2 is a thief"}"#,
        r#"{"$oubliette":{"stream":"bankaccount-1"},"evil":"user-2 is a thief"}"#,
        r#"{"$oubliette":{"stream":"bankaccount-1","others":true}}"#,
        r#"{"$oubliette":{}}"#,
        "{}",
    ] {
        let other = meddled(&bank, |event| {
            if event.is_tombstone() && event.stream == stream("bankaccount-1") {
                event.metadata = Some(json(metadata));
            }
        });
        let other = other.await;
        let read = all(&other, "bankaccount-1").await;
        assert_eq!(shape(&read), "pf", "{metadata}");
        assert!(read[1].metadata.is_none() && read[1].tombstone.is_none(), "{metadata}");
        assert!(kinds(&other).await.contains(&Ill::ForgedTombstone), "{metadata}");
    }
}

/// How reading a stream ends that holds what is misplaced.
async fn misplaced(bank: &Oubliette<MemoryStore>, name: &str) -> bool {
    let read = bank.events(&stream(name), ReadOptions::default()).await;
    let all: Result<Vec<_>, _> = bank.read_all(ReadAllOptions::default()).try_collect().await;
    let is = |error: &StoreError| match error {
        StoreError::Unreadable { unreadable, .. } => *unreadable == Unreadable::Misplaced,
        _ => false,
    };
    read.is_err_and(|error| is(&error)) && all.is_err_and(|error| is(&error))
}

#[tokio::test]
async fn halves_that_were_moved_are_found_out() {
    let bank = layer().await;
    peopled(&bank).await;
    let moved = async |from: &'static [&'static str], to: &'static str| {
        let from: Vec<StreamName> = from.iter().map(|name| stream(name)).collect();
        meddled(&bank, move |event| {
            if from.contains(&event.stream) {
                event.stream = stream(to);
            }
        })
        .await
    };
    let both = moved(&["user-public-2", "user-private-2"], "elsewhere").await;
    assert!(misplaced(&both, "elsewhere").await);
    assert!(all(&both, "user-2").await.is_empty(), "what is not there is not missed");
    assert_eq!(shape(&all(&both, "user-1").await), shape(&all(&bank, "user-1").await));
    assert_eq!(kinds(&both).await, [Ill::Misplaced, Ill::UnusedKey].into());

    // Into the halves of somebody else, as that reader meets them, and as the surveyor of a forgetting does.
    let public = moved(&["user-public-2"], "user-public-1").await;
    assert!(misplaced(&public, "user-1").await && misplaced(&public, "user-public-1").await);
    assert!(kinds(&public).await.contains(&Ill::Misplaced));
    let plan = public.plan(&subject("user-1")).await.unwrap();
    assert_eq!(plan.unsealed_events(), 1, "{plan:?}");

    let private = moved(&["user-private-2"], "user-private-1").await;
    let all: Result<Vec<_>, _> = private.read_all(ReadAllOptions::default()).try_collect().await;
    assert!(all.is_err());
    assert_eq!(kinds(&private).await, [Ill::Misplaced, Ill::HalfMissing, Ill::UnusedKey].into());
}

#[tokio::test]
async fn what_is_noted_as_a_half_and_is_none_is_not_hidden() {
    let bank = layer().await;
    peopled(&bank).await;
    let half = r#""public":"6fa459ea-ee8a-4ca4-894e-db77e1603500""#;
    for (name, physical, stream_note) in [
        ("bankaccount-1", "bankaccount-1", ""),
        ("bankaccount-1", "bankaccount-1", r#","stream":"bankaccount-1""#),
        ("user-2", "user-public-2", r#","stream":"user-2""#),
        ("user-public-2", "user-public-2", r#","stream":"user-2""#),
    ] {
        let hidden = meddled(&bank, |event| {
            if event.stream == stream(physical) {
                event.metadata = note(&format!("{{{half}{stream_note}}}"));
            }
        });
        let hidden = hidden.await;
        assert!(misplaced(&hidden, name).await, "{name}");
        assert!(kinds(&hidden).await.contains(&Ill::Misplaced), "{name}");
        // Whoever forgets its owner hears that something there is not sealed as it should be.
        let whom = if name == "bankaccount-1" { "user-1" } else { "user-2" };
        let plan = hidden.plan(&subject(whom)).await.unwrap();
        assert_eq!(plan.unsealed_events(), 1, "{name}: {plan:?}");
    }
    // The private half itself is nobody's event, by whichever name.
    assert!(all(&bank, "user-private-2").await.is_empty());
}

#[tokio::test]
async fn the_tombstones_of_another_vault_on_the_same_store_are_told_from_forged_ones() {
    let store = MemoryStore::new();
    let ours = layer_over(store.clone()).await;
    peopled(&ours).await;
    let theirs = layer_over(store).await;
    put(&theirs, "member-7", event("Joined", r#"{"name":"Max"}"#)).await.unwrap();
    theirs.forget(&subject("member-7"), "asked").await.unwrap();
    let found = found(&ours).await;
    let kinds: Vec<Ill> = found.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&Ill::ForeignTombstone), "{kinds:?}");
    assert!(!kinds.contains(&Ill::ForgedTombstone), "{kinds:?}");
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
