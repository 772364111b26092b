//! Mappings that do not fit their table, and tables that lack something.

use oubliette::store::{EventStoreExt, ExpectedRevision, StoreError};
use oubliette_postgres::{OpenError, Options, TableError, TableMapping, TableStore};

use super::{EVENTS, database, events};
use crate::world::{event, postgres, stream};

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_does_not_fit_is_refused_with_what_would() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let name = database(&url);
    postgres.sql(name, EVENTS);
    postgres.sql(
        name,
        "CREATE VIEW shown AS SELECT * FROM events; CREATE UNLOGGED TABLE light (LIKE events INCLUDING ALL);
         CREATE TYPE mood AS ENUM ('good'); CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         ALTER TABLE events ADD odd mood, ADD number numeric, ADD loose text COLLATE loose, ADD fixed char(10),
            ADD flag boolean, ADD at_date date",
    );
    for (mapping, told) in [
        (events().position("missing"), vec!["`missing`", "`position`", "aggregate_type"]),
        (events().position("flag"), vec!["`flag`", "boolean", "`position`", "bigint"]),
        (events().revision("number"), vec!["`number`", "numeric", "bigint"]),
        (events().stream("{aggregate_type}-{nothing}"), vec!["`nothing`", "`stream`"]),
        (events().stream("{aggregate_type}-{flag}"), vec!["`flag`", "boolean", "uuid"]),
        (events().stream("loose"), vec!["`loose`", "deterministic"]),
        (events().stream("fixed"), vec!["`fixed`", "character(10)", "varchar"]),
        (events().id("number"), vec!["`number`", "numeric", "uuid"]),
        (events().event_type("flag"), vec!["`flag`", "boolean", "enum"]),
        (events().data("number"), vec!["`number`", "jsonb"]),
        (events().metadata("flag"), vec!["`flag`", "jsonb"]),
        (events().recorded("at_date"), vec!["`at_date`", "date", "timestamptz"]),
        (events().data("metadata"), vec!["`data` and `metadata`"]),
        (events().stream("{aggregate_type"), vec!["`stream`"]),
        (events().first_revision(2), vec!["`first_revision`"]),
        (events().sequence("no_such"), vec!["`sequence`", "no_such"]),
        (events().position("sequence").revision("position"), vec!["`sequence`", "not unique"]),
        (TableMapping::new("events"), vec!["`position`"]),
    ] {
        let refused = TableStore::open(Options::new(&url), mapping.clone()).await.unwrap_err();
        let text = refused.to_string();
        assert!(told.iter().all(|told| text.contains(told)), "{mapping:?}: {text}");
        assert!(!refused.is_temporary());
    }
    for (table, is) in [
        ("nothing", "nothing"),
        ("public.nothing", "nothing"),
        ("no.events", "events"),
        ("shown", "view"),
        ("events_pkey", "no table"),
    ] {
        let mapping = TableMapping::parse(&format!(
            "table = '{table}'\nposition = 'position'\nstream = 'aggregate_id'\nrevision = 'sequence'\ntype = 'event_type'\ndata = 'payload'"
        ));
        let refused = TableStore::open(Options::new(&url), mapping.unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains(is), "{refused}");
    }
    let mut light =
        TableMapping::new("light").position("position").stream("aggregate_id").revision("sequence");
    light = light.event_type("event_type").data("payload");
    let unlogged = TableStore::open(Options::new(&url), light).await.unwrap_err();
    assert!(matches!(unlogged, TableError::Open(OpenError::Unlogged(_))), "{unlogged}");
    // An enum does as a type.
    TableStore::open(Options::new(&url), events().event_type("odd")).await.unwrap();
}

/// What would lose events for readers is refused, with what to run; and that helps.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_events_is_refused_with_what_to_run() {
    let Some(postgres) = postgres() else { return };
    let serial = EVENTS.replace(
        "position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "position bigserial PRIMARY KEY",
    );
    for (sql, part) in [
        (format!("{serial}; ALTER SEQUENCE events_position_seq CACHE 20"), "ALTER SEQUENCE"),
        (
            EVENTS.to_owned()
                + "; INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, payload)
                    OVERRIDING SYSTEM VALUE VALUES (100, 'user', '1', 1, 'A', '{}')",
            "SELECT setval",
        ),
        (serial.replace("bigserial PRIMARY KEY", "bigserial"), "ALTER TABLE"),
        (
            serial.replace("bigserial PRIMARY KEY", "bigserial UNIQUE") + "; ALTER TABLE events ALTER position DROP NOT NULL",
            "ALTER TABLE",
        ),
    ] {
        let url = postgres.database();
        postgres.sql(database(&url), &sql);
        let refused = TableStore::open(Options::new(&url), events()).await.unwrap_err();
        assert!(matches!(refused, TableError::Unsafe { .. }), "{refused}");
        let told = refused.to_string();
        let run = told.find(part).map(|at| told[at..].split(", and connect").next().unwrap().to_owned());
        postgres.sql(database(&url), &run.unwrap_or_else(|| panic!("{told}")));
        TableStore::open(Options::new(&url), events()).await.unwrap();
    }
    let url = postgres.database();
    postgres
        .sql(database(&url), &format!("{EVENTS}; ALTER SEQUENCE events_position_seq INCREMENT -1"));
    let refused = TableStore::open(Options::new(&url), events()).await.unwrap_err();
    assert!(refused.to_string().contains("downwards"), "{refused}");
}

