//! `migrate`: what another store has in clear comes into the data folder, sealed and otherwise as it was.

#![allow(clippy::print_stderr)] // to skip loudly

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use oubliette::{
    EventType, Json, NewEvent, StreamName,
    event::{EventId, Payload, Position, RecordedEvent, Revision, Timestamp},
    store::{EventStore, EventStoreExt, ExpectedRevision, ReadAllOptions, SqliteStore},
};
use serde_json::{Value, json};

use crate::world::World;

const POLICY: &str = "\
[[stream]]
match = \"user-{id}\"
layout = \"inline\"
public = [\"/n\"]
";

fn block_on<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(run)
}

/// An event as an application recorded it years ago.
fn recorded(stream: &str, revision: u64, n: u64, event_type: &str) -> RecordedEvent {
    let data = format!("{{\"n\":{n},\"name\":\"Erika Mustermann {n}\"}}");
    RecordedEvent::plain(
        StreamName::new(stream).unwrap(),
        Revision(revision),
        Position::number(0),
        EventId::random(),
        EventType::new(event_type).unwrap(),
        Timestamp::from_micros(1_500_000_000_000_000 + n as i64 * 1_000_001),
        Payload::Json(Json::parse(&data).unwrap()),
        None,
    )
}

/// Events of some users, in turn.
async fn fill(store: &impl EventStore, events: u64, users: u64) {
    let all: Vec<_> = (0..events)
        .map(|n| recorded(&format!("user-{}", n % users), n / users, n, "Happened"))
        .collect();
    for some in all.chunks(500) {
        store.restore(some.to_vec()).await.unwrap();
    }
}

/// A world, and a store of clear events in `clear`.
fn clear(events: u64, users: u64) -> World {
    let world = World::new();
    let store = SqliteStore::create(world.path("clear")).unwrap();
    block_on(fill(&store, events, users));
    world.write("policy.toml", POLICY);
    world
}

/// What is to be the same of an event.
fn said(row: &Value) -> [Value; 6] {
    ["stream", "revision", "recorded", "id", "type", "data"].map(|name| row[name].clone())
}

fn source(folder: &Path) -> Vec<[Value; 6]> {
    let store = SqliteStore::open(folder).unwrap();
    let events: Vec<_> =
        block_on(store.read_all(ReadAllOptions::default()).try_collect::<Vec<_>>()).unwrap();
    let row = |event: &RecordedEvent| {
        let data = event.data.as_ref().unwrap().as_json().unwrap().as_str();
        let data: Value = serde_json::from_str(data).unwrap();
        let Value::Array(all) =
            json!([event.stream, event.revision, event.recorded, event.id, event.event_type, data])
        else {
            unreachable!()
        };
        all.try_into().unwrap()
    };
    events.iter().filter(|event| event.stream.as_str().starts_with("user-")).map(row).collect()
}

const MIGRATE: [&str; 4] = ["--policy", "policy.toml", "migrate", "--from"];

fn migrate<'a>(from: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&MIGRATE[..], &[from], more].concat()
}

