//! Why a relay ended.

use oubliette::{TaskError, event::EventId, store::StoreError};

use crate::error::{Cause, OpenError};

/// Why a relay ended. Each message says what to do; the events that it had sent are in the topic once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A topic cannot be used.
    #[error("the relay's topic cannot be used")]
    Topic(#[from] OpenError),
    /// The event store failed.
    #[error("the event store that the relay reads failed")]
    Store(#[from] StoreError),
    /// Another relay writes to the topic.
    #[error("another relay took over topic {topic}: one is enough, end the other or this one")]
    TakenOver {
        /// The topic.
        topic: String,
    },
    /// The events that said how far it came are gone.
    #[error(
        "topic {topic} is empty and was not always so, which happens where it keeps events for a time only: how far the \
         relay came is not known. Say it with `starting_after`, and let the topic keep events for longer"
    )]
    Expired {
        /// The topic.
        topic: String,
    },
    /// An event does not fit into the topic.
    #[error(
        "event {id} takes {bytes} bytes in Kafka, and topic {topic} takes at most {most} (max.message.bytes): set that \
         higher and start the relay again, it goes on with this event"
    )]
    TooLarge {
        /// The event.
        id: EventId,
        /// The topic.
        topic: String,
        /// What the event needs.
        bytes: usize,
        /// What the topic takes.
        most: usize,
    },
    /// Kafka refuses.
    #[error("Kafka does not take what the relay sends")]
    Kafka {
        /// What librdkafka said.
        source: Cause,
    },
    /// The task that did it did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl RelayError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Topic(error) => error.is_temporary(),
            Self::Store(error) => error.is_temporary(),
            Self::Kafka { source } => !source.is_denied(),
            Self::Task(error) => error.is_temporary(),
            Self::TakenOver { .. } | Self::Expired { .. } | Self::TooLarge { .. } => false,
        }
    }
}
