//! What the layer allocates for each event that is read, beyond what the store does. Instructions and times differ from
//! machine to machine; this does not.

use allocation_counter::measure;
use futures::{TryStreamExt, executor::block_on};

use crate::common::stream;
use oubliette::{
    event::{EventType, Json, NewEvent},
    layer::Oubliette,
    policy::Policy,
    store::{EventStore, EventStoreExt, EventStream, ExpectedRevision, MemoryStore, ReadOptions},
    vault::Vault,
};

const POLICY: &str = r#"
[[stream]]
match = "sealed-{id}"

[[stream]]
match  = "inline-{id}"
layout = "inline"
public = ["/id", "/amount", "/currency"]
"#;

const EVENTS: usize = 2_000;

fn deposited(number: usize) -> NewEvent {
    let text = format!(
        r#"{{"id":"booking-{number}","amount":{number}.50,"currency":"EUR","name":"Ada","email":"ada@example.org","city":"Ulm","born":"1815-12-10","note":"paid in at the counter"}}"#
    );
    NewEvent::new(EventType::new("AmountDeposited").unwrap(), Json::parse(&text).unwrap())
}

/// How many allocations it takes to read all events of a stream, outside of a runtime: on this thread.
fn allocations(events: impl FnOnce() -> EventStream) -> u64 {
    let mut read = 0;
    let counted = measure(|| {
        let mut events = events();
        block_on(async {
            while let Some(event) = events.try_next().await.unwrap() {
                assert!(event.data.is_some() && event.shredded.is_empty());
                read += 1;
            }
        });
    });
    assert_eq!(read, EVENTS);
    counted.count_total
}

/// In hundredths, for each event.
fn beyond_the_store(layout: &str) -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
    let policy = Policy::parse(POLICY).unwrap();
    let layer = runtime.block_on(Oubliette::open(store.clone(), vault, policy)).unwrap();
    let name = stream(&format!("{layout}-1"));
    let any = ExpectedRevision::Any;
    let events = (0..EVENTS).map(deposited).collect();
    runtime.block_on(layer.append_to(&name, any, events)).unwrap();
    let read = || allocations(|| layer.read(&name, ReadOptions::default()));
    // Once before, so that all keys are warm.
    read();
    let bare = allocations(|| store.read(&name, ReadOptions::default()));
    100 * (read() - bare) / EVENTS as u64
}

/// The token's bytes, in which the payload comes, and its count of readers; the list of key ids.
#[test]
fn an_event_that_is_sealed_whole_takes_three() {
    let taken = beyond_the_store("sealed");
    assert!(taken <= 3_20, "{taken} hundredths");
}

#[test]
fn an_event_that_is_public_in_part_takes_eight() {
    let taken = beyond_the_store("inline");
    assert!(taken <= 8_20, "{taken} hundredths");
}
