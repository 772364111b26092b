//! The store that is copied to. It refuses events of forgotten subjects, and those alone.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use oubliette::{
    event::{EventId, Position, RecordedEvent, StreamName},
    store::{
        Append, Appended, Capabilities, EventStore, EventStream, Filter, ReadAllOptions,
        ReadOptions, StoreError, Subscription,
    },
};

use crate::open::Store;

/// The data folder's store, of which a refusal does not end the copy.
#[derive(Debug)]
pub(super) struct Target {
    store: Store,
    refused: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    events: HashSet<EventId>,
    /// Later events of these do not follow any more.
    streams: HashSet<StreamName>,
}

impl Target {
    pub(super) fn new(store: Store) -> Self {
        Self { store, refused: Mutex::default() }
    }

    /// The events that it refused.
    pub(super) fn refused(&mut self) -> HashSet<EventId> {
        let refused = self.refused.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut refused.events)
    }

    /// Whether an error is about somebody who is forgotten, or about what comes behind their events.
    fn is_refusal(&self, error: &StoreError) -> bool {
        match error {
            StoreError::Forgotten { .. } => true,
            StoreError::Conflict { stream, .. } => {
                let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.streams.contains(stream)
            }
            _ => false,
        }
    }

    fn refuse(&self, event: &RecordedEvent) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.events.insert(event.id);
        refused.streams.insert(event.stream.clone());
    }
}

#[async_trait]
impl EventStore for Target {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.store.append(appends).await
    }

    /// Returns what was done of those that were not refused.
    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        let mut done = Vec::with_capacity(events.len());
        // The pieces that are still to be restored, the next one last.
        let mut pieces = vec![events];
        while let Some(mut piece) = pieces.pop() {
            match self.store.restore(piece.clone()).await {
                Ok(restored) => done.extend(restored),
                Err(error) if self.is_refusal(&error) => match &piece[..] {
                    [event] => self.refuse(event),
                    _ => {
                        let behind = piece.split_off(piece.len() / 2);
                        pieces.extend([behind, piece]);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        self.store.read(stream, options)
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        self.store.read_all(options)
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        self.store.subscribe(after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}
