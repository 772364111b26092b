//! The conformance suite: one case for each bullet of the contract of [`EventStore`].
//!
//! For those who write a store or wrap one. A case is black-box: it knows the trait and nothing
//! else, and assumes neither that revisions or positions are consecutive nor that it is alone in
//! the store. What the store's [`capabilities`](EventStore::capabilities) leave out is checked to
//! be refused with [`StoreError::Unsupported`](super::StoreError::Unsupported).
//!
//! In a test file of its own, with `tokio` (features `macros` and `rt-multi-thread`) at hand:
//!
//! ```
//! use oubliette::store::{MemoryStore, conformance::Fixture};
//!
//! async fn fresh() -> Fixture {
//!     Fixture::new(MemoryStore::new())
//! }
//!
//! oubliette::conformance_tests!(fresh);
//! # fn main() {}
//! ```
//!
//! A layer that needs certain names or fields says so in a [`Profile`].

mod append;
mod kit;
mod read;
mod restore;
mod retry;
mod subscribe;

use std::{any::Any, fmt, future::Future, sync::Arc, time::Duration};

use super::EventStore;
use kit::Kit;

/// A fresh store for one case, and how to treat it.
pub struct Fixture {
    store: Arc<dyn EventStore>,
    profile: Profile,
    /// Dropped after the store.
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// A case's store: new, or at least without any stream that the profile's names could meet.
    pub fn new(store: impl EventStore) -> Self {
        Self { store: Arc::new(store), profile: Profile::default(), kept: Vec::new() }
    }

