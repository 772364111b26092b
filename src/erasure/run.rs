//! Carrying a plan out, and carrying on where a crash cut one off.

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;

use super::{
    ErasureError, ErasureRecord, Foreign, Kept, NotReached, Plan,
    journal::Journal,
    keys::say_due,
    reason::check_reason,
    survey::{Look, survey},
    tombstones::set_tombstones,
    witness::{Mark, announce, look},
};
use crate::{
    event::{ANNOUNCEMENTS, ErasureId, ErasureRef, Generation, StreamName, Subject, Timestamp},
    layer::{Layer, Oubliette},
    runtime,
    store::{EventStore, StoreError},
    vault::{Backup, Closure, Destruction, MirrorState, Vault, VaultError},
};

/// Options of a forgetting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ForgetOptions {
    /// Forget also where events about the subject were never sealed, and stay readable.
    pub despite_unsealed: bool,
    /// Forget also where events in the subject's streams are sealed under keys that this vault does not
    /// have, and stay readable to whoever has them.
    pub despite_unknown_keys: bool,
    /// Forget also where a newer program wrote events in the streams that lose keys: whether forgetting
    /// reaches those, only that program can say.
    pub despite_newer: bool,
    /// Look at every event of the streams that lose keys, as [`Oubliette::plan`] does. Otherwise a stream whose
    /// first event is sealed, and whose last one no newer program wrote, is passed over, and counted
    /// ([`Erased::passed_over`]): what is not met there is neither refused nor counted.
    pub look_everywhere: bool,
}

/// What an erasure did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Erased {
    /// The subject who asked to be forgotten.
    pub subject: Subject,
    /// The erasure's id.
    pub erasure: ErasureId,
    /// When it was decided.
    pub at: Timestamp,
    /// Whether an earlier call had done it, and this one changed nothing.
    pub already: bool,
    /// How many keys it destroyed.
    pub keys: u64,
    /// How many subjects lost keys.
    pub subjects: u64,
    /// How many streams got a tombstone.
    pub streams: u64,
    /// How many events about those who are forgotten were never sealed, and stay readable.
    pub unsealed: u64,
    /// How many events in their streams are sealed under keys that this vault does not have, and stay
    /// readable to whoever has those.
    pub unknown_keys: u64,
    /// For how many events nobody can vouch any more: see [`Plan::unvouched`]. Nobody looks again where it
    /// had been done already.
    pub unvouched: u64,
    /// How many events a newer program wrote in the streams that lost keys: whether it reached them, only that
    /// one can say. Where it had been done already, they are among [`Self::unknown_keys`].
    pub newer: u64,
    /// How many streams were not looked into for any of these, because their first event is sealed.
    pub passed_over: u64,
    /// What stays of others in the own streams of those who are forgotten, as far as these were
    /// looked into. `None` where it had been done already: of that no more is known than its record counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Vec<Foreign>>,
    /// Dependents that stay, and who keeps them. `None` where it had been done already, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Vec<Kept>>,
    /// Dependents that it may have had to reach, and did not: nobody has said whose they are. Where it
    /// had been done already, those of whom nobody has said so since.
    pub not_reached: Vec<NotReached>,
    /// Whether events may state owners of whom the vault does not know, so that it may have missed
    /// somebody: see [`Plan::owners_unknown`].
    pub owners_unknown: bool,
    /// Whether the event store has taken its announcement, so that a vault that is rolled back to
    /// before it is found out.
    pub announced: bool,
    /// The vault's epoch since. Noted elsewhere, it finds a rollback out where the event store
    /// cannot.
    pub epoch: u64,
    /// The backups of the vault from which the keys can still be had, until somebody says that they are
    /// destroyed; also those whose day has passed.
    pub backups: Vec<Backup>,
}

/// What a reopening did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reopened {
    /// The subject who is admitted again.
    pub subject: Subject,
    /// The generation of their new keys; `None`: they were not forgotten, and nothing changed.
    pub generation: Option<Generation>,
    /// Where their own stream depends on others: the types of events by which it gets an owner. Until
    /// one of these is appended, nothing is sealed for it.
    pub owner_events: Vec<String>,
}

/// How far an erasure has come, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The keys are destroyed; so many tombstones are to be written.
    Destroyed {
        /// How many tombstones are to be written.
        tombstones: usize,
    },
    /// So many tombstones are written.
    Tombstones(usize),
}

