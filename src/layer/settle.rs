//! How the layer knows which events are stored: it looks into its store.

use std::collections::HashMap;

use futures::TryStreamExt;

use super::{CodecError, Layer, sealing::Witness};
use crate::{
    event::{EventId, Subject},
    store::{Capability, Direction, EventStore, ReadOptions, StoreError},
    vault::{Claim, Vault},
};

impl<S: EventStore> Witness for Layer<S> {
    type Error = StoreError;

    async fn settle(&self, vault: &Vault, dependent: &Subject) -> Result<(), StoreError> {
        self.settle(vault, dependent).await
    }

    async fn holds_all(&self, claims: &[Claim]) -> Result<bool, StoreError> {
        self.holds_all(claims).await
    }
}

fn vault_error(error: crate::vault::VaultError) -> StoreError {
    CodecError::from(error).into()
}

impl<S: EventStore> Layer<S> {
    /// Settles the open claims of a dependent by looking whether their events are in its stream.
    /// Claims of appends that are under way stay open: the vault sees to that.
    pub(crate) async fn settle(
        &self,
        vault: &Vault,
        dependent: &Subject,
    ) -> Result<(), StoreError> {
        let standing = vault.standing(dependent).map_err(vault_error)?;
        let owners = standing.epochs.iter().flat_map(|epoch| &epoch.owners);
        let begun = standing.epochs.iter().filter_map(|epoch| epoch.unsettled);
        let mut open: Vec<EventId> =
            owners.filter_map(|owner| owner.unsettled).chain(begun).collect();
        open.sort();
        open.dedup();
        if open.is_empty() {
            return Ok(());
        }
        let stream = dependent.stream();
        let stream = self.placement(&stream).await?.readable(&stream);
        let mut events = self.store.read(&stream, self.newest_first());
        let mut stored = Vec::new();
        while let Some(event) = events.try_next().await? {
            if let Some(at) = open.iter().position(|open| *open == event.id) {
                stored.push(open.swap_remove(at));
                if open.is_empty() {
                    break;
                }
            }
        }
        vault.settle(dependent, &stored, true).await.map_err(vault_error)?;
        vault.settle(dependent, &open, false).await.map_err(vault_error)
    }

    /// Whether the events of all these claims are in the streams of those who claim.
    async fn holds_all(&self, claims: &[Claim]) -> Result<bool, StoreError> {
        let mut missing: HashMap<&Subject, Vec<EventId>> = HashMap::new();
        for claim in claims {
            missing.entry(&claim.subject).or_default().push(claim.event);
        }
        for (subject, mut missing) in missing {
            let stream = subject.stream();
            let stream = self.placement(&stream).await?.readable(&stream);
            let mut events = self.store.read(&stream, self.newest_first());
            while !missing.is_empty() {
                let Some(event) = events.try_next().await? else { return Ok(false) };
                missing.retain(|id| *id != event.id);
            }
        }
        Ok(true)
    }

    /// Backwards, where the store can: what is looked for is likely to be near the end.
    pub(super) fn newest_first(&self) -> ReadOptions {
        let backwards = self.store.capabilities().has(Capability::ReadBackwards);
        let direction = if backwards { Direction::Backwards } else { Direction::Forwards };
        ReadOptions { direction, ..ReadOptions::default() }
    }
}
