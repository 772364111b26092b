//! Appending and reading through the layer, against the same SQLite store bare through the same
//! trait, on the disk.

#![allow(missing_docs, clippy::unwrap_used)]

mod bookings;
mod pair;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bookings::{POLICY, booking};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use futures::{StreamExt, TryStreamExt, future::try_join_all};
use oubliette::{
    event::{NewEvent, RecordedEvent, StreamName},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, EventStream, ExpectedRevision, ReadAllOptions,
        ReadOptions, SqliteStore,
    },
    vault::Vault,
};
use pair::{Ledger, Pair};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const LAYOUTS: [&str; 3] = ["sealed", "inline", "split"];
const SIZES: [(&str, usize); 2] = [("300 B", 300), ("1 KiB", 1024)];
/// How many events are read in one go.
const LONG: u64 = 10_000;
/// Over so many streams, where all are read.
const STREAMS: u64 = 100;
const WRITERS: u64 = 8;
/// How many events an import appends at once, and to how many streams.
const BATCH: u64 = 1000;
const BATCHED_STREAMS: u64 = 4000;
/// How many events a stream that is new gets, one after the other.
const FIRST_EVENTS: u64 = 4;

/// A bare store and a layered one beside each other, on the disk.
struct Stores {
    bare: SqliteStore,
    layered: Oubliette<SqliteStore>,
    _folder: TempDir,
}

impl Stores {
    fn create(runtime: &Runtime) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = |name: &str| folder.path().join(name);
        let vault = Vault::create(&at("vault"), &at("root")).unwrap();
        let store = SqliteStore::create(at("under")).unwrap();
        let policy = Policy::parse(POLICY).unwrap();
        let layered = runtime.block_on(Oubliette::open(store, vault, policy)).unwrap();
        Self { bare: SqliteStore::create(at("bare")).unwrap(), layered, _folder: folder }
    }

    /// With the same events in both.
    fn filled(runtime: &Runtime, layout: &str, size: usize) -> Self {
        let stores = Self::create(runtime);
        stores.fill(runtime, layout, size);
        stores
    }

    fn fill(&self, runtime: &Runtime, layout: &str, size: usize) {
        fn store(to: &impl EventStore, layout: &str, size: usize, runtime: &Runtime) {
            for number in 0..STREAMS {
                let (long, many) = (stream(layout, "long"), stream(layout, &number.to_string()));
                for name in [long, many] {
                    let events = (0..LONG / STREAMS).map(|_| event(size)).collect();
                    runtime.block_on(to.append_to(&name, ExpectedRevision::Any, events)).unwrap();
                }
            }
        }
        store(&self.bare, layout, size, runtime);
        store(&self.layered, layout, size, runtime);
    }
}

fn stream(layout: &str, id: &str) -> StreamName {
    StreamName::new(format!("{layout}-{id}")).unwrap()
}

fn event(size: usize) -> NewEvent {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    booking(NUMBER.fetch_add(1, Ordering::Relaxed), size)
}

/// One event after the other, each acknowledged before the next. The events are made before the
/// clock starts. In a task, as services do: not on a thread that only waits for the runtime.
fn one_writer<S: EventStore + Clone>(
    runtime: &Runtime,
    to: &S,
    name: &StreamName,
    size: usize,
    times: u64,
) -> Duration {
    let events: Vec<NewEvent> = (0..times).map(|_| event(size)).collect();
    let (to, name) = (to.clone(), name.clone());
    let task = async move {
        let start = Instant::now();
        for event in events {
            to.append_to(&name, ExpectedRevision::Any, vec![event]).await.unwrap();
        }
        start.elapsed()
    };
    runtime.block_on(async { tokio::spawn(task).await.unwrap() })
}

/// What each of several writers appends: to which streams, and which events.
type Work = Vec<Vec<(StreamName, Vec<NewEvent>)>>;

/// As many at once, each one event after the other.
fn side_by_side<S: EventStore + Clone>(runtime: &Runtime, to: &S, work: Work) -> Duration {
    runtime.block_on(async {
        let start = Instant::now();
        let tasks = work.into_iter().map(|streams| {
            let to = to.clone();
            tokio::spawn(async move {
                for (name, events) in streams {
                    for event in events {
                        to.append_to(&name, ExpectedRevision::Any, vec![event]).await.unwrap();
                    }
                }
            })
        });
        try_join_all(tasks).await.unwrap();
        start.elapsed()
    })
}

/// Each to its own stream, which is warm.
fn writers(layout: &str, size: usize, times: u64) -> Work {
    let of = |writer| {
        let events = (0..times / WRITERS).map(|_| event(size)).collect();
        vec![(stream(layout, &format!("writer{writer}")), events)]
    };
    (0..WRITERS).map(of).collect()
}

