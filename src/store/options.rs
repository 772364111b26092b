//! What is asked of a store, and what it answers.

use std::fmt;

use crate::event::{
    EventType, NewEvent, Position, RecordedEvent, Revision, StreamName, normalized,
};

/// Events for one stream, and what that stream is expected to look like.
///
/// ```
/// use oubliette::{store::Append, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let (a, b) = (StreamName::new("account-7")?, StreamName::new("ledger-7")?);
/// # let event = || NewEvent::new(EventType::new("Paid").unwrap(), Json::parse("{}").unwrap());
/// // Two streams, all or nothing.
/// let appends = vec![
///     Append::new(a, ExpectedRevision::NoStream, vec![event()]),
///     Append::new(b, ExpectedRevision::Any, vec![event(), event()]),
/// ];
/// assert_eq!(store.append(appends).await?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream to append to.
    pub stream: StreamName,
    /// What its last revision must be for the append to happen.
    pub expected: ExpectedRevision,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
}

impl Append {
    /// An append of these events.
    pub fn new(stream: StreamName, expected: ExpectedRevision, events: Vec<NewEvent>) -> Self {
        Self { stream, expected, events }
    }
}

/// Optimistic concurrency: what the writer believes the stream to be.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let (account, paid) = (StreamName::new("account-7")?, EventType::new("Paid")?);
/// # let event = || NewEvent::new(paid.clone(), Json::parse("{}").unwrap());
/// let first = store.append_to(&account, ExpectedRevision::NoStream, vec![event()]).await?;
/// let expected = ExpectedRevision::Exact(first.revision);
/// store.append_to(&account, expected, vec![event()]).await?;
/// // Another writer was first: read again, decide again.
/// let late = store.append_to(&account, expected, vec![event()]).await;
/// assert!(matches!(late, Err(StoreError::Conflict { .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedRevision {
    /// Any state of the stream matches.
    Any,
    /// It has no events.
    NoStream,
    /// It has at least one.
    StreamExists,
    /// Its last event has this revision.
    Exact(Revision),
}

impl ExpectedRevision {
    /// Whether a stream whose last event has this revision (`None`: no events) is as expected.
    pub fn matches(self, last: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => last.is_none(),
            Self::StreamExists => last.is_some(),
            Self::Exact(revision) => last == Some(revision),
        }
    }
}

impl fmt::Display for ExpectedRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any revision"),
            Self::NoStream => f.write_str("no stream"),
            Self::StreamExists => f.write_str("an existing stream"),
            Self::Exact(revision) => write!(f, "revision {revision}"),
        }
    }
}

/// Where an append left its stream.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let account = StreamName::new("account-7")?;
/// let event = NewEvent::new(EventType::new("Paid")?, Json::parse("{}")?);
/// let first = store.append_to(&account, ExpectedRevision::NoStream, vec![event.clone()]).await?;
/// // The answer was lost, and the same event is sent again: nothing is written.
/// let again = store.append_to(&account, ExpectedRevision::NoStream, vec![event]).await?;
/// assert!(again.already);
/// assert_eq!((again.revision, again.position), (first.revision, first.position));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The revision of the last event of the append.
    pub revision: Revision,
    /// Its position in the store.
    pub position: Position,
    /// Whether the events were there already and nothing was written: a retry.
    pub already: bool,
}

/// Which way to read. [`ReadOptions`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// From the oldest event to the newest.
    #[default]
    Forwards,
    /// From the newest event to the oldest.
    Backwards,
}

/// How to read one stream.
///
/// ```
/// use oubliette::{store::Direction, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let user = StreamName::new("user-456")?;
/// // The last ten events, newest first.
/// let last = ReadOptions { direction: Direction::Backwards, limit: Some(10), ..ReadOptions::default() };
/// let events = store.events(&user, last).await?;
/// # assert!(events.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// The first revision to return; `None` is the first event, or, backwards, the last.
    pub from: Option<Revision>,
    /// In which direction to read.
    pub direction: Direction,
    /// At most this many events.
    pub limit: Option<usize>,
}

/// How to read all streams.
///
/// ```
/// use futures::StreamExt;
/// use oubliette::{store::ReadAllOptions, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// let after = None; // or the position that you kept
/// let mut events = store.read_all(ReadAllOptions { after, ..ReadAllOptions::default() });
/// while let Some(event) = events.next().await.transpose()? {
///     println!("{} {}", event.position, event.stream);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadAllOptions {
    /// Only events beyond this position: after it, or, backwards, before it; `None` is all of them.
    /// It need not be an event's. Forwards from beyond the last there are none.
    pub after: Option<Position>,
    /// In which direction to read.
    pub direction: Direction,
    /// At most this many events.
    pub limit: Option<usize>,
}

/// Which events a subscription delivers. The default is all. The layer lets tombstones through,
/// whatever types are asked for: a projection that keeps what a person said must hear that they are forgotten.
///
/// ```
/// use futures::StreamExt;
/// use oubliette::{store::{Delivery, Filter}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// let filter = Filter { stream_prefixes: vec!["account-".into()], ..Filter::default() };
/// let mut deliveries = store.subscribe(None, filter);
/// while let Some(delivery) = deliveries.next().await.transpose()? {
///     match delivery {
///         Delivery::Event(event) => println!("{} {}", event.stream, event.event_type),
///         Delivery::CaughtUp => break, // or go on: what comes next is new
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only streams whose name begins with one of these; empty: all streams.
    pub stream_prefixes: Vec<String>,
    /// Only events of one of these types; empty: all types.
    pub event_types: Vec<EventType>,
}

