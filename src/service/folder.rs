//! The data folder: `events/`, `vault/`, `policy.toml`, and `oubliette.json`, which says that
//! they belong together and where the vault's root slot is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::{
    FolderError,
    slot::{absolute_path, absolute_root, make_room},
};
use crate::{
    durable,
    erasure::ErasureError,
    layer::Oubliette,
    own,
    policy::Policy,
    store::{EventStore, ReadAllOptions, SqliteStore, sqlite::OpenMode},
    vault::{Kek, OpenAs, Passphrase, Vault, VaultError, remove_unfinished},
};

/// The version of `oubliette.json`, and of the folder's arrangement.
pub(super) const FORMAT: u32 = 1;
/// Where the event store notes which vault's tokens it holds.
pub(super) const VAULT_OF_STORE: &str = "vault";

/// A folder that holds an event store and its vault.
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
    pub(super) how: OpenAs,
    pub(super) vault: Option<PathBuf>,
    pub(super) store: Option<PathBuf>,
    pub(super) expected_epoch: Option<u64>,
}

/// What is wanted of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To work on it; made, if there is nothing yet.
    Create,
    /// To work on it; it must exist.
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
    /// The layer over the embedded store.
    pub oubliette: Oubliette<SqliteStore>,
    /// Where the root slot was made, if it was made just now.
    pub created_root: Option<PathBuf>,
}

/// What `oubliette.json` says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Says that the folder is ours.
    oubliette: u32,
    /// The vault's id; none as long as the folder is being made, and nothing is stored in it.
    vault: Option<String>,
    /// Where the root slot is.
    pub(super) root: PathBuf,
    /// Where its mirrors are: needed where the slot itself is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) mirrors: Vec<PathBuf>,
    /// Where the key-encryption key comes from; never the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kek: Option<Kek>,
    /// The counter that bears witness of the slot: needed where the slot itself is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counter: Option<String>,
    /// Where the vault is, unless in `vault/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vault_at: Option<PathBuf>,
    /// Where the event store is, unless in `events/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) store_at: Option<PathBuf>,
}

/// What is in the folder now.
pub(super) enum Found {
    Nothing,
    /// It was being made when the machine stopped; nothing was stored in it.
    Unfinished(Manifest),
    Ours(Manifest),
}

/// A policy that the caller gave, and the file that it is in.
struct Given<'a> {
    path: &'a Path,
    policy: Policy,
}

impl<'a> Given<'a> {
    fn load(path: &'a Path) -> Result<Self, FolderError> {
        Ok(Self { path, policy: Policy::load(path)? })
    }
}

