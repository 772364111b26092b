//! Streams that should lead to a person, and lead to none.
//!
//! What is sealed in such a stream no person's forgetting reaches. After a forgetting that is refused:
//! the owner of the stream is gone, and the one who reopened it may not know. Before one it is told.

use super::{Codec, CodecError, StoreView, Work};
use crate::{
    event::{OwnerChange, Subject},
    policy::CutEvent,
    vault::Keeper,
};

/// Refuses to seal for a stream that lost its owners, unless the same append states one.
pub(super) async fn check<V: StoreView>(
    codec: &Codec,
    vault: &dyn Keeper,
    view: &V,
    work: &Work,
) -> Result<(), V::Error> {
    let own = Subject::of(&work.stream);
    if !seals_for_nobody(&own, work) || !lost(vault, &own).await? {
        return Ok(());
    }
    // An append that was cut off may have stated one.
    view.settle(vault, &own).await?;
    if !lost(vault, &own).await? {
        return Ok(());
    }
    let stream = work.stream.clone();
    let events = codec.policy().owner_events(&stream);
    Err(CodecError::Ownerless { stream, events }.into())
}

async fn lost(vault: &dyn Keeper, own: &Subject) -> Result<bool, CodecError> {
    Ok(vault.lost_its_owners(own).await?)
}

/// Whether the events would seal something for the stream's own subject, had it no owner before.
fn seals_for_nobody(own: &Subject, work: &Work) -> bool {
    let (mut sealed, mut ended) = (false, false);
    for (_, cut) in &work.events {
        if !cut.declares_owners {
            return false;
        }
        let seals = cut.parts.iter().any(|part| part.subject == *own);
        for change in &cut.owners {
            match change {
                // A new owner owns all since the last change of hands.
                OwnerChange::Add(_) => return sealed && ended,
                OwnerChange::Replace(_) => return sealed,
                OwnerChange::Remove(_) => ended = true,
            }
        }
        sealed |= seals;
    }
    sealed
}

/// Warns where an append left a stream without an owner.
pub(in crate::layer) async fn warn(vault: &dyn Keeper, work: &[Work]) {
    let removes = |(_, cut): &(_, CutEvent)| {
        cut.owners.iter().any(|change| matches!(change, OwnerChange::Remove(_)))
    };
    for work in work.iter().filter(|work| work.events.iter().any(removes)) {
        if let Ok(false) = vault.has_owner(&Subject::of(&work.stream)).await {
            tracing::warn!(
                stream = %work.stream,
                "its last owner left: nobody's forgetting reaches what is sealed in it from now on"
            );
        }
    }
}
