//! Data keys and their ids.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{Cipher, Secret};

/// The length of a key's id, in bytes.
pub const KEY_ID_BYTES: usize = 18;

/// The opaque id of a data key, as it stands in tokens: only its vault can tell whose it is. It
/// begins with the number of the vault's era in which it was made, in two bytes, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; KEY_ID_BYTES]);

impl KeyId {
    /// The id that [`Display`](fmt::Display) wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A data key (DEK): AES-256-GCM for one stream, subject and generation. It seals and opens, and
/// never shows its secret, which is wiped when the last holder lets go.
pub struct DataKey {
    id: KeyId,
    #[cfg(test)]
    secret: Secret,
    cipher: Cipher,
}

impl DataKey {
    pub(crate) fn new(id: KeyId, secret: &Secret) -> Self {
        Self {
            id,
            #[cfg(test)]
            secret: secret.clone(),
            cipher: Cipher::new(secret),
        }
    }

    /// A key from its bytes: for those who keep keys elsewhere, and for checking the vectors of
    /// `docs/format.md`. A vault's keys are made by the vault and never leave it.
    pub fn from_bytes(id: KeyId, bytes: &[u8; 32]) -> Self {
        Self::new(id, &Secret::copy_of(bytes))
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The secret, for tests to compare. What runs needs only its schedule.
    #[cfg(test)]
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    pub(crate) fn cipher(&self) -> &Cipher {
        &self.cipher
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}
