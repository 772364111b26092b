//! Events into tokens, and back.

pub mod document;
