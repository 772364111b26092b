//! Data folders whose events are at a PostgreSQL server: a real one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use oubliette::{
    EventType, ExpectedRevision, Json, NewEvent, Oubliette, Policy, StreamName, Vault,
    store::EventStoreExt,
};
use oubliette_postgres::PostgresStore;
use oubliette_servers::{Postgres, free_port, skipped};

use crate::{
    backup::keygen,
    world::{Ran, World, files},
};

const POLICY: &str = "\
[[stream]]
match = \"user-{id}\"
layout = \"inline\"
public = [\"/id\"]
";

/// A server of the test's own.
pub(crate) fn postgres() -> Option<Postgres> {
    let server = Postgres::start();
    if server.is_none() {
        skipped("OUBLIETTE_REQUIRE_POSTGRES", "PostgreSQL is not installed");
    }
    server
}

fn row(user: u32, name: &str) -> String {
    format!(
        "{{\"stream\":\"user-{user}\",\"type\":\"Registered\",\"data\":{{\"id\":{user},\"name\":\"{name}\"}}}}\n"
    )
}

fn has(file: &Path, needle: &str) -> bool {
    let bytes = fs::read(file).unwrap();
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// The files of a server in which a text stands.
fn files_with(server: &Postgres, needle: &str) -> Vec<PathBuf> {
    server.sql("postgres", "CHECKPOINT");
    files(&server.data()).into_iter().filter(|file| file.exists() && has(file, needle)).collect()
}

/// What a program makes that uses the library, or somebody who does not.
fn block_on<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(run)
}

async fn append(store: &impl EventStoreExt, stream: &str) {
    let data = Json::parse(r#"{"name":"Erika"}"#).unwrap();
    let event = NewEvent::new(EventType::new("Registered").unwrap(), data);
    let stream = StreamName::new(stream).unwrap();
    store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
}

#[test]
fn every_command_works_over_postgresql() {
    let Some(server) = postgres() else { return };
    let (world, url) = (World::new(), server.database());
    world.write("policy.toml", POLICY);
    world.write("events.ndjson", [row(1, "Erika Mustermann"), row(2, "Max Zuse")].concat());
    let import = ["--store", &url, "--policy", "policy.toml", "import", "events.ndjson"];
    assert!(world.ok(&import).contains("2 imported"));
    // From here on it is noted.
    assert!(world.ok(&["import", "events.ndjson"]).contains("2 already there"));
    assert!(!world.path("oubliette-data/events").exists());
    let told = world.ok(&[
        "append",
        "user-1",
        "Moved",
        "--expect",
        "0",
        "--data",
        r#"{"id":1,"to":"Bremen"}"#,
    ]);
    assert!(told.contains("revision 1"), "{told}");
    world.fails(3, &["append", "user-1", "Moved", "--expect", "0"]);
    assert_eq!(world.data("user-1")[0]["name"], "Erika Mustermann");
    let all = world.json(&["read-all"]);
    assert_eq!(all.len(), 3);
    let after = all[0]["position"].as_str().unwrap();
    assert_eq!(world.json(&["read-all", "--after", after, "--backwards"]).len(), 0);
    assert_eq!(world.json(&["read-all", "--after", after]).len(), 2);
    let heard = world.json(&["subscribe", "--until-caught-up", "--type", "Moved"]);
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(world.ok(&["--no-vault", "read-all"]).contains(r#"{"id":1}"#));
    assert!(world.ok(&["--read-only", "read", "user-2"]).contains("Zuse"));
    assert!(world.ok(&["inventory"]).contains("user-1"));
    assert!(world.ok(&["plan", "user-1"]).contains("user-1"));
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
    assert_eq!(world.ok(&["policy", "show"]), POLICY);
    world.ok(&["policy", "adopt"]);
    world.ok(&["claims"]);
    world.ok(&["rotate", "user-2", "--yes"]);
    let to = keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);

    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    let read = world.ok(&["read", "user-1"]);
    assert!(read.contains("shredded") && !read.contains("Mustermann"), "{read}");
    world.fails(4, &["append", "user-1", "Moved"]);
    assert_eq!(world.json(&["erasures"]).len(), 1);
    world.write("erasures.ndjson", world.ok(&["erasures", "export"]));
    world.ok(&["erasures", "repeat"]);
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
    // Nothing of them was ever in the server in clear.
    for name in ["Mustermann", "Bremen", "Zuse"] {
        assert_eq!(files_with(&server, name), Vec::<PathBuf>::new(), "{name}");
    }
    world.write("needles.txt", "Mustermann\n");
    // The database's own files, and the log.
    let oid = server.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'test_0'");
    let (base, log) = (server.data().join("base").join(oid), server.data().join("pg_wal"));
    let paths = [base.to_str().unwrap(), log.to_str().unwrap()];
    let drill = ["drill", paths[0], paths[1], "--needles", "needles.txt"];
    let drilled = world.run(&drill);
    assert_eq!(drilled.code, 0, "{}{}", drilled.stdout, drilled.stderr);
    assert!(drilled.stderr.contains("the event store is at postgres://"), "{}", drilled.stderr);

    // The vault is lost, and comes back beside the server: with what was forgotten since.
    fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
    assert!(world.fails(1, &["read", "user-2"]).contains("no vault at"));
    world.ok(&["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"]);
    let read = world.ok(&["read", "user-1"]);
    assert!(read.contains("shredded") && !read.contains("Mustermann"), "{read}");
    assert_eq!(world.data("user-2")[0]["name"], "Max Zuse");
    world.ok(&["reopen", "user-1"]);
    world.ok(&["append", "user-1", "Moved", "--data", r#"{"id":1}"#]);
}

/// The whole machine is lost but the server's: folder, settings and slot.
#[test]
fn a_folder_that_is_lost_is_restored_beside_its_server() {
    let Some(server) = postgres() else { return };
    let (world, url) = (World::new(), server.database());
    world.ok(&["--store", &url, "append", "user-1", "T", "--data", "\"kept\""]);
    let to = keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    for lost in ["oubliette-data", "config", "state"] {
        fs::remove_dir_all(world.path(lost)).unwrap();
    }
    let restore = ["restore", "copy.age", "--identity", "key.txt"];
    assert!(world.fails(1, &restore).contains("no events at"));
    let empty = server.database();
    let told = world.fails(1, &[&["--store", &empty], &restore[..]].concat());
    assert!(told.contains("no event store in the schema"), "{told}");
    assert!(!world.path("oubliette-data").exists());
    world.ok(&[&["--store", &url], &restore[..]].concat());
    assert_eq!(world.data("user-1"), ["kept"]);
}

#[test]
fn what_belongs_to_another_folder_is_refused() {
    let Some(server) = postgres() else { return };
    let (one, two, url) = (World::new(), World::new(), server.database());
    one.ok(&["--store", &url, "vault", "create"]);
    // Nothing but its note is there, and the second folder leaves none.
    for command in [&["append", "s-1", "T"][..], &["vault", "create"]] {
        let told = two.fails(1, &[&["--store", &url], command].concat());
        assert!(told.contains("must be empty") && told.contains("?schema="), "{told}");
        assert!(!two.path("oubliette-data").exists());
    }
    one.ok(&["append", "s-1", "T", "--data", "\"one\""]);
    two.fails(1, &["--store", &url, "append", "s-1", "T"]);
    // A schema of its own.
    let other = format!("{url}?schema=two");
    two.ok(&["--store", &other, "append", "s-1", "T", "--data", "\"two\""]);
    assert_eq!((one.data("s-1"), two.data("s-1")), (vec!["one".into()], vec!["two".into()]));
    // One's vault and two's events.
    let told = one.fails(1, &["--store", &other, "read", "s-1"]);
    assert!(told.contains("are sealed by vault"), "{told}");
    let told = one.fails(1, &["--store", &other, "append", "s-1", "T"]);
    assert!(told.contains("are sealed by vault"), "{told}");
    // Events that nobody sealed, or of which nobody said so.
    let clear = server.database();
    block_on(async { append(&PostgresStore::create(&clear).await.unwrap(), "user-1").await });
    let told = one.fails(1, &["--store", &clear, "read", "s-1"]);
    assert!(told.contains("do not say that vault") && told.contains("oubliette migrate"), "{told}");
    let told = two.fails(1, &["--dir", "new", "--store", &clear, "append", "s-1", "T"]);
    assert!(told.contains("must be empty"), "{told}");
    // A store from which all is gone.
    let empty = server.database();
    block_on(async { drop(PostgresStore::create(&empty).await.unwrap()) });
    let told = one.fails(1, &["--store", &empty, "read", "s-1"]);
    assert!(told.contains("there are no events at postgres://"), "{told}");
    let missing = server.database();
    let told = one.fails(1, &["--json", "--store", &missing, "read", "s-1"]);
    assert!(told.contains(r#""kind":"postgres.missing""#), "{told}");
}

#[test]
fn a_vault_and_a_server_that_a_program_used_are_attached() {
    let Some(server) = postgres() else { return };
    let (world, url) = (World::new(), server.database());
    fs::create_dir(world.path("bank")).unwrap();
    block_on(async {
        let vault = Vault::create(&world.path("bank/keys"), &*world.path("bank/root")).unwrap();
        let store = PostgresStore::create(&url).await.unwrap();
        let store = Oubliette::open(store, vault, Policy::sealed_by_default()).await.unwrap();
        append(&store, "user-1").await;
    });
    let attach = |dir: &str, vault: &str, root: &str| {
        world.run(&[
            "--dir", dir, "--root", root, "--vault", vault, "--store", &url, "vault", "attach",
        ])
    };
    let attached = attach("folder", "bank/keys", "bank/root");
    assert_eq!(attached.code, 0, "{}", attached.stderr);
    assert!(world.ok(&["--dir", "folder", "read", "user-1"]).contains("Erika"));
    // Another vault than the one that sealed the events.
    world.ok(&["--dir", "shop", "--root", "shop.root", "append", "s-1", "T"]);
    fs::rename(world.path("shop/vault"), world.path("vault")).unwrap();
    let told = attach("other", "vault", "shop.root");
    assert!(told.code == 1 && told.stderr.contains("are sealed by vault"), "{}", told.stderr);
    assert!(!world.path("other").exists());
}

#[test]
fn what_is_wrong_with_an_address_is_said_and_nothing_is_made() {
    let Some(server) = postgres() else { return };
    let (world, url) = (World::new(), server.database());
    let append = |store: &str| world.run(&["--store", store, "append", "s-1", "T"]);
    let refused = |store: &str, code: i32, why: &str| {
        let told = append(store);
        assert_eq!(told.code, code, "{store}: {}{}", told.stdout, told.stderr);
        assert!(told.stderr.contains(why), "{store}: {}", told.stderr);
        assert!(!world.path("oubliette-data").exists(), "{store}");
        assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 0, "{store}");
    };
    refused("foo://bar", 2, "begin with `foo://`");
    refused("postgres:bar", 2, "neither an address");
    if !cfg!(feature = "kafka") {
        refused("kafka://bar", 2, "built without kafka://");
    }
    if !cfg!(feature = "jetstream") {
        refused("nats://u:hush@bar", 2, "built without nats://");
    }
    refused("sqlite:", 2, "neither a folder nor a server");
    let closed = format!("postgres://postgres@127.0.0.1:{}/x", free_port());
    refused(&closed, 1, "cannot be reached");
    refused(&server.url("nothing_of_this_name"), 1, "refuses the connection");
    refused(&format!("{url}?schema=Bad%20name"), 1, "cannot be a schema");
    refused(&format!("{url}?payloads=xml"), 1, "json, jsonb or text");
    server.sql("postgres", "CREATE ROLE guest LOGIN");
    refused(&url.replace("postgres@", "guest@"), 1, "lacks a right");
    let other = server.database();
    let name = other.rsplit('/').next().unwrap();
    server.sql(name, "CREATE SCHEMA oubliette; CREATE TABLE oubliette.theirs (id int)");
    refused(&other, 1, "holds something else");
    // A folder by any other name.
    world.ok(&["--store", "./foo:bar", "append", "s-1", "T"]);
    assert!(world.path("foo:bar/events.db").exists());
}

#[test]
fn a_password_is_neither_noted_nor_printed() {
    let Some(server) = postgres() else { return };
    let (world, database) = (World::new(), server.database());
    let name = database.rsplit('/').next().unwrap();
    server.sql("postgres", "CREATE ROLE bank LOGIN PASSWORD 'hu/sh@it'");
    server.sql("postgres", &format!("ALTER DATABASE {name} OWNER TO bank"));
    let hba = server.data().join("pg_hba.conf");
    let rules = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("host all bank 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()");
    let bare = database.replace("postgres@", "bank@");
    let full = database.replace("postgres@", "bank:hu%2Fsh%40it@");
    let run = |password: Option<&str>, args: &[&str]| -> Ran {
        let mut command = world.command(args);
        password.map(|password| command.env("OUBLIETTE_STORE_PASSWORD", password));
        let ran: Ran = command.output().unwrap().into();
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains("hu/sh") && !text.contains("hu%2Fsh"), "{text}");
        }
        ran
    };
    let append = |store: &str, password| run(password, &["--store", store, "append", "s-1", "T"]);
    let right = Some("hu/sh@it");
    let told = append(&bare, None);
    assert!(told.code == 1 && told.stderr.contains("OUBLIETTE_STORE_PASSWORD"), "{}", told.stderr);
    assert!(append(&bare, Some("wrong")).stderr.contains("refuses the connection"));
    let ran = append(&full, None);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("can see command lines"), "{}", ran.stderr);
    for file in files(world.dir.path()) {
        assert!(!has(&file, "hu/sh") && !has(&file, "hu%2Fsh"), "{}", file.display());
    }
    // Noted without it, and asked for.
    assert_eq!(run(None, &["read", "s-1"]).code, 1);
    assert_eq!(run(right, &["read", "s-1"]).code, 0);
    assert_eq!(append(&bare, right).code, 0);
    let parameter = database.replace("postgres@", "bank@") + "?password=hu%2Fsh%40it";
    assert_eq!(append(&parameter, None).code, 0);
    for json in [&["--json"][..], &[]] {
        let damaged = database.replace("postgres@", "bank:hu/sh@it@");
        let told = run(None, &[json, &["--store", &damaged, "read", "s-1"]].concat());
        assert!(told.code == 2 && told.stderr.contains("%40"), "{}", told.stderr);
    }
    // Nothing listens there.
    let closed = format!("postgres://bank:hu%2Fsh%40it@127.0.0.1:{}/x", free_port());
    assert_eq!(run(None, &["--json", "--store", &closed, "read", "s-1"]).code, 1);
}

/// The store that is copied may be somebody else's, under another password.
#[test]
fn the_password_of_the_store_that_is_copied_is_its_own() {
    let Some(server) = postgres() else { return };
    let (world, database) = (World::new(), server.database());
    block_on(async { append(&PostgresStore::create(&database).await.unwrap(), "user-1").await });
    let name = database.rsplit('/').next().unwrap();
    server.sql("postgres", "CREATE ROLE shop LOGIN PASSWORD 'hu/sh@it'");
    server.sql(
        name,
        "GRANT USAGE ON SCHEMA oubliette TO shop; GRANT SELECT ON ALL TABLES IN SCHEMA oubliette TO shop",
    );
    let hba = server.data().join("pg_hba.conf");
    let rules = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("host all shop 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()");
    let from = database.replace("postgres@", "shop@");
    let run = |variable: &str, password: &str| -> Ran {
        let mut command = world.command(&["migrate", "--from", &from]);
        let ran: Ran = command.env(variable, password).output().unwrap().into();
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains("hu/sh") && !text.contains("hu%2Fsh"), "{text}");
        }
        ran
    };
    for (variable, password) in [
        ("OUBLIETTE_STORE_PASSWORD", "hu/sh@it"),
        ("OUBLIETTE_FROM_PASSWORD", "wrong"),
        ("OUBLIETTE_FROM_PASSWORD", ""),
    ] {
        let ran = run(variable, password);
        assert_eq!(ran.code, 1, "{variable}: {}{}", ran.stdout, ran.stderr);
        assert!(!world.path("oubliette-data").exists(), "{variable}");
    }
    let ran = run("OUBLIETTE_FROM_PASSWORD", "hu/sh@it");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(world.data("user-1")[0]["name"], "Erika");
    for file in files(world.dir.path()) {
        assert!(!has(&file, "hu/sh") && !has(&file, "hu%2Fsh"), "{}", file.display());
    }
}

#[test]
fn a_server_that_does_not_keep_what_it_acknowledges_is_told_of() {
    let Some(server) = Postgres::start_with(&[("fsync", "off")]) else {
        return skipped("OUBLIETTE_REQUIRE_POSTGRES", "PostgreSQL is not installed");
    };
    let (world, url) = (World::new(), server.database());
    let says = |ran: Ran| {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("fsync = off:").count(), 1, "{}", ran.stderr);
    };
    says(world.run(&["--store", &url, "append", "s-1", "T"]));
    says(world.run(&["read", "s-1"]));
    says(world.run(&["--json", "--no-vault", "read", "s-1"]));
}

