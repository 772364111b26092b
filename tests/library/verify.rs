//! `verify`: a vault and its events that agree have nothing to tell; whatever is planted is told,
//! by its kind and place, and the rest is looked at all the same.

mod two_vaults;

use std::{collections::BTreeSet, sync::atomic::Ordering};

use crate::common::{
    NoTombstones, all, bank_policy, event, everything, folders::copy, json, layer, layer_over, put,
    stream, subject,
};
use futures::TryStreamExt;
use oubliette::{
    audit::{
        Finding, Location,
        verify::{Defect, VerifyOptions, VerifyProgress, VerifyReport},
    },
    erasure::{ErasureError, UnclearError, accept_gaps},
    event::{EventId, EventType, NewEvent, Position, RecordedEvent},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, EventStore, ExpectedRevision, MemoryStore, ReadAllOptions, StoreError,
        sqlite::SqliteStore,
    },
    vault::{OpenAs, Vault},
};

async fn verify<S: EventStore>(layer: &Oubliette<S>) -> (VerifyReport, Vec<Finding<Defect>>) {
    verify_by(layer, VerifyOptions::default()).await
}

async fn verify_by<S: EventStore>(
    layer: &Oubliette<S>,
    options: VerifyOptions,
) -> (VerifyReport, Vec<Finding<Defect>>) {
    let mut found = Vec::new();
    let take = |news| {
        if let VerifyProgress::Found(finding) = news {
            found.push(finding);
        }
    };
    let report = layer.verify(options, take).await.unwrap();
    let counted: u64 = report.found.values().sum();
    assert_eq!(counted, found.len() as u64);
    (report, found)
}

/// The kinds that are found, each with the stream that it is found in.
fn kinds(found: &[Finding<Defect>]) -> Vec<(Defect, String)> {
    let place = |at: &Location| match at {
        Location::Event { stream, .. } => stream.to_string(),
        Location::Key { stream: Some(stream), .. } => stream.to_string(),
        Location::Erasure(_) => "erasure".to_owned(),
        other => other.to_string(),
    };
    found.iter().map(|finding| (finding.kind, place(&finding.at))).collect()
}

