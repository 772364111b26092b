//! A whole tree from values in order: pages are filled one after the other, from the leaves up,
//! and each is written once.

use super::{
    Place, Shape, Tree, Value,
    commit::sealed_page,
    ids,
    marker::{EPOCH, OPENINGS},
    openings::{Openings, Whereabouts},
    page::{Child, Entry, Items, Page, PageId, RootHead},
    rewrite::{cut, separator},
    store::Store,
};
use crate::{
    crypto::{Secret, random_secret},
    event::VaultId,
    vault::{
        VaultError,
        pages::{Batch, PageStore},
        root::{OpeningNumber, Root, RootSlot},
    },
};

/// What a tree is to be that is made as a whole.
pub(crate) struct Seed {
    pub(crate) vault: VaultId,
    pub(crate) identity: Secret,
    pub(crate) epoch: u64,
}

impl Tree {
    /// Makes a tree of these values, in ascending order of places, in an empty page store, under
    /// a fresh root key. The slot is asked for, and written, when all pages are on the disk.
    pub(crate) fn load<E: From<VaultError>>(
        pages: Box<dyn PageStore>,
        slot: impl FnOnce() -> Result<Box<dyn RootSlot>, VaultError>,
        shape: Shape,
        seed: Seed,
        at: Whereabouts,
        values: impl Iterator<Item = Result<(Place, Value), E>>,
    ) -> Result<Self, E> {
        let store = Store::new(seed.vault, shape, pages);
        let mut loader = Loader {
            store,
            levels: Vec::new(),
            batch: Batch::default(),
            parent: PageId::default(),
            leaves: 0,
        };
        for value in values {
            let (place, value) = value?;
            loader.add_entry(place, value)?;
        }
        Ok(loader.finish(slot, seed, at)?)
    }
}

struct Loader {
    store: Store,
    /// What is not in a page yet, from the leaves' entries up.
    levels: Vec<Level>,
    batch: Batch,
    /// Near which the next leaves are. Their own parent has no id yet.
    parent: PageId,
    leaves: usize,
}

/// About as many leaves as have one parent are together in the page store.
const NEIGHBOURS: usize = 128;

/// Items that are not in a page yet.
enum Waiting {
    Entries(Vec<(Place, Value)>),
    Children { level: u8, children: Vec<Child> },
}

impl Waiting {
    fn items(&self) -> Items<'_> {
        match self {
            Self::Entries(entries) => {
                let entries = entries.iter().map(|(place, value)| Entry { place, value });
                Items::Leaf(entries.collect())
            }
            Self::Children { level, children } => {
                Items::Inner { level: *level, children: children.clone() }
            }
        }
    }
}

struct Level {
    items: Waiting,
    bytes: usize,
    /// The bound of the next page: none of its places is less.
    low: Place,
    /// The last place of the last page.
    last: Place,
}

impl Loader {
    fn add_entry(&mut self, place: Place, value: Value) -> Result<(), VaultError> {
        let level = self.level(0);
        level.bytes += Entry { place: &place, value: &value }.bytes();
        if let Waiting::Entries(entries) = &mut level.items {
            entries.push((place, value));
        }
        self.emit_full(0)
    }

    fn add_child(&mut self, to: usize, child: Child) -> Result<(), VaultError> {
        let level = self.level(to);
        level.bytes += child.bytes();
        if let Waiting::Children { children, .. } = &mut level.items {
            children.push(child);
        }
        self.emit_full(to)
    }

    fn level(&mut self, index: usize) -> &mut Level {
        if self.levels.len() == index {
            let items = match u8::try_from(index) {
                Ok(0) | Err(_) => Waiting::Entries(Vec::new()),
                Ok(level) => Waiting::Children { level, children: Vec::new() },
            };
            self.levels.push(Level { items, bytes: 0, low: Place::new(), last: Place::new() });
        }
        &mut self.levels[index]
    }

    /// Keeps at least a page's worth, so that the last pages can be cut evenly.
    fn emit_full(&mut self, index: usize) -> Result<(), VaultError> {
        // With three pages' worth the first of the pages that they would be cut into goes. What is left in the end is cut
        // into pages that are about equally full; a greedy writer would leave a last one with a single item.
        let limit = self.most_bytes(index);
        if self.levels[index].bytes < 3 * limit {
            return Ok(());
        }
        let cuts = self.cuts(index);
        match cuts.first() {
            Some(&first) if cuts.len() > 1 => self.emit(index, first),
            _ => Ok(()),
        }
    }

