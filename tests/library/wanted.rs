//! A reader that takes only some of the events, or what is public of them: the rest is not opened, and what it is told is
//! true.

#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures::TryStreamExt;
use oubliette::{
    event::{
        Content, Json, NewEvent, Position, RecordedEvent, Revision, StreamName, WithheldReason,
    },
    layer::{Oubliette, Wanted},
    policy::Policy,
    store::{
        Append, Appended, Capabilities, Delivery, Direction, EventStore, EventStoreExt,
        EventStream, ExpectedRevision, Filter, MemoryStore, ReadAllOptions, ReadOptions,
        StoreError, Subscription, Unreadable,
    },
    vault::Vault,
};

use crate::common::*;

const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "inline"
public = ["/colour", "/address/country", "/tags/1"]
[[stream.field]]
pointer = "/name"
keep    = "first 1"

[[stream]]
match  = "split-{id}"
layout = "split"
public = ["/colour"]
"#;

const ERIKA: &str = r#"{"colour":"blue","name":"Erika","address":{"country":"DE","city":"Ulm"},"tags":["vip","new"]}"#;

/// A store that counts who reads a private half by its stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    pub(crate) inner: MemoryStore,
    /// How often a private half was read.
    pub(crate) halves: Arc<AtomicUsize>,
}