#[test]
fn a_folder_of_clear_events_is_copied_as_it_was_and_sealed() {
    let world = clear(700, 30);
    // Another vault's word, in the midst.
    block_on(async {
        let store = SqliteStore::open(world.path("clear")).unwrap();
        store
            .restore(vec![
                recorded("oubliette-announcements", 0, 1, "Told"),
                recorded("oubliette-other", 0, 2, "Noted"),
                recorded("user-29", 23, 3, "SubjectForgotten"),
            ])
            .await
            .unwrap();
    });
    let ran = world.run(&migrate("clear", &[]));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("700 copied, 0 there already"), "{}", ran.stdout);
    assert!(ran.stdout.contains("2 events in `oubliette-*` left out"), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 tombstone left out"), "{}", ran.stdout);
    assert!(ran.stdout.contains("700 events the same"), "{}", ran.stdout);
    assert!(ran.stderr.contains("clear is as it was, in clear"), "{}", ran.stderr);
    let rows = world.json(&["read-all"]);
    let expected: Vec<_> =
        source(&world.path("clear")).into_iter().filter(|row| row[4] == "Happened").collect();
    assert_eq!(rows.iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!(world.ok(&["policy", "show"]), POLICY);
    assert!(!world.finds("oubliette-data", "Mustermann"));
    // What is public is.
    assert!(world.ok(&["--no-vault", "read", "user-1"]).contains(r#""n":1"#));

    let again = world.json(&migrate("sqlite:clear", &[])).remove(0);
    let expected = json!({
        "copied": 0, "already": 700, "left_out": { "bookkeeping": 2, "tombstones": 1 },
        "forgotten": 0, "shredded": 0, "not_kept": [], "same": true, "compared": 700,
        "later": 0, "different": null,
    });
    assert_eq!(again, expected);
    // What came since is copied behind it.
    block_on(async {
        let store = SqliteStore::open(world.path("clear")).unwrap();
        let event = recorded("user-99", 0, 4711, "Happened");
        store.restore(vec![event]).await.unwrap();
    });
    assert!(world.ok(&migrate("clear", &[])).contains("1 copied, 700 there already"));
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    assert!(!world.ok(&["read", "user-1"]).contains("Mustermann"));
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let world = clear(60, 6);
    block_on(async {
        let store = SqliteStore::open(world.path("clear")).unwrap();
        let odd = [
            recorded("cart-1", 0, 1, "Filled"),
            recorded("cart-1", 1, 2, "Filled"),
            recorded("erika@example.org", 0, 3, "Said"),
            recorded("oubliette-announcements", 0, 4, "Told"),
        ];
        store.restore(odd.to_vec()).await.unwrap();
    });
    let ran = world.run(&migrate("clear", &["--dry-run"]));
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("63 events of 8 streams to copy"), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 event in `oubliette-*` left out"), "{}", ran.stdout);
    assert!(ran.stdout.contains("no rule of the policy matches 2 streams"), "{}", ran.stdout);
    assert!(ran.stdout.contains("cart-1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 event would be refused"), "{}", ran.stdout);
    assert!(!world.path("oubliette-data").exists() && !world.path("state").exists());
    let told = world.run(&[&["--json"], &migrate("clear", &["--dry-run"])[..]].concat());
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["events"], 63);
    assert_eq!(told["without_rule"]["events"], 3);
    assert_eq!(told["refused"][0]["count"], 1);
    assert_eq!(told["not_kept"], json!([]));
    // The copy itself stops there, says why, and leaves what came before.
    let told = world.run(&migrate("clear", &[]));
    assert!(told.code == 1 && told.stderr.contains("looks like"), "{}", told.stderr);
    assert!(told.stderr.contains("revision 0 of erika@example.org"), "{}", told.stderr);
    // Of a folder that is there, its own policy counts.
    let world = clear(6, 3);
    world.ok(&["--policy", "policy.toml", "vault", "create"]);
    let told = world.ok(&["--read-only", "migrate", "--from", "clear", "--dry-run"]);
    assert!(told.contains("6 events of 3 streams") && !told.contains("no rule"), "{told}");
}

#[test]
fn what_is_sealed_is_no_source() {
    let world = clear(3, 3);
    world.ok(&["--dir", "old", "--root", "old.root", "append", "s-1", "T"]);
    let told = world.fails(1, &migrate("old/events", &[]));
    assert!(told.contains("are sealed by vault") && told.contains("--keep-times"), "{told}");
    let told = world.fails(1, &migrate("old", &[]));
    assert!(told.contains("the folder `events` in it"), "{told}");
    assert!(world.fails(1, &migrate("nowhere", &[])).contains("nowhere"));
    assert!(world.fails(2, &migrate("foo://bar", &[])).contains("begin with `foo://`"));
    let both = [&["--store", "a"], &migrate("clear", &["--to", "b"])[..]].concat();
    assert!(world.fails(2, &both).contains("leave one of them out"));
    assert!(!world.path("oubliette-data").exists());
    // Where it is to be, is noted as always.
    world.ok(&migrate("clear", &["--to", "elsewhere"]));
    assert!(world.path("elsewhere/events.db").exists());
    assert_eq!(world.json(&["read-all"]).len(), 3);
}

#[test]
fn what_differs_in_the_end_is_told() {
    let world = clear(300, 10);
    world.ok(&migrate("clear", &[]));
    let change = |sql: &str| {
        let connection = rusqlite::Connection::open(world.path("clear/events.db")).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    change("UPDATE event SET data = '{\"n\":200}' WHERE position = 201");
    let ran = world.run(&migrate("clear", &[]));
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("they differ") && ran.stdout.contains("user-0"), "{}", ran.stdout);
    assert!(ran.stdout.contains("its payload is another (200 events the same"), "{}", ran.stdout);
    let ran = world.run(&[&["--json"], &migrate("clear", &[])[..]].concat());
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&told["same"], &told["compared"]), (&false.into(), &200.into()), "{told}");
    assert_eq!(told["different"]["stream"], "user-0");
}

