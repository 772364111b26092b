//! What claims do to a subject's epochs.

use super::{Claim, Epoch, Owner, VaultError, records::SubjectRecord};
use crate::event::{EventId, Generation, OwnerChange, Subject};

impl SubjectRecord {
    /// The event that must be settled before the generation of new keys is known.
    pub(super) fn open_generation(&self) -> Option<EventId> {
        self.epochs.iter().find_map(|epoch| epoch.unsettled)
    }

    /// Notes a claim. `together`: the events of the claims that come with it; `first`: the first
    /// generation that is not dead. The same claim again changes nothing and has the same answer.
    pub(super) fn claim(
        &mut self,
        claim: &Claim,
        together: &[EventId],
        first: Generation,
    ) -> Result<Option<Generation>, VaultError> {
        if let Some((_, generation)) = self.counted.iter().find(|(event, _)| *event == claim.event)
        {
            return Ok(generation.filter(|_| claim.change.begins_generation()));
        }
        let stranger = |event: &EventId| !together.contains(event);
        let mut open = self.epochs.iter().filter_map(|epoch| epoch.unsettled).find(stranger);
        if open.is_none() && claim.change.begins_generation() {
            let last = self.epochs.last().into_iter().flat_map(|epoch| &epoch.owners);
            open = last.filter_map(|owner| owner.unsettled).find(stranger);
        }
        if let Some(event) = open {
            return Err(VaultError::Unsettled { subject: claim.subject.clone(), event });
        }
        match &claim.change {
            OwnerChange::Add(owner) => {
                self.add(owner, claim, first);
                Ok(None)
            }
            OwnerChange::Remove(owner) => {
                let epoch = self.pending(claim, first)?;
                epoch.owners.retain(|other| other.subject.as_ref() != Some(owner));
                Ok(Some(epoch.from))
            }
            OwnerChange::Replace(owner) => {
                let epoch = self.pending(claim, first)?;
                epoch.owners = vec![stated(owner, claim.event)];
                epoch.any = claim.any;
                Ok(Some(epoch.from))
            }
        }
    }

    fn add(&mut self, owner: &Subject, claim: &Claim, first: Generation) {
        let names = |other: &Owner| other.subject.as_ref() == Some(owner);
        let known = |other: &Owner| names(other) && other.unsettled == Some(claim.event);
        if self.epochs.iter().flat_map(|epoch| &epoch.owners).any(known) {
            return;
        }
        self.begin_history(claim, first);
        let Some(epoch) = self.epochs.last_mut() else { return };
        // Who is an owner already is named once more until the claim is settled: it must be known
        // as one that counted, or its retry, after the owner left, would bring them back.
        // A claim that may yet be withdrawn does not change what the others' forgetting means.
        if epoch.owners.iter().all(|other| other.unsettled == Some(claim.event)) {
            epoch.any = claim.any;
        }
        epoch.owners.push(stated(owner, claim.event));
    }

    /// All generations so far had the same owners: none. What they sealed is not the affair of
    /// whoever is named first by a change that begins a generation.
    fn begin_history(&mut self, claim: &Claim, first: Generation) {
        if self.epochs.is_empty() {
            let (owners, any) = (Vec::new(), claim.any);
            self.epochs.push(Epoch { from: first, unsettled: None, owners, any });
        }
    }

    /// The epoch that the claim's event begins, with the owners before it to start with.
    fn pending(&mut self, claim: &Claim, first: Generation) -> Result<&mut Epoch, VaultError> {
        self.begin_history(claim, first);
        let known = self.epochs.iter().position(|epoch| epoch.unsettled == Some(claim.event));
        let at = match known {
            Some(at) => at,
            None => {
                let from = self.begin_generation()?;
                let owners = self.epochs.last().map(|epoch| epoch.owners.clone());
                let any = self.epochs.last().map_or(claim.any, |epoch| epoch.any);
                self.epochs.push(Epoch {
                    from,
                    unsettled: Some(claim.event),
                    owners: owners.unwrap_or_default(),
                    any,
                });
                self.epochs.len() - 1
            }
        };
        Ok(&mut self.epochs[at])
    }

