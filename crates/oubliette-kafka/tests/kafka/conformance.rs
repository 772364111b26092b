//! The contract, by itself and under the layer in each layout.

use std::sync::Arc;

use oubliette::{
    layer::Oubliette,
    policy::Policy,
    store::conformance::{Fixture, Profile, Violation, run_each},
    vault::Vault,
};
use oubliette_kafka::KafkaStore;
use oubliette_servers::note_case;

use crate::{config, start};

const POLICY: &str = r#"
public_metadata = ["/about"]

[[stream]]
match = "sealed-{id}"

[[stream]]
match  = "inline-{id}"
layout = "inline"
public = ["/id", "/list/*/public"]

[[stream]]
match  = "split-{id}"
layout = "split"
public = ["/id", "/list/*/public"]
"#;

/// A public field between two that are not, so that objects are taken apart and joined again.
fn partly(kind: &'static str) -> Profile {
    Profile::default().naming(move |tag| format!("{kind}-{tag}")).shaping(|value| {
        format!(
            r#"{{"before":{value},"id":{value},"list":[{{"public":{value},"sealed":1.50}},7]}}"#
        )
    })
}

/// Runs every case, and notes it for the table of `./test stores`.
async fn passes<Fresh: Future<Output = Fixture>>(layout: &str, fresh: impl FnMut() -> Fresh) {
    let mut violations: Vec<Violation> = Vec::new();
    run_each(fresh, |case, result| {
        note_case("Apache Kafka", layout, case, result.is_ok());
        violations.extend(result.err());
    })
    .await;
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain() {
    let Some(kafka) = start() else { return };
    let store = KafkaStore::create(config(&kafka)).await.unwrap();
    passes("plain", || async { Fixture::new(store.clone()) }).await;
    assert_eq!(store.passed_over().count, 0);
    // What was rebuilt of the topic is the same.
    let before = crate::all(&store).await;
    crate::is_sound_but_for_gaps(&before);
    let again = KafkaStore::open(store_config(&kafka)).await.unwrap();
    assert!(before == crate::all(&again).await);
    assert_eq!(again.passed_over().count, 0);
}

fn store_config(kafka: &oubliette_servers::Kafka) -> oubliette_kafka::KafkaConfig {
    oubliette_kafka::KafkaConfig::new(kafka.servers(), "test-0")
}

async fn layered(layout: &str, profile: Profile) {
    let Some(kafka) = start() else { return };
    let store = KafkaStore::create(config(&kafka)).await.unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    let layer = Oubliette::open(store, Vault::in_memory().unwrap(), policy).await.unwrap();
    let layer = Arc::new(layer);
    let fresh = || async { Fixture::new(Arc::clone(&layer)).with_profile(profile.clone()) };
    passes(layout, fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed() {
    layered("sealed", Profile::default().naming(|tag| format!("sealed-{tag}"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inline() {
    layered("inline", partly("inline")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn split() {
    layered("split", partly("split")).await;
}
