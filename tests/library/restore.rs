//! Moving sealed events from one store to another, beneath the layer.

#![allow(clippy::unwrap_used)]

use crate::common::*;
use oubliette::{
    audit::verify::VerifyOptions,
    event::{EventId, NewEvent, Position, RecordedEvent, Revision},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Capabilities, Capability, Comparison, Copied, EventStore, ExpectedRevision,
        MemoryStore, Refused, Rewrite, SqliteStore, StoreError, compare, copy, copy_except,
    },
    vault::Vault,
};

async fn bank() -> Oubliette<MemoryStore> {
    let bank = layer().await;
    for (to, event_type, data) in [
        ("user-1", "UserRegistered", r#"{"id":1,"colour":"red","name":"Erika","plate":"B-XY 1"}"#),
        ("user-2", "UserRegistered", r#"{"id":2,"name":"Otto"}"#),
        ("bankaccount-1", "AccountOpened", r#"{"owner":"user-1","amount":1.50,"iban":"DE89"}"#),
        ("bankaccount-2", "AccountOpened", r#"{"owner":"user-2","iban":"DE02"}"#),
        ("room-1", "Said", r#"{"author":1,"at":3,"text":"first"}"#),
        ("room-1", "Said", r#"{"author":2,"at":4,"text":"second"}"#),
    ] {
        put(&bank, to, event(event_type, data)).await.unwrap();
    }
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    put(&bank, "user-2", event("UserMoved", r#"{"id":2,"town":"Bremen"}"#)).await.unwrap();
    bank
}

/// Without what a move changes.
fn as_recorded(mut events: Vec<RecordedEvent>, restored: bool) -> Vec<RecordedEvent> {
    for event in &mut events {
        assert_eq!(event.restored.take().is_some(), restored);
        event.position = Position::number(0);
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_moved_beneath_the_layer_reads_as_before() {
    let old = bank().await;
    let folder = tempfile::tempdir().unwrap();
    let new = SqliteStore::create(folder.path()).unwrap();
    let stored = everything(old.store()).await;
    assert!(stored.len() > 10, "halves, tombstones and an announcement, too");
    // In pieces, and one of them again, as after a cut.
    for piece in stored.chunks(5).chain(stored.chunks(5).take(2)) {
        new.restore(piece.to_vec()).await.unwrap();
    }
    let moved = everything(&new).await;
    assert_eq!(as_recorded(moved, true), as_recorded(stored, false));

    let vault = old.vault().unwrap().clone();
    let layer = Oubliette::open(new, vault, bank_policy()).await.unwrap();
    let (before, after) = (everything(&old).await, everything(&layer).await);
    assert_eq!(as_recorded(after, true), as_recorded(before, false));
    assert!(!layer.witnessed().gap);
    for name in ["user-1", "user-2", "bankaccount-1", "bankaccount-2", "room-1"] {
        assert_eq!(shape(&all(&layer, name).await), shape(&all(&old, name).await), "{name}");
    }
    let report = layer.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.events.tombstones, 3);

    // It goes on: the revision of the new event follows.
    let moved = put(&layer, "user-2", event("UserMoved", r#"{"id":2,"town":"Jena"}"#)).await;
    assert_eq!(moved.unwrap().revision.0, 2);
    layer.forget(&subject("user-2"), "asked").await.unwrap();
    assert_eq!(shape(&all(&layer, "user-2").await), "pppt");
}

/// What was in clear before the layer was, comes in sealed: with its ids, times, revisions and order.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_through_the_layer_is_sealed_and_keeps_its_times() {
    let clear = MemoryStore::new();
    for (to, event_type, data) in [
        ("user-3", "UserRegistered", r#"{"id":3,"colour":"red","name":"Annika"}"#),
        ("bankaccount-3", "AccountOpened", r#"{"owner":"user-3","amount":1.50,"iban":"DE89"}"#),
        ("room-3", "Said", r#"{"author":3,"at":3,"text":"first"}"#),
        ("user-3", "UserMoved", r#"{"id":3,"town":"Bremen"}"#),
    ] {
        let append = Append::new(stream(to), ExpectedRevision::Any, vec![event(event_type, data)]);
        clear.append(vec![append]).await.unwrap();
    }
    let before = everything(&clear).await;
    let bank = layer().await;
    // In pieces, and one of them again, as after a cut.
    for piece in before.chunks(3).chain(before.chunks(3)) {
        let answers = bank.restore(piece.to_vec()).await.unwrap();
        assert_eq!(answers.len(), piece.len());
    }
    let stored = everything(bank.store()).await;
    let text = format!(
        "{:?}",
        stored
            .iter()
            .map(|e| e.data.as_ref().unwrap().as_bytes().to_vec())
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect::<Vec<_>>()
    );
    for personal in ["Annika", "DE89", "first", "Bremen"] {
        assert!(!text.contains(personal), "{personal}: {text}");
    }
    assert!(text.contains("red") && text.contains("1.50"), "{text}");
    let read = everything(&bank).await;
    assert_eq!(read.len(), before.len());
    for (read, before) in read.iter().zip(&before) {
        assert_eq!(
            (&read.stream, read.revision, read.id),
            (&before.stream, before.revision, before.id)
        );
        assert_eq!((read.recorded, &read.data), (before.recorded, &before.data));
        assert!(read.restored.is_some());
    }
    // What it states counts: the account goes with its owner.
    bank.forget(&subject("user-3"), "asked").await.unwrap();
    assert_eq!(shape(&all(&bank, "user-3").await), "ppt");
    assert_eq!(shape(&all(&bank, "bankaccount-3").await), "pt");
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    // Nothing of a forgotten person comes in again under another id.
    let mut again = before[0].clone();
    (again.id, again.revision) = (EventId::random(), Revision(3));
    let refused = bank.restore(vec![again]).await;
    assert!(matches!(refused, Err(StoreError::Forgotten { .. })), "{refused:?}");
}

/// A bank whose rooms are of several people, each event in two halves.
async fn with_split_rooms<S: EventStore>(store: S) -> Oubliette<S> {
    let policy = r#"
        [[stream]]
        match = "room-{id}"
        layout = "split"
        subject = "user-{/author}"
        otherwise = "stream"
        public = ["/author", "/at"]
        "#;
    let policy = Policy::parse(policy).unwrap();
    Oubliette::open(store, Vault::in_memory().unwrap(), policy).await.unwrap()
}

/// A room of which the private halves of one who is forgotten are purged, the last one among them.
async fn with_purged_halves<S: Rewrite + Clone>(store: S) -> Oubliette<S> {
    let bank = with_split_rooms(store.clone()).await;
    for author in [1, 2, 1] {
        put(&bank, "room-1", said(author)).await.unwrap();
    }
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let purged = bank.purge(&store, |_| {}).await.unwrap();
    assert_eq!(purged.counts.removed, 2, "{purged:?}");
    bank
}

fn said(author: u32) -> NewEvent {
    event("Said", &format!(r#"{{"author":{author},"at":1,"text":"hello"}}"#))
}

/// The last revision of the private stream is used up, and no read shows it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_behind_a_purged_half_is_taken() {
    async fn holds<S: Rewrite + Clone>(store: S) {
        let bank = with_purged_halves(store).await;
        let before = all(&bank, "room-1").await;
        let last = before.last().unwrap();
        let clear = MemoryStore::new();
        for _ in 0..3 {
            put(&clear, "room-1", said(2)).await.unwrap();
        }
        let mut more = everything(&clear).await;
        for event in &mut more {
            event.revision.0 += last.revision.0 + 1;
        }
        let done = bank.restore(more.clone()).await.unwrap();
        assert!(done.iter().all(|done| !done.already));
        let after = all(&bank, "room-1").await;
        assert_eq!(shape(&after), shape(&before) + "ccc");
        let done = bank.restore(more).await.unwrap();
        assert!(done.iter().all(|done| done.already));
        assert!(bank.verify(VerifyOptions::default(), |_| {}).await.unwrap().is_clean());
    }
    holds(MemoryStore::new()).await;
    let folder = tempfile::tempdir().unwrap();
    holds(SqliteStore::create(folder.path()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_which_halves_were_purged_is_copied_as_it_is() {
    let bank = with_purged_halves(MemoryStore::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let new = SqliteStore::create(folder.path()).unwrap();
    let copied = copy(bank.store(), &new, None, &mut Some, &mut |_| {}).await.unwrap();
    let same = compare(bank.store(), &new, &mut Some, &mut |_| {}).await.unwrap();
    assert_eq!(same, Comparison::Same { events: copied.written, later: 0 });
    let again = copy(bank.store(), &new, None, &mut Some, &mut |_| {}).await.unwrap();
    assert_eq!((again.written, again.already), (0, copied.written));

    let vault = bank.vault().unwrap().clone();
    let moved = Oubliette::open(new, vault, bank.policy().clone()).await.unwrap();
    let (before, after) = (everything(&bank).await, everything(&moved).await);
    assert_eq!(as_recorded(after, true), as_recorded(before, false));
    assert!(moved.verify(VerifyOptions::default(), |_| {}).await.unwrap().is_clean());
    put(&moved, "room-1", said(2)).await.unwrap();
    assert_eq!(shape(&all(&moved, "room-1").await).chars().last(), Some('c'));
}

/// The old application goes on, one of those who write in a room is forgotten, and what the others wrote comes over.
#[tokio::test(flavor = "multi_thread")]
async fn who_lives_loses_nothing_behind_somebody_forgotten() {
    for (keeps, splits) in [(true, false), (true, true), (false, false)] {
        let clear = MemoryStore::new();
        for author in [1, 2, 1, 2] {
            put(&clear, "room-1", said(author)).await.unwrap();
        }
        let capabilities = match keeps {
            true => Capabilities::ALL,
            false => Capabilities::ALL.without(Capability::Restore),
        };
        let store = MemoryStore::with_capabilities(capabilities);
        let bank = match splits {
            true => with_split_rooms(store).await,
            false => layer_over(store).await,
        };
        let mut refused = Vec::new();
        let copied = copying(&clear, &bank, &mut refused).await;
        assert_eq!((copied.written, copied.refused), (4, 0));
        bank.forget(&subject("user-1"), "asked").await.unwrap();
        for author in [2, 2, 1, 2, 1] {
            put(&clear, "room-1", said(author)).await.unwrap();
        }
        let copied = copying(&clear, &bank, &mut refused).await;
        // An append of somebody forgotten is refused, whether the event is there or not.
        let gone = if keeps { 0 } else { 2 };
        let counts = |copied: Copied| (copied.written, copied.already, copied.refused);
        assert_eq!(counts(copied), (3, 4 - gone, 2 + gone), "{keeps}");
        assert_eq!(refused.len() as u64, 2 + gone);
        // Those who came behind the tombstone are there once, however often it is repeated.
        let copied = copying(&clear, &bank, &mut refused).await;
        assert_eq!(counts(copied), (0, 7 - gone, 2 + gone), "{keeps}");
        // And so are their private halves.
        let halves = all(bank.store(), "room-private-1").await.len();
        assert_eq!(halves, if splits { 7 } else { 0 });
        let of_two: Vec<_> = everything(&clear).await;
        let of_two: Vec<_> = of_two.iter().filter(|e| text(e).contains("\"author\":2")).collect();
        let there = all(&bank, "room-1").await;
        let there: Vec<_> = there.iter().filter(|e| text(e).contains("hello")).collect();
        assert_eq!(
            there.iter().map(|event| event.id).collect::<Vec<_>>(),
            of_two.iter().map(|event| event.id).collect::<Vec<_>>()
        );
        let mut living =
            |event: RecordedEvent| Some(event).filter(|e| text(e).contains("\"author\":2"));
        let same = compare(&clear, &bank, &mut living, &mut |_| {}).await.unwrap();
        // Behind the tombstone; the third finds its place free, because one before it was left out.
        let later = if keeps { 2 } else { 0 };
        assert_eq!(same, Comparison::Same { events: 5, later }, "{keeps}");
        let found = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        assert!(found.is_clean(), "{found:?}");
    }
}

async fn copying(
    from: &MemoryStore,
    to: &Oubliette<MemoryStore>,
    refused: &mut Vec<EventId>,
) -> Copied {
    refused.clear();
    let mut when_refused = |event: &RecordedEvent, error: &StoreError| match error {
        StoreError::Forgotten { .. } => {
            refused.push(event.id);
            Refused::LeftOut
        }
        StoreError::Conflict { .. } => Refused::Later,
        _ => Refused::Ends,
    };
    copy_except(from, to, None, &mut Some, &mut when_refused, &mut |_| {}).await.unwrap()
}

#[tokio::test]
async fn restoring_is_no_way_around_sealing() {
    let bank = bank().await;
    // What is sealed moves beneath the layer: here its tokens would be taken for a payload.
    for sealed in everything(bank.store()).await {
        let refused = layer().await.restore(vec![sealed]).await;
        assert!(refused.is_err(), "{refused:?}");
    }

    // What the layer opened is not what was recorded, and no store takes it for that.
    let opened = everything(&bank).await;
    assert!(opened.len() > 8);
    for event in opened {
        let (target, what) = (MemoryStore::new(), event.clone());
        let refused = target.restore(vec![event.clone()]).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{what:?}: {refused:?}");
        let refused = layer().await.restore(vec![event]).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{what:?}: {refused:?}");
    }
}

/// Two restores of the same, at once, and one that nobody waits for: whole, and once.
#[tokio::test(flavor = "multi_thread")]
async fn restores_at_once_seal_each_event_once() {
    let clear = MemoryStore::new();
    let events = (0..40).map(|n| event("UserMoved", &format!(r#"{{"id":{n},"town":"Bremen"}}"#)));
    let append = Append::new(stream("user-4"), ExpectedRevision::Any, events.collect());
    clear.append(vec![append]).await.unwrap();
    let before = everything(&clear).await;
    let bank = layer().await;
    let restore = || bank.restore(before.clone());
    let (one, two, three) = tokio::join!(restore(), restore(), restore());
    assert!([&one, &two, &three].iter().any(|done| done.is_ok()), "{one:?} {two:?} {three:?}");
    drop(tokio::time::timeout(std::time::Duration::from_micros(50), restore()).await);
    restore().await.unwrap();
    assert_eq!(all(&bank, "user-4").await.len(), 40);
    assert!(bank.verify(VerifyOptions::default(), |_| {}).await.unwrap().is_clean());
}
