//! Events on their way in ([`NewEvent`]) and on their way out ([`RecordedEvent`]).

use std::{fmt, sync::Arc};

use super::{
    ANNOUNCED, ANNOUNCEMENTS, EventId, EventType, Holes, Json, KeyId, Position, Revision,
    SUBJECT_FORGOTTEN, Shredded, StreamName, Subject, Timestamp, Tombstone, VaultNote, Withheld,
};

/// The largest event that the layer accepts, payload and metadata together, in bytes: 16 MiB.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// The largest payload, and the largest metadata, that a store accepts, in bytes: 24 MiB, which is
/// [`MAX_PAYLOAD_BYTES`] in a token's base64 (a third more), and room for what is beside it.
pub const MAX_STORED_BYTES: usize = 24 * 1024 * 1024;

/// The body of an event. `Debug` tells its kind and length, never its content.
///
/// ```
/// use oubliette::*;
/// let json: Payload = Json::parse(r#"{"to":"Leipzig"}"#)?.into();
/// let bytes = Payload::Bytes([7; 16].into());
/// assert_eq!(json.as_json().map(Json::as_str), Some(r#"{"to":"Leipzig"}"#));
/// assert!(bytes.as_json().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// JSON, kept as the text that it was.
    Json(Json),
    /// Bytes that are not JSON.
    Bytes(Arc<[u8]>),
}

impl Payload {
    /// The payload's bytes as they are stored.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.as_str().as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The JSON text, where it is JSON.
    pub fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Json(json) => Some(json),
            Self::Bytes(_) => None,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => write!(f, "Json({} bytes)", json.as_str().len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl From<Json> for Payload {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

/// An event that is to be appended.
///
/// ```
/// use oubliette::*;
/// let data = Json::parse(r#"{"to":"Leipzig"}"#)?;
/// let event = NewEvent::new(EventType::new("UserMoved")?, data)
///     .with_metadata(Json::parse(r#"{"correlationId":"c-1"}"#)?)
///     .with_subject(Subject::new("user-456")?);
/// // A retry appends the same event: the id tells the store.
/// let retry = event.clone();
/// assert_eq!(retry.id, event.id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity: the same id again is a retry, not a second event.
    pub id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// The event's payload.
    pub data: Payload,
    /// What is known about it, a JSON object.
    pub metadata: Option<Json>,
    /// Whose it is, where the writer knows; the policy must agree. A plain store ignores it.
    pub subject: Option<Subject>,
    /// What was missing already of the event that this is a copy of. A plain store refuses it,
    /// because it has no way to say so to a reader.
    pub holes: Option<Box<Holes>>,
}

/// How many bytes an event has: those of its payload and of its metadata, each of which may be as long as the other.
fn bytes_of(data: Option<&Payload>, metadata: Option<&Json>) -> usize {
    let data = data.map_or(0, |data| data.as_bytes().len());
    data + metadata.map_or(0, |metadata| metadata.as_str().len())
}

impl NewEvent {
    /// An event with a new random id and no metadata.
    pub fn new(event_type: EventType, data: impl Into<Payload>) -> Self {
        Self {
            id: EventId::random(),
            event_type,
            data: data.into(),
            metadata: None,
            subject: None,
            holes: None,
        }
    }

    /// A copy of an event that was read, under the same id, for another store or vault: what is
    /// readable of it is sealed again, and what is missing stays missing and says so. Change what you
    /// must of it, and append it to whichever stream it belongs to there.
    ///
    /// A tombstone is the word of the vault that set it: a copy of one is refused.
    pub fn copy_of(event: &RecordedEvent) -> Self {
        let data = event.data.clone().unwrap_or_else(|| Json::trusted("{}").into());
        Self {
            metadata: event.metadata.clone(),
            subject: event.subject.clone(),
            holes: Holes::of(event).map(Box::new),
            ..Self::new(event.event_type.clone(), data).with_id(event.id)
        }
    }

    /// How many bytes of payload and metadata it has.
    #[cfg(feature = "sqlite")]
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(Some(&self.data), self.metadata.as_ref())
    }

    /// The same event under this id.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = id;
        self
    }

    /// The same event with this metadata, a JSON object.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Json) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// The same event, said to be about this subject.
    #[must_use]
    pub fn with_subject(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }
}

