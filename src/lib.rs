//! Oubliette: an event-store layer that can forget.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod event;
pub mod store;
