//! Making a plan: from what the vault knows of a subject to what would go, and what stays.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AffectedStream, AffectedSubject, ErasureError, ErasureRefusal, ForgetOptions, Kept, KeptBy,
    NotReached, Plan,
    cascade::{Cascade, Fall, Stays},
};
use crate::{
    event::{Cause, Generation, StreamName, Subject},
    vault::{KeyInfo, SubjectState, Tenure, Vault, VaultError},
};

impl Plan {
    /// What forgetting a subject takes along: see [`Cascade`].
    ///
    /// Blocks for page reads.
    pub(super) fn make(vault: &Vault, subject: &Subject) -> Result<Self, ErasureError> {
        let state = vault.subject_state(subject)?;
        // Nothing is left to destroy, so the plan is empty and names the erasure that did it. All three must hold: a
        // subject who was admitted again has keys, and one whose keys were spared still has those.
        if let Some(fence) = &state.fence
            && fence.closed
            // One that was spared may be lost, and is to be forgotten as well.
            && fence.spared.is_empty()
            && vault.keys_of(subject)?.is_empty()
        {
            let already = fence.dead.last().map(|&(_, _, erasure)| erasure);
            let not_reached = NotReached::by_erasure_of(vault, subject)?;
            return Ok(Self { not_reached, ..Self::nothing(subject, already) });
        }
        let fates = Cascade::of(vault, subject)?;
        let mut plan = Self::gather(vault, subject, fates.losses)?;
        // After gathering, because it looks at the generations that the plan leaves.
        plan.find_open(vault, &fates.stays)?;
        // Of an earlier erasure, before they came back.
        for late in NotReached::by_erasure_of(vault, subject)? {
            if !plan.not_reached.contains(&late) {
                plan.not_reached.push(late);
            }
        }
        for stays in fates.stays {
            let keeper = |owner: Subject| {
                let unknown = is_unknown(vault, &owner)?;
                Ok(KeptBy { subject: owner, unknown })
            };
            let by: Vec<_> = stays.by.into_iter().map(keeper).collect::<Result<_, VaultError>>()?;
            let told = plan.not_reached.iter().any(|open| open.subject == stays.subject);
            // What only an open claim keeps is not kept.
            if !(by.is_empty() && stays.in_part.is_empty() && told) {
                plan.kept.push(Kept { subject: stays.subject, by, in_part: stays.in_part });
            }
        }
        Ok(plan)
    }

    /// Notes the open claims of those who stay, and of those of whom something does.
    fn find_open(&mut self, vault: &Vault, stays: &[Stays]) -> Result<(), VaultError> {
        let in_part = self.subjects.iter().filter(|affected| affected.generations.is_some());
        let mut open = BTreeSet::new();
        let stay = stays.iter().map(|stays| &stays.subject);
        for subject in stay.chain(in_part.map(|affected| &affected.subject)) {
            let state = vault.subject_state(subject)?;
            let claims = state.tenures.iter().flat_map(Tenure::open_claims);
            open.extend(claims.map(|event| (subject.clone(), event)));
        }
        let not_reached = |(subject, event)| NotReached { subject, event, owner_forgotten: false };
        self.not_reached = open.into_iter().map(not_reached).collect();
        Ok(())
    }

