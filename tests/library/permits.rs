//! A codec beside a table of its caller's own: what was sealed, and what a crash left unsaid.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use oubliette::{
    audit::verify::{Defect, VerifyOptions},
    erasure::{ErasureError, NotReached, UnclearError},
    event::{EventId, EventType, Json, NewEvent, Payload, StreamName, Subject},
    layer::{Codec, CodecError, EventRef, Oubliette, Sealed},
    policy::Policy,
    store::MemoryStore,
    vault::{Settled, Vault, VaultError},
};
use rusqlite::{Connection, OptionalExtension, params};

const FOLDER: &str = "OUBLIETTE_TEST_PERMITS_IN";
const WHAT: &str = "OUBLIETTE_TEST_PERMITS_EVENT";
const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "inline"

[[stream]]
match  = "account-{id}"
layout = "inline"
owner  = [ { event = "Opened", add     = "user-{/owner}" },
           { event = "Sold",   replace = "user-{/owner}" } ]
"#;

fn policy() -> Policy {
    Policy::parse(POLICY).unwrap()
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

fn event(kind: &str, owner: u32) -> NewEvent {
    let json = format!(r#"{{"owner":{owner},"balance":7}}"#);
    NewEvent::new(EventType::new(kind).unwrap(), Json::parse(&json).unwrap())
}

fn open_vault(folder: &Path) -> Vault {
    let (pages, slot) = (folder.join("vault"), folder.join("slot"));
    if pages.exists() {
        Vault::open(&pages, slot.as_path()).unwrap()
    } else {
        Vault::create(&pages, slot.as_path()).unwrap()
    }
}

fn database(folder: &Path) -> Connection {
    let database = Connection::open(folder.join("own.sqlite")).unwrap();
    database
        .execute_batch(
            "PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS events
               (id TEXT PRIMARY KEY, stream TEXT, type TEXT, data TEXT, metadata TEXT)",
        )
        .unwrap();
    database
}

fn insert(database: &Connection, stream: &str, kind: &str, sealed: &Sealed) {
    let data = sealed.data.as_json().unwrap().as_str();
    let metadata = sealed.metadata.as_ref().map(Json::as_str);
    let row = params![sealed.id.to_string(), stream, kind, data, metadata];
    database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", row).unwrap();
}

fn is_in(database: &Connection, event: EventId) -> bool {
    let found = database
        .query_row("SELECT 1 FROM events WHERE id = ?", [event.to_string()], |_| Ok(()))
        .optional();
    found.unwrap().is_some()
}

fn is_shredded(codec: &Codec, database: &Connection, event: EventId) -> bool {
    let (on, kind, data, metadata): (String, String, String, Option<String>) = database
        .query_row(
            "SELECT stream, type, data, metadata FROM events WHERE id = ?",
            [event.to_string()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    let (stream, event_type) = (stream(&on), EventType::new(kind).unwrap());
    let event = EventRef { stream: &stream, id: event, event_type: &event_type };
    let metadata = metadata.map(|json| Json::parse(&json).unwrap());
    let data: Payload = Json::parse(&data).unwrap().into();
    !codec.open(event, &data, metadata.as_ref()).unwrap().shredded.is_empty()
}

/// What the killed process is: does nothing unless it was started for it.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (folder, kind) = (Path::new(&folder), std::env::var(WHAT).unwrap());
    let vault = open_vault(folder);
    match kind.as_str() {
        "Late" => return late(&vault).await,
        "Two" => return first_of_two(&vault).await,
        _ => {}
    }
    let codec = Codec::new(vault, policy());
    let sealed = codec.seal(&stream("account-1"), event(&kind, 1)).await.unwrap();
    if std::env::var_os("OUBLIETTE_TEST_PERMITS_INSERT").is_some() {
        insert(&database(folder), "account-1", &kind, &sealed);
    }
    println!("sealed {}", sealed.id);
    std::thread::sleep(Duration::from_secs(600));
}

/// Says that an event is stored after its owner was forgotten, and waits to be killed.
async fn late(vault: &Vault) {
    let codec = Codec::new(vault.clone(), policy()).lasting_for(Duration::ZERO);
    person(&codec, 1).await;
    let sealed = codec.seal(&stream("account-1"), event("Opened", 1)).await.unwrap();
    stand_in(vault).await.forget(&subject("user-1"), "ticket 1").await.unwrap();
    let id = sealed.id;
    assert_eq!(sealed.stored().await.unwrap(), Settled::OwnerForgotten);
    println!("sealed {id}");
    std::thread::sleep(Duration::from_secs(600));
}

/// Says of the first of two events that it is stored, and waits to be killed.
async fn first_of_two(vault: &Vault) {
    let codec = Codec::new(vault.clone(), policy());
    let events = ["account-1", "account-2"].map(|on| (stream(on), event("Opened", 1)));
    let mut sealed = codec.seal_many(events.into()).await.unwrap().into_iter();
    let (first, _second) = (sealed.next().unwrap(), sealed.next().unwrap());
    let id = first.id;
    assert_eq!(first.stored().await.unwrap(), Settled::Stored);
    println!("sealed {id}");
    std::thread::sleep(Duration::from_secs(600));
}

/// Runs the child until it has sealed, and perhaps inserted; then it is killed.
fn kill_before_stored(folder: &Path, kind: &str, inserts: bool) -> EventId {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "permits::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(WHAT, kind)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if inserts {
        command.env("OUBLIETTE_TEST_PERMITS_INSERT", "1");
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = |line: String| Some(line.split_once("sealed ")?.1.trim().to_owned());
    let id = lines.map_while(Result::ok).find_map(said).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    id.parse().unwrap()
}

/// What such a child leaves behind.
struct Left {
    folder: tempfile::TempDir,
    id: EventId,
    vault: Vault,
    database: Connection,
    codec: Codec,
}

async fn left_open(inserts: bool) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let id = kill_before_stored(folder.path(), "Opened", inserts);
    let (vault, database) = (open_vault(folder.path()), database(folder.path()));
    let codec = Codec::new(vault.clone(), policy());
    Left { folder, id, vault, database, codec }
}

async fn stand_in(vault: &Vault) -> Oubliette<MemoryStore> {
    Oubliette::open(MemoryStore::new(), vault.clone(), policy()).await.unwrap()
}

async fn person(codec: &Codec, who: u32) {
    let sealed = codec.seal(&stream(&format!("user-{who}")), event("Came", who)).await.unwrap();
    assert_eq!(sealed.stored().await.unwrap(), Settled::Stored);
}

/// The claim was withdrawn silently, and forgetting the owner missed the account.
#[tokio::test]
async fn killed_between_insert_and_stored_the_account_is_not_missed_in_silence() {
    let Left { folder: _folder, id, vault, database, codec } = left_open(true).await;
    person(&codec, 1).await;

    let layer = stand_in(&vault).await;
    let plan = layer.plan(&subject("user-1")).await.unwrap();
    assert_eq!((plan.subjects.len(), plan.not_reached.len()), (1, 1));
    let open = codec.unsettled().unwrap();
    assert_eq!(open.len(), 1, "planning withdraws nothing");
    assert_eq!((open[0].event, open[0].stream.clone()), (id, Some(stream("account-1"))));
    assert_eq!(open[0].owners, [subject("user-1")]);
    assert!(!open[0].begins_generation);
    let report = layer.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!(report.found.get(&Defect::OpenClaim), Some(&1));

    // As it should be done.
    assert_eq!(codec.settle(id, is_in(&database, id)).await.unwrap(), Settled::Stored);
    assert!(codec.unsettled().unwrap().is_empty());
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::Unknown);
    let erased = layer.forget(&subject("user-1"), "ticket 1").await.unwrap();
    assert_eq!((erased.subjects, erased.not_reached.len()), (2, 0));
    assert!(is_shredded(&codec, &database, id));
}

#[tokio::test]
async fn killed_before_insert_the_claim_is_withdrawn_when_that_is_said() {
    let Left { folder: _folder, id, vault, database, codec } = left_open(false).await;
    person(&codec, 1).await;
    assert_eq!(codec.settle(id, is_in(&database, id)).await.unwrap(), Settled::Withdrawn);
    let erased = stand_in(&vault).await.forget(&subject("user-1"), "ticket 1").await.unwrap();
    assert_eq!((erased.subjects, erased.not_reached.len()), (1, 0));
}

#[tokio::test]
async fn forgetting_goes_on_past_an_open_claim_and_names_whom_it_did_not_reach() {
    let Left { folder: _folder, id, vault, database, codec } = left_open(true).await;
    person(&codec, 1).await;
    let layer = stand_in(&vault).await;
    let erased = layer.forget(&subject("user-1"), "ticket 1").await.unwrap();
    let told: Vec<String> = erased.not_reached.iter().map(ToString::to_string).collect();
    assert_eq!(told, [format!("account-1 is not reached (claim of event {id} open)")]);
    assert_eq!(erased.subjects, 1);
    assert!(!is_shredded(&codec, &database, id));

    let open = codec.unsettled().unwrap();
    assert_eq!((open.len(), open[0].owners.len()), (1, 0), "the forgotten are not named");
    assert_eq!(open[0].stream, Some(stream("account-1")));
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::OwnerForgotten);
    layer.forget(&subject("account-1"), "its owner is forgotten").await.unwrap();
    assert!(is_shredded(&codec, &database, id));
}

