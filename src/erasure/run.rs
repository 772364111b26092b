//! Carrying a plan out, and carrying on where a crash cut one off.

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;
use uuid::Uuid;

use super::{AffectedStream, ErasureError, ErasureRecord, Plan, journal::Journal};
use crate::{
    event::{
        ErasureId, EventId, EventType, Generation, Json, NewEvent, SUBJECT_FORGOTTEN, Subject,
        Timestamp, Tombstone,
    },
    layer::{Layer, Oubliette},
    store::{
        Append, Capability, EventStore, EventStoreExt, ExpectedRevision, ReadOptions, StoreError,
    },
    vault::{Backup, Closure, Destruction, Vault},
};

/// How many streams get their tombstones in one append, where the store can do that.
const TOMBSTONES_PER_APPEND: usize = 256;

/// What an erasure did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Erased {
    /// Who is forgotten.
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
    /// The backups of the vault from which the keys can still be had, until they are destroyed or
    /// expire.
    pub backups: Vec<Backup>,
}

/// What a reopening did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reopened {
    /// Who.
    pub subject: Subject,
    /// The generation of their new keys; `None`: they were not forgotten, and nothing changed.
    pub generation: Option<Generation>,
}

/// How far an erasure has come, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The keys are destroyed; so many tombstones are to be written.
    Destroyed {
        /// How many.
        tombstones: usize,
    },
    /// So many tombstones are written.
    Tombstones(usize),
}

impl<S: EventStore> Oubliette<S> {
    /// What forgetting a subject would do. Changes nothing, except that claims which a crash left
    /// open are settled by looking at the store.
    ///
    /// # Errors
    /// [`ErasureError::UnknownSubject`]; errors of the vault and the store.
    pub async fn plan(&self, subject: &Subject) -> Result<Plan, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureError::NoVault)?;
        settle_all(&self.layer, vault, subject).await?;
        let mut plan = Plan::make(vault, subject)?;
        keep_existing(&self.layer, &mut plan).await?;
        refuse_unknown(vault, &plan)?;
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
    /// Before anything is decided: [`ErasureError::UnknownSubject`] and errors of vault and
    /// store. After it: [`ErasureError::TombstonesPending`].
    pub async fn forget(&self, subject: &Subject, reason: &str) -> Result<Erased, ErasureError> {
        self.forget_with(subject, reason, |_| {}).await
    }

    /// As [`Oubliette::forget`], and tells how far it has come.
    ///
    /// # Errors
    /// As [`Oubliette::forget`].
    pub async fn forget_with(
        &self,
        subject: &Subject,
        reason: &str,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Erased, ErasureError> {
        let (layer, subject, reason) =
            (Arc::clone(&self.layer), subject.clone(), reason.to_owned());
        let run = async move { forget(&layer, &subject, &reason, &progress).await };
        tokio::spawn(run).await.map_err(|_| ErasureError::Interrupted)?
    }

    /// Admits a forgotten subject again, under a new generation. What was forgotten stays so.
    ///
    /// # Errors
    /// Errors of the vault.
    pub async fn reopen(&self, subject: &Subject) -> Result<Reopened, ErasureError> {
        let vault = self.layer.vault().ok_or(ErasureError::NoVault)?;
        let _one_at_a_time = vault.erase_alone().await;
        let generation = vault.reopen(subject).await?;
        Ok(Reopened { subject: subject.clone(), generation })
    }

    /// Completes the erasures that a crash, or a store that did not answer, cut off. Opening the
    /// layer does so by itself.
    ///
    /// # Errors
    /// [`ErasureError::TombstonesPending`] where the store still does not take them.
    pub async fn resume(&self) -> Result<Vec<Erased>, ErasureError> {
        let layer = Arc::clone(&self.layer);
        let run = async move {
            let vault = layer.vault().ok_or(ErasureError::NoVault)?;
            let _one_at_a_time = vault.erase_alone().await;
            resume(&layer, vault).await
        };
        tokio::spawn(run).await.map_err(|_| ErasureError::Interrupted)?
    }

    /// The records of all erasures, oldest first.
    ///
    /// # Errors
    /// Errors of the vault.
    pub fn erasures(&self) -> Result<Vec<ErasureRecord>, ErasureError> {
        ErasureRecord::all(self.layer.vault().ok_or(ErasureError::NoVault)?)
    }
}

async fn forget<S: EventStore>(
    layer: &Layer<S>,
    subject: &Subject,
    reason: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Erased, ErasureError> {
    let vault = layer.vault().ok_or(ErasureError::NoVault)?;
    let _one_at_a_time = vault.erase_alone().await;
    match resume(layer, vault).await {
        // Somebody else's keys are gone, and the store does not take their tombstones: that must
        // not keep this subject's keys alive.
        Err(error @ ErasureError::TombstonesPending { .. }) => {
            tracing::warn!(%error, "an earlier erasure waits for its tombstones");
        }
        resumed => drop(resumed?),
    }

    let (plan, closure) = close_and_plan(layer, vault, subject).await?;
    if let Some(erasure) = plan.already {
        return already(vault, subject, erasure);
    }
    let journal = Journal { erasure: ErasureId::now(), reason: reason.to_owned(), plan };
    journal.write(vault).await?;
    carry_out(layer, vault, &journal, Some(closure), progress).await
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
        let mut plan = Plan::make(vault, subject)?;
        let new: Vec<Subject> = plan
            .subjects
            .iter()
            .map(|affected| affected.subject.clone())
            .filter(|who| closed.insert(who.clone()))
            .collect();
        if new.is_empty() {
            keep_existing(layer, &mut plan).await?;
            refuse_unknown(vault, &plan)?;
            return Ok((plan, closure));
        }
        closure.extend(&new).await;
    }
}

