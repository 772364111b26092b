//! Moving a data folder's root slot to another file.

use std::path::PathBuf;

use super::{
    DataFolder, FolderError,
    manifest::Found,
    slot::{absolute_root, device, make_room},
};
use oubliette::vault::{Vault, VaultError};

impl DataFolder {
    /// Moves the root slot of this folder to another file, and notes it. The file before is overwritten and
    /// removed. Returns where that was; `None`: the slot is there already.
    ///
    /// On the way the new file is a mirror of the slot, and then the one before is a mirror of the new one: whatever
    /// is cut off, each copy of the root is known by name, and the move can be repeated.
    ///
    /// # Errors
    /// [`FolderError::NotFound`], [`FolderError::RootWithin`]; [`VaultError::Unsupported`] where either is in a device;
    /// those of the vault.
    pub async fn move_root(&self, to: PathBuf) -> Result<Option<PathBuf>, FolderError> {
        let Found::Ours(noted) = self.look()? else {
            return Err(FolderError::NotFound(self.path.clone()));
        };
        let folder = self.located(&noted);
        folder.refuse_links()?;
        let (from, to) = (absolute_root(folder.known_root()?.to_owned())?, absolute_root(to)?);
        if device(&from).or(device(&to)).is_some() {
            return Err(FolderError::Vault(VaultError::Unsupported(
                "a root slot moves from one file to another; into a TPM or a token, or out of one, it comes by \
                 restoring a backup there",
            )));
        }
        if from == to {
            return Ok(None);
        }
        let moved = Self { root: Some(to.clone()), ..folder.clone() };
        folder.refuse_within(&moved.slot(&to)?)?;
        let kek = folder.kek.clone().unwrap_or_default();
        make_room(&to)?;
        // Both are at work, and the one before names the new one.
        let vault = Vault::open_as(&folder.vault(), folder.slot(&from)?, self.how)?;
        vault.add_mirror(&to).await?;
        folder.note_slot(&vault, &kek)?;
        let mut mirrors: Vec<PathBuf> =
            vault.root_slot()?.mirrors.into_iter().map(|mirror| mirror.name.into()).collect();
        drop(vault);
        mirrors.retain(|mirror| *mirror != to);
        mirrors.push(from.clone());
        let moved = Self { mirrors, ..moved };
        self.note(&noted.clone().with(moved.settings(noted.vault(), &to)?))?;
        // From here on the new one is the slot, and the one before its mirror.
        let vault = Vault::open_as(&moved.vault(), moved.slot(&to)?, self.how)?;
        vault.retire_mirror(&from, false).await?;
        moved.note_places(&vault, &kek)?;
        Ok(Some(from))
    }
}
