//! An event store that came back without its last acknowledged events: what was lost is found, and said or set again.

#![allow(clippy::unwrap_used)]

use crate::common::*;
use oubliette::{
    audit::verify::{Defect, VerifyOptions, VerifyProgress},
    event::{Position, RecordedEvent},
    layer::Oubliette,
    store::{EventStore, MemoryStore},
};

/// The same store without what is at its end.
async fn without_the_last(store: &MemoryStore, lost: usize) -> MemoryStore {
    let mut events = everything(store).await;
    events.truncate(events.len() - lost);
    let cut = MemoryStore::new();
    // As its own store has them: nothing was restored there.
    for event in events {
        assert_eq!(cut.restore(vec![event]).await.unwrap().len(), 1);
    }
    cut
}

async fn opened(cut: MemoryStore, bank: &Oubliette<MemoryStore>) -> Oubliette<MemoryStore> {
    Oubliette::open(cut, bank.vault().unwrap().clone(), bank_policy()).await.unwrap()
}

async fn found(bank: &Oubliette<MemoryStore>) -> Vec<(Defect, String)> {
    let mut found = Vec::new();
    let told = |progress| {
        if let VerifyProgress::Found(finding) = progress {
            found.push((finding.kind, format!("{:?} {}", finding.at, finding.what)));
        }
    };
    bank.verify(VerifyOptions::default(), told).await.unwrap();
    found
}

fn positions(events: &[RecordedEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

async fn bank() -> Oubliette<MemoryStore> {
    let bank = layer().await;
    for (to, event_type, data) in [
        ("user-1", "UserRegistered", r#"{"id":1,"name":"Erika"}"#),
        ("bankaccount-1", "AccountOpened", r#"{"owner":"user-1","iban":"DE89"}"#),
        ("user-2", "UserRegistered", r#"{"id":2,"name":"Otto"}"#),
    ] {
        put(&bank, to, event(event_type, data)).await.unwrap();
    }
    bank
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_that_a_store_lost_are_found_and_set_again() {
    let bank = bank().await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "pt");

    for lost in [1, 2] {
        let cut = opened(without_the_last(bank.store(), lost).await, &bank).await;
        let missing: Vec<_> = found(&cut).await;
        assert!(
            missing.len() == 1 && missing[0].0 == Defect::TombstonesMissing,
            "{lost} lost: {missing:?}"
        );
        // What was forgotten stays forgotten: keys are not in the store.
        assert!(!shape(&all(&cut, "user-1").await).contains('c'));
        assert_eq!(cut.set_tombstones_again().await.unwrap(), lost);
        assert_eq!(cut.set_tombstones_again().await.unwrap(), 0);
        assert_eq!(shape(&all(&cut, "user-1").await), "pt");
        assert_eq!(shape(&all(&cut, "bankaccount-1").await), "pt");
        assert_eq!(found(&cut).await, []);
        assert!(positions(&everything(&cut).await).is_sorted());
    }
}

/// The event that stated an owner is gone: its key, of which the owner still is the owner, is told as one that no event uses.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_only_event_a_store_lost_is_told() {
    let bank = bank().await;
    assert_eq!(found(&bank).await, []);
    let opened_late = event("AccountOpened", r#"{"owner":"user-2","iban":"DE02"}"#);
    put(&bank, "bankaccount-2", opened_late).await.unwrap();
    let cut = opened(without_the_last(bank.store(), 1).await, &bank).await;
    let told = found(&cut).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == Defect::UnusedKey && told[0].1.contains("bankaccount-2"), "{told:?}");
}
