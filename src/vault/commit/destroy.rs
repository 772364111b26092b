//! Destroying keys, fencing, and admitting again.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use super::committer::{Committer, Job};
use crate::{
    event::{ErasureId, Generation, KeyId, Subject},
    vault::{
        Dead, Decision, Destroyed, Destruction, Loss, MemoKind, Taken, Vault, VaultError,
        questions::Spared,
        reading::cache::Address,
        records::{
            disk::parts,
            entries::{KeyEntry, SubjectRecord},
            fence::FenceRecord,
            memos,
            naming::Naming,
            places::{self, Hash, SUBJECT_PREFIX},
        },
        tree::Erasure,
    },
};

/// What a destruction will change.
#[derive(Default)]
struct Removal {
    erasure: Erasure,
    records: HashMap<Hash, SubjectRecord>,
    fences: HashMap<Hash, FenceRecord>,
    /// Those of whom nothing stays but what is spared.
    whole: BTreeSet<Hash>,
}

/// What happens to the keys of those who are fenced.
#[derive(Default)]
struct Keys {
    dead: Vec<(KeyId, Address)>,
    /// Of generations that are dead: these seal no more.
    spared: Vec<Address>,
}

impl Vault {
    /// Destroys keys, fences their subjects, and replaces the named owner in their dependents'
    /// tenures, in one batch and one change of root. On return they are physically gone. What is
    /// spared stays, and the fence names it. The memo
    /// (kind `Erasure`, under the erasure's id) is written in the same batch. Repeatable. It is the record
    /// of the erasure or empty: an announcement with any other memo closes every layer that reads it.
    ///
    /// This is one step of forgetting, and not the whole. It waits for no append in flight, follows no
    /// owner edges, announces nothing and sets no tombstones: a rollback of the vault brings back what
    /// it destroyed, and no one can tell. To forget somebody call
    /// [`Oubliette::forget`](crate::layer::Oubliette::forget). An error of the storage poisons the vault.
    pub(crate) async fn destroy(
        &self,
        destruction: &Destruction,
        memo: &[u8],
    ) -> Result<Destroyed, VaultError> {
        self.ask(|reply| Job::Destroy(destruction.clone(), memo.to_vec(), reply)).await
    }

    /// Admits a forgotten subject again, under a new generation, which is returned. `None`: they
    /// were not closed.
    pub(crate) async fn reopen(&self, subject: &Subject) -> Result<Option<Generation>, VaultError> {
        self.ask(|reply| Job::Reopen(subject.clone(), reply)).await
    }
}

impl Committer {
    pub(in crate::vault) fn destroy(
        &mut self,
        destruction: &Destruction,
        memo: &[u8],
    ) -> Result<Destroyed, VaultError> {
        // After this all that there is to destroy is in the tree.
        self.commit()?;
        let mut removal = Removal::default();
        let (erasure, naming) = (destruction.erasure, &self.shared.naming);
        let sparing = Sparing::of(naming, &destruction.spared)?;
        for Loss { subject, dead } in &destruction.losses {
            let hash = naming.subject(subject);
            let spared = sparing.keys_of(&hash, &self.fence(&hash, &removal)?);
            match dead {
                Dead::All => self.remove_all(hash, &[], &spared, erasure, &mut removal)?,
                Dead::Spans(spans) => {
                    self.remove_spans(hash, spans, &spared, erasure, &mut removal)?;
                }
            }
        }
        let destroyed = self.apply(removal, &[(destruction.erasure, memo)])?;
        for losses in &destruction.losses {
            self.shared.cache.drop_fence(&losses.subject);
        }
        Ok(destroyed)
    }

