//! A disk that is full, while people append and are forgotten: clear errors, nothing that was
//! acknowledged is lost, and with room again all goes on. Needs root, for a small file system of
//! its own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::{fs, path::Path, process::Command};

use common::*;
use oubliette::{
    event::Timestamp,
    service::{Access, DataFolder},
    vault::backup::{BackupError, Recipients},
};

/// A small file system, unmounted when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m,mode=700", "none"]).arg(at);
        mount.output().ok().filter(|done| done.status.success()).map(|_| Self(at))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let at = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(at.path()) else {
        eprintln!("SKIPPED: no small file system could be mounted; run as root");
        return;
    };
    let policy = at.path().join("bank.toml");
    fs::write(&policy, BANK).unwrap();
    let folder =
        DataFolder::at(at.path().join("data")).with_root(Some(at.path().join("slot/root")));
    drop(folder.open(Access::Create, Some(&policy)).await.unwrap());
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

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_fit_leaves_nothing_and_hinders_nobody() {
    let at = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(at.path()) else {
        eprintln!("SKIPPED: no small file system could be mounted; run as root");
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
    let expires = Timestamp::from_micros(i64::MAX / 2);
    let file = at.path().join("copy.age");
    let failed = vault.back_up(&file, &recipients, expires, |_| {}).await.unwrap_err();
    assert!(matches!(failed, BackupError::Io { .. }), "{failed}");
    assert!(failed.to_string().contains("No space left"), "not clear: {failed}");
    let left: Vec<_> = fs::read_dir(at.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["ballast"]);
    assert!(vault.backups().unwrap().is_empty());

    put(&bank, "user-9999", event("UserRegistered", r#"{"surname":"new"}"#)).await.unwrap();
    fs::remove_file(at.path().join("ballast")).unwrap();
    vault.back_up(&file, &recipients, expires, |_| {}).await.unwrap();
    drop(small);
}
