//! The layer is a store: it keeps the whole contract over any store that keeps it, in each
//! layout.

#![allow(clippy::unwrap_used)]

use oubliette::{
    event::{EventType, Json, NewEvent, StreamName},
    layer::Oubliette,
    policy::Policy,
    store::{
        Capabilities, Capability, EventStore, EventStoreExt, ExpectedRevision, MemoryStore,
        SqliteStore, StoreError,
        conformance::{Fixture, Profile, payloads_come_back_as_they_went_in, run_all},
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
    // Two at a time: each run of the suite takes seconds.
    for (lacking, profile) in [
        ([Capability::AtomicMultiStream, Capability::Subscribe], sealed()),
        ([Capability::ReadAll, Capability::Bytes], inline()),
    ] {
        let fresh = || async {
            let can = lacking.into_iter().fold(Capabilities::ALL, |can, lacks| can.without(lacks));
            layer_over(MemoryStore::with_capabilities(can), profile.clone()).await
        };
        assert_eq!(run_all(fresh).await, Ok(()), "without {lacking:?}");
    }
}

/// What the inner store could not give back is refused where it would be in clear; what is sealed
/// is text to it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_could_not_give_back_is_refused_in_clear_and_kept_sealed() {
    for (profile, capability) in [
        (sealed(), Capability::Nul),
        (inline(), Capability::LongNumbers),
        (split(), Capability::Nul),
        (open(), Capability::LongNumbers),
    ] {
        let store = MemoryStore::with_capabilities(Capabilities::ALL.without(capability));
        let fixture = layer_over(store, profile).await;
        payloads_come_back_as_they_went_in(&fixture).await.unwrap();
    }
    let lacking = Capabilities::ALL.without(Capability::LongNumbers).without(Capability::Nul);
    let store = MemoryStore::with_capabilities(lacking);
    let vault = Vault::in_memory().unwrap();
    let layer = Oubliette::open(store.clone(), vault, Policy::parse(POLICY).unwrap()).await;
    let layer = layer.unwrap();
    let append = async |name: &str, data: &str, metadata: &str| {
        let event =
            NewEvent::new(EventType::new("SomethingHappened").unwrap(), Json::parse(data).unwrap())
                .with_metadata(Json::parse(metadata).unwrap());
        layer.append_to(&StreamName::new(name).unwrap(), ExpectedRevision::Any, vec![event]).await
    };
    for (in_clear, metadata, capability) in [
        (r#"{"id":9007199254740993}"#, "{}", Capability::LongNumbers),
        (r#"{"id":{"deep":[0,1e400]}}"#, "{}", Capability::LongNumbers),
        (r#"{"id":-1e-400}"#, "{}", Capability::LongNumbers),
        (r#"{"id":0.1000000000000000055511151231257827}"#, "{}", Capability::LongNumbers),
        (r#"{"list":[{"public":12345678901234567890}]}"#, "{}", Capability::LongNumbers),
        (r#"{"id":"\u0000"}"#, "{}", Capability::Nul),
        (r#"{"id":{"\u0000":1}}"#, "{}", Capability::Nul),
        ("{}", r#"{"about":1e400}"#, Capability::LongNumbers),
        ("{}", r#"{"about":["a\u0000"]}"#, Capability::Nul),
    ] {
        for name in ["inline-1", "split-1", "open-1"] {
            let refused = append(name, in_clear, metadata).await.unwrap_err();
            let told = refused.to_string();
            assert!(told.contains("in clear") && told.contains("seal the field"), "{told}");
            match refused {
                StoreError::Unsupported(lacked) => assert_eq!(lacked, capability, "{in_clear}"),
                other => panic!("{in_clear}: {other}"),
            }
        }
    }
    // Before anything was touched.
    assert_eq!(format!("{store:?}"), "MemoryStore(0 events)");
    assert_eq!(layer.inventory().unwrap().count(), 0);

    let sealed = r#"{"id":[-0,1.50,1e2,100000000000000000000,0.1,1.7976931348623157e308],
                     "surname":[9007199254740993,1e400,"\u0000",{"\u0000":-1e-400}]}"#;
    let metadata = r#"{"about":7,"rest":[1e400,"\u0000"]}"#;
    for name in ["sealed-2", "inline-2", "split-2"] {
        append(name, sealed, metadata).await.unwrap();
        let stream = StreamName::new(name).unwrap();
        let found = layer.last(&stream).await.unwrap().unwrap();
        assert_eq!(found.data, Some(Json::parse(sealed).unwrap().into()), "{name}");
        assert_eq!(found.metadata, Some(Json::parse(metadata).unwrap()), "{name}");
    }
}

/// Without atomic appends to several streams the halves of an event could part: refused.
#[tokio::test]
async fn split_needs_atomic_appends_to_several_streams() {
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
