//! The embedded store: SQLite in a folder.
//!
//! [`SqliteStore::open`] opens or makes it. It is the store of the command line, and for everyone who has none yet. Many
//! appends at once are committed together; readers run beside the writer and hold nothing between pages.

// `format` is the file format and `open` the way to it, `writer` and `append` the way in,
// `reader`, `pages` and `subscription` the way out. No code outside of this folder speaks SQL.

mod append;
mod error;
mod format;
mod identity;
mod location;
mod open;
mod pages;
mod reader;
mod subscription;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    Append, Appended, Capabilities, EventStore, EventStream, Filter, Purge, ReadAllOptions,
    ReadOptions, Removed, Rewrite, Rewritten, StoreError, Subscription, check_appends,
    check_restored,
};
use crate::{
    event::{Position, RecordedEvent, StreamName},
    runtime,
};
pub use error::{OpenError, SqliteError};
use pages::{Pages, Range};
use reader::Readers;
use writer::{Task, Writer};

/// How to open the folder.
///
/// ```
/// use oubliette::{store::sqlite::OpenMode, *};
/// # let dir = tempfile::tempdir()?;
/// # let folder = dir.path().join("events");
/// # SqliteStore::create(&folder)?;
/// // A report that must not change anything.
/// let store = SqliteStore::open_with(&folder, OpenMode::ReadOnly)?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenMode {
    /// Open the store that is there; make one where the folder is missing or empty.
    Create,
    /// Open the store that is there.
    Existing,
    /// Open the store that is there, and write nothing to it. (Beside it SQLite may leave two
    /// files, `-shm` and `-wal`, by which its users see each other.)
    ReadOnly,
}

/// Events in a folder. A clone is the same store.
///
/// - It acknowledges only what is on the disk (write-ahead log, synced at each commit), and
///   serves all appends that wait at the same moment with one commit.
/// - Several processes may read and write the same folder; each sees the others' events, in a
///   subscription within about a quarter of a second.
/// - Reading needs a Tokio runtime, because it runs on its blocking threads. A read returns what
///   was there when its first event was asked for.
///
/// The last clone (streams and subscriptions count as one) finishes what is queued and tidies
/// the files up when it is dropped, which blocks for some milliseconds. Nothing depends on
/// that: a process that is killed leaves a store that opens with all that was acknowledged.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let folder = dir.path().join("events");
/// let store = SqliteStore::create(&folder)?; // once
/// let event = NewEvent::new(EventType::new("Paid")?, Json::parse(r#"{"amount":5}"#)?);
/// let account = StreamName::new("account-7")?;
/// store.append_to(&account, ExpectedRevision::NoStream, vec![event]).await?;
/// drop(store);
/// let store = SqliteStore::open(&folder)?; // from then on
/// assert_eq!(store.events(&account, ReadOptions::default()).await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    mode: OpenMode,
    readers: Readers,
    writer: Writer,
    /// The last position that is committed, as far as this process knows: 0 for none.
    head: watch::Receiver<i64>,
}

impl SqliteStore {
    /// Opens the store in this folder. Blocks for as long as opening a few files takes.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(folder, OpenMode::Existing)
    }

    /// Opens the store in this folder; makes one where the folder is missing or empty.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn create(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(folder, OpenMode::Create)
    }

    /// Opens the store in this folder in a mode.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(folder: impl AsRef<Path>, mode: OpenMode) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        let opened = open::open(folder, mode)?;
        let (sender, head) = watch::channel(opened.head);
        let readers = Readers::new(opened.location);
        let writer = Writer::start(opened.connection, sender)
            .map_err(|source| OpenError::io(folder, source))?;
        let folder = folder.to_owned();
        Ok(Self { inner: Arc::new(Inner { folder, mode, readers, writer, head }) })
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// What the owner of the folder noted under a key.
    ///
    /// # Errors
    /// [`StoreError::Backend`] where the database cannot be read.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
        runtime::spawn_blocking(move || inner.readers.with(|reader| reader.meta(&key)))?.await?
    }

    /// Notes something about the folder, such as which vault belongs to it. Durable when it
    /// returns; it replaces what stood under the key.
    ///
    /// # Errors
    /// [`StoreError::Backend`] where it could not be written; [`StoreError::Invalid`] for the key
    /// `format`, which is the store's own.
    pub async fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        if key == format::VERSION_KEY {
            return Err(StoreError::Invalid(format!("the store itself keeps the note `{key}`")));
        }
        self.commit(Task::SetMeta(key.to_owned(), value.to_owned())).await.map(drop)
    }

    async fn commit(&self, task: Task) -> Result<Vec<Appended>, StoreError> {
        if self.inner.mode == OpenMode::ReadOnly {
            return Err(SqliteError::ReadOnly.into());
        }
        self.inner.writer.commit(task).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("folder", &self.inner.folder)
            .field("mode", &self.inner.mode)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // In this order the writer's connection is the last to close, and as only a writer can,
        // it brings the log home and removes it.
        self.readers.close();
        self.writer.stop();
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        check_appends(&appends, self.capabilities())?;
        self.commit(Task::Append(appends)).await
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        check_restored(&events, self.capabilities())?;
        self.commit(Task::Restore(events)).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let range = Range::of_stream(stream.clone(), options);
        Pages::new(Arc::clone(&self.inner), range, None).boxed()
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        match Range::of_all(options) {
            Ok(range) => Pages::new(Arc::clone(&self.inner), range, None).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        subscription::subscribe(Arc::clone(&self.inner), after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }
}

#[async_trait]
impl Rewrite for SqliteStore {
    async fn rewrite(&self, events: Vec<Rewritten>) -> Result<Vec<bool>, StoreError> {
        let done = self.commit(Task::Rewrite(events)).await?;
        Ok(done.into_iter().map(|done| !done.already).collect())
    }
}

#[async_trait]
impl Purge for SqliteStore {
    fn as_rewrite(&self) -> Option<&dyn Rewrite> {
        Some(self)
    }

    async fn remove(&self, events: Vec<Removed>) -> Result<Vec<bool>, StoreError> {
        let done = self.commit(Task::Remove(events)).await?;
        Ok(done.into_iter().map(|done| !done.already).collect())
    }

    async fn scrub(&self) -> Result<Vec<String>, StoreError> {
        if self.inner.mode == OpenMode::ReadOnly {
            return Err(SqliteError::ReadOnly.into());
        }
        // Connections that read may hold what was there when they began.
        self.inner.readers.close();
        self.inner.writer.scrub().await
    }
}
