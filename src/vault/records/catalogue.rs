//! The catalogue of backups: what the vault knows of the copies of itself.
//!
//! An entry is durable before the first byte of its file is written, and stays until someone says
//! that the file is gone. So an erasure, at whatever moment it comes, can name every backup that
//! still holds what it destroyed.
//!
//! An entry is a memo: a JSON object with these members, all of them and in this order.
//!
//! | member | what |
//! | --- | --- |
//! | `backup` | its id: a UUID of version 7 |
//! | `created`, `expires` | when it was begun, and by when its file is to be destroyed: instants as `docs/format.md` has them |
//! | `epoch` | the vault's epoch when it was begun |
//! | `era` | the last era whose secret it holds: base64url |
//! | `recipients` | to whom it is sealed: a list of age recipients |
//! | `file` | the name of its file, without its folder |
//! | `keys` | about how many keys it holds; `null`: it was never completed |
//! | `retired` | since when it is known to be gone; `null`: it is not |

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{disk::Disk, memos, places};
use crate::{
    event::{Era, Timestamp},
    vault::{MemoKind, VaultError, tree::Value},
};

/// The identity of one backup: a version 7 UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackupId(pub Uuid);

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for BackupId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A backup, as the catalogue has it.
///
/// ```
/// use oubliette::Vault;
/// # let vault = Vault::in_memory()?;
/// for backup in vault.backups()? {
///     println!("{} holds keys until {}", backup.backup, backup.expires);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Backup {
    /// The backup's id.
    pub backup: BackupId,
    /// When it was begun.
    pub created: Timestamp,
    /// The day by which its file is to be destroyed. It counts as gone once somebody
    /// [says so](crate::vault::Vault::retire_backup).
    pub expires: Timestamp,
    /// The root's epoch when it was begun: what was destroyed at a later one may be in it.
    pub epoch: u64,
    /// The last era whose secret it holds: it reads no key id and no announcement of a later one,
    /// but those announcements that were made while it was outstanding.
    pub era: Era,
    /// To whom it is sealed, as age recipients.
    pub recipients: Vec<String>,
    /// The name that its file was given, without its folder.
    pub file: String,
    /// About how many keys it holds; `None`: it was never completed, and what was written of it
    /// may be beside the place where it was to be.
    pub keys: Option<u64>,
    /// Since when it is known to be gone.
    pub retired: Option<Timestamp>,
}

/// The state of a backup.
///
/// [`Backup`] has it, and an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BackupState {
    /// It can be restored.
    Valid,
    /// It was cut off; what there is of its file still holds keys.
    Incomplete,
    /// Its day has passed, and it is not said to be destroyed.
    Expired,
    /// It no longer exists.
    Retired,
}

impl Backup {
    /// Returns its state at this moment.
    pub fn state(&self, at: Timestamp) -> BackupState {
        match self {
            Self { retired: Some(_), .. } => BackupState::Retired,
            Self { expires, .. } if *expires <= at => BackupState::Expired,
            Self { keys: None, .. } => BackupState::Incomplete,
            Self { .. } => BackupState::Valid,
        }
    }

    /// Whether keys that were destroyed at this epoch may still be had from it. That its day has
    /// passed destroys no file, and a clock may be wrong: until somebody says that it is gone, it counts.
    pub(crate) fn holds(&self, epoch: Option<u64>) -> bool {
        self.retired.is_none() && epoch.is_none_or(|epoch| self.epoch < epoch)
    }

    /// Whether it may still be restored, so that what is announced must be readable with it.
    pub(in crate::vault) fn is_outstanding(&self, at: Timestamp) -> bool {
        !matches!(self.state(at), BackupState::Retired | BackupState::Expired)
    }

    pub(in crate::vault) fn to_memo(&self) -> Result<Value, VaultError> {
        memos::to_json(self)
    }
}

/// All entries.
pub(in crate::vault) fn entries(disk: &Disk) -> Result<Vec<Backup>, VaultError> {
    let kind = MemoKind::Backup;
    let entries = disk.wholes(places::memos(kind))?.into_iter();
    entries.map(|(_, memo)| memos::from_json(kind, memos::content(kind, &memo)?)).collect()
}