/// What is to be known of a dependent that an erasure of its owner did not reach: the states of its
/// claims, by `unsettled`, the owner's plan and repeated forgetting, and the number of warnings.
async fn told(codec: &Codec, vault: &Vault) -> (Vec<bool>, Vec<String>, Vec<String>, u64) {
    let states = codec.unsettled().unwrap().iter().map(|claim| claim.owner_forgotten).collect();
    let layer = stand_in(vault).await;
    let text = |all: &[NotReached]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let plan = layer.plan(&subject("user-1")).await.unwrap();
    let again = layer.forget(&subject("user-1"), "ticket 1").await.unwrap();
    assert!(plan.already.is_some() && again.already);
    let report = layer.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    let found = report.found.get(&Defect::OwnerForgotten).copied().unwrap_or_default();
    (states, text(&plan.not_reached), text(&again.not_reached), found)
}

/// `OwnerForgotten` was said once; then nobody knew of it, and the account stayed readable.
#[tokio::test]
async fn an_owner_who_was_forgotten_before_is_told_until_the_account_is_forgotten() {
    let Left { folder, id, vault, database, codec } = left_open(true).await;
    person(&codec, 1).await;
    stand_in(&vault).await.forget(&subject("user-1"), "ticket 1").await.unwrap();
    // Also while the claim is open, whoever asks for the owner hears of it.
    let open = vec![format!("account-1 is not reached (claim of event {id} open)")];
    assert_eq!(told(&codec, &vault).await, (vec![false], open.clone(), open, 0));
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::OwnerForgotten);
    drop((codec, vault));

    let vault = open_vault(folder.path());
    let codec = Codec::new(vault.clone(), policy());
    let late = vec![format!("account-1 was not reached (claim of event {id} settled too late)")];
    assert_eq!(told(&codec, &vault).await, (vec![true], late.clone(), late.clone(), 1));
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::OwnerForgotten);
    assert!(!is_shredded(&codec, &database, id));
    let layer = stand_in(&vault).await;
    // Also once they came back and go again.
    layer.reopen(&subject("user-1")).await.unwrap();
    let again = layer.forget(&subject("user-1"), "ticket 2").await.unwrap();
    let not_reached: Vec<_> = again.not_reached.iter().map(ToString::to_string).collect();
    assert_eq!((again.already, not_reached), (false, late));
    layer.forget(&subject("account-1"), "its owner is forgotten").await.unwrap();
    assert!(is_shredded(&codec, &database, id));
    assert_eq!(told(&codec, &vault).await, (vec![], vec![], vec![], 0));
    layer.reopen(&subject("account-1")).await.unwrap();
    assert_eq!(told(&codec, &vault).await, (vec![], vec![], vec![], 0));
}

