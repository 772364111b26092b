//! From an event store to a topic, and what consumers see: `cargo run -p oubliette-kafka --example kafka_relay -- SERVERS`. The
//! topics are there before:
//!
//! ```sh
//! kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --create --topic bank-events --partitions 3
//! kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --create --topic bank-forgotten --config cleanup.policy=compact
//! ```

#![allow(clippy::print_stdout)]

use std::{collections::HashSet, error::Error, time::Duration};

use oubliette::{layer::EventRef, *};
use oubliette_kafka::{
    KafkaConfig, Relay,
    rdkafka::{
        ClientConfig, Message, Offset, TopicPartitionList,
        consumer::{BaseConsumer, Consumer},
        error::KafkaError,
        message::OwnedMessage,
    },
    relayed,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let policy = Policy::parse("[[stream]]\nmatch = 'user-{id}'\npublic = ['/country']")?;

    // The bank: a store, and the layer around it.
    let (store, vault) = (MemoryStore::new(), Vault::in_memory()?);
    let bank = Oubliette::open(store.clone(), vault.clone(), policy.clone()).await?;
    for (user, who) in [("user-1", "Erika"), ("user-2", "Max")] {
        let data = Json::parse(&format!(r#"{{"name":"{who}","country":"DE"}}"#))?;
        let event = NewEvent::new(EventType::new("UserRegistered")?, data);
        bank.append_to(&StreamName::new(user)?, ExpectedRevision::Any, vec![event]).await?;
    }
    bank.forget(&Subject::new("user-2")?, "request 2026-117").await?;

    // The relay reads the store beneath the layer. A service would `run` it.
    let config = KafkaConfig::new(&servers, "bank-events");
    let progress = Relay::new(store, config).with_forgotten("bank-forgotten").catch_up().await?;
    println!("relayed: {} events\n", progress.events);

    println!("with the vault:");
    consume(&servers, &Codec::new(vault, policy.clone()))?;
    println!("\nwithout the vault:");
    consume(&servers, &Codec::without_vault(policy))?;

    println!("\nwhoever caches drops what came with these references:");
    for message in read(&servers, "bank-forgotten")? {
        println!("  {}", String::from_utf8_lossy(message.key().unwrap_or_default()));
    }
    Ok(())
}

fn consume(servers: &str, codec: &Codec) -> Result<(), Box<dyn Error>> {
    // A consumer that keeps the highest position with its own data passes over what it has seen.
    let mut seen = HashSet::new();
    for message in read(servers, "bank-events")? {
        let event = relayed(&message)?;
        if !seen.insert(event.position) {
            continue;
        }
        let Some(data) = &event.data else { continue };
        let of = EventRef { stream: &event.stream, id: event.id, event_type: &event.event_type };
        // What another vault sealed does not open: here, of the last time that this ran.
        let Ok(opened) = codec.open(of, data, event.metadata.as_ref()) else { continue };
        let text = opened.data.as_ref().and_then(Payload::as_json).map_or("nothing", Json::as_str);
        let gone = if opened.shredded.is_empty() { "" } else { ", the rest is gone" };
        println!("  {} {}: {text}{gone}", event.stream, event.event_type);
    }
    Ok(())
}

/// All that is committed in a topic now.
fn read(servers: &str, topic: &str) -> Result<Vec<OwnedMessage>, Box<dyn Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "an-example")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()?;
    let wait = Duration::from_secs(10);
    let metadata = consumer.fetch_metadata(Some(topic), wait)?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions)? {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut messages, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match consumer.poll(wait) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            None => return Err("Kafka does not answer".into()),
        }
    }
    Ok(messages)
}
