//! Answers that are lost, servers that go and come, writers that are first.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use oubliette::{
    event::Revision,
    store::{Current, Delivery, Filter},
    *,
};
use uuid::Uuid;

use crate::{
    common::{append_of, event, events, ids, ids_of, name, open, options, told},
    model::{Model, New},
};

/// The event as another process would send it: sealed again, so that its bytes are other ones.
fn sealed_otherwise(stream: &str, event: &NewEvent) -> New {
    New { id: event.id.0, ..New::json(stream, "Counted", r#"{"other":true}"#) }
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_stored_once() {
    let model = Model::start();
    let store = open(&model).await;
    for expected in [ExpectedRevision::NoStream, ExpectedRevision::Any] {
        let stream = format!("a-{expected}").replace(' ', "-");
        let some = events(3);
        model.fault(|faults| faults.lose_answers = 2);
        let append = store::Append::new(name(&stream), expected, some.clone());
        let done = store.append(vec![append]).await.unwrap();
        assert_eq!((done[0].revision, done[0].already), (Revision(2), true));
        assert_eq!(ids_of(&store, &stream).await, ids(&some));
        assert_eq!(model.database(|database| database.ids(&stream).len()), 3);
        model.fault(|faults| faults.lose_answers = 0);
    }
}

#[tokio::test]
async fn an_append_that_did_not_arrive_is_sent_again() {
    let model = Model::start();
    let store = open(&model).await;
    model.fault(|faults| faults.lose_appends = 3);
    let done = store.append(vec![append_of("a-1", events(2))]).await.unwrap();
    assert_eq!((done[0].revision, done[0].already), (Revision(1), false));
    assert_eq!(ids_of(&store, "a-1").await.len(), 2);
}

/// The server takes reads, and no append: the caller is not left waiting for ever.
#[tokio::test]
async fn an_append_that_never_gets_an_outcome_ends_with_a_temporary_error() {
    let model = Model::start();
    let store = open(&model).await;
    model.fault(|faults| faults.lose_appends = u32::MAX);
    let append = store.append(vec![append_of("a-1", events(1))]);
    let ended = tokio::time::timeout(Duration::from_secs(10), append).await;
    let error = ended.expect("it waits for ever").unwrap_err();
    assert!(error.is_temporary() && told(&error).contains("same event ids"), "{}", told(&error));
}

/// The server answers what it stored of another attempt as if it had stored this one.
#[tokio::test]
async fn what_another_attempt_stored_is_answered_as_a_retry() {
    let model = Model::start();
    let store = open(&model).await;
    let first = events(1);
    store.append(vec![append_of("a-1", first)]).await.unwrap();
    let new = event(7);
    let rival = sealed_otherwise("a-1", &new);
    model.fault(|faults| faults.rival = vec![rival]);
    let done = store.append(vec![append_of("a-1", vec![new.clone()])]).await.unwrap();
    assert_eq!((done[0].revision, done[0].already), (Revision(1), true));
    let found = store.events(&name("a-1"), ReadOptions::default()).await.unwrap();
    assert_eq!((found.len(), found[1].id, found[1].position), (2, new.id, done[0].position));
    assert!(format!("{:?}", found[1].data).contains("14 bytes"), "the first bytes stay");
}

#[tokio::test]
async fn a_rival_in_between_costs_another_attempt_or_is_a_conflict() {
    let model = Model::start();
    let store = open(&model).await;
    let first = store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    let rival = || vec![New::json("a-1", "Rival", "{}")];

    model.fault(|faults| faults.rival = rival());
    let done = store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    assert_eq!((done[0].revision, done[0].already), (Revision(2), false));

    model.fault(|faults| faults.rival = rival());
    let append = store::Append::new(name("a-1"), ExpectedRevision::StreamExists, events(1));
    assert_eq!(store.append(vec![append]).await.unwrap()[0].revision, Revision(4));

    model.fault(|faults| faults.rival = rival());
    let expected = ExpectedRevision::Exact(Revision(4));
    let append = store::Append::new(name("a-1"), expected, events(2));
    match store.append(vec![append]).await.unwrap_err() {
        StoreError::Conflict { expected: said, actual, .. } => {
            assert_eq!((said, actual), (expected, Some(Current::Revision(Revision(5)))));
        }
        other => panic!("{other}"),
    }
    assert_eq!(first[0].revision, Revision(0));
    assert_eq!(ids_of(&store, "a-1").await.len(), 6);
}

/// What one process wrote, another knows.
#[tokio::test]
async fn two_processes_know_each_others_ids() {
    let model = Model::start();
    let (one, two) = (open(&model).await, open(&model).await);
    two.append(vec![append_of("b-1", events(1))]).await.unwrap();
    let some = events(3);
    let first = one.append(vec![append_of("a-1", some.clone())]).await.unwrap();
    let again = two.append(vec![append_of("a-1", some.clone())]).await.unwrap();
    assert_eq!((again[0].position, again[0].already), (first[0].position, true));
    let elsewhere = two.append(vec![append_of("c-1", some)]).await.unwrap_err();
    assert!(matches!(elsewhere, StoreError::IdInUse { .. }));
}

/// Started again, a process knows what it wrote before.
#[tokio::test]
async fn a_retry_after_a_restart_is_recognised() {
    let model = Model::start();
    let some = events(2);
    for already in [false, true] {
        let store = open(&model).await;
        let done = store.append(vec![append_of("a-1", some.clone())]).await.unwrap();
        assert_eq!(done[0].already, already);
        // More than a page, to be read before the next first append.
        store.append(vec![append_of("b-1", events(700))]).await.unwrap();
    }
    assert_eq!(model.database(|database| database.ids("a-1").len()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_told_within_the_patience_and_found_again() {
    let mut model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    model.stop();
    let began = Instant::now();
    let error = store.append(vec![append_of("a-1", events(1))]).await.unwrap_err();
    assert!(error.is_temporary(), "{}", told(&error));
    assert!(told(&error).contains("nothing was written"), "{}", told(&error));
    let error = store.events(&name("a-1"), ReadOptions::default()).await.unwrap_err();
    assert!(error.is_temporary(), "{}", told(&error));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    model.restart();
    store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    assert_eq!(ids_of(&store, "a-1").await.len(), 2);
}

/// An append of which it is not known what became goes on when the server is back, beyond any patience.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_without_an_outcome_outlives_the_server() {
    let mut model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("b-1", events(1))]).await.unwrap();
    model.fault(|faults| faults.lose_answers = u32::MAX);
    let some = events(2);
    let appending = tokio::spawn({
        let (store, some) = (store.clone(), some.clone());
        async move { store.append(vec![append_of("a-1", some)]).await }
    });
    while model.database(|database| database.ids("a-1").is_empty()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    model.stop();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!appending.is_finished());
    model.restart();
    let done = appending.await.unwrap().unwrap();
    assert!(done[0].already);
    assert_eq!(ids_of(&store, "a-1").await, ids(&some));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_goes_on_when_the_server_was_away() {
    let mut model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(2))]).await.unwrap();
    let mut subscription = store.subscribe(None, Filter::default());
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
        match next.unwrap().unwrap().unwrap() {
            Delivery::Event(event) => Some(event.id),
            Delivery::CaughtUp => None,
        }
    };
    let mut seen = vec![next().await, next().await];
    assert_eq!(next().await, None);
    model.stop();
    model.restart();
    let late = events(2);
    model.database(|database| {
        for event in &late {
            let (stream, id) = ("b-1".to_owned(), event.id.0);
            database.put(New { stream, id, ..New::json("", "Counted", "{}") });
        }
    });
    seen.extend([next().await, next().await]);
    let all: Vec<Option<EventId>> = model.database(|database| {
        let ids: Vec<Uuid> = [database.ids("a-1"), database.ids("b-1")].concat();
        ids.into_iter().map(|id| Some(EventId(id))).collect()
    });
    assert_eq!(seen, all);
}

