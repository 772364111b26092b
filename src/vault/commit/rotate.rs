//! Rotation: new keys for what comes, while what is there still opens; new eras among them.

use super::committer::{Committer, Job};
#[cfg(feature = "backup")]
use crate::{event::Era, vault::records::catalogue};
use crate::{
    event::{Generation, Subject},
    vault::{AdmissionRequest, Vault, VaultError, records::places, tree::Erasure},
};

impl Vault {
    /// Begins a new generation of a subject: whatever is sealed for them from now on, in any
    /// stream, is sealed under a key made after this call; older keys open what they sealed, and
    /// their owners stay. Returns the generation; `None` where no key of the current one was ever
    /// made, so that the next one is new anyway.
    ///
    /// Waits, as an exclusive [`Admission`](super::Admission) does, until nothing is sealed for the
    /// subject and not yet stored, so that after it nothing reaches the store under an older key.
    ///
    /// The pages that hold the subject's keys take fresh keys along, up to the root: anyone who once
    /// held the root and a copy of the pages cannot read the new keys from later copies, and an
    /// older page cannot be slipped back.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`]; [`VaultError::Unsettled`], as for [`Vault::sealing_key`].
    pub(crate) async fn rotate(&self, subject: &Subject) -> Result<Option<Generation>, VaultError> {
        self.rotate_if(subject, None).await
    }

    /// As [`Vault::rotate`], unless the subject is past this generation already: for anyone who found
    /// a key too old and may not be the only one who did.
    ///
    /// # Errors
    /// As [`Vault::rotate`].
    pub(crate) async fn rotate_past(
        &self,
        subject: &Subject,
        generation: Generation,
    ) -> Result<Option<Generation>, VaultError> {
        self.rotate_if(subject, Some(generation)).await
    }

    async fn rotate_if(
        &self,
        subject: &Subject,
        past: Option<Generation>,
    ) -> Result<Option<Generation>, VaultError> {
        let exclusive = vec![subject.clone()];
        let admission =
            self.admit(AdmissionRequest { exclusive, ..AdmissionRequest::default() }).await?;
        self.ask(|reply| Job::Rotate(subject.clone(), past, admission, reply)).await
    }

    /// Replaces the root key, and the root page with it. Returns the new epoch. On return every
    /// copy of the root slot that was made before is outdated: it opens older copies of the
    /// vault's folder, and no newer one.
    ///
    /// The pages below the root keep their keys. So it does not lock out somebody who read the
    /// old root and the pages of that time: the keys of these pages are known to them, also
    /// in later versions. For that, rotate the subjects, each of which takes fresh page keys.
    ///
    /// # Errors
    /// Storage errors, after which the vault is poisoned.
    pub async fn rotate_root(&self) -> Result<u64, VaultError> {
        self.ask(Job::RotateRoot).await
    }
}

impl Committer {
    pub(in crate::vault) fn rotate(
        &mut self,
        subject: &Subject,
        past: Option<Generation>,
    ) -> Result<Option<Generation>, VaultError> {
        self.shared.disk.check()?;
        let hash = self.shared.naming.subject(subject);
        let fence = self.shared.disk.fence(&hash)?;
        if let Some(erasure) = fence.refusal() {
            return Err(VaultError::Forgotten { subject: subject.clone(), erasure });
        }
        let mut record = self.shared.record(&hash, &fence)?;
        if let Some(event) = record.open_generation() {
            return Err(VaultError::Unsettled { subject: subject.clone(), event });
        }
        if past.is_some_and(|past| record.current > past) {
            return Ok(None);
        }
        let keys = places::keys(&hash);
        let current = record.current;
        let whole = (keys.start.clone(), keys.end.clone());
        let mut planned = self.planned.range(keys.clone());
        let mut used = planned.any(|(_, planned)| planned.entry.generation == current);
        let mut written = Vec::new();
        for found in self.shared.disk.walk(keys) {
            let (place, value) = found?;
            used |= places::generation_of(&place) == Some(current);
            written.push((place, Some(value)));
        }
        if !used {
            return Ok(None);
        }
        let begun = record.begin_generation()?;
        record.go_on_with(begun);
        // As they are: what is wanted is fresh keys for all pages where the new ones may come to
        // stand, also where none stands now. What this write has to say of them otherwise counts
        // more.
        self.changes.extend(written);
        self.renewed.push(whole);
        self.shared.unsaved().insert(hash, record);
        self.set_current(&hash, Some(begun));
        Ok(Some(begun))
    }

    pub(in crate::vault) fn rotate_root(&mut self) -> Result<u64, VaultError> {
        self.commit()?;
        // Of nothing: a fresh root key and root page, and no other.
        self.shared.disk.erase(Erasure::default())?;
        self.shared.disk.tree().epoch()
    }
}

#[cfg(feature = "backup")]
impl Committer {
    /// Ends the era if a backup may hold its secret: one that was cut off by a crash, in whatever state its
    /// file is, has not ended it.
    pub(in crate::vault) fn end_exposed_era(&mut self) -> Result<(), VaultError> {
        if self.shared.disk.tree().is_read_only() {
            return Ok(());
        }
        let current = self.shared.naming.eras.current()?;
        if catalogue::entries(&self.shared.disk)?.iter().any(|backup| backup.era == current) {
            self.end_era()?;
        }
        Ok(())
    }

    /// Ends the era: what is made from now on cannot be read with a backup that was made before.
    pub(in crate::vault) fn end_era(&mut self) -> Result<Era, VaultError> {
        let (change, keys) = self.shared.naming.eras.begin()?;
        let era = keys.era;
        self.changes.extend(change);
        self.commit()?;
        // Ids are made by this thread, so that none was made in between.
        self.shared.naming.eras.add(keys);
        Ok(era)
    }
}
