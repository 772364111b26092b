//! Making a tree, and opening one after whatever happened before.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, RwLock, atomic::AtomicBool},
};

use uuid::Builder;

#[cfg(feature = "backup")]
use super::{Place, Seed, Value, folder::FolderDraft};
use super::{
    Shape, Tree, View,
    commit::remove,
    folder::{self, Header},
    ids,
    marker::{EPOCH, OPENINGS, RETIRE},
    openings::{Openings, Whereabouts},
    page::{Items, Page, RootHead, hex},
    retire::RetireList,
    store::Store,
};
use crate::{
    crypto::{Secret, random, random_secret},
    durable,
    event::VaultId,
    own,
    vault::{
        OpenVaultError, PageStoreKind, VaultError,
        pages::{Batch, MemoryPages, PageStore, PagesAside},
        root::{MemorySlot, OpeningNumber, Root, RootSlot, Slot, SlotConfig},
    },
};

/// How a vault's folder is opened.
///
/// ```
/// use oubliette::{vault::OpenAs, *};
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// # let vault = Vault::create(&folder, root.as_path())?;
/// # let id = vault.id();
/// # drop(vault);
/// // A report reads the vault and leaves it as it is.
/// let vault = Vault::open_as(&folder, root.as_path(), OpenAs::ReadOnly)?;
/// assert!(vault.is_read_only());
/// # drop(vault);
/// // The folder was moved to another disk, by a tool that copies. The old one is gone.
/// # let moved = dir.path().join("moved");
/// # std::fs::rename(&folder, &moved)?;
/// let vault = Vault::open_as(&moved, root.as_path(), OpenAs::TheOne)?;
/// # assert_eq!(vault.id(), id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OpenAs {
    /// As the folder that was opened last with its root slot. One that is a copy, or was restored, is
    /// refused: two folders over one slot destroy each other's keys.
    #[default]
    Known,
    /// As the one folder of this root slot from now on, though it is a copy or was restored. Anyone who
    /// says so makes sure that no other folder is used with the slot: another one is refused from
    /// now on, and after the next erasure it cannot be read.
    TheOne,
    /// To be read, whatever it is. Nothing is written, neither to the folder nor to the slot, so that
    /// a disk may be read-only: the pages are copied to the system's folder for temporary files. Whatever
    /// would write fails with [`VaultError::ReadOnly`]. While it is open, the slot opens for no one who
    /// would write to it.
    ///
    /// Erasures that were cut off, or announced elsewhere, are not completed: opening a
    /// [layer](crate::layer::Oubliette) over it fails where there are any.
    ReadOnly,
}

impl Tree {
    /// Makes an empty tree in an empty page store and a new slot.
    pub(crate) fn create(
        pages: Box<dyn PageStore>,
        slot: Box<dyn RootSlot>,
        shape: Shape,
    ) -> Result<Self, VaultError> {
        Self::create_of(pages, slot, shape, Whereabouts::default(), new_vault()?)
    }

    fn create_of(
        pages: Box<dyn PageStore>,
        slot: Box<dyn RootSlot>,
        shape: Shape,
        here: Whereabouts,
        (vault, identity): (VaultId, Secret),
    ) -> Result<Self, VaultError> {
        let (key, opening) = (random_secret()?, OpeningNumber::first()?);
        let root = Root { vault, epoch: 0, key, page: ids::inner()?, opening };
        let head = RootHead { epoch: 0, identity };
        let openings = Openings { numbers: [opening; 2], at: here };
        let openings = openings.seal(vault, &head.identity)?;
        let page = Page::new(1, Some(head), &Items::Leaf(Vec::new()));
        let sealed = page.seal(vault, &root.page, &root.key)?;
        pages.apply(Batch {
            puts: vec![
                (root.page.to_vec(), sealed),
                (EPOCH.to_vec(), root.epoch.to_be_bytes().to_vec()),
                (OPENINGS.to_vec(), openings),
            ],
            removals: Vec::new(),
        })?;
        pages.flush()?;
        slot.write(&root)?;
        Self::assemble(Store::new(vault, shape, pages), slot, root, page)
    }

