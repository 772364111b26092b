//! The data folder: `events/` (or an event store elsewhere), `vault/`, `policy.toml`, and `oubliette.json`, which says
//! that they belong together.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::Handle;

use super::{
    AnyStore, FolderError, OpenStore, PolicyText, StorePlace,
    making::is_empty,
    manifest::{Found, Noted},
    slot::{absolute_root, make_usual_room},
    store::Events,
};
use oubliette::{
    TaskError,
    erasure::{self, ErasureError, KeyChange},
    event::Announcement,
    layer::Oubliette,
    policy::Policy,
    store::{Purge, sqlite::OpenMode},
    vault::{Kek, OpenAs, OpenVaultError, PageStoreKind, Passphrase, Vault, VaultError},
    words::chain,
};
use oubliette_files::own;
use uuid::Uuid;

/// The version of `oubliette.json`, and of the folder's arrangement.
pub(super) const FORMAT: u32 = 1;

/// A folder that holds a vault and its event store, or leads to that.
#[derive(Debug, Clone)]
pub struct DataFolder {
    pub(super) path: PathBuf,
    /// Where the root slot is, where the caller says so.
    pub(super) root: Option<PathBuf>,
    pub(super) mirrors: Vec<PathBuf>,
    pub(super) kek: Option<Kek>,
    pub(super) passphrase: Option<Passphrase>,
    pub(super) counter: Option<String>,
    pub(super) past_counter: bool,
    pub(super) past_gap: Option<String>,
    pub(super) past_erasures: Vec<Uuid>,
    pub(super) believed_erasures: Vec<Uuid>,
    pub(super) listed: Vec<Announcement>,
    pub(super) key_change: Option<KeyChange>,
    pub(super) how: OpenAs,
    pub(super) vault: Option<PathBuf>,
    pub(super) store: Option<StorePlace>,
    /// How a store at an address is opened.
    pub(super) stores: Option<Arc<dyn OpenStore>>,
    pub(super) with_events: bool,
    pub(super) settings: Option<PathBuf>,
    pub(super) expected_epoch: Option<u64>,
    pub(super) pages: PageStoreKind,
}

/// What is wanted of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To append to it; made, if there is nothing yet. A `policy.toml` that is not adopted is an error.
    Create,
    /// To work on it; it must exist. A `policy.toml` that is not adopted is a warning.
    Existing,
    /// To look whether it is whole; it must exist. An erasure that was cut off is completed first,
    /// where damage does not prevent it.
    Audit,
    /// To read what is public, without the vault.
    WithoutVault,
}

/// An open folder.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// The layer over the event store.
    pub oubliette: Oubliette<AnyStore>,
    /// The event store beneath it, by the trait that lets it change what is stored; `None` where its adapter cannot, or
    /// where nothing is to be written.
    pub changing: Option<Arc<dyn Purge>>,
    /// Where the root slot was made, if it was made just now.
    pub created_root: Option<PathBuf>,
    /// The policy that the caller gave to open it under. It is the folder's own only once it is
    /// [adopted](DataFolder::adopt).
    pub given: Option<PolicyText>,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// Why nothing is served, where the folder was opened [for an audit](Access::Audit) all the same: what was
    /// announced is not applied, and the vault's records are all that is known.
    pub closed: Option<ErasureError>,
}

