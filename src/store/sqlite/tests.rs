//! What cannot be provoked from outside: a database that may not grow.

use std::{sync::mpsc, thread, time::Duration};

use futures::{FutureExt, future::join_all};
use rusqlite::{Connection, ffi};

use super::*;
use crate::{
    TaskError,
    event::{EventType, Json, NewEvent},
    store::{Direction, EventStoreExt, ExpectedRevision},
};

fn event(text: &str) -> NewEvent {
    NewEvent::new(EventType::new("Happened").unwrap(), Json::parse(text).unwrap())
}

async fn append(store: &SqliteStore, name: &str, text: &str) -> Result<Appended, StoreError> {
    let stream = StreamName::new(name).unwrap();
    store.append_to(&stream, ExpectedRevision::Any, vec![event("0"), event(text)]).await
}

fn backend(error: StoreError) -> SqliteError {
    match error {
        StoreError::Backend { source, .. } => *source.downcast().unwrap(),
        other => panic!("{other}"),
    }
}

async fn count(store: &SqliteStore) -> usize {
    store.read_all(ReadAllOptions::default()).count().await
}

#[tokio::test]
async fn where_there_is_no_room_appends_fail_whole_and_the_store_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    append(&store, "user-1", "1").await.unwrap();
    store.inner.writer.pragma("max_page_count = 40");
    let big = format!("\"{}\"", "x".repeat(100_000));
    let appends = (0..4).map(|_| append(&store, "user-1", &big));
    let mut written = 1;
    for result in join_all(appends).await {
        match result {
            Ok(_) => written += 1,
            Err(error) => assert_eq!(backend(error), SqliteError::Full),
        }
    }
    assert!(written < 5, "the limit is not felt");
    assert_eq!(count(&store).await, 2 * written);

    store.inner.writer.pragma("max_page_count = 1000000");
    append(&store, "user-1", &big).await.unwrap();
    assert_eq!(count(&store).await, 2 * (written + 1));
}

#[tokio::test]
async fn after_a_failure_that_is_not_understood_nothing_is_appended() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    append(&store, "user-1", "1").await.unwrap();
    // A promise that is checked at the commit only, and broken by every event.
    let other_hand = Connection::open(folder.path().join("events.db")).unwrap();
    other_hand
        .execute_batch(
            "CREATE TABLE promise (x REFERENCES event (position) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER breach AFTER INSERT ON event BEGIN
                INSERT INTO promise VALUES (-1);
             END;",
        )
        .unwrap();
    store.inner.writer.pragma("foreign_keys = ON");
    let results = join_all((0..3).map(|_| append(&store, "user-1", "2"))).await;
    for (number, error) in results.into_iter().map(Result::unwrap_err).enumerate() {
        assert!(!error.is_temporary());
        match backend(error) {
            SqliteError::Other { code: ffi::SQLITE_CONSTRAINT_FOREIGNKEY, .. } => {}
            // Those who did not wait together with the first.
            error => assert!(number > 0 && error == SqliteError::Poisoned, "{error}"),
        }
    }
    let error = append(&store, "user-1", "3").await.unwrap_err();
    assert_eq!(backend(error), SqliteError::Poisoned);
    assert_eq!(count(&store).await, 2, "reading goes on");
    drop(store);
    other_hand.execute_batch("DROP TRIGGER breach").unwrap();

    let store = SqliteStore::open(folder.path()).unwrap();
    append(&store, "user-1", "3").await.unwrap();
    assert_eq!(count(&store).await, 4);
}

#[tokio::test]
async fn what_fails_in_its_middle_leaves_nothing_and_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    let other_hand = Connection::open(folder.path().join("events.db")).unwrap();
    other_hand
        .execute_batch(
            "CREATE TRIGGER whim BEFORE INSERT ON event WHEN NEW.data = '\"bad\"' BEGIN
                SELECT RAISE(ABORT, 'no');
             END;",
        )
        .unwrap();
    let texts = ["1", "\"bad\"", "2", "\"bad\"", "3"];
    let results = join_all(texts.map(|text| append(&store, "user-1", text))).await;
    let done: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true, false, true]);
    assert_eq!(count(&store).await, 6);
}

#[tokio::test]
async fn what_is_queued_is_done_before_closing() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    // Polled once, so that they are queued, and then let go.
    for number in 0..500 {
        let _ = futures::poll!(Box::pin(append(&store, &format!("user-{number}"), "1")));
    }
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(count(&store).await, 1_000);
}

#[test]
fn polled_outside_of_a_runtime_a_read_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    let first = store.read_all(ReadAllOptions::default()).next().now_or_never();
    let error = first.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Task(TaskError::NoRuntime)), "{error:?}");
}

/// A backup tool, say, or somebody who looks at the database.
#[tokio::test]
async fn whoever_reads_in_another_process_does_not_hold_up_closing() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    append(&store, "user-1", "1").await.unwrap();
    let other_hand = Connection::open(folder.path().join("events.db")).unwrap();
    other_hand.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    append(&store, "user-1", "2").await.unwrap();
    let (closed, wait) = mpsc::channel();
    thread::spawn(move || {
        drop(store);
        closed.send(())
    });
    // Half of what the store waits for others while it is in use.
    wait.recv_timeout(Duration::from_secs(5)).unwrap();
    drop(other_hand);
    assert_eq!(count(&SqliteStore::open(folder.path()).unwrap()).await, 4);
}

#[tokio::test]
async fn metadata_count_among_the_bytes_of_a_page_and_of_a_commit() {
    const LONG: usize = 3 << 20;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    let metadata = Json::parse(&format!("{{\"x\":\"{}\"}}", "x".repeat(LONG))).unwrap();
    let event = || event("0").with_metadata(metadata.clone());
    assert!(event().bytes() > LONG);
    let stream = StreamName::new("user-1").unwrap();
    store
        .append_to(&stream, ExpectedRevision::Any, (0..4).map(|_| event()).collect())
        .await
        .unwrap();
    let page = store.inner.readers.with(|reader| {
        reader.page(reader::Scope::All, Direction::Forwards, (0, i64::MAX), 100, None)
    });
    assert_eq!(page.unwrap().events.len(), 2);
    assert_eq!(count(&store).await, 4);
}
