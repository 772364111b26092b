//! The store: opening it, and what it does with each call.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use oubliette::{
    TaskError,
    event::{Position, RecordedEvent, StreamName},
    store::{
        Append, Appended, Capabilities, EventStore, EventStream, Filter, Purge, ReadAllOptions,
        ReadOptions, Removed, Rewrite, Rewritten, StoreError, Subscription, check_appends,
        check_restored,
    },
};
use tokio::runtime::Handle;

use crate::{
    OpenError, Options, Payloads, append,
    connect::{Manager, Pool, pool},
    read, restore, rewrite, schema, scrub, subscribe,
};

/// Events in tables of a PostgreSQL database. A clone is the same store.
///
/// Several processes may use the same schema; each sees the others' events.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) schema: String,
    pub(crate) payloads: Payloads,
    pub(crate) patience: Duration,
    pub(crate) signals: subscribe::Signals,
    doubts: Vec<String>,
}

impl PostgresStore {
    /// Opens the store in the schema `oubliette` of this database.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Options::new(url).open().await
    }

    /// Opens the store in the schema `oubliette` of this database; makes it where it is missing, and brings it forward
    /// where an older version of this program made it.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn create(url: &str) -> Result<Self, OpenError> {
        Options::new(url).create().await
    }

    /// Why events that were acknowledged might not outlive a crash of the server: one sentence for each setting, with what
    /// to set instead. None where the server keeps what it acknowledges.
    pub fn doubts(&self) -> &[String] {
        &self.inner.doubts
    }

    /// The schema that it is in.
    pub fn schema(&self) -> &str {
        &self.inner.schema
    }

    /// Appends within a transaction of yours, so that your own tables commit together with the events. Nothing is there
    /// before you commit; and the streams are held until your transaction ends, so that another append to one of them waits.
    ///
    /// Append first, then write to your tables: the server numbers a transaction when it first writes, and one that has an
    /// older number than the last one that appended to the stream is refused ([`TooLate`](crate::PostgresError::TooLate)).
    ///
    /// What you append is stored as it is. To seal it, see [`Oubliette::seal`](oubliette::layer::Oubliette::seal).
    /// After you committed, call [`PostgresStore::committed`], so that subscribers hear of it at once.
    ///
    /// # Errors
    /// As [`EventStore::append`]. After [`StoreError::Backend`] the transaction can only be rolled back; after any other
    /// error it can go on, and nothing was appended.
    pub async fn append_in(
        &self,
        transaction: &tokio_postgres::Transaction<'_>,
        appends: &[Append],
    ) -> Result<Vec<Appended>, StoreError> {
        check_appends(appends, self.capabilities())?;
        check_size(appends)?;
        append::append_in(transaction, &self.inner.schema, appends).await
    }

    /// As [`PostgresStore::append_in`], for a transaction of sqlx: give it `&mut *transaction`.
    ///
    /// # Errors
    /// As [`PostgresStore::append_in`].
    #[cfg(feature = "sqlx")]
    pub async fn append_in_sqlx(
        &self,
        transaction: &mut sqlx_postgres::PgConnection,
        appends: &[Append],
    ) -> Result<Vec<Appended>, StoreError> {
        check_appends(appends, self.capabilities())?;
        check_size(appends)?;
        append::append_in_sqlx(transaction, &self.inner.schema, appends).await
    }

    /// Tells subscribers that a transaction of yours was committed. They find that out by themselves as well, within half a
    /// second.
    pub fn committed(&self) {
        if Handle::try_current().is_ok() {
            self.inner.appended();
        }
    }

    /// Runs something to its end, also where the caller does not wait for it: an append is whole, or nothing.
    async fn to_its_end(
        &self,
        run: impl Future<Output = Result<Vec<Appended>, StoreError>> + Send + 'static,
    ) -> Result<Vec<Appended>, StoreError> {
        let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
        match runtime.spawn(run).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => Err(TaskError::Panicked.into()),
            Err(_) => Err(TaskError::Cancelled.into()),
        }
    }
}

fn check_size(appends: &[Append]) -> Result<(), StoreError> {
    let events = appends.iter().flat_map(|append| &append.events);
    append::check_size(events.map(|event| (&event.data, event.metadata.as_ref())))
}

impl Options {
    /// Opens the store.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub async fn open(self) -> Result<PostgresStore, OpenError> {
        self.open_or_make(false).await
    }

    /// Opens the store; makes its schema where it is missing, and brings it forward where it is older.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub async fn create(self) -> Result<PostgresStore, OpenError> {
        self.open_or_make(true).await
    }

    async fn open_or_make(self, make: bool) -> Result<PostgresStore, OpenError> {
        schema::check_name(&self.schema)?;
        let manager = Manager::new(&self, append::statement(&self.schema))?;
        // A connection of its own, so that what is wrong with it is told as it is.
        let connected = manager.connect_to_open().await;
        let mut client = connected.map_err(|error| OpenError::connecting(&error))?;
        schema::check_server(&client).await?;
        if make {
            schema::migrate(&mut client, &self).await?;
        }
        let looked = schema::look(&client, &self.schema).await?;
        schema::wind(&mut client, &self).await?;
        for doubt in &looked.doubts {
            tracing::warn!("{doubt}");
        }
        let inner = Inner {
            pool: pool(manager, &self)?,
            schema: self.schema,
            payloads: looked.payloads,
            patience: self.patience,
            signals: subscribe::Signals::default(),
            doubts: looked.doubts,
        };
        Ok(PostgresStore { inner: Arc::new(inner) })
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        check_appends(&appends, self.capabilities())?;
        check_size(&appends)?;
        let inner = Arc::clone(&self.inner);
        self.to_its_end(async move {
            let done = append::append(&inner.pool, inner.patience, &appends).await?;
            inner.appended();
            Ok(done)
        })
        .await
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        check_restored(&events, self.capabilities())?;
        let sizes =
            events.iter().filter_map(|event| Some((event.data.as_ref()?, event.metadata.as_ref())));
        append::check_size(sizes)?;
        let inner = Arc::clone(&self.inner);
        self.to_its_end(async move {
            let done = restore::restore(&inner, &events).await?;
            inner.appended();
            Ok(done)
        })
        .await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        read::read(Arc::clone(&self.inner), stream.clone(), options)
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        read::read_all(Arc::clone(&self.inner), options)
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        subscribe::subscribe(Arc::clone(&self.inner), after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.payloads.capabilities()
    }
}

#[async_trait]
impl Rewrite for PostgresStore {
    async fn rewrite(&self, events: Vec<Rewritten>) -> Result<Vec<bool>, StoreError> {
        rewrite::rewrite(&self.inner, &events).await
    }
}

#[async_trait]
impl Purge for PostgresStore {
    fn as_rewrite(&self) -> Option<&dyn Rewrite> {
        Some(self)
    }

    async fn remove(&self, events: Vec<Removed>) -> Result<Vec<bool>, StoreError> {
        rewrite::remove(&self.inner, &events).await
    }

    async fn scrub(&self) -> Result<Vec<String>, StoreError> {
        let table = format!("{}.event", self.inner.schema);
        scrub::scrub(&self.inner.pool, self.inner.patience, &table, &[]).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("schema", &self.inner.schema)
            .field("payloads", &self.inner.payloads)
            .finish_non_exhaustive()
    }
}
