//! An event store that goes on being used: what it has in clear is sealed where it is, and what is dead goes.

#![allow(clippy::print_stderr)] // to skip loudly

use oubliette::{
    EventType, ExpectedRevision, Json, NewEvent, StreamName,
    store::{EventStore, EventStoreExt, SqliteStore},
};
use serde_json::Value;

use crate::world::{Ran, World};

const POLICY: &str = r#"
[[stream]]
match = "user-{id}"
layout = "split"
public = ["/n"]

[[stream]]
match = "account-{id}"
layout = "inline"
public = ["/owner", "/amount"]
owner = [ { event = "AccountOpened", add = "{/owner}" } ]
"#;

fn block_on<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(run)
}

/// What an application wrote before anybody thought of forgetting.
async fn fill(store: &impl EventStore) {
    for n in 0..40 {
        for (stream, event_type, data) in [
            (format!("user-{n}"), "UserRegistered", format!(r#"{{"n":{n},"name":"Mustermann"}}"#)),
            (
                format!("account-{n}"),
                "AccountOpened",
                format!(r#"{{"owner":"user-{n}","iban":"DE8937"}}"#),
            ),
        ] {
            let event =
                NewEvent::new(EventType::new(event_type).unwrap(), Json::parse(&data).unwrap());
            let stream = StreamName::new(stream).unwrap();
            store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
        }
    }
}

/// What a purge says in the end, where whole private halves go.
const HALF: &str = "1 private half removed, 2 events emptied";

/// From clear events to a forgetting of which nothing is left, over whatever store this is.
fn walk(world: &World, first: &[&str], purged: &str) {
    world.write("policy.toml", POLICY);
    let create = [first, &["vault", "create", "--policy", "policy.toml"]].concat();
    // Events in clear, which nobody said to keep.
    let told = world.fails(1, &create);
    assert!(!told.contains("Mustermann"), "{told}");
    world.ok(&[&create[..], &["--with-events"]].concat());
    assert_eq!(world.json(&["read-all"]).len(), 80);
    assert!(world.ok(&["read", "user-7"]).contains("Mustermann"));

    let told = world.ok(&["seal-existing", "--yes"]);
    // At a server the note whose events they are is one of them.
    assert!(told.contains("80 events sealed; ") && told.contains("; 0 in clear"), "{told}");
    let again = world.json(&["seal-existing", "--yes"]).remove(0);
    assert_eq!(again["sealed"], 0);
    assert!(again["already"].as_u64().unwrap() >= 80, "{again}");
    assert!(!world.ok(&["--no-vault", "read-all"]).contains("Mustermann"));
    assert!(world.ok(&["read", "user-7"]).contains("Mustermann"));
    // What comes now is split; what was there stays in one piece.
    world.ok(&["append", "user-50", "UserRegistered", "--data", r#"{"n":50,"name":"Erika"}"#]);

    for who in ["user-7", "user-50"] {
        world.ok(&["forget", who, "--reason", "asked", "--yes"]);
    }
    let before = world.json(&["read-all"]);
    let storage = world.json(&["storage"]).remove(0);
    let dead = storage["total"]["dead_bytes"].as_u64().unwrap();
    assert!(dead > 3 * 60, "{storage}");
    let shown = world.ok(&["storage"]);
    assert!(shown.contains("user-{id}") && shown.contains("account-{id}"), "{shown}");
    assert!(
        shown.contains("`oubliette purge` removes") && shown.contains("of 3 events"),
        "{shown}"
    );

    let told = world.fails(2, &["purge"]);
    assert!(told.contains("--yes"), "{told}");
    let Ran { code, stdout, stderr } = world.run(&["purge", "--yes"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains(purged), "{stdout}");
    assert!(stderr.contains("may still be in"), "{stderr}");
    let again = world.json(&["purge", "--yes"]).remove(0);
    assert_eq!((&again["removed"], &again["emptied"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(world.json(&["read-all"]), before, "it reads as before");
    let storage = world.json(&["storage"]).remove(0);
    assert_eq!(storage["total"]["dead_bytes"], 0, "{storage}");
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
}

#[test]
fn a_folder_of_clear_events_is_sealed_in_place_and_purged() {
    let world = World::new();
    block_on(async { fill(&SqliteStore::create(world.path("old")).unwrap()).await });
    assert!(world.finds("old", "Mustermann"));
    walk(&world, &["--store", "old"], HALF);
    assert!(!world.finds("old", "Mustermann") && !world.finds("old", "DE8937"));
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_database_of_clear_events_is_sealed_in_place_and_purged() {
    let Some(server) = crate::stores::postgres() else { return };
    let (world, url) = (World::new(), server.database());
    block_on(async {
        fill(&oubliette_postgres::PostgresStore::create(&url).await.unwrap()).await;
    });
    walk(&world, &["--store", &url], HALF);
}

/// The name of the database at an address.
#[cfg(all(unix, feature = "postgres"))]
fn name_of(url: &str) -> String {
    url.rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned()
}

/// The same of a table that an application made, which goes on writing to it.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_table_that_was_there_before_is_sealed_in_place_and_purged() {
    let Some(server) = crate::stores::postgres() else { return };
    let (world, url) = (World::new(), server.database());
    let database = name_of(&url);
    server.sql(
        &database,
        "CREATE TABLE history (
            position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            stream text NOT NULL, version int NOT NULL, kind text NOT NULL, payload jsonb NOT NULL, meta jsonb,
            id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (stream, version)
        );
        INSERT INTO history (stream, version, kind, payload)
        SELECT * FROM (
            SELECT 'user-' || n, 0, 'UserRegistered', jsonb_build_object('n', n, 'name', 'Mustermann')
            FROM generate_series(0, 39) n
            UNION ALL
            SELECT 'account-' || n, 0, 'AccountOpened', jsonb_build_object('owner', 'user-' || n, 'iban', 'DE8937')
            FROM generate_series(0, 39) n
        ) all_of_them",
    );
    world.write(
        "history.toml",
        "table = \"history\"\nposition = \"position\"\nstream = \"stream\"\nrevision = \"version\"\n\
         type = \"kind\"\ndata = \"payload\"\nmetadata = \"meta\"\nid = \"id\"\nrecorded = \"at\"\n",
    );
    let mark = if url.contains('?') { '&' } else { '?' };
    let table = format!("{url}{mark}mapping=history.toml");

    // A copy of it first, which changes nothing in it.
    let copied = [
        "--dir",
        "copy",
        "--root",
        "copy.root",
        "--policy",
        "policy.toml",
        "migrate",
        "--from",
        &table,
    ];
    world.write("policy.toml", POLICY);
    let told = world.ok(&copied);
    assert!(told.contains("80 copied") && told.contains("80 events the same"), "{told}");

    // The last row of a stream stays: the next revision is counted from it.
    let purged = "0 private halves removed, 3 events emptied";
    walk(&world, &["--store", &table], purged);
    // The file is found from wherever the program is called: the address that is noted has its whole path.
    let whole = world.path("history.toml");
    assert!(world.finds(".", whole.to_str().unwrap()));
    let rows = "SELECT string_agg(payload::text, '') FROM history WHERE stream LIKE 'user%'";
    assert!(!server.sql(&database, rows).contains("Mustermann"));

    // What does not fit, or is missing, is told.
    let other = format!("{url}{mark}mapping=nowhere.toml");
    let told = world.fails(1, &["--dir", "other", "migrate", "--from", &other]);
    assert!(told.contains("nowhere.toml cannot be read"), "{told}");
    world.write("bad.toml", "table = \"history\"\nstream = \"stream\"\n");
    let bad = format!("{url}{mark}mapping=bad.toml");
    let told = world.fails(1, &["--dir", "other", "migrate", "--from", &bad]);
    assert!(told.contains("bad.toml") && told.contains("it names no `position`"), "{told}");
    let told =
        world.fails(1, &["--dir", "other", "migrate", "--from", &format!("{table}&schema=x")]);
    assert!(told.contains("the file names its table"), "{told}");
}

/// Of a table that lacks what a change needs it is told what.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_table_in_which_nothing_can_be_changed_says_what_it_lacks() {
    let Some(server) = crate::stores::postgres() else { return };
    let (world, url) = (World::new(), server.database());
    let database = name_of(&url);
    server.sql(
        &database,
        "CREATE TABLE history (position bigserial PRIMARY KEY, stream text, version int, kind text, payload text)",
    );
    world.write(
        "history.toml",
        "table = \"history\"\nposition = \"position\"\nstream = \"stream\"\nrevision = \"version\"\n\
         type = \"kind\"\ndata = \"payload\"\n",
    );
    let mark = if url.contains('?') { '&' } else { '?' };
    let table = format!("{url}{mark}mapping=history.toml");
    let told = world.fails(1, &["--store", &table, "append", "user-1", "T"]);
    assert!(told.contains("nothing can be appended") && told.contains("unique"), "{told}");
}

#[test]
fn a_store_that_somebody_else_sealed_is_not_taken_for_clear() {
    let world = World::new();
    world.ok(&["--dir", "other", "--root", "other.root", "append", "user-1", "T"]);
    let create = ["--store", "other/events", "vault", "create", "--with-events"];
    let told = world.fails(1, &create);
    assert!(told.contains("nothing but events in clear"), "{told}");
    assert!(!world.path("oubliette-data").exists());
    // Nothing that stands in the way was made, and the other goes on.
    assert!(world.ok(&["--dir", "other", "verify"]).contains("as it should be"));
    // A store that nobody noted, in which one event is sealed.
    let copied = SqliteStore::create(world.path("copied")).unwrap();
    block_on(async {
        let from = SqliteStore::open(world.path("other/events")).unwrap();
        oubliette::store::copy(&from, &copied, None, &mut Some, &mut |_| {}).await.unwrap();
    });
    drop(copied);
    let told = world.fails(1, &["--store", "copied", "vault", "create", "--with-events"]);
    assert!(told.contains("nothing but events in clear"), "{told}");
    assert!(!world.path("oubliette-data").exists());
}

#[test]
fn an_event_that_is_refused_stays_in_clear_and_is_named() {
    let world = World::new();
    block_on(async {
        let store = SqliteStore::create(world.path("old")).unwrap();
        fill(&store).await;
        let event = NewEvent::new(EventType::new("T").unwrap(), Json::parse("{}").unwrap());
        let stream = StreamName::new("erika@example.org").unwrap();
        store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
    });
    world.write("policy.toml", POLICY);
    let create = ["--store", "old", "vault", "create", "--with-events", "--policy", "policy.toml"];
    world.ok(&create);
    let Ran { code, stdout, .. } = world.run(&["seal-existing", "--yes"]);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("80 events sealed") && stdout.contains("1 in clear"), "{stdout}");
    assert!(stdout.contains("stays in clear: ") && stdout.contains("looks like"), "{stdout}");
}

/// A person is in clear in streams in which they have no key: nothing is called forgotten before these are sealed.
#[test]
fn who_is_in_clear_somewhere_is_not_called_forgotten() {
    let world = World::new();
    let letter = |n: u32| {
        let data = format!(r#"{{"to":{{"user":"user-7","name":"Mustermann"}},"n":{n}}}"#);
        NewEvent::new(EventType::new("LetterSent").unwrap(), Json::parse(&data).unwrap())
    };
    block_on(async {
        let store = SqliteStore::create(world.path("old")).unwrap();
        for n in 0..3 {
            let stream = StreamName::new(format!("letter-{n}")).unwrap();
            store.append_to(&stream, ExpectedRevision::Any, vec![letter(n)]).await.unwrap();
        }
    });
    let policy = "[[stream]]\nmatch = \"letter-{id}\"\nlayout = \"inline\"\nsubject = \"{/to/user}\"\npublic = [\"/n\"]\n";
    world.write("policy.toml", policy);
    let create = ["--store", "old", "vault", "create", "--with-events", "--policy", "policy.toml"];
    world.ok(&create);
    world.ok(&[
        "append",
        "letter-9",
        "LetterSent",
        "--data",
        r#"{"to":{"user":"user-7","name":"M"},"n":9}"#,
    ]);
    let told = world.ok(&["plan", "user-7"]);
    assert!(told.contains("letter-1") && told.contains("--despite-unsealed"), "{told}");
    let told = world.fails(1, &["forget", "user-7", "--reason", "asked", "--yes"]);
    assert!(told.contains("3 events") && told.contains("letter-1"), "{told}");
    let told = world.ok(&["verify"]);
    assert!(told.contains("3 events in clear") && told.contains("seal-existing"), "{told}");
    assert!(world.fails(2, &["seal-existing"]).contains("--yes"));
    world.ok(&["seal-existing", "--yes"]);
    let told = world.ok(&["plan", "user-7"]);
    assert!(!told.contains("--despite-unsealed"), "{told}");
    world.ok(&["forget", "user-7", "--reason", "asked", "--yes"]);
    assert!(!world.ok(&["read-all"]).contains("Mustermann"));
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
}

/// The policy in the folder is not the one that counts: sealing by the other would be for good.
#[test]
fn nothing_is_sealed_by_a_policy_that_is_not_adopted() {
    let world = World::new();
    block_on(async { fill(&SqliteStore::create(world.path("old")).unwrap()).await });
    world.ok(&["--store", "old", "vault", "create", "--with-events"]);
    world.write("oubliette-data/policy.toml", POLICY);
    let told = world.fails(1, &["seal-existing", "--yes"]);
    assert!(told.contains("policy adopt"), "{told}");
    assert!(world.ok(&["--no-vault", "read-all"]).contains("Mustermann"), "sealed all the same");
    world.ok(&["policy", "adopt"]);
    world.ok(&["seal-existing", "--yes"]);
}

#[test]
fn there_are_events_where_events_are_to_be_kept() {
    let world = World::new();
    SqliteStore::create(world.path("empty")).unwrap();
    for store in ["nowhere", "empty"] {
        let told = world.fails(1, &["--store", store, "vault", "create", "--with-events"]);
        assert!(told.contains(store), "{told}");
        assert!(!world.path("oubliette-data").exists() && !world.path("nowhere").exists());
    }
    world.fails(1, &["vault", "create", "--with-events"]);
    assert!(!world.path("oubliette-data").exists());
    let told = world.fails(2, &["--store", "postgres//app@host/db", "vault", "create"]);
    assert!(told.contains("postgres://"), "{told}");
    assert!(!world.path("postgres").exists());
}
