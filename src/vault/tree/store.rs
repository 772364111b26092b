//! Opened pages: from the cache, or else from the page store.

use std::sync::Arc;

use super::{
    cache::Cache,
    page::{Page, PageId, hex},
};
use crate::{
    crypto::SECRET_BYTES,
    event::VaultId,
    vault::{VaultError, pages::PageStore},
};

/// Sizes of a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// How many bytes of children an inner page holds before it is split.
    pub(crate) page_bytes: usize,
    /// How many bytes of entries a leaf holds before it is split.
    pub(crate) leaf_bytes: usize,
    /// How many bytes of opened pages are kept in memory, about.
    pub(crate) cache_bytes: usize,
    /// How many pages one batch to the page store holds at most.
    pub(crate) batch_pages: usize,
    #[cfg(test)]
    pub(crate) sabotage: Sabotage,
}

impl Default for Shape {
    /// Inner pages of 8 KiB and leaves of 4. What a creation costs in bytes grows with the leaf that
    /// it rewrites; what millions of keys cost in memory, with the number of leaves. Of 8, 4, 2 and
    /// 1 KiB, filling 300,000 keys took 15, 16, 17 and 19 s of processor time, while what is
    /// written for each halves. Ten million keys should have some 30 MiB of inner pages, which
    /// 128 MiB of opened pages hold beside others. Batches of 2,048 pages, because sled keeps a batch in memory several
    /// times over, and because a write of 1,024 creations, each in a leaf of its own, is one batch.
    fn default() -> Self {
        Self {
            page_bytes: 8 * 1024,
            leaf_bytes: 4 * 1024,
            cache_bytes: 128 << 20,
            batch_pages: 2048,
            #[cfg(test)]
            sabotage: Sabotage::None,
        }
    }
}

impl Shape {
    /// How much a page of this level holds.
    pub(super) fn most_bytes(&self, level: u8) -> usize {
        if level == 0 { self.leaf_bytes } else { self.page_bytes }
    }
}

/// How a test breaks the construction, to see itself fail.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    SplitKeepsKey,
    EraseKeepsLeafKey,
}

/// The pages of one vault.
pub(super) struct Store {
    pub(super) vault: VaultId,
    pub(super) shape: Shape,
    pub(super) pages: Box<dyn PageStore>,
    pub(super) cache: Cache,
}

impl Store {
    pub(super) fn new(vault: VaultId, shape: Shape, pages: Box<dyn PageStore>) -> Self {
        Self { vault, shape, pages, cache: Cache::new(shape.cache_bytes) }
    }

    /// A page below the root. Callers hold the view, or are the writer, so that no page changes
    /// between being read and being cached.
    pub(super) fn load(
        &self,
        id: &PageId,
        key: &[u8; SECRET_BYTES],
    ) -> Result<Arc<Page>, VaultError> {
        if let Some(page) = self.cache.get(id)? {
            return Ok(page);
        }
        let page = self.open(id, key)?;
        self.cache.put(*id, Arc::clone(&page))?;
        Ok(page)
    }

    /// The same page, which is not kept.
    pub(super) fn look(
        &self,
        id: &PageId,
        key: &[u8; SECRET_BYTES],
    ) -> Result<Arc<Page>, VaultError> {
        match self.cache.peek(id)? {
            Some(page) => Ok(page),
            None => self.open(id, key),
        }
    }

    /// Has pages in memory in the place of others.
    pub(super) fn swap(
        &self,
        replaced: &[PageId],
        new: impl Iterator<Item = (PageId, Arc<Page>)>,
    ) -> Result<(), VaultError> {
        replaced.iter().try_for_each(|id| self.cache.drop_page(id))?;
        // The root page is held by the view itself.
        let mut new = new.filter(|(_, page)| page.root().is_none());
        new.try_for_each(|(id, page)| self.cache.put(id, page))
    }

    fn open(&self, id: &PageId, key: &[u8; SECRET_BYTES]) -> Result<Arc<Page>, VaultError> {
        let stored = self
            .pages
            .get(id)?
            .ok_or_else(|| VaultError::Damaged(format!("page {} is missing", hex(id))))?;
        Ok(Arc::new(Page::open(self.vault, id, key, false, &stored)?))
    }
}
