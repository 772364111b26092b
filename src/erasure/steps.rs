//! The steps that forgetting and resuming share: close and plan, and everything after the decision.

use std::collections::BTreeSet;

use super::{
    Erased, ErasureError, ErasureRecord, PendingError, Plan, Progress,
    journal::Journal,
    tombstones::set_tombstones,
    witness::{Mark, announce},
};
use crate::{
    event::Subject,
    layer::Layer,
    store::{EventStore, StoreError},
    vault::{Closure, Destruction, MemoKind, MirrorState, Vault, VaultError},
};

/// Closes the subject and plans, until everyone whom the plan names is closed.
pub(super) async fn close_and_plan<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    subject: &Subject,
) -> Result<(Plan, Closure), ErasureError> {
    let mut closed = BTreeSet::from([subject.clone()]);
    let mut closure = vault.close(std::slice::from_ref(subject)).await;
    loop {
        settle_all(layer, vault, subject).await?;
        let plan = Plan::make(vault, subject)?;
        let new: Vec<Subject> =
            plan.named().into_iter().filter(|who| closed.insert(who.clone())).collect();
        if new.is_empty() {
            return Ok((plan, closure));
        }
        closure.extend(&new).await;
    }
}

/// Everything after the decision; repeatable from the start at any point.
pub(super) async fn carry_out<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &mut Journal,
    closure: Closure,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Erased, ErasureError> {
    let destruction = Destruction::new(journal.erasure, journal.plan.losses());
    let mut mark = Mark::load(vault)?;
    let mut record = match ErasureRecord::find(vault, journal.erasure)? {
        Some(record) => record,
        None => {
            let mut record = ErasureRecord::of(journal);
            let announced = announce(layer, vault, journal, &destruction, &mut record, &mut mark);
            record.announced = announced.await?;
            if record.announced {
                tracing::info!(erasure = %journal.erasure, "the erasure is announced in the event store");
            }
            ErasureRecord { destroyed: true, ..record }
        }
    };
    let destroyed = vault.destroy(&destruction, &record.to_memo()?).await?;
    drop(closure);
    record.epoch.get_or_insert(destroyed.epoch);
    tracing::info!(erasure = %journal.erasure, epoch = destroyed.epoch, "its keys are destroyed");

    progress(Progress::Destroyed { tombstones: journal.plan.streams.len() });
    if let Err(error) = set_tombstones(layer, vault, journal, progress).await {
        // Another erasure may be announced before this one is resumed, and will name this one.
        mark.save(vault).await?;
        return Err(error);
    }

    record.done = true;
    let done = record.to_memo()?;
    // Asked for together, they are written together.
    let (noted, marked) = tokio::join!(
        vault.put_memo(MemoKind::Erasure, journal.erasure.0.into_bytes(), &done),
        mark.save(vault),
    );
    noted.and(marked)?;
    journal.remove(vault).await?;
    tracing::info!(
        erasure = %journal.erasure, tombstones = journal.plan.streams.len(),
        "its tombstones are set, and the erasure is done"
    );
    let erased = Erased::done(vault, journal, &record)?;
    // One that missed no more than the end of the journal still leads to names.
    unless_mirrors_pend(vault, None, erased)
}

/// What was done, unless a mirror may still hold a root from before it. Which epoch it led to, may be
/// unknown: then any mirror that is behind counts.
pub(super) fn unless_mirrors_pend(
    vault: &Vault,
    epoch: Option<u64>,
    erased: Erased,
) -> Result<Erased, ErasureError> {
    let mirrors = pending_mirrors(vault, epoch)?;
    if mirrors.is_empty() {
        return Ok(erased);
    }
    Err(PendingError::Mirrors { mirrors, erased: vec![erased] }.into())
}

/// The mirrors that may hold a root from before this epoch.
pub(super) fn pending_mirrors(
    vault: &Vault,
    epoch: Option<u64>,
) -> Result<Vec<MirrorState>, VaultError> {
    let mut mirrors = vault.stale_mirrors()?;
    mirrors.retain(|mirror| mirror.may_precede(epoch));
    Ok(mirrors)
}

/// Settles what a crash left open around a subject, as far as the plan can reach: whether the
/// events that claimed owners are in the store.
pub(super) async fn settle_all<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    subject: &Subject,
) -> Result<(), ErasureError> {
    let mut seen = BTreeSet::from([subject.clone()]);
    let mut frontier = vec![subject.clone()];
    while let Some(owner) = frontier.pop() {
        for dependent in vault.dependents(&owner)? {
            if seen.insert(dependent.clone()) {
                layer.settle(vault, &dependent).await?;
                frontier.push(dependent);
            }
        }
    }
    Ok(())
}

/// A subject's own stream gets a tombstone where it exists, or where keys die in it. And an owner who has
/// a stream is known.
pub(super) async fn keep_existing<S: EventStore>(
    layer: &Layer<S>,
    plan: &mut Plan,
) -> Result<(), StoreError> {
    let mut kept = Vec::with_capacity(plan.streams.len());
    for affected in plan.streams.drain(..) {
        if !affected.keys.is_empty() || layer.first_of(&affected.stream).await?.is_some() {
            kept.push(affected);
        }
    }
    plan.streams = kept;
    let keepers = plan.kept.iter_mut().flat_map(|kept| &mut kept.by);
    for keeper in keepers.filter(|keeper| keeper.unknown) {
        keeper.unknown = layer.first_of(&keeper.subject.stream()).await?.is_none();
    }
    Ok(())
}
