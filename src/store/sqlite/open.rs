//! From a folder to connections, or to the reason why not.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use super::{
    OpenError, OpenMode,
    format::{FILE, MARKS, SCHEMA},
    identity::Identity,
    location::{Location, PATIENCE},
};
use crate::{
    durable,
    own::{self, Refused},
};

/// What opening a folder comes to.
pub(super) struct Opened {
    /// The writer's connection; in read-only mode, one that watches.
    pub(super) connection: Connection,
    /// Where further connections go.
    pub(super) location: Location,
    /// The last position, 0 for none.
    pub(super) head: i64,
}

pub(super) fn open(folder: &Path, mode: OpenMode) -> Result<Opened, OpenError> {
    match open_once(folder, mode) {
        // SQLite says so, too, where the drive could not read. No one is to restore a backup for
        // that: ask the drive, and if it can read by now, once more.
        Err(OpenError::Damaged { .. }) => {
            let file = File::open(folder.join(FILE));
            file.and_then(|mut file| io::copy(&mut file, &mut io::sink()))
                .map_err(|source| OpenError::io(folder, source))?;
            open_once(folder, mode)
        }
        opened => opened,
    }
}

fn open_once(folder: &Path, mode: OpenMode) -> Result<Opened, OpenError> {
    let io = |source| OpenError::io(folder, source);
    let missing = || OpenError::Missing { folder: folder.to_owned() };
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => {
            return Err(OpenError::not_ours(folder, "it is not a folder"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && mode == OpenMode::Create => {
            durable::make_folder(folder).map_err(io)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(io(error)),
    }
    let mut location = Location { path: folder.join(FILE), immutable: false };
    // An empty file is what a process leaves that was killed while it made a store.
    let size = match fs::symlink_metadata(&location.path) {
        Ok(found) if found.is_symlink() => {
            return Err(OpenError::not_ours(folder, "its events.db is a symbolic link"));
        }
        Ok(found) if !found.is_file() => {
            return Err(OpenError::not_ours(folder, "its events.db is not a file"));
        }
        Ok(found) => Some(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    let mut fresh = match (size, mode) {
        (None, OpenMode::Create) => {
            let mut others = false;
            let mut ours = false;
            for entry in fs::read_dir(folder).map_err(io)? {
                let name = entry.map_err(io)?.file_name();
                *(if name == FILE { &mut ours } else { &mut others }) = true;
            }
            // Ours may have appeared this very moment, made by another process.
            if others && !ours {
                return Err(OpenError::not_ours(folder, "it holds other things and no events.db"));
            }
            true
        }
        (Some(0), OpenMode::Create) => true,
        (None | Some(0), _) => return Err(missing()),
        (Some(_), _) => false,
    };

    if mode == OpenMode::ReadOnly {
        let connection = connect_to_read(folder, &mut location)?;
        let head = last_position(folder, &connection)?;
        return Ok(Opened { connection, location, head });
    }
    if !fresh {
        // First with a connection that cannot write: what is not ours stays as it is.
        let identity = location.connect().and_then(|peek| Identity::of(&peek));
        match identity {
            Ok(identity) => identity.check(folder, mode)?,
            // Cut off before it belonged to anyone. The connection below takes it back.
            Err(error) if needs_rollback(&error) && location.was_empty() => match mode {
                OpenMode::Create => fresh = true,
                _ => return Err(missing()),
            },
            Err(error) => return Err(explain(folder, &error)),
        }
    }
    let explained = |error: rusqlite::Error| explain(folder, &error);
    if size.is_none() {
        // For its owner alone; the log and what else SQLite puts beside it take its mode.
        let mut options = OpenOptions::new();
        match own::open(&location.path, options.write(true).create(true).truncate(false)) {
            Ok(_) => {}
            Err(Refused::Io(source)) => return Err(io(source)),
            Err(Refused::UntrustedFile { .. }) => {
                return Err(OpenError::not_ours(folder, "its events.db is another user's"));
            }
        }
    }
    let connection = location.connect_to_write(fresh).map_err(explained)?;
    if connection.is_readonly("main").map_err(explained)? {
        return Err(OpenError::ReadOnly { folder: folder.to_owned() });
    }
    prepare_to_write(&connection).map_err(explained)?;
    make(&connection).map_err(explained)?;
    location.refuse_without_log().map_err(io)?;
    Identity::of(&connection).map_err(explained)?.check(folder, OpenMode::Existing)?;
    // Names too, also of what a process made that was killed before it could say so.
    let real = folder.canonicalize().map_err(io)?;
    durable::sync_folder(&real).map_err(io)?;
    durable::sync_folder(durable::parent(&real)).map_err(io)?;
    let head = last_position(folder, &connection)?;
    // A commit that a killed process wrote but did not sync is visible now, and a retry of it
    // would be answered as done: make it durable before anything is answered.
    match File::open(location.log()).and_then(|log| log.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    Ok(Opened { connection, location, head })
}

/// Whether a connection that only reads met what a transaction left that was cut off.
fn needs_rollback(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK)
}

/// Connects for reading. On a read-only medium SQLite cannot make the file by which its users
/// see each other; where no log is left over either, the database is whole in itself and is
/// read as one that does not change.
fn connect_to_read(folder: &Path, location: &mut Location) -> Result<Connection, OpenError> {
    let attempt = |location: &Location| {
        let connection = location.connect()?;
        let identity = Identity::of(&connection)?;
        Ok((connection, identity))
    };
    let result = attempt(location).or_else(|error: rusqlite::Error| {
        let no_log = fs::metadata(location.log()).map_or(true, |log| log.len() == 0);
        match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if no_log => {
                location.immutable = true;
                attempt(location)
            }
            _ => Err(error),
        }
    });
    let (connection, identity) = result.map_err(|error| OpenError::sqlite(folder, &error))?;
    identity.check(folder, OpenMode::ReadOnly)?;
    Ok(connection)
}

fn prepare_to_write(connection: &Connection) -> rusqlite::Result<()> {
    // FULL syncs the log at every commit: nothing is acknowledged before. `fullfsync` asks macOS
    // for a sync that deserves the name; elsewhere it means nothing. 4096 pages (16 MiB) of log
    // between checkpoints and 32 MiB of cache keep the random order of event ids cheap. The one
    // foreign key is kept by the one statement that writes events.
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF;
         PRAGMA foreign_keys = OFF;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA cache_size = -32768;",
    )?;
    let mode = switch_to_log(connection)?;
    if mode != "wal" {
        let message = Some("the file system cannot hold a write-ahead log".to_owned());
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            message,
        ));
    }
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    for pragma in ["wal_autocheckpoint = 4096", "journal_size_limit = 67108864"] {
        connection.query_row(&format!("PRAGMA {pragma}"), [], |_| Ok(()))?;
    }
    Ok(())
}

/// For this step alone SQLite does not wait for others by itself.
fn switch_to_log(connection: &Connection) -> rusqlite::Result<String> {
    let start = Instant::now();
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match mode {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && start.elapsed() < PATIENCE =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// Makes the tables where there is nothing yet, and the marks where they were lost. Of several processes
/// that come at once, one does.
fn make(connection: &Connection) -> rusqlite::Result<()> {
    let is_whole = |identity: &Identity| !identity.is_fresh() && !identity.is_bare();
    if is_whole(&Identity::of(connection)?) {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let made = match Identity::of(connection) {
        Ok(identity) if identity.is_fresh() => {
            connection.execute_batch(SCHEMA).and_then(|()| connection.execute_batch(MARKS))
        }
        Ok(identity) if identity.is_bare() => connection.execute_batch(MARKS),
        other => other.map(drop),
    };
    let ended = connection.execute_batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" });
    made.and(ended)
}

fn last_position(folder: &Path, connection: &Connection) -> Result<i64, OpenError> {
    last_position_of(connection).map_err(|error| match OpenError::sqlite(folder, &error) {
        // The identity is ours, so that a missing table is damage.
        OpenError::Database { folder, .. } => {
            OpenError::Damaged { folder, problem: error.to_string() }
        }
        other => other,
    })
}

pub(super) fn last_position_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(position), 0) FROM event")?
        .query_row([], |row| row.get(0))
}

/// SQLite says "cannot open" both for a folder that may not be written to and for much else:
/// try it.
fn explain(folder: &Path, error: &rusqlite::Error) -> OpenError {
    if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) {
        let probe = folder.join(format!(".probe-{}", std::process::id()));
        if let Err(source) = File::create_new(&probe) {
            return OpenError::io(folder, source);
        }
        // Best effort: it is empty, and the failure to open is the news.
        let _ = fs::remove_file(&probe);
    }
    OpenError::sqlite(folder, error)
}

#[cfg(test)]
mod tests {
    use super::{super::location::JOURNAL_MAGIC, *};

    #[test]
    fn every_commit_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [OpenMode::Create, OpenMode::Existing] {
            let Opened { connection, .. } = open(folder.path(), mode).unwrap();
            let number = |pragma: &str| -> i64 {
                let pragma = format!("PRAGMA {pragma}");
                connection.query_row(&pragma, [], |row| row.get(0)).unwrap()
            };
            assert_eq!(number("synchronous"), 2, "FULL");
            assert_eq!(number("fullfsync"), 1);
            let journal: String =
                connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
            assert_eq!(journal, "wal");
        }
    }

    /// A power cut between the fsync of the database and the end of its journal, which the cuts of
    /// block devices met.
    fn cut_off_while_it_was_made(folder: &Path, pages: u32) {
        let maker = Location { path: folder.join(FILE), immutable: false };
        switch_to_log(&maker.connect_to_write(true).unwrap()).unwrap();
        let mut journal = vec![0; 512];
        journal[..8].copy_from_slice(&JOURNAL_MAGIC);
        // Records, which a fresh one has none of; a nonce; the pages before; sector; page.
        for (at, number) in [(8, 0), (12, 7), (16, pages), (20, 512), (24, 4096_u32)] {
            journal[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        fs::write(maker.beside("-journal"), journal).unwrap();
    }

    #[test]
    fn a_store_whose_making_was_cut_off_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        cut_off_while_it_was_made(path, 0);
        assert!(matches!(open(path, OpenMode::Existing), Err(OpenError::Missing { .. })));
        drop(open(path, OpenMode::Create).unwrap());
        open(path, OpenMode::Existing).unwrap();
    }

    #[test]
    fn what_others_were_cut_off_at_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        cut_off_while_it_was_made(path, 1);
        let journal = path.join("events.db-journal");
        assert!(open(path, OpenMode::Create).is_err());
        assert!(journal.exists());
        // It names a journal of several databases, which SQLite may remove.
        cut_off_while_it_was_made(path, 0);
        let bytes = [fs::read(&journal).unwrap(), JOURNAL_MAGIC.to_vec()].concat();
        fs::write(&journal, bytes).unwrap();
        assert!(open(path, OpenMode::Create).is_err());
        assert!(journal.exists());
    }

    #[test]
    fn whose_it_is_holds_for_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location { path: folder.path().join(FILE), immutable: false };
        let maker = location.connect_to_write(true).unwrap();
        switch_to_log(&maker).unwrap();
        let onlooker = location.connect().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..200 {
                    maker.execute_batch(&format!("BEGIN; {SCHEMA} {MARKS} COMMIT")).unwrap();
                    let undo = "BEGIN; DROP VIEW events; DROP TABLE event; DROP TABLE stream;
                        DROP TABLE meta; PRAGMA application_id = 0; PRAGMA user_version = 0; COMMIT";
                    maker.execute_batch(undo).unwrap();
                }
            });
            for _ in 0..2_000 {
                let seen = Identity::of(&onlooker).unwrap();
                assert!(seen.is_fresh() || seen.check(folder.path(), OpenMode::Existing).is_ok());
            }
        });
    }
}
