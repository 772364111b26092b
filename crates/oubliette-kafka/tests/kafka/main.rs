//! The store and the relay against Apache Kafka itself, each test with a broker of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(unix)]

mod anew;
mod conformance;
mod fenced;
mod foreign;
mod killed;
mod proxy;
mod quickstart;
mod reader;
mod refused;
mod relay;

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, TryStreamExt};
use oubliette::{
    event::{EventType, Json, NewEvent, RecordedEvent, StreamName},
    store::{Delivery, EventStore, Filter, ReadAllOptions, StoreError, Subscription},
};
use oubliette_kafka::{
    KafkaConfig,
    rdkafka::{
        ClientConfig, Message, Offset, TopicPartitionList,
        admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
        client::DefaultClientContext,
        consumer::{BaseConsumer, Consumer},
        error::KafkaError as ClientError,
        message::OwnedMessage,
    },
};
use oubliette_servers::{Kafka, skipped};

/// A broker, or the word that there is none.
fn start() -> Option<Kafka> {
    start_with(&[])
}

fn start_with(properties: &[(&str, &str)]) -> Option<Kafka> {
    let started = Kafka::start_with(properties);
    if started.is_none() {
        skipped("OUBLIETTE_REQUIRE_KAFKA", "Kafka needs Java, and Maven once, to fetch it");
    }
    started
}

fn config(kafka: &Kafka) -> KafkaConfig {
    KafkaConfig::new(kafka.servers(), kafka.new_topic())
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn event(number: usize) -> NewEvent {
    let data = Json::parse(&format!(r#"{{"number":{number}}}"#)).unwrap();
    NewEvent::new(EventType::new("Counted").unwrap(), data)
}

async fn all(store: &impl EventStore) -> Vec<RecordedEvent> {
    store.read_all(ReadAllOptions::default()).try_collect().await.unwrap()
}

/// The error beneath a store's.
fn cause(error: &StoreError) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        told.push_str(": ");
        told.push_str(&error.to_string());
        source = error.source();
    }
    told
}

/// Of each stream the revisions are whole, no id is there twice, and positions grow.
fn is_sound(events: &[RecordedEvent]) {
    is_sound_but_for_gaps(events);
    let mut streams: HashMap<&StreamName, u64> = HashMap::new();
    for event in events {
        let next = streams.entry(&event.stream).or_default();
        assert_eq!(event.revision.0, *next, "of stream {}", event.stream);
        *next += 1;
    }
}

/// The same where gaps may have been restored: of each stream the revisions grow.
fn is_sound_but_for_gaps(events: &[RecordedEvent]) {
    let mut streams: HashMap<&StreamName, u64> = HashMap::new();
    let mut ids = std::collections::HashSet::new();
    for pair in events.windows(2) {
        assert!(pair[0].position < pair[1].position);
    }
    for event in events {
        let before = streams.insert(&event.stream, event.revision.0);
        assert!(before.is_none_or(|before| before < event.revision.0), "of {}", event.stream);
        assert!(ids.insert(event.id), "event {} is there twice", event.id);
    }
}

fn subscribed(store: &impl EventStore) -> Subscription {
    store.subscribe(None, Filter::default())
}

async fn next_event(subscription: &mut Subscription) -> RecordedEvent {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await;
        match next.expect("the subscription waits for ever").unwrap().unwrap() {
            Delivery::Event(event) => return event,
            Delivery::CaughtUp => {}
        }
    }
}

async fn make_topic(kafka: &Kafka, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.servers()).create().unwrap();
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    new.config.extend_from_slice(settings);
    let made = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
    made.into_iter().next().unwrap().unwrap();
    // A new topic is not known everywhere at once.
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// All that a consumer sees which reads what is committed, partition by partition.
fn consumed(kafka: &Kafka, topic: &str, partitions: i32) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.servers())
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut messages = Vec::new();
    for partition in 0..partitions {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        loop {
            match consumer.poll(Duration::from_secs(30)) {
                Some(Ok(message)) => messages.push(message.detach()),
                Some(Err(ClientError::PartitionEOF(_))) => break,
                Some(Err(error)) => eprintln!("the consumer goes on after: {error}"),
                None => panic!("the end of partition {partition} does not come"),
            }
        }
    }
    assert!(messages.iter().all(|message| message.topic() == topic));
    messages
}
