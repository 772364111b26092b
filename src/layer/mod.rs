//! The layer: an event store around an event store.
//!
//! Open an [`Oubliette`] over your store with [`Oubliette::open`], and use it as you used the store: it seals on append
//! and opens on read. [`plan`](Oubliette::plan), [`forget`](Oubliette::forget) and [`verify`](Oubliette::verify) are
//! methods of it.
//!
//! If your own code writes to the store, take a [`Codec`]: it seals and opens one event at a time.

// Used by services, the command line and tests; `erasure` and `audit` add methods to `Oubliette`. This room joins
// `policy` (what is public, whose the rest is), `vault` (keys, by its `Keeper`, which may be elsewhere) and `crypto`
// (tokens) over a `store`; nothing of those rooms knows of it.

mod append;
mod codec;
mod dead;
pub(crate) mod document;
#[cfg(test)]
mod elsewhere;
mod error;
mod halves;
mod inspect;
#[doc(hidden)]
pub mod internals;
mod open;
mod opening;
mod owners;
mod placement;
mod purge;
mod read;
mod restore;
mod rotate;
mod same;
mod seal_existing;
mod sealed;
mod sealed_append;
mod sealing;
mod stored;
mod timeout;
pub(crate) mod tombstone;
mod vault_notes;
mod wanted;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

pub use codec::Codec;
pub(crate) use dead::Weight;
pub use error::CodecError;
pub(crate) use inspect::{Specimen, try_tokens};
pub(crate) use opening::TokenFate;
pub use opening::{EventRef, Opened};
pub(crate) use owners::{KnownSealed, SealedTo};
pub use owners::{NotMended, OwnersError, OwnersRebuilt};
pub(crate) use placement::Placement;
pub use purge::{LeftDead, Purged, PurgedSoFar};
pub use rotate::{RotateError, Rotated, Sweeping, Swept};
pub use seal_existing::{LeftInClear, SealedExisting, SealedSoFar};
pub use sealed::Sealed;
pub use sealed_append::SealedAppend;
pub use vault_notes::{note_vault, noted_vaults};
pub use wanted::Wanted;

use crate::{
    erasure::{
        Erased, ErasureError, Gap, OperatorError, PendingError, UnclearError, Witnessed,
        accept_gaps,
    },
    event::{Position, RecordedEvent, StreamName},
    policy::Policy,
    store::{
        Append, Appended, Capabilities, EventStore, EventStream, Filter, ReadAllOptions,
        ReadOptions, StoreError, Subscription,
    },
    vault::{Keeper, Vault, VaultError},
};

/// An event store that can forget: it wraps any [`EventStore`], and is one.
///
/// What no rule of the policy calls public is sealed before it reaches the inner store, and
/// opened on the way back. Expected revisions, positions and retries are the inner store's own.
///
/// Clones are the same layer.
///
/// | to | call |
/// | --- | --- |
/// | open it | [`Oubliette::open`]; to read without keys [`Oubliette::without_vault`] |
/// | append, read, fold, subscribe | [`EventStoreExt`](crate::EventStoreExt), [`EventStore`]; to open less [`Oubliette::wanting`] |
/// | forget | [`Oubliette::plan`], [`Oubliette::forget`], [`Oubliette::reopen`], [`Oubliette::resume`] |
/// | seal what is in clear, remove what is dead | [`Oubliette::seal_existing`], [`Oubliette::purge`] |
/// | change keys and owners | [`Oubliette::rotate`], [`Oubliette::rebuild_owners`] |
/// | audit | [`Oubliette::inventory`], [`Oubliette::verify`], [`Oubliette::storage`], [`Oubliette::erasures`] |
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let user = StreamName::new("user-456")?;
/// let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// store.append_to(&user, ExpectedRevision::NoStream, vec![moved]).await?;
///
/// store.forget(&Subject::of(&user), "request 2026-117").await?;
/// let events = store.events(&user, ReadOptions::default()).await?;
/// assert!(matches!(events[0].content(), Content::Shredded(_)));
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
///
/// An append goes on in a task of its own when its future is dropped, so that the inner store,
/// the vault and forgetting agree on whether it happened. It needs a Tokio runtime, as forgetting,
/// sealing with a [`Codec`] and walks over the vault do; outside of one, their errors say so.
pub struct Oubliette<S> {
    pub(crate) layer: Arc<Layer<S>>,
    /// What this reader wants of the events; `None`: all.
    wanted: Option<Arc<Wanted>>,
}