impl<S: EventStore> Oubliette<S> {
    /// What forgetting a subject would do, and what it would not reach. Changes nothing, except that
    /// claims which a crash left open are settled by looking at the store. Reads every stream that
    /// would lose events.
    ///
    /// # Errors
    /// [`ErasureError::UnknownSubject`]; errors of the vault and the store.
    pub async fn plan(&self, subject: &Subject) -> Result<Plan, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureError::NoVault)?;
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
    /// # Errors
    /// Before anything is decided: [`ErasureError::UnfitReason`], before anything is read;
    /// [`ErasureError::UnknownSubject`]; those of [`Plan::check`]; and errors of vault and store. After it:
    /// [`ErasureError::AnnouncementPending`], no key being destroyed yet;
    /// [`ErasureError::TombstonesPending`], all of them being destroyed; and
    /// [`ErasureError::MirrorsPending`], for as long as it must not be called forgotten.
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

    /// Admits a forgotten subject again, under a new generation. What was forgotten stays so, and nobody
    /// depends on the subject any more: an event must say so anew.
    ///
    /// # Errors
    /// Errors of the vault.
    pub async fn reopen(&self, subject: &Subject) -> Result<Reopened, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureError::NoVault)?;
        let _one_at_a_time = vault.erase_alone().await;
        let generation = vault.reopen(subject).await?;
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
    /// [`ErasureError::AnnouncementPending`] and [`ErasureError::TombstonesPending`] where the
    /// store still does not take them; [`ErasureError::WitnessSilent`] where it cannot be read;
    /// [`ErasureError::MirrorsPending`] where a mirror still cannot be overwritten;
    /// [`ErasureError::TooOld`], [`ErasureError::UnknownSigner`], [`ErasureError::SigningKeyGap`],
    /// [`ErasureError::NotCarriedOut`] and [`ErasureError::NotReplayed`] where something announced is
    /// not applied, and [`ErasureError::WitnessGap`] where something is missing: then nothing may be served. Errors of the vault.
    pub async fn resume(&self) -> Result<Vec<Erased>, ErasureError> {
        let layer = Arc::clone(&self.layer);
        let run = async move {
            let vault = layer.vault().ok_or(ErasureError::NoVault)?;
            let _one_at_a_time = vault.erase_alone().await;
            let looked = look(&layer, vault).await;
            if looked.as_ref().is_err_and(|error| !error.is_unclear()) {
                return looked.map(|()| Vec::new());
            }
            let due = vault.unsaid()?;
            if looked.is_err() && (due.repeat || !due.statements.is_empty()) {
                // What is in doubt may stand in the place of the mark's own event. What is said now would
                // then come next, and would carry the mark past it.
                Mark::rewind(vault).await?;
            }
            // What is due needs nobody's decision, and a change of the signing key may be what ends a theft.
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

    /// The records of all erasures that are decided, in the order of the instants at which they were, by the clock.
    ///
    /// # Errors
    /// Errors of the vault.
    pub fn erasures(&self) -> Result<Vec<ErasureRecord>, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureError::NoVault)?;
        let mut records = ErasureRecord::all(vault)?;
        for journal in Journal::all(vault)? {
            if records.iter().all(|record| record.erasure != journal.erasure) {
                records.push(ErasureRecord::of(&journal));
            }
        }
        records.sort_by_key(|record| record.erasure);
        Ok(records)
    }

    /// The erasure that a reference stands for in a stream, for an auditor: in the store nothing
    /// tells. `None`: it is none of this vault's.
    ///
    /// # Errors
    /// Errors of the vault.
    pub fn erasure_of(
        &self,
        reference: ErasureRef,
        stream: &StreamName,
    ) -> Result<Option<ErasureRecord>, ErasureError> {
        let vault = self.vault().ok_or(ErasureError::NoVault)?;
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
    check_reason(reason, subject)?;
    let vault = layer.vault().ok_or(ErasureError::NoVault)?;
    let _one_at_a_time = vault.erase_alone().await;
    let mut waits = None;
    match resume(layer, vault, Some(subject)).await {
        Ok(completed) => layer.tell_completed(completed),
        // Somebody else's erasure waits for the store: that must not keep this subject's keys
        // alive. One of this subject's own is not decided twice, whatever the options are now.
        Err(error) if error.is_pending() && decided(vault, subject)?.is_none() => {
            tracing::warn!(error = %crate::words::chain(&error), "an earlier erasure waits for the event store");
            waits = Some(error);
        }
        // It will be told of this erasure, too.
        Err(ErasureError::MirrorsPending { erased, .. }) => layer.tell_completed(erased),
        Err(error) => return Err(error),
    }

    let surveyed = look_first(layer, vault, subject, options).await?;
    let (mut plan, closure) = close_and_plan(layer, vault, subject).await?;
    keep_existing(layer, &mut plan).await?;
    refuse_unknown(vault, &plan)?;
    plan.take_survey(surveyed);
    if let Some(erasure) = plan.already {
        if let Some(ErasureError::TombstonesPending { erasure: of, source }) = waits
            && of == erasure
        {
            return Err(ErasureError::TombstonesPending { erasure, source });
        }
        let epoch = ErasureRecord::find(vault, erasure)?.and_then(|record| record.epoch);
        let Plan { not_reached, owners_unknown, .. } = plan;
        let already = already(vault, subject, erasure)?;
        let already = Erased { not_reached, owners_unknown, ..already };
        return unless_mirrors_pend(vault, epoch, already);
    }
    let (erasure, reason) = (ErasureId::now(), reason.to_owned());
    let mut journal = Journal::new(erasure, reason, plan).map_err(VaultError::from)?;
    journal.write(vault).await?;
    carry_out(layer, vault, &mut journal, Some(closure), progress).await
}

