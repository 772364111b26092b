//! The event store of a data folder, wherever it is: how it is opened, and how it says whose tokens it holds.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use oubliette::{
    event::{Position, RecordedEvent, StreamName, VaultId, VaultNote},
    layer::{Oubliette, note_vault, noted_vaults},
    policy::Policy,
    store::{
        Append, Appended, Capabilities, EventStore, EventStream, Filter, Purge, ReadAllOptions,
        ReadOptions, SqliteStore, StoreError, Subscription, sqlite::OpenMode,
    },
};

use super::{DataFolder, FolderError, StoreAddress, StorePlace, making::is_empty};

/// Any event store. A clone is the same store.
pub type AnyStore = Arc<dyn EventStore>;

/// Opens event stores at servers, for data folders that have theirs there. A program that knows an adapter gives one to its
/// folders: [`DataFolder::with_stores`].
#[async_trait]
pub trait OpenStore: fmt::Debug + Send + Sync + 'static {
    /// Opens the store at an address. [`OpenMode::Create`] makes it where it is missing. An adapter that cannot open one read-only
    /// opens it for [`OpenMode::ReadOnly`] as an existing one: the folder sees to it that nothing is written. Where a store's
    /// writers end each other, [`OpenMode::ReadOnly`] must end none: by it a folder looks whose store it is before it
    /// opens it to be written to.
    ///
    /// # Errors
    /// [`StoreError::Backend`] with the adapter's own error.
    async fn open(&self, address: &StoreAddress, mode: OpenMode)
    -> Result<OpenedStore, StoreError>;
}

/// A store that was opened.
#[derive(Debug, Clone)]
pub struct OpenedStore {
    /// The store.
    pub store: AnyStore,
    /// The same, by the trait that lets it change what is stored; `None` where its adapter cannot, or it was opened to be read.
    pub changing: Option<Arc<dyn Purge>>,
    /// Why events that it acknowledged might not outlive a crash of its server, a sentence for each reason.
    pub doubts: Vec<String>,
}

/// Where the embedded event store notes which vault's tokens it holds.
const VAULT_OF_STORE: &str = "vault";

/// The event store of a folder, open.
pub(super) struct Events {
    pub(super) store: AnyStore,
    pub(super) changing: Option<Arc<dyn Purge>>,
    pub(super) doubts: Vec<String>,
    /// The same, where it is the embedded one.
    embedded: Option<SqliteStore>,
}

impl Events {
    /// The vaults whose tokens it says that it holds.
    pub(super) async fn vaults(&self) -> Result<Vec<String>, StoreError> {
        if let Some(embedded) = &self.embedded
            && let Some(vault) = embedded.meta(VAULT_OF_STORE).await?
            && !vault.is_empty()
        {
            return Ok(vec![vault]);
        }
        let noted = noted_vaults(&*self.store).await?;
        Ok(noted.iter().map(ToString::to_string).collect())
    }

    /// Has it say that it holds this vault's tokens.
    pub(super) async fn note(&self, vault: VaultId) -> Result<(), StoreError> {
        match &self.embedded {
            Some(embedded) => embedded.set_meta(VAULT_OF_STORE, &vault.to_string()).await,
            None => note_vault(&*self.store, vault).await,
        }
    }

    /// Whether a folder that is being made may have it: it is empty, and where others may reach it no other folder began on
    /// it. `own` is the vault of this folder, where that is made.
    pub(super) async fn is_free(&self, own: Option<VaultId>) -> Result<bool, StoreError> {
        if self.embedded.is_none() {
            let own = own.map(|own| own.to_string());
            let is_anothers = |vault: &String| Some(vault) != own.as_ref();
            if self.vaults().await?.iter().any(is_anothers) {
                return Ok(false);
            }
        }
        self.is_empty().await
    }

