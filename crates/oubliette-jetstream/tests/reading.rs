//! Reads that the suite does not ask for: long streams, sparse ones, and what other programs put in between.

use futures::StreamExt;
use oubliette::{
    event::{Position, Revision},
    store::{Direction, Filter, ReadAllOptions},
    *,
};

use crate::common::{append_of, event, events, fresh, ids, ids_of, name, server};

#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_its_own_stream() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    let names = [
        "a.b",
        "a%2Eb",
        "a*b",
        "*",
        ">",
        "a>",
        "%",
        "%%",
        "é",
        "É",
        "straße",
        "日本語",
        "a/b",
        "a\"b",
        "a\\b",
        "a:b",
        "a,b",
        "{\"a\":1}",
        "..",
        ".",
        "user-456",
        "User-456",
        "a$b",
        "🦀",
        "new",
        "a-new",
    ];
    let longest = [".".repeat(255), "x".repeat(255), "é".repeat(127)];
    let all: Vec<&str> = names.into_iter().chain(longest.iter().map(String::as_str)).collect();
    let mut written = Vec::new();
    for one in &all {
        let new = events(2);
        store.append(vec![append_of(one, new.clone())]).await.unwrap();
        written.push(ids(&new));
    }
    for (one, ids) in all.iter().zip(&written) {
        assert_eq!(ids_of(&store, one).await, *ids, "{one}");
    }
    let read: Vec<_> = store.read_all(ReadAllOptions::default()).collect().await;
    let read: Vec<_> =
        read.into_iter().map(|event| event.unwrap().stream.as_str().to_owned()).collect();
    let twice: Vec<_> =
        all.iter().flat_map(|name| [(*name).to_owned(), (*name).to_owned()]).collect();
    assert_eq!(read, twice);
}

/// Streams of which an event is every second message, every hundredth, or the very first and the last.
#[tokio::test(flavor = "multi_thread")]
async fn backwards_is_forwards_turned_round() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    store.append(vec![append_of("ends", events(1))]).await.unwrap();
    for round in 0..20 {
        store
            .append(vec![append_of("rare", events(1)), append_of("often", events(90))])
            .await
            .unwrap();
        store
            .append(vec![append_of("bursts", events(if round % 9 == 0 { 600 } else { 1 }))])
            .await
            .unwrap();
    }
    store.append(vec![append_of("ends", events(1))]).await.unwrap();
    for stream in ["ends", "rare", "often", "bursts", "none"] {
        let stream = name(stream);
        let forwards = store.events(&stream, ReadOptions::default()).await.unwrap();
        let direction = Direction::Backwards;
        let mut backwards = store
            .events(&stream, ReadOptions { direction, ..ReadOptions::default() })
            .await
            .unwrap();
        backwards.reverse();
        assert_eq!(backwards, forwards, "{stream}");
        // From a sequence that is another stream's.
        for from in [1, 2, 700, 1_500, 2_500] {
            let from = Some(Revision(from));
            let options = ReadOptions { from, direction, limit: Some(40) };
            let found = store.events(&stream, options).await.unwrap();
            let wanted: Vec<_> = forwards
                .iter()
                .rev()
                .filter(|event| Some(event.revision) <= from)
                .take(40)
                .cloned()
                .collect();
            assert_eq!(found, wanted, "{stream} from {from:?}");
        }
    }
    let all = async |direction, after| {
        let options = ReadAllOptions { after, direction, limit: None };
        let found: Vec<_> = store.read_all(options).collect().await;
        found.into_iter().map(|event| event.unwrap().position).collect::<Vec<_>>()
    };
    let forwards = all(Direction::Forwards, None).await;
    let mut backwards = all(Direction::Backwards, None).await;
    backwards.reverse();
    assert_eq!(backwards, forwards);
    assert!(all(Direction::Backwards, Some(Position::number(1))).await.is_empty());
    assert!(all(Direction::Backwards, Some(Position::number(0))).await.is_empty());
    assert!(all(Direction::Forwards, Some(Position::number(u64::MAX))).await.is_empty());
    assert_eq!(
        all(Direction::Backwards, Some(Position::number(u64::MAX))).await.len(),
        forwards.len()
    );
}

/// A page ends by its bytes long before it ends by its number of events.
#[tokio::test(flavor = "multi_thread")]
async fn long_events_are_read_both_ways() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    let mut all = Vec::new();
    for length in
        [3_000_000, 10, 5_000_000, 5_000_000, 1_000_000, 1_000_000, 1_000_000, 7, 9_000_000]
    {
        let new =
            NewEvent::new(EventType::new("Long").unwrap(), Payload::Bytes(vec![7; length].into()));
        all.push(new.id);
        store.append(vec![append_of("a", vec![new])]).await.unwrap();
    }
    assert_eq!(ids_of(&store, "a").await, all);
    let options = ReadOptions { direction: Direction::Backwards, ..ReadOptions::default() };
    let mut backwards: Vec<_> =
        store.events(&name("a"), options).await.unwrap().iter().map(|event| event.id).collect();
    backwards.reverse();
    assert_eq!(backwards, all);
}

/// Somebody publishes to a subject of the store's. What is before and behind it can still be read.
#[tokio::test(flavor = "multi_thread")]
async fn another_programs_message_is_damage_at_its_position() {
    let Some(nats) = server() else { return };
    let store =
        crate::common::options(&nats.url()).stream("MIXED").prefix("mixed").create().await.unwrap();
    store.append(vec![append_of("a", vec![event(1)])]).await.unwrap();
    let client = async_nats::connect(nats.url()).await.unwrap();
    client.request("mixed.a", "hello".into()).await.unwrap();
    store.append(vec![append_of("a", vec![event(2)])]).await.unwrap();
    let read: Vec<_> = store.read_all(ReadAllOptions::default()).collect().await;
    match &read[..] {
        [Ok(_), Err(StoreError::Damaged { position, source })] => {
            assert_eq!(position.as_number(), Some(2));
            assert!(source.to_string().contains("another program"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    let behind = ReadAllOptions { after: Some(Position::number(2)), ..ReadAllOptions::default() };
    let read: Vec<_> = store.read_all(behind).collect().await;
    assert!(matches!(&read[..], [Ok(event)] if event.position.as_number() == Some(3)), "{read:?}");
}

/// Outside of a runtime: an error, and no panic.
#[test]
fn without_a_runtime_nothing_panics() {
    let Some(nats) = server() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(fresh(&nats));
    let no_runtime = |error: StoreError| matches!(error, StoreError::Task(TaskError::NoRuntime));
    fn outside<T>(future: impl Future<Output = T>) -> T {
        futures::executor::block_on(future)
    }
    assert!(no_runtime(outside(store.append(vec![append_of("a", events(1))])).unwrap_err()));
    assert!(no_runtime(outside(store.events(&name("a"), ReadOptions::default())).unwrap_err()));
    assert!(no_runtime(outside(store.last(&name("a"))).unwrap_err()));
    let first = outside(store.subscribe(None, Filter::default()).next()).unwrap();
    assert!(no_runtime(first.unwrap_err()));
}
