//! Readers beside a writer.

use std::time::Duration;

use futures::StreamExt;
use oubliette::{
    event::Position,
    store::{
        Delivery, EventStore, EventStoreExt, ExpectedRevision::Any, Filter, ReadOptions, StoreError,
    },
};
use oubliette_kafka::{KafkaConfig, KafkaStore};

use crate::{all, cause, event, name, next_event, start, subscribed};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_the_writer_and_writes_nothing() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let writer = KafkaStore::create(config()).await.unwrap();
    let stream = name("account-a");
    writer.append_to(&stream, Any, vec![event(0), event(1)]).await.unwrap();
    let reader = KafkaStore::open_reader(config()).await.unwrap();
    assert_eq!(all(&reader).await, all(&writer).await);
    let mut subscription = subscribed(&reader);
    next_event(&mut subscription).await;
    next_event(&mut subscription).await;

    let refused = reader.append_to(&stream, Any, vec![event(2)]).await.unwrap_err();
    assert!(cause(&refused).contains("reading only") && !refused.is_temporary());
    // The writer is still the writer.
    let third = event(2);
    let appended = writer.append_to(&stream, Any, vec![third.clone()]).await.unwrap();
    let seen = next_event(&mut subscription).await;
    assert_eq!((seen.id, seen.position), (third.id, appended.position));
    let read = reader.events(&stream, ReadOptions::default()).await.unwrap();
    assert_eq!(read.last().map(|event| event.id), Some(third.id));
    let told = format!("{reader:?}");
    assert!(told.contains("reads_only: true"), "{told}");
}

/// A reader may not have seen yet what the writer acknowledged: a position of that is one of the store's. One that the
/// topic never had is another store's, and behind it events would be missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_refused_where_the_topic_never_had_it_and_not_where_the_reader_is_late() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let writer = KafkaStore::create(config()).await.unwrap();
    let reader = KafkaStore::open_reader(config()).await.unwrap();
    let first = async |store: &KafkaStore, after| {
        store.subscribe(Some(after), Filter::default()).next().await.unwrap()
    };
    let mut last = 0;
    for number in 0..20 {
        let appended = writer.append_to(&name("account-a"), Any, vec![event(number)]).await;
        let position = appended.unwrap().position;
        for store in [&reader, &writer] {
            assert_eq!(first(store, position).await.unwrap(), Delivery::CaughtUp);
        }
        last = position.as_number().unwrap();
    }
    // Behind the last event is the mark of its transaction.
    for store in [&reader, &writer] {
        for beyond in [last + 2, u64::MAX] {
            let beyond = Position::number(beyond);
            let refused = first(store, beyond).await.unwrap_err();
            let is_named = matches!(refused, StoreError::ForeignPosition(named) if named == beyond);
            assert!(is_named, "{refused:?}");
        }
    }
}

/// Between the old and the new nothing is lost: also what comes while the old is still being handed out.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_while_a_subscription_catches_up_comes_behind_that_once() {
    let Some(kafka) = start() else { return };
    let config = KafkaConfig::new(kafka.servers(), kafka.new_topic());
    let store = KafkaStore::create(config).await.unwrap();
    let stream = name("account-a");
    let events: Vec<_> = (0..6).map(event).collect();
    store.append_to(&stream, Any, events[..3].to_vec()).await.unwrap();
    let mut subscription = subscribed(&store);
    // It has begun, and has more at hand.
    let mut seen = vec![next_event(&mut subscription).await.id];
    for event in &events[3..5] {
        store.append_to(&stream, Any, vec![event.clone()]).await.unwrap();
    }
    let mut caught_up = 0;
    while seen.len() < events.len() {
        let next = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
        match next.expect("an event was lost").unwrap().unwrap() {
            Delivery::Event(event) => seen.push(event.id),
            Delivery::CaughtUp => {
                caught_up += 1;
                store.append_to(&stream, Any, vec![events[5].clone()]).await.unwrap();
            }
        }
    }
    assert_eq!(seen, events.iter().map(|event| event.id).collect::<Vec<_>>());
    assert_eq!(caught_up, 1);
}

/// Nobody is kept waiting for a broker that is gone: who reads is told, who subscribes waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_a_broker_ends_with_a_temporary_error() {
    let Some(mut kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = KafkaConfig::new(kafka.servers(), &topic).with_patience(Duration::from_secs(2));
    // A broker that is busy with its first transaction takes longer than that.
    drop(KafkaStore::create(config.clone().with_patience(Duration::from_secs(60))).await.unwrap());
    let store = KafkaStore::open(config).await.unwrap();
    let stream = name("account-a");
    store.append_to(&stream, Any, vec![event(0)]).await.unwrap();
    let mut subscription = subscribed(&store);
    let first = next_event(&mut subscription).await;
    kafka.kill();
    let refused = store.events(&stream, ReadOptions::default()).await.unwrap_err();
    assert!(
        refused.is_temporary() && cause(&refused).contains("did not answer"),
        "{}",
        cause(&refused)
    );
    let refused = store.append_to(&stream, Any, vec![event(1)]).await.unwrap_err();
    assert!(refused.is_temporary(), "{}", cause(&refused));
    // One that begins now waits longer than that.
    let mut late = subscribed(&store);
    let waits = tokio::time::timeout(Duration::from_secs(4), next_event(&mut late)).await;
    assert!(waits.is_err(), "nothing can come");
    kafka.restart();
    let second = event(2);
    loop {
        match store.append_to(&stream, Any, vec![second.clone()]).await {
            Ok(appended) => break assert!(!appended.already),
            Err(error) => assert!(error.is_temporary(), "{}", cause(&error)),
        }
    }
    assert_eq!(next_event(&mut subscription).await.id, second.id);
    assert_eq!(next_event(&mut late).await.id, first.id);
    assert_eq!(next_event(&mut late).await.id, second.id);
    let ids: Vec<_> = all(&store).await.iter().map(|event| event.id).collect();
    assert_eq!(ids, [first.id, second.id]);
}
