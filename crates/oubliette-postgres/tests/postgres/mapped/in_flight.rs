//! Writers that know nothing of us, and what readers of all streams see of their transactions.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use oubliette::store::{
    Delivery, Direction, EventStore, EventStoreExt, ExpectedRevision, Filter, ReadAllOptions,
    StoreError,
};
use oubliette_postgres::{Options, PostgresError, TableStore};
use oubliette_servers::Postgres;
use tokio::sync::Barrier;
use tokio_postgres::Client;

use super::{EVENTS, database, events, row, table};
use crate::in_flight::idle_readers_keep_nobody_waiting;
use crate::world::{client, event, everything, follow, grows, postgres, stream};

/// Three hundred transactions at once, by plain SQL. Some are held open for long, some are rolled back, in whole or to a
/// savepoint, and some take their numbers long before they insert.
#[tokio::test(flavor = "multi_thread")]
async fn read_all_never_skips_what_others_are_about_to_commit() {
    const TRANSACTIONS: usize = 300;
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    postgres.sql(database(&url), EVENTS);
    let store = TableStore::open(Options::new(&url).connections(20), events()).await.unwrap();
    let all_begun = Arc::new(Barrier::new(TRANSACTIONS / 3));
    let mut tasks = Vec::new();
    for number in 0..TRANSACTIONS {
        let (url, all_begun) = (url.clone(), Arc::clone(&all_begun));
        tasks.push(tokio::spawn(async move {
            let client = client(&url).await;
            client.batch_execute("BEGIN").await.unwrap();
            let own = format!("{number}");
            let mut written = HashSet::new();
            for sequence in 1..=1 + number % 3 {
                client.batch_execute(&row(("own", &own), sequence, "{}")).await.unwrap();
                written.insert((format!("own-{number}"), sequence as u64 - 1));
            }
            if number % 5 == 1 {
                let more = row(("undone", &own), 1, "{}");
                client.batch_execute(&format!("SAVEPOINT s; {more}; ROLLBACK TO s")).await.unwrap();
            }
            if number % 5 == 2 {
                let drawn =
                    client.query_one("SELECT nextval('events_position_seq')", &[]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(30)).await;
                let drawn: i64 = drawn.get(0);
                let late = row(("late", &own), 1, "{}")
                    .replace("(aggregate_type", "(position, aggregate_type")
                    .replace(" VALUES (", &format!(" OVERRIDING SYSTEM VALUE VALUES ({drawn}, "));
                client.batch_execute(&late).await.unwrap();
                written.insert((format!("late-{number}"), 0));
            }
            match number % 3 {
                // Held open until a hundred are; then they end in whatever order they like.
                0 => {
                    all_begun.wait().await;
                }
                _ => tokio::time::sleep(Duration::from_millis(number as u64 % 40)).await,
            }
            if number % 7 == 3 {
                client.batch_execute("ROLLBACK").await.unwrap();
                return HashSet::new();
            }
            client.batch_execute("COMMIT").await.unwrap();
            written
        }));
    }
    // The store itself appends meanwhile.
    let appending = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..100 {
                let shared = stream(&format!("shared-{}", number % 3));
                store.append_to(&shared, ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
            }
        }
    });
    let subscriber = tokio::spawn({
        let store = store.clone();
        async move {
            let (mut events, mut last) = (Vec::new(), store.subscribe(None, Filter::default()));
            while let Some(delivery) = last.next().await {
                match delivery.unwrap() {
                    Delivery::Event(event) if event.stream.as_str() == "the-last" => break,
                    Delivery::Event(event) => events.push(event),
                    Delivery::CaughtUp => {}
                }
            }
            events
        }
    });
    let mut seen = Vec::new();
    while tasks.iter().any(|task| !task.is_finished()) || !appending.is_finished() {
        follow(&store, &mut seen).await.unwrap();
    }
    appending.await.unwrap();
    let mut committed: HashSet<(String, u64)> = HashSet::new();
    for task in tasks {
        committed.extend(task.await.unwrap());
    }
    follow(&store, &mut seen).await.unwrap();
    assert!(grows(&seen), "positions fell");
    let places: HashSet<(String, u64)> =
        seen.iter().map(|event| (event.stream.to_string(), event.revision.0)).collect();
    assert_eq!(places.len(), seen.len(), "an event came twice");
    let (ours, theirs): (HashSet<_>, HashSet<_>) =
        places.into_iter().partition(|(stream, _)| stream.starts_with("shared-"));
    assert_eq!((ours.len(), theirs), (100, committed), "skipped, or rolled back");
    assert_eq!(everything(&store).await, seen);

    store.append_to(&stream("the-last"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    assert_eq!(subscriber.await.unwrap(), seen);
    let backwards = ReadAllOptions { direction: Direction::Backwards, ..ReadAllOptions::default() };
    let mut backwards: Vec<_> = store.read_all(backwards).try_collect().await.unwrap();
    backwards.reverse();
    assert_eq!(backwards[..seen.len()], seen[..]);
}

/// A store, and a transaction that has taken a position below one that is committed.
async fn one_is_open(postgres: &Postgres, patience: Duration, first: &str) -> (TableStore, Client) {
    let (name, _) = table(postgres, EVENTS, events()).await;
    let url = postgres.url(&name);
    let store = TableStore::open(Options::new(&url).patience(patience), events()).await.unwrap();
    let open = client(&url).await;
    open.batch_execute(&format!("BEGIN; {first}")).await.unwrap();
    postgres.sql(&name, &row(("user", "2"), 1, "{}"));
    (store, open)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_cannot_be_complete_says_who_holds_it_up() {
    let Some(postgres) = postgres() else { return };
    let (store, open) =
        one_is_open(&postgres, Duration::from_millis(400), &row(("user", "1"), 1, "{}")).await;
    // A stream shows at once what is committed in it.
    assert_eq!(store.events(&stream("user-2"), Default::default()).await.unwrap().len(), 1);
    for direction in [Direction::Forwards, Direction::Backwards] {
        let options = ReadAllOptions { direction, ..ReadAllOptions::default() };
        let held: Result<Vec<_>, _> = store.read_all(options).try_collect().await;
        let held = held.unwrap_err();
        assert!(held.is_temporary(), "{held}");
        let StoreError::Backend { source, .. } = &held else { panic!("{held}") };
        let told = source.downcast_ref::<PostgresError>().unwrap();
        assert!(matches!(told, PostgresError::HeldBack(_)), "{told}");
        assert!(told.to_string().contains("idle in transaction"), "{told}");
    }
    // A subscriber waits instead, and gets both as soon as the other one is done.
    let mut deliveries = store.subscribe(None, Filter::default());
    let early = tokio::time::timeout(Duration::from_millis(300), deliveries.next()).await;
    assert!(early.is_err(), "{early:?}");
    open.batch_execute("COMMIT").await.unwrap();
    for name in ["user-1", "user-2"] {
        let Some(Ok(Delivery::Event(event))) = deliveries.next().await else {
            panic!("nothing came")
        };
        assert_eq!(event.stream.as_str(), name);
    }
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::CaughtUp))));
}