/// What forgetting would not reach, before anybody is closed, since that may take long.
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

/// The erasure of this subject that waits, no key being destroyed yet.
fn decided(vault: &Vault, subject: &Subject) -> Result<Option<ErasureId>, ErasureError> {
    for journal in Journal::all(vault)? {
        if journal.plan.subject == *subject && !is_destroyed(vault, &journal)? {
            return Ok(Some(journal.erasure));
        }
    }
    Ok(None)
}

/// The note is written in the batch that destroys the keys.
fn is_destroyed(vault: &Vault, journal: &Journal) -> Result<bool, ErasureError> {
    Ok(ErasureRecord::find(vault, journal.erasure)?.is_some())
}

/// Closes the subject and plans, until the plan names nobody who is not closed.
async fn close_and_plan<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    subject: &Subject,
) -> Result<(Plan, Closure), ErasureError> {
    let mut closed = BTreeSet::from([subject.clone()]);
    let mut closure = vault.close(std::slice::from_ref(subject)).await;
    loop {
        settle_all(layer, vault, subject).await?;
        let plan = Plan::make(vault, subject)?;
        let new: Vec<Subject> = plan
            .subjects
            .iter()
            .map(|affected| affected.subject.clone())
            .filter(|who| closed.insert(who.clone()))
            .collect();
        if new.is_empty() {
            return Ok((plan, closure));
        }
        closure.extend(&new).await;
    }
}

