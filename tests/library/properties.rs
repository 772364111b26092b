//! The properties of the product (they are listed in `docs/architecture.md`), as far as one
//! process can show them: each test is named after the property that it holds to. What needs a
//! crash is in `crash.rs`; what needs the vault's pages is beside the vault.

#![allow(clippy::unwrap_used)]

mod newer;
mod not_reached;
mod owners;
mod rebuilt;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::common::*;
use oubliette::{
    erasure::{ErasureError, ErasureRefusal, PendingError},
    event::{Content, NewEvent, SUBJECT_FORGOTTEN, Tombstone},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, Refusal, StoreError,
        Unreadable,
    },
    vault::Vault,
};

const USER: &str =
    r#"{"id":456,"surname":"Ringelnatz","colour":"blue","first":"Joachim","plate":"B-XY 12"}"#;

/// A person, their account, its ledger; and somebody else in the same room.
async fn bank_of_456<S: EventStore>(bank: &Oubliette<S>) {
    put(bank, "user-456", event("UserRegistered", USER)).await.unwrap();
    put(bank, "bankaccount-1", event("AccountOpened", r#"{"owner":"user-456","memo":"geheim"}"#))
        .await
        .unwrap();
    put(bank, "bankaccount-1", event("Deposited", r#"{"amount":100,"memo":"lohn"}"#))
        .await
        .unwrap();
    put(bank, "ledger-1", event("LedgerOpened", r#"{"account":"bankaccount-1","note":"privat"}"#))
        .await
        .unwrap();
    put(bank, "room-1", event("Said", r#"{"author":456,"text":"von mir"}"#)).await.unwrap();
    put(bank, "room-1", event("Said", r#"{"author":789,"text":"von ihr"}"#)).await.unwrap();
}

#[tokio::test]
async fn forgetting_cascades_and_leaves_what_is_public_and_what_is_others() {
    let bank = layer().await;
    bank_of_456(&bank).await;
    let plan = bank.plan(&subject("user-456")).await.unwrap();
    let planned: Vec<(&str, u32)> =
        plan.streams.iter().map(|affected| (affected.stream.as_str(), affected.depth)).collect();
    assert_eq!(planned, [("room-1", 0), ("user-456", 0), ("bankaccount-1", 1), ("ledger-1", 2)]);

    let erased = bank.forget(&subject("user-456"), "asked by letter").await.unwrap();
    assert_eq!((erased.keys, erased.streams, erased.already), (4, 4, false));

    let user = all(&bank, "user-456").await;
    assert_eq!(shape(&user), "pt");
    assert_eq!(text(&user[0]), r#"{"id":456,"colour":"blue","plate":"B-"}"#);
    let account = all(&bank, "bankaccount-1").await;
    assert_eq!(shape(&account), "ppt");
    assert_eq!(text(&account[1]), r#"{"amount":100}"#);
    assert_eq!(shape(&all(&bank, "ledger-1").await), "pt");
    let room = all(&bank, "room-1").await;
    assert_eq!(shape(&room), "sct");
    assert_eq!(text(&room[1]), r#"{"author":789,"text":"von ihr"}"#);

    // Only the subject's own stream names them.
    let named = |event: &oubliette::event::RecordedEvent| match event.content() {
        Content::Tombstone(tombstone) => tombstone.subject.clone(),
        other => panic!("not a tombstone: {other:?}"),
    };
    assert_eq!(named(&user[1]), Some(subject("user-456")));
    assert_eq!(named(&room[2]), None);
}

#[tokio::test]
async fn forgetting_twice_has_no_second_effect() {
    let bank = layer().await;
    bank_of_456(&bank).await;
    let first = bank.forget(&subject("user-456"), "once").await.unwrap();
    let before = everything(&bank).await;
    let second = bank.forget(&subject("user-456"), "twice").await.unwrap();
    assert_eq!((second.erasure, second.already, second.keys), (first.erasure, true, first.keys));
    assert_eq!(everything(&bank).await, before);
    assert!(matches!(
        bank.forget(&subject("user-4711"), "a typing mistake").await,
        Err(ErasureError::Refused(ErasureRefusal::UnknownSubject(_)))
    ));
}

#[tokio::test]
async fn what_is_decided_is_completed_once_the_store_is_back() {
    let store = NoTombstones::default();
    let vault = Vault::in_memory().unwrap();
    let bank = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
    bank_of_456(&bank).await;

    store.refuse.store(true, Ordering::SeqCst);
    let pending = bank.forget(&subject("user-456"), "asked").await.unwrap_err();
    let ErasureError::Pending(PendingError::Tombstones { erasure, .. }) = pending else {
        panic!("{pending}")
    };
    // The keys are gone already, and nobody can add to what is theirs.
    assert_eq!(shape(&all(&bank, "user-456").await), "p");
    let late = put(&bank, "user-456", event("Renamed", r#"{"surname":"B"}"#)).await;
    assert!(matches!(late, Err(StoreError::Forgotten { .. })));
    drop(bank);

    // Opening again, while the store is still away, serves; and completes it once the store is back.
    let bank = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
    assert_eq!(shape(&all(&bank, "user-456").await), "p");
    assert!(!bank.erasures().unwrap()[0].done);
    store.refuse.store(false, Ordering::SeqCst);
    let resumed = bank.resume().await.unwrap();
    assert_eq!(resumed.iter().map(|erased| erased.erasure).collect::<Vec<_>>(), [erasure]);
    assert!(bank.resume().await.unwrap().is_empty());
    for (name, expected) in
        [("user-456", "pt"), ("bankaccount-1", "ppt"), ("ledger-1", "pt"), ("room-1", "sct")]
    {
        assert_eq!(shape(&all(&bank, name).await), expected, "{name}");
    }
    assert!(bank.erasures().unwrap()[0].done);
}

#[tokio::test]
async fn what_no_rule_calls_public_is_never_stored_in_clear() {
    let store = MemoryStore::new();
    let bank = layer_over(store.clone()).await;
    let metadata =
        json(r#"{"ip":"10.1.2.3-Geheimnis","correlationId":"c-1","nested":{"x":"Geheimnis"}}"#);
    let secrets = r#"{"id":1,"surname":"Geheimnis","new":{"deep":["Geheimnis"]},"Geheimnis":1,"plate":"Geheimnis"}"#;
    for name in ["user-1", "bankaccount-1", "ledger-1", "room-1", "unknown-1", "other"] {
        let whole = event("Whatever", secrets).with_metadata(metadata.clone());
        put(&bank, name, whole).await.unwrap();
        for other in ["[\"Geheimnis\"]", "\"Geheimnis\""] {
            let answer = put(&bank, name, event("Whatever", other)).await;
            // A rule that names a field's own subject cannot be kept for what has no fields.
            assert_eq!(answer.is_err(), name == "ledger-1", "{answer:?}");
        }
    }
    let bytes = NewEvent::new(
        oubliette::event::EventType::new("Scan").unwrap(),
        oubliette::event::Payload::Bytes(b"Geheimnis".as_slice().into()),
    );
    put(&bank, "scan-1", bytes).await.unwrap();
    bank.forget(&subject("user-1"), "test").await.unwrap();
    for event in everything(&store).await {
        let stored = format!(
            "{} {} {} {}",
            event.stream,
            event.event_type,
            text(&event),
            event.metadata.map(|metadata| metadata.as_str().to_owned()).unwrap_or_default()
        );
        assert!(!stored.contains("eheimnis"), "{stored}");
    }
    // And it is the sealing that hides it: who has the vault reads it.
    assert!(text(&all(&bank, "unknown-1").await[0]).contains("Geheimnis"));
    let opened = &all(&bank, "bankaccount-1").await[0];
    assert_eq!(opened.metadata, Some(metadata));
}

#[tokio::test]
async fn every_shredded_event_is_in_its_place_and_says_so() {
    let bank = layer().await;
    bank_of_456(&bank).await;
    let before = everything(&bank).await;
    bank.forget(&subject("user-456"), "test").await.unwrap();
    let after = everything(&bank).await;
    // Every event is still there, in its place; and after them, the tombstones.
    for (was, is) in before.iter().zip(&after) {
        assert_eq!((&was.stream, was.revision, was.id), (&is.stream, is.revision, is.id));
        let gone = text(was) != text(is);
        assert_eq!(gone, !is.shredded.is_empty(), "a gap must say so: {is:?}");
    }
    assert!(after[before.len()..].iter().all(|event| event.is_tombstone()));
    assert_eq!(after.len(), before.len() + 4);
}

#[tokio::test]
async fn what_needs_a_forgotten_subjects_key_is_refused_and_so_is_all_without_a_vault() {
    let store = MemoryStore::new();
    let bank = layer_over(store.clone()).await;
    bank_of_456(&bank).await;
    bank.forget(&subject("user-456"), "test").await.unwrap();

    // What needs the keys of a forgotten subject is refused, in every stream.
    for (name, refused) in [
        ("user-456", event("Moved", r#"{"city":"Wurzen"}"#)),
        ("bankaccount-1", event("Deposited", r#"{"amount":1,"memo":"x"}"#)),
        ("room-1", event("Said", r#"{"author":456,"text":"again"}"#)),
        ("bankaccount-9", event("AccountOpened", r#"{"owner":"user-456"}"#)),
        ("ledger-9", event("Booked", r#"{"counterparty":{"iban":"x","user":"user-456"}}"#)),
    ] {
        let answer = put(&bank, name, refused).await;
        assert!(matches!(answer, Err(StoreError::Forgotten { .. })), "{name}: {answer:?}");
        assert!(!answer.unwrap_err().is_temporary());
    }
    // Other people's events in the same stream go on, and wholly public ones.
    put(&bank, "room-1", event("Said", r#"{"author":789,"text":"still here"}"#)).await.unwrap();
    put(&bank, "room-1", event("Closed", r#"{"author":789,"at":1}"#)).await.unwrap();

    // Without a vault nothing is appended, and every sealed part is withheld.
    let reader = Oubliette::without_vault(store, bank_policy());
    let answer = put(&reader, "room-2", event("Said", r#"{"author":1,"text":"x"}"#)).await;
    assert!(matches!(answer, Err(StoreError::Refused { refusal: Refusal::NoVault, .. })));
    let room = all(&reader, "room-1").await;
    assert_eq!(shape(&room), "wwfwp");
    let user = all(&reader, "user-456").await;
    assert_eq!(text(&user[0]), r#"{"id":456,"colour":"blue","plate":"B-"}"#);
    // Nor is anybody called forgotten: nothing here can check who says so.
    assert_eq!(shape(&user), "pf");
}

#[tokio::test]
async fn a_missing_key_is_an_alarm_and_never_called_forgotten() {
    let store = MemoryStore::new();
    let bank = layer_over(store.clone()).await;
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();
    // The same store with another vault.
    let stranger = layer_over(store).await;
    let error = stranger.last(&stream("user-1")).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Unreadable { unreadable: Unreadable::OtherVault, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_reopened_subject_gets_new_keys_and_the_old_events_stay_shredded() {
    let bank = layer().await;
    bank_of_456(&bank).await;
    let who = subject("user-456");
    bank.forget(&who, "test").await.unwrap();
    let reopened = bank.reopen(&who).await.unwrap();
    assert!(reopened.generation.unwrap() > oubliette::event::Generation::FIRST);
    assert_eq!(bank.reopen(&who).await.unwrap().generation, None);

    put(&bank, "user-456", event("UserRegistered", USER)).await.unwrap();
    let user = all(&bank, "user-456").await;
    // The old stays forgotten: tombstone, then the new.
    assert_eq!(shape(&user), "ptc");
    assert_eq!(text(&user[2]), USER);
    // A retry of an event from before does not come back either.
    let folded = bank
        .fold(&stream("user-456"), Vec::new(), |mut seen, _, content| {
            seen.push(matches!(content, Content::Tombstone(_)));
            seen
        })
        .await
        .unwrap();
    assert_eq!(folded.state, [false, true, false]);

    // Forgotten again, under another erasure.
    let again = bank.forget(&who, "again").await.unwrap();
    assert!(!again.already);
    assert_eq!(shape(&all(&bank, "user-456").await), "ptpt");
}

/// Threads append while another forgets: what was acknowledged before is shredded, what came
/// after is refused, and nothing is acknowledged and left readable.
#[test]
fn what_is_acknowledged_while_others_forget_is_shredded() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    for round in 0..15 {
        let bank = runtime.block_on(layer());
        runtime.block_on(bank_of_456(&bank));
        let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
        let acknowledged = Mutex::new(BTreeMap::new());
        std::thread::scope(|threads| {
            for writer in 0..4 {
                let (bank, stop, refused, acknowledged) = (&bank, &stop, &refused, &acknowledged);
                let runtime = &runtime;
                threads.spawn(move || {
                    for n in 0.. {
                        let (name, data) = match writer {
                            0 => ("user-456", format!(r#"{{"surname":"w{n}"}}"#)),
                            1 => ("bankaccount-1", format!(r#"{{"amount":1,"memo":"w{n}"}}"#)),
                            2 => ("room-1", format!(r#"{{"author":456,"text":"w{n}"}}"#)),
                            // Opens ever new accounts: they must fall, too.
                            _ => {
                                ("bankaccount-new", r#"{"owner":"user-456","memo":"w"}"#.to_owned())
                            }
                        };
                        let (name, kind) = match writer {
                            3 => (format!("{name}-{n}"), "AccountOpened"),
                            _ => (name.to_owned(), "Noted"),
                        };
                        let new = event(kind, &data);
                        let id = new.id;
                        match runtime.block_on(put(bank, &name, new)) {
                            Ok(_) => {
                                acknowledged.lock().unwrap().insert(id, name);
                            }
                            Err(StoreError::Forgotten { .. }) => {
                                refused.fetch_add(1, Ordering::SeqCst);
                                return;
                            }
                            Err(other) => panic!("{other}"),
                        }
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                });
            }
            // Somebody else is never in the way.
            let (bank, stop_all) = (&bank, &stop);
            let runtime = &runtime;
            threads.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(round * 3));
                runtime.block_on(bank.forget(&subject("user-456"), "now")).unwrap();
                // Every writer is refused from here on; none is left to be stopped.
                std::thread::sleep(std::time::Duration::from_millis(5));
                let _ = stop_all;
            });
        });
        assert_eq!(refused.load(Ordering::SeqCst), 4, "every writer is refused in the end");
        let acknowledged = acknowledged.into_inner().unwrap();
        let events = runtime.block_on(everything(&bank));
        for (id, name) in &acknowledged {
            let found = events.iter().find(|event| event.id == *id).unwrap();
            assert!(!found.shredded.is_empty(), "acknowledged and left readable, in {name}");
            let told =
                events.iter().any(|event| event.stream == found.stream && event.is_tombstone());
            assert!(told, "unreadable, and {name} does not say why");
        }
        let theirs = events.iter().filter(|event| event.stream.as_str() == "room-1");
        assert!(theirs.into_iter().any(|event| text(event).contains("von ihr")));
    }
}

/// A caller who drops the future of an append, or of a forget, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_future_changes_nothing() {
    let bank = Arc::new(layer().await);
    bank_of_456(&bank).await;
    for n in 0..50u64 {
        let append = put(&*bank, "room-1", event("Said", r#"{"author":456,"text":"dropped"}"#));
        let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 7), append).await;
    }
    let who = subject("user-456");
    {
        let forget = bank.forget(&who, "dropped");
        let _ = tokio::time::timeout(std::time::Duration::from_micros(1), forget).await;
    }
    // Whether or not the dropped one got so far: this ends, and everything of theirs is gone.
    bank.forget(&who, "kept").await.unwrap();
    let mine = |event: &&oubliette::event::RecordedEvent| !text(event).contains("789");
    let room = all(&*bank, "room-1").await;
    assert!(
        room.iter().filter(mine).all(|event| !event.shredded.is_empty() || event.is_tombstone())
    );
    assert_eq!(room.iter().filter(|event| event.is_tombstone()).count(), 1);
}

#[tokio::test]
async fn optimistic_concurrency_is_the_inner_stores_own_in_every_layout() {
    let bank = layer().await;
    for name in ["user-1", "bankaccount-1", "room-1", "plain-1"] {
        let data = r#"{"owner":"user-9","author":3,"x":1}"#;
        let first = put(&bank, name, event("A", data)).await.unwrap();
        let second = bank
            .append_to(
                &stream(name),
                ExpectedRevision::Exact(first.revision),
                vec![event("B", data)],
            )
            .await
            .unwrap();
        let stale = bank
            .append_to(
                &stream(name),
                ExpectedRevision::Exact(first.revision),
                vec![event("C", data)],
            )
            .await;
        match stale {
            Err(StoreError::Conflict { stream, actual, .. }) => {
                assert_eq!(stream.as_str(), name);
                assert_eq!(actual, Some(oubliette::store::Current::Revision(second.revision)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(all(&bank, name).await.len(), 2);
    }
}

#[tokio::test]
async fn a_stream_keeps_the_layout_of_its_first_event() {
    let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
    let split = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
    put(&split, "user-1", event("UserRegistered", USER)).await.unwrap();
    let inline = BANK_INLINE.parse_policy();
    let changed = Oubliette::open(store.clone(), vault.clone(), inline).await.unwrap();
    put(&changed, "user-1", event("Moved", r#"{"id":1,"city":"Wurzen"}"#)).await.unwrap();
    put(&changed, "user-2", event("UserRegistered", USER)).await.unwrap();
    let users = all(&changed, "user-1").await;
    assert_eq!((users.len(), text(&users[0]).as_str()), (2, USER));
    let names: Vec<String> =
        everything(&store).await.iter().map(|event| event.stream.to_string()).collect();
    assert!(names.contains(&"user-public-1".to_owned()) && !names.contains(&"user-1".to_owned()));
    assert!(names.contains(&"user-2".to_owned()));
    // And the other way round.
    let split = Oubliette::open(store, vault, bank_policy()).await.unwrap();
    put(&split, "user-2", event("Moved", r#"{"id":2,"city":"Wurzen"}"#)).await.unwrap();
    assert_eq!(shape(&all(&split, "user-2").await), "cc");
}

const BANK_INLINE: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "inline"
public = ["/id"]
"#;

trait ParsePolicy {
    fn parse_policy(&self) -> Policy;
}

impl ParsePolicy for str {
    fn parse_policy(&self) -> Policy {
        Policy::parse(self).unwrap()
    }
}

#[tokio::test]
async fn old_clear_events_are_readable_and_counted() {
    let store = MemoryStore::new();
    put(&store, "old-1", event("Before", r#"{"was":"clear"}"#)).await.unwrap();
    let bank = layer_over(store).await;
    put(&bank, "old-1", event("After", r#"{"is":"sealed"}"#)).await.unwrap();
    put(&bank, "bankaccount-1", event("Public", r#"{"amount":1}"#)).await.unwrap();
    assert_eq!(shape(&everything(&bank).await), "ccc");
    assert_eq!(bank.unsealed(), 1);
    assert_eq!(bank.count_unsealed().await.unwrap().unsealed, 1);
}

#[tokio::test]
async fn the_layers_own_words_are_refused() {
    let bank = layer().await;
    let refused = async |name: &str, event: NewEvent| {
        let answer = put(&bank, name, event).await;
        assert!(matches!(answer, Err(StoreError::Refused { .. })), "{name}: {answer:?}");
    };
    refused("a-1", event("X", r#"{"$sealed":["x"]}"#)).await;
    refused("a-1", event("X", r#"{"\u0024sealed":["x"]}"#)).await;
    refused("a-1", event("X", "{}").with_metadata(json(r#"{"$oubliette":{}}"#))).await;
    refused("a-1", event(SUBJECT_FORGOTTEN, "{}")).await;
    refused("user-public-1", event("X", "{}")).await;
    refused("user-private-1", event("X", "{}")).await;
    refused("jane.doe@example.org", event("X", "{}")).await;
    refused("account-DE89370400440532013000", event("X", "{}")).await;
    refused("room-1", event("X", r#"{"author":1}"#).with_subject(subject("user-2"))).await;
    assert!(everything(&bank).await.is_empty());
}

#[tokio::test]
async fn a_moved_event_or_an_edited_public_part_does_not_open() {
    let store = MemoryStore::new();
    let bank = layer_over(store.clone()).await;
    put(&bank, "bankaccount-1", event("Deposited", r#"{"amount":1,"memo":"m"}"#)).await.unwrap();
    let stored = everything(&store).await.remove(0);
    let tampered = async |to: &str, data: String, id| {
        let store = MemoryStore::new();
        let mut forged = event("Deposited", &data);
        if let Some(id) = id {
            forged = forged.with_id(id);
        }
        put(&store, to, forged).await.unwrap();
        let layer =
            Oubliette::open(store, bank.vault().unwrap().clone(), bank_policy()).await.unwrap();
        layer.last(&stream(to)).await
    };
    let is_tampered = |answer: Result<_, StoreError>| {
        matches!(answer, Err(StoreError::Unreadable { unreadable: Unreadable::Tampered, .. }))
    };
    let whole = text(&stored);
    assert!(tampered("bankaccount-1", whole.clone(), Some(stored.id)).await.is_ok());
    assert!(is_tampered(tampered("bankaccount-2", whole.clone(), Some(stored.id)).await));
    assert!(is_tampered(tampered("bankaccount-1", whole.clone(), None).await));
    let edited = whole.replace(r#""amount":1"#, r#""amount":2"#);
    assert!(is_tampered(tampered("bankaccount-1", edited, Some(stored.id)).await));
}

#[tokio::test]
async fn an_append_to_several_streams_stays_atomic() {
    let bank = layer().await;
    let appends = vec![
        Append::new(stream("user-1"), ExpectedRevision::NoStream, vec![event("A", USER)]),
        Append::new(
            stream("bankaccount-1"),
            ExpectedRevision::StreamExists,
            vec![event("B", "{}")],
        ),
    ];
    assert!(matches!(bank.append(appends).await, Err(StoreError::Conflict { .. })));
    assert!(everything(&bank).await.is_empty());
    let tombstone_free = |events: &[oubliette::event::RecordedEvent]| {
        events.iter().all(|event| {
            let data = event.data.as_ref().and_then(|data| data.as_json());
            data.is_none_or(|data| Tombstone::parse(data).is_err())
        })
    };
    assert!(tombstone_free(&everything(&bank).await));
}
