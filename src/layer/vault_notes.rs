//! Whose tokens a store holds, as it notes itself.

use futures::TryStreamExt;

use crate::{
    event::{NameError, VaultId, VaultNote},
    store::{Append, EventStore, ExpectedRevision, ReadOptions, StoreError},
};

/// The vaults whose tokens a store says that it holds. None where nobody noted it: that alone does not mean that it holds
/// no tokens.
///
/// # Errors
/// [`StoreError`] where the store cannot be read.
pub async fn noted_vaults(store: &dyn EventStore) -> Result<Vec<VaultId>, StoreError> {
    let stream = VaultNote::stream().map_err(|error| named(&error))?;
    let mut events = store.read(&stream, ReadOptions::default());
    let mut vaults = Vec::new();
    while let Some(event) = events.try_next().await? {
        vaults.extend(VaultNote::of(&event).map(|note| note.vault));
    }
    Ok(vaults)
}

/// Notes in a store that it holds a vault's tokens. Where it says so already, nothing is written.
///
/// ```
/// use oubliette::{layer::{note_vault, noted_vaults}, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, vault) = (MemoryStore::new(), Vault::in_memory()?);
/// note_vault(&store, vault.id()).await?;
/// note_vault(&store, vault.id()).await?;
/// // Before somebody opens the store with a vault:
/// assert_eq!(noted_vaults(&store).await?, [vault.id()]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`StoreError`] where the store does not take it.
pub async fn note_vault(store: &dyn EventStore, vault: VaultId) -> Result<(), StoreError> {
    let event = VaultNote { vault }.event().map_err(|error| named(&error))?;
    let stream = VaultNote::stream().map_err(|error| named(&error))?;
    store.append(vec![Append::new(stream, ExpectedRevision::Any, vec![event])]).await?;
    Ok(())
}

fn named(error: &NameError) -> StoreError {
    StoreError::Invalid(error.to_string())
}
