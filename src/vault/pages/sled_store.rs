//! Pages in sled.

use std::{
    io, mem,
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use super::{
    Batch, DAMAGED, PageStore,
    sled_files::{self, SledFiles},
};
use crate::vault::{OpenVaultError, VaultError};

/// What sled may keep in memory, in bytes. The tree keeps opened pages itself, so sled needs
/// little more than its inner nodes, and those that are written again and again.
const CACHE_BYTES: u64 = 128 << 20;

/// How long to wait for sled's own lock of its file, which the threads of an instance that was
/// just dropped in this process may still hold. No other process can: the folder's lock is ours.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Pages in a sled database.
pub(crate) struct SledPages {
    db: sled::Db,
    /// `None`: of a copy, of which nothing is made durable.
    files: Option<SledFiles>,
}

impl SledPages {
    /// Opens the database in `folder`, or makes it. The caller holds the lock of the vault.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenVaultError> {
        sled_files::prepare(folder)?;
        let db = Self::open_db(folder)?;
        Ok(Self { db, files: Some(SledFiles::open(folder)?) })
    }

    /// Opens a copy of one that is thrown away afterwards.
    pub(super) fn open_copy(folder: &Path) -> Result<Self, OpenVaultError> {
        sled_files::heal(folder)?;
        Ok(Self { db: Self::open_db(folder)?, files: None })
    }

    fn open_db(folder: &Path) -> Result<sled::Db, OpenVaultError> {
        // Sled counts from then, and panics.
        if SystemTime::now() < SystemTime::UNIX_EPOCH {
            return Err(OpenVaultError::Clock);
        }
        // Nothing happens behind the back: what must be durable is flushed by name, and the
        // errors of a background flush would reach no one.
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .segment_size(sled_files::SEGMENT_BYTES);
        let pause = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        loop {
            match config.open() {
                Ok(db) => return Ok(db),
                Err(error) if is_lock(&error) && waited < LOCK_PATIENCE => {
                    thread::sleep(pause);
                    waited += pause;
                }
                Err(error) => return Err(failed(error).into()),
            }
        }
    }
}

/// Whether sled says that somebody holds its file. It wraps the system's error in one of kind
/// `Other`, of which only the text tells.
fn is_lock(error: &sled::Error) -> bool {
    match error {
        sled::Error::Io(error) => {
            error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("lock")
        }
        _ => false,
    }
}

fn failed(error: sled::Error) -> VaultError {
    match error {
        // Sled's log ends where it is damaged.
        sled::Error::Corruption { .. } => VaultError::Damaged(DAMAGED.into()),
        sled::Error::Io(error) => VaultError::from_io(error),
        error => VaultError::Storage(Box::new(error)),
    }
}

impl PageStore for SledPages {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let found = self.db.get(name).map_err(failed)?;
        Ok(found.map(|bytes| bytes.to_vec()))
    }

    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError> {
        for name in self.db.iter().keys() {
            see(&name.map_err(failed)?);
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), VaultError> {
        let mut changes = sled::Batch::default();
        for name in batch.removals {
            changes.remove(name);
        }
        for (name, content) in batch.puts {
            changes.insert(name, content);
        }
        self.db.apply_batch(changes).map_err(|error| {
            let error = failed(error);
            // What it had applied when it failed to read a page it keeps, and would write to the disk when it is closed:
            // half a batch, which the next opening could not tell from a whole one. So it never is closed. Until the
            // process ends nobody can open it again. After a failed write it writes nothing more by itself.
            if !matches!(error, VaultError::DiskFull(_) | VaultError::DiskReadOnly(_)) {
                mem::forget(self.db.clone());
            }
            error
        })
    }

    fn flush(&self) -> Result<(), VaultError> {
        // The blocking one: `flush_async` hung under concurrent tasks (sled's issue 1308).
        self.db.flush().map_err(failed)?;
        // Sled gave the bytes to the system. They are durable only after this.
        self.files.as_ref().map_or(Ok(()), SledFiles::sync)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{
        root::MemorySlot,
        tree::{Shape, Tree},
    };

    /// A page that cannot be read is met in the middle of a batch, by which another one is changed. Sled's own error
    /// keeps what was changed before it.
    #[test]
    #[cfg(unix)]
    fn of_a_batch_that_fails_nothing_comes_back() {
        use std::{fs, ops::Range, os::unix::fs::FileExt};
        let temp = tempfile::tempdir().unwrap();
        let put = |pages: &SledPages, names: Range<u8>, content: fn(u8) -> u8| {
            let puts = names.map(|name| (vec![name; 16], vec![content(name); 8_000])).collect();
            pages.apply(Batch { puts, removals: Vec::new() })
        };
        let pages = SledPages::open(temp.path()).unwrap();
        put(&pages, 1..120, |name| name).unwrap();
        // So that what is damaged is not in the segment that sled reads again when it opens.
        (0..8).for_each(|_| put(&pages, 120..240, |_| 240).unwrap());
        pages.flush().unwrap();
        drop(pages);
        let pages = SledPages::open(temp.path()).unwrap();
        let log = temp.path().join("db");
        let bytes = fs::read(&log).unwrap();
        let log = fs::OpenOptions::new().write(true).open(&log).unwrap();
        let damaged = bytes.chunks(1_000).enumerate().filter(|(_, part)| *part == [60; 1_000]);
        for (at, _) in damaged {
            log.write_all_at(&[0; 1_000], 1_000 * at as u64).unwrap();
        }
        assert!(put(&pages, 1..120, |_| 250).is_err());
        drop(pages);

        // As another process finds it.
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(temp.path()).unwrap().map(Result::unwrap) {
            let to = copy.path().join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => fs::create_dir(to).unwrap(),
                false => drop(fs::copy(entry.path(), to).unwrap()),
            }
        }
        let pages = SledPages::open(copy.path()).unwrap();
        let found: Vec<_> = (1..120_u8).filter_map(|n| pages.get(&[n; 16]).ok()?).collect();
        assert!(found.len() > 60, "{}", found.len());
        assert!(found.iter().all(|page| page[0] < 120), "half of the batch is there");
    }

    #[test]
    fn a_flush_fails_where_the_system_does_not_sync() {
        let folder = tempfile::tempdir().unwrap();
        let mut pages = SledPages::open(folder.path()).unwrap();
        pages.files.as_mut().unwrap().fail();
        assert!(matches!(pages.flush(), Err(VaultError::Storage(_))));

        let made = Tree::create(Box::new(pages), Box::new(MemorySlot::default()), Shape::default());
        assert!(matches!(made, Err(VaultError::Storage(_))));
    }
}
