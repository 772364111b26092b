//! The store itself: what is public of it, and what its parts share.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use oubliette::{
    EventStore, ReadOptions, RecordedEvent, StoreError, StreamName,
    event::Position,
    store::{
        Append, Appended, Capabilities, Capability, EventStream, Filter, ReadAllOptions,
        Subscription, check_appends,
    },
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::{
    JetStreamOptions, append,
    config::Facts,
    error::JetStreamError,
    link::Link,
    pages::Source,
    read::{self, Range},
    subject::Prefix,
    subscription,
};

/// Events in a stream of NATS JetStream. A clone is the same store.
///
/// - Each event stream has a subject of its own, and each event is a message. A revision is the sequence of the message, and
///   so is a position: both grow, and both have gaps.
/// - Several processes may read and write the same stream.
/// - Several events in one append, also on several streams, are an atomic batch of at most 1000 messages, which needs NATS 2.12.1.
/// - An append waits until it knows what became of it. Where the connection is lost meanwhile, it goes on when there is one
///   again; a caller who does not want to wait drops it, and may retry with the same ids at any time.
/// - A subscription goes on by itself when the server was away.
///
/// It needs a Tokio runtime with I/O and timers.
#[derive(Clone)]
pub struct JetStreamStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) source: Source,
    pub(crate) stream: String,
    pub(crate) prefix: Prefix,
    pub(crate) facts: Facts,
    pub(crate) version: String,
    pub(crate) capabilities: Capabilities,
    /// The most messages in a batch.
    pub(crate) batch_limit: usize,
    /// How many more batches may be in flight.
    pub(crate) batches: Semaphore,
    pub(crate) news: News,
    pub(crate) doubts: Vec<String>,
}

impl JetStreamStore {
    /// Opens the store that is there, with the defaults of [`JetStreamOptions`].
    ///
    /// # Errors
    /// [`JetStreamError`], which says what to do.
    pub async fn open(address: &str) -> Result<Self, JetStreamError> {
        JetStreamOptions::new(address).open().await
    }

    /// Opens the store that is there, and makes it where it is missing, with the defaults of [`JetStreamOptions`].
    ///
    /// # Errors
    /// As [`JetStreamStore::open`].
    pub async fn create(address: &str) -> Result<Self, JetStreamError> {
        JetStreamOptions::new(address).create().await
    }

    /// What an acknowledged event still has to fear, a sentence for each, with what to set; empty where there is nothing.
    /// Each was written to the log as a warning when the store was opened.
    pub fn doubts(&self) -> &[String] {
        &self.inner.doubts
    }
}

impl fmt::Debug for JetStreamStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamStore")
            .field("server", &self.inner.link.server())
            .field("stream", &self.inner.stream)
            .field("prefix", &self.inner.prefix.as_str())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for JetStreamStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        check_appends(&appends, self.capabilities())?;
        append::append(Arc::clone(&self.inner), appends).await
    }

    /// Nobody can choose the sequence that the server gives, which is the revision.
    async fn restore(&self, _: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        Err(StoreError::Unsupported(Capability::Restore))
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let subject = self.inner.prefix.subject(stream);
        read::events(Arc::clone(&self.inner), Range::of_stream(subject, options))
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        match Range::of_all(self.inner.prefix.all(), options) {
            Ok(range) => read::events(Arc::clone(&self.inner), range),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        subscription::subscribe(Arc::clone(&self.inner), after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities
    }
}

/// What the server tells of new messages, for all subscriptions of the store: the highest sequence that was told.
pub(crate) struct News {
    /// Whether the stream is set up to tell.
    pub(crate) told: bool,
    head: watch::Sender<u64>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl News {
    pub(crate) fn new(told: bool) -> Self {
        Self { told, head: watch::Sender::new(0), listener: Mutex::new(None) }
    }

    /// Where the highest sequence appears. The first to ask has the store listen. To be called within a runtime.
    pub(crate) fn listen(&self, link: &Link, prefix: &Prefix) -> watch::Receiver<u64> {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let over = listener.as_ref().is_none_or(JoinHandle::is_finished);
        if self.told && over {
            let (client, subject) = (link.client().clone(), format!("{}.*", prefix.news()));
            let head = self.head.clone();
            // The client subscribes anew by itself where the connection was lost.
            *listener = Some(tokio::spawn(async move {
                let Ok(mut news) = client.subscribe(subject).await else { return };
                while let Some(message) = news.next().await {
                    let sequence = message
                        .headers
                        .as_ref()
                        .and_then(|headers| headers.get_last("Nats-Sequence"));
                    let sequence =
                        sequence.and_then(|sequence| sequence.as_str().parse().ok()).unwrap_or(0);
                    head.send_if_modified(|head| {
                        let grows = *head < sequence;
                        *head = (*head).max(sequence);
                        grows
                    });
                }
            }));
        }
        self.head.subscribe()
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let listener = self.listener.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.take() {
            listener.abort();
        }
    }
}
