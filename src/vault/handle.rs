//! The vault as its callers hold it.

use std::{path::Path, sync::Arc};

use zeroize::Zeroizing;

use super::{
    Claim, Destroyed, Destruction, InventoryEntry, KeyInfo, KeyRequest, KeyState, NoteKind,
    Opening, Standing, VaultError, VaultId,
};
use crate::{
    crypto::{DataKey, KeyId},
    event::{EventId, Generation, Subject},
};

/// A vault that is open. Clones are the same vault.
#[derive(Debug, Clone)]
pub struct Vault {}

/// The right to append for some subjects: while it lives, nobody of them is forgotten. It
/// belongs to the task that appends, so that a caller who drops a future changes nothing.
#[derive(Debug)]
#[must_use]
pub struct Admission {}

/// Subjects for whom no append is under way, nor begins, while it lives.
#[derive(Debug)]
#[must_use]
pub struct Closure {}

impl Vault {
    /// Makes a vault: sled pages in `folder`, the root slot at `root`.
    ///
    /// # Errors
    /// [`VaultError::NotEmpty`] where either exists.
    pub fn create(folder: &Path, root: &Path) -> Result<Self, VaultError> {
        todo!()
    }

    /// Opens a vault. Nothing is made: what is missing is an error.
    ///
    /// # Errors
    /// [`VaultError::InUse`], [`VaultError::NotFound`], [`VaultError::SlotMissing`]…
    pub fn open(folder: &Path, root: &Path) -> Result<Self, VaultError> {
        todo!()
    }

    /// A vault in memory, for tests and for trying things out.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn in_memory() -> Result<Self, VaultError> {
        todo!()
    }

    /// The vault's identity.
    pub fn id(&self) -> VaultId {
        todo!()
    }

    /// Waits until nobody of the opening's subjects is being forgotten, and admits.
    ///
    /// All or nothing, with nothing held while waiting, so that admissions cannot deadlock.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`] where one of them is.
    pub async fn admit(&self, opening: Opening) -> Result<Admission, VaultError> {
        todo!()
    }

    /// The key to seal with, made if there is none, durable before it is returned; `seals`
    /// payloads are counted against it. A key that is near its limit of 2³² seals is replaced by
    /// one of a new generation. Warm keys cost no write and no await.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`]; [`VaultError::Unsettled`].
    pub async fn sealing_key(
        &self,
        request: KeyRequest<'_>,
        seals: u32,
    ) -> Result<Arc<DataKey>, VaultError> {
        todo!()
    }

    /// What became of the key with this id. Blocks for a page read at most.
    ///
    /// # Errors
    /// [`VaultError::KeyMissing`] where neither a key nor a fence explains the id.
    pub fn opening_key(&self, id: KeyId) -> Result<KeyState, VaultError> {
        todo!()
    }

    /// Notes owner changes durably, before the append that states them. Returns for each the
    /// generation under which its event, and the later ones of the same append, are sealed
    /// (`None`: no new generation).
    ///
    /// # Errors
    /// [`VaultError::Unsettled`] where an earlier claim of a subject is open.
    pub async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Generation>>, VaultError> {
        todo!()
    }

    /// Says whether the events of earlier claims are in the store: the claims count from now on,
    /// or are withdrawn. Repeatable; unknown events are passed over.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn settle(
        &self,
        subject: &Subject,
        events: &[EventId],
        stored: bool,
    ) -> Result<(), VaultError> {
        todo!()
    }

    /// How a subject stands.
    ///
    /// # Errors
    /// Storage errors.
    pub fn standing(&self, subject: &Subject) -> Result<Standing, VaultError> {
        todo!()
    }

    /// The subjects that ever named this one as an owner (settled or not; see their standing).
    ///
    /// # Errors
    /// Storage errors.
    pub fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError> {
        todo!()
    }

    /// The living keys of a subject, in all streams.
    ///
    /// # Errors
    /// Storage errors.
    pub fn keys_of(&self, subject: &Subject) -> Result<Vec<KeyInfo>, VaultError> {
        todo!()
    }

    /// Stops appends for these subjects: new ones wait, those under way are waited for. Dropping
    /// the closure lets the waiting ones go on (or be refused, if the subject is forgotten then).
    /// Closures of one erasure after the other may overlap: one at a time may be extended.
    pub async fn close(&self, subjects: &[Subject]) -> Closure {
        todo!()
    }

    /// Destroys keys, fences their subjects, and replaces the named owner in their dependents'
    /// epochs, in one batch and one change of root. On return they are physically gone. The note
    /// (kind `Erasure`, under the erasure's id) is written in the same batch. Repeatable.
    ///
    /// # Errors
    /// Storage errors, after which the vault is poisoned.
    pub async fn destroy(
        &self,
        destruction: &Destruction,
        note: &[u8],
    ) -> Result<Destroyed, VaultError> {
        todo!()
    }

    /// Admits a forgotten subject again, under a new generation, which is returned. `None`: they
    /// were not closed.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn reopen(&self, subject: &Subject) -> Result<Option<Generation>, VaultError> {
        todo!()
    }

    /// Writes a note durably.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn put_note(
        &self,
        kind: NoteKind,
        id: [u8; 16],
        note: &[u8],
    ) -> Result<(), VaultError> {
        todo!()
    }

    /// Removes a note physically.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_note(&self, kind: NoteKind, id: [u8; 16]) -> Result<(), VaultError> {
        todo!()
    }

    /// All notes of a kind.
    ///
    /// # Errors
    /// Storage errors.
    #[allow(clippy::type_complexity)]
    pub fn notes(&self, kind: NoteKind) -> Result<Vec<([u8; 16], Zeroizing<Vec<u8>>)>, VaultError> {
        todo!()
    }

    /// Walks over every living key and every fence, in the order of places, in constant memory.
    pub fn inventory(
        &self,
    ) -> impl Iterator<Item = Result<InventoryEntry, VaultError>> + Send + use<> {
        std::iter::empty()
    }

    /// The fence of a pseudonym as a subject's name, where that subject is the one: the vault
    /// itself keeps no name of the forgotten.
    pub fn pseudonym(&self, subject: &Subject) -> [u8; 16] {
        todo!()
    }

    /// Writes what is only in memory (exact counts), and waits until it is on the disk. Dropping
    /// the last handle does the same, without telling of errors.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn flush(&self) -> Result<(), VaultError> {
        todo!()
    }
}

impl Closure {
    /// Closes further subjects.
    pub async fn extend(&mut self, subjects: &[Subject]) {
        todo!()
    }
}
