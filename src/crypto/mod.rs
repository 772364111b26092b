//! Sealing and opening: data keys, tokens, and what a token is bound to.
//!
//! There is nothing to call here. [`Oubliette`](crate::Oubliette) seals and opens events; [`Codec`](crate::Codec) does it
//! for one event at a time. [`RandomError`] is the error of both where the system has no random bytes.
//! [`guide::format`](crate::guide::format) specifies the bytes, and
//! [`guide::how_it_forgets`](crate::guide::how_it_forgets) is the argument.

// Used by `vault`, which keeps the keys, and by `layer`, which turns events into tokens and
// back. This room knows of events, but of no store, vault or policy.

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
pub(crate) use context::{Associated, Context, PublicDigest, Purpose};
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
