//! Keys made of keys: one for each purpose, so that none is used for two.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{SECRET_BYTES, Secret};

/// HMAC-SHA-256 under a secret, which HMAC pads with zeros to its block of 64 bytes (RFC 2104).
pub(crate) fn keyed(secret: &Secret) -> Hmac<Sha256> {
    let mut padded = Zeroizing::new([0; 64]);
    padded[..SECRET_BYTES].copy_from_slice(secret.as_slice());
    Hmac::<Sha256>::new((&*padded).into())
}

/// The key for the purpose that the label names: HMAC-SHA-256 of the label under the secret, a
/// pseudorandom function (NIST SP 800-108r1, with one block of output).
pub(crate) fn derive(secret: &Secret, label: &[u8]) -> Secret {
    let mut derived = Secret::default();
    derived.copy_from_slice(&keyed(secret).chain_update(label).finalize().into_bytes());
    derived
}
