//! The file, and what lies where a vault is restored to.

use super::*;
use crate::vault::{Kek, Passphrase, SlotConfig, Successor, root::Slot};

#[tokio::test]
async fn the_file_is_private_and_holds_nothing_in_clear() {
    let place = Place::new();
    let vault = place.vault();
    let (living, _) = lived_in(&vault).await;
    place.back_up(&vault, "copy.age").await.unwrap();
    let path = place.path("copy.age");
    for secret in living.iter().map(|key| key.secret()) {
        assert!(!finds(&path, secret.as_slice()));
    }
    assert!(!finds(&path, b"user-1") && !finds(&path, vault.id().0.as_bytes()));
    assert!(!finds(&path, vault.shared().disk.tree().identity().as_slice()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
    // No draft is left.
    let names = std::fs::read_dir(place.dir.path()).unwrap();
    let drafts =
        names.filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().contains(".part"));
    assert_eq!(drafts.count(), 0);
}

#[tokio::test]
async fn nothing_is_replaced_by_a_backup() {
    let place = Place::new();
    let vault = place.vault();
    std::fs::write(place.path("taken"), b"precious").unwrap();
    let refused = place.back_up(&vault, "taken").await;
    assert!(matches!(refused, Err(BackupError::Exists(_))), "{refused:?}");
    assert_eq!(std::fs::read(place.path("taken")).unwrap(), b"precious");
    let refused = place.back_up(&vault, "no/such/folder").await;
    assert!(matches!(refused, Err(BackupError::Io { .. })), "{refused:?}");
    assert!(vault.backups().unwrap().is_empty());
}

/// A name that is taken while the backup is being made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_fails_leaves_no_file_and_no_entry() {
    let place = Place::new();
    let vault = Vault::in_memory().unwrap();
    let many = futures::future::join_all((0..1200).map(|n| {
        let vault = vault.clone();
        async move { key(&vault, &format!("t{n}"), "user-2").await.unwrap() }
    }));
    many.await;
    let taken = place.path("copy.age");
    let take = taken.clone();
    let progress = move |_| std::fs::write(&take, b"precious").unwrap();
    let refused = vault.back_up(&taken, &place.recipients(), in_days(1), progress).await;
    assert!(matches!(refused, Err(BackupError::Exists(_))), "{refused:?}");
    assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
    assert!(vault.backups().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 2, "key and precious");
    // The next one is not hindered.
    place.back_up(&vault, "second.age").await.unwrap();
}

#[tokio::test]
async fn a_vault_that_is_there_is_not_touched() {
    let place = Place::new();
    let vault = place.vault();
    key(&vault, "user-1", "user-1").await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    drop(vault);
    let before = std::fs::read(place.path("root")).unwrap();
    let backup = place.read("copy.age").unwrap();
    let refused = backup.restore(&place.path("vault"), &place.path("root"), |_| {});
    assert!(matches!(refused, Err(BackupError::VaultThere(_))), "{refused:?}");
    assert_eq!(std::fs::read(place.path("root")).unwrap(), before);
    Vault::open(&place.path("vault"), &place.path("root")).unwrap();
}

