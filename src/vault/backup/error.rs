//! Why a backup was not made, or not restored.

use std::{io, path::PathBuf};

use crate::{
    TaskError,
    event::Timestamp,
    vault::{BackupId, OpenVaultError, SlotError, VaultError},
};

/// Why a backup was not made, or not restored. No message holds key material.
///
/// Whose fault it is:
/// - the caller's: [`Exists`](Self::Exists), [`WithinVault`](Self::WithinVault),
///   [`NoRecipients`](Self::NoRecipients), [`NotARecipient`](Self::NotARecipient),
///   [`IdentityForRecipient`](Self::IdentityForRecipient), [`ExpiresInThePast`](Self::ExpiresInThePast),
///   [`NotAnIdentity`](Self::NotAnIdentity), [`OtherRecipient`](Self::OtherRecipient), [`NotAge`](Self::NotAge),
///   [`NotABackup`](Self::NotABackup), [`OtherVault`](Self::OtherVault), [`Expired`](Self::Expired),
///   [`VaultThere`](Self::VaultThere), [`SlotThere`](Self::SlotThere), [`SlotInUse`](Self::SlotInUse),
///   [`Unknown`](Self::Unknown);
/// - the machine's: [`Io`](Self::Io), [`Seal`](Self::Seal), [`Task`](Self::Task);
/// - damage: [`CutOff`](Self::CutOff); damage or an attack: [`Damaged`](Self::Damaged), [`Odd`](Self::Odd);
/// - what the vault says that is backed up, or that is made of it: [`Vault`](Self::Vault),
///   [`OpenVault`](Self::OpenVault).
///
/// ```
/// use oubliette::vault::backup::{BackupError, Identities};
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("key.txt");
/// # std::fs::write(&file, "age1…")?;
/// let identities = Identities::from_file(&file); // the public half, by mistake
/// assert!(matches!(identities, Err(BackupError::NotAnIdentity(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is a file of this name.
    #[error("{} exists, and a backup replaces nothing; give another name", .0.display())]
    Exists(PathBuf),
    /// Its file would be in a vault's folder.
    #[error(
        "a backup must not lie in a vault's own folder, {}: whatever happens to that happens to it; give \
         another place",
        .0.display()
    )]
    WithinVault(PathBuf),
    /// No one could open it.
    #[error("a backup needs a recipient: an age recipient, which begins with age1")]
    NoRecipients,
    /// Something that is no recipient.
    #[error("{what} is not an age recipient; `age-keygen -y KEYFILE` prints that of an identity")]
    NotARecipient {
        /// Where it is, or what it is where that is certainly no secret.
        what: String,
    },
    /// An identity in the place of a recipient.
    #[error(
        "{0} is an age identity, which is the secret half; a backup is sealed to its recipient, \
         which begins with age1: `age-keygen -y KEYFILE` prints it"
    )]
    IdentityForRecipient(String),
    /// It would have expired already.
    #[error("the backup would expire at {0}, which has passed; give a later day")]
    ExpiresInThePast(Timestamp),
    /// The file with the identity is none.
    #[error(
        "{} holds no age identity (a line that begins with AGE-SECRET-KEY-1); \
         identities of plugins, SSH keys and passphrases cannot be used here",
        .0.display()
    )]
    NotAnIdentity(PathBuf),
    /// No identity here opens it.
    #[error(
        "{} is sealed to other recipients: no identity in the given file opens it; the vault's catalogue says to \
         whom it was sealed",
        .0.display()
    )]
    OtherRecipient(PathBuf),
    /// Some other kind of file.
    #[error("{} is not a file of age's; a backup begins with age-encryption.org/v1", .0.display())]
    NotAge(PathBuf),
    /// An age file with something else in it.
    #[error("{} opens, but it is no backup of a vault", .0.display())]
    NotABackup(PathBuf),
    /// The end is not there.
    #[error(
        "{} is cut off, or damaged at its end; nothing was restored: take another copy of it",
        .0.display()
    )]
    CutOff(PathBuf),
    /// Something else than what was written.
    #[error("{} is damaged or was changed; nothing was restored: take another copy of it", .0.display())]
    Damaged(PathBuf),
    /// It opens, and says what no backup says.
    #[error("{} is sealed properly, but {what}; nothing was restored: take another backup", path.display())]
    Odd {
        /// The file that is concerned.
        path: PathBuf,
        /// What is odd about it.
        what: String,
    },
    /// It is a backup of another vault than the one wanted.
    #[error(
        "the backup is of vault {backup}, but the events here are sealed by vault {wanted}; \
         restore the one that belongs to them"
    )]
    OtherVault {
        /// The vault that it is of.
        backup: String,
        /// The vault that the events name.
        wanted: String,
    },
    /// Its day has passed.
    #[error(
        "the backup expired at {0}: erasures since then did not count it; restore it only if there is no other, and \
         say so"
    )]
    Expired(Timestamp),
    /// There is a vault where it would be restored to.
    #[error(
        "there is something at {} already; to restore, move it away first (the vault that is \
         restored has a root key of its own, and takes nothing from it)",
        .0.display()
    )]
    VaultThere(PathBuf),
    /// The slot that is there is not this vault's, as far as it can be told.
    #[error(
        "the root slot that is there does not say that it is of vault {vault}; move it away, or choose another place"
    )]
    SlotThere {
        /// The vault that is to be restored.
        vault: String,
        /// What the slot says.
        source: SlotError,
    },
    /// The slot that is there is this vault's, and a folder may work under it.
    #[error(
        "{place} is the root slot of vault {vault}, or a mirror of it, or its counter. Restoring would change it, \
         and a data folder that works under it would not open any more. Nothing was changed. To try a backup, restore \
         beside a copy of the event store alone, and give the root slot a new place. If the folder that worked under \
         this slot is gone, and you restore in its stead, say that the slot is to be overwritten"
    )]
    SlotInUse {
        /// The vault that is to be restored.
        vault: String,
        /// Where its slot is, or a mirror of it, or the counter.
        place: String,
    },
    /// The catalogue has no such backup.
    #[error("the catalogue has no backup {0}")]
    Unknown(BackupId),
    /// The task that writes or reads the backup did not end by itself. Of one that was being made there may be a
    /// draft, which the catalogue names.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// age refuses.
    #[error("the file cannot be sealed: {0}")]
    Seal(String),
    /// The vault that is backed up, or was just made of a backup, failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The vault that the backup is restored to cannot be made.
    #[error(transparent)]
    OpenVault(OpenVaultError),
    /// The file system refuses.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file that is concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BackupError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether the same call may succeed later without anybody's changing anything: what is so of the vault, and
    /// a [task](TaskError::is_temporary) that was cut off.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Vault(error) => error.is_temporary(),
            Self::OpenVault(error) => error.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::Exists(_)
            | Self::WithinVault(_)
            | Self::NoRecipients
            | Self::NotARecipient { .. }
            | Self::IdentityForRecipient(_)
            | Self::ExpiresInThePast(_)
            | Self::NotAnIdentity(_)
            | Self::OtherRecipient(_)
            | Self::NotAge(_)
            | Self::NotABackup(_)
            | Self::CutOff(_)
            | Self::Damaged(_)
            | Self::Odd { .. }
            | Self::OtherVault { .. }
            | Self::Expired(_)
            | Self::VaultThere(_)
            | Self::SlotThere { .. }
            | Self::SlotInUse { .. }
            | Self::Unknown(_)
            | Self::Seal(_)
            | Self::Io { .. } => false,
        }
    }
}

impl From<OpenVaultError> for BackupError {
    fn from(error: OpenVaultError) -> Self {
        match error {
            OpenVaultError::Vault(error) => Self::Vault(error),
            error => Self::OpenVault(error),
        }
    }
}

impl From<SlotError> for BackupError {
    fn from(error: SlotError) -> Self {
        OpenVaultError::from(error).into()
    }
}