    /// Applies erasures that this vault does not know, all in one change of root: it was rolled
    /// back, or restored from a backup, and knows no name for sure.
    pub(in crate::vault) fn replay(
        &mut self,
        decisions: &[Decision],
    ) -> Result<Destroyed, VaultError> {
        self.commit()?;
        let mut removal = Removal::default();
        // It was put back, and learns so by this.
        removal.erasure.changes = memos::without_looked(&self.shared.disk)?;
        for (erasure, taken) in joined(decisions) {
            let fence = self.fence(&taken.pseudonym, &removal)?;
            // Replaying must be repeatable: a witness tells the same erasure at each opening until the vault notes
            // that it looked. What the fence says already is left alone.
            match fence.whole.contains(&erasure) {
                // Admitted again since: what begins now is not what was taken then.
                true if !fence.closed => {}
                _ if fence.names(erasure) && fence.covers_all(&taken) => {}
                false if taken.whole => {
                    self.remove_all(
                        taken.pseudonym,
                        &taken.dead,
                        &taken.spared,
                        erasure,
                        &mut removal,
                    )?;
                }
                _ => self.remove_known_spans(&taken, erasure, &mut removal)?,
            }
        }
        // An erasure may have come in parts.
        let memos: BTreeMap<ErasureId, &[u8]> = decisions
            .iter()
            .map(|decision| (decision.erasure, decision.record.as_slice()))
            .collect();
        let destroyed = self.apply(removal, &memos.into_iter().collect::<Vec<_>>())?;
        self.shared.cache.drop_all_fences();
        Ok(destroyed)
    }

    /// Writes what was planned, and takes it out of memory.
    fn apply(
        &mut self,
        mut removal: Removal,
        memos: &[(ErasureId, &[u8])],
    ) -> Result<Destroyed, VaultError> {
        let keys = self.judge_keys(&mut removal)?;
        let Removal { mut erasure, records, fences, whole } = removal;
        let disk = &self.shared.disk;
        // Fences go in the same batch as the removal. After a crash there is never a destroyed key without the fence
        // that calls it shredded: that would read as a lost key.
        for (hash, fence) in &fences {
            write_over(&mut erasure, &places::fence(hash), &fence.encode())?;
        }
        for (hash, record) in records.iter().filter(|(hash, _)| !whole.contains(*hash)) {
            write_over(&mut erasure, &places::record(hash), &record.encode())?;
        }
        for (id, memo) in memos {
            let stem = places::memo(MemoKind::Erasure, id.0.as_bytes());
            let memo = memos::stored(memo);
            if disk.whole(&stem)?.is_none_or(|noted| noted != memo) {
                write_over(&mut erasure, &stem, &memo)?;
            }
        }
        if !erasure.changes.is_empty() {
            disk.erase(erasure)?;
        }
        // A reader may hold what it read from the tree before the batch. Counted up before the sweep below, the version
        // keeps that reader from putting a dead key back into the cache after it.
        self.shared.cache.outdate();
        for (id, _) in &keys.dead {
            self.shared.cache.drop_state(*id);
        }
        for address in keys.dead.iter().map(|(_, address)| address).chain(&keys.spared) {
            self.shared.cache.drop_warm(address);
        }
        for (hash, fence) in &fences {
            let record = records.get(hash).filter(|record| record.open_generation().is_none());
            let current = record.map(|record| record.current).filter(|_| !fence.closed);
            self.set_current(hash, current);
        }
        Ok(Destroyed { keys: keys.dead.len() as u64, epoch: self.shared.disk.tree().epoch()? })
    }

    /// Decides of each key of those who are fenced whether it dies, by what their fences say in the
    /// end: one change of root may bring several erasures.
    fn judge_keys(&self, removal: &mut Removal) -> Result<Keys, VaultError> {
        let Removal { erasure, fences, whole, .. } = removal;
        let mut keys = Keys::default();
        for (hash, fence) in fences {
            let whole = whole.contains(hash);
            for found in self.shared.disk.walk(places::keys(hash)) {
                let (place, value) = found?;
                let entry = KeyEntry::decode(&value)?;
                let (generation, id) = (entry.generation, entry.id);
                let address = (entry.stream, entry.subject);
                if fence.spares(generation, id) {
                    keys.spared.push(address);
                    // The range goes as a whole; what is spared is put back, under fresh page keys.
                    erasure.changes.extend(whole.then_some((place, Some(value))));
                } else if whole || fence.killer(generation, id).is_some() {
                    keys.dead.push((id, address));
                    erasure.changes.extend((!whole).then_some((place, None)));
                }
            }
        }
        Ok(keys)
    }

