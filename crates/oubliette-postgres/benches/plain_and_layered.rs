//! What the layer takes over PostgreSQL, as ratios within one run: `cargo bench -p oubliette-postgres`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use oubliette::{
    event::{EventType, Json, NewEvent, StreamName},
    layer::Oubliette,
    policy::Policy,
    store::{Append, EventStore, ExpectedRevision, ReadAllOptions},
    vault::Vault,
};
use oubliette_postgres::PostgresStore;
use oubliette_servers::Postgres;

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

/// How long each measurement takes, and how often the kinds take turns.
const TURN: Duration = Duration::from_millis(700);
const TURNS: usize = 5;

fn event(n: usize) -> NewEvent {
    let data = format!(
        r#"{{"id":{n},"name":"Erika Mustermann","town":"Leipzig","text":"{}"}}"#,
        "x".repeat(180)
    );
    NewEvent::new(EventType::new("SomethingHappened").unwrap(), Json::parse(&data).unwrap())
}

/// Appends a second of, by so many writers, each to streams of its own that are there.
async fn append(store: &Arc<dyn EventStore>, kind: &str, writers: usize, batch: usize) -> f64 {
    let began = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, kind) = (Arc::clone(store), kind.to_owned());
            tokio::spawn(async move {
                let mut count = 0;
                while began.elapsed() < TURN {
                    let stream =
                        StreamName::new(format!("{kind}-{writer}-{}", count / batch % 8)).unwrap();
                    let events = (0..batch).map(event).collect();
                    store
                        .append(vec![Append::new(stream, ExpectedRevision::Any, events)])
                        .await
                        .unwrap();
                    count += batch;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    count as f64 / began.elapsed().as_secs_f64()
}

async fn read(store: &Arc<dyn EventStore>) -> f64 {
    let (began, mut count) = (Instant::now(), 0);
    let mut events =
        store.read_all(ReadAllOptions { limit: Some(20_000), ..ReadAllOptions::default() });
    while let Some(event) = events.next().await {
        event.unwrap();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs it without measuring.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(postgres) = Postgres::start() else {
        println!("SKIPPED: PostgreSQL is not installed");
        return;
    };
    let kinds = ["plain", "sealed", "inline", "split"];
    let mut stores: Vec<Arc<dyn EventStore>> = Vec::new();
    for kind in kinds {
        let events = PostgresStore::create(&postgres.database()).await.unwrap();
        let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap());
        stores.push(match kind {
            "plain" => Arc::new(events),
            _ => Arc::new(Oubliette::open(events, vault, policy).await.unwrap()),
        });
    }
    println!(
        "{:<24} {:>12} {:>8} {:>8} {:>8}",
        "events a second, ratio", "plain", "sealed", "inline", "split"
    );
    for (what, writers, batch) in
        [("append, one writer", 1, 1), ("append, 8 writers", 8, 1), ("append, 100 at once", 1, 100)]
    {
        let mut figures = vec![Vec::new(); kinds.len()];
        for turn in 0..=TURNS {
            for (at, kind) in kinds.iter().enumerate() {
                let rate = append(&stores[at], kind, writers, batch).await;
                // The first turn makes keys and connections.
                if turn > 0 {
                    figures[at].push(rate);
                }
            }
        }
        row(what, figures);
    }
    let mut figures = vec![Vec::new(); kinds.len()];
    for turn in 0..=TURNS {
        for (at, store) in stores.iter().enumerate() {
            let rate = read(store).await;
            if turn > 0 {
                figures[at].push(rate);
            }
        }
    }
    row("read all", figures);
}

fn row(what: &str, figures: Vec<Vec<f64>>) {
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    let ratio = |at: usize| medians[at] / medians[0];
    println!(
        "{what:<24} {:>12.0} {:>8.2} {:>8.2} {:>8.2}",
        medians[0],
        ratio(1),
        ratio(2),
        ratio(3)
    );
}
