//! Signatures (Ed25519, RFC 8032): what a vault says in clear, and others must be able to check.

use std::fmt;

use ed25519_dalek::Signer;
use sha2::{Digest, Sha256};

use super::{RandomError, SECRET_BYTES, Secret, random_secret};
use crate::event::{Signature, SigningKeyId, VerifyingKey, framed};

/// A key that signs. Its secret is wiped when it is dropped.
pub(crate) struct SigningKey(Box<ed25519_dalek::SigningKey>);

impl SigningKey {
    /// A new one from the operating system's generator. No id of one begins with `-`: on a command line it would
    /// pass for an option.
    pub(crate) fn generate() -> Result<Self, RandomError> {
        loop {
            let secret = random_secret()?;
            let key = Self::from_secret(&secret);
            if !key.public().id().to_string().starts_with('-') {
                return Ok(key);
            }
        }
    }

    pub(crate) fn from_secret(secret: &[u8; SECRET_BYTES]) -> Self {
        Self(Box::new(ed25519_dalek::SigningKey::from_bytes(secret)))
    }

    pub(crate) fn secret(&self) -> Secret {
        Secret::copy_of(self.0.as_bytes())
    }

    pub(crate) fn public(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }

    /// The same bytes have the same signature: what is signed again is the same event.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl VerifyingKey {
    /// The id under which signatures name it.
    pub fn id(&self) -> SigningKeyId {
        let digest = Sha256::digest(framed(&[b"oubliette signing key", &self.0]));
        let mut id = SigningKeyId([0; 16]);
        id.0.copy_from_slice(&digest[..16]);
        id
    }

    /// Whether this key signed these bytes. Strictly: what one program accepts, all do.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_secret() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_secret(&key.secret());
        assert_eq!(again.public().id(), key.public().id());
        assert!(key.public().verifies(b"said", &again.sign(b"said")));
    }

    /// One in 64 did, and `oubliette keys distrust` took it for options.
    #[test]
    fn no_id_of_a_key_begins_as_an_option_does() {
        for _ in 0..600 {
            let id = SigningKey::generate().unwrap().public().id().to_string();
            assert!(!id.starts_with('-'), "{id}");
        }
    }

    /// The vectors of `docs/format.md`. OpenSSL takes eleven of the bad ones: keys, and an R, of small order.
    #[test]
    fn signatures_are_checked_strictly() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap();
        let bytes = |hex: &serde_json::Value| -> Vec<u8> {
            let (pairs, _) = hex.as_str().unwrap().as_bytes().as_chunks::<2>();
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            pairs.iter().map(|pair| byte(pair)).collect()
        };
        for (kind, fits) in [("good", true), ("bad", false)] {
            for vector in file[kind].as_array().unwrap() {
                let key = VerifyingKey(bytes(&vector["public"]).try_into().unwrap());
                let signature = Signature(bytes(&vector["sig"]).try_into().unwrap());
                let verifies = key.verifies(&bytes(&vector["message"]), &signature);
                assert_eq!(verifies, fits, "{}", vector["name"]);
            }
        }
    }
}
