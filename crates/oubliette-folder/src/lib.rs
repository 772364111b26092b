//! The data folder: event store, vault and policy together, so that somebody can use them.
//!
//! A [`DataFolder`] is the embedded default: everything in one folder, but the vault's root slot, which is outside
//! of it. Used by the program, and by servers; a program that puts its own store and vault together needs only the
//! library `oubliette`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod folder;
mod manifest;
mod operator;
mod pages;
mod policy;
mod restore;
mod settings;
mod slot;

pub use error::FolderError;
pub use folder::{Access, DataFolder, Note, Parts};
pub use policy::{FormerPolicy, PolicyText};
pub use restore::RestoredFolder;
