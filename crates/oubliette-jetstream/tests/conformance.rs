//! The suite: the store alone, and beneath the layer in each layout. One server for all cases of a test, a stream for
//! each.

use oubliette::{
    store::conformance::{Fixture, Profile, Violation, run_each},
    *,
};
use oubliette_servers::note_case;

use crate::common::{options, server};

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

/// Runs every case, and notes it for the table of `./test stores`.
async fn passes<Fresh: Future<Output = Fixture>>(layout: &str, fresh: impl FnMut() -> Fresh) {
    let mut violations: Vec<Violation> = Vec::new();
    run_each(fresh, |case, result| {
        note_case("NATS JetStream", layout, case, result.is_ok());
        violations.extend(result.err());
    })
    .await;
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain() {
    let Some(nats) = server() else { return };
    let fresh = || async { Fixture::new(options(&nats.url()).create().await.unwrap()) };
    passes("plain", fresh).await;
}

async fn layered(layout: &str, profile: Profile) {
    let Some(nats) = server() else { return };
    let fresh = || async {
        let policy = Policy::parse(POLICY).unwrap();
        // The suite appends 699 events at once, and split events are two each.
        let store = options(&nats.url()).batch_limit(2_000).create().await.unwrap();
        let layer = Oubliette::open(store, Vault::in_memory().unwrap(), policy).await.unwrap();
        Fixture::new(layer).with_profile(profile.clone())
    };
    passes(layout, fresh).await;
}

/// A public field between two that are not.
fn partly(kind: &'static str) -> Profile {
    Profile::default().naming(move |tag| format!("{kind}-{tag}")).shaping(|value| {
        format!(
            r#"{{"before":{value},"id":{value},"list":[{{"public":{value},"sealed":1.50}},7]}}"#
        )
    })
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
