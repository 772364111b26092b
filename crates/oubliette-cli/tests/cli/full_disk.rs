//! A disk that is full, while people append and are forgotten: clear errors, nothing that was
//! acknowledged is lost, and with room again all goes on. Needs root, for a small file system of
//! its own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

use crate::common::*;
use crate::skip::skipped;
use crate::world::{Ran, World};
use age::secrecy::ExposeSecret;
use oubliette::{
    event::{ErasureId, KeyId, Layout, PolicyDigest, Timestamp},
    vault::{
        OpenVaultError, PageStoreKind, Vault, VaultError,
        backup::{BackupError, Identities, Recipients, VerifiedBackup},
        internals::{Dead, Destruction, KeyLookup, KeyRequest, Loss, Plumbing as _},
    },
};
use oubliette_folder::{Access, DataFolder};

/// Promises that file systems can be mounted.
const DISKS: &str = "OUBLIETTE_REQUIRE_DISKS";

/// A small file system, unmounted when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m,mode=700", "none"]).arg(at);
        mount.output().ok().filter(|done| done.status.success()).map(|_| Self(at))
    }

    /// The same on ext4, in an image file: unmounting gives the loop device back.
    fn mount_ext4(image: &Path, at: &'a Path) -> Option<Self> {
        File::create(image).unwrap().set_len(12 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image).output();
        made.ok().filter(|done| done.status.success())?;
        let mount = Command::new("mount").args(["-o", "loop"]).arg(image).arg(at).output();
        mount.ok().filter(|done| done.status.success()).map(|_| Self(at))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

/// Fills the disk with a file, but for so many bytes.
fn fill(ballast: &Path, left: u64) {
    let mut file = File::create(ballast).unwrap();
    let mut length = 0;
    while let Ok(written) = file.write(&[1; 4096]) {
        length += written as u64;
    }
    file.sync_all().unwrap();
    file.set_len(length.saturating_sub(left)).unwrap();
}

async fn key_of(vault: &Vault, whose: &str) -> Result<KeyId, VaultError> {
    let request = KeyRequest {
        stream: &stream(whose),
        subject: &subject(whose),
        generation: None,
        layout: Layout::Inline,
        policy: PolicyDigest::default(),
    };
    Ok(vault.sealing_key(request, 1).await?.id())
}

async fn destroy(vault: &Vault, who: &[String]) -> Result<(), VaultError> {
    let losses = who.iter().map(|who| Loss { subject: subject(who), dead: Dead::All });
    let destruction = Destruction::new(ErasureId::now(), losses.collect());
    vault.destroy(&destruction, b"a note").await.map(drop)
}

/// The disk is full at some moment of a destruction. Whether it was done.
async fn full_while_destroying(at: &Path, left: u64) -> bool {
    let (folder, root, ballast) = (at.join("vault"), at.join("root"), at.join("ballast"));
    let vault = Vault::create(&folder, &root).unwrap();
    let names: Vec<String> = (0..300).map(|n| format!("user-{n}")).collect();
    let made = names.iter().map(|name| key_of(&vault, name));
    let ids: Vec<KeyId> = futures::future::try_join_all(made).await.unwrap();
    fill(&ballast, left);
    // From all over the tree.
    let losses = &names[..100];
    let done = destroy(&vault, losses).await;
    if let Err(error) = &done {
        assert!(matches!(error, VaultError::DiskFull(_)), "{error:?}");
        let refused = vault.opening_key(ids[200]);
        assert!(matches!(refused, Err(VaultError::Poisoned)), "{refused:?}");
    }
    drop(vault);

    fs::remove_file(&ballast).unwrap();
    let vault = Vault::open(&folder, &root).unwrap();
    let lives = |id: &KeyId| match vault.opening_key(*id).unwrap() {
        KeyLookup::Live { .. } => true,
        KeyLookup::Shredded { .. } => false,
        other => panic!("{other:?}"),
    };
    let living = ids[..100].iter().filter(|id| lives(id)).count();
    assert!(living == 0 || living == 100 && done.is_err(), "{living} of 100 live: {done:?}");
    assert!(ids[100..].iter().all(lives), "others are lost");
    key_of(&vault, "somebody-new").await.unwrap();
    destroy(&vault, losses).await.unwrap();
    assert!(!ids[..100].iter().any(lives));
    drop(vault);
    fs::remove_dir_all(&folder).unwrap();
    fs::remove_file(&root).unwrap();
    done.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_in_the_middle_of_a_destroy_forgets_all_or_nothing() {
    let at = tempfile::tempdir().unwrap();
    let mounted = at.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    for ext4 in [false, true] {
        let small = match ext4 {
            false => Small::mount(&mounted),
            true => Small::mount_ext4(&at.path().join("image"), &mounted),
        };
        let Some(small) = small else {
            skipped(
                DISKS,
                &format!("no small file system (ext4: {ext4}) could be mounted; run as root"),
            );
            continue;
        };
        let (mut full, mut done) = (0, 0);
        let mut left = 0;
        while done < 3 {
            if full_while_destroying(&mounted, left).await {
                done += 1;
            } else {
                full += 1;
            }
            left += 16 << 10;
        }
        println!("ext4 {ext4}: full {full} times, up to {} KiB left", left >> 10);
        assert!(full > 3, "the disk was never full");
        drop(small);
    }
}

/// A mere `read` on a full disk made sled call the vault damaged for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_while_a_vault_is_opened_damages_nothing() {
    let at = tempfile::tempdir().unwrap();
    let mut full: BTreeMap<String, u32> = BTreeMap::new();
    for (pages, left) in
        PageStoreKind::ALL.into_iter().flat_map(|pages| (0..24).map(move |n| (pages, n * 4096)))
    {
        let Some(small) = Small::mount(at.path()) else {
            skipped(DISKS, "no small file system could be mounted; run as root");
            return;
        };
        let (folder, root) = (at.path().join("vault"), at.path().join("root"));
        let vault = Vault::create_with(&folder, &root, pages).unwrap();
        let mut ids = Vec::new();
        for n in 0..40 {
            ids.push(key_of(&vault, &format!("user-{n}")).await.unwrap());
        }
        drop(vault);
        // Opening makes the log a segment longer. After that there is room for it again, and a
        // snapshot to be written.
        if left % 8192 == 0 {
            let vault = Vault::open(&folder, &root).unwrap();
            ids.push(key_of(&vault, "one-more").await.unwrap());
        }
        let ballast = at.path().join("ballast");
        fill(&ballast, left);
        for _ in 0..3 {
            if let Err(error) = Vault::open(&folder, &root) {
                *full.entry(pages.to_string()).or_default() += 1;
                assert!(
                    matches!(error, OpenVaultError::Vault(VaultError::DiskFull(_))),
                    "{pages}, {left}: {error:?}"
                );
                assert!(error.to_string().contains("nothing of the vault is damaged"));
            }
        }
        fs::remove_file(&ballast).unwrap();
        let vault = Vault::open(&folder, &root).unwrap();
        for id in &ids {
            assert!(matches!(vault.opening_key(*id), Ok(KeyLookup::Live { .. })));
        }
        key_of(&vault, "somebody-new").await.unwrap();
        drop(vault);
        drop(small);
    }
    println!("the disk was full while a vault was opened: {full:?}");
    assert!(full.len() == PageStoreKind::ALL.len(), "{full:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let at = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(at.path()) else {
        skipped(DISKS, "no small file system could be mounted; run as root");
        return;
    };
    let policy = at.path().join("bank.toml");
    fs::write(&policy, BANK).unwrap();
    fs::create_dir(at.path().join("slot")).unwrap();
    let folder = DataFolder::at(at.path().join("data"))
        .with_root(Some(at.path().join("slot/root")))
        .with_settings(Some(at.path().join("settings")));
    let parts = folder.open(Access::Create, Some(&policy)).await.unwrap();
    folder.adopt(parts.oubliette.vault().unwrap(), &parts.given.unwrap()).await.unwrap();
    drop(parts.oubliette);
    // Freed when there is to be room again.
    let ballast = at.path().join("ballast");
    fs::write(&ballast, vec![0; 4 << 20]).unwrap();

    let bank = folder.open(Access::Existing, None).await.unwrap().oubliette;
    let (mut acknowledged, mut failures) = (Vec::new(), Vec::new());
    let padding = "x".repeat(20_000);
    for n in 0..2_000 {
        let name = format!("user-{n}");
        let data = format!(r#"{{"id":{n},"surname":"s{n}x","long":"{padding}"}}"#);
        match put(&bank, &name, event("UserRegistered", &data)).await {
            Ok(_) => acknowledged.push(n),
            Err(error) => failures.push(error.to_string()),
        }
        if failures.len() > 5 {
            break;
        }
    }
    assert!(!failures.is_empty(), "the disk was never full");
    assert!(acknowledged.len() > 10, "it was full from the start");
    for failure in &failures {
        assert!(failure.contains("failed"), "not clear: {failure}");
        assert!(!failure.contains("xxx"), "something of a payload");
    }
    // Forgetting on a full disk: done, or an error; never half.
    let forgotten = bank.forget(&subject("user-3"), "asked").await;
    if let Err(error) = &forgotten {
        assert!(error.to_string().len() > 10, "not clear: {error}");
    }
    drop(bank);

    fs::remove_file(&ballast).unwrap();
    let bank = folder.open(Access::Existing, None).await.unwrap().oubliette;
    let decided = bank.erasures().unwrap();
    assert!(decided.iter().all(|record| record.done));
    assert!(forgotten.is_err() || decided.len() == 1);
    for n in acknowledged {
        let events = all(&bank, &format!("user-{n}")).await;
        let wanted = if n == 3 && decided.len() == 1 { "pt" } else { "c" };
        assert_eq!(shape(&events), wanted, "user-{n}");
        assert!(wanted == "pt" || text(&events[0]).contains(&format!("s{n}x")));
    }
    put(&bank, "user-9999", event("UserRegistered", r#"{"surname":"new"}"#)).await.unwrap();
    bank.forget(&subject("user-3"), "asked again").await.unwrap();
    assert_eq!(shape(&all(&bank, "user-3").await), "pt");
    drop(bank);
    drop(small);
}

/// The signal of it ended the program without a word.
#[test]
fn a_file_beyond_the_limit_of_its_size_is_an_error_and_damages_nothing() {
    let world = World::new();
    for dir in ["old", "new"] {
        if dir == "old" {
            world.ok(&["--dir", dir, "append", "user-1", "T"]);
        }
        let program = world.command(&["--dir", dir, "append", "user-1", "T"]);
        let mut limited = Command::new("sh");
        limited.current_dir(world.dir.path()).args(["-c", "ulimit -f 16; exec \"$@\"", "sh"]);
        limited.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        let ran = Ran::from(limited.output().unwrap());
        assert_eq!(ran.code, 1, "{dir}: {}", ran.stderr);
        assert!(ran.stderr.contains("error: "), "{dir}: {}", ran.stderr);
        world.ok(&["--dir", dir, "append", "user-1", "T"]);
        let whole = world.run(&["--dir", dir, "verify"]);
        assert_eq!(whole.code, 0, "{dir}: {}{}", whole.stdout, whole.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_fit_leaves_nothing_and_hinders_nobody() {
    let at = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(at.path()) else {
        skipped(DISKS, "no small file system could be mounted; run as root");
        return;
    };
    fs::write(at.path().join("ballast"), vec![0; 11 << 20]).unwrap();
    let bank = layer().await;
    let padding = "x".repeat(200);
    let many = (0..3_000).map(|n| {
        let (bank, name) = (bank.clone(), format!("user-{n}-{padding}"));
        async move { put(&bank, &name, event("T", "1")).await.unwrap() }
    });
    futures::future::join_all(many).await;
    let vault = bank.vault().unwrap();
    let mut recipients = Recipients::default();
    recipients.add(&age::x25519::Identity::generate().to_public().to_string()).unwrap();
    let expires: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    let file = at.path().join("copy.age");
    let failed = vault.back_up(&file, &recipients, expires, |_| {}).await.unwrap_err();
    assert!(matches!(failed, BackupError::Io { .. }), "{failed}");
    let told = oubliette::words::chain(&failed);
    assert!(told.contains("No space left"), "not clear: {told}");
    let left: Vec<_> = fs::read_dir(at.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["ballast"]);
    assert!(vault.backups().unwrap().is_empty());

    put(&bank, "user-9999", event("UserRegistered", r#"{"surname":"new"}"#)).await.unwrap();
    fs::remove_file(at.path().join("ballast")).unwrap();
    vault.back_up(&file, &recipients, expires, |_| {}).await.unwrap();
    drop(small);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_does_not_fit_leaves_no_vault_and_can_be_repeated() {
    let at = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(at.path()) else {
        skipped(DISKS, "no small file system could be mounted; run as root");
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let bank = layer().await;
    let many = (0..2_000).map(|n| {
        let (bank, name) = (bank.clone(), format!("user-{n}"));
        async move { put(&bank, &name, event("T", "1")).await.unwrap() }
    });
    futures::future::join_all(many).await;
    let identity = age::x25519::Identity::generate();
    let mut recipients = Recipients::default();
    recipients.add(&identity.to_public().to_string()).unwrap();
    let (file, key) = (elsewhere.path().join("copy.age"), elsewhere.path().join("key"));
    fs::write(&key, identity.to_string().expose_secret()).unwrap();
    let expires: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    bank.vault().unwrap().back_up(&file, &recipients, expires, |_| {}).await.unwrap();

    let (folder, root) = (at.path().join("vault"), at.path().join("root"));
    let restore = || {
        let backup = VerifiedBackup::read(&file, Identities::from_file(&key).unwrap()).unwrap();
        backup.restore(&folder, &root, |_| {})
    };
    let ballast = at.path().join("ballast");
    fs::write(&ballast, vec![0; (12 << 20) - (200 << 10)]).unwrap();
    let failed = restore().unwrap_err().to_string();
    assert!(failed.contains("the disk is full"), "not clear: {failed}");
    // What is there is the draft of one.
    assert!(Vault::open(&folder, &root).is_err());
    fs::remove_file(&ballast).unwrap();
    assert_eq!(restore().unwrap().keys, 2_000);
    assert_eq!(Vault::open(&folder, &root).unwrap().id(), bank.vault().unwrap().id());
    drop(small);
}
