//! An event store that can forget, in a topic of Kafka's: `cargo run -p oubliette-kafka --example kafka_quickstart -- URL`, with
//! a broker at kafka://127.0.0.1:9092/bank, unless another is named.

#![allow(clippy::print_stdout)]

use oubliette::*;
use oubliette_kafka::{KafkaConfig, KafkaStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "kafka://127.0.0.1:9092/bank".to_owned());

    // One topic with one partition, made where it is missing, and one program that writes to it.
    let config: KafkaConfig = url.parse()?;
    let events = KafkaStore::create(config).await?;
    for doubt in events.doubts() {
        println!("note: {doubt}");
    }

    // In memory, for trying things out. A program keeps its vault on disk, and not in Kafka.
    let vault = Vault::in_memory()?;
    let policy = Policy::parse("[[stream]]\nmatch = 'user-{id}'\npublic = ['/country']")?;
    let bank = Oubliette::open(events, vault, policy).await?;

    // A stream of its own each time this runs: the vault of the last time is gone.
    let user = StreamName::new(format!("user-{}", EventId::random()))?;
    let data = Json::parse(r#"{"name":"Erika","country":"DE"}"#)?;
    let event = NewEvent::new(EventType::new("UserRegistered")?, data);
    bank.append_to(&user, ExpectedRevision::NoStream, vec![event]).await?;
    show(&bank, &user).await?;

    bank.forget(&Subject::of(&user), "request 2026-117").await?;
    show(&bank, &user).await
}

async fn show(
    bank: &Oubliette<KafkaStore>,
    user: &StreamName,
) -> Result<(), Box<dyn std::error::Error>> {
    for event in bank.events(user, ReadOptions::default()).await? {
        let text = |data: &Payload| data.as_json().map(|json| json.as_str().to_owned());
        match event.content() {
            Content::Clear(data) => println!("{} {:?}", event.event_type, text(data)),
            Content::Partial { data, .. } => {
                println!("{} {:?}, and more that is gone", event.event_type, text(data));
            }
            Content::Tombstone(tombstone) => println!("forgotten on {}", tombstone.day),
            _ => println!("{}: nothing that can be read", event.event_type),
        }
    }
    Ok(())
}
