//! A vault and its root slot that are rolled back together, as by a restored machine image, are
//! found out by the announcements in an event store that was not, and what was forgotten since is
//! forgotten again before anything is served.

#![allow(clippy::unwrap_used)]

mod gaps;
mod keys;
mod limits;
mod machine;
mod meddling;
mod property;
mod skipped;
mod theft;
mod unseen;
mod waiting;

use std::sync::atomic::Ordering;

use crate::common::*;
use futures::{FutureExt, StreamExt, TryStreamExt};
use machine::Machine;
use oubliette::{
    erasure::{ErasureError, ErasureRefusal, PendingError, export, replay},
    event::{ANNOUNCED, ANNOUNCEMENTS, Announcement, NewEvent, RecordedEvent},
    store::{
        Append, Capabilities, Capability, Delivery, EventStore, EventStoreExt, ExpectedRevision,
        Filter, MemoryStore, ReadAllOptions, ReadOptions, StoreError, Unreadable,
    },
    vault::{OpenVaultError, Vault, internals::Plumbing as _},
};

/// Someone with an account, and somebody else.
async fn two_people(bank: &impl EventStore) {
    for n in [1, 2] {
        let user = format!(r#"{{"id":{n},"surname":"surname-{n}"}}"#);
        put(bank, &format!("user-{n}"), event("UserRegistered", &user)).await.unwrap();
        let account = format!(r#"{{"owner":"user-{n}","memo":"memo-{n}"}}"#);
        put(bank, &format!("bankaccount-{n}"), event("AccountOpened", &account)).await.unwrap();
    }
}

async fn shapes(bank: &impl EventStore) -> String {
    let mut shapes = Vec::new();
    for name in ["user-1", "bankaccount-1", "user-2", "bankaccount-2"] {
        shapes.push(match bank.events(&stream(name), ReadOptions::default()).await {
            Ok(events) => shape(&events),
            // A tombstone of this vault's over keys that live: the vault was put back unseen.
            Err(StoreError::Unreadable { unreadable: Unreadable::Undone, .. }) => "!".to_owned(),
            Err(error) => panic!("{error}"),
        });
    }
    shapes.join(" ")
}

/// The first is forgotten, with tombstones; the second is not.
const FIRST_IS_FORGOTTEN: &str = "pt pt c c";

#[tokio::test]
async fn rolled_back_together_vault_and_slot_bring_nobody_back() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    let erased = {
        let bank = machine.open().await;
        let erased = bank.forget(&subject("user-1"), "asked by letter").await.unwrap();
        assert!(erased.announced);
        assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
        erased
    };
    machine.restore(&before);
    let told = {
        let bank = machine.open().await;
        assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
        let late = put(&bank, "user-1", event("Renamed", r#"{"surname":"B"}"#)).await;
        assert!(matches!(late, Err(StoreError::Forgotten { .. })));
        // Nobody names them any more, as after the erasure itself.
        assert!(bank.vault().unwrap().dependents(&subject("user-1")).unwrap().is_empty());
        put(&bank, "user-2", event("Renamed", r#"{"surname":"C"}"#)).await.unwrap();
        let record = bank.erasures().unwrap().remove(0);
        assert_eq!((record.erasure, record.keys), (erased.erasure, erased.keys));
        assert_eq!(record.reason, "asked by letter");
        assert!(record.destroyed && record.announced && record.replayed.is_some());
        // Forgetting them by name once more has no second effect.
        let again = bank.forget(&subject("user-1"), "again").await.unwrap();
        assert_eq!((again.already, again.erasure), (true, erased.erasure));
        bank.witnessed()
    };
    assert_eq!(told.replayed, [erased.erasure]);
    assert!(!told.gap && told.unverifiable.is_empty());
    // It is found out once, and stays so.
    let bank = machine.open().await;
    assert_eq!(bank.witnessed(), Default::default());
    assert_eq!(shapes(&bank).await, "pt pt cc c");
}

/// Whoever took the announcements out of the store left the tombstones: they are signed.
#[tokio::test]
async fn a_tombstone_above_what_can_be_read_is_told_to_whoever_reads_it() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.open().await.forget(&subject("user-1"), "asked by letter").await.unwrap();
    machine.restore(&before);
    machine.store.tamper(|_| Vec::new());
    let bank = machine.open().await;
    for name in ["user-1", "user-public-1", "bankaccount-1"] {
        let read = bank.events(&stream(name), ReadOptions::default()).await;
        let Err(StoreError::Unreadable { unreadable, .. }) = read else {
            panic!("{name}: {read:?}")
        };
        assert_eq!(unreadable, Unreadable::Undone, "{name}");
    }
    assert_eq!(shape(&all(&bank, "user-2").await), "c");
    // As the error says.
    bank.forget(&subject("user-1"), "asked by letter").await.unwrap();
    assert_eq!(shapes(&bank).await, "ptt ptt c c");
}

#[tokio::test]
async fn rolled_back_again_and_again_is_as_once() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let first = machine.image();
    let one = machine.open().await.forget(&subject("user-1"), "one").await.unwrap().erasure;
    let second = machine.image();
    let two = machine.open().await.forget(&subject("user-2"), "two").await.unwrap().erasure;
    for (image, since) in [(&second, vec![two]), (&first, vec![one, two]), (&first, vec![one, two])]
    {
        machine.restore(image);
        let bank = machine.open().await;
        assert_eq!(bank.witnessed().replayed, since);
        assert_eq!(shapes(&bank).await, "pt pt pt pt");
        assert_eq!(machine.announcements().await.len(), 2, "replaying announces nothing");
    }
    // A vault that was restored from one that had replayed knows what that knew.
    let image = machine.image();
    machine.restore(&image);
    assert!(machine.open().await.witnessed().replayed.is_empty());
}

/// Kill −9 after the announcement and before the keys are destroyed: the restart completes it by
/// its journal, and a rollback to before the journal by the announcement.
#[tokio::test]
async fn announced_and_cut_off_before_the_keys_were_destroyed() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    {
        let bank = machine.open().await;
        machine.store.after_announcing(true);
        let pending = bank.forget(&subject("user-1"), "asked").await.unwrap_err();
        assert!(
            matches!(pending, ErasureError::Pending(PendingError::Announcement { .. })),
            "{pending}"
        );
        assert_eq!(shapes(&bank).await, "c c c c", "announced, and no key is destroyed");
        let record = bank.erasures().unwrap().remove(0);
        assert!(!record.destroyed && !record.done);
    }
    machine.store.after_announcing(false);
    let cut_off = machine.image();
    for (image, undone) in [(&cut_off, 0), (&before, 1)] {
        machine.restore(image);
        let bank = machine.open().await;
        assert_eq!(bank.witnessed().replayed.len(), undone);
        let whole = shapes(&bank).await;
        // Tombstones need names, and only the journal has them; once set they are there for good.
        assert_eq!(whole, FIRST_IS_FORGOTTEN);
    }
}

/// The same, rolled back before anybody set a tombstone: shredded all the same.
#[tokio::test]
async fn without_tombstones_it_is_shredded_all_the_same() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.store.after_announcing(true);
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap_err();
    machine.store.after_announcing(false);
    machine.restore(&before);
    assert_eq!(shapes(&machine.open().await).await, "p p c c");
}

#[tokio::test]
async fn a_store_that_is_away_leaves_the_erasure_decided_and_the_keys_alive() {
    let machine = Machine::new();
    let bank = machine.open().await;
    two_people(&bank).await;
    machine.store.away.store(true, Ordering::SeqCst);
    let pending = bank.forget(&subject("user-1"), "asked").await.unwrap_err();
    let ErasureError::Pending(PendingError::Announcement { erasure, .. }) = pending else {
        panic!("{pending}")
    };
    // Asked again, it is the same erasure.
    let again = bank.forget(&subject("user-1"), "asked again").await.unwrap_err();
    assert!(again.to_string().contains(&erasure.to_string()), "{again}");
    assert_eq!(bank.erasures().unwrap().len(), 1);
    // Somebody else is not kept waiting longer than the store is away.
    let other = bank.forget(&subject("user-2"), "asked").await.unwrap_err();
    assert!(matches!(other, ErasureError::Pending(_)), "{other}");
    assert!(!other.to_string().contains(&erasure.to_string()), "{other}");
    machine.store.away.store(false, Ordering::SeqCst);
    // What became dependent meanwhile goes, too.
    let open = r#"{"owner":"user-1","memo":"memo-3"}"#;
    put(&bank, "bankaccount-3", event("AccountOpened", open)).await.unwrap();
    drop(bank);
    let bank = machine.open().await;
    assert_eq!(shapes(&bank).await, "pt pt pt pt");
    assert_eq!(shape(&all(&bank, "bankaccount-3").await), "pt");
    assert!(bank.erasures().unwrap().iter().all(|record| record.done && record.announced));
    assert_eq!(bank.witnessed(), Default::default());
}

/// The store said that it failed, and had written; what came afterwards is in no announcement of
/// that attempt, but in one of the next.
#[tokio::test]
async fn an_attempt_that_was_written_though_it_failed_does_not_stand_for_the_next() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let open = r#"{"owner":"user-1","memo":"memo-3"}"#;
    let before = {
        let bank = machine.open().await;
        machine.store.after_announcing(true);
        bank.forget(&subject("user-1"), "asked").await.unwrap_err();
        machine.store.after_announcing(false);
        put(&bank, "bankaccount-3", event("AccountOpened", open)).await.unwrap();
        drop(bank);
        machine.image()
    };
    {
        let bank = machine.open().await;
        assert_eq!(shape(&all(&bank, "bankaccount-3").await), "pt");
        assert_eq!(machine.announcements().await.len(), 2);
        assert!(!bank.witnessed().gap);
    }
    // The image has the journal: it is completed once more, and takes the same.
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
    assert_eq!(shape(&all(&bank, "bankaccount-3").await), "pt");
}