/// What somebody should know who opened a folder. It was opened all the same.
#[derive(Debug)]
#[non_exhaustive]
pub enum Note {
    /// In words.
    Text(String),
    /// Something to see to.
    Error(FolderError),
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl DataFolder {
    /// The folder at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            root: None,
            mirrors: Vec::new(),
            kek: None,
            passphrase: None,
            counter: None,
            past_counter: false,
            past_gap: None,
            past_erasures: Vec::new(),
            believed_erasures: Vec::new(),
            listed: Vec::new(),
            key_change: None,
            how: OpenAs::Known,
            vault: None,
            store: None,
            stores: None,
            with_events: false,
            settings: None,
            expected_epoch: None,
            pages: PageStoreKind::default(),
        }
    }

    /// With the root slot here, instead of where the folder notes it, or, for a new one, in the
    /// user's state directory. `tpm:0x01500016` is a place in a TPM, a URI of the scheme
    /// `pkcs11:` one in a token.
    #[must_use]
    pub fn with_root(mut self, root: Option<PathBuf>) -> Self {
        self.root = root;
        self
    }

    /// With the vault here, instead of in `vault/`.
    #[must_use]
    pub fn with_vault(mut self, vault: Option<PathBuf>) -> Self {
        self.vault = vault;
        self
    }

    /// With the event store here, instead of in `events/`: in a folder, or at a server
    /// ([`DataFolder::with_stores`]).
    #[must_use]
    pub fn with_store(mut self, store: Option<StorePlace>) -> Self {
        self.store = store;
        self
    }

    /// With events that the store may have already, in clear, where the folder is made. They stay as they are, until
    /// [`Oubliette::seal_existing`] seals them.
    #[must_use]
    pub fn with_events(mut self, with_events: bool) -> Self {
        self.with_events = with_events;
        self
    }

    /// With what is set for it (mirrors, key-encryption key, places elsewhere) noted in this folder, which
    /// no one else may write to, instead of in `$XDG_CONFIG_HOME/oubliette`. The data folder itself is not
    /// believed about such things.
    #[must_use]
    pub fn with_settings(mut self, settings: Option<PathBuf>) -> Self {
        self.settings = settings;
        self
    }

    /// Changing the signing key as soon as the vault is open, before what earlier keys announced is applied;
    /// see [`erasure::change_key`].
    #[must_use]
    pub fn with_key_change(mut self, change: Option<KeyChange>) -> Self {
        self.key_change = change;
        self
    }

    /// With a new vault's pages in this page store. A vault that is there has them where they are.
    #[must_use]
    pub fn with_pages(mut self, pages: PageStoreKind) -> Self {
        self.pages = pages;
        self
    }

    /// Refusing a vault whose epoch is lower than one that was noted elsewhere: it was rolled
    /// back, together with its slot.
    #[must_use]
    pub fn with_expected_epoch(mut self, epoch: Option<u64>) -> Self {
        self.expected_epoch = epoch;
        self
    }

    /// Where the event store is, as far as the caller said.
    pub(super) fn events(&self) -> StorePlace {
        self.store.clone().unwrap_or_else(|| StorePlace::Folder(self.path.join("events")))
    }

    /// Where the event store is, as far as the caller or the folder says.
    pub fn store_place(&self) -> StorePlace {
        match self.look() {
            Ok(Found::Ours(noted) | Found::Unfinished(noted)) => self.located(&noted).events(),
            Ok(Found::Nothing) | Err(_) => self.events(),
        }
    }

    pub(super) fn vault(&self) -> PathBuf {
        self.vault.clone().unwrap_or_else(|| self.path.join("vault"))
    }

    /// Where the root slot and the vault's folder are, as far as the folder says.
    pub fn places(&self) -> (Option<PathBuf>, PathBuf) {
        match self.look() {
            Ok(Found::Ours(noted) | Found::Unfinished(noted)) => {
                let located = self.located(&noted);
                (located.root.clone(), located.vault())
            }
            Ok(Found::Nothing) | Err(_) => (self.root.clone(), self.vault()),
        }
    }

    /// Opens the folder, or makes it. `policy`, a file, is what to work under; without it the one counts
    /// that was adopted, and without that everything is sealed.
    ///
    /// # Errors
    /// [`FolderError`]. A folder that is not ours is left as it is, and beside old events no new
    /// vault is made.
    pub async fn open(&self, access: Access, policy: Option<&Path>) -> Result<Parts, FolderError> {
        self.check()?;
        // Read before anything is made, so that a mistake in it leaves nothing behind.
        let given = policy.map(PolicyText::load).transpose()?;
        if access == Access::WithoutVault {
            return self.open_without_vault(given).await;
        }
        let found = match self.look() {
            // Not the folder says where the slot is, but the user.
            Err(FolderError::ManifestLost(_)) if self.root.is_some() => {
                return self.open_whole(&Noted::nothing(), access, given).await;
            }
            found => found?,
        };
        match found {
            Found::Ours(noted) => self.open_whole(&noted, access, given).await,
            // A vault that was expected to have a past is not there: a new one would have none.
            Found::Nothing | Found::Unfinished(_)
                if access == Access::Create
                    && self.how != OpenAs::ReadOnly
                    && self.expected_epoch.is_none_or(|epoch| epoch == 0) =>
            {
                self.refuse_words()?;
                self.make(given).await
            }
            Found::Nothing | Found::Unfinished(_) => Err(FolderError::NotFound(self.path.clone())),
        }
    }

    pub(super) async fn open_whole(
        &self,
        noted: &Noted,
        access: Access,
        given: Option<PolicyText>,
    ) -> Result<Parts, FolderError> {
        let folder = self.located(noted);
        folder.refuse_links()?;
        if !folder.has_events()? {
            return Err(FolderError::events_missing(&folder));
        }
        if is_empty(&folder.vault())? {
            return Err(FolderError::vault_missing(&folder));
        }
        let root = folder.known_root()?;
        let slot = folder.slot(root)?;
        if self.how != OpenAs::ReadOnly && !folder.mirrors.is_empty() && !root.exists() {
            // It is made again of a mirror, also where this user's state folder is lost with it.
            make_usual_room(root)?;
        }
        let places = [&self.path, &folder.vault()];
        if let Some(within) = places.into_iter().find_map(|folder| slot.within(folder)) {
            tracing::warn!(
                slot = %within.display(),
                "the root slot lies in the data folder, or in that of the vault: whoever copies the folder has both, and with an \
                 old copy of both, what was forgotten can be read; move it elsewhere and say where it is"
            );
        }
        let vault = match Vault::open_as(&folder.vault(), slot, self.how) {
            // Nothing but what an attempt left, at making or at restoring it.
            Err(OpenVaultError::NotFound(_)) => {
                return Err(FolderError::vault_missing(&folder));
            }
            Err(
                source @ (OpenVaultError::SlotOutdated { .. }
                | OpenVaultError::RolledBack { .. }
                | OpenVaultError::Vault(VaultError::Damaged(_))),
            ) => return Err(self.not_of_slot(noted, source)),
            opened => opened?,
        };
        let read_only = vault.is_read_only();
        if let Some(expected) = self.expected_epoch {
            vault.expect_epoch(expected)?;
        }
        let (place, mode) =
            (folder.events(), if read_only { OpenMode::ReadOnly } else { OpenMode::Existing });
        // The store that is noted is the folder's own. One that the caller names may be anybody's.
        if !read_only
            && let StorePlace::Address(_) = place
            && self.store.is_some()
            && noted.settings().store_at != Some(place.to_string())
            && let Some(looked) = folder.look_at_store(&place).await?
        {
            folder.refuse_strangers(&looked, &vault).await?;
        }
        let events = folder.open_events(&place, mode).await?;
        folder.refuse_strangers(&events, &vault).await?;
        let (store, changing) = (events.store, events.changing);
        let announced = self.announced(&store).await?;
        let changed = match &self.key_change {
            Some(change) => Some(erasure::change_key(&vault, change).await?),
            None => None,
        };
        let after = |source| match changed {
            Some(key) => FolderError::AfterKeyChange { key, source: Box::new(source) },
            None => source,
        };
        self.decide(&vault, &announced).await.map_err(after)?;
        let mut folders = vec![self.path.clone(), folder.vault()];
        folders.extend(folder.events().folder().map(Path::to_owned));
        let open = folders.iter().filter_map(|folder| own::too_open(folder));
        let mut notes: Vec<_> = open.chain(events.doubts).map(Note::Text).collect();
        if !read_only && noted.vault().is_none() {
            self.note_anew(&vault)?;
            notes.push(
                "oubliette.json was missing or could not be read, and is written anew, with what was given; \
                 what was set for the folder before is not known any more"
                    .to_owned()
                    .into(),
            );
        }
        if !read_only && let Err(error) = self.note_slot(&vault, &folder.kek.unwrap_or_default()) {
            let why = chain(&error);
            notes.push(format!("what was set for the folder cannot be noted: {why}").into());
        }
        let policy = self.policy(&vault, access, given.as_ref(), &mut notes).map_err(after)?;
        let opened = self.open_layer(&store, &vault, &policy, &mut notes).await;
        let mut closed = None;
        let oubliette = match opened {
            // The person who accepts a gap hears of anything else: the word must not be dropped in silence.
            Err(
                error @ (ErasureError::Vault(VaultError::Damaged(_) | VaultError::Storage(_))
                | ErasureError::Unclear(_)),
            ) if access == Access::Audit && self.past_gap.is_none() => {
                closed = Some(error);
                Oubliette::unresumed(store, vault, policy)
            }
            opened => opened.map_err(|error| after(error.into()))?,
        };
        Ok(Parts { oubliette, changing, created_root: None, given, notes, closed })
    }

    /// An error where the event store of this folder, which is located, does not say that it holds this vault's tokens.
    async fn refuse_strangers(&self, events: &Events, vault: &Vault) -> Result<(), FolderError> {
        let (of_store, vault) = (events.vaults().await?, vault.id().to_string());
        if of_store.contains(&vault) {
            return Ok(());
        }
        let place = self.events();
        Err(match place {
            StorePlace::Address(_) if of_store.is_empty() => match events.is_empty().await? {
                true => FolderError::events_missing(self),
                false => FolderError::StoreUnnoted { place, vault },
            },
            _ => FolderError::VaultOfAnotherStore { place, store: of_store.join(", "), vault },
        })
    }

    /// Pages that do not belong to the slot: where the caller names another one than is noted, it is most
    /// likely another folder's.
    fn not_of_slot(&self, noted: &Noted, source: OpenVaultError) -> FolderError {
        let given = self.root.clone().map(absolute_root).and_then(Result::ok);
        match (given, noted.root()) {
            (Some(given), Some(noted)) if !own::is_same(&given, &noted) => {
                FolderError::OtherSlot { given, noted, source }
            }
            _ => source.into(),
        }
    }

    /// Where the root slot is, of a folder that is located.
    pub(super) fn known_root(&self) -> Result<&Path, FolderError> {
        self.root.as_deref().ok_or_else(|| FolderError::RootUnknown(self.path.clone()))
    }

    /// An error where vault or events are where the folder says, and a link leads elsewhere.
    pub(super) fn refuse_links(&self) -> Result<(), FolderError> {
        let places = [
            self.vault.is_none().then(|| self.path.join("vault")),
            self.store.is_none().then(|| self.path.join("events")),
        ];
        for path in places.into_iter().flatten() {
            own::refuse_link(&path).map_err(FolderError::refused(&path))?;
        }
        Ok(())
    }

    /// What to work under.
    pub(super) fn policy(
        &self,
        vault: &Vault,
        access: Access,
        given: Option<&PolicyText>,
        notes: &mut Vec<Note>,
    ) -> Result<Policy, FolderError> {
        let Some(given) = given else {
            let (adopted, changed) = self.settled_policy(vault)?;
            return match changed {
                Some(error) if access == Access::Create => Err(error),
                changed => {
                    notes.extend(changed.map(Note::Error));
                    Ok(adopted)
                }
            };
        };
        Ok(given.policy().clone())
    }

    /// Of a folder, or of a copy of its event store alone.
    async fn open_without_vault(&self, given: Option<PolicyText>) -> Result<Parts, FolderError> {
        let folder = match self.look() {
            Ok(Found::Ours(noted) | Found::Unfinished(noted)) => self.located(&noted),
            Err(error @ FolderError::NewerFormat { .. }) => return Err(error),
            _ if self.has_events()? => self.clone(),
            Ok(Found::Nothing) => return Err(FolderError::NotFound(self.path.clone())),
            Err(error) => return Err(error),
        };
        let events = folder.open_events(&folder.events(), OpenMode::ReadOnly).await?;
        let mut notes: Vec<_> = events.doubts.into_iter().map(Note::Text).collect();
        let policy = match (&given, self.policy_file()) {
            (Some(given), _) => given.policy().clone(),
            (None, Ok(Some(file))) => file.policy().clone(),
            (None, Ok(None)) => Policy::sealed_by_default(),
            (None, Err(error)) => {
                notes.push(Note::Error(error));
                Policy::sealed_by_default()
            }
        };
        let oubliette = Oubliette::without_vault(events.store, policy);
        let closed = None;
        Ok(Parts { oubliette, changing: None, created_root: None, given, notes, closed })
    }
}

/// Runs what blocks where that does no harm.
pub(super) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TaskError> {
    let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
    Ok(runtime.spawn_blocking(run).await?)
}
