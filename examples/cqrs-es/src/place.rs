//! Where in the framework's tables something is, and ids that are bound to it.

use cqrs_es::Aggregate;
use oubliette::{
    event::{EventId, StreamName},
    layer::CodecError,
    store::Unreadable,
};
use uuid::Uuid;

use crate::SealError;

/// In which space, beside an id's own random half, places are hashed.
const SPACE: u64 = 0x6f75_626c_6371_7273;

/// In which space Oubliette's `TableStore` derives the ids of rows that have none.
const TABLES: Uuid = Uuid::from_u128(0x2f1c_9a5e_7d43_4b0f_9c6e_51a8_03d7_e2b4);

/// The stream of an aggregate, `TYPE-id`: forget its subject, and the aggregate is forgotten.
///
/// # Errors
/// [`SealError::AggregateType`], [`SealError::Name`], [`SealError::NotNormal`].
pub fn stream_of<A: Aggregate>(aggregate_id: &str) -> Result<StreamName, SealError> {
    stream(A::TYPE, aggregate_id)
}

/// The id of the aggregate of this type whose stream it is, if it is one's.
pub fn aggregate_of<A: Aggregate>(stream: &StreamName) -> Option<&str> {
    let (aggregate_type, aggregate_id) = stream.as_str().split_once('-')?;
    (aggregate_type == A::TYPE).then_some(aggregate_id)
}

fn stream(aggregate_type: &str, aggregate_id: &str) -> Result<StreamName, SealError> {
    if aggregate_type.contains('-') {
        return Err(SealError::AggregateType(aggregate_type.to_owned()));
    }
    let text = format!("{aggregate_type}-{aggregate_id}");
    let name = StreamName::new(&text)
        .map_err(|why| SealError::Name { aggregate_type: aggregate_type.to_owned(), why })?;
    if name.as_str() != text {
        return Err(SealError::NotNormal(aggregate_type.to_owned()));
    }
    Ok(name)
}

/// A row's place.
pub(crate) struct Place {
    pub(crate) stream: StreamName,
    pub(crate) row: String,
    /// Of an event, from 0.
    revision: Option<usize>,
}

impl Place {
    pub(crate) fn of_event(
        aggregate_type: &str,
        aggregate_id: &str,
        sequence: usize,
    ) -> Result<Self, SealError> {
        let stream = stream(aggregate_type, aggregate_id)?;
        Ok(Self { stream, row: format!("event {sequence}"), revision: sequence.checked_sub(1) })
    }

    pub(crate) fn of_snapshot(
        aggregate_type: &str,
        aggregate_id: &str,
        version: usize,
    ) -> Result<Self, SealError> {
        let stream = stream(aggregate_type, aggregate_id)?;
        Ok(Self { stream, row: format!("snapshot {version}"), revision: None })
    }

    /// A new id for what is to be stored here.
    ///
    /// The framework has none. One that follows from the place alone would not do: where two writers are at the same sequence
    /// number, or an answer is lost and the command is decided anew, two different events would have it, and what the vault is told of
    /// one would count for the other. So half of it is random. The other half is a hash of both, by which [`Place::has`] sees
    /// whether a row is where it was written, also when its keys are gone.
    pub(crate) fn new_id(&self) -> EventId {
        self.id_with(Uuid::new_v4().as_u64_pair().0)
    }

    /// Whether an id was made for this place.
    pub(crate) fn has(&self, id: EventId) -> bool {
        id == self.id_with(id.0.as_u64_pair().0)
    }

    /// The id under which an event was sealed in place, by a `TableStore` over the table of this name.
    pub(crate) fn id_in(&self, table: &str) -> Option<EventId> {
        let space = Uuid::new_v5(&TABLES, table.as_bytes());
        let name = format!("place/{}/{}", self.revision?, self.stream);
        Some(EventId(Uuid::new_v5(&space, name.as_bytes())))
    }

    /// The id of what is in clear, and has none.
    pub(crate) fn id_of_clear(&self) -> EventId {
        self.id_with(0)
    }

    fn id_with(&self, random: u64) -> EventId {
        let space = Uuid::from_u64_pair(random, SPACE);
        let name = format!("{}/{}", self.row, self.stream);
        let (_, hash) = Uuid::new_v5(&space, name.as_bytes()).as_u64_pair();
        EventId(Uuid::from_u64_pair(random, hash))
    }

    pub(crate) fn unreadable(&self, why: impl Into<CodecError>) -> SealError {
        SealError::Unreadable {
            stream: self.stream.clone(),
            row: self.row.clone(),
            why: why.into(),
        }
    }

    pub(crate) fn tampered(&self) -> SealError {
        self.unreadable(Unreadable::Tampered)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_fits_its_place_alone() {
        let place = Place::of_event("Account", "7", 3).unwrap();
        let id = place.new_id();
        assert!(place.has(id));
        assert_ne!(place.new_id(), id, "another attempt is another event");
        for other in [
            Place::of_event("Account", "7", 4).unwrap(),
            Place::of_event("Account", "8", 3).unwrap(),
            Place::of_event("Ledger", "7", 3).unwrap(),
            Place::of_snapshot("Account", "7", 3).unwrap(),
        ] {
            assert!(!other.has(id), "{} {}", other.stream, other.row);
        }
    }

    #[test]
    fn aggregates_have_streams_of_their_own() {
        assert_eq!(stream("Account", "a-b").unwrap().as_str(), "Account-a-b");
        assert!(matches!(stream("Account-a", "b"), Err(SealError::AggregateType(_))));
        assert!(matches!(stream("Account", "with space"), Err(SealError::Name { .. })));
        assert!(matches!(stream("Account", "cafe\u{301}"), Err(SealError::NotNormal(_))));
    }
}
