//! An application on cqrs-es that can forget: [`SealedRepository`] wraps the repository that it has, and seals what goes to
//! its tables.
//!
//! ```no_run
//! use cqrs_es::{CqrsFramework, persist::PersistedEventStore};
//! use oubliette::{layer::{Codec, Oubliette}, policy::Policy, vault::Vault};
//! use oubliette_cqrs_es::{SealedRepository, bank::{Account, AccountEvent, POLICY}};
//! use oubliette_postgres::PostgresStore;
//! use postgres_es::PostgresEventRepository;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let url = "postgres://app@localhost/bank";
//! # let vault = Vault::in_memory()?;
//! let policy = Policy::parse(POLICY)?;
//! // Forgets, and keeps what the vault announces. Opened before anything is served.
//! let layer = Oubliette::open(PostgresStore::create(url).await?, vault.clone(), policy.clone()).await?;
//!
//! let pool = sqlx::PgPool::connect(url).await?;
//! let repository = SealedRepository::new(PostgresEventRepository::new(pool), Codec::new(vault, policy))
//!     .with_hole_event::<Account>(|hole| AccountEvent::in_place_of(hole));
//! repository.settle::<Account>().await?; // what a crash cut off
//! let store = PersistedEventStore::<_, Account>::new_snapshot_store(repository, 100);
//! let cqrs = CqrsFramework::new(store, vec![], ());
//! # Ok(())
//! # }
//! ```
//!
//! # What is what
//!
//! | cqrs-es | Oubliette |
//! | --- | --- |
//! | an aggregate, `A::TYPE` and its id | the stream `TYPE-id` ([`stream_of`]), and by itself the subject of that name |
//! | `event_type()` | the event's type; `event_version()` is sealed with it |
//! | the `payload` column | the public part, and the token |
//! | the `metadata` column | public metadata, the layer's notes, and `$event_id` |
//! | a snapshot | an event of one text: all of it is sealed |
//!
//! # Where something is missing
//!
//! An event whose keys are destroyed, in whole or in part, is a [`Hole`]. The framework gets an event of the application's
//! own in its place, the one that [`SealedRepository::with_hole_event`] makes. To leave the event out would take its sequence number
//! away, so that an aggregate whose last events are gone could never be written to again; and one that lost all of them would
//! look as if it had never been. An error would stop the application at each load.
//!
//! A snapshot of which something is missing counts as none: its events are folded again.

// `repository` is the framework's trait, `persist` what it does to store; `rows` seals and opens an event's row, `snapshot` a snapshot's, `replay` the streams
// for queries. `place` binds a row to its place in the table. `bank` is the application, of which nothing here knows.

mod error;
mod hole;
mod persist;
mod place;
mod replay;
mod repository;
mod rows;
mod snapshot;

pub mod bank;

pub use error::SealError;
pub use hole::Hole;
pub use place::{aggregate_of, stream_of};
pub use repository::SealedRepository;
