//! What a reader does not see: rows that a policy hides, and what the role's settings would make of our statements.

use std::time::Duration;

use oubliette::store::{EventStore, EventStoreExt, ExpectedRevision};
use oubliette_postgres::{
    OpenError, Options, PostgresError, PostgresStore, TableError, TableStore,
};

use super::{EVENTS, database, events, in_place::shop, row, table};
use crate::world::{event, everything, quick, stream};

const SECURED: &str = "ALTER TABLE events ADD tenant int NOT NULL DEFAULT 1; CREATE ROLE sealer LOGIN; GRANT ALL ON events TO sealer;
    ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON events USING (tenant = 1)";

/// A row that is not seen is not sealed, and nobody would know of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_rows_a_policy_hides_is_not_opened() {
    let Some(postgres) = quick() else { return };
    let (name, by_owner) = table(&postgres, EVENTS, events()).await;
    let url = postgres.url(&name).replace("postgres@", "sealer@");
    postgres.sql(&name, SECURED);
    postgres.sql(&name, &row(("user", "1"), 1, "{}"));
    let refused = TableStore::open(Options::new(&url), events()).await.unwrap_err();
    assert!(matches!(refused, TableError::Open(OpenError::RowSecurity(_))), "{refused:?}");
    assert!(refused.to_string().contains("BYPASSRLS"), "{refused}");
    assert_eq!(everything(&by_owner).await.len(), 1);
    // What is said is enough.
    postgres.sql(&name, "ALTER ROLE sealer BYPASSRLS");
    let opened = TableStore::open(Options::new(&url), events()).await.unwrap();
    assert_eq!(opened.why_not_in_place(), [""; 0]);
    // Switched on behind its back, it fails, and nothing is left out.
    let shop = shop(&opened).await;
    postgres.sql(&name, "ALTER ROLE sealer NOBYPASSRLS");
    let later = shop.seal_existing(&opened, |_| {}).await.unwrap_err();
    let told = std::error::Error::source(&later).unwrap().to_string();
    assert!(told.contains("row-level security"), "{told}");
    postgres.sql(&name, "DROP OWNED BY sealer; DROP ROLE sealer");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_our_own_whose_rows_a_policy_hides_are_not_opened() {
    let Some(postgres) = quick() else { return };
    let url = postgres.database();
    let name = database(&url);
    let owner = PostgresStore::create(&url).await.unwrap();
    let user = stream("user-1");
    owner.append_to(&user, ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    postgres.sql(
        name,
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA oubliette TO reader; GRANT ALL ON ALL TABLES IN SCHEMA oubliette TO reader",
    );
    let by_reader = url.replace("postgres@", "reader@");
    PostgresStore::open(&by_reader).await.unwrap();
    postgres.sql(
        name,
        "ALTER TABLE oubliette.event ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON oubliette.event USING (revision > 0)",
    );
    let refused = PostgresStore::open(&by_reader).await.unwrap_err();
    assert!(matches!(refused, OpenError::RowSecurity(_)), "{refused:?}");
    assert_eq!(owner.events(&user, Default::default()).await.unwrap().len(), 1);
    postgres.sql(name, "DROP OWNED BY reader; DROP ROLE reader");
}

/// Whatever the database has for its defaults, for the first connection as for all others.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_database_do_not_change_what_statements_mean() {
    let Some(postgres) = quick() else { return };
    for setting in [
        "standard_conforming_strings = off",
        "quote_all_identifiers = on",
        "default_transaction_read_only = on",
        "statement_timeout = '150ms'",
        "default_transaction_isolation = 'serializable'",
        "transform_null_equals = on",
        "row_security = on",
        "synchronous_commit = off",
    ] {
        let url = postgres.database();
        let name = database(&url);
        let serial = EVENTS.replace("bigint GENERATED ALWAYS AS IDENTITY", "bigserial");
        postgres.sql(name, &serial);
        postgres.sql(name, &format!("ALTER DATABASE {name} SET {setting}"));
        let options = || Options::new(&url).patience(Duration::from_secs(10));
        let store = TableStore::open(options(), events()).await.unwrap();
        assert!(!store.doubts().iter().any(|doubt| doubt.contains("positions grow")), "{setting}");
        let written = vec![event(r#"{"a":"\\ é","b":null}"#)];
        store.append_to(&stream("user-1"), ExpectedRevision::Any, written.clone()).await.unwrap();
        assert_eq!(everything(&store).await[0].data.as_ref(), Some(&written[0].data), "{setting}");
        let own = options().create().await.unwrap();
        own.append_to(&stream("user-1"), ExpectedRevision::Any, written.clone()).await.unwrap();
        assert_eq!(everything(&own).await[0].data.as_ref(), Some(&written[0].data), "{setting}");
        PostgresStore::open(&url).await.unwrap();
    }
    // Who says it in the address means it.
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", postgres.database());
    let refused = PostgresStore::create(&url).await.unwrap_err();
    let OpenError::Server(PostgresError::Server { code, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(code, "25006");
}

/// Its rows are read with the table's own, and no index of it covers them.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_others_inherit_from_is_read_and_not_appended_to() {
    let Some(postgres) = quick() else { return };
    let heir = "; CREATE TABLE events_2026 () INHERITS (events);
        INSERT INTO events_2026 SELECT nextval(pg_get_serial_sequence('events', 'position')), 'user', '1', 1, gen_random_uuid(), 'T', '{}', NULL, now()";
    let (_, store) = table(&postgres, &(EVENTS.to_owned() + heir), events()).await;
    assert!(
        store.why_read_only().join("; ").contains("events_2026"),
        "{:?}",
        store.why_read_only()
    );
    assert!(
        store.doubts().iter().any(|doubt| doubt.contains("events_2026")),
        "{:?}",
        store.doubts()
    );
    assert!(!store.capabilities().has(oubliette::store::Capability::ReadAll));
    let user = stream("user-1");
    assert_eq!(store.events(&user, Default::default()).await.unwrap().len(), 1);
    assert!(store.append_to(&user, ExpectedRevision::Any, vec![event("{}")]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_begins_anew_or_has_ended_is_told() {
    let Some(postgres) = quick() else { return };
    let sql = |more: &str| {
        EVENTS.replace(
            "position bigint GENERATED ALWAYS AS IDENTITY",
            &format!("position smallint GENERATED ALWAYS AS IDENTITY (MAXVALUE 3 {more})"),
        )
    };
    let (_, cycles) = table(&postgres, &sql("CYCLE"), events()).await;
    assert!(!cycles.capabilities().has(oubliette::store::Capability::ReadAll));
    assert!(
        cycles.doubts().iter().any(|doubt| doubt.contains("NO CYCLE")),
        "{:?}",
        cycles.doubts()
    );
    let (_, ends) = table(&postgres, &sql(""), events()).await;
    assert!(ends.capabilities().has(oubliette::store::Capability::ReadAll));
    let user = stream("user-1");
    let append = || ends.append_to(&user, ExpectedRevision::Any, vec![event("{}")]);
    for _ in 0..3 {
        append().await.unwrap();
    }
    let told = append().await.unwrap_err().to_string();
    assert!(told.contains("MAXVALUE"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_the_database_takes_for_one_are_lacking() {
    let Some(postgres) = quick() else { return };
    let sql = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ".to_owned()
        + &EVENTS.replace("event_id uuid NOT NULL DEFAULT gen_random_uuid()", "event_id text COLLATE loose NOT NULL");
    let (_, store) = table(&postgres, &sql, events()).await;
    assert!(
        store.why_read_only().join("; ").contains("COLLATE \"C\""),
        "{:?}",
        store.why_read_only()
    );
}
