//! Copies of a vault's folder: found, opened in a process of their own, and read with every root at
//! hand.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    marks::Stray,
    reader::{CopyReader, Pages, ReaderError},
};
use crate::{
    event::VaultId,
    vault::{Copied, DeadKey, OpenVaultError, PageStoreKind, Vault, VaultError},
};

/// A folder that may be a copy of the vault's.
pub(super) struct Candidate {
    /// The folder, as it was reached.
    pub(super) folder: PathBuf,
    /// Whose it says that it is; `None`: it says nothing, only its pages are there.
    pub(super) vault: Option<VaultId>,
    /// Where its pages are.
    pub(super) pages: PathBuf,
}

/// Whether a folder is one. An error, where it says that it is and does not have its form.
pub(super) fn recognise(folder: &Path) -> Result<Option<Candidate>, OpenVaultError> {
    let is_file = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
    let header = folder.join("vault.json");
    if is_file(header.clone()) {
        // No program writes a longer one; whatever it is, it is not read into memory.
        if fs::metadata(&header).is_ok_and(|about| about.len() > 64 << 10) {
            return Err(VaultError::Damaged("vault.json is too long to be one".to_owned()).into());
        }
        return match Copied::vault(folder) {
            Ok(vault) => Ok(Some(Candidate {
                folder: folder.to_owned(),
                vault: Some(vault),
                pages: Copied::pages(folder)?,
            })),
            Err(OpenVaultError::NotAVault(_)) => Ok(None),
            // A restoration that was cut off: pages it may have all the same.
            Err(OpenVaultError::NotFound(_)) => Ok(Some(Candidate {
                folder: folder.to_owned(),
                vault: None,
                pages: folder.join(PageStoreKind::default().folder()),
            })),
            Err(error) => Err(error),
        };
    }
    let pages = Copied::are_pages(folder);
    // Those of a folder that says whose it is are looked at with it.
    let alone = folder.parent().is_none_or(|parent| !is_file(parent.join("vault.json")));
    Ok((pages && alone).then(|| Candidate {
        folder: folder.to_owned(),
        vault: None,
        pages: folder.to_owned(),
    }))
}

/// What came of reading a copy.
pub(super) enum Outcome {
    /// It was read.
    Done,
    /// It was not opened: why.
    NotOpened(&'static str),
    /// It has no pages, or they do not open.
    Broken(String),
    /// There is no room to copy it to.
    NoRoom(io::Error),
    /// It could not be copied.
    Failed(io::Error),
    /// The vault itself failed.
    Vault(VaultError),
}

/// Reads a copy under today's root, and under each of these. Shows every key that the vault does
/// not have, with the root that leads to it (`None`: today's).
pub(super) fn read<'r>(
    vault: &Vault,
    candidate: &Candidate,
    reader: &CopyReader,
    roots: &'r [Stray],
    see: &mut dyn FnMut(Option<&'r Stray>, DeadKey),
) -> Outcome {
    let mut pages = match Pages::open(&candidate.pages, reader) {
        Ok(pages) => pages,
        Err(ReaderError::Broken(why)) => return Outcome::Broken(why),
        Err(ReaderError::NotOpened(why)) => return Outcome::NotOpened(why),
        Err(ReaderError::NoRoom(error)) => return Outcome::NoRoom(error),
        Err(ReaderError::Failed(error)) => return Outcome::Failed(error),
    };
    let strays = roots.iter().filter_map(|stray| Some((stray, stray.trace.root.as_ref()?)));
    let own = strays.filter(|(_, root)| root.vault == vault.id());
    let all = own.map(|(stray, root)| (Some(stray), Some(root)));
    for (stray, root) in std::iter::once((None, None)).chain(all) {
        let read = vault.dead_keys(root, &mut |name| pages.page(name), &mut |key| see(stray, key));
        if let Err(error) = read {
            return Outcome::Vault(error);
        }
    }
    if pages.lost {
        return Outcome::Broken("the database gives up on it".to_owned());
    }
    Outcome::Done
}
