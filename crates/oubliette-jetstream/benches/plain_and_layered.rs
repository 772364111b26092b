//! The store alone, and beneath the layer: rates of one run, as ratios.
//!
//! ```text
//! cargo bench -p oubliette-jetstream --bench plain_and_layered
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(missing_docs)]

use std::{sync::Arc, time::Instant};

use futures::StreamExt;
use oubliette::{
    store::{Append, ReadAllOptions},
    *,
};
use oubliette_jetstream::{JetStreamOptions, JetStreamStore};
use oubliette_servers::{Nats, skipped};

const POLICY: &str = r#"
[[stream]]
match = "sealed-{id}"
[[stream]]
match  = "inline-{id}"
layout = "inline"
public = ["/id"]
[[stream]]
match  = "split-{id}"
layout = "split"
public = ["/id"]
"#;

const EVENTS: usize = 2_000;
const BATCHES: usize = 200;

struct Rates {
    single: f64,
    eight: f64,
    batches: f64,
    read: f64,
}

async fn open(address: &str, kind: &str) -> JetStreamStore {
    let options = JetStreamOptions::new(address).stream(kind).prefix(kind).synced_always();
    options.create().await.unwrap()
}

fn events(count: usize) -> Vec<NewEvent> {
    let text = "x".repeat(300);
    let data = Json::parse(&format!(r#"{{"id":7,"name":"Annika","text":"{text}"}}"#)).unwrap();
    (0..count).map(|_| NewEvent::new(EventType::new("Moved").unwrap(), data.clone())).collect()
}

async fn rates(store: Arc<dyn EventStore>, kind: &str) -> Rates {
    let stream = |number: usize| StreamName::new(format!("{kind}-{}", number % 8)).unwrap();
    let append = |number, count| Append::new(stream(number), ExpectedRevision::Any, events(count));
    // Keys and connections first.
    for number in 0..8 {
        store.append(vec![append(number, 1)]).await.unwrap();
    }
    let began = Instant::now();
    for number in 0..EVENTS / 4 {
        store.append(vec![append(number, 1)]).await.unwrap();
    }
    let single = EVENTS as f64 / 4.0 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        let appends: Vec<_> = (0..EVENTS / 8).map(|_| append(writer, 1)).collect();
        tokio::spawn(async move {
            for append in appends {
                store.append(vec![append]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let eight = EVENTS as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    for number in 0..BATCHES {
        store.append(vec![append(number, 10)]).await.unwrap();
    }
    let batches = BATCHES as f64 * 10.0 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let read = store.read_all(ReadAllOptions::default()).map(Result::unwrap).count().await;
    Rates { single, eight, batches, read: read as f64 / began.elapsed().as_secs_f64() }
}

#[tokio::main]
async fn main() {
    let Some(nats) = Nats::start() else {
        return skipped("OUBLIETTE_REQUIRE_NATS", "no nats-server is installed");
    };
    let plain = rates(Arc::new(open(&nats.url(), "plain").await), "plain").await;
    println!(
        "{:8} {:>12} {:>12} {:>12} {:>12}",
        "events/s", "one writer", "eight", "tens", "read_all"
    );
    println!(
        "{:8} {:12.0} {:12.0} {:12.0} {:12.0}",
        "plain", plain.single, plain.eight, plain.batches, plain.read
    );
    for kind in ["sealed", "inline", "split"] {
        let store = open(&nats.url(), kind).await;
        let policy = Policy::parse(POLICY).unwrap();
        let layer = Oubliette::open(store, Vault::in_memory().unwrap(), policy).await.unwrap();
        let found = rates(Arc::new(layer), kind).await;
        println!(
            "{kind:8} {:11.2}x {:11.2}x {:11.2}x {:11.2}x",
            found.single / plain.single,
            found.eight / plain.eight,
            found.batches / plain.batches,
            found.read / plain.read
        );
    }
}
