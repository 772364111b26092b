//! How the root is kept: methods of [`Vault`].

use std::path::Path;

#[cfg(feature = "tpm")]
use super::TpmIndex;
use super::{
    Kek, MirrorState, Passphrase, SlotError, SlotState, Vault,
    commit::committer::Job,
    root::{KekSecret, SlotChange},
};
use crate::runtime;

impl Vault {
    /// Where the root slot is, and the state of it and its mirrors.
    ///
    /// # Errors
    /// [`SlotError::Poisoned`].
    pub fn root_slot(&self) -> Result<SlotState, SlotError> {
        self.shared().disk.tree().slot()
    }

    /// The mirrors of the root slot that may hold an earlier root: until they are overwritten, what
    /// was forgotten since can be read with them. And its counter, if that does not tell the present
    /// epoch: a rollback to before what was forgotten since would not be detected.
    ///
    /// # Errors
    /// [`SlotError::Poisoned`].
    pub fn stale_mirrors(&self) -> Result<Vec<MirrorState>, SlotError> {
        let SlotState { mut mirrors, counter, .. } = self.root_slot()?;
        mirrors.extend(counter);
        mirrors.retain(|mirror| mirror.stale);
        Ok(mirrors)
    }

    /// Tries again to overwrite the mirrors that could not be reached, and to raise the counter.
    /// Opening does the same.
    ///
    /// # Errors
    /// Where the slot itself fails; that a mirror still cannot be reached is no error.
    pub async fn retry_mirrors(&self) -> Result<(), SlotError> {
        if self.is_read_only() {
            // Nothing was written that they could have missed.
            return Ok(());
        }
        self.change_slot(SlotChange::Retry).await
    }

    /// Wraps the root by another key-encryption key. The tree stays as it is, and so does the root:
    /// with an earlier copy of the slot and the earlier key it can still be had, until the
    /// next erasure.
    ///
    /// # Errors
    /// [`SlotError::KekUnusable`], after which nothing has changed.
    pub async fn set_kek(
        &self,
        kek: &Kek,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), SlotError> {
        let (kek, passphrase) = (kek.clone(), passphrase.cloned());
        // A command may take its time.
        let read = move || KekSecret::read(&kek, passphrase.as_ref());
        let secret = runtime::spawn_blocking(read)?.await??;
        self.change_slot(SlotChange::Kek(secret)).await
    }

    /// Makes a mirror of the root slot; where there is one already that holds the present root, takes it on. Whether it is on a
    /// device of its own, [`MirrorState::beside`] tells afterwards.
    ///
    /// # Errors
    /// [`SlotError::NoFolder`]: none is made for a mirror, for it may be the mount point of a medium that is away;
    /// [`SlotError::Within`] where it would be in the vault's folder; [`SlotError::Mirror`], also where the file holds
    /// another root of this vault's: it may be the slot of a folder that was copied.
    pub async fn add_mirror(&self, path: &Path) -> Result<(), SlotError> {
        self.change_slot(SlotChange::AddMirror(path.to_owned())).await
    }

    /// Wipes a mirror of the root slot and removes it. `lost`: it cannot be reached, and the
    /// caller vouches that it is destroyed.
    ///
    /// # Errors
    /// [`SlotError::Mirror`].
    pub async fn retire_mirror(&self, path: &Path, lost: bool) -> Result<(), SlotError> {
        self.change_slot(SlotChange::RetireMirror { path: path.to_owned(), lost }).await
    }

    /// Binds the root slot to a counter of a TPM, from the present epoch on: opening refuses a vault
    /// and a slot that are behind it. It is made where it is not there; each vault needs one of its
    /// own. Binding again is how the owner goes on after a rollback was dealt with.
    ///
    /// # Errors
    /// [`SlotError::Counter`], [`SlotError::Unsupported`] where it is bound to another one; after
    /// either nothing has changed.
    #[cfg(feature = "tpm")]
    pub async fn bind_counter(&self, counter: &TpmIndex) -> Result<(), SlotError> {
        self.change_slot(SlotChange::BindCounter(counter.clone())).await
    }

    /// Binds the root slot to no counter any more, and destroys the one that it was bound to. `lost`:
    /// it cannot be reached.
    ///
    /// # Errors
    /// [`SlotError::Counter`] where it cannot be destroyed; the slot no longer notes it.
    pub async fn release_counter(&self, lost: bool) -> Result<(), SlotError> {
        self.change_slot(SlotChange::ReleaseCounter { lost }).await
    }

    async fn change_slot(&self, change: SlotChange) -> Result<(), SlotError> {
        // The tree refuses where it was opened to be read.
        self.send(|reply| Job::Slot(change, reply)).await
    }
}
