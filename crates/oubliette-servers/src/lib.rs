//! Real servers for tests: each in a temporary folder and on a free port, gone with its handle, and killed with the
//! test where that is.
//!
//! Nothing here stands in for a server. Where one is not installed, its `start` says `None`, and the test says
//! [`skipped`]: loudly, and as a failure where `./test` promised the server by a variable.

#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(unix)]

mod kafka;
mod nats;
mod postgres;
mod program;

pub use kafka::Kafka;
pub use nats::Nats;
pub use postgres::Postgres;
pub use program::{Program, free_port, wait_until};

/// Says that a test is skipped, and why. `./test` sets `promise` where what it needs is available: there nothing is
/// skipped because our own code cannot do it any more.
///
/// # Panics
/// Where it was promised.
#[track_caller]
pub fn skipped(promise: &str, why: &str) {
    assert!(std::env::var_os(promise).is_none(), "{why}, though {promise} promises it");
    eprintln!("SKIPPED: {why}");
}

/// Notes how a case of the conformance suite went, for the table that `./test stores` prints: a line in the file that
/// `OUBLIETTE_CASES` names.
pub fn note_case(store: &str, layout: &str, case: &str, passed: bool) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("OUBLIETTE_CASES") else { return };
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    // In one write, because others append as well.
    let line = format!("{store}\t{layout}\t{case}\t{}\n", if passed { "ok" } else { "FAILED" });
    file.write_all(line.as_bytes()).unwrap();
}