    /// Whether nobody sealed anything in it, and no other vault is noted.
    pub(super) async fn is_clear(&self, own: Option<VaultId>) -> Result<bool, StoreError> {
        let own = own.map(|own| own.to_string());
        if self.vaults().await?.iter().any(|vault| Some(vault) != own.as_ref()) {
            return Ok(false);
        }
        let layer = Oubliette::without_vault(self.store.clone(), Policy::sealed_by_default());
        let mut events = layer.read_all(ReadAllOptions::default());
        loop {
            match events.try_next().await {
                Ok(Some(event)) if event.keys.is_empty() && event.withheld.is_empty() => {}
                Ok(Some(_)) | Err(StoreError::Unreadable { .. }) => return Ok(false),
                Ok(None) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it holds nothing but notes whose it is.
    pub(super) async fn is_empty(&self) -> Result<bool, StoreError> {
        let mut events = self.store.read_all(ReadAllOptions::default());
        while let Some(event) = events.try_next().await? {
            if VaultNote::of(&event).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl DataFolder {
    /// With these ways to open event stores at servers. Without them it has its events in a folder.
    #[must_use]
    pub fn with_stores(mut self, stores: Arc<dyn OpenStore>) -> Self {
        self.stores = Some(stores);
        self
    }

    /// Opens an event store as this folder opens its own, with no layer around it: what is there is read as it is stored.
    ///
    /// # Errors
    /// [`FolderError::Open`], [`FolderError::OpenStore`], [`FolderError::NoStores`].
    pub async fn open_store(
        &self,
        place: &StorePlace,
        mode: OpenMode,
    ) -> Result<OpenedStore, FolderError> {
        let Events { store, changing, doubts, .. } = self.open_events(place, mode).await?;
        Ok(OpenedStore { store, changing, doubts })
    }

    /// The vaults whose tokens an event store says that it holds.
    ///
    /// # Errors
    /// As of [`DataFolder::open_store`].
    pub async fn vaults_of(&self, place: &StorePlace) -> Result<Vec<String>, FolderError> {
        let events = self.open_events(place, OpenMode::ReadOnly).await?;
        Ok(events.vaults().await?)
    }

    pub(super) async fn open_events(
        &self,
        place: &StorePlace,
        mode: OpenMode,
    ) -> Result<Events, FolderError> {
        let address = match place {
            StorePlace::Folder(folder) => {
                let embedded = SqliteStore::open_with(folder, mode)?;
                let store = Arc::new(embedded.clone());
                let changing =
                    (mode != OpenMode::ReadOnly).then(|| Arc::new(embedded.clone()) as _);
                let embedded = Some(embedded);
                return Ok(Events { store, changing, doubts: Vec::new(), embedded });
            }
            StorePlace::Address(address) => address,
        };
        let stores = self.stores.as_ref().ok_or_else(|| FolderError::NoStores(place.clone()))?;
        let opened = stores.open(address, mode).await.map_err(|error| match error {
            StoreError::Backend { temporary, source } => {
                FolderError::OpenStore { place: place.clone(), temporary, source }
            }
            other => other.into(),
        })?;
        let (store, changing): (AnyStore, _) = match mode {
            OpenMode::ReadOnly => (Arc::new(Unwritten(opened.store)), None),
            _ => (opened.store, opened.changing),
        };
        Ok(Events { store, changing, doubts: opened.doubts, embedded: None })
    }

    /// Opens a store at a server to be read, before it is opened to be written to: some stores end their writer then, and it
    /// may be another vault's. `None`: it cannot be opened so, mostly because it is not there yet; who opens it to write
    /// hears why.
    ///
    /// # Errors
    /// What a retry may help against: to go on could disturb somebody.
    pub(super) async fn look_at_store(
        &self,
        place: &StorePlace,
    ) -> Result<Option<Events>, FolderError> {
        match self.open_events(place, OpenMode::ReadOnly).await {
            Ok(looked) => Ok(Some(looked)),
            Err(error) if error.is_temporary() => Err(error),
            Err(error @ FolderError::NoStores(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whether there may be events: whether a server has any is not asked.
    pub(super) fn has_events(&self) -> Result<bool, FolderError> {
        match self.events() {
            StorePlace::Folder(folder) => Ok(!is_empty(&folder)?),
            StorePlace::Address(_) => Ok(true),
        }
    }
}

/// A store that is not written to, whatever its adapter can do.
#[derive(Debug)]
struct Unwritten(AnyStore);

/// Somebody wanted to write to it.
#[derive(Debug, thiserror::Error)]
#[error("the event store was opened to be read: nothing is written to it")]
struct ReadOnly;

#[async_trait]
impl EventStore for Unwritten {
    async fn append(&self, _: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        Err(StoreError::backend(false, ReadOnly))
    }

    async fn restore(&self, _: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        Err(StoreError::backend(false, ReadOnly))
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        self.0.read(stream, options)
    }

    /// Whoever copies a store asks once more behind its end.
    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        self.0.read_all(options).fuse().boxed()
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        self.0.subscribe(after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}
