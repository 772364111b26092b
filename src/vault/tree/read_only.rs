//! Opening a tree without writing anything: a copy that is looked into, a disk that is read-only.

use std::path::Path;

use super::{Shape, Tree, folder, open::root_page, store::Store};
use crate::vault::{
    OpenVaultError,
    pages::PagesAside,
    root::{RootSlot, Slot, SlotConfig},
};

impl Tree {
    /// Neither the folder nor the slot is written to; whether the folder is a copy does not matter.
    pub(super) fn open_to_read(folder: &Path, slot: SlotConfig) -> Result<Self, OpenVaultError> {
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
}
