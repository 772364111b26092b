//! What must hold of backups.

mod bad;
mod doubt;
mod eras;
mod fenced;
mod files;
mod load;
mod masked;
mod scale;
mod signing;
mod spared;
mod vectors;

use std::path::{Path, PathBuf};

use super::{BackupError, Identities, Recipients, Restored, VerifiedBackup};
use crate::{
    event::Timestamp,
    vault::{Backup, MemoKind, OpenVaultError, SlotError, Vault, VaultError, tests::*},
};

const DAY: i64 = 86_400_000_000;

fn in_days(days: i64) -> Timestamp {
    Timestamp::from_micros(Timestamp::now().as_micros() + days * DAY)
}

/// A folder with a key pair, and room for a vault and its backups.
struct Place {
    dir: tempfile::TempDir,
    identity: age::x25519::Identity,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = age::x25519::Identity::generate();
        let place = Self { dir, identity };
        place.write_identity("key", &place.identity);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_identity(&self, name: &str, identity: &age::x25519::Identity) {
        use age::secrecy::ExposeSecret;
        let text = format!("# created: today\n{}\n", identity.to_string().expose_secret());
        std::fs::write(self.path(name), text).unwrap();
    }

    fn recipients(&self) -> Recipients {
        let mut recipients = Recipients::default();
        recipients.add(&self.identity.to_public().to_string()).unwrap();
        recipients
    }

    fn identities(&self) -> Identities {
        Identities::from_file(&self.path("key")).unwrap()
    }

    fn vault(&self) -> Vault {
        Vault::create(&self.path("vault"), &self.path("root")).unwrap()
    }

    async fn back_up(&self, vault: &Vault, name: &str) -> Result<Backup, BackupError> {
        vault.back_up(&self.path(name), &self.recipients(), in_days(90), |_| {}).await
    }

    /// A backup that may overwrite the slot of the vault that is gone.
    fn read(&self, name: &str) -> Result<VerifiedBackup, BackupError> {
        let backup = VerifiedBackup::read(&self.path(name), self.identities())?;
        Ok(backup.overwriting_slot(true))
    }

    fn restore(&self, name: &str) -> Result<Restored, BackupError> {
        self.read(name)?.restore(&self.path("restored"), &self.path("restored.root"), |_| {})
    }

    fn restored(&self) -> Vault {
        Vault::open(&self.path("restored"), &self.path("restored.root")).unwrap()
    }

    /// A file sealed to the one recipient, with this in it.
    fn seal(&self, name: &str, plaintext: &[u8]) {
        let sealed = age::encrypt(&self.identity.to_public(), plaintext).unwrap();
        std::fs::write(self.path(name), sealed).unwrap();
    }

    /// The plaintext of a backup.
    fn open(&self, name: &str) -> Vec<u8> {
        age::decrypt(&self.identity, &std::fs::read(self.path(name)).unwrap()).unwrap()
    }
}

fn finds(file: &Path, needle: &[u8]) -> bool {
    std::fs::read(file).unwrap().windows(needle.len()).any(|window| window == needle)
}

/// A vault with a bit of everything.
async fn lived_in(
    vault: &Vault,
) -> (Vec<std::sync::Arc<crate::crypto::DataKey>>, Vec<crate::crypto::KeyId>) {
    let mut living = Vec::new();
    for n in 0..20 {
        living.push(key(vault, &format!("stream-{n}"), &format!("user-{}", n % 7)).await.unwrap());
    }
    let mut dead = Vec::new();
    for n in 0..4 {
        let whose = format!("gone-{n}");
        dead.push(key(vault, &whose, &whose).await.unwrap().id());
        forget(vault, &whose).await;
    }
    vault.put_memo(MemoKind::Journal, [1; 16], &[7; 40_000]).await.unwrap();
    let change = crate::event::OwnerChange::Add(subject("user-1"));
    claims::owned(vault, "account-1", change, true).await.unwrap();
    (living, dead)
}

