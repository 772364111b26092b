//! Sealing in place what was in clear before the layer was.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::StreamExt as _;

use crate::common::*;
use oubliette::{
    audit::verify::VerifyOptions,
    erasure::ForgetOptions,
    event::{Json, NewEvent, Position, RecordedEvent, StreamName},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Appended, Capabilities, Capability, EventStore, EventStoreExt, EventStream,
        ExpectedRevision, Filter, MemoryStore, ReadAllOptions, ReadOptions, Rewrite, Rewritten,
        SqliteStore, StoreError, Stored, Subscription,
    },
    vault::Vault,
};

const PERSONAL: [&str; 4] = ["Annika", "DE8937", "Bremen", "Settergren"];

async fn in_clear(store: &impl EventStore, copies: usize) {
    for n in 0..copies {
        for (to, event_type, data) in [
            (
                format!("user-{n}"),
                "UserRegistered",
                format!(r#"{{"id":{n},"colour":"red","name":"Annika"}}"#),
            ),
            (
                format!("bankaccount-{n}"),
                "AccountOpened",
                format!(r#"{{"owner":"user-{n}","amount":1.50,"iban":"DE8937"}}"#),
            ),
            (format!("user-{n}"), "UserMoved", format!(r#"{{"id":{n},"town":"Bremen"}}"#)),
            (
                "room-1".to_owned(),
                "Said",
                format!(r#"{{"author":{n},"at":3,"text":"Settergren"}}"#),
            ),
        ] {
            let event = event(event_type, &data)
                .with_metadata(json(r#"{"correlationId":"c-1","by":"Annika"}"#));
            let append = Append::new(stream(&to), ExpectedRevision::Any, vec![event]);
            store.append(vec![append]).await.unwrap();
        }
    }
}

async fn texts(store: &impl EventStore) -> String {
    let mut text = String::new();
    for event in everything(store).await {
        text.push_str(&String::from_utf8_lossy(event.data.unwrap().as_bytes()));
        text.push_str(event.metadata.as_ref().map_or("", Json::as_str));
    }
    text
}

/// How many of the personal words any file below holds.
fn found_in(folder: &Path) -> Vec<&'static str> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let is_in =
            |word: &&&str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
        found.extend(PERSONAL.iter().filter(is_in));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_clear_is_sealed_where_it_is_and_goes_with_its_person() {
    let folder = tempfile::tempdir().unwrap();
    let events = SqliteStore::create(folder.path()).unwrap();
    in_clear(&events, 200).await;
    let before = everything(&events).await;
    assert_eq!(found_in(folder.path()).len(), 2 * PERSONAL.len(), "in the database and in its log");

    let vault = Vault::in_memory().unwrap();
    let bank = Oubliette::open(events.clone(), vault, bank_policy()).await.unwrap();
    let mut told = Vec::new();
    let done = bank.seal_existing(&events, |so_far| told.push(so_far.sealed)).await.unwrap();
    assert_eq!(
        (done.counts.sealed, done.counts.already, done.counts.left),
        (800, 0, 0),
        "{done:?}"
    );
    assert!(told.len() > 4 && told.is_sorted(), "{told:?}");
    // The database, its log, and whatever is beside them: no former contents.
    assert_eq!(found_in(folder.path()), [""; 0]);
    assert_eq!(done.former_contents.len(), 1, "{:?}", done.former_contents);
    let stored = texts(&events).await;
    assert!(PERSONAL.iter().all(|word| !stored.contains(word)));
    assert!(stored.contains(r#""colour":"red""#) && stored.contains(r#""correlationId":"c-1""#));

    // All else stays, and it reads as before.
    let after = everything(&bank).await;
    assert_eq!(after.len(), before.len());
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(
            (&after.stream, after.revision, after.position),
            (&before.stream, before.revision, before.position)
        );
        assert_eq!(
            (after.id, after.recorded, &after.data),
            (before.id, before.recorded, &before.data)
        );
        assert_eq!(after.metadata, before.metadata);
    }
    let again = bank.seal_existing(&events, |_| {}).await.unwrap();
    // What a run that was cut off left is cleared away by the next one.
    assert_eq!(
        (again.counts.sealed, again.counts.already, again.former_contents.len()),
        (0, 800, 1)
    );

    bank.forget(&subject("user-7"), "asked").await.unwrap();
    assert_eq!(shape(&all(&bank, "user-7").await), "ppt");
    assert_eq!(shape(&all(&bank, "bankaccount-7").await), "pt");
    assert!(shape(&all(&bank, "room-1").await).contains('t'));
    assert_eq!(shape(&all(&bank, "user-8").await), "cc");
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    // New events of an old stream are in one piece, as the old ones are.
    put(&bank, "user-8", event("UserMoved", r#"{"id":8,"town":"Jena"}"#)).await.unwrap();
    assert_eq!(all(&bank, "user-8").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sealed_stays_and_is_named() {
    let events = MemoryStore::new();
    in_clear(&events, 3).await;
    let vault = Vault::in_memory().unwrap();
    let bank = Oubliette::open(events.clone(), vault, bank_policy()).await.unwrap();
    // Somebody who is forgotten already, and a name that is refused.
    let options = ForgetOptions { despite_unsealed: true, ..ForgetOptions::default() };
    bank.forget_with(&subject("user-1"), "asked", options, |_| {}).await.unwrap();
    let append =
        Append::new(stream("erika@example.org"), ExpectedRevision::Any, vec![event("T", "{}")]);
    events.append(vec![append]).await.unwrap();
    let done = bank.seal_existing(&events, |_| {}).await.unwrap();
    let left: Vec<_> =
        done.left.iter().map(|left| (left.stream.as_str(), left.revision.0)).collect();
    for expected in [("erika@example.org", 0), ("user-1", 0), ("user-1", 1)] {
        assert!(left.contains(&expected), "{expected:?}: {done:?}");
    }
    let forgotten = done.left.iter().find(|left| left.stream.as_str() == "user-1").unwrap();
    assert!(forgotten.why.contains("forgotten"), "{forgotten:?}");
    // The others of the same call went on.
    assert!(
        shape(&all(&bank, "user-2").await).starts_with("cc") && done.counts.sealed >= 6,
        "{done:?}"
    );
    let stored = everything(&events).await;
    let in_clear = |name: &str| {
        let mut of = stored.iter().filter(|event| event.stream.as_str() == name);
        of.any(|event| {
            String::from_utf8_lossy(event.data.as_ref().unwrap().as_bytes()).contains("Annika")
        })
    };
    assert!(in_clear("user-1") && !in_clear("user-2"));
    assert_eq!(done.counts.left as usize, left.len());
    assert_eq!(
        done.counts.sealed + done.counts.already + done.counts.left,
        everything(&events).await.len() as u64
    );
}

/// Writers go on meanwhile, and somebody is forgotten in the middle: nothing is lost, and nothing of theirs is readable.
#[tokio::test(flavor = "multi_thread")]
async fn writers_and_a_forgetting_go_on_meanwhile() {
    let events = MemoryStore::new();
    in_clear(&events, 100).await;
    let vault = Vault::in_memory().unwrap();
    let bank = Oubliette::open(events.clone(), vault, bank_policy()).await.unwrap();
    let ended = AtomicBool::new(false);
    let writing = async {
        let mut written = 0;
        while !ended.load(Ordering::Relaxed) {
            put(&bank, "user-50", event("UserMoved", r#"{"id":50,"town":"Jena"}"#)).await.unwrap();
            written += 1;
            tokio::task::yield_now().await;
        }
        written
    };
    let sealing = async {
        let done = bank.seal_existing(&events, |_| {}).await.unwrap();
        ended.store(true, Ordering::Relaxed);
        done
    };
    let (written, done) = tokio::join!(writing, sealing);
    assert_eq!((done.counts.sealed, done.counts.left), (400, 0), "{done:?}");
    assert_eq!(all(&bank, "user-50").await.len(), 2 + written);
    assert!(written > 0);
    bank.forget(&subject("user-50"), "asked").await.unwrap();
    let shown = shape(&all(&bank, "user-50").await);
    assert_eq!(shown, "p".repeat(2 + written) + "t");
}

/// What was changed meanwhile is not overwritten.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_otherwise_by_now_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Rewrite>; 2] =
        [Box::new(MemoryStore::new()), Box::new(SqliteStore::create(folder.path()).unwrap())];
    for store in stores {
        let append = Append::new(
            stream("a"),
            ExpectedRevision::Any,
            vec![event("T", "{}"), event("T", "{}")],
        );
        store.append(vec![append]).await.unwrap();
        let there = store.events(&stream("a"), Default::default()).await.unwrap();
        let stored = |text: &str| Stored { data: json(text).into(), metadata: None };
        let rewritten = |at: usize, from: &str, to: &str| Rewritten {
            stream: stream("a"),
            revision: there[at].revision,
            id: there[at].id,
            from: stored(from),
            to: stored(to),
        };
        let other_stream = Rewritten { stream: stream("b"), ..rewritten(0, "{}", "2") };
        let other_id = Rewritten { id: there[1].id, ..rewritten(0, "{}", "3") };
        let with_metadata = Rewritten {
            to: Stored { metadata: Some(json(r#"{"m":1}"#)), ..stored("4") },
            ..rewritten(1, "{}", "4")
        };
        let asked = vec![
            rewritten(0, "1", "5"),
            other_stream,
            other_id,
            with_metadata,
            rewritten(1, "4", "6"),
        ];
        let done = store.rewrite(asked).await.unwrap();
        assert_eq!(done, [false, false, false, true, false], "{store:?}");
        let now = store.events(&stream("a"), Default::default()).await.unwrap();
        assert_eq!(now[0], there[0]);
        assert_eq!(
            (&now[1].data, &now[1].metadata),
            (&Some(json("4").into()), &Some(json(r#"{"m":1}"#)))
        );
        assert_eq!((now[1].position, now[1].recorded), (there[1].position, there[1].recorded));
    }
}

/// An application may have had events of that name long before.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_only_called_a_tombstone_is_not_taken_for_sealed() {
    let events = MemoryStore::new();
    let of_theirs = event("SubjectForgotten", r#"{"iban":"DE8937"}"#);
    put(&events, "user-1", of_theirs).await.unwrap();
    let bank = layer_over(events.clone()).await;
    let done = bank.seal_existing(&events, |_| {}).await.unwrap();
    assert_eq!((done.counts.already, done.counts.left), (0, 1), "{done:?}");
    assert!(done.left[0].why.contains("another type"), "{done:?}");
    // A genuine one is as it should be.
    let events = MemoryStore::new();
    in_clear(&events, 1).await;
    let bank = layer_over(events.clone()).await;
    bank.seal_existing(&events, |_| {}).await.unwrap();
    bank.forget(&subject("user-0"), "asked").await.unwrap();
    let done = bank.seal_existing(&events, |_| {}).await.unwrap();
    assert_eq!((done.counts.sealed, done.counts.left), (0, 0), "{done:?}");
}

/// Somebody goes on writing in clear, in a stream in which the person has no key.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_clear_behind_what_was_sealed_is_not_called_forgotten() {
    let store = MemoryStore::new();
    in_clear(&store, 3).await;
    let bank = layer_over(store.clone()).await;
    assert_eq!(bank.seal_existing(&store, |_| {}).await.unwrap().counts.left, 0);
    assert_eq!(bank.plan(&subject("user-1")).await.unwrap().unsealed_events(), 0);
    said(&store, 1).await;
    said(&store, 2).await;
    for whose in ["user-1", "user-2"] {
        let plan = bank.plan(&subject(whose)).await.unwrap();
        assert_eq!((plan.unsealed_events(), plan.clear_unknown), (1, false), "{whose}");
        assert!(bank.forget(&subject(whose), "asked").await.is_err(), "{whose}");
    }
    assert_eq!(bank.plan(&subject("user-0")).await.unwrap().unsealed_events(), 0);
    // Sealed at the next run, and gone with them.
    assert_eq!(bank.seal_existing(&store, |_| {}).await.unwrap().counts.sealed, 2);
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert!(!texts(&store).await.contains("Settergren"));
}

/// What an application writes to its own table, in clear.
async fn said(store: &impl EventStore, author: u32) {
    let data = format!(r#"{{"author":{author},"at":3,"text":"Settergren"}}"#);
    put(store, "room-9", event("Said", &data)).await.unwrap();
}

/// More than are read again each time rather than noted.
async fn many(store: &impl EventStore) {
    for _ in 0..15 {
        let said = |n| event("Said", &format!(r#"{{"author":{},"at":3,"text":"hello"}}"#, n % 3));
        let some = (0..100).map(said).collect();
        store.append_to(&stream("room-1"), ExpectedRevision::Any, some).await.unwrap();
    }
}

/// An empty store whose owner writes to it as well is looked through, and each event once.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_other_writers_is_looked_through_behind_what_is_known_to_be_sealed() {
    let store = Counted::without(Capability::Sole);
    let bank = layer_over(store.clone()).await;
    many(&bank).await;
    let plan = async |whose: &str| {
        let before = store.read.load(Ordering::SeqCst);
        let plan = bank.plan(&subject(whose)).await.unwrap();
        (plan.unsealed_events(), store.read.load(Ordering::SeqCst) - before)
    };
    let (unsealed, read) = plan("user-1").await;
    assert!(unsealed == 0 && read >= 1_500, "{unsealed} {read}");
    let (unsealed, read) = plan("user-1").await;
    assert!(unsealed == 0 && read < 10, "{unsealed} {read}");
    said(&store.inner, 2).await;
    assert_eq!(plan("user-1").await.0, 0);
    // It is found however often somebody looks, and for whomever.
    assert_eq!((plan("user-2").await.0, plan("user-2").await.0), (1, 1));
    many(&bank).await;
    assert_eq!((plan("user-2").await.0, plan("user-2").await.0), (1, 1));

    let sole = Counted::without(Capability::ReadBackwards);
    let bank = layer_over(sole.clone()).await;
    many(&bank).await;
    let before = sole.read.load(Ordering::SeqCst);
    bank.plan(&subject("user-1")).await.unwrap();
    assert_eq!(sole.read.load(Ordering::SeqCst), before, "nobody else writes to it");
}

/// What the vault knows of a store is nothing of another one: its positions are of other events, or of another kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_moved_or_put_back_is_looked_through_anew() {
    let store = MemoryStore::new();
    in_clear(&store, 3).await;
    let before = everything(&store).await;
    let bank = layer_over(store.clone()).await;
    bank.seal_existing(&store, |_| {}).await.unwrap();
    let sealed = everything(&store).await;
    let vault = bank.vault().unwrap().clone();

    // Each has an event in clear that was not in the first, where all of that was known to be sealed.
    let clear = MemoryStore::new();
    said(&clear, 1).await;
    let clear = everything(&clear).await;
    // The last event is where it was, as it was before; another sealed one is there; and positions are of another kind.
    let put_back = copy_of(&[&clear, &before[1..]].concat(), false).await;
    let moved = copy_of(&[&clear, &sealed[2..], &sealed[1..2]].concat(), false).await;
    let pairs = copy_of(&[&clear, &sealed[1..]].concat(), true).await;
    for (what, other) in [("put back", put_back), ("moved", moved), ("pairs", pairs)] {
        let layer = Oubliette::open(other, vault.clone(), bank_policy()).await.unwrap();
        let plan = layer.plan(&subject("user-1")).await.unwrap();
        assert!(plan.unsealed.iter().any(|one| one.stream == stream("room-9")), "{what}: {plan:?}");
    }
}

async fn copy_of(events: &[RecordedEvent], pairs: bool) -> Counted {
    let to = Counted { inner: MemoryStore::new(), read: Arc::default(), pairs };
    for event in events {
        let new = NewEvent::copy_of(event);
        to.inner.append_to(&event.stream, ExpectedRevision::Any, vec![new]).await.unwrap();
    }
    to
}

/// A stream of theirs whose first event is sealed is passed over, unless somebody else writes to it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_clear_in_a_stream_that_is_passed_over_is_found() {
    let store = MemoryStore::with_capabilities(Capabilities::ALL.without(Capability::Sole));
    let bank = layer_over(store.clone()).await;
    put(&bank, "user-1", event("UserMoved", r#"{"id":1,"town":"Bremen"}"#)).await.unwrap();
    put(&bank, "ledger-1", event("LedgerOpened", r#"{"account":"x"}"#)).await.unwrap();
    let clear = r#"{"account":"x","counterparty":{"user":"user-1","iban":"DE8937"}}"#;
    put(&bank, "ledger-1", event("Paid", clear)).await.unwrap();
    put(&store, "ledger-1", event("Paid", clear)).await.unwrap();
    let refused = bank.forget(&subject("user-1"), "asked").await.unwrap_err();
    assert!(refused.to_string().contains("1 event"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_look_that_is_said() {
    let none = Capabilities::ALL.without(Capability::ReadAll).without(Capability::Subscribe);
    let store = MemoryStore::with_capabilities(none);
    said(&store, 1).await;
    let policy =
        Policy::parse("[[stream]]\nmatch = 'room-{id}'\nsubject = 'user-{/author}'").unwrap();
    let bank = Oubliette::open(store, Vault::in_memory().unwrap(), policy).await.unwrap();
    put(&bank, "room-7", event("Said", r#"{"author":1,"at":3}"#)).await.unwrap();
    assert!(bank.plan(&subject("user-1")).await.unwrap().clear_unknown);
    assert!(bank.forget(&subject("user-1"), "asked").await.unwrap().clear_unknown);
}

/// A store that counts the events that are read of all streams.
#[derive(Debug, Clone)]
struct Counted {
    inner: MemoryStore,
    read: Arc<AtomicUsize>,
    /// Its positions are pairs.
    pairs: bool,
}

impl Counted {
    fn without(lacking: Capability) -> Self {
        let inner = MemoryStore::with_capabilities(Capabilities::ALL.without(lacking));
        Self { inner, read: Arc::default(), pairs: false }
    }
}

#[async_trait]
impl EventStore for Counted {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.inner.append(appends).await
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        self.inner.read(stream, options)
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        if let (true, Some(after)) = (self.pairs, options.after) {
            // It is read to the end once, and nothing behind a position of its own.
            return futures::stream::iter([Err(StoreError::ForeignPosition(after))]).boxed();
        }
        let (read, pairs) = (Arc::clone(&self.read), self.pairs);
        let counting = move |event: Result<RecordedEvent, StoreError>| {
            read.fetch_add(1, Ordering::SeqCst);
            event.map(|mut event| {
                if let (true, Some(number)) = (pairs, event.position.as_number()) {
                    event.position = Position::pair(0, number);
                }
                event
            })
        };
        self.inner.read_all(options).map(counting).boxed()
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        self.inner.subscribe(after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}
