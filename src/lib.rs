//! Oubliette: an event-store layer that can forget.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod crypto;
pub mod event;
pub mod policy;
pub mod store;
pub mod vault;
