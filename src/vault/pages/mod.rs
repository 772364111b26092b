//! Where sealed pages are stored: a small seam over any database that keeps bytes under a name.
//!
//! Used by `tree`, and by `copy`, which reads pages of copies for a drill. `PageStoreKind` is public.
//! Nothing that passes here is a secret: pages are ciphertext, names are
//! random, and whatever a store keeps of removed or replaced pages cannot be read without the
//! root key. So a store needs to be durable and atomic; it need not erase.

mod aside;
#[cfg(test)]
mod contract;
mod kind;
mod memory;
mod sled_files;
mod sled_store;
#[cfg(feature = "sqlite")]
mod sqlite_store;

pub(crate) use aside::PagesAside;
pub use kind::PageStoreKind;
pub(crate) use memory::MemoryPages;
pub(crate) use sled_store::SledPages;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite_store::SqlitePages;

use super::VaultError;

/// What is said where a database says that its files are not as it wrote them. Opening one may
/// write to it, so that a second attempt may find less than the first.
const DAMAGED: &str = "the files of its page store do not read as they were written; keep a copy of \
                       the folder as it is, and restore the vault from a backup";

/// A change of the store: pages to write and pages to remove.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    /// Names and new contents.
    pub(crate) puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names.
    pub(crate) removals: Vec<Vec<u8>>,
}

/// A store of pages.
///
/// # Contract
/// - What `apply` did is seen by every later `get`.
/// - After `flush` returned, everything applied before it survives a power cut.
/// - A crash without a flush loses whole batches or none of them: a batch is atomic, and a later
///   batch never survives an earlier one that is lost.
/// - After an error of `apply` or `flush` the caller stops using the store until it is reopened.
/// - Calls block; the caller writes from one thread at a time and reads from many.
pub(crate) trait PageStore: Send + Sync {
    /// The content under a name.
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError>;

    /// Shows the name of everything that is stored, in any order.
    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError>;

    /// Makes the changes, all or nothing.
    fn apply(&self, batch: Batch) -> Result<(), VaultError>;

    /// Waits until everything applied is on the disk.
    fn flush(&self) -> Result<(), VaultError>;
}
