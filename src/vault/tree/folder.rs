//! A vault's folder: what says that it is one, and who has it open.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    durable,
    own::{self, Refused},
    vault::{PageStoreKind, VaultError, VaultId},
};

const HEADER: &str = "vault.json";
const LOCK: &str = "lock";
/// All that a vault's folder holds.
#[cfg(feature = "backup")]
const PARTS: [&str; 4] =
    [LOCK, HEADER, PageStoreKind::Sled.folder(), PageStoreKind::Sqlite.folder()];
const FORMAT: u32 = 1;
const KIND: &str = "oubliette vault";

#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    format: u32,
    vault: Option<Uuid>,
    #[serde(default)]
    pages: Option<String>,
}

/// What a vault's folder says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// Whose it is.
    pub(crate) vault: VaultId,
    /// Where its pages are.
    pub(crate) pages: PageStoreKind,
}

impl Header {
    /// The folder of the pages within the vault's.
    pub(crate) fn pages_in(&self, folder: &Path) -> PathBuf {
        folder.join(self.pages.folder())
    }
}

/// The right to use the folder. The system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock(#[allow(dead_code, reason = "held for its lock")] File);

/// Makes the folder, or takes an empty one, and locks it.
pub(super) fn claim(folder: &Path) -> Result<FolderLock, VaultError> {
    durable::make_folder(folder).map_err(VaultError::from_io)?;
    let refuse_filled = || match is_empty(folder) {
        Ok(true) => Ok(()),
        Ok(false) => Err(VaultError::NotEmpty(folder.display().to_string())),
        Err(error) => Err(VaultError::from_io(error)),
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
        Err(TryLockError::Error(error)) => return Err(VaultError::from_io(error)),
    }
    // Told to anyone who comes next. On a full disk the lock holds without.
    let _ = note_holder(&mut file);
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
        Err(TryLockError::Error(error)) => Err(VaultError::from_io(error)),
    }
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(process::id().to_string().as_bytes())
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

/// Says durably whose the folder is: last, so that half a vault is none. In one step, so that its
/// pages are in one store or in the other.
pub(super) fn write_header(folder: &Path, header: Header) -> Result<(), VaultError> {
    let written = Written {
        kind: KIND.into(),
        format: FORMAT,
        vault: Some(header.vault.0),
        pages: Some(header.pages.to_string()),
    };
    let mut text =
        serde_json::to_vec_pretty(&written).map_err(|e| VaultError::Storage(Box::new(e)))?;
    text.push(b'\n');
    durable::replace(&folder.join(HEADER), &text).map_err(VaultError::from_io)
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
        durable::rename(&self.path, folder).map_err(VaultError::from_io)
    }
}

/// Makes the folder of a draft, locks it, and empties it of what an earlier attempt left.
#[cfg(feature = "backup")]
pub(super) fn begin_draft(draft: &Path) -> Result<FolderDraft, VaultError> {
    // Before anything is made in it: a link may lead to somebody else's folder.
    own::refuse_link(draft)?;
    durable::make_folder(draft).map_err(VaultError::from_io)?;
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

/// Removes the folder of a page store that is not in force: what a move that was cut off left. The
/// caller has opened the vault with the other one.
pub(super) fn remove_pages(folder: &Path, kind: PageStoreKind) -> Result<(), VaultError> {
    let pages = folder.join(kind.folder());
    own::refuse_link(&pages)?;
    match fs::remove_dir_all(&pages) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| durable::sync_folder(folder)).map_err(VaultError::from_io),
    }
}

/// Whose folder it is, and where its pages are.
pub(crate) fn read_header(folder: &Path) -> Result<Header, VaultError> {
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
        Err(error) => return Err(VaultError::from_io(error)),
    };
    let header: Written = serde_json::from_slice(&text)
        .map_err(|_| VaultError::Damaged(format!("{HEADER} cannot be read")))?;
    if header.kind != KIND {
        return Err(VaultError::NotAVault(name()));
    }
    if header.format > FORMAT {
        return Err(VaultError::NewerFormat { found: header.format, known: FORMAT });
    }
    let pages = header.pages.map_or(Ok(PageStoreKind::Sled), |pages| pages.parse())?;
    match header.vault {
        Some(vault) => Ok(Header { vault: VaultId(vault), pages }),
        None => Err(VaultError::Damaged(format!("{HEADER} names no vault"))),
    }
}