/// A store that never takes such events bears no witness, and keeps nobody's keys alive.
#[tokio::test]
async fn a_store_that_refuses_announcements_does_not_stop_an_erasure() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.store.refuse.store(true, Ordering::SeqCst);
    let erased = machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    assert!(!erased.announced);
    assert!(!machine.open().await.erasures().unwrap()[0].announced);
    // And then nobody can tell. (What the reader sees beside the tombstone is in the clear again.)
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed(), Default::default());
    assert_eq!(shapes(&bank).await, "! ! c c", "no witness, no detection");
    // But who noted the epoch elsewhere is told.
    let vault = bank.vault().unwrap();
    match vault.expect_epoch(erased.epoch) {
        Err(OpenVaultError::EpochTooLow { found, expected, .. }) => {
            assert_eq!((found, expected), (vault.epoch().unwrap(), erased.epoch));
        }
        other => panic!("{other:?}"),
    }
    vault.expect_epoch(vault.epoch().unwrap()).unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_read_keeps_everything_closed() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    machine.store.silent.store(true, Ordering::SeqCst);
    let error = machine.try_open().await.unwrap_err();
    assert!(matches!(error, ErasureError::WitnessSilent(_)), "{error}");
    machine.store.silent.store(false, Ordering::SeqCst);
    assert_eq!(shapes(&machine.open().await).await, "c c c c");
}

