//! Making a tree, and opening one after whatever happened before.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, RwLock, atomic::AtomicBool},
};

use uuid::Uuid;

#[cfg(feature = "backup")]
use super::{Place, Seed, Value, folder::FolderDraft};
use super::{
    Shape, Tree, View,
    commit::remove,
    folder::{self, Header},
    ids,
    page::{Items, Page, RootHead, hex},
    retire::RetireList,
    store::Store,
};
#[cfg(feature = "backup")]
use crate::vault::root::Slot;
use crate::{
    crypto::{random, random_secret},
    own,
    vault::{
        PageStoreKind, VaultError, VaultId,
        pages::{Batch, MemoryPages, PageStore},
        root::{MemorySlot, Root, RootSlot, SlotConfig},
    },
};

/// The name of the retire list in the page store; shorter than a page's id.
pub(super) const RETIRE: &[u8] = b"retire";

/// The name under which the page store says, in clear, which epoch it reached at least. It only
/// tells one wrong state from another: what opens is decided by keys.
pub(super) const EPOCH: &[u8] = b"epoch";

impl Tree {
    /// Makes an empty tree in an empty page store and a new slot.
    pub(crate) fn create(
        pages: Box<dyn PageStore>,
        slot: Box<dyn RootSlot>,
        shape: Shape,
    ) -> Result<Self, VaultError> {
        let vault = VaultId(Uuid::from_bytes(random()?));
        let root = Root { vault, epoch: 0, key: random_secret()?, page: ids::inner()? };
        let head = RootHead { epoch: 0, identity: random_secret()? };
        let page = Page::new(1, Some(head), &Items::Leaf(Vec::new()));
        let sealed = page.seal(vault, &root.page, &root.key)?;
        pages.apply(Batch {
            puts: vec![
                (root.page.to_vec(), sealed),
                (EPOCH.to_vec(), root.epoch.to_be_bytes().to_vec()),
            ],
            removals: Vec::new(),
        })?;
        pages.flush()?;
        slot.write(&root)?;
        Self::assemble(Store::new(vault, shape, pages), slot, root, page)
    }

    /// Opens a tree: makes sure that the slot holds one root and that it is on the disk, and
    /// removes what an erasure that was cut off left lying.
    ///
    /// # Errors
    /// [`VaultError::RolledBack`], [`VaultError::SlotOutdated`] and [`VaultError::Damaged`] where
    /// the pages do not belong to the root.
    pub(crate) fn open(
        pages: Box<dyn PageStore>,
        slot: Box<dyn RootSlot>,
        shape: Shape,
    ) -> Result<Self, VaultError> {
        let root = slot.read()?;
        // Looked at first: a mirror's root that these pages do not know must not take the place of
        // the slot's own.
        let page = root_page(&*pages, &root)?;
        slot.write(&root)?;
        let store = Store::new(root.vault, shape, pages);
        let tree = Self::assemble(store, slot, root, page)?;
        tree.clean_up()?;
        Ok(tree)
    }

    /// A tree in memory, which nobody else ever sees.
    pub(crate) fn in_memory() -> Result<Self, VaultError> {
        let (pages, slot) = (MemoryPages::default(), MemorySlot::default());
        Self::create(Box::new(pages), Box::new(slot), Shape::default())
    }

    /// Makes a vault's tree: such pages in `folder`, the root slot where the configuration says.
    ///
    /// # Errors
    /// [`VaultError::NotEmpty`] where the folder is not empty, or the slot's file exists;
    /// [`VaultError::SlotWithin`]; those of the slot's mirrors and key-encryption key.
    pub(crate) fn create_at(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        kind: PageStoreKind,
    ) -> Result<Self, VaultError> {
        let slot = slot.into();
        slot.refuse_within(folder)?;
        let lock = folder::claim(folder)?;
        let slot = slot.create()?;
        let pages = kind.open(&folder.join(kind.folder()))?;
        let mut tree = Self::create(pages, Box::new(slot), Shape::default())?;
        folder::write_header(folder, Header { vault: tree.vault_id(), pages: kind })?;
        tree._lock = Some(lock);
        Ok(tree)
    }

