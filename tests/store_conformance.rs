//! The stores of this package keep the contract, and the suite notices stores that do not.

use oubliette::store::{
    Capabilities, Capability, MemoryStore, SqliteStore,
    conformance::{Fixture, run_all},
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
async fn a_store_that_can_do_little_says_so() {
    let lacking = [
        Capability::AtomicMultiStream,
        Capability::ReadBackwards,
        Capability::ReadAll,
        Capability::Subscribe,
        Capability::Bytes,
    ];
    let each = lacking.map(|capability| Capabilities::ALL.without(capability));
    for capabilities in each.into_iter().chain([Capabilities::NONE]) {
        let store = || async { Fixture::new(MemoryStore::with_capabilities(capabilities)) };
        let result = run_all(store).await;
        assert_eq!(result, Ok(()), "with {capabilities:?}");
    }
}
