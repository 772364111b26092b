//! PostgreSQL as an event store: events in tables of their own, beside those of your application.
//!
//! [`PostgresStore`] is an [`EventStore`]: wrap it in [`oubliette::layer::Oubliette`], and what is sealed can be forgotten.
//!
//! ```no_run
//! use oubliette::*;
//! use oubliette_postgres::PostgresStore;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let events = PostgresStore::create("postgres://app@localhost/shop").await?;
//!     let vault = Vault::in_memory()?; // in earnest: `Vault::create`, once, and `Vault::open`
//!     let store = Oubliette::open(events, vault, Policy::sealed_by_default()).await?;
//!
//!     let user = StreamName::new("user-456")?;
//!     let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
//!     store.append_to(&user, ExpectedRevision::NoStream, vec![moved]).await?;
//!     store.forget(&Subject::of(&user), "asked for it").await?;
//!     Ok(())
//! }
//! ```
//!
//! # What it keeps, and how
//!
//! - An append is one statement, and so one round trip and one transaction. What is acknowledged is on the server's disk,
//!   as far as the server's settings let it be: [`PostgresStore::doubts`] says where they do not.
//! - An event's position is the number of its transaction, and its place in it. Reads of all streams and subscriptions
//!   return an event once no older transaction is open, so that none appears before one that was returned already.
//!   A transaction that somebody holds open keeps them waiting; it keeps no append waiting that is for another stream.
//! - [`PostgresStore::append_in`] appends within a transaction of yours, so that your tables and the events commit together.
//! - Where a connection is lost before an answer came, the statement is ended at the server, and the append is asked for
//!   again by its event ids: it is written once, or not.

// `schema` is the format and the way to it, `connect` the pool, `append`, `restore` and `rewrite` the way in, `read` and `subscribe` the
// way out, `scrub` what is done after events were changed. `table` is a store over a table that somebody else made.

mod append;
mod connect;
mod error;
mod options;
mod read;
mod restore;
mod rewrite;
mod rows;
mod schema;
mod scrub;
mod store;
mod subscribe;
mod table;

#[cfg(feature = "sqlx")]
mod sqlx {
    //! What is needed of sqlx, by its parts.
    pub(crate) use sqlx_core::{error::Error, query_as::query_as, sql_str::AssertSqlSafe};
    pub(crate) use sqlx_postgres::PgConnection;
}

pub use error::{OpenError, PostgresError};
pub use options::{Options, Payloads};
pub use store::PostgresStore;
pub use table::{TableError, TableMapping, TableStore};

#[cfg(doc)]
use oubliette::store::EventStore;

/// The pages of these stores, whose examples compile.
#[cfg(doctest)]
#[doc = include_str!("pages/postgres.md")]
#[doc = include_str!("pages/postgres-table.md")]
mod pages {}
