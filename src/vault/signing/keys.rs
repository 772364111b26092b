//! The signing keys in memory, and their memos.

use std::sync::{PoisonError, RwLock};

use super::history::{History, Odd};
use crate::{
    crypto::{Secret, SigningKey},
    event::SigningKeyId,
    vault::{
        MemoKind, VaultError,
        records::{
            disk::{Disk, parts},
            memos, places,
        },
        tree::{Change, Value},
    },
};

/// The one memo of the kind `SigningKeys`.
pub(super) const HISTORY: [u8; 16] = [0; 16];

/// What is in memory of the signing keys.
///
/// Keys that cannot be read keep nobody from opening the vault: what needs them says why.
pub(in crate::vault) struct Signing(RwLock<Result<Keys, Odd>>);

pub(super) struct Keys {
    pub(super) history: History,
    /// The last one of the history.
    pub(super) current: SigningKey,
}

impl Signing {
    /// Reads the keys, and makes one where there is none.
    pub(in crate::vault) fn load(disk: &Disk) -> Result<Self, VaultError> {
        Ok(Self(RwLock::new(match Keys::load(disk) {
            Ok(keys) => Ok(keys),
            Err(error @ VaultError::Damaged(_)) => {
                tracing::warn!(error = %crate::words::chain(&error), "the signing keys cannot be read");
                Err(Odd::Form)
            }
            Err(VaultError::SigningKeyGap(key)) => Err(Odd::Gap(key)),
            Err(error) => return Err(error),
        })))
    }

    pub(super) fn with<T>(&self, what: impl FnOnce(&Keys) -> T) -> Result<T, VaultError> {
        // No code panics while it holds this lock.
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref().map(what).map_err(|odd| (*odd).into())
    }

    /// After its memo is on the disk.
    pub(super) fn set(&self, history: History, new: Option<SigningKey>) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(keys) = keys.as_mut() {
            keys.history = history;
            keys.current = new.unwrap_or_else(|| SigningKey::from_secret(&keys.current.secret()));
        }
    }
}

impl Keys {
    fn load(disk: &Disk) -> Result<Self, VaultError> {
        let history = disk.whole(&places::memo(MemoKind::SigningKeys, &HISTORY))?;
        let mut history = history.map(|memo| read(&memo)).transpose()?;
        if let Some(history) = &history
            && let Some(last) = history.current()
            && let Some(current) = secret(disk, last.key)?
        {
            return Ok(Self { history: history.clone(), current });
        }
        let current = SigningKey::generate()?;
        match &mut history {
            Some(history) => history.restored(current.public()),
            None => history = Some(History::begin(current.public())),
        }
        let history = history.unwrap_or_else(|| History::begin(current.public()));
        let stem = places::memo(MemoKind::SigningKeys, &HISTORY);
        let mut changes = disk.set_whole(&stem, &memo(&history)?)?;
        changes.extend(secret_parts(&current)?);
        disk.put(changes)?;
        Ok(Self { history, current })
    }
}

/// The history in its memo.
pub(in crate::vault) fn read(memo: &[u8]) -> Result<History, VaultError> {
    let memo = memos::content(MemoKind::SigningKeys, memo)?;
    let history: History = memos::from_json(MemoKind::SigningKeys, memo)?;
    let odd = "the history of the signing keys does not have its form";
    match history.trouble() {
        None => Ok(history),
        Some(Odd::Form) => Err(VaultError::Damaged(odd.into())),
        Some(gap) => Err(gap.into()),
    }
}

/// The history of which a vector has what is in its memo.
#[cfg(test)]
pub(crate) fn history_as_vector(content: &[u8]) -> Result<History, VaultError> {
    read(&memos::stored(content))
}

pub(super) fn memo(history: &History) -> Result<Value, VaultError> {
    Ok(memos::stored(&memos::to_json(history)?))
}

pub(super) fn secret_parts(key: &SigningKey) -> Result<Vec<Change>, VaultError> {
    let stem = places::memo(MemoKind::SigningSecret, &key.public().id().0);
    parts(&stem, &memos::stored(key.secret().as_slice()))
}

fn secret(disk: &Disk, key: SigningKeyId) -> Result<Option<SigningKey>, VaultError> {
    let memo = disk.whole(&places::memo(MemoKind::SigningSecret, &key.0))?;
    let odd = || VaultError::Damaged("the secret of a signing key".into());
    let read = |memo: Value| {
        let memo = memos::content(MemoKind::SigningSecret, &memo)?;
        let secret = memo.try_into().map(Secret::copy_of).map_err(|_| odd())?;
        let key_read = SigningKey::from_secret(&secret);
        if key_read.public().id() == key { Ok(key_read) } else { Err(odd()) }
    };
    memo.map(read).transpose()
}
