//! The methods of the layer that plan, forget, reopen and resume.

use std::sync::Arc;

use super::{
    Erased, ErasureError, ErasureRecord, ErasureRefusal, ForgetOptions, PendingError, Plan,
    Progress, Reopened,
    journal::Journal,
    keys::say_due,
    reason::check_reason,
    resume::{decided, resume},
    steps::{
        carry_out, close_and_plan, keep_existing, pending_mirrors, settle_all, unless_mirrors_pend,
    },
    survey::{Look, survey},
    witness::{Mark, look},
};
use crate::{
    event::{ANNOUNCEMENTS, ErasureId, ErasureRef, StreamName, Subject},
    layer::{Layer, Oubliette},
    runtime,
    store::EventStore,
    vault::{Vault, VaultError},
};

impl<S: EventStore> Oubliette<S> {
    /// What forgetting a subject would do, and what it would not reach. Changes nothing, except that
    /// claims which a crash left open are settled by looking at the store. Reads every stream that
    /// would lose events.
    ///
    /// # Errors
    /// [`ErasureRefusal::UnknownSubject`]; errors of the vault and the store.
    pub async fn plan(&self, subject: &Subject) -> Result<Plan, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureRefusal::NoVault)?;
        refuse_own(subject)?;
        settle_all(&self.layer, vault, subject).await?;
        let mut plan = Plan::make(vault, subject)?;
        keep_existing(&self.layer, &mut plan).await?;
        refuse_unknown(vault, &plan)?;
        if let Some(erasure) = plan.already {
            let epoch = ErasureRecord::find(vault, erasure)?.and_then(|record| record.epoch);
            plan.mirrors = pending_mirrors(vault, epoch)?;
            plan.backups = vault.backups_before(epoch)?;
        }
        plan.decided = decided(vault, subject)?;
        survey(&self.layer, vault, &mut plan, Look::Everywhere).await?;
        Ok(plan)
    }

    /// Forgets a subject and everyone who depends on them: destroys their keys, so that neither
    /// their events nor an old copy of the vault can be read again, and sets tombstones.
    ///
    /// When this returns, appends acknowledged before it was called are shredded, and later ones
    /// that need the subject's keys are refused. Repeating it has no second effect. Dropping the
    /// future changes nothing: the erasure runs to its end.
    ///
    /// `reason` is kept for ever, in the vault. Say which request it was (a ticket number), not whose: names,
    /// addresses and account numbers are refused ([`check_reason`]).
    ///
    /// # Errors
    /// Before anything is decided: [`ErasureRefusal`], of which [`UnfitReason`](ErasureRefusal::UnfitReason) is said
    /// before anything is read, and [`Unsealed`](ErasureRefusal::Unsealed),
    /// [`UnknownKeys`](ErasureRefusal::UnknownKeys) and [`Newer`](ErasureRefusal::Newer) are for events that it would not
    /// reach ([`ForgetOptions`] goes on despite them); and errors of vault and store. After it, [`PendingError`]:
    /// [`Announcement`](PendingError::Announcement), no key being destroyed yet;
    /// [`Tombstones`](PendingError::Tombstones), when all keys are destroyed; and
    /// [`Mirrors`](PendingError::Mirrors), for as long as it must not be called forgotten.
    pub async fn forget(&self, subject: &Subject, reason: &str) -> Result<Erased, ErasureError> {
        self.forget_with(subject, reason, ForgetOptions::default(), |_| {}).await
    }

    /// As [`Oubliette::forget`], with options, and tells how far it has come.
    ///
    /// # Errors
    /// As [`Oubliette::forget`].
    pub async fn forget_with(
        &self,
        subject: &Subject,
        reason: &str,
        options: ForgetOptions,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Erased, ErasureError> {
        let (layer, subject, reason) =
            (Arc::clone(&self.layer), subject.clone(), reason.to_owned());
        let run = async move { forget(&layer, &subject, &reason, options, &progress).await };
        runtime::spawn(run)?.await?
    }

    /// Admits a forgotten subject again, under a new generation. What was forgotten stays so, and nothing
    /// depends on the subject any more: an event must say so again.
    ///
    /// # Errors
    /// [`ErasureRefusal::UnknownSubject`]; errors of the vault and the store.
    pub async fn reopen(&self, subject: &Subject) -> Result<Reopened, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureRefusal::NoVault)?;
        let _one_at_a_time = vault.erase_alone().await;
        let generation = vault.reopen(subject).await?;
        if generation.is_none() {
            // A name that was mistyped, most likely.
            refuse_own(subject)?;
            let mut plan = Plan::make(vault, subject)?;
            keep_existing(&self.layer, &mut plan).await?;
            refuse_unknown(vault, &plan)?;
        }
        let lost = generation.is_some() && vault.lost_its_owners(subject)?;
        let stream = subject.stream();
        let owner_events = if lost { self.policy().owner_events(&stream) } else { Vec::new() };
        Ok(Reopened { subject: subject.clone(), generation, owner_events })
    }

    /// Applies the erasures again that the store has announced and the vault does not know, and
    /// completes those that a crash, a store that did not answer, or a mirror that could not be
    /// reached, cut off. Opening the layer does so by itself.
    ///
    /// # Errors
    /// [`PendingError`] where the store still does not take what is decided, or a mirror still cannot be overwritten;
    /// [`ErasureError::WitnessSilent`] where the store cannot be read; [`UnclearError`](super::UnclearError) and
    /// [`ErasureError::NotReplayed`] where something announced is not applied, or is missing: then nothing may be
    /// served. Errors of the vault.
    pub async fn resume(&self) -> Result<Vec<Erased>, ErasureError> {
        let layer = Arc::clone(&self.layer);
        let run = async move {
            let vault = layer.vault().ok_or(ErasureRefusal::NoVault)?;
            let _one_at_a_time = vault.erase_alone().await;
            let looked = look(&layer, vault).await;
            if looked.as_ref().is_err_and(|error| !matches!(error, ErasureError::Unclear(_))) {
                return looked.map(|()| Vec::new());
            }
            let due = vault.unsaid()?;
            if looked.is_err() && (due.repeat || !due.statements.is_empty()) {
                // What is in doubt may be in the place of the mark's own event. What is said now would
                // then come next, and would carry the mark past it.
                Mark::rewind(vault).await?;
            }
            // What is due needs no decision, and a change of the signing key may be what ends a theft.
            let said = say_due(&layer, vault).await;
            if let (Err(_), Err(error)) = (&looked, &said) {
                tracing::warn!(error = %crate::words::chain(error), "what the vault has to say is still to be announced");
            }
            looked?;
            let resumed = resume(&layer, vault, None).await;
            said.and(resumed)
        };
        runtime::spawn(run)?.await?
    }

    /// Has the event store told again what the vault knows of erasures: all are announced once more, and each
    /// tombstone that is not there is set. For a store that was put back to before them, or lost events.
    ///
    /// # Errors
    /// As [`Oubliette::resume`]. What waits for the store then is told when the layer opens.
    pub async fn tell_again(&self) -> Result<(), ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureRefusal::NoVault)?;
        {
            let _one_at_a_time = vault.erase_alone().await;
            vault.change_keys(vault.signing_history()?, &[], true, None).await?;
        }
        self.resume().await.map(drop)
    }

    /// The records of all erasures that are decided, in the order of the instants at which they were, by the clock.
    ///
    /// # Errors
    /// Errors of the vault.
    pub fn erasures(&self) -> Result<Vec<ErasureRecord>, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureRefusal::NoVault)?;
        let mut records = ErasureRecord::all(vault)?;
        for journal in Journal::all(vault)? {
            if records.iter().all(|record| record.erasure != journal.erasure) {
                records.push(ErasureRecord::of(&journal));
            }
        }
        records.sort_by_key(|record| record.erasure);
        Ok(records)
    }

    /// The erasure that a reference identifies in a stream, for an auditor: in the store nothing
    /// tells. `None`: it is none of this vault's.
    ///
    /// # Errors
    /// Errors of the vault.
    pub fn erasure_of(
        &self,
        reference: ErasureRef,
        stream: &StreamName,
    ) -> Result<Option<ErasureRecord>, ErasureError> {
        let vault = self.vault().ok_or(ErasureRefusal::NoVault)?;
        let erasure = vault.erasure(reference, stream);
        if let Some(record) = ErasureRecord::find(vault, erasure)? {
            return Ok(Some(record));
        }
        Ok(Journal::find(vault, erasure)?.as_ref().map(ErasureRecord::of))
    }
}