#[async_trait]
impl EventStore for Watched {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.inner.append(appends).await
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        if stream.as_str().contains("-private-") {
            self.halves.fetch_add(1, Ordering::SeqCst);
        }
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

async fn open(store: Watched, vault: &Vault) -> Oubliette<Watched> {
    Oubliette::open(store, vault.clone(), Policy::parse(POLICY).unwrap()).await.unwrap()
}

/// The events of a store that are not in a private half, in another one.
async fn without_halves(store: &Watched, vault: &Vault) -> Oubliette<Watched> {
    let public = Watched::default();
    for event in everything(&store.inner).await {
        if !event.stream.as_str().contains("-private-") {
            let new = NewEvent::new(event.event_type, event.data.unwrap()).with_id(event.id);
            let new = new.with_metadata(event.metadata.unwrap());
            let append = Append::new(event.stream, ExpectedRevision::Any, vec![new]);
            public.append(vec![append]).await.unwrap();
        }
    }
    Oubliette::unresumed(public, vault.clone(), Policy::parse(POLICY).unwrap())
}

/// The same events in another store, with what `change` makes of each text.
async fn changed(
    store: &Watched,
    vault: &Vault,
    change: impl Fn(&str, Option<&str>) -> (String, Option<String>),
) -> Oubliette<Watched> {
    let copy = Watched::default();
    for event in everything(&store.inner).await {
        if event.is_announcement() {
            continue;
        }
        let (data, metadata) = change(&text(&event), event.metadata.as_ref().map(Json::as_str));
        let data = Json::parse(&data).unwrap();
        let mut new = NewEvent::new(event.event_type, data).with_id(event.id);
        new.metadata = metadata.map(|metadata| Json::parse(&metadata).unwrap());
        let append = Append::new(event.stream, ExpectedRevision::Any, vec![new]);
        copy.append(vec![append]).await.unwrap();
    }
    Oubliette::unresumed(copy, vault.clone(), Policy::parse(POLICY).unwrap())
}

/// Changes a character in the middle of each token: its ciphertext, to which the tag is not bound. Whoever opens it is
/// told so.
fn spoiled(text: &str, metadata: Option<&str>) -> (String, Option<String>) {
    let metadata = metadata.map(str::to_owned);
    let Some((before, token)) = text.split_once("\"$sealed\":[\"") else {
        return (text.to_owned(), metadata);
    };
    let middle = token.find('"').unwrap() / 2 + 8;
    let other = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let token = [&token[..middle], other, &token[middle + 1..]].concat();
    ([before, "\"$sealed\":[\"", &token].concat(), metadata)
}

/// What is public is another, and the tag is of an era that this vault never had: four bytes that anybody can write.
fn of_another_era(text: &str, metadata: Option<&str>) -> (String, Option<String>) {
    let metadata = metadata.map(|metadata| {
        let at = metadata.find("\"mac\":\"").map(|at| at + 7);
        // The era is the bytes 8 to 11 of the tag.
        at.map_or(metadata.to_owned(), |at| {
            [&metadata[..at + 12], "ZZZ", &metadata[at + 15..]].concat()
        })
    });
    (text.replace("blue", "teal"), metadata)
}

fn public_only() -> Wanted {
    Wanted { public_only: true, ..Wanted::default() }
}

fn only(event_type: &str) -> Wanted {
    Wanted { event_types: vec![event(event_type, "{}").event_type], ..Wanted::default() }
}

async fn read(
    layer: &Oubliette<Watched>,
    name: &str,
    wanted: Wanted,
) -> Result<Vec<RecordedEvent>, StoreError> {
    layer.wanting(wanted).events(&stream(name), ReadOptions::default()).await
}

async fn read_all(
    layer: &Oubliette<Watched>,
    wanted: Wanted,
    direction: Direction,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let options = ReadAllOptions { direction, ..ReadAllOptions::default() };
    layer.wanting(wanted).read_all(options).try_collect().await
}

fn is_tampered<T: std::fmt::Debug>(read: Result<T, StoreError>) -> bool {
    matches!(read.unwrap_err(), StoreError::Unreadable { unreadable: Unreadable::Tampered, .. })
}

fn texts(events: &[RecordedEvent]) -> Vec<String> {
    events.iter().map(text).collect()
}

#[tokio::test]
async fn events_of_other_types_come_unopened_and_leave_no_gap() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store.clone(), &vault).await;
    for event_type in ["Registered", "LoggedIn", "Moved", "LoggedIn"] {
        put(&layer, "user-1", event(event_type, ERIKA)).await.unwrap();
        put(&layer, "split-1", event(event_type, ERIKA)).await.unwrap();
    }
    for name in ["user-1", "split-1"] {
        let moved = event("Moved", "{}").event_type;
        let view = layer.wanting(only("Moved"));
        let opened = |n: u32, event: &RecordedEvent, content: Content<'_>| match content {
            Content::Clear(data) => {
                assert_eq!((&event.event_type, data.as_bytes()), (&moved, ERIKA.as_bytes()));
                n + 1
            }
            Content::Withheld(parts) => {
                assert_eq!(parts[0].why, WithheldReason::NotWanted);
                assert!(event.data.is_none() && event.metadata.is_none());
                n
            }
            other => panic!("{other:?}"),
        };
        let folded = view.fold(&stream(name), 0, opened).await.unwrap();
        assert_eq!((folded.state, folded.revision), (1, Some(Revision(3))));
        // What is decided on it can be appended.
        let paid = vec![event("Paid", ERIKA)];
        let append = view.append_to(&stream(name), folded.expected(), paid).await.unwrap();
        assert_eq!(append.revision, Revision(4));
    }
    for direction in [Direction::Forwards, Direction::Backwards] {
        let all = read_all(&layer, only("Moved"), direction).await.unwrap();
        let clear = all.iter().filter(|event| matches!(event.content(), Content::Clear(_)));
        assert_eq!((all.len(), clear.count()), (10, 2));
    }

    // The others are not even looked at; one that is wanted still is.
    let spoiled = changed(&store, &vault, spoiled).await;
    assert_eq!(read(&spoiled, "user-1", only("Closed")).await.unwrap().len(), 5);
    assert!(is_tampered(read(&spoiled, "user-1", only("Moved")).await));
}

#[tokio::test]
async fn what_is_public_is_read_without_opening_and_is_vouched_for() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store.clone(), &vault).await;
    put(&layer, "user-1", event("Registered", ERIKA)).await.unwrap();
    let spoiled = changed(&store, &vault, spoiled).await;
    assert!(is_tampered(read(&spoiled, "user-1", Wanted::default()).await));

    // Nothing is opened, or this would be an error.
    for events in [
        read(&spoiled, "user-1", public_only()).await.unwrap(),
        read_all(&spoiled, public_only(), Direction::Forwards).await.unwrap(),
    ] {
        let Content::Partial { data, shredded: [], withheld: [part] } = events[0].content() else {
            panic!("{:?}", events[0])
        };
        assert_eq!(part.why, WithheldReason::NotWanted);
        let public =
            r#"{"colour":"blue","name":"E","address":{"country":"DE"},"tags":[null,"new"]}"#;
        assert_eq!(data.as_json().unwrap().as_str(), public);
        assert_eq!(events[0].subject, Some(subject("user-1")));
        assert_eq!(events[0].keys.len(), 1);
    }

    // The tag vouches for what is public: a change of it is found; so is one whose tag is of no known era, or is gone.
    let teal = |text: &str, metadata: Option<&str>| {
        (text.replace("blue", "teal"), metadata.map(str::to_owned))
    };
    let untagged = |text: &str, _: Option<&str>| (text.replace("blue", "teal"), None);
    for forged in [
        changed(&store, &vault, teal).await,
        changed(&store, &vault, of_another_era).await,
        changed(&store, &vault, untagged).await,
    ] {
        assert!(is_tampered(read(&forged, "user-1", public_only()).await));
    }
}