/// Each the first events of streams that are new: of a person who registers, say.
fn newcomers(writers: u64, size: usize, times: u64) -> Work {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let first_events = || {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let events = (0..FIRST_EVENTS).map(|_| event(size)).collect();
        (stream("sealed", &format!("new{number}")), events)
    };
    let streams = times / FIRST_EVENTS / writers;
    (0..writers).map(|_| (0..streams).map(|_| first_events()).collect()).collect()
}

fn drain(runtime: &Runtime, events: impl Fn() -> EventStream, times: u64) -> Duration {
    let mut events = events();
    runtime.block_on(async {
        let task = async move {
            let start = Instant::now();
            let mut seen = 0;
            while let Some(event) = events.try_next().await.unwrap() {
                assert!(event.data.is_some() && event.shredded.is_empty());
                seen += 1;
            }
            assert_eq!(seen, times);
            start.elapsed()
        };
        tokio::spawn(task).await.unwrap()
    })
}

fn cases(mut each: impl FnMut(&str, &str, usize)) {
    for layout in LAYOUTS {
        for (name, size) in SIZES {
            each(layout, name, size);
        }
    }
}

fn settings(group: &mut BenchmarkGroup<'_, WallTime>) {
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
}

fn appending(criterion: &mut Criterion, ledger: &Ledger, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("append");
    settings(&mut group);
    cases(|layout, name, size| {
        let stores = Stores::create(runtime);
        let Stores { bare, layered, .. } = &stores;
        let to = stream(layout, "one");
        let pair = Pair {
            row: "append",
            case: format!("{layout}, {name}, one writer"),
            times: 16,
            unit: "event",
        };
        ledger.pair(
            &mut group,
            &pair,
            |times| one_writer(runtime, bare, &to, size, times),
            |times| one_writer(runtime, layered, &to, size, times),
        );
        let pair = Pair {
            case: format!("{layout}, {name}, {WRITERS} writers"),
            times: 16 * WRITERS,
            ..pair
        };
        ledger.pair(
            &mut group,
            &pair,
            |times| side_by_side(runtime, bare, writers(layout, size, times)),
            |times| side_by_side(runtime, layered, writers(layout, size, times)),
        );
    });
    group.finish();
}

/// The ids of the streams in which the rows of a stream are, in the order in which they are appended.
fn rows(layout: &str, id: &str) -> Vec<String> {
    match layout {
        "split" => ["private", "public"].map(|half| format!("{half}-{id}")).into(),
        _ => vec![id.to_owned()],
    }
}

/// What the bytes alone cost that the layer adds: the bare store is given what the layer would give it, ready-made.
fn storing(criterion: &mut Criterion, ledger: &Ledger, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("stored");
    settings(&mut group);
    let (name, size) = SIZES[0];
    for layout in LAYOUTS {
        let stores = Stores::create(runtime);
        let Stores { bare, layered, .. } = &stores;
        let (to, first) = (stream(layout, "one"), vec![event(size)]);
        runtime.block_on(layered.append_to(&to, ExpectedRevision::Any, first)).unwrap();
        let stored = |id: &String| runtime.block_on(layered.store().last(&stream(layout, id)));
        let stored: Vec<_> =
            rows(layout, "one").iter().map(|id| stored(id).unwrap().unwrap()).collect();
        let ready_made = |times| -> Vec<Vec<Vec<Append>>> {
            let of = |writer| {
                let ids = rows(layout, &format!("writer{writer}"));
                let row = |(id, stored): (&String, &RecordedEvent)| {
                    let mut row = event(size);
                    row.data = stored.data.clone().unwrap();
                    row.metadata.clone_from(&stored.metadata);
                    Append::new(stream(layout, id), ExpectedRevision::Any, vec![row])
                };
                (0..times / WRITERS).map(|_| ids.iter().zip(&stored).map(row).collect()).collect()
            };
            (0..WRITERS).map(of).collect()
        };
        let append = |work: Vec<Vec<Vec<Append>>>| {
            runtime.block_on(async {
                let start = Instant::now();
                let tasks = work.into_iter().map(|appends| {
                    let to = bare.clone();
                    tokio::spawn(async move {
                        for append in appends {
                            to.append(append).await.unwrap();
                        }
                    })
                });
                try_join_all(tasks).await.unwrap();
                start.elapsed()
            })
        };
        let pair = Pair {
            row: "stored",
            case: format!("{layout}, {name}, {WRITERS} writers"),
            times: 16 * WRITERS,
            unit: "event",
        };
        ledger.pair(
            &mut group,
            &pair,
            |times| side_by_side(runtime, bare, writers(layout, size, times)),
            |times| append(ready_made(times)),
        );
    }
    group.finish();
}

