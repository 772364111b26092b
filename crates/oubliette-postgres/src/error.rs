//! What can go wrong with the database.

use std::{error::Error, io};

use oubliette::store::StoreError;
use tokio_postgres::error::SqlState;

#[cfg(feature = "sqlx")]
use crate::sqlx;

/// Why a store could not be opened. Each message says what to do; none holds the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is none.
    #[error(
        "this is no address of a PostgreSQL database ({0}); write postgres://USER@HOST:PORT/DATABASE, or `host=HOST user=USER`"
    )]
    Address(String),
    /// The schema's name is none that is accepted.
    #[error(
        "`{0}` cannot be a schema of the event store: use up to 40 lower-case letters, digits and `_`, a letter first"
    )]
    SchemaName(String),
    /// There is no server, or it does not let anybody in.
    #[error("the PostgreSQL server cannot be reached: {0}")]
    Unreachable(PostgresError),
    /// The server knows nobody of that name or password, or no such database.
    #[error(
        "the PostgreSQL server refuses the connection ({0}): check user, password and database, and pg_hba.conf"
    )]
    Refused(String),
    /// TLS was asked for, and cannot be had.
    #[error("no TLS connection can be made: {0}")]
    Tls(String),
    /// The server is too old.
    #[error(
        "the server is PostgreSQL {found}, and this needs {needed} or newer: use a newer server"
    )]
    OldServer {
        /// What it says it is.
        found: String,
        /// The oldest that is good enough.
        needed: u32,
    },
    /// The database keeps text in another encoding.
    #[error(
        "the database keeps text as {0}, and names of streams need UTF8: make a database with ENCODING 'UTF8'"
    )]
    Encoding(String),
    /// There is no event store in the schema.
    #[error("there is no event store in the schema `{schema}`: create one, or name another schema")]
    Missing {
        /// The schema that was to be opened.
        schema: String,
    },
    /// There is something else.
    #[error(
        "the schema `{schema}` holds something else ({found}), and was left as it is: name another schema"
    )]
    NotOurs {
        /// The schema that was to be opened.
        schema: String,
        /// What is there instead.
        found: String,
    },
    /// A newer program made it.
    #[error(
        "the event store in the schema `{schema}` has format {found}, and this program knows up to {known}; a newer program \
         made it, use that one"
    )]
    Newer {
        /// The schema.
        schema: String,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// An older program made it, and it was to be opened as it is.
    #[error(
        "the event store in the schema `{schema}` has format {found}, and this program writes {known}: bring it forward by \
         opening it with `create` once, when no older program uses it"
    )]
    Older {
        /// The schema.
        schema: String,
        /// Its version.
        found: i64,
        /// The version that this program writes.
        known: i64,
    },
    /// What is there would not outlive a crash of the server.
    #[error(
        "the table `{0}` is unlogged, so that a crash of the server empties it: run ALTER TABLE {0} SET LOGGED"
    )]
    Unlogged(String),
    /// Row level security would leave rows out.
    #[error(
        "row level security of the table {0} hides rows from the user of the database, and what is not seen is neither sealed \
         nor found when somebody is to be forgotten: connect as the table's owner or as a role with BYPASSRLS, or run ALTER \
         TABLE {0} DISABLE ROW LEVEL SECURITY"
    )]
    RowSecurity(String),
    /// A right is missing.
    #[error(
        "the user of the database lacks a right ({0}): `create` needs CREATE on the database or on the schema; opening needs \
         USAGE on the schema, EXECUTE on its functions, SELECT, INSERT and UPDATE on its tables"
    )]
    NoRights(String),
    /// The server failed.
    #[error("the event store cannot be opened: {0}")]
    Server(PostgresError),
}

impl OpenError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(error) | Self::Server(error) => error.is_temporary(),
            _ => false,
        }
    }

    /// What an error of the first connection means.
    pub(crate) fn connecting(error: &tokio_postgres::Error) -> Self {
        match error.code() {
            Some(
                &SqlState::INVALID_PASSWORD
                | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                | &SqlState::INVALID_CATALOG_NAME
                | &SqlState::INSUFFICIENT_PRIVILEGE,
            ) => Self::Refused(
                error.as_db_error().map_or_else(String::new, |e| e.message().to_owned()),
            ),
            // The client's own word, where the server asks for a password and none was given.
            None if error
                .source()
                .is_some_and(|source| source.to_string() == "password missing") =>
            {
                Self::Refused("it asks for a password, and none was given".to_owned())
            }
            _ => Self::Unreachable(PostgresError::from(error)),
        }
    }
}

