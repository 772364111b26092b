//! What decisions cost in time. Each case is named after its page in `docs/decisions/`: it does something with
//! what was decided, and in turns with that the same without it, or what it is to be compared with.
//!
//! `./bench decisions` runs it. What was measured is left in `target/oubliette-bench`, for
//! `benches/decisions_section.py`.

#![allow(missing_docs, clippy::unwrap_used)]

mod drilling;
mod fences;
mod opening;
#[path = "../pair/mod.rs"]
mod pair;
mod reading;
mod sealing;

use std::{
    future::Future,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use futures::{StreamExt as _, TryStreamExt as _};
use oubliette::{
    event::{EventType, Json, NewEvent, StreamName, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{EventStore, EventStoreExt as _, ExpectedRevision, MemoryStore, ReadAllOptions},
    vault::Vault,
};
use pair::{Ledger, Pair};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"

[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner", "/amount"]
owner  = [ { event = "Opened", add = "{/owner}" } ]

[[stream]]
match     = "room-{id}"
subject   = "{/author}"
"#;

struct Bench<'c> {
    group: BenchmarkGroup<'c, WallTime>,
    ledger: Ledger,
    runtime: Runtime,
}

impl Bench<'_> {
    /// A case of the decision with this number, of which one turn does both sides so many times.
    fn pair(
        &mut self,
        decision: &'static str,
        case: &str,
        times: u64,
        without: impl FnMut(u64) -> Duration,
        with: impl FnMut(u64) -> Duration,
    ) {
        let pair = Pair { row: decision, case: case.to_owned(), times, unit: "one" };
        self.ledger.pair(&mut self.group, &pair, without, with);
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// How long it takes to do something so many times.
fn timed<T>(mut work: impl FnMut() -> T) -> impl FnMut(u64) -> Duration {
    move |times| {
        let start = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        start.elapsed()
    }
}

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

fn policy() -> Policy {
    Policy::parse(POLICY).unwrap()
}

fn event(kind: &str, data: &str) -> NewEvent {
    NewEvent::new(EventType::new(kind).unwrap(), Json::parse(data).unwrap())
}

/// An event of 300 bytes.
fn noted() -> NewEvent {
    event("Noted", &format!(r#"{{"note":"{}"}}"#, "about somebody ".repeat(19)))
}

/// A layer in memory, so that what is measured is work and no disk.
async fn layer() -> (Oubliette<MemoryStore>, MemoryStore, Vault) {
    let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
    let layer = Oubliette::open(store.clone(), vault.clone(), policy()).await.unwrap();
    (layer, store, vault)
}

async fn put(to: &impl EventStore, name: &str, events: Vec<NewEvent>) {
    to.append_to(&stream(name), ExpectedRevision::Any, events).await.unwrap();
}

/// Reads all of a store, and returns how long it took.
async fn drained(from: &impl EventStore) -> Duration {
    let start = Instant::now();
    let mut events = from.read_all(ReadAllOptions::default()).boxed();
    while let Some(event) = events.try_next().await.unwrap() {
        black_box(event);
    }
    start.elapsed()
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decisions");
    group.sample_size(25).warm_up_time(Duration::from_millis(300));
    // Criterion's own estimates are not reported.
    group.measurement_time(Duration::from_secs(1)).nresamples(1_000);
    let ledger = Ledger::new("decisions");
    let mut bench = Bench { group, ledger, runtime: Runtime::new().unwrap() };
    opening::cases(&mut bench);
    sealing::cases(&mut bench);
    fences::cases(&mut bench);
    reading::cases(&mut bench);
    drilling::cases(&mut bench);
}

criterion_group!(benches, decisions);
criterion_main!(benches);
