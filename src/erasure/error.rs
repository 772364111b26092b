//! Why an erasure, or a plan for one, failed.

use super::Erased;
use crate::{
    event::{ErasureId, Subject},
    store::StoreError,
    vault::{MirrorState, VaultError},
};

/// Why an erasure failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureError {
    /// Nothing here was ever sealed for this subject, and nothing depends on them.
    #[error(
        "subject {0} is unknown here: no key, no dependent stream and no earlier erasure; \
         check the spelling (`inventory` lists the subjects)"
    )]
    UnknownSubject(Subject),
    /// The layer was opened without a vault.
    #[error("opened without a vault: there are no keys to destroy")]
    NoVault,
    /// The keys are destroyed, but not every tombstone could be written. The rest follows when
    /// the layer is opened again, or with `resume`.
    #[error(
        "erasure {erasure}: the keys are destroyed, but tombstones are still to be written: {source}"
    )]
    TombstonesPending {
        /// The erasure.
        erasure: ErasureId,
        /// What the store said.
        source: StoreError,
    },
    /// Keys and tombstones are done, but mirrors of the root slot could not be overwritten: whoever
    /// has one of them, and an old copy of the vault's folder, can still read what was forgotten. They
    /// are tried again when the layer is opened, with `resume`, and at every erasure.
    #[error(
        "the erasure is pending: {} may still hold a root key from before it; make \
         the mirror reachable and run the command again, or, if it is destroyed, \
         `oubliette root mirror retire --lost`", names(.mirrors)
    )]
    MirrorsPending {
        /// The mirrors that may hold an earlier root.
        mirrors: Vec<MirrorState>,
        /// What is done.
        erased: Vec<Erased>,
    },
    /// The journal of an erasure under way cannot be read.
    #[error("the journal of erasure {0} cannot be read; a newer program may have written it")]
    BadJournal(ErasureId),
    /// The event store failed before anything was decided.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The task that erases was cut off by the runtime's end; opening again resumes it.
    #[error("the runtime ended while an erasure was under way; opening again resumes it")]
    Interrupted,
}

fn names(mirrors: &[MirrorState]) -> String {
    let name = |mirror: &MirrorState| match &mirror.trouble {
        Some(trouble) => format!("the mirror {} ({trouble})", mirror.name),
        None => format!("the mirror {}", mirror.name),
    };
    mirrors.iter().map(name).collect::<Vec<_>>().join(", ")
}
