//! Making a data folder of a vault and an event store that a program made by itself.

use std::path::Path;

use futures::TryStreamExt;

use super::{
    DataFolder, FolderError, StorePlace,
    folder::{Access, Parts},
    making::{is_empty, make_folder},
    manifest::{Found, Noted},
    slot::absolute_root,
    store::Events,
};
use oubliette::{
    layer::Oubliette,
    policy::Policy,
    store::{EventStore, ReadAllOptions, StoreError, sqlite::OpenMode},
    vault::Vault,
};

impl DataFolder {
    /// Makes this a data folder of the vault, the root slot and the event store that are there: in it, or where the
    /// caller says. The store notes whose events it holds. `policy`, a file, is adopted; without it the one counts
    /// that the program adopted ([`Vault::adopt_policy`]), or, where it adopted none, that everything is sealed.
    ///
    /// # Errors
    /// [`FolderError::AlreadyThere`]; [`FolderError::RootUnknown`] where the caller does not say where the slot is;
    /// [`FolderError::EventsOfAnother`] and [`FolderError::VaultOfAnotherStore`] where the events are not this
    /// vault's. Then nothing was changed. Those of opening a folder.
    pub async fn attach(&self, policy: Option<&Path>) -> Result<Parts, FolderError> {
        self.check()?;
        let given = policy.map(super::PolicyText::load).transpose()?;
        match self.look() {
            Ok(Found::Nothing) | Err(FolderError::ManifestLost(_)) => {}
            Ok(Found::Ours(_) | Found::Unfinished(_)) => {
                return Err(FolderError::AlreadyThere(self.path.clone()));
            }
            Err(error) => return Err(error),
        }
        self.refuse_links()?;
        if !self.has_events()? {
            return Err(FolderError::events_missing(self));
        }
        if is_empty(&self.vault())? {
            return Err(FolderError::vault_missing(self));
        }
        let root = absolute_root(self.known_root()?.to_owned())?;
        let vault = Vault::open_as(&self.vault(), self.slot(&root)?, self.how)?;
        let policy = match &given {
            Some(given) => given.policy().clone(),
            None => self.adopted(&vault)?.policy().clone(),
        };
        let place = self.events();
        if let StorePlace::Address(_) = place
            && let Some(looked) = self.look_at_store(&place).await?
        {
            self.refuse_others(&looked, &vault, policy.clone()).await?;
        }
        let events = self.open_events(&place, OpenMode::Existing).await?;
        self.refuse_others(&events, &vault, policy).await?;
        let settings = self.settings(Some(vault.id().to_string()), &root)?;
        let noted = Noted::nothing().with(settings);
        make_folder(&self.path)?;
        self.rehearse_memo(&noted)?;
        events.note(vault.id()).await?;
        match &given {
            Some(given) => drop(self.adopt(&vault, given).await?),
            // Where it cannot be written, opening says that it is absent.
            None => drop(self.write_absent_policy(&vault.adopted_policy()?)),
        }
        drop((events, vault));
        self.note(&noted)?;
        self.open(Access::Existing, None).await
    }

    /// An error where the store says that its events are another vault's, or the first that is sealed is not this
    /// one's.
    async fn refuse_others(
        &self,
        events: &Events,
        vault: &Vault,
        policy: Policy,
    ) -> Result<(), FolderError> {
        let (of_store, of_vault) = (events.vaults().await?, vault.id().to_string());
        if of_store.contains(&of_vault) {
            return Ok(());
        }
        let place = self.events();
        if !of_store.is_empty() {
            return Err(FolderError::VaultOfAnotherStore {
                place,
                store: of_store.join(", "),
                vault: of_vault,
            });
        }
        // Only the policy under which the events were sealed says where the halves of one are.
        let layer = Oubliette::unresumed(events.store.clone(), vault.clone(), policy);
        let mut events = layer.read_all(ReadAllOptions::default());
        loop {
            match events.try_next().await {
                Ok(Some(event)) if event.keys.is_empty() => {}
                Ok(_) => return Ok(()),
                Err(source @ StoreError::Unreadable { .. }) => {
                    let source = Box::new(source);
                    return Err(FolderError::EventsOfAnother { place, vault: of_vault, source });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
