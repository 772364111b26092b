//! The files of a sled database, made durable.
//!
//! `sled::Db::flush` returns when the operating system has the bytes. On Linux sled 0.34.7 calls
//! `sync_file_range`, which writes neither the file's length nor the drive's cache, and it never
//! syncs the folders that it makes files in. Its `db` file is the log; a value or node that is
//! larger than a quarter of a segment lies in a file of its own in `blobs`; `conf` and `snap.*` are
//! written while it opens.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    durable::{parent, sync_folder},
    vault::VaultError,
};

const LOG: &str = "db";
const BLOBS: &str = "blobs";

/// The files of one open database.
pub(super) struct SledFiles {
    /// A handle of our own: the system reports a failed write once to each.
    log: File,
    blobs: PathBuf,
    /// The blobs that are durable. Sled never writes to one again.
    durable: Mutex<HashSet<OsString>>,
}

impl SledFiles {
    /// Makes durable what sled wrote while it opened, and what a process that was killed left
    /// unsynced: all of it is visible now, and relied upon from now on.
    pub(super) fn open(folder: &Path) -> Result<Self, VaultError> {
        for entry in fs::read_dir(folder).map_err(storage)? {
            let entry = entry.map_err(storage)?;
            if entry.file_type().map_err(storage)?.is_file() {
                File::open(entry.path()).and_then(|file| file.sync_all()).map_err(storage)?;
            }
        }
        let files = Self {
            log: File::open(folder.join(LOG)).map_err(storage)?,
            blobs: folder.join(BLOBS),
            durable: Mutex::default(),
        };
        files.sync_blobs()?;
        // The folder itself may be new.
        for folder in [&files.blobs, folder, parent(folder)] {
            sync_folder(folder).map_err(storage)?;
        }
        Ok(files)
    }

    /// Makes durable all that sled has written. Call it after sled's own flush: until that returns,
    /// what was applied may lie in buffers of sled's.
    pub(super) fn sync(&self) -> Result<(), VaultError> {
        // First the blobs, to which the log points.
        self.sync_blobs()?;
        self.log.sync_data().map_err(storage)
    }

    /// Syncs the blobs that were made since. There is seldom one.
    fn sync_blobs(&self) -> Result<(), VaultError> {
        let mut durable = self.durable.lock().map_err(|_| VaultError::Poisoned)?;
        let mut present = HashSet::new();
        let mut made = false;
        for entry in fs::read_dir(&self.blobs).map_err(storage)? {
            let name = entry.map_err(storage)?.file_name();
            if !durable.contains(&name) {
                match File::open(self.blobs.join(&name)).and_then(|blob| blob.sync_all()) {
                    Ok(()) => {}
                    // Sled has replaced it already.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(storage(error)),
                }
                made = true;
            }
            present.insert(name);
        }
        if made {
            sync_folder(&self.blobs).map_err(storage)?;
        }
        *durable = present;
        Ok(())
    }
}

fn storage(error: io::Error) -> VaultError {
    VaultError::Storage(Box::new(error))
}

#[cfg(test)]
impl SledFiles {
    /// From now on the system refuses to sync the log, as it does on a device that cannot.
    pub(super) fn fail(&mut self) {
        self.log = File::open("/dev/null").unwrap();
    }
}
