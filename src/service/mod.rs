//! What runs: the parts put together so that somebody can use them.
//!
//! Used by the command line. A [`DataFolder`] is the embedded default: event store, vault and
//! policy in one folder, the vault's root slot outside of it. Servers will live here too.

mod error;
mod folder;
mod manifest;
mod pages;
mod policy;
mod restore;
mod settings;
mod slot;

pub use error::FolderError;
pub use folder::{Access, DataFolder, Parts};
pub use policy::{FormerPolicy, PolicyText};
pub use restore::RestoredFolder;
