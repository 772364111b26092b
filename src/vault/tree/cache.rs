//! Opened pages, as many as fit, so that warm reads decrypt nothing.

use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::page::{Page, PageId};
use crate::vault::VaultError;

/// What a page costs besides its items, in bytes, about.
const OVERHEAD_BYTES: usize = 256;

/// The cache. A page that leaves it is wiped as soon as it is not read any more.
pub(super) struct Cache {
    most: usize,
    pages: Mutex<Pages>,
}

struct Pages {
    lru: LruCache<PageId, Arc<Page>>,
    bytes: usize,
}

impl Cache {
    /// A cache of about this many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, pages: Mutex::new(Pages { lru: LruCache::unbounded(), bytes: 0 }) }
    }

    pub(super) fn get(&self, id: &PageId) -> Result<Option<Arc<Page>>, VaultError> {
        let mut pages = self.pages.lock().map_err(|_| VaultError::Poisoned)?;
        Ok(pages.lru.get(id).cloned())
    }

    /// The same for a passer-by, which does not count as use.
    pub(super) fn peek(&self, id: &PageId) -> Result<Option<Arc<Page>>, VaultError> {
        let pages = self.pages.lock().map_err(|_| VaultError::Poisoned)?;
        Ok(pages.lru.peek(id).cloned())
    }

    pub(super) fn put(&self, id: PageId, page: Arc<Page>) -> Result<(), VaultError> {
        let mut pages = self.pages.lock().map_err(|_| VaultError::Poisoned)?;
        pages.bytes += cost(&page);
        if let Some(old) = pages.lru.put(id, page) {
            pages.bytes -= cost(&old);
        }
        while pages.bytes > self.most
            && let Some((_, old)) = pages.lru.pop_lru()
        {
            pages.bytes -= cost(&old);
        }
        Ok(())
    }

    /// Which pages are in it.
    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<PageId> {
        self.pages.lock().unwrap().lru.iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn drop_page(&self, id: &PageId) -> Result<(), VaultError> {
        let mut pages = self.pages.lock().map_err(|_| VaultError::Poisoned)?;
        if let Some(old) = pages.lru.pop(id) {
            pages.bytes -= cost(&old);
        }
        Ok(())
    }
}

fn cost(page: &Page) -> usize {
    OVERHEAD_BYTES + page.bytes() + 4 * page.len()
}
