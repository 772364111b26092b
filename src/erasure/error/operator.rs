//! What was wrong with what the operator said of announcements.

use uuid::Uuid;

use super::{super::InDoubt, BadMemo, UnclearError, statements};
use crate::vault::VaultError;

/// Why the operator's word was not taken: [`believe`](crate::erasure::believe), [`pass_over`](crate::erasure::pass_over),
/// [`accept_gaps`](crate::erasure::accept_gaps). Nothing was done.
///
/// Whose fault it is:
/// - the operator's: [`SeveralStatements`](Self::SeveralStatements), [`NotInDoubt`](Self::NotInDoubt),
///   [`NoGap`](Self::NoGap), [`UnfitName`](Self::UnfitName); and [`Unclear`](Self::Unclear), where what is to be
///   believed cannot be applied;
/// - damage: [`BadMemo`](Self::BadMemo);
/// - [`Vault`](Self::Vault) says for itself whose.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// Several announcements of one erasure are in doubt, and one of them is to be named. Nothing was done.
    #[error(
        "several announcements of that erasure are in doubt, and need not be by the same hand ({}): name the \
         one that you mean by its event; of an erasure of very many subjects, each of its events",
        statements(.0)
    )]
    SeveralStatements(Vec<InDoubt>),
    /// No announcement that needs the operator's word has that id. Nothing was done.
    #[error(
        "{0} is neither an erasure nor an event of which an announcement is in doubt here; verifying and the error \
         on opening name them"
    )]
    NotInDoubt(Uuid),
    /// No announcement is missing that somebody has yet to accept. Nothing was done.
    #[error(
        "no announcement is missing that waits for anybody's word: accept no gap; the word is of what is missing when \
         it is said, and of nothing later"
    )]
    NoGap,
    /// No name was given for who accepts a gap. Nothing was done.
    #[error(
        "say who accepts the gap: a person, a role or the number of a ticket, in at most 200 bytes; it is kept in the \
         vault, so no e-mail address or the like"
    )]
    UnfitName,
    /// What is to be believed does not open here, or this version does not understand it.
    #[error(transparent)]
    Unclear(#[from] UnclearError),
    /// What the vault keeps of the erasure does not have its form.
    #[error(transparent)]
    BadMemo(#[from] BadMemo),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl OperatorError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of the vault.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Vault(error) => error.is_temporary(),
            Self::SeveralStatements(_)
            | Self::NotInDoubt(_)
            | Self::NoGap
            | Self::UnfitName
            | Self::Unclear(_)
            | Self::BadMemo(_) => false,
        }
    }
}
