//! Folders and disks that cannot be used: refused with the reason, and nothing is lost.

use super::*;

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
    let others = folder.path().join("others");
    fs::create_dir(&others).unwrap();
    other_hand(&others).execute_batch("CREATE TABLE event (a); PRAGMA user_version = 1").unwrap();
    let before = fs::read(others.join("events.db")).unwrap();
    for mode in MODES {
        for folder in [&file, &text, &odd, &others] {
            let error = refused(folder, mode);
            assert!(matches!(error, OpenError::NotOurs { .. }), "{mode:?}: {error:?}");
            assert!(error.to_string().contains(folder.to_str().unwrap()));
        }
    }
    assert_eq!(fs::read(others.join("events.db")).unwrap(), before);
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
                crate::skip::skipped(
                    "OUBLIETTE_REQUIRE_DISKS",
                    "no file system may be mounted here",
                );
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
                    Err(error) => no_panic(&error),
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
        let delivered = until.collect::<Vec<_>>().await;
        delivered.iter().filter_map(|delivery| delivery.as_ref().err()).for_each(no_panic);
        let any = ExpectedRevision::Any;
        let appended = store.append_to(&stream("user-1"), any, vec![event("4")]).await;
        appended.as_ref().err().into_iter().for_each(no_panic);
        drop(store);
        let _ = SqliteStore::open(folder.path());
    }
}

/// A panic of a thread that reads is an error of whoever waits for it.
fn no_panic(error: &StoreError) {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        let told = error.to_string();
        assert!(!told.contains("panicked"), "{told}");
        source = error.source();
    }
}

/// The database has no sums of its own: what a changed byte makes of an event, its token and its tag tell. So
/// a reader of the layer gets what was written, an error, or an event that counts as never sealed.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_a_bit_flipped_or_cut_off_anywhere_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    let vault = Vault::in_memory().unwrap();
    let over = |store| Oubliette::open(store, vault.clone(), Policy::sealed_by_default());
    let bank = over(store.clone()).await.unwrap();
    let mut written = HashMap::new();
    for n in 1..=3 {
        let event = event(&n.to_string());
        written.insert(event.id, event.data.clone());
        bank.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event]).await.unwrap();
    }
    drop((bank, store));
    let file = folder.path().join("events.db");
    let whole = fs::read(&file).unwrap();
    // Most of it is empty.
    let said = (0..whole.len()).filter(|at| whole[*at] != 0);
    let flipped = said.step_by(7).chain((0..whole.len()).step_by(211)).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = (0..whole.len()).step_by(1021).map(|length| whole[..length].to_vec());
    let (mut refused, mut unsealed) = (0, 0);
    for bytes in flipped.chain(cut) {
        for rest in ["events.db-wal", "events.db-shm"] {
            let _ = fs::remove_file(folder.path().join(rest));
        }
        fs::write(&file, bytes).unwrap();
        let store = match SqliteStore::open_with(folder.path(), OpenMode::Existing) {
            Ok(store) => store,
            Err(
                OpenError::Damaged { .. }
                | OpenError::NotOurs { .. }
                | OpenError::Newer { .. }
                | OpenError::Missing { .. }
                | OpenError::Io { .. },
            ) => {
                refused += 1;
                continue;
            }
            Err(other) => panic!("{other:?}"),
        };
        for event in store.read_all(ReadAllOptions::default()).collect::<Vec<_>>().await {
            event.as_ref().err().into_iter().for_each(no_panic);
        }
        // It reads what was announced.
        let Ok(bank) = over(store).await else {
            refused += 1;
            continue;
        };
        let read: Vec<_> = bank.read_all(ReadAllOptions::default()).collect().await;
        refused += u32::from(read.iter().any(Result::is_err));
        let opened: Vec<_> = read.into_iter().filter_map(Result::ok).collect();
        assert!(opened.len() <= 3, "{opened:?}");
        let other = |event: &&RecordedEvent| {
            event.data.is_some() && event.data.as_ref() != written.get(&event.id)
        };
        let others = opened.iter().filter(other).count() as u64;
        assert!(others <= bank.unsealed(), "{opened:?}");
        unsealed += u32::from(others > 0);
    }
    assert!(refused > 50, "{refused}, {unsealed}");
}
