//! Carrying on where a crash, a store that did not answer, or a mirror that could not be reached, cut an
//! erasure off.

use super::{
    Erased, ErasureError, ErasureRecord, PendingError,
    journal::Journal,
    steps::{carry_out, close_and_plan, keep_existing},
    witness::look,
};
use crate::{
    event::{ErasureId, Subject},
    layer::Layer,
    store::EventStore,
    vault::Vault,
};

/// Carries on with what is journaled.
pub(super) async fn resume<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    asked: Option<&Subject>,
) -> Result<Vec<Erased>, ErasureError> {
    let journals = Journal::all(vault)?;
    // No key of theirs may be destroyed yet: whoever reads on, reads somebody whose forgetting is decided.
    if vault.is_read_only() && !journals.is_empty() {
        return Err(ErasureError::NeedsWriting);
    }
    let (mut done, mut pending) = (Vec::new(), None);
    for journal in journals {
        tracing::info!(erasure = %journal.erasure, "resuming an erasure that was cut off");
        let theirs = asked.is_some_and(|subject| *subject == journal.plan.subject);
        match resume_one(layer, vault, journal).await {
            Ok(erased) => done.push(erased),
            Err(ErasureError::Pending(PendingError::Mirrors { erased, .. })) => done.extend(erased),
            // The others' keys are destroyed nevertheless. The caller hears of their own first.
            Err(ErasureError::Pending(error)) => {
                pending = pending.filter(|_| !theirs).or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    vault.retry_mirrors().await?;
    if let Some(pending) = pending {
        return Err(pending.into());
    }
    let mirrors = vault.stale_mirrors()?;
    if mirrors.is_empty() {
        Ok(done)
    } else {
        Err(PendingError::Mirrors { mirrors, erased: done }.into())
    }
}

/// The erasure of this subject that waits, no key being destroyed yet.
pub(super) fn decided(vault: &Vault, subject: &Subject) -> Result<Option<ErasureId>, ErasureError> {
    for journal in Journal::all(vault)? {
        // The memo is written in the batch that destroys the keys.
        if journal.plan.subject == *subject
            && ErasureRecord::find(vault, journal.erasure)?.is_none()
        {
            return Ok(Some(journal.erasure));
        }
    }
    Ok(None)
}

async fn resume_one<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    mut journal: Journal,
) -> Result<Erased, ErasureError> {
    if let Some(record) = ErasureRecord::find(vault, journal.erasure)? {
        if record.replayed.is_some() {
            // What was carried out in the end was announced, and applied as it was announced.
            journal.plan.confine();
        }
        let closure = vault.close(&journal.plan.named()).await;
        return carry_out(layer, vault, &mut journal, closure, &|_| {}).await;
    }
    // It waited for the store, and others went on meanwhile: what became dependent since goes, too.
    let erasure = journal.erasure;
    let waits = |error| match error {
        ErasureError::Store(source) | ErasureError::WitnessSilent(source) => {
            PendingError::Announcement { erasure, source }.into()
        }
        other => other,
    };
    let subject = journal.plan.subject.clone();
    let (plan, mut closure) = close_and_plan(layer, vault, &subject).await.map_err(waits)?;
    let streams = journal.plan.streams.len();
    if journal.plan.extend(plan) {
        keep_existing(layer, &mut journal.plan).await.map_err(|error| waits(error.into()))?;
        journal.plan.pass_over_since(streams);
        // What the earlier attempt may have written must be known before the next one follows it.
        look(layer, vault).await.map_err(waits)?;
        journal.try_anew();
        journal.write(vault).await?;
    }
    closure.extend(&journal.plan.named()).await;
    carry_out(layer, vault, &mut journal, closure, &|_| {}).await
}
