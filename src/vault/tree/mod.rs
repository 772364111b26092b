//! The erasable map: an ordered map from places to small values whose removed values are gone
//! for good, whatever the database underneath keeps.
//!
//! Used by the other modules of `vault`, most of them by way of `disk`: the committer writes, records
//! and backups read and say what the values mean. `OpenAs` and `Moved` are public. The construction is a
//! key tree: sealed pages, each under a key that its parent page holds, up to one root key in the root
//! slot.
//!
//! # What is forgotten, and why
//!
//! Two ways of writing: [`Tree::put`] writes pages again *in place*, under the key they have;
//! [`Tree::erase_all`] gives every page on the way to a changed place a *fresh* key and id, up to the
//! root, and then overwrites the root slot. What an adversary may have is every byte that the
//! page store ever wrote, and today's slot. The claim: no value that was at a place before the
//! last erasure of that place can be read with these.
//!
//! It rests on the **invariant**: *until its destruction, every page key that ever sealed an
//! entry is on the entry's path, or is held only by superseded pages of which the same is true.*
//!
//! The argument. A page has a *span*, the places that belong to it, and the spans of the pages
//! of one level never overlap. While a page keeps its key, its span only ever grows (when a
//! neighbour vanishes, its places fall to the page before it, or to the page after it where it
//! was the first): a page that splits, or is joined with another, gets a fresh key. So an entry
//! once sealed under a key is in the span of that key's page for as long as the key is in the
//! tree: the page is on the entry's path. A key that is no longer in the tree is only in
//! superseded versions of its former parent. Those are sealed under the parent's key, whose span
//! then held the entry as well, so the same holds of that key, and so on up to the root. Now an
//! erasure of the entry replaces all keys on its path. A page that was not on it never sealed the
//! entry, nor the key of a page that did: it may keep its key. All others are reached by the old
//! root key alone, and of that the slot was the only holder.
//!
//! The forensic test does what the adversary would do, over an archive of all bytes ever written.

mod cache;
mod commit;
mod edits;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod ids;
#[cfg(feature = "backup")]
mod load;
mod marker;
mod moving;
mod open;
mod openings;
mod page;
mod retire;
mod rewrite;
mod store;
#[cfg(test)]
pub(super) mod tests;
mod verify;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use zeroize::Zeroizing;

#[cfg(feature = "backup")]
pub(crate) use self::folder::is_draft_under;
#[cfg(feature = "backup")]
pub use self::folder::is_free;
#[cfg(any(feature = "backup", feature = "drill"))]
pub(crate) use self::folder::read_header;
pub use self::folder::remove_unfinished;
pub use self::moving::Moved;
pub use self::open::OpenAs;
#[cfg(all(test, feature = "backup"))]
pub(crate) use self::openings::Whereabouts;
#[cfg(test)]
pub(crate) use self::store::Sabotage;
#[cfg(feature = "drill")]
pub(crate) use self::verify::CopiedPages;
pub(crate) use self::verify::{Flaw, Seen, Walked};
#[cfg(feature = "backup")]
pub(crate) use self::{edits::joined, folder::FolderDraft, load::Seed, page::MAX_VALUE_BYTES};
pub(crate) use self::{
    edits::{Change, Erasure},
    page::{MAX_PLACE_BYTES, Place, Value},
    store::Shape,
};
use self::{
    folder::FolderLock,
    page::{Page, PageId},
    store::Store,
};
use super::{
    VaultError,
    root::{Root, RootSlot, SlotChange, SlotError, SlotState},
};
use crate::crypto::Secret;
use crate::event::VaultId;

/// The map. All methods block; those that write return when the change is on the disk.
///
/// Readers never wait for the disk to take a write: they see what was before until the new is
/// durable, and wait only while the one is swapped for the other in memory.
pub(crate) struct Tree {
    store: Store,
    slot: Box<dyn RootSlot>,
    identity: Secret,
    view: RwLock<View>,
    writer: Mutex<()>,
    poisoned: AtomicBool,
    read_only: bool,
    /// Dropped last: the folder is free only when the store is closed.
    _lock: Option<FolderLock>,
}

/// What readers see.
struct View {
    root: Root,
    page: Arc<Page>,
    /// Pages as they were before a change that is being written in place.
    before: HashMap<PageId, Arc<Page>>,
}

impl Tree {
    /// Whose tree this is.
    pub(crate) fn vault_id(&self) -> VaultId {
        self.store.vault
    }

    /// A secret of the vault's own that never changes, from which keyed hashes are derived.
    pub(crate) fn identity(&self) -> &Secret {
        &self.identity
    }

    /// How many roots came before. Every erasure makes a new one, and so do rotations and large puts.
    pub(crate) fn epoch(&self) -> Result<u64, VaultError> {
        Ok(self.view()?.root.epoch)
    }

    /// Returns the state of the root slot.
    pub(crate) fn slot(&self) -> Result<SlotState, SlotError> {
        self.slot.state()
    }

    /// Changes how the root slot keeps the root. The tree stays as it is.
    pub(crate) fn change_slot(&self, change: SlotChange) -> Result<(), SlotError> {
        if self.read_only {
            return Err(SlotError::ReadOnly);
        }
        let _writer = self.writer.lock().map_err(|_| SlotError::Poisoned)?;
        let root = self.view().map_err(|_| SlotError::Poisoned)?.root.clone();
        let changed = self.slot.change(&root, change);
        // Of the slot itself: what is wrong with a mirror is told otherwise.
        if let Err(
            SlotError::Storage(_)
            | SlotError::DiskFull(_)
            | SlotError::DiskReadOnly(_)
            | SlotError::Device { .. },
        ) = changed
        {
            self.poisoned.store(true, Ordering::Release);
        }
        changed
    }

