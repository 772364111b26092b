//! Noting owners whom events state that were stored without a claim: they are from before the layer, or
//! from before the policy that names owners.
//!
//! What they say is already in the store, so that nothing has to be settled.

use super::committer::{Committer, Job};
use crate::{
    event::{EventId, Generation, OwnerChange, Subject},
    vault::{
        Epoch, Owner, Vault, VaultError,
        records::{
            entries::{Stated, SubjectRecord},
            places::{self, Hash, Naming},
        },
        tree::Value,
    },
};

/// What stored events state of the owners of one subject, as far as nobody noted it.
#[derive(Debug, Clone)]
pub(crate) struct Stating {
    /// The dependent.
    pub(crate) subject: Subject,
    /// The changes of owners that no claim was made of: their retry changes nothing any more.
    pub(crate) changes: Vec<(EventId, OwnerChange)>,
    /// Who owned it in the epoch that begins so, beside those who are noted.
    pub(crate) owners: Vec<(Generation, Subject)>,
    /// The epochs in which it changed hands unnoted. Their parts cannot be told apart, so that each goes
    /// with the last of its owners.
    pub(crate) mixed: Vec<Generation>,
    /// Who owns it now, where that needs a new generation.
    pub(crate) anew: Option<Vec<Subject>>,
    /// Whether forgetting any one owner suffices.
    pub(crate) any: bool,
}

impl Vault {
    /// Notes owners durably. The caller holds an exclusive [`Admission`](super::Admission) of the subject,
    /// and a shared one of each owner. Done again, it changes nothing, but for a new generation.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`]; [`VaultError::Unsettled`] where a claim is open.
    pub(crate) async fn note_owners(&self, stating: Stating) -> Result<(), VaultError> {
        self.ask(|reply| Job::NoteOwners(stating, reply)).await
    }
}

impl Committer {
    pub(in crate::vault) fn note_owners(&mut self, stating: &Stating) -> Result<(), VaultError> {
        let core = &self.core;
        core.disk.check()?;
        let owners = stating.owners.iter().map(|(_, owner)| owner);
        for subject in owners.chain(stating.anew.iter().flatten()).chain([&stating.subject]) {
            if let Some(erasure) = core.closed(subject)? {
                return Err(VaultError::Forgotten { subject: subject.clone(), erasure });
            }
        }
        let hash = core.naming.subject(&stating.subject);
        let fence = core.disk.fence(&hash)?;
        let mut record = core.record(&hash, &fence)?;
        if let Some(event) = record.open_generation() {
            return Err(VaultError::Unsettled { subject: stating.subject.clone(), event });
        }
        record.note(stating, &core.naming, fence.first_living())?;
        for owner in record.owners() {
            self.changes.insert(
                places::dependent(&core.naming.subject(owner), &hash),
                Some(Value::new(stating.subject.as_str().as_bytes().to_vec())),
            );
        }
        self.announce(&hash, Some(record.current));
        self.core.unsaved().insert(hash, record);
        Ok(())
    }
}

impl SubjectRecord {
    fn note(
        &mut self,
        stating: &Stating,
        naming: &Naming,
        first: Generation,
    ) -> Result<(), VaultError> {
        let noted = |subject: &Subject| Owner { subject: Some(subject.clone()), unsettled: None };
        if self.epochs.is_empty() {
            let (owners, any) = (Vec::new(), stating.any);
            self.epochs.push(Epoch { from: first, unsettled: None, owners, any });
        }
        for (from, subject) in &stating.owners {
            let at = self.epochs.iter().rposition(|epoch| epoch.from <= *from).unwrap_or(0);
            let epoch = &mut self.epochs[at];
            if epoch.owners.is_empty() {
                epoch.any = stating.any;
            }
            if epoch.owners.iter().all(|owner| owner.subject.as_ref() != Some(subject)) {
                epoch.owners.push(noted(subject));
            }
        }
        for epoch in &mut self.epochs {
            epoch.any &= !stating.mixed.contains(&epoch.from);
        }
        if let Some(owners) = &stating.anew {
            let (from, any) = (self.begin_generation()?, stating.any);
            let owners = owners.iter().map(noted).collect();
            self.epochs.push(Epoch { from, unsettled: None, owners, any });
            self.go_on_with(from);
        }
        for (event, change) in &stating.changes {
            let change: Hash = naming.change(change);
            if !self.has_stated(*event, &change) {
                let changes = vec![change];
                self.stated.push(Stated { event: *event, content: None, changes, begun: None });
            }
        }
        Ok(())
    }
}
