//! What the decisions say of bytes that leave the vault, or that the erasure notes in it. Where one of these
//! changes, so does the sentence in `docs/decisions/`.

#![allow(clippy::unwrap_used)]

use crate::common::*;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use oubliette::{
    erasure::{Compromised, ErasureError, KeyChange, UnclearError, accept_gaps, change_key},
    event::{ANNOUNCEMENTS, NewEvent, RecordedEvent, Timestamp},
    layer::Oubliette,
    store::MemoryStore,
    vault::{
        Vault,
        internals::{MemoKind, Plumbing as _},
    },
};
use serde_json::Value;

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
        self.stored(ANNOUNCEMENTS).await.iter().map(|event| length(&text(event))).collect()
    }

    /// The length of each note of a kind, in the order of ids.
    fn notes(&self, kind: MemoKind) -> Vec<usize> {
        let notes = self.vault.memos(kind).unwrap();
        notes.iter().map(|(_, note)| length(std::str::from_utf8(note).unwrap())).collect()
    }
}

/// The length of a JSON text in which each instant has microseconds: zeros at the end are not written.
fn length(json: &str) -> usize {
    fn stretch(value: &mut Value) {
        match value {
            Value::String(text) if text.starts_with("20") && text.ends_with('Z') => {
                *text = format!("{}.123456Z", &text[..19]);
            }
            Value::Array(values) => values.iter_mut().for_each(stretch),
            Value::Object(members) => members.values_mut().for_each(stretch),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(json).unwrap();
    stretch(&mut value);
    value.to_string().len()
}

fn metadata(event: &RecordedEvent) -> usize {
    event.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len())
}

/// Decisions 21 and 26.
#[tokio::test]
async fn an_event_has_the_bytes_that_decisions_21_and_26_say() {
    let bank = Bank::new().await;
    put(&bank.layer, "bankaccount-1", event("Noted", r#"{"a":1}"#)).await.unwrap();
    let event = &bank.stored("bankaccount-1").await[0];
    let sealed: Value = json(&text(event)).to().unwrap();
    let token = URL_SAFE_NO_PAD.decode(sealed["$sealed"][0].as_str().unwrap()).unwrap();
    // `{"$oubliette":{"mac":"…"}}`, and a token of what stands around nothing.
    assert_eq!((metadata(event), token.len()), (63, 67 + r#"{"a":1}"#.len()));

    bank.in_rooms("user-7", 1).await;
    bank.forget("user-7").await;
    let read = all(&bank.layer, "room-user-7-0").await;
    let other = Bank::new().await;
    put(&other.layer, "room-1", NewEvent::copy_of(&read[0])).await.unwrap();
    let copied = &other.stored("room-1").await[0];
    let hole = &copied.metadata.as_ref().unwrap().to::<Value>().unwrap()["$oubliette"]["holes"];
    let tag = hole["mac"].to_string().len() + r#""mac":,"#.len();
    let part = hole["shredded"][0].to_string().len();
    assert_eq!((metadata(copied) - metadata(event), tag, part), (224, 47, 153));
}

/// Decision 20.
#[tokio::test]
async fn a_tombstone_has_the_bytes_that_decision_20_says() {
    let bank = Bank::new().await;
    bank.in_rooms("user-7", 1).await;
    put(&bank.layer, "user-7", event("Registered", r#"{"a":1}"#)).await.unwrap();
    bank.forget("user-7").await;
    let [own, shared] = [bank.stored("user-public-7").await, bank.stored("room-user-7-0").await]
        .map(|events| text(events.last().unwrap()));
    // One key in each; the subject's own names them as well.
    assert_eq!((shared.len(), own.len() - shared.len()), (236, r#","subject":"user-7""#.len()));
    let said: Value = serde_json::from_str(&shared).unwrap();
    let member = |name: &str| said[name].to_string().len() + format!(r#","{name}":"#).len();
    assert_eq!((member("ref"), member("key") + member("sig")), (31, 126));
    assert_eq!(said["keys"][0].to_string().len() + 1, 30);
}

/// Decisions 23, 24, 35 and 36: 256 bytes of what is sealed, and what names the announcement before.
#[tokio::test]
async fn what_is_announced_has_the_bytes_that_the_decisions_say() {
    let bank = Bank::new().await;
    for subjects in [1, 2, 8, 16] {
        let who = format!("user-{subjects}");
        bank.in_rooms(&who, 1).await;
        for account in 1..subjects {
            let opened = format!(r#"{{"owner":"{who}","memo":"a debt"}}"#);
            let account = format!("bankaccount-{subjects}-{account}");
            put(&bank.layer, &account, event("AccountOpened", &opened)).await.unwrap();
        }
        bank.forget(&who).await;
    }
    let erasures = bank.announced().await;
    assert_eq!(erasures, [1214, 1317, 1317, 1659]);
    let said: Value = json(&text(&bank.stored(ANNOUNCEMENTS).await[1])).to().unwrap();
    let member = |name: &str| said[name].to_string().len() + format!(r#""{name}":,"#).len();
    assert_eq!(["kind", "log", "previous", "public"].map(member), [17, 31, 117, 55]);

    let history = || bank.notes(MemoKind::SigningKeys)[0];
    let made = history();
    let first = bank.vault.signing_keys().unwrap().remove(0).key;
    let rotate = KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
    change_key(&bank.vault, &rotate).await.unwrap();
    let rotated = history();
    let compromised = Compromised { since: Timestamp::now(), keys: vec![first] };
    change_key(&bank.vault, &KeyChange::Distrust(compromised)).await.unwrap();
    assert_eq!((made, rotated - made, history() - rotated), (195, 1460, 1220));
    bank.reopened(&bank.store).await.unwrap();
    // The statements, and all that the distrusted key said once more.
    assert_eq!(bank.announced().await[4..], [1182, 1065, 1317, 1317, 1659, 1659]);
}

/// Decision 35: an announcement has 67 bytes for the one before it, beside its id.
#[tokio::test]
async fn what_is_noted_of_announcements_has_the_bytes_that_decision_35_says() {
    let bank = Bank::new().await;
    for who in ["user-1", "user-2"] {
        bank.in_rooms(who, 1).await;
        bank.forget(who).await;
    }
    assert_eq!(bank.notes(MemoKind::Witness), [245]);
    assert_eq!(bank.notes(MemoKind::Erasure), [277, 277]);
    let kept = MemoryStore::new();
    for event in bank.stored(ANNOUNCEMENTS).await.drain(1..) {
        let again = NewEvent::new(event.event_type, event.data.unwrap()).with_id(event.id);
        put(&kept, ANNOUNCEMENTS, again).await.unwrap();
    }
    assert!(matches!(
        bank.reopened(&kept).await,
        Err(ErasureError::Unclear(UnclearError::WitnessGap(_)))
    ));
    assert_eq!(bank.notes(MemoKind::Witness), [245, 152]);
    accept_gaps(&bank.vault, "ticket 12").await.unwrap();
    assert_eq!(bank.notes(MemoKind::Witness), [245, 217]);
}

/// Decision 21: each backup that is outstanding.
#[cfg(feature = "backup")]
#[tokio::test]
async fn an_announcement_has_the_bytes_for_a_backup_that_decision_21_says() {
    use oubliette::vault::backup::Recipients;

    let bank = Bank::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut recipients = Recipients::default();
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    recipients.add(&recipient).unwrap();
    for (number, who) in ["user-1", "user-2", "user-3"].into_iter().enumerate() {
        bank.in_rooms(who, 1).await;
        bank.forget(who).await;
        let file = folder.path().join(number.to_string());
        let tomorrow = Timestamp::from_micros(Timestamp::now().as_micros() + 86_400_000_000);
        bank.vault.back_up(&file, &recipients, tomorrow, drop).await.unwrap();
    }
    // 64 bytes each, as base64url.
    assert_eq!(bank.announced().await, [1214, 1317 + 86, 1317 + 86 + 85]);
}
