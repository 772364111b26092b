//! Data keys.

use std::fmt;

use super::{Cipher, Secret};
pub(crate) use crate::event::{KEY_ID_BYTES, KeyId};

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