/// Is there, and locked, while the folder is being made; names that begin so are of no account.
const MAKING: &str = durable::DRAFT;

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
            how: OpenAs::Known,
            vault: None,
            store: None,
            expected_epoch: None,
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

    /// With the event store here, instead of in `events/`.
    #[must_use]
    pub fn with_store(mut self, store: Option<PathBuf>) -> Self {
        self.store = store;
        self
    }

    /// Refusing a vault whose epoch is lower than one that was noted elsewhere: it was rolled
    /// back, together with its slot.
    #[must_use]
    pub fn with_expected_epoch(mut self, epoch: Option<u64>) -> Self {
        self.expected_epoch = epoch;
        self
    }

    /// The folder of the event store.
    pub fn events(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| self.path.join("events"))
    }

    pub(super) fn vault(&self) -> PathBuf {
        self.vault.clone().unwrap_or_else(|| self.path.join("vault"))
    }

    fn policy_file(&self) -> PathBuf {
        self.path.join("policy.toml")
    }

    /// What is to be noted of this folder.
    pub(super) fn manifest(&self, vault: Option<String>, root: PathBuf) -> Manifest {
        let absolute = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        };
        let (vault_at, store_at) = (absolute(&self.vault), absolute(&self.store));
        let mirrors = self.mirrors.iter().map(|mirror| absolute_path(mirror)).collect();
        let kek = self.kek.clone().filter(|kek| *kek != Kek::None);
        let counter = self.counter.clone();
        Manifest { oubliette: FORMAT, vault, root, mirrors, kek, counter, vault_at, store_at }
    }

    pub(super) fn manifest_file(&self) -> PathBuf {
        self.path.join("oubliette.json")
    }

    /// Where the root slot and the vault's folder are, as far as the folder says.
    pub fn places(&self) -> (Option<PathBuf>, PathBuf) {
        match self.look() {
            Ok(Found::Ours(manifest) | Found::Unfinished(manifest)) => {
                let located = self.located(&manifest);
                (located.root.clone(), located.vault())
            }
            Ok(Found::Nothing) | Err(_) => (self.root.clone(), self.vault()),
        }
    }

    /// Opens the folder, or makes it. `policy`, a file, is what to work under; with
    /// [`Access::Create`] it becomes the folder's own. Without it the folder's own counts, and
    /// without that everything is sealed.
    ///
    /// # Errors
    /// [`FolderError`]. A folder that is not ours is left as it is, and beside old events no new
    /// vault is made.
    pub async fn open(&self, access: Access, policy: Option<&Path>) -> Result<Parts, FolderError> {
        // Read before anything is made, so that a mistake in it leaves nothing behind.
        let given = policy.map(Given::load).transpose()?;
        if access == Access::WithoutVault {
            return self.open_without_vault(given);
        }
        match self.look()? {
            Found::Ours(manifest) => self.open_whole(&manifest, access, given).await,
            // A vault that was expected to have a past is not there: a new one would have none.
            Found::Nothing | Found::Unfinished(_)
                if access == Access::Create
                    && self.how != OpenAs::ReadOnly
                    && self.expected_epoch.is_none_or(|epoch| epoch == 0) =>
            {
                self.make(given).await
            }
            Found::Nothing | Found::Unfinished(_) => Err(FolderError::NotFound(self.path.clone())),
        }
    }

    pub(super) fn look(&self) -> Result<Found, FolderError> {
        let manifest = self.manifest_file();
        let text = match fs::read_to_string(&manifest) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if is_empty(&self.path)? {
                    Ok(Found::Nothing)
                } else if manifest.exists() {
                    // Another process made it between the two looks.
                    self.look()
                } else {
                    Err(FolderError::NotOurs(self.path.clone()))
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(FolderError::NotOurs(self.path.clone()));
            }
            Err(source) => return Err(FolderError::Io { path: manifest, source }),
        };
        // The version first: only it says what the rest looks like.
        #[derive(Deserialize)]
        struct Version {
            oubliette: u32,
        }
        let not_ours = |_| FolderError::NotOurs(self.path.clone());
        let Version { oubliette: found } = serde_json::from_str(&text).map_err(not_ours)?;
        if found > FORMAT {
            return Err(FolderError::NewerFormat { path: self.path.clone(), found });
        }
        let manifest: Manifest = serde_json::from_str(&text).map_err(not_ours)?;
        Ok(match manifest.vault {
            Some(_) => Found::Ours(manifest),
            None => Found::Unfinished(manifest),
        })
    }

    /// This folder, with what its manifest says where the caller does not.
    pub(super) fn located(&self, manifest: &Manifest) -> Self {
        Self {
            path: self.path.clone(),
            root: self.root.clone().or_else(|| Some(manifest.root.clone())),
            mirrors: self.mirrors.iter().chain(&manifest.mirrors).cloned().collect(),
            kek: self.kek.clone().or_else(|| manifest.kek.clone()),
            passphrase: self.passphrase.clone(),
            counter: self.counter.clone().or_else(|| manifest.counter.clone()),
            past_counter: self.past_counter,
            how: self.how,
            vault: self.vault.clone().or_else(|| manifest.vault_at.clone()),
            store: self.store.clone().or_else(|| manifest.store_at.clone()),
            expected_epoch: self.expected_epoch,
        }
    }

    /// Makes the folder, or completes one whose making was cut off.
    async fn make(&self, policy: Option<Given<'_>>) -> Result<Parts, FolderError> {
        make_folder(&self.path)?;
        // Two processes that find nothing must not both begin.
        let making = self.path.join(MAKING);
        let lock = own::open_lock(&making).map_err(VaultError::from)?;
        lock.lock().map_err(|source| FolderError::Io { path: making.clone(), source })?;
        let made = match self.look() {
            Ok(Found::Ours(manifest)) => self.open_whole(&manifest, Access::Create, policy).await,
            Ok(Found::Unfinished(manifest)) => self.fill(Some(&manifest), policy).await,
            Ok(Found::Nothing) => self.fill(None, policy).await,
            Err(error) => Err(error),
        };
        if made.is_ok() {
            // Whoever waits for the lock finds the folder made. After a failure the file stays:
            // without it two could hold a lock each. It is empty, and in nobody's way.
            let _ = fs::remove_file(&making);
        }
        drop(lock);
        made
    }

    async fn fill(
        &self,
        unfinished: Option<&Manifest>,
        policy: Option<Given<'_>>,
    ) -> Result<Parts, FolderError> {
        let mut folder = match unfinished {
            Some(manifest) => self.located(manifest),
            None => self.clone(),
        };
        // What the cut-off attempt left is taken on; anything else that lies there is not ours.
        let left = |at: &Path| {
            unfinished.is_some_and(|manifest| {
                let theirs = Self::at(&self.path).located(manifest);
                at == theirs.vault() || at == theirs.events()
            })
        };
        for inner in [folder.events(), folder.vault()] {
            if !is_empty(&inner)? && !left(&inner) {
                return Err(FolderError::NotOurs(inner));
            }
        }
        let fresh_root = || default_root().ok_or(FolderError::NoPlaceForRoot);
        let mut root = match folder.root.take() {
            Some(root) => absolute_root(root),
            None => fresh_root()?,
        };
        // A vault that was made before the machine stopped is as good as one made now. Half a
        // vault never sealed anything; but its slot is not ours to remove, because by now another
        // vault's may stand there.
        let begun = match unfinished {
            Some(_) => Some(Vault::open(&folder.vault(), folder.slot(&root)?)),
            None => None,
        };
        let begun = match begun {
            Some(Err(error @ VaultError::InUse(_))) => return Err(error.into()),
            Some(Ok(vault)) => Some(vault),
            Some(Err(_)) | None => None,
        };
        if begun.is_none() && unfinished.is_some() && self.root.is_none() && root.exists() {
            root = fresh_root()?;
        }
        let slot = folder.slot(&root)?;
        self.refuse_within(&slot)?;
        make_room(&root)?;
        let mut manifest = folder.manifest(None, root.clone());
        self.write(&self.manifest_file(), &pretty(&manifest))?;

        let store = SqliteStore::open_with(folder.events(), OpenMode::Create)?;
        let one = ReadAllOptions { limit: Some(1), ..ReadAllOptions::default() };
        if store.read_all(one).try_next().await?.is_some() {
            return Err(FolderError::VaultMissing(self.path.clone()));
        }
        let vault = match begun {
            Some(vault) => vault,
            None => {
                let path = folder.vault();
                if !is_empty(&path)? {
                    remove_unfinished(&path)?;
                }
                Vault::create(&path, slot)?
            }
        };
        store.set_meta(VAULT_OF_STORE, &vault.id().to_string()).await?;
        let policy = self.adopt(policy)?;
        // Last: a folder whose manifest names no vault was never finished.
        manifest.vault = Some(vault.id().to_string());
        self.write(&self.manifest_file(), &pretty(&manifest))?;
        let oubliette = Oubliette::open(store, vault, policy).await?;
        Ok(Parts { oubliette, created_root: Some(root) })
    }

    async fn open_whole(
        &self,
        manifest: &Manifest,
        access: Access,
        policy: Option<Given<'_>>,
    ) -> Result<Parts, FolderError> {
        let folder = self.located(manifest);
        if is_empty(&folder.events())? {
            return Err(FolderError::EventsMissing(self.path.clone()));
        }
        if is_empty(&folder.vault())? {
            return Err(FolderError::VaultMissing(self.path.clone()));
        }
        let slot = folder.slot(folder.root.as_ref().unwrap_or(&manifest.root))?;
        if let Some(within) = slot.within(&self.path) {
            tracing::warn!(
                slot = %within.display(),
                "the root slot lies in the data folder: whoever copies the folder has both, and with an \
                 old copy of both, what was forgotten can be read; move it elsewhere and say where with \
                 --root"
            );
        }
        let vault = Vault::open_as(&folder.vault(), slot, self.how)?;
        let read_only = vault.is_read_only();
        if let Some(expected) = self.expected_epoch {
            vault.expect_epoch(expected)?;
        }
        let mode = if read_only { OpenMode::ReadOnly } else { OpenMode::Existing };
        let store = SqliteStore::open_with(folder.events(), mode)?;
        let noted = store.meta(VAULT_OF_STORE).await?.unwrap_or_default();
        if noted != vault.id().to_string() {
            return Err(FolderError::VaultOfAnotherStore {
                path: self.path.clone(),
                store: noted,
                vault: vault.id().to_string(),
            });
        }
        if !read_only && let Err(error) = self.note_slot(&vault, &folder.kek.unwrap_or_default()) {
            tracing::warn!(%error, "the folder cannot note where its root slot's mirrors and key are");
        }
        let policy = match policy {
            Some(given) if access != Access::Create || read_only => given.policy,
            given => self.adopt(given)?,
        };
        let audited = (access == Access::Audit).then(|| (store.clone(), vault.clone()));
        let oubliette = match Oubliette::open(store, vault, policy.clone()).await {
            Err(ErasureError::Vault(VaultError::Damaged(_) | VaultError::Storage(_)))
                if let Some((store, vault)) = audited =>
            {
                Oubliette::unresumed(store, vault, policy)
            }
            opened => opened?,
        };
        Ok(Parts { oubliette, created_root: None })
    }

    /// Of a folder, or of a copy of its event store alone.
    fn open_without_vault(&self, policy: Option<Given<'_>>) -> Result<Parts, FolderError> {
        let folder = match self.look() {
            Ok(Found::Ours(manifest) | Found::Unfinished(manifest)) => self.located(&manifest),
            Err(error @ FolderError::NewerFormat { .. }) => return Err(error),
            _ if !is_empty(&self.events())? => self.clone(),
            Ok(Found::Nothing) => return Err(FolderError::NotFound(self.path.clone())),
            Err(error) => return Err(error),
        };
        let store = SqliteStore::open_with(folder.events(), OpenMode::ReadOnly)?;
        let policy = match policy {
            Some(given) => given.policy,
            None => self.own_policy()?,
        };
        Ok(Parts { oubliette: Oubliette::without_vault(store, policy), created_root: None })
    }

    /// Makes a given policy the folder's own, or reads that.
    fn adopt(&self, given: Option<Given<'_>>) -> Result<Policy, FolderError> {
        let Some(Given { path, policy }) = given else { return self.own_policy() };
        let text =
            fs::read(path).map_err(|source| FolderError::Io { path: path.into(), source })?;
        self.write(&self.policy_file(), &text)?;
        Ok(policy)
    }

    fn own_policy(&self) -> Result<Policy, FolderError> {
        let path = self.policy_file();
        if path.exists() { Ok(Policy::load(&path)?) } else { Ok(Policy::sealed_by_default()) }
    }

    /// Replaces a file so that a crash leaves the old one or the new one.
    pub(super) fn write(&self, path: &Path, text: &[u8]) -> Result<(), FolderError> {
        durable::replace(path, text).map_err(|source| FolderError::Io { path: path.into(), source })
    }
}

