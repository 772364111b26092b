//! Copies of a vault's folder: found, copied once more, opened, and read with every root at hand.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use super::marks::Stray;
use crate::vault::{Copied, DeadKey, Vault, VaultError, VaultId};

/// A folder that may be a copy of the vault's.
pub(super) struct Candidate {
    /// The folder, as it was reached.
    pub(super) folder: PathBuf,
    /// Whose it says that it is; `None`: it says nothing, only its pages are there.
    pub(super) vault: Option<VaultId>,
    pages: PathBuf,
}

/// The name of the thread on which copies of a vault are opened. The database may panic over what
/// somebody else wrote, which is told as a finding; a program that wants no other word of it has
/// its panic hook pass over this thread.
pub const THREAD: &str = "oubliette-drill-copy";

/// Whether a folder is one. An error, where it says that it is and does not have its form.
pub(super) fn recognise(folder: &Path) -> Result<Option<Candidate>, VaultError> {
    let is_file = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
    if is_file(folder.join("vault.json")) {
        return match Copied::vault(folder) {
            Ok(vault) => Ok(Some(Candidate {
                folder: folder.to_owned(),
                vault: Some(vault),
                pages: Copied::pages(folder)?,
            })),
            Err(VaultError::NotAVault(_)) => Ok(None),
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
    /// It was read; so many of the roots open something in it.
    Done,
    /// It has no pages, or they do not open.
    Broken(String),
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
    roots: &'r [Stray],
    see: &mut (dyn FnMut(Option<&'r Stray>, DeadKey) + Send),
) -> Outcome {
    let copy = match copied(&candidate.pages) {
        Ok(copy) => copy,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Outcome::Broken("it has no pages".to_owned());
        }
        Err(error) => return Outcome::Failed(error),
    };
    let path = copy.path();
    let read = || -> Result<(), Opening> {
        let copy = Copied::open(path).map_err(Opening::Copy)?;
        vault.dead_keys(None, copy.store(), &mut |key| see(None, key)).map_err(Opening::Vault)?;
        for stray in roots {
            let Some(root) = stray.trace.root.as_ref().filter(|root| root.vault == vault.id())
            else {
                continue;
            };
            vault
                .dead_keys(Some(root), copy.store(), &mut |key| see(Some(stray), key))
                .map_err(Opening::Vault)?;
        }
        Ok(())
    };
    apart(read)
}

/// Does it on a thread of its own, and survives a panic there.
fn apart(read: impl FnOnce() -> Result<(), Opening> + Send) -> Outcome {
    let outcome = thread::scope(|scope| {
        thread::Builder::new().name(THREAD.to_owned()).spawn_scoped(scope, read).map(|t| t.join())
    });
    match outcome {
        Ok(Ok(Ok(()))) => Outcome::Done,
        Ok(Ok(Err(Opening::Copy(error)))) => Outcome::Broken(error.to_string()),
        Ok(Ok(Err(Opening::Vault(error)))) => Outcome::Vault(error),
        Ok(Err(_panic)) => Outcome::Broken("the database gives up on it".to_owned()),
        Err(error) => Outcome::Failed(error),
    }
}

enum Opening {
    Copy(VaultError),
    Vault(VaultError),
}

/// A copy of a folder's files, which is removed when it is let go of.
fn copied(from: &Path) -> io::Result<tempfile::TempDir> {
    let to = tempfile::Builder::new().prefix("oubliette-drill").tempdir()?;
    // Of the pages' store: its own folder and one below.
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, to.path().join(entry.file_name()));
        if kind.is_file() {
            fs::copy(entry.path(), path)?;
        } else if kind.is_dir() {
            fs::create_dir(&path)?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_file() {
                    fs::copy(inner.path(), path.join(inner.file_name()))?;
                }
            }
        }
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_panics_is_a_broken_copy() {
        assert!(matches!(apart(|| panic!("over what somebody wrote")), Outcome::Broken(_)));
        assert!(matches!(apart(|| Ok(())), Outcome::Done));
    }
}
