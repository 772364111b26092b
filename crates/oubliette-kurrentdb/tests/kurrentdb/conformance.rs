//! The suite: the store alone, and beneath the layer in each layout. Each case has a prefix of its own on one server.

use oubliette::{
    store::{
        Capability,
        conformance::{Fixture, Profile, run_all},
    },
    *,
};
use oubliette_kurrentdb::{KurrentOptions, KurrentStore};
use oubliette_servers::skipped;

use crate::{common::event, model::Model};

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

/// What the suite is run against.
enum On {
    Model(Model),
    /// The server that `OUBLIETTE_KURRENTDB` names.
    Server(String),
}

impl On {
    fn server() -> Option<Self> {
        let address = std::env::var("OUBLIETTE_KURRENTDB").ok();
        if address.is_none() {
            skipped(
                "OUBLIETTE_REQUIRE_KURRENTDB",
                "OUBLIETTE_KURRENTDB names no server, such as kurrentdb://localhost:2113?tls=false, started with \
                 --max-append-size=16777216",
            );
        }
        address.map(Self::Server)
    }

    async fn store(&self) -> KurrentStore {
        let address = match self {
            Self::Model(model) => model.url(),
            Self::Server(address) => address.clone(),
        };
        let prefix = format!("t{}-", &EventId::random().to_string()[..13]);
        KurrentOptions::new(address).prefix(prefix).open().await.unwrap()
    }

    async fn plain(&self) {
        assert_eq!(run_all(async || Fixture::new(self.store().await)).await, Ok(()));
    }

    async fn layered(&self, profile: Profile) {
        let fixture = async || Fixture::new(self.layer().await).with_profile(profile.clone());
        assert_eq!(run_all(fixture).await, Ok(()));
    }

    async fn layer(&self) -> Oubliette<KurrentStore> {
        let policy = Policy::parse(POLICY).unwrap();
        Oubliette::open(self.store().await, Vault::in_memory().unwrap(), policy).await.unwrap()
    }

    /// The third layout needs what the client cannot do.
    async fn split_is_refused(&self) {
        let layer = self.layer().await;
        let stream = StreamName::new("split-1").unwrap();
        let refused = layer.append_to(&stream, ExpectedRevision::Any, vec![event(1)]).await;
        let told = refused.unwrap_err();
        assert!(matches!(told, StoreError::Unsupported(Capability::AtomicMultiStream)), "{told}");
        assert!(layer.events(&stream, ReadOptions::default()).await.unwrap().is_empty());
    }
}

fn sealed() -> Profile {
    Profile::default().naming(|tag| format!("sealed-{tag}"))
}

/// A public field between two that are not.
fn inline() -> Profile {
    Profile::default().naming(|tag| format!("inline-{tag}")).shaping(|value| {
        format!(
            r#"{{"before":{value},"id":{value},"list":[{{"public":{value},"sealed":1.50}},7]}}"#
        )
    })
}

mod on_the_model {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn plain() {
        On::Model(Model::start()).plain().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sealed() {
        On::Model(Model::start()).layered(super::sealed()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn inline() {
        On::Model(Model::start()).layered(super::inline()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn split_is_refused() {
        On::Model(Model::start()).split_is_refused().await;
    }
}

mod on_a_server {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn plain() {
        let Some(server) = On::server() else { return };
        server.plain().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sealed() {
        let Some(server) = On::server() else { return };
        server.layered(super::sealed()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn inline() {
        let Some(server) = On::server() else { return };
        server.layered(super::inline()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn split_is_refused() {
        let Some(server) = On::server() else { return };
        server.split_is_refused().await;
    }
}
