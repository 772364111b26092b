//! What can go wrong, and what to do then. No message has anything of a payload, nor the value of a setting.

use oubliette::{
    TaskError,
    event::Position,
    store::{BoxError, StoreError},
};
use rdkafka::{error::KafkaError as ClientError, types::RDKafkaErrorCode as Code};

/// What librdkafka said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Cause {
    text: String,
    pub(crate) code: Option<Code>,
}

impl Cause {
    pub(crate) fn of(error: &ClientError) -> Self {
        let code = match error {
            ClientError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        let text = match error {
            // Its own text repeats the value, which may be a password.
            ClientError::ClientConfig(_, _, setting, _) => {
                format!("librdkafka does not take the setting `{setting}` as it is")
            }
            other => other.to_string(),
        };
        Self { text, code }
    }

    pub(crate) fn of_code(code: Code) -> Self {
        Self { text: code.to_string(), code: Some(code) }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: None }
    }

    /// Whether the broker says that we may not.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(
            self.code,
            Some(
                Code::TopicAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::TransactionalIdAuthorizationFailed
                    | Code::SaslAuthenticationFailed
                    | Code::Authentication
            )
        )
    }

    /// Whether the broker does not take a record as it is, and will not later.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self.code,
            Some(
                Code::MessageSizeTooLarge
                    | Code::MessageBatchTooLarge
                    | Code::InvalidTimestamp
                    | Code::InvalidRecord
            )
        )
    }

    /// Whether the broker does not know this producer any more, as after `transactional.id.expiration.ms` without an append:
    /// what was to be sent was thrown away here.
    pub(crate) fn is_lapse(&self) -> bool {
        matches!(
            self.code,
            Some(Code::PurgeQueue | Code::InvalidProducerIdMapping | Code::UnknownProducerId)
        )
    }

    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self.code, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
    }
}

/// Why a topic could not be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is none.
    #[error(
        "this is no address of a topic ({why}); it looks like kafka://host:9092,host:9092/topic"
    )]
    Address {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A setting that this crate has to choose.
    #[error(
        "the setting `{setting}` is chosen by this program, because events depend on it: leave it out"
    )]
    Setting {
        /// Its name.
        setting: String,
    },
    /// No broker answered.
    #[error(
        "no broker at {servers} answered: see whether the address is right and Kafka runs, then try again"
    )]
    Unreachable {
        /// The brokers that were to be asked.
        servers: String,
        /// What librdkafka said.
        source: Cause,
    },
    /// There is no such topic.
    #[error(
        "Kafka shows no topic {topic}: create it with `KafkaStore::create`, or grant this program `Describe` on it"
    )]
    Missing {
        /// The topic.
        topic: String,
    },
    /// Kafka refuses.
    #[error("Kafka does not let this program {what}: grant it that right, or use another login")]
    Denied {
        /// What it may not do.
        what: String,
        /// What librdkafka said.
        source: Cause,
    },
    /// With this setting events would be lost.
    #[error("topic {topic} has {setting} = {found}, {why}: set it to {wanted}")]
    Unfit {
        /// The topic.
        topic: String,
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        found: String,
        /// Which value it must have.
        wanted: String,
        /// What the value does.
        why: &'static str,
    },
    /// It holds what somebody else put there.
    #[error(
        "topic {topic} holds records of another program ({found}), and was left as it is: name another topic"
    )]
    NotOurs {
        /// The topic.
        topic: String,
        /// What was found.
        found: String,
    },
    /// A newer program wrote to it.
    #[error(
        "topic {topic} holds a record of the form `{found}`, which this program does not know: use the newer program that wrote it"
    )]
    Newer {
        /// The topic.
        topic: String,
        /// The form.
        found: String,
    },
    /// Its beginning is gone.
    #[error(
        "topic {topic} begins at offset {begins}: the events before it were deleted. Restore the topic from a copy"
    )]
    Cut {
        /// The topic.
        topic: String,
        /// The first offset that is there.
        begins: u64,
    },
    /// A transaction of another program is open on it.
    #[error(
        "a transaction of another program is open on topic {topic}: only this program may write to it. End that one, then try again"
    )]
    Busy {
        /// The topic.
        topic: String,
    },
    /// Another writer was opened meanwhile.
    #[error(
        "another writer took over topic {topic} while it was being opened: one program may write to it at a time"
    )]
    Fenced {
        /// The topic.
        topic: String,
    },
    /// The brokers are too old for transactions.
    #[error("the brokers of topic {topic} cannot do transactions: Kafka 0.11 or later is needed")]
    TooOld {
        /// The topic.
        topic: String,
        /// What librdkafka said.
        source: Cause,
    },
    /// Anything else that Kafka says.
    #[error("topic {topic} cannot be opened: {doing} failed")]
    Kafka {
        /// The topic.
        topic: String,
        /// What was being done.
        doing: &'static str,
        /// What librdkafka said.
        source: Cause,
    },
    /// The task that opened it did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl OpenError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } => true,
            Self::Task(error) => error.is_temporary(),
            _ => false,
        }
    }

    pub(crate) fn kafka(config: &crate::KafkaConfig, doing: &'static str, source: Cause) -> Self {
        let topic = config.topic().to_owned();
        match source.code {
            _ if source.is_denied() => Self::Denied { what: doing.to_owned(), source },
            _ if source.is_fenced() => Self::Fenced { topic },
            Some(
                Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::TimedOutQueue
                | Code::CoordinatorLoadInProgress
                | Code::ConcurrentTransactions
                | Code::Resolve,
            ) => Self::Unreachable { servers: config.servers().to_owned(), source },
            Some(Code::UnsupportedFeature | Code::UnsupportedVersion) => {
                Self::TooOld { topic, source }
            }
            _ => Self::Kafka { topic, doing, source },
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::backend(error.is_temporary(), error)
    }
}