#[test]
fn who_is_forgotten_since_does_not_come_back_and_is_counted() {
    let world = clear(40, 4);
    world.ok(&migrate("clear", &[]));
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    let told = world.ok(&migrate("clear", &[]));
    assert!(told.contains("0 copied, 40 there already"), "{told}");
    assert!(told.contains("10 events were not compared"), "{told}");
    assert!(told.contains("30 events the same"), "{told}");
    // The old application goes on.
    block_on(async {
        let store = SqliteStore::open(world.path("clear")).unwrap();
        for user in ["user-1", "user-2", "user-1"] {
            let data = Json::parse(r#"{"n":1,"name":"Erika Mustermann"}"#).unwrap();
            let event = NewEvent::new(EventType::new("Happened").unwrap(), data);
            let stream = StreamName::new(user).unwrap();
            store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
        }
    });
    let ran = world.run(&migrate("clear", &[]));
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 copied, 40 there already"), "{}", ran.stdout);
    assert!(ran.stdout.contains("2 not copied (subject forgotten)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("31 events the same"), "{}", ran.stdout);
    assert!(!world.ok(&["read", "user-1"]).contains("Mustermann"));
}

/// A stream of several people goes on in the old application while one of them is forgotten.
#[test]
fn who_lives_loses_nothing_behind_somebody_forgotten() {
    let world = World::new();
    world.write(
        "policy.toml",
        "[[stream]]\nmatch = \"room-{id}\"\nsubject = \"user-{/by}\"\npublic = [\"/by\"]\n",
    );
    let store = SqliteStore::create(world.path("clear")).unwrap();
    let say = |by: &u32| {
        let data = Json::parse(&format!("{{\"by\":{by},\"text\":\"hello\"}}")).unwrap();
        let event = NewEvent::new(EventType::new("Said").unwrap(), data);
        let stream = StreamName::new("room-1").unwrap();
        block_on(store.append_to(&stream, ExpectedRevision::Any, vec![event])).unwrap();
    };
    [1, 2, 1].iter().for_each(say);
    world.ok(&migrate("clear", &[]));
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    [2, 1, 2].iter().for_each(say);
    for copied in ["2 copied, 3 there already", "0 copied, 5 there already"] {
        let ran = world.run(&migrate("clear", &[]));
        assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(copied), "{}", ran.stdout);
        assert!(ran.stdout.contains("1 not copied (subject forgotten)"), "{}", ran.stdout);
        assert!(ran.stdout.contains("3 events the same, 1 of them at later"), "{}", ran.stdout);
    }
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
}

/// How many events a store has by now, looked at from the outside.
#[cfg(target_os = "linux")]
fn there(folder: &Path) -> u64 {
    let Ok(store) = SqliteStore::open(folder) else { return 0 };
    block_on(store.read_all(ReadAllOptions::default()).try_collect::<Vec<_>>())
        .map_or(0, |events| events.len() as u64)
}

/// Kills the process in the midst of it, again and again, each time a little later.
#[cfg(target_os = "linux")]
#[test]
fn a_migration_that_is_killed_goes_on_where_it_was() {
    const EVENTS: u64 = 6000;
    let world = clear(EVENTS, 40);
    world.ok(&["--policy", "policy.toml", "vault", "create"]);
    let (mut wanted, mut cut_off) = (1, 0);
    while wanted < EVENTS {
        let mut child = world.spawn(&migrate("clear", &[]));
        let begun = Instant::now();
        while there(&world.path("oubliette-data/events")) < wanted
            && child.try_wait().unwrap().is_none()
            && begun.elapsed() < Duration::from_secs(60)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        cut_off += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        wanted = there(&world.path("oubliette-data/events")) + EVENTS / 5;
    }
    assert!(cut_off >= 2, "it was never cut off");
    let told = world.ok(&["migrate", "--from", "clear"]);
    assert!(told.contains(&format!("{EVENTS} events the same")), "{told}");
    let rows = world.json(&["read-all"]);
    assert_eq!(rows.iter().map(said).collect::<Vec<_>>(), source(&world.path("clear")));
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn events_come_from_postgresql_and_go_there() {
    use crate::stores::postgres;
    let Some(server) = postgres() else { return };
    let (world, clear_at, sealed_at) = (World::new(), server.database(), server.database());
    world.write("policy.toml", POLICY);
    block_on(async {
        let store = oubliette_postgres::PostgresStore::create(&clear_at).await.unwrap();
        fill(&store, 600, 20).await;
    });
    let ran = world.run(&migrate(&clear_at, &["--to", &sealed_at]));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("600 events the same"), "{}", ran.stdout);
    let there = world.json(&["read-all"]);
    assert_eq!(there.len(), 600);
    assert!(there.iter().all(|row| row["restored"].is_string()));
    assert_eq!(there[0]["recorded"], "2017-07-14T02:40:00Z");
    let name = sealed_at.rsplit('/').next().unwrap();
    let dump = server.sql(name, "SELECT data::text FROM oubliette.event");
    assert!(!dump.contains("Mustermann") && dump.contains("$sealed"));
    // What is sealed there is no source, and a folder takes it from one that is in clear.
    let told = world.fails(1, &["--dir", "new", "migrate", "--from", &sealed_at]);
    assert!(told.contains("are sealed by vault"), "{told}");
    world.ok(&["--dir", "new", "--root", "new.root", "migrate", "--from", &clear_at]);
    world.ok(&["forget", "user-3", "--reason", "asked", "--yes"]);
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
}

/// Real rows, repeated: they are not in the repository. Ten thousand, unless `OUBLIETTE_MIGRATE_ROWS` says how many.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn thousands_of_real_rows_are_migrated_to_postgresql() {
    use crate::stores::postgres;
    let asked = std::env::var("OUBLIETTE_MIGRATE_ROWS").ok();
    let wanted: usize = asked.map_or(10_000, |rows| rows.parse().unwrap());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let names = ["github-webhooks.ndjson", "shopify-webhooks.ndjson"];
    let found: Vec<PathBuf> =
        names.iter().map(|name| data.join(name)).filter(|path| path.is_file()).collect();
    if found.is_empty() {
        eprintln!("SKIPPED: {} is not there", data.display());
        return;
    }
    let Some(server) = postgres() else { return };
    let (world, url) = (World::new(), server.database());
    let rows: Vec<Value> = found
        .iter()
        .flat_map(|path| crate::world::rows(&fs::read_to_string(path).unwrap()))
        .filter(|row| row["data"].is_object())
        .collect();
    let store = SqliteStore::create(world.path("clear")).unwrap();
    block_on(async {
        let mut next = std::collections::HashMap::<String, u64>::new();
        let events: Vec<_> = (0..wanted)
            .map(|n| {
                // Each as often as all others, one after the other.
                let row = &rows[n * rows.len() / wanted];
                let stream = row["stream"].as_str().unwrap();
                let revision = next.entry(stream.to_owned()).or_default();
                *revision += 1;
                let mut event =
                    recorded(stream, *revision - 1, n as u64, row["type"].as_str().unwrap());
                let text = row["data"].to_string();
                event.data = Some(Payload::Json(Json::parse(&text).unwrap()));
                event
            })
            .collect();
        for some in events.chunks(1000) {
            store.restore(some.to_vec()).await.unwrap();
        }
    });
    drop(store);
    let dry = world.json(&["migrate", "--from", "clear", "--dry-run"]).remove(0);
    assert_eq!((&dry["events"], &dry["refused"]), (&wanted.into(), &json!([])), "{dry}");
    let begun = Instant::now();
    let told = world.json(&["--store", &url, "migrate", "--from", "clear"]).remove(0);
    eprintln!("{wanted} rows in {:?}", begun.elapsed());
    assert_eq!((&told["copied"], &told["same"]), (&wanted.into(), &true.into()), "{told}");
    let begun = Instant::now();
    let told = world.json(&["migrate", "--from", "clear"]).remove(0);
    eprintln!("once more in {:?}", begun.elapsed());
    assert_eq!((&told["already"], &told["same"]), (&wanted.into(), &true.into()), "{told}");
    // The streams of one customer.
    let who = rows
        .iter()
        .find(|row| row["stream"].as_str().is_some_and(|s| s.starts_with("repository-")));
    let Some(who) = who.map(|row| row["stream"].as_str().unwrap()) else { return };
    world.ok(&["forget", who, "--reason", "asked", "--yes"]);
    let gone = |row: &Value| row["type"] == "SubjectForgotten" || row["data"].is_null();
    assert!(world.json(&["read", who]).iter().all(gone));
}
