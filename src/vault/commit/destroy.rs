//! Destroying keys, fencing, and admitting again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use super::committer::{Committer, Job};
use crate::{
    event::{ErasureId, Generation, KeyId, Subject},
    vault::{
        Dead, Destroyed, Destruction, Doomed, NoteKind, Taken, Vault, VaultError, Verdict,
        reading::cache::Address,
        records::{
            disk::parts,
            entries::{KeyEntry, SubjectRecord},
            fence::{FenceRecord, Sparing},
            notes,
            places::{self, Hash},
        },
        tree::Erasure,
        types::Spared,
    },
};

/// What a destruction will change.
#[derive(Default)]
struct Plan {
    erasure: Erasure,
    records: HashMap<Hash, SubjectRecord>,
    fences: HashMap<Hash, FenceRecord>,
    /// Those of whom nothing stays but what is spared.
    whole: BTreeSet<Hash>,
}

/// What becomes of the keys of those who are fenced.
#[derive(Default)]
struct Keys {
    dead: Vec<(KeyId, Address)>,
    /// Of generations that are dead: these seal no more.
    spared: Vec<Address>,
}

impl Vault {
    /// Destroys keys, fences their subjects, and replaces the named owner in their dependents'
    /// epochs, in one batch and one change of root. On return they are physically gone. What is
    /// spared stays, and the fence names it. The note
    /// (kind `Erasure`, under the erasure's id) is written in the same batch. Repeatable. It is the record
    /// of the erasure or empty: an announcement with any other note closes every layer that reads it.
    ///
    /// This is one step of forgetting, and not the whole. It waits for no append in flight, follows no
    /// owner edges, announces nothing and sets no tombstones: a rollback of the vault brings back what
    /// it destroyed, and nobody can tell. To forget somebody call
    /// [`Oubliette::forget`](crate::layer::Oubliette::forget).
    ///
    /// # Errors
    /// Storage errors, after which the vault is poisoned.
    pub(crate) async fn destroy(
        &self,
        destruction: &Destruction,
        note: &[u8],
    ) -> Result<Destroyed, VaultError> {
        self.ask(|reply| Job::Destroy(destruction.clone(), note.to_vec(), reply)).await
    }

    /// Admits a forgotten subject again, under a new generation, which is returned. `None`: they
    /// were not closed.
    ///
    /// # Errors
    /// Storage errors.
    pub(crate) async fn reopen(&self, subject: &Subject) -> Result<Option<Generation>, VaultError> {
        self.ask(|reply| Job::Reopen(subject.clone(), reply)).await
    }
}

impl Committer {
    pub(in crate::vault) fn destroy(
        &mut self,
        destruction: &Destruction,
        note: &[u8],
    ) -> Result<Destroyed, VaultError> {
        // After this all that there is to destroy is in the tree.
        self.commit()?;
        let mut plan = Plan::default();
        let (erasure, naming) = (destruction.erasure, &self.core.naming);
        let sparing = Sparing::of(naming, &destruction.spared)?;
        for Doomed { subject, dead } in &destruction.doomed {
            let hash = naming.subject(subject);
            let spared = sparing.keys_of(&hash, &self.fence(&hash, &plan)?);
            match dead {
                Dead::All => self.doom(hash, &[], &spared, erasure, &mut plan)?,
                Dead::Spans(spans) => self.doom_spans(hash, spans, &spared, erasure, &mut plan)?,
            }
        }
        let destroyed = self.carry_out(plan, &[(destruction.erasure, note)])?;
        for doomed in &destruction.doomed {
            self.core.cache.drop_fence(&doomed.subject);
        }
        Ok(destroyed)
    }

    /// Applies erasures that this vault does not know, all in one change of root: it was rolled
    /// back, or restored from a backup, and knows nobody's name for sure.
    pub(in crate::vault) fn replay(
        &mut self,
        verdicts: &[Verdict],
    ) -> Result<Destroyed, VaultError> {
        self.commit()?;
        let mut plan = Plan::default();
        // It was put back, and learns so by this.
        plan.erasure.changes = notes::without_looked(&self.core.disk)?;
        for (erasure, taken) in joined(verdicts) {
            let fence = self.fence(&taken.pseudonym, &plan)?;
            match fence.whole.contains(&erasure) {
                // Admitted again since: what begins now is not what was taken then.
                true if !fence.closed => {}
                _ if fence.names(erasure) && fence.covers_all(&taken) => {}
                false if taken.whole => {
                    self.doom(taken.pseudonym, &taken.dead, &taken.spared, erasure, &mut plan)?;
                }
                _ => self.doom_known_spans(&taken, erasure, &mut plan)?,
            }
        }
        // An erasure may have come in parts.
        let notes: BTreeMap<ErasureId, &[u8]> =
            verdicts.iter().map(|verdict| (verdict.erasure, verdict.note.as_slice())).collect();
        let destroyed = self.carry_out(plan, &notes.into_iter().collect::<Vec<_>>())?;
        self.core.cache.drop_all_fences();
        Ok(destroyed)
    }