/// The same, where the one who held the permit past its end says so, and is killed then.
#[tokio::test]
async fn an_owner_who_was_forgotten_before_is_told_until_somebody_acknowledges() {
    let folder = tempfile::tempdir().unwrap();
    let id = kill_before_stored(folder.path(), "Late", true);
    let vault = open_vault(folder.path());
    let codec = Codec::new(vault.clone(), policy());
    let late = vec![format!("account-1 was not reached (claim of event {id} settled too late)")];
    for _ in 0..2 {
        let late = late.clone();
        assert_eq!(told(&codec, &vault).await, (vec![true], late.clone(), late, 1));
    }
    assert!(codec.acknowledge(id).await.unwrap());
    assert!(!codec.acknowledge(id).await.unwrap());
    assert_eq!(told(&codec, &vault).await, (vec![], vec![], vec![], 0));
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::Unknown);
}

/// Who owned it before is forgotten, and who was to own it never did.
#[tokio::test]
async fn a_withdrawn_owner_leaves_a_dependent_of_the_forgotten() {
    let Left { folder: _folder, id, vault, codec, .. } = left_open(false).await;
    let claim = codec.seal(&stream("account-1"), event("Opened", 2)).await.unwrap();
    claim.stored().await.unwrap();
    person(&codec, 2).await;
    let erased = stand_in(&vault).await.forget(&subject("user-2"), "ticket 1").await.unwrap();
    assert_eq!(erased.not_reached.len(), 1);
    assert_eq!(codec.settle(id, false).await.unwrap(), Settled::OwnerForgotten);
    let open = codec.unsettled().unwrap();
    assert_eq!((open.len(), open[0].owner_forgotten), (1, true));
    let plan = stand_in(&vault).await.plan(&subject("user-2")).await.unwrap();
    assert_eq!(plan.not_reached.len(), 1);
}

