//! Pages in SQLite.
//!
//! One table, in a database of its own. Its log is written ahead (WAL), because readers then never
//! wait for a commit, and because a commit is one append and one fsync. `synchronous = FULL` syncs
//! the log at every commit and before its header is used again, and the database before a
//! checkpoint lets the log go; SQLite also syncs the folder when it has made the log. It does not
//! sync the folder for the database itself: that is done here.
//!
//! The database is `pages.db` in the folder `pages.sqlite`, and has version 1:
//!
//! | in it | what |
//! | --- | --- |
//! | application id | 0x4F756250, `OubP` |
//! | user version | the version: 1. A higher one is refused by its number |
//! | `pages(name, content)` | both blobs, each name once: pages as `tree/page.rs` has them, under their ids, and markers as `tree/marker.rs` has them |
//!
//! An empty database gets these. A database with other marks is damaged. Nothing else in it is looked at.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, ffi};

use super::{Batch, DAMAGED, PageStore};
use crate::{
    durable, own,
    vault::{OpenVaultError, VaultError},
};

/// The database's file.
const FILE: &str = "pages.db";

/// Says that a database is one of these: `OubP`.
const APPLICATION: i64 = 0x4F75_6250;
const FORMAT: u32 = 1;

/// How long to wait for SQLite's own locks. No one else uses the file; a checkpoint holds one for
/// moments.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sealed leaves have 4 KiB and more: with pages of 8 KiB most are in one, beside each other.
const PAGE_BYTES: u32 = 8192;

/// Pages in an SQLite database.
pub(crate) struct SqlitePages {
    file: PathBuf,
    /// Connections that are not in use. Dropped first: the last one to be closed empties the
    /// log, and that one syncs as the writer does.
    idle: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
}

impl SqlitePages {
    /// Opens the database in `folder`, or makes it. The caller holds the lock of the vault.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenVaultError> {
        durable::make_folder(folder).map_err(VaultError::from_io)?;
        // SQLite is told to follow no link, and takes that of every folder above, too.
        let file = folder.canonicalize().map_err(VaultError::from_io)?.join(FILE);
        // Only a database that is being made has a journal. An old one would be played back, and
        // may name other files, which SQLite then removes.
        if fs::symlink_metadata(beside(&file, "-journal")).is_ok() {
            let odd = format!("{FILE}-journal does not belong there");
            return Err(VaultError::Damaged(odd).into());
        }
        // Its owner's alone, and no link: SQLite would make it for everybody's eyes.
        let mut options = OpenOptions::new();
        own::open(&file, options.read(true).write(true).create(true).truncate(false))?;
        let mut writer = connect(&file)?;
        refuse_newer(&writer)?;
        prepare(&mut writer).map_err(failed)?;
        // What a process wrote that was killed before it synced is visible now, and relied upon
        // from now on.
        for file in [&file, &beside(&file, "-wal")] {
            match File::open(file).and_then(|file| file.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(VaultError::from_io(error).into());
                }
                _ => {}
            }
        }
        durable::sync_folder(folder).map_err(VaultError::from_io)?;
        Ok(Self { file, writer: Mutex::new(writer), idle: Mutex::default() })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, VaultError> {
        let idle = lock(&self.idle)?.pop();
        let reader = match idle {
            Some(reader) => reader,
            None => connect(&self.file)?,
        };
        let found = read(&reader).map_err(failed);
        lock(&self.idle)?.push(reader);
        found
    }
}

fn connect(file: &Path) -> Result<Connection, VaultError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // SQLite takes a name that begins with `file:` for a URI. An absolute path does not.
    let file = std::path::absolute(file)
        .map_err(|_| failed(rusqlite::Error::InvalidPath(file.to_owned())))?;
    let connection = Connection::open_with_flags(file, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF").map_err(failed)?;
    Ok(connection)
}

/// A number that is noted in the head of the database.
fn number(db: &Connection, of: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, of, |row| row.get(0))
}

/// Refuses what a newer program made. It must not be called damaged: that says to go back to a backup.
fn refuse_newer(db: &Connection) -> Result<(), VaultError> {
    let (whose, found) = (number(db, "application_id"), number(db, "user_version"));
    match (whose.map_err(failed)?, found.map_err(failed)?) {
        (APPLICATION, found) if found > i64::from(FORMAT) => Err(VaultError::NewerFormat {
            what: "the vault's database of pages",
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: FORMAT,
        }),
        _ => Ok(()),
    }
}

