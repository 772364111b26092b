//! What a durable key costs in each page store: a vault of 10,000 keys, more of them made by so many
//! tasks at once, and people forgotten one after another. Beside it, a bare write with `fdatasync`.

use std::{env, fs, io::Write as _, path::Path, time::Instant};

use oubliette::vault::{PageStoreKind, Vault};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    forget::forget,
    keys::{make, subject},
};

const KEYS: u64 = 10_000;
const FORGETS: u64 = 200;
const ROUNDS: usize = 3;

/// Measures both in turns and leaves the numbers where `benches/durable_section.py` finds them.
pub(crate) fn run() {
    let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../oubliette-bench");
    fs::create_dir_all(&results).unwrap();
    let at = results.join("durable");
    let mut rows = Vec::new();
    for _ in 0..ROUNDS {
        rows.push(json!({ "pages": "bare", "syncs": in_folder(&at, bare) }));
        for kind in PageStoreKind::ALL {
            rows.push(in_folder(&at, |at| measure(at, kind)));
        }
    }
    let load = env::var("load_before").unwrap_or_default();
    let said = json!({ "keys": KEYS, "forgets": FORGETS, "load": load, "rows": rows });
    fs::write(results.join("durable.json"), format!("{said:#}\n")).unwrap();
}

fn in_folder<T>(at: &Path, measure: impl FnOnce(&Path) -> T) -> T {
    let _ = fs::remove_dir_all(at);
    fs::create_dir_all(at).unwrap();
    let measured = measure(at);
    fs::remove_dir_all(at).unwrap();
    measured
}

/// Writes of one leaf, each durable before the next.
fn bare(at: &Path) -> f64 {
    let mut file = fs::File::create(at.join("bare")).unwrap();
    let begin = Instant::now();
    for _ in 0..500 {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    500.0 / begin.elapsed().as_secs_f64()
}

fn measure(at: &Path, kind: PageStoreKind) -> Value {
    let runtime = Runtime::new().unwrap();
    let vault = Vault::create_with(&at.join("vault"), &at.join("root"), kind).unwrap();
    make(&runtime, &vault, "person", KEYS, 4096, 0, false);
    let mut made = Vec::new();
    for (name, tasks, count) in [("one", 1, 500), ("eight", 8, 2_000), ("some", 64, 8_000)] {
        let (took, _) = make(&runtime, &vault, name, count, tasks, 0, false);
        made.push(json!({ "tasks": tasks, "rate": count as f64 / took.as_secs_f64() }));
    }
    let one = |number| forget(&runtime, &vault, &[subject("person", number)]).0;
    let forgets: Vec<f64> = (0..FORGETS).map(one).collect();
    json!({ "pages": kind.to_string(), "made": made, "forgets": forgets })
}
