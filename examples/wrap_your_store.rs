//! A store of your own behind the layer: here one list in memory, where yours has a database.
//!
//! [`Shelf`] is the adapter. The conformance suite says whether it keeps the contract of
//! [`EventStore`], first by itself, then with the layer on it, and at last with a mistake in it,
//! so that you see the suite find one. Then somebody is forgotten in it.
//!
//! ```text
//! cargo run --features conformance --example wrap_your_store
//! ```
#![allow(clippy::print_stdout)]

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use oubliette::{
    event::{Json, NewEvent, Position, RecordedEvent, Revision, StreamName, Subject, Timestamp},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Appended, Capabilities, Capability, Delivery, Direction, EventStore, EventStoreExt,
        EventStream, ExpectedRevision, Filter, Known, ReadAllOptions, ReadOptions, StoreError,
        Subscription, answer_retry, check_appends,
        conformance::{CASES, Fixture, Violation, run_all},
    },
    vault::Vault,
};
use tokio::sync::watch;

/// All events in one list: an event's position is its index. A store that keeps JSON as text reads it back with
/// `Json::trusted`.
#[derive(Debug, Clone)]
struct Shelf {
    events: Arc<Mutex<Vec<RecordedEvent>>>,
    /// How many there are; subscriptions wait on it.
    count: watch::Sender<usize>,
    /// A mistake, to see the suite find it: expected revisions are not looked at.
    forget_the_conflict: bool,
}

impl Shelf {
    fn new(forget_the_conflict: bool) -> Self {
        Self { events: Arc::default(), count: watch::Sender::new(0), forget_the_conflict }
    }

    /// What is there now. A database would page; the contract asks only that a read be lazy.
    fn all(&self) -> Vec<RecordedEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl EventStore for Shelf {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        // What is malformed is so for every store.
        check_appends(&appends, self.capabilities())?;
        // One lock for the whole call is what makes it all or nothing, and one writer win.
        let mut shelf = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |id, stream: &StreamName| {
            let known = shelf.iter().find(|event| event.id == id);
            Ok(known.map(|event| Known {
                same_stream: event.stream == *stream,
                revision: event.revision,
                position: event.position,
            }))
        };
        if let Some(done) = answer_retry(&appends, find)? {
            return Ok(done);
        }
        for Append { stream, expected, .. } in &appends {
            let last = shelf.iter().rev().find(|event| event.stream == *stream);
            let last = last.map(|event| event.revision);
            if !expected.matches(last) && !self.forget_the_conflict {
                let (stream, expected) = (stream.clone(), *expected);
                return Err(StoreError::Conflict { stream, expected, actual: Some(last.into()) });
            }
        }
        let mut done = Vec::new();
        for Append { stream, events, .. } in appends {
            let mut revision = shelf.iter().filter(|event| event.stream == stream).count() as u64;
            for NewEvent { id, event_type, data, metadata, .. } in events {
                let (at, now) = (Position::number(shelf.len() as u64), Timestamp::now());
                let (stream, revision_now) = (stream.clone(), Revision(revision));
                shelf.push(RecordedEvent::plain(
                    stream,
                    revision_now,
                    at,
                    id,
                    event_type,
                    now,
                    data,
                    metadata,
                ));
                revision += 1;
            }
            let (revision, position) =
                (Revision(revision - 1), Position::number(shelf.len() as u64 - 1));
            done.push(Appended { revision, position, already: false });
        }
        self.count.send_replace(shelf.len());
        Ok(done)
    }

