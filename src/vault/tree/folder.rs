//! A vault's folder: what says that it is one, and who has it open.
//!
//! `vault.json` is a JSON object with these members, and no others:
//!
//! | member | what |
//! | --- | --- |
//! | `kind` | `"oubliette vault"` |
//! | `format` | 1 |
//! | `vault` | the vault's id; `null` while one is being restored here |
//! | `pages` | where its pages are: `"sled"` or `"sqlite"` |

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[cfg(feature = "backup")]
use crate::vault::pages::{PageStore, PagesAside};
use crate::{
    durable,
    event::VaultId,
    own::{self, Refused},
    vault::{OpenVaultError, PageStoreKind, VaultError},
    without_mark,
};

const HEADER: &str = "vault.json";
const LOCK: &str = "lock";
/// All that a vault's folder holds.
const PARTS: [&str; 4] =
    [LOCK, HEADER, PageStoreKind::Sled.folder(), PageStoreKind::Sqlite.folder()];
const FORMAT: u32 = 1;
const KIND: &str = "oubliette vault";

/// What `vault.json` says of its version, whichever it is.
#[derive(Deserialize)]
struct Version {
    kind: String,
    format: u32,
}

/// What it says in the version that this program knows: these members, and no others. A program that
/// older ones must not follow raises the number.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    format: u32,
    /// `None`: a vault is being restored here, and what is in the folder may be removed. It must say so:
    /// serde takes an absent member for `None`, unless it is told how to read it.
    #[serde(deserialize_with = "Option::deserialize")]
    vault: Option<Uuid>,
    pages: String,
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

impl PageStoreKind {
    /// The one that a vault's pages are in.
    ///
    /// # Errors
    /// [`OpenVaultError::NotFound`], [`OpenVaultError::NotAVault`], [`OpenVaultError::NoPageStore`].
    pub fn of_vault(folder: &Path) -> Result<Self, OpenVaultError> {
        Ok(read_header(folder)?.pages)
    }
}

/// The right to use the folder. The system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock(#[allow(dead_code, reason = "held for its lock")] File);

/// Makes the folder, or takes an empty one, and locks it.
pub(super) fn claim(folder: &Path) -> Result<FolderLock, OpenVaultError> {
    refuse_file(folder)?;
    durable::make_folder(folder).map_err(OpenVaultError::from_io)?;
    let refuse_filled = || match is_empty(folder) {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenVaultError::NotEmpty(folder.display().to_string())),
        Err(error) => Err(OpenVaultError::from_io(error)),
    };
    refuse_filled()?;
    let lock = lock(folder)?;
    // Again: somebody else may have been quicker.
    refuse_filled()?;
    Ok(lock)
}

/// An error where a file is in the place of the folder.
fn refuse_file(folder: &Path) -> Result<(), OpenVaultError> {
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => {
            Err(OpenVaultError::NotAFolder(folder.display().to_string()))
        }
        _ => Ok(()),
    }
}

