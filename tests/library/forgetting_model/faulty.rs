//! A store in memory that fails when told to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use oubliette::{
    event::{EventId, Position, RecordedEvent, StreamName},
    store::{
        Append, Appended, Capabilities, EventStore, EventStream, Filter, MemoryStore,
        ReadAllOptions, ReadOptions, StoreError, Subscription,
    },
};

/// When an append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is written.
    Before,
    /// All is written, and the caller is told that it failed.
    After,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Faulty {
    inner: MemoryStore,
    next_append: Arc<Mutex<Option<Fault>>>,
    reads_fail_after: Arc<AtomicBool>,
    reads_fail: Arc<AtomicBool>,
    ids: Arc<Mutex<std::collections::HashSet<EventId>>>,
}

impl Faulty {
    /// What fails: the next append, from then on reads, reads at once.
    pub(crate) fn fail(&self, (append, then_reads, reads): (Option<Fault>, bool, bool)) {
        *self.next_append.lock().unwrap() = append;
        self.reads_fail_after.store(then_reads, Ordering::SeqCst);
        self.reads_fail.store(reads, Ordering::SeqCst);
    }

    pub(crate) fn heal(&self) {
        self.fail((None, false, false));
    }

    /// Whether all these events are here.
    pub(crate) fn holds(&self, ids: impl IntoIterator<Item = EventId>) -> bool {
        let known = self.ids.lock().unwrap();
        ids.into_iter().all(|id| known.contains(&id))
    }

    fn down() -> StoreError {
        StoreError::backend(true, "the store is away")
    }
}

#[async_trait]
impl EventStore for Faulty {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let fault = self.next_append.lock().unwrap().take();
        if fault.is_some() && self.reads_fail_after.load(Ordering::SeqCst) {
            self.reads_fail.store(true, Ordering::SeqCst);
        }
        if fault == Some(Fault::Before) {
            return Err(Self::down());
        }
        let ids: Vec<EventId> =
            appends.iter().flat_map(|append| &append.events).map(|event| event.id).collect();
        let done = self.inner.append(appends).await?;
        self.ids.lock().unwrap().extend(ids);
        if fault == Some(Fault::After) { Err(Self::down()) } else { Ok(done) }
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        if self.reads_fail.load(Ordering::SeqCst) {
            return stream::iter([Err(Self::down())]).boxed();
        }
        self.inner.read(stream, options)
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
