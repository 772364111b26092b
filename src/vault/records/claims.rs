//! What claims do to a subject's tenures.

use std::collections::{HashMap, HashSet};

use super::{
    entries::{Stated, SubjectRecord},
    naming::Naming,
    places::Hash,
};
use crate::{
    event::{EventId, Generation, OwnerChange, Subject},
    vault::{Claim, Owner, Tenure, VaultError},
};

impl SubjectRecord {
    /// The event that must be settled before the generation of new keys is known.
    pub(in crate::vault) fn open_generation(&self) -> Option<EventId> {
        self.tenures.iter().find_map(|tenure| tenure.unsettled)
    }

    /// Records a claim. `together`: the events of the claims that come with it; `first`: the first
    /// generation that is not dead. The same claim again changes nothing and has the same answer.
    /// Another claim under an id that counts already is a claim like any other: what the store
    /// holds under that id will decide.
    pub(in crate::vault) fn claim(
        &mut self,
        claim: &Claim,
        naming: &Naming,
        together: &HashSet<EventId>,
        first: Generation,
    ) -> Result<Option<Generation>, VaultError> {
        let change = naming.change(&claim.change);
        let counts = |stated: &&Stated| {
            !stated.is_open() && stated.event == claim.event && stated.changes.contains(&change)
        };
        if let Some(known) = self.stated.iter().find(counts) {
            return Ok(known.begun.filter(|_| claim.change.begins_generation()));
        }
        let stranger = |event: &EventId| !together.contains(event);
        let mut open = self.tenures.iter().filter_map(|tenure| tenure.unsettled).find(stranger);
        if open.is_none() && claim.change.begins_generation() {
            let last = self.tenures.last().into_iter().flat_map(|tenure| &tenure.owners);
            open = last.filter_map(|owner| owner.unsettled).find(stranger);
        }
        if let Some(event) = open {
            return Err(VaultError::Unsettled { subject: claim.subject.clone(), event });
        }
        self.state(claim, change, naming.content(&claim.content))?;
        match &claim.change {
            OwnerChange::Add(owner) => {
                self.add(owner, claim, first);
                Ok(None)
            }
            OwnerChange::Remove(owner) => {
                let tenure = self.pending(claim, first)?;
                tenure.owners.retain(|other| other.subject.as_ref() != Some(owner));
                Ok(Some(tenure.from))
            }
            OwnerChange::Replace(owner) => {
                let tenure = self.pending(claim, first)?;
                tenure.owners = vec![stated(owner, claim.event)];
                tenure.any = claim.any;
                Ok(Some(tenure.from))
            }
        }
    }

    /// Records what the claim's event states. Two events of one id cannot both be open: they would
    /// be settled as one.
    fn state(&mut self, claim: &Claim, change: Hash, content: Hash) -> Result<(), VaultError> {
        let (event, content) = (claim.event, Some(content));
        match self.stated.iter_mut().find(|stated| stated.is_open() && stated.event == event) {
            Some(open) if open.content != content => {
                return Err(VaultError::Unsettled { subject: claim.subject.clone(), event });
            }
            Some(open) if open.changes.contains(&change) => {}
            Some(open) => open.changes.push(change),
            None => self.stated.push(Stated { event, content, changes: vec![change], begun: None }),
        }
        Ok(())
    }

    /// Whether a change that an event states counts, or did.
    pub(in crate::vault) fn has_stated(&self, event: EventId, change: &Hash) -> bool {
        let mut of_event = self.stated.iter().filter(|s| !s.is_open() && s.event == event);
        of_event.any(|stated| stated.changes.contains(change))
    }

    /// Whether an event has unsettled claims here.
    pub(in crate::vault) fn is_open(&self, event: EventId) -> bool {
        self.stated.iter().any(|stated| stated.is_open() && stated.event == event)
    }

    /// Whether what was found in the store under an event's id is what its open claims say.
    pub(in crate::vault) fn is_stated(
        &self,
        event: EventId,
        content: Hash,
        changes: &[Hash],
    ) -> bool {
        let mut open =
            self.stated.iter().filter(|stated| stated.is_open() && stated.event == event);
        open.all(|stated| {
            stated.content == Some(content) || stated.changes.iter().all(|c| changes.contains(c))
        })
    }

    fn add(&mut self, owner: &Subject, claim: &Claim, first: Generation) {
        let names = |other: &Owner| other.subject.as_ref() == Some(owner);
        let known = |other: &Owner| names(other) && other.unsettled == Some(claim.event);
        if self.tenures.iter().flat_map(|tenure| &tenure.owners).any(known) {
            return;
        }
        self.begin_history(claim, first);
        let Some(tenure) = self.tenures.last_mut() else { return };
        // Who is an owner already is named once more until the claim is settled: it must be known
        // as one that counted, or its retry, after the owner left, would bring them back.
        // A claim that may yet be withdrawn does not change what the others' forgetting means.
        if tenure.owners.iter().all(|other| other.unsettled == Some(claim.event)) {
            tenure.any = claim.any;
        }
        tenure.owners.push(stated(owner, claim.event));
    }

    /// All generations so far had the same owners: none. So the owner whom the first claim names does
    /// not own what was sealed in them, if the claim begins a generation.
    fn begin_history(&mut self, claim: &Claim, first: Generation) {
        if self.tenures.is_empty() {
            let (owners, any) = (Vec::new(), claim.any);
            self.tenures.push(Tenure { from: first, unsettled: None, owners, any });
        }
    }

