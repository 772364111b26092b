//! Why an erasure, a plan for one, or the opening of a layer, failed: one enum for all of them, and in it one for each
//! thing that a caller does about it.

mod key_change;
mod operator;
mod pending;
mod refusal;
mod unclear;

pub(super) use self::pending::nameless;
pub use self::{
    key_change::KeyChangeError, operator::OperatorError, pending::PendingError,
    refusal::ErasureRefusal, unclear::UnclearError,
};
use super::InDoubt;
use crate::{
    TaskError,
    event::ErasureId,
    store::StoreError,
    vault::{SlotError, VaultError},
};

/// Why an erasure, or the opening of a layer, failed.
///
/// Whose fault it is, and what is to be done:
/// - the caller's: [`Refused`](Self::Refused), and nothing was done; [`NeedsWriting`](Self::NeedsWriting);
/// - the operator's: [`Operator`](Self::Operator), where a word of theirs was not taken;
/// - the machine's: [`Pending`](Self::Pending), where something is decided and waits;
///   [`WitnessSilent`](Self::WitnessSilent), [`Store`](Self::Store), [`Vault`](Self::Vault), [`Task`](Self::Task);
/// - damage: [`BadMemo`](Self::BadMemo);
/// - an attack, or an old copy that was put back: [`NotReplayed`](Self::NotReplayed), and most of
///   [`Unclear`](Self::Unclear), where the operator, a newer program or missing events have to say more.
///
/// ```
/// use oubliette::{*, erasure::{ErasureRefusal, PendingError}};
///
/// /// The reply to the requester of an erasure.
/// fn answer(error: &ErasureError) -> &'static str {
///     match error {
///         ErasureError::Refused(ErasureRefusal::UnknownSubject(_)) => "there is nothing of them here",
///         ErasureError::Refused(_) => "not done, see why",
///         ErasureError::Pending(PendingError::Announcement { .. }) => "decided, and not begun",
///         ErasureError::Pending(_) => "begun, and not done: call `resume` later",
///         ErasureError::Unclear(_) => "call the operator: nothing is served before they looked",
///         error if error.is_temporary() => "try again",
///         _ => "failed",
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let nobody = Subject::new("user-404")?;
/// let error = store.forget(&nobody, "ticket 4711").await.unwrap_err();
/// assert_eq!(answer(&error), "there is nothing of them here");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureError {
    /// What was asked for makes no sense, or would not reach all. Nothing was done.
    #[error(transparent)]
    Refused(#[from] ErasureRefusal),
    /// What is decided waits for the event store, or for a mirror.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// What is announced needs the operator's word, a newer program, or events that are missing. Nothing personal may be
    /// served.
    #[error(transparent)]
    Unclear(#[from] UnclearError),
    /// The operator's word was not taken.
    #[error(transparent)]
    Operator(OperatorError),
    /// The vault is open to be read, and has something to write before anything may be served.
    #[error(
        "the vault is open to be read only, and something has to be written before it may be read: an erasure \
         that was cut off or announced elsewhere, or a change of its signing key. Open it once to be written to: \
         that carries it out"
    )]
    NeedsWriting,
    /// The event store does not say which erasures were announced, so that it is not known whether
    /// the vault was rolled back.
    #[error(
        "the event store does not say which erasures were announced, so that nothing personal \
         may be served; open again once it can be read"
    )]
    WitnessSilent(#[source] StoreError),
    /// The vault was rolled back or restored, and erasures announced since could not be applied
    /// again.
    #[error(
        "the vault was rolled back: erasures announced since ({}) could not be applied again, and \
         nothing personal may be served; mend what the vault reports and open again",
        list(erasures)
    )]
    NotReplayed {
        /// The erasures that were not applied.
        erasures: Vec<ErasureId>,
        /// What the vault said.
        source: VaultError,
    },
    /// What the vault keeps of an erasure does not have its form.
    #[error(transparent)]
    BadMemo(#[from] BadMemo),
    /// The event store failed before anything was decided.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The task that erases did not end by itself. What is decided is carried out when the layer is opened again.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Something that the vault keeps of an erasure does not have its form. No crash leaves this: it is damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMemo {
    /// The journal of an erasure in progress does not have its form. One that a newer program wrote is
    /// [`VaultError::NewerFormat`].
    #[error(
        "the journal of erasure {0} does not have its form, and the erasure cannot be carried out; no \
         crash leaves this: restore the vault from a backup, and keep a copy of this one"
    )]
    Journal(ErasureId),
    /// The record of an erasure does not have its form. One that a newer program wrote is
    /// [`VaultError::NewerFormat`].
    #[error(
        "the record of erasure {0} does not have its form; no crash leaves this: restore the vault from a \
         backup, and keep a copy of this one"
    )]
    Record(ErasureId),
}

impl ErasureError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of the store, the
    /// vault or a [task](TaskError::is_temporary) that it waits for.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Pending(error) => error.is_temporary(),
            Self::Operator(error) => error.is_temporary(),
            Self::WitnessSilent(source) | Self::Store(source) => source.is_temporary(),
            Self::NotReplayed { source, .. } | Self::Vault(source) => source.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::Refused(_) | Self::Unclear(_) | Self::NeedsWriting | Self::BadMemo(_) => false,
        }
    }
}

impl From<SlotError> for ErasureError {
    fn from(error: SlotError) -> Self {
        Self::Vault(error.into())
    }
}

/// What is said alike wherever it is met is one case.
impl From<OperatorError> for ErasureError {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Unclear(error) => Self::Unclear(error),
            OperatorError::BadMemo(error) => Self::BadMemo(error),
            OperatorError::Vault(error) => Self::Vault(error),
            error @ (OperatorError::SeveralStatements(_)
            | OperatorError::NotInDoubt(_)
            | OperatorError::NoGap
            | OperatorError::UnfitName) => Self::Operator(error),
        }
    }
}

/// How many of a kind an error names.
const NAMED: usize = 5;

/// Each announcement, with its event and who signed it.
fn statements(all: &[InDoubt]) -> String {
    let mut names: Vec<_> = all.iter().take(NAMED).map(InDoubt::to_string).collect();
    if all.len() > NAMED {
        names.push(format!("and {} more", all.len() - NAMED));
    }
    names.join("; ")
}

fn list(erasures: &[ErasureId]) -> String {
    erasures.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
