//! The tree as the records use it: typed reads, values of any length in parts, and writes after
//! one of which failed nothing is written any more.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use zeroize::Zeroizing;

#[cfg(feature = "backup")]
use super::tap::Tap;
use super::{
    entries::{KeyEntry, SubjectRecord},
    fence::FenceRecord,
    places::{self, Hash},
};
use crate::vault::{
    VaultError,
    tree::{Change, Erasure, Place, Tree, Value},
};

/// The most bytes that one place holds; longer values go over several.
pub(in crate::vault) const PART_BYTES: usize = 8192;

/// How many places are read at a time when walking.
pub(in crate::vault) const WALK: usize = 256;

/// The tree.
pub(in crate::vault) struct Disk {
    tree: Arc<Tree>,
    poisoned: AtomicBool,
    #[cfg(feature = "backup")]
    pub(in crate::vault) tap: Tap,
    #[cfg(test)]
    pub(in crate::vault) faults: crate::vault::tests::Faults,
}

impl Disk {
    pub(in crate::vault) fn new(tree: Arc<Tree>) -> Self {
        Self {
            tree,
            poisoned: AtomicBool::new(false),
            #[cfg(feature = "backup")]
            tap: Tap::default(),
            #[cfg(test)]
            faults: crate::vault::tests::Faults::default(),
        }
    }

    pub(in crate::vault) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// An error if a write failed before.
    pub(in crate::vault) fn check(&self) -> Result<(), VaultError> {
        if self.poisoned.load(Ordering::Acquire) { Err(VaultError::Poisoned) } else { Ok(()) }
    }

    /// Lets nothing be written any more.
    pub(in crate::vault) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    /// See [`Tree::put`].
    pub(in crate::vault) fn put(&self, changes: Vec<Change>) -> Result<(), VaultError> {
        let changes = Erasure { changes, ..Erasure::default() };
        self.write(changes, |tree, erasure| tree.put(erasure.changes))
    }

    /// See [`Tree::erase_all`].
    pub(in crate::vault) fn erase(&self, erasure: Erasure) -> Result<(), VaultError> {
        self.write(erasure, Tree::erase_all)
    }

    fn write(
        &self,
        changes: Erasure,
        how: impl FnOnce(&Tree, Erasure) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        self.check()?;
        #[cfg(feature = "backup")]
        let listening = self.tap.listen(&changes);
        #[cfg(test)]
        let result = self.faults.before_write().and_then(|()| how(&self.tree, changes));
        #[cfg(not(test))]
        let result = how(&self.tree, changes);
        if result.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        #[cfg(feature = "backup")]
        if let Some(changed) = listening {
            self.tap.note(changed);
        }
        result
    }

    pub(in crate::vault) fn key(&self, place: &[u8]) -> Result<Option<KeyEntry>, VaultError> {
        self.tree.get(place)?.map(|value| KeyEntry::decode(&value)).transpose()
    }

    pub(in crate::vault) fn record(
        &self,
        subject: &Hash,
    ) -> Result<Option<SubjectRecord>, VaultError> {
        let value = self.whole(&places::record(subject))?;
        value.map(|value| SubjectRecord::decode(&value)).transpose()
    }

    pub(in crate::vault) fn fence(&self, subject: &Hash) -> Result<FenceRecord, VaultError> {
        match self.whole(&places::fence(subject))? {
            Some(value) => FenceRecord::decode(&value),
            None => Ok(FenceRecord::default()),
        }
    }

    /// The places in a range, read a few at a time.
    pub(in crate::vault) fn walk(
        &self,
        range: Range<Place>,
    ) -> impl Iterator<Item = Result<(Place, Value), VaultError>> {
        Walk { disk: self, next: Some(range.start), end: range.end, ready: Vec::new().into_iter() }
    }

    /// A value of any length.
    pub(in crate::vault) fn whole(&self, stem: &[u8]) -> Result<Option<Value>, VaultError> {
        Ok(self.wholes(places::beginning_with(stem))?.pop().map(|(_, value)| value))
    }

