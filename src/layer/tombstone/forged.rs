//! Tombstones before a vault that knows the erasure: what is so counts no more than what is not, where
//! another hand wrote it.

use futures::TryStreamExt;

use super::*;
use crate::{
    audit::{
        Finding, Location,
        verify::{Defect, VerifyOptions, VerifyProgress},
    },
    crypto::SigningKey,
    erasure::{Compromised, KeyChange, change_key},
    event::{EventType, Json, NewEvent, RecordedEvent, Timestamp},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadAllOptions,
        ReadOptions,
    },
};

type Bank = Oubliette<MemoryStore>;

const POLICY: &str = r#"
[[stream]]
match = "user-{id}"
layout = "split"
public = ["/id"]

[[stream]]
match = "room-{id}"
subject = "user-{/author}"
"#;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

async fn append(bank: &Bank, to: &str, data: &str) {
    let event = NewEvent::new(EventType::new("Said").unwrap(), Json::parse(data).unwrap());
    bank.append_to(&stream(to), ExpectedRevision::Any, vec![event]).await.unwrap();
}

/// The first is forgotten, and had a word in two rooms; the second is not.
async fn bank() -> (Bank, ErasureId) {
    let policy = Policy::parse(POLICY).unwrap();
    let bank = Bank::open(MemoryStore::new(), Vault::in_memory().unwrap(), policy).await.unwrap();
    for user in [1, 2] {
        append(&bank, &format!("user-{user}"), &format!(r#"{{"id":{user},"name":"Erika"}}"#)).await;
        for room in ["room-1", "room-2"] {
            append(&bank, room, &format!(r#"{{"author":{user},"text":"first"}}"#)).await;
        }
    }
    let erased = bank.forget(&"user-1".parse().unwrap(), "asked").await.unwrap();
    (bank, erased.erasure)
}

/// The tombstones in the store, each under its logical stream.
async fn tombstones(bank: &Bank) -> Vec<RecordedEvent> {
    let all: Vec<_> = bank.store().read_all(ReadAllOptions::default()).try_collect().await.unwrap();
    let logical = all.into_iter().filter_map(|event| bank.layer.under_its_stream(event));
    logical.filter(RecordedEvent::is_tombstone).collect()
}

fn judged(bank: &Bank, event: &RecordedEvent) -> Result<Tombstone, Unvouched> {
    crate::vault::at_once(judge(bank.vault().unwrap(), event)).unwrap()
}

fn read(event: &RecordedEvent) -> Tombstone {
    Tombstone::parse(event.data.as_ref().unwrap().as_json().unwrap()).unwrap()
}

fn said(of: &RecordedEvent, tombstone: &Tombstone) -> RecordedEvent {
    RecordedEvent { data: Some(Json::of(tombstone).unwrap().into()), ..of.clone() }
}

/// The same, signed for this place by somebody.
fn signed(
    bank: &Bank,
    of: &RecordedEvent,
    tombstone: &Tombstone,
    by: &SigningKey,
) -> RecordedEvent {
    let mut tombstone = Tombstone { key: by.public().id(), ..tombstone.clone() };
    let vault = bank.vault().unwrap().id().0;
    tombstone.sig = by.sign(&tombstone.signed_bytes(vault, &of.stream, of.id).unwrap());
    said(of, &tombstone)
}

/// The same, signed by the vault.
fn ours(bank: &Bank, of: &RecordedEvent, tombstone: &Tombstone) -> RecordedEvent {
    let vault = bank.vault().unwrap();
    let mut tombstone = tombstone.clone();
    let bytes = |key| {
        let said = Tombstone { key, ..tombstone.clone() };
        said.signed_bytes(vault.id().0, &of.stream, of.id).unwrap()
    };
    (tombstone.key, tombstone.sig) = vault.sign(bytes).unwrap();
    said(of, &tombstone)
}

/// As the store has it, in the stream in which it is to be found.
async fn plant(bank: &Bank, event: &RecordedEvent) {
    let placement = bank.layer.placement(&event.stream).await.unwrap();
    let mut new = NewEvent::new(event.event_type.clone(), event.data.clone().unwrap());
    new = new.with_id(event.id);
    new.metadata = placement.note(&event.stream);
    let append = Append::new(placement.readable(&event.stream), ExpectedRevision::Any, vec![new]);
    bank.store().append(vec![append]).await.unwrap();
}

fn again(event: &RecordedEvent) -> RecordedEvent {
    RecordedEvent { id: EventId::random(), ..event.clone() }
}

async fn ills(bank: &Bank) -> Vec<Defect> {
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    report.found.into_keys().collect()
}

/// How many tombstones a reader of a stream gets.
async fn told(bank: &Bank, name: &str) -> usize {
    let events = bank.events(&stream(name), ReadOptions::default()).await.unwrap();
    events.iter().filter(|event| event.tombstone.is_some()).count()
}

#[tokio::test]
async fn no_bit_of_a_tombstone_can_change_unnoticed_before_a_vault_that_knows_its_erasure() {
    let (bank, _) = bank().await;
    let mut read = 0;
    for event in tombstones(&bank).await {
        judged(&bank, &event).unwrap();
        let text = event.data.as_ref().unwrap().as_json().unwrap().as_str().to_owned();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let data = Json::trusted(changed.clone());
            let form = Json::parse(&changed).ok().and_then(|data| Tombstone::parse(&data).ok());
            let other = RecordedEvent { data: Some(data.into()), ..event.clone() };
            assert!(judged(&bank, &other).is_err(), "{changed}");
            read += u32::from(form.is_some());
        }
        for bit in 0..128 {
            let mut id = event.id.0.into_bytes();
            id[bit / 8] ^= 1 << (bit % 8);
            let id = EventId(uuid::Uuid::from_bytes(id));
            assert!(judged(&bank, &RecordedEvent { id, ..event.clone() }).is_err());
        }
    }
    assert!(read > 1_000, "{read}");
}

/// All that is there is true, and this vault did not write it.
#[tokio::test]
async fn what_is_so_and_a_stranger_signed_says_nothing() {
    let (bank, erasure) = bank().await;
    let (vault, stranger) = (bank.vault().unwrap(), SigningKey::generate().unwrap());
    let zeros = |tombstone: &Tombstone| {
        let (key, sig) = (SigningKeyId([0; 16]), Signature([0; 64]));
        Tombstone { key, sig, ..tombstone.clone() }
    };
    let mut forged = Vec::new();
    for event in tombstones(&bank).await {
        let tombstone = read(&event);
        let none = Tombstone { keys: vec![], ..tombstone.clone() };
        // In its place.
        assert!(judged(&bank, &event).is_ok());
        for tombstone in [&tombstone, &none] {
            let zero = said(&event, &zeros(tombstone));
            let signed = signed(&bank, &event, tombstone, &stranger);
            for event in [zero, signed] {
                assert!(matches!(judged(&bank, &event), Err(Unvouched::UnknownKey(_))));
            }
        }
        // Beside it.
        let event = again(&event);
        forged.push(said(&event, &zeros(&tombstone)));
        forged.push(signed(&bank, &event, &none, &stranger));
    }
    // Anyone who has the identity, from an old backup, makes the reference for any stream.
    let elsewhere = RecordedEvent { stream: stream("user-2"), metadata: None, ..again(&forged[0]) };
    let reference = vault.reference(erasure, &elsewhere.stream);
    let moved = Tombstone { reference, subject: None, ..read(&forged[0]) };
    forged.push(signed(&bank, &elsewhere, &moved, &stranger));
    for event in &forged {
        assert!(matches!(judged(&bank, event), Err(Unvouched::UnknownKey(_))), "{event:?}");
        plant(&bank, &again(event)).await;
    }
    for (name, count) in [("user-1", 1), ("user-2", 0), ("room-1", 1), ("room-2", 1)] {
        assert_eq!(told(&bank, name).await, count, "{name}");
    }
    // What agrees with the vault, beside its own, is nothing to be seen to.
    assert_eq!(ills(&bank).await, [Defect::UnknownSigner, Defect::UncountedTombstone]);
}

/// What `verify` finds where the store has these events, in this order, and the announcements.
async fn found_in(bank: &Bank, events: &[RecordedEvent]) -> Vec<Finding<Defect>> {
    let vault = bank.vault().unwrap().clone();
    let over = Bank::unresumed(MemoryStore::new(), vault, bank.policy().clone());
    let all = bank.store().read_all(ReadAllOptions::default()).try_collect::<Vec<_>>().await;
    let announced = all.unwrap().into_iter().filter(RecordedEvent::is_announcement);
    over.store().restore(announced.collect()).await.unwrap();
    for event in events {
        plant(&over, event).await;
    }
    let mut found = Vec::new();
    let take = |news| {
        if let VerifyProgress::Found(finding) = news {
            found.push(finding);
        }
    };
    over.verify(VerifyOptions::default(), take).await.unwrap();
    // Here are no events but these.
    let of_keys = [Defect::UnusedKey, Defect::OwnerNotStated];
    found.retain(|finding| !of_keys.contains(&finding.kind));
    found
}

fn kinds(found: &[Finding<Defect>]) -> Vec<Defect> {
    found.iter().map(|finding| finding.kind).collect()
}

/// Each restoration of a backup signs with a key of its own, and sets tombstones of what it believes of the others.
/// That was an error for ever.
#[tokio::test]
async fn a_strangers_tombstone_that_agrees_is_uncounted_beside_one_that_counts_and_an_error_alone()
{
    let (bank, _) = bank().await;
    let set = tombstones(&bank).await;
    let stranger = SigningKey::generate().unwrap();
    let theirs = |event: &RecordedEvent| {
        let event = again(event);
        signed(&bank, &event, &read(&event), &stranger)
    };
    let same: Vec<RecordedEvent> = set.iter().map(theirs).collect();
    // Before it or behind it.
    for (first, then) in [(&same, &set), (&set, &same)] {
        let found = found_in(&bank, &[&first[..], then].concat()).await;
        assert_eq!(kinds(&found), [Defect::UncountedTombstone; 3]);
        for finding in &found {
            assert_eq!(finding.signer, Some(stranger.public().id()));
        }
    }
    // In another stream it is no witness for this one.
    for missing in 0..3 {
        let mut rest = set.clone();
        let stream = rest.remove(missing).stream;
        let found = found_in(&bank, &[&same[..], &rest].concat()).await;
        let uncounted = Defect::UncountedTombstone;
        let expected = [uncounted, uncounted, Defect::UnknownSigner, Defect::TombstonesMissing];
        assert_eq!(kinds(&found), expected);
        let at = matches!(&found[2].at, Location::Event { stream: at, .. } if *at == stream);
        assert!(at && found[2].remedy.contains("restore the stream"), "{:?}", found[2]);
    }
    // What does not agree stays an error, wherever it is.
    for event in &set {
        let another = event.stream == stream("room-1");
        let day = Tombstone { day: "2020-01-01".parse().unwrap(), ..read(event) };
        let other = signed(&bank, &again(event), &day, &stranger);
        let found = found_in(&bank, &[&set[..], &[other]].concat()).await;
        assert_eq!(kinds(&found), [Defect::UnknownSigner], "{another}");
    }
}

/// Anyone who can write to the store can write very many of them.
#[tokio::test]
async fn no_more_than_some_tombstones_of_strangers_are_held_for_each_stream() {
    let (bank, _) = bank().await;
    let set = tombstones(&bank).await;
    let room = set.iter().find(|event| event.stream == stream("room-1")).unwrap();
    let stranger = SigningKey::generate().unwrap();
    let theirs: Vec<_> = (0..20)
        .map(|_| again(room))
        .map(|event| signed(&bank, &event, &read(&event), &stranger))
        .collect();
    let count =
        |found: &[Finding<Defect>], kind| kinds(found).iter().filter(|k| **k == kind).count();
    let found = found_in(&bank, &[&theirs[..], &set].concat()).await;
    assert_eq!(count(&found, Defect::UncountedTombstone), 8);
    assert_eq!((count(&found, Defect::UnknownSigner), found.len()), (12, 20));
    // Behind the one that counts, none is held.
    let found = found_in(&bank, &[&set[..], &theirs].concat()).await;
    assert_eq!(kinds(&found), [Defect::UncountedTombstone; 20]);
}

/// In two ways, each of them signed by the vault. It never writes so.
#[tokio::test]
async fn keys_in_another_order_or_named_twice_are_a_newer_programs_word() {
    let (bank, _) = bank().await;
    let room = tombstones(&bank).await.into_iter().find(|event| event.stream == stream("room-1"));
    let room = room.unwrap();
    let one = read(&room).keys[0];
    let other = read(&tombstones(&bank).await[0]).keys[0];
    let mut keys = vec![one, KeyId([0xff; 20]), other];
    keys.sort();
    let whole = Tombstone { keys: keys.clone(), ..read(&room) };
    let with =
        |keys: &[KeyId]| ours(&bank, &room, &Tombstone { keys: keys.to_vec(), ..whole.clone() });
    keys.dedup();
    assert!(judged(&bank, &with(&keys)).is_ok());
    let reversed: Vec<_> = keys.iter().rev().copied().collect();
    for keys in [reversed, vec![one, one]] {
        assert_eq!(judged(&bank, &with(&keys)), Err(Unvouched::Newer(None)), "{keys:?}");
    }
}

async fn steal(bank: &Bank) {
    let compromised = Some(Compromised { since: Timestamp::now(), keys: Vec::new() });
    let change = KeyChange::Rotate { successor: None, compromised, without_successor: false };
    change_key(bank.vault().unwrap(), &change).await.unwrap();
}

/// However true it is: it may come after a reopening, leave a key out, or be where no one was forgotten.
#[tokio::test]
async fn what_a_stolen_key_signed_never_counts_and_the_vault_says_it_again() {
    let (bank, erasure) = bank().await;
    let vault = bank.vault().unwrap().clone();
    let genuine = tombstones(&bank).await;
    assert_eq!(genuine.len(), 3);
    bank.reopen(&"user-1".parse().unwrap()).await.unwrap();
    append(&bank, "user-1", r#"{"id":1,"name":"Erika again"}"#).await;
    // The thief's, in time.
    let mut theirs = Vec::new();
    for event in &genuine {
        let event = again(event);
        theirs.push(ours(&bank, &event, &read(&event)));
        theirs.push(ours(&bank, &again(&event), &Tombstone { keys: vec![], ..read(&event) }));
    }
    let elsewhere =
        RecordedEvent { stream: stream("user-2"), metadata: None, ..again(&genuine[0]) };
    let reference = vault.reference(erasure, &elsewhere.stream);
    let moved = Tombstone { reference, subject: None, ..read(&genuine[0]) };
    theirs.push(ours(&bank, &elsewhere, &moved));
    for event in &theirs {
        plant(&bank, event).await;
    }

    steal(&bank).await;
    for event in genuine.iter().chain(&theirs) {
        assert!(matches!(judged(&bank, event), Err(Unvouched::Compromised(_))), "{event:?}");
    }
    for name in ["user-1", "user-2", "room-1", "room-2"] {
        assert_eq!(told(&bank, name).await, 0, "{name}");
    }
    bank.resume().await.unwrap();
    // In the rooms, the same; not over what she has said since, nor where no one was forgotten.
    let is_new = |event: &RecordedEvent| judged(&bank, event).is_ok();
    let new: Vec<_> = tombstones(&bank).await.into_iter().filter(is_new).collect();
    let rooms: Vec<_> = genuine.iter().filter(|event| event.stream != stream("user-1")).collect();
    assert_eq!(new.len(), rooms.len());
    for room in rooms {
        let again = new.iter().find(|event| event.stream == room.stream).unwrap();
        let (was, is) = (read(room), read(again));
        assert_eq!((was.reference, was.day, was.keys), (is.reference, is.day, is.keys));
        assert_eq!((was.subject, was.state), (is.subject, is.state));
    }
    for (name, count) in [("user-1", 0), ("user-2", 0), ("room-1", 1), ("room-2", 1)] {
        assert_eq!(told(&bank, name).await, count, "{name}");
    }
    let found = ills(&bank).await;
    assert_eq!(found, [Defect::UncountedTombstone, Defect::CompromisedWord]);
    // Once.
    let before = tombstones(&bank).await.len();
    bank.resume().await.unwrap();
    vault.change_keys(vault.signing_history().unwrap(), &[], true, None).await.unwrap();
    bank.resume().await.unwrap();
    assert_eq!(tombstones(&bank).await.len(), before);
}

/// The vault sets none in the own stream of somebody who was admitted again. That it was not there was a warning for
/// ever.
#[tokio::test]
async fn no_tombstone_is_missed_where_the_vault_sets_none_again_and_each_other_is() {
    let (bank, _) = bank().await;
    bank.reopen(&"user-1".parse().unwrap()).await.unwrap();
    append(&bank, "user-1", r#"{"id":1,"name":"Erika again"}"#).await;
    steal(&bank).await;
    bank.resume().await.unwrap();
    let all = tombstones(&bank).await;
    let found = found_in(&bank, &all).await;
    assert_eq!(kinds(&found), [Defect::UncountedTombstone; 3]);
    for (missing, gone) in all.iter().enumerate() {
        let mut rest = all.clone();
        rest.remove(missing);
        let found = found_in(&bank, &rest).await;
        let missed = found.iter().find(|finding| finding.kind == Defect::TombstonesMissing);
        // One that does not count in a room is not missed: the vault set another.
        let counts = judged(&bank, gone).is_ok();
        let is_last = counts || gone.stream == stream("user-1");
        assert_eq!(missed.is_some(), is_last, "{gone:?}");
        let what = missed.map_or("", |finding| finding.what.as_str());
        assert_eq!(what.ends_with("and 1 is not to be set again"), counts, "{what}");
    }
}

/// Somebody who is forgotten, and was not admitted again, is told in their own stream as before.
#[tokio::test]
async fn tombstones_that_are_set_again_are_those_that_were() {
    let (bank, _) = bank().await;
    let was = tombstones(&bank).await;
    // What anyone can put elsewhere leads to none: an event under dead keys, or a stranger's word.
    let raw = bank.store().events(&stream("room-1"), ReadOptions::default()).await.unwrap();
    let mut copy = NewEvent::new(raw[0].event_type.clone(), raw[0].data.clone().unwrap());
    copy.metadata = raw[0].metadata.clone();
    let room = stream("room-9");
    let append = Append::new(room.clone(), ExpectedRevision::Any, vec![copy]);
    bank.store().append(vec![append]).await.unwrap();
    let elsewhere = RecordedEvent { stream: stream("room-8"), metadata: None, ..again(&was[0]) };
    plant(&bank, &signed(&bank, &elsewhere, &read(&was[0]), &SigningKey::generate().unwrap()))
        .await;
    steal(&bank).await;
    bank.resume().await.unwrap();
    let says = |event: &RecordedEvent| {
        let Tombstone { reference, keys, subject, .. } = read(event);
        (event.stream.clone(), reference, keys, subject)
    };
    let mut is: Vec<_> = tombstones(&bank).await;
    is.retain(|event| judged(&bank, event).is_ok());
    let in_order: Vec<_> = is.iter().map(|event| read(event).reference).collect();
    assert!(in_order.is_sorted(), "{in_order:?}");
    let (mut was, mut is): (Vec<_>, Vec<_>) =
        (was.iter().map(says).collect(), is.iter().map(says).collect());
    was.sort();
    is.sort();
    assert_eq!(was, is);
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!((report.events.tombstones, report.found[&Defect::UncountedTombstone]), (3, 3));
    assert!(!report.found.contains_key(&Defect::TombstonesMissing), "{report:?}");
}
