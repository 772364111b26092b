//! The store against a real PostgreSQL. `./test` installs one; without one these tests say that they are skipped.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod conformance;
mod crash;
mod dumped;
mod in_flight;
mod mapped;
mod purged;
mod quickstart;
mod tls;
mod transactions;
mod world;
