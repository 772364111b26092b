//! How long the layer waits for its store where others wait for the layer.
//!
//! A caller that appends or reads waits for the store as long as they like. An erasure holds a lock that every
//! other one waits for, and closes subjects meanwhile; so what it asks of the store itself has an end, as a
//! permit has, by the same clock. What the store does with a call that has no waiter any more makes no
//! difference: ids of announcements and tombstones are the same when they are tried again.

use std::time::Duration;

use futures::TryStreamExt;

use super::{CodecError, Layer};
use crate::{
    event::RecordedEvent,
    store::{EventStore, EventStream, StoreError},
};

/// The store said nothing for so long.
#[derive(Debug, thiserror::Error)]
#[error("the event store has not answered for {} s", .0.as_secs())]
struct Silent(Duration);

impl<S: EventStore> Layer<S> {
    /// What the store answers to a call of the layer's own; an error where it takes longer than a permit
    /// lasts.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let Some(keeper) = self.codec.keeper() else { return call.await };
        let patience = self.codec.lasting();
        tokio::select! {
            biased;
            answer = call => answer,
            elapsed = keeper.elapse(patience) => match elapsed {
                Ok(()) => Err(StoreError::backend(true, Silent(patience))),
                // The vault, and not the store.
                Err(error) => Err(CodecError::from(error).into()),
            },
        }
    }

    /// The next of these events: the store may take its time for each again.
    pub(crate) async fn next(
        &self,
        events: &mut EventStream,
    ) -> Result<Option<RecordedEvent>, StoreError> {
        self.answer(events.try_next()).await
    }

    /// All that are left of these events.
    pub(crate) async fn rest(
        &self,
        mut events: EventStream,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let mut rest = Vec::new();
        while let Some(event) = self.next(&mut events).await? {
            rest.push(event);
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use async_trait::async_trait;
    use futures::StreamExt;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::{
        erasure::{Erased, ErasureError, PendingError},
        event::{
            ANNOUNCEMENTS, EventType, Json, NewEvent, Position, RecordedEvent, StreamName, Subject,
        },
        layer::Oubliette,
        policy::Policy,
        store::{
            Append, Appended, Capabilities, EventStoreExt, ExpectedRevision, Filter, MemoryStore,
            ReadAllOptions, ReadOptions, Subscription,
        },
        vault::Vault,
    };

    /// A store that falls silent.
    #[derive(Debug, Clone)]
    struct Falling {
        inner: MemoryStore,
        /// So many calls are answered yet.
        appends: Arc<AtomicUsize>,
        reads: Arc<AtomicUsize>,
        /// What is appended is still stored.
        stores: bool,
    }

    const TALKING: usize = usize::MAX / 2;

    fn falls_silent(left: &AtomicUsize) -> bool {
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    }

    #[async_trait]
    impl EventStore for Falling {
        async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
            if !falls_silent(&self.appends) {
                return self.inner.append(appends).await;
            }
            if self.stores {
                self.inner.append(appends).await?;
            }
            std::future::pending().await
        }

        async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
            self.inner.restore(events).await
        }

        fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
            match falls_silent(&self.reads) {
                true => futures::stream::pending().boxed(),
                false => self.inner.read(stream, options),
            }
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

    struct Bank {
        store: Falling,
        vault: Vault,
        layer: Oubliette<Falling>,
    }

    type Forgetting = JoinHandle<Result<Erased, ErasureError>>;

    impl Bank {
        async fn new(stores: bool) -> Self {
            let left = || Arc::new(AtomicUsize::new(TALKING));
            let inner = MemoryStore::new();
            let store = Falling { inner, appends: left(), reads: left(), stores };
            let (vault, policy) = (Vault::in_memory().unwrap(), Policy::sealed_by_default());
            let layer = Oubliette::open(store.clone(), vault.clone(), policy).await.unwrap();
            for name in ["user-1", "user-2"] {
                let name = StreamName::new(name).unwrap();
                let event =
                    NewEvent::new(EventType::new("Moved").unwrap(), Json::parse("{}").unwrap());
                layer.append_to(&name, ExpectedRevision::Any, vec![event]).await.unwrap();
            }
            Self { store, vault, layer }
        }

        /// Forgets somebody while the store answers so many more calls.
        fn forget(&self, who: &'static str, appends: usize, reads: usize) -> Forgetting {
            self.store.appends.store(appends, Ordering::SeqCst);
            self.store.reads.store(reads, Ordering::SeqCst);
            let layer = self.layer.clone();
            tokio::spawn(
                async move { layer.forget(&Subject::new(who).unwrap(), "they asked").await },
            )
        }

        /// How it ends, as time passes.
        async fn ends(&self, mut forgetting: Forgetting) -> Result<Erased, ErasureError> {
            for _ in 0..1000 {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                if forgetting.is_finished() {
                    return (&mut forgetting).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.vault.pass_time(Duration::from_secs(60));
            }
            panic!("an erasure that never ends");
        }

        /// The store talks again, and another erasure was not kept waiting.
        async fn goes_on(&self) {
            let erased = self.ends(self.forget("user-2", TALKING, TALKING)).await.unwrap();
            assert!(!erased.already);
            self.layer.resume().await.unwrap();
            let again = self.ends(self.forget("user-1", TALKING, TALKING)).await.unwrap();
            assert!(again.already);
            for (name, count) in [("user-1", 1), ("user-2", 1), (ANNOUNCEMENTS, 2)] {
                let name = StreamName::new(name).unwrap();
                let events = self.store.events(&name, ReadOptions::default()).await.unwrap();
                let told = events.iter().filter(|e| e.is_tombstone() || e.is_announcement());
                assert_eq!(told.count(), count, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_never_takes_an_announcement_stops_no_other_erasure() {
        for stores in [false, true] {
            let bank = Bank::new(stores).await;
            let silent = bank.ends(bank.forget("user-1", 0, TALKING)).await.unwrap_err();
            assert!(
                matches!(silent, ErasureError::Pending(PendingError::Announcement { .. })),
                "{silent}"
            );
            let told = crate::words::chain(&silent);
            assert!(told.contains("not answered for 300 s"), "{told}");
            bank.goes_on().await;
        }
    }

    #[tokio::test]
    async fn a_store_that_never_takes_tombstones_stops_no_other_erasure() {
        for stores in [false, true] {
            let bank = Bank::new(stores).await;
            let silent = bank.ends(bank.forget("user-1", 1, TALKING)).await.unwrap_err();
            assert!(
                matches!(silent, ErasureError::Pending(PendingError::Tombstones { .. })),
                "{silent}"
            );
            bank.goes_on().await;
        }
    }

    #[tokio::test]
    async fn a_store_that_falls_silent_at_any_read_of_an_erasure_stops_no_other() {
        let bank = Bank::new(false).await;
        let mut errors = 0;
        for reads in 0.. {
            let ended = bank.ends(bank.forget("user-1", TALKING, reads)).await;
            match ended {
                Ok(_) => break,
                Err(error) => {
                    assert!(crate::words::chain(&error).contains("not answered"), "{error}");
                }
            }
            errors += 1;
        }
        assert!(errors > 0, "it reads nothing");
        bank.goes_on().await;
    }
}
