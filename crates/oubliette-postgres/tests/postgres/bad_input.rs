//! What is wrong is refused, with words that say what to do.

use oubliette::{
    event::{Json, Revision},
    store::{
        EventStore, EventStoreExt, ExpectedRevision, Purge, Removed, Rewrite, Rewritten,
        StoreError, Stored,
    },
};
use oubliette_postgres::{OpenError, Options, Payloads, PostgresStore};
use oubliette_servers::{Postgres, free_port};

use crate::world::{event, postgres, stream};

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let port = free_port();
    for (url, is) in [
        ("nonsense", "address"),
        ("mysql://somebody@localhost/x", "address"),
        ("postgres:///x?port=abc", "address"),
        ("", "address"),
        (&*format!("postgres://u:hunter2@127.0.0.1:{port}/x"), "cannot be reached"),
        ("postgres://u:hunter2@no-such-host.invalid/x", "cannot be reached"),
    ] {
        let error = PostgresStore::open(url).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains(is), "{url}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(error.is_temporary(), is == "cannot be reached", "{told}");
    }
    let options = Options::new("postgres://u:hunter2@localhost/x");
    assert!(!format!("{options:?}").contains("hunter2"));
    for schema in ["", "Oubliette", "a b", "a;drop", "1a", "pg_mine", &"a".repeat(41)] {
        let refused = options.clone().schema(schema).open().await.unwrap_err();
        assert!(matches!(refused, OpenError::SchemaName(_)), "{refused}");
    }
}

#[tokio::test]
async fn what_is_there_and_is_not_ours_is_left_as_it_is() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let missing = PostgresStore::open(&url).await.unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");

    postgres.sql("test_0", "CREATE SCHEMA oubliette; CREATE TABLE oubliette.orders (id int)");
    for opened in [PostgresStore::open(&url).await, PostgresStore::create(&url).await] {
        let error = opened.unwrap_err();
        assert!(matches!(&error, OpenError::NotOurs { .. }), "{error}");
    }
    assert_eq!(postgres.sql("test_0", "SELECT count(*) FROM oubliette.orders"), "0");

    let other = Options::new(&url).schema("other");
    drop(other.clone().create().await.unwrap());
    drop(other.clone().open().await.unwrap());
    postgres.sql("test_0", "UPDATE other.meta SET value = '99' WHERE key = 'format'");
    for opened in [other.clone().open().await, other.clone().create().await] {
        let newer = opened.unwrap_err();
        assert!(matches!(newer, OpenError::Newer { found: 99, .. }), "{newer}");
    }
    postgres
        .sql("test_0", "UPDATE other.meta SET value = '1'; ALTER TABLE other.event SET UNLOGGED");
    let unlogged = other.clone().open().await.unwrap_err();
    assert!(matches!(unlogged, OpenError::Unlogged(_)), "{unlogged}");
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    drop(PostgresStore::create(&url).await.unwrap());
    postgres
        .sql("test_0", "CREATE ROLE nobody LOGIN; REVOKE CREATE ON DATABASE test_0 FROM PUBLIC");
    let nobody = url.replace("postgres@", "nobody@");
    let opened = PostgresStore::open(&nobody).await.unwrap_err();
    assert!(matches!(opened, OpenError::NoRights(_)), "{opened}");
    let made = Options::new(&nobody).schema("mine").create().await.unwrap_err();
    assert!(matches!(made, OpenError::NoRights(_)), "{made}");
    // What the message asks for is enough.
    postgres.sql(
        "test_0",
        "GRANT USAGE ON SCHEMA oubliette TO nobody; \
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA oubliette TO nobody",
    );
    let store = PostgresStore::open(&nobody).await.unwrap();
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    let unknown = PostgresStore::open(&url.replace("postgres@", "stranger@")).await.unwrap_err();
    assert!(matches!(unknown, OpenError::Refused(_)), "{unknown}");
    let nowhere = PostgresStore::open(&url.replace("test_0", "nowhere")).await.unwrap_err();
    assert!(matches!(nowhere, OpenError::Refused(_)), "{nowhere}");
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let Some(postgres) = postgres() else { return };
    postgres.sql(
        "postgres",
        "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    let refused = PostgresStore::create(&postgres.url("ascii")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Encoding(_)), "{refused}");
}