fn beginning(criterion: &mut Criterion, ledger: &Ledger, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("first");
    settings(&mut group);
    let stores = Stores::create(runtime);
    let Stores { bare, layered, .. } = &stores;
    let (name, size) = SIZES[0];
    for (many, who) in [(1, "one writer".to_owned()), (WRITERS, format!("{WRITERS} writers"))] {
        let pair = Pair {
            row: "first",
            case: format!("sealed, {name}, {FIRST_EVENTS} events in each new stream, {who}"),
            times: 4 * FIRST_EVENTS * many,
            unit: "event",
        };
        ledger.pair(
            &mut group,
            &pair,
            |times| side_by_side(runtime, bare, newcomers(many, size, times)),
            |times| side_by_side(runtime, layered, newcomers(many, size, times)),
        );
    }
    group.finish();
}

/// As an import does it: many events of many streams in one append.
fn batching(criterion: &mut Criterion, ledger: &Ledger, runtime: &Runtime) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("batch");
    settings(&mut group);
    let stores = Stores::create(runtime);
    let Stores { bare, layered, .. } = &stores;
    let (name, size) = SIZES[0];
    let one = |_| {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) % BATCHED_STREAMS;
        let to = stream("sealed", &format!("batch{number}"));
        Append::new(to, ExpectedRevision::Any, vec![event(size)])
    };
    fn append<S: EventStore>(runtime: &Runtime, to: &S, batches: Vec<Vec<Append>>) -> Duration {
        runtime.block_on(async {
            let start = Instant::now();
            for batch in batches {
                to.append(batch).await.unwrap();
            }
            start.elapsed()
        })
    }
    let batches = |times| (0..times / BATCH).map(|_| (0..BATCH).map(one).collect()).collect();
    let pair = Pair {
        row: "batch",
        case: format!("sealed, {name}, {BATCH} events of as many streams in one append"),
        times: 2 * BATCH,
        unit: "event",
    };
    ledger.pair(
        &mut group,
        &pair,
        |times| append(runtime, bare, batches(times)),
        |times| append(runtime, layered, batches(times)),
    );
    group.finish();
}

fn reading(criterion: &mut Criterion, ledger: &Ledger, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("read");
    settings(&mut group);
    cases(|layout, name, size| {
        let stores = Stores::filled(runtime, layout, size);
        let Stores { bare, layered, .. } = &stores;
        let long = stream(layout, "long");
        let pair = Pair {
            row: "read",
            case: format!("{layout}, {name}, one stream"),
            times: LONG,
            unit: "event",
        };
        ledger.pair(
            &mut group,
            &pair,
            |times| drain(runtime, || bare.read(&long, ReadOptions::default()), times),
            |times| drain(runtime, || layered.read(&long, ReadOptions::default()), times),
        );
        let pair = Pair { case: format!("{layout}, {name}, all streams"), times: 2 * LONG, ..pair };
        ledger.pair(
            &mut group,
            &pair,
            |times| drain(runtime, || bare.read_all(ReadAllOptions::default()).boxed(), times),
            |times| drain(runtime, || layered.read_all(ReadAllOptions::default()).boxed(), times),
        );
    });
    group.finish();
}

/// What reading costs before anything is opened: the rows that the layer reads, from the store beneath it.
fn fetching(criterion: &mut Criterion, ledger: &Ledger, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("beneath");
    settings(&mut group);
    cases(|layout, name, size| {
        let stores = Stores::filled(runtime, layout, size);
        let (bare, beneath) = (&stores.bare, stores.layered.store());
        let long = stream(layout, "long");
        let rows: Vec<_> = rows(layout, "long").iter().map(|id| stream(layout, id)).collect();
        let pair = Pair {
            row: "beneath",
            case: format!("{layout}, {name}, one stream"),
            times: LONG,
            unit: "event",
        };
        ledger.pair(
            &mut group,
            &pair,
            |times| drain(runtime, || bare.read(&long, ReadOptions::default()), times),
            |times| {
                let read =
                    |row| drain(runtime, || beneath.read(row, ReadOptions::default()), times);
                rows.iter().map(read).sum()
            },
        );
    });
    group.finish();
}

fn layer(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let ledger = Ledger::new("layer");
    appending(criterion, &ledger, &runtime);
    storing(criterion, &ledger, &runtime);
    beginning(criterion, &ledger, &runtime);
    batching(criterion, &ledger, &runtime);
    reading(criterion, &ledger, &runtime);
    fetching(criterion, &ledger, &runtime);
}

criterion_group!(benches, layer);
criterion_main!(benches);