    /// All values of any length in a range.
    pub(in crate::vault) fn wholes(
        &self,
        range: Range<Place>,
    ) -> Result<Vec<(Place, Value)>, VaultError> {
        let mut wholes = Wholes::default();
        for part in self.walk(range) {
            let (place, value) = part?;
            wholes.part(&place, &value)?;
        }
        wholes.done()
    }

    /// The changes that put a value of any length at a stem, where earlier ones may still be read
    /// from an old copy.
    pub(in crate::vault) fn set_whole(
        &self,
        stem: &[u8],
        value: &[u8],
    ) -> Result<Vec<Change>, VaultError> {
        let mut changes = parts(stem, value)?;
        let kept = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        for part in self.walk(part_place(stem, kept)..places::beginning_with(stem).end) {
            changes.push((part?.0, None));
        }
        Ok(changes)
    }
}

/// The changes that put a value of any length at a stem where there is none.
pub(in crate::vault) fn parts(stem: &[u8], value: &[u8]) -> Result<Vec<Change>, VaultError> {
    let length = u32::try_from(value.len())
        .map_err(|_| VaultError::Damaged("a value of 4 GiB or more".into()))?;
    let mut parts = value.chunks(PART_BYTES);
    let mut first = Zeroizing::new(Vec::with_capacity(4 + PART_BYTES.min(value.len())));
    first.extend_from_slice(&length.to_be_bytes());
    first.extend_from_slice(parts.next().unwrap_or_default());
    let rest = parts
        .zip(1..)
        .map(|(part, number)| (part_place(stem, number), Some(Zeroizing::new(part.to_vec()))));
    Ok(std::iter::once((part_place(stem, 0), Some(first))).chain(rest).collect())
}

fn part_place(stem: &[u8], part: u32) -> Place {
    let mut place = stem.to_vec();
    place.extend_from_slice(&part.to_be_bytes());
    place
}

/// The stem of a part's place.
pub(in crate::vault) fn stem(place: &[u8]) -> &[u8] {
    &place[..place.len().saturating_sub(4)]
}

/// Values put together from their parts, which come in order.
#[derive(Default)]
pub(in crate::vault) struct Wholes {
    done: Vec<(Place, Value)>,
    /// The stem, the length to reach, what there is so far, and the next part's number.
    open: Option<(Place, usize, Value, u32)>,
}

impl Wholes {
    pub(in crate::vault) fn part(&mut self, place: &[u8], value: &[u8]) -> Result<(), VaultError> {
        let missing = || VaultError::Damaged("a part of a value is missing".into());
        let number = place.last_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        if number == Some(0) {
            self.close()?;
            let (length, rest) = value.split_first_chunk::<4>().ok_or_else(missing)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| missing())?;
            let mut whole = Zeroizing::new(Vec::with_capacity(length.max(rest.len())));
            whole.extend_from_slice(rest);
            self.open = Some((stem(place).to_vec(), length, whole, 1));
            return Ok(());
        }
        let (of, _, whole, next) = self.open.as_mut().ok_or_else(missing)?;
        if of.as_slice() != stem(place) || number != Some(*next) {
            return Err(missing());
        }
        whole.extend_from_slice(value);
        *next += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), VaultError> {
        if let Some((stem, length, whole, _)) = self.open.take() {
            if whole.len() != length {
                return Err(VaultError::Damaged("a part of a value is missing".into()));
            }
            self.done.push((stem, whole));
        }
        Ok(())
    }

    pub(in crate::vault) fn done(mut self) -> Result<Vec<(Place, Value)>, VaultError> {
        self.close()?;
        Ok(self.done)
    }
}

struct Walk<'a> {
    disk: &'a Disk,
    next: Option<Place>,
    end: Place,
    ready: std::vec::IntoIter<(Place, Value)>,
}

impl Iterator for Walk<'_> {
    type Item = Result<(Place, Value), VaultError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(found) = self.ready.next() {
            return Some(Ok(found));
        }
        let from = self.next.take()?;
        match self.disk.tree.range(&from, &self.end, WALK) {
            Ok(found) => {
                if let Some((last, _)) = found.last().filter(|_| found.len() == WALK) {
                    self.next = Some(places::after(last));
                }
                self.ready = found.into_iter();
                self.ready.next().map(Ok)
            }
            Err(error) => Some(Err(error)),
        }
    }
}
