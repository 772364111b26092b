//! The stores of this package keep the contract, and the suite notices stores that do not.

use std::sync::Arc;

use futures::StreamExt;
use oubliette::{
    event::{EventId, Json, NewEvent, Position, StreamName},
    store::{
        Appended, Capabilities, Capability, Delivery, Direction, EventStore, EventStoreExt,
        ExpectedRevision, Filter, MemoryStore, Purge, ReadAllOptions, Removed, SqliteStore,
        StoreError,
        conformance::{Fixture, run_all},
    },
};

async fn memory() -> Fixture {
    Fixture::new(MemoryStore::new())
}

async fn sqlite() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    Fixture::new(SqliteStore::create(folder.path()).unwrap()).keeping(folder)
}

mod in_memory {
    oubliette::conformance_tests!(super::memory);
}

mod in_sqlite {
    oubliette::conformance_tests!(super::sqlite);
}

/// A store, and its trait that removes events.
type Purging = (Arc<dyn EventStore>, Arc<dyn Purge>);

/// Both stores of this package.
fn stores() -> (tempfile::TempDir, [Purging; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let (sqlite, memory) = (SqliteStore::create(folder.path()).unwrap(), MemoryStore::new());
    let stores: [Purging; 2] = [
        (Arc::new(memory.clone()), Arc::new(memory)),
        (Arc::new(sqlite.clone()), Arc::new(sqlite)),
    ];
    (folder, stores)
}

async fn append(store: &dyn EventStore) -> (EventId, Appended) {
    let stream = StreamName::new("user-1").unwrap();
    let event = NewEvent::new("Registered".parse().unwrap(), Json::parse("1").unwrap());
    let id = event.id;
    (id, store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap())
}

async fn first(store: &dyn EventStore, after: Position) -> Result<Delivery, StoreError> {
    store.subscribe(Some(after), Filter::default()).next().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_farthest_position_there_is_nothing_and_nobody_waits_there() {
    let (_folder, stores) = stores();
    for (store, _) in stores {
        let (_, appended) = append(&store).await;
        let read = async |number, direction| {
            let after = Some(Position::number(number));
            let options = ReadAllOptions { after, direction, limit: None };
            store.read_all(options).count().await
        };
        let last = appended.position.as_number().unwrap();
        assert_eq!(first(&store, appended.position).await.unwrap(), Delivery::CaughtUp);
        for far in [last + 1, u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
            assert_eq!(read(far, Direction::Forwards).await, 0, "{far}");
            assert_eq!(read(far, Direction::Backwards).await, 1, "{far}");
            let after = Position::number(far);
            let refused = first(&store, after).await.unwrap_err();
            let is_named = matches!(refused, StoreError::ForeignPosition(named) if named == after);
            assert!(is_named && !refused.is_temporary(), "{far}: {refused}");
        }
        assert_eq!(read(0, Direction::Backwards).await, 0);
    }
}

/// The last position that a reader noted is still one of the store's.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_stopped_behind_an_event_that_was_removed_goes_on() {
    let (_folder, stores) = stores();
    for (store, purge) in stores {
        append(&store).await;
        let (id, appended) = append(&store).await;
        let stream = StreamName::new("user-1").unwrap();
        let removed = Removed { stream, revision: appended.revision, id };
        assert_eq!(purge.remove(vec![removed]).await.unwrap(), [true]);
        let mut waiting = store.subscribe(Some(appended.position), Filter::default());
        assert_eq!(waiting.next().await.unwrap().unwrap(), Delivery::CaughtUp);
        let (id, _) = append(&store).await;
        let Delivery::Event(event) = waiting.next().await.unwrap().unwrap() else { panic!() };
        assert_eq!(event.id, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_can_do_little_says_so() {
    let lacking = [
        Capability::AtomicMultiStream,
        Capability::ReadBackwards,
        Capability::ReadAll,
        Capability::Subscribe,
        Capability::Bytes,
        Capability::Verbatim,
        Capability::LongNumbers,
        Capability::Nul,
        Capability::Restore,
    ];
    let each = lacking.map(|capability| Capabilities::ALL.without(capability));
    for capabilities in each.into_iter().chain([Capabilities::NONE]) {
        let store = || async { Fixture::new(MemoryStore::with_capabilities(capabilities)) };
        let result = run_all(store).await;
        assert_eq!(result, Ok(()), "with {capabilities:?}");
    }
}
