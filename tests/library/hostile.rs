//! What goes wrong around forgetting when stores are slow, calls come twice, and more than one
//! layer stands over one vault.

#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::common::*;
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use oubliette::{
    erasure::{ErasureError, PendingError},
    event::{Position, RecordedEvent, SUBJECT_FORGOTTEN, StreamName},
    layer::Oubliette,
    store::{
        Append, Appended, Capabilities, EventStore, EventStoreExt, EventStream, ExpectedRevision,
        Filter, MemoryStore, ReadAllOptions, ReadOptions, StoreError, Subscription,
    },
    vault::Vault,
};
use tokio::sync::Semaphore;

const USER: &str = r#"{"id":1,"surname":"Eins","colour":"red"}"#;

/// A store that keeps appends or reads waiting while it is told so.
#[derive(Debug, Clone)]
struct Slow {
    inner: MemoryStore,
    appends: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    /// How many appends wait, or waited.
    asked: Arc<AtomicUsize>,
    /// Whether the next append fails at once.
    fail: Arc<AtomicBool>,
    /// Tombstones for this stream are refused.
    refuse: Option<StreamName>,
}

const OPEN: usize = 1_000_000;

impl Slow {
    fn new() -> Self {
        Self {
            inner: MemoryStore::new(),
            appends: Arc::new(Semaphore::new(OPEN)),
            reads: Arc::new(Semaphore::new(OPEN)),
            asked: Arc::default(),
            fail: Arc::default(),
            refuse: None,
        }
    }
}

