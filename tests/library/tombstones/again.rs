//! Tombstones that the vault sets again under the key that signs now.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use oubliette::{
    audit::verify::Defect,
    erasure::{Compromised, ErasureError, KeyChange, PendingError, change_key},
    event::{ANNOUNCEMENTS, Timestamp},
    layer::Oubliette,
    store::{EventStore, MemoryStore},
};

use super::kinds;
use crate::common::{
    NoTombstones, all, bank_policy, event, layer_over, put, shape, stream, subject,
};

const SAID: &str = r#"{"at":1,"author":"AUTHOR","text":"so"}"#;

/// Three people in one room, of whom two are forgotten; and one who was forgotten twice.
async fn forgotten_in_one_room<S: EventStore>(bank: &Oubliette<S>) {
    for who in ["1", "2", "3"] {
        put(bank, "room-1", event("Said", &SAID.replace("AUTHOR", who))).await.unwrap();
    }
    for who in ["user-1", "user-2"] {
        bank.forget(&subject(who), "asked").await.unwrap();
    }
    for _ in 0..2 {
        put(bank, "user-7", event("UserRegistered", r#"{"id":7,"name":"Erika"}"#)).await.unwrap();
        bank.forget(&subject("user-7"), "asked").await.unwrap();
        bank.reopen(&subject("user-7")).await.unwrap();
    }
    bank.forget(&subject("user-7"), "asked").await.unwrap();
}

/// The key that signed all of it is stolen, and another one takes its place.
async fn steal<S: EventStore>(bank: &Oubliette<S>) {
    let since = Timestamp::now();
    let compromised = Some(Compromised { since, keys: vec![] });
    let change = KeyChange::Rotate { successor: None, compromised, without_successor: false };
    change_key(bank.vault().unwrap(), &change).await.unwrap();
}

async fn announced<S: EventStore>(bank: &Oubliette<S>) -> usize {
    all(bank.store(), ANNOUNCEMENTS).await.len()
}

/// Two for one stream were refused as one append. Nobody could be forgotten any more, and each opening announced all
/// erasures once more.
#[tokio::test]
async fn two_erasures_that_reached_one_stream_are_both_set_again_and_hold_up_nobody() {
    let bank = layer_over(MemoryStore::new()).await;
    forgotten_in_one_room(&bank).await;
    assert_eq!(shape(&all(&bank, "room-1").await), "ppctt");
    assert_eq!(shape(&all(&bank, "user-7").await), "ptptt");
    steal(&bank).await;
    assert_eq!(shape(&all(&bank, "room-1").await), "ppcff");
    bank.resume().await.unwrap();
    assert_eq!(shape(&all(&bank, "room-1").await), "ppcfftt");
    assert_eq!(shape(&all(&bank, "user-7").await), "pfpffttt");
    assert_eq!(kinds(&bank).await, [Defect::UncountedTombstone].into());
    // Once, and forgetting goes on.
    let was = announced(&bank).await;
    bank.resume().await.unwrap();
    let vault = bank.vault().unwrap().clone();
    let bank = Oubliette::open(bank.store().clone(), vault, bank_policy()).await.unwrap();
    assert_eq!(announced(&bank).await, was);
    assert_eq!(shape(&all(&bank, "room-1").await), "ppcfftt");
    bank.forget(&subject("user-3"), "asked").await.unwrap();
    assert_eq!(shape(&all(&bank, "room-1").await), "pppffttt");
    assert_eq!(announced(&bank).await, was + 1);
}

#[tokio::test]
async fn a_tombstone_that_the_store_does_not_take_again_holds_up_nobody_and_is_tried_again() {
    let bank = layer_over(NoTombstones::default()).await;
    forgotten_in_one_room(&bank).await;
    put(&bank, "user-9", event("UserRegistered", r#"{"id":9,"name":"Otto"}"#)).await.unwrap();
    let refuse = bank.store().refuse.clone();
    refuse.store(true, Ordering::SeqCst);
    steal(&bank).await;
    bank.resume().await.unwrap();
    let was = announced(&bank).await;
    assert!(kinds(&bank).await.contains(&Defect::TombstonesDue));
    for _ in 0..2 {
        bank.resume().await.unwrap();
        assert_eq!(announced(&bank).await, was, "nothing is announced twice");
    }
    // Somebody else's keys go, though the store takes no tombstone of theirs either.
    let unset = bank.forget(&subject("user-9"), "asked").await;
    assert!(
        matches!(unset, Err(ErasureError::Pending(PendingError::Tombstones { .. }))),
        "{unset:?}"
    );
    assert_eq!(shape(&all(&bank, "user-9").await), "p");
    assert_eq!(announced(&bank).await, was + 1);
    refuse.store(false, Ordering::SeqCst);
    bank.resume().await.unwrap();
    assert_eq!(shape(&all(&bank, "room-1").await), "ppcfftt");
    assert_eq!(shape(&all(&bank, "user-9").await), "pt");
    assert_eq!(kinds(&bank).await, [Defect::UncountedTombstone].into());
}

/// One stream that takes none keeps them from no other.
#[tokio::test]
async fn the_others_are_set_again_where_one_stream_takes_none() {
    let bank = layer_over(MemoryStore::new()).await;
    forgotten_in_one_room(&bank).await;
    steal(&bank).await;
    let closed = NoTombstones {
        inner: bank.store().clone(),
        refuse: Arc::new(AtomicBool::new(true)),
        only: Some(stream("room-1")),
    };
    let vault = bank.vault().unwrap().clone();
    let over = Oubliette::open(closed, vault, bank_policy()).await.unwrap();
    assert_eq!(shape(&all(&over, "user-7").await), "pfpffttt");
    assert_eq!(shape(&all(&over, "room-1").await), "ppcff");
    assert!(kinds(&over).await.contains(&Defect::TombstonesDue));
    bank.resume().await.unwrap();
    assert_eq!(shape(&all(&bank, "user-7").await), "pfpffttt");
    assert_eq!(shape(&all(&bank, "room-1").await), "ppcfftt");
}
