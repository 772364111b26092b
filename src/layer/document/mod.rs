//! How a sealed event is stored: the stored form, made of its parts and taken apart.
//!
//! Pure functions; `docs/format.md` is the specification. Used by the layer, and by those who
//! own their store's code path. What is written here is bound by the digest of [`Draft`], and
//! what is read is checked against the digest of [`Stored`]: both come from the same bytes that
//! the store keeps.

mod digest;
mod notes;
mod read;
mod write;

pub use notes::{NotedHoles, Notes};
pub(crate) use read::Head;
pub use read::{Document, Parts, Stored, Tokens, parse};
pub use write::Draft;

use crate::{
    crypto::{TokenError, UnsealError},
    store::Unreadable,
};

impl From<TokenError> for Unreadable {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotBase64 => Self::NotBase64,
            TokenError::Truncated => Self::Truncated,
            TokenError::UnknownVersion(version) => Self::Version(version),
            TokenError::UnknownAlgorithm(algorithm) => Self::Algorithm(algorithm),
        }
    }
}

impl From<UnsealError> for Unreadable {
    fn from(error: UnsealError) -> Self {
        match error {
            UnsealError::Tampered => Self::Tampered,
            UnsealError::Purged => Self::Purged,
            UnsealError::Malformed(why) => Self::Malformed(why),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod vectors;
