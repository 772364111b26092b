//! Moving sealed events from one store to another, beneath the layer.

#![allow(clippy::unwrap_used)]

use crate::common::*;
use oubliette::{
    audit::verify::VerifyOptions,
    event::{Position, RecordedEvent},
    layer::Oubliette,
    store::{
        Append, Capability, EventStore, ExpectedRevision, MemoryStore, SqliteStore, StoreError,
    },
};

async fn bank() -> Oubliette<MemoryStore> {
    let bank = layer().await;
    for (to, event_type, data) in [
        ("user-1", "UserRegistered", r#"{"id":1,"colour":"red","name":"Erika","plate":"B-XY 1"}"#),
        ("user-2", "UserRegistered", r#"{"id":2,"name":"Otto"}"#),
        ("bankaccount-1", "AccountOpened", r#"{"owner":"user-1","amount":1.50,"iban":"DE89"}"#),
        ("bankaccount-2", "AccountOpened", r#"{"owner":"user-2","iban":"DE02"}"#),
        ("room-1", "Said", r#"{"author":1,"at":3,"text":"first"}"#),
        ("room-1", "Said", r#"{"author":2,"at":4,"text":"second"}"#),
    ] {
        put(&bank, to, event(event_type, data)).await.unwrap();
    }
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    put(&bank, "user-2", event("UserMoved", r#"{"id":2,"town":"Bremen"}"#)).await.unwrap();
    bank
}

/// Without what a move changes.
fn as_recorded(mut events: Vec<RecordedEvent>, restored: bool) -> Vec<RecordedEvent> {
    for event in &mut events {
        assert_eq!(event.restored.take().is_some(), restored);
        event.position = Position::number(0);
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_moved_beneath_the_layer_reads_as_before() {
    let old = bank().await;
    let folder = tempfile::tempdir().unwrap();
    let new = SqliteStore::create(folder.path()).unwrap();
    let stored = everything(old.store()).await;
    assert!(stored.len() > 10, "halves, tombstones and an announcement, too");
    // In pieces, and one of them again, as after a cut.
    for piece in stored.chunks(5).chain(stored.chunks(5).take(2)) {
        new.restore(piece.to_vec()).await.unwrap();
    }
    let moved = everything(&new).await;
    assert_eq!(as_recorded(moved, true), as_recorded(stored, false));

    let vault = old.vault().unwrap().clone();
    let layer = Oubliette::open(new, vault, bank_policy()).await.unwrap();
    let (before, after) = (everything(&old).await, everything(&layer).await);
    assert_eq!(as_recorded(after, true), as_recorded(before, false));
    assert!(!layer.witnessed().gap);
    for name in ["user-1", "user-2", "bankaccount-1", "bankaccount-2", "room-1"] {
        assert_eq!(shape(&all(&layer, name).await), shape(&all(&old, name).await), "{name}");
    }
    let report = layer.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.events.tombstones, 3);

    // It goes on: the revision of the new event follows.
    let moved = put(&layer, "user-2", event("UserMoved", r#"{"id":2,"town":"Jena"}"#)).await;
    assert_eq!(moved.unwrap().revision.0, 2);
    layer.forget(&subject("user-2"), "asked").await.unwrap();
    assert_eq!(shape(&all(&layer, "user-2").await), "pppt");
}

#[tokio::test]
async fn restoring_is_no_way_around_sealing() {
    let bank = bank().await;
    assert!(bank.store().capabilities().has(Capability::Restore));
    assert!(!bank.capabilities().has(Capability::Restore));
    let clear = MemoryStore::new();
    let append = Append::new(
        stream("user-3"),
        ExpectedRevision::Any,
        vec![event("UserRegistered", r#"{"name":"Annika"}"#)],
    );
    clear.append(vec![append]).await.unwrap();
    let before = everything(bank.store()).await;
    let refused = bank.restore(everything(&clear).await).await;
    assert!(matches!(refused, Err(StoreError::Unsupported(Capability::Restore))), "{refused:?}");
    assert_eq!(everything(bank.store()).await, before);

    // What the layer opened is not what was recorded, and no store takes it for that.
    let opened = everything(&bank).await;
    assert!(opened.len() > 8);
    for event in opened {
        let (target, what) = (MemoryStore::new(), event.clone());
        let refused = target.restore(vec![event]).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{what:?}: {refused:?}");
    }
}
