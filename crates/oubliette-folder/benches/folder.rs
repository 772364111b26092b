//! What a data folder adds to opening a vault, a store and a layer by hand (decision 16): looking at what is in
//! it and at the user's settings, and the policy that was adopted.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../../../benches/pair/mod.rs"]
mod pair;

use std::{
    fs,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use oubliette::{layer::Oubliette, policy::Policy, store::SqliteStore, vault::Vault};
use oubliette_folder::{Access, DataFolder};
use pair::{Ledger, Pair};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id", "/colour"]

[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner", "/amount"]
owner  = [ { event = "Opened", add = "{/owner}" } ]
"#;

fn folder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("folder");
    group.sample_size(25).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
    let runtime = Runtime::new().unwrap();
    let space = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| space.path().join(name);
    fs::write(at("policy.toml"), POLICY).unwrap();
    let folder =
        DataFolder::at(at("data")).with_root(Some(at("root"))).with_settings(Some(at("settings")));
    fs::create_dir(at("settings")).unwrap();
    runtime.block_on(async {
        let mut parts = folder.open(Access::Create, Some(&at("policy.toml"))).await.unwrap();
        let given = parts.given.take().unwrap();
        folder.adopt(parts.oubliette.vault().unwrap(), &given).await.unwrap();
    });
    let parts = || {
        let vault = Vault::open(&at("data/vault"), &at("root")).unwrap();
        let store = SqliteStore::open(at("data/events")).unwrap();
        let policy = Policy::parse(POLICY).unwrap();
        runtime.block_on(Oubliette::open(store, vault, policy)).unwrap()
    };
    let whole = || runtime.block_on(folder.open(Access::Existing, None)).unwrap();
    let pair = Pair {
        row: "16",
        case: "opening a data folder, against opening its vault, store and layer by hand"
            .to_owned(),
        times: 1,
        unit: "one",
    };
    Ledger::new("folder").pair(&mut group, &pair, once(parts), once(whole));
    group.finish();
}

/// How long it takes to do something once; what it made is let go of afterwards.
fn once<T>(work: impl Fn() -> T) -> impl FnMut(u64) -> Duration {
    move |_| {
        let start = Instant::now();
        let made = work();
        let took = start.elapsed();
        drop(made);
        took
    }
}

criterion_group!(benches, folder);
criterion_main!(benches);