/// What the clones of a layer share.
pub(crate) struct Layer<S> {
    pub(crate) store: S,
    codec: Codec,
    placements: placement::Placements,
    unsealed: AtomicU64,
    unvouched: AtomicU64,
    /// What the announcements in the store have told so far.
    pub(crate) witnessed: Mutex<Witnessed>,
    /// What was completed for callers who did not live to hear of it.
    completed: Mutex<Vec<Erased>>,
}

impl<S: EventStore> Oubliette<S> {
    /// Wraps a store. Erasures that the store has announced and the vault does not know, because
    /// it was rolled back or restored, are applied again before this returns; [`Oubliette::witnessed`]
    /// names them. So are those that a crash cut off; where the store does not take an
    /// announcement or a tombstone, or a mirror of the root slot cannot be overwritten, it is
    /// logged, and [`Oubliette::resume`] tries again.
    ///
    /// # Errors
    /// After each of these nothing may be served. [`ErasureError::WitnessSilent`] where the store
    /// cannot be asked what was announced; [`ErasureError::Unclear`] where the operator has to say what it is, or
    /// accepts that something is missing, or a newer program is needed; [`ErasureError::NotReplayed`] where the vault
    /// fails to apply an erasure; [`ErasureError::NeedsWriting`] where it is open to be read only; errors of the vault.
    /// [`Pending`](ErasureError::Pending) is no error here.
    pub async fn open(store: S, vault: Vault, policy: Policy) -> Result<Self, ErasureError> {
        let oubliette = Self::over(store, Codec::new(vault, policy));
        oubliette.begin().await?;
        Ok(oubliette)
    }

    /// As [`Oubliette::open`], over a gap in what was announced: what this opening finds to be missing is
    /// [accepted](accept_gaps) in this name, and returned.
    ///
    /// # Errors
    /// As [`Oubliette::open`] and [`accept_gaps`]; [`OperatorError::NoGap`] where nothing is missing, so that no one
    /// accepts for good what is not known yet.
    pub async fn open_past_gap(
        store: S,
        vault: Vault,
        policy: Policy,
        by: &str,
    ) -> Result<(Self, Vec<Gap>), ErasureError> {
        let oubliette = Self::over(store, Codec::new(vault.clone(), policy));
        match oubliette.begin().await {
            Err(ErasureError::Unclear(UnclearError::WitnessGap(_))) => {}
            begun => return begun.and(Err(OperatorError::NoGap.into())),
        }
        let accepted = accept_gaps(&vault, by).await?;
        oubliette.begin().await?;
        Ok((oubliette, accepted))
    }

    /// Does what must be done before anything is served.
    async fn begin(&self) -> Result<(), ErasureError> {
        crate::runtime::check()?;
        match self.resume().await {
            Ok(completed) => self.layer.tell_completed(completed),
            Err(ErasureError::Pending(PendingError::Mirrors { mirrors, erased })) => {
                self.layer.tell_completed(erased);
                let pending = PendingError::Mirrors { mirrors, erased: vec![] };
                tracing::warn!("{pending}");
            }
            Err(ErasureError::Pending(error)) => {
                tracing::warn!(error = %error.without_names(), "what the vault has to say waits for the event store");
            }
            Err(ErasureError::Vault(VaultError::ReadOnly)) => {
                return Err(ErasureError::NeedsWriting);
            }
            Err(error) => return Err(error),
        }
        match self.vault() {
            Some(vault) => Ok(self.layer.mark_if_empty(vault).await?),
            None => Ok(()),
        }
    }

    /// Wraps a store for reading without its vault: public parts are readable, every sealed part
    /// is withheld, appends are refused. That is a copy of production for a test system.
    pub fn without_vault(store: S, policy: Policy) -> Self {
        Self::over(store, Codec::without_vault(policy))
    }