#[tokio::test]
async fn a_store_that_cannot_read_backwards_bears_witness() {
    let machine = Machine::over(MemoryStore::with_capabilities(
        Capabilities::ALL.without(Capability::ReadBackwards),
    ));
    two_people(&machine.open().await).await;
    machine.open().await.forget(&subject("user-1"), "one").await.unwrap();
    let before = machine.image();
    let two = machine.open().await.forget(&subject("user-2"), "two").await.unwrap().erasure;
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, [two]);
    assert_eq!(shapes(&bank).await, "pt pt pt pt");
}

/// One event of the stream is enough, however many there are.
#[tokio::test]
async fn a_warm_opening_reads_one_announcement() {
    let machine = Machine::new();
    let bank = machine.open().await;
    for n in 0..20 {
        let user = format!(r#"{{"id":{n},"surname":"surname-{n}"}}"#);
        put(&bank, &format!("user-{n}"), event("UserRegistered", &user)).await.unwrap();
        bank.forget(&subject(&format!("user-{n}")), "asked").await.unwrap();
    }
    drop(bank);
    machine.store.read.store(0, Ordering::SeqCst);
    drop(machine.open().await);
    assert_eq!(machine.store.read.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn two_vaults_over_one_store_do_not_answer_for_each_other() {
    let (machine, other) = (Machine::new(), Machine::new());
    let other = other.over_the_store_of(&machine);
    two_people(&machine.open().await).await;
    let theirs = r#"{"id":9,"surname":"theirs"}"#;
    for n in [8, 9] {
        put(&other.open().await, &format!("user-{n}"), event("U", theirs)).await.unwrap();
    }
    let before = (machine.image(), other.image());
    let bank = machine.open().await;
    other.open().await.forget(&subject("user-8"), "theirs").await.unwrap();
    // Between two of its own.
    let one = bank.forget(&subject("user-1"), "ours").await.unwrap().erasure;
    other.open().await.forget(&subject("user-9"), "theirs").await.unwrap();
    let two = bank.forget(&subject("user-2"), "ours").await.unwrap().erasure;
    drop(bank);
    assert_eq!(machine.open().await.witnessed(), Default::default());
    assert_eq!(other.open().await.witnessed(), Default::default());
    machine.restore(&before.0);
    other.restore(&before.1);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, [one, two]);
    assert!(bank.witnessed().unverifiable.is_empty() && !bank.witnessed().gap);
    assert_eq!(other.open().await.witnessed().replayed.len(), 2);
}

/// A copy of this vault is at work somewhere else, over the same store: who announces next hears
/// of it.
#[tokio::test]
async fn what_a_copy_of_the_vault_forgot_is_forgotten_here_too() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let copy = Machine::new().over_the_store_of(&machine);
    copy.restore(&machine.image());
    let bank = machine.open().await;
    let theirs = copy.open().await.forget(&subject("user-1"), "there").await.unwrap().erasure;
    bank.forget(&subject("user-2"), "here").await.unwrap();
    assert_eq!(bank.witnessed().replayed, [theirs]);
    assert_eq!(shapes(&bank).await, "pt pt pt pt");
}

/// An erasure of more subjects than one announcement holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_erasure_is_announced_in_parts_and_applied_whole() {
    let machine = Machine::new();
    let mut names: Vec<String> = (0..1100).map(|n| format!("bankaccount-{n}")).collect();
    {
        let bank = machine.open().await;
        let user = r#"{"id":1,"surname":"surname-1"}"#;
        put(&bank, "user-1", event("UserRegistered", user)).await.unwrap();
        for names in names.chunks(550) {
            let open = r#"{"owner":"user-1","memo":"memo"}"#;
            let append = |name: &String| {
                let events = vec![event("AccountOpened", open)];
                Append::new(stream(name), ExpectedRevision::Any, events)
            };
            bank.append(names.iter().map(append).collect()).await.unwrap();
        }
    }
    let before = machine.image();
    let erased = machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(erased.subjects, 1101);
    let parts = machine.announcements().await;
    assert_eq!(parts.len(), 2);
    assert!(parts.iter().all(|part| part.erasure() == Some(erased.erasure)));
    assert!(parts[1].previous().eq([parts[0].id()]));
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, [erased.erasure]);
    names.push("user-1".to_owned());
    let vault = bank.vault().unwrap();
    assert_eq!(vault.inventory().count(), names.len(), "fences, and no key");
    for name in names.iter().step_by(100) {
        assert_eq!(shape(&all(&bank, name).await), "pt");
    }
    drop(bank);
    assert_eq!(machine.open().await.witnessed(), Default::default());
}