#[tokio::test]
async fn a_server_that_does_not_keep_what_it_acknowledges_is_told_of() {
    let Some(sure) = postgres() else { return };
    assert_eq!(PostgresStore::create(&sure.database()).await.unwrap().doubts(), [""; 0]);
    let unsure = Postgres::start_with(&[
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
    ]);
    let store = PostgresStore::create(&unsure.unwrap().database()).await.unwrap();
    let told = store.doubts().join("\n");
    assert!(told.contains("fsync = on") && told.contains("full_page_writes = on"), "{told}");
    // That one is switched on for each append.
    assert!(!told.contains("synchronous_commit"), "{told}");
}

/// Whatever the database has for its default: a rewriting that is lost would bring back what was sealed.
#[tokio::test]
async fn all_that_is_written_is_on_the_servers_disk_before_it_is_acknowledged() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let database = url.rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
    postgres.sql("postgres", &format!("ALTER DATABASE {database} SET synchronous_commit = off"));
    let store = PostgresStore::create(&url).await.unwrap();
    postgres.sql(
        &database,
        "CREATE TABLE seen (what text, how text);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO seen VALUES (TG_OP, current_setting('synchronous_commit')); RETURN NULL; END $$;
         CREATE TRIGGER look AFTER INSERT OR UPDATE OR DELETE ON oubliette.event EXECUTE FUNCTION look()",
    );
    let (first, other) = (event("{\"n\":1}"), event("{\"n\":2}"));
    store.append_to(&stream("a"), ExpectedRevision::Any, vec![first.clone()]).await.unwrap();
    let mut restored = store.last(&stream("a")).await.unwrap().unwrap();
    (restored.id, restored.revision) = (other.id, Revision(1));
    store.restore(vec![restored]).await.unwrap();
    let (id, revision, stream) = (first.id, Revision(0), stream("a"));
    let stored = |text: &str| Stored { data: Json::parse(text).unwrap().into(), metadata: None };
    let (from, to) = (stored("{\"n\":1}"), stored("{\"n\":3}"));
    let changed = Rewritten { stream: stream.clone(), revision, id, from, to };
    assert_eq!(store.rewrite(vec![changed]).await.unwrap(), [true]);
    assert_eq!(store.remove(vec![Removed { stream, revision, id }]).await.unwrap(), [true]);
    let seen = postgres.sql(&database, "SELECT string_agg(what || ' ' || how, ', ') FROM seen");
    assert_eq!(seen.trim(), "INSERT on, INSERT on, UPDATE on, DELETE on");
}

#[tokio::test]
async fn a_number_that_jsonb_cannot_hold_is_refused_and_nothing_is_written() {
    let Some(postgres) = postgres() else { return };
    let store = Options::new(postgres.database()).payloads(Payloads::Jsonb).create().await.unwrap();
    let too_far = event(r#"{"n":1e200000}"#);
    let refused =
        store.append_to(&stream("a"), ExpectedRevision::Any, vec![event("{}"), too_far]).await;
    assert!(matches!(&refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert!(store.events(&stream("a"), Default::default()).await.unwrap().is_empty());
    let far = event(r#"{"n":1e400,"m":9007199254740993,"o":-1e-400}"#);
    store.append_to(&stream("a"), ExpectedRevision::Any, vec![far.clone()]).await.unwrap();
    let found = store.last(&stream("a")).await.unwrap().unwrap();
    let canonical = |json: &Json| json.to_canonical();
    assert_eq!(found.data.unwrap().as_json().map(canonical), far.data.as_json().map(canonical));
}
