//! What can go wrong between the framework and its tables.

use cqrs_es::persist::PersistenceError;
use oubliette::{
    event::{JsonError, NameError, StreamName},
    layer::CodecError,
    store::Unreadable,
};

/// Why something was not sealed, or not opened.
///
/// The framework returns it within `AggregateError::UnexpectedError`, or within `DatabaseConnectionError` where the same call may
/// succeed later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The aggregate's type has a `-`, so that two aggregates could have one stream.
    #[error(
        "the aggregate type {0} has a `-`, and the stream `TYPE-id` of another type could have the same name: choose a TYPE \
         without it"
    )]
    AggregateType(String),
    /// Type and id make no stream's name, or the event's type is no name.
    #[error(
        "the names of an aggregate of type {aggregate_type} are no names for a stream and its events: {why}"
    )]
    Name {
        /// The aggregate's type.
        aggregate_type: String,
        /// What is wrong.
        why: NameError,
    },
    /// The id is not in Unicode's Form C, so that two ids would be one stream.
    #[error(
        "an id of an aggregate of type {0} is not in Unicode's Form C, and would share its keys with the id that is: bring ids \
         into that form"
    )]
    NotNormal(String),
    /// What is to be stored, or was stored, is no JSON that can be sealed.
    #[error("not sealed: {0}")]
    Json(#[from] JsonError),
    /// It was not sealed, and nothing was stored.
    #[error("not sealed: {0}")]
    NotSealed(CodecError),
    /// A row does not open, and not because somebody is forgotten.
    #[error("{row} of {stream} does not open: {why}")]
    Unreadable {
        /// The aggregate.
        stream: StreamName,
        /// Which of its rows.
        row: String,
        /// Why not.
        why: CodecError,
    },
    /// This process may not read all of it: it has no vault, or one that was put back.
    #[error(
        "{row} of {stream} is withheld from this process: open it with the vault that sealed it"
    )]
    Withheld {
        /// The aggregate.
        stream: StreamName,
        /// Which of its rows.
        row: String,
    },
    /// Something is missing of an event, and the application has no event for that.
    #[error(
        "events of an aggregate of type {0} are shredded, and no event of the application takes their place: name one by \
         `with_hole_event`"
    )]
    NoHoleEvent(String),
    /// The application's event for a hole cannot be written as JSON.
    #[error("the event in place of a hole cannot be written as JSON: {0}")]
    HoleEvent(serde_json::Error),
    /// The framework could not be told that a snapshot is not to be used.
    #[error(
        "an aggregate of type {0} reads `false` as its state, so that a snapshot that is shredded cannot be told from one: make \
         it a struct"
    )]
    OddAggregate(String),
}

impl SealError {
    /// Whether it is that the aggregate, or somebody whom the event is about, is forgotten: nothing is stored for them until
    /// they are reopened.
    pub fn is_forgotten(&self) -> bool {
        matches!(self, Self::NotSealed(CodecError::Forgotten { .. }))
    }

    /// Whether the row is not the one that was written in this place: somebody changed it, moved it or put it there.
    pub fn is_tampered(&self) -> bool {
        use Unreadable::{ForgedHole, Tampered, Untagged};
        let Self::Unreadable { why: CodecError::Unreadable(why), .. } = self else { return false };
        matches!(why, Tampered | Untagged | ForgedHole)
    }
}

impl From<SealError> for PersistenceError {
    fn from(error: SealError) -> Self {
        match &error {
            SealError::NotSealed(why) | SealError::Unreadable { why, .. } if why.is_temporary() => {
                Self::ConnectionError(Box::new(error))
            }
            // Never `DeserializationError`, by which the framework passes over a snapshot.
            _ => Self::UnknownError(Box::new(error)),
        }
    }
}