    fn gather(
        vault: &Vault,
        subject: &Subject,
        losses: Vec<(Subject, Fall)>,
    ) -> Result<Self, ErasureError> {
        let mut subjects = Vec::new();
        let mut streams: BTreeMap<StreamName, AffectedStream> = BTreeMap::new();
        for (who, cascade) in losses {
            // No spans: the subject goes wholly, with generations that begin until the keys are destroyed, too.
            let dies = |key: &KeyInfo| match &cascade.spans {
                None => true,
                Some(spans) => {
                    spans.iter().any(|(from, to)| (*from..=*to).contains(&key.generation))
                }
            };
            let keys: Vec<KeyInfo> = vault.keys_of(&who)?.into_iter().filter(dies).collect();
            let cause = if cascade.depth == 0 { Cause::Request } else { Cause::OwnerForgotten };
            let own = who.stream();
            let empty = |stream: StreamName| AffectedStream {
                stream,
                cause,
                depth: cascade.depth,
                keys: vec![],
                sealed_at_most: 0,
                own: false,
            };
            if cascade.spans.is_none() {
                // Without a key of its own, too: a wholly public stream is affected as well.
                streams.entry(own.clone()).or_insert_with(|| empty(own)).own = true;
            }
            for key in &keys {
                let stream =
                    streams.entry(key.stream.clone()).or_insert_with(|| empty(key.stream.clone()));
                // A stream may be reached in several ways. The shortest one is told: it is the reason that a person
                // would give.
                if cascade.depth < stream.depth {
                    (stream.depth, stream.cause) = (cascade.depth, cause);
                }
                stream.keys.push(key.id.to_string());
                stream.sealed_at_most += key.sealed_at_most;
            }
            subjects.push(AffectedSubject {
                begun: begun(vault, &who)?,
                subject: who,
                depth: cascade.depth,
                through: cascade.through,
                generations: cascade.spans,
                keys: keys.len() as u64,
            });
        }
        subjects.sort_by(|a, b| (a.depth, &a.subject).cmp(&(b.depth, &b.subject)));
        let mut streams: Vec<AffectedStream> = streams.into_values().collect();
        streams.sort_by(|a, b| (a.depth, &a.stream).cmp(&(b.depth, &b.stream)));
        Ok(Self { subjects, streams, ..Self::nothing(subject, None) })
    }

    /// Whether forgetting goes on with these options, over what the plan found and forgetting does not reach.
    /// An erasure that is decided goes on whatever they are.
    ///
    /// # Errors
    /// [`ErasureRefusal::Newer`], [`ErasureRefusal::Unsealed`] and [`ErasureRefusal::UnknownKeys`], each of which
    /// names the option that goes on nevertheless.
    pub fn check(&self, options: &ForgetOptions) -> Result<(), ErasureRefusal> {
        if self.decided.is_some() {
            return Ok(());
        }
        let subject = self.subject.clone();
        // First, because what a newer program wrote is not to be removed.
        if !self.newer.is_empty() && !options.despite_newer {
            return Err(ErasureRefusal::Newer { subject, newer: self.newer.clone() });
        }
        if !self.unsealed.is_empty() && !options.despite_unsealed {
            return Err(ErasureRefusal::Unsealed { subject, unsealed: self.unsealed.clone() });
        }
        if !self.unknown_keys.is_empty() && !options.despite_unknown_keys {
            let unknown = self.unknown_keys.clone();
            return Err(ErasureRefusal::UnknownKeys { subject, unknown });
        }
        Ok(())
    }
}

impl NotReached {
    /// What an erasure of this owner did not reach, and somebody has to see to still.
    pub(super) fn by_erasure_of(vault: &Vault, owner: &Subject) -> Result<Vec<Self>, VaultError> {
        let claims = vault.open_claims_on(owner)?.into_iter();
        let not_reached = claims.filter_map(|claim| {
            let (event, owner_forgotten) = (claim.event, claim.owner_forgotten);
            Some(Self { subject: Subject::of(&claim.stream?), event, owner_forgotten })
        });
        Ok(not_reached.collect())
    }
}

/// Whether the vault never heard of a subject, but as somebody's owner.
fn is_unknown(vault: &Vault, subject: &Subject) -> Result<bool, VaultError> {
    let state = vault.subject_state(subject)?;
    Ok(state == SubjectState::default() && vault.keys_of(subject)?.is_empty())
}

/// The newest generation that a subject began, as far as it is settled.
fn begun(vault: &Vault, subject: &Subject) -> Result<Generation, ErasureError> {
    let state = vault.subject_state(subject)?;
    // An unsettled change of hands may not have happened: its generation is not taken for begun.
    let tenures = state.tenures.iter().filter(|tenure| tenure.unsettled.is_none());
    let dead = state.fence.iter().flat_map(|fence| fence.dead.iter().map(|&(_, to, _)| to));
    let begun = tenures.map(|tenure| tenure.from).chain(dead).chain(state.current).max();
    Ok(begun.unwrap_or(Generation::FIRST))
}