    /// Opens a tree: makes sure that the slot holds one root and that it is on the disk, leaves the
    /// number of this opening in the pages and in the slot, and removes what an erasure that was cut
    /// off left lying.
    ///
    /// # Errors
    /// [`OpenVaultError::RolledBack`], [`OpenVaultError::SlotOutdated`] and [`VaultError::Damaged`] where
    /// the pages do not belong to the root; unless it is opened as the one,
    /// [`OpenVaultError::FolderCopied`], [`OpenVaultError::FolderOld`] and [`OpenVaultError::SlotOld`]. Then
    /// nothing was written.
    pub(super) fn open_here(
        pages: Box<dyn PageStore>,
        slot: Box<dyn RootSlot>,
        shape: Shape,
        here: Whereabouts,
        as_the_one: bool,
    ) -> Result<Self, OpenVaultError> {
        let root = slot.read()?;
        // Looked at first: a mirror's root that these pages do not know must not take the place of
        // the slot's own.
        let page = root_page(&*pages, &root)?;
        let tree = Self::assemble(Store::new(root.vault, shape, pages), slot, root.clone(), page)?;
        let stored = tree.store.pages.get(OPENINGS)?;
        let open = |stored: Vec<u8>| Openings::open(root.vault, &tree.identity, &stored);
        let known = stored.map(open).transpose()?.flatten();
        if !as_the_one {
            Openings::admit(known.as_ref(), root.opening, root.vault, &here)?;
        }
        // What the pages forget from here on must not come back in the slot.
        tree.slot.settle()?;
        let root = tree.note_opening(here.clone(), as_the_one)?;
        tree.slot.write(&root)?;
        tree.forget_number_before(here)?;
        tree.clean_up()?;
        Ok(tree)
    }

    /// Leaves a fresh number in the pages, durably, beside the one that is in the slot. Returns the
    /// root with it, which the slot is yet to take.
    ///
    /// Opened as the one, the folder may be a copy with a copy of the slot: the number that was there is
    /// in the other's slot as well, and must not open it here. So it is not kept; where a crash comes before the
    /// slot has the new one, somebody must say again which folder is the one.
    pub(super) fn note_opening(
        &self,
        here: Whereabouts,
        as_the_one: bool,
    ) -> Result<Root, VaultError> {
        let mut root = self.view()?.root.clone();
        let before = root.opening;
        root.opening = before.next()?;
        let numbers = [if as_the_one { root.opening } else { before }, root.opening];
        self.put_openings(&Openings { numbers, at: here })?;
        self.store.pages.flush()?;
        self.view.write().map_err(|_| VaultError::Poisoned)?.root = root.clone();
        Ok(root)
    }

    /// Of the two numbers only the slot's own, now that the slot has it: another slot that holds the one before is
    /// a copy, and belongs to another folder. Not flushed, for this is no opening's condition: a crash that loses it
    /// leaves both.
    fn forget_number_before(&self, here: Whereabouts) -> Result<(), VaultError> {
        let number = self.view()?.root.opening;
        self.put_openings(&Openings { numbers: [number; 2], at: here })
    }

    fn put_openings(&self, openings: &Openings) -> Result<(), VaultError> {
        let vault = self.view()?.root.vault;
        let puts = vec![(OPENINGS.to_vec(), openings.seal(vault, &self.identity)?)];
        self.store.pages.apply(Batch { puts, ..Batch::default() })
    }

    /// A tree in memory, which no one else ever sees.
    pub(crate) fn in_memory() -> Result<Self, VaultError> {
        let (pages, slot) = (MemoryPages::default(), MemorySlot::default());
        Self::create(Box::new(pages), Box::new(slot), Shape::default())
    }

    /// The same, with this id and identity, for the vectors of `docs/format.md`.
    #[cfg(test)]
    pub(crate) fn as_vector(vault: VaultId, identity: Secret) -> Result<Self, VaultError> {
        let (pages, slot) = (MemoryPages::default(), MemorySlot::default());
        let (shape, here) = (Shape::default(), Whereabouts::default());
        Self::create_of(Box::new(pages), Box::new(slot), shape, here, (vault, identity))
    }

