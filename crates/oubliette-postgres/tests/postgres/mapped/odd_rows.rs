//! Rows that hold what no event has: PostgreSQL takes more for JSON than we do, and an application more for a name. One
//! person's row keeps nobody else from being read, copied, sealed and forgotten.

use futures::TryStreamExt;
use oubliette::{
    erasure::ForgetOptions,
    event::{Payload, RecordedEvent, Revision, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter, MemoryStore, copy},
    vault::Vault,
};
use oubliette_postgres::TableStore;

use super::{EVENTS, events, row, table};
use crate::world::{event, everything, quick, stream};

/// What each column may hold, that reads as no JSON or as none of ours.
fn payloads(kind: &str) -> Vec<String> {
    let deep = "[".repeat(300) + &"]".repeat(300);
    let mut payloads: Vec<String> = match kind {
        "jsonb" => vec![],
        _ => vec![r#"{"name":"Annika\ud83d"}"#.into(), r#"{"a":1,"a":2}"#.into()],
    };
    payloads.push(deep);
    if kind == "text" || kind == "bytea" {
        payloads.extend(["", r#"{"n":NaN}"#, "\u{feff}{}", "Annika"].map(str::to_owned));
    }
    payloads
}

async fn shop(table: &TableStore) -> Oubliette<TableStore> {
    let (vault, policy) = (Vault::in_memory().unwrap(), Policy::sealed_by_default());
    Oubliette::open(table.clone(), vault, policy).await.unwrap()
}

async fn delivered(store: &dyn EventStore) -> usize {
    let mut deliveries = store.subscribe(None, Filter::default());
    let mut count = 0;
    while let Some(Delivery::Event(_)) = deliveries.try_next().await.unwrap() {
        count += 1;
    }
    count
}

fn text(event: &RecordedEvent) -> Vec<u8> {
    event.data.as_ref().unwrap().as_bytes().to_vec()
}

/// In columns of each type: read as bytes, copied as they are; and left in clear by name where the column takes no bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_no_json_keeps_nobody_from_the_others() {
    let Some(postgres) = quick() else { return };
    for kind in ["json", "jsonb", "text", "bytea"] {
        let sql = EVENTS.replace("payload json", &format!("payload {kind}"));
        let (name, store) = table(&postgres, &sql, events()).await;
        let odd = payloads(kind);
        postgres.sql(&name, &row(("user", "1"), 1, r#"{"name":"Ringelnatz"}"#));
        for (number, payload) in odd.iter().enumerate() {
            // What is written as bytes has its own escapes.
            let payload =
                if kind == "bytea" { payload.replace('\\', r"\\") } else { payload.clone() };
            postgres.sql(&name, &row(("odd", &number.to_string()), 1, &payload));
        }
        postgres.sql(&name, &row(("user", "2"), 1, r#"{"name":"Ringelnatz"}"#));
        let all = everything(&store).await;
        assert_eq!(all.len(), odd.len() + 2, "{kind}");
        for (event, payload) in all[1..].iter().zip(&odd) {
            assert!(matches!(event.data, Some(Payload::Bytes(_))), "{kind} {payload}");
            if kind != "jsonb" {
                assert_eq!(text(event), payload.as_bytes());
            }
        }
        assert_eq!(delivered(&store).await, all.len());
        let copied = copy(&store, &MemoryStore::new(), None, &mut Some, &mut |_| {}).await.unwrap();
        assert_eq!(copied.written, all.len() as u64);

        let shop = shop(&store).await;
        let done = shop.seal_existing(&store, |_| {}).await.unwrap();
        let left: Vec<&str> = done.left.iter().map(|left| left.stream.as_str()).collect();
        // A column of bytes takes what is sealed.
        let expected = if kind == "bytea" {
            vec![]
        } else {
            (0..odd.len()).map(|at| format!("odd-{at}")).collect()
        };
        assert_eq!(left, expected, "{kind}");
        assert!(done.left.iter().all(|left| left.why.contains("JSON")), "{done:?}");
        let there = match kind {
            "bytea" => {
                "SELECT count(*) FROM events WHERE position('Ringelnatz'::bytea IN payload) > 0"
            }
            _ => "SELECT count(*) FROM events WHERE payload::text LIKE '%Ringelnatz%'",
        };
        assert_eq!(postgres.sql(&name, there), "0", "{kind}");
        // Somebody else, also while those are in clear.
        shop.forget(&Subject::new("user-2").unwrap(), "asked").await.unwrap();
        let mut read = shop.events(&stream("odd-0"), Default::default()).await.unwrap();
        assert_eq!(text(&read.remove(0)), text(&all[1]), "{kind}");
        if kind != "bytea" {
            // Theirs is in clear still, which is said.
            let theirs = Subject::new("odd-0").unwrap();
            assert!(shop.forget(&theirs, "asked").await.is_err(), "{kind}");
            let options = ForgetOptions { despite_unsealed: true, ..ForgetOptions::default() };
            shop.forget_with(&theirs, "asked", options, |_| {}).await.unwrap();
        }
    }
}

/// message-db allows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_null_is_json_and_sealed_as_it() {
    let Some(postgres) = quick() else { return };
    for kind in ["json", "jsonb", "text", "bytea"] {
        let sql = EVENTS.replace("payload json NOT NULL", &format!("payload {kind}"));
        let (name, store) = table(&postgres, &sql, events()).await;
        postgres.sql(&name, &row(("user", "1"), 1, "{}").replace("'{}'", "NULL"));
        let shop = shop(&store).await;
        for round in 0..2 {
            let all = everything(&shop).await;
            assert_eq!(text(&all[0]), b"null", "{kind} {round}");
            let done = shop.seal_existing(&store, |_| {}).await.unwrap();
            assert_eq!((done.counts.sealed, done.counts.already), (1 - round, round), "{done:?}");
        }
    }
}

/// What is no JSON object is kept whole, in clear and sealed, and a retry changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_are_no_object_are_kept_as_a_text() {
    let Some(postgres) = quick() else { return };
    for (kind, metadata) in [
        ("json", r#"[1, 2]"#),
        ("json", r#"{"a":1,"a":2}"#),
        ("jsonb", r#""Wurzen""#),
        ("text", "Wurzen {"),
        ("text", r#"{"half":"\ud83d"}"#),
    ] {
        let sql = EVENTS.replace("metadata json", &format!("metadata {kind}"));
        let (name, store) = table(&postgres, &sql, events()).await;
        for sequence in 1..=2 {
            postgres.sql(&name, &row(("user", "1"), sequence, "{}"));
        }
        postgres
            .sql(&name, &format!("UPDATE events SET metadata = '{metadata}' WHERE sequence = 1"));
        let kept = |events: &[RecordedEvent]| {
            let metadata = events[0].metadata.as_ref().unwrap();
            let members: std::collections::BTreeMap<String, String> = metadata.to().unwrap();
            members["$metadata"].clone()
        };
        assert_eq!(kept(&everything(&store).await), metadata);
        let shop = shop(&store).await;
        let done = shop.seal_existing(&store, |_| {}).await.unwrap();
        assert_eq!((done.counts.sealed, done.counts.left), (2, 0), "{done:?}");
        assert_eq!(kept(&everything(&shop).await), metadata);
        let there = postgres.sql(&name, "SELECT string_agg(metadata::text, '') FROM events");
        assert!(!there.contains("Wurzen"), "{there}");
    }
}

/// A stream of any name is one: read, appended to, sealed and forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn names_types_and_times_that_are_none_are_written_so_that_they_are() {
    let Some(postgres) = quick() else { return };
    let sql = EVENTS
        .replace("event_type text NOT NULL", "event_type text")
        .replace("at timestamptz NOT NULL", "at timestamptz");
    let (name, store) = table(&postgres, &sql, events()).await;
    let odd = [
        (("user", "two words"), "user-two~20words"),
        (("user", "e\u{301}"), "user-e~CC~81"),
        (("bank-account", "7"), "bank~2Daccount-7"),
        (("$all", "7"), "~24all-7"),
        (("user", "two~20words"), "user-two~7E20words"),
    ];
    for (columns, _) in odd {
        postgres.sql(&name, &row(columns, 1, r#"{"name":"Ringelnatz"}"#));
    }
    postgres.sql(
        &name,
        "UPDATE events SET event_type = 'User Moved', at = 'infinity' WHERE position = 1;
         UPDATE events SET event_type = NULL, at = NULL WHERE position = 2;
         UPDATE events SET at = '294270-01-01' WHERE position = 3; UPDATE events SET at = '-infinity' WHERE position = 4",
    );
    let all = everything(&store).await;
    for (event, (_, name)) in all.iter().zip(odd) {
        assert_eq!(event.stream.as_str(), name);
        assert_eq!(store.events(&event.stream, Default::default()).await.unwrap().len(), 1);
    }
    let types: Vec<&str> = all.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types[..3], ["User~20Moved", "~", "SomethingHappened"]);
    let years: Vec<String> = all.iter().map(|event| event.recorded.day().to_string()).collect();
    assert_eq!(years[..4], ["9999-12-30", "1970-01-01", "9999-12-30", "0001-01-01"]);
    assert_eq!(delivered(&store).await, odd.len());
    let prefix = Filter { stream_prefixes: vec!["user-two~20".into()], event_types: vec![] };
    let mut found = store.subscribe(None, prefix);
    assert!(matches!(found.try_next().await, Ok(Some(Delivery::Event(event))) if event == all[0]));
    assert!(matches!(found.try_next().await, Ok(Some(Delivery::CaughtUp))));

    let shop = shop(&store).await;
    let done = shop.seal_existing(&store, |_| {}).await.unwrap();
    assert_eq!((done.counts.sealed, done.counts.left), (5, 0), "{done:?}");
    let spaced = stream(odd[0].1);
    let next = ExpectedRevision::Exact(Revision(0));
    shop.append_to(&spaced, next, vec![event("{}")]).await.unwrap();
    let there = "SELECT count(*) FROM events WHERE aggregate_id = 'two words'";
    assert_eq!(postgres.sql(&name, there), "2");
    shop.forget(&Subject::of(&spaced), "asked").await.unwrap();
    let read = shop.events(&spaced, Default::default()).await.unwrap();
    assert_eq!(crate::world::shape(&read), "sst");
    let other = shop.events(&stream(odd[4].1), Default::default()).await.unwrap();
    assert_eq!(crate::world::shape(&other), "c");
}
