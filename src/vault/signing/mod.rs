//! The keys with which the vault signs what it says in clear: tombstones and announcements.
//!
//! The history of public keys is a memo like others, and in every backup. The secret is in none:
//! the finder of an old backup can open what was sealed then, but cannot have anyone forgotten. So
//! a restored vault finds a history without a secret, and makes a key of its own. Used by `erasure`, which
//! says each change in the event store, and by `layer` and `audit`, which ask what a signature is worth.

mod distrust;
mod history;
pub(super) mod keys;
mod learn;
mod statement;
mod successor;
#[cfg(test)]
mod tests;

pub(crate) use history::{History, Vouched};
pub use history::{KeyOrigin, PinnedSuccessor, SigningKeyInfo};
#[cfg(test)]
pub(crate) use keys::history_as_vector;
pub use learn::Unlearned;
pub use successor::{Successor, SuccessorError};

use self::keys::{HISTORY, memo, read, secret_parts};
use super::{
    MemoKind, Vault, VaultError,
    commit::committer::{Committer, Job},
    records::places,
    tree::{Change, Erasure},
};
use crate::{
    crypto::SigningKey,
    event::{Announcement, EventId, Signature, SigningKeyId},
};

/// What a vault has to say to its event store, in this order.
#[derive(Debug)]
pub(crate) struct Unsaid {
    /// The statements about keys that it has not taken yet.
    pub(crate) statements: Vec<Announcement>,
    /// Whether all erasures are to be announced again.
    pub(crate) repeat: bool,
    /// Whether tombstones are to be set again.
    pub(crate) retell: bool,
}

impl Vault {
    /// The signing keys that this vault ever had, the oldest first. The last one signs.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], [`VaultError::SigningKeyGap`].
    pub fn signing_keys(&self) -> Result<Vec<SigningKeyInfo>, VaultError> {
        self.shared().signing.with(|keys| keys.history.keys.clone())
    }

    /// The successor that is pinned for the key that signs. Its secret is not in the vault.
    ///
    /// # Errors
    /// As [`Vault::signing_keys`].
    pub fn pinned_successor(&self) -> Result<Option<PinnedSuccessor>, VaultError> {
        self.shared().signing.with(|keys| keys.history.successor().cloned())
    }

    /// The log that this vault keeps, by the id of the signing key that began it. It is in each announcement.
    /// A vault that is restored, put back to before a change of its key, or given a root slot of its own begins
    /// another.
    pub(crate) fn log(&self) -> Result<SigningKeyId, VaultError> {
        let gap = || VaultError::Damaged("no signing key began a log".into());
        self.shared().signing.with(|keys| keys.history.log())?.ok_or_else(gap)
    }

    /// Signs what the bytes say, given the id of the key that will sign them.
    pub(crate) fn sign(
        &self,
        bytes: impl FnOnce(SigningKeyId) -> Vec<u8>,
    ) -> Result<(SigningKeyId, Signature), VaultError> {
        self.shared().signing.with(|keys| {
            let key = keys.current.public().id();
            (key, keys.current.sign(&bytes(key)))
        })
    }

    /// Does something with the key that signs. It must not ask for signing keys meanwhile.
    pub(crate) fn as_signer<T>(
        &self,
        what: impl FnOnce(&SigningKey) -> T,
    ) -> Result<T, VaultError> {
        self.shared().signing.with(|keys| what(&keys.current))
    }