    /// Opens a vault's tree. Nothing is made, but mirrors that are asked for and the slot where only
    /// a mirror is left: what is missing is an error.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::NotAVault`], [`VaultError::NewerFormat`],
    /// [`VaultError::InUse`], [`VaultError::SlotMissing`], [`VaultError::SlotOfAnotherVault`],
    /// [`VaultError::WrongKek`], and those of [`Tree::open`].
    pub(crate) fn open_at(folder: &Path, slot: impl Into<SlotConfig>) -> Result<Self, VaultError> {
        // First of all: a folder that is none of ours gets no lock.
        folder::read_header(folder)?;
        let lock = folder::lock(folder)?;
        // Again: until we had the lock, another process may have moved the pages.
        let header = folder::read_header(folder)?;
        // Its database would write wherever a link leads.
        own::refuse_link(&header.pages_in(folder))?;
        let slot = slot.into().open(header.vault)?;
        // Before the pages are touched: they need not be opened for a slot that does not fit.
        slot.read()?;
        let pages = header.pages.open(&header.pages_in(folder))?;
        let mut tree = Self::open(pages, Box::new(slot), Shape::default())?;
        // Only now it is sure which pages are the vault's.
        for other in PageStoreKind::ALL.into_iter().filter(|kind| *kind != header.pages) {
            folder::remove_pages(folder, other)?;
        }
        tree._lock = Some(lock);
        Ok(tree)
    }

    /// Makes a vault's tree of these values, in ascending order of places: in the folder `draft`,
    /// which is still to be put in its place, when the tree is closed. A slot that is there is overwritten, which erases
    /// its root.
    ///
    /// # Errors
    /// Those of making a slot, and those of the values.
    #[cfg(feature = "backup")]
    pub(crate) fn load_at<E: From<VaultError>>(
        draft: &Path,
        slot: Slot,
        seed: Seed,
        values: impl Iterator<Item = Result<(Place, Value), E>>,
    ) -> Result<(Self, FolderDraft), E> {
        let vault = seed.vault;
        let begun = folder::begin_draft(draft)?;
        let kind = PageStoreKind::default();
        let pages = kind.open(&draft.join(kind.folder()))?;
        let slot = || -> Result<Box<dyn RootSlot>, VaultError> { Ok(Box::new(slot)) };
        let tree = Self::load(pages, slot, Shape::default(), seed, values)?;
        folder::write_header(draft, Header { vault, pages: kind })?;
        Ok((tree, begun))
    }

    pub(super) fn assemble(
        store: Store,
        slot: Box<dyn RootSlot>,
        root: Root,
        page: Page,
    ) -> Result<Self, VaultError> {
        let identity = match page.root() {
            Some(head) if head.epoch == root.epoch => head.identity.clone(),
            _ => return Err(VaultError::Damaged("the root page is of another epoch".into())),
        };
        Ok(Self {
            store,
            slot,
            identity,
            view: RwLock::new(View { root, page: Arc::new(page), before: HashMap::new() }),
            writer: Mutex::new(()),
            poisoned: AtomicBool::new(false),
            _lock: None,
        })
    }

    /// Removes the pages that an unfinished erasure left: the old ones if its root is in the
    /// slot, the new ones if not.
    fn clean_up(&self) -> Result<(), VaultError> {
        let Some(stored) = self.store.pages.get(RETIRE)? else { return Ok(()) };
        let Ok(list) = RetireList::open(self.store.vault, &self.identity, &stored) else {
            // It only says which ciphertext is of no use any more: no reason to withhold the rest.
            tracing::warn!(vault = %self.store.vault, "the retire list is damaged; pages are left");
            return Ok(());
        };
        let epoch = self.epoch()?;
        let unneeded = if list.epoch <= epoch { &list.replaced } else { &list.added };
        remove(&self.store, unneeded, epoch)?;
        self.store.pages.flush()
    }
}

pub(super) fn root_page(pages: &dyn PageStore, root: &Root) -> Result<Page, VaultError> {
    if let Some(stored) = pages.get(&root.page)? {
        return Page::open(root.vault, &root.page, &root.key, true, &stored);
    }
    let reached = match pages.get(EPOCH)? {
        Some(bytes) => <[u8; 8]>::try_from(bytes.as_slice()).ok().map(u64::from_be_bytes),
        None => None,
    };
    Err(match reached {
        Some(vault) if vault > root.epoch => VaultError::SlotOutdated { slot: root.epoch, vault },
        Some(vault) if vault < root.epoch => VaultError::RolledBack { epoch: root.epoch },
        _ => VaultError::Damaged(format!("the root page {} is missing", hex(&root.page))),
    })
}
