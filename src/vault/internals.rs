//! The vault's plumbing, for the tests, the benches and the programs of this repository.
//!
//! None of it is part of the library's interface, and it changes without notice. Each call is one step of
//! what [`Oubliette`](crate::layer::Oubliette) does in order: [`Plumbing::destroy`] alone waits for no
//! append, announces nothing and sets no tombstone.

use std::{future::Future, sync::Arc};

use zeroize::Zeroizing;

#[cfg(feature = "backup")]
pub use super::tree::is_free;
use super::{AdmissionRequest, Vault, VaultError};
pub use super::{
    admission::Closure,
    questions::{
        Claim, Dead, Destroyed, Destruction, Fence, InventoryEntry, KeyInfo, KeyLookup, KeyRequest,
        Loss, MemoKind, SubjectState,
    },
    tree::remove_unfinished,
};
use crate::{
    crypto::DataKey,
    event::{EventId, Generation, KeyId, SigningKeyId, Subject},
};

/// The steps that erasure and layer are made of. Their documentation is at the vault's methods of the same
/// names.
#[allow(missing_docs, clippy::missing_errors_doc, clippy::type_complexity)]
pub trait Plumbing {
    fn sealing_key(
        &self,
        request: KeyRequest<'_>,
        seals: u32,
    ) -> impl Future<Output = Result<Arc<DataKey>, VaultError>> + Send;
    fn opening_key(&self, id: KeyId) -> Result<KeyLookup, VaultError>;
    fn keys_of(&self, subject: &Subject) -> Result<Vec<KeyInfo>, VaultError>;
    fn subject_state(&self, subject: &Subject) -> Result<SubjectState, VaultError>;
    fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError>;
    fn inventory(
        &self,
    ) -> impl Iterator<Item = Result<InventoryEntry, VaultError>> + Send + use<Self>;

    fn claim(
        &self,
        claims: &[Claim],
    ) -> impl Future<Output = Result<Vec<Option<Generation>>, VaultError>> + Send;
    fn settle(
        &self,
        subject: &Subject,
        events: &[EventId],
        stored: bool,
    ) -> impl Future<Output = Result<(), VaultError>> + Send;

    fn pass(&self, subjects: &[Subject]) -> impl Future<Output = Result<(), VaultError>> + Send;
    fn close(&self, subjects: &[Subject]) -> impl Future<Output = Closure> + Send;
    fn destroy(
        &self,
        destruction: &Destruction,
        memo: &[u8],
    ) -> impl Future<Output = Result<Destroyed, VaultError>> + Send;

    fn memos(&self, kind: MemoKind) -> Result<Vec<([u8; 16], Zeroizing<Vec<u8>>)>, VaultError>;
    fn log(&self) -> Result<SigningKeyId, VaultError>;
}

impl Plumbing for Vault {
    async fn sealing_key(
        &self,
        request: KeyRequest<'_>,
        seals: u32,
    ) -> Result<Arc<DataKey>, VaultError> {
        self.sealing_key(request, seals).await
    }

    fn opening_key(&self, id: KeyId) -> Result<KeyLookup, VaultError> {
        self.opening_key(id)
    }

    fn keys_of(&self, subject: &Subject) -> Result<Vec<KeyInfo>, VaultError> {
        self.keys_of(subject)
    }

    fn subject_state(&self, subject: &Subject) -> Result<SubjectState, VaultError> {
        self.subject_state(subject)
    }

    fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError> {
        self.dependents(owner)
    }

    fn inventory(&self) -> impl Iterator<Item = Result<InventoryEntry, VaultError>> + Send + use<> {
        self.inventory()
    }

    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Generation>>, VaultError> {
        self.claim(claims).await
    }

    async fn settle(
        &self,
        subject: &Subject,
        events: &[EventId],
        stored: bool,
    ) -> Result<(), VaultError> {
        self.settle(subject, events, stored).await
    }

    /// Is admitted for these subjects, as an append is, and lets go at once.
    async fn pass(&self, subjects: &[Subject]) -> Result<(), VaultError> {
        let opening = AdmissionRequest { shared: subjects.to_vec(), exclusive: Vec::new() };
        self.admit(opening).await.map(drop)
    }

    async fn close(&self, subjects: &[Subject]) -> Closure {
        self.close(subjects).await
    }

    async fn destroy(
        &self,
        destruction: &Destruction,
        memo: &[u8],
    ) -> Result<Destroyed, VaultError> {
        self.destroy(destruction, memo).await
    }

    fn memos(&self, kind: MemoKind) -> Result<Vec<([u8; 16], Zeroizing<Vec<u8>>)>, VaultError> {
        self.memos(kind)
    }

    fn log(&self) -> Result<SigningKeyId, VaultError> {
        self.log()
    }
}
