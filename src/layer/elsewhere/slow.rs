//! A store that lets the others be quicker, and that does not always answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Notify;

use crate::{
    event::{Position, RecordedEvent, StreamName},
    store::{
        Append, Appended, Capabilities, EventStore, EventStream, Filter, MemoryStore,
        ReadAllOptions, ReadOptions, StoreError, Subscription,
    },
};

#[derive(Debug, Clone, Default)]
pub(super) struct Slow {
    pub(super) inner: MemoryStore,
    /// Whether the next append waits until it is told to go on, and is stored then; and whether its answer is lost.
    pub(super) wait: Arc<AtomicBool>,
    pub(super) waits: Arc<Notify>,
    pub(super) go_on: Arc<Notify>,
    pub(super) loses_the_answer: Arc<AtomicBool>,
    /// Whether the next who reads an account waits, with what was there when they began.
    pub(super) read: Arc<AtomicBool>,
    pub(super) reading: Arc<Notify>,
    pub(super) read_on: Arc<Notify>,
    /// So many who read an account after that get no answer.
    pub(super) unreachable: Arc<AtomicUsize>,
}

fn lost() -> StoreError {
    StoreError::backend(false, std::io::Error::other("the connection was lost"))
}

#[async_trait]
impl EventStore for Slow {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        if self.wait.swap(false, Ordering::SeqCst) {
            self.waits.notify_one();
            self.go_on.notified().await;
        }
        let appended = self.inner.append(appends).await?;
        if self.loses_the_answer.swap(false, Ordering::SeqCst) { Err(lost()) } else { Ok(appended) }
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let events = self.inner.read(stream, options);
        if !stream.as_str().starts_with("account-") {
            return events;
        }
        let slow = self.clone();
        let events = async move {
            if slow.read.swap(false, Ordering::SeqCst) {
                let events: Vec<_> = events.collect().await;
                slow.reading.notify_one();
                slow.read_on.notified().await;
                return Ok(stream::iter(events).boxed());
            }
            let counted = |left: usize| left.checked_sub(1);
            let unreachable = &slow.unreachable;
            match unreachable.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted) {
                Ok(_) => Err(lost()),
                Err(_) => Ok(events),
            }
        };
        stream::once(events).try_flatten().boxed()
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
