//! The event store: one small trait, the stores that keep its contract, the suite that checks it, copying one store into
//! another and following one.
//!
//! [`EventStoreExt`] has what most programs call: `append_to`, `events`, `fold`. [`EventStore`] has the rest: several
//! streams at once, all streams, subscriptions. [`SqliteStore`] is the embedded store (feature `sqlite`), [`MemoryStore`]
//! is for tests.
//!
//! # A store of your own
//!
//! To put a database of your own behind [`EventStore`], implement its six methods. Name what it can do with
//! [`Capabilities::of`]. Call [`check_appends`] first, and answer retries with [`answer_retry`]. Read back the JSON that
//! you stored as text with [`Json::trusted`](crate::event::Json::trusted). Then run the suite (feature `conformance`).
//! `examples/wrap_your_store.rs` does all this.

// The layer wraps any `EventStore` and is one. Nothing in this room knows of keys, policies
// or forgetting: a store keeps what it is given. The adapters here live in a module each; one for another database
// is a crate, and proves itself with the conformance suite.

mod check;
mod compare;
mod copy;
mod error;
mod ext;
mod follow;
mod forward;
mod options;
mod rewrite;

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::event::{Position, RecordedEvent, StreamName};
pub use check::{Known, answer_retry, check_appends, check_restored, plan_restore};
pub(crate) use check::{check_for_layer, lacking};
pub use compare::{Comparison, Difference, compare};
pub use copy::{Copied, NotKept, Refused, Transform, WhenRefused, copy, copy_except, not_kept};
pub use error::{BoxError, Current, Refusal, StoreError, Unreadable};
pub use ext::{EventStoreExt, Folded};
pub use follow::{Checkpoint, FileCheckpoint, FollowError, Handler, catch_up, follow};
pub use memory::MemoryStore;
pub use options::{
    Append, Appended, Capabilities, Capability, Delivery, Direction, ExpectedRevision, Filter,
    ReadAllOptions, ReadOptions,
};
pub use rewrite::{Purge, Removed, Rewrite, Rewritten, Stored};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// A lazy stream of events; the first error ends it.
pub type EventStream = BoxStream<'static, Result<RecordedEvent, StoreError>>;

/// A stream of deliveries that does not end by itself; the first error ends it.
pub type Subscription = BoxStream<'static, Result<Delivery, StoreError>>;

