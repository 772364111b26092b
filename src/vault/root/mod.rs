//! The root slot: the one place of a vault that must be physically erasable. It holds the root
//! key, and nothing else does.
//!
//! The slot is read and overwritten by `tree` alone. `slot_changes` and the committer ask `tree` for changes of how
//! it keeps the root; `backup` makes the slot of a restored vault; a drill looks for traces of slots. What
//! callers say of a slot (`SlotConfig`, `Kek`) is public. Forgetting ends with overwriting this slot: when
//! the last copy of the earlier root key is gone, nothing that was sealed beneath it and not sealed again
//! can be read.

mod config;
mod counter;
#[cfg(any(feature = "tpm", feature = "pkcs11"))]
mod device;
#[cfg(any(feature = "tpm", feature = "pkcs11"))]
mod device_lock;
mod error;
mod file;
mod file_system;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hardware;
mod kek;
mod kek_secret;
mod location;
mod memory;
mod mirror;
mod opening;
mod pair;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod sector;
mod slot;
#[cfg(feature = "tpm")]
mod tpm;
#[cfg(feature = "drill")]
mod trace;
mod wrap;

pub use config::{SlotConfig, SlotLocation};
pub use error::SlotError;
pub(crate) use error::user;
#[cfg(test)]
pub(crate) use file::SECTORS_APART;
pub use file_system::Medium;
#[cfg(test)]
pub(crate) use hardware::Sectors;
pub use kek::{Kek, KekError, Passphrase, WrappedBy};
pub(crate) use kek_secret::KekSecret;
pub(crate) use memory::MemorySlot;
pub(crate) use opening::OpeningNumber;
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11Object, Pkcs11UriError};
#[cfg(test)]
pub(crate) use sector::SECTOR_BYTES;
pub(crate) use slot::Slot;
#[cfg(feature = "tpm")]
pub use tpm::{TpmIndex, TpmIndexError};
#[cfg(feature = "drill")]
pub(crate) use trace::{BEGINNING, Trace, trace};

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::crypto::Secret;
use crate::event::VaultId;

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
    /// Which opening of the vault it was last written by.
    pub(crate) opening: OpeningNumber,
}

/// The same root may be written by another opening.
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
///   slot is physically overwritten, but for that in mirrors that could not be reached: these the
///   slot names, durably, until they are overwritten, too. A crash within it leaves the earlier
///   root or the new one, and once `read` has seen the new one it never returns to the earlier.
/// - What a crash left readable may not be on the disk: when `settle` returns, what `read` returned
///   is. Writing it is the way to be sure that it is the only one.
/// - `write` fails, and writes nothing, where somebody else has written to the slot since.
pub(crate) trait RootSlot: Send + Sync {
    /// The newest whole root. Writes nothing.
    fn read(&self) -> Result<Root, SlotError>;

    /// Makes sure that what was read is durable.
    fn settle(&self) -> Result<(), SlotError>;

    /// Puts a root in place of all others.
    fn write(&self, root: &Root) -> Result<(), SlotError>;

    /// Changes how the slot keeps the root that is in it.
    fn change(&self, root: &Root, change: SlotChange) -> Result<(), SlotError>;

    /// Where the slot is, and its state.
    fn state(&self) -> Result<SlotState, SlotError>;
}

/// A change of how a slot keeps its root. None of them touches the tree.
#[derive(Debug)]
pub(crate) enum SlotChange {
    /// Wraps the root by this instead.
    Kek(KekSecret),
    /// Makes a mirror, or takes on one that is there.
    AddMirror(PathBuf),
    /// Wipes a mirror, unless it is lost, and no longer notes it.
    RetireMirror { path: PathBuf, lost: bool },
    /// Binds the slot to a counter, from the present epoch on.
    #[cfg(feature = "tpm")]
    BindCounter(TpmIndex),
    /// No longer notes the counter, and destroys it, unless it is lost.
    ReleaseCounter { lost: bool },
    /// Writes the mirrors that could not be reached, and raises the counter.
    Retry,
}

/// The state of a root slot.
///
/// ```
/// use oubliette::*;
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// let vault = Vault::create(&folder, root.as_path())?;
/// let slot = vault.root_slot()?;
/// println!("{}, wrapped by {}, epoch {}", slot.place, slot.wrapped_by, slot.epoch);
/// assert!(slot.mirrors.iter().all(|mirror| !mirror.stale)); // a stale one may bring people back
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlotState {
    /// Where the slot is.
    pub place: String,
    /// How many roots came before the present one.
    pub epoch: u64,
    /// What the root key is wrapped by.
    pub wrapped_by: WrappedBy,
    /// The slot's mirrors, and how far each is.
    pub mirrors: Vec<MirrorState>,
    /// The counter that is its witness.
    pub counter: Option<MirrorState>,
}

/// The state of a mirror of a root slot, or of the counter that is its witness.
///
/// [`SlotState`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MirrorState {
    /// The mirror's path, which is its name.
    pub name: String,
    /// Whether it is the counter: of that, the epoch is the one that it tells, and stale is one that
    /// does not tell the present epoch.
    #[serde(skip)]
    pub counter: bool,
    /// The epoch of the root that it was last known to hold; `None`: it may hold any, or the
    /// present one under an earlier key-encryption key.
    pub may_hold: Option<u64>,
    /// Whether it may hold anything but the present root. Until it is overwritten, what was forgotten
    /// since can be read with it.
    pub stale: bool,
    /// Why it could not be reached the last time.
    pub trouble: Option<String>,
    /// The slot, or the vault's folder, where the mirror is known to be on the same device, so that it is lost with
    /// it: or its own medium was not mounted when it was made.
    #[serde(skip)]
    pub beside: Option<PathBuf>,
}

impl MirrorState {
    /// Whether it may hold a root from before the one of this epoch, of which it may be unknown which it
    /// was: an erasure that led to it is pending then.
    pub fn may_precede(&self, epoch: Option<u64>) -> bool {
        self.may_hold.is_none_or(|held| epoch.is_none_or(|led| held < led))
    }
}
