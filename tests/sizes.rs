//! What the decisions say of bytes that leave the vault, or that the erasure notes in it. Where one of these
//! changes, so does the sentence in `docs/decisions/`.

#![allow(clippy::unwrap_used)]

mod common;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::*;
use oubliette::{
    erasure::{Compromised, ErasureError, KeyChange, accept_gaps, change_key},
    event::{ANNOUNCEMENTS, NewEvent, RecordedEvent},
    layer::Oubliette,
    store::MemoryStore,
    vault::{
        Vault,
        internals::{NoteKind, Plumbing as _},
    },
};

struct Bank {
    layer: Oubliette<MemoryStore>,
    store: MemoryStore,
    vault: Vault,
}

impl Bank {
    async fn new() -> Self {
        let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
        let layer = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
        Self { layer, store, vault }
    }

    /// Somebody with so many rooms, in each an event.
    async fn in_rooms(&self, who: &str, rooms: usize) {
        for room in 0..rooms {
            let author = who.trim_start_matches("user-");
            let said = format!(r#"{{"at":"noon","author":"{author}","text":"said"}}"#);
            put(&self.layer, &format!("room-{who}-{room}"), event("Said", &said)).await.unwrap();
        }
    }

    async fn reopened(&self, store: &MemoryStore) -> Result<(), ErasureError> {
        let opened = Oubliette::open(store.clone(), self.vault.clone(), bank_policy()).await;
        opened.map(drop)
    }

    async fn forget(&self, who: &str) {
        self.layer.forget(&subject(who), "ticket 4711").await.unwrap();
    }

    async fn stored(&self, name: &str) -> Vec<RecordedEvent> {
        all(&self.store, name).await
    }

    /// The length of each announcement.
    async fn announced(&self) -> Vec<usize> {
        self.stored(ANNOUNCEMENTS).await.iter().map(|event| text(event).len()).collect()
    }

    /// The content of each note of a kind, as text, in the order of ids.
    fn notes(&self, kind: NoteKind) -> Vec<usize> {
        self.vault.notes(kind).unwrap().iter().map(|(_, note)| note.len()).collect()
    }
}

fn metadata(event: &RecordedEvent) -> usize {
    event.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len())
}

#[tokio::test]
async fn an_event_has_the_bytes_that_decisions_21_and_26_say() {
    let bank = Bank::new().await;
    put(&bank.layer, "bankaccount-1", event("Noted", r#"{"a":1}"#)).await.unwrap();
    let event = &bank.stored("bankaccount-1").await[0];
    println!("event {} {}", text(event), metadata(event));
    let sealed = json(&text(event));
    let token: serde_json::Value = sealed.to().unwrap();
    let token = URL_SAFE_NO_PAD.decode(token["$sealed"][0].as_str().unwrap()).unwrap();
    println!("token {}", token.len());

    bank.in_rooms("user-7", 1).await;
    bank.forget("user-7").await;
    let read = all(&bank.layer, "room-user-7-0").await;
    let other = Bank::new().await;
    let copy = NewEvent::copy_of(&read[0]);
    put(&other.layer, "room-1", copy).await.unwrap();
    let copied = &other.stored("room-1").await[0];
    println!("copy {} {}", copied.metadata.as_ref().unwrap().as_str(), metadata(copied));
}

#[tokio::test]
async fn a_tombstone_has_the_bytes_that_decision_20_says() {
    let bank = Bank::new().await;
    bank.in_rooms("user-7", 1).await;
    put(&bank.layer, "user-7", event("Registered", r#"{"a":1}"#)).await.unwrap();
    bank.forget("user-7").await;
    for name in ["user-public-7", "user-7", "room-user-7-0"] {
        for event in bank.stored(name).await {
            println!("{name} {} {}", text(&event), text(&event).len());
        }
    }
}

#[tokio::test]
async fn what_is_announced_has_the_bytes_that_the_decisions_say() {
    let bank = Bank::new().await;
    let mut people = Vec::new();
    for subjects in [1, 2, 8, 16] {
        let who = format!("user-{subjects}");
        bank.in_rooms(&who, 1).await;
        for account in 1..subjects {
            let opened = format!(r#"{{"owner":"{who}","memo":"a debt"}}"#);
            let account = format!("bankaccount-{subjects}-{account}");
            put(&bank.layer, &account, event("AccountOpened", &opened)).await.unwrap();
        }
        bank.forget(&who).await;
        people.push(subjects);
    }
    println!("announced {people:?} {:?}", bank.announced().await);
    let rotate = KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
    let before = bank.vault.signing_keys().unwrap();
    println!("history {:?}", bank.notes(NoteKind::SigningKeys));
    change_key(&bank.vault, &rotate).await.unwrap();
    println!("history {:?}", bank.notes(NoteKind::SigningKeys));
    let since = oubliette::event::Timestamp::now();
    let keys = vec![before[0].key];
    let distrust = KeyChange::Distrust(Compromised { since, keys });
    change_key(&bank.vault, &distrust).await.unwrap();
    println!("history {:?}", bank.notes(NoteKind::SigningKeys));
    bank.reopened(&bank.store).await.unwrap();
    println!("announced {:?}", bank.announced().await);
}

#[tokio::test]
async fn what_is_noted_of_announcements_has_the_bytes_that_decision_35_says() {
    let bank = Bank::new().await;
    for who in ["user-1", "user-2"] {
        bank.in_rooms(who, 1).await;
        bank.forget(who).await;
    }
    let mark = bank.notes(NoteKind::Witness);
    println!("mark {mark:?}");
    let kept = MemoryStore::new();
    for event in bank.stored(ANNOUNCEMENTS).await.drain(1..) {
        let data = event.data.unwrap();
        let again = NewEvent::new(event.event_type, data).with_id(event.id);
        put(&kept, ANNOUNCEMENTS, again).await.unwrap();
    }
    let closed = bank.reopened(&kept).await.unwrap_err();
    println!("{closed}");
    println!("gap {:?}", bank.notes(NoteKind::Witness));
    accept_gaps(&bank.vault, "ticket 12").await.unwrap();
    println!("accepted {:?}", bank.notes(NoteKind::Witness));
    println!("record {:?}", bank.notes(NoteKind::Erasure));
}