/// A store of events in streams.
///
/// # Contract
///
/// Each bullet is checked by the conformance suite, in a case of the same name. One thing the suite cannot ask: what was
/// acknowledged is there after a crash, and half of an append is not. That a forgetting is completed rests on it, so test
/// it where your database runs.
///
/// Append:
/// - `append_returns_revision_and_position`: it returns, for each stream, the revision and
///   position of the last event written; both grow with every event, and all positions have one
///   length.
/// - `append_is_all_or_nothing`: either every event of the call is there afterwards, or none.
/// - `dropped_append_is_all_or_nothing`: that holds also where the caller drops the future.
/// - `stale_append_writes_nothing`: where an expected revision does not match,
///   [`StoreError::Conflict`] says expected and (where the store can tell) actual.
/// - `expected_revisions_are_honoured`: [`ExpectedRevision::Any`] always matches, `NoStream` an
///   empty stream, `StreamExists` a non-empty one, `Exact` the revision of its last event.
/// - `one_writer_wins`: of concurrent appends that expect the same revision, one succeeds.
/// - `retry_is_answered_as_done`: where all ids of one stream's events are in that stream
///   already, nothing is written; the revision and position of the one of highest revision are returned,
///   whatever revision is expected. A store does not compare bytes, because sealing again gives
///   others; the layer, which can open them, refuses other content with
///   [`StoreError::OtherContent`].
/// - `partial_retry_is_refused`: where some of the ids are there, or one is in another stream,
///   or one occurs twice in the call, [`StoreError::IdInUse`], and nothing is written.
/// - `several_streams_need_the_capability`: more than one stream in one call is all or nothing
///   with [`Capability::AtomicMultiStream`] and [`StoreError::Unsupported`] without it.
/// - `malformed_appends_are_refused`: no streams, no events, the same stream twice, a payload
///   over [`MAX_STORED_BYTES`](crate::event::MAX_STORED_BYTES), metadata that is no object:
///   [`StoreError::Invalid`].
///
/// Read:
/// - `payloads_come_back_as_they_went_in`: data and metadata byte for byte, JSON and bytes;
///   metadata `{}` may come back as none. Without [`Capability::Verbatim`] JSON comes back as the
///   same value; what comes back as another for want of a capability is refused by that. (`json`,
///   `text` and `bytea` columns are `Verbatim`, `jsonb` is not, and has no `Nul`.) A store whose limit is below
///   [`MAX_STORED_BYTES`](crate::event::MAX_STORED_BYTES) refuses what is over its own with [`StoreError::Invalid`].
/// - `recorded_is_when_it_was_written`: [`RecordedEvent::recorded`] is when the event was written, by the store's
///   clock, and the same however often and by whatever way the event is read.
/// - `read_is_in_order`: forwards by growing revision, backwards by falling, from the revision
///   named (inclusive), at most as many as the limit says. An unknown stream is an empty one.
/// - `read_all_is_in_order`: likewise by position over all streams, from behind the position named
///   (exclusive).
/// - `read_all_skips_nothing_in_flight`: once a position was seen, no lower one appears later.
/// - `foreign_positions_are_refused`: a position of another length than the store's, in `read_all`
///   and `subscribe`, and in `subscribe` one beyond all that the store ever gave: [`StoreError::ForeignPosition`].
/// - `streams_are_apart`: names that differ in a letter, a case or a prefix are two streams: also beyond ASCII, and
///   at the end of a long name.
///
/// Subscribe:
/// - `subscription_catches_up_then_goes_live`: the events after the position named, then
///   [`Delivery::CaughtUp`] once, then each new event as it is appended.
/// - `subscription_joins_without_gap_or_repeat`: each event once, in the order of positions,
///   also where appends run meanwhile.
/// - `subscription_filters`: only streams with the prefix and events of the types asked for.
///
/// Restore:
/// - `restore_keeps_what_was_recorded`: with [`Capability::Restore`] events come back with the id,
///   type, payload, metadata, revision and time that they were given; their positions are new and in
///   the order given; [`RecordedEvent::restored`] says when they were written here. Without it
///   [`StoreError::Unsupported`].
/// - `restore_is_all_or_nothing`: either every event of the call is there afterwards, or none, also
///   where the caller drops the future.
/// - `restore_keeps_gaps`: revisions stay also where some are missing: the store that is copied may have
///   removed events. What is appended afterwards comes behind the highest.
/// - `restore_refuses_what_does_not_follow`: an event whose revision is not behind the last of its stream is
///   a [`StoreError::Conflict`]; an id that is elsewhere, or twice in the call, is
///   [`StoreError::IdInUse`]; what is malformed, was opened by a layer, or has a revision of 2^53 or more, is
///   [`StoreError::Invalid`].
/// - `restore_can_be_repeated`: events that are in their stream already, at their revision or a later one, are passed
///   over and answered as a retry, with where they are. Bytes are not compared.
///
/// # Wrappers
///
/// No method has a default body: a default would silently bypass what the inner store overrides.
/// `Arc<S>`, `Box<S>` and `Arc<dyn EventStore>` are stores.
///
/// # Implementing it
///
/// Put `#[async_trait]` above your `impl`, and write `async fn append(&self, …)`. Below, rustdoc shows what the attribute
/// makes of that: `'async_trait` and `Pin<Box<dyn Future…>>` are not to be written.
///
/// # Cancellation
///
/// `append` and `restore` may be dropped at any await; whether the events were written is then
/// unknown, and a retry with the same ids tells. Streams may be dropped at any time.
///
/// Once an append or a restore has returned an error, it writes nothing any more: what a read does not find from then on is not there.
/// A store whose server may still be at it when the connection is lost waits, or asks it, before it returns.
///
/// ```
/// use std::sync::Arc;
/// use futures::StreamExt;
/// use oubliette::{store::{Append, Capability}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let account = StreamName::new("account-7")?;
/// # let event = NewEvent::new(EventType::new("Paid")?, Json::parse("{}")?);
/// // `EventStoreExt` has shorter forms of these for one stream.
/// let append = Append::new(account.clone(), ExpectedRevision::NoStream, vec![event]);
/// let appended = store.append(vec![append]).await?;
/// let mut events = store.read(&account, ReadOptions::default());
/// while let Some(event) = events.next().await.transpose()? {
///     assert_eq!(event.position, appended[0].position);
/// }
/// // The same store for everybody, with or without a layer around it.
/// let shared: Arc<dyn EventStore> = Arc::new(store);
/// assert!(shared.capabilities().has(Capability::Subscribe));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait EventStore: fmt::Debug + Send + Sync + 'static {
    /// Appends to one or more streams, all or nothing.
    ///
    /// Returns one [`Appended`] for each [`Append`], in their order.
    ///
    /// # Errors
    /// As the contract says; [`StoreError::Backend`] where the store itself fails. After a
    /// `Backend` error the events may or may not be there: retry with the same ids.
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError>;

    /// Appends events as another store recorded them, with their times and revisions: for moving
    /// from one store to another, and for nothing else. All or nothing; the events may be of many
    /// streams, each stream's in order.
    ///
    /// A store keeps them as they are. A layer that seals does that first, and takes only what is in clear.
    ///
    /// Returns one [`Appended`] for each event, in their order.
    ///
    /// # Errors
    /// As the contract says; after [`StoreError::Backend`] as with `append`.
    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError>;

    /// Reads one stream.
    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream;

    /// Reads all streams in the order of positions.
    fn read_all(&self, options: ReadAllOptions) -> EventStream;

    /// Delivers the events after a position (all, for `None`), then those to come.
    ///
    /// A position beyond all that the store ever gave is refused: whoever waited behind it would miss what is appended
    /// before it. That of an event which was removed since is not beyond.
    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription;

    /// What the store can do beyond the minimum.
    fn capabilities(&self) -> Capabilities;
}
