//! What can go wrong with the server, and with what is stored there.

use std::time::Duration;

use oubliette::{StoreError, TaskError};

/// Why KurrentDB did not do what this store needs. Each message says what to do; none holds a payload, or the password of
/// an address.
///
/// ```no_run
/// use oubliette_kurrentdb::{KurrentError, KurrentStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = match KurrentStore::open("kurrentdb://localhost:2113?tls=false").await {
///     Err(error @ KurrentError::TooOld { .. }) => return Err(format!("upgrade first: {error}").into()),
///     opened => opened?,
/// };
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KurrentError {
    /// The address is none.
    #[error(
        "the address of the KurrentDB server is not one: {0}; write it as kurrentdb://USER:PASSWORD@HOST:2113, with \
         ?tls=false for a server without TLS"
    )]
    Address(&'static str),
    /// An option cannot be.
    #[error("{option} cannot be {value:?}: {hint}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it was.
        value: String,
        /// What it must be.
        hint: &'static str,
    },
    /// The server cannot be reached, or does not let us in.
    #[error("cannot connect to the KurrentDB server at {server}: {why}")]
    Connect {
        /// The server, without user and password.
        server: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The server is older than what the store needs.
    #[error(
        "the server at {server} is version {version}, and this store needs EventStoreDB 22.6 or KurrentDB: earlier ones do \
         not tell where in the whole store an event of a stream is; upgrade the server"
    )]
    TooOld {
        /// The server, without user and password.
        server: String,
        /// Its version.
        version: String,
    },
    /// The user may not do it.
    #[error(
        "the KurrentDB user of this address may not {what}: give them the right, by a role or by the stream's ACL, or use \
         another user"
    )]
    NotAllowed {
        /// What was refused.
        what: String,
    },
    /// The server removes events of a stream that must be kept.
    #[error(
        "the stream {stream:?} has {setting} in its metadata, which removes events that the layer needs; take it out of the \
         stream's metadata"
    )]
    Retention {
        /// The stream, as the server names it.
        stream: String,
        /// The setting, as KurrentDB calls it.
        setting: &'static str,
    },
    /// The stream was deleted for good.
    #[error(
        "the stream {stream:?} was hard-deleted, and KurrentDB takes no event for it any more: use another name"
    )]
    Deleted {
        /// The stream, as the server names it.
        stream: String,
    },
    /// There is no connection. Nothing was sent.
    #[error(
        "no answer from KurrentDB for {waited:?}, and nothing was written: {why}; look whether the server is up, and try again"
    )]
    NotConnected {
        /// How long it was tried.
        waited: Duration,
        /// What the client said last.
        why: String,
    },
    /// The server answers what is read, and not what is appended.
    #[error(
        "KurrentDB answers reads, but for {waited:?} did not say what became of an append: {why}; look at the server's log, \
         and retry with the same event ids"
    )]
    NoOutcome {
        /// How long it was tried.
        waited: Duration,
        /// What the client said last.
        why: String,
    },
    /// Others append to the same stream without a pause.
    #[error("other writers were first on this stream for {0:?}, again and again; try again")]
    Contended(Duration),
    /// The server said what this program does not understand.
    #[error(
        "the KurrentDB server's answer is not understood: {0}; is it EventStoreDB 22.6 or KurrentDB?"
    )]
    Answer(String),
    /// An event in the database is none that this library can return.
    #[error("the event cannot be read: {0}")]
    Event(&'static str),
    /// A task did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl KurrentError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NotConnected { .. } | Self::NoOutcome { .. } | Self::Contended(_) => true,
            Self::Task(error) => error.is_temporary(),
            _ => false,
        }
    }
}

impl From<KurrentError> for StoreError {
    fn from(error: KurrentError) -> Self {
        match error {
            KurrentError::Task(error) => Self::Task(error),
            error => Self::backend(error.is_temporary(), error),
        }
    }
}
