//! The store itself: what is public of it, and what its parts share.

use std::{fmt, sync::Arc};

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

use crate::{
    KurrentOptions, append,
    error::KurrentError,
    ids::Ids,
    link::Failed,
    pages::{Ask, Source},
    read::{self, Range},
    subscription,
};

/// What the store can do. It does not restore: number, position and time of an event are what the server gives. And it does
/// not append to several streams at once: see [`KurrentStore`].
const CAPABILITIES: Capabilities = Capabilities::of(&[
    Capability::ReadBackwards,
    Capability::ReadAll,
    Capability::Subscribe,
    Capability::Bytes,
    Capability::Verbatim,
    Capability::LongNumbers,
    Capability::Nul,
    Capability::Sole,
]);

/// Events in KurrentDB, or in EventStoreDB since 22.6. A clone is the same store. **Not yet run against a server.**
///
/// - A stream is the server's stream of the same name, a revision is an event's number there, and a position is the pair of
///   commit and prepare position. The server's own streams (`$…`), and events of its own types in others, are left out.
/// - Several processes may read and write the same streams.
/// - A process that appends keeps the ids of all events in memory, which it reads before its first append: about 60 to 110 bytes
///   for each.
/// - An append waits until it knows what became of it. A caller who does not want to wait drops it, and may retry with the same
///   ids at any time.
/// - An append to several streams is [`Unsupported`](StoreError::Unsupported), and so is the layout `split`. KurrentDB has such appends
///   since 25.1, in a protocol that the client does not speak (kurrentdb 1.2), and only for metadata whose values are all
///   strings.
///
/// It needs a Tokio runtime with I/O and timers.
#[derive(Clone)]
pub struct KurrentStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) source: Source,
    pub(crate) ids: Arc<Ids>,
    pub(crate) version: String,
    pub(crate) doubts: Vec<String>,
}

impl Inner {
    /// The error of a read.
    pub(crate) fn read_failed(&self, failed: Failed, ask: &Ask) -> KurrentError {
        let waited = self.source.link.patience;
        match ask {
            Ask::Stream { name, .. } => failed.explain(waited, "read the stream", name),
            Ask::All { .. } => failed.explain(waited, "read $all", "$all"),
        }
    }
}

impl KurrentStore {
    /// Opens the store on the server of a connection string, with the defaults of [`KurrentOptions`].
    ///
    /// # Errors
    /// [`KurrentError`], which says what to do.
    pub async fn open(address: &str) -> Result<Self, KurrentError> {
        KurrentOptions::new(address).open().await
    }

    /// What an acknowledged event still has to fear, a sentence for each, with what to set; empty where there is nothing.
    /// Each was written to the log as a warning when the store was opened.
    pub fn doubts(&self) -> &[String] {
        &self.inner.doubts
    }
}

impl fmt::Debug for KurrentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KurrentStore")
            .field("server", &self.inner.source.link.address.servers)
            .field("version", &self.inner.version)
            .field("prefix", &self.inner.source.prefix.as_str())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for KurrentStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        check_appends(&appends, CAPABILITIES).inspect_err(|error| {
            if matches!(error, StoreError::Unsupported(Capability::AtomicMultiStream)) {
                // The error has no room for the reason.
                tracing::warn!(
                    version = %self.inner.version,
                    "an append to several streams is refused: KurrentDB has them since 25.1, and the client (kurrentdb 1.2) \
                     does not"
                );
            }
        })?;
        append::append(Arc::clone(&self.inner), appends).await
    }

    /// Nobody can choose the number, the position and the time that the server gives.
    async fn restore(&self, _: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        Err(StoreError::Unsupported(Capability::Restore))
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let name = self.inner.source.prefix.theirs(stream);
        read::events(Arc::clone(&self.inner), Range::of_stream(name, options))
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        match Range::of_all(options) {
            Ok(range) => read::events(Arc::clone(&self.inner), range),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        subscription::subscribe(Arc::clone(&self.inner), after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}
