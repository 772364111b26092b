//! The walk over everything that the vault knows, a few entries at a time.
//!
//! How a key stands is said by its subject's record, which stands before the keys in the same
//! walk, and by the subject's fence. The fences stand apart, but in the same order, so that a
//! second walk goes along: no key costs a look-up of its own.

use std::{sync::Arc, vec::IntoIter};

use super::{
    InventoryEntry, VaultError,
    core::Core,
    disk::{WALK, Wholes},
    places::{self, Hash},
    records::{FenceRecord, Ground, KeyEntry, SubjectRecord},
    tree::{Place, Value},
};

/// The walk: first the keys, then the fences, each in the order of places.
pub(super) struct Inventory {
    core: Arc<Core>,
    /// Where to read on, as long as there are subjects.
    next: Option<Place>,
    ready: IntoIter<InventoryEntry>,
    subject: Option<OneSubject>,
    /// Goes along with the keys.
    beside: Fences,
    /// Follows them.
    fences: Fences,
}

/// The subject whose entries are being walked over.
struct OneSubject {
    hash: Hash,
    /// The parts of its record that were met.
    record: Wholes,
    /// Known from its first key on.
    ground: Option<Ground>,
}

impl Inventory {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            next: Some(places::all_subjects().start),
            ready: Vec::new().into_iter(),
            subject: None,
            beside: Fences::new(),
            fences: Fences::new(),
        }
    }

    /// Reads the next entries of subjects. There may be no key among the places read.
    fn read(&mut self, from: &Place) -> Result<(), VaultError> {
        let found = self.core.disk.tree().range(from, &places::all_subjects().end, WALK)?;
        let last = found.last().filter(|_| found.len() == WALK);
        self.next = last.map(|(place, _)| places::after(place));
        let mut ready = Vec::with_capacity(found.len());
        for (place, value) in &found {
            if places::is_record(place) {
                self.subject(place)?.record.part(place, value)?;
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
        let fresh = || OneSubject { hash, record: Wholes::default(), ground: None };
        Ok(self.subject.insert(same.unwrap_or_else(fresh)))
    }

    fn key(&mut self, place: &[u8], value: &Value) -> Result<InventoryEntry, VaultError> {
        let subject = self.subject(place)?;
        if subject.ground.is_none() {
            let (hash, record) = (subject.hash, std::mem::take(&mut subject.record));
            let fence = self.beside.of(&self.core, &hash)?;
            let unsaved = self.core.unsaved().get(&hash).cloned();
            let record = match (unsaved, record.done()?.pop()) {
                (Some(newer), _) => Some(newer),
                (None, Some((_, value))) => Some(SubjectRecord::decode(&value)?),
                (None, None) => None,
            };
            self.subject(place)?.ground = Some(Ground::new(record, &fence));
        }
        let odd = || VaultError::Damaged("a key belongs to no subject".into());
        let ground = self.subject.as_ref().and_then(|subject| subject.ground.as_ref());
        let entry = KeyEntry::decode(value)?;
        Ok(InventoryEntry::Key(self.core.info(entry, ground.ok_or_else(odd)?)))
    }
}

impl Iterator for Inventory {
    type Item = Result<InventoryEntry, VaultError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(Ok(entry));
            }
            let Some(from) = self.next.take() else {
                let fence = self.fences.next(&self.core).transpose()?;
                return Some(fence.map(|(hash, fence)| InventoryEntry::Fence(fence.public(hash))));
            };
            if let Err(error) = self.read(&from) {
                self.fences.stop();
                return Some(Err(error));
            }
        }
    }
}

/// The walk over the fences alone.
struct Fences {
    next: Option<Place>,
    ready: std::iter::Peekable<IntoIter<(Hash, FenceRecord)>>,
}

impl Fences {
    fn new() -> Self {
        Self { next: Some(places::all_fences().start), ready: Vec::new().into_iter().peekable() }
    }

    fn stop(&mut self) {
        self.next = None;
        self.ready = Vec::new().into_iter().peekable();
    }

    fn next(&mut self, core: &Core) -> Result<Option<(Hash, FenceRecord)>, VaultError> {
        self.fill(core)?;
        Ok(self.ready.next())
    }

    /// The fence of a subject. To be asked for in the order of places.
    fn of(&mut self, core: &Core, subject: &Hash) -> Result<FenceRecord, VaultError> {
        loop {
            self.fill(core)?;
            match self.ready.peek() {
                Some((hash, _)) if hash < subject => drop(self.ready.next()),
                Some((hash, fence)) if hash == subject => return Ok(fence.clone()),
                _ => return Ok(FenceRecord::default()),
            }
        }
    }

    fn fill(&mut self, core: &Core) -> Result<(), VaultError> {
        while self.ready.peek().is_none()
            && let Some(from) = self.next.take()
        {
            self.ready = self.read(core, &from)?.into_iter().peekable();
        }
        Ok(())
    }

    /// Reads the next fences.
    fn read(&mut self, core: &Core, from: &Place) -> Result<Vec<(Hash, FenceRecord)>, VaultError> {
        let odd = || VaultError::Damaged("a fence stands at an odd place".into());
        let found = core.disk.tree().range(from, &places::all_fences().end, WALK)?;
        let mut complete = found.as_slice();
        let mut cut_off = None;
        if let Some((last, _)) = found.last().filter(|_| found.len() == WALK) {
            // The last fence may go on: it is read again as a whole.
            let hash = places::hash_of(last).ok_or_else(odd)?;
            let range = places::beginning_with(&places::fence(&hash));
            complete = &found[..found.partition_point(|(place, _)| *place < range.start)];
            self.next = Some(range.end);
            cut_off = Some(hash);
        }
        let mut wholes = Wholes::default();
        for (place, value) in complete {
            wholes.part(place, value)?;
        }
        let mut fences = Vec::with_capacity(complete.len() + 1);
        for (stem, value) in wholes.done()? {
            let hash = places::hash_of(&stem).ok_or_else(odd)?;
            fences.push((hash, FenceRecord::decode(&value)?));
        }
        if let Some(hash) = cut_off {
            fences.push((hash, core.disk.fence(&hash)?));
        }
        Ok(fences)
    }
}
