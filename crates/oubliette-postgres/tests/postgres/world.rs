//! What the tests share.

use futures::TryStreamExt;
use oubliette::{
    event::{EventType, Json, NewEvent, RecordedEvent, StreamName},
    layer::Oubliette,
    policy::Policy,
    store::{EventStore, ReadAllOptions, StoreError},
    vault::Vault,
};
use oubliette_postgres::PostgresStore;
use oubliette_servers::{Postgres, skipped};

/// Streams of each layout.
pub(crate) const POLICY: &str = r#"
public_metadata = ["/about"]

[[stream]]
match = "sealed-{id}"

[[stream]]
match  = "inline-{id}"
layout = "inline"
public = ["/id", "/list/*/public"]

[[stream]]
match  = "split-{id}"
layout = "split"
public = ["/id", "/list/*/public"]
"#;

pub(crate) fn postgres() -> Option<Postgres> {
    let started = Postgres::start();
    if started.is_none() {
        skipped("OUBLIETTE_REQUIRE_POSTGRES", "PostgreSQL (`initdb`, `postgres`) is not installed");
    }
    started
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub(crate) fn event(data: &str) -> NewEvent {
    NewEvent::new(EventType::new("SomethingHappened").unwrap(), Json::parse(data).unwrap())
}

pub(crate) async fn everything(store: &dyn EventStore) -> Vec<RecordedEvent> {
    store.read_all(ReadAllOptions::default()).try_collect().await.unwrap()
}

pub(crate) async fn layer(store: PostgresStore) -> Oubliette<PostgresStore> {
    let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap());
    Oubliette::open(store, vault, policy).await.unwrap()
}

/// A connection of an application's.
pub(crate) async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

pub(crate) fn grows(events: &[RecordedEvent]) -> bool {
    events.windows(2).all(|pair| pair[0].position < pair[1].position)
}

/// Reads what came since, as a projection does that keeps a checkpoint.
pub(crate) async fn follow(
    store: &dyn EventStore,
    seen: &mut Vec<RecordedEvent>,
) -> Result<(), StoreError> {
    let after = seen.last().map(|event| event.position);
    let mut events = store.read_all(ReadAllOptions { after, ..ReadAllOptions::default() });
    while let Some(event) = events.try_next().await? {
        seen.push(event);
    }
    Ok(())
}
