//! Sealing in place what is there in clear, beside those who go on writing by SQL.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use oubliette::{
    event::{Json, Payload, RecordedEvent, Revision, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, Rewrite, Rewritten, Stored},
    vault::Vault,
};
use oubliette_postgres::{Options, TableMapping, TableStore};

use super::{
    EVENTS,
    conformance::{named, with_bytes, without_ids},
    events, row, table,
};
use crate::world::{client, event, everything, in_files, quick, shape, stream};

pub(super) const WORDS: [&str; 3] = ["Ringelnatz", "Wurzen", "DE8937"];

const POLICY: &str = r#"
public_metadata = ["/trace"]
[[stream]]
match  = "user-{id}"
layout = "inline"
public = ["/colour"]
"#;

pub(super) async fn shop(table: &TableStore) -> Oubliette<TableStore> {
    let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap());
    Oubliette::open(table.clone(), vault, policy).await.unwrap()
}

/// Rows as an application inserts them.
fn rows(sql: &str) -> String {
    let mut rows = String::new();
    for user in 1..=3 {
        for sequence in 1..=4 {
            let payload = format!(
                r#"{{ "colour":"red", "name":"Ringelnatz", "town":"Wurzen", "n":1.50,"of":{user} }}"#
            );
            let (_, metadata) =
                [("", "NULL"), ("", "'{}'"), ("", r#"'{"trace":"t-1","iban":"DE8937"}'"#)]
                    [user - 1];
            let insert = match sql {
                own if own.contains("headers") => format!(
                    "INSERT INTO events (kind, id, version, type, body, headers) VALUES ('user', '{user}', {}, 'T', '{payload}', {})",
                    sequence - 1,
                    if metadata == "NULL" { "'{}'" } else { metadata }
                ),
                bytes if bytes.contains("Shop") => format!(
                    r#"INSERT INTO "Shop"."all.events" VALUES (nextval('"Shop"."their ""own"""'), 'user-{user}', {}, 'no-uuid-{user}-{sequence}',
                        'T', '{payload}', {metadata}, 7)"#,
                    sequence - 1
                ),
                other => format!(
                    "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, payload, metadata) \
                     VALUES ('user', '{user}', {sequence}, 'T', '{payload}', {})",
                    if other.contains("metadata text NOT NULL") && metadata == "NULL" {
                        "'{}'"
                    } else {
                        metadata
                    }
                ),
            };
            rows.push_str(&insert);
            rows.push(';');
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_clear_is_sealed_where_it_is_in_tables_of_each_kind() {
    let Some(mut postgres) = quick() else { return };
    let text = EVENTS.replace("json", "text").replace("metadata text", "metadata text NOT NULL");
    let kinds: [(String, TableMapping); 6] = [
        (EVENTS.to_owned(), events()),
        (EVENTS.replace("json", "jsonb"), events()),
        (text, events()),
        without_ids("json"),
        without_ids("jsonb"),
        with_bytes(),
    ];
    for (sql, mapping) in kinds {
        let (name, store) = table(&postgres, &sql, mapping.clone()).await;
        postgres.sql(&name, &rows(&sql));
        // What the planner remembers of columns is a copy of values, too.
        postgres.sql(&name, "ANALYZE");
        postgres.sql(&name, "CHECKPOINT");
        assert_eq!(in_files(&postgres.data(), &WORDS).len(), WORDS.len(), "the search can fail");
        let before = everything(&store).await;
        assert_eq!(before.len(), 12);
        let shop = shop(&store).await;
        let mut told = Vec::new();
        let done = shop.seal_existing(&store, |so_far| told.push(so_far.sealed)).await.unwrap();
        assert_eq!((done.counts.sealed, done.counts.left), (12, 0), "{sql}: {done:?}");
        assert_eq!(told.last(), Some(&12));
        assert_eq!(done.former_contents.len(), 2, "{:?}", done.former_contents);

        // Nowhere in the table's pages, the planner's statistics and the log.
        assert_eq!(in_files(&postgres.data(), &WORDS), [], "{sql}");

        // All else stays, and it reads as before.
        let after = everything(&shop).await;
        for (after, before) in after.iter().zip(&before) {
            assert_eq!(
                (&after.stream, after.revision, after.position),
                (&before.stream, before.revision, before.position)
            );
            assert_eq!(
                (after.id, after.recorded, &after.event_type),
                (before.id, before.recorded, &before.event_type)
            );
            let values = |event: &RecordedEvent| {
                let data = event.data.as_ref().and_then(Payload::as_json).map(Json::to_canonical);
                (data, event.metadata.as_ref().map(Json::to_canonical))
            };
            assert_eq!(values(after), values(before), "{sql}");
            if !sql.contains("jsonb") {
                assert_eq!((&after.data, &after.metadata), (&before.data, &before.metadata));
            }
        }
        // What is public is, to those who read by SQL.
        let whole = format!(
            "SELECT string_agg(t::text, '') FROM {} t",
            store.name().replace("Shop.all.events", r#""Shop"."all.events""#)
        );
        if !sql.contains("bytea") {
            let there = postgres.sql(&name, &whole);
            assert!(
                there.contains("red") && there.contains("t-1") && !there.contains("Ringelnatz"),
                "{there}"
            );
        }
        // An id that was derived of its place is in the metadata from now on: so the table may be renamed.
        if sql.contains("headers") {
            for event in &before {
                let of = format!(
                    "SELECT count(*) FROM events WHERE headers ->> '$event_id' = '{}'",
                    event.id
                );
                assert_eq!(postgres.sql(&name, &of), "1");
            }
            postgres.sql(&name, "ALTER TABLE events RENAME TO facts");
            let renamed =
                TableStore::open(Options::new(postgres.url(&name)), mapping.clone()).await;
            assert!(renamed.is_err());
            let elsewhere = TableMapping::new("facts")
                .position("number")
                .stream("{kind}-{id}")
                .revision("version")
                .event_type("type")
                .data("body")
                .metadata("headers")
                .recorded("at");
            let facts =
                TableStore::open(Options::new(postgres.url(&name)), elsewhere).await.unwrap();
            let ids =
                |events: &[RecordedEvent]| events.iter().map(|event| event.id).collect::<Vec<_>>();
            assert_eq!(ids(&everything(&facts).await), ids(&before));
            postgres.sql(&name, "ALTER TABLE facts RENAME TO events");
        }
        // One that is computed of a text that is no UUID depends on the name: under another one nothing opens.
        if sql.contains("bytea") {
            let rename = |from: &str, to: &str| {
                let sql = format!(r#"ALTER TABLE "Shop"."{from}" RENAME TO "{to}""#);
                postgres.sql(&name, &sql);
            };
            rename("all.events", "facts");
            let elsewhere = named("Shop.facts");
            let options = Options::new(postgres.url(&name));
            let facts = TableStore::open(options, elsewhere).await.unwrap();
            let vault = shop.vault().unwrap().clone();
            let renamed = Oubliette::open(facts, vault, Policy::parse(POLICY).unwrap()).await;
            let read = renamed.unwrap().events(&stream("user-2"), Default::default()).await;
            assert_ne!(read.map_or_else(|_| String::new(), |events| shape(&events)), "cccc");
            rename("facts", "all.events");
        }
        let again = shop.seal_existing(&store, |_| {}).await.unwrap();
        assert_eq!((again.counts.sealed, again.counts.already), (0, 12));

        shop.forget(&Subject::new("user-1").unwrap(), "asked").await.unwrap();
        let of = async |name: &str| {
            shape(&shop.events(&stream(name), Default::default()).await.unwrap())
        };
        assert_eq!(
            (of("user-1").await, of("user-2").await),
            ("ppppt".to_owned(), "cccc".to_owned())
        );
        let report = shop.verify(Default::default(), |_| {}).await.unwrap();
        assert!(report.is_clean(), "{sql}: {report:?}");
        let purged = shop.purge(&store, |_| ()).await.unwrap();
        assert_eq!((purged.counts.emptied, purged.counts.left), (4, 0), "{sql}: {purged:?}");
        assert_eq!(of("user-1").await, "ppppt");
        // New events follow.
        let behind = ExpectedRevision::Exact(Revision(3));
        shop.append_to(&stream("user-2"), behind, vec![event("{}")]).await.unwrap();
    }
    postgres.stop();
    assert_eq!(in_files(&postgres.data(), &WORDS), []);
}

/// Applications go on by SQL: what they append behind the walk is sealed at the next one, what they change is not written over.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_those_who_write_by_sql_is_lost() {
    let Some(postgres) = quick() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    let app = client(&postgres.url(&name)).await;
    for user in 1..=40 {
        for sequence in 1..=20 {
            let payload = r#"{"name":"Ringelnatz","n":0}"#;
            app.batch_execute(&row(("user", &user.to_string()), sequence, payload)).await.unwrap();
        }
    }
    let shop = shop(&store).await;
    let ended = AtomicBool::new(false);
    let writing = async {
        let (mut appended, mut changed) = (0, HashMap::new());
        while !ended.load(Ordering::Relaxed) {
            let user = appended % 40 + 1;
            let sequence = 21 + appended / 40;
            app.batch_execute(&row(("user", &user.to_string()), sequence, r#"{"name":"Wurzen"}"#))
                .await
                .unwrap();
            appended += 1;
            // Corrected by hand, where it is in clear still.
            let at = i64::try_from(800 - appended % 800).unwrap();
            let text = format!(r#"{{"name":"Ringelnatz","n":{appended}}}"#);
            let sql = "UPDATE events SET payload = $2::text::json WHERE position = $1 AND payload ->> 'n' IS NOT NULL";
            if app.execute(sql, &[&at, &text]).await.unwrap() == 1 {
                changed.insert(at, text);
            }
        }
        (appended, changed)
    };
    let sealing = async {
        let done = shop.seal_existing(&store, |_| {}).await.unwrap();
        ended.store(true, Ordering::Relaxed);
        done
    };
    let ((appended, changed), done) = tokio::join!(writing, sealing);
    assert!(appended > 0 && !changed.is_empty());
    let walked = done.counts.sealed + done.counts.left;
    assert!((800..800 + appended as u64).contains(&walked), "{done:?}");
    assert!(done.left.iter().all(|left| left.why.contains("changed it")), "{done:?}");
    // What came behind the walk is in clear, and counted at the next one.
    let again = shop.seal_existing(&store, |_| {}).await.unwrap();
    assert_eq!(again.counts.already, done.counts.sealed, "{again:?}");
    assert_eq!(again.counts.sealed, 800 + appended as u64 - done.counts.sealed, "{again:?}");
    assert_eq!(again.counts.left, 0, "{again:?}");
    let all = everything(&shop).await;
    assert_eq!(all.len(), 800 + appended);
    let mut seen = 0;
    for event in &all {
        let text = event.data.as_ref().and_then(Payload::as_json).unwrap().as_str();
        let at = i64::try_from(event.position.as_number().unwrap()).unwrap();
        match changed.get(&at) {
            Some(changed) => {
                assert_eq!(text, changed);
                seen += 1;
            }
            None => assert!(text.contains("Ringelnatz\",\"n\":0") || text.contains("Wurzen")),
        }
    }
    assert_eq!(seen, changed.len());
    let there = postgres
        .sql(&name, "SELECT count(*) FROM events WHERE payload::text ~ 'Ringelnatz|Wurzen'");
    assert_eq!(there, "0");
}

/// One who changes a row and has not committed is waited for; then the row is what they made of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_is_changing_is_waited_for_and_left() {
    let Some(postgres) = quick() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    for sequence in 1..=2 {
        postgres.sql(&name, &row(("user", "1"), sequence, "{}"));
    }
    let there = everything(&store).await;
    let rewritten: Vec<Rewritten> = there
        .iter()
        .map(|event| Rewritten {
            stream: event.stream.clone(),
            revision: event.revision,
            id: event.id,
            from: Stored { data: event.data.clone().unwrap(), metadata: None },
            to: Stored { data: Json::parse("7").unwrap().into(), metadata: None },
        })
        .collect();
    let app = client(&postgres.url(&name)).await;
    app.batch_execute("BEGIN; UPDATE events SET payload = '8' WHERE sequence = 1").await.unwrap();
    let rewriting = tokio::spawn({
        let store = store.clone();
        async move { store.rewrite(rewritten).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!rewriting.is_finished());
    app.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rewriting.await.unwrap().unwrap(), [false, true]);
    assert_eq!(
        postgres.sql(&name, "SELECT string_agg(payload::text, ' ' ORDER BY sequence) FROM events"),
        "8 7"
    );
}
