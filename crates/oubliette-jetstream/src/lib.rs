//! NATS JetStream as the event store beneath Oubliette.
//!
//! Each event stream is a subject, each event a message. Revisions are checked, several events are stored as one, and ids
//! are recognised by the server itself, so that any number of processes may use one store. NATS 2.12.1 or later; 2.9 for
//! stores that append one event at a time.
//!
//! ```no_run
//! use oubliette::*;
//! use oubliette_jetstream::JetStreamStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = JetStreamStore::create("nats://127.0.0.1:4222").await?;
//! for doubt in store.doubts() {
//!     eprintln!("{doubt}"); // what an acknowledged event has to fear from this server
//! }
//! // Beneath the layer, which seals what is personal.
//! # let (folder, root) = (std::path::Path::new("vault"), std::path::Path::new("vault.root"));
//! let vault = Vault::open(folder, root)?;
//! let bank = Oubliette::open(store, vault, Policy::sealed_by_default()).await?;
//! let user = StreamName::new("user-456")?;
//! let event = NewEvent::new(EventType::new("Registered")?, Json::parse(r#"{"name":"Annika"}"#)?);
//! bank.append_to(&user, ExpectedRevision::NoStream, vec![event]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`JetStreamStore::create`] makes the stream, [`JetStreamStore::open`] opens one that is there and refuses what is set up
//! so that it would lose events. [`JetStreamOptions`] has the rest: names, credentials, replicas.

// `link` is the connection and `open` the way to a store; `subject` and `envelope` are the format, `config` what is asked of the
// stream, and `identity` which one it is; `append` and `ids` are the way in, `pages`, `read` and `subscription` the way out.

mod append;
mod config;
mod envelope;
mod error;
mod identity;
mod ids;
mod link;
mod open;
mod options;
mod pages;
mod purge;
mod read;
mod store;
mod subject;
mod subscription;

pub use async_nats::ConnectOptions;
pub use error::JetStreamError;
pub use options::JetStreamOptions;
pub use store::JetStreamStore;

/// The page of this crate, whose examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