/// Carries on with what is journaled.
async fn resume<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    asked: Option<&Subject>,
) -> Result<Vec<Erased>, ErasureError> {
    let (mut done, mut pending) = (Vec::new(), None);
    for journal in Journal::all(vault)? {
        tracing::info!(erasure = %journal.erasure, "resuming an erasure that was cut off");
        let theirs = asked.is_some_and(|subject| *subject == journal.plan.subject);
        match resume_one(layer, vault, journal).await {
            Ok(erased) => done.push(erased),
            Err(ErasureError::MirrorsPending { erased, .. }) => done.extend(erased),
            // The others' keys are destroyed all the same. Whoever asks hears of their own first.
            Err(error) if error.is_pending() => {
                pending = pending.filter(|_| !theirs).or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    vault.retry_mirrors().await?;
    if let Some(pending) = pending {
        return Err(pending);
    }
    let mirrors = vault.stale_mirrors()?;
    if mirrors.is_empty() {
        Ok(done)
    } else {
        Err(ErasureError::MirrorsPending { mirrors, erased: done })
    }
}

/// What was done, unless a mirror may still hold a root from before it. Which epoch it led to, may be
/// unknown: then any mirror that is behind counts.
fn unless_mirrors_pend(
    vault: &Vault,
    epoch: Option<u64>,
    erased: Erased,
) -> Result<Erased, ErasureError> {
    let mirrors = pending_mirrors(vault, epoch)?;
    if mirrors.is_empty() {
        return Ok(erased);
    }
    Err(ErasureError::MirrorsPending { mirrors, erased: vec![erased] })
}

/// The mirrors that may hold a root from before this epoch.
fn pending_mirrors(vault: &Vault, epoch: Option<u64>) -> Result<Vec<MirrorState>, VaultError> {
    let mut mirrors = vault.stale_mirrors()?;
    mirrors.retain(|mirror| mirror.may_precede(epoch));
    Ok(mirrors)
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
        return carry_out(layer, vault, &mut journal, None, &|_| {}).await;
    }
    // It waited for the store, and others went on meanwhile: what became dependent since goes, too.
    let erasure = journal.erasure;
    let waits = |error| match error {
        ErasureError::Store(source) | ErasureError::WitnessSilent(source) => {
            ErasureError::AnnouncementPending { erasure, source }
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
    let losses = journal.plan.subjects.iter().map(|affected| affected.subject.clone());
    closure.extend(&losses.collect::<Vec<_>>()).await;
    carry_out(layer, vault, &mut journal, Some(closure), &|_| {}).await
}

/// Everything after the decision; repeatable from the start at any point.
async fn carry_out<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &mut Journal,
    closure: Option<Closure>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Erased, ErasureError> {
    let losses = journal.plan.losses();
    let closure = match closure {
        Some(closure) => closure,
        None => {
            vault
                .close(&losses.iter().map(|losses| losses.subject.clone()).collect::<Vec<_>>())
                .await
        }
    };
    let destruction = Destruction::new(journal.erasure, losses);
    let mut mark = Mark::load(vault)?;
    let mut record = match ErasureRecord::find(vault, journal.erasure)? {
        Some(record) => record,
        None => {
            let mut record = ErasureRecord::of(journal);
            let announced = announce(layer, vault, journal, &destruction, &mut record, &mut mark);
            record.announced = announced.await?;
            ErasureRecord { destroyed: true, ..record }
        }
    };
    let destroyed = vault.destroy(&destruction, &record.to_memo()?).await?;
    drop(closure);
    record.epoch.get_or_insert(destroyed.epoch);

    progress(Progress::Destroyed { tombstones: journal.plan.streams.len() });
    if let Err(error) = set_tombstones(layer, vault, journal, progress).await {
        // Another erasure may be announced before this one is resumed, and will name this one.
        mark.save(vault).await?;
        return Err(error);
    }

    use crate::vault::MemoKind::Erasure;
    record.done = true;
    let done = record.to_memo()?;
    // Asked for together, they are written together.
    let (noted, marked) = tokio::join!(
        vault.put_memo(Erasure, journal.erasure.0.into_bytes(), &done),
        mark.save(vault),
    );
    noted.and(marked)?;
    journal.remove(vault).await?;
    let erased = Erased {
        subject: journal.plan.subject.clone(),
        erasure: journal.erasure,
        at: journal.erasure.at(),
        already: false,
        keys: journal.plan.keys(),
        subjects: journal.plan.subjects.len() as u64,
        streams: journal.plan.streams.len() as u64,
        unsealed: journal.plan.unsealed_events(),
        unknown_keys: journal.plan.unknown_key_events(),
        unvouched: journal.plan.unvouched.iter().map(|untouched| untouched.events).sum(),
        newer: journal.plan.newer_events(),
        passed_over: journal.plan.passed_over,
        foreign: Some(journal.plan.foreign.clone()),
        kept: Some(journal.plan.kept.clone()),
        not_reached: journal.plan.not_reached.clone(),
        owners_unknown: journal.plan.owners_unknown,
        announced: record.announced,
        epoch: vault.epoch()?,
        backups: vault.backups_before(record.epoch)?,
    };
    // One that missed no more than the end of the journal still leads to names.
    unless_mirrors_pend(vault, None, erased)
}

/// Settles what a crash left open around a subject, as far as the plan can reach: whether the
/// events that claimed owners are in the store.
async fn settle_all<S: EventStore>(
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
async fn keep_existing<S: EventStore>(layer: &Layer<S>, plan: &mut Plan) -> Result<(), StoreError> {
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

/// The layer's own streams are nobody.
fn refuse_own(subject: &Subject) -> Result<(), ErasureError> {
    if subject.as_str() == ANNOUNCEMENTS {
        return Err(ErasureError::UnknownSubject(subject.clone()));
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
    if known { Ok(()) } else { Err(ErasureError::UnknownSubject(plan.subject.clone())) }
}

fn already(vault: &Vault, subject: &Subject, erasure: ErasureId) -> Result<Erased, ErasureError> {
    let record = ErasureRecord::find(vault, erasure)?;
    let count = |of: fn(&ErasureRecord) -> u64| record.as_ref().map_or(0, of);
    Ok(Erased {
        subject: subject.clone(),
        erasure,
        at: erasure.at(),
        already: true,
        keys: count(|record| record.keys),
        subjects: count(|record| record.subjects),
        streams: count(|record| record.streams),
        unsealed: count(|record| record.unsealed),
        unknown_keys: count(|record| record.unknown_keys),
        unvouched: 0,
        newer: 0,
        passed_over: count(|record| record.passed_over),
        foreign: None,
        kept: None,
        not_reached: vec![],
        owners_unknown: false,
        backups: vault.backups_before(record.as_ref().and_then(|record| record.epoch))?,
        announced: record.is_some_and(|record| record.announced),
        epoch: vault.epoch()?,
    })
}