    /// Makes a vault's tree: such pages in `folder`, the root slot where the configuration says.
    ///
    /// # Errors
    /// [`OpenVaultError::NotEmpty`]; [`OpenVaultError::Slot`] where the slot exists, is in the folder, or has no folder,
    /// and those of its mirrors and key-encryption key.
    pub(crate) fn create_at(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        kind: PageStoreKind,
    ) -> Result<Self, OpenVaultError> {
        let slot = slot.into();
        slot.refuse_within(folder)?;
        slot.refuse_missing_folder()?;
        let lock = folder::claim(folder)?;
        let slot = Slot::create(slot.of_vault_in(folder))?;
        let pages = kind.open(&folder.join(kind.folder()))?;
        let here = Whereabouts::of(folder)?;
        let (slot, shape) = (Box::new(slot), Shape::default());
        let mut tree = Self::create_of(pages, slot, shape, here, new_vault()?)?;
        folder::write_header(folder, Header { vault: tree.vault_id(), pages: kind })?;
        tree._lock = Some(lock);
        Ok(tree)
    }

    /// Opens a vault's tree. Nothing is made, but mirrors that are asked for and the slot where only
    /// a mirror is left: what is missing is an error.
    ///
    /// # Errors
    /// [`OpenVaultError::NotFound`], [`OpenVaultError::NotAVault`], [`VaultError::NewerFormat`],
    /// [`OpenVaultError::InUse`], [`OpenVaultError::Slot`], [`OpenVaultError::FolderCopied`],
    /// [`OpenVaultError::FolderOld`], [`OpenVaultError::SlotOld`], and those of pages that do not belong to the root.
    pub(crate) fn open_as(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        how: OpenAs,
    ) -> Result<Self, OpenVaultError> {
        if how == OpenAs::ReadOnly {
            return Self::open_to_read(folder, slot.into());
        }
        // First of all: a folder that is none of ours gets no lock.
        folder::read_header(folder)?;
        let lock = folder::lock(folder)?;
        // Its name: who made or restored it may have been killed before that was durable. Lost, what is acknowledged
        // from now on would be half a vault, or a draft, which the next restoration empties. The names in it the page
        // store makes durable, before it opens anything.
        durable::sync_folder(durable::parent(folder)).map_err(VaultError::from_io)?;
        // Again: until we had the lock, another process may have moved the pages.
        let header = folder::read_header(folder)?;
        // Its database would write wherever a link leads.
        own::refuse_link(&header.pages_in(folder))?;
        let slot = Slot::open(slot.into().of_vault_in(folder), header.vault)?;
        // Before the pages are touched: they need not be opened for a slot that does not fit.
        slot.read()?;
        let pages = header.pages.open(&header.pages_in(folder))?;
        let here = Whereabouts::of(folder)?;
        let as_the_one = how == OpenAs::TheOne;
        let mut tree = Self::open_here(pages, Box::new(slot), Shape::default(), here, as_the_one)?;
        // Only now it is sure which pages are the vault's.
        for other in PageStoreKind::ALL.into_iter().filter(|kind| *kind != header.pages) {
            folder::remove_pages(folder, other)?;
        }
        tree._lock = Some(lock);
        Ok(tree)
    }

    /// Neither the folder nor the slot is written to; whether the folder is a copy does not matter.
    fn open_to_read(folder: &Path, slot: SlotConfig) -> Result<Self, OpenVaultError> {
        folder::read_header(folder)?;
        let lock = folder::lock_to_read(folder)?;
        let header = folder::read_header(folder)?;
        let vault = header.vault;
        // Held: nobody is forgotten while this process has the root that they would be read with.
        let slot = Slot::open_to_read(slot, vault, true)?;
        let root = slot.read()?;
        let pages = PagesAside::open(header.pages, &header.pages_in(folder))?;
        let page = root_page(&pages, &root)?;
        let store = Store::new(vault, Shape::default(), Box::new(pages));
        let mut tree = Self::assemble(store, Box::new(slot), root, page)?;
        (tree.read_only, tree._lock) = (true, lock);
        Ok(tree)
    }

