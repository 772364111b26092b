//! Moving a data folder's root slot to another file.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    DataFolder, FolderError,
    manifest::Found,
    settings,
    slot::{absolute_root, device, make_room},
};
use oubliette::vault::{Vault, VaultError};
use oubliette_files::{durable, own};

/// The file of a slot is not longer.
const LONGEST: u64 = 2 << 20;

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
        let to = absolute_root(to)?;
        if device(&to).is_none()
            && let Some((from, root)) = self.finish_move().await?
            && own::is_same(&root, &to)
        {
            return Ok(Some(from));
        }
        let Found::Ours(noted) = self.look()? else {
            return Err(FolderError::NotFound(self.path.clone()));
        };
        let folder = self.located(&noted);
        folder.refuse_links()?;
        let from = absolute_root(folder.known_root()?.to_owned())?;
        if device(&from).or(device(&to)).is_some() {
            return Err(FolderError::Vault(VaultError::Unsupported(
                "a root slot moves from one file to another; into a TPM or a token, or out of one, it comes by \
                 restoring a backup there",
            )));
        }
        // By whichever name: the file before is destroyed.
        if own::is_same(&from, &to) {
            return Ok(None);
        }
        folder.refuse_within(&folder.slot(&to)?)?;
        make_room(&to)?;
        // Both are at work, and the one before names the new one.
        let vault = Vault::open_as(&folder.vault(), folder.slot(&from)?, self.how)?;
        vault.add_mirror(&to).await?;
        folder.note_slot(&vault, &folder.kek.clone().unwrap_or_default())?;
        let mirrors =
            vault.root_slot()?.mirrors.into_iter().map(|mirror| PathBuf::from(mirror.name));
        // It may be a mirror since long, by another name, and keeps that.
        let (there, mut mirrors): (Vec<PathBuf>, Vec<PathBuf>) =
            mirrors.partition(|mirror| own::is_same(mirror, &to));
        drop(vault);
        let to = there.into_iter().next().unwrap_or(to);
        mirrors.push(from.clone());
        let moved = Self { root: Some(to.clone()), mirrors, ..folder };
        let mut settings = moved.settings(noted.vault(), &to)?;
        // That nobody wants this mirror is known to whoever repeats it.
        settings.moving_from = Some(settings::noted(&from)?);
        self.note(&noted.with(settings))?;
        // From here on the new one is the slot, and the one before its mirror.
        moved.leave(&from).await?;
        Ok(Some(from))
    }

    /// Finishes a move that was cut off when the new file was the slot already. Returns from where and to where
    /// it was.
    async fn finish_move(&self) -> Result<Option<(PathBuf, PathBuf)>, FolderError> {
        let Found::Ours(noted) = self.look()? else { return Ok(None) };
        let from = noted.settings().moving_from.map(PathBuf::from);
        let (Some(from), Some(root)) = (from, noted.root()) else { return Ok(None) };
        // The caller may still name the one before.
        let is_other = |named: &PathBuf| !own::is_same(named, &root) && !own::is_same(named, &from);
        if own::is_same(&from, &root) || self.root.as_ref().is_some_and(is_other) {
            return Ok(None);
        }
        let folder = self.clone().with_root(Some(root.clone())).located(&noted);
        folder.refuse_links()?;
        folder.leave(&from).await?;
        Ok(Some((from, root)))
    }

    /// Destroys the file where the root slot of this folder, which is located, was before, and notes that.
    async fn leave(&self, from: &Path) -> Result<(), FolderError> {
        let slot = self.slot(self.known_root()?)?;
        let vault = Vault::open_as(&self.vault(), slot, self.how)?;
        let mirrors = vault.root_slot()?.mirrors;
        match mirrors.iter().any(|mirror| own::is_same(Path::new(&mirror.name), from)) {
            true => self.retire_mirror(&vault, from, false).await?,
            false => remove_wiped(from)?,
        }
        self.note_places(&vault, &self.kek.clone().unwrap_or_default())
    }
}

/// Removes what is left of a mirror that was overwritten, and whose removal was cut off: nothing but zeros. Anything
/// else that is there is not ours to remove.
fn remove_wiped(path: &Path) -> Result<(), FolderError> {
    let Ok(mut file) = own::open(path, OpenOptions::new().read(true)) else { return Ok(()) };
    let mut read = || -> io::Result<bool> {
        let length = file.metadata()?.len();
        if length == 0 || length > LONGEST {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes.iter().all(|byte| *byte == 0))
    };
    let removed = match read() {
        Ok(true) => durable::remove(path),
        other => other.map(drop),
    };
    removed.map_err(|source| FolderError::Io { path: path.to_owned(), source })
}
