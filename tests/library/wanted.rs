//! A reader that takes only some of the events, or of their fields: the rest is not opened, and what it is told is true.

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
        Append, Appended, Capabilities, Delivery, EventStore, EventStoreExt, EventStream,
        ExpectedRevision, Filter, MemoryStore, ReadAllOptions, ReadOptions, StoreError,
        Subscription, Unreadable,
    },
    vault::Vault,
};

use crate::common::*;

const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "inline"
public = ["/colour", "/address/country", "/tags/1"]

[[stream]]
match  = "split-{id}"
layout = "split"
public = ["/colour"]

[[stream]]
match  = "couple-{id}"
layout = "inline"
public = ["/colour"]
[[stream.field]]
pointer = "/partner"
subject = "{/partner/id}"
"#;

const ERIKA: &str = r#"{"colour":"blue","name":"Erika","address":{"country":"DE","city":"Ulm"},"tags":["vip","new"]}"#;

/// A store that counts who asks for which stream, and of which the tokens' ciphertexts can be spoiled: whoever opens one
/// is told so.
#[derive(Debug, Clone, Default)]
struct Watched {
    inner: MemoryStore,
    /// How often a private half was read.
    halves: Arc<AtomicUsize>,
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

/// The same events in another store, with what `change` makes of each text.
async fn changed(
    store: &Watched,
    vault: &Vault,
    change: impl Fn(&str) -> String,
) -> Oubliette<Watched> {
    let copy = Watched::default();
    for event in everything(&store.inner).await {
        if event.is_announcement() {
            continue;
        }
        let data = Json::parse(&change(&text(&event))).unwrap();
        let mut new = NewEvent::new(event.event_type, data).with_id(event.id);
        new.metadata = event.metadata;
        let append = Append::new(event.stream, ExpectedRevision::Any, vec![new]);
        copy.append(vec![append]).await.unwrap();
    }
    Oubliette::unresumed(copy, vault.clone(), Policy::parse(POLICY).unwrap())
        .wanting(Wanted::default())
        .unwrap()
}

/// Changes a character in the middle of each token: its ciphertext, to which the tag is not bound.
fn spoiled(text: &str) -> String {
    let Some((before, token)) = text.split_once("\"$sealed\":[\"") else { return text.to_owned() };
    let middle = token.find('"').unwrap() / 2 + 8;
    let other = if token.as_bytes()[middle] == b'A' { 'B' } else { 'A' };
    [before, "\"$sealed\":[\"", &token[..middle], &other.to_string(), &token[middle + 1..]].concat()
}

fn fields(fields: &[&str]) -> Wanted {
    Wanted { fields: fields.iter().map(|field| (*field).to_owned()).collect(), ..Wanted::default() }
}

async fn read(
    layer: &Oubliette<Watched>,
    name: &str,
    wanted: Wanted,
) -> Result<Vec<RecordedEvent>, StoreError> {
    layer.wanting(wanted)?.events(&stream(name), ReadOptions::default()).await
}

fn is_tampered<T: std::fmt::Debug>(read: Result<T, StoreError>) -> bool {
    matches!(read.unwrap_err(), StoreError::Unreadable { unreadable: Unreadable::Tampered, .. })
}

fn reasons(event: &RecordedEvent) -> Vec<WithheldReason> {
    event.withheld.iter().map(|part| part.why).collect()
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
        let wanted = Wanted { event_types: vec![moved.clone()], ..Wanted::default() };
        let only = layer.wanting(wanted.clone()).unwrap();
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
        let folded = only.fold(&stream(name), 0, opened).await.unwrap();
        // What is decided on it can be appended.
        assert_eq!((folded.state, folded.revision), (1, Some(Revision(3))));

        let of_all =
            only.read_all(ReadAllOptions::default()).try_collect::<Vec<_>>().await.unwrap();
        let clear = of_all.iter().filter(|event| matches!(event.content(), Content::Clear(_)));
        assert_eq!((of_all.len(), clear.count()), (8, 2));
    }

    // The others are not even looked at; one that is wanted still is.
    let spoiled = changed(&store, &vault, spoiled).await;
    let registered =
        Wanted { event_types: vec![event("Paid", "{}").event_type], ..Wanted::default() };
    assert_eq!(read(&spoiled, "user-1", registered).await.unwrap().len(), 4);
    let moved = Wanted { event_types: vec![event("Moved", "{}").event_type], ..Wanted::default() };
    assert!(is_tampered(read(&spoiled, "user-1", moved).await));
}