/// What is in a [`StoreError::Backend`] or [`StoreError::Damaged`] of this store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// Another program opened the topic for writing. Nothing more is written by this one.
    #[error(
        "another writer took over this topic: {topic} has one writer at a time. Nothing of this append is stored; \
         end the other program, or this one, before you open the topic again"
    )]
    TakenOver {
        /// The topic.
        topic: String,
    },
    /// The append did not come about, and will not later.
    #[error("Kafka did not take the append, and nothing of it is stored: append again")]
    NotStored {
        /// What librdkafka said.
        source: Cause,
    },
    /// The broker does not take an event as it is: its topic was changed while it was open, or this machine's clock is wrong.
    /// It is told as [`StoreError::Invalid`].
    #[error(
        "Kafka refuses the append, and nothing of it is stored ({source}): where it is too large, raise the topic's \
         max.message.bytes, which was lowered since the topic was opened; where its time is refused, set this machine's \
         clock right, or raise the topic's message.timestamp.before.max.ms or message.timestamp.after.max.ms"
    )]
    Refused {
        /// What librdkafka said.
        source: Cause,
    },
    /// No answer in time.
    #[error("Kafka did not answer in time: see whether its brokers run, then try again")]
    Silent {
        /// The last that librdkafka said.
        source: Option<Cause>,
    },
    /// What was there is not any more.
    #[error(
        "topic {topic} has lost its events from offset {offset} on, which had been acknowledged: its end was cut off, or \
         it was made anew. Restore it from a copy, or open it again to go on with what is there"
    )]
    Lost {
        /// The topic.
        topic: String,
        /// The first that is missing.
        offset: u64,
    },
    /// A newer program writes to the topic.
    #[error(
        "topic {topic} holds a record of the form `{found}`, which this program does not know: use the newer program"
    )]
    Newer {
        /// The topic.
        topic: String,
        /// The form.
        found: String,
    },
    /// It was opened for reading only.
    #[error("the topic was opened for reading only: open it with `KafkaStore::open` to append")]
    ReadOnly,
    /// The record is not what was written.
    #[error("the record is not as it was written ({0})")]
    Damaged(&'static str),
    /// Kafka refuses.
    #[error(
        "Kafka does not let this program use the topic: grant it `Read` and `Write`, and see whether the topic is \
         still there"
    )]
    Denied {
        /// What librdkafka said.
        source: Cause,
    },
    /// The thread that writes is gone.
    #[error("the writer of this topic has ended, which is a bug: open the topic again")]
    Stopped,
}

impl KafkaError {
    /// Whether the same call may succeed later without anybody's changing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::NotStored { .. } | Self::Silent { .. })
    }

    pub(crate) fn at(self, offset: u64) -> StoreError {
        match self {
            Self::Damaged(_) => {
                let position = Position::number(offset);
                StoreError::Damaged { position, source: BoxError::from(self) }
            }
            other => other.into(),
        }
    }
}

impl From<KafkaError> for StoreError {
    fn from(error: KafkaError) -> Self {
        match error {
            KafkaError::Refused { .. } => Self::Invalid(error.to_string()),
            error => Self::backend(error.is_temporary(), error),
        }
    }
}
