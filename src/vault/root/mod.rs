//! The root slot: the one place of a vault that must be physically erasable. It holds the root
//! key, and nothing else does.
//!
//! Used by `tree` alone. Forgetting ends with overwriting this slot: when the last copy of the
//! earlier root key is gone, nothing that was sealed beneath it and not sealed anew can be read.

mod file;
mod memory;
mod sector;
mod slot;
#[cfg(feature = "drill")]
mod trace;

pub(crate) use file::{FileSlot, parent, sync_folder};
pub(crate) use memory::MemorySlot;
#[cfg(any(test, feature = "drill"))]
pub(crate) use sector::SECTOR_BYTES;
#[cfg(test)]
pub(crate) use slot::{SectorSlot, Sectors};
#[cfg(feature = "drill")]
pub(crate) use trace::{BEGINNING, Trace, trace};

use std::fmt;

use super::{VaultError, VaultId};
use crate::crypto::Secret;

/// What the slot holds.
#[derive(Clone)]
pub(crate) struct Root {
    /// Whose root.
    pub(crate) vault: VaultId,
    /// How many roots came before.
    pub(crate) epoch: u64,
    /// The key of the root page.
    pub(crate) key: Secret,
    /// The id of the root page.
    pub(crate) page: [u8; 16],
}

impl PartialEq for Root {
    fn eq(&self, other: &Self) -> bool {
        self.vault == other.vault
            && self.epoch == other.epoch
            && self.page == other.page
            && self.key == other.key
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({}, epoch {})", self.vault, self.epoch)
    }
}

/// A root slot.
///
/// # Contract
/// - `read` returns the newest root that is whole.
/// - When `write` returns, the given root is durable and every other root that was ever in the
///   slot is physically overwritten. A crash within it leaves the earlier root or the new one,
///   and once `read` has seen the new one it never returns to the earlier.
/// - Writing the root that `read` returned is the way to be sure that it is durable and the only
///   one: what a crash left readable may not be on the disk.
pub(crate) trait RootSlot: Send + Sync {
    /// The newest whole root.
    fn read(&self) -> Result<Root, VaultError>;

    /// Puts a root in place of all others.
    fn write(&self, root: &Root) -> Result<(), VaultError>;
}
