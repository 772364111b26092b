//! Opened pages: from the cache, or else from the page store.

use std::sync::Arc;

use super::{
    Shape,
    cache::Cache,
    page::{Page, PageId, hex},
};
use crate::{
    crypto::SECRET_BYTES,
    event::VaultId,
    vault::{VaultError, pages::PageStore},
};

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

    fn open(&self, id: &PageId, key: &[u8; SECRET_BYTES]) -> Result<Arc<Page>, VaultError> {
        let stored = self
            .pages
            .get(id)?
            .ok_or_else(|| VaultError::Damaged(format!("page {} is missing", hex(id))))?;
        Ok(Arc::new(Page::open(self.vault, id, key, false, &stored)?))
    }
}
