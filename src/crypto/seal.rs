//! Parts into tokens, tokens into parts.

use super::{
    Body, Cipher, Context, DataKey, Plaintext, PublicDigest, RandomError, TAG_BYTES, Token,
    UnsealError, plaintext,
    token::{BODY_AT, NONCE_AT},
};
use crate::event::PolicyDigest;

/// What one token is to hold.
#[derive(Debug, Clone, Copy)]
pub struct SealPart<'a> {
    /// The key to seal it under.
    pub key: &'a DataKey,
    /// The policy that said so.
    pub policy: PolicyDigest,
    /// What it holds of the body.
    pub body: Body<'a>,
    /// What it holds of the metadata: fillings as text, see
    /// `event::Fillings`; empty where it holds nothing of it.
    pub metadata: &'a str,
    /// Zero bytes are added up to a multiple of this many bytes, so that lengths tell less; 0
    /// and 1 add none.
    pub pad: usize,
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No nonce could be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A part has 4 GiB or more.
    #[error("a part of 4 GiB or more cannot be sealed")]
    TooLong,
}

/// Seals the parts of one event, each to a token, in the same order. `public` is the digest of
/// what will be in clear beside them.
///
/// # Errors
/// [`SealError`]; nothing is sealed then.
pub fn seal(
    parts: &[SealPart<'_>],
    context: &Context<'_>,
    public: &PublicDigest,
) -> Result<Vec<Token>, SealError> {
    seal_with(parts, context, public, Cipher::seal_in_place)
}

/// As [`seal`] under given nonces, for the vectors of `docs/format.md` alone.
#[cfg(test)]
pub(crate) fn seal_with_nonces(
    parts: &[SealPart<'_>],
    context: &Context<'_>,
    public: &PublicDigest,
    nonces: &[[u8; super::NONCE_BYTES]],
) -> Result<Vec<Token>, SealError> {
    let left = std::cell::RefCell::new(nonces.iter());
    seal_with(parts, context, public, |cipher, associated, buffer, at| {
        let nonce = left.borrow_mut().next().ok_or(RandomError)?;
        cipher.seal_with_nonce(*nonce, associated, buffer, at)
    })
}

fn seal_with(
    parts: &[SealPart<'_>],
    context: &Context<'_>,
    public: &PublicDigest,
    encrypt: impl Fn(&Cipher, &[u8], &mut Vec<u8>, usize) -> Result<(), RandomError>,
) -> Result<Vec<Token>, SealError> {
    let associated = context.associated(parts.iter().map(|part| part.key.id()), public);
    parts
        .iter()
        .map(|part| {
            let length =
                plaintext::length(&part.body, part.metadata, part.pad).ok_or(SealError::TooLong)?;
            let mut buffer = Token::begin(part.key.id(), length);
            plaintext::write(&mut buffer, part.policy, &part.body, part.metadata, length);
            encrypt(part.key.cipher(), &associated, &mut buffer, NONCE_AT)?;
            Ok(Token::sealed(buffer))
        })
        .collect()
}

/// Opens a token. `associated` is what [`Context::associated`] gives for the event as it is stored.
///
/// # Errors
/// [`UnsealError`].
pub fn open(token: Token, key: &DataKey, associated: &[u8]) -> Result<Plaintext, UnsealError> {
    if token.is_stub() {
        return Err(UnsealError::Purged);
    }
    let nonce = token.nonce();
    let mut bytes = token.into_bytes();
    let end = bytes.len() - TAG_BYTES;
    if !key.cipher().open_in_place(&nonce, associated, &mut bytes[BODY_AT..]) {
        return Err(UnsealError::Tampered);
    }
    Plaintext::parse(bytes, BODY_AT, end).map_err(UnsealError::Malformed)
}