/// It was answered as settled before that was written.
#[test]
fn what_is_answered_as_stored_is_settled_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let first = kill_before_stored(folder.path(), "Two", true);
    let codec = Codec::new(open_vault(folder.path()), policy());
    let open = codec.unsettled().unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_ne!(open[0].event, first);
}

/// What is somebody else's by the event that may be stored does not die with the one before.
#[tokio::test]
async fn an_open_change_of_hands_keeps_what_may_be_the_new_owners() {
    let folder = tempfile::tempdir().unwrap();
    let database_of = database(folder.path());
    {
        let codec = Codec::new(open_vault(folder.path()), policy());
        person(&codec, 1).await;
        person(&codec, 2).await;
        let opened = codec.seal(&stream("account-1"), event("Opened", 2)).await.unwrap();
        insert(&database_of, "account-1", "Opened", &opened);
        opened.stored().await.unwrap();
    }
    let id = kill_before_stored(folder.path(), "Sold", true);
    let vault = open_vault(folder.path());
    let codec = Codec::new(vault.clone(), policy());

    // Whoever must know is told what to do.
    let refused = codec.seal(&stream("account-1"), event("Noted", 1)).await.unwrap_err();
    let open = |event| event == id;
    assert!(
        matches!(&refused, CodecError::Vault(VaultError::Unsettled { event, .. }) if open(*event)),
        "{refused}"
    );
    let text = refused.to_string();
    assert!(text.contains(&id.to_string()) && text.contains("Codec::settle"), "{text}");
    assert!(codec.unsettled().unwrap()[0].begins_generation);

    // Sold by user-2 to user-1; user-2 is forgotten.
    let layer = stand_in(&vault).await;
    let erased = layer.forget(&subject("user-2"), "ticket 2").await.unwrap();
    assert_eq!((erased.subjects, erased.not_reached.len()), (2, 1));
    assert!(!is_shredded(&codec, &database_of, id), "it is user-1's, if it is stored");
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::Stored);
    assert!(!is_shredded(&codec, &database_of, id));
    let _ =
        codec.seal(&stream("account-1"), event("Noted", 1)).await.unwrap().stored().await.unwrap();
}

#[tokio::test]
async fn a_subject_forgotten_by_name_meanwhile_is_told_when_the_claim_is_settled_late() {
    let Left { folder: _folder, id, vault, database, codec } = left_open(true).await;
    stand_in(&vault).await.forget(&subject("account-1"), "ticket 3").await.unwrap();
    assert!(codec.unsettled().unwrap().is_empty());
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::Forgotten);
    assert!(is_shredded(&codec, &database, id));
    assert_eq!(codec.settle(id, true).await.unwrap(), Settled::Unknown);
}