    /// Writes what was planned, and takes it out of memory.
    fn carry_out(
        &mut self,
        mut plan: Plan,
        notes: &[(ErasureId, &[u8])],
    ) -> Result<Destroyed, VaultError> {
        let keys = self.judge_keys(&mut plan)?;
        let Plan { mut erasure, records, fences, whole } = plan;
        let disk = &self.core.disk;
        for (hash, fence) in &fences {
            write_over(&mut erasure, &places::fence(hash), &fence.encode())?;
        }
        for (hash, record) in records.iter().filter(|(hash, _)| !whole.contains(*hash)) {
            write_over(&mut erasure, &places::record(hash), &record.encode())?;
        }
        for (id, note) in notes {
            let stem = places::note(NoteKind::Erasure, id.0.as_bytes());
            let note = notes::stored(note);
            if disk.whole(&stem)?.is_none_or(|noted| noted != note) {
                write_over(&mut erasure, &stem, &note)?;
            }
        }
        if !erasure.changes.is_empty() {
            disk.erase(erasure)?;
        }
        self.core.cache.outdate();
        for (id, address) in &keys.dead {
            self.core.cache.drop_state(*id);
            // Where another generation of that key lives on, its count does, too.
            let warm = self.core.cache.drop_warm(address).filter(|warm| warm.key.id() != *id);
            self.returns.extend(warm.map(|warm| (address.clone(), warm)));
        }
        for address in keys.spared {
            let warm = self.core.cache.drop_warm(&address);
            self.returns.extend(warm.map(|warm| (address, warm)));
        }
        // Those that gave way to others in the cache wait here for the next write.
        let dead: HashSet<KeyId> = keys.dead.iter().map(|(id, _)| *id).collect();
        self.returns.retain(|(_, warm)| !dead.contains(&warm.key.id()));
        self.owed.retain(|_, warm| !dead.contains(&warm.key.id()));
        for (hash, fence) in &fences {
            let record = records.get(hash).filter(|record| record.open_generation().is_none());
            let current = record.map(|record| record.current).filter(|_| !fence.closed);
            self.announce(hash, current);
        }
        Ok(Destroyed { keys: keys.dead.len() as u64, epoch: self.core.disk.tree().epoch()? })
    }

