//! What the vault knows of a subject, its keys and its dependents. Nothing here writes.

use std::sync::Arc;

use super::inventory::Inventory;
use crate::{
    event::{Era, EventId, Generation, KeyId, OwnerChange, StreamName, Subject, Timestamp},
    vault::{
        InventoryEntry, KeyInfo, SubjectState, Vault, VaultError,
        records::{entries::KeyEntry, fence::FenceRecord, places},
    },
};

impl Vault {
    /// Returns the state of a subject.
    pub(crate) fn subject_state(&self, subject: &Subject) -> Result<SubjectState, VaultError> {
        let shared = &self.shared();
        let hash = shared.naming.subject(subject);
        let fence = shared.disk.fence(&hash)?;
        let own = shared.own_record(&hash)?;
        let known = own.is_some() || shared.disk.walk(places::keys(&hash)).next().is_some();
        let current = own.as_ref().map(|record| record.current);
        let current = current.or_else(|| known.then(|| fence.next_generation()));
        Ok(SubjectState {
            current: current.filter(|_| !fence.closed),
            tenures: own.map(|record| record.tenures).unwrap_or_default(),
            fence: (fence != FenceRecord::default()).then(|| fence.public(hash)),
        })
    }

    /// Whether a subject is forgotten, and not admitted again.
    pub(crate) fn is_closed(&self, subject: &Subject) -> Result<bool, VaultError> {
        Ok(self.shared().closed(subject)?.is_some())
    }

    /// Whether a change that an event states counts for its stream's subject, or did.
    pub(crate) fn has_stated(
        &self,
        dependent: &Subject,
        event: EventId,
        change: &OwnerChange,
    ) -> Result<bool, VaultError> {
        let shared = self.shared();
        let record = shared.own_record(&shared.naming.subject(dependent))?;
        let change = shared.naming.change(change);
        Ok(record.is_some_and(|record| record.has_stated(event, &change)))
    }

    /// When another generation took the place of this one, if that is known.
    pub(crate) fn ended(
        &self,
        subject: &Subject,
        generation: Generation,
    ) -> Result<Option<Timestamp>, VaultError> {
        let shared = self.shared();
        let record = shared.own_record(&shared.naming.subject(subject))?;
        let mut began = record.into_iter().flat_map(|record| record.began);
        Ok(began.find(|(began, _)| *began > generation).map(|(_, at)| at))
    }

    /// Whether somebody owns what is sealed for a subject next, as far as that is settled.
    pub(crate) fn has_owner(&self, subject: &Subject) -> Result<bool, VaultError> {
        let shared = self.shared();
        let record = shared.own_record(&shared.naming.subject(subject))?;
        Ok(record.is_some_and(|record| record.is_owned()))
    }

    /// Whether some of a subject was forgotten, and what would be sealed for it next has no owner: what
    /// owned it before is gone, and it is not known who does now. A claim that is open says nothing.
    pub(crate) fn lost_its_owners(&self, subject: &Subject) -> Result<bool, VaultError> {
        let shared = self.shared();
        if !shared.fenced(subject)?.ever {
            return Ok(false);
        }
        Ok(!self.has_owner(subject)?)
    }

    /// The subjects that ever named this one as an owner, in claims that were withdrawn, too:
    /// their state says what counts.
    pub(crate) fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError> {
        let shared = &self.shared();
        shared.dependents(&shared.naming.subject(owner))
    }

    /// The living keys of a subject, in all streams.
    pub(crate) fn keys_of(&self, subject: &Subject) -> Result<Vec<KeyInfo>, VaultError> {
        let shared = &self.shared();
        let hash = shared.naming.subject(subject);
        let record = shared.own_record(&hash)?.unwrap_or_default();
        let keys = shared.disk.walk(places::keys(&hash));
        keys.map(|found| Ok(shared.info(KeyEntry::decode_told(&found?.1)?, &record))).collect()
    }

    /// What may be told of the living key with this id.
    pub(crate) fn key_info(&self, id: KeyId) -> Result<Option<KeyInfo>, VaultError> {
        let shared = &self.shared();
        let Some(entry) = shared.find(id)? else { return Ok(None) };
        let record = shared.own_record(&shared.naming.subject(&entry.subject))?.unwrap_or_default();
        Ok(Some(shared.info(entry, &record)))
    }

    /// Whether this vault had an era. If not, the vault was restored from a backup that is older than what names the era,
    /// or is another one.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] where the eras cannot be read.
    pub(crate) fn knows_era(&self, era: Era) -> Result<bool, VaultError> {
        Ok(self.shared().naming.eras.with(era, |_| ())?.is_some())
    }

    /// Whether a key of this id, living or dead, may be one of a stream's. Of another stream's key, "yes" comes out
    /// once in 65,536 times; "no" is certain.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] where the eras cannot be read.
    pub(crate) fn may_be_key_of(&self, id: KeyId, stream: &StreamName) -> Result<bool, VaultError> {
        self.shared().naming.may_be_key_of(id, stream)
    }

    /// Walks over every living key and every fence, in the order of places, in constant memory.
    pub(crate) fn inventory(
        &self,
    ) -> impl Iterator<Item = Result<InventoryEntry, VaultError>> + Send + use<> {
        Inventory::new(Arc::clone(self.shared()))
    }

    /// Returns the subject's keyed pseudonym, as fences carry it.
    pub(crate) fn pseudonym(&self, subject: &Subject) -> [u8; 16] {
        self.shared().naming.subject(subject)
    }
}
