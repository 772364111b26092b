//! The stores of this package keep the contract, and the suite notices stores that do not.

use std::sync::Arc;

use futures::StreamExt;
use oubliette::{
    event::{Json, NewEvent, Position, StreamName},
    store::{
        Capabilities, Capability, Delivery, Direction, EventStore, EventStoreExt, ExpectedRevision,
        Filter, MemoryStore, ReadAllOptions, SqliteStore,
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

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_farthest_position_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::create(folder.path()).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn EventStore>, Arc::new(sqlite)] {
        let stream = StreamName::new("user-1").unwrap();
        let event = NewEvent::new("Registered".parse().unwrap(), Json::parse("1").unwrap());
        store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
        let read = async |number, direction| {
            let after = Some(Position::number(number));
            let options = ReadAllOptions { after, direction, limit: None };
            store.read_all(options).count().await
        };
        for far in [u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
            assert_eq!(read(far, Direction::Forwards).await, 0, "{far}");
            assert_eq!(read(far, Direction::Backwards).await, 1, "{far}");
            let after = Some(Position::number(far));
            let first = store.subscribe(after, Filter::default()).next().await.unwrap();
            assert_eq!(first.unwrap(), Delivery::CaughtUp, "{far}");
        }
        assert_eq!(read(0, Direction::Backwards).await, 0);
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
