//! Transactions that are under way: what readers of all streams see of them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, TryStreamExt};
use oubliette::{
    event::{EventId, Position},
    store::{
        Append, Delivery, Direction, EventStore, EventStoreExt, ExpectedRevision, Filter,
        ReadAllOptions, StoreError,
    },
};
use oubliette_postgres::{Options, PostgresError};
use tokio::sync::{Barrier, Semaphore};

use crate::world::{client, event, everything, follow, grows, postgres, stream};

/// Three hundred transactions at once, of which some are held open for long and some are rolled back. They append to streams
/// of their own and to shared ones.
#[tokio::test(flavor = "multi_thread")]
async fn read_all_never_skips_what_is_in_flight() {
    const TRANSACTIONS: usize = 300;
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let store = Options::new(&url).connections(20).create().await.unwrap();
    let all_begun = Arc::new(Barrier::new(TRANSACTIONS / 3));
    // As many at once as the server has connections for.
    let room = Arc::new(Semaphore::new(TRANSACTIONS));
    let mut tasks = Vec::new();
    for number in 0..TRANSACTIONS {
        let (store, url, all_begun) = (store.clone(), url.clone(), Arc::clone(&all_begun));
        let room = Arc::clone(&room);
        tasks.push(tokio::spawn(async move {
            let _room = room.acquire().await.unwrap();
            let mut client = client(&url).await;
            let transaction = client.transaction().await.unwrap();
            let events: Vec<_> = (0..1 + number % 3).map(|_| event("{}")).collect();
            let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
            let own =
                Append::new(stream(&format!("own-{number}")), ExpectedRevision::NoStream, events);
            store.append_in(&transaction, &[own]).await.unwrap();
            match number % 3 {
                // Held open until a hundred are; then they end in whatever order they like.
                0 => {
                    all_begun.wait().await;
                }
                _ => tokio::time::sleep(Duration::from_millis(number as u64 % 40)).await,
            }
            if number % 7 == 3 {
                transaction.rollback().await.unwrap();
                return Vec::new();
            }
            transaction.commit().await.unwrap();
            store.committed();
            ids
        }));
    }
    // Others append by themselves meanwhile.
    let plain = tokio::spawn({
        let store = store.clone();
        async move {
            let mut ids = Vec::new();
            for number in 0..100 {
                let event = event("{}");
                ids.push(event.id);
                let shared = stream(&format!("shared-{}", number % 3));
                store.append_to(&shared, ExpectedRevision::Any, vec![event]).await.unwrap();
            }
            ids
        }
    });
    let subscriber = tokio::spawn({
        let store = store.clone();
        async move {
            let (mut events, mut last) = (Vec::new(), store.subscribe(None, Filter::default()));
            while let Some(delivery) = last.next().await {
                match delivery.unwrap() {
                    Delivery::Event(event) if event.stream.as_str() == "last" => break,
                    Delivery::Event(event) => events.push(event),
                    Delivery::CaughtUp => {}
                }
            }
            events
        }
    });
    let mut seen = Vec::new();
    while tasks.iter().any(|task| !task.is_finished()) || !plain.is_finished() {
        follow(&store, &mut seen).await.unwrap();
    }
    let mut committed: HashSet<EventId> = plain.await.unwrap().into_iter().collect();
    for task in tasks {
        committed.extend(task.await.unwrap());
    }
    follow(&store, &mut seen).await.unwrap();
    assert!(grows(&seen), "positions fell");
    let ids: HashSet<EventId> = seen.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), seen.len(), "an event came twice");
    assert_eq!(ids, committed, "skipped, or rolled back");

    store.append_to(&stream("last"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    let delivered = subscriber.await.unwrap();
    assert_eq!(delivered, seen);
    let backwards = ReadAllOptions { direction: Direction::Backwards, ..ReadAllOptions::default() };
    let mut backwards: Vec<_> = store.read_all(backwards).try_collect().await.unwrap();
    backwards.reverse();
    assert_eq!(backwards[..seen.len()], seen[..]);
}

/// What was acknowledged is in a read that begins then, or the read fails: it never ends early without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_cannot_be_complete_says_who_holds_it_up() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let patient = Options::new(&url).patience(Duration::from_millis(400)).create().await.unwrap();
    let mut other = client(&url).await;
    let open = other.transaction().await.unwrap();
    open.batch_execute("CREATE TABLE theirs (n int)").await.unwrap();
    patient.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    // Its own stream shows it at once.
    assert_eq!(patient.events(&stream("user-1"), Default::default()).await.unwrap().len(), 1);
    for direction in [Direction::Forwards, Direction::Backwards] {
        let options = ReadAllOptions { direction, ..ReadAllOptions::default() };
        let held: Result<Vec<_>, _> = patient.read_all(options).try_collect().await;
        let held = held.unwrap_err();
        assert!(held.is_temporary(), "{held}");
        let StoreError::Backend { source, .. } = &held else { panic!("{held}") };
        let told = source.downcast_ref::<PostgresError>().unwrap();
        assert!(matches!(told, PostgresError::HeldBack(_)), "{told}");
        assert!(told.to_string().contains("idle in transaction"), "{told}");
    }
    // A subscriber waits instead, and gets it as soon as the other one is done.
    let mut deliveries = patient.subscribe(None, Filter::default());
    let early = tokio::time::timeout(Duration::from_millis(300), deliveries.next()).await;
    assert!(early.is_err(), "{early:?}");
    open.rollback().await.unwrap();
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::Event(_)))));
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::CaughtUp))));
    assert_eq!(everything(&patient).await.len(), 1);
}

/// Positions are ordered as the revisions of each stream, also where many write to the same one.
#[tokio::test(flavor = "multi_thread")]
async fn positions_grow_with_revisions_where_many_write_to_one_stream() {
    let Some(postgres) = postgres() else { return };
    let store = Options::new(postgres.database()).connections(32).create().await.unwrap();
    let mut tasks = Vec::new();
    for writer in 0..32 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..20 {
                let name = if (writer + number) % 4 == 0 { "busy-2" } else { "busy-1" };
                let events = vec![event("{}"); 1];
                store.append_to(&stream(name), ExpectedRevision::Any, events).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for name in ["busy-1", "busy-2"] {
        let events = store.events(&stream(name), Default::default()).await.unwrap();
        assert!(grows(&events), "{name}");
        let revisions: Vec<u64> = events.iter().map(|event| event.revision.0).collect();
        assert_eq!(revisions, (0..events.len() as u64).collect::<Vec<_>>());
    }
    let all = everything(&store).await;
    assert_eq!(all.len(), 640);
    let positions: Vec<Position> = all.iter().map(|event| event.position).collect();
    assert!(positions.is_sorted());
}

/// Readers that were asked once, and not since: more of them than there are connections. Others get on.
pub(crate) async fn idle_readers_keep_nobody_waiting(store: &dyn EventStore) {
    let (mut deliveries, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let mut subscription = store.subscribe(None, Filter::default());
        let mut read = store.read_all(ReadAllOptions::default());
        drop(subscription.next().now_or_never());
        drop(read.next().now_or_never());
        deliveries.push(subscription);
        reads.push(read);
        // Until the connection is theirs.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let read = store.read(&stream("user-1"), Default::default()).try_collect::<Vec<_>>();
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    assert_eq!(read.expect("idle readers hold all connections").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_nobody_asks_keep_no_connection() {
    let Some(postgres) = postgres() else { return };
    let store = Options::new(postgres.database()).connections(2).create().await.unwrap();
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    idle_readers_keep_nobody_waiting(&store).await;
}
