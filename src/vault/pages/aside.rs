//! Pages that are read and never written to: a copy of their files, because opening a database
//! writes to it.

use std::{fs, io, path::Path};

use super::{Batch, PageStore, PageStoreKind};
use crate::vault::{OpenVaultError, VaultError};

/// The copy. It is ciphertext, as the pages are, and removed when this is dropped.
pub(crate) struct PagesAside {
    /// Closed before its files are removed.
    pages: Box<dyn PageStore>,
    _folder: tempfile::TempDir,
}

impl PagesAside {
    /// Copies the files of a page store. The caller sees to it that nobody writes to them meanwhile.
    pub(crate) fn open(kind: PageStoreKind, folder: &Path) -> Result<Self, OpenVaultError> {
        let aside = tempfile::Builder::new().prefix("oubliette-").tempdir();
        let aside = aside.map_err(VaultError::from_io)?;
        copy(folder, aside.path()).map_err(VaultError::from_io)?;
        Ok(Self { pages: kind.open_copy(aside.path())?, _folder: aside })
    }
}

/// Files and folders; links, which no page store makes, are left.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            let mut file = fs::File::create_new(&to)?;
            io::copy(&mut fs::File::open(entry.path())?, &mut file)?;
        }
    }
    Ok(())
}

impl PageStore for PagesAside {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        self.pages.get(name)
    }

    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError> {
        self.pages.names(see)
    }

    fn apply(&self, _: Batch) -> Result<(), VaultError> {
        Err(VaultError::ReadOnly)
    }

    fn flush(&self) -> Result<(), VaultError> {
        Err(VaultError::ReadOnly)
    }
}
