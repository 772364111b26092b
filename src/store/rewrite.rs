//! Changing what is stored of events that are there: for sealing what was in clear, for purging what nobody can read any
//! more, and for nothing else.
//!
//! These are traits beside [`EventStore`], and not a part of it: a program that holds a store, or a layer, as an
//! `EventStore` can change nothing. The layer implements neither.

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

/// An event that is there, and is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its stream.
    pub stream: StreamName,
    /// Its revision.
    pub revision: Revision,
    /// Its id.
    pub id: EventId,
}

/// A store that can remove events.
#[async_trait]
pub trait Purge: EventStore {
    /// The same store, as one that can give events other contents, where it can: then what is dead within an event goes as
    /// well, and not whole events alone.
    fn as_rewrite(&self) -> Option<&dyn Rewrite>;

    /// Removes events. All others stay what they are, and where they are: no revision and no position is ever given again, also
    /// where the last event of a stream, or of all, is removed. A store that could not keep that leaves such an event.
    ///
    /// Returns for each whether it was there and is removed.
    ///
    /// # Errors
    /// As of [`EventStore::append`]. After [`StoreError::Backend`] some may be removed: doing it again removes the others.
    async fn remove(&self, events: Vec<Removed>) -> Result<Vec<bool>, StoreError>;

    /// Clears away what removing and rewriting left behind of former contents, as far as the store can; writers may have to wait
    /// meanwhile.
    ///
    /// Returns where former contents may still be, each in a sentence that says what to do about it.
    ///
    /// # Errors
    /// [`StoreError::Backend`] where it cannot be done.
    async fn scrub(&self) -> Result<Vec<String>, StoreError>;
}

/// A store that can give events other contents.
#[async_trait]
pub trait Rewrite: Purge {
    /// Gives events other payloads and metadata, where they still have those that are named. All else of them stays: id, type,
    /// revision, position and time. All or nothing, but for those that are otherwise by now.
    ///
    /// Returns for each whether it was changed.
    ///
    /// # Errors
    /// As of [`EventStore::append`]. After [`StoreError::Backend`] it may have been done: doing it again changes nothing.
    async fn rewrite(&self, events: Vec<Rewritten>) -> Result<Vec<bool>, StoreError>;
}
