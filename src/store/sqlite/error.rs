//! What can go wrong with the folder, and with the database in it.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;

use crate::{durable, store::StoreError};

/// Why a folder could not be opened as a store. Each message says what to do.
///
/// ```
/// use oubliette::{store::sqlite::OpenError, *};
/// # let dir = tempfile::tempdir()?;
/// let folder = dir.path().join("evnets"); // a slip of the pen makes no second store
/// let opened = SqliteStore::open(&folder);
/// assert!(matches!(opened, Err(OpenError::Missing { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store.
    #[error("there is no event store in {}: create one, or name another folder", folder.display())]
    Missing {
        /// The folder that was to be opened.
        folder: PathBuf,
    },
    /// There is something else.
    #[error(
        "{} is not an event store of this program ({found}), and was left as it is; \
         name another folder",
        folder.display()
    )]
    NotOurs {
        /// The folder that was to be opened.
        folder: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// A newer program wrote it.
    #[error(
        "the event store in {} has format {found}, and this program knows up to {known}; it was written \
         by a newer program, use that one",
        folder.display()
    )]
    Newer {
        /// The folder that was to be opened.
        folder: PathBuf,
        /// The version of its format.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// It cannot be written to.
    #[error(
        "the event store in {} cannot be written to: change its permissions, or open it for \
         reading only",
        folder.display()
    )]
    ReadOnly {
        /// The folder that was to be opened.
        folder: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of {} is full: free some space, then open it again", folder.display())]
    Full {
        /// The folder that was to be opened.
        folder: PathBuf,
    },
    /// Another process holds it for longer than we wait.
    #[error("the event store in {} is busy: try again once its other user is done", folder.display())]
    Busy {
        /// The folder that was to be opened.
        folder: PathBuf,
    },
    /// It is ours, and broken.
    #[error(
        "the event store in {} is damaged ({problem}): restore it from a backup",
        folder.display()
    )]
    Damaged {
        /// The folder that was to be opened.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system refused.
    #[error("the event store in {} cannot be opened", folder.display())]
    Io {
        /// The folder that was to be opened.
        folder: PathBuf,
        /// The error of the system or of SQLite.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the event store in {} cannot be opened", folder.display())]
    Database {
        /// The folder that was to be opened.
        folder: PathBuf,
        /// The error of the system or of SQLite.
        source: SqliteError,
    },
}

impl OpenError {
    /// Whether the same call may succeed later without anybody's changing anything: [`Busy`](Self::Busy) alone.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Missing { .. }
            | Self::NotOurs { .. }
            | Self::Newer { .. }
            | Self::ReadOnly { .. }
            | Self::Full { .. }
            | Self::Damaged { .. }
            | Self::Io { .. }
            | Self::Database { .. } => false,
        }
    }

    pub(super) fn io(folder: &Path, source: io::Error) -> Self {
        let folder = folder.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { folder }
            }
            _ if durable::is_full(&source) => Self::Full { folder },
            _ => Self::Io { folder, source },
        }
    }

    pub(super) fn not_ours(folder: &Path, found: &'static str) -> Self {
        Self::NotOurs { folder: folder.to_owned(), found }
    }

    pub(super) fn sqlite(folder: &Path, error: &rusqlite::Error) -> Self {
        let folder_of = || folder.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                Self::not_ours(folder, "its events.db is no SQLite database")
            }
            Some(ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { folder: folder_of(), problem: error.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::Full { folder: folder_of() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy { folder: folder_of() }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { folder: folder_of() }
            }
            _ => Self::Database { folder: folder_of(), source: error.into() },
        }
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
pub enum SqliteError {
    /// Nothing was written, and the store can be used on.
    #[error("the disk is full: free some space and append again")]
    Full,
    /// Another process holds the database for longer than we wait.
    #[error("the database is busy: try again")]
    Busy,
    /// The store was opened for reading only.
    #[error("the store was opened for reading only")]
    ReadOnly,
    /// A write failed in a way that leaves open what is on the disk; nothing is appended from
    /// then on.
    #[error("an earlier write failed, nothing is appended any more: open the store again")]
    Poisoned,
    /// The thread that writes is gone: it panicked, which is a bug.
    #[error(
        "the thread that writes to the store has panicked, which is a bug: report it, and open the store again"
    )]
    Stopped,
    /// An event in the database is none that this program wrote.
    #[error("{0}")]
    Damaged(&'static str),
    /// Anything else.
    #[error("{message} (SQLite code {code})")]
    Other {
        /// SQLite's extended result code; 0 where the error is not SQLite's own.
        code: i32,
        /// Its message, which names tables and files and never values.
        message: String,
    },
}

impl From<&rusqlite::Error> for SqliteError {
    fn from(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Other {
                code: error.sqlite_error().map_or(0, |error| error.extended_code),
                message: error.to_string(),
            },
        }
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        (&error).into()
    }
}

impl From<SqliteError> for StoreError {
    fn from(error: SqliteError) -> Self {
        Self::backend(error == SqliteError::Busy, error)
    }
}