    /// The value at a place, as of the last completed write.
    pub(crate) fn get(&self, place: &[u8]) -> Result<Option<Value>, VaultError> {
        let view = self.view()?;
        let (leaf, _) = self.leaf(&view, place, true)?;
        Ok(leaf.find(place).map(|value| Zeroizing::new(value.to_vec())))
    }

    /// At most `limit` values at places from `from` (inclusive) to `to` (exclusive), in order.
    pub(crate) fn range(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Place, Value)>, VaultError> {
        let view = self.view()?;
        let mut found = Vec::new();
        let mut next = Some(from.to_vec());
        while let Some(at) = next {
            let (leaf, after) = self.leaf(&view, &at, true)?;
            for index in leaf.entry_from(&at)..leaf.len() {
                let place = leaf.place(index);
                if found.len() == limit || place >= to {
                    return Ok(found);
                }
                found.push((place.to_vec(), Zeroizing::new(leaf.value(index).to_vec())));
            }
            next = after.filter(|after| after.as_slice() < to && found.len() < limit);
        }
        Ok(found)
    }

    /// Shows `each` the values at places from `from` (inclusive) to `to` (exclusive), in order and
    /// where they are, until there were `enough`; then to the end of the leaf. Returns where to
    /// go on. For walks over everything: leaves that are not in memory do not take the place of
    /// those that are.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        enough: usize,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), VaultError>,
    ) -> Result<Option<Place>, VaultError> {
        let view = self.view()?;
        let mut seen = 0;
        let mut next = Some(from.to_vec());
        while let Some(at) = next {
            if seen >= enough {
                return Ok(Some(at));
            }
            let (leaf, after) = self.leaf(&view, &at, false)?;
            for index in leaf.entry_from(&at)..leaf.len() {
                let place = leaf.place(index);
                if place >= to {
                    return Ok(None);
                }
                each(place, leaf.value(index))?;
                seen += 1;
            }
            next = after.filter(|after| after.as_slice() < to);
        }
        Ok(None)
    }

    /// Makes changes that take nothing away: new values, newer values. What was
    /// there before may still be read from an old copy. All or nothing.
    pub(crate) fn put(&self, changes: Vec<Change>) -> Result<(), VaultError> {
        self.write(Erasure { changes, ..Erasure::default() }, false)
    }

    /// [`Tree::erase_all`] of single places.
    #[cfg(test)]
    pub(crate) fn erase(&self, changes: Vec<Change>) -> Result<(), VaultError> {
        self.erase_all(Erasure { changes, ..Erasure::default() })
    }

    /// Makes changes after whose return the earlier values of all changed places, and everything
    /// ever stored at them, are beyond recovery: fresh keys for all pages on their paths, and a
    /// fresh root key. All or nothing. A place that ends with no value, or with a new one, are
    /// treated alike. Of a range only the pages at its ends are rewritten: what is between
    /// goes with its keys.
    pub(crate) fn erase_all(&self, erasure: Erasure) -> Result<(), VaultError> {
        self.write(erasure, true)
    }

    /// A fresh root key, and a fresh root page, under a new epoch; nothing else changes.
    #[cfg(test)]
    pub(crate) fn rotate_root(&self) -> Result<(), VaultError> {
        self.erase_all(Erasure::default())
    }

    /// The leaf that a place belongs to, and where the next leaf begins. `keep`: whether the leaf
    /// is kept in memory.
    fn leaf(
        &self,
        view: &View,
        place: &[u8],
        keep: bool,
    ) -> Result<(Arc<Page>, Option<Place>), VaultError> {
        let mut page = Arc::clone(&view.page);
        let mut after = None;
        while page.level() > 0 {
            let index = page.child_of(place);
            let (id, key) = page.look_at_child(index);
            let child = match view.before.get(&id) {
                Some(before) => Arc::clone(before),
                None if keep || page.level() > 1 => self.store.load(&id, key)?,
                None => self.store.look(&id, key)?,
            };
            if child.level() + 1 != page.level() {
                return Err(VaultError::Damaged("a page stands at the wrong level".into()));
            }
            if index + 1 < page.len() {
                after = Some((page, index + 1));
            }
            page = child;
        }
        Ok((page, after.map(|(page, index)| page.place(index).to_vec())))
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    fn view(&self) -> Result<std::sync::RwLockReadGuard<'_, View>, VaultError> {
        self.refuse_poisoned()?;
        let view = self.view.read().map_err(|_| VaultError::Poisoned)?;
        // Again: a writer that failed may have held the view until now.
        self.refuse_poisoned()?;
        Ok(view)
    }

    /// Whether it is never written to.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn refuse_read_only(&self) -> Result<(), VaultError> {
        if self.read_only { Err(VaultError::ReadOnly) } else { Ok(()) }
    }

    /// An error if it is no longer known what is on the disk, or in the slot.
    pub(crate) fn refuse_poisoned(&self) -> Result<(), VaultError> {
        if self.poisoned.load(Ordering::Acquire) { Err(VaultError::Poisoned) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({})", self.store.vault)
    }
}
