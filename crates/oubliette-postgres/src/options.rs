//! How to open a store.

use std::{fmt, path::PathBuf, time::Duration};

use oubliette::store::{Capabilities, Capability};

/// The type of the columns that hold JSON. It is chosen when the schema is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Payloads {
    /// `json`: kept as the text that it was, and PostgreSQL's operators work on it.
    #[default]
    Json,
    /// `jsonb`: smaller and quicker to look into; members come back in another order and numbers in another spelling, which
    /// what is sealed survives. It holds no `\u0000`.
    Jsonb,
    /// `text`: kept as it was, and opaque to PostgreSQL.
    Text,
}

impl Payloads {
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Jsonb, Self::Text];

    /// The type's name in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Text => "text",
        }
    }

    pub(crate) fn capabilities(self) -> Capabilities {
        const WITH_JSONB: Capabilities = Capabilities::of(&[
            Capability::AtomicMultiStream,
            Capability::ReadBackwards,
            Capability::ReadAll,
            Capability::Subscribe,
            Capability::Bytes,
            Capability::LongNumbers,
            Capability::Restore,
            Capability::Sole,
        ]);
        match self {
            Self::Jsonb => WITH_JSONB,
            Self::Json | Self::Text => WITH_JSONB.with(Capability::Verbatim).with(Capability::Nul),
        }
    }
}

/// How to open a [`PostgresStore`](crate::PostgresStore).
///
/// ```no_run
/// # async fn open() -> Result<(), oubliette_postgres::OpenError> {
/// use oubliette_postgres::{Options, Payloads};
/// // A second deployment in the same database, with a schema of its own.
/// let options = Options::new("postgres://app@db.example/shop?sslmode=require")
///     .schema("oubliette_eu")
///     .payloads(Payloads::Jsonb)
///     .connections(16);
/// let store = options.create().await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) url: String,
    pub(crate) schema: String,
    pub(crate) payloads: Payloads,
    pub(crate) connections: usize,
    pub(crate) patience: Duration,
    pub(crate) root_certificate: Option<PathBuf>,
}

impl Options {
    /// The database of this address: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require`, or what libpq's
    /// keywords say (`host=… user=…`). With `sslmode=require` the server's certificate is verified, by host name.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema: "oubliette".to_owned(),
            payloads: Payloads::default(),
            connections: 10,
            patience: Duration::from_secs(30),
            root_certificate: None,
        }
    }

    /// In this schema, instead of `oubliette`: lower-case letters, digits and `_`. One for each deployment.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// With JSON in columns of this type, where the schema is made now. A schema that is there has its own.
    #[must_use]
    pub fn payloads(mut self, payloads: Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// With at most so many connections: ten, unless this is said. Subscriptions share one more.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Waiting so long: for a connection, for a stream that another transaction holds, for older transactions before all
    /// streams are read to their end, and for a server that went away during an append. Half a minute, unless this is said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Trusting this certificate (PEM) alone, instead of those that the system trusts.
    #[must_use]
    pub fn root_certificate(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificate = Some(file.into());
        self
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("schema", &self.schema)
            .field("payloads", &self.payloads)
            .field("connections", &self.connections)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
