//! Tables that were there before, as stores.

mod adopted;
mod appending;
mod conformance;
mod crash;
mod in_flight;
mod in_place;
mod mapping;
mod odd_rows;
mod purged;
mod reading;
mod real_rows;
mod refused;
mod seen_in_full;
mod told;

use oubliette::{layer::Oubliette, policy::Policy, vault::Vault};
use oubliette_postgres::{Options, TableMapping, TableStore};
use oubliette_servers::Postgres;

use crate::world::POLICY;

/// As most tables are: a row has an id, two columns for its stream, and a number in it.
pub(crate) const EVENTS: &str = "CREATE TABLE events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL,
    event_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    event_type text NOT NULL,
    payload json NOT NULL,
    metadata json,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (aggregate_type, aggregate_id, sequence)
)";

pub(crate) fn events() -> TableMapping {
    TableMapping::new("events")
        .position("position")
        .stream("{aggregate_type}-{aggregate_id}")
        .revision("sequence")
        .first_revision(1)
        .id("event_id")
        .event_type("event_type")
        .data("payload")
        .metadata("metadata")
        .recorded("at")
}

/// A row as an application inserts it that knows nothing of us.
pub(crate) fn row(stream: (&str, &str), sequence: usize, payload: &str) -> String {
    format!(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, payload) \
         VALUES ('{}', '{}', {sequence}, 'SomethingHappened', '{payload}')",
        stream.0, stream.1
    )
}

/// A database with that table, its name, and the store over it.
pub(crate) async fn table(
    postgres: &Postgres,
    sql: &str,
    mapping: TableMapping,
) -> (String, TableStore) {
    let url = postgres.database();
    let database = database(&url).to_owned();
    postgres.sql(&database, sql);
    let store = TableStore::open(Options::new(&url), mapping).await;
    (database, store.unwrap())
}

pub(crate) fn database(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

pub(crate) async fn layer(store: TableStore) -> Oubliette<TableStore> {
    let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap());
    Oubliette::open(store, vault, policy).await.unwrap()
}
