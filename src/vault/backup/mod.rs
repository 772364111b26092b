//! Backups: a copy of a whole vault in one file, sealed to age recipients, and restoring it.
//!
//! [`Vault::back_up`](crate::Vault::back_up) makes one, for [`Recipients`]. [`VerifiedBackup::read`] reads one with
//! [`Identities`], and [`VerifiedBackup::restore`] makes a vault of it again. [The guide](crate::guide::backups) says how often, and where to keep them.
//!
//! A backup holds the keys of everybody who was alive when it was made. Forgetting does not reach
//! it: until it is destroyed or expires, anyone who has the file *and* an identity of its recipients
//! has those keys. That is why the vault keeps a catalogue of its backups, why each has a day by
//! which it ends, and why the report of an erasure names those that are outstanding.
//!
//! A backup is *logical*: it holds the values of the vault and its identity, not its pages and not its root key. So a
//! restored vault has a root key of its own, and the root slot is never copied.
//!
//! Writers are not stopped meanwhile, and the file still shows one single moment.

// Used by the data folder, and by programs that keep a vault of their own.
//
// Consistent, while others write: the walk over the tree reads a few places at a time, so that alone it
// would show no single moment: a record could name an owner whose dependents were read before.
// From its beginning on, the committer notes where it changes something; after the walk, what
// is there then is written, round by round, and the last round is read by the committer
// itself, between two writes. Applied in order, the file shows that moment. The format is
// specified in `docs/backups.md`.

mod error;
mod file;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod keys;
mod make;
mod restore;
#[cfg(test)]
mod tests;
mod verify;

pub use error::BackupError;
pub use keys::{Identities, Recipients};
pub use restore::{Prepared, Restored};
pub use verify::VerifiedBackup;
