//! Where a data folder's root slot is, and how it is guarded.

use std::path::{Path, PathBuf};

use super::{
    DataFolder, FolderError,
    folder::{Found, pretty},
};
use crate::vault::{Kek, Passphrase, SlotConfig, SlotPlace, Vault};

impl DataFolder {
    /// With these mirrors of the root slot, besides those that the folder notes.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: impl IntoIterator<Item = PathBuf>) -> Self {
        self.mirrors.extend(mirrors);
        self
    }

    /// With the root wrapped by this key-encryption key, instead of the one that the folder notes.
    #[must_use]
    pub fn with_kek(mut self, kek: Option<Kek>) -> Self {
        self.kek = kek.map(absolute_kek);
        self
    }

    /// With this passphrase, where [`DataFolder::kek`] asks for one.
    #[must_use]
    pub fn with_passphrase(mut self, passphrase: Option<Passphrase>) -> Self {
        self.passphrase = passphrase;
        self
    }

    /// Where the key-encryption key comes from that opening will use.
    ///
    /// # Errors
    /// Where the folder notes it, and cannot be read.
    pub fn kek(&self) -> Result<Kek, FolderError> {
        if let Some(kek) = &self.kek {
            return Ok(kek.clone());
        }
        match self.look() {
            Ok(Found::Ours(manifest) | Found::Unfinished(manifest)) => {
                Ok(manifest.kek.unwrap_or_default())
            }
            Ok(Found::Nothing) | Err(FolderError::NotOurs(_)) => Ok(Kek::None),
            Err(error) => Err(error),
        }
    }

    /// Notes where the vault's mirrors are now, and where its key-encryption key comes from.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn note_slot(&self, vault: &Vault, kek: &Kek) -> Result<(), FolderError> {
        let Found::Ours(mut manifest) = self.look()? else {
            return Err(FolderError::NotFound(self.path.clone()));
        };
        let state = vault.root_slot()?;
        let mirrors = state.mirrors.into_iter().map(|mirror| mirror.name.into()).collect();
        let kek = Some(absolute_kek(kek.clone())).filter(|kek| *kek != Kek::None);
        if manifest.mirrors == mirrors && manifest.kek == kek {
            return Ok(());
        }
        (manifest.mirrors, manifest.kek) = (mirrors, kek);
        self.write(&self.manifest_file(), &pretty(&manifest))
    }

    /// An error where a copy of this folder would have its root slot, too.
    pub(super) fn refuse_within(&self, slot: &SlotConfig) -> Result<(), FolderError> {
        match slot.within(&self.path) {
            Some(root) => {
                let (root, path) = (root.to_owned(), self.path.clone());
                Err(FolderError::RootWithin { root, path })
            }
            None => Ok(()),
        }
    }

    /// The root slot at this place, guarded as this folder says.
    pub(super) fn slot(&self, root: &Path) -> Result<SlotConfig, FolderError> {
        let mut slot = SlotConfig::at(place(root)?);
        for mirror in &self.mirrors {
            slot = slot.with_mirror(mirror);
        }
        let kek = self.kek.clone().unwrap_or_default();
        Ok(slot.with_kek(kek, self.passphrase.clone()))
    }
}

/// What a text says of the place of a root slot.
fn place(root: &Path) -> Result<SlotPlace, FolderError> {
    if !is_tpm(root) {
        return Ok(SlotPlace::File(root.to_owned()));
    }
    let bad = |why: String| FolderError::BadRoot(root.to_owned(), why);
    #[cfg(feature = "tpm")]
    {
        let text = root.to_string_lossy();
        let index: crate::vault::TpmIndex =
            text.parse().map_err(|error: crate::vault::TpmIndexError| bad(error.to_string()))?;
        let auth = std::env::var("OUBLIETTE_TPM_AUTH").ok().and_then(Passphrase::new);
        Ok(SlotPlace::Tpm(index.with_auth(auth)))
    }
    #[cfg(not(feature = "tpm"))]
    Err(bad("this program was built without the feature `tpm`".into()))
}

pub(super) fn is_tpm(root: &Path) -> bool {
    root.to_str().is_some_and(|root| root.starts_with("tpm:"))
}

pub(super) fn absolute_path(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The same, wherever one works later.
fn absolute_kek(kek: Kek) -> Kek {
    match kek {
        Kek::File(path) => Kek::File(absolute_path(&path)),
        other => other,
    }
}