/// Whether there is nothing but, perhaps, the lock file of an attempt that failed, or the draft of a
/// header.
fn is_empty(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != LOCK && !name.as_encoded_bytes().starts_with(durable::DRAFT.as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Locks the folder.
///
/// # Errors
/// [`OpenVaultError::InUse`], at once, where another process has it, or this one already;
/// [`OpenVaultError::UntrustedFile`].
pub(super) fn lock(folder: &Path) -> Result<FolderLock, OpenVaultError> {
    let mut file = own::open_lock(&folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            // Where readers can be joined, it is they who hold it, and the file names its last writer.
            let joined = file.try_lock_shared().is_ok();
            return Err(OpenVaultError::InUse(if joined { 0 } else { holder(&mut file) }));
        }
        Err(TryLockError::Error(error)) => return Err(OpenVaultError::from_io(error)),
    }
    // Told to anyone who comes next. On a full disk the lock holds without.
    let _ = note_holder(&mut file);
    Ok(FolderLock(file))
}

/// Keeps everybody away who would write to the folder, and writes nothing. `None`: there is no lock
/// to be held, so nothing was ever written to this folder.
///
/// # Errors
/// [`OpenVaultError::InUse`].
pub(super) fn lock_to_read(folder: &Path) -> Result<Option<FolderLock>, OpenVaultError> {
    let mut file = match own::open(&folder.join(LOCK), OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(Refused::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(refused) => return Err(refused.into()),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(FolderLock(file))),
        Err(TryLockError::WouldBlock) => Err(OpenVaultError::InUse(holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(OpenVaultError::from_io(error)),
    }
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(process::id().to_string().as_bytes())
}

/// Who wrote itself into the lock file, which a writer holds; 0 where it does not say.
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
pub(super) fn write_header(folder: &Path, header: Header) -> Result<(), OpenVaultError> {
    write(folder, Some(header.vault), header.pages)
}

fn write(
    folder: &Path,
    vault: Option<VaultId>,
    pages: PageStoreKind,
) -> Result<(), OpenVaultError> {
    let vault = vault.map(|vault| vault.0);
    let pages = pages.to_string();
    let written = Written { kind: KIND.into(), format: FORMAT, vault, pages };
    let mut text =
        serde_json::to_vec_pretty(&written).map_err(|e| VaultError::Storage(Box::new(e)))?;
    text.push(b'\n');
    durable::replace(&folder.join(HEADER), &text).map_err(OpenVaultError::from_io)
}

/// The folder of a vault that is complete, but for its header, which names no vault yet. Locked, so that
/// it is not taken for what an attempt that was cut off left.
///
/// The vault is made where it is to be, and not beside it under another name: not every folder can be
/// renamed (a mount point, `.`), and by then the root slot is overwritten.
#[cfg(feature = "backup")]
#[derive(Debug)]
pub(crate) struct FolderDraft {
    path: PathBuf,
    /// Whether the folder itself was made for it.
    made: bool,
    _lock: FolderLock,
}

#[cfg(feature = "backup")]
impl FolderDraft {
    /// Says durably whose vault it is.
    pub(crate) fn complete(self, vault: VaultId) -> Result<(), OpenVaultError> {
        write_header(&self.path, Header { vault, pages: PageStoreKind::default() })
    }

    /// Removes it. What cannot be removed the next restoration does.
    pub(crate) fn remove(self) {
        if own::clear(&self.path, &PARTS, &[]).is_ok() && self.made {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Whether a vault can be restored to this folder: it is absent, empty, or holds what a restoration left
/// that was cut off.
///
/// # Errors
/// [`OpenVaultError::UntrustedFile`] where it is a symbolic link: it may lead to somebody else's folder, or nowhere.
#[cfg(feature = "backup")]
pub fn is_free(folder: &Path) -> Result<bool, OpenVaultError> {
    own::refuse_link(folder)?;
    match is_empty(folder) {
        Ok(empty) => Ok(empty || is_draft(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(OpenVaultError::from_io(error)),
    }
}

/// Whether the header says that a vault is being restored. A header that cannot be read says nothing: the
/// pages beside it may be all that is left of a vault.
#[cfg(feature = "backup")]
fn is_draft(folder: &Path) -> bool {
    let written = fs::read(folder.join(HEADER)).ok();
    let written = written.and_then(|text| serde_json::from_slice::<Written>(&text).ok());
    written.is_some_and(|written| {
        written.kind == KIND && written.format == FORMAT && written.vault.is_none()
    })
}

/// Whether there is a draft in the folder whose pages these roots open: then they are its own, and no
/// vault's.
#[cfg(feature = "backup")]
pub(crate) fn is_draft_under(folder: &Path, roots: &[(String, [u8; 16])]) -> bool {
    let kind = PageStoreKind::default();
    let pages = folder.join(kind.folder());
    if !is_draft(folder) || own::refuse_link(&pages).is_err() || !pages.is_dir() {
        return false;
    }
    let Ok(pages) = PagesAside::open(kind, &pages) else { return false };
    roots.iter().all(|(_, page)| matches!(pages.get(page), Ok(Some(_))))
}

/// Makes the folder of a draft, locks it, and empties it of what an earlier attempt left.
///
/// # Errors
/// [`OpenVaultError::NotEmpty`] where it is not free; [`OpenVaultError::UntrustedFile`], [`OpenVaultError::InUse`].
#[cfg(feature = "backup")]
pub(super) fn begin_draft(folder: &Path) -> Result<FolderDraft, OpenVaultError> {
    let refuse_filled = || match is_free(folder)? {
        true => Ok(()),
        false => Err(OpenVaultError::NotEmpty(folder.display().to_string())),
    };
    // Before anything is made in it.
    refuse_file(folder)?;
    refuse_filled()?;
    let made = !folder.exists();
    durable::make_folder(folder).map_err(OpenVaultError::from_io)?;
    let lock = lock(folder)?;
    // Again: somebody else may have been quicker.
    refuse_filled()?;
    // Before there are pages: without a header they might be those of a vault that lost it.
    write(folder, None, PageStoreKind::default())?;
    own::clear(folder, &PARTS, &[LOCK, HEADER])?;
    Ok(FolderDraft { path: folder.to_owned(), made, _lock: lock })
}

/// Removes what the making of a vault left that was cut off: an error where it is one that was
/// finished, or holds anything else.
///
/// # Errors
/// [`OpenVaultError::UntrustedFile`], [`OpenVaultError::InUse`], [`OpenVaultError::NotEmpty`].
pub fn remove_unfinished(folder: &Path) -> Result<(), OpenVaultError> {
    own::refuse_link(folder)?;
    let _lock = lock(folder)?;
    if folder.join(HEADER).exists() {
        return Err(OpenVaultError::NotEmpty(folder.display().to_string()));
    }
    Ok(own::clear(folder, &PARTS, &[LOCK])?)
}

/// Removes the folder of a page store that is not in force: what a move that was cut off left. The
/// caller has opened the vault with the other one.
pub(super) fn remove_pages(folder: &Path, kind: PageStoreKind) -> Result<(), OpenVaultError> {
    let pages = folder.join(kind.folder());
    own::refuse_link(&pages)?;
    match fs::remove_dir_all(&pages) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.and_then(|()| durable::sync_folder(folder)).map_err(OpenVaultError::from_io)
        }
    }
}

/// Whose folder it is, and where its pages are.
pub(crate) fn read_header(folder: &Path) -> Result<Header, OpenVaultError> {
    let name = || folder.display().to_string();
    refuse_file(folder)?;
    let text = match fs::read(folder.join(HEADER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(if is_empty(folder).unwrap_or(true) {
                OpenVaultError::NotFound(name())
            } else {
                OpenVaultError::NotAVault(name())
            });
        }
        Err(error) => return Err(OpenVaultError::from_io(error)),
    };
    let text = without_mark(&text);
    let damaged = || OpenVaultError::Vault(VaultError::Damaged(format!("{HEADER} cannot be read")));
    let Version { kind, format } = serde_json::from_slice(text).map_err(|_| damaged())?;
    if kind != KIND {
        return Err(OpenVaultError::NotAVault(name()));
    }
    if format > FORMAT {
        let what = "the vault's folder";
        return Err(VaultError::NewerFormat { what, found: format, known: FORMAT }.into());
    }
    let header: Written = serde_json::from_slice(text).map_err(|_| damaged())?;
    if format != FORMAT {
        return Err(damaged());
    }
    let pages = header.pages.parse()?;
    match header.vault {
        Some(vault) => Ok(Header { vault: VaultId(vault), pages }),
        // It is being restored, or was, when that was cut off.
        None => Err(OpenVaultError::NotFound(name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is changed in the header leads to no other vault unnoticed: it is refused, or names another
    /// vault or another page store, which the slot and the folder do not have.
    #[test]
    fn no_bit_and_no_byte_of_a_header_can_change_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(HEADER);
        let header = Header { vault: VaultId(Uuid::new_v4()), pages: PageStoreKind::Sqlite };
        write_header(folder.path(), header).unwrap();
        let good = fs::read(&file).unwrap();
        let read = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            read_header(folder.path()).map(|read| (read.vault, read.pages))
        };
        let as_written = (header.vault, header.pages);
        assert_eq!(read(&good).unwrap(), as_written);
        let mut other_vaults = 0;
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match read(&bytes) {
                // White space, and letters that are large.
                Ok((vault, pages)) if vault == header.vault => assert_eq!(pages, header.pages),
                Ok(_) => other_vaults += 1,
                Err(OpenVaultError::Vault(VaultError::NewerFormat { found, .. })) => {
                    assert!(found > FORMAT);
                }
                Err(
                    OpenVaultError::Vault(VaultError::Damaged(_))
                    | OpenVaultError::NotAVault(_)
                    | OpenVaultError::NotFound(_)
                    | OpenVaultError::NoPageStore(_),
                ) => {}
                Err(other) => panic!("bit {bit}: {other:?}"),
            }
        }
        assert!(other_vaults > 32, "{other_vaults}");
        for length in 0..good.len() - 1 {
            assert!(
                matches!(read(&good[..length]), Err(OpenVaultError::Vault(VaultError::Damaged(_)))),
                "{length}"
            );
        }
        let good = String::from_utf8(good).unwrap();
        for format in [2_u32, 9, u32::MAX] {
            let newer = good.replace(": 1,", &format!(": {format},"));
            let told = read(newer.as_bytes());
            assert!(
                matches!(told, Err(OpenVaultError::Vault(VaultError::NewerFormat { found, .. })) if found == format)
            );
        }
    }
}
