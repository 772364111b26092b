//! What runs: the parts put together so that somebody can use them.
//!
//! Used by the command line. A [`DataFolder`] is the embedded default: event store, vault and
//! policy in one folder, the vault's root slot outside of it. Servers will live here too.

mod error;
mod folder;
mod pages;
mod restore;
mod slot;

pub use error::FolderError;
pub use folder::{Access, DataFolder, Parts};
pub use restore::RestoredFolder;