#[tokio::test]
async fn one_that_is_held_is_settled_by_its_holder_and_one_that_is_dropped_stays_open() {
    let vault = Vault::in_memory().unwrap();
    let codec = Codec::new(vault.clone(), policy());
    let sealed = codec.seal(&stream("account-1"), event("Opened", 1)).await.unwrap();
    let id = sealed.id;
    assert!(codec.unsettled().unwrap().is_empty());
    assert_eq!(codec.settle(id, false).await.unwrap(), Settled::Held);
    drop(sealed);
    assert_eq!(codec.unsettled().unwrap().len(), 1);
    // A retry settles it as well.
    let again = NewEvent { id, ..event("Opened", 1) };
    let sealed = codec.seal(&stream("account-1"), again).await.unwrap();
    assert_eq!(sealed.stored().await.unwrap(), Settled::Stored);
    assert!(codec.unsettled().unwrap().is_empty());
}

/// It was answered as withdrawn.
#[tokio::test]
async fn a_rejected_event_whose_retry_is_held_is_not_withdrawn_and_not_called_so() {
    let codec = Codec::new(Vault::in_memory().unwrap(), policy());
    let opened = event("Opened", 1);
    let first = codec.seal(&stream("account-1"), opened.clone()).await.unwrap();
    let retry = codec.seal(&stream("account-1"), opened).await.unwrap();
    assert_eq!(first.rejected().await.unwrap(), Settled::Held);
    assert_eq!(retry.stored().await.unwrap(), Settled::Stored);
}

/// Whoever is cut off while they wait was handed nothing, and leaves nothing open.
#[tokio::test]
async fn a_sealing_that_nobody_waits_for_any_more_leaves_no_claim_open() {
    let vault = Vault::in_memory().unwrap();
    let codec = Codec::new(vault.clone(), policy());
    for polls in 1..20 {
        let account = stream(&format!("account-{polls}"));
        let mut sealing = Box::pin(codec.seal(&account, event("Sold", 1)));
        for _ in 0..polls {
            if futures::poll!(&mut sealing).is_ready() {
                assert!(polls > 1, "it never waited");
                return;
            }
            vault.flush().await.unwrap();
        }
        drop(sealing);
        // It waits for the one that was cut off, and is refused where that left its claim open.
        let next = codec.seal(&account, event("Sold", 2)).await.unwrap();
        assert_eq!(next.stored().await.unwrap(), Settled::Stored, "{polls}");
        assert!(codec.unsettled().unwrap().is_empty(), "{polls}");
    }
    panic!("it never came to an end");
}

/// The store that stands in is empty after each start. It was called rolled back.
#[tokio::test]
async fn a_fresh_stand_in_is_no_gap_and_one_that_lost_its_announcements_is() {
    let vault = Vault::in_memory().unwrap();
    let codec = Codec::new(vault.clone(), policy());
    for who in [1, 2] {
        person(&codec, who).await;
        let layer = stand_in(&vault).await;
        let witnessed = layer.witnessed();
        assert_eq!((witnessed.gap, witnessed.elsewhere), (false, who == 2));
        layer.forget(&subject(&format!("user-{who}")), "ticket 4").await.unwrap();
        assert!(!layer.witnessed().gap);
    }
    // Events without the announcements that they had: somebody took these out.
    let store = MemoryStore::new();
    let other =
        Oubliette::open(store.clone(), Vault::in_memory().unwrap(), policy()).await.unwrap();
    let append = oubliette::store::Append::new(
        stream("user-7"),
        oubliette::store::ExpectedRevision::Any,
        vec![event("Came", 7)],
    );
    oubliette::store::EventStore::append(&other, vec![append]).await.unwrap();
    let closed = Oubliette::open(store.clone(), vault.clone(), policy()).await.unwrap_err();
    assert!(matches!(closed, ErasureError::Unclear(UnclearError::WitnessGap(_))), "{closed}");
    oubliette::erasure::accept_gaps(&vault, "ops").await.unwrap();
    let layer = Oubliette::open(store, vault, policy()).await.unwrap();
    assert!(layer.witnessed().gap && !layer.witnessed().elsewhere);
}
