//! A root slot in a file of two sectors, overwritten in place. They are a MiB apart, so that no
//! damage to one place of the file_system, and no erase block of it, takes both.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use zeroize::Zeroizing;

use super::{
    file_system::{self, Medium},
    hardware::Sectors,
    sector::SECTOR_BYTES,
};
use crate::{
    durable,
    own::{self, Refused},
    vault::root::SlotError,
};

/// Where in the file the second sector begins.
pub(crate) const SECTORS_APART: usize = 1 << 20;

/// The file. While it lives it is locked: two folders that are copies of each other, open
/// over one slot, would each overwrite the other's root, and with it every key of one of them.
pub(super) struct SectorFile(Mutex<File>);

impl SectorFile {
    /// Makes the file, readable and writable by its owner alone, and makes its place durable.
    /// It holds no root until one is written.
    ///
    /// # Errors
    /// [`SlotError::NotEmpty`] where there is something already; [`SlotError::NoFolder`].
    pub(super) fn create(path: &Path) -> Result<Self, SlotError> {
        refuse_missing_folder(path)?;
        let parent = durable::parent(path);
        // Its name, too: who made the folder may not have waited until it was durable.
        durable::sync_folder(durable::parent(parent)).map_err(SlotError::from_io)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => SlotError::NotEmpty(path.display().to_string()),
            _ => SlotError::from_io(e),
        })?;
        lock(&file)?;
        // The blocks get their place on the medium now, and are overwritten in it from now on. What is
        // between the sectors is written as well: over a hole they would be side by side.
        for _ in 0..SECTORS_APART / SECTOR_BYTES + 1 {
            file.write_all(&[0; SECTOR_BYTES]).map_err(SlotError::from_io)?;
        }
        file.sync_all().map_err(SlotError::from_io)?;
        durable::sync_folder(parent).map_err(SlotError::from_io)?;
        if let Some(medium) = Medium::of(path) {
            tracing::info!(file = %path.display(), %medium, "a file of the root slot is made");
        }
        file_system::warn(path);
        Ok(Self(Mutex::new(file)))
    }

    /// Opens the file.
    ///
    /// # Errors
    /// [`SlotError::Missing`]; [`SlotError::Permissions`] where others may read it;
    /// [`SlotError::UntrustedFile`] where it is a link, or another user's; [`SlotError::InUse`].
    pub(super) fn open(path: &Path) -> Result<Self, SlotError> {
        let file = existing(path, true)?;
        lock(&file)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Opens the file to be read. `hold`: while it lives, no one writes to it.
    ///
    /// # Errors
    /// As of [`SectorFile::open`].
    pub(super) fn open_to_read(path: &Path, hold: bool) -> Result<Self, SlotError> {
        let file = existing(path, false)?;
        if hold {
            held(file.try_lock_shared())?;
        }
        Ok(Self(Mutex::new(file)))
    }
}

/// An error where the folder is missing in which a file of a slot is to be made. None is made: where it belongs to
/// a medium that is not mounted, it would be on the disk below, and be hidden with a root in it, which no
/// forgetting reaches, as soon as the medium is there.
///
/// # Errors
/// [`SlotError::NoFolder`].
pub(super) fn refuse_missing_folder(path: &Path) -> Result<(), SlotError> {
    let folder = durable::parent(path);
    match folder.is_dir() {
        true => Ok(()),
        false => Err(SlotError::NoFolder { file: path.to_owned(), folder: folder.to_owned() }),
    }
}

fn existing(path: &Path, write: bool) -> Result<File, SlotError> {
    let file = own::open(path, OpenOptions::new().read(true).write(write));
    let file = file.map_err(|refused| match refused {
        Refused::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            SlotError::Missing(path.display().to_string())
        }
        refused => refused.into(),
    })?;
    refuse_shared(&file, path)?;
    Ok(file)
}

/// Removes a file, durably.
pub(super) fn remove(path: &Path) -> Result<(), SlotError> {
    durable::remove(path).map_err(SlotError::from_io)
}

/// The system takes the lock back when the file is closed.
///
/// # Errors
/// [`SlotError::InUse`] by a process that is not known: the slot holds nothing but the root.
fn lock(file: &File) -> Result<(), SlotError> {
    held(file.try_lock())
}

fn held(locked: Result<(), TryLockError>) -> Result<(), SlotError> {
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(SlotError::InUse(0)),
        // A medium that knows no locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(SlotError::from_io(error)),
    }
}

#[cfg(unix)]
fn refuse_shared(file: &File, path: &Path) -> Result<(), SlotError> {
    use std::os::unix::fs::MetadataExt;
    let mode = file.metadata().map_err(SlotError::from_io)?.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(SlotError::Permissions { path: PathBuf::from(path), mode })
}

#[cfg(not(unix))]
fn refuse_shared(_: &File, _: &Path) -> Result<(), SlotError> {
    Ok(())
}

impl SectorFile {
    fn at(&self, index: usize) -> Result<std::sync::MutexGuard<'_, File>, SlotError> {
        let mut file = self.0.lock().map_err(|_| SlotError::Poisoned)?;
        let offset = (index * SECTORS_APART) as u64;
        file.seek(SeekFrom::Start(offset)).map_err(SlotError::from_io)?;
        Ok(file)
    }
}

impl Sectors for SectorFile {
    fn read(&self, index: usize) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        // Exactly one sector of space, so that no reallocation leaves a copy of the key behind.
        let mut bytes = Zeroizing::new(vec![0; SECTOR_BYTES]);
        let mut file = self.at(index)?;
        let mut read = 0;
        while read < SECTOR_BYTES {
            match file.read(&mut bytes[read..]) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(SlotError::from_io(e)),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write(&self, index: usize, bytes: &[u8]) -> Result<(), SlotError> {
        self.at(index)?.write_all(bytes).map_err(SlotError::from_io)
    }

    fn sync(&self) -> Result<(), SlotError> {
        self.0.lock().map_err(|_| SlotError::Poisoned)?.sync_all().map_err(SlotError::from_io)
    }
}
