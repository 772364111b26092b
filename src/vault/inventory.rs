//! The walk over everything that the vault knows, a few entries at a time.
//!
//! How a key stands is said by its subject's record, which stands before the keys in the same
//! walk: no key costs a look-up of its own.

use std::{sync::Arc, vec::IntoIter};

use super::{
    InventoryEntry, VaultError,
    core::Core,
    disk::{WALK, Wholes},
    places::{self, Hash},
    records::{FenceRecord, KeyEntry, SubjectRecord},
    tree::{Place, Value},
};

/// The walk: first the keys, then the fences, each in the order of places.
pub(super) struct Inventory {
    core: Arc<Core>,
    /// Where to read on.
    next: Option<Place>,
    ready: IntoIter<InventoryEntry>,
    subject: Option<OneSubject>,
}

/// The subject whose entries are being walked over.
struct OneSubject {
    hash: Hash,
    /// The parts of its record that were met.
    parts: Wholes,
    /// Known from its first key on.
    record: Option<SubjectRecord>,
}

impl Inventory {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let next = Some(places::all_subjects().start);
        Self { core, next, ready: Vec::new().into_iter(), subject: None }
    }

    /// The walk over the fences alone.
    pub(super) fn of_fences(core: Arc<Core>) -> Self {
        let next = Some(places::all_fences().start);
        Self { core, next, ready: Vec::new().into_iter(), subject: None }
    }

    /// Reads the next entries. There may be none among the places read.
    fn read(&mut self, from: &Place) -> Result<(), VaultError> {
        if *from >= places::all_subjects().end {
            return self.read_fences(from);
        }
        let found = self.core.disk.tree().range(from, &places::all_subjects().end, WALK)?;
        let last = found.last().filter(|_| found.len() == WALK);
        let fences = || places::all_fences().start;
        self.next = Some(last.map_or_else(fences, |(place, _)| places::after(place)));
        let mut ready = Vec::with_capacity(found.len());
        for (place, value) in &found {
            if places::is_record(place) {
                self.subject(place)?.parts.part(place, value)?;
            } else if places::is_key(place) {
                ready.push(self.key(place, value)?);
            }
        }
        self.ready = ready.into_iter();
        Ok(())
    }

    /// The subject that a place belongs to.
    fn subject(&mut self, place: &[u8]) -> Result<&mut OneSubject, VaultError> {
        let odd = || VaultError::Damaged("an entry of a subject stands at an odd place".into());
        let hash = places::hash_of(place).ok_or_else(odd)?;
        let same = self.subject.take().filter(|subject| subject.hash == hash);
        let fresh = || OneSubject { hash, parts: Wholes::default(), record: None };
        Ok(self.subject.insert(same.unwrap_or_else(fresh)))
    }

    fn key(&mut self, place: &[u8], value: &Value) -> Result<InventoryEntry, VaultError> {
        let core = Arc::clone(&self.core);
        let subject = self.subject(place)?;
        let record = match subject.record.take() {
            Some(known) => known,
            None => {
                let written = std::mem::take(&mut subject.parts).done()?.pop();
                match (core.unsaved().get(&subject.hash), written) {
                    (Some(newer), _) => newer.clone(),
                    (None, Some((_, value))) => SubjectRecord::decode(&value)?,
                    (None, None) => SubjectRecord::default(),
                }
            }
        };
        let info = core.info(KeyEntry::decode(value)?, &record);
        subject.record = Some(record);
        Ok(InventoryEntry::Key(info))
    }

    fn read_fences(&mut self, from: &Place) -> Result<(), VaultError> {
        let found = self.core.disk.tree().range(from, &places::all_fences().end, WALK)?;
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