    /// Decides of each key of those who are fenced whether it dies, by what their fences say in the
    /// end: one change of root may bring several erasures.
    fn judge_keys(&self, plan: &mut Plan) -> Result<Keys, VaultError> {
        let Plan { erasure, fences, whole, .. } = plan;
        let mut keys = Keys::default();
        for (hash, fence) in fences {
            let whole = whole.contains(hash);
            for found in self.core.disk.walk(places::keys(hash)) {
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
    fn doom(
        &self,
        hash: Hash,
        dead: &[(Generation, Generation)],
        spared: &BTreeSet<Spared>,
        erasure: ErasureId,
        plan: &mut Plan,
    ) -> Result<(), VaultError> {
        let naming = &self.core.naming;
        let mut fence = self.fence(&hash, plan)?;
        if fence.whole.contains(&erasure) {
            return Ok(());
        }
        let record = self.record(&hash, &fence, plan)?;
        for dependent in self.core.dependents(&hash)? {
            let dependent = naming.subject(&dependent);
            let fence = self.fence(&dependent, plan)?;
            let mut record = self.record(&dependent, &fence, plan)?;
            let is_it = |owner: &Subject| naming.subject(owner) == hash;
            if record.noted_with().any(is_it) {
                record.unname(is_it);
                plan.records.insert(dependent, record);
            }
        }
        for owner in record.noted_with() {
            let place = places::dependent(&naming.subject(owner), &hash);
            plan.erasure.changes.push((place, None));
        }
        let range = places::subject_range(&hash);
        plan.erasure.remove_ranges.push((range.start, range.end));
        fence.kill(Generation::FIRST, last_begun(&fence, &record), erasure, spared);
        for (from, to) in dead {
            fence.kill(*from, *to, erasure, spared);
        }
        fence.closed = true;
        fence.whole.push(erasure);
        plan.fences.insert(hash, fence);
        plan.whole.insert(hash);
        Ok(())
    }

    fn doom_spans(
        &self,
        hash: Hash,
        spans: &[(Generation, Generation)],
        spared: &BTreeSet<Spared>,
        erasure: ErasureId,
        plan: &mut Plan,
    ) -> Result<(), VaultError> {
        let mut fence = self.fence(&hash, plan)?;
        // A span may have no end. Done again, it must not take what a `reopen` began since.
        if self.core.disk.fence(&hash)?.names(erasure) {
            return Ok(());
        }
        let record = self.record(&hash, &fence, plan)?;
        let before = fence.clone();
        for (from, to) in spans {
            // Generations that were never begun are nobody's yet.
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
                plan.fences.insert(hash, fence);
            }
            return Ok(());
        }
        // What would be sealed next belongs to someone who is forgotten.
        // While it is open whose the next generation is, that is not known.
        let settled = record.open_generation().is_none();
        fence.closed |= settled && fence.is_dead(record.current);
        plan.fences.insert(hash, fence);
        plan.records.insert(hash, record);
        Ok(())
    }

    /// Takes generations of which it was settled, by the vault that was not rolled back, which
    /// they are. This one may not have begun them yet.
    fn doom_known_spans(
        &self,
        taken: &Taken,
        erasure: ErasureId,
        plan: &mut Plan,
    ) -> Result<(), VaultError> {
        let hash = taken.pseudonym;
        let mut fence = self.fence(&hash, plan)?;
        let mut record = self.record(&hash, &fence, plan)?;
        for (from, to) in &taken.dead {
            fence.kill(*from, *to, erasure, &taken.spared);
        }
        // None of them is ever begun again.
        record.highest = fence.last_dead().map_or(record.highest, |dead| dead.max(record.highest));
        fence.closed |= taken.closed || fence.is_dead(record.current);
        plan.fences.insert(hash, fence);
        plan.records.insert(hash, record);
        Ok(())
    }

    fn fence(&self, subject: &Hash, plan: &Plan) -> Result<FenceRecord, VaultError> {
        match plan.fences.get(subject) {
            Some(fence) => Ok(fence.clone()),
            None => self.core.disk.fence(subject),
        }
    }

    fn record(
        &self,
        subject: &Hash,
        fence: &FenceRecord,
        plan: &Plan,
    ) -> Result<SubjectRecord, VaultError> {
        match plan.records.get(subject) {
            Some(record) => Ok(record.clone()),
            None => self.core.record(subject, fence),
        }
    }

    pub(in crate::vault) fn reopen(
        &mut self,
        subject: &Subject,
    ) -> Result<Option<Generation>, VaultError> {
        self.commit()?;
        let hash = self.core.naming.subject(subject);
        let mut fence = self.core.disk.fence(&hash)?;
        if !fence.closed {
            return Ok(None);
        }
        fence.closed = false;
        let mut record = self.core.record(&hash, &fence)?;
        if record.epochs.is_empty() {
            record = SubjectRecord { former: record.former, ..SubjectRecord::default_for(&fence) };
        } else {
            record.begin_again()?;
        }
        let disk = &self.core.disk;
        let mut changes = disk.set_whole(&places::fence(&hash), &fence.encode())?;
        changes.extend(disk.set_whole(&places::record(&hash), &record.encode())?);
        disk.put(changes)?;
        self.core.cache.outdate();
        self.core.cache.drop_fence(subject);
        Ok(Some(record.current))
    }
}

/// What each erasure took of each subject, in the order in which it was told. One that waited for
/// the store may have been announced several times: the last says how it was in the end, what it spared
/// among it, and what any of them calls dead is dead. Which is the last, whoever tells it says.
fn joined(verdicts: &[Verdict]) -> Vec<(ErasureId, Taken)> {
    let mut order: HashMap<(ErasureId, Hash), usize> = HashMap::new();
    let mut all: Vec<(ErasureId, Taken)> = Vec::new();
    for verdict in verdicts {
        for taken in &verdict.taken {
            match order.entry((verdict.erasure, taken.pseudonym)) {
                Entry::Vacant(new) => {
                    new.insert(all.len());
                    all.push((verdict.erasure, taken.clone()));
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