/// Where the events are lost as well, a file that was kept elsewhere serves.
#[tokio::test]
async fn an_exported_list_does_what_the_store_would_have_done() {
    let machine = Machine::new();
    let before = {
        let bank = machine.open().await;
        two_people(&bank).await;
        // An account that changes hands loses the time of its first owner alone.
        let open = r#"{"owner":"user-1","memo":"memo-3"}"#;
        put(&bank, "bankaccount-3", event("AccountOpened", open)).await.unwrap();
        let moved = r#"{"newOwner":"user-2","memo":"memo-4"}"#;
        put(&bank, "bankaccount-3", event("AccountTransferred", moved)).await.unwrap();
        drop(bank);
        machine.image()
    };
    let (list, vault) = {
        let bank = machine.open().await;
        bank.forget(&subject("user-1"), "asked").await.unwrap();
        assert_eq!(shape(&all(&bank, "bankaccount-3").await), "pct");
        let list: Vec<Announcement> =
            export(bank.vault().unwrap()).collect::<Result<_, _>>().unwrap();
        (list, bank.vault().unwrap().id())
    };
    // A line survives as text, and says nothing of whom.
    let lines: Vec<String> =
        list.iter().map(|announcement| serde_json::to_string(announcement).unwrap()).collect();
    assert!(lines.iter().all(|line| !line.contains("user-1") && !line.contains("asked")));
    let list: Vec<Announcement> = lines.iter().map(|line| line.parse().unwrap()).collect();
    assert!(list.iter().all(|announcement| announcement.vault() == vault.0));
    assert!("{}".parse::<Announcement>().is_err());

    machine.restore(&before);
    machine.store.tamper(|_| Vec::new());
    let bank = machine.open().await;
    let done = bank.replay(list.clone()).await.unwrap();
    assert_eq!((done.erasures.len(), done.keys), (1, 3));
    assert_eq!(done.epoch, bank.vault().unwrap().epoch().unwrap());
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
    assert_eq!(shape(&all(&bank, "bankaccount-3").await), "pct");
    // Who lives on does not name them any more, though nobody said their name here.
    let state = bank.vault().unwrap().subject_state(&subject("bankaccount-3")).unwrap();
    let owners = state.tenures.iter().flat_map(|epoch| &epoch.owners);
    let owners: Vec<_> = owners.filter_map(|owner| owner.subject.clone()).collect();
    assert_eq!(owners, [subject("user-2")]);
    let again = bank.replay(list.clone()).await.unwrap();
    assert_eq!((again.erasures.len(), again.keys, again.known), (0, 0, list.len() as u64));

    // Another vault passes over it.
    let other = Vault::in_memory().unwrap();
    let passed = replay(&other, list.clone()).await.unwrap();
    assert_eq!((passed.foreign, passed.erasures.len()), (list.len() as u64, 0));
}

