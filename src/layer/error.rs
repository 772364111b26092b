//! What can go wrong with sealing and opening.

use crate::{
    TaskError,
    crypto::SealError,
    event::{RecordedEvent, StreamName, Subject},
    policy::PolicyRefusal,
    store::{Refusal, StoreError, Unreadable},
    vault::VaultError,
};

/// Why a payload was not sealed, or not opened.
///
/// Whose fault it is:
/// - the caller's: [`Forgotten`](Self::Forgotten), [`Refused`](Self::Refused), [`Ownerless`](Self::Ownerless),
///   [`Invalid`](Self::Invalid), [`NoVault`](Self::NoVault);
/// - the machine's: [`Vault`](Self::Vault), [`Sealing`](Self::Sealing), [`Task`](Self::Task);
/// - damage or an attack: [`Unreadable`](Self::Unreadable).
///
/// ```
/// use oubliette::{layer::CodecError, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let codec = Codec::without_vault(Policy::sealed_by_default());
/// # let stream = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse("{}")?);
/// let refused = match codec.seal(&stream, moved).await {
///     Ok(sealed) => panic!("{sealed:?}"),
///     Err(CodecError::Forgotten { .. }) => "they asked to be forgotten",
///     Err(error) if error.is_temporary() => "try again",
///     Err(CodecError::NoVault) => "this process only reads",
///     Err(error) => return Err(error.into()),
/// };
/// assert_eq!(refused, "this process only reads");
/// # Ok(())
/// # }
/// ```
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
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// Some of the stream was forgotten, and nobody owns what would be sealed in it: no person's
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
    #[error(transparent)]
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
    /// The task that seals did not end by itself, and nothing was handed out: store nothing, and seal it again.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The vault failed: no key, no sealing.
    #[error(transparent)]
    Vault(VaultError),
}

impl From<VaultError> for CodecError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Forgotten { subject, .. } => Self::Forgotten { subject },
            VaultError::Task(error) => Self::Task(error),
            VaultError::KeyMissing(_) => Self::Unreadable(Unreadable::KeyMissing),
            other => Self::Vault(other),
        }
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
            CodecError::Task(error) => Self::Task(error),
            CodecError::NoVault => Self::Refused { refusal: Refusal::NoVault, source: None },
            CodecError::Sealing(error) => Self::Vault(Box::new(error)),
            CodecError::Vault(error) => Self::Vault(Box::new(error)),
            CodecError::Unreadable(unreadable) => Self::Vault(Box::new(unreadable)),
        }
    }
}

impl CodecError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of the vault, and
    /// a [task](TaskError::is_temporary) that was cut off.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Vault(error) => error.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::Forgotten { .. }
            | Self::Refused(_)
            | Self::Ownerless { .. }
            | Self::Unreadable(_)
            | Self::Invalid(_)
            | Self::NoVault
            | Self::Sealing(_) => false,
        }
    }

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
