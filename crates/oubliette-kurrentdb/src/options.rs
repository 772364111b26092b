//! How a store is opened.

use std::{fmt, time::Duration};

use crate::{error::KurrentError, names::Prefix, open, store::KurrentStore};

/// How to open a store, where the defaults do not fit.
///
/// ```no_run
/// use oubliette_kurrentdb::KurrentOptions;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let address = "kurrentdb://bank:PASSWORD@node1:2113,node2:2113,node3:2113";
/// let store = KurrentOptions::new(address)
///     .prefix("bank-")
///     .flushes_always() // because neither MemDb nor UnsafeDisableFlushToDisk is set on a node
///     .open()
///     .await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct KurrentOptions {
    address: String,
    prefix: String,
    flushes: bool,
    patience: Duration,
}

impl KurrentOptions {
    /// The defaults, for the server of this connection string, such as `kurrentdb://USER:PASSWORD@HOST:2113`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            prefix: String::new(),
            flushes: false,
            patience: Duration::from_secs(30),
        }
    }

    /// What the names of the store's streams begin with on the server; nothing by default. With a prefix of its own each,
    /// several stores, or a store and other programs, share a server. No prefix may begin with another one.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// States that no node has `MemDb` or `UnsafeDisableFlushToDisk` set. A client cannot ask for it; this takes the sentence
    /// about it out of [`KurrentStore::doubts`], and changes nothing else.
    pub fn flushes_always(mut self) -> Self {
        self.flushes = true;
        self
    }

    /// How long a call waits for a server that is not there, before it fails with a temporary error; half a minute by
    /// default. An append that was sent already waits until it knows what became of it, for as long as no server answers.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens the store. There is nothing to make: streams come to be with their first event.
    ///
    /// # Errors
    /// [`KurrentError`], which says what to do.
    pub async fn open(self) -> Result<KurrentStore, KurrentError> {
        let prefix = Prefix::new(&self.prefix).ok_or_else(|| KurrentError::Option {
            option: "prefix",
            value: self.prefix.clone(),
            hint: "what a stream's name can begin with, at most 128 bytes, and no `$` in front",
        })?;
        open::open(&self.address, prefix, self.flushes, self.patience).await
    }
}

impl fmt::Debug for KurrentOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address, which may hold a password.
        f.debug_struct("KurrentOptions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
