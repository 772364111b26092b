//! Why signing keys were not changed.

use crate::{
    event::{SigningKeyId, Timestamp, VaultId},
    vault::VaultError,
};

/// Why the signing keys were not changed. Nothing was changed.
///
/// Whose fault it is: the caller's, but for [`Vault`](Self::Vault), which says for itself whose.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyChangeError {
    /// There is one.
    #[error(
        "a successor is pinned already, {0}: only it can take the place of the key that signs; use it, \
         and pin the next one then; if its file is lost, change the key without it, and make a new backup"
    )]
    AlreadyPinned(SigningKeyId),
    /// A successor is pinned, and was not given.
    #[error(
        "the successor {0} is pinned, and only it can take the place of the key that signs: give its file; if \
         that is lost, change the key without it, and make a new backup: a vault that is restored from an earlier \
         one will not know the new key"
    )]
    SuccessorNeeded(SigningKeyId),
    /// No successor is pinned.
    #[error(
        "no successor is pinned, so that nobody would know this one for the vault's: change the key without a \
         successor, and pin one afterwards"
    )]
    NothingPinned,
    /// Another one is pinned.
    #[error("that file holds the key {found}, and the pinned successor is {pinned}; give its file")]
    WrongSuccessor {
        /// The one that was given.
        found: SigningKeyId,
        /// The one that is pinned.
        pinned: SigningKeyId,
    },
    /// It was made for another vault.
    #[error(
        "that file holds the successor for vault {of}, and this is vault {vault}; give its file"
    )]
    OfAnotherVault {
        /// Whose it is.
        of: VaultId,
        /// Whose it should be.
        vault: VaultId,
    },
    /// It is in the history.
    #[error(
        "key {0} signed for this vault before, and cannot be its successor again; make another"
    )]
    SignedBefore(SigningKeyId),
    /// A day to come.
    #[error("the key cannot have been stolen since {0}: that is still to come")]
    StillToCome(Timestamp),
    /// There is no such key.
    #[error("this vault never signed with key {0}")]
    UnknownKey(SigningKeyId),
    /// The key signs.
    #[error(
        "key {0} signs now, and cannot distrust itself: change it and say since when it is compromised, which \
         distrusts it as well"
    )]
    SignsNow(SigningKeyId),
    /// It is distrusted.
    #[error("key {key} is compromised already, since {since}: leave it out")]
    DistrustedBefore {
        /// The key.
        key: SigningKeyId,
        /// Since when it is, as was said then.
        since: Timestamp,
    },
    /// A successor was pinned for the key, and waits.
    #[error(
        "the successor {successor} is pinned for key {key}: put it in that key's place, and say since when \
         that is compromised, which distrusts it as well; if its file is lost, change the key without it, and \
         distrust the earlier one"
    )]
    SuccessorWaits {
        /// The key.
        key: SigningKeyId,
        /// Its successor.
        successor: SigningKeyId,
    },
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl KeyChangeError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of the vault.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Vault(error) => error.is_temporary(),
            Self::AlreadyPinned(_)
            | Self::SuccessorNeeded(_)
            | Self::NothingPinned
            | Self::WrongSuccessor { .. }
            | Self::OfAnotherVault { .. }
            | Self::SignedBefore(_)
            | Self::StillToCome(_)
            | Self::UnknownKey(_)
            | Self::SignsNow(_)
            | Self::DistrustedBefore { .. }
            | Self::SuccessorWaits { .. } => false,
        }
    }
}