impl From<PostgresError> for OpenError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Server { code, message }
                if code == SqlState::INSUFFICIENT_PRIVILEGE.code() =>
            {
                Self::NoRights(message)
            }
            other => Self::Server(other),
        }
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        PostgresError::from(&error).into()
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::backend(error.is_temporary(), error)
    }
}

/// What is in a [`StoreError::Backend`] or [`StoreError::Damaged`] of this store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The connection could not be made, or was lost.
    #[error(
        "no connection to the PostgreSQL server ({0}): see that it runs and can be reached, and try again"
    )]
    Connection(String),
    /// All connections are in use.
    #[error(
        "all connections of the store are in use for longer than it waits: give it more, or try again"
    )]
    Busy,
    /// The server has no room.
    #[error("the disk of the PostgreSQL server is full: free some space, and do it again")]
    Full,
    /// Another transaction holds a stream for longer than the store waits.
    #[error(
        "another transaction holds a stream or an event of this call open: end it (pg_stat_activity shows who waits for whom), \
         and do it again"
    )]
    Held,
    /// A transaction that appends was begun too early.
    #[error(
        "the transaction wrote something before another one appended to the same stream: roll back and begin again; append \
         before your own writes to make this rare"
    )]
    TooLate,
    /// Older transactions keep events from being returned in order.
    #[error(
        "older transactions are open at the server, and all streams cannot be read to the end before they end: {0}; end them, \
         and read again"
    )]
    HeldBack(String),
    /// `jsonb` cannot hold a number.
    #[error(
        "a number in clear is beyond what a jsonb column holds: seal the field, make it a string, or make the schema with json"
    )]
    Number,
    /// An event in the table is none that this program wrote.
    #[error("{0}")]
    Damaged(&'static str),
    /// Anything else that the server says.
    #[error("the PostgreSQL server says: {message} (SQLSTATE {code})")]
    Server {
        /// The error's five characters.
        code: String,
        /// What it says, without what it says of values.
        message: String,
    },
    /// An error of the client.
    #[error("the client of PostgreSQL failed: {0}")]
    Client(String),
}

impl PostgresError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Busy | Self::Held | Self::TooLate | Self::HeldBack(_) => {
                true
            }
            // Connections that are exhausted, a server that starts or stops, conflicts of transactions.
            Self::Server { code, .. } => {
                self.is_a_collision()
                    || ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
            }
            Self::Full | Self::Number | Self::Damaged(_) | Self::Client(_) => false,
        }
    }

    /// Whether another attempt by ourselves is due: transactions got in each other's way.
    pub(crate) fn is_a_collision(&self) -> bool {
        let Self::Server { code, .. } = self else { return false };
        [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            // Two appends with the same new id, at once.
            SqlState::UNIQUE_VIOLATION,
        ]
        .iter()
        .any(|state| state.code() == code)
    }

    /// What the server says, by its code.
    fn server(code: &str, message: &str) -> Self {
        let is = |state: SqlState| state.code() == code;
        if is(SqlState::DISK_FULL) {
            return Self::Full;
        }
        if is(SqlState::LOCK_NOT_AVAILABLE) {
            return Self::Held;
        }
        if is(SqlState::NUMERIC_VALUE_OUT_OF_RANGE) {
            return Self::Number;
        }
        // The server ends its connections when it stops, or is told to end one.
        if code.starts_with("57P") || code.starts_with("08") {
            return Self::Connection(message.to_owned());
        }
        // Messages of class 22 may hold the value that does not fit; details always may, and are left out.
        let message = if code.starts_with("22") { "a value does not fit" } else { message };
        Self::Server { code: code.to_owned(), message: message.to_owned() }
    }

    #[cfg(feature = "sqlx")]
    pub(crate) fn of_sqlx(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                Self::server(&error.code().unwrap_or_default(), error.message())
            }
            sqlx::Error::Io(error) => Self::Connection(error.to_string()),
            // The rest is about types and columns, and holds no value.
            other => Self::Client(other.to_string()),
        }
    }
}

impl From<&tokio_postgres::Error> for PostgresError {
    fn from(error: &tokio_postgres::Error) -> Self {
        if let Some(error) = error.as_db_error() {
            return Self::server(error.code().code(), error.message());
        }
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        match (io, error.is_closed()) {
            (Some(io), _) => Self::Connection(io.to_string()),
            (None, true) => Self::Connection("it was closed".to_owned()),
            // Of values: a conversion says the type, never the value. Of TLS: what is wrong with the certificate.
            (None, false) => {
                let source =
                    error.source().map_or_else(String::new, |source| format!(": {source}"));
                Self::Client(format!("{error}{source}"))
            }
        }
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        (&error).into()
    }
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        if error == PostgresError::Number {
            return Self::Invalid(error.to_string());
        }
        Self::backend(error.is_temporary(), error)
    }
}
