//! What can be read from a copy of a vault's pages.

use std::path::{Path, PathBuf};

use crate::{
    crypto::Secret,
    event::{ErasureId, KeyId, VaultId},
    vault::{
        KeyLookup, OpenVaultError, PageStoreKind, Vault, VaultError,
        pages::PageStore,
        records::{entries::KeyEntry, places},
        root::Root,
        tree::{CopiedPages, read_header},
    },
};

/// A key that can be read from a copy, and not from the vault.
pub(crate) struct DeadKey {
    /// Its id.
    pub(crate) id: KeyId,
    /// The key itself.
    pub(crate) secret: Secret,
    /// The pseudonym of its subject.
    pub(crate) pseudonym: [u8; 16],
    /// Why the vault does not have it.
    pub(crate) fate: Fate,
}

/// Why a key is not in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This erasure destroyed it.
    Destroyed(ErasureId),
    /// The vault knows nothing of it.
    Unknown,
}

/// A copy of a vault's folder. Anyone who opens one gives it away: its database writes as it opens.
pub(crate) struct Copied(Box<dyn PageStore>);

impl Copied {
    /// Whose copy it is.
    pub(crate) fn vault(folder: &Path) -> Result<VaultId, OpenVaultError> {
        Ok(read_header(folder)?.vault)
    }

    /// Where in a vault's folder the pages are.
    pub(crate) fn pages(folder: &Path) -> Result<PathBuf, OpenVaultError> {
        Ok(read_header(folder)?.pages_in(folder))
    }

    /// Whether these look like a vault's pages.
    pub(crate) fn are_pages(folder: &Path) -> bool {
        PageStoreKind::found_in(folder).is_some()
    }

    /// Opens the pages of a copy.
    pub(crate) fn open(pages: &Path) -> Result<Self, OpenVaultError> {
        PageStoreKind::found_in(pages).unwrap_or_default().open_copy(pages).map(Self)
    }

    /// The page under a name.
    pub(crate) fn page(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        self.0.get(name)
    }
}

impl Vault {
    /// Whether a root is the one that is in use.
    pub(crate) fn is_root(&self, root: &Root) -> Result<bool, VaultError> {
        self.shared().disk.tree().is_root(root)
    }

    /// Shows every key that is no longer in this vault and that can be read from a copy of its
    /// pages under a root, or (`None`) under today's. Returns whether the root opens anything there.
    pub(crate) fn dead_keys(
        &self,
        root: Option<&Root>,
        copy: CopiedPages<'_>,
        see: &mut dyn FnMut(DeadKey),
    ) -> Result<bool, VaultError> {
        let mut failed = None;
        let opened = self.shared().disk.tree().reach(root, copy, &mut |place, value| match self
            .dead_key(place, value)
        {
            Ok(key) => key.into_iter().for_each(&mut *see),
            Err(error) => failed = Some(error),
        })?;
        failed.map_or(Ok(opened), Err)
    }

    /// The key in a value that is at a place, if that is what it is and this vault does not
    /// have it any more.
    pub(crate) fn dead_key(
        &self,
        place: &[u8],
        value: &[u8],
    ) -> Result<Option<DeadKey>, VaultError> {
        // It may come from anywhere.
        if place.is_empty() || places::kind_of(place) != places::Kind::Key {
            return Ok(None);
        }
        let Ok(entry) = KeyEntry::decode(value) else { return Ok(None) };
        let fate = match self.opening_key(entry.id) {
            Ok(KeyLookup::Live { .. }) => return Ok(None),
            Ok(KeyLookup::Shredded { erasure }) => Fate::Destroyed(erasure),
            Err(VaultError::KeyMissing(_)) => Fate::Unknown,
            Err(error) => return Err(error),
        };
        let pseudonym = places::hash_of(place).unwrap_or_default();
        Ok(Some(DeadKey { id: entry.id, secret: entry.secret, pseudonym, fate }))
    }
}