    /// Takes everything of a subject, but for its fence and the keys that are spared. `dead`: what is
    /// dead besides what this vault knows that the subject ever had.
    fn remove_all(
        &self,
        hash: Hash,
        dead: &[(Generation, Generation)],
        spared: &BTreeSet<Spared>,
        erasure: ErasureId,
        removal: &mut Removal,
    ) -> Result<(), VaultError> {
        let naming = &self.shared.naming;
        let mut fence = self.fence(&hash, removal)?;
        if fence.whole.contains(&erasure) {
            return Ok(());
        }
        let record = self.record(&hash, &fence, removal)?;
        // The name of the forgotten is in the records of those who depended on them. It is personal data, and the
        // range that is removed below does not reach it.
        for dependent in self.shared.dependents(&hash)? {
            let dependent = naming.subject(&dependent);
            let fence = self.fence(&dependent, removal)?;
            let mut record = self.record(&dependent, &fence, removal)?;
            let is_it = |owner: &Subject| naming.subject(owner) == hash;
            if record.noted_with().any(is_it) {
                record.unname(is_it);
                removal.records.insert(dependent, record);
            }
        }
        // Edges are written from both sides. These are the ones below the owners, which outlive this subject.
        for owner in record.noted_with() {
            let place = places::dependent(&naming.subject(owner), &hash);
            removal.erasure.changes.push((place, None));
        }
        let range = places::subject_range(&hash);
        removal.erasure.remove_ranges.push((range.start, range.end));
        // Up to the last that was begun, and no further: what `reopen` begins later must be alive.
        fence.kill(Generation::FIRST, last_begun(&fence, &record), erasure, spared);
        for (from, to) in dead {
            fence.kill(*from, *to, erasure, spared);
        }
        fence.closed = true;
        fence.whole.push(erasure);
        removal.fences.insert(hash, fence);
        removal.whole.insert(hash);
        Ok(())
    }

    fn remove_spans(
        &self,
        hash: Hash,
        spans: &[(Generation, Generation)],
        spared: &BTreeSet<Spared>,
        erasure: ErasureId,
        removal: &mut Removal,
    ) -> Result<(), VaultError> {
        let mut fence = self.fence(&hash, removal)?;
        // A span may have no end. Done again, it must not take what a `reopen` began since.
        if self.shared.disk.fence(&hash)?.names(erasure) {
            return Ok(());
        }
        let record = self.record(&hash, &fence, removal)?;
        let before = fence.clone();
        for (from, to) in spans {
            // Generations that were never begun belong to no one yet.
            fence.kill(
                *from.max(&Generation::FIRST),
                *to.min(&last_begun(&fence, &record)),
                erasure,
                spared,
            );
        }
        if fence == before {
            // All of it was dead. That it is done must be remembered if a `reopen` can follow.
            if fence.closed {
                fence.whole.push(erasure);
                removal.fences.insert(hash, fence);
            }
            return Ok(());
        }
        // What would be sealed next belongs to someone who is forgotten.
        // While it is open whose the next generation is, that is not known.
        let settled = record.open_generation().is_none();
        fence.closed |= settled && fence.is_dead(record.current);
        removal.fences.insert(hash, fence);
        removal.records.insert(hash, record);
        Ok(())
    }

    /// Takes generations of which it was settled, by the vault that was not rolled back, which
    /// they are. This one may not have begun them yet.
    fn remove_known_spans(
        &self,
        taken: &Taken,
        erasure: ErasureId,
        removal: &mut Removal,
    ) -> Result<(), VaultError> {
        let hash = taken.pseudonym;
        let mut fence = self.fence(&hash, removal)?;
        let mut record = self.record(&hash, &fence, removal)?;
        for (from, to) in &taken.dead {
            fence.kill(*from, *to, erasure, &taken.spared);
        }
        // None of them is ever begun again.
        // The generations were begun by the vault that was not rolled back. Beginning one of them again would seal
        // new events under a number that the fence calls dead.
        record.highest = fence.last_dead().map_or(record.highest, |dead| dead.max(record.highest));
        fence.closed |= taken.closed || fence.is_dead(record.current);
        removal.fences.insert(hash, fence);
        removal.records.insert(hash, record);
        Ok(())
    }

    fn fence(&self, subject: &Hash, removal: &Removal) -> Result<FenceRecord, VaultError> {
        match removal.fences.get(subject) {
            Some(fence) => Ok(fence.clone()),
            None => self.shared.disk.fence(subject),
        }
    }

