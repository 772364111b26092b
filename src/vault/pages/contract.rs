//! The contract of [`PageStore`], as tests over any store.
//!
//! [`on_a_store`] is for every store, [`on_a_disk`] for those that keep files. A power cut is acted
//! out with the files themselves: what they were when `flush` returned stays, and of what was
//! written since any part may be there, in blocks of a file system's size.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use super::{Batch, MemoryPages, PageStore, PageStoreKind};
use crate::vault::{
    tests::{Chance, long_runs},
    tree::tests::disk::Disk,
};

/// Opens the store in a folder, or makes it.
type Open = fn(&Path) -> Box<dyn PageStore>;

type Pages = BTreeMap<Vec<u8>, Vec<u8>>;

fn memory(_: &Path) -> Box<dyn PageStore> {
    Box::new(MemoryPages::default())
}

/// The disk on which the tree's crashes are tried: it must keep the contract, too.
fn simulated(_: &Path) -> Box<dyn PageStore> {
    Box::new(Disk::default())
}

fn sled(folder: &Path) -> Box<dyn PageStore> {
    PageStoreKind::Sled.open(folder).unwrap()
}

#[cfg(feature = "sqlite")]
fn sqlite(folder: &Path) -> Box<dyn PageStore> {
    PageStoreKind::Sqlite.open(folder).unwrap()
}