#[tokio::test]
async fn a_backup_brings_back_everything_under_the_same_ids() {
    let place = Place::new();
    let vault = place.vault();
    let (living, dead) = lived_in(&vault).await;
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    assert_eq!(made.keys, Some(20));
    assert_eq!(vault.backups().unwrap(), std::slice::from_ref(&made));

    let restored = place.restore("copy.age").unwrap();
    assert_eq!((restored.vault, restored.keys), (vault.id(), 20));
    assert_eq!(restored.backup, made, "it knows of the backup that it comes from, as complete");
    assert!(restored.epoch > made.epoch);
    let again = place.restored();
    assert_eq!(again.id(), vault.id());
    for kept in &living {
        assert_eq!(live(again.opening_key(kept.id())).secret(), kept.secret());
    }
    for id in dead {
        assert_eq!(shredded(again.opening_key(id)), shredded(vault.opening_key(id)));
    }
    assert!(matches!(key(&again, "gone-1", "gone-1").await, Err(VaultError::Forgotten { .. })));
    assert_eq!(again.memos(MemoKind::Journal).unwrap()[0].1.as_slice(), [7; 40_000]);
    assert_eq!(again.dependents(&subject("user-1")).unwrap(), [subject("account-1")]);
    let state = again.subject_state(&subject("account-1")).unwrap();
    assert_eq!(state, vault.subject_state(&subject("account-1")).unwrap());
    assert_eq!(state.tenures[0].owners[0].unsettled, None);
    assert_eq!(again.backups().unwrap(), [made]);
    // It goes on as any vault.
    key(&again, "new", "new").await.unwrap();
    forget(&again, "user-1").await;
    drop(again);
    drop(place.restored());
}

#[tokio::test]
async fn an_empty_vault_can_be_restored_too() {
    let place = Place::new();
    place.back_up(&place.vault(), "copy.age").await.unwrap();
    assert_eq!(place.restore("copy.age").unwrap().keys, 0);
    key(&place.restored(), "a", "a").await.unwrap();
}

#[tokio::test]
async fn every_recipient_can_open_it_and_nobody_else() {
    let place = Place::new();
    let vault = place.vault();
    key(&vault, "a", "a").await.unwrap();
    let other = age::x25519::Identity::generate();
    let file = format!("# two of us\n\n{}\n{}\n", place.identity.to_public(), other.to_public());
    std::fs::write(place.path("recipients"), file).unwrap();
    let mut recipients = Recipients::default();
    recipients.add_file(&place.path("recipients")).unwrap();
    let path = place.path("copy.age");
    let made = vault.back_up(&path, &recipients, in_days(1), |_| {}).await.unwrap();
    assert_eq!(made.recipients.len(), 2);
    place.read("copy.age").unwrap();
    place.write_identity("other", &other);
    let identities = |name| Identities::from_file(&place.path(name)).unwrap();
    VerifiedBackup::read(&path, identities("other")).unwrap();
    place.write_identity("stranger", &age::x25519::Identity::generate());
    let refused = VerifiedBackup::read(&path, identities("stranger"));
    assert!(matches!(refused, Err(BackupError::OtherRecipient(_))), "{refused:?}");
}

/// What an erasure may say of backups: which still hold what it destroyed.
#[tokio::test]
async fn a_backup_counts_until_it_is_retired_and_only_if_it_was_begun_before() {
    let place = Place::new();
    let vault = place.vault();
    key(&vault, "user-1", "user-1").await.unwrap();
    let before = place.back_up(&vault, "before.age").await.unwrap();
    destroy(&vault, crate::event::ErasureId::now(), "user-1", crate::vault::Dead::All)
        .await
        .unwrap();
    let epoch = vault.shared().disk.tree().epoch().unwrap();
    let after = place.back_up(&vault, "after.age").await.unwrap();
    let ids = |backups: Vec<Backup>| backups.iter().map(|b| b.backup).collect::<Vec<_>>();
    assert_eq!(ids(vault.backups_before(Some(epoch)).unwrap()), [before.backup]);
    assert_eq!(ids(vault.backups_before(None).unwrap()), [before.backup, after.backup]);

    let retired = vault.retire_backup(before.backup).await.unwrap().unwrap();
    assert_eq!(vault.retire_backup(before.backup).await.unwrap().unwrap(), retired);
    assert_eq!(ids(vault.backups_before(Some(epoch)).unwrap()), []);
    let unknown = crate::vault::BackupId(uuid::Uuid::now_v7());
    assert_eq!(vault.retire_backup(unknown).await.unwrap(), None);

    // Its day destroys no file; but what is announced from then on need not be readable with it.
    let now = Timestamp::now();
    assert!(after.is_outstanding(now) && !after.is_outstanding(in_days(91)));
    assert_eq!(after.state(in_days(91)), crate::vault::BackupState::Expired);
}
