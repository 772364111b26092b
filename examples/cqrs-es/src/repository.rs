//! The framework's repository, around another one.

use cqrs_es::{
    Aggregate,
    persist::{
        PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent,
        SerializedSnapshot,
    },
};
use oubliette::{
    layer::Codec,
    vault::{OpenClaim, Settled},
};
use serde_json::Value;

use crate::{
    Hole, SealError, aggregate_of,
    hole::HoleEvents,
    persist::{Fate, Ready, tell},
    replay,
    rows::{Opener, id_of},
    snapshot::Read,
};

/// A repository that seals what it gives to another one, and opens what it gets from there.
///
/// It is [`Codec`] in the framework's words. To forget, open an [`Oubliette`](oubliette::layer::Oubliette) over the same
/// vault and policy. Its store takes what the vault announces, and the tombstones; no row of the framework's is touched.
#[derive(Debug, Clone)]
pub struct SealedRepository<R> {
    pub(crate) inner: R,
    pub(crate) opener: Opener,
}

impl<R> SealedRepository<R> {
    /// Wraps a repository.
    pub fn new(inner: R, codec: Codec) -> Self {
        Self { inner, opener: Opener { codec, holes: HoleEvents::default(), table: None } }
    }

    /// The same, with the event that takes the place of one of this aggregate's of which something is missing. Without it,
    /// reading such an event is an error ([`SealError::NoHoleEvent`]).
    #[must_use]
    pub fn with_hole_event<A: Aggregate>(
        mut self,
        make: impl Fn(&Hole<'_>) -> A::Event + Send + Sync + 'static,
    ) -> Self {
        self.opener.holes.insert::<A>(make);
        self
    }

    /// The same, for a table in which events from before were sealed in place, by `Oubliette::seal_existing` over a `TableStore`. Their
    /// ids are derived from its name, with the schema: `public.events`.
    #[must_use]
    pub fn sealed_in_place(mut self, table: &str) -> Self {
        self.opener.table = Some(table.to_owned());
        self
    }
}

impl<R: PersistedEventRepository> SealedRepository<R> {
    /// Tells the vault whether events of this type of aggregates are in the table, of which a crash or a lost connection
    /// kept that from being known. Call it after each start, before any command: once the table has said that an event is not there,
    /// nobody may store it any more.
    ///
    /// Where the answer is [`Settled::OwnerForgotten`], the owner was forgotten before: forget the aggregate by name.
    ///
    /// # Errors
    /// Those of the repository; [`SealError`] of the vault.
    pub async fn settle<A: Aggregate>(
        &self,
    ) -> Result<Vec<(OpenClaim, Settled)>, PersistenceError> {
        let mut settled = Vec::new();
        for claim in self.opener.codec.unsettled().map_err(SealError::NotSealed)? {
            let Some(aggregate_id) = claim.stream.as_ref().and_then(aggregate_of::<A>) else {
                continue;
            };
            let rows = self.inner.get_events::<A>(aggregate_id).await?;
            let is_there = rows.iter().any(|row| id_of(&row.metadata) == Some(claim.event));
            let told = self.opener.codec.settle(claim.event, is_there).await;
            settled.push((claim, told.map_err(SealError::NotSealed)?));
        }
        Ok(settled)
    }

    /// How many events of an aggregate are not sealed: from before they were, or put there by somebody. Forgetting does not
    /// reach them, and the layer, which does not see this table, cannot tell of them. So ask before you forget.
    ///
    /// # Errors
    /// Those of the repository; [`SealError`] of what does not open.
    pub async fn unsealed<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<usize, PersistenceError> {
        let mut unsealed = 0;
        for row in self.inner.get_events::<A>(aggregate_id).await? {
            unsealed += usize::from(self.opener.open_row(A::TYPE, &row)?.1.unsealed);
        }
        Ok(unsealed)
    }

    fn open_all<A: Aggregate>(
        &self,
        rows: Vec<SerializedEvent>,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        rows.into_iter().map(|row| Ok(self.opener.open(A::TYPE, row)?)).collect()
    }
}

impl<R: PersistedEventRepository> PersistedEventRepository for SealedRepository<R> {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.open_all::<A>(self.inner.get_events::<A>(aggregate_id).await?)
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.open_all::<A>(self.inner.get_last_events::<A>(aggregate_id, last_sequence).await?)
    }

    /// Where the snapshot is not to be used, what is returned is no state of the aggregate: the framework then folds
    /// all events, also where it takes the snapshot for the truth. `None` would be a blank aggregate there.
    async fn get_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        let Some(row) = self.inner.get_snapshot::<A>(aggregate_id).await? else { return Ok(None) };
        let aggregate = match self.opener.open_snapshot(A::TYPE, &row)? {
            Read::Whole { aggregate, .. } => aggregate,
            Read::Fold | Read::InClear => {
                let no_state = Value::Bool(false);
                if serde_json::from_value::<A>(no_state.clone()).is_ok() {
                    return Err(SealError::OddAggregate(A::TYPE.to_owned()).into());
                }
                no_state
            }
        };
        Ok(Some(SerializedSnapshot { aggregate, ..row }))
    }

    /// Seals, stores, and tells the vault what became of it.
    ///
    /// If the future is dropped, or the connection is lost, it may not be known whether the events are stored. Forgetting does
    /// not wait for that; what such events state of owners is open until [`SealedRepository::settle`].
    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        let Ready { rows, snapshot_update, permits, _snapshot_permit } =
            self.seal::<A>(events, snapshot_update).await?;
        if let Err(error) = self.inner.persist::<A>(&rows, snapshot_update).await {
            match self.fate::<A>(&rows, &error).await {
                // The answer was lost; or the snapshot was refused, behind events that had been committed. To call that a
                // failure would have the command carried out twice.
                Fate::Stored => {}
                Fate::Refused => {
                    tell(permits, false).await;
                    return Err(error);
                }
                Fate::Unknown => return Err(error),
            }
        }
        tell(permits, true).await;
        Ok(())
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        let rows = self.inner.stream_events::<A>(aggregate_id).await?;
        Ok(replay::opened(self.opener.clone(), A::TYPE, rows))
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let rows = self.inner.stream_all_events::<A>().await?;
        Ok(replay::opened(self.opener.clone(), A::TYPE, rows))
    }
}
