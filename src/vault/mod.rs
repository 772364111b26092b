//! Where data keys live and die.
//!
//! A program makes a vault once, with [`Vault::create`], and opens it at each start, with [`Vault::open`]. Then it gives
//! the vault to [`Oubliette::open`](crate::Oubliette::open) or [`Codec::new`](crate::Codec::new), which do the rest.
//!
//! A vault has two parts. Its *folder* holds the keys, encrypted. Its *root slot* holds the root key, which is overwritten
//! at each erasure; [`SlotConfig`] says where the slot is and what wraps it. Keep the slot where no backup of the folder
//! reaches.
//!
//! ```
//! use oubliette::{vault::{Kek, Passphrase, SlotConfig}, *};
//! # let dir = tempfile::tempdir()?;
//! # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
//! let slot = || {
//!     let passphrase = Passphrase::new("seven words that nobody else would choose".to_owned());
//!     SlotConfig::from(root.as_path()).with_kek(Kek::Passphrase, passphrase)
//! };
//! drop(Vault::create(&folder, slot())?); // once
//! let vault = Vault::open(&folder, slot())?; // at each start
//! # drop(vault);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | see |
//! | --- | --- |
//! | say where the slot is, add mirrors, wrap it | [`SlotConfig`], [`Kek`] |
//! | open a copy, or a vault that was restored, or only to read | [`Vault::open_as`], [`OpenAs`] |
//! | see how the slot is kept, and change that | [`Vault::root_slot`], [`Vault::set_kek`], [`Vault::add_mirror`], [`Vault::retire_mirror`] |
//! | settle what a codec left open | [`OpenClaim`], [`Codec::unsettled`](crate::Codec::unsettled) |
//! | back up and restore | `vault::backup` (feature `backup`), [the guide](crate::guide::backups) |
//! | rotate the signing key, pin a successor | [`Successor`], [the guide](crate::guide::signing_keys) |

// Used by `layer` (keys to seal and open with, by way of `keeper`), `erasure` (plan, journal, destroy), `audit` (inventory,
// verify, drill), the data folder and the command line (making, opening, backups), and by programs that make
// and open a vault. It knows of events and keys, and of no store: an event is to it an id that somebody
// says is, or is not, in the store.
//
// | room | what it is for | uses |
// | --- | --- | --- |
// | `local`, `create`, `slot_changes` | `Vault` as its callers hold it: opening, admitting, how its root is kept | all below |
// | `keeper` | `Vault` as a layer asks it: the seam that a handle of a vault elsewhere will implement | `local`, `commit`, `reading` |
// | `admission` | who may append for whom, and what is in flight | |
// | `commit` | every change, by one thread, durable before it is answered | `records`, `tree` |
// | `reading` | what is looked up, walked, judged; what is kept in memory | `records`, `tree` |
// | `signing` | the keys that sign what the vault says | `commit`, `records` |
// | `backup` | the vault in one file, and back | `commit`, `records`, `signing` |
// | `records` | what is recorded, where, and in which bytes | `tree` |
// | `tree` | the erasable map: sealed pages under one root key | `pages`, `root` |
// | `pages` | where pages are stored: sled or SQLite | |
// | `root` | the slot that holds the root key, and its mirrors | |
// | `wire` | numbers, names and lists as bytes | |

mod admission;
#[cfg(feature = "backup")]
pub mod backup;
mod commit;
mod create;
mod error;
#[doc(hidden)]
pub mod internals;
mod keeper;
mod local;
mod pages;
mod questions;
mod reading;
mod records;
mod root;
mod shared;
mod signing;
mod slot_changes;
#[cfg(test)]
mod tests;
mod tree;
#[cfg(test)]
mod vector;
mod wire;

pub(crate) use admission::Closure;
use admission::{Admission, in_flight::Watch};
pub use commit::unsettled::{OpenClaim, Settled};
pub use error::{OpenVaultError, VaultError};
#[cfg(test)]
pub(crate) use keeper::{Answer, GuardId, Release};
pub(crate) use keeper::{Guard, Halves, Keeper, at_once};
pub use local::Vault;
pub use pages::PageStoreKind;
pub use questions::KeyState;
pub(crate) use questions::{
    AdmissionRequest, Claim, Dead, Decision, Destroyed, Destruction, Evidence, Fence,
    InventoryEntry, KeyInfo, KeyLookup, KeyRequest, Loss, MemoKind, Owner, OwnerBackfill,
    SubjectState, Taken, Tenure,
};
#[cfg(feature = "drill")]
pub(crate) use reading::copy::{Copied, DeadKey, Fate};
pub(crate) use reading::{
    tag::Tagged,
    verify::{Judged, KeyTrouble, Trouble},
};
pub use records::catalogue::{Backup, BackupId, BackupState};
#[cfg(test)]
pub(crate) use records::{
    announced::{open_vector, seal_as_vector},
    naming::reference_as_vector,
};
pub(crate) use records::{memos, places::in_words};
#[cfg(any(test, fuzzing))]
pub(crate) use root::fuzz as fuzz_sector;
#[cfg(feature = "drill")]
pub(crate) use root::{BEGINNING, Trace, trace};
pub use root::{
    Kek, KekError, Medium, MirrorState, Passphrase, SlotConfig, SlotError, SlotLocation, SlotState,
    WrappedBy,
};
#[cfg(feature = "pkcs11")]
pub use root::{Pkcs11Object, Pkcs11UriError};
#[cfg(feature = "tpm")]
pub use root::{TpmIndex, TpmIndexError};
#[cfg(test)]
pub(crate) use signing::history_as_vector;
pub(crate) use signing::{History, Vouched};
pub use signing::{
    KeyOrigin, PinnedSuccessor, SigningKeyInfo, Successor, SuccessorError, Unlearned,
};
pub(crate) use tree::Flaw;
#[cfg(any(test, fuzzing))]
pub(crate) use tree::fuzz as fuzz_page;
pub use tree::{Moved, OpenAs};
#[cfg(test)]
pub(crate) use vector::{VectorKey, VectorVault};