    fn record(
        &self,
        subject: &Hash,
        fence: &FenceRecord,
        removal: &Removal,
    ) -> Result<SubjectRecord, VaultError> {
        match removal.records.get(subject) {
            Some(record) => Ok(record.clone()),
            None => self.shared.record(subject, fence),
        }
    }

    pub(in crate::vault) fn reopen(
        &mut self,
        subject: &Subject,
    ) -> Result<Option<Generation>, VaultError> {
        self.commit()?;
        let hash = self.shared.naming.subject(subject);
        let mut fence = self.shared.disk.fence(&hash)?;
        if !fence.closed {
            return Ok(None);
        }
        fence.closed = false;
        let mut record = self.shared.record(&hash, &fence)?;
        if record.tenures.is_empty() {
            record = SubjectRecord { former: record.former, ..SubjectRecord::default_for(&fence) };
        } else {
            record.begin_again()?;
        }
        let disk = &self.shared.disk;
        let mut changes = disk.set_whole(&places::fence(&hash), &fence.encode())?;
        changes.extend(disk.set_whole(&places::record(&hash), &record.encode())?);
        disk.put(changes)?;
        self.shared.cache.outdate();
        self.shared.cache.drop_fence(subject);
        Ok(Some(record.current))
    }
}

/// What each erasure took of each subject, in the order in which it was told. One that waited for
/// the store may have been announced several times: the last says how it was in the end, what it spared
/// among it, and what any of them calls dead is dead. Which is the last, the caller says.
fn joined(decisions: &[Decision]) -> Vec<(ErasureId, Taken)> {
    let mut order: HashMap<(ErasureId, Hash), usize> = HashMap::new();
    let mut all: Vec<(ErasureId, Taken)> = Vec::new();
    for decision in decisions {
        for taken in &decision.taken {
            match order.entry((decision.erasure, taken.pseudonym)) {
                Entry::Vacant(new) => {
                    new.insert(all.len());
                    all.push((decision.erasure, taken.clone()));
                }
                Entry::Occupied(known) => {
                    let (_, ours) = &mut all[*known.get()];
                    let earlier = std::mem::replace(ours, taken.clone());
                    ours.dead.extend(earlier.dead);
                }
            }
        }
    }
    all
}

/// The last generation that a subject began. One who is closed has begun none since.
pub(in crate::vault) fn last_begun(fence: &FenceRecord, record: &SubjectRecord) -> Generation {
    fence.last_dead().filter(|_| fence.closed).unwrap_or(record.highest)
}

/// Replaces a value of any length, and with it everything that ever stood there.
fn write_over(erasure: &mut Erasure, stem: &[u8], value: &[u8]) -> Result<(), VaultError> {
    let range = places::beginning_with(stem);
    erasure.remove_ranges.push((range.start, range.end));
    erasure.changes.extend(parts(stem, value)?);
    Ok(())
}

/// The keys that an erasure spares, by what their ids say of their subjects.
pub(in crate::vault) struct Sparing<'a> {
    ids: &'a BTreeSet<KeyId>,
    by_subject: HashMap<[u8; SUBJECT_PREFIX], BTreeSet<Spared>>,
}

impl<'a> Sparing<'a> {
    pub(in crate::vault) fn of(
        naming: &Naming,
        ids: &'a BTreeSet<KeyId>,
    ) -> Result<Self, VaultError> {
        let mut by_subject: HashMap<_, BTreeSet<Spared>> = HashMap::new();
        for id in ids {
            if let Some(hint) = naming.hint(*id)? {
                by_subject.entry(hint.subject).or_default().insert((hint.generation, *id));
            }
        }
        Ok(Self { ids, by_subject })
    }

    /// The spared keys of one subject. Of an era that this vault does not know, because it was
    /// restored, its fence may know keys all the same.
    pub(in crate::vault) fn keys_of(
        &self,
        subject: &Hash,
        fence: &FenceRecord,
    ) -> BTreeSet<Spared> {
        let prefix = subject.first_chunk::<SUBJECT_PREFIX>();
        let keys = prefix.and_then(|prefix| self.by_subject.get(prefix));
        let known = fence.left().filter(|(_, id)| self.ids.contains(id));
        keys.into_iter().flatten().copied().chain(known).collect()
    }
}
