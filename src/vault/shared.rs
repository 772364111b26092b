//! What the handle's readers and the committer share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    KeyInfo, KeyLookup, VaultError,
    admission::in_flight,
    reading::cache::{Cache, Fenced},
    records::{
        disk::Disk,
        entries::{KeyEntry, SubjectRecord},
        eras::Eras,
        fence::FenceRecord,
        memos,
        naming::Naming,
        places::{self, Hash},
    },
    signing::keys::Signing,
};
use crate::{
    crypto::DataKey,
    event::{ErasureId, KeyId, Subject, Timestamp},
};

/// What a vault may hold in memory, and when a key is replaced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many keys are kept in memory.
    pub(crate) cached_keys: usize,
    /// After so many seals a new generation begins. Random 96-bit nonces allow 2³² under one key
    /// (NIST SP 800-38D, section 8.3); half of that leaves room for one append of any size.
    pub(crate) seals_per_key: u64,
    /// How many are reserved at most beyond what is asked for.
    pub(crate) largest_block: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cached_keys: 65_536, seals_per_key: 1 << 31, largest_block: 65_536 }
    }
}

pub(super) struct Shared {
    pub(super) disk: Disk,
    pub(super) naming: Naming,
    pub(super) signing: Signing,
    pub(super) cache: Cache,
    pub(super) limits: Limits,
    /// Records that are newer than on the disk. Only the committer writes here.
    unsaved: Mutex<HashMap<Hash, SubjectRecord>>,
    /// Events that somebody is about to write, or looks for: claims are withdrawn only where no two of these overlap.
    pub(super) in_flight: Arc<in_flight::Events>,
}

impl Shared {
    pub(super) fn new(disk: Disk, limits: Limits) -> Result<Self, VaultError> {
        memos::refuse_unknown_kinds(&disk)?;
        Ok(Self {
            naming: Naming::new(disk.tree().identity(), Eras::load(&disk)?),
            signing: Signing::load(&disk)?,
            cache: Cache::new(limits.cached_keys),
            limits,
            unsaved: Mutex::default(),
            in_flight: Arc::default(),
            disk,
        })
    }

    /// The present instant.
    pub(super) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        #[cfg(test)]
        let now = Timestamp::from_micros(
            now.as_micros() + self.disk.faults.ahead.load(std::sync::atomic::Ordering::SeqCst),
        );
        now
    }

    /// The records that are newer than on the disk.
    pub(super) fn unsaved(&self) -> MutexGuard<'_, HashMap<Hash, SubjectRecord>> {
        // No code panics while it holds this lock.
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A subject's record, if it has one of its own.
    pub(super) fn own_record(&self, subject: &Hash) -> Result<Option<SubjectRecord>, VaultError> {
        // A record leaves `unsaved` after it is on the disk, so that it is always in one of them.
        if let Some(record) = self.unsaved().get(subject) {
            return Ok(Some(record.clone()));
        }
        self.disk.record(subject)
    }

    /// A subject's record, or what holds without one.
    pub(super) fn record(
        &self,
        subject: &Hash,
        fence: &FenceRecord,
    ) -> Result<SubjectRecord, VaultError> {
        let own = self.own_record(subject)?;
        Ok(own.unwrap_or_else(|| SubjectRecord::default_for(fence)))
    }

    /// By which erasure a subject is closed.
    pub(super) fn closed(&self, subject: &Subject) -> Result<Option<ErasureId>, VaultError> {
        Ok(self.fenced(subject)?.closed)
    }

    /// What a subject's fence says.
    pub(super) fn fenced(&self, subject: &Subject) -> Result<Fenced, VaultError> {
        if let Some(known) = self.cache.fence(subject) {
            return Ok(known);
        }
        let version = self.cache.version();
        let fence = self.disk.fence(&self.naming.subject(subject))?;
        let fenced = Fenced { closed: fence.refusal(), ever: fence.last_dead().is_some() };
        #[cfg(test)]
        self.disk.faults.after_read();
        self.cache.keep_fence(subject, fenced, version);
        Ok(fenced)
    }

    /// The living key with this id.
    pub(super) fn find(&self, id: KeyId) -> Result<Option<KeyEntry>, VaultError> {
        let Some(hint) = self.naming.hint(id)? else { return Ok(None) };
        let range = places::subjects_like(&hint.subject);
        let mut from = range.start;
        // One subject, except where two share the prefix.
        while let Some((place, _)) = self.disk.tree().range(&from, &range.end, 1)?.pop() {
            let Some(subject) = places::hash_of(&place) else { break };
            let generation = hint.generation.0.to_be_bytes();
            for found in self.disk.walk(hint.keys_of(&subject)) {
                let (place, value) = found?;
                if place.ends_with(&generation) {
                    let entry = KeyEntry::decode(&value)?;
                    if entry.id == id {
                        return Ok(Some(entry));
                    }
                }
            }
            from = places::subject_range(&subject).end;
        }
        Ok(None)
    }

    /// Returns the state of the key with this id.
    pub(super) fn state(&self, id: KeyId) -> Result<KeyLookup, VaultError> {
        self.disk.check()?;
        if let Some(state) = self.cache.state(id) {
            return Ok(state);
        }
        let version = self.cache.version();
        let state = match self.find(id)? {
            Some(entry) => KeyLookup::Live {
                key: DataKey::new(id, &entry.secret).into(),
                subject: entry.subject,
            },
            None => KeyLookup::Shredded { erasure: self.killer(id)? },
        };
        #[cfg(test)]
        self.disk.faults.after_read();
        self.cache.keep_state(id, state.clone(), version);
        Ok(state)
    }

    /// The erasure that explains why a key is not there.
    fn killer(&self, id: KeyId) -> Result<ErasureId, VaultError> {
        let hint = self.naming.hint(id)?.ok_or(VaultError::KeyMissing(id))?;
        let mut killer = None;
        for (_, value) in self.disk.wholes(places::fences_like(&hint.subject))? {
            let fence = FenceRecord::decode(&value)?;
            // It was to live, whatever another subject's fence with the same prefix says.
            if fence.spares(hint.generation, id) {
                return Err(VaultError::KeyMissing(id));
            }
            killer = killer.or(fence.killer(hint.generation, id));
        }
        killer.ok_or(VaultError::KeyMissing(id))
    }

    /// The names of a subject's dependents.
    pub(super) fn dependents(&self, owner: &Hash) -> Result<Vec<Subject>, VaultError> {
        let odd = || VaultError::Damaged("a dependent's name does not have its form".into());
        let names = self.disk.walk(places::dependents(owner)).map(|found| {
            let (_, name) = found?;
            let name = std::str::from_utf8(&name).map_err(|_| odd())?;
            Subject::new(name).map_err(|_| odd())
        });
        names.collect()
    }

    /// What may be told of a key, as exactly as is known.
    pub(super) fn info<S>(&self, entry: KeyEntry<S>, subject: &SubjectRecord) -> KeyInfo {
        let mut info = entry.info(subject);
        let warm = self.cache.peek_warm(&(info.stream.clone(), info.subject.clone()));
        if let Some(warm) = warm.filter(|warm| warm.key.id() == info.id) {
            info.sealed_at_most = warm.used();
        }
        info
    }
}