/// Some editors put a byte-order mark before a text. What people may have opened is read so.
#[tokio::test]
async fn a_mark_before_a_text_is_no_damage() {
    let place = Place::new();
    let vault = place.vault();
    let marked = |name: &str| {
        let text = std::fs::read(place.path(name)).unwrap();
        std::fs::write(place.path(name), [b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
        place.path(name)
    };
    assert_eq!(Identities::from_file(&marked("key")).unwrap().0.len(), 1);
    std::fs::write(place.path("to"), place.identity.to_public().to_string()).unwrap();
    let mut recipients = Recipients::default();
    recipients.add_file(&marked("to")).unwrap();
    assert_eq!(recipients.texts(), place.recipients().texts());
    let successor = Successor::generate(vault.id()).unwrap();
    successor.save(&place.path("successor")).unwrap();
    assert_eq!(Successor::load(&marked("successor")).unwrap().id(), successor.id());
    drop(vault);
    marked("vault/vault.json");
    drop(Vault::open(&place.path("vault"), &place.path("root")).unwrap());
    // One is passed over, and nothing else.
    assert!(Vault::open(&place.path("vault"), &place.path("root")).is_ok());
    marked("vault/vault.json");
    let twice = Vault::open(&place.path("vault"), &place.path("root"));
    assert!(matches!(twice, Err(OpenVaultError::Vault(VaultError::Damaged(_)))), "{twice:?}");
    std::fs::write(place.path("to"), [0xff, 0xfe, 0x61, 0]).unwrap();
    let told = recipients.add_file(&place.path("to")).unwrap_err();
    assert!(matches!(told, BackupError::NotARecipient { .. }), "{told}");
}

/// The older root is erased by it: with it, an old copy of the pages could be read.
#[tokio::test]
async fn a_slot_of_the_same_vault_is_overwritten() {
    let place = Place::new();
    let vault = place.vault();
    let kept = key(&vault, "user-1", "user-1").await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    forget(&vault, "nobody").await;
    let before = vault.shared().disk.tree().epoch().unwrap();
    drop(vault);
    let (folder, root) = (place.path("vault"), place.path("root"));
    let old = std::fs::read(&root).unwrap()[104..136].to_vec();
    assert!(finds(&root, &old));
    std::fs::remove_dir_all(&folder).unwrap();
    let restored = place.read("copy.age").unwrap().restore(&folder, &root, |_| {}).unwrap();
    assert!(restored.epoch > before);
    assert!(!finds(&root, &old));
    live(Vault::open(&folder, &root).unwrap().opening_key(kept.id()));
}

/// Neither the key-encryption key of the old slot is needed, nor does a mirror keep its root.
#[tokio::test]
async fn a_slot_is_restored_over_one_that_was_wrapped_and_its_mirrors_with_it() {
    let place = Place::new();
    let (folder, root, mirror) = (place.path("vault"), place.path("root"), place.path("mirror"));
    let vault = place.vault();
    let kept = key(&vault, "user-1", "user-1").await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    vault.add_mirror(&mirror).await.unwrap();
    vault.set_kek(&Kek::Passphrase, Passphrase::new("owl".to_owned()).as_ref()).await.unwrap();
    drop(vault);
    let old = std::fs::read(&mirror).unwrap()[104..136].to_vec();
    std::fs::remove_dir_all(&folder).unwrap();

    std::fs::write(place.path("kek"), [3; 32]).unwrap();
    let slot = || SlotConfig::from(&root).with_kek(Kek::File(place.path("kek")), None);
    place.read("copy.age").unwrap().restore(&folder, slot(), |_| {}).unwrap();
    assert!(!finds(&root, &old) && !finds(&mirror, &old));
    assert!(matches!(
        Vault::open(&folder, &root),
        Err(OpenVaultError::Slot(SlotError::KekMissing(_)))
    ));
    let vault = Vault::open(&folder, slot()).unwrap();
    live(vault.opening_key(kept.id()));
    assert!(vault.stale_mirrors().unwrap().is_empty());
    assert_eq!(vault.root_slot().unwrap().mirrors.len(), 1);
}

/// Also where it is but a mirror: production would find a newer root in it than in its slot.
#[tokio::test]
async fn a_slot_or_a_mirror_that_a_vault_may_work_under_is_left_alone() {
    let place = Place::new();
    let (root, mirror) = (place.path("root"), place.path("mirror"));
    let vault = place.vault();
    let kept = key(&vault, "user-1", "user-1").await.unwrap();
    vault.add_mirror(&mirror).await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    drop(vault);
    let bytes = || [&root, &mirror].map(|file| std::fs::read(file).unwrap());
    let before = bytes();
    let elsewhere = SlotConfig::from(&place.path("restored.root")).with_mirror(&mirror);
    for (slot, named) in [(SlotConfig::from(&root), &root), (elsewhere, &mirror)] {
        let backup = place.read("copy.age").unwrap().overwriting_slot(false);
        let refused = backup.restore(&place.path("restored"), slot, |_| {});
        match refused {
            Err(BackupError::SlotInUse { place, .. }) => assert_eq!(place, named.to_str().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert!(bytes() == before);
    assert!(!place.path("restored").exists() && !place.path("restored.root").exists());
    live(Vault::open(&place.path("vault"), &root).unwrap().opening_key(kept.id()));
}

/// The draft shows that the slot is its own; a draft over another slot shows nothing.
#[tokio::test]
async fn a_restoration_that_was_cut_off_is_done_again_over_its_own_slot_alone() {
    let place = Place::new();
    let vault = place.vault();
    let kept = key(&vault, "user-1", "user-1").await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    drop(vault);
    let restore = |root: &str| {
        let backup = place.read("copy.age").unwrap().overwriting_slot(false);
        backup.prepare(&place.path("restored"), SlotConfig::from(&place.path(root)), |_| {})
    };
    // Killed before the header says whose vault it is.
    drop(restore("restored.root").unwrap());
    let refused = restore("root");
    assert!(matches!(refused, Err(BackupError::SlotInUse { .. })), "{refused:?}");
    live(Vault::open(&place.path("vault"), &place.path("root")).unwrap().opening_key(kept.id()));
    restore("restored.root").unwrap().complete().unwrap();
    live(place.restored().opening_key(kept.id()));
}

#[tokio::test]
async fn a_slot_of_another_vault_or_of_nobody_knows_whom_is_refused() {
    let place = Place::new();
    place.back_up(&place.vault(), "copy.age").await.unwrap();
    drop(Vault::create(&place.path("others"), &place.path("others.root")).unwrap());
    let restore = |root: &str| {
        place.read("copy.age").unwrap().restore(&place.path("restored"), &place.path(root), |_| {})
    };
    let before = std::fs::read(place.path("others.root")).unwrap();
    let refused = restore("others.root");
    assert!(matches!(refused, Err(BackupError::SlotThere { .. })), "{refused:?}");
    assert_eq!(std::fs::read(place.path("others.root")).unwrap(), before);
    let mut damaged = before;
    damaged[40] ^= 1;
    damaged[4096 + 40] ^= 1;
    std::fs::write(place.path("others.root"), &damaged).unwrap();
    assert!(matches!(restore("others.root"), Err(BackupError::SlotThere { .. })));
    assert_eq!(std::fs::read(place.path("others.root")).unwrap(), damaged);
    assert!(!place.path("restored").exists());
    // A slot that was made and never written is what a crash leaves just before the end.
    drop(Slot::create(SlotConfig::from(&place.path("blank"))).unwrap());
    restore("blank").unwrap();
    Vault::open(&place.path("restored"), &place.path("blank")).unwrap();
}

/// What an attempt that was cut off leaves is in nobody's way.
#[tokio::test]
async fn a_draft_that_is_left_is_made_anew() {
    let place = Place::new();
    let vault = place.vault();
    let kept = key(&vault, "user-1", "user-1").await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    let draft = place.path("restored");
    std::fs::create_dir_all(draft.join("pages.sqlite")).unwrap();
    std::fs::create_dir_all(draft.join("pages/blobs")).unwrap();
    std::fs::write(draft.join("pages/db"), b"half of it").unwrap();
    std::fs::write(draft.join("lock"), b"4711").unwrap();
    // Without a header they may be what is left of a vault.
    let refused = place.restore("copy.age");
    assert!(matches!(refused, Err(BackupError::VaultThere(_))), "{refused:?}");
    assert!(draft.join("pages/db").exists() && !place.path("restored.root").exists());
    let header = r#"{"kind":"oubliette vault","format":1,"vault":null,"pages":"sled"}"#;
    std::fs::write(draft.join("vault.json"), &header[..40]).unwrap();
    assert!(matches!(place.restore("copy.age"), Err(BackupError::VaultThere(_))));
    std::fs::write(draft.join("vault.json"), header.replace(":1,", ":2,")).unwrap();
    assert!(matches!(place.restore("copy.age"), Err(BackupError::VaultThere(_))));
    std::fs::write(draft.join("vault.json"), header).unwrap();
    place.restore("copy.age").unwrap();
    assert!(!draft.join("pages.sqlite").exists());
    live(place.restored().opening_key(kept.id()));
}
