//! The steps, each in a process of its own. A step prints one JSON object.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oubliette::{
    event::{KEY_ID_BYTES, KeyId},
    vault::{
        PageStoreKind, Vault,
        internals::{InventoryEntry, KeyLookup, Plumbing as _},
    },
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    forget,
    keys::{key, make, subject},
    meter::{Writes, cool, count_writes, disk, forget_peak, memory},
};

/// As many tasks fill the vault.
const FILLERS: u64 = 4096;
/// Keys of which the ids are noted, to look them up later.
const SAMPLE: u64 = 10_000;

pub(crate) struct Step {
    pub(crate) folder: PathBuf,
    pub(crate) size: u64,
    pub(crate) runtime: Runtime,
}

pub(crate) fn run(arguments: &[String]) {
    let [name, folder, size, rest @ ..] = arguments else { panic!("a step, a folder, a size") };
    count_writes();
    let step = Step {
        folder: folder.into(),
        size: size.parse().unwrap(),
        runtime: Runtime::new().unwrap(),
    };
    let said = match name.as_str() {
        "fill" => step.fill(),
        "create" => step.create(),
        "open" => step.open_again(),
        "look-up" => step.look_up(),
        "inventory" => step.inventory(),
        "load" => step.load(),
        "move" => step.move_to_sqlite(),
        "forget" => forget::alone(&step, Path::new(&rest[0])),
        "tombstones" => forget::with_tombstones(&step),
        other => panic!("no step {other}"),
    };
    println!("{said}");
}

impl Step {
    pub(crate) fn open(&self) -> (Vault, Duration) {
        open(&self.folder)
    }

    /// A new vault, filled by very many tasks.
    fn fill(&self) -> Value {
        let vault = Vault::create(&self.folder.join("vault"), &self.folder.join("root")).unwrap();
        let before = Writes::now();
        let every = self.size.div_ceil(SAMPLE);
        let (took, sample) = make(&self.runtime, &vault, "person", self.size, FILLERS, every, true);
        let writes = Writes::now().since(before);
        let ids: Vec<u8> = sample.iter().flat_map(|id| id.0).collect();
        fs::write(self.folder.join("ids"), ids).unwrap();
        let (resident, peak) = memory();
        let begin = Instant::now();
        drop(vault);
        json!({
            "keys": self.size, "tasks": FILLERS, "seconds": took.as_secs_f64(),
            "writes": writes.in_place, "root_writes": writes.fresh, "pages": writes.pages,
            "stop_seconds": begin.elapsed().as_secs_f64(),
            "resident": resident, "peak": peak, "disk": disk(&self.folder.join("vault")),
        })
    }

    /// More keys in a vault that is full: one after another, and by tasks at once.
    fn create(&self) -> Value {
        let (vault, _) = self.open();
        let mut rows = Vec::new();
        // Not so many that it becomes another vault.
        let most = (self.size / 5).max(1_000);
        let cases =
            [("one", 1, 500), ("eight", 8, 2_000), ("some", 64, 8_000), ("many", 1024, 50_000)];
        for (kind, tasks, count) in cases {
            let count = most.min(count);
            let before = Writes::now();
            let (took, _) = make(&self.runtime, &vault, kind, count, tasks, 0, false);
            let writes = Writes::now().since(before);
            rows.push(json!({
                "tasks": tasks, "keys": count, "seconds": took.as_secs_f64(),
                "writes": writes.in_place, "root_writes": writes.fresh, "pages": writes.pages,
            }));
        }
        let (resident, peak) = memory();
        let begin = Instant::now();
        drop(vault);
        let stop = begin.elapsed().as_secs_f64();
        json!({ "rows": rows, "stop_seconds": stop, "resident": resident, "peak": peak })
    }

    /// Opening, with nothing in the system's memory, and a look that the sample is all there.
    fn open_again(&self) -> Value {
        cool(&self.folder.join("vault"));
        let (vault, took) = self.open();
        let (resident, peak) = memory();
        for id in self.sample() {
            assert!(matches!(vault.opening_key(id), Ok(KeyLookup::Live { .. })), "a key is lost");
        }
        json!({ "seconds": took.as_secs_f64(), "resident": resident, "peak": peak })
    }