/// Prepares the connection that writes, and makes the table in an empty database.
fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    let fresh = number(db, "schema_version")? == 0;
    if !fresh
        && (number(db, "application_id")?, number(db, "user_version")?)
            != (APPLICATION, i64::from(FORMAT))
    {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None));
    }
    // FULL syncs the log at every commit. `fullfsync` asks macOS to empty the drive's cache as well,
    // which other systems do anyway.
    db.execute_batch("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        // A file system without shared memory, say.
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_PROTOCOL), None));
    }
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA cell_size_check = ON",
    )?;
    for pragma in ["wal_autocheckpoint = 2048", "journal_size_limit = 67108864"] {
        db.query_row(&format!("PRAGMA {pragma}"), [], |_| Ok(()))?;
    }
    if fresh {
        let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute_batch(&format!(
            "CREATE TABLE pages (name BLOB NOT NULL UNIQUE, content BLOB NOT NULL) STRICT;
             PRAGMA application_id = {APPLICATION};
             PRAGMA user_version = {FORMAT};"
        ))?;
        change.commit()?;
    }
    Ok(())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, VaultError> {
    mutex.lock().map_err(|_| VaultError::Poisoned)
}

fn failed(error: rusqlite::Error) -> VaultError {
    let code = error.sqlite_error().map(|error| (error.code, error.extended_code));
    match code {
        Some((ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)) => {
            VaultError::Damaged(DAMAGED.into())
        }
        // The latter: no room for the memory that its connections share, which is a file.
        Some((ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE)) => {
            VaultError::DiskFull(Box::new(error))
        }
        Some((ErrorCode::ReadOnly, _)) => VaultError::DiskReadOnly(Box::new(error)),
        _ => VaultError::Storage(Box::new(error)),
    }
}