#[tokio::test]
async fn public_fields_are_read_without_opening_and_are_vouched_for() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store.clone(), &vault).await;
    put(&layer, "user-1", event("Registered", ERIKA)).await.unwrap();
    let spoiled = changed(&store, &vault, spoiled).await;
    assert!(is_tampered(read(&spoiled, "user-1", Wanted::default()).await));

    // Nothing is opened, or this would be an error.
    let events = read(&spoiled, "user-1", fields(&["/colour", "/address/country"])).await.unwrap();
    let Content::Partial { data, shredded: [], withheld: [part] } = events[0].content() else {
        panic!("{:?}", events[0])
    };
    assert_eq!(part.why, WithheldReason::NotWanted);
    let data = data.as_json().unwrap().as_str();
    assert!(data.contains("blue") && data.contains("DE") && !data.contains("$sealed"), "{data}");
    assert_eq!(events[0].subject, Some(subject("user-1")));
    assert_eq!(events[0].keys.len(), 1);

    // A sealed field, one that is part of an object, an element of an array, one that is not there: it is opened.
    for field in ["/name", "/address", "/tags/0", "/tags/1", "/none", ""] {
        assert!(
            is_tampered(read(&spoiled, "user-1", fields(&["/colour", field])).await),
            "{field}"
        );
        let events = read(&layer, "user-1", fields(&["/colour", field])).await.unwrap();
        assert!(matches!(events[0].content(), Content::Clear(_)), "{field}");
    }

    // The tag vouches for what is public.
    let forged = changed(&store, &vault, |text| text.replace("blue", "teal")).await;
    assert!(is_tampered(read(&forged, "user-1", fields(&["/colour"])).await));
}

#[tokio::test]
async fn the_private_half_is_not_read_for_public_fields() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store.clone(), &vault).await;
    for data in [ERIKA, r#"{"name":"Max"}"#, ERIKA] {
        put(&layer, "split-1", event("Registered", data)).await.unwrap();
    }
    let before = store.halves.load(Ordering::SeqCst);
    let events = read(&layer, "split-1", fields(&["/colour"])).await.unwrap();
    // But for the one in which the field may be sealed.
    assert_eq!(store.halves.load(Ordering::SeqCst) - before, 1);
    let shown: Vec<_> = events.iter().map(|event| (text(event), reasons(event))).collect();
    let blue = (r#"{"colour":"blue"}"#.to_owned(), vec![WithheldReason::NotWanted]);
    assert_eq!(shown, [blue.clone(), (r#"{"name":"Max"}"#.to_owned(), vec![]), blue]);
    let all = layer.wanting(fields(&["/colour"])).unwrap().read_all(ReadAllOptions::default());
    let all: Vec<_> = all.try_collect().await.unwrap();
    assert_eq!(
        all.iter().map(text).collect::<Vec<_>>(),
        events.iter().map(text).collect::<Vec<_>>()
    );

    layer.forget(&subject("split-1"), "asked").await.unwrap();
    store.halves.store(0, Ordering::SeqCst);
    let events = read(&layer, "split-1", fields(&["/colour"])).await.unwrap();
    assert_eq!(store.halves.load(Ordering::SeqCst), 1);
    assert!(events[..3].iter().all(|event| event.withheld.is_empty() && event.shredded.len() == 1));
}

#[tokio::test]
async fn of_several_parts_those_with_a_wanted_field_are_opened() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store.clone(), &vault).await;
    let data = r#"{"colour":"blue","name":"Erika","partner":{"id":"user-2","name":"Max"}}"#;
    put(&layer, "couple-1", event("Married", data)).await.unwrap();
    let shown = |events: Vec<RecordedEvent>| (text(&events[0]), reasons(&events[0]));
    let partner = read(&layer, "couple-1", fields(&["/partner/name"])).await.unwrap();
    let partner_only = r#"{"colour":"blue","partner":{"id":"user-2","name":"Max"}}"#;
    assert_eq!(shown(partner), (partner_only.to_owned(), vec![WithheldReason::NotWanted]));
    let own = read(&layer, "couple-1", fields(&["/name"])).await.unwrap();
    let own_only = r#"{"colour":"blue","name":"Erika"}"#;
    assert_eq!(shown(own), (own_only.to_owned(), vec![WithheldReason::NotWanted]));
    let both = shown(read(&layer, "couple-1", fields(&["/name", "/partner"])).await.unwrap());
    assert_eq!(both, (data.to_owned(), vec![]));
}

#[tokio::test]
async fn what_is_forgotten_is_told_though_it_is_not_wanted() {
    let (store, vault) = (Watched::default(), Vault::in_memory().unwrap());
    let layer = open(store, &vault).await;
    put(&layer, "user-1", event("Registered", ERIKA)).await.unwrap();
    layer.forget(&subject("user-1"), "asked").await.unwrap();
    let events = read(&layer, "user-1", fields(&["/colour"])).await.unwrap();
    assert!(matches!(events[0].content(), Content::Partial { shredded: [_], withheld: [], .. }));
    let paid = Wanted { event_types: vec![event("Paid", "{}").event_type], ..Wanted::default() };
    let only = layer.wanting(paid).unwrap();
    let events = only.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    assert!(matches!(events[1].content(), Content::Tombstone(_)));
    let mut deliveries = only.subscribe(None, Filter::default());
    let mut told = 0;
    while let Some(Delivery::Event(event)) = deliveries.try_next().await.unwrap() {
        told += usize::from(event.tombstone.is_some());
    }
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_wanted_field_is_a_json_pointer() {
    let layer = layer().await;
    let refused = layer.wanting(fields(&["name"])).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Invalid(why) if why.contains("`name` is not a JSON pointer"))
    );
}
