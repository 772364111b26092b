//! How fast the store is by itself and under the layer, in one run: `cargo bench -p oubliette-kafka`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::time::Instant;

use futures::{TryStreamExt, future::join_all};
use oubliette::{
    EventStore, EventStoreExt, ExpectedRevision::Any, Json, NewEvent, Oubliette, Policy,
    ReadOptions, StreamName, Vault, store::ReadAllOptions,
};
use oubliette_kafka::{KafkaConfig, KafkaStore};
use oubliette_servers::Kafka;

const ALONE: usize = 200;
const WRITERS: usize = 8;
const BATCHES: usize = 10;
const BATCH: usize = 1_000;

fn event(number: usize) -> NewEvent {
    let data =
        format!(r#"{{"id":{number},"name":"Erika Mustermann","text":"{}"}}"#, "x".repeat(200));
    NewEvent::new("Registered".parse().unwrap(), Json::parse(&data).unwrap())
}

fn stream(kind: &str, number: usize) -> StreamName {
    StreamName::new(format!("{kind}-{number}")).unwrap()
}

/// Appends one after the other, by eight at once, in batches; reads all streams, and one stream.
async fn rates(store: &impl EventStore, kind: &str) -> [f64; 5] {
    let per_second = |count: usize, began: Instant| count as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    for number in 0..ALONE {
        store.append_to(&stream(kind, number % 20), Any, vec![event(number)]).await.unwrap();
    }
    let alone = per_second(ALONE, began);
    let began = Instant::now();
    join_all((0..WRITERS).map(|writer| async move {
        for number in 0..ALONE {
            store.append_to(&stream(kind, 100 + writer), Any, vec![event(number)]).await.unwrap();
        }
    }))
    .await;
    let together = per_second(WRITERS * ALONE, began);
    let began = Instant::now();
    for number in 0..BATCHES {
        let events = (0..BATCH).map(event).collect();
        store.append_to(&stream(kind, 200 + number), Any, events).await.unwrap();
    }
    let batches = per_second(BATCHES * BATCH, began);
    let began = Instant::now();
    let all: Vec<_> = store.read_all(ReadAllOptions::default()).try_collect().await.unwrap();
    let read_all = per_second(all.len(), began);
    let began = Instant::now();
    let one = store.events(&stream(kind, 200), ReadOptions::default()).await.unwrap();
    [alone, together, batches, read_all, per_second(one.len(), began)]
}

#[tokio::main]
async fn main() {
    let Some(kafka) = Kafka::start() else {
        eprintln!("SKIPPED: Kafka needs Java, and Maven once, to fetch it");
        return;
    };
    let store = || async {
        let config = KafkaConfig::new(kafka.servers(), kafka.new_topic());
        KafkaStore::create(config).await.unwrap()
    };
    let plain = rates(&store().await, "plain").await;
    println!(
        "events a second: appended alone, by eight at once, in batches of a thousand; read of all, of one stream"
    );
    println!("{:<8}{}", "plain", plain.map(|rate| format!("{rate:>10.0}")).concat());
    for layout in ["sealed", "inline", "split"] {
        let public = if layout == "sealed" { "[]" } else { "['/id']" };
        let policy = format!(
            "[[stream]]\nmatch = '{layout}-{{id}}'\nlayout = '{layout}'\npublic = {public}"
        );
        let policy = policy.replace("layout = 'sealed'\n", "");
        let policy = Policy::parse(&policy).unwrap();
        let vault = Vault::in_memory().unwrap();
        let layer = Oubliette::open(store().await, vault, policy).await.unwrap();
        let rates = rates(&layer, layout).await;
        let shown = rates
            .iter()
            .zip(plain)
            .map(|(rate, plain)| format!("{rate:>6.0} {:>3.2}", rate / plain));
        println!("{layout:<8}{}", shown.collect::<String>());
    }
}
