//! What keeps a table from being sealed or purged in place, and what cannot be cleared away: said in words, and nothing is done.

use std::time::Duration;

use oubliette::{
    event::Json,
    store::{EventStoreExt, ExpectedRevision, Purge, Rewrite, Rewritten, StoreError, Stored},
};
use oubliette_postgres::{Options, TableError, TableMapping, TableStore};

use super::{EVENTS, events, in_place::shop, row, table};
use crate::{
    purged::removed,
    world::{client, event, everything, in_files, quick, stream},
};

fn without_metadata() -> TableMapping {
    TableMapping::parse(
        "table = 'events'\nposition = 'position'\nstream = '{aggregate_type}-{aggregate_id}'\nrevision = 'sequence'\n\
         first_revision = 1\nid = 'event_id'\ntype = 'event_type'\ndata = 'payload'\nrecorded = 'at'",
    )
    .unwrap()
}

/// Refused as a whole, before anything is changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_sealed_in_place_says_why_and_stays_as_it_is() {
    let Some(postgres) = quick() else { return };
    let unlike = EVENTS
        .replace("    UNIQUE (aggregate_type, aggregate_id, sequence)", "    CHECK (sequence > 0)");
    let parts = EVENTS
        .replace(
            "    UNIQUE (aggregate_type, aggregate_id, sequence)\n)",
            "    CHECK (sequence > 0)\n) PARTITION BY RANGE (position)",
        )
        .replace("gen_random_uuid() UNIQUE", "gen_random_uuid()")
        + "; CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (1000)";
    let mut refused = Vec::new();
    for (sql, mapping, told) in [
        (EVENTS.to_owned(), without_metadata(), "the mapping names no `metadata`"),
        (unlike, events(), "ADD UNIQUE"),
        (parts, events(), "ADD UNIQUE"),
    ] {
        let (name, store) = table(&postgres, &sql, mapping).await;
        postgres.sql(&name, &row(("user", "1"), 1, r#"{"name":"Ringelnatz"}"#));
        assert!(
            store.why_not_in_place().join("; ").contains(told),
            "{:?}",
            store.why_not_in_place()
        );
        refused.push((name, store, told));
    }
    // Somebody who may insert, and not change what is there.
    let (name, store) = table(&postgres, EVENTS, events()).await;
    postgres.sql(&name, &row(("user", "1"), 1, r#"{"name":"Ringelnatz"}"#));
    postgres.sql(&name, "CREATE ROLE app LOGIN; GRANT SELECT, INSERT ON events TO app");
    let url = postgres.url(&name).replace("postgres@", "app@");
    let by_app = TableStore::open(Options::new(&url), events()).await.unwrap();
    assert_eq!(by_app.why_read_only(), [""; 0]);
    refused.push((name.clone(), by_app, "GRANT UPDATE"));
    for (name, store, told) in refused {
        assert!(store.as_rewrite().is_none());
        let found = everything(&store).await;
        let nothing = Rewritten {
            stream: found[0].stream.clone(),
            revision: found[0].revision,
            id: found[0].id,
            from: Stored { data: found[0].data.clone().unwrap(), metadata: None },
            to: Stored { data: Json::parse("{}").unwrap().into(), metadata: None },
        };
        let error = store.rewrite(vec![nothing]).await.unwrap_err();
        let StoreError::Backend { source, temporary: false } = &error else { panic!("{error:?}") };
        assert!(matches!(source.downcast_ref(), Some(TableError::NotInPlace { .. })), "{error:?}");
        let text = format!("{source} {error:?}");
        assert!(text.contains(told) && !text.contains("Ringelnatz"), "{text}");
        if told.contains("GRANT") {
            let error = shop(&store).await.seal_existing(&store, |_| {}).await.unwrap_err();
            assert!(matches!(error, StoreError::Backend { .. }), "{error:?}");
        }
        assert_eq!(postgres.sql(&name, "SELECT payload ->> 'name' FROM events"), "Ringelnatz");
    }
    // What the message says is enough.
    postgres.sql(&name, "GRANT UPDATE (payload, metadata) ON events TO app");
    let by_app = TableStore::open(Options::new(&url), events()).await.unwrap();
    let done = shop(&by_app).await.seal_existing(&by_app, |_| {}).await.unwrap();
    assert_eq!((done.counts.sealed, done.counts.left), (1, 0), "{done:?}");
    drop(store);
}

/// The table's own rules: what they refuse stays in clear and is named, the rest is sealed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_of_the_table_refuses_is_named_and_the_rest_is_sealed() {
    let Some(postgres) = quick() else { return };
    let sql = EVENTS.to_owned()
        + "; ALTER TABLE events ADD CONSTRAINT named CHECK (sequence <> 2 OR payload ->> 'name' IS NOT NULL);
        CREATE FUNCTION strict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF OLD.sequence = 3 THEN RAISE EXCEPTION 'not %', OLD.payload; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER strict BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION strict()";
    let (name, store) = table(&postgres, &sql, events()).await;
    for sequence in 1..=4 {
        postgres.sql(&name, &row(("user", "1"), sequence, r#"{"name":"Ringelnatz"}"#));
    }
    let done = shop(&store).await.seal_existing(&store, |_| {}).await.unwrap();
    assert_eq!((done.counts.sealed, done.counts.left), (2, 2), "{done:?}");
    let why: Vec<&str> = done.left.iter().map(|left| &*left.why).collect();
    assert!(why[0].contains("constraint named") && why[1].contains("trigger"), "{why:?}");
    assert!(!format!("{done:?}").contains("Ringelnatz"));
    assert!(
        done.former_contents.iter().any(|where_| where_.contains("trigger strict")),
        "{done:?}"
    );
    assert_eq!(postgres.sql(&name, "SELECT string_agg(sequence::text, ' ' ORDER BY sequence) FROM events WHERE payload ->> 'name' = 'Ringelnatz'"), "2 3");

    // Those that do something else than they are told.
    for (body, told) in [
        ("RETURN NULL", "trigger"),
        ("RETURN OLD", "trigger"),
        ("NEW.at := now() + interval '1 day'; RETURN NEW", "trigger"),
        ("NEW.event_id := gen_random_uuid(); RETURN NEW", "trigger"),
    ] {
        let sql = EVENTS.to_owned() + &format!("; CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$;
            CREATE TRIGGER other BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION other()");
        let (name, store) = table(&postgres, &sql, events()).await;
        postgres.sql(&name, &row(("user", "1"), 1, r#"{"name":"Ringelnatz"}"#));
        let before = everything(&store).await;
        let error = shop(&store).await.seal_existing(&store, |_| {}).await.unwrap_err();
        assert!(
            error.to_string().contains("store") || format!("{error:?}").contains(told),
            "{error:?}"
        );
        assert!(format!("{error:?}").contains(told), "{body}: {error:?}");
        assert_eq!(everything(&store).await[0], before[0], "{body}");
    }
}

/// What others made depend on events is not removed with them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_are_not_removed_with_an_event() {
    let Some(postgres) = quick() else { return };
    for (sql, told) in [
        ("CREATE TABLE outbox (event_id uuid REFERENCES events (event_id) ON DELETE CASCADE)", "ON DELETE"),
        ("CREATE TABLE outbox (event_id uuid REFERENCES events (event_id) ON DELETE SET NULL)", "ON DELETE"),
        ("CREATE TABLE outbox (event_id uuid REFERENCES events (event_id))", "constraint outbox_event_id_fkey"),
        ("CREATE TABLE outbox (event_id uuid REFERENCES events (event_id) DEFERRABLE INITIALLY DEFERRED)", "constraint outbox_event_id_fkey"),
        ("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$;
          CREATE TRIGGER no BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION no(); CREATE TABLE outbox (event_id uuid)", "trigger"),
        ("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
          CREATE TRIGGER no BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION no(); CREATE TABLE outbox (event_id uuid)", "trigger"),
    ] {
        let (name, store) = table(&postgres, &format!("{EVENTS}; {sql}"), events()).await;
        let three = (0..3).map(|_| event("{}")).collect();
        store.append_to(&stream("user-1"), ExpectedRevision::Any, three).await.unwrap();
        postgres.sql(&name, "INSERT INTO outbox SELECT event_id FROM events");
        let all = everything(&store).await;
        let error = store.remove(all.iter().map(removed).collect()).await.unwrap_err();
        assert!(format!("{error} {error:?}").contains(told), "{sql}: {error:?}");
        assert_eq!(everything(&store).await, all, "{sql}");
        assert_eq!(postgres.sql(&name, "SELECT count(event_id) FROM outbox"), "3", "{sql}");
    }
    let (name, _) = table(&postgres, EVENTS, events()).await;
    postgres.sql(&name, &row(("user", "1"), 1, "{}"));
    postgres.sql(&name, "CREATE ROLE app LOGIN; GRANT SELECT, INSERT ON events TO app");
    let url = postgres.url(&name).replace("postgres@", "app@");
    let by_app = TableStore::open(Options::new(&url), events()).await.unwrap();
    let all = everything(&by_app).await;
    let error = by_app.remove(vec![removed(&all[0])]).await.unwrap_err();
    assert!(format!("{error:?}").contains("GRANT DELETE"), "{error:?}");
}

/// Where what was there before cannot be cleared away, it is said who has to do what; and that does it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_cleared_away_is_said_and_what_is_said_helps() {
    let Some(mut postgres) = quick() else { return };
    let (name, _) = table(&postgres, &EVENTS.replace("json", "jsonb"), events()).await;
    postgres.sql(&name, &row(("user", "1"), 1, r#"{"name":"Ringelnatz"}"#));
    postgres.sql(
        &name,
        "ANALYZE; CREATE MATERIALIZED VIEW names AS SELECT payload ->> 'name' AS name FROM events",
    );
    postgres.sql(&name, "CREATE ROLE app LOGIN; GRANT SELECT, INSERT, UPDATE ON events TO app");
    let options = Options::new(postgres.url(&name).replace("postgres@", "app@"));
    let store =
        TableStore::open(options.patience(Duration::from_millis(500)), events()).await.unwrap();

    // Somebody still sees what was there.
    let reader = client(&postgres.url(&name)).await;
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    let done = shop(&store).await.seal_existing(&store, |_| {}).await.unwrap();
    assert_eq!(done.counts.sealed, 1);
    let told = &done.former_contents;
    let says = |what: &str| {
        told.iter().find(|text| text.contains(what)).unwrap_or_else(|| panic!("{what}: {told:?}"))
    };
    assert!(says("older transactions").contains("(process "));
    for what in [
        "as its owner run VACUUM",
        "as the owner of the database run VACUUM FULL pg_catalog.pg_statistic",
        "as a superuser run",
        "backups",
        "free",
    ] {
        says(what);
    }
    says("REFRESH MATERIALIZED VIEW names");
    reader.batch_execute("COMMIT").await.unwrap();

    // An owner may more; and as nobody sees it any more, it goes.
    let by_owner = TableStore::open(Options::new(postgres.url(&name)), events()).await.unwrap();
    // … but not while somebody holds the table: nobody is to wait behind us for long.
    let held = TableStore::open(
        Options::new(postgres.url(&name)).patience(Duration::from_millis(400)),
        events(),
    )
    .await
    .unwrap();
    reader.batch_execute("BEGIN; LOCK TABLE events IN ROW EXCLUSIVE MODE").await.unwrap();
    let still = held.scrub().await.unwrap();
    assert!(still.iter().any(|text| text.contains("somebody else holds it")), "{still:?}");
    reader.batch_execute("COMMIT").await.unwrap();
    let still = by_owner.scrub().await.unwrap();
    assert_eq!(still.len(), 3, "{still:?}");
    let data = postgres.data();
    assert_eq!(in_files(&data, &["Ringelnatz"]).len(), 1, "in the materialized view");
    let sentence = still.iter().find(|text| text.contains("REFRESH")).unwrap();
    let run = sentence.split(": run ").nth(1).unwrap();
    let (refresh, vacuum) = run.split_once(", and ").unwrap();
    postgres.sql(&name, refresh);
    postgres.sql(&name, vacuum);
    by_owner.scrub().await.unwrap();
    postgres.stop();
    assert_eq!(in_files(&data, &["Ringelnatz"]), []);
}
