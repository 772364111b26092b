//! Making, opening, moving and parting vaults.

use std::{path::Path, sync::Arc};

use super::{
    MemoKind, Moved, OpenAs, OpenVaultError, PageStoreKind, SlotConfig, Vault, VaultError,
    records::{disk::Disk, eras::Eras, memos, places},
    shared::Limits,
    tree::{Erasure, Tree},
};

impl Vault {
    /// Makes a vault: its pages in `folder`, in sled, the root slot where the configuration says (a path:
    /// in a file there, without mirrors, wrapped by nothing).
    ///
    /// # Errors
    /// [`OpenVaultError::NotEmpty`] where the folder is not empty, [`OpenVaultError::NotAFolder`];
    /// [`OpenVaultError::Slot`] where the slot exists, is in the folder, or is in a folder that is missing: none is
    /// made for a slot, for it may be the mount point of a medium that is away.
    pub fn create(folder: &Path, slot: impl Into<SlotConfig>) -> Result<Self, OpenVaultError> {
        Self::create_with(folder, slot, PageStoreKind::default())
    }

    /// [`Vault::create`], with its pages in this page store.
    ///
    /// # Errors
    /// Those of [`Vault::create`]; [`OpenVaultError::NoPageStore`].
    pub fn create_with(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        pages: PageStoreKind,
    ) -> Result<Self, OpenVaultError> {
        Ok(Self::over(Tree::create_at(folder, slot, pages)?.into(), Limits::default())?)
    }

    /// Moves the pages of a vault that is not open to another page store, and shows how many were
    /// copied. Each is read again before the new store takes the old one's place, and the vault must
    /// open. Root and keys stay as they are. A failure, or a crash at any moment, leaves the old
    /// store in force.
    ///
    /// # Errors
    /// Those of [`Vault::open`]; [`OpenVaultError::NoPageStore`], [`VaultError::DiskFull`].
    pub fn move_pages(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        to: PageStoreKind,
        progress: impl Fn(u64),
    ) -> Result<Moved, OpenVaultError> {
        Tree::open_as(folder, slot, OpenAs::Known)?.move_pages(folder, to, progress)
    }

    /// Opens a vault. Nothing is made, but mirrors that are asked for, and the slot where only a mirror
    /// of it is left: what is missing is an error.
    ///
    /// # Errors
    /// [`OpenVaultError::InUse`], [`OpenVaultError::NotFound`]; [`OpenVaultError::Slot`] where the slot is missing, is
    /// wrapped by another key, or is behind its counter; [`OpenVaultError::FolderCopied`],
    /// [`OpenVaultError::FolderOld`] and [`OpenVaultError::SlotOld`], where it is not certain that this is the
    /// folder that was opened last with the slot; [`OpenVaultError::Vault`] where a newer program wrote it, or its
    /// storage fails.
    pub fn open(folder: &Path, slot: impl Into<SlotConfig>) -> Result<Self, OpenVaultError> {
        Self::open_as(folder, slot, OpenAs::Known)
    }

    /// As [`Vault::open`], where the caller knows more of the folder, or wants less.
    ///
    /// # Errors
    /// As of [`Vault::open`].
    pub fn open_as(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        how: OpenAs,
    ) -> Result<Self, OpenVaultError> {
        let tree = Arc::new(Tree::open_as(folder, slot, how)?);
        if how == OpenAs::TheOne {
            let disk = Disk::new(Arc::clone(&tree));
            disk.put(memos::without_looked(&disk)?)?;
        }
        Ok(Self::over(tree, Limits::default())?)
    }

    /// Gives a copy of a vault's folder a root slot of its own, at `to`, with a fresh root, and opens
    /// it. From then on the two are vaults apart: what is forgotten in one lives on in the other.
    ///
    /// The slot `from`, which the copy had in common with the folder that it was copied from, is read
    /// and not written to; that folder may be open meanwhile.
    ///
    /// Both keep one id, and the secrets that come with it, because without them the copy's events
    /// would be a stranger's to it. The copy gets a key of its own to sign with: what it announces is not
    /// the other's word. Use them with two event stores: neither knows the keys that the other makes.
    ///
    /// # Errors
    /// [`OpenVaultError::OwnSlot`]; [`OpenVaultError::Slot`] where there is something at `to`, or it is in the folder;
    /// as of [`Vault::open`].
    pub fn give_own_slot(
        folder: &Path,
        from: impl Into<SlotConfig>,
        to: impl Into<SlotConfig>,
    ) -> Result<Self, OpenVaultError> {
        let tree = Arc::new(Tree::give_own_slot(folder, from.into(), to.into())?);
        let disk = Disk::new(Arc::clone(&tree));
        // It signs with a key of its own: otherwise what it announces would be the other's word, too.
        // Nor does it know what its store holds.
        let kinds = [MemoKind::SigningSecret, MemoKind::Owners].map(places::memos);
        let remove_ranges = kinds.into_iter().map(|kind| (kind.start, kind.end)).collect();
        let mut parting = Erasure { remove_ranges, ..Erasure::default() };
        // And names its keys by itself: both would make the same ids of different keys.
        parting.changes = Eras::load(&disk)?.begin()?.0;
        // All in one step, which is the one that writes the slot.
        disk.erase(parting)?;
        drop(disk);
        Ok(Self::over(tree, Limits::default())?)
    }

    /// A vault in memory, for tests and for trying things out.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn in_memory() -> Result<Self, VaultError> {
        Self::over(Tree::in_memory()?.into(), Limits::default())
    }
}
