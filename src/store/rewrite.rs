//! Changing what is stored of events that are there: for sealing what was in clear, and for nothing else.
//!
//! It is a trait beside [`EventStore`], and not a part of it: a program that holds a store, or a layer, as an `EventStore`
//! can change nothing. The layer does not implement it.

use async_trait::async_trait;

use super::{EventStore, StoreError};
use crate::event::{EventId, Json, Payload, Revision, StreamName};

/// Payload and metadata of an event, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The payload.
    pub data: Payload,
    /// The metadata, a JSON object.
    pub metadata: Option<Json>,
}

/// An event that is there, and what it is to be.
#[derive(Debug, Clone)]
pub struct Rewritten {
    /// Its stream.
    pub stream: StreamName,
    /// Its revision.
    pub revision: Revision,
    /// Its id.
    pub id: EventId,
    /// What it must be now. A store that respells JSON compares values.
    pub from: Stored,
    /// What it is to be.
    pub to: Stored,
}

/// A store that can give events other contents.
#[async_trait]
pub trait Rewrite: EventStore {
    /// Gives events other payloads and metadata, where they still have those that are named. All else of them stays: id, type,
    /// revision, position and time. All or nothing, but for those that are otherwise by now.
    ///
    /// Returns for each whether it was changed.
    ///
    /// # Errors
    /// As of [`EventStore::append`]. After [`StoreError::Backend`] it may have been done: doing it again changes nothing.
    async fn rewrite(&self, events: Vec<Rewritten>) -> Result<Vec<bool>, StoreError>;

    /// Clears away what rewriting left behind of former contents, as far as the store can; writers may have to wait meanwhile.
    ///
    /// Returns where former contents may still be, each in a sentence that says what to do about it.
    ///
    /// # Errors
    /// [`StoreError::Backend`] where it cannot be done.
    async fn scrub(&self) -> Result<Vec<String>, StoreError>;
}
