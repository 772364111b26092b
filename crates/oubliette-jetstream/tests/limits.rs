//! What a server does not take is refused before anything is written, and says what to set.

use futures::StreamExt;
use oubliette::{
    store::{Append, ReadAllOptions},
    *,
};
use oubliette_jetstream::{JetStreamError, JetStreamStore};
use serde_json::json;

use crate::common::{
    append_of, edit, event, events, fresh, ids, ids_of, name, options, server, server_with,
};

async fn invalid(store: &JetStreamStore, appends: Vec<Append>) -> String {
    match store.append(appends).await {
        Err(StoreError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn long(bytes: usize) -> NewEvent {
    NewEvent::new(EventType::new("Long").unwrap(), Payload::Bytes(vec![7; bytes].into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_servers_limit_is_refused() {
    // Behind what the server's own configuration says, so that it counts.
    let Some(nats) = server_with("max_payload: 65536") else { return };
    let store = options(&nats.url()).stream("SHORT").prefix("short").create().await.unwrap();
    for appends in [
        vec![append_of("a", vec![long(65_536)])],
        vec![append_of("a", vec![event(1), long(70_000)])],
        vec![append_of("b", events(2)), append_of("a", vec![long(1_000_000)])],
    ] {
        let why = invalid(&store, appends).await;
        assert!(why.contains("max_payload") && why.contains("65536"), "{why}");
    }
    store.append(vec![append_of("a", vec![long(65_000)])]).await.unwrap();
    // The stream's own limit is lower still.
    let edited = edit(&nats.url(), "SHORT", json!({ "max_msg_size": 2_000 })).await;
    assert!(edited["error"].is_null(), "{edited}");
    // One who opened it before is told by the server.
    let why = invalid(&store, vec![append_of("a", vec![long(3_000)])]).await;
    assert!(why.contains("length"), "{why}");
    invalid(&store, vec![append_of("a", vec![event(1), long(3_000)])]).await;
    let store = options(&nats.url()).stream("SHORT").prefix("short").open().await.unwrap();
    let why = invalid(&store, vec![append_of("a", vec![long(3_000)])]).await;
    assert!(why.contains("max_msg_size") && why.contains("2000"), "{why}");
    assert_eq!(ids_of(&store, "a").await.len(), 1);
    assert_eq!(ids_of(&store, "b").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_headers_cannot_hold_are_refused() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    let with = |text: String| event(1).with_metadata(Json::parse(&text).unwrap());
    // As text, and as base64url, which is a third longer.
    let fits = [
        with(format!("{{\"a\":\"{}\"}}", "x".repeat(64_000))),
        with(format!("{{\"a\":\n\"{}\"}}", "x".repeat(48_000))),
    ];
    let too_long = [
        with(format!("{{\"a\":\"{}\"}}", "x".repeat(65_600))),
        with(format!("{{\"a\":\n\"{}\"}}", "x".repeat(49_500))),
    ];
    for one in fits.clone() {
        store.append(vec![append_of("a", vec![one])]).await.unwrap();
    }
    store
        .append(vec![append_of(
            "b",
            vec![NewEvent { id: EventId::random(), ..fits[0].clone() }, event(1)],
        )])
        .await
        .unwrap();
    for one in too_long {
        let why = invalid(&store, vec![append_of("a", vec![one])]).await;
        assert!(
            why.contains("metadata") && why.contains("65535") && why.contains("payload"),
            "{why}"
        );
    }
    let found = store.events(&name("a"), ReadOptions::default()).await.unwrap();
    let metadata: Vec<_> = found.into_iter().map(|event| event.metadata).collect();
    assert_eq!(metadata, fits.map(|event| event.metadata));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_a_thousand_events() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    let thousand = events(1_000);
    let (ours, theirs) = (thousand[..600].to_vec(), thousand[600..].to_vec());
    let done = store
        .append(vec![append_of("a", ours.clone()), append_of("b", theirs.clone())])
        .await
        .unwrap();
    let why = invalid(&store, vec![append_of("a", events(1_001))]).await;
    assert!(why.contains("1001") && why.contains("1000"), "{why}");
    invalid(&store, vec![append_of("a", events(600)), append_of("b", events(401))]).await;
    assert_eq!(ids_of(&store, "a").await, ids(&ours));
    assert_eq!(ids_of(&store, "b").await, ids(&theirs));
    for (stream, done) in ["a", "b"].into_iter().zip(&done) {
        let last = store.last(&name(stream)).await.unwrap().unwrap();
        assert_eq!((last.revision, last.position), (done.revision, done.position));
    }
    let again = store.append(vec![append_of("a", ours), append_of("b", theirs)]).await.unwrap();
    assert!(
        again
            .iter()
            .zip(done)
            .all(|(again, done)| again.already && again.revision == done.revision)
    );
}

/// The servers' limit for batches is a setting of theirs, and what the store was told of it may be wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_server_refuses_leaves_nothing() {
    let Some(nats) = server() else { return };
    let store = options(&nats.url()).batch_limit(5_000).create().await.unwrap();
    let why = invalid(&store, vec![append_of("a", events(2_001))]).await;
    assert!(why.contains("max_msgs") && why.contains("2000"), "{why}");
    assert_eq!(ids_of(&store, "a").await, []);
    store.append(vec![append_of("a", events(1_500))]).await.unwrap();
    assert_eq!(ids_of(&store, "a").await.len(), 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_and_loses_nothing() {
    let Some(nats) = server() else { return };
    let store = options(&nats.url()).stream("FULL").prefix("full").create().await.unwrap();
    let kept = events(4);
    store.append(vec![append_of("a", kept.clone())]).await.unwrap();
    let edited = edit(&nats.url(), "FULL", json!({ "max_msgs": 5 })).await;
    assert!(edited["error"].is_null(), "{edited}");
    let store = options(&nats.url()).stream("FULL").prefix("full").open().await.unwrap();
    store.append(vec![append_of("b", events(1))]).await.unwrap();
    for new in [vec![event(1)], events(3)] {
        let refused = store.append(vec![append_of("b", new)]).await.unwrap_err();
        let source = std::error::Error::source(&refused)
            .and_then(|source| source.downcast_ref::<JetStreamError>());
        assert!(matches!(source, Some(JetStreamError::Full { .. })), "{refused:?}");
        assert!(!refused.is_temporary());
    }
    // A retry is answered all the same.
    assert!(store.append(vec![append_of("a", kept.clone())]).await.unwrap()[0].already);
    assert_eq!(ids_of(&store, "a").await, ids(&kept));
    assert_eq!(store.read_all(ReadAllOptions::default()).count().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_batches_at_once_are_all_done() {
    let Some(nats) = server() else { return };
    let stores = [fresh(&nats).await, fresh(&nats).await];
    let mut tasks = Vec::new();
    for task in 0..120 {
        let store = stores[task % 2].clone();
        let new = events(3);
        let stream = format!("s{}", task % 20);
        tasks.push(tokio::spawn(async move {
            store.append(vec![append_of(&stream, new)]).await.unwrap()[0]
        }));
    }
    for task in tasks {
        assert!(!task.await.unwrap().already);
    }
    for store in &stores {
        assert_eq!(store.read_all(ReadAllOptions::default()).count().await, 180);
    }
}
