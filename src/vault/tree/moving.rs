//! Moving a vault's pages from one page store to another.
//!
//! Pages, names and markers are copied byte for byte, so root and keys stay what they are, and the
//! slot is only read. What the old store's files leave behind is what they held: ciphertext under
//! keys that today's root or an older one leads to. An older root is nowhere, and the pages that
//! today's leads to are in the new store as well, until an erasure takes a new root. So moving
//! weakens no forgetting, and needs none of its own.

use std::path::Path;

use super::{
    Tree,
    folder::{self, Header},
    open::root_page,
};
use crate::vault::{
    OpenVaultError, PageStoreKind, VaultError,
    pages::{Batch, PageStore},
};

/// How many pages are copied at a time.
const PART: usize = 512;

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// The page store that the vault had.
    pub from: PageStoreKind,
    /// The one that it has now; where it is the same, nothing was done.
    pub to: PageStoreKind,
    /// So many pages and markers were copied, and read again.
    pub pages: u64,
    /// How many bytes of pages were copied.
    pub bytes: u64,
}

impl Tree {
    /// Moves the pages of the vault in this folder. Until the last moment the old store is in
    /// force: what is left of the new one when this fails or is cut off, the next opening removes.
    ///
    /// # Errors
    /// Those of both stores; [`VaultError::Damaged`] where a page does not come back as it was.
    pub(crate) fn move_pages(
        self,
        folder: &Path,
        to: PageStoreKind,
        progress: impl Fn(u64),
    ) -> Result<Moved, OpenVaultError> {
        let header = folder::read_header(folder)?;
        let mut moved = Moved { from: header.pages, to, pages: 0, bytes: 0 };
        if moved.from == to {
            return Ok(moved);
        }
        let root = self.view()?.root.clone();
        let old = &*self.store.pages;
        folder::remove_pages(folder, to)?;
        let place = folder.join(to.folder());
        let transfer = || {
            copy(old, &*to.open(&place)?, &mut moved, progress)?;
            // Opened again, so that it is read from its files.
            let new = to.open(&place)?;
            compare(old, &*new, moved.pages)?;
            root_page(&*new, &root)
        };
        if let Err(error) = transfer() {
            // The failure is the news.
            let _ = folder::remove_pages(folder, to);
            return Err(error);
        }
        folder::write_header(folder, Header { pages: to, ..header })?;
        // The lock of the folder outlives the store.
        let Self { store, slot, _lock, .. } = self;
        drop((store, slot));
        if let Err(error) = folder::remove_pages(folder, moved.from) {
            tracing::warn!(error = %crate::words::chain(&error), "the old page store is left; the next opening removes it");
        }
        Ok(moved)
    }
}

fn copy(
    old: &dyn PageStore,
    new: &dyn PageStore,
    moved: &mut Moved,
    progress: impl Fn(u64),
) -> Result<(), VaultError> {
    let mut names = Vec::new();
    old.names(&mut |name| names.push(name.to_vec()))?;
    for part in names.chunks(PART) {
        let mut batch = Batch::default();
        for name in part {
            let content = old.get(name)?.ok_or_else(|| changed("is gone"))?;
            moved.bytes += content.len() as u64;
            batch.puts.push((name.clone(), content));
        }
        new.apply(batch)?;
        moved.pages += part.len() as u64;
        progress(moved.pages);
    }
    new.flush()
}

/// That there is the same in both, and nothing else.
fn compare(old: &dyn PageStore, new: &dyn PageStore, pages: u64) -> Result<(), VaultError> {
    let mut names = Vec::new();
    new.names(&mut |name| names.push(name.to_vec()))?;
    if names.len() as u64 != pages {
        return Err(changed("is missing"));
    }
    for name in &names {
        let (before, after) = (old.get(name)?, new.get(name)?);
        if before.is_none() || before != after {
            return Err(changed("is not as it was"));
        }
    }
    Ok(())
}

fn changed(how: &str) -> VaultError {
    VaultError::Damaged(format!("a page that was copied {how}; nothing was changed"))
}
