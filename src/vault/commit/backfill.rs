//! Noting owners whom events state that were stored without a claim: they are from before the layer, or
//! from before the policy that names owners.
//!
//! What they say is already in the store, so that nothing has to be settled.

use super::committer::{Committer, Job};
use crate::{
    event::{Generation, Subject},
    vault::{
        Owner, OwnerBackfill, Tenure, Vault, VaultError,
        records::{
            entries::{Stated, SubjectRecord},
            naming::Naming,
            places::{self, Hash},
        },
        tree::Value,
    },
};

impl Vault {
    /// Records owners durably. The caller holds an exclusive [`Admission`](super::Admission) of the subject,
    /// and a shared one of each owner. Done again, it changes nothing, but for a new generation.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`]; [`VaultError::Unsettled`] where a claim is open.
    pub(crate) async fn note_owners(&self, backfill: OwnerBackfill) -> Result<(), VaultError> {
        self.ask(|reply| Job::NoteOwners(backfill, reply)).await
    }
}

impl Committer {
    pub(in crate::vault) fn note_owners(
        &mut self,
        backfill: &OwnerBackfill,
    ) -> Result<(), VaultError> {
        let shared = &self.shared;
        shared.disk.check()?;
        let owners = backfill.owners.iter().map(|(_, owner)| owner);
        for subject in owners.chain(backfill.anew.iter().flatten()).chain([&backfill.subject]) {
            if let Some(erasure) = shared.closed(subject)? {
                return Err(VaultError::Forgotten { subject: subject.clone(), erasure });
            }
        }
        let hash = shared.naming.subject(&backfill.subject);
        let fence = shared.disk.fence(&hash)?;
        let mut record = shared.record(&hash, &fence)?;
        if let Some(event) = record.open_generation() {
            return Err(VaultError::Unsettled { subject: backfill.subject.clone(), event });
        }
        record.note(backfill, &shared.naming, fence.first_living())?;
        for owner in record.owners() {
            self.changes.insert(
                places::dependent(&shared.naming.subject(owner), &hash),
                Some(Value::new(backfill.subject.as_str().as_bytes().to_vec())),
            );
        }
        self.set_current(&hash, Some(record.current));
        self.shared.unsaved().insert(hash, record);
        Ok(())
    }
}

impl SubjectRecord {
    fn note(
        &mut self,
        backfill: &OwnerBackfill,
        naming: &Naming,
        first: Generation,
    ) -> Result<(), VaultError> {
        let noted = |subject: &Subject| Owner { subject: Some(subject.clone()), unsettled: None };
        if self.tenures.is_empty() {
            let (owners, any) = (Vec::new(), backfill.any);
            self.tenures.push(Tenure { from: first, unsettled: None, owners, any });
        }
        for (from, subject) in &backfill.owners {
            let at = self.tenures.iter().rposition(|tenure| tenure.from <= *from).unwrap_or(0);
            let tenure = &mut self.tenures[at];
            if tenure.owners.is_empty() {
                tenure.any = backfill.any;
            }
            if tenure.owners.iter().all(|owner| owner.subject.as_ref() != Some(subject)) {
                tenure.owners.push(noted(subject));
            }
        }
        for tenure in &mut self.tenures {
            tenure.any &= !backfill.mixed.contains(&tenure.from);
        }
        if let Some(owners) = &backfill.anew {
            let (from, any) = (self.begin_generation()?, backfill.any);
            let owners = owners.iter().map(noted).collect();
            self.tenures.push(Tenure { from, unsettled: None, owners, any });
            self.go_on_with(from);
        }
        for (event, change) in &backfill.changes {
            let change: Hash = naming.change(change);
            if !self.has_stated(*event, &change) {
                let changes = vec![change];
                self.stated.push(Stated { event: *event, content: None, changes, begun: None });
            }
        }
        Ok(())
    }
}
