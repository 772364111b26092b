//! The data folder: event store, vault and policy together, so that somebody can use them.
//!
//! A [`DataFolder`] is the embedded default: everything in one folder, but the vault's root slot, which is outside
//! of it. The command line works on one. Its events may be at a server instead, where the program gives it an
//! [`OpenStore`]. A program that puts its own store and vault together needs only the library `oubliette`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attach;
mod error;
mod folder;
mod making;
mod manifest;
mod moving;
mod operator;
mod pages;
mod place;
mod policy;
mod restore;
mod settings;
mod slot;
mod store;

pub use error::FolderError;
pub use folder::{Access, DataFolder, Note, Parts};
pub use place::{PlaceError, StoreAddress, StorePlace};
pub use policy::{FormerPolicy, PolicyText};
pub use restore::RestoredFolder;
pub use store::{AnyStore, OpenStore, OpenedStore};