pub(super) fn pretty(manifest: &Manifest) -> Vec<u8> {
    // Three plain members always have a JSON form.
    serde_json::to_vec_pretty(manifest).unwrap_or_default()
}

/// Whether a file belongs to the making of a folder, or to the replacing of a file in it.
fn is_makings(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(MAKING.as_bytes())
}

/// Whether a folder is empty or absent, but for what the making of one leaves.
pub(super) fn is_empty(path: &Path) -> Result<bool, FolderError> {
    match fs::read_dir(path) {
        Ok(mut entries) => {
            Ok(!entries.any(|entry| entry.map_or(true, |entry| !is_makings(&entry.file_name()))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(source) => Err(FolderError::Io { path: path.into(), source }),
    }
}

/// Makes a folder that only its owner may look into.
pub(super) fn make_folder(path: &Path) -> Result<(), FolderError> {
    durable::make_folder(path).map_err(|source| FolderError::Io { path: path.into(), source })
}

/// A place for a new vault's root slot: apart from the data folder, so that an archive of that
/// folder does not catch it.
pub(super) fn default_root() -> Option<PathBuf> {
    let state =
        std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || {
        std::env::var_os("HOME")
            .filter(|path| !path.is_empty())
            .map(|home| PathBuf::from(home).join(".local/state"))
    };
    let folder = state.or_else(home)?.join("oubliette");
    Some(folder.join(format!("{}.root", uuid::Uuid::new_v4())))
}
