//! Making a planned change durable.

use std::sync::atomic::Ordering;

use super::{
    Erasure, Tree,
    edits::Edits,
    marker::{EPOCH, RETIRE},
    page::{Page, PageId},
    retire::RetireList,
    rewrite::{Rewritten, rewrite},
    store::Store,
};
use crate::{
    crypto::Secret,
    event::VaultId,
    vault::{VaultError, pages::Batch},
};

/// After how many seals the root's key is replaced, far below the 2³² that random nonces allow.
const MOST_ROOT_SEALS: u64 = 1 << 30;

impl Tree {
    /// Writes one change: the committer calls it, one at a time.
    pub(super) fn write(&self, erasure: Erasure, fresh: bool) -> Result<(), VaultError> {
        self.refuse_read_only()?;
        let edits = Edits::new(erasure)?;
        if edits.all().is_empty() && !fresh {
            return self.refuse_poisoned();
        }
        let _writer = self.writer.lock().map_err(|_| VaultError::Poisoned)?;
        let (root, page) = {
            let view = self.view()?;
            (view.root.clone(), view.page.clone())
        };
        if !fresh && page.version < MOST_ROOT_SEALS {
            let rewritten = rewrite(&self.store, &root, &page, &edits, false)?;
            // What is too much for one batch is swapped in by its root, as an erasure is.
            if rewritten.added.len() + rewritten.renewed.len() <= self.store.shape.batch_pages {
                return self.or_poison(self.commit_in_place(rewritten));
            }
        }
        let rewritten = rewrite(&self.store, &root, &page, &edits, true)?;
        self.or_poison(self.commit_fresh(rewritten))
    }

    /// Nothing is known about the disk after an error: until the tree is reopened it neither
    /// reads nor writes.
    fn or_poison(&self, outcome: Result<(), VaultError>) -> Result<(), VaultError> {
        if outcome.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        outcome
    }

    /// One atomic batch. Readers keep seeing what was before until it is durable.
    fn commit_in_place(&self, rewritten: Rewritten) -> Result<(), VaultError> {
        let mut batch = Batch::default();
        for (id, written) in rewritten.renewed.iter().chain(&rewritten.added) {
            batch.puts.push(sealed_page(self.store.vault, id, &written.key, &written.page)?);
        }
        batch.removals = rewritten.replaced.iter().map(|id| id.to_vec()).collect();
        self.view.write().map_err(|_| VaultError::Poisoned)?.before = rewritten.before;
        self.store.pages.apply(batch)?;
        self.store.pages.flush()?;
        written(rewritten.renewed.len() + rewritten.added.len(), false);

        let mut view = self.view.write().map_err(|_| VaultError::Poisoned)?;
        view.before.clear();
        let new = rewritten.renewed.into_iter().chain(rewritten.added);
        self.store.swap(&rewritten.replaced, new.map(|(id, written)| (id, written.page)))?;
        view.page = rewritten.root_page;
        Ok(())
    }

    /// New pages, flushed; the root, overwritten; only then are the old pages removed.
    fn commit_fresh(&self, rewritten: Rewritten) -> Result<(), VaultError> {
        let (vault, pages) = (self.store.vault, &*self.store.pages);
        let added: Vec<PageId> = rewritten.added.keys().copied().collect();
        let retire =
            RetireList { epoch: rewritten.root.epoch, added, replaced: rewritten.replaced };
        let mut batch = Batch::default();
        batch.puts.push((RETIRE.to_vec(), retire.seal(vault, &self.identity)?));
        for (id, written) in &rewritten.added {
            if batch.puts.len() >= self.store.shape.batch_pages {
                pages.apply(std::mem::take(&mut batch))?;
            }
            batch.puts.push(sealed_page(vault, id, &written.key, &written.page)?);
        }
        pages.apply(batch)?;
        pages.flush()?;

        self.slot.write(&rewritten.root)?;
        written(rewritten.added.len(), true);

        {
            let mut view = self.view.write().map_err(|_| VaultError::Poisoned)?;
            let new = rewritten.added.into_iter().map(|(id, written)| (id, written.page));
            self.store.swap(&retire.replaced, new)?;
            view.root = rewritten.root;
            view.page = rewritten.root_page;
        }
        remove(&self.store, &retire.replaced, retire.epoch)
    }
}

/// Removes pages that the tree of this epoch does not need, and the list that names them. Not
/// flushed: until it is on the disk, so is the list.
pub(super) fn remove(store: &Store, unneeded: &[PageId], epoch: u64) -> Result<(), VaultError> {
    for ids in unneeded.chunks(store.shape.batch_pages) {
        let removals = ids.iter().map(|id| id.to_vec()).collect();
        store.pages.apply(Batch { removals, ..Batch::default() })?;
    }
    store.pages.apply(Batch {
        puts: vec![(EPOCH.to_vec(), epoch.to_be_bytes().to_vec())],
        removals: vec![RETIRE.to_vec()],
    })
}

/// Tells a listener of one write: so many pages, one flush, and, if fresh, a change of root.
fn written(pages: usize, fresh: bool) {
    tracing::trace!(target: "oubliette::vault::writes", pages = pages as u64, fresh);
}

/// A page as the page store takes it.
pub(super) fn sealed_page(
    vault: VaultId,
    id: &PageId,
    key: &Secret,
    page: &Page,
) -> Result<(Vec<u8>, Vec<u8>), VaultError> {
    Ok((id.to_vec(), page.seal(vault, id, key)?))
}
