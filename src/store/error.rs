//! What can go wrong with a store, wrapped or not, sorted by whose fault it is.

use std::fmt;

use super::{Capability, ExpectedRevision};
use crate::{
    TaskError,
    event::{EventId, Position, Revision, StreamName, Subject},
};

/// A source error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a store did not do what it was asked. No message holds anything of a payload.
///
/// Whose fault it is:
/// - the caller's: [`Conflict`](Self::Conflict), which is no mistake, [`IdInUse`](Self::IdInUse),
///   [`OtherContent`](Self::OtherContent), [`Invalid`](Self::Invalid), [`ForeignPosition`](Self::ForeignPosition),
///   [`Unsupported`](Self::Unsupported), [`Forgotten`](Self::Forgotten), [`Refused`](Self::Refused);
/// - the machine's: [`Vault`](Self::Vault), [`Backend`](Self::Backend), [`Task`](Self::Task);
/// - damage: [`Damaged`](Self::Damaged); damage or an attack: [`Unreadable`](Self::Unreadable).
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let account = StreamName::new("account-7")?;
/// # let event = NewEvent::new(EventType::new("Paid")?, Json::parse("{}")?);
/// let paid = store.append_to(&account, ExpectedRevision::StreamExists, vec![event]).await;
/// let answer = match paid {
///     Ok(_) => "done",
///     Err(StoreError::Conflict { .. }) => "read again, and decide again",
///     Err(StoreError::Forgotten { .. }) => "they asked to be forgotten",
///     Err(error) if error.is_temporary() => "try again, with the same event ids",
///     Err(error) => return Err(error.into()),
/// };
/// assert_eq!(answer, "read again, and decide again");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another writer was there first: read again, decide again, append again.
    #[error("conflict on stream {stream}: expected {expected}{}", describe(actual.as_ref()))]
    Conflict {
        /// The stream that the append was for.
        stream: StreamName,
        /// What the writer believed.
        expected: ExpectedRevision,
        /// What is so, where the store can tell.
        actual: Option<Current>,
    },

    /// An event id is in use: by another stream, by only some events of a retry, or twice.
    #[error(
        "event id {id} is already in use (asked for stream {stream}); \
         a retry must repeat all events of its append, a new event needs a new id"
    )]
    IdInUse {
        /// The id that another event has.
        id: EventId,
        /// The stream that the append was for.
        stream: StreamName,
    },

    /// A retry has the id of an event that is there already, and is another event. Nothing was
    /// written.
    #[error(
        "event id {id} is in stream {stream} already, with another type or payload; \
         a retry must repeat its event as it was, a new event needs a new id"
    )]
    OtherContent {
        /// The id that the events have in common.
        id: EventId,
        /// The stream that the append was for.
        stream: StreamName,
    },

    /// The call makes no sense; nothing was written.
    #[error("invalid request: {0}")]
    Invalid(String),

    /// The position is none of this store's: it has another length than this store's positions, or a subscription was to
    /// begin beyond all that the store ever gave. It is another store's, or this one was put back to an older state since.
    #[error(
        "position {0} is none of this store's: it is another store's, or this one was put back to an older state since; \
         take positions from what this store returned, or begin anew"
    )]
    ForeignPosition(Position),

    /// This store cannot do it.
    #[error("this store does not support {0}")]
    Unsupported(Capability),

    /// The append needs a key of a forgotten subject. Permanent, until someone reopens the
    /// subject by name.
    #[error("subject {subject} is forgotten; `reopen` admits them again")]
    Forgotten {
        /// Whose key was needed.
        subject: Subject,
    },

    /// The layer refuses the append; nothing was written.
    #[error("refused: {refusal}")]
    Refused {
        /// The reason, by kind.
        refusal: Refusal,
        /// The error underneath, where there is one.
        #[source]
        source: Option<BoxError>,
    },

    /// A sealed event cannot be opened, and not because somebody is forgotten: an alarm.
    #[error("event {id} (stream {stream}, revision {revision}, position {position}): {unreadable}")]
    Unreadable {
        /// The event's stream.
        stream: StreamName,
        /// The event's revision.
        revision: Revision,
        /// The event's position.
        position: Position,
        /// The event's id.
        id: EventId,
        /// What is wrong with it.
        unreadable: Unreadable,
    },

    /// The vault failed: no key, no append.
    #[error("the vault failed")]
    Vault(#[source] BoxError),

    /// The store has something at this position that it did not write. What is there before and behind it
    /// can still be read.
    #[error(
        "the event at position {position} is damaged in the event store: repair it there, or restore it from a copy of the store; \
         verifying tells of all that are"
    )]
    Damaged {
        /// The event's position.
        position: Position,
        /// The backend's own error.
        source: BoxError,
    },

    /// The store itself failed.
    #[error("the event store failed")]
    Backend {
        /// Whether a retry may help.
        temporary: bool,
        /// The backend's own error.
        source: BoxError,
    },

    /// The task that did it did not end by itself. Where it appended, retry with the same ids: that tells
    /// whether it was done.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// At which revision a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Current {
    /// It has no events.
    NoStream,
    /// Its last event has this revision.
    Revision(Revision),
}

