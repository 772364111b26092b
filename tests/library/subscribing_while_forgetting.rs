//! Who subscribes while others append and forget misses nothing, sees nothing twice, and hears of
//! every erasure.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::common::*;
use futures::StreamExt;
use oubliette::{
    event::{Position, RecordedEvent},
    store::{Delivery, EventStore, Filter, SqliteStore},
};

const PEOPLE: u32 = 40;
const EACH: u32 = 12;

/// Follows from a position until so many events have come.
async fn follow(
    bank: &impl EventStore,
    after: Option<Position>,
    count: usize,
) -> Vec<RecordedEvent> {
    let mut subscription = bank.subscribe(after, Filter::default());
    let (mut events, mut caught_up) = (Vec::new(), 0);
    while events.len() < count || caught_up == 0 {
        let next = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await;
        match next.expect("it waits for an event that was stored").unwrap().unwrap() {
            Delivery::Event(event) => events.push(event),
            Delivery::CaughtUp => caught_up += 1,
        }
    }
    assert_eq!(caught_up, 1);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_or_repeated_and_tombstones_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let bank = layer_over(SqliteStore::create(folder.path()).unwrap()).await;
    let total = (PEOPLE * EACH + PEOPLE / 2) as usize;
    let early = tokio::spawn({
        let bank = bank.clone();
        async move { follow(&bank, None, total).await }
    });
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let bank = bank.clone();
        people.push(tokio::spawn(async move {
            let name = format!("user-{n}");
            for i in 0..EACH {
                let data = format!(r#"{{"id":{n},"colour":"c{i}","surname":"s{n}/{i}"}}"#);
                put(&bank, &name, event("Changed", &data)).await.unwrap();
            }
            if n % 2 == 0 {
                bank.forget(&subject(&name), "asked").await.unwrap();
            }
        }));
    }
    // One that begins in the middle, while halves of events are being written.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let middle = tokio::spawn({
        let bank = bank.clone();
        async move { follow(&bank, None, total).await }
    });
    for person in people {
        person.await.unwrap();
    }
    let stored = everything(&bank).await;
    assert_eq!(stored.len(), total);
    for events in [early.await.unwrap(), middle.await.unwrap()] {
        let positions = |events: &[RecordedEvent]| -> Vec<Position> {
            events.iter().map(|event| event.position).collect()
        };
        assert_eq!(positions(&events), positions(&stored));
        let mut told: BTreeSet<&str> = BTreeSet::new();
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for event in &events {
            let name = event.stream.as_str();
            let n: u32 = name.strip_prefix("user-").unwrap().parse().unwrap();
            if event.is_tombstone() {
                assert!(n.is_multiple_of(2) && told.insert(name), "a tombstone too many in {name}");
                continue;
            }
            let i = seen.entry(name).or_default();
            // Both halves, or the public one and that the other is shredded.
            let whole = format!(r#"{{"id":{n},"colour":"c{i}","surname":"s{n}/{i}"}}"#);
            let public = format!(r#"{{"id":{n},"colour":"c{i}"}}"#);
            if event.shredded.is_empty() {
                assert_eq!(text(event), whole);
            } else {
                assert_eq!((text(event), n % 2), (public, 0));
            }
            *i += 1;
        }
        assert_eq!(told.len() as u32, PEOPLE / 2);
        assert!(seen.values().all(|&count| count == EACH));
    }
}

/// Also where the filter names other types, and while it waits for what comes; whoever keeps a view of one type
/// hears of every erasure.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_by_type_always_lets_tombstones_through() {
    let bank = layer().await;
    for who in ["user-1", "user-2"] {
        put(&bank, who, event("Registered", r#"{"name":"Erika"}"#)).await.unwrap();
        put(&bank, who, event("Moved", r#"{"to":"Bonn"}"#)).await.unwrap();
    }
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let types = vec![event("Moved", "{}").event_type];
    let mut subscription = bank.subscribe(None, Filter { event_types: types, ..Filter::default() });
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let next = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await;
        match next.expect("the tombstone does not come").unwrap().unwrap() {
            Delivery::Event(event) => {
                seen.push((event.stream.to_string(), event.tombstone.is_some()));
            }
            Delivery::CaughtUp => {
                put(&bank, "user-2", event("Registered", r#"{"name":"Erika"}"#)).await.unwrap();
                put(&bank, "user-2", event("Moved", r#"{"to":"Wien"}"#)).await.unwrap();
                bank.forget(&subject("user-2"), "asked").await.unwrap();
            }
        }
    }
    let of = |who: &str, tombstone| (who.to_owned(), tombstone);
    let moved = [of("user-1", false), of("user-2", false), of("user-1", true)];
    let expected = moved.into_iter().chain([of("user-2", false), of("user-2", true)]);
    assert_eq!(seen, expected.collect::<Vec<_>>());
}
