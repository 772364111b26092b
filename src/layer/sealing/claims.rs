//! Owner claims: what events state of owners is noted before they are stored, and counts once they
//! are.

use super::{StoreView, Work};
use crate::{
    event::{Generation, OwnerChange, Subject},
    layer::{CodecError, stored},
    policy::CutEvent,
    vault::{Claim, Keeper, VaultError},
};

/// Notes the owner changes. Returns, for each event, the generation under which it is sealed, where
/// that is not the subject's current one.
///
/// An event that only removes owners is sealed under the generation that it ends: it speaks of the owner who
/// leaves, and there may be no one left whose forgetting would reach what comes after it.
pub(super) async fn claim<V: StoreView>(
    vault: &dyn Keeper,
    view: &V,
    work: &[Work],
) -> Result<Vec<Vec<Option<Generation>>>, V::Error> {
    let mut claims = Vec::new();
    for work in work {
        for (event, cut) in work.events.iter().filter(|(_, cut)| !cut.owners.is_empty()) {
            let content = stored::content(&event.event_type, &event.data);
            claims.extend(cut.owners.iter().map(|change| Claim {
                subject: Subject::of(&work.stream),
                event: event.id,
                change: change.clone(),
                any: cut.any_owner,
                content,
                stored: false,
            }));
        }
    }
    let begun = if claims.is_empty() {
        Vec::new()
    } else {
        match vault.claim(&claims, V::BY_CALLER).await {
            // A late retry, perhaps, of a change whose part is forgotten since.
            Err(VaultError::NoGeneration { .. }) if view.holds_all(&claims).await? => {
                claims.iter_mut().for_each(|claim| claim.stored = true);
                vault.claim(&claims, false).await
            }
            claimed => claimed,
        }
        .map_err(CodecError::from)?
    };
    let mut begun = begun.into_iter();
    let mut generations = Vec::with_capacity(work.len());
    for work in work {
        let mut current = None;
        let mut of_work = Vec::with_capacity(work.events.len());
        for (_, cut) in &work.events {
            let ended = current;
            for generation in begun.by_ref().take(cut.owners.len()) {
                current = generation.or(current);
            }
            of_work.push(match (only_removes(cut), ended) {
                (true, None) => current_of(vault, work).await?,
                (true, ended) => ended,
                (false, _) => current,
            });
        }
        generations.push(of_work);
    }
    Ok(generations)
}

fn only_removes(cut: &CutEvent) -> bool {
    let removes = |change: &OwnerChange| matches!(change, OwnerChange::Remove(_));
    !cut.owners.is_empty() && cut.owners.iter().all(removes)
}

/// While what a claim begins is open: the generation before it.
async fn current_of(vault: &dyn Keeper, work: &Work) -> Result<Option<Generation>, CodecError> {
    Ok(vault.subject_state(&Subject::of(&work.stream)).await?.current)
}