#[tokio::test]
async fn the_private_half_is_not_read_for_what_is_public() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store.clone(), &vault).await;
    for _ in 0..3 {
        put(&layer, "split-1", event("Registered", ERIKA)).await.unwrap();
    }
    store.halves.store(0, Ordering::SeqCst);
    assert_eq!(read(&layer, "split-1", Wanted::default()).await.unwrap().len(), 3);
    assert_eq!(store.halves.swap(0, Ordering::SeqCst), 1);
    let events = read(&layer, "split-1", public_only()).await.unwrap();
    assert_eq!(texts(&events), [r#"{"colour":"blue"}"#; 3]);
    assert!(events.iter().all(|event| event.withheld[0].why == WithheldReason::NotWanted));
    for direction in [Direction::Forwards, Direction::Backwards] {
        let all = read_all(&layer, public_only(), direction).await.unwrap();
        assert_eq!(texts(&all), [r#"{"colour":"blue"}"#; 3]);
    }
    assert_eq!(store.halves.load(Ordering::SeqCst), 0);

    // Nor is it looked for where it is gone, though whoever reads all is told.
    let public = without_halves(&store, &vault).await;
    for direction in [Direction::Forwards, Direction::Backwards] {
        assert_eq!(read_all(&public, public_only(), direction).await.unwrap().len(), 3);
    }
    assert_eq!(read(&public, "split-1", public_only()).await.unwrap().len(), 3);
    assert_eq!(public.store().halves.load(Ordering::SeqCst), 0);
    let missing = read(&public, "split-1", Wanted::default()).await.unwrap_err();
    let half_missing = Unreadable::HalfMissing;
    assert!(
        matches!(missing, StoreError::Unreadable { unreadable, .. } if unreadable == half_missing)
    );

    // A tag that cannot be checked lets nothing pass: then the other half is asked.
    let forged = changed(&store, &vault, of_another_era).await;
    assert!(is_tampered(read(&forged, "split-1", public_only()).await));
    assert!(is_tampered(read_all(&forged, public_only(), Direction::Forwards).await));
}

#[tokio::test]
async fn what_is_forgotten_is_told_though_it_is_not_wanted() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store, &vault).await;
    for name in ["user-1", "split-1"] {
        put(&layer, name, event("Registered", ERIKA)).await.unwrap();
        layer.forget(&subject(name), "asked").await.unwrap();
        let events = read(&layer, name, public_only()).await.unwrap();
        let content = events[0].content();
        assert!(matches!(content, Content::Partial { shredded: [_], withheld: [], .. }));
        let events = read(&layer, name, only("Paid")).await.unwrap();
        assert!(matches!(events[1].content(), Content::Tombstone(_)));
    }
    let mut deliveries = layer.wanting(only("Paid")).subscribe(None, Filter::default());
    let mut told = 0;
    while let Some(Delivery::Event(event)) = deliveries.try_next().await.unwrap() {
        told += usize::from(event.tombstone.is_some());
    }
    assert_eq!(told, 2);
}

/// Its holes would say for ever that it could not be opened.
#[tokio::test]
async fn a_copy_of_what_was_not_read_whole_is_refused() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store, &vault).await;
    put(&layer, "user-1", event("Registered", ERIKA)).await.unwrap();
    for wanted in [public_only(), only("Paid")] {
        let event = read(&layer, "user-1", wanted).await.unwrap().remove(0);
        let refused = put(&layer, "user-2", NewEvent::copy_of(&event)).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Invalid(why) if why.contains("was not read whole")));
    }
}