    /// What a signature over these bytes is worth, by any key of the history.
    pub(crate) fn vouches(
        &self,
        key: SigningKeyId,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<Vouched, VaultError> {
        self.shared().signing.with(|keys| keys.history.judge(key, bytes, signature))
    }

    /// Asks the history something. That must not ask for signing keys in turn.
    pub(crate) fn with_signing_history<T>(
        &self,
        what: impl FnOnce(&History) -> T,
    ) -> Result<T, VaultError> {
        self.shared().signing.with(|keys| what(&keys.history))
    }

    /// The history as it is now.
    pub(crate) fn signing_history(&self) -> Result<History, VaultError> {
        self.shared().signing.with(|keys| keys.history.clone())
    }

    /// The statements of the history, the oldest first.
    pub(crate) fn key_statements(&self) -> Result<Vec<Announcement>, VaultError> {
        self.shared().signing.with(|keys| keys.history.statements().cloned().collect())
    }

    /// What the event store has not been told yet.
    pub(crate) fn unsaid(&self) -> Result<Unsaid, VaultError> {
        self.shared().signing.with(|keys| {
            let history = &keys.history;
            Unsaid {
                statements: history.due().cloned().collect(),
                repeat: history.repeat,
                retell: history.retell,
            }
        })
    }

    /// Records that the event store has taken a statement.
    pub(crate) async fn has_said(&self, statement: EventId) -> Result<(), VaultError> {
        let mut history = self.signing_history()?;
        history.due.retain(|due| *due != statement);
        self.write_history(history, None).await
    }

    /// Records that all erasures are announced again.
    pub(crate) async fn has_repeated(&self) -> Result<(), VaultError> {
        let mut history = self.signing_history()?;
        history.repeat = false;
        self.write_history(history, None).await
    }

    /// Records that all tombstones are set again.
    pub(crate) async fn has_retold(&self) -> Result<(), VaultError> {
        let mut history = self.signing_history()?;
        history.retell = false;
        self.write_history(history, None).await
    }

    /// Records a history that learned something from the event store. Where the key that signs was replaced by
    /// one whose secret is not here, the vault was put back to before that, and makes a key of its own.
    pub(crate) async fn has_learned(&self, mut history: History) -> Result<(), VaultError> {
        if self.is_read_only() {
            self.shared().signing.set(history, None);
            return Ok(());
        }
        let signs = self.shared().signing.with(|keys| keys.current.public().id())?;
        let replaced = history.current().is_none_or(|last| last.key != signs);
        let own = replaced.then(SigningKey::generate).transpose()?;
        if let Some(own) = &own {
            history.restored(own.public());
        }
        self.write_history(history, own).await
    }

    /// Records a history that this vault changed by statements of its own, which the event store has to
    /// take. `repeat`: all erasures are to be announced again, and their tombstones set again. The secret of a key that was
    /// replaced is destroyed.
    pub(crate) async fn change_keys(
        &self,
        mut history: History,
        said: &[Announcement],
        repeat: bool,
        new: Option<SigningKey>,
    ) -> Result<(), VaultError> {
        history.due.extend(said.iter().map(Announcement::id));
        history.repeat |= repeat;
        history.retell |= repeat;
        self.write_history(history, new).await
    }

    async fn write_history(
        &self,
        history: History,
        new: Option<SigningKey>,
    ) -> Result<(), VaultError> {
        let (memo, secret) = (memo(&history)?, new.as_ref().map(secret_parts).transpose()?);
        // What this program could not read again is not written: neither would it open, nor any backup.
        read(&memo)?;
        self.ask(|reply| Job::SigningKeys(memo, secret, reply)).await?;
        self.shared().signing.set(history, new);
        Ok(())
    }
}

impl Committer {
    /// Writes the history, and a new secret in the place of every earlier one, which is destroyed.
    pub(super) fn write_signing_keys(
        &mut self,
        memo: &[u8],
        secret: Option<Vec<Change>>,
    ) -> Result<(), VaultError> {
        self.commit()?;
        let stem = places::memo(MemoKind::SigningKeys, &HISTORY);
        let mut changes = self.shared.disk.set_whole(&stem, memo)?;
        let Some(secret) = secret else { return self.shared.disk.put(changes) };
        changes.extend(secret);
        let secrets = places::memos(MemoKind::SigningSecret);
        let remove_ranges = vec![(secrets.start, secrets.end)];
        self.shared.disk.erase(Erasure { remove_ranges, changes })
    }
}
