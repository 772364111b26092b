//! An event-store layer that can forget.
//!
//! Wrap [`Oubliette`] around the event store you already have. It encrypts the personal part of every event, with a
//! data key for each stream and person, and keeps the keys in a [`Vault`] apart from the events. To forget a person, it
//! destroys their keys: the events stay where they are, with their revisions, positions and public fields, and what was
//! personal in them cannot be read any more.
//!
//! It is
//!
//! - a **layer**: `Oubliette<S>` takes any [`EventStore`] and is one, with the inner store's expected revisions,
//!   positions and retries;
//! - a **codec** for those who own the code that writes to their store: [`Codec`];
//! - a **vault** for data keys, in which a destroyed key is gone from the disk and from old copies, not merely deleted
//!   from a database;
//! - a **policy**: an allow-list that says what is public, whose the rest is, and which streams depend on which:
//!   [`Policy`];
//! - an **embedded event store** on SQLite, one in memory for tests, and a conformance suite for yours. Adapters are crates
//!   of their own: `oubliette-postgres` (also for a table that you have), `oubliette-jetstream` (NATS JetStream) and
//!   `oubliette-kafka` (Apache Kafka);
//! - **ways in and out**: what was in clear before is sealed where it is, or copied in; ciphertext that nobody can read any
//!   more is purged; what comes behind a checkpoint is carried elsewhere.
//!
//! It is not
//!
//! - an event-sourcing framework: no aggregates, no command bus, no engine for projections;
//! - a database encryption product: it hides personal payloads, not the shape of your traffic;
//! - a promise about your disks and backups: [`guide::threat_model`] says what it does not protect against;
//! - legal advice.
//!
//! # Example
//!
//! ```
//! use oubliette::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In memory, for trying things out. Below, both are on disk.
//! let policy = Policy::parse("[[stream]]\nmatch = 'user-{id}'\npublic = ['/country']")?;
//! let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, policy).await?;
//!
//! // Append and read as ever: the layer seals and opens.
//! let user = StreamName::new("user-456")?;
//! let data = Json::parse(r#"{"name":"Erika","country":"DE"}"#)?;
//! let event = NewEvent::new(EventType::new("UserRegistered")?, data);
//! store.append_to(&user, ExpectedRevision::NoStream, vec![event]).await?;
//! let events = store.events(&user, ReadOptions::default()).await?;
//! assert!(matches!(events[0].content(), Content::Clear(_)));
//!
//! // A dry run, and then for good.
//! let subject = Subject::of(&user);
//! assert_eq!(store.plan(&subject).await?.keys(), 1);
//! let erased = store.forget(&subject, "request 2026-117").await?;
//! assert_eq!(erased.keys, 1);
//!
//! // The event is still there, with its public part. A tombstone tells every reader.
//! let events = store.events(&user, ReadOptions::default()).await?;
//! let Content::Partial { data, .. } = events[0].content() else { panic!("only the country is left") };
//! assert_eq!(data.as_json().map(Json::as_str), Some(r#"{"country":"DE"}"#));
//! assert!(matches!(events[1].content(), Content::Tombstone(_)));
//!
//! // What is appended for them now is refused, until `reopen` admits them again.
//! let late = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
//! let refused = store.append_to(&user, ExpectedRevision::Any, vec![late]).await;
//! assert!(matches!(refused, Err(StoreError::Forgotten { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! A program keeps its vault on disk: in a folder, and in a *root slot*, a small file that is overwritten at each erasure.
//! A copy of both together brings everyone back, so keep the slot where no backup of the folder reaches.
//!
//! ```
//! use oubliette::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let (events, folder) = (dir.path().join("events"), dir.path().join("vault"));
//! # let root = dir.path().join("vault.root");
//! # let policy = Policy::sealed_by_default;
//! // Once: such as /srv/bank/vault and /var/lib/bank/vault.root.
//! SqliteStore::create(&events)?;
//! Vault::create(&folder, root.as_path())?;
//!
//! // At each start. Your store comes in place of `SqliteStore`.
//! let vault = Vault::open(&folder, root.as_path())?;
//! let store = Oubliette::open(SqliteStore::open(&events)?, vault, policy()).await?;
//! # drop(store);
//! # Ok(())
//! # }
//! ```
//!
//! [`vault::SlotConfig`] adds mirrors, and wraps the root key by a passphrase or a key-management service. With the
//! features `tpm` and `pkcs11` the slot is in hardware.
//!
//! # Where to look
//!
//! | to | see |
//! | --- | --- |
//! | make or open a vault | [`Vault::create`], [`Vault::open`], [`vault::SlotConfig`] |
//! | say what is public and who depends on whom | [`Policy`], [`guide::policy`] |
//! | open the layer, append, read, subscribe | [`Oubliette::open`], [`EventStore`], [`EventStoreExt`] |
//! | fold over what may be forgotten | [`EventStoreExt::fold`], [`Content`] |
//! | seal and open without a store | [`Codec`] |
//! | forget | [`Oubliette::plan`], [`Oubliette::forget`], [`Oubliette::reopen`] |
//! | seal what was there in clear before | [`Oubliette::seal_existing`], or [`store::copy`] into a layer |
//! | remove ciphertext that nobody can read any more | [`Oubliette::storage`], [`Oubliette::purge`] |
//! | audit | [`Oubliette::inventory`], [`Oubliette::verify`], [`audit`] |
//! | move from one store to another | [`store::copy`], [`store::compare`] |
//! | carry events elsewhere, from a checkpoint | [`store::follow`], [`store::catch_up`] |
//! | write a store's adapter | [`EventStore`], [`store`] |
//!
//! The [`guide`] goes through these step by step. For cryptographers, [`guide::how_it_forgets`] is the argument and
//! [`guide::format`] specifies the bytes. [`guide::data_protection`] is for the data-protection officer.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`event`] | what an event is: names, numbers, payloads, and what a reader gets back |
//! | [`store`] | the `EventStore` trait, the stores that keep its contract, the suite that checks it |
//! | [`policy`] | what is public, whose the rest is, who depends on whom |
//! | [`vault`] | where data keys live and die; the root slot; backups |
//! | [`layer`] | `Oubliette` and `Codec`: seal on append, open on read |
//! | [`erasure`] | forgetting, from plan to tombstones |
//! | [`audit`] | the inventory, `verify` and `drill` |
//! | [`crypto`] | the error of the random generator; everything else is private |
//!
//! # Limits
//!
//! - An event has at most 16 MiB, payload and metadata together; JSON nests at most 128 deep.
//! - Names of streams, subjects and event types have 1 to 255 bytes, and are never encrypted.
//! - A token is 67 bytes longer than what it seals, and a third longer again in JSON.
//! - A key seals at most 2³² payloads; another takes over after 2³¹. Fields of one event may belong to up to 1,024 people.
//! - One process at a time has a vault open. A key takes some hundred bytes; ten million have been tried.
//! - A permit of the codec lasts five minutes. Forgetting waits for appends in flight no longer than that.
//! - It needs a Tokio runtime with timers (`enable_time`). Where there is no runtime the answer is an error, not
//!   a panic; where it has no timers a layer does not open, and a codec does not seal.
//!
//! # Features
//!
//! | feature | default | brings |
//! | --- | --- | --- |
//! | `sqlite` | yes | [`SqliteStore`], and vaults that keep their pages in SQLite |
//! | `backup` | no | `vault::backup`: backups of the vault, sealed with age |
//! | `drill` | no | `audit::drill`: a search of copies and dumps for what would bring somebody back |
//! | `tpm` | no | the root slot, or a counter as a witness, in a TPM 2.0 |
//! | `pkcs11` | no | the root slot in a PKCS#11 token |
//! | `aws-lc` | no | the cipher by AWS-LC in place of the crate `aes-gcm` |
//! | `conformance` | no | `store::conformance`: the suite for a store's adapter |
#![cfg_attr(test, allow(clippy::unwrap_used))]

// A module of the tests is also a program by itself, and names the library as that does.
#[cfg(test)]
extern crate self as oubliette;

pub mod audit;
mod cache;
pub mod crypto;
pub mod erasure;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(doc)]
pub mod guide;
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

/// The example of the README, which runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
