//! A vault's folder: what says that it is one, and who has it open.

#[cfg(feature = "backup")]
use std::path::PathBuf;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    process, thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    durable,
    own::{self, Refused},
    vault::{VaultError, VaultId},
};

/// The subfolder of the sealed pages.
pub(crate) const PAGES: &str = "pages";

const HEADER: &str = "vault.json";
const LOCK: &str = "lock";
/// All that a vault's folder holds.
#[cfg(feature = "backup")]
const PARTS: [&str; 3] = [LOCK, HEADER, PAGES];
const FORMAT: u32 = 1;
const KIND: &str = "oubliette vault";

#[derive(Serialize, Deserialize)]
struct Header {
    kind: String,
    format: u32,
    vault: Option<Uuid>,
}

/// The right to use the folder. The system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock(#[allow(dead_code, reason = "held for its lock")] File);

/// Makes the folder, or takes an empty one, and locks it.
pub(super) fn claim(folder: &Path) -> Result<FolderLock, VaultError> {
    durable::make_folder(folder).map_err(storage)?;
    let refuse_filled = || match is_empty(folder) {
        Ok(true) => Ok(()),
        Ok(false) => Err(VaultError::NotEmpty(folder.display().to_string())),
        Err(error) => Err(storage(error)),
    };
    refuse_filled()?;
    let lock = lock(folder)?;
    // Again: somebody else may have been quicker.
    refuse_filled()?;
    Ok(lock)
}

/// Whether there is nothing but, perhaps, the lock file of an attempt that failed.
fn is_empty(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() != LOCK {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Locks the folder.
///
/// # Errors
/// [`VaultError::InUse`], at once, where another process has it, or this one already;
/// [`VaultError::Foreign`].
pub(super) fn lock(folder: &Path) -> Result<FolderLock, VaultError> {
    let mut file = own::open_lock(&folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(VaultError::InUse(holder(&mut file))),
        Err(TryLockError::Error(error)) => return Err(storage(error)),
    }
    file.set_len(0).map_err(storage)?;
    file.rewind().map_err(storage)?;
    file.write_all(process::id().to_string().as_bytes()).map_err(storage)?;
    Ok(FolderLock(file))
}

/// Keeps everybody away who would write to the folder, and writes nothing. `None`: there is no lock
/// to be held, so nobody has ever written to this folder.
///
/// # Errors
/// [`VaultError::InUse`].
pub(super) fn lock_to_read(folder: &Path) -> Result<Option<FolderLock>, VaultError> {
    let mut file = match own::open(&folder.join(LOCK), OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(Refused::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(refused) => return Err(refused.into()),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(FolderLock(file))),
        Err(TryLockError::WouldBlock) => Err(VaultError::InUse(holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(storage(error)),
    }
}

/// Who wrote itself into the lock file; 0 where it does not say.
fn holder(file: &mut File) -> u32 {
    // The holder may be just about to write.
    for _ in 0..10 {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if let (Ok(_), Ok(id)) = (read, text.trim().parse()) {
            return id;
        }
        thread::sleep(Duration::from_millis(2));
    }
    0
}

/// Says durably that the folder is this vault's: last, so that half a vault is none.
pub(super) fn write_header(folder: &Path, vault: VaultId) -> Result<(), VaultError> {
    let header = Header { kind: KIND.into(), format: FORMAT, vault: Some(vault.0) };
    let mut text =
        serde_json::to_vec_pretty(&header).map_err(|e| VaultError::Storage(Box::new(e)))?;
    text.push(b'\n');
    durable::replace(&folder.join(HEADER), &text).map_err(storage)
}

/// The folder of a vault that is complete, but for its name. Locked, so that nobody else takes
/// it for what an attempt that was cut off left.
#[cfg(feature = "backup")]
#[derive(Debug)]
pub(crate) struct FolderDraft {
    path: PathBuf,
    _lock: FolderLock,
}

#[cfg(feature = "backup")]
impl FolderDraft {
    /// Gives it its place, durably. A folder that is not empty is not replaced.
    pub(crate) fn put_in_place(self, folder: &Path) -> Result<(), VaultError> {
        durable::rename(&self.path, folder).map_err(storage)
    }
}

/// Makes the folder of a draft, locks it, and empties it of what an earlier attempt left.
#[cfg(feature = "backup")]
pub(super) fn begin_draft(draft: &Path) -> Result<FolderDraft, VaultError> {
    // Before anything is made in it: a link may lead to somebody else's folder.
    own::refuse_link(draft)?;
    durable::make_folder(draft).map_err(storage)?;
    let lock = lock(draft)?;
    own::clear(draft, &PARTS, Some(LOCK))?;
    Ok(FolderDraft { path: draft.to_owned(), _lock: lock })
}

/// Removes what the making of a vault left that was cut off: an error where it is one that was
/// finished, or holds anything else.
///
/// # Errors
/// [`VaultError::Foreign`], [`VaultError::InUse`], [`VaultError::NotEmpty`].
#[cfg(feature = "cli")]
pub(crate) fn remove_unfinished(folder: &Path) -> Result<(), VaultError> {
    own::refuse_link(folder)?;
    let _lock = lock(folder)?;
    if folder.join(HEADER).exists() {
        return Err(VaultError::NotEmpty(folder.display().to_string()));
    }
    Ok(own::clear(folder, &PARTS, Some(LOCK))?)
}

/// Removes a draft that is of no use. What cannot be removed the next restoration does.
#[cfg(feature = "cli")]
pub(crate) fn remove_draft(draft: &FolderDraft) {
    if own::clear(&draft.path, &PARTS, None).is_ok() {
        let _ = fs::remove_dir(&draft.path);
    }
}

/// Whose folder it is.
pub(crate) fn read_header(folder: &Path) -> Result<VaultId, VaultError> {
    let name = || folder.display().to_string();
    let text = match fs::read(folder.join(HEADER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(if is_empty(folder).unwrap_or(true) {
                VaultError::NotFound(name())
            } else {
                VaultError::NotAVault(name())
            });
        }
        Err(error) => return Err(storage(error)),
    };
    let header: Header = serde_json::from_slice(&text)
        .map_err(|_| VaultError::Damaged(format!("{HEADER} cannot be read")))?;
    if header.kind != KIND {
        return Err(VaultError::NotAVault(name()));
    }
    if header.format > FORMAT {
        return Err(VaultError::NewerFormat { found: header.format, known: FORMAT });
    }
    match header.vault {
        Some(vault) => Ok(VaultId(vault)),
        None => Err(VaultError::Damaged(format!("{HEADER} names no vault"))),
    }
}

fn storage(error: io::Error) -> VaultError {
    VaultError::Storage(Box::new(error))
}