/// An event as a reader gets it.
///
/// A plain store fills `data` and leaves `shredded` and `withheld` empty. The layer puts into
/// `data` what this reader may read, and names in `shredded` and `withheld` what is not there
/// and why: a part that cannot be read is never a bare null.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// for event in store.events(&user, ReadOptions::default()).await? {
///     println!("{} {} {}: {} parts gone", event.revision, event.recorded, event.event_type, event.shredded.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// The stream that it belongs to.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its place in the store.
    pub position: Position,
    /// The event's id.
    pub id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// When the store recorded it, or, where it was restored, the store that recorded it first.
    pub recorded: Timestamp,
    /// When this store wrote it, where it was restored: `recorded` is then what its writer said.
    pub restored: Option<Timestamp>,
    /// Its metadata, a JSON object.
    pub metadata: Option<Json>,
    /// What is readable of its body; `None` where nothing is.
    pub data: Option<Payload>,
    /// Whose it is, where that is known.
    pub subject: Option<Subject>,
    /// The ids of the keys that its sealed parts are under, living and dead: a projection that keeps
    /// them beside its rows knows which rows a tombstone means.
    pub keys: Vec<KeyId>,
    /// The parts whose keys are destroyed.
    pub shredded: Vec<Shredded>,
    /// The parts that this reader may not open now.
    pub withheld: Vec<Withheld>,
    /// The tombstone that this event is, where the vault vouches for it.
    pub tombstone: Option<Box<Tombstone>>,
}

/// What a reader has in hand: every fold must answer each of these.
///
/// ```
/// use oubliette::*;
/// fn shown(event: &RecordedEvent) -> String {
///     match event.content() {
///         Content::Clear(data) => format!("{} bytes", data.as_bytes().len()),
///         Content::Partial { data, shredded, .. } => format!("{data:?}, {} parts gone", shredded.len()),
///         Content::Shredded(_) => "gone".into(),
///         Content::Withheld(_) => "not for this reader".into(),
///         Content::Tombstone(tombstone) => format!("forgotten on {}", tombstone.day),
///         Content::Unverified(_) => "says it is a tombstone, and does not verify".into(),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// The whole payload.
    Clear(&'a Payload),
    /// Some of it; the rest is shredded or withheld.
    Partial {
        /// The part of the payload that is readable.
        data: &'a Payload,
        /// The parts whose keys are destroyed.
        shredded: &'a [Shredded],
        /// What may not be opened.
        withheld: &'a [Withheld],
    },
    /// Nothing: all of it is gone for good.
    Shredded(&'a [Shredded]),
    /// Nothing, and (some of) it could be opened by another reader.
    Withheld(&'a [Withheld]),
    /// A tombstone that the vault vouches for: in this stream a subject is forgotten.
    Tombstone(&'a Tombstone),
    /// An event of the tombstone's type that this reader cannot verify: forged, changed, of another
    /// vault, or read without a vault. It does not mean that anyone is forgotten.
    Unverified(&'a Payload),
}

impl RecordedEvent {
    /// How many bytes of payload and metadata it has.
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(self.data.as_ref(), self.metadata.as_ref())
    }

    /// An event as a plain store returns it: all of its body, nothing shredded or withheld.
    #[allow(clippy::too_many_arguments)]
    pub fn plain(
        stream: StreamName,
        revision: Revision,
        position: Position,
        id: EventId,
        event_type: EventType,
        recorded: Timestamp,
        data: Payload,
        metadata: Option<Json>,
    ) -> Self {
        Self {
            stream,
            revision,
            position,
            id,
            event_type,
            recorded,
            restored: None,
            metadata,
            data: Some(data),
            subject: None,
            keys: Vec::new(),
            shredded: Vec::new(),
            withheld: Vec::new(),
            tombstone: None,
        }
    }

    /// Whether the event is of the tombstone's type. Whether it is one, says
    /// [`RecordedEvent::tombstone`].
    pub fn is_tombstone(&self) -> bool {
        self.event_type.as_str() == SUBJECT_FORGOTTEN
    }

    /// Whether the event is an announcement of an erasure: the layer's bookkeeping, in a stream
    /// of its own.
    pub fn is_announcement(&self) -> bool {
        self.event_type.as_str() == ANNOUNCED && self.stream.as_str() == ANNOUNCEMENTS
    }

    /// Whether the event is the layer's bookkeeping, in a stream of its own: an announcement, or the note whose vault's
    /// tokens a store holds. Readers of the layer do not get it.
    pub fn is_bookkeeping(&self) -> bool {
        self.is_announcement() || VaultNote::of(self).is_some()
    }

    /// What a reader has in hand.
    pub fn content(&self) -> Content<'_> {
        if let Some(tombstone) = &self.tombstone {
            return Content::Tombstone(tombstone);
        }
        let Some(data) = &self.data else {
            return if self.withheld.is_empty() {
                Content::Shredded(&self.shredded)
            } else {
                Content::Withheld(&self.withheld)
            };
        };
        if self.is_tombstone() {
            return Content::Unverified(data);
        }
        if self.shredded.is_empty() && self.withheld.is_empty() {
            Content::Clear(data)
        } else {
            Content::Partial { data, shredded: &self.shredded, withheld: &self.withheld }
        }
    }
}