    /// For moving events between stores. The shelf could, but need not.
    async fn restore(&self, _: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        Err(StoreError::Unsupported(Capability::Restore))
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let ReadOptions { from, direction, limit, .. } = options;
        let mut found = self.all();
        found.retain(|event| event.stream == *stream);
        in_order(found, direction, limit, |event| match (direction, from) {
            (_, None) => true,
            (Direction::Forwards, Some(from)) => event.revision >= from,
            (Direction::Backwards, Some(from)) => event.revision <= from,
        })
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        let ReadAllOptions { after, direction, limit, .. } = options;
        if let Err(error) = after.map(index).transpose() {
            return stream::iter([Err(error)]).boxed();
        }
        in_order(self.all(), direction, limit, |event| match (direction, after) {
            (_, None) => true,
            (Direction::Forwards, Some(after)) => event.position > after,
            (Direction::Backwards, Some(before)) => event.position < before,
        })
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        let next = match after.map(index).transpose() {
            Ok(after) => after.map_or(0, |after| after.saturating_add(1)),
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        // Whoever waited there would miss what comes before it.
        if let Some(after) = after.filter(|_| next > self.all().len()) {
            return stream::iter([Err(StoreError::ForeignPosition(after))]).boxed();
        }
        let (shelf, counter) = (self.clone(), self.count.subscribe());
        let start = (next, Some(*self.count.borrow()));
        stream::unfold((shelf, counter, filter, start), |mut state| async move {
            let (shelf, counter, filter, (next, old)) = &mut state;
            loop {
                if old.is_some_and(|old| *next >= old) {
                    *old = None;
                    return Some((Ok(Delivery::CaughtUp), state));
                }
                // The sender lives in `shelf`, so that this fails never.
                let _ = counter.wait_for(|count| *count > *next).await;
                let event = shelf.all().swap_remove(*next);
                *next += 1;
                if filter.passes(&event.stream, &event.event_type) {
                    return Some((Ok(Delivery::Event(event)), state));
                }
            }
        })
        .boxed()
    }

    /// What a store cannot do it does not name here, and refuses with `Unsupported`.
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&[
            Capability::AtomicMultiStream,
            Capability::ReadBackwards,
            Capability::ReadAll,
            Capability::Subscribe,
            Capability::Bytes,
            Capability::Verbatim,
            Capability::LongNumbers,
            Capability::Nul,
            Capability::Sole,
        ])
    }
}

/// The index that a position is, if it is one of ours.
fn index(position: Position) -> Result<usize, StoreError> {
    let number = position.as_number().ok_or(StoreError::ForeignPosition(position))?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// The events that are wanted, in a direction.
fn in_order(
    mut events: Vec<RecordedEvent>,
    direction: Direction,
    limit: Option<usize>,
    wanted: impl Fn(&RecordedEvent) -> bool,
) -> EventStream {
    events.retain(wanted);
    if direction == Direction::Backwards {
        events.reverse();
    }
    stream::iter(events).take(limit.unwrap_or(usize::MAX)).map(Ok).boxed()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("The contract has {} bullets; each is a case of the suite.\n", CASES.len());

    let bare = run_all(|| async { Fixture::new(Shelf::new(false)) }).await;
    assert!(report("the shelf, bare", bare).is_empty());

    let layered = run_all(|| async { Fixture::new(under_the_layer().await) }).await;
    assert!(report("the shelf under the layer", layered).is_empty());

    let broken = run_all(|| async { Fixture::new(Shelf::new(true)) }).await;
    let found = report("the shelf without conflicts", broken);
    assert!(found.contains(&"stale_append_writes_nothing"), "the suite can fail");

    let store = under_the_layer().await;
    let user = StreamName::new("user-456")?;
    let event = NewEvent::new("Registered".parse()?, Json::parse(r#"{"name":"Annika"}"#)?);
    store.append_to(&user, ExpectedRevision::NoStream, vec![event]).await?;
    store.forget(&Subject::of(&user), "the user asked").await?;
    println!("forgotten, on the shelf:");
    for event in store.events(&user, ReadOptions::default()).await? {
        let state = if event.shredded.is_empty() { "readable" } else { "shredded" };
        println!("  revision {}  {:<17} {state}", event.revision, event.event_type);
    }
    Ok(())
}

async fn under_the_layer() -> Oubliette<Shelf> {
    let vault = Vault::in_memory().expect("random bytes");
    let policy = Policy::sealed_by_default();
    Oubliette::open(Shelf::new(false), vault, policy).await.expect("nothing to resume")
}

fn report(what: &str, outcome: Result<(), Vec<Violation>>) -> Vec<&'static str> {
    let violations = outcome.err().unwrap_or_default();
    let kept = CASES.len() - violations.len();
    println!("{what}: {kept} of {} bullets kept", CASES.len());
    for violation in &violations {
        println!("  ✗ {}: {}", violation.case, violation.what);
    }
    println!();
    violations.iter().map(|violation| violation.case).collect()
}
