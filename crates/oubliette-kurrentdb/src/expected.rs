//! Expected revisions, and what the server says where they are not met.
//!
//! Only two states are ever sent: that the stream has no events, or that its last has this number. The server recognises a
//! repeated append by these, for ever. By its `Any` and `StreamExists` it does so only for as long as it has the ids in
//! memory. So for those of ours it is looked up which of the two it comes to.

use kurrentdb::{CurrentRevision, StreamState};
use oubliette::{
    StoreError,
    event::Revision,
    store::{Append, Current, ExpectedRevision},
};

/// What an expectation comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    State(StreamState),
    /// Whatever the stream's last event is.
    Any,
    /// The last event, if there is one.
    Exists,
    /// What no stream can be at.
    Never,
}

impl Expected {
    pub(crate) fn of(expected: ExpectedRevision) -> Self {
        match expected {
            ExpectedRevision::Any => Self::Any,
            ExpectedRevision::StreamExists => Self::Exists,
            ExpectedRevision::NoStream => Self::State(StreamState::NoStream),
            // The server counts with 63 bits, and takes the largest number of 64 for "no stream".
            ExpectedRevision::Exact(Revision(exact)) if i64::try_from(exact).is_err() => {
                Self::Never
            }
            ExpectedRevision::Exact(Revision(exact)) => {
                Self::State(StreamState::StreamRevision(exact))
            }
        }
    }
}

/// The state of a stream whose last event has this number.
pub(crate) fn state(last: Option<u64>) -> StreamState {
    last.map_or(StreamState::NoStream, StreamState::StreamRevision)
}

/// The last event's number, as the server names it.
pub(crate) fn last(current: CurrentRevision) -> Option<u64> {
    match current {
        CurrentRevision::Current(last) => Some(last),
        CurrentRevision::NoStream => None,
    }
}

pub(crate) fn conflict(append: &Append, last: Option<u64>) -> StoreError {
    StoreError::Conflict {
        stream: append.stream.clone(),
        expected: append.expected,
        actual: Some(Current::from(last.map(Revision))),
    }
}

#[cfg(test)]
mod tests {
    use oubliette::{EventType, Json, NewEvent, StreamName};

    use super::*;

    #[test]
    fn only_states_that_the_server_recognises_again_are_sent() {
        let exact = |revision| Expected::of(ExpectedRevision::Exact(Revision(revision)));
        let sent = |state| Expected::State(state);
        assert_eq!(Expected::of(ExpectedRevision::NoStream), sent(StreamState::NoStream));
        assert_eq!(exact(0), sent(StreamState::StreamRevision(0)));
        let most = i64::MAX.unsigned_abs();
        assert_eq!(exact(most), sent(StreamState::StreamRevision(most)));
        assert_eq!(exact(most + 1), Expected::Never);
        assert_eq!(exact(u64::MAX), Expected::Never);
        assert_eq!(Expected::of(ExpectedRevision::Any), Expected::Any);
        assert_eq!(Expected::of(ExpectedRevision::StreamExists), Expected::Exists);
        assert_eq!(state(None), StreamState::NoStream);
        assert_eq!(state(Some(3)), StreamState::StreamRevision(3));
    }

    #[test]
    fn a_wrong_revision_is_our_conflict_with_expected_and_actual() {
        let event = NewEvent::new(EventType::new("Paid").unwrap(), Json::parse("{}").unwrap());
        let stream = StreamName::new("account-7").unwrap();
        let expected = ExpectedRevision::Exact(Revision(5));
        let append = Append::new(stream.clone(), expected, vec![event]);
        for (current, what) in [
            (CurrentRevision::Current(8), Current::Revision(Revision(8))),
            (CurrentRevision::NoStream, Current::NoStream),
        ] {
            match conflict(&append, last(current)) {
                StoreError::Conflict { stream: named, expected: said, actual } => {
                    assert_eq!((named, said, actual), (stream.clone(), expected, Some(what)));
                }
                other => panic!("{other}"),
            }
        }
    }
}
