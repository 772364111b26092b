//! Restoring a backup that was verified.

use std::{cell::Cell, path::Path};

use super::{BackupError, VerifiedBackup};
use crate::{
    event::VaultId,
    vault::{
        Backup, MemoKind, Vault,
        records::{disk::parts, memos, places},
        root::{Slot, SlotConfig, SlotError},
        shared::Limits,
        tree::{FolderDraft, Seed, Tree, is_draft_under, is_free},
    },
};

/// After how many places progress is told.
const PLACES_PER_LOOK: u64 = 1024;

/// What a restoration made.
///
/// [`VerifiedBackup`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The vault: the same as the one that was backed up.
    pub vault: VaultId,
    /// The backup, as the restored vault's catalogue has it.
    pub backup: Backup,
    /// How many keys live in it.
    pub keys: u64,
    /// The epoch of its root, above that of the backup and of the slot that was there.
    pub epoch: u64,
}

impl VerifiedBackup {
    /// Makes a vault of it: pages in `folder`, under a fresh root key in the slot `root`. The
    /// vault and all of its keys have the ids that they had.
    ///
    /// Erasures since the backup are not in it: open the vault with the event store whose events
    /// it seals, which knows of them, before anyone reads.
    ///
    /// A crash leaves a draft in the folder, and no vault; restoring again is all it takes.
    ///
    /// # Errors
    /// [`BackupError::VaultThere`], [`BackupError::SlotThere`], [`BackupError::SlotInUse`] unless it is
    /// [to be overwritten](VerifiedBackup::overwriting_slot), and those of the file, which is read a
    /// second time.
    pub fn restore(
        self,
        folder: &Path,
        root: impl Into<SlotConfig>,
        progress: impl Fn(u64),
    ) -> Result<Restored, BackupError> {
        self.prepare(folder, root.into(), progress)?.complete()
    }

    /// As [`VerifiedBackup::restore`], but for the last step: no one finds the vault before
    /// [`Prepared::complete`], so that erasures since the backup can be applied first.
    ///
    /// # Errors
    /// As [`VerifiedBackup::restore`].
    pub fn prepare(
        mut self,
        folder: &Path,
        slot: SlotConfig,
        progress: impl Fn(u64),
    ) -> Result<Prepared, BackupError> {
        if !is_free(folder)? {
            return Err(BackupError::VaultThere(folder.to_owned()));
        }
        let vault = self.header.vault;
        slot.refuse_within(folder)?;
        let (slot, left) = self.slot_there(slot.of_vault_in(folder), folder)?;
        let epoch = self.header.epoch.max(left) + 1;
        let backup = Backup { keys: Some(self.walked_keys), ..self.entry.clone() };
        let stem = places::memo(MemoKind::Backup, backup.backup.0.as_bytes());
        self.put(parts(&stem, &memos::stored(&backup.to_memo()?))?);
        // What the lost vault made since is of another era, and so no id of it is taken for one of its own.
        let (era, _) = self.eras().begin()?;
        self.put(era);
        let seed = Seed { vault, identity: self.header.identity.clone(), epoch };
        let (loaded, keys) = (Cell::new(0), Cell::new(0));
        let values = self.values()?.inspect(|value| {
            loaded.set(loaded.get() + 1);
            let is_key = value.as_ref().is_ok_and(|(place, _)| places::is_key(place));
            keys.set(keys.get() + u64::from(is_key));
            if loaded.get() % PLACES_PER_LOOK == 0 {
                progress(loaded.get());
            }
        });
        let (tree, draft) = Tree::load_at(folder, slot, seed, values)?;
        let restored = Restored { vault, backup, keys: keys.get(), epoch };
        let vault = Vault::over(tree.into(), Limits::default())?;
        Ok(Prepared { vault, draft, restored })
    }

    /// The slot, and the newest epoch that was in it: this vault's, or never written.
    ///
    /// That it is this vault's does not say that it is this folder's: on the machine where the vault
    /// lives, a copied manifest and the environment both lead to the slot in use. Nothing in a folder
    /// without a vault proves that it is not a copy, but for the draft that wrote the slot.
    fn slot_there(&self, slot: SlotConfig, folder: &Path) -> Result<(Slot, u64), BackupError> {
        let vault = self.header.vault;
        let (slot, held) = Slot::renew(slot, vault).map_err(|error| match error {
            source @ (SlotError::OfAnotherVault { .. }
            | SlotError::Damaged(_)
            | SlotError::NewerFormat { .. }
            | SlotError::NewerMirror { .. }) => {
                BackupError::SlotThere { vault: vault.to_string(), source }
            }
            error => BackupError::from(error),
        })?;
        let in_use = match held.roots.first() {
            _ if self.overwriting_slot => None,
            Some(_) if is_draft_under(folder, &held.roots) => None,
            Some((place, _)) => Some(place),
            None => held.counter.as_ref(),
        };
        match in_use {
            Some(place) => {
                Err(BackupError::SlotInUse { vault: vault.to_string(), place: place.clone() })
            }
            None => Ok((slot, held.epoch)),
        }
    }
}

/// A vault that is complete, but for the header that makes it one.
///
/// ```
/// use std::path::Path;
///
/// use oubliette::{vault::{SlotConfig, backup::{BackupError, VerifiedBackup}}, *};
/// # fn restore(verified: VerifiedBackup) -> Result<(), BackupError> {
/// let slot = SlotConfig::from(Path::new("/media/stick/bank.root"));
/// let prepared = verified.prepare(Path::new("vault"), slot, |_| {})?;
/// // Open a layer over `prepared.vault()`, which applies the erasures since. Then others may find it:
/// let restored = prepared.complete()?;
/// println!("{} keys", restored.keys);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prepared {
    vault: Vault,
    draft: FolderDraft,
    restored: Restored,
}

impl Prepared {
    /// The vault, open for what is to be done before anyone finds it.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Closes the vault, and says whose it is.
    pub fn complete(self) -> Result<Restored, BackupError> {
        drop(self.vault);
        self.draft.complete(self.restored.vault)?;
        Ok(self.restored)
    }

    /// Removes it again.
    pub fn abandon(self) {
        drop(self.vault);
        self.draft.remove();
    }
}