/// What a table lacks for appending is told, all of it at once; with what to run, which helps.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_lacks_for_appending_is_told_and_can_be_mended() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    postgres.sql(
        database(&url),
        "CREATE TABLE events (position bigserial PRIMARY KEY, aggregate_type text, aggregate_id text, sequence int,
            event_type text NOT NULL, event_version text NOT NULL, payload jsonb NOT NULL, metadata jsonb);
         INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload)
            VALUES ('user', '1', 0, 'A', '1', '{}')",
    );
    let toml = "table = 'events'\nposition = 'position'\nstream = '{aggregate_type}-{aggregate_id}'\nrevision = 'sequence'\n\
         type = 'event_type'\ndata = 'payload'\nmetadata = 'metadata'\n";
    let store =
        TableStore::open(Options::new(&url), TableMapping::parse(toml).unwrap()).await.unwrap();
    let lacks = store.why_read_only();
    assert_eq!(lacks.len(), 4, "{lacks:#?}");
    assert_eq!(store.events(&stream("user-1"), Default::default()).await.unwrap().len(), 1);
    let refused =
        store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await;
    let Err(StoreError::Invalid(told)) = refused else { panic!("{refused:?}") };
    for part in ["revisions are not unique", "$event_id", "`event_version`", "`recorded`"] {
        assert!(told.contains(part), "{told}");
    }
    for lack in lacks {
        let run = lack.split("run ").nth(1).unwrap();
        let run = run.split(", and map").next().unwrap().replace('…', "'1.0'");
        postgres.sql(database(&url), &run);
    }
    // The row that was there has no time yet.
    postgres.sql(database(&url), "UPDATE events SET recorded = now()");
    let mapping = TableMapping::parse(&format!("{toml}recorded = 'recorded'")).unwrap();
    let store = TableStore::open(Options::new(&url), mapping).await.unwrap();
    assert_eq!(store.why_read_only(), [""; 0]);
    let done =
        store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    assert_eq!(done.revision.0, 1);

    let url = postgres.database();
    let nothing =
        EVENTS.replace("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bigint PRIMARY KEY");
    postgres.sql(
        database(&url),
        &nothing.replace(
            "event_id uuid",
            "event_id uuid GENERATED ALWAYS AS (NULL::uuid) STORED, other uuid",
        ),
    );
    let mapping = events().metadata("metadata");
    let store = TableStore::open(Options::new(&url), mapping).await.unwrap();
    let told = store.why_read_only().join("\n");
    assert!(told.contains("`position`") && told.contains("computed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_named() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let name = database(&url);
    let serial = EVENTS.replace(
        "position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "position bigserial PRIMARY KEY",
    );
    postgres.sql(
        name,
        &format!("CREATE SCHEMA shop; SET search_path = shop; {serial}; CREATE ROLE reader LOGIN"),
    );
    let reader = url.replace("postgres@", "reader@");
    let mapping = || {
        let mapping = TableMapping::new("shop.events")
            .position("position")
            .stream("{aggregate_type}-{aggregate_id}");
        let mapping =
            mapping.revision("sequence").id("event_id").event_type("event_type").data("payload");
        mapping.recorded("at")
    };
    for grant in ["GRANT USAGE ON SCHEMA shop TO reader", "GRANT SELECT ON shop.events TO reader"] {
        let refused = TableStore::open(Options::new(&reader), mapping()).await.unwrap_err();
        assert!(matches!(refused, TableError::NoRights(_)), "{refused}");
        postgres.sql(name, grant);
    }
    let store = TableStore::open(Options::new(&reader), mapping()).await.unwrap();
    let lacks = store.why_read_only().to_vec();
    assert_eq!(lacks.len(), 2, "{lacks:?}");
    for lack in lacks {
        postgres.sql(name, &lack.split("run ").nth(1).unwrap().replace("this user", "reader"));
    }
    let store = TableStore::open(Options::new(&reader), mapping()).await.unwrap();
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();

    let unreachable =
        TableStore::open(Options::new("postgres://u:hunter2@127.0.0.1:1/x"), mapping())
            .await
            .unwrap_err();
    assert!(
        unreachable.is_temporary() && !format!("{unreachable} {unreachable:?}").contains("hunter2")
    );
}
