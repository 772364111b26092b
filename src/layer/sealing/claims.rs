//! Owner claims: what events state of owners is noted before they are stored, and counts once they
//! are.

use std::collections::BTreeMap;

use super::{Witness, Work};
use crate::{
    event::{EventId, Generation, NewEvent, Subject},
    layer::{CodecError, stored},
    policy::Carved,
    vault::{Claim, UnderWay, Vault, VaultError},
};

/// Notes the owner changes. Returns, for each event, the generation begun by it or before it.
pub(super) async fn claim<W: Witness>(
    vault: &Vault,
    witness: &W,
    work: &[Work],
) -> Result<Vec<Vec<Option<Generation>>>, W::Error> {
    let mut claims = Vec::new();
    for work in work {
        for (event, carved) in work.events.iter().filter(|(_, carved)| !carved.owners.is_empty()) {
            let content = stored::content(&event.event_type, &event.data);
            claims.extend(carved.owners.iter().map(|change| Claim {
                subject: Subject::of(&work.stream),
                event: event.id,
                change: change.clone(),
                any: carved.any_owner,
                content,
                stored: false,
            }));
        }
    }
    let begun = if claims.is_empty() {
        Vec::new()
    } else {
        match vault.claim(&claims).await {
            // A late retry, perhaps, of a change whose part is forgotten since.
            Err(VaultError::NoGeneration { .. }) if witness.holds_all(&claims).await? => {
                claims.iter_mut().for_each(|claim| claim.stored = true);
                vault.claim(&claims).await
            }
            claimed => claimed,
        }
        .map_err(CodecError::from)?
    };
    let mut begun = begun.into_iter();
    let generations = work.iter().map(|work| {
        let mut current = None;
        let of_event = |(_, carved): &(NewEvent, Carved)| {
            for generation in begun.by_ref().take(carved.owners.len()) {
                current = generation.or(current);
            }
            current
        };
        work.events.iter().map(of_event).collect()
    });
    Ok(generations.collect())
}

/// The claims of one event that is about to be stored.
#[derive(Debug)]
pub(in crate::layer) struct Stating {
    subject: Subject,
    event: EventId,
    /// While it lives, nobody who looks into the store withdraws them.
    under_way: UnderWay,
}

impl Stating {
    /// Says that the event is stored: its claims count.
    pub(in crate::layer) async fn confirm(self, vault: &Vault) -> Result<(), VaultError> {
        vault.settle(&self.subject, &[self.event], true).await
    }

    /// Says that the event is not stored and will not be: its claims are withdrawn.
    pub(in crate::layer) async fn withdraw(self, vault: &Vault) -> Result<(), VaultError> {
        drop(self.under_way);
        vault.settle(&self.subject, &[self.event], false).await
    }
}

/// The claims of all events under way together.
pub(in crate::layer) struct Claiming(Vec<Stating>);

impl Claiming {
    pub(super) fn begin(vault: &Vault, work: &[Work]) -> Self {
        let stating = work.iter().flat_map(|work| {
            let states = |(_, carved): &&(NewEvent, Carved)| !carved.owners.is_empty();
            work.events.iter().filter(states).map(|(event, _)| Stating {
                subject: Subject::of(&work.stream),
                event: event.id,
                under_way: vault.begin_claims(vec![event.id]),
            })
        });
        Self(stating.collect())
    }

    /// Takes out those of one event, where it states something.
    pub(in crate::layer) fn take(&mut self, event: EventId) -> Option<Stating> {
        let at = self.0.iter().position(|stating| stating.event == event)?;
        Some(self.0.swap_remove(at))
    }

    /// After all of them were stored.
    pub(in crate::layer) async fn confirm(self, vault: &Vault) -> Result<(), VaultError> {
        for (subject, events) in self.by_subject() {
            vault.settle(&subject, &events, true).await?;
        }
        Ok(())
    }

    /// After a failure: the store is asked whether the events are there, since they may be from an
    /// earlier attempt. Where it does not answer, the claims stay open, and whoever next needs to
    /// know asks again.
    pub(in crate::layer) async fn judge<W: Witness>(self, vault: &Vault, witness: &W) {
        let subjects = self.by_subject();
        drop(self);
        for (subject, _) in subjects {
            if let Err(error) = witness.settle(vault, &subject).await {
                tracing::warn!(%subject, %error, "an owner claim stays open");
            }
        }
    }

    fn by_subject(&self) -> BTreeMap<Subject, Vec<EventId>> {
        let mut all: BTreeMap<Subject, Vec<EventId>> = BTreeMap::new();
        for Stating { subject, event, .. } in &self.0 {
            all.entry(subject.clone()).or_default().push(*event);
        }
        all
    }
}