/// Each of these functions as a test of each of these stores.
macro_rules! contract {
    ($suite:ident: $($(#[$on:meta])* $store:ident),*; $names:tt) => {
        $(contract!(@ $(#[$on])* $suite $store $names);)*
    };
    (@ $(#[$on:meta])* $suite:ident $store:ident [$($name:ident),* $(,)?]) => {
        $(#[$on])*
        mod $store {
            $(#[test]
            fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$suite::$name(super::super::$store, &folder.path().join("pages"));
            })*
        }
    };
}

mod everywhere {
    contract!(on_a_store: memory, simulated, sled, #[cfg(feature = "sqlite")] sqlite; [
        a_new_store_holds_nothing,
        what_is_applied_is_seen_at_once,
        of_two_changes_of_a_name_in_one_batch_a_put_and_the_last_one_count,
        any_bytes_are_a_name_and_any_a_content,
        large_batches_and_large_pages_come_back,
        many_read_while_one_writes,
    ]);
    use super::on_a_store;
}

mod durably {
    contract!(on_a_disk: sled, #[cfg(feature = "sqlite")] sqlite; [
        a_store_that_was_closed_is_opened_as_it_was,
        what_was_flushed_is_in_the_files,
        after_a_cut_there_are_whole_batches_in_order,
        a_cut_while_it_is_made_leaves_nothing_or_an_empty_store,
    ]);
    use super::on_a_disk;
}

/// Sled keeps this with the help of the system (see `sled_files`), which files alone do not show:
/// for sled the cuts of a block device do.
#[cfg(feature = "sqlite")]
mod in_large_batches {
    contract!(on_a_disk: sqlite; [
        after_a_cut_in_large_batches_there_are_whole_batches_in_order,
    ]);
    use super::on_a_disk;
}

/// All that a store holds.
fn held(store: &dyn PageStore) -> Pages {
    let mut names = Vec::new();
    store.names(&mut |name| names.push(name.to_vec())).unwrap();
    let count = names.len();
    let pages: Pages = names
        .into_iter()
        .map(|name| {
            let content = store.get(&name).unwrap();
            (name, content.expect("a name without a page"))
        })
        .collect();
    assert_eq!(pages.len(), count, "a name was shown twice");
    pages
}

fn put(name: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    (name.into(), content.into())
}

fn puts(puts: Vec<(Vec<u8>, Vec<u8>)>) -> Batch {
    Batch { puts, removals: Vec::new() }
}

fn apply(pages: &mut Pages, batch: &Batch) {
    for name in &batch.removals {
        pages.remove(name);
    }
    pages.extend(batch.puts.iter().cloned());
}

mod on_a_store {
    use super::*;

    pub(super) fn a_new_store_holds_nothing(open: Open, folder: &Path) {
        let store = open(folder);
        assert_eq!(store.get(b"name").unwrap(), None);
        assert!(held(&*store).is_empty());
        store.apply(Batch::default()).unwrap();
        store.flush().unwrap();
        store.flush().unwrap();
        assert!(held(&*store).is_empty());
    }

    pub(super) fn what_is_applied_is_seen_at_once(open: Open, folder: &Path) {
        let store = open(folder);
        let mut pages = Pages::new();
        for batch in [
            puts(vec![put("a", "1"), put("b", "2")]),
            puts(vec![put("a", "a longer one"), put("c", "3")]),
            Batch { puts: vec![put("d", "4")], removals: vec![b"b".to_vec(), b"none".to_vec()] },
            Batch { puts: Vec::new(), removals: vec![b"a".to_vec()] },
            puts(vec![put("a", "again")]),
        ] {
            apply(&mut pages, &batch);
            store.apply(batch).unwrap();
            assert_eq!(held(&*store), pages);
        }
        assert_eq!(store.get(b"b").unwrap(), None);
    }

    pub(super) fn of_two_changes_of_a_name_in_one_batch_a_put_and_the_last_one_count(
        open: Open,
        folder: &Path,
    ) {
        let store = open(folder);
        store.apply(puts(vec![put("a", "old"), put("b", "old")])).unwrap();
        let puts = vec![put("a", "1"), put("b", "1"), put("b", "2")];
        store.apply(Batch { puts, removals: vec![b"a".to_vec()] }).unwrap();
        assert_eq!(held(&*store), Pages::from([put("a", "1"), put("b", "2")]));
    }

    pub(super) fn any_bytes_are_a_name_and_any_a_content(open: Open, folder: &Path) {
        let store = open(folder);
        let mut pages: Pages = (0..=255).map(|b| put([b], vec![b; usize::from(b)])).collect();
        pages.extend([put([0, 0], ""), put([0xFF; 64], [0; 5]), put(*b"a'\"\0b", "x")]);
        store.apply(puts(pages.clone().into_iter().collect())).unwrap();
        store.flush().unwrap();
        assert_eq!(held(&*store), pages);
    }

    pub(super) fn large_batches_and_large_pages_come_back(open: Open, folder: &Path) {
        let store = open(folder);
        let mut chance = Chance(1);
        let mut pages: Pages = (0..2048).map(|n| (name_of(n), page(&mut chance, 8300))).collect();
        // A list of half a million pages.
        pages.insert(b"retire".to_vec(), page(&mut chance, 8 << 20));
        store.apply(puts(pages.clone().into_iter().collect())).unwrap();
        store.flush().unwrap();
        assert!(held(&*store) == pages);
        let removals: Vec<_> = pages.keys().filter(|name| name.len() == 16).cloned().collect();
        pages.retain(|name, _| name.len() != 16);
        store.apply(Batch { removals, puts: Vec::new() }).unwrap();
        store.flush().unwrap();
        assert!(held(&*store) == pages);
    }

    pub(super) fn many_read_while_one_writes(open: Open, folder: &Path) {
        const NAMES: u64 = 40;
        let store = open(folder);
        let version = |n: u64| vec![u8::try_from(n).unwrap(); 5000];
        let whole = |n| puts((0..NAMES).map(|name| (name_of(name), version(n))).collect());
        store.apply(whole(0)).unwrap();
        // What was surely there before a reader looks.
        let (least, over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for reader in 0..8 {
                let (store, least, over) = (&*store, &least, &over);
                scope.spawn(move || {
                    let mut chance = Chance(reader);
                    while !over.load(Ordering::SeqCst) {
                        let least = least.load(Ordering::SeqCst);
                        let found = store.get(&name_of(chance.below(NAMES))).unwrap().unwrap();
                        assert!(found.iter().all(|byte| *byte == found[0]), "half of a page");
                        assert_eq!(found.len(), 5000);
                        assert!(u64::from(found[0]) >= least, "an older page");
                    }
                });
            }
            for n in 1..=60 {
                store.apply(whole(n)).unwrap();
                least.store(n, Ordering::SeqCst);
                if n % 4 == 0 {
                    store.flush().unwrap();
                }
            }
            over.store(true, Ordering::SeqCst);
        });
    }
}

mod on_a_disk {
    use super::*;

    pub(super) fn a_store_that_was_closed_is_opened_as_it_was(open: Open, folder: &Path) {
        let mut pages = Pages::new();
        let mut work = Work::new(7, 40);
        for _ in 0..5 {
            let store = open(folder);
            assert!(held(&*store) == pages);
            for _ in 0..10 {
                let batch = work.batch();
                apply(&mut pages, &batch);
                store.apply(batch).unwrap();
            }
            store.flush().unwrap();
        }
    }

    /// Of a process that was killed at that very moment.
    pub(super) fn what_was_flushed_is_in_the_files(open: Open, folder: &Path) {
        let store = open(folder);
        let mut work = Work::new(11, 40);
        let mut pages = Pages::new();
        for round in 0..long_runs("OUBLIETTE_CUT_ROUNDS", 10) {
            for _ in 0..3 {
                let batch = work.batch();
                apply(&mut pages, &batch);
                store.apply(batch).unwrap();
            }
            store.flush().unwrap();
            let copy = folder.with_file_name(format!("copy-{round}"));
            write_files(&copy, &read_files(folder));
            assert!(held(&*open(&copy)) == pages);
        }
    }

    pub(super) fn after_a_cut_there_are_whole_batches_in_order(open: Open, folder: &Path) {
        cuts(open, folder, 3, 30);
    }

    /// Each of more than a segment of sled's.
    #[cfg(feature = "sqlite")]
    pub(super) fn after_a_cut_in_large_batches_there_are_whole_batches_in_order(
        open: Open,
        folder: &Path,
    ) {
        cuts(open, folder, 5, 700);
    }

    /// Writes, flushes, writes on; then any part of what was written since the flush is on the
    /// disk. Everything flushed must be there, and of the rest the first so many batches.
    fn cuts(open: Open, folder: &Path, seed: u64, most: u64) {
        let mut work = Work::new(seed, most);
        let mut chance = Chance(seed);
        let mut pages = Pages::new();
        let mut store = open(folder);
        for round in 0..long_runs("OUBLIETTE_CUT_ROUNDS", 12) {
            for _ in 0..2 {
                let batch = work.batch();
                apply(&mut pages, &batch);
                store.apply(batch).unwrap();
            }
            store.flush().unwrap();
            let durable = read_files(folder);
            let mut possible = vec![pages.clone()];
            for _ in 0..4 {
                let batch = work.batch();
                apply(&mut pages, &batch);
                store.apply(batch).unwrap();
                possible.push(pages.clone());
            }
            let written = read_files(folder);
            for way in 0..4 {
                let cut = folder.with_file_name(format!("cut-{round}-{way}"));
                write_files(&cut, &mix(&durable, &written, &mut chance));
                let opened = open(&cut);
                let found = held(&*opened);
                assert!(
                    possible.contains(&found),
                    "round {round}: neither of {} states: {} pages",
                    possible.len(),
                    found.len()
                );
                // And it goes on.
                opened.apply(puts(vec![put("more", "and more")])).unwrap();
                opened.flush().unwrap();
                drop(opened);
                assert_eq!(open(&cut).get(b"more").unwrap().unwrap(), b"and more");
                fs::remove_dir_all(cut).unwrap();
            }
            if round % 3 == 2 {
                store.flush().unwrap();
                drop(store);
                store = open(folder);
            }
        }
    }

    pub(super) fn a_cut_while_it_is_made_leaves_nothing_or_an_empty_store(
        open: Open,
        folder: &Path,
    ) {
        let store = open(folder);
        let files = read_files(folder);
        for (path, bytes) in &files {
            for keep in [0, 1, 9, bytes.len() / 2] {
                let cut = folder.with_file_name("cut");
                let mut left = files.clone();
                left.insert(path.clone(), bytes[..keep.min(bytes.len())].to_vec());
                write_files(&cut, &left);
                // An error, or nothing in it; its maker begins again after an error.
                let _ = std::panic::catch_unwind(|| open(&cut));
                fs::remove_dir_all(cut).unwrap();
            }
        }
        drop(store);
    }
}

fn name_of(n: u64) -> Vec<u8> {
    // Spread over the whole range, as a page's id is.
    let high = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [high.to_be_bytes(), n.to_be_bytes()].concat()
}

/// Bytes that nothing compresses.
fn page(chance: &mut Chance, length: usize) -> Vec<u8> {
    let words = length.div_ceil(8);
    let mut bytes: Vec<u8> =
        (0..words).flat_map(|_| chance.below(u64::MAX).to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Batches as a tree makes them: pages written again, new ones, some removed.
struct Work {
    chance: Chance,
    most: u64,
    names: u64,
}

impl Work {
    fn new(seed: u64, most: u64) -> Self {
        Self { chance: Chance(seed), most, names: most * 2 }
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..=self.chance.below(self.most) {
            let name = name_of(self.chance.below(self.names));
            let length = 1000 + self.chance.below(7300) as usize;
            let content = page(&mut self.chance, length);
            batch.puts.push((name, content));
        }
        for _ in 0..self.chance.below(self.most / 4) {
            batch.removals.push(name_of(self.chance.below(self.names)));
        }
        batch
    }
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All files of a folder, but for what SQLite's connections share: it is memory, and made again.
fn read_files(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_str().unwrap().ends_with("-shm") {
                let bytes = fs::read(&path).unwrap();
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

fn write_files(folder: &Path, files: &Files) {
    fs::create_dir_all(folder.join("blobs")).unwrap();
    for (path, bytes) in files {
        fs::write(folder.join(path), bytes).unwrap();
    }
}

/// The block of a file system.
const BLOCK: usize = 4096;

/// What may be there after a power cut: the durable files, and of each block that was written
/// since the one or the other.
fn mix(durable: &Files, written: &Files, chance: &mut Chance) -> Files {
    if was_checkpointed(durable, written) {
        return written.clone();
    }
    // All, none, or about half of what was written since.
    let share = [0, 1, 5, 9, 10][chance.below(5) as usize];
    let new = |chance: &mut Chance| chance.below(10) < share;
    let mut files = durable.clone();
    for (path, now) in written {
        let before = durable.get(path);
        if before.is_none() && !new(chance) {
            continue;
        }
        let before = before.map_or(&[][..], Vec::as_slice);
        let longer = new(chance);
        let length = if longer { now.len() } else { before.len() };
        let mut bytes = vec![0; length];
        for (at, block) in bytes.chunks_mut(BLOCK).enumerate() {
            for from in if new(chance) { [before, now] } else { [now, before] } {
                let from = from.get(at * BLOCK..).unwrap_or_default();
                // Where the one has nothing, there is a hole.
                block.fill(0);
                let length = block.len().min(from.len());
                block[..length].copy_from_slice(&from[..length]);
            }
        }
        files.insert(path.clone(), bytes);
    }
    // A file that was removed since may be there or not.
    files.retain(|path, _| written.contains_key(path) || !new(chance));
    files
}

/// Whether SQLite moved pages from its log to its database meanwhile, or began its log again. It
/// syncs between the steps, so that a mix of before and after cannot be.
fn was_checkpointed(durable: &Files, written: &Files) -> bool {
    let differs = |file: &str, length: usize| {
        let part = |files: &Files| {
            files.get(Path::new(file)).map(|bytes| bytes[..length.min(bytes.len())].to_vec())
        };
        part(durable) != part(written)
    };
    differs("pages.db", usize::MAX) || differs("pages.db-wal", 32)
}
