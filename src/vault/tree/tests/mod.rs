//! The properties of the erasable map, each with a test that can fail.

mod concurrency;
mod crash;
pub(in crate::vault) mod disk;
#[cfg(unix)]
mod files;
mod forensic;
mod hostile;
#[cfg(feature = "backup")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
mod model;
mod rotation;
#[cfg(unix)]
mod slot;
mod verify;

use std::path::Path;

use super::{Change, OpenAs, Place, Sabotage, Shape, Tree, Value, openings::Whereabouts};
use crate::vault::{
    OpenVaultError,
    pages::PageStore,
    root::{RootSlot, SlotConfig},
};

impl Tree {
    /// As of a folder that is nowhere.
    pub(in crate::vault) fn open(
        pages: Box<dyn PageStore>,
        slot: Box<dyn RootSlot>,
        shape: Shape,
    ) -> Result<Self, OpenVaultError> {
        Self::open_here(pages, slot, shape, Whereabouts::default(), false)
    }

    fn open_at(folder: &Path, slot: impl Into<SlotConfig>) -> Result<Self, OpenVaultError> {
        Self::open_as(folder, slot, OpenAs::Known)
    }

    /// The same vault as it is now, in memory and under a root of its own: what a rollback to this
    /// moment brings back.
    #[cfg(feature = "backup")]
    pub(in crate::vault) fn twin(&self) -> Self {
        use super::Seed;
        use crate::vault::{pages::MemoryPages, root::MemorySlot};
        let (vault, identity) = (self.vault_id(), self.identity().clone());
        let seed = Seed { vault, identity, epoch: self.epoch().unwrap() + 1 };
        let (pages, here) = (Box::new(MemoryPages::default()), Whereabouts::default());
        let slot = || Ok(Box::new(MemorySlot::default()) as Box<dyn RootSlot>);
        let values = self.range(&[], &[0xff; 65], usize::MAX).unwrap().into_iter();
        Self::load(
            pages,
            slot,
            Shape::default(),
            seed,
            here,
            values.map(Ok::<_, crate::vault::VaultError>),
        )
        .unwrap()
    }
}

/// Pages so small that a few entries make a tree of several levels.
fn tiny() -> Shape {
    Shape {
        page_bytes: 160,
        leaf_bytes: 160,
        cache_bytes: 4096,
        batch_pages: 12,
        sabotage: Sabotage::None,
    }
}

fn value(bytes: &[u8]) -> Value {
    Value::new(bytes.to_vec())
}

fn set(place: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Change {
    (place.as_ref().to_vec(), Some(value(bytes.as_ref())))
}

fn unset(place: impl AsRef<[u8]>) -> Change {
    (place.as_ref().to_vec(), None)
}

fn range(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> (Place, Place) {
    (from.as_ref().to_vec(), to.as_ref().to_vec())
}

/// Everything in the tree.
fn all(tree: &Tree) -> Vec<(Place, Vec<u8>)> {
    let found = tree.range(&[], &[0xff; 65], usize::MAX).unwrap();
    found.into_iter().map(|(place, value)| (place, value.to_vec())).collect()
}
