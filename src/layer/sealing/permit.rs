//! Permits: what is sealed and not yet known to be stored.
//!
//! While a permit is held and has not ended, no one concerned is forgotten. When it ends, it keeps no one
//! waiting any more; its claims stay open until somebody says, or sees, whether their events are
//! stored. The layer holds one for an append, the codec's caller one for each event.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{StoreView, Work};
use crate::{
    event::{EventId, KeyId, NewEvent, Subject},
    policy::CutEvent,
    vault::{Evidence, Guard, Keeper, KeyLookup, Settled, Tenure, VaultError},
    words::chain,
};

/// The right to store what was sealed, until it ends.
#[derive(Debug)]
pub(in crate::layer) struct Permit {
    vault: Arc<dyn Keeper>,
    /// The admission of all events that were sealed together.
    admission: Arc<Guard>,
    claims: Vec<OpenClaims>,
    /// The keys that sealed it, where its holder will want to know whether they live.
    keys: Vec<KeyId>,
}

/// The claims of one event that is about to be stored.
#[derive(Debug)]
struct OpenClaims {
    subject: Subject,
    event: EventId,
    /// Whether an earlier attempt left them open: then this one's failure says nothing.
    is_retry: bool,
    /// While it lives, no look into the store withdraws them, nor one that began before.
    in_flight: Guard,
}

impl Permit {
    pub(super) async fn begin(
        vault: &Arc<dyn Keeper>,
        admission: Guard,
        work: &[Work],
    ) -> Result<Self, VaultError> {
        let mut claims = Vec::new();
        for work in work {
            let states = |(_, cut): &&(NewEvent, CutEvent)| !cut.owners.is_empty();
            let mut begun = Vec::new();
            for (event, _) in work.events.iter().filter(states) {
                begun.push((event.id, vault.begin_claims(vec![event.id]).await?));
            }
            if begun.is_empty() {
                continue;
            }
            // Asked for once they are in flight: an attempt that ended before has left its claim open by now, and one
            // that has not is seen to overlap this one.
            let subject = Subject::of(&work.stream);
            let state = vault.subject_state(&subject).await?;
            let open: HashSet<_> = state.tenures.iter().flat_map(Tenure::open_claims).collect();
            claims.extend(begun.into_iter().map(|(event, in_flight)| OpenClaims {
                subject: subject.clone(),
                event,
                is_retry: open.contains(&event),
                in_flight,
            }));
        }
        let (admission, keys) = (Arc::new(admission), Vec::new());
        Ok(Self { vault: Arc::clone(vault), admission, claims, keys })
    }

    /// A permit for one of the events, which these keys sealed.
    pub(in crate::layer) fn split_off(&mut self, event: EventId, keys: Vec<KeyId>) -> Self {
        let ours = self.claims.iter().position(|claims| claims.event == event);
        let claims = ours.map(|at| self.claims.swap_remove(at)).into_iter().collect();
        Self {
            vault: Arc::clone(&self.vault),
            admission: Arc::clone(&self.admission),
            claims,
            keys,
        }
    }

    /// The same, and that these keys sealed it.
    pub(in crate::layer) fn with_keys(self, keys: Vec<KeyId>) -> Self {
        Self { keys, ..self }
    }

    /// Whether all keys that sealed it live.
    pub(in crate::layer) async fn keys_live(&self) -> Result<bool, VaultError> {
        for key in &self.keys {
            if let KeyLookup::Shredded { .. } = self.vault.opening_key(*key).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Says that all of it is stored: what it states counts.
    pub(in crate::layer) async fn stored(self) -> Result<Settled, VaultError> {
        self.settle(true).await
    }

    /// Says that none of it is stored, nor will be: what it states is withdrawn.
    pub(in crate::layer) async fn rejected(self) -> Result<Settled, VaultError> {
        self.settle(false).await
    }

    async fn settle(mut self, stored: bool) -> Result<Settled, VaultError> {
        let mut settled = if stored { Settled::Stored } else { Settled::Withdrawn };
        for OpenClaims { event, in_flight, .. } in std::mem::take(&mut self.claims) {
            drop(in_flight);
            match self.vault.settle_for_caller(event, stored).await? {
                // Somebody who found it in a store was quicker, or it counted long ago.
                Settled::Unknown => {}
                told => settled = told,
            }
        }
        Ok(if self.keys_live().await? { settled } else { Settled::Forgotten })
    }

    /// As [`Permit::stored`], for claims that are settled by looking: nothing else settles them now.
    pub(in crate::layer) async fn confirm(self) -> Result<(), VaultError> {
        let mut written: BTreeMap<&Subject, Vec<_>> = BTreeMap::new();
        for OpenClaims { subject, event, .. } in &self.claims {
            written.entry(subject).or_default().push((*event, Evidence::Written));
        }
        for (subject, written) in written {
            self.vault.settle_by(subject, written, None).await?;
        }
        Ok(())
    }

    /// After a failure: the store is asked whether the events are there, since they may be from an
    /// earlier attempt. Where it does not answer, the claims stay open, and the next one who needs to
    /// know asks again. What only the caller can settle was never handed out, and is withdrawn, unless
    /// an earlier attempt was.
    pub(in crate::layer) async fn judge<V: StoreView>(&mut self, view: &V) {
        let claims = std::mem::take(&mut self.claims);
        let mut judged = Vec::new();
        if V::BY_CALLER {
            for OpenClaims { subject, event, is_retry, in_flight } in claims {
                if !is_retry {
                    let withdrawn = vec![(event, Evidence::Withdrawn)];
                    let told = self.vault.settle_by(&subject, withdrawn, Some(&in_flight)).await;
                    judged.push((subject, told.map_err(|error| chain(&error))));
                }
            }
        } else {
            // None of them is in flight any more: else nobody could tell by looking.
            let subjects: BTreeSet<Subject> = claims.into_iter().map(|c| c.subject).collect();
            for subject in subjects {
                let told = view.settle(&*self.vault, &subject).await;
                judged.push((subject, told.map_err(|error| chain(&error))));
            }
        }
        for (subject, told) in judged {
            if let Err(error) = told {
                tracing::warn!(%subject, %error, "an owner claim stays open");
            }
        }
    }
}
