//! The stored form of one event, for the tests and the benches of this repository.
//!
//! None of it is part of the library's interface, and it changes without notice. `docs/format.md` specifies
//! what it reads and writes.

pub use super::document::{Document, Draft, NotedHoles, Notes, Parts, Stored, Tokens, parse};