async fn bank() -> Oubliette<MemoryStore> {
    let bank = layer().await;
    for (to, event_type, data) in [
        ("user-1", "UserRegistered", r#"{"id":1,"name":"Erika Musterfrau"}"#),
        ("user-2", "UserRegistered", r#"{"id":2,"name":"Otto Normal"}"#),
        ("bankaccount-1", "AccountOpened", r#"{"owner":"user-1","iban":"DE89370400440532013000"}"#),
        ("bankaccount-2", "AccountOpened", r#"{"owner":"user-2","iban":"DE02120300000000202051"}"#),
        ("ledger-1", "LedgerOpened", r#"{"account":"bankaccount-1","note":"hello there"}"#),
        ("room-1", "Said", r#"{"author":1,"at":3,"text":"first"}"#),
        ("room-1", "Said", r#"{"author":2,"at":4,"text":"second"}"#),
    ] {
        put(&bank, to, event(event_type, data)).await.unwrap();
    }
    bank
}

/// Puts an event into the store as it is, beneath the layer.
async fn plant(layer: &Oubliette<MemoryStore>, to: &str, event: NewEvent) {
    let append = Append::new(stream(to), ExpectedRevision::Any, vec![event]);
    layer.store().append(vec![append]).await.unwrap();
}

fn again(event: &RecordedEvent) -> NewEvent {
    NewEvent {
        id: EventId::random(),
        event_type: event.event_type.clone(),
        data: event.data.clone().unwrap(),
        metadata: event.metadata.clone(),
        subject: None,
        holes: None,
    }
}

/// All events as they lie in a store.
async fn raw(layer: &Oubliette<MemoryStore>) -> Vec<RecordedEvent> {
    layer.store().read_all(ReadAllOptions::default()).try_collect().await.unwrap()
}

#[tokio::test]
async fn vault_and_events_that_agree_have_nothing_to_tell() {
    let bank = bank().await;
    let (report, found) = verify(&bank).await;
    assert_eq!(kinds(&found), []);
    assert!(report.is_clean());
    assert_eq!((report.events.events, report.events.open), (7, 7));
    assert_eq!((report.vault.keys, report.vault.owners), (7, 3));
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    put(&bank, "user-2", event("UserMoved", r#"{"id":2,"town":"Bremen"}"#)).await.unwrap();
    let (report, found) = verify(&bank).await;
    assert_eq!(kinds(&found), []);
    assert_eq!((report.events.open, report.events.shredded), (4, 4));
    assert_eq!((report.vault.keys, report.vault.erasures), (3, 1));
    assert_eq!(report.events.tombstones, 4);
    assert_eq!(report.vault.unused_keys, Some(0));
}

#[tokio::test]
async fn an_event_of_another_vault_is_called_so_and_is_no_reason_to_stop() {
    let (bank, other) = (bank().await, bank().await);
    for event in raw(&other).await.iter().filter(|event| event.stream == stream("ledger-1")) {
        let mut unowned = again(event);
        unowned.event_type = EventType::new("Noted").unwrap();
        plant(&bank, "ledger-9", unowned).await;
    }
    put(&bank, "user-2", event("UserMoved", r#"{"id":2,"town":"Bremen"}"#)).await.unwrap();
    let (report, found) = verify(&bank).await;
    assert_eq!(kinds(&found), [(Defect::OtherVault, "ledger-9".into())]);
    assert_eq!((report.events.unknown, report.events.open), (0, 8));
    assert!(report.is_clean(), "two vaults may share a store");
    let Location::Event { revision, position, .. } = &found[0].at else { panic!() };
    assert_eq!((revision.0, *position), (0, raw(&bank).await[9].position));
}

#[tokio::test]
async fn what_was_moved_or_edited_is_tampered_and_the_rest_is_read() {
    let bank = bank().await;
    let events = raw(&bank).await;
    let ledger = events.iter().find(|event| event.stream == stream("ledger-1")).unwrap();
    plant(&bank, "ledger-2", again(ledger)).await;
    let edited = ledger.data.as_ref().unwrap().as_json().unwrap().as_str();
    let edited = edited.replace("bankaccount-1", "bankaccount-2");
    let mut other = again(ledger);
    other.data = json(&edited).into();
    plant(&bank, "ledger-1", other).await;
    let mut cut = again(ledger);
    cut.data = json(r#"{"$sealed":["AQEAAA"]}"#).into();
    plant(&bank, "ledger-1", cut).await;
    let (report, found) = verify(&bank).await;
    let told = kinds(&found);
    assert!(told.contains(&(Defect::Tampered, "ledger-2".into())), "{told:?}");
    assert!(told.contains(&(Defect::Tampered, "ledger-1".into())), "{told:?}");
    assert!(told.contains(&(Defect::Unreadable, "ledger-1".into())), "{told:?}");
    assert_eq!(report.events.open, 7);
    assert_eq!(report.events.events, 10);
}

#[tokio::test]
async fn a_half_without_its_other_half_is_told() {
    let bank = bank().await;
    let halves: Vec<_> = raw(&bank)
        .await
        .into_iter()
        .filter(|event| {
            event.stream.as_str().contains("-1") && event.stream.as_str().contains("user-")
        })
        .collect();
    for half in &halves {
        // The one names a half that is not there; the other has nobody that names it.
        let text = half.metadata.as_ref().unwrap().as_str();
        let named = text.split(r#""private":""#).nth(1).map(|rest| &rest[..36]);
        let mut planted = again(half);
        if let Some(named) = named {
            let nobody = EventId::random().to_string();
            planted.metadata = Some(json(&text.replace(named, &nobody)));
        }
        plant(&bank, half.stream.as_str(), planted).await;
    }
    let (_, found) = verify(&bank).await;
    assert_eq!(halves.len(), 2);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|finding| finding.kind == Defect::HalfMissing));
    let words: BTreeSet<_> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(words.len(), 2);
}

#[tokio::test]
async fn tombstones_that_a_vault_signed_and_does_not_know_of_are_told() {
    let (folder, now) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |of: &tempfile::TempDir| (of.path().join("vault"), of.path().join("root"));
    let vault = Vault::create(&at(&folder).0, at(&folder).1.as_path()).unwrap();
    let bank = Oubliette::open(MemoryStore::new(), vault, bank_policy()).await.unwrap();
    put(&bank, "note-1", event("Written", r#"{"text":"hello there"}"#)).await.unwrap();
    let before = raw(&bank).await;
    let store = bank.store().clone();
    drop(bank);
    copy(folder.path(), now.path());
    let vault = Vault::open(&at(&folder).0, at(&folder).1.as_path()).unwrap();
    let bank = Oubliette::open(store, vault, bank_policy()).await.unwrap();
    bank.forget(&subject("note-1"), "asked").await.unwrap();

    // Vault and slot as they were before, and of the store all but the announcement.
    let store = MemoryStore::new();
    let tombstones = raw(&bank).await.into_iter().filter(RecordedEvent::is_tombstone);
    for event in before.into_iter().chain(tombstones) {
        let mut same = again(&event);
        same.id = event.id;
        let append = Append::new(event.stream.clone(), ExpectedRevision::Any, vec![same]);
        store.append(vec![append]).await.unwrap();
    }
    let (folder, slot) = at(&now);
    let vault = Vault::open_as(&folder, slot.as_path(), OpenAs::TheOne).unwrap();
    let rolled_back = Oubliette::open(store, vault, bank_policy()).await.unwrap();
    let (_, found) = verify(&rolled_back).await;
    let note = || "note-1".to_owned();
    assert_eq!(
        kinds(&found),
        [(Defect::ErasureUnknown, note()), (Defect::TombstoneOfLivingKey, note())]
    );
    // Whoever stole a signing key must not have anybody forgotten by a remedy.
    assert!(
        found.iter().all(|finding| !finding.remedy.contains("forget the subject")),
        "{found:?}"
    );
}

#[tokio::test]
async fn tombstones_that_are_gone_are_counted() {
    let bank = bank().await;
    let before = raw(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    // The event store of before the erasure, under the vault of today.
    let store = MemoryStore::new();
    for event in &before {
        let mut old = again(event);
        old.id = event.id;
        let append = Append::new(event.stream.clone(), ExpectedRevision::Any, vec![old]);
        store.append(vec![append]).await.unwrap();
    }
    let vault = bank.vault().unwrap().clone();
    let closed = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap_err();
    assert!(matches!(closed, ErasureError::Unclear(UnclearError::WitnessGap(_))), "{closed}");
    accept_gaps(&vault, "ticket 12").await.unwrap();
    let restored = Oubliette::open(store, vault, bank_policy()).await.unwrap();
    let (report, found) = verify(&restored).await;
    let missing = [Defect::AnnouncementMissing, Defect::TombstonesMissing];
    let missing = missing.map(|kind| (kind, "erasure".to_owned()));
    let accepted = (Defect::AcceptedGap, "the vault".to_owned());
    assert_eq!(kinds(&found), [&[accepted][..], &missing].concat());
    assert_eq!(found[2].what, "4 tombstones were set, 0 are there");
    assert_eq!((report.events.shredded, report.events.open), (4, 3));
}

/// Where somebody was admitted again, or an account changed hands before, the vault sets none again: it would come
/// behind what lives. So none is missing there.
#[tokio::test]
async fn tombstones_that_are_not_to_be_set_again_are_not_missing() {
    let bank = bank().await;
    let sold =
        event("AccountTransferred", r#"{"newOwner":"user-2","iban":"DE89370400440532013000"}"#);
    put(&bank, "bankaccount-1", sold).await.unwrap();
    let before = raw(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(raw(&bank).await.iter().filter(|event| event.is_tombstone()).count(), 3);
    bank.reopen(&subject("user-1")).await.unwrap();
    let store = MemoryStore::new();
    store.restore(before).await.unwrap();
    let vault = bank.vault().unwrap().clone();
    Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap_err();
    accept_gaps(&vault, "ticket 12").await.unwrap();
    let restored = Oubliette::open(store, vault, bank_policy()).await.unwrap();
    let told = |found: Vec<Finding<Defect>>| {
        let missing = found.into_iter().filter(|f| f.kind == Defect::TombstonesMissing);
        missing.map(|finding| finding.what).collect::<Vec<_>>()
    };
    let (_, found) = verify(&restored).await;
    let left = "3 tombstones were set, 0 are there, and 2 are not to be set again";
    assert_eq!(told(found), [left]);
    restored.tell_again().await.unwrap();
    let (report, found) = verify(&restored).await;
    assert_eq!(told(found), [] as [&str; 0]);
    assert_eq!(report.events.tombstones, 1);
}

#[tokio::test]
async fn an_owner_whom_the_vault_does_not_know_is_told() {
    // Written when the policy knew of no owners.
    let store = MemoryStore::new();
    let vault = Vault::in_memory().unwrap();
    let before = Policy::parse(
        "[[stream]]\nmatch = \"bankaccount-{id}\"\nlayout = \"inline\"\npublic = [\"/owner\"]\n",
    )
    .unwrap();
    let old = Oubliette::open(store, vault.clone(), before).await.unwrap();
    let opened = event("AccountOpened", r#"{"owner":"user-1","iban":"DE89370400440532013000"}"#);
    put(&old, "bankaccount-1", opened).await.unwrap();
    let now = Oubliette::open(old.store().clone(), vault, bank_policy()).await.unwrap();
    let (report, found) = verify(&now).await;
    let both =
        [Defect::Ownerless, Defect::OwnerNotNoted].map(|kind| (kind, "bankaccount-1".to_owned()));
    assert_eq!(kinds(&found), both);
    assert_eq!(report.vault.ownerless, 1);
    // Stated again, it is known.
    put(&now, "bankaccount-1", event("AccountOpened", r#"{"owner":"user-1"}"#)).await.unwrap();
    assert_eq!(kinds(&verify(&now).await.1), []);
}

#[tokio::test]
async fn keys_that_no_event_uses_are_told_whatever_fits_into_memory() {
    let full = bank().await;
    let empty =
        Oubliette::open(MemoryStore::new(), full.vault().unwrap().clone(), bank_policy()).await;
    let empty = empty.unwrap();
    for event in raw(&full).await.iter().filter(|event| event.stream == stream("room-1")) {
        let mut same = again(event);
        same.id = event.id;
        plant(&empty, "room-1", same).await;
    }
    let mut all_told = Vec::new();
    for keys_at_once in [1, 2, 3, 7, 100] {
        let options = VerifyOptions { keys_at_once, ..VerifyOptions::default() };
        assert_eq!(verify_by(&full, options).await.0.vault.unused_keys, Some(0));
        let (report, found) = verify_by(&empty, options).await;
        assert!(report.is_clean());
        assert_eq!(report.vault.unused_keys, Some(5));
        let told: BTreeSet<_> = kinds(&found).into_iter().map(|(_, stream)| stream).collect();
        all_told.push(told);
    }
    let five = ["bankaccount-1", "bankaccount-2", "ledger-1", "user-1", "user-2"];
    assert!(all_told.iter().all(|told| told.iter().eq(five)), "{all_told:?}");
}

#[tokio::test]
async fn what_was_never_sealed_is_counted() {
    let bank = bank().await;
    plant(&bank, "old-1", event("Happened", r#"{"name":"Erika"}"#)).await;
    let (report, found) = verify(&bank).await;
    assert_eq!((kinds(&found), report.events.unsealed), (vec![], 1));
    assert_eq!(everything(&bank).await.len(), 8);
}

#[tokio::test]
async fn an_erasure_that_waits_for_its_tombstones_is_told() {
    let store = NoTombstones::default();
    let bank = layer_over(store.clone()).await;
    put(&bank, "user-1", event("UserRegistered", r#"{"id":1,"name":"Erika"}"#)).await.unwrap();
    store.refuse.store(true, Ordering::SeqCst);
    bank.forget(&subject("user-1"), "asked").await.unwrap_err();
    let (_, found) = verify(&bank).await;
    assert_eq!(kinds(&found), [(Defect::ErasurePending, "erasure".into())]);
    store.refuse.store(false, Ordering::SeqCst);
    bank.resume().await.unwrap();
    assert_eq!(kinds(&verify(&bank).await.1), []);
    assert_eq!(all(&bank, "user-1").await.len(), 2);
}

#[tokio::test]
async fn a_damaged_row_of_the_store_is_told_and_the_rest_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let bank = layer_over(SqliteStore::create(folder.path()).unwrap()).await;
    for author in 1..=5 {
        let said = format!(r#"{{"author":{author},"at":{author},"text":"hello"}}"#);
        put(&bank, "room-1", event("Said", &said)).await.unwrap();
    }
    let (report, found) = verify(&bank).await;
    assert_eq!((kinds(&found), report.vault.unused_keys), (vec![], Some(0)));
    let db = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
    let not_utf8 = "UPDATE event SET data = CAST(x'7bff7d' AS TEXT) WHERE position IN (1, 3, 4)";
    assert_eq!(db.execute(not_utf8, []).unwrap(), 3);
    let edited = r#"UPDATE event SET data = replace(data, '"at":5', '"at":6') WHERE position = 5"#;
    assert_eq!(db.execute(edited, []).unwrap(), 1);

    // Told once, however often the events are gone over.
    for keys_at_once in [1, 1 << 10] {
        let options = VerifyOptions { keys_at_once, ..VerifyOptions::default() };
        let (report, found) = verify_by(&bank, options).await;
        let damaged = |at| (Defect::DamagedEvent, format!("position {at} of the event store"));
        let tampered = (Defect::Tampered, "room-1".to_owned());
        assert_eq!(kinds(&found), [damaged(1), damaged(3), damaged(4), tampered]);
        assert_eq!((report.events.events, report.vault.unused_keys), (2, None));
        assert!(found[0].what.contains("not UTF-8"), "{}", found[0].what);
    }
    // A reader gets what is before it, and its place.
    let mut read = bank
        .store()
        .read_all(ReadAllOptions { after: Some(Position::number(1)), ..ReadAllOptions::default() });
    assert_eq!(read.try_next().await.unwrap().unwrap().position, Position::number(2));
    let error = read.try_next().await.unwrap_err();
    let three = Position::number(3);
    assert!(matches!(error, StoreError::Damaged { position, .. } if position == three), "{error}");
}
