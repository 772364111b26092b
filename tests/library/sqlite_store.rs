//! The embedded store: what it acknowledged survives kill −9, and a folder that it cannot use is
//! refused with the reason.

mod refusals;

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use oubliette::{
    event::{
        EventId, EventType, Json, NewEvent, Payload, Position, RecordedEvent, Revision, StreamName,
        Subject, Timestamp,
    },
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Delivery, Direction, EventStore, EventStoreExt, ExpectedRevision, Filter,
        ReadAllOptions, ReadOptions, SqliteStore, StoreError,
        sqlite::{OpenError, OpenMode, SqliteError},
    },
    vault::Vault,
};
use rand::RngExt;
use rusqlite::Connection;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(text: &str) -> NewEvent {
    NewEvent::new(EventType::new("Happened").unwrap(), Json::parse(text).unwrap())
}

async fn append(store: &SqliteStore, name: &str, events: Vec<NewEvent>) -> Position {
    let appended = store.append_to(&stream(name), ExpectedRevision::Any, events).await;
    appended.unwrap().position
}

async fn everything(store: &SqliteStore) -> Vec<RecordedEvent> {
    store.read_all(ReadAllOptions::default()).map(Result::unwrap).collect().await
}

/// What the database itself says, by the hand of somebody else.
fn other_hand(folder: &Path) -> Connection {
    Connection::open(folder.join("events.db")).unwrap()
}

// ---------------------------------------------------------------------------------------------
// Reopening and kill −9
// ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    append(&store, "user-1", vec![event("1"), event("{ \"n\" : 1e400 }")]).await;
    let metadata = Json::parse("{\"correlation\": \"é\"}").unwrap();
    let bytes = NewEvent::new(EventType::new("Raw").unwrap(), Payload::Bytes(Arc::from([0, 255])));
    append(&store, "user-2", vec![bytes.with_metadata(metadata)]).await;
    let before = everything(&store).await;
    drop(store);
    let files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files, ["events.db"], "closing leaves the database alone");

    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(everything(&store).await, before);
    assert!(append(&store, "user-1", vec![event("3")]).await > before.last().unwrap().position);
}

/// What `.dump` (with `sequence`) and `.clone` of SQLite's shell make of a database: tables and rows, no marks.
fn copy_tables(from: &Path, to: &Path, sequence: bool) {
    fs::create_dir(to).unwrap();
    let copy = other_hand(to);
    let old = from.join("events.db");
    copy.execute("ATTACH ?1 AS old", [old.to_str().unwrap()]).unwrap();
    let made_of = |kinds: &str| -> Vec<(String, String)> {
        let sql = format!(
            "SELECT name, sql FROM old.sqlite_schema WHERE name NOT GLOB 'sqlite_*' AND type {kinds}"
        );
        let mut statement = copy.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for (name, sql) in made_of("= 'table'") {
        copy.execute_batch(&sql).unwrap();
        copy.execute_batch(&format!("INSERT INTO main.{name} SELECT * FROM old.{name}")).unwrap();
    }
    for (_, sql) in made_of("<> 'table'") {
        copy.execute_batch(&sql).unwrap();
    }
    if sequence {
        let take = "DELETE FROM main.sqlite_sequence;
            INSERT INTO main.sqlite_sequence SELECT * FROM old.sqlite_sequence";
        copy.execute_batch(take).unwrap();
    }
}

/// Events that were never sealed are removed by hand, as the refusal to forget advises. Whoever reads on
/// from what they saw last must not miss what comes then.
#[tokio::test(flavor = "multi_thread")]
async fn no_position_and_no_revision_is_used_again_after_rows_are_removed() {
    for meanwhile in ["", "reopened", "VACUUM", "dumped"] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::create(folder.path()).unwrap();
        append(&store, "user-2", vec![event("1")]).await;
        let last = append(&store, "user-1", vec![event("1"), event("2"), event("3")]).await;
        let alone = append(&store, "user-3", vec![event("1")]).await;
        let remove = "DELETE FROM event WHERE position > 3";
        other_hand(folder.path()).execute_batch(remove).unwrap();
        let copy = folder.path().join("copy");
        match meanwhile {
            "" => {}
            "reopened" => {
                drop(store);
                store = SqliteStore::open(folder.path()).unwrap();
            }
            "dumped" => {
                copy_tables(folder.path(), &copy, true);
                store = SqliteStore::open(&copy).unwrap();
            }
            sql => other_hand(folder.path()).execute_batch(sql).unwrap(),
        }
        let append = |name: &str, expected, text| {
            let (store, stream) = (store.clone(), stream(name));
            async move { store.append_to(&stream, expected, vec![event(text)]).await }
        };
        // What is expected is said of what is there.
        let gone = append("user-1", ExpectedRevision::Exact(Revision(2)), "4").await;
        assert!(matches!(gone, Err(StoreError::Conflict { .. })), "{meanwhile}: {gone:?}");
        let next = append("user-1", ExpectedRevision::Exact(Revision(1)), "4").await.unwrap();
        assert_eq!(next.revision.0, 3, "{meanwhile}");
        assert!(next.position > alone && alone > last, "{meanwhile}: {next:?}");
        let begun = append("user-3", ExpectedRevision::NoStream, "2").await.unwrap();
        assert_eq!(begun.revision.0, 1, "{meanwhile}");
        let of_stream = store.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
        let revisions: Vec<_> = of_stream.iter().map(|event| event.revision.0).collect();
        assert_eq!(revisions, [0, 1, 3], "{meanwhile}");
        let on = ReadAllOptions { after: Some(alone), ..ReadAllOptions::default() };
        assert_eq!(store.read_all(on).count().await, 2, "{meanwhile}");
    }
}

