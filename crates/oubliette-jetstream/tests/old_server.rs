//! Debian's server, 2.9: one event at a time. What needs a batch is refused; the rest keeps the contract.

use futures::StreamExt;
use oubliette::{
    event::Revision,
    store::{
        Append, Capability, Current, Delivery, Direction, Filter, ReadAllOptions, conformance,
    },
    *,
};
use oubliette_servers::{Nats, skipped};

use crate::common::{append_of, event, events, fresh, ids, ids_of, name};

fn old() -> Option<Nats> {
    let nats = Nats::start_old().filter(|nats| nats.version() < (2, 11));
    if nats.is_none() {
        skipped(
            "OUBLIETTE_REQUIRE_NATS_OLD",
            "no /usr/sbin/nats-server of 2.9 or 2.10: apt-get install nats-server",
        );
    }
    nats
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_at_a_time_is_stored_and_recognised() {
    let Some(mut nats) = old() else { return };
    let store = fresh(&nats).await;
    assert!(!store.capabilities().has(Capability::AtomicMultiStream));
    let mut written = Vec::new();
    let mut expected = ExpectedRevision::NoStream;
    for number in 0..30 {
        let new = event(number);
        let append = Append::new(name("a"), expected, vec![new.clone()]);
        let done = store.append(vec![append.clone()]).await.unwrap()[0];
        let stale = Append::new(name("a"), expected, vec![event(number)]);
        match store.append(vec![stale]).await {
            Err(StoreError::Conflict { actual, .. }) => {
                assert_eq!(actual, Some(Current::Revision(done.revision)));
            }
            other => panic!("{other:?}"),
        }
        let again = store.append(vec![append]).await.unwrap()[0];
        assert_eq!((again.revision, again.already), (done.revision, true));
        let elsewhere = store.append(vec![append_of("b", vec![new.clone()])]).await;
        assert!(matches!(elsewhere, Err(StoreError::IdInUse { .. })), "{elsewhere:?}");
        store.append(vec![append_of("c", events(1))]).await.unwrap();
        expected = ExpectedRevision::Exact(done.revision);
        written.push(new);
    }
    assert_eq!(ids_of(&store, "a").await, ids(&written));
    nats.kill();
    nats.restart();
    let again = store.append(vec![append_of("a", vec![written[3].clone()])]).await.unwrap()[0];
    assert!(again.already);
    assert_eq!(ids_of(&store, "a").await, ids(&written));
    assert_eq!(ids_of(&store, "b").await, []);
    let never = Append::new(name("a"), ExpectedRevision::Exact(Revision(u64::MAX)), events(1));
    assert!(matches!(store.append(vec![never]).await, Err(StoreError::Conflict { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_batch_is_refused_by_the_version() {
    let Some(nats) = old() else { return };
    let store = fresh(&nats).await;
    match store.append(vec![append_of("a", events(2))]).await {
        Err(StoreError::Invalid(why)) => {
            assert!(why.contains("2.9.") && why.contains("2.12.1"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let two = store.append(vec![append_of("a", events(1)), append_of("b", events(1))]).await;
    assert!(matches!(two, Err(StoreError::Unsupported(Capability::AtomicMultiStream))), "{two:?}");
    assert_eq!(ids_of(&store, "a").await, []);
    // The layer refuses what is split by the same capability, and seals the rest.
    let policy = Policy::parse(
        "[[stream]]\nmatch = \"user-{id}\"\nlayout = \"split\"\npublic = [\"/number\"]",
    )
    .unwrap();
    let layer = Oubliette::open(store, Vault::in_memory().unwrap(), policy).await.unwrap();
    let split = layer
        .append(vec![append_of(
            "user-1",
            vec![NewEvent::new(
                EventType::new("Moved").unwrap(),
                Json::parse(r#"{"number":1,"to":"Leipzig"}"#).unwrap(),
            )],
        )])
        .await;
    assert!(
        matches!(split, Err(StoreError::Unsupported(Capability::AtomicMultiStream))),
        "{split:?}"
    );
    layer.append(vec![append_of("other-1", events(1))]).await.unwrap();
    layer.forget(&Subject::new("other-1").unwrap(), "asked").await.unwrap();
    let found = layer.events(&name("other-1"), ReadOptions::default()).await.unwrap();
    assert!(!found[0].shredded.is_empty() && found.last().unwrap().is_tombstone());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_both_ways_and_live() {
    let Some(mut nats) = old() else { return };
    let store = fresh(&nats).await;
    let mut all = Vec::new();
    for number in 0..400 {
        let new = event(number);
        all.push(new.id);
        store
            .append(vec![append_of(if number % 7 == 0 { "b" } else { "a" }, vec![new])])
            .await
            .unwrap();
    }
    for direction in [Direction::Forwards, Direction::Backwards] {
        let options = ReadAllOptions { direction, ..ReadAllOptions::default() };
        let found: Vec<_> = store.read_all(options).map(|event| event.unwrap().id).collect().await;
        assert_eq!(found, all);
        let options = ReadOptions { direction, ..ReadOptions::default() };
        let found = store.events(&name("b"), options).await.unwrap();
        assert_eq!(found.len(), 58);
        all.reverse();
    }
    let mut subscription = store.subscribe(None, Filter::default());
    for id in &all {
        assert!(
            matches!(subscription.next().await, Some(Ok(Delivery::Event(event))) if event.id == *id)
        );
    }
    assert_eq!(subscription.next().await.unwrap().unwrap(), Delivery::CaughtUp);
    nats.kill();
    nats.restart();
    let new = event(9);
    store.append(vec![append_of("c", vec![new.clone()])]).await.unwrap();
    assert!(
        matches!(subscription.next().await, Some(Ok(Delivery::Event(event))) if event.id == new.id)
    );
}

/// The cases of the suite that append one event at a time.
#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_bullets_that_it_can() {
    let Some(nats) = old() else { return };
    let fixture = async || conformance::Fixture::new(fresh(&nats).await);
    conformance::several_streams_need_the_capability(&fixture().await).await.unwrap();
    conformance::malformed_appends_are_refused(&fixture().await).await.unwrap();
    conformance::streams_are_apart(&fixture().await).await.unwrap();
    conformance::restore_keeps_what_was_recorded(&fixture().await).await.unwrap();
}

/// The server is upgraded: `create` switches on what it can do by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_an_old_server_is_upgraded() {
    let Some(mut nats) = old() else { return };
    let make = || crate::common::options(&nats.url()).stream("UP").prefix("up");
    let store = make().create().await.unwrap();
    let first = events(1);
    store.append(vec![append_of("a", first.clone())]).await.unwrap();
    drop(store);
    nats.stop();
    if !nats.upgrade() {
        return skipped(crate::common::REQUIRE, "no newer nats-server is installed");
    }
    nats.restart();
    let make = || crate::common::options(&nats.url()).stream("UP").prefix("up");
    let store = make().open().await.unwrap();
    assert!(!store.capabilities().has(Capability::AtomicMultiStream));
    match store.append(vec![append_of("a", events(2))]).await {
        Err(StoreError::Invalid(why)) => {
            assert!(why.contains("allow_atomic") && why.contains("create"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let store = make().create().await.unwrap();
    assert!(store.capabilities().has(Capability::AtomicMultiStream));
    let more = events(3);
    store.append(vec![append_of("a", more.clone()), append_of("b", events(1))]).await.unwrap();
    assert!(store.append(vec![append_of("a", first.clone())]).await.unwrap()[0].already);
    assert_eq!(ids_of(&store, "a").await, ids(&[first, more].concat()));
}
