//! Erasures without names: made from a destruction or from fences, compared with what the vault knows, and applied
//! again. How they are sealed is in `records::announced`.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::{
    committer::Job,
    destroy::{Sparing, last_begun},
};
use crate::{
    event::{Era, ErasureId, Generation, Subject, Timestamp},
    vault::{
        Dead, Decision, Destroyed, Destruction, Fence, InventoryEntry, MemoKind, OpenVaultError,
        Taken, Vault, VaultError,
        reading::inventory::Inventory,
        records::{announced, entries::KeyEntry, places},
    },
};

impl Vault {
    /// How often the root changed: with every erasure, and now and then besides. It never falls,
    /// except by a rollback.
    ///
    /// # Errors
    /// [`VaultError::Poisoned`].
    pub fn epoch(&self) -> Result<u64, VaultError> {
        self.shared().disk.tree().epoch()
    }

    /// Refuses a vault whose epoch is lower than one that was noted elsewhere.
    ///
    /// # Errors
    /// [`OpenVaultError::EpochTooLow`].
    pub fn expect_epoch(&self, expected: u64) -> Result<(), OpenVaultError> {
        let found = self.epoch()?;
        match found < expected {
            true => Err(OpenVaultError::EpochTooLow { found, expected }),
            false => Ok(()),
        }
    }

    /// What a destruction will take, with the generations that exist now. To be asked while its
    /// subjects are closed.
    pub(crate) fn decision(
        &self,
        destruction: &Destruction,
        memo: &[u8],
    ) -> Result<Decision, VaultError> {
        let shared = self.shared();
        let sparing = Sparing::of(&shared.naming, &destruction.spared)?;
        let taken = destruction.losses.iter().map(|losses| {
            let pseudonym = shared.naming.subject(&losses.subject);
            let fence = shared.disk.fence(&pseudonym)?;
            let record = shared.record(&pseudonym, &fence)?;
            let last = last_begun(&fence, &record);
            let dead: Vec<_> = match &losses.dead {
                Dead::All => vec![(Generation::FIRST, last)],
                Dead::Spans(spans) => spans
                    .iter()
                    .map(|(from, to)| (*from.max(&Generation::FIRST), *to.min(&last)))
                    .filter(|(from, to)| from <= to)
                    .collect(),
            };
            let whole = losses.dead == Dead::All;
            let settled = record.open_generation().is_none();
            let current =
                settled && dead.iter().any(|(from, to)| (*from..=*to).contains(&record.current));
            let mut spared = sparing.keys_of(&pseudonym, &fence);
            spared.retain(|(at, _)| dead.iter().any(|(from, to)| (*from..=*to).contains(at)));
            Ok(Taken { pseudonym, dead, spared, whole, closed: whole || fence.closed || current })
        });
        let taken = taken.collect::<Result<_, VaultError>>()?;
        Ok(Decision { erasure: destruction.erasure, taken, record: memo.to_vec() })
    }