impl Filter {
    /// Whether an event of this stream and type passes.
    pub fn passes(&self, stream: &StreamName, event_type: &EventType) -> bool {
        // Names are in one form, a prefix may be in another.
        let fits = |prefix: &String| stream.as_str().starts_with(&*normalized(prefix));
        (self.stream_prefixes.is_empty() || self.stream_prefixes.iter().any(fits))
            && (self.event_types.is_empty() || self.event_types.contains(event_type))
    }
}

/// What a subscription delivers.
///
/// ```
/// use futures::StreamExt;
/// use oubliette::{store::{Delivery, Filter}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let account = StreamName::new("account-7")?;
/// # let event = NewEvent::new(EventType::new("Paid")?, Json::parse("{}")?);
/// # store.append_to(&account, ExpectedRevision::Any, vec![event]).await?;
/// let mut checkpoint = None; // where this reader stopped; it keeps it beside its own data
/// let mut deliveries = store.subscribe(checkpoint, Filter::default());
/// while let Some(delivery) = deliveries.next().await.transpose()? {
///     match delivery {
///         Delivery::Event(event) => checkpoint = Some(event.position),
///         Delivery::CaughtUp => break, // a service would say that it is ready, and go on
///     }
/// }
/// assert!(checkpoint.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
// Events are the rule and `CaughtUp` happens once: boxing each event would cost the rule.
#[allow(clippy::large_enum_variant)]
pub enum Delivery {
    /// An event of the subscription.
    Event(RecordedEvent),
    /// All that was there when the subscription began has been delivered; delivered once.
    CaughtUp,
}

/// Something that not every store can do. [`Capabilities`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// One append to several streams, all or nothing.
    AtomicMultiStream,
    /// Reading in falling order.
    ReadBackwards,
    /// Reading all streams in one order.
    ReadAll,
    /// Subscriptions that catch up and go live.
    Subscribe,
    /// Payloads that are not JSON.
    Bytes,
    /// Giving JSON back as the text that it was. A store without it gives the same value back, perhaps
    /// with members in another order and strings and numbers in another spelling.
    Verbatim,
    /// Numbers that an IEEE double does not hold, such as 9007199254740993 and 1e400.
    LongNumbers,
    /// The character U+0000 in JSON's strings and keys.
    Nul,
    /// Appending events as another store recorded them: see
    /// [`EventStore::restore`](super::EventStore::restore).
    Restore,
    /// Having no writers but those that use this trait, so that a store which was empty when a layer was first put around it has
    /// nothing in clear from others. Of a store without it, each [plan](crate::Oubliette::plan) reads what came since the one before: an
    /// application may go on writing to its table.
    Sole,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtomicMultiStream => "atomic appends to several streams",
            Self::ReadBackwards => "reading backwards",
            Self::ReadAll => "reading all streams",
            Self::Subscribe => "subscriptions",
            Self::Bytes => "payloads that are not JSON",
            Self::Verbatim => "JSON byte for byte",
            Self::LongNumbers => {
                "numbers in clear that a double does not hold (seal the field, or make it a string)"
            }
            Self::Nul => "the character U+0000 in clear (seal the field, or encode it)",
            Self::Restore => "restoring events as they were recorded",
            Self::Sole => "no other writers",
        })
    }
}

/// What a store can do beyond appending to and reading one stream forwards.
///
/// An adapter names what its store can do, by [`Capabilities::of`], and refuses the rest with
/// [`StoreError::Unsupported`](super::StoreError::Unsupported).
///
/// ```
/// use oubliette::store::{Capabilities, Capability};
/// const MINE: Capabilities = Capabilities::of(&[
///     Capability::ReadAll,
///     Capability::Subscribe,
///     Capability::Verbatim,
/// ]);
/// assert!(MINE.has(Capability::Subscribe));
/// assert!(!MINE.has(Capability::Restore));
/// ```
///
/// A test shows how a program gets on with a store that can do less:
///
/// ```
/// use oubliette::{store::{Capabilities, Capability}, EventStore, MemoryStore};
/// let store = MemoryStore::with_capabilities(Capabilities::ALL.without(Capability::Restore));
/// assert!(!store.capabilities().has(Capability::Restore));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// A store that can do everything. For the stores of this library, and for tests: an adapter that takes `ALL`, or
    /// `ALL` without some, also claims what a later version adds. It names what it can do: [`Capabilities::of`].
    pub const ALL: Self = Self(0b11_1111_1111);
    /// A store that can do the minimum.
    pub const NONE: Self = Self(0);

    /// Exactly these. The way for an adapter to declare what its store can do.
    #[must_use]
    pub const fn of(these: &[Capability]) -> Self {
        let (mut all, mut rest) = (Self::NONE, these);
        while let [first, others @ ..] = rest {
            all = all.with(*first);
            rest = others;
        }
        all
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | Self::bit(capability))
    }

    /// These without one.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !Self::bit(capability))
    }

    /// Whether a capability is among these.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & Self::bit(capability) != 0
    }

    const fn bit(capability: Capability) -> u16 {
        1 << capability as u8
    }
}
