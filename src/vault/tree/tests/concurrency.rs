//! Many readers, some writers.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{
    super::{Erasure, Shape, Tree},
    all,
    disk::Disk,
    forensic, range, set, tiny, unset,
};
use crate::vault::{
    VaultError,
    pages::{Batch, MemoryPages, PageStore},
    root::MemorySlot,
};

/// Places of 40 persons with 4 entries each.
fn entries(person: u8, round: u64) -> Vec<super::Change> {
    (0..4u8).map(|i| set([person, i], round.to_be_bytes())).collect()
}

#[test]
fn readers_see_each_change_whole_and_nothing_after_its_erasure() {
    let disk = Disk::default();
    let tree = Arc::new(disk.create(tiny()).unwrap());
    for person in 0..40 {
        tree.put(entries(person, 1)).unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    // The last round whose erasure of person 20 has returned.
    let erased = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (tree, done, erased) = (Arc::clone(&tree), Arc::clone(&done), Arc::clone(&erased));
            thread::spawn(move || {
                let mut reads = 0u64;
                while !done.load(Ordering::Relaxed) {
                    let dead = erased.load(Ordering::SeqCst);
                    let found = tree.range(&[20], &[21], 10).unwrap();
                    assert!(found.is_empty() || found.len() == 4, "half of a change");
                    for (_, value) in &found {
                        assert_eq!(value, &found[0].1, "two changes mixed");
                        let round = u64::from_be_bytes(value.as_slice().try_into().unwrap());
                        assert!(round > dead, "read round {round} after erasure of {dead}");
                    }
                    // Nobody else is ever away.
                    for person in [0, 19, 21, 39] {
                        assert!(tree.get(&[person, 2]).unwrap().is_some());
                    }
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    let writer = {
        let tree = Arc::clone(&tree);
        thread::spawn(move || {
            for round in 2..200 {
                tree.put(entries((round % 20) as u8 + 21, round)).unwrap();
            }
        })
    };
    for round in 2..200u64 {
        let remove_ranges = vec![range([20], [21])];
        tree.erase_all(Erasure { remove_ranges, changes: Vec::new() }).unwrap();
        erased.store(round - 1, Ordering::SeqCst);
        tree.put(entries(20, round)).unwrap();
    }
    writer.join().unwrap();
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}

/// A store whose flush, once armed, says that it has begun and waits until it may end.
struct Gate {
    pages: MemoryPages,
    armed: Arc<AtomicBool>,
    begun: Mutex<Sender<()>>,
    end: Mutex<Receiver<()>>,
}

impl PageStore for Gate {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        self.pages.get(name)
    }

    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError> {
        self.pages.names(see)
    }

    fn apply(&self, batch: Batch) -> Result<(), VaultError> {
        self.pages.apply(batch)
    }

    fn flush(&self) -> Result<(), VaultError> {
        if self.armed.load(Ordering::SeqCst) {
            self.begun.lock().unwrap().send(()).unwrap();
            self.end.lock().unwrap().recv().unwrap();
        }
        Ok(())
    }
}

#[test]
fn readers_neither_wait_for_a_flush_nor_see_what_it_has_not_reached() {
    type Write = fn(&Tree);
    let in_place: Write = |tree| {
        // Some leaves are renewed, some split, and one vanishes.
        let mut changes: Vec<_> = (0..20u8).map(|i| set([i, 1], b"after")).collect();
        changes.extend((36..44u8).map(|i| unset([i, 0])));
        tree.put(changes).unwrap();
    };
    let fresh: Write = |tree| {
        let remove_ranges = vec![range([36], [44])];
        let changes = (0..20u8).map(|i| set([i, 1], b"after")).collect();
        tree.erase_all(Erasure { remove_ranges, changes }).unwrap();
    };
    for (write, epoch) in [(in_place, 0), (fresh, 1)] {
        for cache_bytes in [0, 1 << 20] {
            let (begun, has_begun) = channel();
            let (may_end, end) = channel();
            let armed = Arc::new(AtomicBool::new(false));
            let gate = Gate {
                pages: MemoryPages::default(),
                armed: Arc::clone(&armed),
                begun: Mutex::new(begun),
                end: Mutex::new(end),
            };
            let shape = Shape { cache_bytes, batch_pages: 100, ..tiny() };
            let tree =
                Tree::create(Box::new(gate), Box::new(MemorySlot::default()), shape).unwrap();
            tree.put((0..50u8).map(|i| set([i, 0], b"before")).collect()).unwrap();
            let before = all(&tree);
            armed.store(true, Ordering::SeqCst);
            thread::scope(|scope| {
                let writer = scope.spawn(|| write(&tree));
                has_begun.recv().unwrap();
                // All is in the store, nothing on the disk.
                let meanwhile = all(&tree);
                may_end.send(()).unwrap();
                writer.join().unwrap();
                assert!(meanwhile == before, "read what was not yet flushed");
            });
            assert_eq!(tree.epoch().unwrap(), epoch);
            let after = all(&tree);
            assert_eq!(after.len(), 50 - 8 + 20);
            assert_eq!(after.iter().filter(|(_, value)| value == b"after").count(), 20);
        }
    }
}

#[test]
fn the_cache_holds_no_page_that_an_erasure_replaced() {
    let disk = Disk::default();
    let tree = disk.create(Shape { cache_bytes: 1 << 20, ..tiny() }).unwrap();
    tree.put((0..90u8).map(|i| set([i], [i; 20])).collect()).unwrap();
    for i in 0..30 {
        all(&tree);
        tree.erase(vec![unset([i * 3])]).unwrap();
        let reachable = forensic::reachable(&disk);
        let ids = tree.store.cache.ids();
        assert!(!ids.is_empty());
        assert!(ids.iter().all(|id| reachable.contains(id.as_slice())));
        assert!(tree.view.read().unwrap().before.is_empty());
    }
}

#[test]
fn the_cache_stays_within_its_bound() {
    let disk = Disk::default();
    let tree = disk.create(Shape { cache_bytes: 4096, ..tiny() }).unwrap();
    tree.put((0..200u8).map(|i| set([i], [i; 20])).collect()).unwrap();
    assert_eq!(all(&tree).len(), 200);
    assert!(tree.store.cache.ids().len() <= 16);
}