/// No key at or below the fence's generation comes back, also where the vault that was restored
/// never knew of the subject.
#[tokio::test]
async fn who_came_and_went_since_is_fenced_as_well() {
    let machine = Machine::new();
    drop(machine.open().await);
    let before = machine.image();
    {
        let bank = machine.open().await;
        two_people(&bank).await;
        bank.forget(&subject("user-1"), "asked").await.unwrap();
        // Came back, and went again.
        bank.reopen(&subject("user-1")).await.unwrap();
        put(&bank, "user-1", event("Renamed", r#"{"surname":"B"}"#)).await.unwrap();
        bank.forget(&subject("user-1"), "asked").await.unwrap();
    }
    machine.restore(&before);
    let bank = machine.open().await;
    let first = all(&bank, "user-1").await;
    assert_eq!(shape(&first), "ptst", "the fence explains it, though the keys were never here");
    let late = put(&bank, "user-1", event("Renamed", r#"{"surname":"B"}"#)).await;
    assert!(matches!(late, Err(StoreError::Forgotten { .. })));
    let reopened = bank.reopen(&subject("user-1")).await.unwrap();
    assert_eq!(reopened.generation.map(|generation| generation.0), Some(3));
    put(&bank, "user-1", event("Renamed", r#"{"surname":"C"}"#)).await.unwrap();
    assert_eq!(shape(&all(&bank, "user-1").await), "ptstc");
}

/// The stream is the layer's own: hidden among all events, shown by name, closed to others.
#[tokio::test]
async fn the_announcements_are_nobodys_events() {
    let bank = layer().await;
    two_people(&bank).await;
    bank.forget(&subject("user-1"), "asked by letter").await.unwrap();
    put(&bank, "user-2", event("Renamed", r#"{"surname":"C"}"#)).await.unwrap();

    let hidden = |event: &RecordedEvent| event.stream.as_str() != ANNOUNCEMENTS;
    let seen = everything(&bank).await;
    assert!(seen.iter().all(hidden));
    assert_eq!(seen.len(), 7);
    let limited = ReadAllOptions { limit: Some(7), ..ReadAllOptions::default() };
    let limited: Vec<_> = bank.read_all(limited).try_collect().await.unwrap();
    assert_eq!(limited, seen, "a limit counts what is seen");
    let delivered = bank.subscribe(None, Filter::default());
    let delivered: Vec<_> = delivered
        .take_while(|delivery| std::future::ready(!matches!(delivery, Ok(Delivery::CaughtUp))))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(delivered.len(), 7);

    let shown = all(&bank, ANNOUNCEMENTS).await;
    assert_eq!(shown.len(), 1);
    let told = text(&shown[0]);
    for secret in ["user-1", "asked", "letter", "bankaccount"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(bank.unsealed(), 0);
    assert_eq!(bank.count_unsealed().await.unwrap().unsealed, 0);

    let refused = async |name: &str, event: NewEvent| {
        let answer = put(&bank, name, event).await;
        assert!(matches!(answer, Err(StoreError::Refused { .. })), "{name}: {answer:?}");
    };
    refused(ANNOUNCEMENTS, event("X", "{}")).await;
    refused(ANNOUNCEMENTS, event(ANNOUNCED, "{}")).await;
    refused("a-1", event(ANNOUNCED, "{}")).await;
    refused("a-1", event("X", "{}").with_subject(subject(ANNOUNCEMENTS))).await;
    let error = bank.forget(&subject(ANNOUNCEMENTS), "a joke").await.unwrap_err();
    assert!(matches!(error, ErasureError::Refused(ErasureRefusal::UnknownSubject(_))), "{error}");
}

/// An append that is under way when a list is applied is waited for, and shredded; the next one
/// is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_appends_under_way() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    let list: Vec<Announcement> = {
        let bank = machine.open().await;
        bank.forget(&subject("user-1"), "asked").await.unwrap();
        export(bank.vault().unwrap()).collect::<Result<_, _>>().unwrap()
    };
    machine.restore(&before);
    machine.store.tamper(|_| Vec::new());
    let bank = machine.open().await;
    let held = machine.store.hold.clone().lock_owned().await;
    // What arrived before is not meant.
    let _ = machine.store.arrived.notified().now_or_never();
    let writer = tokio::spawn({
        let bank = bank.clone();
        async move { put(&bank, "user-1", event("Renamed", r#"{"surname":"B"}"#)).await }
    });
    machine.store.arrived.notified().await;
    let mut replaying = tokio::spawn({
        let (bank, list) = (bank.clone(), list.clone());
        async move { bank.replay(list).await }
    });
    // It would have been done by now; that it is not is seen only where it does not wait.
    let moment = std::time::Duration::from_millis(200);
    let early = tokio::time::timeout(moment, &mut replaying).await;
    assert!(early.is_err(), "applied while an append was under way");
    drop(held);
    writer.await.unwrap().unwrap();
    replaying.await.unwrap().unwrap();
    let late = put(&bank, "user-1", event("Renamed", r#"{"surname":"C"}"#)).await;
    assert!(matches!(late, Err(StoreError::Forgotten { .. })));
    assert_eq!(shape(&all(&bank, "user-1").await), "pts");
}

/// A list that was cut short took one part of an erasure; the whole list takes the rest.
#[tokio::test]
async fn one_part_of_an_erasure_does_not_stand_for_all_of_it() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    let erasure = machine.open().await.forget(&subject("user-1"), "asked").await.unwrap().erasure;
    let whole = {
        let bank = machine.open().await;
        export(bank.vault().unwrap()).collect::<Result<Vec<_>, _>>().unwrap()
    };
    machine.restore(&before);
    machine.store.tamper(|_| Vec::new());
    // A part: what the same vault says of an erasure of that id that took somebody else alone.
    let part = {
        use oubliette::vault::internals::{Dead, Destruction, Loss};
        let bank = machine.open().await;
        let losses = vec![Loss { subject: subject("bankaccount-1"), dead: Dead::All }];
        let vault = bank.vault().unwrap();
        vault.destroy(&Destruction::new(erasure, losses), b"").await.unwrap();
        export(vault).collect::<Result<Vec<_>, _>>().unwrap()
    };
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(bank.replay(part).await.unwrap().keys, 1);
    assert_eq!(bank.replay(whole).await.unwrap().keys, 1);
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
}
