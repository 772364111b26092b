//! Where a data folder's vault keeps its pages.

use super::{DataFolder, FolderError, folder::blocking, manifest::Found};
use oubliette::vault::{Moved, PageStoreKind, Vault};

impl DataFolder {
    /// The page store of this folder's vault.
    ///
    /// # Errors
    /// [`FolderError::NotFound`], and those of reading the vault's header.
    pub fn page_store(&self) -> Result<PageStoreKind, FolderError> {
        match self.look()? {
            Found::Ours(noted) => Ok(PageStoreKind::of_vault(&self.located(&noted).vault())?),
            Found::Nothing | Found::Unfinished(_) => Err(FolderError::NotFound(self.path.clone())),
        }
    }

    /// Moves the pages of this folder's vault, which no process may have open, to another page store.
    /// See [`Vault::move_pages`].
    ///
    /// # Errors
    /// [`FolderError::NotFound`], and those of [`Vault::move_pages`].
    pub async fn move_pages(
        &self,
        to: PageStoreKind,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Moved, FolderError> {
        let Found::Ours(noted) = self.look()? else {
            return Err(FolderError::NotFound(self.path.clone()));
        };
        let folder = self.located(&noted);
        folder.refuse_links()?;
        let slot = folder.slot(folder.known_root()?)?;
        let vault = folder.vault();
        Ok(blocking(move || Vault::move_pages(&vault, slot, to, progress)).await??)
    }
}
