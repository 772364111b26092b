//! What can go wrong with sealing and opening.

use crate::{
    crypto::SealError,
    event::{RecordedEvent, StreamName, Subject},
    policy::PolicyRefusal,
    runtime::NoRuntime,
    store::{Refusal, StoreError, Unreadable},
    vault::VaultError,
};

/// Why a payload was not sealed, or not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A key of a forgotten subject is needed. Permanent, until someone reopens the subject.
    #[error("subject {subject} is forgotten; `reopen` admits them again")]
    Forgotten {
        /// The forgotten subject.
        subject: Subject,
    },
    /// The payload cannot be sealed under this policy.
    #[error("refused: {0}")]
    Refused(#[source] PolicyRefusal),
    /// Some of the stream was forgotten, and what would be sealed in it has no owner: no person's
    /// forgetting would reach it.
    #[error(
        "{stream} has no owner any more, and what is sealed in it would be nobody's: first append an \
         event that states one ({})", events.join(", ")
    )]
    Ownerless {
        /// The stream.
        stream: StreamName,
        /// The types of events by which it gets one.
        events: Vec<String>,
    },
    /// The sealed payload cannot be opened, and not because somebody is forgotten.
    #[error("cannot be opened: {0}")]
    Unreadable(#[from] Unreadable),
    /// The call makes no sense here.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// There is no vault: nothing can be sealed.
    #[error("opened without a vault: nothing can be sealed")]
    NoVault,
    /// Sealing itself failed.
    #[error(transparent)]
    Sealing(SealError),
    /// The runtime was shut down meanwhile, and nothing was handed out.
    #[error("the runtime was shut down while this was sealed; store nothing, and seal it again")]
    CutOff,
    /// It was called outside of a Tokio runtime, and needs one. Nothing was sealed.
    #[error("{NoRuntime}")]
    NoRuntime,
    /// The vault failed: no key, no sealing.
    #[error("the vault failed: {0}")]
    Vault(#[source] VaultError),
}

impl From<VaultError> for CodecError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Forgotten { subject, .. } => Self::Forgotten { subject },
            VaultError::NoRuntime => Self::NoRuntime,
            VaultError::KeyMissing(_) => Self::Unreadable(Unreadable::KeyMissing),
            other => Self::Vault(other),
        }
    }
}

impl From<PolicyRefusal> for CodecError {
    fn from(refusal: PolicyRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<CodecError> for StoreError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Forgotten { subject } => Self::Forgotten { subject },
            CodecError::Refused(refusal) => {
                Self::Refused { refusal: kind(&refusal), source: Some(Box::new(refusal)) }
            }
            ownerless @ CodecError::Ownerless { .. } => {
                Self::Refused { refusal: Refusal::Ownerless(ownerless.to_string()), source: None }
            }
            CodecError::Invalid(why) => Self::Invalid(why),
            CodecError::CutOff => Self::backend(true, "the runtime was shut down"),
            CodecError::NoRuntime => Self::backend(false, NoRuntime),
            CodecError::NoVault => Self::Refused { refusal: Refusal::NoVault, source: None },
            CodecError::Sealing(error) => Self::Vault(Box::new(error)),
            CodecError::Vault(error) => Self::Vault(Box::new(error)),
            CodecError::Unreadable(unreadable) => Self::Vault(Box::new(unreadable)),
        }
    }
}

impl CodecError {
    /// The store's error for an event that was read.
    pub(super) fn on_read(self, event: &RecordedEvent) -> StoreError {
        match self {
            Self::Unreadable(unreadable) => unreadable_event(unreadable, event),
            other => other.into(),
        }
    }
}

/// The store's error for an event that cannot be opened.
pub(super) fn unreadable_event(unreadable: Unreadable, event: &RecordedEvent) -> StoreError {
    tracing::error!(
        stream = %event.stream, revision = %event.revision, event = %event.id, %unreadable,
        "an event cannot be opened"
    );
    StoreError::Unreadable {
        stream: event.stream.clone(),
        revision: event.revision,
        position: event.position,
        id: event.id,
        unreadable,
    }
}

fn kind(refusal: &PolicyRefusal) -> Refusal {
    let why = refusal.to_string();
    match refusal {
        PolicyRefusal::LooksPersonal { .. } | PolicyRefusal::PhysicalName { .. } => {
            Refusal::Name(why)
        }
        PolicyRefusal::Reserved { .. } => Refusal::Reserved(why),
        _ => Refusal::Policy(why),
    }
}
