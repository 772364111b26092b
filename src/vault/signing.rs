//! The keys with which the vault signs what it says in clear: tombstones and announcements.
//!
//! The history of public keys is a note like others, and in every backup. The secret is in none:
//! whoever finds an old backup can open what was sealed then, but cannot have anybody forgotten. So
//! a restored vault finds a history without a secret, and makes a key of its own.

use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::{
    NoteKind, Vault, VaultError,
    disk::{Disk, parts},
    places,
};
use crate::{
    crypto::{Secret, SigningKey},
    event::{Signature, SigningKeyId, Timestamp, VerifyingKey},
};

/// The one note of the kind `SigningKeys`.
const HISTORY: [u8; 16] = [0; 16];

/// A signing key, as the history has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SigningKeyInfo {
    /// Its id, as signatures name it.
    pub key: SigningKeyId,
    /// The public key, which verifies signatures.
    pub public: VerifyingKey,
    /// When this vault took it into its history.
    pub since: Timestamp,
    /// How it came there.
    pub origin: KeyOrigin,
}

impl SigningKeyInfo {
    /// Whether it was made when the vault was restored.
    pub(crate) fn is_restored(&self) -> bool {
        self.origin == KeyOrigin::Restored
    }
}

/// How a signing key came into the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyOrigin {
    /// Made with the vault.
    Created,
    /// Made when the vault was restored from a backup, which has no secret, or when a copy of it was
    /// given a root slot of its own. No earlier key vouches for it.
    Restored,
}

/// What a signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// A key of this vault's history made it.
    Ours,
    /// It names a key of this vault's history, which did not make it.
    Forged,
    /// It names a key of which this vault knows nothing.
    UnknownKey,
}

/// What is in memory of the signing keys.
#[derive(Default)]
pub(super) struct Signing(RwLock<Option<Keys>>);

struct Keys {
    history: Vec<SigningKeyInfo>,
    /// The last one of the history.
    current: SigningKey,
}

impl Signing {
    /// Reads the keys, and makes one where there is none. A history that lies beneath a damaged page
    /// keeps nobody from opening the vault: what needs it says so.
    pub(super) fn load(disk: &Disk) -> Result<Self, VaultError> {
        match Keys::load(disk) {
            Ok(keys) => Ok(Self(RwLock::new(Some(keys)))),
            Err(error @ VaultError::Damaged(_)) => {
                tracing::warn!(%error, "the signing keys cannot be read");
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    fn with<T>(&self, what: impl FnOnce(&Keys) -> T) -> Result<T, VaultError> {
        // No code panics while it holds this lock.
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let damaged = || VaultError::Damaged("the signing keys cannot be read".into());
        keys.as_ref().map(what).ok_or_else(damaged)
    }
}

impl Keys {
    fn load(disk: &Disk) -> Result<Self, VaultError> {
        let mut history = disk.whole(&places::note(NoteKind::SigningKeys, &HISTORY))?;
        let odd = |_| VaultError::Damaged("the history of the signing keys".into());
        let history = history.take().map(|note| parse(&note)).transpose().map_err(odd)?;
        let mut history = history.unwrap_or_default();
        if let Some(last) = history.last()
            && let Some(current) = secret(disk, last.key)?
        {
            return Ok(Self { history, current });
        }
        let current = SigningKey::generate()?;
        let public = current.public();
        let origin = if history.is_empty() { KeyOrigin::Created } else { KeyOrigin::Restored };
        let (key, since) = (public.id(), Timestamp::now());
        history.push(SigningKeyInfo { key, public, since, origin });
        let noted = serde_json::to_vec(&history);
        let noted = noted.map_err(|error| VaultError::Storage(Box::new(error)))?;
        let mut changes = disk.set_whole(&places::note(NoteKind::SigningKeys, &HISTORY), &noted)?;
        let stem = places::note(NoteKind::SigningSecret, &key.0);
        changes.extend(parts(&stem, current.secret().as_slice())?);
        disk.put(changes)?;
        Ok(Self { history, current })
    }
}

/// The history in its note.
pub(super) fn parse(note: &[u8]) -> serde_json::Result<Vec<SigningKeyInfo>> {
    serde_json::from_slice(note)
}

/// Judges a signature by a history.
pub(super) fn judge(
    history: &[SigningKeyInfo],
    key: SigningKeyId,
    bytes: &[u8],
    signature: &Signature,
) -> Vouched {
    match history.iter().find(|known| known.key == key) {
        None => Vouched::UnknownKey,
        Some(known) if known.public.verifies(bytes, signature) => Vouched::Ours,
        Some(_) => Vouched::Forged,
    }
}

fn secret(disk: &Disk, key: SigningKeyId) -> Result<Option<SigningKey>, VaultError> {
    let note = disk.whole(&places::note(NoteKind::SigningSecret, &key.0))?;
    let odd = || VaultError::Damaged("the secret of a signing key".into());
    let read = |note: super::tree::Value| {
        let mut secret = Secret::default();
        if note.len() != secret.len() {
            return Err(odd());
        }
        secret.copy_from_slice(&note);
        let key_read = SigningKey::from_secret(&secret);
        if key_read.public().id() == key { Ok(key_read) } else { Err(odd()) }
    };
    note.map(read).transpose()
}

impl Vault {
    /// The signing keys that this vault ever had, the oldest first. The last one signs.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn signing_keys(&self) -> Result<Vec<SigningKeyInfo>, VaultError> {
        self.core().signing.with(|keys| keys.history.clone())
    }

    /// Signs what the bytes say, given the id of the key that will sign them.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub(crate) fn sign(
        &self,
        bytes: impl FnOnce(SigningKeyId) -> Vec<u8>,
    ) -> Result<(SigningKeyId, Signature), VaultError> {
        self.core().signing.with(|keys| {
            let key = keys.current.public().id();
            (key, keys.current.sign(&bytes(key)))
        })
    }

    /// What a signature over these bytes is worth, by any key of the history.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn vouches(
        &self,
        key: SigningKeyId,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<Vouched, VaultError> {
        self.core().signing.with(|keys| judge(&keys.history, key, bytes, signature))
    }
}