impl From<Option<Revision>> for Current {
    fn from(last: Option<Revision>) -> Self {
        last.map_or(Self::NoStream, Self::Revision)
    }
}

/// Why the layer refuses an append.
///
/// ```
/// use oubliette::{store::Refusal, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let reader = Oubliette::without_vault(MemoryStore::new(), Policy::sealed_by_default());
/// # let user = StreamName::new("user-456")?;
/// # let event = NewEvent::new(EventType::new("UserMoved")?, Json::parse("{}")?);
/// let refused = reader.append_to(&user, ExpectedRevision::Any, vec![event]).await;
/// assert!(matches!(refused, Err(StoreError::Refused { refusal: Refusal::NoVault, .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The policy cannot be applied to the event: a pointer finds nothing, a subject
    /// contradicts it, two rules match alike.
    Policy(String),
    /// Some of the stream was forgotten, and it has had no owner since. An event that states an owner
    /// comes first.
    Ownerless(String),
    /// The name of a stream, type or subject looks like personal data, or is reserved.
    Name(String),
    /// The payload uses a key or type that the layer keeps for itself.
    Reserved(String),
    /// The layer was opened without a vault: it reads what is public and appends nothing.
    NoVault,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(why) | Self::Ownerless(why) | Self::Name(why) | Self::Reserved(why) => {
                f.write_str(why)
            }
            Self::NoVault => f.write_str("opened without a vault: nothing can be appended"),
        }
    }
}

