//! What reading costs where something is gone, and what forgetting reads.

use std::{cell::Cell, time::Instant};

use futures::TryStreamExt as _;
use oubliette::{
    event::{EventId, EventType, NewEvent, RecordedEvent, Revision, SUBJECT_FORGOTTEN},
    layer::{Oubliette, Wanted},
    store::{EventStore as _, MemoryStore, ReadAllOptions, SqliteStore},
};

use crate::{Bench, drained, event, folder, layer, noted, policy, put, stream, subject};

/// How many events are read in one go.
const EVENTS: usize = 2_000;

pub(crate) fn cases(bench: &mut Bench<'_>) {
    what_is_gone(bench);
    what_is_wanted(bench);
    owners(bench);
    forgetting(bench);
    restoring(bench);
}

/// Events that open; the same, shredded; as many tombstones; and copies of which a part is missing.
fn what_is_gone(bench: &mut Bench<'_>) {
    let (living, shredded, tombstones, copies) = bench.run(async {
        let (living, ..) = layer().await;
        put(&living, "user-1", (0..EVENTS).map(|_| noted()).collect()).await;

        let (origin, store, vault) = layer().await;
        for room in 0..EVENTS {
            let said = event("Said", r#"{"author":"user-1","text":"said in a room"}"#);
            put(&origin, &format!("room-{room}"), vec![said]).await;
        }
        put(&origin, "user-1", (0..EVENTS).map(|_| noted()).collect()).await;
        origin.forget(&subject("user-1"), "measured").await.unwrap();
        // Each kind in a store of its own, with what was announced: the vault wants to see that.
        let all = everything(&store).await;
        let only = async |keep: fn(&RecordedEvent) -> bool| {
            let store = MemoryStore::new();
            for kept in all.iter().filter(|event| event.is_announcement() || keep(event)) {
                put(&store, kept.stream.as_str(), vec![as_it_is(kept)]).await;
            }
            Oubliette::open(store, vault.clone(), policy()).await.unwrap()
        };
        let shredded = only(|event| event.stream == stream("user-1") && !is_tombstone(event)).await;
        let tombstones =
            only(|event| is_tombstone(event) && event.stream != stream("user-1")).await;

        let (copies, ..) = layer().await;
        for gone in everything(&shredded).await.iter().filter(|event| !event.shredded.is_empty()) {
            // Something of it is there still.
            let copy = NewEvent { data: noted().data, ..NewEvent::copy_of(gone) };
            put(&copies, "user-2", vec![copy.with_id(EventId::random())]).await;
        }
        (living, shredded, tombstones, copies)
    });
    let each = |what: &Oubliette<MemoryStore>| bench.runtime.block_on(everything(what)).len();
    for what in [&living, &shredded, &tombstones, &copies] {
        assert_eq!(each(what), EVENTS);
    }
    let handle = bench.runtime.handle().clone();
    let read = |what: &Oubliette<MemoryStore>| handle.block_on(drained(what));
    for (decision, case, with) in [
        ("21", "reading shredded events, whose tag is asked, against events that open", &shredded),
        ("20", "reading tombstones, each with a signature, against events that open", &tombstones),
        ("26", "reading copies with a hole, against events without", &copies),
    ] {
        bench.pair(decision, case, EVENTS as u64, |_| read(&living), |_| read(with));
    }
}

/// What is public of the events of an account, against all of them; and no event's type, against all.
fn what_is_wanted(bench: &mut Bench<'_>) {
    let layer = bench.run(async {
        let (layer, ..) = layer().await;
        let paid = || event("Paid", r#"{"amount":7,"memo":"a debt that is paid back at last"}"#);
        put(&layer, "account-1", (0..EVENTS).map(|_| paid()).collect()).await;
        layer
    });
    let public = Wanted { public_only: true, ..Wanted::default() };
    let none = EventType::new("Closed").unwrap();
    let none = Wanted { event_types: vec![none], ..Wanted::default() };
    let handle = bench.runtime.handle().clone();
    for (case, wanted) in [
        ("reading what is public of inline events, against reading them", public),
        ("passing by inline events of other types, against reading them", none),
    ] {
        let some = layer.wanting(wanted);
        bench.pair(
            "40",
            case,
            EVENTS as u64,
            |_| handle.block_on(drained(&layer)),
            |_| handle.block_on(drained(&some)),
        );
    }
}

async fn everything(store: &impl oubliette::store::EventStore) -> Vec<RecordedEvent> {
    store.read_all(ReadAllOptions::default()).try_collect().await.unwrap()
}

fn is_tombstone(event: &RecordedEvent) -> bool {
    event.event_type.as_str() == SUBJECT_FORGOTTEN
}

/// An event as a plain store has it, to be put into another one.
pub(crate) fn as_it_is(event: &RecordedEvent) -> NewEvent {
    let data = event.data.clone().unwrap();
    let new = NewEvent::new(event.event_type.clone(), data).with_id(event.id);
    NewEvent { metadata: event.metadata.clone(), ..new }
}

/// Looking for owners in all events, against reading them.
fn owners(bench: &mut Bench<'_>) {
    let layer = bench.run(async {
        let (layer, ..) = layer().await;
        for account in 0..EVENTS / 10 {
            let mut events = vec![event("Opened", r#"{"owner":"user-1","amount":0}"#)];
            events.extend((1..10).map(|_| event("Paid", r#"{"amount":7,"memo":"a debt"}"#)));
            put(&layer, &format!("account-{account}"), events).await;
        }
        layer
    });
    let handle = bench.runtime.handle().clone();
    bench.pair(
        "29",
        "looking for owners in all events, against reading them",
        EVENTS as u64,
        |_| handle.block_on(drained(&layer)),
        |_| {
            let start = Instant::now();
            handle.block_on(layer.rebuild_owners(true)).unwrap();
            start.elapsed()
        },
    );
}

/// What a forgetting looks at before it closes anybody.
fn forgetting(bench: &mut Bench<'_>) {
    const LONG: usize = 1_000;
    let (layer, ..) = bench.run(layer());
    let handle = bench.runtime.handle().clone();
    let next = Cell::new(0);
    let forget = |stream: &'static str, length: usize| {
        next.set(next.get() + 1);
        let who = format!("user-{}", next.get());
        let events = (0..length).map(|_| match stream {
            "room" => event("Said", &format!(r#"{{"author":"{who}","text":"said"}}"#)),
            _ => noted(),
        });
        let to = if stream == "room" { format!("room-{who}") } else { who.clone() };
        handle.block_on(put(&layer, &to, events.collect()));
        let start = Instant::now();
        handle.block_on(layer.forget(&subject(&who), "measured")).unwrap();
        start.elapsed()
    };
    for (decision, case, stream) in [
        (
            "17",
            "forgetting somebody with 1,000 events in a stream of their own, against one event",
            "user",
        ),
        (
            "17",
            "forgetting somebody with 1,000 events in a stream of many, against one event",
            "room",
        ),
    ] {
        bench.pair(decision, case, 1, |_| forget(stream, 1), |_| forget(stream, LONG));
    }
}

/// Writing what another store recorded, against appending it.
fn restoring(bench: &mut Bench<'_>) {
    const BATCH: u64 = 200;
    let folder = folder();
    let from = MemoryStore::new();
    bench.run(put(&from, "user-1", vec![noted()]));
    let one = bench.run(everything(&from)).remove(0);
    let store = |name: &str| SqliteStore::create(folder.path().join(name)).unwrap();
    let (appended, restored) = (store("appended"), store("restored"));
    let handle = bench.runtime.handle().clone();
    let next = Cell::new(0);
    let to = || {
        next.set(next.get() + 1);
        format!("user-{}", next.get())
    };
    bench.pair(
        "28",
        "restoring 200 events into SQLite, against appending them",
        BATCH,
        |times| {
            let (to, events) = (to(), (0..times).map(|_| noted()).collect());
            let start = Instant::now();
            handle.block_on(put(&appended, &to, events));
            start.elapsed()
        },
        |times| {
            let to = stream(&to());
            let events = (0..times).map(|revision| {
                let mut event = one.clone();
                (event.stream, event.id) = (to.clone(), EventId::random());
                event.revision = Revision(revision);
                event
            });
            let events = events.collect();
            let start = Instant::now();
            handle.block_on(restored.restore(events)).unwrap();
            start.elapsed()
        },
    );
}
