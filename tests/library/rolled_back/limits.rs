//! What nobody is kept from: lines of the threat model that say "yes".

use oubliette::{
    audit::verify::VerifyOptions,
    erasure::{KeyChange, change_key},
    event::SigningKeyId,
    layer::Oubliette,
    store::{EventStore, MemoryStore},
    vault::OpenVaultError,
};

use super::{
    FIRST_IS_FORGOTTEN,
    machine::{Announcements, Machine},
    shapes, two_people,
};
use crate::common::*;

#[tokio::test]
async fn without_announcements_and_tombstones_only_a_noted_epoch_tells_of_a_rollback() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    let bank = machine.open().await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let noted = bank.vault().unwrap().epoch().unwrap();
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
    drop(bank);
    let mut events = everything(&machine.store).await;
    events.retain(|event| !event.is_tombstone() && !event.is_announcement());
    let store = MemoryStore::new();
    store.restore(events).await.unwrap();

    machine.restore(&before);
    let vault = machine.vault();
    let bank = Oubliette::open(store, vault.clone(), bank_policy()).await.unwrap();
    assert_eq!(bank.witnessed(), Default::default());
    assert_eq!(shapes(&bank).await, "c c c c");
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_clean() && report.found.is_empty(), "{:?}", report.found);
    let told = vault.expect_epoch(noted);
    assert!(matches!(told, Err(OpenVaultError::EpochTooLow { .. })), "{told:?}");
}

/// A machine with two people, and a thief who has an image of it and writes to its store.
async fn stolen() -> (Machine, Machine) {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let thief = Machine::new().over_the_store_of(&machine);
    thief.restore(&machine.image());
    (machine, thief)
}

async fn rotate(bank: &Oubliette<Announcements>) -> SigningKeyId {
    let change = KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
    let key = change_key(bank.vault().unwrap(), &change).await.unwrap();
    bank.resume().await.unwrap();
    key
}

#[tokio::test]
async fn whoever_has_the_key_that_signs_is_believed_until_a_pinned_successor_takes_over() {
    let (machine, thief) = stolen().await;
    let malice = thief.open().await.forget(&subject("user-1"), "malice").await.unwrap().erasure;
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, [malice]);
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
    drop(bank);

    // No successor is pinned: the thief changes the key first, and it is the vault's.
    let (machine, thief) = stolen().await;
    let bank = thief.open().await;
    let theirs = rotate(&bank).await;
    let malice = bank.forget(&subject("user-1"), "malice").await.unwrap().erasure;
    drop(bank);
    let told = machine.open().await.witnessed();
    assert_eq!((told.keys, told.replayed), (vec![theirs], vec![malice]));
}

#[tokio::test]
async fn whoever_has_an_earlier_key_is_believed_until_it_is_distrusted() {
    let (machine, thief) = stolen().await;
    // Open before the key is changed, it does not know that it is.
    let theirs = thief.open().await;
    rotate(&machine.open().await).await;
    let malice = theirs.forget(&subject("user-1"), "malice").await.unwrap().erasure;
    drop(theirs);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed, [malice]);
    // Their vault learned of the change as it announced this, and signed its tombstones by a key of its own.
    assert_eq!(shapes(&bank).await, "pf pf c c");
}
