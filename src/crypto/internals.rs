//! Sealing one token by hand, for the tests and the benches of this repository.
//!
//! None of it is part of the library's interface, and it changes without notice. Use
//! [`Codec`](crate::layer::Codec), which chooses the key and counts what it seals.

pub use super::{
    context::{Associated, Context, PublicDigest, Purpose},
    key::DataKey,
    plaintext::{Body, Plaintext, UnsealError},
    seal::{SealError, SealPart, open, seal},
    tag::EventTag,
    token::{MIN_TOKEN_BYTES, Token, TokenError},
};
