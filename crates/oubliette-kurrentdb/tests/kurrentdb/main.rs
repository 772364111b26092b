//! The store against a model of the server, and against a server where `OUBLIETTE_KURRENTDB` names one.

#![allow(clippy::unwrap_used, clippy::result_large_err)]
#![cfg(unix)]

mod bad_input;
mod common;
mod conformance;
mod faults;
mod model;
mod quickstart;
mod streams;