async fn forget<S: EventStore>(
    layer: &Layer<S>,
    subject: &Subject,
    reason: &str,
    options: ForgetOptions,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Erased, ErasureError> {
    refuse_own(subject)?;
    check_reason(reason, subject).map_err(ErasureRefusal::from)?;
    let vault = layer.vault().ok_or(ErasureRefusal::NoVault)?;
    let _one_at_a_time = vault.erase_alone().await;
    let mut waits = None;
    match resume(layer, vault, Some(subject)).await {
        Ok(completed) => layer.tell_completed(completed),
        // It will be told of this erasure, too.
        Err(ErasureError::Pending(PendingError::Mirrors { erased, .. })) => {
            layer.tell_completed(erased);
        }
        // Somebody else's erasure waits for the store: that must not keep this subject's keys
        // alive. One of this subject's own is not decided twice, whatever the options are now.
        Err(ErasureError::Pending(error)) if decided(vault, subject)?.is_none() => {
            tracing::warn!(error = %error.without_names(), "an earlier erasure waits for the event store");
            waits = Some(error);
        }
        Err(error) => return Err(error),
    }

    let surveyed = look_first(layer, vault, subject, options).await?;
    let (mut plan, closure) = close_and_plan(layer, vault, subject).await?;
    keep_existing(layer, &mut plan).await?;
    refuse_unknown(vault, &plan)?;
    plan.take_survey(surveyed);
    if let Some(erasure) = plan.already {
        if let Some(PendingError::Tombstones { erasure: of, source }) = waits
            && of == erasure
        {
            return Err(PendingError::Tombstones { erasure, source }.into());
        }
        let epoch = ErasureRecord::find(vault, erasure)?.and_then(|record| record.epoch);
        let Plan { not_reached, owners_unknown, .. } = plan;
        let already = Erased::already(vault, subject, erasure)?;
        let already = Erased { not_reached, owners_unknown, ..already };
        return unless_mirrors_pend(vault, epoch, already);
    }
    let (erasure, reason) = (ErasureId::now(), reason.to_owned());
    let mut journal = Journal::new(erasure, reason, plan).map_err(VaultError::from)?;
    journal.write(vault).await?;
    // No line that is logged has a name.
    tracing::info!(
        %erasure, keys = journal.plan.keys(), subjects = journal.plan.subjects.len(),
        streams = journal.plan.streams.len(),
        "an erasure is decided"
    );
    carry_out(layer, vault, &mut journal, closure, progress).await
}

/// What forgetting would not reach, before anyone is closed, since that may take long.
async fn look_first<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    subject: &Subject,
    options: ForgetOptions,
) -> Result<Plan, ErasureError> {
    settle_all(layer, vault, subject).await?;
    let mut plan = Plan::make(vault, subject)?;
    keep_existing(layer, &mut plan).await?;
    let look = if options.look_everywhere { Look::Everywhere } else { Look::WhereNeeded };
    survey(layer, vault, &mut plan, look).await?;
    plan.check(&options)?;
    Ok(plan)
}

/// The layer's own streams belong to no one.
fn refuse_own(subject: &Subject) -> Result<(), ErasureRefusal> {
    if subject.as_str() == ANNOUNCEMENTS {
        return Err(ErasureRefusal::UnknownSubject(subject.clone()));
    }
    Ok(())
}

fn refuse_unknown(vault: &Vault, plan: &Plan) -> Result<(), ErasureError> {
    let known = plan.already.is_some()
        || plan.keys() > 0
        || !plan.streams.is_empty()
        || plan.subjects.len() > 1
        || !plan.kept.is_empty()
        || !plan.not_reached.is_empty()
        || vault.subject_state(&plan.subject)?.fence.is_some();
    if known { Ok(()) } else { Err(ErasureRefusal::UnknownSubject(plan.subject.clone()).into()) }
}