    /// What the fences say of all erasures so far, a few fences at a time: an erasure may come in
    /// several parts. Blocks for page reads.
    pub(crate) fn decisions(
        &self,
    ) -> impl Iterator<Item = Result<Vec<Decision>, VaultError>> + Send + use<> {
        /// So that memory stays small, and that few erasures come in several parts.
        const FENCES: usize = 1024;
        let vault = self.clone();
        let mut fences = Inventory::of_fences(Arc::clone(self.shared()));
        std::iter::from_fn(move || {
            let some: Result<Vec<_>, _> = fences.by_ref().take(FENCES).collect();
            match some {
                Ok(some) if some.is_empty() => None,
                Ok(some) => Some(vault.by_erasure(&some)),
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// The erasures of these fences.
    fn by_erasure(&self, entries: &[InventoryEntry]) -> Result<Vec<Decision>, VaultError> {
        let mut decisions: BTreeMap<ErasureId, Decision> = BTreeMap::new();
        for entry in entries {
            let InventoryEntry::Fence(Fence { pseudonym, .. }) = entry else { continue };
            let fence = self.shared().disk.fence(pseudonym)?;
            let killers = fence.dead.iter().map(|&(_, _, by)| by);
            let later = fence.spared.values().flatten().copied();
            let erasures: BTreeSet<ErasureId> =
                killers.chain(later).chain(fence.whole.clone()).collect();
            for erasure in erasures {
                let dead = fence.taken_by(erasure);
                let taken = Taken {
                    pseudonym: *pseudonym,
                    // One that found its part dead is noted like one that took all. It took nothing, and
                    // a generation may have lived on beside its part.
                    whole: fence.whole.contains(&erasure) && !dead.is_empty(),
                    dead,
                    spared: fence.left_by(erasure),
                    closed: fence.closed,
                };
                let decision = match decisions.entry(erasure) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let memo = self.memo(MemoKind::Erasure, *erasure.0.as_bytes())?;
                        let memo = memo.map(|memo| memo.to_vec()).unwrap_or_default();
                        new.insert(Decision { erasure, taken: Vec::new(), record: memo })
                    }
                };
                decision.taken.push(taken);
            }
        }
        Ok(decisions.into_values().collect())
    }

    /// The names of those of the condemned who have keys here: no one else can be appending.
    pub(crate) fn named(&self, decisions: &[Decision]) -> Result<Vec<Subject>, VaultError> {
        let shared = self.shared();
        let mut names = Vec::new();
        for taken in decisions.iter().flat_map(|decision| &decision.taken) {
            if let Some(found) = shared.disk.walk(places::keys(&taken.pseudonym)).next() {
                names.push(KeyEntry::decode(&found?.1)?.subject);
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Whether all that a decision names is dead here.
    pub(crate) fn covers(&self, decision: &Decision) -> Result<bool, VaultError> {
        for taken in &decision.taken {
            let fence = self.shared().disk.fence(&taken.pseudonym)?;
            if !fence.covers_all(taken) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the fences of all whom a decision names tell of its erasure here.
    pub(crate) fn tells_of(&self, decision: &Decision) -> Result<bool, VaultError> {
        for taken in &decision.taken {
            if !self.shared().disk.fence(&taken.pseudonym)?.names(decision.erasure) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Applies erasures that this vault does not know, because it was rolled back or restored, in
    /// one batch and one change of root: what they took is destroyed and fenced as then, by
    /// pseudonym, also where this vault never knew of the subject. Repeatable.
    ///
    /// It believes every decision that it is given, and waits for no append in flight. Take decisions
    /// only from announcements whose signature was checked: [`erasure::replay`](crate::erasure::replay)
    /// does both. An error of the storage poisons the vault.
    pub(crate) async fn replay(&self, decisions: Vec<Decision>) -> Result<Destroyed, VaultError> {
        self.ask(|reply| Job::Replay(decisions, reply)).await
    }

    /// Seals a decision for this vault and for all that may yet be restored: under the present era,
    /// and under those that backups hold which are neither retired nor expired. The finder of an
    /// expired one cannot open what is announced from then on.
    ///
    /// # Errors
    /// Those of randomness and storage.
    pub(crate) fn seal_decision(
        &self,
        decision: &Decision,
        associated: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let eras = &self.shared().naming.eras;
        let now = Timestamp::now();
        let outstanding = self.backups()?.into_iter().filter(|backup| backup.is_outstanding(now));
        let mut readers: Vec<Era> = outstanding.map(|backup| backup.era).collect();
        readers.push(eras.current()?);
        readers.sort();
        readers.dedup();
        let plain = announced::encode(decision);
        // What this program could not read again would close every vault that opens it.
        announced::decode(decision.erasure, &plain)?;
        announced::seal_for(eras, &readers, &plain, associated)
    }

    /// Opens what [`Vault::seal_decision`] sealed. `None`: it is not of this vault, or was changed, or is
    /// sealed for eras that this vault does not know.
    ///
    /// # Errors
    /// It opens, and says what this program does not understand: [`VaultError::NewerFormat`],
    /// [`VaultError::Damaged`].
    pub(crate) fn open_decision(
        &self,
        erasure: ErasureId,
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Decision>, VaultError> {
        announced::open_by(&self.shared().naming.eras, erasure, associated, sealed)
    }
}