/// What is wrong with an event that cannot be opened. Each is an alarm, and none means that
/// somebody was forgotten.
///
/// ```
/// use oubliette::{store::Unreadable, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # let policy = Policy::sealed_by_default;
/// let right = Oubliette::open(store.clone(), Vault::in_memory()?, policy()).await?;
/// right.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// // The wrong vault was opened: an alarm, and not an erasure.
/// let wrong = Oubliette::open(store, Vault::in_memory()?, policy()).await?;
/// let read = wrong.events(&user, ReadOptions::default()).await;
/// assert!(matches!(read, Err(StoreError::Unreadable { unreadable: Unreadable::OtherVault, .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The token, or what it is bound to (stream, id, type, public part, other tokens), was
    /// changed.
    #[error("tampered: the sealed part does not belong to this event")]
    Tampered,
    /// No key of that id is known and no erasure explains it.
    #[error("key missing: no erasure explains it; restore the vault from a backup")]
    KeyMissing,
    /// The token is not base64url.
    #[error("the token is not base64url")]
    NotBase64,
    /// The token is shorter than the shortest possible.
    #[error("the token is truncated")]
    Truncated,
    /// The token is of a version that this program does not know.
    #[error(
        "the token has format version {0}, which this program does not know; open it with the newer one that \
         wrote it"
    )]
    Version(u8),
    /// The token is of an algorithm that this program does not know.
    #[error(
        "the token has the algorithm {0}, which this program does not know; open it with the newer one that \
         wrote it"
    )]
    Algorithm(u8),
    /// What the layer noted with the event is of a version that this program does not know. Nothing else of
    /// the event was looked at.
    #[error(
        "the event's notes (`$oubliette`) have version {0}, which this program does not know; open it with the \
         newer one that wrote it"
    )]
    NotesVersion(u32),
    /// The stored event does not have a sealed event's form.
    #[error("the stored event is malformed: {0}")]
    Malformed(&'static str),
    /// All its keys are destroyed, and nothing vouches that it was ever sealed here: it may have been
    /// put together of a dead key's id and anything.
    #[error("no tag vouches for this shredded event: it was forged, or its tag was removed")]
    Untagged,
    /// Another vault sealed it.
    #[error("another vault sealed this event; open it with that one")]
    OtherVault,
    /// Its tag names this vault, and its key, which is missing, is of an era that this vault never had.
    #[error(
        "the event is newer than this vault, which was restored from a backup: its key is of an era that the \
         vault never had; restore a newer backup"
    )]
    UnknownEra,
    /// It says that parts of it were missing when it was copied, and no tag of the vault's vouches
    /// for that: it is not known whether somebody was forgotten.
    #[error("forged hole: this vault did not note that parts of this event are missing")]
    ForgedHole,
    /// The vault says something of a subject here that a later version of this program understands: a
    /// state of this name, or in a form that is not known here.
    #[error(
        "the vault says {} of a subject here, which this version of the program does not understand; \
         open it with the newer one that wrote it",
        .0.as_ref().map_or("something".to_owned(), |state| format!("`{state}`"))
    )]
    State(Option<String>),
    /// It notes another stream than the one that it is in.
    #[error(
        "it notes that it belongs to a stream of which this is no half: somebody moved it, or the policy \
         no longer has the rule that splits that stream; restore the event from a copy of the event \
         store, or put the rule back"
    )]
    Misplaced,
    /// The store keeps no ciphertext of a sealed part any more, and its key lives.
    #[error("the sealed part was purged from the store, though nobody was forgotten by it")]
    Purged,
    /// This vault says in a tombstone that it destroyed keys which it has.
    #[error(
        "this tombstone says that keys are destroyed which the vault has: it was put back to before that \
         erasure; forget the subject again, or restore a newer backup"
    )]
    Undone,
    /// The private half of a split event is not there, and not all of its keys are destroyed.
    #[error("the private half of a split event is missing from the store")]
    HalfMissing,
}

impl Unreadable {
    /// Whether a newer program wrote the event, as far as it says so itself. Then it is neither damaged nor in
    /// clear, and what this program cannot know of it is what the newer one knows.
    pub fn is_newer(&self) -> bool {
        match self {
            // No program ever wrote a zero there.
            Self::Version(unknown) | Self::Algorithm(unknown) => *unknown != 0,
            Self::NotesVersion(_) => true,
            _ => false,
        }
    }
}

impl StoreError {
    /// A failure of the backend.
    pub fn backend(temporary: bool, source: impl Into<BoxError>) -> Self {
        Self::Backend { temporary, source: source.into() }
    }

    /// Whether the same call may succeed later without anybody's changing anything: a
    /// [`Backend`](Self::Backend) that says so, and a [task](TaskError::is_temporary) that was cut off. A
    /// [`Conflict`](Self::Conflict) is not: another writer was first, and the decision must be taken anew.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Backend { temporary, .. } => *temporary,
            Self::Task(error) => error.is_temporary(),
            Self::Conflict { .. }
            | Self::IdInUse { .. }
            | Self::OtherContent { .. }
            | Self::Invalid(_)
            | Self::ForeignPosition(_)
            | Self::Unsupported(_)
            | Self::Forgotten { .. }
            | Self::Refused { .. }
            | Self::Unreadable { .. }
            | Self::Vault(_)
            | Self::Damaged { .. } => false,
        }
    }
}

fn describe(actual: Option<&Current>) -> String {
    match actual {
        Some(Current::NoStream) => ", but it has no events".to_owned(),
        Some(Current::Revision(revision)) => format!(", but it is at revision {revision}"),
        None => String::new(),
    }
}
