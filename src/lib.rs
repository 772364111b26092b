// A page of rustdoc has no files beside it. Of two definitions of a link the first one counts, so these
// go before those that the README ends with.
#![doc = include_str!("links.md")]
#![doc = include_str!("../README.md")]
//!
//! ## Documents
//!
//! The files that are named above (`docs/guide.md`, `SECURITY.md` and so on) are in the repository and in
//! the crate's package, beside `Cargo.toml`. Rustdoc does not carry them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod audit;
pub mod crypto;
pub mod erasure;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod layer;
pub mod policy;
mod runtime;
pub mod store;
pub mod vault;
#[doc(hidden)]
pub mod words;

// What most programs name.
pub use erasure::{Erased, ErasureError, Plan};
pub use event::{
    Content, EventId, EventType, Json, NewEvent, Payload, RecordedEvent, StreamName, Subject,
    Tombstone,
};
pub use layer::{Codec, Oubliette};
pub use policy::Policy;
pub use runtime::TaskError;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{
    EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions, StoreError,
};
pub use vault::{OpenVaultError, Vault, VaultError};

use oubliette_files::{durable, own, without_mark};

/// The examples of the guide, which run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
mod guide {}
