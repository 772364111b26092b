//! Bytes that tell nothing without the vault, each a type of its own. Their text is
//! base64url without padding, in its one canonical spelling.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text is not so many bytes in unpadded base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0} bytes in base64url without padding")]
pub struct OpaqueError(usize);

macro_rules! opaque {
    ($(#[$doc:meta])* $vis:vis $type:ident, $bytes:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis struct $type(pub [u8; $bytes]);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl FromStr for $type {
            type Err = OpaqueError;
            fn from_str(text: &str) -> Result<Self, OpaqueError> {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
                bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(OpaqueError($bytes))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// The length of a key's id, in bytes.
pub const KEY_ID_BYTES: usize = 20;

opaque! {
    /// The opaque id of a data key, as it is in tokens: only its vault can tell whose it is. It
    /// begins with the era of the vault in which it was made.
    pub KeyId, KEY_ID_BYTES
}

/// The length of an era's name, in bytes.
pub(crate) const ERA_BYTES: usize = 4;

opaque! {
    /// An era of a vault: random bytes, which do not tell others how many there were before, nor which of two
    /// was first.
    pub Era, ERA_BYTES
}

impl KeyId {
    /// The era of the vault in which it was made.
    pub fn era(&self) -> Era {
        let [a, b, c, d, ..] = self.0;
        Era([a, b, c, d])
    }
}

opaque! {
    /// Identifies an erasure in one stream: in each stream it is another one, so that two streams do not
    /// show that one erasure was in both. Only the vault can tell which erasure it is.
    pub ErasureRef, 16
}

opaque! {
    /// The id of a signing key, computed from its public key.
    pub SigningKeyId, 16
}

opaque! {
    /// The public key of a signing key (Ed25519).
    pub VerifyingKey, 32
}

opaque! {
    /// An Ed25519 signature.
    pub Signature, 64
}

opaque! {
    /// A SHA-256 digest.
    pub(crate) Digest, 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_id_has_one_spelling() {
        let id = ErasureRef([0xfb; 16]);
        assert_eq!(id.to_string(), "-_v7-_v7-_v7-_v7-_v7-w");
        assert_eq!(id.to_string().parse(), Ok(id));
        // Padding, another alphabet, bits to spare, another length.
        for odd in ["-_v7-_v7-_v7-_v7-_v7-w==", "+/v7+/v7+/v7+/v7+/v7+w", "-_v7-_v7-_v7-_v7-_v7-x"]
        {
            assert_eq!(odd.parse::<ErasureRef>(), Err(OpaqueError(16)), "{odd}");
        }
        assert!("".parse::<ErasureRef>().is_err());
        assert!(id.to_string().parse::<Signature>().is_err());
    }
}
