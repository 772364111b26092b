//! The seam, with the framework above it and a real PostgreSQL beneath. Without one these tests say that they are skipped.

#![allow(clippy::unwrap_used, clippy::panic)]

mod forgotten;
mod outside;
mod sealed;
mod snapshots;
mod world;
mod writers;