impl PageStore for SqlitePages {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        self.read(|db| {
            db.prepare_cached("SELECT content FROM pages WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        })
    }

    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError> {
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT name FROM pages")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                see(row.get_ref(0)?.as_blob()?);
            }
            Ok(())
        })
    }

    fn apply(&self, batch: Batch) -> Result<(), VaultError> {
        let mut writer = lock(&self.writer)?;
        let mut write = || -> rusqlite::Result<()> {
            let change = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut remove = change.prepare_cached("DELETE FROM pages WHERE name = ?1")?;
            for name in &batch.removals {
                remove.execute([name])?;
            }
            let mut put = change.prepare_cached(
                "INSERT INTO pages (name, content) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET content = excluded.content",
            )?;
            for (name, content) in &batch.puts {
                put.execute([name, content])?;
            }
            drop((remove, put));
            change.commit()
        };
        write().map_err(failed)
    }

    fn flush(&self) -> Result<(), VaultError> {
        // Every commit is synced.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_synced_also_where_the_system_needs_to_be_told_twice() {
        let temp = tempfile::tempdir().unwrap();
        // Anew, and again.
        for _ in 0..2 {
            let pages = SqlitePages::open(temp.path()).unwrap();
            let writer = pages.writer.lock().unwrap();
            let number =
                |of: &str| writer.pragma_query_value(None, of, |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(number("synchronous"), 2, "FULL");
            assert_eq!(number("fullfsync"), 1);
            assert_eq!(number("checkpoint_fullfsync"), 1);
            assert_eq!(number("page_size"), i64::from(PAGE_BYTES));
            assert_eq!(number("application_id"), APPLICATION);
            let mode: String =
                writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal");
        }
    }

    /// SQLite would play it back, and remove the file that it names.
    #[test]
    fn a_journal_that_somebody_laid_beside_it_is_not_played_back() {
        let temp = tempfile::tempdir().unwrap();
        drop(SqlitePages::open(temp.path()).unwrap());
        let journal = temp.path().join("pages.db-journal");
        fs::write(&journal, "whatever").unwrap();
        assert!(matches!(
            SqlitePages::open(temp.path()),
            Err(OpenVaultError::Vault(VaultError::Damaged(_)))
        ));
        assert_eq!(fs::read(&journal).unwrap(), b"whatever");
    }

    #[test]
    fn another_database_is_left_as_it_is() {
        for content in ["", "CREATE TABLE pages (name, content)"] {
            let temp = tempfile::tempdir().unwrap();
            let file = temp.path().join(FILE);
            let other = Connection::open(&file).unwrap();
            other.execute_batch("CREATE TABLE letters (text)").unwrap();
            other.execute_batch(content).unwrap();
            drop(other);
            let before = fs::read(&file).unwrap();
            assert!(matches!(
                SqlitePages::open(temp.path()),
                Err(OpenVaultError::Vault(VaultError::Damaged(_)))
            ));
            assert!(fs::read(&file).unwrap() == before);
        }
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(FILE), "no database at all, and longer than its header is")
            .unwrap();
        assert!(matches!(
            SqlitePages::open(temp.path()),
            Err(OpenVaultError::Vault(VaultError::Damaged(_)))
        ));
    }

    #[test]
    fn pages_of_a_newer_program_are_not_called_damaged() {
        let temp = tempfile::tempdir().unwrap();
        drop(SqlitePages::open(temp.path()).unwrap());
        let file = temp.path().join(FILE);
        let set = |what: &str, to: i64| {
            let other = Connection::open(&file).unwrap();
            other.execute_batch(&format!("PRAGMA {what} = {to}")).unwrap();
        };
        for version in [2, i64::from(i32::MAX)] {
            set("user_version", version);
            let before = fs::read(&file).unwrap();
            match SqlitePages::open(temp.path()).map(drop).unwrap_err() {
                OpenVaultError::Vault(VaultError::NewerFormat { found, known: 1, .. }) => {
                    assert_eq!(i64::from(found), version);
                }
                other => panic!("{other}"),
            }
            assert!(fs::read(&file).unwrap() == before);
        }
        set("user_version", 0);
        assert!(matches!(
            SqlitePages::open(temp.path()),
            Err(OpenVaultError::Vault(VaultError::Damaged(_)))
        ));
        set("user_version", 1);
        drop(SqlitePages::open(temp.path()).unwrap());
        // Somebody else's database has numbers of its own.
        set("application_id", 7);
        set("user_version", 2);
        assert!(matches!(
            SqlitePages::open(temp.path()),
            Err(OpenVaultError::Vault(VaultError::Damaged(_)))
        ));
    }

    /// SQLite has no sums. What a page of the vault holds is under a seal; the database around it gives it, gives
    /// something else under its name, or fails.
    #[test]
    fn a_database_of_pages_with_a_bit_flipped_or_cut_off_fails_by_name() {
        let temp = tempfile::tempdir().unwrap();
        let pages = SqlitePages::open(temp.path()).unwrap();
        let names: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 16]).collect();
        let puts = names.iter().map(|name| (name.clone(), vec![name[0]; 600])).collect();
        pages.apply(Batch { puts, ..Batch::default() }).unwrap();
        pages.flush().unwrap();
        drop(pages);
        let file = temp.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        let flipped = (0..whole.len()).step_by(101).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        let head = (0..100).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        let cut = (1..whole.len()).step_by(1021).map(|length| whole[..length].to_vec());
        let is_named = |error: OpenVaultError| match error {
            OpenVaultError::Vault(
                VaultError::Damaged(_) | VaultError::NewerFormat { .. } | VaultError::Storage(_),
            ) => {}
            other => panic!("{other:?}"),
        };
        let mut refused = 0;
        for bytes in head.chain(flipped).chain(cut) {
            for rest in ["-wal", "-shm"] {
                let _ = fs::remove_file(beside(&file, rest));
            }
            fs::write(&file, bytes).unwrap();
            match SqlitePages::open(temp.path()) {
                Err(error) => {
                    refused += 1;
                    is_named(error);
                }
                Ok(pages) => {
                    for name in &names {
                        if let Err(error) = pages.get(name) {
                            refused += 1;
                            is_named(error.into());
                        }
                    }
                    let mut seen = 0;
                    match pages.names(&mut |_| seen += 1) {
                        Ok(()) => assert!(seen <= 2 * names.len(), "{seen}"),
                        Err(error) => is_named(error.into()),
                    }
                }
            }
        }
        assert!(refused > 30, "{refused}");
    }

    #[test]
    #[cfg(unix)]
    fn its_file_is_for_its_owner_alone_and_no_link() {
        use std::os::unix::fs::{MetadataExt, symlink};
        let temp = tempfile::tempdir().unwrap();
        let pages = SqlitePages::open(temp.path()).unwrap();
        for file in ["pages.db", "pages.db-wal"] {
            let mode = fs::metadata(temp.path().join(file)).unwrap().mode();
            assert_eq!(mode & 0o077, 0, "{file}");
        }
        drop(pages);
        let (other, file) = (temp.path().join("other"), temp.path().join(FILE));
        fs::rename(&file, &other).unwrap();
        symlink(&other, &file).unwrap();
        assert!(matches!(
            SqlitePages::open(temp.path()),
            Err(OpenVaultError::UntrustedFile { .. })
        ));
    }
}
