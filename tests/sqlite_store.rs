//! The embedded store: what it acknowledged survives kill −9, and a folder that it cannot use is
//! refused with the reason.

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
    event::{EventId, EventType, Json, NewEvent, Payload, Position, RecordedEvent, StreamName},
    store::{
        Append, Delivery, Direction, EventStore, EventStoreExt, ExpectedRevision, Filter,
        ReadAllOptions, ReadOptions, SqliteStore, StoreError,
        sqlite::{OpenError, OpenMode, SqliteError},
    },
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
        .args(["--exact", "helper_that_appends_until_it_is_killed", "--nocapture"])
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
                let position = Position(position.parse().unwrap());
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
    let mut last = Position(0);
    let mut elsewhere = 0;
    let mut caught_up = false;
    // Both write to the same database meanwhile.
    while elsewhere < 200 || !caught_up {
        let next = tokio::time::timeout(Duration::from_secs(60), subscription.next());
        match next.await.expect("the other process is not seen").unwrap().unwrap() {
            Delivery::CaughtUp => caught_up = true,
            Delivery::Event(event) => {
                assert!(event.position > last);
                last = event.position;
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
    assert!(events.iter().any(|event| event.position == last));
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

fn refused(folder: &Path, mode: OpenMode) -> OpenError {
    SqliteStore::open_with(folder, mode).expect_err("it opened")
}

#[test]
fn nothing_is_made_where_nothing_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
        assert!(matches!(refused(&absent, mode), OpenError::Missing { .. }));
        assert!(matches!(refused(folder.path(), mode), OpenError::Missing { .. }));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn folders_of_others_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("holiday.jpg"), "x").unwrap();
    assert!(matches!(refused(&full, OpenMode::Create), OpenError::NotOurs { .. }));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);

    let text = folder.path().join("text");
    fs::create_dir(&text).unwrap();
    fs::write(text.join("events.db"), "not a database, and long enough to be looked at".repeat(99))
        .unwrap();
    let odd = folder.path().join("odd");
    fs::create_dir_all(odd.join("events.db")).unwrap();
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    other_hand(&foreign).execute_batch("CREATE TABLE event (a); PRAGMA user_version = 1").unwrap();
    let before = fs::read(foreign.join("events.db")).unwrap();
    for mode in MODES {
        for folder in [&file, &text, &odd, &foreign] {
            let error = refused(folder, mode);
            assert!(matches!(error, OpenError::NotOurs { .. }), "{mode:?}: {error:?}");
            assert!(error.to_string().contains(folder.to_str().unwrap()));
        }
    }
    assert_eq!(fs::read(foreign.join("events.db")).unwrap(), before);
}

#[test]
fn a_newer_format_is_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::create(folder.path()).unwrap());
    other_hand(folder.path()).execute_batch("PRAGMA user_version = 7").unwrap();
    for mode in MODES {
        let error = refused(folder.path(), mode);
        assert!(matches!(error, OpenError::Newer { found: 7, known: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("newer program"));
    }
    other_hand(folder.path()).execute_batch("PRAGMA user_version = 0").unwrap();
    assert!(matches!(refused(folder.path(), OpenMode::Create), OpenError::Damaged { .. }));
}

#[test]
fn a_damaged_database_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::create(folder.path()).unwrap());
    other_hand(folder.path()).execute_batch("DROP VIEW events; DROP TABLE event").unwrap();
    for mode in MODES {
        assert!(matches!(refused(folder.path(), mode), OpenError::Damaged { .. }));
    }
}

