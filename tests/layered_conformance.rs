//! The layer is a store: it keeps the whole contract over any store that keeps it, in each
//! layout.

#![allow(clippy::unwrap_used)]

use oubliette::{
    layer::Oubliette,
    policy::Policy,
    store::{
        Capabilities, Capability, EventStore, MemoryStore, SqliteStore,
        conformance::{Fixture, Profile, run_all},
    },
    vault::Vault,
};

/// Streams of each layout, and payloads that are public in part, wholly, and not at all.
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

[[stream]]
match  = "open-{id}"
layout = "split"
public = ["*"]
"#;

async fn layer_over(store: impl EventStore, profile: Profile) -> Fixture {
    let vault = Vault::in_memory().unwrap();
    let layer = Oubliette::open(store, vault, Policy::parse(POLICY).unwrap()).await.unwrap();
    Fixture::new(layer).with_profile(profile)
}

async fn over_memory(profile: Profile) -> Fixture {
    layer_over(MemoryStore::new(), profile).await
}

async fn over_sqlite(profile: Profile) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    layer_over(SqliteStore::create(folder.path()).unwrap(), profile).await.keeping(folder)
}

/// Nothing is public. Metadata are taken apart all the same, because of the correlation id.
fn sealed() -> Profile {
    Profile::default().naming(|tag| format!("sealed-{tag}"))
}

/// A public field between two that are not, so that objects are taken apart and joined again.
fn partly(kind: &'static str) -> Profile {
    Profile::default().naming(move |tag| format!("{kind}-{tag}")).shaping(|value| {
        format!(
            r#"{{"before":{value},"id":{value},"list":[{{"public":{value},"sealed":1.50}},7]}}"#
        )
    })
}

fn inline() -> Profile {
    partly("inline")
}

fn split() -> Profile {
    partly("split")
}

fn open() -> Profile {
    partly("open")
}

macro_rules! in_each_layout {
    ($over:ident) => {
        mod $over {
            mod sealed {
                oubliette::conformance_tests!(|| super::super::$over(super::super::sealed()));
            }
            mod inline {
                oubliette::conformance_tests!(|| super::super::$over(super::super::inline()));
            }
            mod split {
                oubliette::conformance_tests!(|| super::super::$over(super::super::split()));
            }
        }
    };
}

in_each_layout!(over_memory);
in_each_layout!(over_sqlite);

mod wholly_public {
    oubliette::conformance_tests!(|| super::over_memory(super::open()));
}

/// A layer around a layer: everything is sealed twice, and nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_can_be_wrapped_by_a_layer() {
    let fresh = || async {
        let (inner, outer) = (Vault::in_memory().unwrap(), Vault::in_memory().unwrap());
        let inner = Oubliette::open(MemoryStore::new(), inner, Policy::sealed_by_default()).await;
        let outer = Oubliette::open(inner.unwrap(), outer, Policy::parse(POLICY).unwrap()).await;
        Fixture::new(outer.unwrap()).with_profile(sealed())
    };
    match run_all(fresh).await {
        Ok(()) => {}
        // The layer's notes are the one thing that a payload may not hold: the outer one's tokens
        // are then refused by name, not stored in a way that nobody can open.
        Err(violations) => {
            assert!(
                violations.iter().all(|violation| violation.what.contains("refused")),
                "{violations:#?}"
            );
        }
    }
}

/// What the inner store cannot do, the layer refuses; the rest works.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_can_do_little_is_wrapped_as_such() {
    let lacking = [
        Capability::AtomicMultiStream,
        Capability::ReadAll,
        Capability::Subscribe,
        Capability::Bytes,
        Capability::LongNumbers,
        Capability::Nul,
        Capability::Restore,
    ];
    for capability in lacking {
        for profile in [sealed(), inline()] {
            let fresh = || async {
                let store = MemoryStore::with_capabilities(Capabilities::ALL.without(capability));
                layer_over(store, profile.clone()).await
            };
            assert_eq!(run_all(fresh).await, Ok(()), "without {capability}");
        }
    }
}

/// Without atomic appends to several streams the halves of an event could part: refused.
#[tokio::test]
async fn split_needs_atomic_appends_to_several_streams() {
    use oubliette::{
        event::{EventType, Json, NewEvent, StreamName},
        store::{EventStoreExt, ExpectedRevision, StoreError},
    };
    let capabilities = Capabilities::ALL.without(Capability::AtomicMultiStream);
    let store = MemoryStore::with_capabilities(capabilities);
    let layer =
        Oubliette::open(store.clone(), Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap())
            .await
            .unwrap();
    let append = async |name: &str| {
        let event = NewEvent::new(
            EventType::new("SomethingHappened").unwrap(),
            Json::parse(r#"{"id":1,"surname":"Ringelnatz"}"#).unwrap(),
        );
        layer.append_to(&StreamName::new(name).unwrap(), ExpectedRevision::Any, vec![event]).await
    };
    let refused = append("split-1").await;
    assert!(
        matches!(refused, Err(StoreError::Unsupported(Capability::AtomicMultiStream))),
        "{refused:?}"
    );
    assert_eq!(format!("{store:?}"), "MemoryStore(0 events)");
    append("inline-1").await.unwrap();
    append("sealed-1").await.unwrap();
}
