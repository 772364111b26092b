//! A table of events that was there before: as a store, beneath a layer or by itself.

// `mapping` and `template` are what the user says, `names` how what is no name is one all the same, `catalog`, `order` and `lacks` whether the table fits it, `shape` what
// comes of that. `append` and `change` are the way in; `horizon` says what is decided, and `read` and `subscribe` are the way out.

mod append;
mod catalog;
mod change;
mod columns;
mod error;
mod horizon;
mod lacks;
mod mapping;
mod names;
mod order;
mod read;
mod rows;
mod shape;
mod subscribe;
mod template;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use oubliette::{
    TaskError,
    event::{Position, RecordedEvent, StreamName},
    store::{
        Append, Appended, Capabilities, Capability, EventStore, EventStream, Filter, Purge,
        ReadAllOptions, ReadOptions, Removed, Rewrite, Rewritten, StoreError, Subscription,
        check_appends,
    },
};
use tokio::{runtime::Handle, sync::watch};

pub use error::TableError;
pub use mapping::TableMapping;

use crate::{
    OpenError, Options,
    connect::{Manager, Pool, pool},
    schema,
    scrub::scrub,
};
use shape::Shape;

/// A table of events that somebody else made, and perhaps goes on writing to, as a store. A clone is the same store.
///
/// Nothing is made in the database, and nothing changed but by [`Rewrite`] and [`Purge`]. Events are read as they are, with ids
/// that are derived where the table has none. Events can be appended where the table keeps a stream's revisions unique and has
/// a place for an id: [`TableStore::why_read_only`] says what is missing otherwise. What is there in clear can be sealed in place
/// where there is a place for metadata as well: [`TableStore::why_not_in_place`].
///
/// ```no_run
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// use oubliette::{store::copy, *};
/// use oubliette_postgres::{Options, PostgresStore, TableMapping, TableStore};
///
/// let mapping = TableMapping::parse(&std::fs::read_to_string("events.toml")?)?;
/// let table = TableStore::open(Options::new("postgres://app@localhost/shop"), mapping).await?;
/// // Into a store that seals what it is given, with ids, times and revisions:
/// let events = PostgresStore::create("postgres://app@localhost/shop").await?;
/// let sealed = Oubliette::open(events, Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// copy(&table, &sealed, None, &mut Some, &mut |_| {}).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TableStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    shape: Shape,
    patience: Duration,
    /// Grows with every append by this store.
    appended: watch::Sender<u64>,
}

impl Inner {
    /// The values of the columns that make a stream's name; `None` where the table cannot hold it.
    fn parts_of(&self, stream: &StreamName) -> Option<Vec<String>> {
        let values = self.shape.template.values(stream.as_str())?;
        let mut parts = values.iter().zip(&self.shape.parts);
        parts.all(|(value, part)| part.kind.takes(value)).then_some(values)
    }
}

impl TableStore {
    /// Opens a table. Of the options those of a schema of our own mean nothing here.
    ///
    /// # Errors
    /// [`TableError`], which says what to do.
    pub async fn open(options: Options, mapping: TableMapping) -> Result<Self, TableError> {
        let mapping = mapping.checked()?;
        let manager = Manager::new(&options, String::new())?;
        // A connection of its own, so that what is wrong with it is told as it is.
        let connected = manager.connect_to_open().await;
        let client = connected.map_err(|error| OpenError::connecting(&error))?;
        schema::check_server(&client).await?;
        let shape = catalog::look(&client, mapping).await?;
        for doubt in &shape.doubts {
            tracing::warn!("{doubt}");
        }
        let inner = Inner {
            pool: pool(manager, &options)?,
            shape,
            patience: options.patience,
            appended: watch::Sender::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Why events that were acknowledged might not outlive a crash of the server, and what is not as it should be for readers:
    /// one sentence each, with what to do.
    pub fn doubts(&self) -> &[String] {
        &self.inner.shape.doubts
    }

    /// Why nothing can be appended: what the table lacks, one sentence each. None where events can be appended.
    pub fn why_read_only(&self) -> &[String] {
        &self.inner.shape.lacks
    }

    /// Why no event can be sealed, emptied or removed where it is: what the table lacks, one sentence each. None where
    /// [`Oubliette::seal_existing`](oubliette::layer::Oubliette::seal_existing) can be used.
    pub fn why_not_in_place(&self) -> &[String] {
        &self.inner.shape.not_in_place
    }

    /// The table's name, with its schema.
    pub fn name(&self) -> &str {
        &self.inner.shape.name
    }
}

#[async_trait]
impl EventStore for TableStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let shape = &self.inner.shape;
        if !shape.lacks.is_empty() {
            let (name, lacks) = (&shape.name, shape.lacks.join("; "));
            return Err(StoreError::Invalid(format!(
                "nothing can be appended to the table {name}: {lacks}"
            )));
        }
        check_appends(&appends, self.capabilities())?;
        let events = appends.iter().flat_map(|append| &append.events);
        crate::append::check_size(events.map(|event| (&event.data, event.metadata.as_ref())))?;
        let inner = Arc::clone(&self.inner);
        // To its end, also where the caller does not wait for it: an append is whole, or nothing.
        let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
        let run = runtime.spawn(async move {
            let done = append::append(&inner, &appends).await?;
            inner.appended.send_modify(|number| *number = number.wrapping_add(1));
            Ok(done)
        });
        match run.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => Err(TaskError::Panicked.into()),
            Err(_) => Err(TaskError::Cancelled.into()),
        }
    }

    /// The table has no place for when an event was restored, and a position of its own for each row.
    async fn restore(&self, _: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        Err(StoreError::Unsupported(Capability::Restore))
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        read::read(Arc::clone(&self.inner), stream, options)
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        read::read_all(Arc::clone(&self.inner), options)
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        subscribe::subscribe(Arc::clone(&self.inner), after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.shape.capabilities()
    }
}

#[async_trait]
impl Rewrite for TableStore {
    async fn rewrite(&self, events: Vec<Rewritten>) -> Result<Vec<bool>, StoreError> {
        change::rewrite(&self.inner, &events).await
    }
}

#[async_trait]
impl Purge for TableStore {
    fn as_rewrite(&self) -> Option<&dyn Rewrite> {
        self.inner.shape.not_in_place.is_empty().then_some(self as &dyn Rewrite)
    }

    /// The last event of a stream stays, since the next one's revision is one above it; and the last of all, where no sequence
    /// gives the positions.
    async fn remove(&self, events: Vec<Removed>) -> Result<Vec<bool>, StoreError> {
        change::remove(&self.inner, &events).await
    }

    async fn scrub(&self) -> Result<Vec<String>, StoreError> {
        scrub(
            &self.inner.pool,
            self.inner.patience,
            &self.inner.shape.table,
            &self.inner.shape.unmapped,
        )
        .await
    }
}

impl fmt::Debug for TableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableStore")
            .field("table", &self.inner.shape.name)
            .field("appends", &self.inner.shape.lacks.is_empty())
            .finish_non_exhaustive()
    }
}