#[async_trait]
impl EventStore for Slow {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        if self.fail.swap(false, Ordering::SeqCst) {
            return Err(StoreError::backend(true, "busy"));
        }
        let refused = |append: &Append| {
            Some(&append.stream) == self.refuse.as_ref()
                && append.events.iter().any(|e| e.event_type.as_str() == SUBJECT_FORGOTTEN)
        };
        if appends.iter().any(refused) {
            return Err(StoreError::backend(true, "this stream takes nothing"));
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _turn = self.appends.acquire().await.unwrap();
        self.inner.append(appends).await
    }
    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let (store, stream) = (self.clone(), stream.clone());
        let read = async move {
            let _turn = store.reads.acquire().await.unwrap();
            store.inner.read(&stream, options)
        };
        read.into_stream().flatten().boxed()
    }
    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        self.inner.read_all(options)
    }
    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        self.inner.subscribe(after, filter)
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// A caller gives up waiting and tries again; the second attempt fails while the first is still
/// under way, and the first succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_that_fails_does_not_withdraw_the_firsts_owner() {
    let store = Slow::new();
    let bank = layer_over(store.clone()).await;
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();
    let opened = event("AccountOpened", r#"{"owner":"user-1","memo":"m"}"#);

    store.appends.forget_permits(OPEN);
    let asked = store.asked.load(Ordering::SeqCst);
    let first = tokio::spawn({
        let (bank, opened) = (bank.clone(), opened.clone());
        async move { put(&bank, "bankaccount-1", opened).await }
    });
    until(|| store.asked.load(Ordering::SeqCst) > asked).await;
    store.fail.store(true, Ordering::SeqCst);
    put(&bank, "bankaccount-1", opened).await.unwrap_err();
    store.appends.add_permits(OPEN);
    first.await.unwrap().unwrap();

    bank.forget(&subject("user-1"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "pt");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_layer_over_the_vault_does_not_withdraw_an_owner_under_way() {
    let (store, vault) = (Slow::new(), Vault::in_memory().unwrap());
    let bank = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
    let other = Oubliette::open(store.inner.clone(), vault, bank_policy()).await.unwrap();
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();

    store.appends.forget_permits(OPEN);
    let asked = store.asked.load(Ordering::SeqCst);
    let first = tokio::spawn({
        let bank = bank.clone();
        let opened = event("AccountOpened", r#"{"owner":"user-1","memo":"m"}"#);
        async move { put(&bank, "bankaccount-1", opened).await }
    });
    until(|| store.asked.load(Ordering::SeqCst) > asked).await;
    // Looks whether the claims are in the store.
    other.plan(&subject("user-1")).await.unwrap();
    store.appends.add_permits(OPEN);
    first.await.unwrap().unwrap();

    bank.forget(&subject("user-1"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "pt");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_layers_that_forget_the_two_owners_at_once_leave_no_joint_account() {
    let (store, vault) = (Slow::new(), Vault::in_memory().unwrap());
    let bank = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
    let other = Oubliette::open(store.inner.clone(), vault, bank_policy()).await.unwrap();
    for user in ["user-1", "user-2"] {
        let opened = format!(r#"{{"owner":"{user}","memo":"m"}}"#);
        put(&bank, "bankaccount-1", event("AccountOpened", &opened)).await.unwrap();
    }
    // The first has planned, and looks at the store before it decides.
    store.reads.forget_permits(OPEN);
    let first = tokio::spawn({
        let bank = bank.clone();
        async move { bank.forget(&subject("user-1"), "test").await }
    });
    let second = tokio::spawn(async move { other.forget(&subject("user-2"), "test").await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    store.reads.add_permits(OPEN);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "ppt");
}

/// One stream that takes no tombstone keeps nobody else's keys alive, now or after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_tombstone_keeps_no_others_keys_alive() {
    let (mut store, vault) = (Slow::new(), Vault::in_memory().unwrap());
    store.refuse = Some(stream("room-1"));
    let bank = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
    for (user, room) in [("1", "room-1"), ("2", "room-2"), ("3", "room-1")] {
        put(&bank, &format!("user-{user}"), event("UserRegistered", USER)).await.unwrap();
        let said = format!(r#"{{"author":{user},"text":"hello"}}"#);
        put(&bank, room, event("Said", &said)).await.unwrap();
    }
    let pending = bank.forget(&subject("user-1"), "test").await.unwrap_err();
    let ErasureError::Pending(PendingError::Tombstones { erasure: first, .. }) = pending else {
        panic!("{pending}")
    };
    bank.forget(&subject("user-2"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "room-2").await), "st");
    assert!(!bank.witnessed().gap, "the one before is announced and waits for its tombstone");
    let pending = bank.forget(&subject("user-3"), "test").await.unwrap_err();
    assert!(
        matches!(pending, ErasureError::Pending(PendingError::Tombstones { erasure, .. }) if erasure != first)
    );
    assert_eq!(shape(&all(&bank, "room-1").await), "ss");

    let again = Oubliette::open(store.inner.clone(), vault, bank_policy()).await.unwrap();
    assert_eq!(shape(&all(&again, "room-1").await), "sstt");
    assert!(again.resume().await.unwrap().is_empty());
}

/// The store takes no tombstones yet when somebody who changed hands is admitted again.
#[tokio::test]
async fn resuming_takes_nothing_that_a_reopening_began() {
    let mut store = Slow::new();
    store.refuse = Some(stream("bankaccount-1"));
    let vault = Vault::in_memory().unwrap();
    let bank = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await.unwrap();
    let account = "bankaccount-1";
    put(&bank, account, event("AccountOpened", r#"{"owner":"user-1","memo":"a"}"#)).await.unwrap();
    put(&bank, account, event("AccountTransferred", r#"{"newOwner":"user-2","memo":"b"}"#))
        .await
        .unwrap();
    bank.forget(&subject("user-2"), "test").await.unwrap_err();
    bank.reopen(&subject(account)).await.unwrap();
    put(&bank, account, event("AccountOpened", r#"{"owner":"user-1","memo":"c"}"#)).await.unwrap();
    assert_eq!(shape(&all(&bank, account).await), "cpc");
    let again = Oubliette::open(store.inner.clone(), vault, bank_policy()).await.unwrap();
    assert_eq!(shape(&all(&again, account).await), "cpct");
    let expected = ExpectedRevision::Any;
    let late = event("Deposited", r#"{"amount":2,"memo":"d"}"#);
    again.append_to(&stream(account), expected, vec![late]).await.unwrap();
}

/// Readers hold so many halves of one append until they meet the other ones, and no more.
#[tokio::test]
async fn an_append_of_more_halves_than_readers_hold_is_refused() {
    let bank = layer().await;
    let batch = |count: u32| {
        let new = |n: u32| event("Moved", &format!(r#"{{"id":{n},"street":"s"}}"#));
        (0..count).map(new).collect::<Vec<_>>()
    };
    let user = stream("user-1");
    let append = |events| bank.append_to(&user, ExpectedRevision::Any, events);
    let refused = append(batch(4097)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
    append(batch(4096)).await.unwrap();
    let private = stream("user-private-1");
    let halves = bank.store().events(&private, ReadOptions::default()).await.unwrap();
    assert_eq!(halves.len(), 4096);
    assert!(everything(&bank).await.iter().all(|event| text(event).contains("street")));
}
