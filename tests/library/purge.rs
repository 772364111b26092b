//! Purging: what nobody can read any more goes from the store, and nothing else changes.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::atomic::Ordering};

use crate::{common::*, wanted::Watched};
use oubliette::{
    audit::verify::VerifyOptions,
    event::{EventType, NewEvent, Payload, RecordedEvent},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, Purge, Removed, Rewrite,
        Rewritten, SqliteStore, StoreError, Stored,
    },
    vault::Vault,
};

/// A policy with one layout for people, whose accounts are theirs, and letters of which a part is the receiver's.
fn policy(layout: &str) -> Policy {
    let public = if layout == "sealed" { "" } else { r#"public = ["/id", "/colour"]"# };
    Policy::parse(&format!(
        r#"
        [[stream]]
        match = "user-{{id}}"
        layout = "{layout}"
        {public}

        [[stream]]
        match = "account-{{id}}"
        layout = "inline"
        public = ["/owner", "/amount"]
        owner = [ {{ event = "AccountOpened", add = "{{/owner}}" }} ]

        [[stream]]
        match = "letter-{{id}}"
        layout = "{layout}"
        {public}
        [[stream.field]]
        pointer = "/to/name"
        subject = "{{/to/user}}"
        "#
    ))
    .unwrap()
}

/// Events of three people.
async fn live(bank: &impl EventStore) {
    for n in 0..3 {
        for (to, event_type, data) in [
            (
                format!("user-{n}"),
                "UserRegistered",
                format!(r#"{{"id":{n},"colour":"red","name":"Annika"}}"#),
            ),
            (
                format!("account-{n}"),
                "AccountOpened",
                format!(r#"{{"owner":"user-{n}","amount":1.50,"iban":"DE8937"}}"#),
            ),
            (format!("user-{n}"), "UserMoved", format!(r#"{{"id":{n},"town":"Bremen"}}"#)),
        ] {
            let event = event(event_type, &data).with_metadata(json(r#"{"by":"Annika"}"#));
            put(bank, &to, event).await.unwrap();
        }
        let photo = NewEvent::new(
            EventType::new("UserPhotographed").unwrap(),
            Payload::Bytes(vec![7; 300].into()),
        );
        put(bank, &format!("user-{n}"), photo).await.unwrap();
    }
}

/// What a reader sees of all events.
fn seen(events: &[RecordedEvent]) -> Vec<String> {
    let one = |event: &RecordedEvent| {
        let RecordedEvent { stream, revision, position, id, event_type, recorded, .. } = event;
        let parts = (&event.data, &event.metadata, &event.shredded, &event.withheld, &event.keys);
        format!("{stream} {revision} {position:?} {id} {event_type} {recorded} {parts:?}")
    };
    events.iter().map(one).collect()
}

/// The texts of all tokens in a store, with their ciphertext.
async fn tokens(store: &impl EventStore) -> Vec<Vec<u8>> {
    let mut tokens = Vec::new();
    for event in everything(store).await {
        match event.data.unwrap() {
            Payload::Bytes(bytes) => tokens.push(bytes.to_vec()),
            Payload::Json(json) => {
                let value: serde_json::Value = serde_json::from_str(json.as_str()).unwrap();
                for token in value["$sealed"].as_array().into_iter().flatten() {
                    tokens.push(token.as_str().unwrap().as_bytes().to_vec());
                }
            }
        }
    }
    tokens
}

/// Which of these are in the files of a folder.
fn in_files(folder: &Path, texts: &[Vec<u8>]) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let files: Vec<_> = files.collect();
    let is_in = |text: &&Vec<u8>| {
        // What is after the key id and the nonce: a stub has those as well.
        let end = &text[text.len() / 2..];
        files.iter().any(|file| file.windows(end.len()).any(|window| window == end))
    };
    texts.iter().filter(is_in).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_goes_and_all_reads_as_before() {
    for layout in ["sealed", "inline", "split"] {
        let folder = tempfile::tempdir().unwrap();
        let events = SqliteStore::create(folder.path()).unwrap();
        let vault = Vault::in_memory().unwrap();
        let bank = Oubliette::open(events.clone(), vault, policy(layout)).await.unwrap();
        live(&bank).await;
        let all_tokens = tokens(&events).await;
        assert_eq!(bank.storage(|_| ()).await.unwrap().total().dead_bytes, 0);
        let nothing = bank.purge(&events, |_| ()).await.unwrap();
        assert_eq!(
            (nothing.counts.removed, nothing.counts.emptied, nothing.counts.events),
            (0, 0, 12)
        );

        bank.forget(&subject("user-1"), "asked").await.unwrap();
        let before = seen(&everything(&bank).await);
        let storage = bank.storage(|_| ()).await.unwrap();
        let dead = storage.total().dead_bytes;
        assert!(dead > 4 * 60 && storage.own_events > 0, "{storage:?}");
        let user = storage.families.iter().find(|one| one.family.as_deref() == Some("user-{id}"));
        assert_eq!(user.map(|one| (one.events, one.dead_events)), Some((9, 3)), "{storage:?}");

        let mut told = Vec::new();
        let done = bank.purge(&events, |so_far| told.push(so_far)).await.unwrap();
        let (removed, emptied) = if layout == "split" { (3, 1) } else { (0, 4) };
        assert_eq!(
            (done.counts.removed, done.counts.emptied, done.counts.left),
            (removed, emptied, 0),
            "{layout}: {done:?}"
        );
        assert_eq!((done.counts.bytes, told.last()), (dead, Some(&done.counts)));
        assert_eq!(done.former_contents.len(), 1, "{:?}", done.former_contents);

        assert_eq!(seen(&everything(&bank).await), before, "{layout}");
        assert_eq!(shape(&all(&bank, "user-0").await), "ccc", "{layout}");
        let left = tokens(&events).await;
        let gone: Vec<_> =
            all_tokens.iter().filter(|token| !left.contains(token)).cloned().collect();
        assert_eq!(gone.len(), 4, "{layout}");
        assert_eq!(in_files(folder.path(), &gone), 0, "{layout}");
        if layout == "split" {
            assert_eq!(all(&events, "user-private-1").await.len(), 0);
            assert_eq!(all(&events, "user-public-1").await.len(), 4, "with the tombstone");
        }
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        assert!(report.is_clean(), "{layout}: {:?}", report.found);
        assert_eq!(bank.storage(|_| ()).await.unwrap().total().dead_bytes, 0);
        let again = bank.purge(&events, |_| ()).await.unwrap();
        assert_eq!(
            // What a purge that was cut off left is cleared away by the next one.
            (again.counts.removed, again.counts.emptied, again.former_contents.len()),
            (0, 0, 1),
            "{layout}"
        );
        let shape = shape(&all(&bank, "user-1").await);
        assert_eq!(shape, if layout == "sealed" { "ssst" } else { "ppst" }, "{layout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_event_that_lives_in_part_the_dead_part_goes() {
    for layout in ["sealed", "inline", "split"] {
        let events = MemoryStore::new();
        let vault = Vault::in_memory().unwrap();
        let bank = Oubliette::open(events.clone(), vault, policy(layout)).await.unwrap();
        let letter = r#"{"id":1,"to":{"user":"user-2","name":"Tommy"},"text":"Dear Tommy"}"#;
        put(&bank, "letter-1", event("LetterSent", letter)).await.unwrap();
        put(&bank, "user-2", event("UserRegistered", r#"{"id":2,"name":"Tommy"}"#)).await.unwrap();
        bank.forget(&subject("user-2"), "asked").await.unwrap();
        let before = seen(&everything(&bank).await);
        assert_eq!(shape(&all(&bank, "letter-1").await), "pt", "{layout}");

        let done = bank.purge(&events, |_| ()).await.unwrap();
        assert_eq!(done.counts.removed, u64::from(layout == "split"), "{layout}: {done:?}");
        assert_eq!(
            done.counts.emptied,
            if layout == "split" { 1 } else { 2 },
            "{layout}: {done:?}"
        );
        assert_eq!(seen(&everything(&bank).await), before, "{layout}");
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        assert!(report.is_clean(), "{layout}: {:?}", report.found);

        // And the rest, once that is forgotten as well.
        bank.forget(&subject("letter-1"), "asked").await.unwrap();
        let done = bank.purge(&events, |_| ()).await.unwrap();
        assert_eq!(done.counts.removed + done.counts.emptied, 1, "{layout}: {done:?}");
        let shape = shape(&all(&bank, "letter-1").await);
        assert_eq!(shape, if layout == "sealed" { "stt" } else { "ptt" }, "{layout}");
        assert_eq!(bank.storage(|_| ()).await.unwrap().total().dead_bytes, 0, "{layout}");
    }
}

/// The person comes back, and a writer from before the forgetting tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_as_before_the_purge() {
    for layout in ["sealed", "inline", "split"] {
        let events = MemoryStore::new();
        let vault = Vault::in_memory().unwrap();
        let bank = Oubliette::open(events.clone(), vault, policy(layout)).await.unwrap();
        let user = stream("user-1");
        let two = || {
            let one = event("UserRegistered", r#"{"id":1,"colour":"red","name":"Annika"}"#);
            vec![one, event("UserMoved", r#"{"id":1,"town":"Bremen"}"#)]
        };
        let first = two();
        let append = |events: &[NewEvent]| {
            vec![Append::new(user.clone(), ExpectedRevision::Any, events.to_vec())]
        };
        let written = bank.append(append(&first)).await.unwrap();
        bank.forget(&subject("user-1"), "asked").await.unwrap();
        bank.reopen(&subject("user-1")).await.unwrap();
        put(&bank, "user-1", event("UserRegistered", r#"{"id":1,"name":"Annika"}"#)).await.unwrap();
        let retried = bank.append(append(&first)).await.unwrap();
        assert!(retried[0].already && retried[0].revision == written[0].revision);
        let stored = everything(&events).await.len();

        let done = bank.purge(&events, |_| ()).await.unwrap();
        assert_eq!(done.counts.removed + done.counts.emptied, 2, "{layout}");
        assert_eq!(bank.append(append(&first)).await.unwrap(), retried, "{layout}");
        let gone = usize::try_from(done.counts.removed).unwrap();
        assert_eq!(everything(&events).await.len(), stored - gone, "{layout}: doubled");
        // Another event under that id is still another one, and a retry of half an append is none.
        let mut other = first.clone();
        other[0].event_type = EventType::new("UserLeft").unwrap();
        let error = bank.append(append(&other)).await.unwrap_err();
        assert!(matches!(error, StoreError::OtherContent { .. }), "{layout}: {error}");
        let mut half = first.clone();
        half[1] = two().remove(1);
        let error = bank.append(append(&half)).await.unwrap_err();
        assert!(matches!(error, StoreError::IdInUse { .. }), "{layout}: {error}");
        let shape = shape(&all(&bank, "user-1").await);
        assert_eq!(shape, if layout == "sealed" { "sstc" } else { "pptc" }, "{layout}");
    }
}

/// Whoever can write to the store could have anything purged by the id of a key that is dead.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nothing_vouches_for_stays() {
    let events = MemoryStore::new();
    let vault = Vault::in_memory().unwrap();
    let bank = Oubliette::open(events.clone(), vault, policy("inline")).await.unwrap();
    live(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let dead = all(&events, "user-1").await.remove(0);
    let living = all(&events, "user-0").await.remove(0);
    // The living event's token under the dead one's key id.
    let token = |event: &RecordedEvent| {
        let value: serde_json::Value = serde_json::from_str(&text(event)).unwrap();
        value["$sealed"][0].as_str().unwrap().to_owned()
    };
    let (dead_token, living_token) = (token(&dead), token(&living));
    // Version, algorithm and key id are 22 bytes: 29 characters and a part of the next. So one more of the nonce is of the dead.
    let forged = format!("{}{}", &dead_token[..30], &living_token[30..]);
    let from = Stored { data: living.data.clone().unwrap(), metadata: living.metadata.clone() };
    let data = json(&text(&living).replace(&living_token, &forged)).into();
    let to = Stored { data, metadata: living.metadata.clone() };
    let change = Rewritten {
        stream: living.stream.clone(),
        revision: living.revision,
        id: living.id,
        from,
        to,
    };
    assert_eq!(events.rewrite(vec![change.clone()]).await.unwrap(), [true]);

    let done = bank.purge(&events, |_| ()).await.unwrap();
    assert_eq!((done.counts.emptied, done.counts.left), (4, 1), "{done:?}");
    let [left] = &done.left[..] else { panic!("{done:?}") };
    assert_eq!((&left.stream, left.id), (&living.stream, living.id));
    assert!(left.why.contains("vouches"), "{left:?}");
    // Put right again, it reads.
    let back = Rewritten { from: change.to, to: change.from, ..change };
    assert_eq!(events.rewrite(vec![back]).await.unwrap(), [true]);
    assert_eq!(shape(&all(&bank, "user-0").await), "ccc");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_revision_and_no_position_is_given_again() {
    async fn holds(store: &impl Purge) {
        let three = || (0..3).map(|n| event("Paid", &format!(r#"{{"n":{n}}}"#))).collect();
        let wide = store.append_to(&stream("a"), ExpectedRevision::Any, three()).await.unwrap();
        let events = everything(store).await;
        let one = |event: &RecordedEvent| Removed {
            stream: event.stream.clone(),
            revision: event.revision,
            id: event.id,
        };
        let elsewhere = Removed { stream: stream("b"), ..one(&events[0]) };
        let later = Removed { revision: events[1].revision, ..one(&events[0]) };
        let (first, last) = (one(&events[0]), one(&events[2]));
        let asked = vec![elsewhere, later, first.clone(), last, first];
        assert_eq!(store.remove(asked).await.unwrap(), [false, false, true, true, false]);
        assert_eq!(everything(store).await, [events[1].clone()]);
        assert_eq!(all(store, "a").await, [events[1].clone()]);
        let options = oubliette::store::ReadOptions {
            direction: oubliette::store::Direction::Backwards,
            ..Default::default()
        };
        let backwards = store.events(&stream("a"), options).await.unwrap();
        assert_eq!(backwards, [events[1].clone()]);
        let next = store.append_to(&stream("a"), ExpectedRevision::Any, three()).await.unwrap();
        assert_eq!(next.revision.0, 5, "three that were, and three that came");
        assert!(next.position > wide.position);
        let now = everything(store).await;
        assert_eq!(now.iter().map(|event| event.revision.0).collect::<Vec<_>>(), [1, 3, 4, 5]);
    }
    holds(&MemoryStore::new()).await;
    let folder = tempfile::tempdir().unwrap();
    holds(&SqliteStore::create(folder.path()).unwrap()).await;
}

/// A token has no character that JSON must escape; some writer escaped one all the same. And a private half that the policy of
/// today does not name stays, by that name.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_spelled_otherwise_goes_as_well() {
    let events = MemoryStore::new();
    let vault = Vault::in_memory().unwrap();
    let bank = Oubliette::open(events.clone(), vault.clone(), policy("inline")).await.unwrap();
    live(&bank).await;
    let respelled = |event: &RecordedEvent| {
        let data = event.data.as_ref().unwrap().as_json()?.as_str().to_owned();
        let at = data.find("\"$sealed\":[\"")? + "\"$sealed\":[\"".len();
        let first = data[at..].chars().next()?;
        Some(format!("{}\\u{:04x}{}", &data[..at], u32::from(first), &data[at + 1..]))
    };
    let mut changed = 0;
    for event in everything(&events).await {
        let Some(text) = respelled(&event) else { continue };
        let RecordedEvent { stream, revision, id, data, metadata, .. } = event;
        let from = Stored { data: data.unwrap(), metadata: metadata.clone() };
        let to = Stored { data: json(&text).into(), metadata };
        let one = Rewritten { stream, revision, id, from, to };
        assert_eq!(events.rewrite(vec![one]).await.unwrap(), [true]);
        changed += 1;
    }
    assert!(changed >= 9, "{changed}");
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let before = seen(&everything(&bank).await);
    let dead = bank.storage(|_| ()).await.unwrap().total().dead_bytes;
    let done = bank.purge(&events, |_| ()).await.unwrap();
    assert_eq!((done.counts.emptied, done.counts.left), (4, 0), "{done:?}");
    assert_eq!(seen(&everything(&bank).await), before);
    assert!(dead > 0 && bank.storage(|_| ()).await.unwrap().total().dead_bytes == 0);
}

/// However many halves of a stream are purged: an auditor does not search it for each.
#[tokio::test(flavor = "multi_thread")]
async fn purged_halves_cost_an_auditor_one_look_at_their_stream() {
    let policy = r#"
        [[stream]]
        match = "room-{id}"
        layout = "split"
        subject = "user-{/author}"
        public = ["/author"]
        "#;
    let events = Watched::default();
    let policy = Policy::parse(policy).unwrap();
    let bank = Oubliette::open(events.clone(), Vault::in_memory().unwrap(), policy).await.unwrap();
    for n in 0..60 {
        let said = event("Said", &format!(r#"{{"author":{},"text":"hello"}}"#, n % 2));
        put(&bank, "room-1", said).await.unwrap();
    }
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(bank.purge(&events.inner, |_| ()).await.unwrap().counts.removed, 30);
    let before = events.halves.load(Ordering::SeqCst);
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let read = events.halves.load(Ordering::SeqCst) - before;
    assert!(read <= 4, "its private stream was read {read} times");
}
