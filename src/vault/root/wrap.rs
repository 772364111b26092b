//! What wraps the root key at rest: AES-256-GCM under a key that is derived from the
//! key-encryption key and a salt.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::{kek::WrappedBy, kek_secret::KekSecret};
use crate::{
    crypto::{Cipher, Label, NONCE_BYTES, SECRET_BYTES, Secret, TAG_BYTES, derive_salted, random},
    vault::root::SlotError,
};

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
                Some(cipher(&stretch(passphrase.bytes(), salt, *cost)?, salt))
            }
            _ => return Err(SlotError::WrongKek(wrapping.by())),
        };
        Ok(Self { wrapping: wrapping.clone(), cipher })
    }

    /// The key as it is stored: a sealed blob; where nothing wraps, the key between zeros.
    pub(super) fn close(
        &self,
        bound: &[u8],
        key: &Secret,
    ) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        Ok(Zeroizing::new(match &self.cipher {
            Some(cipher) => cipher.seal_blob(bound, key.as_slice())?,
            None => [&[0; NONCE_BYTES], key.as_slice(), &[0; TAG_BYTES]].concat(),
        }))
    }

    /// The key, or `None` where it does not open.
    pub(super) fn open(&self, bound: &[u8], stored: &[u8]) -> Option<Secret> {
        match &self.cipher {
            Some(cipher) => cipher.open_blob(bound, stored)?.first_chunk().map(Secret::copy_of),
            None => stored.get(NONCE_BYTES..)?.first_chunk().map(Secret::copy_of),
        }
    }
}

/// Whether this is a key as it is stored where nothing wraps it.
pub(super) fn is_bare(stored: &[u8]) -> bool {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    is_zero(&stored[..NONCE_BYTES]) && is_zero(&stored[NONCE_BYTES + SECRET_BYTES..])
}

/// The cipher of a key-encryption key and a salt. The key itself seals nothing, so that the same one
/// may serve elsewhere.
fn cipher(key: &Secret, salt: &[u8; SALT_BYTES]) -> Cipher {
    Cipher::new(&derive_salted(key, Label::ROOT_SLOT, salt))
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
