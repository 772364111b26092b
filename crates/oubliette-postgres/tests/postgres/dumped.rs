//! A database that was filled from a dump.

use std::process::Command;

use futures::StreamExt;
use oubliette::store::{
    Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter, Purge, Removed, StoreError,
};
use oubliette_postgres::{OpenError, PostgresStore};

use crate::world::{event, everything, postgres, stream};

/// Fills an empty database from another one.
pub(crate) fn dump(from: &str, to: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.sql").display().to_string();
    for (program, arguments) in [
        ("pg_dump", vec!["-f", &file, from]),
        ("psql", vec!["-qX", "-v", "ON_ERROR_STOP=1", "-f", &file, to]),
    ] {
        let ran = Command::new(program).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// The new server counts transactions from the beginning. What comes is behind what is there all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_filled_from_a_dump_goes_on_behind_what_is_there() {
    let (Some(old), Some(new)) = (postgres(), postgres()) else { return };
    let url = old.database();
    old.sql(
        "test_0",
        "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    let store = PostgresStore::create(&url).await.unwrap();
    for number in 0..10 {
        let name = stream(&format!("user-{}", number % 3));
        store.append_to(&name, ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    }
    let before = everything(&store).await;
    let target = new.database();
    dump(&url, &target);

    let store = PostgresStore::open(&target).await.unwrap();
    assert_eq!(everything(&store).await, before);
    let after = before.last().map(|event| event.position);
    let mut deliveries = store.subscribe(after, Filter::default());
    assert!(matches!(deliveries.next().await, Some(Ok(Delivery::CaughtUp))));
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    let Some(Ok(Delivery::Event(event))) = deliveries.next().await else { panic!("nothing came") };
    assert!(Some(event.position) > after);
    let all = everything(&store).await;
    assert_eq!((all.len(), all.last()), (11, Some(&event)));
    // Opened again, nothing is wound any further.
    let again = PostgresStore::open(&target).await.unwrap();
    assert_eq!(everything(&again).await, all);
    assert!(matches!(
        PostgresStore::open(&new.url("postgres")).await,
        Err(OpenError::Missing { .. })
    ));
}

/// A dump is older than what came after it: whoever goes on behind that would miss what the new server gets.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_a_server_never_came_to_is_refused_and_that_of_a_removed_event_is_not() {
    let (Some(old), Some(new)) = (postgres(), postgres()) else { return };
    old.sql(
        "postgres",
        "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    let store = PostgresStore::create(&old.database()).await.unwrap();
    let append = async |store: &PostgresStore| {
        let event = event("{}");
        let id = event.id;
        let appended = store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event]).await;
        (id, appended.unwrap())
    };
    let foreign = append(&store).await.1.position;
    let store = PostgresStore::create(&new.database()).await.unwrap();
    append(&store).await;
    let mut refused = store.subscribe(Some(foreign), Filter::default());
    let error = refused.next().await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::ForeignPosition(named) if named == foreign), "{error:?}");
    assert!(refused.next().await.is_none());

    let (id, last) = append(&store).await;
    let removed = Removed { stream: stream("user-1"), revision: last.revision, id };
    assert_eq!(store.remove(vec![removed]).await.unwrap(), [true]);
    let mut behind = store.subscribe(Some(last.position), Filter::default());
    assert!(matches!(behind.next().await, Some(Ok(Delivery::CaughtUp))));
    let (id, _) = append(&store).await;
    let Some(Ok(Delivery::Event(event))) = behind.next().await else { panic!("nothing came") };
    assert_eq!(event.id, id);
}
