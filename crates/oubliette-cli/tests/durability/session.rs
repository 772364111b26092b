//! The process that is watched and cut: one life of a bank, from its making to a restored vault.
//! What it says on its standard output is what it acknowledged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use age::secrecy::ExposeSecret;
use oubliette::{
    event::Timestamp,
    layer::Oubliette,
    vault::{
        OpenVaultError, PageStoreKind, SlotError,
        backup::{Identities, Recipients, VerifiedBackup},
    },
};
use oubliette_folder::{Access, AnyStore, DataFolder, FolderError};

use crate::{
    child::{append, forget, say},
    common::{BANK, subject},
};

const FOLDER: &str = "OUBLIETTE_TEST_SESSION_IN";
/// Only opens what is there, and appends once.
pub(crate) const RESUMES: &str = "OUBLIETTE_TEST_SESSION_RESUMES";
/// Moves the vault's pages to SQLite before anything else.
pub(crate) const SQLITE: &str = "OUBLIETTE_TEST_SESSION_IN_SQLITE";

/// Does nothing unless it was started for it.
#[test]
fn child() {
    if let Some(at) = std::env::var_os(FOLDER) {
        let runtime = runtime();
        let at = Path::new(&at);
        match std::env::var_os(RESUMES) {
            None => runtime.block_on(live(at)),
            Some(_) => runtime.block_on(resume(at)),
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The three things that may lie on a disk of their own.
pub(crate) const PARTS: [&str; 3] = ["vault", "slot", "store"];

pub(crate) fn data_folder(at: &Path) -> DataFolder {
    DataFolder::at(at.join("store/data"))
        .with_root(Some(at.join("slot/root")))
        .with_vault(Some(at.join("vault/vault")))
        .with_settings(Some(at.join("slot/settings")))
}

fn policy(at: &Path) -> PathBuf {
    at.join("store/bank.toml")
}

fn backup(at: &Path) -> PathBuf {
    at.join("store/copies/vault.age")
}

/// Opens the folder, whoever was cut off while they made it.
pub(crate) async fn made(at: &Path) -> Oubliette<AnyStore> {
    let make = || async { data_folder(at).open(Access::Create, Some(&policy(at))).await };
    let parts = match make().await {
        // A slot that an attempt left which was cut off: whoever named it removes it.
        Err(FolderError::OpenVault(OpenVaultError::Slot(SlotError::NotEmpty(_)))) => {
            fs::remove_file(at.join("slot/root")).unwrap();
            make().await
        }
        made => made,
    };
    let parts = parts.unwrap();
    let vault = parts.oubliette.vault().unwrap();
    data_folder(at).adopt(vault, &parts.given.unwrap()).await.unwrap();
    parts.oubliette
}

/// What the owner lays down before they begin, and a program could not know to be new.
pub(crate) fn prepare(at: &Path) {
    for part in PARTS {
        fs::create_dir_all(at.join(part)).unwrap();
    }
    let text = format!("public_metadata = [\"/author\"]\n{BANK}");
    fs::write(policy(at), text).unwrap();
    let identity = age::x25519::Identity::generate();
    fs::write(at.join("store/identity"), identity.to_string().expose_secret()).unwrap();
    fs::write(at.join("store/recipient"), identity.to_public().to_string()).unwrap();
    fs::create_dir_all(at.join("store/copies")).unwrap();
    // All of it on the disk, whatever comes.
    assert!(Command::new("sync").status().unwrap().success());
}

/// Lets this command live the session in that folder; `said` is the file for what it says.
pub(crate) fn in_folder(mut command: Command, at: &Path, said: &Path) -> Command {
    command
        .args(["--exact", "session::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, at)
        .stdout(fs::File::create(said).unwrap())
        .stderr(Stdio::piped());
    command
}

fn phase(name: &str) {
    say(&format!("phase {name}"));
}

/// In `said`, the phase that it ends in.
pub(crate) fn phase_of(said: &str) -> &str {
    let mut phases =
        said.lines().filter_map(|line| line.strip_prefix("phase ")?.strip_suffix(" ."));
    phases.next_back().unwrap_or("start")
}

async fn live(at: &Path) {
    say(&format!("\nprocess {}", std::process::id()));
    phase("creation");
    let bank = made(at).await;
    say("created");
    let bank = match std::env::var_os(SQLITE) {
        None => bank,
        Some(_) => {
            phase("move");
            moved(bank, at).await
        }
    };
    phase("first keys");
    for n in 1..=5 {
        let data = format!(r#"{{"id":{n},"surname":"s{n}x"}}"#);
        append(&bank, &format!("user-{n}"), "UserRegistered", &data, &format!("s{n}x")).await;
    }
    phase("owner edges");
    for n in 1..=5 {
        let data = format!(r#"{{"owner":"user-{n}","memo":"m{n}x"}}"#);
        let account = format!("bankaccount-{n}");
        append(&bank, &account, "AccountOpened", &data, &format!("m{n}x")).await;
    }
    for n in 3..=5 {
        let data = format!(r#"{{"newOwner":"user-{}","memo":"n{n}x"}}"#, 10 + n);
        let account = format!("bankaccount-{n}");
        append(&bank, &account, "AccountTransferred", &data, &format!("n{n}x")).await;
    }
    phase("append");
    for n in 1..=5 {
        let data = format!(r#"{{"amount":1,"memo":"d{n}x"}}"#);
        append(&bank, &format!("bankaccount-{n}"), "Deposited", &data, &format!("d{n}x")).await;
    }
    phase("forget");
    forget(&bank, "user-1").await;
    forget(&bank, "user-13").await;
    phase("rotation");
    bank.rotate(&subject("user-2")).await.unwrap();
    bank.rotate_root().await.unwrap();
    let data = r#"{"id":2,"surname":"r2x"}"#;
    append(&bank, "user-2", "UserMoved", data, "r2x").await;
    phase("backup");
    back_up(&bank, at).await;
    say("backed up");
    // The backup does not know of it; the event store does.
    phase("forget");
    forget(&bank, "user-4").await;
    drop(bank);

    phase("loss");
    remove_vault(at);
    phase("restore");
    let bank = restored(at).await;
    say("restored");
    phase("append");
    append(&bank, "user-6", "UserRegistered", r#"{"id":6,"surname":"s6x"}"#, "s6x").await;
    phase("forget");
    forget(&bank, "user-6").await;
    phase("end");
}

async fn resume(at: &Path) {
    let bank = data_folder(at).open(Access::Existing, None).await.unwrap().oubliette;
    say("opened");
    append(&bank, "user-5", "UserMoved", r#"{"id":5,"surname":"t5x"}"#, "t5x").await;
}

async fn moved(bank: Oubliette<AnyStore>, at: &Path) -> Oubliette<AnyStore> {
    drop(bank);
    let folder = data_folder(at);
    // Its threads may not be done at once.
    let mut tries = 0..100;
    loop {
        match folder.move_pages(PageStoreKind::Sqlite, |_| {}).await {
            Err(FolderError::OpenVault(OpenVaultError::InUse(_))) if tries.next().is_some() => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            moved => break assert!(moved.unwrap().pages > 0),
        }
    }
    say("moved");
    folder.open(Access::Existing, None).await.unwrap().oubliette
}

async fn back_up(bank: &Oubliette<AnyStore>, at: &Path) {
    let mut recipients = Recipients::default();
    recipients.add_file(&at.join("store/recipient")).unwrap();
    let expires: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    let vault = bank.vault().unwrap();
    vault.back_up(&backup(at), &recipients, expires, |_| {}).await.unwrap();
}

/// The vault is lost, durably: the test's own doing, and not to be mistaken for ours.
fn remove_vault(at: &Path) {
    fs::remove_dir_all(at.join("vault/vault")).unwrap();
    fs::File::open(at.join("vault")).unwrap().sync_all().unwrap();
}

/// Opens the folder with its vault made from the backup.
pub(crate) async fn restored(at: &Path) -> Oubliette<AnyStore> {
    let identities = Identities::from_file(&at.join("store/identity")).unwrap();
    let verified = VerifiedBackup::read(&backup(at), identities).unwrap().overwriting_slot(true);
    data_folder(at).restore(verified, Vec::new(), |_| {}).await.unwrap().parts.oubliette
}