    /// The tenure that the claim's event begins, with the owners before it to start with.
    fn pending(&mut self, claim: &Claim, first: Generation) -> Result<&mut Tenure, VaultError> {
        self.begin_history(claim, first);
        let known = self.tenures.iter().position(|tenure| tenure.unsettled == Some(claim.event));
        let at = match known {
            Some(at) => at,
            None => {
                let from = self.begin_generation()?;
                let owners = self.tenures.last().map(|tenure| tenure.owners.clone());
                let any = self.tenures.last().map_or(claim.any, |tenure| tenure.any);
                self.tenures.push(Tenure {
                    from,
                    unsettled: Some(claim.event),
                    owners: owners.unwrap_or_default(),
                    any,
                });
                self.tenures.len() - 1
            }
        };
        Ok(&mut self.tenures[at])
    }

    /// The claims of these events count from now on. Returns whether that is news.
    pub(in crate::vault) fn confirm(&mut self, events: &HashSet<EventId>) -> bool {
        let mut begun: HashMap<EventId, Generation> = HashMap::new();
        let mut news = false;
        for tenure in &mut self.tenures {
            if let Some(event) = tenure.unsettled.filter(|event| events.contains(event)) {
                tenure.unsettled = None;
                begun.insert(event, tenure.from);
            }
            for owner in &mut tenure.owners {
                if owner.unsettled.is_some_and(|event| events.contains(&event)) {
                    owner.unsettled = None;
                    news = true;
                }
            }
            // Who was named twice, by a claim that counted first and one that counts now, is
            // one owner.
            let mut settled: HashSet<Subject> = HashSet::new();
            tenure.owners.retain(|owner| match &owner.subject {
                Some(subject) if owner.unsettled.is_none() => settled.insert(subject.clone()),
                _ => true,
            });
        }
        for stated in &mut self.stated {
            if stated.is_open() && events.contains(&stated.event) {
                stated.content = None;
                stated.begun = begun.get(&stated.event).copied();
                news = true;
            }
        }
        let mut begun: Vec<Generation> = begun.into_values().collect();
        begun.sort_unstable();
        news |= !begun.is_empty();
        for generation in begun {
            self.go_on_with(generation);
        }
        news
    }

    /// The claims of these events never counted. Returns whether that is news.
    pub(in crate::vault) fn withdraw(&mut self, events: &HashSet<EventId>) -> bool {
        let ours = |event: Option<EventId>| event.is_some_and(|event| events.contains(&event));
        let before = (self.tenures.len(), self.mentions());
        let named: Vec<Subject> = self.owners().cloned().collect();
        self.tenures.retain(|tenure| !ours(tenure.unsettled));
        for tenure in &mut self.tenures {
            tenure.owners.retain(|owner| !ours(owner.unsettled));
        }
        self.stated.retain(|stated| !(stated.is_open() && events.contains(&stated.event)));
        let news = before != (self.tenures.len(), self.mentions());
        self.remember(named);
        if let [only] = self.tenures.as_slice()
            && only.owners.is_empty()
            && only.unsettled.is_none()
        {
            self.tenures.clear();
        }
        news
    }

    /// Of these, those who are not named as owners any more: they have this subject among their
    /// dependents until either of them is forgotten.
    fn remember(&mut self, named: Vec<Subject>) {
        let known: HashSet<&Subject> = self.noted_with().collect();
        let mut gone: Vec<Subject> =
            named.into_iter().filter(|owner| !known.contains(owner)).collect();
        gone.sort_unstable();
        gone.dedup();
        self.former.extend(gone);
    }

    /// What begins when someone is admitted again: a generation that has no owners yet, whatever
    /// lives on of the earlier ones.
    pub(in crate::vault) fn begin_again(&mut self) -> Result<(), VaultError> {
        let named = self.owners().cloned().collect();
        self.tenures.retain(|tenure| tenure.unsettled.is_none());
        let owners = self.tenures.iter().flat_map(|tenure| &tenure.owners);
        let open: HashSet<EventId> = owners.filter_map(|owner| owner.unsettled).collect();
        self.stated.retain(|stated| !stated.is_open() || open.contains(&stated.event));
        self.remember(named);
        let begun = self.begin_generation()?;
        self.go_on_with(begun);
        let (from, owners) = (self.current, Vec::new());
        self.tenures.push(Tenure { from, unsettled: None, owners, any: false });
        Ok(())
    }

    fn mentions(&self) -> usize {
        self.tenures.iter().map(|tenure| tenure.owners.len()).sum()
    }

    /// Whether somebody who is not forgotten owns what is sealed next, as far as that is settled.
    pub(in crate::vault) fn is_owned(&self) -> bool {
        let last = self.tenures.iter().rfind(|tenure| tenure.unsettled.is_none());
        let owners = last.into_iter().flat_map(|tenure| &tenure.owners);
        owners.into_iter().any(|owner| owner.subject.is_some() && owner.unsettled.is_none())
    }

    /// Everyone who is named as an owner.
    pub(in crate::vault) fn owners(&self) -> impl Iterator<Item = &Subject> {
        self.tenures.iter().flat_map(|tenure| &tenure.owners).filter_map(|o| o.subject.as_ref())
    }

    /// Everyone among whose dependents this subject is noted.
    pub(in crate::vault) fn noted_with(&self) -> impl Iterator<Item = &Subject> {
        self.owners().chain(&self.former)
    }

    /// Names someone no longer, but leaves that there was an owner.
    pub(in crate::vault) fn unname(&mut self, is_owner: impl Fn(&Subject) -> bool) {
        self.former.retain(|other| !is_owner(other));
        for other in self.tenures.iter_mut().flat_map(|tenure| &mut tenure.owners) {
            if other.subject.as_ref().is_some_and(&is_owner) {
                other.subject = None;
            }
        }
    }
}

fn stated(owner: &Subject, event: EventId) -> Owner {
    Owner { subject: Some(owner.clone()), unsettled: Some(event) }
}
