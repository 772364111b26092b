//! What can go wrong with the server, the stream, and the messages in it.

use std::time::Duration;

use oubliette::{StoreError, TaskError};

/// Why JetStream did not do what this store needs. Each message says what to do; none holds a payload, or the password of an
/// address.
///
/// ```no_run
/// use oubliette_jetstream::{JetStreamError, JetStreamStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = match JetStreamStore::open("nats://127.0.0.1:4222").await {
///     // The first start.
///     Err(JetStreamError::Missing { .. }) => JetStreamStore::create("nats://127.0.0.1:4222").await?,
///     opened => opened?,
/// };
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JetStreamError {
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
    /// The address is none.
    #[error(
        "the address of the NATS server is not one; write it as nats://HOST:4222 (tls://HOST:4222 with TLS)"
    )]
    Address,
    /// The server cannot be reached, or does not let us in.
    #[error("cannot connect to the NATS server at {server}: {why}")]
    Connect {
        /// The server, without user and password.
        server: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The server has no JetStream, or this account has none.
    #[error(
        "the NATS server at {server} has no JetStream for this account: start it with `-js` or a `jetstream` block, \
         and enable it for the account"
    )]
    NoJetStream {
        /// The server, without user and password.
        server: String,
    },
    /// The user may not do it.
    #[error(
        "the NATS server does not allow it: {said}; the store's page lists the subjects that its user needs"
    )]
    NotAllowed {
        /// What the server said.
        said: String,
    },
    /// There is no such stream.
    #[error(
        "there is no JetStream stream {stream:?} on this server: create the store, or name another stream"
    )]
    Missing {
        /// The stream.
        stream: String,
    },
    /// The stream is another program's.
    #[error(
        "the JetStream stream {stream:?} is not an event store of this library ({found}), and was left as it is; \
         name another stream"
    )]
    NotOurs {
        /// The stream.
        stream: String,
        /// What is there instead.
        found: &'static str,
    },
    /// A newer program made it.
    #[error(
        "the JetStream stream {stream:?} has format {found}, and this program knows up to {known}; it was written by a \
         newer program, use that one"
    )]
    Newer {
        /// The stream.
        stream: String,
        /// The version of its format.
        found: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// The stream, or the server, is set up in a way that loses events or keeps some out.
    #[error(
        "the JetStream stream {stream:?} has {setting} = {value}, which {consequence}; {remedy}"
    )]
    Setting {
        /// The stream.
        stream: String,
        /// The setting, as NATS calls it.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What that would do to events.
        consequence: &'static str,
        /// What to set instead.
        remedy: String,
    },
    /// The stream cannot be made.
    #[error(
        "the JetStream stream {stream:?} cannot be made: {said}; where a limit of the server or of the account is \
         named, raise it, and where subjects overlap, choose another prefix"
    )]
    Create {
        /// The stream.
        stream: String,
        /// What the server said.
        said: String,
    },
    /// The append needs what the server cannot do.
    #[error(
        "several events in one append need atomic batches, which NATS has since 2.12.1; this server is {version}: \
         upgrade it, or append one event at a time"
    )]
    NeedsBatches {
        /// The server's version.
        version: String,
    },
    /// The append needs what the stream was made without.
    #[error(
        "several events in one append need atomic batches, and the JetStream stream {stream:?} has allow_atomic = false, \
         because an older server made it: open it once with `create`, which switches it on"
    )]
    BatchesOff {
        /// The stream.
        stream: String,
    },
    /// There is no connection. Nothing was sent.
    #[error(
        "no connection to the NATS server for {0:?}, and nothing was sent; it is tried again all the time"
    )]
    NotConnected(Duration),
    /// The server, or the stream's leader, does not answer.
    #[error("no answer from JetStream for {0:?}: is the server up, and has the stream a leader?")]
    NoAnswer(Duration),
    /// The server has no room, or another limit of it is reached. Nothing was written.
    #[error("JetStream refuses to store it: {said}; make room, or raise the limit")]
    Full {
        /// What the server said.
        said: String,
    },
    /// The server refuses for another reason. Nothing was written.
    #[error("JetStream says: {said} (error {code})")]
    Refused {
        /// JetStream's number for it.
        code: u64,
        /// What the server said.
        said: String,
    },
    /// The server said what this program does not understand.
    #[error(
        "the NATS server's answer is not understood: {0}; is it JetStream of version 2.9 or later?"
    )]
    Answer(&'static str),
    /// A message in the stream was not written by this library, or was changed.
    #[error("the message is not an event of this library: {0}")]
    Message(&'static str),
    /// Another stream has the name by now.
    #[error(
        "the JetStream stream {stream:?} is not the one that was opened: it was removed and made anew, and its sequences are \
         those of other events. An append that is answered so may be in the new one. Open the store again, begin \
         subscriptions anew, and beneath the layer run `verify`"
    )]
    Replaced {
        /// The stream.
        stream: String,
    },
    /// The server lost what it had acknowledged.
    #[error(
        "the JetStream stream {stream:?} ended at sequence {last}, and {seen} was seen before: the server lost \
         acknowledged events, or was restored from a backup. An append that is answered so may be stored. Open the store \
         again, begin subscriptions anew, and beneath the layer run `verify`"
    )]
    WentBack {
        /// The stream.
        stream: String,
        /// Where it ended.
        last: u64,
        /// What was seen.
        seen: u64,
    },
    /// A task did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl JetStreamError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NotConnected(_) | Self::NoAnswer(_) => true,
            Self::Task(error) => error.is_temporary(),
            _ => false,
        }
    }
}

impl From<JetStreamError> for StoreError {
    fn from(error: JetStreamError) -> Self {
        match error {
            JetStreamError::Task(error) => Self::Task(error),
            // What this server cannot take, another one may.
            JetStreamError::NeedsBatches { .. } | JetStreamError::BatchesOff { .. } => {
                Self::Invalid(error.to_string())
            }
            error => Self::backend(error.is_temporary(), error),
        }
    }
}

/// An error of JetStream's own interface.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) code: u64,
    pub(crate) text: String,
}

/// The numbers of JetStream's errors that this store knows.
pub(crate) mod code {
    pub(crate) const NO_MESSAGE: u64 = 10037;
    pub(crate) const NO_JETSTREAM: [u64; 3] = [10035, 10039, 10076];
    pub(crate) const TOO_LARGE: [u64; 2] = [10054, 10097];
    pub(crate) const NO_STREAM: u64 = 10059;
    pub(crate) const NAME_IN_USE: u64 = 10058;
    pub(crate) const STALE: u64 = 10071;
    /// Somebody else is at the same subject, or at the same message id, in this moment.
    pub(crate) const BUSY: [u64; 2] = [10164, 10158];
    pub(crate) const ROLLUP_REFUSED: u64 = 10111;
    /// A part of the batch did not arrive, or too many batches are in flight.
    pub(crate) const BATCH_AGAIN: [u64; 3] = [10176, 10210, 10211];
    pub(crate) const BATCH_TOO_LARGE: u64 = 10199;
    pub(crate) const BATCH_HAS_KNOWN_ID: u64 = 10201;
    /// No room in the store, the account or the server.
    pub(crate) const FULL: [u64; 4] = [10077, 10002, 10023, 10047];
}

impl From<Said> for JetStreamError {
    fn from(said: Said) -> Self {
        if code::FULL.contains(&said.code) {
            return Self::Full { said: said.text };
        }
        Self::Refused { code: said.code, said: said.text }
    }
}
