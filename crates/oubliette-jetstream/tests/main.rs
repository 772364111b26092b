//! The store against real servers: NATS' newest, and Debian's for what an old one can do.

#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(unix)]

mod cluster;
mod common;
mod conformance;
mod crash;
mod ids;
mod limits;
mod old_server;
mod opening;
mod purging;
mod quickstart;
mod reading;
mod rights;
mod subscriptions;
