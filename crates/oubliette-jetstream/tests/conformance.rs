//! The suite: the store alone, and beneath the layer in each layout. One server for all cases of a test, a stream for
//! each.

use oubliette::{
    store::conformance::{Fixture, Profile, run_all},
    *,
};

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

#[tokio::test(flavor = "multi_thread")]
async fn plain() {
    let Some(nats) = server() else { return };
    assert_eq!(
        run_all(async || Fixture::new(options(&nats.url()).create().await.unwrap())).await,
        Ok(())
    );
}

async fn layered(profile: Profile) {
    let Some(nats) = server() else { return };
    let fixture = async || {
        let policy = Policy::parse(POLICY).unwrap();
        // The suite appends 699 events at once, and split events are two each.
        let store = options(&nats.url()).batch_limit(2_000).create().await.unwrap();
        let layer = Oubliette::open(store, Vault::in_memory().unwrap(), policy).await.unwrap();
        Fixture::new(layer).with_profile(profile.clone())
    };
    assert_eq!(run_all(fixture).await, Ok(()));
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
    layered(Profile::default().naming(|tag| format!("sealed-{tag}"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inline() {
    layered(partly("inline")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn split() {
    layered(partly("split")).await;
}
