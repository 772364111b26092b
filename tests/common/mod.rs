//! What the integration tests share: the bank's policy, short ways to make events, a store that
//! fails when told to.

#![allow(dead_code, unreachable_pub, missing_debug_implementations, clippy::unwrap_used)]

pub mod documents;
pub mod folders;
pub mod notes;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use futures::TryStreamExt;
use oubliette::{
    event::{
        Content, EventType, Json, NewEvent, Position, RecordedEvent, SUBJECT_FORGOTTEN, StreamName,
        Subject,
    },
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Appended, Capabilities, EventStore, EventStoreExt, EventStream, ExpectedRevision,
        Filter, MemoryStore, ReadAllOptions, ReadOptions, StoreError, Subscription,
    },
    vault::Vault,
};

pub const BANK: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id", "/colour"]
[[stream.field]]
pointer = "/plate"
keep    = "first 2"

[[stream]]
match  = "bankaccount-{id}"
layout = "inline"
public = ["/owner", "/newOwner", "/amount", "/currency"]
owner  = [ { event = "AccountOpened",      add     = "{/owner}" },
           { event = "OwnerLeft",          remove  = "{/owner}" },
           { event = "AccountTransferred", replace = "{/newOwner}" } ]

[[stream]]
match  = "ledger-{id}"
layout = "inline"
public = ["/account", "/amount"]
owner  = [ { event = "LedgerOpened", add = "{/account}" } ]
[[stream.field]]
pointer = "/counterparty/iban"
subject = "{/counterparty/user}"

[[stream]]
match     = "room-{id}"
subject   = "user-{/author}"
otherwise = "stream"
public    = ["/at"]
layout    = "inline"
"#;

pub fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

pub fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

pub fn event(event_type: &str, data: &str) -> NewEvent {
    NewEvent::new(EventType::new(event_type).unwrap(), json(data))
}

pub fn bank_policy() -> Policy {
    Policy::parse(BANK).unwrap()
}

pub async fn layer_over<S: EventStore>(store: S) -> Oubliette<S> {
    Oubliette::open(store, Vault::in_memory().unwrap(), bank_policy()).await.unwrap()
}

pub async fn layer() -> Oubliette<MemoryStore> {
    layer_over(MemoryStore::new()).await
}

pub async fn put(
    store: &impl EventStore,
    to: &str,
    event: NewEvent,
) -> Result<Appended, StoreError> {
    store.append_to(&stream(to), ExpectedRevision::Any, vec![event]).await
}

pub async fn all(store: &impl EventStore, name: &str) -> Vec<RecordedEvent> {
    store.events(&stream(name), ReadOptions::default()).await.unwrap()
}

pub async fn everything(store: &impl EventStore) -> Vec<RecordedEvent> {
    store.read_all(ReadAllOptions::default()).try_collect().await.unwrap()
}

/// The data of an event as text; empty where nothing is readable.
pub fn text(event: &RecordedEvent) -> String {
    event
        .data
        .as_ref()
        .map(|data| String::from_utf8_lossy(data.as_bytes()).into_owned())
        .unwrap_or_default()
}

/// In one letter each: clear, partly shredded, shredded, withheld, tombstone, unverified (`f`).
pub fn shape(events: &[RecordedEvent]) -> String {
    let letter = |event: &RecordedEvent| match event.content() {
        Content::Clear(_) => 'c',
        Content::Partial { .. } => 'p',
        Content::Shredded(_) => 's',
        Content::Withheld(_) => 'w',
        Content::Tombstone(_) => 't',
        Content::Unverified(_) => 'f',
    };
    events.iter().map(letter).collect()
}

/// A store that does not take tombstones while it is told so.
#[derive(Debug, Clone, Default)]
pub struct NoTombstones {
    pub inner: MemoryStore,
    pub refuse: Arc<AtomicBool>,
    /// The one stream that takes none; `None`: no stream does.
    pub only: Option<StreamName>,
}

#[async_trait]
impl EventStore for NoTombstones {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let tombstone = |event: &NewEvent| event.event_type.as_str() == SUBJECT_FORGOTTEN;
        let refused = |append: &Append| {
            self.only.as_ref().is_none_or(|only| *only == append.stream)
                && append.events.iter().any(tombstone)
        };
        if self.refuse.load(Ordering::SeqCst) && appends.iter().any(refused) {
            return Err(StoreError::backend(true, "the store is away"));
        }
        self.inner.append(appends).await
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        self.inner.read(stream, options)
    }
    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        self.inner.read_all(options)
    }
    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        self.inner.subscribe(after, filter)
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}
