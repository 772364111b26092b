//! Layers that share a vault: two in one process, and one whose vault is elsewhere, behind nothing but bytes.
//!
//! What must be one for all of them is in the vault; what they keep themselves may differ.

mod looks;
mod relay;
mod slow;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use self::{relay::Relay, slow::Slow};
use super::{Codec, Oubliette};
use crate::{
    event::{Content, EventType, Json, NewEvent, RecordedEvent, StreamName, Subject},
    policy::Policy,
    store::{
        Appended, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions, StoreError,
    },
    vault::{Keeper, Settled, Vault},
};

const BANK: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id"]

[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner", "/amount"]
owner  = [ { event = "Opened", add = "{/owner}" }, { event = "Sold", replace = "{/owner}" } ]

[[stream]]
match  = "open-{id}"
layout = "inline"
public = ["*"]
"#;

/// The same, but that nobody is in two halves.
fn in_one_piece() -> String {
    BANK.replacen("split", "inline", 1)
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

fn event(kind: &str, data: &str) -> NewEvent {
    NewEvent::new(EventType::new(kind).unwrap(), Json::parse(data).unwrap())
}

async fn put<S: EventStore>(
    layer: &Oubliette<S>,
    to: &str,
    kind: &str,
    data: &str,
) -> Result<Appended, StoreError> {
    layer.append_to(&stream(to), ExpectedRevision::Any, vec![event(kind, data)]).await
}

async fn all<S: EventStore>(layer: &Oubliette<S>, of: &str) -> Vec<RecordedEvent> {
    layer.events(&stream(of), ReadOptions::default()).await.unwrap()
}

/// In one letter each: clear, partly shredded, shredded, tombstone.
async fn shape<S: EventStore>(layer: &Oubliette<S>, of: &str) -> String {
    let letter = |event: &RecordedEvent| match event.content() {
        Content::Clear(_) => 'c',
        Content::Partial { .. } => 'p',
        Content::Shredded { .. } => 's',
        Content::Tombstone(_) => 't',
        other => panic!("{other:?}"),
    };
    all(layer, of).await.iter().map(letter).collect()
}

/// A layer over the same vault and store as another.
#[derive(Debug, Clone, Copy)]
enum Handle {
    Here,
    Elsewhere,
}

const BOTH: [Handle; 2] = [Handle::Here, Handle::Elsewhere];

impl Handle {
    fn keeper(self, vault: &Vault) -> Arc<dyn Keeper> {
        match self {
            Self::Here => Arc::new(vault.clone()),
            Self::Elsewhere => Arc::new(Relay::to(vault)),
        }
    }

    fn layer<S: EventStore>(self, store: S, vault: &Vault, policy: &str) -> Oubliette<S> {
        let codec = Codec::over(self.keeper(vault), Policy::parse(policy).unwrap());
        Oubliette::over(store, codec)
    }
}

/// The layer where the vault is, which forgets.
async fn keepers<S: EventStore>(store: S, vault: &Vault) -> Oubliette<S> {
    Oubliette::open(store, vault.clone(), Policy::parse(BANK).unwrap()).await.unwrap()
}

#[cfg(feature = "conformance")]
mod conformance {
    use super::*;
    use crate::store::conformance::{Fixture, Profile};

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

    async fn over(kind: &'static str) -> Fixture {
        let vault = Vault::in_memory().unwrap();
        let layer = Handle::Elsewhere.layer(MemoryStore::new(), &vault, POLICY);
        let profile = Profile::default().naming(move |tag| format!("{kind}-{tag}"));
        let profile =
            profile.shaping(|value| format!(r#"{{"before":{value},"id":{value},"after":1.50}}"#));
        Fixture::new(layer).with_profile(profile)
    }

    mod sealed {
        crate::conformance_tests!(|| super::over("sealed"));
    }
    mod inline {
        crate::conformance_tests!(|| super::over("inline"));
    }
    mod split {
        crate::conformance_tests!(|| super::over("split"));
    }
}

#[tokio::test]
async fn a_layer_whose_vault_is_elsewhere_seals_reads_and_hears_of_a_forgetting() {
    let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
    let bank = keepers(store.clone(), &vault).await;
    let far = Handle::Elsewhere.layer(store, &vault, BANK);
    put(&far, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
    put(&far, "account-1", "Opened", r#"{"owner":"user-1","memo":"geheim"}"#).await.unwrap();
    put(&bank, "account-1", "Moved", r#"{"amount":1,"memo":"lohn"}"#).await.unwrap();
    put(&far, "user-2", "Registered", r#"{"id":2,"name":"Bo"}"#).await.unwrap();
    put(&far, "open-1", "Noted", r#"{"id":7}"#).await.unwrap();
    for layer in [&bank, &far] {
        let user = all(layer, "user-1").await.remove(0);
        assert_eq!(user.data, Some(Json::parse(r#"{"id":1,"name":"Ada"}"#).unwrap().into()));
        assert_eq!(user.subject, Some(subject("user-1")));
        assert_eq!(shape(layer, "account-1").await, "cc");
    }

    let erased = bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    // What the far one stated of owners counts.
    assert_eq!((erased.keys, erased.subjects, erased.streams), (2, 2, 2));
    for layer in [&bank, &far] {
        assert_eq!(shape(layer, "user-1").await, "pt");
        assert_eq!(shape(layer, "account-1").await, "ppt");
        assert_eq!(shape(layer, "user-2").await, "c");
        assert_eq!((layer.unsealed(), layer.unvouched()), (0, 0));
    }
    for (to, kind) in [("user-1", "Renamed"), ("account-1", "Moved")] {
        let refused = put(&far, to, kind, r#"{"name":"Eve"}"#).await.unwrap_err();
        assert!(matches!(refused, StoreError::Forgotten { .. }), "{refused}");
    }
    let named = put(&far, "account-2", "Opened", r#"{"owner":"user-1"}"#).await.unwrap_err();
    assert!(matches!(named, StoreError::Forgotten { .. }), "{named}");
    // What only the vault's own process may do, nobody else does.
    assert!(far.vault().is_none());
    assert!(far.forget(&subject("user-2"), "ticket 2").await.is_err());
    assert_eq!(shape(&far, "user-2").await, "c");
}

/// An append in flight in one layer holds up a forgetting in another, and is shredded by it; what its event states of
/// owners is not withdrawn by the other layer, which looks into the store and does not find it yet.
#[tokio::test]
async fn what_is_in_flight_in_one_layer_is_in_flight_for_all_who_share_the_vault() {
    for handle in BOTH {
        let (store, vault) = (Slow::default(), Vault::in_memory().unwrap());
        let bank = keepers(store.clone(), &vault).await;
        let other = handle.layer(store.clone(), &vault, BANK);
        put(&bank, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
        store.wait.store(true, Ordering::SeqCst);
        let appending = tokio::spawn({
            let other = other.clone();
            async move {
                put(&other, "account-1", "Opened", r#"{"owner":"user-1","memo":"geheim"}"#).await
            }
        });
        store.waits.notified().await;
        let forgetting = tokio::spawn({
            let bank = bank.clone();
            async move { bank.forget(&subject("user-1"), "ticket 1").await }
        });
        // As many answers of the committer as an erasure needs, if nothing keeps it waiting.
        for _ in 0..100 {
            vault.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(!forgetting.is_finished(), "{handle:?}: an append is in flight");
        store.go_on.notify_one();
        appending.await.unwrap().unwrap();
        let erased = forgetting.await.unwrap().unwrap();
        assert_eq!((erased.subjects, erased.not_reached.len()), (2, 0), "{handle:?}");
        assert_eq!(shape(&bank, "account-1").await, "pt", "{handle:?}");
        assert_eq!(shape(&other, "account-1").await, "pt", "{handle:?}");
    }
}

/// Keys and fences that one layer has used are gone for it when another one has forgotten.
#[tokio::test]
async fn what_one_layer_forgets_is_forgotten_for_all_who_share_the_vault() {
    for handle in BOTH {
        let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
        let bank = keepers(store.clone(), &vault).await;
        let other = handle.layer(store, &vault, BANK);
        put(&other, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
        assert_eq!(shape(&other, "user-1").await, "c");
        bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
        assert_eq!(shape(&other, "user-1").await, "pt", "{handle:?}");
        let late = put(&other, "user-1", "Renamed", r#"{"name":"Eve"}"#).await.unwrap_err();
        assert!(matches!(late, StoreError::Forgotten { .. }), "{handle:?}: {late}");
        bank.reopen(&subject("user-1")).await.unwrap();
        put(&other, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
        assert_eq!(shape(&bank, "user-1").await, "ptc", "{handle:?}");
    }
}

/// Two layers with different policies do not put one new stream in two places, whoever looked first.
#[tokio::test]
async fn where_a_new_stream_lies_is_decided_once_for_all_who_share_the_vault() {
    for handle in BOTH {
        for split_first in [true, false] {
            let (store, vault) = (Slow::default(), Vault::in_memory().unwrap());
            let policies = [BANK.to_owned(), in_one_piece()];
            let (first, second) = if split_first { (0, 1) } else { (1, 0) };
            let one = Handle::Here.layer(store.clone(), &vault, &policies[first]);
            let other = handle.layer(store.clone(), &vault, &policies[second]);
            // Whoever only reads decides nothing.
            assert!(all(&other, "user-1").await.is_empty());
            // The first has looked, and its event is not there when the second looks.
            store.wait.store(true, Ordering::SeqCst);
            let appending = tokio::spawn({
                let one = one.clone();
                async move { put(&one, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await }
            });
            store.waits.notified().await;
            put(&other, "user-1", "Renamed", r#"{"id":1,"name":"Eve"}"#).await.unwrap();
            store.go_on.notify_one();
            appending.await.unwrap().unwrap();
            for layer in [&one, &other] {
                assert_eq!(all(layer, "user-1").await.len(), 2, "{handle:?}, {split_first}");
            }
            let whole = store.inner.events(&stream("user-1"), ReadOptions::default()).await;
            assert_eq!(whole.unwrap().is_empty(), split_first, "{handle:?}");
        }
    }
}

/// Two that are forgotten through two layers at once do not wait for each other.
#[tokio::test]
async fn one_erasure_runs_at_a_time_for_all_who_share_the_vault() {
    let (store, vault) = (Slow::default(), Vault::in_memory().unwrap());
    let (one, other) = (keepers(store.clone(), &vault).await, keepers(store.clone(), &vault).await);
    for (user, account) in [("user-1", "account-1"), ("user-2", "account-2")] {
        put(&one, user, "Registered", r#"{"id":1}"#).await.unwrap();
        let opened = format!(r#"{{"owner":"{user}","memo":"geheim"}}"#);
        put(&one, account, "Opened", &opened).await.unwrap();
    }
    store.wait.store(true, Ordering::SeqCst);
    let first = tokio::spawn({
        let one = one.clone();
        async move { one.forget(&subject("user-1"), "ticket 1").await }
    });
    // It is about to announce.
    store.waits.notified().await;
    let second = tokio::spawn({
        let other = other.clone();
        async move { other.forget(&subject("user-2"), "ticket 2").await }
    });
    for _ in 0..100 {
        vault.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    // Nothing of the second has begun: its subject is not closed.
    assert!(!second.is_finished());
    put(&one, "user-2", "Renamed", r#"{"id":2}"#).await.unwrap();
    store.go_on.notify_one();
    assert!(!first.await.unwrap().unwrap().already);
    assert!(!second.await.unwrap().unwrap().already);
}

/// A client that is killed, or paused, with a permit in hand delays nobody for longer than its time, and is told
/// what happened to it when it comes back.
#[tokio::test]
async fn a_client_that_is_killed_or_paused_holds_up_a_forgetting_until_its_permit_ends() {
    for killed in [true, false] {
        let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
        let bank = keepers(store, &vault).await;
        let relay = Relay::to(&vault);
        let codec = Codec::over(Arc::new(relay.clone()), Policy::parse(BANK).unwrap());
        put(&bank, "user-1", "Registered", r#"{"id":1}"#).await.unwrap();
        let opened = event("Opened", r#"{"owner":"user-1","memo":"geheim"}"#);
        let sealed = codec.seal(&stream("account-1"), opened).await.unwrap();
        let id = sealed.id;
        let mut held = Some(sealed);
        if killed {
            relay.kill();
            held = None;
        }
        let forgetting = tokio::spawn({
            let bank = bank.clone();
            async move { bank.forget(&subject("user-1"), "ticket 1").await }
        });
        for _ in 0..100 {
            vault.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(!forgetting.is_finished());
        vault.pass_time(Duration::from_secs(300));
        let erased = forgetting.await.unwrap().unwrap();
        assert_eq!(erased.not_reached.iter().map(|open| open.event).collect::<Vec<_>>(), [id]);
        if let Some(sealed) = held {
            assert_eq!(sealed.stored().await.unwrap(), Settled::OwnerForgotten);
        }
    }
}