    fn sample(&self) -> Vec<KeyId> {
        let ids = fs::read(self.folder.join("ids")).unwrap();
        ids.as_chunks::<KEY_ID_BYTES>().0.iter().map(|id| KeyId(*id)).collect()
    }

    /// Keys of people here and there: first with nothing in memory, then once more.
    fn look_up(&self) -> Value {
        cool(&self.folder.join("vault"));
        let (vault, _) = self.open();
        let sample = self.sample();
        let (first, rest) = sample.split_at(sample.len() / 10);
        let time = |ids: &[KeyId]| {
            let begin = Instant::now();
            for id in ids {
                assert!(matches!(vault.opening_key(*id), Ok(KeyLookup::Live { .. })));
            }
            begin.elapsed().as_nanos() as f64 / ids.len() as f64
        };
        // The upper pages are in memory after these, as in any vault that runs.
        time(first);
        let cold = time(rest);
        let warm = time(rest);
        // A known key that has not sealed since the vault was opened needs a reservation.
        let known = |number: u64| subject("person", number * (self.size / 200));
        let begin = Instant::now();
        for number in 0..200 {
            let subject = known(number);
            self.runtime.block_on(key(&vault, &subject.stream(), &subject));
        }
        let seal_first = begin.elapsed().as_nanos() as f64 / 200.0;
        let begin = Instant::now();
        for number in 0..200 {
            let subject = known(number);
            self.runtime.block_on(key(&vault, &subject.stream(), &subject));
        }
        let seal_warm = begin.elapsed().as_nanos() as f64 / 200.0;
        let (resident, peak) = memory();
        json!({
            "cold_ns": cold, "warm_ns": warm, "seal_first_ns": seal_first, "seal_warm_ns": seal_warm,
            "resident": resident, "peak": peak,
        })
    }

    /// Every key, one after the other.
    fn inventory(&self) -> Value {
        let (vault, _) = self.open();
        let mut runs = Vec::new();
        for _ in 0..3 {
            let (before, _) = memory();
            forget_peak();
            let begin = Instant::now();
            let (mut keys, mut fences, mut about) = (0u64, 0u64, 0u64);
            for entry in vault.inventory() {
                match entry.unwrap() {
                    InventoryEntry::Key(key) => {
                        keys += 1;
                        about += key.sealed_at_most;
                    }
                    InventoryEntry::Fence(_) => fences += 1,
                    _ => {}
                }
            }
            let took = begin.elapsed();
            assert!(keys >= self.size && about >= keys, "{keys} keys are not all");
            runs.push(json!({
                "keys": keys, "fences": fences, "seconds": took.as_secs_f64(),
                "resident_before": before, "peak": memory().1,
            }));
        }
        json!({ "runs": runs })
    }

    /// The same pages in SQLite.
    fn move_to_sqlite(&self) -> Value {
        let (folder, root) = (self.folder.join("vault"), self.folder.join("root"));
        let begin = Instant::now();
        let moved =
            Vault::move_pages(&folder, root.as_path(), PageStoreKind::Sqlite, |_| ()).unwrap();
        let took = begin.elapsed().as_secs_f64();
        json!({ "seconds": took, "pages": moved.pages, "disk": disk(&folder), "peak": memory().1 })
    }

    /// Makes keys until somebody kills the process.
    fn load(&self) -> Value {
        let (vault, _) = self.open();
        println!("{{}}");
        make(&self.runtime, &vault, "late", u64::MAX, 64, 0, false);
        Value::Null
    }
}

pub(crate) fn open(folder: &Path) -> (Vault, Duration) {
    let begin = Instant::now();
    let vault = Vault::open(&folder.join("vault"), &folder.join("root")).unwrap();
    (vault, begin.elapsed())
}
