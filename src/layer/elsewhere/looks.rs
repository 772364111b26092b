//! What somebody did not find in the store while an append was under way says nothing of it.

use std::sync::atomic::AtomicUsize;

use futures::{StreamExt, TryStreamExt};

use super::*;

/// A store that keeps one append and one reader waiting, and of which a network lies between.
#[derive(Debug, Clone, Default)]
struct Far {
    inner: MemoryStore,
    /// Of the next append: waits before it is stored, and its answer is lost.
    append: Arc<AtomicBool>,
    appending: Arc<Notify>,
    append_on: Arc<Notify>,
    /// Of the next reader of an account: what it reads is old when it arrives.
    read: Arc<AtomicBool>,
    reading: Arc<Notify>,
    read_on: Arc<Notify>,
    /// So many readers after that find nobody.
    unreachable: Arc<AtomicUsize>,
}

fn lost() -> StoreError {
    StoreError::backend(false, std::io::Error::other("the connection was lost"))
}

#[async_trait]
impl EventStore for Far {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let is_lost = self.append.swap(false, Ordering::SeqCst);
        if is_lost {
            self.appending.notify_one();
            self.append_on.notified().await;
        }
        let appended = self.inner.append(appends).await?;
        if is_lost { Err(lost()) } else { Ok(appended) }
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let (far, stream) = (self.clone(), stream.clone());
        let events = async move {
            let events = far.inner.read(&stream, options);
            if !stream.as_str().starts_with("account-") {
                return Ok(events);
            }
            if far.read.swap(false, Ordering::SeqCst) {
                let events: Vec<_> = events.collect().await;
                far.reading.notify_one();
                far.read_on.notified().await;
                return Ok(futures::stream::iter(events).boxed());
            }
            let counted = |left: usize| left.checked_sub(1);
            let unreachable = &far.unreachable;
            match unreachable.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted) {
                Ok(_) => Err(lost()),
                Err(_) => Ok(events),
            }
        };
        futures::stream::once(events).try_flatten().boxed()
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

/// Somebody looks for an account's event, and does not find it yet. While they are about to say so, it is stored, and
/// neither the answer arrives nor what the append looks up itself. The claim stays, and forgetting the owner reaches
/// the account.
#[tokio::test]
async fn a_look_from_before_an_event_was_stored_does_not_withdraw_its_claim() {
    for handle in BOTH {
        let (store, vault) = (Far::default(), Vault::in_memory().unwrap());
        let bank = keepers(store.clone(), &vault).await;
        let other = handle.layer(store.clone(), &vault, BANK);
        put(&bank, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
        // From now on each of them knows where the account's events lie, and reads for nothing but the look.
        for layer in [&bank, &other] {
            put(layer, "account-1", "Noted", r#"{"memo":"leer"}"#).await.unwrap();
        }

        store.append.store(true, Ordering::SeqCst);
        let appending = tokio::spawn({
            let other = other.clone();
            async move {
                put(&other, "account-1", "Opened", r#"{"owner":"user-1","memo":"geheim"}"#).await
            }
        });
        store.appending.notified().await;
        store.read.store(true, Ordering::SeqCst);
        let forgetting = tokio::spawn({
            let bank = bank.clone();
            async move { bank.forget(&subject("user-1"), "ticket 1").await }
        });
        store.reading.notified().await;
        store.unreachable.store(1, Ordering::SeqCst);
        store.append_on.notify_one();
        appending.await.unwrap().unwrap_err();
        assert_eq!(store.unreachable.load(Ordering::SeqCst), 0, "the append has looked itself");
        store.read_on.notify_one();

        let erased = forgetting.await.unwrap().unwrap();
        assert_eq!((erased.subjects, erased.not_reached.len()), (2, 0), "{handle:?}");
        assert_eq!(shape(&bank, "account-1").await, "sspt", "{handle:?}");
    }
}

/// An event that is there and does not open this time is not another event: its claim stays open, and whoever asked is
/// told. Its owner is sealed, so that it shows nothing of what it states.
#[tokio::test]
async fn an_event_that_cannot_be_opened_just_now_does_not_withdraw_its_claim() {
    let bank_policy = BANK.replace(r#"["/owner", "/amount"]"#, r#"["/amount"]"#);
    let policy = || Policy::parse(&bank_policy).unwrap();
    let (store, vault) = (Far::default(), Vault::in_memory().unwrap());
    let bank = Oubliette::open(store.clone(), vault.clone(), policy()).await.unwrap();
    let relay = Relay::to(&vault);
    let other = Oubliette::over(store.clone(), Codec::over(Arc::new(relay.clone()), policy()));
    put(&bank, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
    for layer in [&bank, &other] {
        put(layer, "account-1", "Noted", r#"{"memo":"leer"}"#).await.unwrap();
    }
    // Stored, and neither its answer nor its own look arrives.
    store.append.store(true, Ordering::SeqCst);
    store.unreachable.store(1, Ordering::SeqCst);
    store.append_on.notify_one();
    put(&other, "account-1", "Opened", r#"{"owner":"user-1"}"#).await.unwrap_err();

    relay.lose_a_key();
    let late = put(&other, "account-1", "Opened", r#"{"owner":"user-2"}"#).await.unwrap_err();
    assert!(crate::words::chain(&late).contains("the line was cut"), "{late}");
    let erased = bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    assert_eq!((erased.subjects, erased.not_reached.len()), (2, 0));
}