    /// How many items go into each page. An inner page of one child would be a level for nothing.
    fn cuts(&self, index: usize) -> Vec<usize> {
        let fewest = if index == 0 { 1 } else { 2 };
        cut(&self.levels[index].items.items().sizes(), self.most_bytes(index), fewest)
    }

    fn most_bytes(&self, index: usize) -> usize {
        self.store.shape.most_bytes(u8::try_from(index).unwrap_or(u8::MAX))
    }

    /// Writes the first so many items of a level as a page.
    fn emit(&mut self, index: usize, count: usize) -> Result<(), VaultError> {
        let (id, key) = (self.new_id(index)?, random_secret()?);
        let level = &mut self.levels[index];
        let (items, low) = match &mut level.items {
            Waiting::Entries(entries) => {
                let rest = entries.split_off(count.min(entries.len()));
                let part = std::mem::replace(entries, rest);
                if let Some((last, _)) = part.last() {
                    level.last.clone_from(last);
                }
                let next = entries.first().map(|(next, _)| separator(&level.last, next));
                (
                    Waiting::Entries(part),
                    std::mem::replace(&mut level.low, next.unwrap_or_default()),
                )
            }
            Waiting::Children { level: height, children } => {
                let rest = children.split_off(count.min(children.len()));
                let part = std::mem::replace(children, rest);
                let next = children.first().map(|next| next.low.clone());
                let low = std::mem::replace(&mut level.low, next.unwrap_or_default());
                (Waiting::Children { level: *height, children: part }, low)
            }
        };
        let items = items.items();
        level.bytes -= items.sizes().iter().sum::<usize>();
        let page = Page::new(1, None, &items);
        self.write(sealed_page(self.store.vault, &id, &key, &page)?)?;
        self.add_child(index + 1, Child { low, id, key })
    }

    /// The leaves of one parent have ids that begin alike, so that a page store keeps them together. Here the parent is
    /// made after its leaves: an id that is never used takes the place of its own.
    fn new_id(&mut self, index: usize) -> Result<PageId, VaultError> {
        if index > 0 {
            return ids::inner();
        }
        if self.leaves.is_multiple_of(NEIGHBOURS) {
            self.parent = ids::inner()?;
        }
        self.leaves += 1;
        ids::leaf(&self.parent)
    }

    fn write(&mut self, page: (Vec<u8>, Vec<u8>)) -> Result<(), VaultError> {
        self.batch.puts.push(page);
        if self.batch.puts.len() >= self.store.shape.batch_pages {
            self.store.pages.apply(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    fn finish(
        mut self,
        slot: impl FnOnce() -> Result<Box<dyn RootSlot>, VaultError>,
        seed: Seed,
        at: Whereabouts,
    ) -> Result<Tree, VaultError> {
        self.level(0);
        // Upwards, until all of a level fits into one page: that is the root page, which is sealed under the root key and
        // holds the identity besides. Writing a level adds to the next one, so that the last level is not known before.
        let mut index = 0;
        loop {
            let cuts = self.cuts(index);
            if index + 1 == self.levels.len() && cuts.len() < 2 {
                break;
            }
            for count in cuts {
                self.emit(index, count)?;
            }
            index += 1;
        }
        let root = Root {
            vault: seed.vault,
            epoch: seed.epoch,
            key: random_secret()?,
            page: ids::inner()?,
            opening: OpeningNumber::first()?,
        };
        let openings = Openings { numbers: [root.opening; 2], at };
        let openings = openings.seal(seed.vault, &seed.identity)?;
        let head = RootHead { epoch: seed.epoch, identity: seed.identity };
        let page = Page::new(1, Some(head), &self.levels[index].items.items());
        self.write(sealed_page(seed.vault, &root.page, &root.key, &page)?)?;
        self.batch.puts.push((EPOCH.to_vec(), root.epoch.to_be_bytes().to_vec()));
        self.batch.puts.push((OPENINGS.to_vec(), openings));
        // The slot last, once all that it opens is on the medium: a crash before leaves pages that no root opens, and
        // whatever the slot held.
        self.store.pages.apply(self.batch)?;
        self.store.pages.flush()?;
        let slot = slot()?;
        slot.write(&root)?;
        Tree::assemble(self.store, slot, root, page)
    }
}
