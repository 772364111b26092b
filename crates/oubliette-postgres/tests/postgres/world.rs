//! What the tests share.

use std::{fs, path::Path};

use aho_corasick::AhoCorasick;
use futures::TryStreamExt;
use oubliette::{
    event::{Content, EventType, Json, NewEvent, RecordedEvent, StreamName},
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

/// A server that nobody pulls the plug of: it waits for no disk, and keeps little of its log.
pub(crate) fn quick() -> Option<Postgres> {
    let settings = [("fsync", "off"), ("min_wal_size", "32MB"), ("max_wal_size", "64MB")];
    let started = Postgres::start_with(&settings);
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

/// In one letter each: clear, partly shredded, shredded, tombstone, anything else.
pub(crate) fn shape(events: &[RecordedEvent]) -> String {
    let letter = |event: &RecordedEvent| match event.content() {
        Content::Clear(_) => 'c',
        Content::Partial { .. } => 'p',
        Content::Shredded(_) => 's',
        Content::Tombstone(_) => 't',
        _ => '?',
    };
    events.iter().map(letter).collect()
}

/// Which of these texts the files below a folder hold, each with the first file that does.
pub(crate) fn in_files(folder: &Path, texts: &[impl AsRef<[u8]>]) -> Vec<(usize, String)> {
    let search = AhoCorasick::new(texts).unwrap();
    let (mut folders, mut found) = (vec![folder.to_owned()], vec![None; texts.len()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for one in search.find_overlapping_iter(&fs::read(&path).unwrap()) {
                found[one.pattern().as_usize()].get_or_insert_with(|| path.display().to_string());
            }
        }
    }
    let found = found.into_iter().enumerate();
    found.filter_map(|(text, file)| Some((text, file?))).collect()
}