    /// Gives a copy of a vault's folder a slot of its own, into which nothing is written yet: the next
    /// erasure writes a fresh root to it, under which no other folder opens, and is to follow at once. The
    /// slot `from`, which the copy had in common with the folder that it was copied from, is read and
    /// stays as it is, open or not.
    ///
    /// Where it is cut off before that erasure, the copy does not open over `from` any more, and this may
    /// be repeated.
    ///
    /// # Errors
    /// As of [`Tree::open_as`] and [`Tree::create_at`].
    pub(crate) fn give_own_slot(
        folder: &Path,
        from: SlotConfig,
        to: SlotConfig,
    ) -> Result<Self, OpenVaultError> {
        to.refuse_within(folder)?;
        to.refuse_missing_folder()?;
        folder::read_header(folder)?;
        let lock = folder::lock(folder)?;
        let header = folder::read_header(folder)?;
        own::refuse_link(&header.pages_in(folder))?;
        let vault = header.vault;
        let mut root = Slot::open_to_read(from, vault, false)?.read()?;
        let pages = header.pages.open(&header.pages_in(folder))?;
        let page = root_page(&*pages, &root)?;
        let here = Whereabouts::of(folder)?;
        let identity = page.root().map(|head| &head.identity);
        let known = pages.get(OPENINGS)?.zip(identity);
        let open = |(stored, identity): (Vec<u8>, _)| Openings::open(vault, identity, &stored);
        let known = known.map(open).transpose()?.flatten();
        let is_its_own =
            |known: Openings| known.are_of(&here) && known.numbers.contains(&root.opening);
        if known.is_some_and(is_its_own) {
            return Err(OpenVaultError::OwnSlot);
        }
        // What is noted below must not name the number in `from`: a copy in which this was cut off would
        // be taken for the folder that belongs to it.
        root.opening = root.opening.next()?;
        let slot = Box::new(Slot::create(to.of_vault_in(folder))?);
        let store = Store::new(vault, Shape::default(), pages);
        let mut tree = Self::assemble(store, slot, root, page)?;
        tree.clean_up()?;
        tree.note_opening(here, false)?;
        tree._lock = Some(lock);
        Ok(tree)
    }

    /// Makes a vault's tree of these values, in ascending order of places, in a folder whose header is
    /// still to be completed, when the tree is closed. A slot that is there is overwritten, which erases
    /// its root.
    ///
    /// # Errors
    /// [`OpenVaultError::NotEmpty`], those of making a slot, and those of the values.
    #[cfg(feature = "backup")]
    pub(crate) fn load_at<E: From<VaultError> + From<OpenVaultError>>(
        folder: &Path,
        slot: Slot,
        seed: Seed,
        values: impl Iterator<Item = Result<(Place, Value), E>>,
    ) -> Result<(Self, FolderDraft), E> {
        let draft = folder::begin_draft(folder)?;
        let kind = PageStoreKind::default();
        let pages = kind.open(&folder.join(kind.folder()))?;
        let slot = || -> Result<Box<dyn RootSlot>, VaultError> { Ok(Box::new(slot)) };
        let at = Whereabouts::of(folder)?;
        let tree = Self::load(pages, slot, Shape::default(), seed, at, values)?;
        Ok((tree, draft))
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
            read_only: false,
            _lock: None,
        })
    }

    /// Removes the pages that an unfinished erasure left: the old ones if its root is in the
    /// slot, the new ones if not.
    fn clean_up(&self) -> Result<(), VaultError> {
        let Some(stored) = self.store.pages.get(RETIRE)? else { return Ok(()) };
        let list = match RetireList::open(self.store.vault, &self.identity, &stored) {
            Err(VaultError::Damaged(_)) => {
                // It only says which ciphertext is of no use any more: no reason to withhold the rest.
                tracing::warn!(vault = %self.store.vault, "the retire list is damaged; pages are left");
                return Ok(());
            }
            list => list?,
        };
        let epoch = self.epoch()?;
        let unneeded = if list.epoch <= epoch { &list.replaced } else { &list.added };
        remove(&self.store, unneeded, epoch)?;
        self.store.pages.flush()
    }
}

/// The id and the identity of a vault that is being made.
fn new_vault() -> Result<(VaultId, Secret), VaultError> {
    Ok((VaultId(Builder::from_random_bytes(random()?).into_uuid()), random_secret()?))
}

pub(super) fn root_page(pages: &dyn PageStore, root: &Root) -> Result<Page, OpenVaultError> {
    if let Some(stored) = pages.get(&root.page)? {
        return Ok(Page::open(root.vault, &root.page, &root.key, true, &stored)?);
    }
    let reached = match pages.get(EPOCH)? {
        Some(bytes) => <[u8; 8]>::try_from(bytes.as_slice()).ok().map(u64::from_be_bytes),
        None => None,
    };
    Err(match reached {
        Some(vault) if vault > root.epoch => {
            OpenVaultError::SlotOutdated { slot: root.epoch, vault }
        }
        Some(vault) if vault < root.epoch => OpenVaultError::RolledBack { epoch: root.epoch },
        _ => VaultError::Damaged(format!("the root page {} is missing", hex(&root.page))).into(),
    })
}
