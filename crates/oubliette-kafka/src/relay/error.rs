//! Why a relay ended.

use oubliette::{TaskError, event::EventId, store::StoreError};

use crate::error::{Cause, OpenError};

/// Why a relay ended. Each message says what to do; the events that it had sent are in the topic once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// There is no such topic.
    #[error(
        "Kafka shows no topic {topic}: make it by Kafka's own tools, with as many partitions as consumers need and \
         cleanup.policy = {policy}, or grant this program `Describe` on it"
    )]
    Missing {
        /// The topic.
        topic: String,
        /// What its `cleanup.policy` must be.
        policy: &'static str,
    },
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
    /// The topic is not what it was while this relay ran.
    #[error(
        "topic {topic} has lost events that this relay had sent: its end was cut off, or it was made anew. Nothing more was \
         sent. Make it anew with nothing in it and start the relay again, which then begins at the first event, or restore \
         it from a copy"
    )]
    Lost {
        /// The topic.
        topic: String,
    },
    /// Partitions were added since the relay began to write to the topic.
    #[error(
        "partitions were added to topic {topic}: streams would go on in other partitions than they are in, and consumers get \
         their events out of order. Nothing more was sent. Relay to a topic that is made with as many partitions as are \
         needed, or, where consumers can bear it, say so by `with_added_partitions`"
    )]
    Partitions {
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
            Self::Missing { .. }
            | Self::TakenOver { .. }
            | Self::Expired { .. }
            | Self::Lost { .. }
            | Self::Partitions { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}
