//! The walk over everything that the vault knows, a few entries at a time.
//!
//! The state of a key is in its subject's record, which comes before the keys in the same
//! walk: no key costs a look-up of its own.
//!
//! Most of the work is opening pages, so several threads do it ahead of the reader. They share the
//! slices of the subjects in turn; the reader takes the slices in order, and who is far ahead waits,
//! so that there is never much in memory.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use crate::TaskError;
use crate::vault::{
    InventoryEntry, VaultError,
    records::{
        disk::{WALK, Wholes},
        entries::{KeyEntry, SubjectRecord},
        fence::FenceRecord,
        places::{self, Hash},
    },
    shared::Shared,
    tree::Place,
};

/// How many keys are handed over at a time, about: some 40 KiB. With each freed block of 64 KiB and more, glibc's allocator
/// goes through all the small ones that it keeps.
const CHUNK: usize = 256;
/// How many such chunks of one thread wait for the reader.
const CHUNKS_AHEAD: usize = 16;
/// How many threads open pages at most.
const MOST_THREADS: usize = 4;

/// The walk: first the keys, then the fences, each in the order of places.
pub(in crate::vault) struct Inventory {
    shared: Arc<Shared>,
    keys: Keys,
    /// Where to read on among the fences.
    fences: Option<Place>,
    ready: std::vec::IntoIter<InventoryEntry>,
}

impl Inventory {
    pub(in crate::vault) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            keys: Keys::Unread,
            fences: Some(places::all_fences().start),
            ready: Vec::new().into_iter(),
        }
    }

    /// The walk over the fences alone.
    pub(in crate::vault) fn of_fences(shared: Arc<Shared>) -> Self {
        Self { keys: Keys::Read, ..Self::new(shared) }
    }

    /// Reads the next entries, of which there may be none; `None`: there are no more.
    fn read(&mut self) -> Option<Result<Vec<InventoryEntry>, VaultError>> {
        if let Keys::Unread = self.keys {
            match Readers::start(&self.shared) {
                Ok(readers) => self.keys = Keys::Under(readers),
                Err(error) => return Some(Err(error)),
            }
        }
        if let Keys::Under(readers) = &mut self.keys {
            match readers.next() {
                Some(chunk) => return Some(chunk),
                None => self.keys = Keys::Read,
            }
        }
        self.fences.take().map(|from| self.read_fences(&from))
    }

    fn read_fences(&mut self, from: &Place) -> Result<Vec<InventoryEntry>, VaultError> {
        let found = self.shared.disk.tree().range(from, &places::all_fences().end, WALK)?;
        let Some((last, _)) = found.last() else { return Ok(Vec::new()) };
        let mut wholes = Wholes::default();
        let mut complete = found.as_slice();
        if found.len() == WALK {
            // The last fence may go on: it is read again as a whole, with what follows it.
            let hash = places::hash_of(last).unwrap_or_default();
            let range = places::beginning_with(&places::fence(&hash));
            complete = &found[..found.partition_point(|(place, _)| *place < range.start)];
            self.fences = Some(range.end);
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
            entries.push(InventoryEntry::Fence(self.shared.disk.fence(&hash)?.public(hash)));
        }
        Ok(entries)
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
            match self.read()? {
                Ok(entries) => self.ready = entries.into_iter(),
                Err(error) => {
                    (self.keys, self.fences) = (Keys::Read, None);
                    return Some(Err(error));
                }
            }
        }
    }
}

enum Keys {
    Unread,
    Under(Readers),
    Read,
}

/// What a thread hands over; `None`: a slice ends here.
type Chunk = Option<Result<Vec<InventoryEntry>, VaultError>>;

/// The threads that read keys, and whose turn it is.
struct Readers {
    from: Vec<Receiver<Chunk>>,
    slice: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(shared: &Arc<Shared>) -> Result<Self, VaultError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = cores.min(MOST_THREADS);
        let mut readers = Self { from: Vec::new(), slice: 0, threads: Vec::new() };
        for number in 0..count {
            let (to, from) = sync_channel(CHUNKS_AHEAD);
            let shared = Arc::clone(shared);
            let thread = std::thread::Builder::new()
                .name("oubliette-walk".into())
                .spawn(move || read_slices(&shared, number, count, &to))
                .map_err(|error| VaultError::Storage(Box::new(error)))?;
            readers.from.push(from);
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    fn next(&mut self) -> Option<Result<Vec<InventoryEntry>, VaultError>> {
        while self.slice < places::SLICES {
            match self.from[self.slice % self.from.len()].recv() {
                Ok(Some(chunk)) => return Some(chunk),
                Ok(None) => self.slice += 1,
                // It is gone without a word: it panicked.
                Err(_) => return Some(Err(TaskError::Panicked.into())),
            }
        }
        None
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // A thread that waits to hand something over learns that it is not taken any more. They hold the
        // vault open until they end.
        self.from.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn read_slices(shared: &Shared, first: usize, count: usize, to: &SyncSender<Chunk>) {
    for slice in (first..places::SLICES).step_by(count) {
        let range = places::slice(slice);
        let mut subject = None;
        let mut next = Some(range.start);
        while let Some(from) = next {
            // With room for the rest of the last page: what grows is copied.
            let mut keys = Vec::with_capacity(CHUNK + CHUNK / 4);
            let scanned = shared.disk.tree().scan(&from, &range.end, CHUNK, |place, value| {
                if places::is_record(place) {
                    OneSubject::at(&mut subject, place)?.parts.part(place, value)?;
                } else if places::is_key(place) {
                    keys.push(OneSubject::at(&mut subject, place)?.key(shared, value)?);
                }
                Ok(())
            });
            let (chunk, rest) = match scanned {
                Ok(rest) => (Ok(keys), rest),
                Err(error) => (Err(error), None),
            };
            if to.send(Some(chunk)).is_err() {
                return;
            }
            next = rest;
        }
        if to.send(None).is_err() {
            return;
        }
    }
}

/// The subject whose entries are being walked over.
struct OneSubject {
    hash: Hash,
    /// The parts of its record that were met.
    parts: Wholes,
    /// Known from its first key on.
    record: Option<SubjectRecord>,
}

impl OneSubject {
    /// The subject that a place belongs to.
    fn at<'a>(now: &'a mut Option<Self>, place: &[u8]) -> Result<&'a mut Self, VaultError> {
        let odd = || VaultError::Damaged("an entry of a subject stands at an odd place".into());
        let hash = places::hash_of(place).ok_or_else(odd)?;
        let same = now.take().filter(|subject| subject.hash == hash);
        let fresh = || Self { hash, parts: Wholes::default(), record: None };
        Ok(now.insert(same.unwrap_or_else(fresh)))
    }

    fn key(&mut self, shared: &Shared, value: &[u8]) -> Result<InventoryEntry, VaultError> {
        let record = match self.record.take() {
            Some(known) => known,
            None => {
                let written = std::mem::take(&mut self.parts).done()?.pop();
                match (shared.unsaved().get(&self.hash), written) {
                    (Some(newer), _) => newer.clone(),
                    (None, Some((_, value))) => SubjectRecord::decode(&value)?,
                    (None, None) => SubjectRecord::default(),
                }
            }
        };
        let info = shared.info(KeyEntry::decode_told(value)?, &record);
        self.record = Some(record);
        Ok(InventoryEntry::Key(info))
    }
}
