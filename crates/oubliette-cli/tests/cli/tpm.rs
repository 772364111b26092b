//! A root slot in a TPM 2.0: a real one in software (`swtpm`), which each test starts for itself,
//! by way of the real tpm2-tools. Run with `--features tpm`.

#![cfg(unix)]
#![allow(clippy::print_stderr)] // to skip loudly

mod counter;
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use oubliette::vault::{
    Kek, OpenAs, OpenVaultError, Passphrase, SlotConfig, SlotError, SlotLocation, TpmIndex, Vault,
    VaultError,
    internals::{KeyLookup, Plumbing as _},
};

use crate::{
    common::folders::copy,
    shared::{forget, key_of},
};

/// A TPM of one's own.
struct Tpm {
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tpm {
    /// `None`, and a word about it, where it is not to be had.
    fn start() -> Option<Self> {
        let there = |tool: &str| {
            Command::new(tool).arg("--version").output().is_ok_and(|said| said.status.success())
        };
        if !there("swtpm") || !there("tpm2_nvread") {
            assert!(
                std::env::var_os("OUBLIETTE_REQUIRE_TPM").is_none(),
                "swtpm or tpm2-tools is missing"
            );
            eprintln!("SKIPPED: swtpm or tpm2-tools is missing, the slot in a TPM is not tested");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let server = format!("type=unixio,path={}", socket.display());
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", folder.path().display()))
            .args(["--server", &server, "--ctrl", &format!("{server}.ctrl")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !(socket.exists() && folder.path().join("s.ctrl").exists()) {
            assert!(began.elapsed() < Duration::from_secs(20), "swtpm does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self { folder, child })
    }

    fn tcti(&self) -> String {
        format!("swtpm:path={}", self.folder.path().join("s").display())
    }

    fn index(&self) -> TpmIndex {
        TpmIndex::new(0x0150_0016).unwrap().over(self.tcti()).with_auth(auth("owl"))
    }

    fn config(&self) -> SlotConfig {
        SlotConfig::at(SlotLocation::Tpm(self.index()))
    }

    fn vault(&self) -> std::path::PathBuf {
        self.folder.path().join("vault")
    }

    /// Runs one of the tools, as an operator, or an attacker, would.
    fn tool(&self, args: &[&str]) -> std::process::Output {
        Command::new(args[0]).args(&args[1..]).env("TPM2TOOLS_TCTI", self.tcti()).output().unwrap()
    }

    /// A sector as it is in the TPM.
    fn sector(&self, index: &str) -> Vec<u8> {
        let read = self.tool(&["tpm2_nvread", index, "-C", index, "-P", "str:owl", "-s", "512"]);
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        read.stdout
    }

    fn write(&self, index: &str, bytes: &[u8]) {
        let file = self.folder.path().join("sector");
        std::fs::write(&file, bytes).unwrap();
        let file = file.to_str().unwrap();
        let wrote = self.tool(&["tpm2_nvwrite", index, "-C", index, "-P", "str:owl", "-i", file]);
        assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    }
}

fn auth(text: &str) -> Option<Passphrase> {
    Passphrase::new(text.to_owned())
}

#[tokio::test]
async fn a_vault_whose_root_is_in_a_tpm_opens_again_and_forgets() {
    let Some(tpm) = Tpm::start() else { return };
    let vault = Vault::create(&tpm.vault(), tpm.config()).unwrap();
    assert_eq!(vault.root_slot().unwrap().place, "tpm:0x01500016");
    let (kept, gone) = (key_of(&vault, "user-1").await, key_of(&vault, "user-2").await);
    vault.flush().await.unwrap();
    let before = tpm.folder.path().join("before");
    copy(&tpm.vault(), &before);
    let root = tpm.sector("0x01500016");
    assert_eq!(root, tpm.sector("0x01500017"));
    forget(&vault, "user-2").await;
    // While it is open nobody else gets at it, with a copy of the folder neither.
    assert!(matches!(Vault::open(&before, tpm.config()), Err(OpenVaultError::InUse(_))));
    drop(vault);

    let vault = Vault::open(&tpm.vault(), tpm.config()).unwrap();
    assert!(matches!(vault.opening_key(kept), Ok(KeyLookup::Live { .. })));
    assert!(matches!(vault.opening_key(gone), Ok(KeyLookup::Shredded { .. })));
    assert_eq!(vault.root_slot().unwrap().epoch, 1);
    drop(vault);
    // Neither index holds anything of the earlier root key (bytes 104 to 136) any more.
    for index in ["0x01500016", "0x01500017"] {
        let now = tpm.sector(index);
        assert!(!now.windows(32).any(|window| window == &root[104..136]));
    }
    let rolled_back = Vault::open(&before, tpm.config());
    assert!(matches!(rolled_back, Err(OpenVaultError::RolledBack { epoch: 1 })));
}

#[tokio::test]
async fn one_index_lost_loses_nobody() {
    let Some(tpm) = Tpm::start() else { return };
    let key = Passphrase::new("correct horse".to_owned());
    let config = || tpm.config().with_kek(Kek::Passphrase, key.clone());
    let vault = Vault::create(&tpm.vault(), config()).unwrap();
    let kept = key_of(&vault, "user-1").await;
    drop(vault);
    for index in ["0x01500016", "0x01500017"] {
        let gone = tpm.tool(&["tpm2_nvundefine", index, "-C", "o"]);
        assert!(gone.status.success());
        let vault = Vault::open(&tpm.vault(), config()).unwrap();
        assert!(matches!(vault.opening_key(kept), Ok(KeyLookup::Live { .. })));
        assert!(tpm.sector(index).starts_with(b"OUBLIETTE ROOT"));
    }
    assert!(matches!(
        Vault::open(&tpm.vault(), tpm.config()),
        Err(OpenVaultError::Slot(SlotError::KekMissing(_)))
    ));
}

#[tokio::test]
async fn what_is_wrong_with_a_tpm_is_said() {
    let Some(tpm) = Tpm::start() else { return };
    let other = tpm.folder.path().join("other");
    drop(Vault::create(&tpm.vault(), tpm.config()).unwrap());

    // It is taken.
    let again = Vault::create(&other, tpm.config());
    let taken = matches!(again, Err(OpenVaultError::Slot(SlotError::NotEmpty(_))));
    assert!(taken, "{again:?}");
    // Another index is empty.
    let elsewhere = TpmIndex::new(0x0150_0020).unwrap().over(tpm.tcti());
    let elsewhere = SlotConfig::at(SlotLocation::Tpm(elsewhere));
    let missing = Vault::open(&tpm.vault(), elsewhere);
    assert!(matches!(missing, Err(OpenVaultError::Slot(SlotError::Missing(_)))), "{missing:?}");

    let said =
        |index: TpmIndex| match Vault::open(&tpm.vault(), SlotConfig::at(SlotLocation::Tpm(index)))
        {
            Err(error @ OpenVaultError::Slot(SlotError::Device { .. })) => error.to_string(),
            other => panic!("{other:?}"),
        };
    let told = said(tpm.index().with_auth(auth("cuckoo")));
    assert!(told.contains("authorization failure") && !told.contains("cuckoo"), "{told}");
    // And nothing is harmed.
    drop(Vault::open(&tpm.vault(), tpm.config()).unwrap());
    let told = said(tpm.index().over("swtpm:path=/nowhere"));
    assert!(told.contains("tpm:0x01500016") && told.contains("/nowhere"), "{told}");
}

/// One that a newer program wrote is not called damaged, and is left as it is.
#[tokio::test]
async fn a_sector_of_a_newer_format_in_a_tpm_is_named_as_such() {
    let Some(tpm) = Tpm::start() else { return };
    drop(Vault::create(&tpm.vault(), tpm.config()).unwrap());
    for index in ["0x01500016", "0x01500017"] {
        let whole = tpm.sector(index);
        let newer = crate::shared::of_format(&whole, 5);
        tpm.write(index, &newer);
        for how in [OpenAs::Known, OpenAs::TheOne, OpenAs::ReadOnly] {
            let opened = Vault::open_as(&tpm.vault(), tpm.config(), how);
            let newer = matches!(
                opened,
                Err(OpenVaultError::Vault(VaultError::NewerFormat { found: 5, known: 4, .. }))
            );
            assert!(newer, "{opened:?}");
        }
        assert!(tpm.sector(index) == newer);
        tpm.write(index, &whole);
    }
    drop(Vault::open(&tpm.vault(), tpm.config()).unwrap());
}

/// The number of the opening is in the TPM as well.
#[tokio::test]
async fn a_copied_folder_over_a_slot_in_a_tpm_is_refused_and_can_get_one_of_its_own() {
    let Some(tpm) = Tpm::start() else { return };
    let vault = Vault::create(&tpm.vault(), tpm.config()).unwrap();
    let kept = key_of(&vault, "user-1").await;
    drop(vault);
    let staging = tpm.folder.path().join("staging");
    copy(&tpm.vault(), &staging);
    let refused = Vault::open(&staging, tpm.config());
    assert!(matches!(refused, Err(OpenVaultError::FolderCopied { .. })), "{refused:?}");
    drop(Vault::open(&tpm.vault(), tpm.config()).unwrap());
    let moved = tpm.folder.path().join("moved");
    std::fs::rename(tpm.vault(), &moved).unwrap();
    let refused = Vault::open(&staging, tpm.config());
    assert!(matches!(refused, Err(OpenVaultError::FolderOld(_))), "{refused:?}");

    let before = tpm.sector("0x01500016");
    let vault = Vault::open_as(&staging, tpm.config(), OpenAs::ReadOnly).unwrap();
    assert!(matches!(vault.opening_key(kept), Ok(KeyLookup::Live { .. })));
    drop(vault);
    let own = TpmIndex::new(0x0150_0030).unwrap().over(tpm.tcti());
    let own = || SlotConfig::at(SlotLocation::Tpm(own.clone()));
    let vault = Vault::give_own_slot(&staging, tpm.config(), own()).unwrap();
    forget(&vault, "user-1").await;
    drop(vault);
    assert_eq!(before, tpm.sector("0x01500016"));
    let vault = Vault::open(&moved, tpm.config()).unwrap();
    assert!(matches!(vault.opening_key(kept), Ok(KeyLookup::Live { .. })));
    drop(Vault::open(&staging, own()).unwrap());
}

/// The lock was a file, in another folder for a service than for a login session.
#[tokio::test]
async fn a_service_and_a_login_session_opened_one_slot_in_a_tpm_at_once() {
    let Some(tpm) = Tpm::start() else { return };
    let world = crate::world::World::new();
    let run = |runtime: &str, temporary: &str, args: &[&str]| -> crate::world::Ran {
        let mut command = world.command(&[&["--root", "tpm:0x01500016"], args].concat());
        for folder in [runtime, temporary] {
            std::fs::create_dir_all(world.path(folder)).unwrap();
        }
        command.env("XDG_RUNTIME_DIR", world.path(runtime)).env("TMPDIR", world.path(temporary));
        command.env("TPM2TOOLS_TCTI", tpm.tcti()).env("OUBLIETTE_TPM_AUTH", "owl");
        command.output().unwrap().into()
    };
    let made = run("session", "a", &["append", "s-1", "T", "--data", "1"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    copy(&world.path("oubliette-data"), &world.path("copied"));
    let open = Vault::open_as(&world.path("copied/vault"), tpm.config(), OpenAs::TheOne).unwrap();
    let second = run("service", "b", &["read", "s-1"]);
    assert!(second.code == 5 && second.stderr.contains("in use by process"), "{}", second.stderr);
    let holder = format!("process {}", std::process::id());
    assert!(second.stderr.contains(&holder), "{}", second.stderr);
    drop(open);
}

#[test]
fn an_index_that_is_not_the_owners_is_refused() {
    assert!("tpm:0x01500016".parse::<TpmIndex>().is_ok());
    for text in ["tpm:", "0x1c00002", "tpm:0x81000001", "16", "tpm:0x01bfffff", "0x"] {
        assert!(text.parse::<TpmIndex>().is_err(), "{text}");
    }
}