async fn resume<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
) -> Result<Vec<Erased>, ErasureError> {
    let (mut done, mut pending) = (Vec::new(), None);
    for journal in Journal::all(vault)? {
        tracing::info!(erasure = %journal.erasure, "resuming an erasure that was cut off");
        match carry_out(layer, vault, &journal, None, &|_| {}).await {
            Ok(erased) => done.push(erased),
            // The others' keys are destroyed all the same.
            Err(error @ ErasureError::TombstonesPending { .. }) => pending = Some(error),
            Err(error) => return Err(error),
        }
    }
    pending.map_or(Ok(done), Err)
}

/// Everything after the decision; repeatable from the start at any point.
async fn carry_out<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &Journal,
    closure: Option<Closure>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Erased, ErasureError> {
    let doomed = journal.plan.doomed();
    let closure = match closure {
        Some(closure) => closure,
        None => {
            vault
                .close(&doomed.iter().map(|doomed| doomed.subject.clone()).collect::<Vec<_>>())
                .await
        }
    };
    let destruction = Destruction { erasure: journal.erasure, doomed };
    let pending = ErasureRecord::of(journal, false).to_note()?;
    let destroyed = vault.destroy(&destruction, &pending).await?;
    drop(closure);

    let streams = &journal.plan.streams;
    progress(Progress::Destroyed { tombstones: streams.len() });
    set_tombstones(layer, journal, progress)
        .await
        .map_err(|source| ErasureError::TombstonesPending { erasure: journal.erasure, source })?;

    use crate::vault::NoteKind::Erasure;
    let done = ErasureRecord::of(journal, true).to_note()?;
    vault.put_note(Erasure, journal.erasure.0.into_bytes(), &done).await?;
    journal.remove(vault).await?;
    Ok(Erased {
        subject: journal.plan.subject.clone(),
        erasure: journal.erasure,
        at: journal.erasure.at(),
        already: false,
        keys: journal.plan.keys(),
        subjects: journal.plan.subjects.len() as u64,
        streams: streams.len() as u64,
        backups: vault.backups_before(Some(destroyed.epoch))?,
    })
}

async fn set_tombstones<S: EventStore>(
    layer: &Layer<S>,
    journal: &Journal,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), StoreError> {
    let at_once = layer.store.capabilities().has(Capability::AtomicMultiStream);
    let per_append = if at_once { TOMBSTONES_PER_APPEND } else { 1 };
    let mut written = 0;
    for streams in journal.plan.streams.chunks(per_append) {
        let mut appends = Vec::with_capacity(streams.len());
        for affected in streams {
            appends.push(tombstone(layer, journal.erasure, affected).await?);
        }
        match layer.store.append(appends.clone()).await {
            Ok(_) => {}
            // Some of them are there: an earlier attempt made other groups of them.
            Err(StoreError::IdInUse { .. }) if appends.len() > 1 => {
                for append in appends {
                    layer.store.append(vec![append]).await?;
                }
            }
            Err(error) => return Err(error),
        }
        written += streams.len();
        progress(Progress::Tombstones(written));
    }
    Ok(())
}

async fn tombstone<S: EventStore>(
    layer: &Layer<S>,
    erasure: ErasureId,
    affected: &AffectedStream,
) -> Result<Append, StoreError> {
    let tombstone = Tombstone {
        erasure,
        at: erasure.at(),
        cause: affected.cause,
        depth: affected.depth,
        keys: affected.keys.clone(),
        subject: affected.own.then(|| Subject::of(&affected.stream)),
    };
    let invalid = |error: &dyn std::fmt::Display| StoreError::Invalid(error.to_string());
    let data = Json::of(&tombstone).map_err(|error| invalid(&error))?;
    let event_type = EventType::new(SUBJECT_FORGOTTEN).map_err(|error| invalid(&error))?;
    let placement = layer.placement(&affected.stream).await?;
    let mut event =
        NewEvent::new(event_type, data).with_id(tombstone_id(erasure, affected.stream.as_str()));
    event.metadata = placement.note(&affected.stream);
    Ok(Append::new(placement.readable(&affected.stream), ExpectedRevision::Any, vec![event]))
}

/// The id of the tombstone of an erasure in a stream: the same however often it is set.
fn tombstone_id(erasure: ErasureId, stream: &str) -> EventId {
    let space: Uuid = erasure.0;
    EventId::derived(space, stream)
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

/// A subject's own stream gets a tombstone where it exists, or where keys die in it.
async fn keep_existing<S: EventStore>(layer: &Layer<S>, plan: &mut Plan) -> Result<(), StoreError> {
    let mut kept = Vec::with_capacity(plan.streams.len());
    for affected in plan.streams.drain(..) {
        let exists = !affected.keys.is_empty() || {
            let stream = layer.placement(&affected.stream).await?.readable(&affected.stream);
            let first = ReadOptions { limit: Some(1), ..ReadOptions::default() };
            !layer.store.events(&stream, first).await?.is_empty()
        };
        if exists {
            kept.push(affected);
        }
    }
    plan.streams = kept;
    Ok(())
}

fn refuse_unknown(vault: &Vault, plan: &Plan) -> Result<(), ErasureError> {
    let known = plan.already.is_some()
        || plan.keys() > 0
        || !plan.streams.is_empty()
        || plan.subjects.len() > 1
        || !plan.kept.is_empty()
        || vault.standing(&plan.subject)?.fence.is_some();
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
        backups: vault.backups_before(None)?,
    })
}
