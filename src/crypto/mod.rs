//! Sealing and opening: data keys, tokens, and what a token is bound to.
//!
//! Used by `vault`, which keeps the keys, and by `layer`, which turns events into tokens and
//! back. This room knows of events, but of no store, vault or policy. The format is specified in
//! `docs/format.md`.

mod aead;
pub(crate) mod base64url;
mod blob;
mod context;
mod derive;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[doc(hidden)]
pub mod internals;
mod key;
mod nonce;
mod plaintext;
mod seal;
mod sign;
mod tag;
mod token;
#[cfg(feature = "drill")]
mod unbound;

pub use aead::RandomError;
pub(crate) use aead::{Cipher, SECRET_BYTES, Secret, TAG_BYTES, random, random_secret, wipe_stack};
#[cfg(feature = "drill")]
pub(crate) use base64url::decode as from_base64url;
pub(crate) use blob::BLOB_OVERHEAD;
pub(crate) use context::PublicHash;
pub(crate) use context::{Context, PublicDigest, Purpose};
pub(crate) use derive::{Label, derive, derive_salted, keyed};
pub(crate) use key::{DataKey, KEY_ID_BYTES, KeyId};
pub(crate) use nonce::NONCE_BYTES;
pub(crate) use plaintext::{Body, Plaintext, UnsealError};
#[cfg(test)]
pub(crate) use seal::seal_with_nonces;
pub(crate) use seal::{SealError, SealPart, open, seal};
pub(crate) use sign::SigningKey;
pub(crate) use tag::EventTag;
#[cfg(feature = "drill")]
pub(crate) use token::MIN_TOKEN_BYTES;
pub(crate) use token::{Token, TokenError};
#[cfg(feature = "drill")]
pub(crate) use unbound::can_read;
