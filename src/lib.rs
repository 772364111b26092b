#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod audit;
pub mod crypto;
mod durable;
pub mod erasure;
pub mod event;
pub mod layer;
mod own;
pub mod policy;
#[cfg(feature = "cli")]
pub mod service;
pub mod store;
pub mod vault;

/// The examples of the guide, which run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
mod guide {}
