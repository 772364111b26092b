//! Noting owner changes before their events are stored, and settling them afterwards.
//!
//! What a claim does to a subject's record is in `claims`; who else may settle one, in `unsettled`.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use super::committer::{Committer, Job};
use crate::{
    event::{EventId, Generation, Subject},
    vault::{
        Claim, Evidence, Vault, VaultError, Watch,
        records::{
            entries::SubjectRecord,
            places::{self, Hash},
        },
        tree::Value,
    },
};

impl Vault {
    /// Records owner changes durably, before the append that states them. Returns for each the
    /// generation under which its event, and the later ones of the same append, are sealed
    /// (`None`: no new generation). The same claim again changes nothing and has the same answer,
    /// also when it was settled long ago. Where the generation is dead since, that is `None` if the event
    /// is said to be stored, and else an error.
    ///
    /// A claim that begins a generation is refused while any claim of another append is open, one
    /// that adds an owner only while a generation is.
    ///
    /// # Errors
    /// [`VaultError::Unsettled`] where an earlier claim of a subject is open;
    /// [`VaultError::Forgotten`] where the subject or the owner is; [`VaultError::NoGeneration`] where
    /// what the event began is dead.
    pub(crate) async fn claim(
        &self,
        claims: &[Claim],
    ) -> Result<Vec<Option<Generation>>, VaultError> {
        self.claim_by(claims.to_vec(), false).await
    }

    /// As [`Vault::claim`]. `by_caller`: the events go into a store that only the caller sees, so that looking does not
    /// settle these claims, unless the event is found.
    ///
    /// # Errors
    /// As [`Vault::claim`].
    pub(crate) async fn claim_by(
        &self,
        claims: Vec<Claim>,
        by_caller: bool,
    ) -> Result<Vec<Option<Generation>>, VaultError> {
        self.ask(|reply| Job::Claim(claims, by_caller, reply)).await
    }

    /// Announces that these events are about to be written, before they are claimed: until the
    /// answer is dropped, no [`Vault::settle`] withdraws their claims.
    pub(crate) fn begin_claims(&self, events: Vec<EventId>) -> Watch {
        self.shared().in_flight.begin(events)
    }

    /// Announces that somebody is about to look for these events in the store. By what they do not find they
    /// may settle claims, as long as they hold the answer and nobody was about to write the event meanwhile.
    pub(crate) fn begin_look(&self, events: Vec<EventId>) -> Watch {
        self.shared().in_flight.look(events)
    }

    /// Says whether the events of earlier claims are in the store: the claims count from now on,
    /// or are withdrawn, unless they are in flight. Repeatable; unknown events are passed over. Not
    /// written at once; durable with the next commit. After a crash before it, the claims are found
    /// unsettled, and settled again.
    ///
    /// Only the writer of the events may say so: anyone who finds an event by its id calls
    /// [`Vault::settle_by`].
    pub(crate) async fn settle(
        &self,
        subject: &Subject,
        events: &[EventId],
        stored: bool,
    ) -> Result<(), VaultError> {
        let evidence = if stored { Evidence::Written } else { Evidence::Withdrawn };
        let found = events.iter().map(|event| (*event, evidence.clone())).collect();
        self.settle_by(subject, found, None).await
    }

    /// As [`Vault::settle`], by what the store holds under the ids of the claims' events, or what became of an
    /// append. `watch`: the one that began before.
    pub(crate) async fn settle_by(
        &self,
        subject: &Subject,
        found: Vec<(EventId, Evidence)>,
        watch: Option<Arc<Watch>>,
    ) -> Result<(), VaultError> {
        let subject = self.shared().naming.subject(subject);
        self.ask(|reply| Job::Settle(subject, found, watch, false, reply)).await
    }
}

