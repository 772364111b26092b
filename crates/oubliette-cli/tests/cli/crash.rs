//! The properties of the product that need a crash (they are listed in `docs/architecture.md`):
//! a child process works on a data folder with several threads and is killed at a random moment,
//! again and again. What it said on its standard output is what it acknowledged.
//!
//! `OUBLIETTE_KILL_ROUNDS` asks for more rounds than the default.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod child;
mod servers;
mod world;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::common::{
    folders::{copy, empty},
    *,
};
use child::{FOLDER, Said};
use oubliette::{
    event::EventId,
    layer::Oubliette,
    vault::{OpenVaultError, internals::Plumbing as _},
};
use oubliette_folder::{Access, AnyStore, FolderError};
use world::{Acknowledged, World};

/// What the killed process is: does nothing unless it was started for it.
#[test]
fn child() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        child::work(Path::new(&folder));
    }
}

fn rounds() -> u32 {
    std::env::var("OUBLIETTE_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

fn start(folder: &Path, first_user: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(child::FIRST_USER, first_user.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn open(folder: &Path) -> Oubliette<AnyStore> {
    child::data_folder(folder).open(Access::Existing, None).await.unwrap().oubliette
}

/// Kills a child at a random moment, and returns what it had acknowledged.
fn kill_one(folder: &Path, round: u32, acknowledged: &mut Acknowledged) {
    let mut child = start(folder, 1000 * round);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // From the moment at which it is open: some rounds kill it while it resumes, too.
    if !round.is_multiple_of(5) {
        for line in lines.by_ref() {
            if line.unwrap().contains("open") {
                break;
            }
        }
    }
    // On a machine that has much else to do, every round may be killed before anything is acknowledged: the last one waits.
    let is_last = round == rounds();
    while is_last && (acknowledged.appended.is_empty() || acknowledged.forgotten.is_empty()) {
        let line = lines.next().unwrap().unwrap();
        Said::parse(&line).into_iter().for_each(|said| acknowledged.hear(said));
    }
    let micros = u64::from(EventId::random().0.as_fields().0) % 250_000;
    std::thread::sleep(Duration::from_micros(micros));
    child.kill().unwrap();
    // What it said before it died is in the pipe; the last line may be half a line.
    lines.map_while(Result::ok).filter_map(|line| Said::parse(&line)).for_each(|said| {
        acknowledged.hear(said);
    });
    let status = child.wait().unwrap();
    if let Some(code) = status.code() {
        let mut why = String::new();
        child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        panic!("the child ended by itself with {code}: {why}");
    }
}

/// `durable_before_use`, `nothing_else_lost`, `once_decided_done`, `no_wrong_person`: one loop,
/// because each killing puts all of them to the test.
#[test]
fn killed_at_any_moment_everything_acknowledged_holds() {
    killed_at_any_moment(None);
}

/// The same with the events at a server, which goes on while its client is killed.
#[cfg(feature = "postgres")]
#[test]
fn killed_beside_postgresql_everything_acknowledged_holds() {
    let Some(server) = crate::stores::postgres() else { return };
    killed_at_any_moment(Some(&server.database()));
}

#[cfg(feature = "jetstream")]
#[test]
fn killed_beside_jetstream_everything_acknowledged_holds() {
    let Some(nats) = crate::served::nats() else { return };
    killed_at_any_moment(Some(&nats.url()));
}

#[cfg(feature = "kafka")]
#[test]
fn killed_beside_kafka_everything_acknowledged_holds() {
    let Some(kafka) = crate::served::kafka() else { return };
    killed_at_any_moment(Some(&format!("kafka://{}/bank", kafka.servers())));
}

fn killed_at_any_moment(store: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(address) = store {
        fs::write(folder.path().join(child::STORE), address).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(child::create(folder.path()));
    let mut acknowledged = Acknowledged::default();
    let mut image = None;
    for round in 1..=rounds() {
        kill_one(folder.path(), round, &mut acknowledged);
        let bank = runtime.block_on(open(folder.path()));
        let events = runtime.block_on(everything(&bank));
        let world = World::of(&events, &acknowledged, &bank);
        world.once_decided_done(&acknowledged, &bank);
        world.durable_before_use(&acknowledged);
        world.nothing_else_lost();
        world.no_wrong_person();
        world.each_stay_ends_for_itself(&acknowledged);
        drop(events);
        drop(bank);
        if round == rounds().div_ceil(2) {
            let taken = tempfile::tempdir().unwrap();
            for part in ["data/vault", "slot"] {
                copy(&folder.path().join(part), &taken.path().join(part));
            }
            image = Some(taken);
        }
    }
    // An image of vault and slot of half-way, put back: nobody who was forgotten since is back.
    if let Some(image) = image {
        for part in ["data/vault", "slot"] {
            empty(&folder.path().join(part));
            copy(&image.path().join(part), &folder.path().join(part));
        }
        let bank = runtime.block_on(open(folder.path()));
        no_way_back_by_an_image(&runtime, &bank, &acknowledged);
    }
    let (appended, forgotten) = (acknowledged.appended.len(), acknowledged.forgotten.len());
    let stays = acknowledged.stays.len();
    println!("{appended} events, {forgotten} erasures and {stays} stays were acknowledged");
    assert!(appended > 0 && (rounds() < 5 || forgotten > 0), "the rounds did nothing");
}

/// Those whose forgetting was acknowledged have nothing readable, and their own streams say so.
/// Others may have lost keys that were made after the image.
fn no_way_back_by_an_image(
    runtime: &tokio::runtime::Runtime,
    bank: &Oubliette<AnyStore>,
    acknowledged: &Acknowledged,
) {
    let mut known = 0;
    for who in &acknowledged.forgotten {
        let state = bank.vault().unwrap().subject_state(&subject(who)).unwrap();
        assert!(state.fence.is_some_and(|fence| fence.closed), "{who} has no fence");
        assert!(bank.vault().unwrap().keys_of(&subject(who)).unwrap().is_empty(), "{who} has keys");
        let events = runtime.block_on(all(bank, who));
        known += events.len();
        for event in events.iter().filter(|event| !event.is_tombstone()) {
            assert!(!event.shredded.is_empty(), "{who} can be read: {event:?}");
        }
    }
    let replayed = bank.witnessed().replayed.len();
    println!("{replayed} erasures were applied again to an image put back; {known} events");
}

/// A second process is told at once which one has the vault.
#[test]
fn one_process_per_vault() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(child::create(folder.path()));
    let mut child = start(folder.path(), 1);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().contains("open")));
    // It must go on reading, or the child waits for the pipe.
    let drain = std::thread::spawn(move || lines.map_while(Result::ok).count());
    let data = child::data_folder(folder.path());
    match runtime.block_on(data.open(Access::Existing, None)) {
        Err(FolderError::OpenVault(OpenVaultError::InUse(pid))) => assert_eq!(pid, child.id()),
        other => panic!("{other:?}"),
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drain.join().unwrap();
    // And the vault of a process that died is free.
    drop(runtime.block_on(open(folder.path())));
}

/// What is read of a folder without opening it.
fn bytes_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes_of(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
    found
}

/// An old copy of the vault, put back under today's root slot, brings nobody back; and what is
/// personal is never in clear anywhere.
#[test]
fn no_way_back() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let secrets = ["Ringelnatz", "Kuttel-Daddeldu", "geheimes-memo"];
    let nothing_in_clear = || {
        for (path, bytes) in bytes_of(folder.path()) {
            for secret in secrets {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} stands in {}", path.display());
            }
        }
    };
    runtime.block_on(async {
        child::create(folder.path()).await;
        let bank = open(folder.path()).await;
        for n in 1..=40 {
            let user = format!(r#"{{"id":{n},"surname":"Ringelnatz","first":"Kuttel-Daddeldu"}}"#);
            put(&bank, &format!("user-{n}"), event("UserRegistered", &user)).await.unwrap();
            let open = format!(r#"{{"owner":"user-{n}","memo":"geheimes-memo"}}"#);
            put(&bank, &format!("bankaccount-{n}"), event("AccountOpened", &open)).await.unwrap();
        }
    });
    nothing_in_clear();
    // Closed, so that the copy is whole; the child of a tokio runtime may close a little later.
    let vault = folder.path().join("data/vault");
    copy(&vault, &elsewhere.path().join("vault"));
    runtime.block_on(async {
        let bank = open(folder.path()).await;
        bank.forget(&subject("user-7"), "asked").await.unwrap();
        assert_eq!(shape(&all(&bank, "user-7").await), "pt");
    });
    nothing_in_clear();
    fs::remove_dir_all(&vault).unwrap();
    copy(&elsewhere.path().join("vault"), &vault);
    let old = runtime.block_on(child::data_folder(folder.path()).open(Access::Existing, None));
    match old {
        Err(FolderError::OpenVault(OpenVaultError::RolledBack { .. })) => {}
        other => panic!("an old copy opened, or says something else: {other:?}"),
    }
}
