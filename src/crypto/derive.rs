//! Keys made of keys: one for each purpose, so that none is used for two.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{SECRET_BYTES, Secret};

/// What a derived key is for, as it is hashed. All labels are here, so that no two purposes come to share one, and
/// each is part of a format.
#[derive(Clone, Copy)]
pub(crate) struct Label(&'static [u8]);

impl Label {
    // Of a vault's identity.
    pub(crate) const NAMES: Self = Self(b"oubliette vault 1: names");
    pub(crate) const REFERENCES: Self = Self(b"oubliette vault 1: references");
    pub(crate) const PRIVATE_HALVES: Self = Self(b"oubliette vault 1: private halves");
    pub(crate) const OPENINGS: Self = Self(b"oubliette openings");
    pub(crate) const RETIRE_LIST: Self = Self(b"oubliette retire list");
    // Of an era's secret.
    pub(crate) const KEY_IDS: Self = Self(b"oubliette era 1: key ids");
    pub(crate) const ANNOUNCEMENTS: Self = Self(b"oubliette era 1: announcements");
    pub(crate) const EVENT_TAGS: Self = Self(b"oubliette era 1: event tags");
    pub(crate) const HOLES: Self = Self(b"oubliette era 1: holes");
    // Of a key-encryption key, with a salt.
    pub(crate) const ROOT_SLOT: Self = Self(b"oubliette root slot, wrapping, format 2");

    pub(crate) fn text(self) -> &'static [u8] {
        self.0
    }
}

/// HMAC-SHA-256 under a secret, which HMAC pads with zeros to its block of 64 bytes (RFC 2104).
pub(crate) fn keyed(secret: &Secret) -> Hmac<Sha256> {
    let mut padded = Zeroizing::new([0; 64]);
    padded[..SECRET_BYTES].copy_from_slice(secret.as_slice());
    Hmac::<Sha256>::new((&*padded).into())
}

/// The key for the purpose that the label names: HMAC-SHA-256 of the label under the secret, a
/// pseudorandom function (NIST SP 800-108r1, with one block of output).
pub(crate) fn derive(secret: &Secret, label: Label) -> Secret {
    derive_salted(secret, label, &[])
}

/// The same, of the label and then a salt.
pub(crate) fn derive_salted(secret: &Secret, label: Label, salt: &[u8]) -> Secret {
    let mut derived = Secret::default();
    let whole = keyed(secret).chain_update(label.0).chain_update(salt).finalize();
    derived.copy_from_slice(&whole.into_bytes());
    derived
}
