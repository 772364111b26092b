//! Sealing and opening: data keys, tokens, and what a token is bound to.
//!
//! Used by `vault`, which keeps the keys, and by `layer`, which turns events into tokens and
//! back. This room knows of events, but of no store, vault or policy. The format is specified in
//! `docs/format.md`.

mod aead;
mod key;

pub(crate) use aead::{
    Cipher, NONCE_BYTES, SECRET_BYTES, Secret, TAG_BYTES, random, random_secret,
};
pub use aead::{OpenError, RandomError};
pub use key::{DataKey, KeyId};
