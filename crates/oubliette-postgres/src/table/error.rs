//! Why a table cannot be opened as a store.

use oubliette::store::StoreError;
use tokio_postgres::error::SqlState;

use crate::{OpenError, PostgresError};

/// Why a table could not be opened as a store. Each message says what to do; none holds an address or a value of a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The mapping says what makes no sense, whatever the table.
    #[error("the mapping of the table cannot be used: {0}")]
    Mapping(String),
    /// There is no such table.
    #[error(
        "there is no table {0} in the database: name it as it is spelled there, with its schema, such as `shop.events`"
    )]
    NoTable(String),
    /// It is something else than a table.
    #[error("{table} is {found}: map the table that holds the rows")]
    NotATable {
        /// What the mapping names.
        table: String,
        /// What is there.
        found: String,
    },
    /// A column is missing.
    #[error(
        "the table {table} has no column `{column}`, which the mapping names as `{key}`; its columns are {columns}"
    )]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The mapping's key.
        key: &'static str,
        /// The columns that there are.
        columns: String,
    },
    /// A column has another type than it needs.
    #[error("the column `{column}` of the table {table} is {found}, and `{key}` needs {fits}")]
    ColumnType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The mapping's key.
        key: &'static str,
        /// What would fit.
        fits: &'static str,
    },
    /// The table could lose events for its readers.
    #[error("the table {table} cannot be read without losing events: {why}")]
    Unsafe {
        /// The table.
        table: String,
        /// What is so, and what to do.
        why: String,
    },
    /// Its events cannot be sealed, purged or removed where they are.
    #[error("the events of the table {table} cannot be changed in place: {why}")]
    NotInPlace {
        /// The table.
        table: String,
        /// What it lacks, and what to do.
        why: String,
    },
    /// A right is missing.
    #[error(
        "the user of the database lacks a right ({0}): reading needs USAGE on the schema and SELECT on the table"
    )]
    NoRights(String),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl TableError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_temporary())
    }
}

impl From<tokio_postgres::Error> for TableError {
    fn from(error: tokio_postgres::Error) -> Self {
        PostgresError::from(&error).into()
    }
}

impl From<PostgresError> for TableError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Server { code, message }
                if code == SqlState::INSUFFICIENT_PRIVILEGE.code() =>
            {
                Self::NoRights(message)
            }
            other => Self::Open(other.into()),
        }
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> Self {
        Self::backend(error.is_temporary(), error)
    }
}
