//! Where the database is, how it is connected to, and what is beside it.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

/// How long to wait for another process's commit before giving up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The length of a page, and the most that the journal of an empty database may hold.
const PAGE_BYTES: u64 = 4096;
const JOURNAL_BYTES: u64 = 64 << 10;
/// With this a rollback journal begins; bytes 16 to 19 say how many pages the database had. It also
/// ends with this where it names a journal of several databases.
pub(super) const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// A database that can be connected to.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) path: PathBuf,
    /// Nothing writes to it, nor could we take part in the locking if something did.
    pub(super) immutable: bool,
}

impl Location {
    /// A connection that only reads.
    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = if self.immutable {
            // Absolute, because what follows two slashes would be taken for a host.
            let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
            let uri = format!("file:{}?immutable=1", escape(&path));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(self.absolute()?, flags)?
        };
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.execute_batch("PRAGMA trusted_schema = OFF")?;
        Ok(connection)
    }

    pub(super) fn connect_to_write(&self, create: bool) -> rusqlite::Result<Connection> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let connection = Connection::open_with_flags(self.absolute()?, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }

    /// SQLite takes a name that begins with `file:` for a URI, and `:memory:` for no file. An absolute path begins with
    /// neither.
    fn absolute(&self) -> rusqlite::Result<PathBuf> {
        std::path::absolute(&self.path).map_err(|_| rusqlite::Error::InvalidPath(self.path.clone()))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.beside("-wal")
    }

    /// SQLite says that it switched, too, where it could not remove its journal and took the switch
    /// back, at the next use. Then the file's header says what is.
    pub(super) fn refuse_without_log(&self) -> io::Result<()> {
        let mut header = [0; 20];
        File::open(&self.path)?.read_exact(&mut header)?;
        if header[18..] == [2, 2] {
            return Ok(());
        }
        Err(io::Error::other("SQLite could not begin its write-ahead log; try again"))
    }

    pub(super) fn beside(&self, what: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(what);
        path.into()
    }

    /// Whether there was nothing in the database before the transaction that its journal would
    /// take back: a power cut leaves this where it meets the making of a store, which has its
    /// write-ahead log only afterwards. A journal that names another file is not ours: SQLite might
    /// remove that file.
    pub(super) fn was_empty(&self) -> bool {
        let small = fs::metadata(&self.path).is_ok_and(|found| found.len() <= PAGE_BYTES);
        let journal = fs::metadata(self.beside("-journal"))
            .ok()
            .filter(|found| small && found.len() <= JOURNAL_BYTES)
            .and_then(|_| fs::read(self.beside("-journal")).ok());
        journal.is_some_and(|journal| {
            journal.starts_with(&JOURNAL_MAGIC)
                && journal.get(16..20) == Some(&[0; 4])
                && !journal.ends_with(&JOURNAL_MAGIC)
        })
    }
}

/// A path as it is in a URI of SQLite's.
fn escape(path: &Path) -> String {
    use std::fmt::Write as _;
    let mut uri = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