    /// Wraps a store for an auditor, and leaves erasures that were cut off as they are: what a
    /// damaged vault cannot complete must not keep anyone from seeing the damage.
    ///
    /// For reports alone. What [`Oubliette::open`] refuses to serve (an erasure that was announced and is not
    /// carried out, say) is readable here.
    pub fn unresumed(store: S, vault: Vault, policy: Policy) -> Self {
        Self::over(store, Codec::new(vault, policy))
    }

    fn over(store: S, codec: Codec) -> Self {
        Self {
            layer: Arc::new(Layer {
                store,
                codec,
                placements: placement::Placements::default(),
                unsealed: AtomicU64::new(0),
                unvouched: AtomicU64::new(0),
                witnessed: Mutex::default(),
                completed: Mutex::default(),
            }),
            wanted: None,
        }
    }

    /// Seals what you are going to append within a transaction of your own, so that the events commit together with what
    /// your application keeps in the same database. Nothing is appended: you give [`SealedAppend::appends`] to the store
    /// beneath, and say afterwards what became of it. It delays a forgetting for so long at most.
    ///
    /// # Errors
    /// As `append`, where it is refused before the store is asked.
    pub async fn seal(
        &self,
        appends: Vec<Append>,
        lasting: Duration,
    ) -> Result<SealedAppend<S>, StoreError> {
        let (appends, permit) = append::seal(&self.layer, appends, lasting).await?;
        Ok(SealedAppend::new(appends, permit, Arc::clone(&self.layer)))
    }

    /// The store underneath, which returns tokens as they are stored.
    pub fn store(&self) -> &S {
        &self.layer.store
    }

    /// The vault, unless this is a reader without one.
    pub fn vault(&self) -> Option<&Vault> {
        self.layer.vault()
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.layer.codec.policy()
    }

    /// The erasures that had been cut off and were completed by opening this layer, or before it carried
    /// out another: what they did, and did not reach. The one who had asked for them was not told.
    pub fn completed(&self) -> Vec<Erased> {
        // No code panics while it holds this lock.
        self.layer.completed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many events were read through this layer of which nothing shows that this vault wrote them:
    /// what was there before the layer was, or was forged.
    pub fn unsealed(&self) -> u64 {
        self.layer.unsealed.load(Ordering::Relaxed)
    }

    /// How many events were read through this layer for which no vault can vouch: no part of them opens, and
    /// they name an era that the vault never had, because it was put back to before that.
    pub fn unvouched(&self) -> u64 {
        self.layer.unvouched.load(Ordering::Relaxed)
    }
}

impl<S: EventStore> Layer<S> {
    /// The vault, for what only its own process may do.
    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.codec.vault()
    }

    /// The vault, wherever it is.
    pub(crate) fn keeper(&self) -> Option<&dyn Keeper> {
        self.codec.keeper().map(|keeper| &**keeper)
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.codec.policy()
    }

    pub(crate) fn tell_completed(&self, completed: Vec<Erased>) {
        // No code panics while it holds this lock.
        self.completed.lock().unwrap_or_else(PoisonError::into_inner).extend(completed);
    }
}

#[async_trait]
impl<S: EventStore> EventStore for Oubliette<S> {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        append::append(&self.layer, appends).await
    }

    /// Seals events that were in clear, and restores them beneath: with their ids, times and revisions. What is sealed
    /// already is moved beneath the layer, by the store's own `restore`, and refused here.
    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        restore::restore(&self.layer, events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        read::read(self, stream, options)
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        read::read_all(self, options)
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        read::subscribe(self, after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.layer.store.capabilities()
    }
}

impl<S> Clone for Oubliette<S> {
    fn clone(&self) -> Self {
        Self { layer: Arc::clone(&self.layer), wanted: self.wanted.clone() }
    }
}

impl<S: fmt::Debug> fmt::Debug for Oubliette<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oubliette").field("store", &self.layer.store).finish_non_exhaustive()
    }
}