/// As a reviewer found it: the projection kept the person.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_learns_of_a_forgetting_after_rows_were_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    let vault = Vault::in_memory().unwrap();
    let layer = Oubliette::open(store.clone(), vault, Policy::sealed_by_default()).await.unwrap();
    let registered = |name: &str| {
        let (layer, stream) = (layer.clone(), stream(name));
        async move {
            layer.append_to(&stream, ExpectedRevision::Any, vec![event("1")]).await.unwrap();
        }
    };
    let old = || NewEvent::new(EventType::new("Old").unwrap(), Json::parse("1").unwrap());
    registered("user-2").await;
    append(&store, "user-1", vec![old()]).await;
    registered("user-1").await;
    let seen = append(&store, "user-1", vec![old(), old()]).await;
    let mut subscription = layer.subscribe(Some(seen), Filter::default());
    assert!(matches!(subscription.next().await, Some(Ok(Delivery::CaughtUp))));
    other_hand(folder.path()).execute_batch("DELETE FROM event WHERE type = 'Old'").unwrap();
    layer.forget(&Subject::new("user-1").unwrap(), "they asked").await.unwrap();
    let anew = layer.subscribe(Some(seen), Filter::default());
    for mut subscription in [subscription, anew] {
        let told = async {
            loop {
                match subscription.next().await {
                    Some(Ok(Delivery::Event(event))) if event.is_tombstone() => return event,
                    Some(Ok(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        let event = tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
        assert_eq!((event.stream.as_str(), event.revision.0), ("user-1", 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_copied_table_by_table_gets_its_marks_back() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    let store = SqliteStore::create(&old).unwrap();
    append(&store, "user-1", vec![event("1"), event("2")]).await;
    store.set_meta("vault", "mine").await.unwrap();
    let before = everything(&store).await;
    drop(store);
    for (name, sequence) in [("dumped", true), ("cloned", false)] {
        let copy = folder.path().join(name);
        copy_tables(&old, &copy, sequence);
        // Who only looks writes no marks.
        let reader = SqliteStore::open_with(&copy, OpenMode::ReadOnly).unwrap();
        assert_eq!(everything(&reader).await, before);
        drop(reader);
        let store = SqliteStore::open(&copy).unwrap();
        assert_eq!(everything(&store).await, before);
        assert_eq!(store.meta("vault").await.unwrap().as_deref(), Some("mine"));
        append(&store, "user-1", vec![event("3")]).await;
        drop(store);
        let mark = |pragma: &str| -> i64 {
            let pragma = format!("PRAGMA {pragma}");
            other_hand(&copy).query_row(&pragma, [], |row| row.get(0)).unwrap()
        };
        assert_eq!((mark("application_id"), mark("user_version")), (0x4F75_626C, 1), "{name}");
    }
    let refused = |change: &str, mode| {
        let copy = folder.path().join("changed");
        copy_tables(&old, &copy, true);
        other_hand(&copy).execute_batch(change).unwrap();
        let error = SqliteStore::open_with(&copy, mode).expect_err(change);
        fs::remove_dir_all(&copy).unwrap();
        error
    };
    for mode in [OpenMode::Create, OpenMode::Existing, OpenMode::ReadOnly] {
        for change in [
            "DROP TRIGGER removal",
            "PRAGMA foreign_keys = OFF; DROP TABLE stream",
            "ALTER TABLE event ADD COLUMN more TEXT",
            "CREATE TABLE theirs (x)",
            "UPDATE meta SET value = '0' WHERE key = 'format'",
            "DELETE FROM meta",
            "PRAGMA application_id = 7",
        ] {
            let error = refused(change, mode);
            assert!(matches!(error, OpenError::NotOurs { .. }), "{change}: {error:?}");
        }
        let error = refused("UPDATE meta SET value = '9' WHERE key = 'format'", mode);
        assert!(matches!(error, OpenError::Newer { found: 9, .. }), "{error:?}");
    }
    let store = SqliteStore::open(&old).unwrap();
    assert!(matches!(store.set_meta("format", "2").await, Err(StoreError::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_about_the_folder_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    assert_eq!(store.meta("vault").await.unwrap(), None);
    store.set_meta("vault", "one").await.unwrap();
    store.set_meta("vault", "two").await.unwrap();
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(store.meta("vault").await.unwrap().as_deref(), Some("two"));
    assert_eq!(store.meta("other").await.unwrap(), None);
}

const KILL_FOLDER: &str = "OUBLIETTE_KILL_FOLDER";

/// Not a test of its own: the process that `acknowledged_appends_survive_kill_9` kills. It
/// appends for ever, and prints the ids of what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn helper_that_appends_until_it_is_killed() {
    let Some(folder) = env::var_os(KILL_FOLDER) else { return };
    let store = SqliteStore::create(folder).unwrap();
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let batch = EventId::random();
                let appends: Vec<Append> = (0..1 + writer % 2)
                    .map(|part| {
                        let events = (0..1 + writer)
                            .map(|_| {
                                event(&format!(
                                    "[\"{batch}\",{},\"{}\"]",
                                    (1 + writer % 2) * (1 + writer),
                                    "x".repeat(writer * 200)
                                ))
                            })
                            .collect();
                        let name = stream(&format!("writer-{writer}-{part}"));
                        Append::new(name, ExpectedRevision::Any, events)
                    })
                    .collect();
                let done = store.append(appends).await.unwrap();
                // One write, so that the lines of several writers do not mix.
                let line = format!("acknowledged {batch} {}\n", done[0].position);
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    futures::future::join_all(writers).await;
}

fn start_helper(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "sqlite_store::helper_that_appends_until_it_is_killed", "--nocapture"])
        .env(KILL_FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_appends_survive_kill_9() {
    let rounds: usize =
        env::var("OUBLIETTE_KILL_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<String, Position> = HashMap::new();
    for round in 0..rounds {
        let mut child = start_helper(folder.path());
        let lines = BufReader::new(child.stdout.take().unwrap());
        let (first, seen) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let note = |line: &String| {
                let _ = first.send(line.starts_with("acknowledged"));
            };
            lines.lines().map_while(Result::ok).inspect(note).collect::<Vec<_>>()
        });
        // Anywhere from before the first commit to after hundreds; every other round certainly
        // after one.
        if round % 2 == 1 {
            let patience = Duration::from_secs(60);
            while !seen.recv_timeout(patience).expect("the helper acknowledges nothing") {}
        }
        let millis = if round == 0 { 2 } else { rand::rng().random_range(0..150) };
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            let mut words = line.split(' ');
            if let (Some("acknowledged"), Some(batch), Some(position), None) =
                (words.next(), words.next(), words.next(), words.next())
            {
                let position: Position = position.parse().unwrap();
                assert!(acknowledged.insert(batch.to_owned(), position).is_none());
            }
        }
        let store = SqliteStore::create(folder.path()).unwrap();
        let mut batches: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut positions: HashMap<Position, String> = HashMap::new();
        let mut revisions: HashMap<StreamName, u64> = HashMap::new();
        for event in everything(&store).await {
            let data = event.data.unwrap();
            let (batch, size, _): (String, u64, String) = data.as_json().unwrap().to().unwrap();
            let found = batches.entry(batch.clone()).or_insert((0, size));
            found.0 += 1;
            positions.insert(event.position, batch);
            let next = revisions.entry(event.stream).or_default();
            assert_eq!(event.revision.0, *next, "revisions have no gap");
            *next += 1;
        }
        for (batch, (found, size)) in &batches {
            assert_eq!(found, size, "batch {batch} is there in part, after round {round}");
        }
        for (batch, position) in &acknowledged {
            assert_eq!(positions.get(position), Some(batch), "lost after round {round}");
        }
        drop(store);
        let check: String = other_hand(folder.path())
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }
    assert!(!acknowledged.is_empty(), "every round was killed before its first commit");
}

// ---------------------------------------------------------------------------------------------
// Several handles and several processes
// ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    append(&store, "here", vec![event("1")]).await;
    let mut subscription = store.subscribe(None, Filter::default());
    let mut child = start_helper(folder.path());
    let mut last = None;
    let mut elsewhere = 0;
    let mut caught_up = false;
    // Both write to the same database meanwhile.
    while elsewhere < 200 || !caught_up {
        let next = tokio::time::timeout(Duration::from_secs(60), subscription.next());
        match next.await.expect("the other process is not seen").unwrap().unwrap() {
            Delivery::CaughtUp => caught_up = true,
            Delivery::Event(event) => {
                assert!(Some(event.position) > last);
                last = Some(event.position);
                elsewhere += usize::from(event.stream != stream("here"));
            }
        }
        if elsewhere % 50 == 0 {
            append(&store, "here", vec![event("2")]).await;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let events = everything(&store).await;
    assert!(events.iter().any(|event| Some(event.position) == last));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handles_in_one_process_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteStore::create(folder.path()).unwrap();
    let second = SqliteStore::open(folder.path()).unwrap();
    let expect = |revision| ExpectedRevision::Exact(revision);
    let one = first.append_to(&stream("a"), ExpectedRevision::NoStream, vec![event("1")]).await;
    let one = one.unwrap();
    let two = second.append_to(&stream("a"), expect(one.revision), vec![event("2")]).await.unwrap();
    let stale = first.append_to(&stream("a"), expect(one.revision), vec![event("3")]).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })));
    drop(second);
    first.append_to(&stream("a"), expect(two.revision), vec![event("3")]).await.unwrap();
    drop(first);
    let again = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(everything(&again).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_made_at_the_same_moment_are_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep").join("events");
    let makers: Vec<_> = (0..6)
        .map(|maker| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || (maker, SqliteStore::create(path)))
        })
        .collect();
    let mut made = Vec::new();
    for maker in makers {
        let (maker, store) = maker.await.unwrap();
        let store = store.unwrap();
        append(&store, &format!("user-{maker}"), vec![event("1")]).await;
        made.push(store);
    }
    assert_eq!(everything(&made[0]).await.len(), made.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_stays_so_and_people_see_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    let mut given = Vec::new();
    for (revision, recorded) in
        (0..).zip(["1969-12-31T23:59:59.000001Z", "1970-01-01T00:00:00Z", "2017-07-01T12:00:00.5Z"])
    {
        let NewEvent { id, event_type, data, .. } = event("1");
        let (revision, position) = (Revision(revision), Position::number(7));
        let recorded: Timestamp = recorded.parse().unwrap();
        let stream = stream("user-1");
        given.push(RecordedEvent::plain(
            stream, revision, position, id, event_type, recorded, data, None,
        ));
    }
    store.restore(given.clone()).await.unwrap();
    append(&store, "user-1", vec![event("2")]).await;
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    let found = everything(&store).await;
    for (given, found) in given.iter().zip(&found) {
        assert_eq!((given.id, given.recorded), (found.id, found.recorded));
        assert!(found.restored.is_some());
    }
    assert_eq!((found[3].restored, found[3].revision), (None, Revision(3)));
    let other_hand = other_hand(folder.path());
    let mut statement = other_hand.prepare("SELECT recorded, restored FROM events").unwrap();
    let shown = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let shown: Vec<(String, bool)> = shown.map(Result::unwrap).collect();
    assert_eq!(shown[0], ("1969-12-31T23:59:59.000001Z".to_owned(), true));
    assert_eq!(shown[1], ("1970-01-01T00:00:00.000000Z".to_owned(), true));
    assert_eq!(shown[2], ("2017-07-01T12:00:00.500000Z".to_owned(), true));
    assert!(!shown[3].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_a_picture_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    for _ in 0..20 {
        append(&store, "user-1", (0..100).map(|n| event(&n.to_string())).collect()).await;
    }
    let mut all = store.read_all(ReadAllOptions::default());
    let mut one = store.read(&stream("user-1"), ReadOptions::default());
    let (first, _) = (all.next().await.unwrap().unwrap(), one.next().await.unwrap().unwrap());
    append(&store, "user-1", vec![event("\"late\"")]).await;
    assert_eq!(all.count().await, 1_999);
    assert_eq!(one.count().await, 1_999);
    let options = ReadAllOptions { direction: Direction::Backwards, ..ReadAllOptions::default() };
    let backwards: Vec<_> = store.read_all(options).map(Result::unwrap).collect().await;
    assert_eq!(backwards.len(), 2_001);
    assert_eq!(backwards.last().unwrap(), &first);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_that_wait_together_fail_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    append(&store, "user-0", vec![event("0")]).await;
    let taken = event("\"taken\"");
    append(&store, "user-1", vec![taken.clone()]).await;
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let (store, taken) = (store.clone(), taken.clone());
            tokio::spawn(async move {
                let name = stream(&format!("new-{number}"));
                match number % 3 {
                    // Good; stale; good until its second event.
                    0 => store
                        .append_to(&name, ExpectedRevision::NoStream, vec![event("1"), event("2")])
                        .await
                        .is_ok(),
                    1 => store
                        .append_to(&name, ExpectedRevision::StreamExists, vec![event("1")])
                        .await
                        .is_ok(),
                    _ => store
                        .append_to(&name, ExpectedRevision::Any, vec![event("1"), taken])
                        .await
                        .is_ok(),
                }
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), number % 3 == 0, "append {number}");
    }
    assert_eq!(everything(&store).await.len(), 2 + 200);
    let streams: i64 = other_hand(folder.path())
        .query_row("SELECT count(*) FROM stream", [], |row| row.get(0))
        .unwrap();
    assert_eq!(streams, 2 + 100, "a refused append leaves no stream behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_keeps_its_store_open() {
    let folder = tempfile::tempdir().unwrap();
    let other = SqliteStore::create(folder.path()).unwrap();
    let mut subscription =
        SqliteStore::open(folder.path()).unwrap().subscribe(None, Filter::default());
    assert!(matches!(subscription.next().await, Some(Ok(Delivery::CaughtUp))));
    append(&other, "user-1", vec![event("1")]).await;
    let next = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await;
    assert!(matches!(next.unwrap(), Some(Ok(Delivery::Event(_)))));
}

// ---------------------------------------------------------------------------------------------
// Folders that cannot be used
// ---------------------------------------------------------------------------------------------

const MODES: [OpenMode; 3] = [OpenMode::Create, OpenMode::Existing, OpenMode::ReadOnly];
