//! Where a copy of a row may be that nobody reaches from here: each is named.

use std::{
    fs,
    net::TcpStream,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use oubliette::{
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision},
    vault::Vault,
};
use oubliette_postgres::{Options, PostgresStore, TableStore};
use oubliette_servers::{Postgres, free_port};

use super::{EVENTS, database, events, in_place::shop, row, table};
use crate::world::{event, quick, stream};

#[tokio::test(flavor = "multi_thread")]
async fn copies_within_the_database_are_named() {
    let settings = [("fsync", "off"), ("wal_level", "logical")];
    let (Some(_), Some(postgres)) = (quick(), Postgres::start_with(&settings)) else { return };
    let sql = EVENTS.replace("metadata json,", "metadata json, customer_name text, upper_name text GENERATED ALWAYS AS (upper(payload ->> 'name')) STORED,");
    let around = "; CREATE TABLE outbox (body text);
        CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO outbox VALUES (NEW.payload::text); RETURN NULL; END $$;
        CREATE TRIGGER noting AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION note_it();
        CREATE RULE doubling AS ON INSERT TO events DO ALSO INSERT INTO outbox VALUES (NEW.payload::text);
        CREATE VIEW over AS SELECT * FROM events; CREATE VIEW beyond AS SELECT * FROM over;
        CREATE MATERIALIZED VIEW kept AS SELECT payload ->> 'name' AS who FROM beyond;
        CREATE PUBLICATION abroad FOR TABLE events";
    let (name, store) = table(&postgres, &(sql + around), events()).await;
    for user in 1..=40 {
        postgres.sql(&name, &row(("user", &user.to_string()), 1, r#"{"name":"Ringelnatz"}"#));
    }
    postgres.sql(&name, "ANALYZE events; ALTER TABLE events ALTER upper_name SET STATISTICS 0");
    let done = shop(&store).await.seal_existing(&store, |_| {}).await.unwrap();
    assert_eq!((done.counts.sealed, done.counts.left), (40, 0), "{done:?}");
    let told = done.former_contents.join("\n");
    for named in [
        "trigger noting",
        "rule doubling",
        "materialized view kept",
        "publication abroad",
        "`customer_name`",
        "column upper_name",
    ] {
        assert!(told.contains(named), "{named}: {told}");
    }
    // What the database computes of others follows them.
    assert!(!told.contains("`upper_name`") && !told.contains("materialized view over"), "{told}");
}

/// A view over a part sees the rows of the whole.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_of_a_part_of_the_table_is_named() {
    let Some(postgres) = quick() else { return };
    let sql = EVENTS
        .replace(
            "    UNIQUE (aggregate_type, aggregate_id, sequence)\n)",
            "    CHECK (sequence > 0)\n) PARTITION BY RANGE (position)",
        )
        .replace("gen_random_uuid() UNIQUE", "gen_random_uuid()")
        + "; CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (1000);
        CREATE MATERIALIZED VIEW kept AS SELECT * FROM events_1;
        CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER noting AFTER UPDATE ON events_1 FOR EACH ROW EXECUTE FUNCTION note_it()";
    let (_, store) = table(&postgres, &sql, events()).await;
    let told = oubliette::store::Purge::scrub(&store).await.unwrap().join("\n");
    assert!(told.contains("materialized view kept") && told.contains("trigger noting"), "{told}");
}

/// Nobody is sent to the server once more, where its log would keep them.
#[tokio::test(flavor = "multi_thread")]
async fn sealing_writes_nobody_into_the_servers_log() {
    let settings = [
        ("fsync", "off"),
        ("log_statement", "all"),
        ("logging_collector", "on"),
        ("log_directory", "said"),
        ("log_filename", "log"),
    ];
    let (Some(_), Some(postgres)) = (quick(), Postgres::start_with(&settings)) else { return };
    let log = postgres.data().join("said/log");
    for is_own in [true, false] {
        let url = postgres.database();
        let name = database(&url);
        let begins = async || -> usize {
            // What was said before is there, since what is said now is.
            let mark = format!("mark {is_own}");
            postgres.sql(name, &format!("SELECT '{mark}'"));
            eventually(|| fs::read_to_string(&log).is_ok_and(|text| text.contains(&mark)));
            fs::read_to_string(&log).unwrap().len()
        };
        let (before, done) = if is_own {
            let own = PostgresStore::create(&url).await.unwrap();
            let clear = vec![event(r#"{"name":"Ringelnatz"}"#)];
            own.append_to(&stream("user-1"), ExpectedRevision::Any, clear).await.unwrap();
            let shop = Oubliette::open(
                own.clone(),
                Vault::in_memory().unwrap(),
                Policy::sealed_by_default(),
            );
            let (shop, before) = (shop.await.unwrap(), begins().await);
            (before, shop.seal_existing(&own, |_| {}).await.unwrap())
        } else {
            postgres.sql(name, EVENTS);
            postgres.sql(name, &row(("user", "1"), 1, r#"{"name":"Ringelnatz"}"#));
            let table = TableStore::open(Options::new(&url), events()).await.unwrap();
            let (shop, before) = (shop(&table).await, begins().await);
            (before, shop.seal_existing(&table, |_| {}).await.unwrap())
        };
        assert_eq!(done.counts.sealed, 1);
        let ends = format!("that was all {is_own}");
        postgres.sql(name, &format!("SELECT '{ends}'"));
        eventually(|| fs::read_to_string(&log).is_ok_and(|text| text.contains(&ends)));
        let said = fs::read_to_string(&log).unwrap();
        let said = &said[before..];
        assert!(said.contains("UPDATE"), "what it did is in there");
        assert!(!said.contains("Ringelnatz"), "{is_own}");
    }
}

/// Asks again until it is so.
fn eventually(mut so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(50));
    }
}

/// A copy of the server that follows it, and tells it which rows it still reads.
struct Standby {
    server: Child,
    // Behind the server, so that it is gone when this is removed.
    _folder: tempfile::TempDir,
}

impl Standby {
    fn of(postgres: &Postgres, port: u16) -> Self {
        let bin = postgres.sql("postgres", "SELECT setting FROM pg_config WHERE name = 'BINDIR'");
        let owner = fs::metadata(postgres.data()).unwrap();
        let run = |program: &str| {
            let mut command = Command::new(format!("{bin}/{program}"));
            command.uid(owner.uid()).gid(owner.gid()).current_dir("/").stderr(Stdio::null());
            command
        };
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let data = folder.path().join("data");
        let from = postgres.port().to_string();
        let mut copying = run("pg_basebackup");
        copying.args([
            "-h",
            "127.0.0.1",
            "-p",
            &from,
            "-U",
            "postgres",
            "--no-sync",
            "-R",
            "-X",
            "stream",
            "-D",
        ]);
        assert!(copying.arg(&data).status().unwrap().success());
        let file = data.join("postgresql.auto.conf");
        let mut settings = fs::read_to_string(&file).unwrap();
        settings.push_str(&format!(
            "port = {port}\nhot_standby_feedback = on\nwal_receiver_status_interval = 1s\n"
        ));
        fs::write(&file, settings).unwrap();
        let server = run("postgres").arg("-D").arg(&data).spawn().unwrap();
        Self { server, _folder: folder }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// One who reads at a standby keeps rows at the primary, by a process that shows neither its database nor, to who is no
/// superuser, what it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_keeps_rows_is_told_of_to_the_owner_of_the_table() {
    let Some(postgres) = quick() else { return };
    let (name, _) = table(&postgres, EVENTS, events()).await;
    postgres.sql(&name, &row(("user", "1"), 1, "{}"));
    postgres.sql(&name, "CREATE ROLE owner LOGIN; ALTER TABLE events OWNER TO owner");
    let port = free_port();
    let standby = Standby::of(&postgres, port);
    eventually(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    let at_standby = format!("postgres://postgres@127.0.0.1:{port}/{name}");
    let reader = loop {
        if let Ok((client, connection)) =
            tokio_postgres::connect(&at_standby, tokio_postgres::NoTls).await
        {
            tokio::spawn(connection);
            break client;
        }
        thread::sleep(Duration::from_millis(50));
    };
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM events")
        .await
        .unwrap();
    eventually(|| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname IS NULL AND backend_xmin IS NOT NULL";
        postgres.sql(&name, sql) != "0"
    });
    let url = postgres.url(&name).replace("postgres@", "owner@");
    let options = Options::new(url).patience(Duration::from_secs(2));
    let store = TableStore::open(options, events()).await.unwrap();
    let done = shop(&store).await.seal_existing(&store, |_| {}).await.unwrap();
    let told = done.former_contents.join("\n");
    assert!(told.contains("older transactions still see (process"), "{told}");
    drop((reader, standby));
}

/// Made by editing the catalog, as an update of the system's library does.
#[tokio::test(flavor = "multi_thread")]
async fn a_collation_that_sorts_otherwise_than_the_indexes_is_told() {
    let Some(postgres) = quick() else { return };
    let sql = EVENTS.replace("aggregate_id text", "aggregate_id text COLLATE \"de-x-icu\"");
    let (name, before) = table(&postgres, &sql, events()).await;
    let is_told =
        |store: &TableStore| store.doubts().iter().any(|doubt| doubt.contains("REINDEX TABLE"));
    assert!(!is_told(&before));
    postgres.sql(&name, "UPDATE pg_collation SET collversion = '1.1' WHERE collname = 'de-x-icu'");
    let after = TableStore::open(Options::new(postgres.url(&name)), events()).await.unwrap();
    assert!(is_told(&after), "{:?}", after.doubts());
    postgres.sql(&name, "REINDEX TABLE events; ALTER COLLATION \"de-x-icu\" REFRESH VERSION");
    let mended = TableStore::open(Options::new(postgres.url(&name)), events()).await.unwrap();
    assert!(!is_told(&mended));
}

#[tokio::test(flavor = "multi_thread")]
async fn milliseconds_that_are_taken_for_microseconds_are_told() {
    let Some(postgres) = quick() else { return };
    let sql = EVENTS.replace(
        "at timestamptz NOT NULL DEFAULT now()",
        "at bigint NOT NULL DEFAULT 1735689600000",
    );
    let (name, _) = table(&postgres, &sql, events()).await;
    postgres.sql(&name, &row(("user", "1"), 1, "{}"));
    let is_told = async || {
        let store = TableStore::open(Options::new(postgres.url(&name)), events()).await.unwrap();
        store.doubts().iter().any(|doubt| doubt.contains("microseconds"))
    };
    assert!(is_told().await);
    postgres.sql(&name, "UPDATE events SET at = at * 1000");
    assert!(!is_told().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_table_whose_rows_nobody_could_tell_apart_is_not_changed_in_place() {
    let settings = [("fsync", "off"), ("wal_level", "logical")];
    let (Some(_), Some(postgres)) = (quick(), Postgres::start_with(&settings)) else { return };
    let sql =
        EVENTS.replace("PRIMARY KEY", "UNIQUE") + "; CREATE PUBLICATION abroad FOR TABLE events";
    let (name, store) = table(&postgres, &sql, events()).await;
    postgres.sql(&name, &row(("user", "1"), 1, "{}"));
    let why = store.why_not_in_place().join("; ");
    let statement = why.split("run ").nth(1).expect(&why);
    postgres.sql(&name, statement);
    let store = TableStore::open(Options::new(postgres.url(&name)), events()).await.unwrap();
    assert_eq!(store.why_not_in_place(), [""; 0]);
    let done = shop(&store).await.seal_existing(&store, |_| {}).await.unwrap();
    assert_eq!(done.counts.sealed, 1);
}
