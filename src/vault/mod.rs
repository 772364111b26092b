//! Where data keys live and die.
//!
//! Used by `layer` (keys to seal and open with), `erasure` (plan, journal, destroy), `audit` (inventory,
//! verify, drill), the data folder and the command line (making, opening, backups), and by programs that make
//! and open a vault. It knows of events and keys, and of no store: an event is to it an id that somebody
//! says is, or is not, in the store.

#[cfg(feature = "backup")]
pub mod backup;
mod cache;
mod catalogue;
mod claiming;
mod claims;
mod committer;
#[cfg(feature = "drill")]
mod copy;
mod core;
mod destroy;
mod disk;
mod eras;
mod error;
mod fence;
mod gate;
mod handle;
#[doc(hidden)]
pub mod internals;
mod inventory;
mod kept;
mod lookup;
mod making;
pub(crate) mod notes;
mod pages;
mod places;
mod records;
mod root;
mod rotate;
mod signing;
mod stating;
mod tag;
#[cfg(feature = "backup")]
mod tap;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod under_way;
mod unsettled;
#[cfg(test)]
mod vector;
mod verdict;
mod verify;
mod wire;

pub use catalogue::{Backup, BackupId, BackupState};
#[cfg(feature = "drill")]
pub(crate) use copy::{Copied, DeadKey, Fate};
pub use error::{VaultError, VaultIdText};
pub use handle::Vault;
pub(crate) use handle::{Admission, Closure};
pub use pages::PageStoreKind;
pub(crate) use places::in_words;
#[cfg(test)]
pub(crate) use places::reference_as_vector;
#[cfg(feature = "drill")]
pub(crate) use root::{BEGINNING, Trace, trace};
pub use root::{
    Kek, KekError, MirrorState, Passphrase, SlotConfig, SlotPlace, SlotState, WrappedBy,
};
#[cfg(feature = "pkcs11")]
pub use root::{Pkcs11Object, Pkcs11UriError};
#[cfg(feature = "tpm")]
pub use root::{TpmIndex, TpmIndexError};
pub(crate) use signing::History;
pub(crate) use signing::Vouched;
pub use signing::{
    KeyOrigin, PinnedSuccessor, SigningKeyInfo, Successor, SuccessorError, Unlearned,
};
pub(crate) use stating::Stating;
pub(crate) use tag::Tagged;
pub(crate) use tree::Flaw;
pub use tree::{Moved, OpenAs};
pub(crate) use types::{
    Claim, Dead, Destroyed, Destruction, Doomed, Evidence, Fence, InventoryEntry, KeyInfo,
    KeyRequest, KeyState, NoteKind, Opening, Standing, Taken, Verdict,
};
pub use types::{Epoch, KeyStanding, Owner};
pub(crate) use under_way::UnderWay;
pub use unsettled::{OpenClaim, Settled};
#[cfg(test)]
pub(crate) use vector::{VectorKey, VectorVault};
#[cfg(test)]
pub(crate) use verdict::{open_vector, seal_as_vector};
pub(crate) use verify::{Judged, KeyTrouble, Trouble};
