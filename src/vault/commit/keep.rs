//! Keeping memos: those of other rooms, the adopted policy, and the catalogue of backups.

use zeroize::Zeroizing;

use super::committer::{Committer, Job};
use crate::{
    event::Timestamp,
    vault::{
        Backup, BackupId, MemoKind, Vault, VaultError,
        records::{
            catalogue,
            memos::{content, stored},
            places,
        },
        tree::Erasure,
    },
};

/// The id of the one memo of the kind *policy*.
const ADOPTED: [u8; 16] = [0; 16];

impl Vault {
    /// The text of the policy that was adopted for what is sealed with this vault; empty if none was.
    ///
    /// # Errors
    /// [`VaultError::NewerFormat`] if a newer program wrote it; storage errors.
    pub fn adopted_policy(&self) -> Result<String, VaultError> {
        let text = self.memo(MemoKind::Policy, ADOPTED)?.map(|memo| memo.to_vec());
        String::from_utf8(text.unwrap_or_default())
            .map_err(|_| VaultError::Damaged("the adopted policy is not UTF-8".into()))
    }

    /// Keeps the text of a policy as the one that was adopted. It is durable on return. The vault does
    /// not read it: it is for programs that refuse to work under another one than they worked under before.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn adopt_policy(&self, text: &str) -> Result<(), VaultError> {
        // No memo is as good as an empty one.
        if self.adopted_policy()? != text {
            self.put_memo(MemoKind::Policy, ADOPTED, text.as_bytes()).await?;
        }
        Ok(())
    }

    /// Writes a memo durably, in the place of one of that kind and id.
    ///
    /// Only the room that a kind belongs to knows what its memos mean, and believes what it finds: a memo
    /// that you write for it can keep the vault from opening, or an erasure from being carried out.
    pub(crate) async fn put_memo(
        &self,
        kind: MemoKind,
        id: [u8; 16],
        memo: &[u8],
    ) -> Result<(), VaultError> {
        let memo = stored(memo);
        self.ask(|reply| Job::PutMemo(kind, id, memo, reply)).await
    }

    /// Removes a memo physically.
    pub(crate) async fn remove_memo(&self, kind: MemoKind, id: [u8; 16]) -> Result<(), VaultError> {
        self.ask(|reply| Job::RemoveMemo(kind, id, reply)).await
    }

    /// One memo.
    ///
    /// # Errors
    /// [`VaultError::NewerFormat`] if a newer program wrote it; storage errors.
    pub(crate) fn memo(
        &self,
        kind: MemoKind,
        id: [u8; 16],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let memo = self.shared().disk.whole(&places::memo(kind, &id))?;
        memo.map(|memo| Ok(Zeroizing::new(content(kind, &memo)?.to_vec()))).transpose()
    }

    /// All memos of a kind.
    ///
    /// # Errors
    /// As of [`Vault::memo`].
    #[allow(clippy::type_complexity)]
    pub(crate) fn memos(
        &self,
        kind: MemoKind,
    ) -> Result<Vec<([u8; 16], Zeroizing<Vec<u8>>)>, VaultError> {
        let odd = || VaultError::Damaged("a memo stands at an odd place".into());
        let memos = self.shared().disk.wholes(places::memos(kind))?;
        let memos = memos.into_iter().map(|(stem, memo)| {
            let content = Zeroizing::new(content(kind, &memo)?.to_vec());
            Ok((places::memo_id(&stem).ok_or_else(odd)?, content))
        });
        memos.collect()
    }
}

#[cfg(test)]
impl Vault {
    /// Writes a memo of the version after the one that this program knows.
    pub(crate) async fn put_newer_memo(
        &self,
        kind: MemoKind,
        id: [u8; 16],
        memo: &[u8],
    ) -> Result<(), VaultError> {
        let mut memo = stored(memo);
        memo[0] += 1;
        self.ask(|reply| Job::PutMemo(kind, id, memo, reply)).await
    }
}

impl Committer {
    /// Plans a memo, as it is to be stored.
    pub(in crate::vault) fn put_memo(
        &mut self,
        kind: MemoKind,
        id: [u8; 16],
        memo: &[u8],
    ) -> Result<(), VaultError> {
        self.shared.disk.check()?;
        let stem = places::memo(kind, &id);
        // Memos still to be written may be of the same id.
        if self.changes.range(stem.clone()..places::beginning_with(&stem).end).next().is_some() {
            self.commit()?;
        }
        let changes = self.shared.disk.set_whole(&stem, memo)?;
        self.changes.extend(changes);
        Ok(())
    }

    pub(in crate::vault) fn remove_memo(
        &mut self,
        kind: MemoKind,
        id: [u8; 16],
    ) -> Result<(), VaultError> {
        self.commit()?;
        let range = places::beginning_with(&places::memo(kind, &id));
        if self.shared.disk.tree().range(&range.start, &range.end, 1)?.is_empty() {
            return Ok(());
        }
        let mut erasure = Erasure::default();
        if kind == MemoKind::Journal {
            // A journal that a crash took away before it counted left its bytes under the keys of
            // these pages, and names who was then forgotten by another. So wherever a journal may
            // have stood gets fresh keys.
            let all = places::memos(kind);
            for found in self.shared.disk.walk(all.clone()) {
                let (place, value) = found?;
                if !range.contains(&place) {
                    erasure.changes.push((place, Some(value)));
                }
            }
            erasure.remove_ranges.push((all.start, all.end));
        } else {
            erasure.remove_ranges.push((range.start, range.end));
        }
        self.shared.disk.erase(erasure)
    }
}

impl Vault {
    /// The catalogue of backups, oldest first.
    ///
    /// # Errors
    /// Storage errors.
    pub fn backups(&self) -> Result<Vec<Backup>, VaultError> {
        let mut backups = catalogue::entries(&self.shared().disk)?;
        backups.sort_by_key(|backup| backup.backup);
        Ok(backups)
    }

    /// The backups from which keys that were destroyed at this epoch may still be had: begun
    /// before, and not retired. `None`: destroyed at an epoch that is not known, so that all there are
    /// count.
    ///
    /// # Errors
    /// Storage errors.
    pub fn backups_before(&self, epoch: Option<u64>) -> Result<Vec<Backup>, VaultError> {
        let mut backups = self.backups()?;
        backups.retain(|backup| backup.holds(epoch));
        Ok(backups)
    }

    /// Records that a backup no longer exists. `None`: the catalogue has no such backup. One that
    /// is retired already stays as it is.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn retire_backup(&self, id: BackupId) -> Result<Option<Backup>, VaultError> {
        let Some(mut backup) = self.backups()?.into_iter().find(|backup| backup.backup == id)
        else {
            return Ok(None);
        };
        if backup.retired.is_none() {
            backup.retired = Some(Timestamp::now());
            self.put_memo(MemoKind::Backup, *id.0.as_bytes(), &backup.to_memo()?).await?;
        }
        Ok(Some(backup))
    }
}
