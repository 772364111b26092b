//! Why an erasure, or a plan for one, failed.

use crate::{
    event::{ErasureId, Subject},
    store::StoreError,
    vault::VaultError,
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