    /// The same store, treated as this profile says.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Keeps something for as long as the store is used, such as its temporary folder.
    #[must_use]
    pub fn keeping(mut self, thing: impl Any + Send + Sync) -> Self {
        self.kept.push(Box::new(thing));
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("store", &self.store)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// What the suite's events look like, and how long it waits.
#[derive(Clone)]
#[non_exhaustive]
pub struct Profile {
    /// Makes a stream's name of a tag. The tag must be at the end, unchanged; by default
    /// `user-` precedes it. Tags hold letters (not of ASCII alone), digits, `-`, `_` and `%`, and are up to 112
    /// bytes long.
    pub stream: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// Makes a payload, a JSON object, of a JSON value; by default `{"id":VALUE}`.
    pub payload: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// How long one case may take: a store that leaves it waiting fails it.
    pub patience: Duration,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            stream: Arc::new(|tag| format!("user-{tag}")),
            payload: Arc::new(|value| format!(r#"{{"id":{value}}}"#)),
            patience: Duration::from_secs(60),
        }
    }
}

impl Profile {
    /// The same, with streams named by this function.
    #[must_use]
    pub fn naming(mut self, stream: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.stream = Arc::new(stream);
        self
    }

    /// The same, with payloads made by this function.
    #[must_use]
    pub fn shaping(mut self, payload: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.payload = Arc::new(payload);
        self
    }

    /// The same, waiting so long for a case.
    #[must_use]
    pub fn waiting(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// A bullet of the contract that a store does not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {what}\nthe contract: {bullet}")]
#[non_exhaustive]
pub struct Violation {
    /// The case, named as its bullet.
    pub case: &'static str,
    /// The bullet.
    pub bullet: &'static str,
    /// What was seen instead.
    pub what: String,
}

async fn judge(
    case: &'static str,
    bullet: &'static str,
    fixture: &Fixture,
    run: impl Future<Output = Result<(), String>>,
) -> Result<(), Violation> {
    let patience = fixture.profile.patience;
    let result = tokio::time::timeout(patience, run).await.unwrap_or_else(|_| {
        Err(format!("the store left the case waiting for more than {patience:?}"))
    });
    result.map_err(|what| Violation { case, bullet, what })
}

macro_rules! cases {
    ($($module:ident :: $case:ident: $bullet:literal)*) => {
        /// The cases: name and bullet.
        pub const CASES: &[(&str, &str)] = &[$((stringify!($case), $bullet)),*];

        $(
            #[doc = concat!("Checks: ", $bullet)]
            ///
            /// # Errors
            /// The [`Violation`].
            pub async fn $case(fixture: &Fixture) -> Result<(), Violation> {
                let kit = Kit::new(&fixture.store, &fixture.profile);
                judge(stringify!($case), $bullet, fixture, $module::$case(&kit)).await
            }
        )*

        /// Runs every case, each on a fixture of its own, and tells how it went: for a table, say.
        pub async fn run_each<F, Fresh>(
            mut fresh: F,
            mut told: impl FnMut(&'static str, Result<(), Violation>),
        ) where
            F: FnMut() -> Fresh,
            Fresh: Future<Output = Fixture>,
        {
            $(told(stringify!($case), $case(&fresh().await).await);)*
        }
    };
}

cases! {
    append::append_returns_revision_and_position:
        "it returns, for each stream, the revision and position of the last event written; both \
         grow with every event, and all positions have one length"
    append::append_is_all_or_nothing:
        "either every event of the call is there afterwards, or none"
    append::dropped_append_is_all_or_nothing:
        "that holds also where the caller drops the future"
    append::stale_append_writes_nothing:
        "where an expected revision does not match, Conflict says expected and (where the store \
         can tell) actual"
    append::expected_revisions_are_honoured:
        "Any always matches, NoStream an empty stream, StreamExists a non-empty one, Exact the \
         revision of its last event"
    append::one_writer_wins:
        "of concurrent appends that expect the same revision, one succeeds"
    retry::retry_is_answered_as_done:
        "where all ids of one stream's events are in that stream already, nothing is written and \
         the revision and position of the last of them are returned, whatever revision is \
         expected. Bytes are not compared"
    retry::partial_retry_is_refused:
        "where some of the ids are there, or one is in another stream, or one occurs twice in the \
         call, IdInUse, and nothing is written"
    append::several_streams_need_the_capability:
        "more than one stream in one call is all or nothing with the capability and Unsupported \
         without it"
    append::malformed_appends_are_refused:
        "no streams, no events, the same stream twice, a payload over MAX_STORED_BYTES, metadata \
         that is no object: Invalid"
    read::payloads_come_back_as_they_went_in:
        "data and metadata byte for byte, JSON and bytes; metadata `{}` may come back as none. \
         Without Verbatim JSON comes back as the same value; what comes back as another for want \
         of a capability is refused by that. (`json`, `text` and `bytea` columns are Verbatim, \
         `jsonb` is not, and has no Nul.) A store whose limit is below MAX_STORED_BYTES refuses what is \
         over its own with Invalid"
    read::recorded_is_when_it_was_written:
        "recorded is when the event was written, by the store's clock, and the same however often and by \
         whatever way the event is read"
    read::read_is_in_order:
        "forwards by growing revision, backwards by falling, from the revision named (inclusive), \
         at most as many as the limit says. An unknown stream is an empty one"
    read::read_all_is_in_order:
        "likewise by position over all streams, from behind the position named (exclusive)"
    read::read_all_skips_nothing_in_flight:
        "once a position was seen, no lower one appears later"
    read::foreign_positions_are_refused:
        "a position of another length than the store's, in read_all and subscribe, and in subscribe one \
         beyond all that the store ever gave: ForeignPosition"
    read::streams_are_apart:
        "names that differ in a letter, a case or a prefix are two streams: also beyond ASCII, and at the \
         end of a long name"
    subscribe::subscription_catches_up_then_goes_live:
        "the events after the position named, then CaughtUp once, then each new event as it is \
         appended"
    subscribe::subscription_joins_without_gap_or_repeat:
        "each event once, in the order of positions, also where appends run meanwhile"
    subscribe::subscription_filters:
        "only streams with the prefix and events of the types asked for"
    restore::restore_keeps_what_was_recorded:
        "with the capability events come back with the id, type, payload, metadata, revision and \
         time that they were given; their positions are new and in the order given; restored says \
         when they were written here. Without it Unsupported"
    restore::restore_is_all_or_nothing:
        "either every event of the call is there afterwards, or none, also where the caller drops \
         the future"
    restore::restore_keeps_gaps:
        "revisions stay also where some are missing; what is appended afterwards comes behind the \
         highest"
    restore::restore_refuses_what_does_not_follow:
        "an event whose revision is not behind the last of its stream is a Conflict; an id that is \
         elsewhere, or twice in the call, is IdInUse; what is malformed, was opened by a layer, or \
         has a revision of 2^53 or more, is Invalid"
    restore::restore_can_be_repeated:
        "events that are in their stream already, at their revision or a later one, are passed \
         over and answered as a retry, with where they are. Bytes are not compared"
}

/// Runs every case, each on a fixture of its own.
///
/// # Errors
/// All violations.
pub async fn run_all<F, Fresh>(fresh: F) -> Result<(), Vec<Violation>>
where
    F: FnMut() -> Fresh,
    Fresh: Future<Output = Fixture>,
{
    let mut violations = Vec::new();
    run_each(fresh, |_, result| violations.extend(result.err())).await;
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

/// Makes a `#[tokio::test]` of every case of the [conformance suite](crate::store::conformance),
/// named as the case. The argument is called without arguments and returns a future of a
/// [`Fixture`](crate::store::conformance::Fixture).
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:expr) => {
        $crate::conformance_tests! { @each $fresh;
            append_returns_revision_and_position
            append_is_all_or_nothing
            dropped_append_is_all_or_nothing
            stale_append_writes_nothing
            expected_revisions_are_honoured
            one_writer_wins
            retry_is_answered_as_done
            partial_retry_is_refused
            several_streams_need_the_capability
            malformed_appends_are_refused
            payloads_come_back_as_they_went_in
            recorded_is_when_it_was_written
            read_is_in_order
            read_all_is_in_order
            read_all_skips_nothing_in_flight
            foreign_positions_are_refused
            streams_are_apart
            subscription_catches_up_then_goes_live
            subscription_joins_without_gap_or_repeat
            subscription_filters
            restore_keeps_what_was_recorded
            restore_is_all_or_nothing
            restore_keeps_gaps
            restore_refuses_what_does_not_follow
            restore_can_be_repeated
        }
    };
    (@each $fresh:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let fixture = ($fresh)().await;
                if let Err(violation) = $crate::store::conformance::$case(&fixture).await {
                    panic!("{violation}");
                }
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line of words, without the marks of a documentation comment.
    fn words(text: &str) -> String {
        text.replace("///", " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn contract_cases_and_macro_name_the_same_bullets() {
        let contract: Vec<&str> = include_str!("../mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("/// - `")?.split_once("`:"))
            .map(|(name, _)| name)
            .collect();
        let cases: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
        assert_eq!(contract, cases);

        let source = words(include_str!("mod.rs"));
        let listed = source.split_once("{ @each $fresh; ").unwrap().1.split_once(" }").unwrap().0;
        assert_eq!(listed.split(' ').collect::<Vec<_>>(), cases);
    }
}