/// A position that was taken by `nextval` is waited for, before the row is even inserted.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_taken_and_is_not_used_yet_is_waited_for() {
    let Some(postgres) = postgres() else { return };
    let take = "SELECT nextval('events_position_seq')";
    let (store, open) = one_is_open(&postgres, Duration::from_secs(20), take).await;
    let reading = tokio::spawn(async move { everything(&store).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!reading.is_finished());
    let late = row(("user", "1"), 1, "{}").replace("(aggregate_type", "(position, aggregate_type");
    let late = late
        .replace(" VALUES (", " OVERRIDING SYSTEM VALUE VALUES (currval('events_position_seq'), ");
    open.batch_execute(&format!("{late}; COMMIT")).await.unwrap();
    let found: Vec<String> =
        reading.await.unwrap().iter().map(|event| event.stream.to_string()).collect();
    assert_eq!(found, ["user-1", "user-2"]);
}

/// A transaction that is prepared for two phases leaves its process, and is open still.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_prepared_meanwhile_is_waited_for() {
    if postgres().is_none() {
        return;
    }
    let postgres = Postgres::start_with(&[("max_prepared_transactions", "5")]).unwrap();
    let (store, open) =
        one_is_open(&postgres, Duration::from_secs(20), &row(("user", "1"), 1, "{}")).await;
    let reading = tokio::spawn(async move { everything(&store).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    open.batch_execute("PREPARE TRANSACTION 'theirs'").await.unwrap();
    // The process goes on with something else, which is no matter.
    open.batch_execute("BEGIN").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!reading.is_finished());
    open.batch_execute("ROLLBACK").await.unwrap();
    open.batch_execute("COMMIT PREPARED 'theirs'").await.unwrap();
    assert_eq!(reading.await.unwrap().len(), 2);
}

/// Nobody waits for those who came later, or for who only reads; however busy the table is.
#[tokio::test(flavor = "multi_thread")]
async fn who_came_later_and_who_only_reads_keeps_nobody_waiting() {
    let Some(postgres) = postgres() else { return };
    let (store, open) =
        one_is_open(&postgres, Duration::from_secs(20), &row(("user", "1"), 1, "{}")).await;
    let mut deliveries = store.subscribe(None, Filter::default());
    assert!(tokio::time::timeout(Duration::from_millis(200), deliveries.next()).await.is_err());
    let later = client(&postgres.url("test_0")).await;
    later.batch_execute(&format!("BEGIN; {}", row(("user", "3"), 1, "{}"))).await.unwrap();
    let reader = client(&postgres.url("test_0")).await;
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM events FOR SHARE")
        .await
        .unwrap();
    open.batch_execute("COMMIT").await.unwrap();
    for _ in 0..2 {
        let delivery = tokio::time::timeout(Duration::from_secs(5), deliveries.next()).await;
        assert!(matches!(delivery, Ok(Some(Ok(Delivery::Event(_))))), "{delivery:?}");
    }
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::CaughtUp))));
    later.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_nobody_asks_keep_no_connection() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    postgres.sql(database(&url), EVENTS);
    postgres.sql(database(&url), &row(("user", "1"), 1, "{}"));
    let store = TableStore::open(Options::new(&url).connections(2), events()).await.unwrap();
    idle_readers_keep_nobody_waiting(&store).await;
}
