//! The contract of an event store, plain and with the layer around it, in each layout.

use std::sync::atomic::{AtomicU32, Ordering};

use oubliette::store::conformance::{Fixture, Profile, Violation, run_each};
use oubliette_postgres::{Options, Payloads};
use oubliette_servers::note_case;

use crate::world::{layer, postgres};

/// A public field between two that are not, so that objects are taken apart and joined again.
fn profile(kind: &'static str) -> Profile {
    let named = Profile::default().naming(move |tag| format!("{kind}-{tag}"));
    if kind == "sealed" {
        return named;
    }
    named.shaping(|value| {
        format!(
            r#"{{"before":{value},"id":{value},"list":[{{"public":{value},"sealed":1.50}},7]}}"#
        )
    })
}

/// Each case has a schema of its own: what a case leaves would be read by all that come after it.
async fn passes(payloads: Payloads, layout: &'static str) {
    let Some(postgres) = postgres() else { return };
    let (url, schemas) = (postgres.database(), AtomicU32::new(0));
    let fresh = || async {
        let schema = format!("case_{}", schemas.fetch_add(1, Ordering::Relaxed));
        let options = Options::new(&url).schema(schema).payloads(payloads).connections(8);
        let store = options.create().await.unwrap();
        match layout {
            "plain" => Fixture::new(store),
            _ => Fixture::new(layer(store).await).with_profile(profile(layout)),
        }
    };
    let mut violations: Vec<Violation> = Vec::new();
    run_each(fresh, |case, result| {
        let store = format!("PostgreSQL, {}", format!("{payloads:?}").to_lowercase());
        note_case(&store, layout, case, result.is_ok());
        violations.extend(result.err());
    })
    .await;
    assert!(violations.is_empty(), "{violations:#?}");
}

macro_rules! conformance {
    ($($name:ident: $payloads:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn plain() {
                passes($payloads, "plain").await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sealed() {
                passes($payloads, "sealed").await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn inline() {
                passes($payloads, "inline").await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn split() {
                passes($payloads, "split").await;
            }
        }
    )*};
}

// `text` is to the store what `json` is: plain says enough.
conformance! {
    json: Payloads::Json;
    jsonb: Payloads::Jsonb;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_plain() {
    passes(Payloads::Text, "plain").await;
}
