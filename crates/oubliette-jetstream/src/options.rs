//! How a store is opened.

use std::{fmt, time::Duration};

use async_nats::ConnectOptions;

use crate::{
    error::JetStreamError,
    open,
    store::JetStreamStore,
    subject::{Prefix, is_stream},
};

/// How to open a store, where the defaults do not fit.
///
/// ```no_run
/// use oubliette_jetstream::JetStreamOptions;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = JetStreamOptions::new("nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222")
///     .stream("BANK")
///     .prefix("bank.events")
///     .replicas(3)
///     .synced_always() // because `sync_interval: always` stands in the servers' configuration
///     .create()
///     .await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct JetStreamOptions {
    pub(crate) address: String,
    pub(crate) connect: Option<ConnectOptions>,
    pub(crate) stream: String,
    pub(crate) prefix: String,
    pub(crate) replicas: u64,
    pub(crate) synced: bool,
    pub(crate) patience: Duration,
    pub(crate) batch: usize,
}

impl JetStreamOptions {
    /// The defaults: stream `OUBLIETTE`, subjects `oubliette.*`, one replica. Several addresses are parted by commas.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            connect: None,
            stream: "OUBLIETTE".to_owned(),
            prefix: "oubliette".to_owned(),
            replicas: 1,
            synced: false,
            patience: Duration::from_secs(30),
            batch: 1000,
        }
    }

    /// The JetStream stream that holds the events: letters, digits, `-` and `_`.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = name.into();
        self
    }

    /// What the subjects of the events begin with: one or more such words, parted by dots.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many servers keep each event, where the store is made: 1, 3 or 5.
    pub fn replicas(mut self, count: u64) -> Self {
        self.replicas = count;
        self
    }

    /// States that `sync_interval: always` stands in the configuration of every server. A client cannot ask for it; this
    /// takes the sentence about it out of [`JetStreamStore::doubts`], and changes nothing else.
    pub fn synced_always(mut self) -> Self {
        self.synced = true;
        self
    }

    /// How long a call waits for a server that is not there, before it fails with a temporary error; half a minute by
    /// default. An append that was sent already waits until it knows what became of it, however long that takes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many events one append may have: 1000, as the servers take them in a batch, unless their configuration has
    /// another number in `limits { batch { max_msgs } }`. The layer makes two events of one that is split.
    pub fn batch_limit(mut self, events: usize) -> Self {
        self.batch = events;
        self
    }

    /// Credentials, certificates and what else the client needs to get in. The store sets its own callbacks for events and
    /// for delays between connections.
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.connect = Some(options);
        self
    }

    /// Opens the store that is there.
    ///
    /// # Errors
    /// [`JetStreamError`], which says what to do: [`Missing`](JetStreamError::Missing) where there is none.
    pub async fn open(self) -> Result<JetStreamStore, JetStreamError> {
        self.check()?;
        open::open(self, false).await
    }

    /// Opens the store that is there, and makes it where it is missing. A store that an older server made gets what the
    /// server can do by now.
    ///
    /// # Errors
    /// As [`JetStreamOptions::open`].
    pub async fn create(self) -> Result<JetStreamStore, JetStreamError> {
        self.check()?;
        open::open(self, true).await
    }

    fn check(&self) -> Result<(), JetStreamError> {
        let refuse = |option, value: &str, hint| JetStreamError::Option {
            option,
            value: value.to_owned(),
            hint,
        };
        if !is_stream(&self.stream) {
            return Err(refuse(
                "stream",
                &self.stream,
                "letters, digits, - and _, at most 128 of them",
            ));
        }
        if Prefix::new(&self.prefix).is_none() {
            let hint = "words of letters, digits, - and _, parted by dots, at most 128 bytes";
            return Err(refuse("prefix", &self.prefix, hint));
        }
        if !matches!(self.replicas, 1 | 3 | 5) {
            return Err(refuse("replicas", &self.replicas.to_string(), "1, 3 or 5"));
        }
        Ok(())
    }
}

impl fmt::Debug for JetStreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the address, which may hold a password, nor the client's options, which hold credentials.
        f.debug_struct("JetStreamOptions")
            .field("stream", &self.stream)
            .field("prefix", &self.prefix)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}