#[test]
fn a_server_that_is_away_is_told_of_and_nothing_is_lost() {
    let Some(mut server) = postgres() else { return };
    let (world, url) = (World::new(), server.database());
    world.ok(&["--store", &url, "append", "s-1", "T", "--data", "\"kept\""]);
    server.kill();
    let told = world.fails(1, &["append", "s-1", "T"]);
    assert!(told.contains("cannot be opened") && told.contains("try again"), "{told}");
    assert!(world.fails(1, &["--no-vault", "read", "s-1"]).contains("cannot be opened"));
    server.restart();
    assert_eq!(world.data("s-1"), ["kept"]);
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
}

/// Also what opening a server's store may have to mend.
#[test]
fn read_only_writes_nothing_to_a_server() {
    let Some(server) = postgres() else { return };
    let (world, url) = (World::new(), server.database());
    world.ok(&["--store", &url, "append", "s-1", "T", "--data", "\"kept\""]);
    let name = url.rsplit('/').next().unwrap();
    // As of one who may only look.
    server.sql(
        name,
        "CREATE ROLE looks LOGIN; GRANT USAGE ON SCHEMA oubliette TO looks; \
         GRANT SELECT ON ALL TABLES IN SCHEMA oubliette TO looks",
    );
    let looks = url.replace("postgres@", "looks@");
    assert!(world.ok(&["--read-only", "--store", &looks, "read", "s-1"]).contains("kept"));
    assert!(world.ok(&["--read-only", "--store", &looks, "verify"]).contains("as it should be"));
    let told = world.fails(2, &["--read-only", "append", "s-1", "T"]);
    assert!(told.contains("--read-only"), "{told}");
}
