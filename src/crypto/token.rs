//! Tokens: what a store holds in place of what was sealed.

use std::fmt;

use super::{KEY_ID_BYTES, KeyId, NONCE_BYTES, TAG_BYTES, base64url, plaintext};

/// The format's version that this program writes, and the only one that it reads.
pub(crate) const VERSION: u8 = 1;
/// AES-256-GCM with a random 96-bit nonce.
pub(crate) const AES_256_GCM: u8 = 1;

const KEY_ID_AT: usize = 2;
pub(super) const NONCE_AT: usize = KEY_ID_AT + KEY_ID_BYTES;
/// Where the ciphertext begins.
pub(super) const BODY_AT: usize = NONCE_AT + NONCE_BYTES;
/// The shortest token, in bytes: one that seals no more than a plaintext's head.
pub const MIN_TOKEN_BYTES: usize = BODY_AT + plaintext::HEAD_BYTES + TAG_BYTES;
/// The length of a stub: a token without its ciphertext.
const STUB_BYTES: usize = BODY_AT + TAG_BYTES;

/// A sealed part: `version(1) alg(1) era(4) key-id(16) nonce(12) ciphertext tag(16)`. A `Token` always has a
/// known version and algorithm, and is long enough. Whether it opens is not known.
///
/// It may be a *stub*, of which the ciphertext is gone: what is left of a token that a store purged, and
/// what the public half of a split event keeps of its private half. The event's tag vouches for it as
/// for the whole token, and it never opens.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

/// Why something is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text is not base64url without padding, in its one canonical spelling.
    #[error("the token is not unpadded base64url")]
    NotBase64,
    /// It is shorter than [`MIN_TOKEN_BYTES`], and no stub.
    #[error("the token is truncated")]
    Truncated,
    /// It is of a version that this program does not know.
    #[error("the token has format version {0}, which this program does not know")]
    UnknownVersion(u8),
    /// It is of an algorithm that this program does not know.
    #[error("the token has the unknown algorithm {0}")]
    UnknownAlgorithm(u8),
}

impl Token {
    /// Reads a token's text.
    ///
    /// # Errors
    /// [`TokenError`]; [`TokenError::NotBase64`] also for padding, white space, the standard
    /// alphabet's `+` and `/`, and trailing bits that are not zero.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        Self::from_bytes(base64url::decode(text).ok_or(TokenError::NotBase64)?)
    }

    /// Takes a token's bytes.
    ///
    /// # Errors
    /// [`TokenError`], except [`TokenError::NotBase64`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, TokenError> {
        // The version comes first, since only it says what the rest should look like.
        match *bytes.first().ok_or(TokenError::Truncated)? {
            VERSION => {}
            other => return Err(TokenError::UnknownVersion(other)),
        }
        match *bytes.get(1).ok_or(TokenError::Truncated)? {
            AES_256_GCM => {}
            other => return Err(TokenError::UnknownAlgorithm(other)),
        }
        if bytes.len() < MIN_TOKEN_BYTES && bytes.len() != STUB_BYTES {
            return Err(TokenError::Truncated);
        }
        Ok(Self(bytes))
    }

    /// The id of the key that sealed it.
    pub fn key_id(&self) -> KeyId {
        KeyId(self.0[KEY_ID_AT..].first_chunk().copied().unwrap_or_default())
    }

    /// Whether its ciphertext is gone.
    pub fn is_stub(&self) -> bool {
        self.0.len() == STUB_BYTES
    }

    /// What is left of it when its ciphertext is taken away.
    #[must_use]
    pub fn stub(&self) -> Self {
        Self([&self.0[..BODY_AT], &self.tag()].concat())
    }

    /// The token's bytes, as they are stored where the payload is bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Appends the token's text.
    pub fn write(&self, text: &mut String) {
        base64url::encode(&self.0, text);
    }

    /// The length of the token's text, in bytes.
    pub fn text_len(&self) -> usize {
        (self.0.len() * 4).div_ceil(3)
    }

    /// The head of a new token, with room for `length` bytes of plaintext and the tag. What it holds is
    /// sealed in it next: see [`Token::sealed`].
    pub(super) fn begin(id: KeyId, length: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(BODY_AT + length + TAG_BYTES);
        buffer.extend_from_slice(&[VERSION, AES_256_GCM]);
        buffer.extend_from_slice(&id.0);
        buffer.extend_from_slice(&[0; NONCE_BYTES]);
        buffer
    }

    /// The token whose buffer was begun by [`Token::begin`] and sealed since, from [`NONCE_AT`] on.
    pub(super) fn sealed(buffer: Vec<u8>) -> Self {
        Self(buffer)
    }

    /// GCM's tag.
    pub(super) fn tag(&self) -> [u8; TAG_BYTES] {
        // A token is longer than that.
        self.0.last_chunk().copied().unwrap_or_default()
    }

    /// The nonce.
    pub(super) fn nonce(&self) -> [u8; NONCE_BYTES] {
        self.0[NONCE_AT..].first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.text_len());
        self.write(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, {} bytes)", self.key_id(), self.0.len())
    }
}
