//! What wraps the root key at rest: AES-256-GCM under a key that is derived from the
//! key-encryption key and a salt.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{error::SlotError, kek::KekSecret, state::WrappedBy};
use crate::crypto::{Cipher, NONCE_BYTES, Secret, random};

pub(super) const SALT_BYTES: usize = 16;

/// What a passphrase costs to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// KiB.
    pub(super) memory: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Cost {
    pub(super) const NONE: Self = Self { memory: 0, passes: 0, lanes: 0 };

    /// What new wrappings cost: RFC 9106, section 4, the second recommended option (64 MiB, 3
    /// passes, 4 lanes); more than the least that OWASP's Password Storage Cheat Sheet asks for.
    #[cfg(not(test))]
    const TODAY: Self = Self { memory: 64 * 1024, passes: 3, lanes: 4 };
    #[cfg(test)]
    const TODAY: Self = Self { memory: 64, passes: 1, lanes: 1 };

    /// A slot that asks for more than this was not written by us: it would take a machine down.
    const MOST: Self = Self { memory: 1024 * 1024, passes: 64, lanes: 64 };
}

/// How a root key is wrapped, as the slot says in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrapping {
    Nothing,
    Key { salt: [u8; SALT_BYTES] },
    Passphrase { cost: Cost, salt: [u8; SALT_BYTES] },
}

impl Wrapping {
    /// In words, for anyone who gave the wrong thing.
    pub(super) fn by(&self) -> WrappedBy {
        match self {
            Self::Nothing => WrappedBy::Nothing,
            Self::Key { .. } => WrappedBy::Key,
            Self::Passphrase { .. } => WrappedBy::Passphrase,
        }
    }
}

/// Wraps and unwraps.
pub(super) struct Seal {
    pub(super) wrapping: Wrapping,
    cipher: Option<Cipher>,
}

impl Seal {
    /// A new wrapping, under a salt of its own.
    pub(super) fn new(secret: &KekSecret) -> Result<Self, SlotError> {
        let wrapping = match secret {
            KekSecret::None => Wrapping::Nothing,
            KekSecret::Key(_) => Wrapping::Key { salt: random()? },
            KekSecret::Passphrase(_) => Wrapping::Passphrase { cost: Cost::TODAY, salt: random()? },
        };
        Self::of(&wrapping, secret)
    }

    /// The seal of a wrapping that is there.
    ///
    /// # Errors
    /// [`SlotError::KekMissing`], [`SlotError::KekNotNeeded`], and [`SlotError::WrongKek`]
    /// where what was given is of another kind.
    pub(super) fn of(wrapping: &Wrapping, secret: &KekSecret) -> Result<Self, SlotError> {
        let cipher = match (wrapping, secret) {
            (Wrapping::Nothing, KekSecret::None) => None,
            (Wrapping::Nothing, _) => return Err(SlotError::KekNotNeeded),
            (_, KekSecret::None) => return Err(SlotError::KekMissing(wrapping.by())),
            (Wrapping::Key { salt }, KekSecret::Key(key)) => Some(cipher(key, salt)),
            (Wrapping::Passphrase { cost, salt }, KekSecret::Passphrase(passphrase)) => {
                Some(cipher(&*stretch(passphrase.bytes(), salt, *cost)?, salt))
            }
            _ => return Err(SlotError::WrongKek(wrapping.by())),
        };
        Ok(Self { wrapping: wrapping.clone(), cipher })
    }

    /// Nonce, and the wrapped key with its tag.
    pub(super) fn close(
        &self,
        bound: &[u8],
        key: &Secret,
    ) -> Result<([u8; NONCE_BYTES], Zeroizing<Vec<u8>>), SlotError> {
        let mut wrapped = Zeroizing::new(Vec::with_capacity(48));
        wrapped.extend_from_slice(key.as_slice());
        let nonce = match &self.cipher {
            Some(cipher) => cipher.seal_in_place(bound, &mut wrapped, 0)?,
            None => {
                wrapped.resize(48, 0);
                [0; NONCE_BYTES]
            }
        };
        Ok((nonce, wrapped))
    }

    /// The key, or `None` where it does not open.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        bound: &[u8],
        wrapped: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        match &self.cipher {
            Some(cipher) => cipher.open(nonce, bound, wrapped).ok(),
            None => Some(Zeroizing::new(wrapped.to_vec())),
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({:?})", self.wrapping)
    }
}

/// The cipher of a key-encryption key and a salt. The key itself seals nothing, so that the same one
/// may serve elsewhere.
fn cipher(key: &[u8; 32], salt: &[u8; SALT_BYTES]) -> Cipher {
    let mut derived = Secret::default();
    // A key of any length is a key to HMAC.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(b"oubliette root slot, wrapping, format 2");
        mac.update(salt);
        derived.copy_from_slice(&mac.finalize().into_bytes());
    }
    Cipher::new(&derived)
}

/// Argon2id (RFC 9106).
fn stretch(passphrase: &[u8], salt: &[u8; SALT_BYTES], cost: Cost) -> Result<Secret, SlotError> {
    let odd = || SlotError::Damaged("what it asks of a passphrase is out of bounds".into());
    let most = Cost::MOST;
    if cost.memory > most.memory || cost.passes > most.passes || cost.lanes > most.lanes {
        return Err(odd());
    }
    let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(32)).map_err(|_| odd())?;
    let mut key = Secret::default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(|_| odd())?;
    Ok(key)
}
