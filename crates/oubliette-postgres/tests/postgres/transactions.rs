//! Appending within the application's own transactions.

use std::time::{Duration, Instant};

use oubliette::{
    erasure::ErasureError,
    event::{Content, Subject},
    store::{Append, EventStoreExt, ExpectedRevision, StoreError},
    vault::Settled,
};
use oubliette_postgres::{Options, PostgresError, PostgresStore};

use crate::world::{client, event, everything, layer, postgres, stream};

fn append(name: &str, data: &str) -> Append {
    Append::new(stream(name), ExpectedRevision::Any, vec![event(data)])
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_the_applications_tables_commit_together_or_not_at_all() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let store = PostgresStore::create(&url).await.unwrap();
    let mut app = client(&url).await;
    app.batch_execute("CREATE TABLE orders (id int)").await.unwrap();
    for (number, commits) in [(1, true), (2, false), (3, true)] {
        let transaction = app.transaction().await.unwrap();
        let two = [append("order-1", "{}"), append(&format!("order-{number}x"), "{}")];
        let done = store.append_in(&transaction, &two).await.unwrap();
        assert_eq!(done.len(), 2);
        // More of the same transaction, behind the first.
        store.append_in(&transaction, &[append("order-1", "{}")]).await.unwrap();
        transaction.execute("INSERT INTO orders VALUES ($1)", &[&number]).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        } else {
            drop(transaction);
        }
    }
    assert_eq!(postgres.sql("test_0", "SELECT string_agg(id::text, ',') FROM orders"), "1,3");
    let events = store.events(&stream("order-1"), Default::default()).await.unwrap();
    assert_eq!(events.iter().map(|event| event.revision.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert_eq!(everything(&store).await.len(), 6);
}

/// A conflict leaves the transaction as it was: the application decides what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_does_not_spoil_the_transaction() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let store = PostgresStore::create(&url).await.unwrap();
    store.append_to(&stream("a"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    let mut app = client(&url).await;
    let transaction = app.transaction().await.unwrap();
    let stale = Append::new(stream("a"), ExpectedRevision::NoStream, vec![event("{}")]);
    let refused = store.append_in(&transaction, &[append("b", "{}"), stale]).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    store.append_in(&transaction, &[append("a", "{}")]).await.unwrap();
    transaction.commit().await.unwrap();
    let count = async |name| store.events(&stream(name), Default::default()).await.unwrap().len();
    assert_eq!((count("a").await, count("b").await), (2, 0));
}

/// A transaction that is older than the last one that appended would put its event before that one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_began_too_early_is_refused() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let store = PostgresStore::create(&url).await.unwrap();
    let mut app = client(&url).await;
    let transaction = app.transaction().await.unwrap();
    transaction.batch_execute("CREATE TABLE early (n int)").await.unwrap();
    store.append_to(&stream("a"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    let refused = store.append_in(&transaction, &[append("a", "{}")]).await.unwrap_err();
    let StoreError::Backend { source, temporary: true } = &refused else { panic!("{refused}") };
    assert_eq!(source.downcast_ref(), Some(&PostgresError::TooLate));
    // Another stream is another matter.
    store.append_in(&transaction, &[append("b", "{}")]).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Sealed by the layer, committed by the application, forgotten as all else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_for_a_transaction_can_be_forgotten() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let store = layer(PostgresStore::create(&url).await.unwrap()).await;
    let mut app = client(&url).await;
    for name in ["sealed-1", "inline-1", "split-1"] {
        let data = r#"{"id":1,"surname":"Ringelnatz"}"#;
        let sealed = store.seal(vec![append(name, data)], Duration::from_secs(60)).await.unwrap();
        let transaction = app.transaction().await.unwrap();
        store.store().append_in(&transaction, &sealed.appends).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(sealed.stored().await.unwrap(), Settled::Stored);
        let last = store.last(&stream(name)).await.unwrap().unwrap();
        assert!(matches!(last.content(), Content::Clear(_)), "{name}: {last:?}");
        store.forget(&Subject::new(name).unwrap(), "asked").await.unwrap();
        let events = store.events(&stream(name), Default::default()).await.unwrap();
        assert!(!format!("{:?}", events[0].data).contains("Ringelnatz"));
        assert_eq!(events[0].shredded.len(), 1, "{name}: {:?}", events[0]);
    }
    assert!(
        !postgres
            .sql("test_0", "SELECT string_agg(data::text, ' ') FROM oubliette.event")
            .contains("Ringelnatz")
    );
}

/// An open transaction delays a forgetting at most until its permit ends; what it commits after that is shredded.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_transaction_cannot_block_a_forget() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let plain = Options::new(&url).patience(Duration::from_millis(500)).create().await.unwrap();
    let store = layer(plain).await;
    let user = stream("sealed-1");
    store
        .append_to(&user, ExpectedRevision::Any, vec![event(r#"{"surname":"Kaléko"}"#)])
        .await
        .unwrap();

    let lasting = Duration::from_millis(700);
    let data = r#"{"surname":"Ringelnatz"}"#;
    let sealed = store.seal(vec![append("sealed-1", data)], lasting).await.unwrap();
    let mut app = client(&url).await;
    let transaction = app.transaction().await.unwrap();
    store.store().append_in(&transaction, &sealed.appends).await.unwrap();

    // The application sleeps. Its transaction holds the stream, so that the tombstone waits for it; the keys do not.
    let began = Instant::now();
    let forgotten = store.forget(&Subject::of(&user), "asked").await;
    assert!(began.elapsed() > lasting / 2, "it did not wait for the permit");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(matches!(forgotten, Err(ErasureError::Pending(_))), "{forgotten:?}");
    let events = store.events(&user, Default::default()).await.unwrap();
    assert!(matches!(events[0].content(), Content::Shredded(_)), "{:?}", events[0]);

    transaction.commit().await.unwrap();
    assert_eq!(sealed.stored().await.unwrap(), Settled::Forgotten);
    store.resume().await.unwrap();
    let events = store.events(&user, Default::default()).await.unwrap();
    let shown: Vec<_> = events
        .iter()
        .map(|event| match event.content() {
            Content::Shredded(_) => "shredded",
            Content::Tombstone(_) => "tombstone",
            _ => "readable",
        })
        .collect();
    assert_eq!(shown, ["shredded", "shredded", "tombstone"]);
}

/// A transaction that vanished with its connection was never there.
#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_transaction_leaves_nothing() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let store = layer(PostgresStore::create(&url).await.unwrap()).await;
    let sealed = store.seal(vec![append("sealed-1", "{}")], Duration::from_secs(5)).await.unwrap();
    let mut app = client(&url).await;
    let transaction = app.transaction().await.unwrap();
    store.store().append_in(&transaction, &sealed.appends).await.unwrap();
    postgres.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'");
    drop(transaction);
    sealed.ended().await;
    store
        .append_to(&stream("sealed-1"), ExpectedRevision::NoStream, vec![event("{}")])
        .await
        .unwrap();
    store.forget(&Subject::new("sealed-1").unwrap(), "asked").await.unwrap();
    assert_eq!(store.events(&stream("sealed-1"), Default::default()).await.unwrap().len(), 2);
}

#[cfg(feature = "sqlx")]
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_sqlx_carries_events_as_well() {
    use sqlx_core::{connection::Connection, query::query};
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let store = layer(PostgresStore::create(&url).await.unwrap()).await;
    let mut app = sqlx_postgres::PgConnection::connect(&url).await.unwrap();
    for (commits, count) in [(false, 0), (true, 1)] {
        let data = r#"{"id":1,"surname":"Ringelnatz"}"#;
        let sealed =
            store.seal(vec![append("split-1", data)], Duration::from_secs(60)).await.unwrap();
        let mut transaction = app.begin().await.unwrap();
        store.store().append_in_sqlx(&mut transaction, &sealed.appends).await.unwrap();
        query("CREATE TABLE theirs (n int)").execute(&mut *transaction).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
            assert_eq!(sealed.stored().await.unwrap(), Settled::Stored);
        } else {
            transaction.rollback().await.unwrap();
            sealed.ended().await;
        }
        assert_eq!(
            store.events(&stream("split-1"), Default::default()).await.unwrap().len(),
            count
        );
    }
    let stale = Append::new(stream("sealed-2"), ExpectedRevision::StreamExists, vec![event("{}")]);
    let mut transaction = app.begin().await.unwrap();
    let refused = store.store().append_in_sqlx(&mut transaction, &[stale]).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}