/// A node that is not the leader names the one that is, and the client goes there.
#[tokio::test]
async fn the_leader_is_found_through_another_node() {
    let (follower, leader) = (Model::start(), Model::start());
    follower.fault(|faults| faults.not_leader = Some((u32::MAX, leader.address())));
    let store = open(&follower).await;
    store.append(vec![append_of("a-1", events(2))]).await.unwrap();
    assert_eq!(ids_of(&store, "a-1").await.len(), 2);
    assert_eq!(leader.database(|database| database.ids("a-1").len()), 2);
    assert!(follower.database(|database| database.ids("a-1").is_empty()));
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_named() {
    let model = Model::start();
    let mut gone = Model::start();
    gone.stop();
    model.fault(|faults| faults.not_leader = Some((u32::MAX, gone.address())));
    let began = Instant::now();
    let error = options(&model).open().await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// Sent to a node that is gone, the client gives up for ever; the store takes another one.
#[tokio::test]
async fn a_client_that_gave_up_is_replaced() {
    let model = Model::start();
    let mut gone = Model::start();
    gone.stop();
    let store = open(&model).await;
    model.fault(|faults| faults.not_leader = Some((1, gone.address())));
    store.append(vec![append_of("a-1", events(2))]).await.unwrap();
    assert_eq!(ids_of(&store, "a-1").await.len(), 2);
}