#[test]
fn an_unfinished_store_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("events.db"), "").unwrap();
    assert!(matches!(refused(folder.path(), OpenMode::Existing), OpenError::Missing { .. }));
    drop(SqliteStore::create(folder.path()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    // Killed after the switch to the log and before the tables.
    other_hand(folder.path()).execute_batch("PRAGMA journal_mode = WAL").unwrap();
    assert!(matches!(refused(folder.path(), OpenMode::Existing), OpenError::Missing { .. }));
    drop(SqliteStore::create(folder.path()).unwrap());
    SqliteStore::open(folder.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opened_for_reading_reads_and_refuses_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let writer = SqliteStore::create(folder.path()).unwrap();
    append(&writer, "user-1", vec![event("1")]).await;
    let reader = SqliteStore::open_with(folder.path(), OpenMode::ReadOnly).unwrap();
    let mut subscription = reader.subscribe(None, Filter::default());
    assert!(matches!(subscription.next().await, Some(Ok(Delivery::Event(_)))));
    assert!(matches!(subscription.next().await, Some(Ok(Delivery::CaughtUp))));
    append(&writer, "user-1", vec![event("2")]).await;
    assert!(matches!(subscription.next().await, Some(Ok(Delivery::Event(_)))));

    let error = reader.append_to(&stream("a"), ExpectedRevision::Any, vec![event("1")]).await;
    assert_eq!(backend(error.unwrap_err()), SqliteError::ReadOnly);
    assert_eq!(backend(reader.set_meta("a", "b").await.unwrap_err()), SqliteError::ReadOnly);
}

fn backend(error: StoreError) -> SqliteError {
    match error {
        StoreError::Backend { source, .. } => *source.downcast().unwrap(),
        other => panic!("{other}"),
    }
}

/// A small file system of its own, where that is allowed.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(size: &str) -> Option<Self> {
        let mount = Self(tempfile::tempdir().unwrap());
        let option = format!("size={size}");
        mount.run("mount", &["-t", "tmpfs", "-o", &option, "none"]).then_some(mount)
    }

    fn run(&self, command: &str, arguments: &[&str]) -> bool {
        let command = Command::new(command).args(arguments).arg(self.0.path()).output();
        command.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}

macro_rules! mount_or_skip {
    ($size:expr) => {
        match Mount::new($size) {
            Some(mount) => mount,
            None => {
                eprintln!("SKIPPED: no file system may be mounted here");
                return;
            }
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_medium_can_be_read() {
    let mount = mount_or_skip!("8m");
    let folder = mount.0.path().join("events 100%?");
    let store = SqliteStore::create(&folder).unwrap();
    append(&store, "user-1", vec![event("1")]).await;
    drop(store);
    assert!(mount.run("mount", &["-o", "remount,ro"]));
    assert!(matches!(refused(&folder, OpenMode::Existing), OpenError::ReadOnly { .. }));
    assert!(matches!(refused(&folder, OpenMode::Create), OpenError::ReadOnly { .. }));
    let absent = mount.0.path().join("absent");
    assert!(matches!(refused(&absent, OpenMode::Create), OpenError::ReadOnly { .. }));
    let store = SqliteStore::open_with(&folder, OpenMode::ReadOnly).unwrap();
    assert_eq!(everything(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_appends_and_loses_nothing() {
    let mount = mount_or_skip!("3m");
    let store = SqliteStore::create(mount.0.path().join("events")).unwrap();
    let ballast = mount.0.path().join("ballast");
    fs::write(&ballast, vec![0; 500_000]).unwrap();
    let big = format!("\"{}\"", "x".repeat(20_000));
    let mut written = Vec::new();
    let error = loop {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (store, events) = (store.clone(), vec![event(&big), event(&big)]);
                tokio::spawn(async move {
                    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
                    let any = ExpectedRevision::Any;
                    store.append_to(&stream("user-1"), any, events).await.map(|_| ids)
                })
            })
            .collect();
        let mut failed = None;
        for task in tasks {
            match task.await.unwrap() {
                Ok(ids) => written.extend(ids),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            break error;
        }
        assert!(written.len() < 1_000, "the disk is never full");
    };
    assert!(!error.is_temporary());
    let error = backend(error);
    assert!(matches!(error, SqliteError::Full | SqliteError::Other { .. }), "{error}");
    let ids = |events: Vec<RecordedEvent>| -> Vec<EventId> {
        let mut ids: Vec<_> = events.into_iter().map(|event| event.id).collect();
        ids.sort();
        ids
    };
    written.sort();
    assert_eq!(ids(everything(&store).await), written, "what was refused is not there");

    // With space again it goes on, or says that it must be opened again.
    fs::remove_file(&ballast).unwrap();
    let again = event("\"again\"");
    written.push(again.id);
    written.sort();
    let any = ExpectedRevision::Any;
    match store.append_to(&stream("user-1"), any, vec![again.clone()]).await {
        Ok(_) => assert_eq!(error, SqliteError::Full),
        Err(error) => {
            assert_eq!(backend(error), SqliteError::Poisoned);
            drop(store);
            let store = SqliteStore::open(mount.0.path().join("events")).unwrap();
            store.append_to(&stream("user-1"), any, vec![again]).await.unwrap();
            assert_eq!(ids(everything(&store).await), written);
            return;
        }
    }
    assert_eq!(ids(everything(&store).await), written);
}

#[test]
fn a_full_disk_makes_no_store() {
    let mount = mount_or_skip!("1m");
    let _ = fs::write(mount.0.path().join("ballast"), vec![0; 2_000_000]);
    let error = refused(&mount.0.path().join("events"), OpenMode::Create);
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
}

// ---------------------------------------------------------------------------------------------
// Hands that edit the database
// ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_database_edited_by_hand_never_panics() {
    let edits = [
        "UPDATE event SET data = '{not json' WHERE position = 2",
        "UPDATE event SET metadata = '][' WHERE position = 2",
        "UPDATE event SET data = CAST(x'FF' AS TEXT) WHERE position = 2",
        "UPDATE event SET type = '' WHERE position = 2",
        "UPDATE event SET type = CAST(x'FF' AS TEXT) WHERE position = 2",
        "UPDATE event SET revision = -7 WHERE position = 2",
        "UPDATE event SET position = -7 WHERE position = 2",
        "UPDATE event SET revision = 9223372036854775807 WHERE position = 2",
        "UPDATE event SET position = 9223372036854775807 WHERE position = 2",
        "UPDATE event SET recorded = 9223372036854775807 WHERE position = 2",
        "PRAGMA foreign_keys = OFF; UPDATE event SET stream = 99 WHERE position = 2",
        "UPDATE stream SET name = 'a b' WHERE id = 1",
        "UPDATE stream SET name = CAST(x'FF' AS TEXT) WHERE id = 1",
        "PRAGMA ignore_check_constraints = ON; UPDATE event SET id = x'01' WHERE position = 2",
        "PRAGMA ignore_check_constraints = ON; UPDATE event SET data = 7 WHERE position = 2",
        "DELETE FROM event WHERE position = 2",
    ];
    for edit in edits {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::create(folder.path()).unwrap();
        append(&store, "user-1", vec![event("1"), event("2"), event("3")]).await;
        other_hand(folder.path())
            .execute_batch(edit)
            .unwrap_or_else(|error| panic!("{edit}: {error}"));
        let read = |events: Vec<Result<RecordedEvent, StoreError>>| {
            for event in events {
                match event {
                    Ok(event) => drop(format!("{event:?} {:?}", event.content())),
                    Err(error) => drop(format!("{error}")),
                }
            }
        };
        read(store.read_all(ReadAllOptions::default()).collect().await);
        let options =
            ReadAllOptions { direction: Direction::Backwards, ..ReadAllOptions::default() };
        read(store.read_all(options).collect().await);
        read(store.read(&stream("user-1"), ReadOptions::default()).collect().await);
        let deliveries = store.subscribe(None, Filter::default());
        let until = deliveries.take_while(|delivery| {
            futures::future::ready(!matches!(delivery, Ok(Delivery::CaughtUp)))
        });
        let _ = until.collect::<Vec<_>>().await;
        let _ = store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("4")]).await;
        drop(store);
        let _ = SqliteStore::open(folder.path());
    }
}