    /// The claims of these events count from now on. Returns whether that is news.
    pub(super) fn confirm(&mut self, events: &[EventId]) -> bool {
        let mut counted: Vec<(EventId, Option<Generation>)> = Vec::new();
        let mut begun = Vec::new();
        for epoch in &mut self.epochs {
            if let Some(event) = epoch.unsettled.filter(|event| events.contains(event)) {
                epoch.unsettled = None;
                begun.push(epoch.from);
                counted.push((event, Some(epoch.from)));
            }
            for owner in &mut epoch.owners {
                if let Some(event) = owner.unsettled.filter(|event| events.contains(event)) {
                    owner.unsettled = None;
                    if counted.iter().all(|(known, _)| *known != event) {
                        counted.push((event, None));
                    }
                }
            }
            // Who was named twice, by a claim that counted first and one that counts now, is
            // one owner.
            let mut settled: Vec<Subject> = Vec::new();
            epoch.owners.retain(|owner| match &owner.subject {
                Some(subject) if owner.unsettled.is_none() => {
                    let first = !settled.contains(subject);
                    settled.push(subject.clone());
                    first
                }
                _ => true,
            });
        }
        for generation in begun {
            self.go_on_with(generation);
        }
        let news = !counted.is_empty();
        self.counted.extend(counted);
        news
    }

    /// The claims of these events never counted. Returns whether that is news.
    pub(super) fn withdraw(&mut self, events: &[EventId]) -> bool {
        let ours = |event: Option<EventId>| event.is_some_and(|event| events.contains(&event));
        let before = (self.epochs.len(), self.mentions());
        let named: Vec<Subject> = self.owners().cloned().collect();
        self.epochs.retain(|epoch| !ours(epoch.unsettled));
        for epoch in &mut self.epochs {
            epoch.owners.retain(|owner| !ours(owner.unsettled));
        }
        let news = before != (self.epochs.len(), self.mentions());
        self.remember(named);
        if let [only] = self.epochs.as_slice()
            && only.owners.is_empty()
            && only.unsettled.is_none()
        {
            self.epochs.clear();
        }
        news
    }

    /// Of these, those who are not named as owners any more: they have this subject among their
    /// dependents until either of them is forgotten.
    fn remember(&mut self, named: Vec<Subject>) {
        for owner in named {
            if self.owners().all(|other| *other != owner) && !self.former.contains(&owner) {
                self.former.push(owner);
            }
        }
    }

    /// What begins when someone is admitted again: a generation that has no owners yet, whatever
    /// lives on of the earlier ones.
    pub(super) fn begin_again(&mut self) -> Result<(), VaultError> {
        let named = self.owners().cloned().collect();
        self.epochs.retain(|epoch| epoch.unsettled.is_none());
        self.remember(named);
        let begun = self.begin_generation()?;
        self.go_on_with(begun);
        let (from, owners) = (self.current, Vec::new());
        self.epochs.push(Epoch { from, unsettled: None, owners, any: false });
        Ok(())
    }

    fn mentions(&self) -> usize {
        self.epochs.iter().map(|epoch| epoch.owners.len()).sum()
    }

    /// Everyone who is named as an owner.
    pub(super) fn owners(&self) -> impl Iterator<Item = &Subject> {
        self.epochs.iter().flat_map(|epoch| &epoch.owners).filter_map(|o| o.subject.as_ref())
    }

    /// Everyone among whose dependents this subject is noted.
    pub(super) fn noted_with(&self) -> impl Iterator<Item = &Subject> {
        self.owners().chain(&self.former)
    }

    /// Names someone no longer, but leaves that there was an owner.
    pub(super) fn unname(&mut self, is_owner: impl Fn(&Subject) -> bool) {
        self.former.retain(|other| !is_owner(other));
        for other in self.epochs.iter_mut().flat_map(|epoch| &mut epoch.owners) {
            if other.subject.as_ref().is_some_and(&is_owner) {
                other.subject = None;
            }
        }
    }
}

fn stated(owner: &Subject, event: EventId) -> Owner {
    Owner { subject: Some(owner.clone()), unsettled: Some(event) }
}
