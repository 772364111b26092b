//! Oubliette on Apache Kafka.
//!
//! Kafka is a fine way to hand events on, and a difficult place to keep them: a producer cannot say "append this only if
//! the stream is at revision 7" ([KAFKA-2260](https://issues.apache.org/jira/browse/KAFKA-2260), open since 2015). So
//! there are two things here, and `docs/stores/kafka.md` says when which, and when neither:
//!
//! - [`Relay`] copies any [`EventStore`](oubliette::EventStore) into a topic, keyed by stream: sealed payloads and
//!   tombstones as they are stored. Most want this one. Consumers open events with a
//!   [`Codec`](oubliette::layer::Codec); without the vault they read what is public.
//! - [`KafkaStore`] is an event store on one topic with one partition, with one writer at a time, which keeps the whole
//!   contract: a revision in each record's headers, a transaction an append, a second writer fenced off and told so.
//!
//! ```no_run
//! use oubliette::*;
//! use oubliette_kafka::{KafkaConfig, KafkaStore};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One topic, one partition, one writer.
//! let config: KafkaConfig = "kafka://127.0.0.1:9092/bank-events".parse()?;
//! let events = KafkaStore::create(config).await?;
//!
//! // The layer around it, as around any store.
//! let vault = Vault::open(std::path::Path::new("/srv/bank/vault"), std::path::Path::new("/var/lib/bank/vault.root"))?;
//! let bank = Oubliette::open(events, vault, Policy::sealed_by_default()).await?;
//! let user = StreamName::new("user-456")?;
//! let data = Json::parse(r#"{"name":"Erika"}"#)?;
//! let event = NewEvent::new(EventType::new("UserRegistered")?, data);
//! bank.append_to(&user, ExpectedRevision::NoStream, vec![event]).await?;
//! bank.forget(&Subject::of(&user), "request 2026-117").await?;
//! # Ok(())
//! # }
//! ```
//!
//! It is built on librdkafka, whose build script wants a C compiler, `make` and zlib. With rdkafka's feature `ssl` it wants
//! OpenSSL as well.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

// `config` makes clients, `topic` asks the server, `record` is the format. `log` reads and `session` writes, for both
// the store (`store`, `index`, `plan`, `writer`, `tail`, `pages`, `subscription`) and the `relay`.

mod config;
mod error;
mod index;
mod log;
mod pages;
mod plan;
mod record;
mod relay;
mod session;
mod shared;
mod store;
mod subscription;
mod tail;
mod topic;
mod writer;

pub use config::KafkaConfig;
pub use error::{Cause, KafkaError, OpenError};
pub use index::PassedOver;
pub use rdkafka;
pub use record::NotOurs;
pub use relay::{Progress, Relay, RelayError, relayed};
pub use store::KafkaStore;

/// The page of this crate, whose examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
