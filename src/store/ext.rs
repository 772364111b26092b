//! What every store can do, because it needs only the trait.

use std::future::Future;

use futures::{StreamExt, TryStreamExt};

use super::{Append, Appended, Direction, EventStore, ExpectedRevision, ReadOptions, StoreError};
use crate::event::{Content, NewEvent, RecordedEvent, Revision, StreamName};

/// What a fold came to.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let account = StreamName::new("account-7")?;
/// let paid = EventType::new("Paid")?;
/// let count = store.fold(&account, 0, |n, event, _| n + u64::from(event.event_type == paid)).await?;
/// // Decided on this state, so expect it.
/// let event = NewEvent::new(paid.clone(), Json::parse("{}")?);
/// store.append_to(&account, count.expected(), vec![event]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded<T> {
    /// The state after the last event.
    pub state: T,
    /// The last event's revision; `None` where the stream has no events.
    pub revision: Option<Revision>,
}

impl<T> Folded<T> {
    /// What an append that was decided on this state should expect.
    pub fn expected(&self) -> ExpectedRevision {
        self.revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact)
    }
}

/// Methods that every store has. Implemented for all of them; not to be implemented.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// let account = StreamName::new("account-7")?;
/// let paid = |amount| Json::parse(&format!(r#"{{"amount":{amount}}}"#));
/// for amount in [5, 7] {
///     let event = NewEvent::new(EventType::new("Paid")?, paid(amount)?);
///     store.append_to(&account, ExpectedRevision::Any, vec![event]).await?;
/// }
/// let all = store.events(&account, ReadOptions::default()).await?;
/// let last = store.last(&account).await?;
/// assert_eq!(all.last(), last.as_ref());
/// // The state of an aggregate, and what an append that is decided on it expects.
/// let sum = store
///     .fold(&account, 0, |sum, _, content| match content {
///         Content::Clear(Payload::Json(json)) => {
///             let paid: serde_json::Value = json.to().unwrap_or_default();
///             sum + paid["amount"].as_u64().unwrap_or(0)
///         }
///         _ => sum, // shredded, withheld, a tombstone: decide what each means to you
///     })
///     .await?;
/// assert_eq!(sum.state, 12);
/// # Ok(())
/// # }
/// ```
// Futures are written out, and not `async fn`, so that callers know that they are `Send`, and so that rustdoc shows
// no lifetimes of `async_trait`. Nothing here is called through `dyn EventStoreExt`: a `dyn EventStore` has the methods.
pub trait EventStoreExt: EventStore {
    /// Folds a stream into a state: the way in which an aggregate is loaded.
    ///
    /// The handler gets every event, and in its [`Content`] must answer all that can have become
    /// of it: clear, partly readable, shredded, withheld, a tombstone, an unverified one.
    ///
    /// # Errors
    /// The first error of the read.
    fn fold<T, F>(
        &self,
        stream: &StreamName,
        init: T,
        handler: F,
    ) -> impl Future<Output = Result<Folded<T>, StoreError>> + Send
    where
        T: Send,
        F: FnMut(T, &RecordedEvent, Content<'_>) -> T + Send;

    /// Appends to one stream.
    ///
    /// # Errors
    /// As [`EventStore::append`].
    fn append_to(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> impl Future<Output = Result<Appended, StoreError>> + Send;

    /// Returns all events of a stream, or as many as the options say.
    ///
    /// # Errors
    /// The first error of the read.
    fn events(
        &self,
        stream: &StreamName,
        options: ReadOptions,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send;

    /// Returns the last event of a stream; `None` where the stream has no events.
    ///
    /// # Errors
    /// The error of the read.
    fn last(
        &self,
        stream: &StreamName,
    ) -> impl Future<Output = Result<Option<RecordedEvent>, StoreError>> + Send;
}

impl<S: EventStore + ?Sized> EventStoreExt for S {
    async fn fold<T, F>(
        &self,
        stream: &StreamName,
        init: T,
        mut handler: F,
    ) -> Result<Folded<T>, StoreError>
    where
        T: Send,
        F: FnMut(T, &RecordedEvent, Content<'_>) -> T + Send,
    {
        let mut folded = Folded { state: init, revision: None };
        let mut events = self.read(stream, ReadOptions::default());
        while let Some(event) = events.next().await.transpose()? {
            folded.state = handler(folded.state, &event, event.content());
            folded.revision = Some(event.revision);
        }
        Ok(folded)
    }

    async fn append_to(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        let appended = self.append(vec![Append::new(stream.clone(), expected, events)]).await?;
        appended.first().copied().ok_or_else(|| {
            StoreError::backend(false, "the store answered an append without saying where it went")
        })
    }

    async fn events(
        &self,
        stream: &StreamName,
        options: ReadOptions,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read(stream, options).try_collect().await
    }

    async fn last(&self, stream: &StreamName) -> Result<Option<RecordedEvent>, StoreError> {
        let options = ReadOptions {
            direction: Direction::Backwards,
            limit: Some(1),
            ..ReadOptions::default()
        };
        self.read(stream, options).next().await.transpose()
    }
}