impl Committer {
    pub(in crate::vault) fn claim(
        &mut self,
        claims: &[Claim],
        by_caller: bool,
    ) -> Result<Vec<Option<Generation>>, VaultError> {
        self.shared.disk.check()?;
        let mut records: HashMap<Hash, SubjectRecord> = HashMap::new();
        let mut together: HashMap<&Subject, HashSet<EventId>> = HashMap::new();
        for claim in claims {
            together.entry(&claim.subject).or_default().insert(claim.event);
        }
        let mut changes = Vec::new();
        let mut generations = Vec::new();
        for claim in claims {
            let owner = claim.change.owner();
            for subject in [&claim.subject, owner] {
                if let Some(erasure) = self.shared.closed(subject)? {
                    return Err(VaultError::Forgotten { subject: subject.clone(), erasure });
                }
            }
            let hash = self.shared.naming.subject(&claim.subject);
            let fence = self.shared.disk.fence(&hash)?;
            let record = match records.entry(hash) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.shared.record(&hash, &fence)?),
            };
            let together = together.entry(&claim.subject).or_default();
            let begun = record.claim(claim, &self.shared.naming, together, fence.first_living())?;
            // What an event began that counted long ago may be dead by now. If it is in the store,
            // its retry needs any key, so that the store can answer that it is there; if it is not,
            // it must not come under the key of anyone who owns the subject by now.
            let dead = begun.filter(|begun| fence.is_dead(*begun));
            if let Some(generation) = dead.filter(|_| !claim.stored) {
                return Err(VaultError::NoGeneration {
                    subject: claim.subject.clone(),
                    generation,
                });
            }
            generations.push(begun.filter(|_| dead.is_none()));
            if record.owners().any(|named| named == owner) {
                let place = places::dependent(&self.shared.naming.subject(owner), &hash);
                let name = Value::new(claim.subject.as_str().as_bytes().to_vec());
                changes.push((place, Some(name)));
            }
        }
        if by_caller {
            for claim in claims {
                let hash = self.shared.naming.subject(&claim.subject);
                let is_open = records.get(&hash).is_some_and(|record| record.is_open(claim.event));
                if is_open {
                    self.note_caller(claim.event, hash)?;
                }
            }
        }
        self.changes.extend(changes);
        for (hash, record) in records {
            let open = record.open_generation().is_some();
            self.shared.unsaved().insert(hash, record);
            if open {
                self.set_current(&hash, None);
            }
        }
        Ok(generations)
    }

    pub(in crate::vault) fn settle(
        &mut self,
        hash: Hash,
        found: &[(EventId, Evidence)],
        watch: Option<&Watch>,
    ) -> Result<(), VaultError> {
        self.shared.disk.check()?;
        let naming = &self.shared.naming;
        let Some(mut record) = self.shared.own_record(&hash)? else { return Ok(()) };
        let (counts, mut never): (Vec<_>, Vec<_>) =
            found.iter().partition(|(event, evidence)| match evidence {
                Evidence::Nothing | Evidence::Withdrawn => false,
                Evidence::Written => true,
                Evidence::Found { content, changes } => {
                    let changes: Vec<Hash> = changes.iter().map(|c| naming.change(c)).collect();
                    record.is_stated(*event, naming.content(content), &changes)
                }
            });
        // Asked for here, where claims are noted: one that begins later is noted again. The writer's own word is
        // about all attempts. What was seen of the store, or of one attempt, says nothing where there was another.
        never.retain(|(event, evidence)| match (watch, evidence) {
            (Some(watch), _) => watch.was_alone(*event),
            (None, Evidence::Withdrawn) => !self.shared.in_flight.has(*event),
            (None, _) => false,
        });
        // Who looked did so in a store that need not be the one where the event is.
        let mut by_look = Vec::new();
        for (event, evidence) in &never {
            if *evidence != Evidence::Withdrawn && self.shared.caller_claim(*event)?.is_some() {
                by_look.push(*event);
            }
        }
        never.retain(|(event, _)| !by_look.contains(event));
        let events = |found: &[&(EventId, Evidence)]| found.iter().map(|(e, _)| *e).collect();
        let news = record.confirm(&events(&counts)) | record.withdraw(&events(&never));
        // An erasure that came before this missed the dependent: that is not said once and forgotten.
        let orphaned = self.shared.is_orphaned(&hash, &record)?;
        for (event, _) in counts.iter().chain(&never) {
            match orphaned {
                true if news => self.note_caller(*event, hash)?,
                true => {}
                false => self.forget_caller(*event)?,
            }
        }
        if !news {
            return Ok(());
        }
        let fence = self.shared.disk.fence(&hash)?;
        // New keys have a living generation.
        if fence.is_dead(record.current) {
            let begun = record.begin_generation()?;
            record.go_on_with(begun);
        }
        let current = record.open_generation().is_none().then_some(record.current);
        self.shared.unsaved().insert(hash, record);
        self.set_current(&hash, current.filter(|_| !fence.closed));
        Ok(())
    }
}
