//! The walk over everything that the vault knows, a few entries at a time.

use std::sync::Arc;

use super::{
    InventoryEntry, VaultError,
    core::Core,
    disk::{WALK, Wholes},
    places::{self, Hash},
    records::{FenceRecord, KeyEntry},
    tree::Place,
};

/// The walk: first the keys, then the fences, each in the order of places.
pub(super) struct Inventory {
    core: Arc<Core>,
    /// Where to read on.
    next: Option<Place>,
    ready: std::vec::IntoIter<InventoryEntry>,
}

impl Inventory {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, next: Some(places::all_subjects().start), ready: Vec::new().into_iter() }
    }

    /// The walk over the fences alone.
    pub(super) fn of_fences(core: Arc<Core>) -> Self {
        Self { core, next: Some(places::all_fences().start), ready: Vec::new().into_iter() }
    }

    /// Reads the next entries. There may be none among the places read.
    fn read(&mut self, from: &Place) -> Result<(), VaultError> {
        let (subjects, fences) = (places::all_subjects(), places::all_fences());
        if *from < subjects.end {
            let found = self.core.disk.tree().range(from, &subjects.end, WALK)?;
            let last = found.last().filter(|_| found.len() == WALK);
            self.next = Some(last.map_or(fences.start, |(place, _)| places::after(place)));
            let keys = found.iter().filter(|(place, _)| places::is_key(place));
            let keys = keys.map(|(_, value)| {
                Ok(InventoryEntry::Key(self.core.info(KeyEntry::decode(value)?)))
            });
            self.ready = keys.collect::<Result<Vec<_>, VaultError>>()?.into_iter();
            return Ok(());
        }
        let found = self.core.disk.tree().range(from, &fences.end, WALK)?;
        let Some((last, _)) = found.last() else { return Ok(()) };
        let mut wholes = Wholes::default();
        let mut complete = found.as_slice();
        if found.len() == WALK {
            // The last fence may go on: it is read again as a whole, with what follows it.
            let hash = places::hash_of(last).unwrap_or_default();
            let range = places::beginning_with(&places::fence(&hash));
            complete = &found[..found.partition_point(|(place, _)| *place < range.start)];
            self.next = Some(range.end);
        }
        for (place, value) in complete {
            wholes.part(place, value)?;
        }
        let mut entries = wholes
            .done()?
            .into_iter()
            .map(|(stem, value)| entry(&stem, &FenceRecord::decode(&value)?))
            .collect::<Result<Vec<_>, VaultError>>()?;
        if found.len() == WALK {
            let hash: Hash = places::hash_of(last).unwrap_or_default();
            entries.push(InventoryEntry::Fence(self.core.disk.fence(&hash)?.public(hash)));
        }
        self.ready = entries.into_iter();
        Ok(())
    }
}

fn entry(stem: &[u8], fence: &FenceRecord) -> Result<InventoryEntry, VaultError> {
    let odd = || VaultError::Damaged("a fence stands at an odd place".into());
    Ok(InventoryEntry::Fence(fence.public(places::hash_of(stem).ok_or_else(odd)?)))
}

impl Iterator for Inventory {
    type Item = Result<InventoryEntry, VaultError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(Ok(entry));
            }
            let from = self.next.take()?;
            if let Err(error) = self.read(&from) {
                self.next = None;
                return Some(Err(error));
            }
        }
    }
}
