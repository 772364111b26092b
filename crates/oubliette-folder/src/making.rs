//! Making a data folder, and completing one whose making was cut off.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    DataFolder, FolderError, Note, PolicyText, StorePlace,
    folder::{Access, Parts},
    manifest::{Found, Noted},
    settings::{Settings, usual_root},
    slot::{absolute_root, make_room, refuse_missing_folder},
    store::Events,
};
use oubliette::{
    event::VaultId,
    layer::Oubliette,
    store::sqlite::OpenMode,
    vault::{OpenVaultError, SlotConfig, Vault, internals::remove_unfinished},
};
use oubliette_files::{durable, own};

/// The event store of a folder that is being made.
enum MayBe {
    /// Open, to be written to.
    Open(Events),
    /// Open to be read: it is another folder's, unless it is this one's, whose making was cut off.
    Looked(Events),
}

/// Is there, and locked, while the folder is being made; names that begin so are of no account.
const MAKING: &str = durable::DRAFT;

impl DataFolder {
    /// Makes the folder, with an empty event store and a new vault. `policy`, a file, is adopted.
    ///
    /// # Errors
    /// [`FolderError::AlreadyThere`]; as of [`DataFolder::open`].
    pub async fn create(&self, policy: Option<&Path>) -> Result<Parts, FolderError> {
        if let Found::Ours(_) = self.look()? {
            return Err(FolderError::AlreadyThere(self.path.clone()));
        }
        let mut parts = self.open(Access::Create, policy).await?;
        // Another process made it since, under a policy of its own.
        if parts.created_root.is_none() {
            return Err(FolderError::AlreadyThere(self.path.clone()));
        }
        if let (Some(given), Some(vault)) = (parts.given.take(), parts.oubliette.vault()) {
            self.adopt(vault, &given).await?;
        }
        Ok(parts)
    }

    /// Makes the folder, or completes one whose making was cut off.
    pub(super) async fn make(&self, given: Option<PolicyText>) -> Result<Parts, FolderError> {
        // What cannot be made, or not noted, is refused before anything is made.
        self.refuse_dangling()?;
        self.refuse_unnotable()?;
        let root = match &self.root {
            Some(root) => absolute_root(root.clone())?,
            None => usual_root()?,
        };
        self.refuse_within(&self.slot(&root)?)?;
        if let Some(root) = &self.root {
            make_room(root)?;
        }
        self.mirrors.iter().try_for_each(|mirror| refuse_missing_folder(mirror))?;
        // Another process may have begun it since.
        if let Err(error) = self.refuse_occupied(|_| false)
            && matches!(self.look()?, Found::Nothing)
        {
            return Err(error);
        }
        // A server that cannot be reached, or has something else there, leaves no half a folder behind.
        let place = self.events();
        let is_address = matches!(place, StorePlace::Address(_));
        let looked = match is_address {
            true => self.look_at_store(&place).await?,
            false => None,
        };
        let is_refused = match &looked {
            Some(looked) => !self.may_have(looked, None).await?,
            None => false,
        };
        if is_refused && matches!(self.look()?, Found::Nothing) {
            return Err(FolderError::store_taken(self));
        }
        let events = match looked.filter(|_| is_refused) {
            // Whether it is this folder's is known once its vault is open. Until then nobody else is disturbed.
            Some(looked) => Some(MayBe::Looked(looked)),
            None if is_address || self.with_events => {
                // What is to be kept is there.
                let mode = if self.with_events { OpenMode::Existing } else { OpenMode::Create };
                let events = self.open_events(&place, mode).await?;
                if self.with_events && events.is_empty().await? {
                    return Err(FolderError::events_missing(self));
                }
                if !self.may_have(&events, None).await? && matches!(self.look()?, Found::Nothing) {
                    return Err(FolderError::store_taken(self));
                }
                Some(MayBe::Open(events))
            }
            None => None,
        };
        make_folder(&self.path)?;
        // Two processes that find nothing must not both begin.
        let making = self.path.join(MAKING);
        let lock = own::open_lock(&making).map_err(FolderError::refused(&making))?;
        lock.lock().map_err(|source| FolderError::Io { path: making.clone(), source })?;
        let made = match self.look() {
            Ok(Found::Ours(noted)) => self.open_whole(&noted, Access::Create, given).await,
            Ok(Found::Unfinished(noted)) => self.fill(events, Some(noted), given).await,
            Ok(Found::Nothing) => self.fill(events, None, given).await,
            Err(error) => Err(error),
        };
        if made.is_ok() {
            // Anyone who waits for the lock finds the folder made. After a failure the file stays:
            // without it two could hold a lock each. It is empty, and in no one's way.
            let _ = fs::remove_file(&making);
        }
        drop(lock);
        made
    }

    /// Whether a folder that is being made may have this event store.
    async fn may_have(&self, events: &Events, own: Option<VaultId>) -> Result<bool, FolderError> {
        Ok(events.is_free(own).await? || self.with_events && events.is_clear(own).await?)
    }

    /// An error where the folder's place is a symbolic link that leads nowhere: to look through it finds nothing, and
    /// making the folder finds the link.
    fn refuse_dangling(&self) -> Result<(), FolderError> {
        let path: PathBuf = self.path.components().collect();
        match path.is_symlink() && !path.exists() {
            true => Err(FolderError::DanglingLink(path)),
            false => Ok(()),
        }
    }

    /// An error where there is something in the place of the events or of the vault, but for what an
    /// attempt that was cut off left there.
    fn refuse_occupied(&self, left: impl Fn(&Path) -> bool) -> Result<(), FolderError> {
        // What is at a server is asked of that.
        let events = self.events().folder().map(|folder| (folder.to_owned(), "event store"));
        // Whether what is there is in clear is asked once it is open.
        let events = events.filter(|_| !self.with_events);
        for (path, what) in events.into_iter().chain([(self.vault(), "vault")]) {
            refuse_file(&path, what)?;
            if !is_empty(&path)? && !left(&path) {
                let folder = self.path.clone();
                return Err(FolderError::Occupied { folder, path, what });
            }
        }
        Ok(())
    }

    async fn fill(
        &self,
        events: Option<MayBe>,
        unfinished: Option<Noted>,
        given: Option<PolicyText>,
    ) -> Result<Parts, FolderError> {
        let begun = unfinished.is_some();
        let noted = unfinished.unwrap_or_else(Noted::nothing);
        let mut folder = self.located(&noted);
        folder.refuse_links()?;
        // What the cut-off attempt left is taken on; anything else that is there is not ours.
        let theirs = Self::at(&self.path).located(&noted);
        let left =
            |at: &Path| begun && (at == theirs.vault() || Some(at) == theirs.events().folder());
        folder.refuse_occupied(left)?;
        // A vault that was made before the machine stopped is as good as one made now. Half a
        // vault never sealed anything; but its slot is not ours to remove, because by now another
        // vault's may be there.
        let old = match folder.root.clone().filter(|_| begun) {
            Some(root) => {
                let root = absolute_root(root)?;
                match Vault::open(&folder.vault(), folder.slot(&root)?) {
                    Ok(vault) => Some((root, vault)),
                    Err(error @ OpenVaultError::InUse(_)) => return Err(error.into()),
                    Err(_) => None,
                }
            }
            None => None,
        };
        let root = match (&old, &self.root) {
            (Some((root, _)), _) => root.clone(),
            (None, Some(root)) => absolute_root(root.clone())?,
            (None, None) => match noted.own_root().filter(|root| !root.exists()) {
                Some(root) => root,
                None => usual_root()?,
            },
        };
        if old.is_none() {
            // What was noted for half a vault gives way to what is said now, and is in nobody's way.
            let before = std::mem::replace(&mut folder.mirrors, self.mirrors.clone());
            if self.mirrors.is_empty() {
                let is_fit = |mirror: &PathBuf| {
                    let slot = SlotConfig::from(&root).with_mirror(mirror);
                    slot.refuse_unfit_mirrors().is_ok()
                };
                let (fit, unfit): (Vec<_>, Vec<_>) = before.into_iter().partition(is_fit);
                folder.mirrors = fit;
                for mirror in unfit {
                    tracing::warn!(
                        mirror = %mirror.display(),
                        "an attempt that was cut off wanted this mirror, and it is not taken on: name it again if you do, \
                         and see whether it holds a root"
                    );
                }
            }
        }
        let slot = folder.slot(&root)?;
        self.refuse_within(&slot)?;
        let settings = folder.settings(None, &root)?;
        make_room(&root)?;
        if old.is_none() {
            // Before they are noted: the next attempt would meet them again.
            slot.refuse_unfit_mirrors()?;
        }
        let noted = noted.with(settings.clone());
        self.note(&noted)?;

        let own = old.as_ref().map(|(_, vault)| vault.id());
        let is_embedded = folder.events().folder().is_some();
        let taken = || match is_embedded && !self.with_events {
            true => FolderError::vault_missing(&folder),
            false => FolderError::store_taken(&folder),
        };
        let events = match events {
            Some(MayBe::Open(events)) => events,
            Some(MayBe::Looked(looked)) if !folder.may_have(&looked, own).await? => {
                return Err(taken());
            }
            Some(MayBe::Looked(_)) | None => {
                folder.open_events(&folder.events(), OpenMode::Create).await?
            }
        };
        if !folder.may_have(&events, own).await? {
            return Err(taken());
        }
        let vault = match old {
            Some((_, vault)) => vault,
            None => {
                let path = folder.vault();
                // The place is the folder's own, or the user's word.
                if !is_empty(&path)? {
                    remove_unfinished(&path)?;
                }
                Vault::create_with(&path, slot, folder.pages)?
            }
        };
        events.note(vault.id()).await?;
        // Another folder may have begun on the same server, and has it if it noted that first.
        if !is_embedded && events.vaults().await?.first() != Some(&vault.id().to_string()) {
            return Err(FolderError::store_taken(&folder));
        }
        let mut notes: Vec<_> = events.doubts.into_iter().map(Note::Text).collect();
        let policy = self.policy(&vault, Access::Create, given.as_ref(), &mut notes)?;
        // Last: a folder whose manifest names no vault was never finished.
        let vault_id = Some(vault.id().to_string());
        self.note(&noted.with(Settings { vault: vault_id, ..settings }))?;
        let oubliette = Oubliette::open(events.store, vault, policy).await?;
        let (changing, created_root) = (events.changing, Some(root));
        Ok(Parts { oubliette, changing, created_root, given, notes, closed: None })
    }
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

/// An error where a file is in the place of a folder.
pub(super) fn refuse_file(path: &Path, what: &'static str) -> Result<(), FolderError> {
    // With a slash at its end a file is not found.
    let path: PathBuf = path.components().collect();
    match path.is_file() {
        true => Err(FolderError::NotAFolder { path, what }),
        false => Ok(()),
    }
}

/// Makes a folder that only its owner may look into.
pub(super) fn make_folder(path: &Path) -> Result<(), FolderError> {
    durable::make_folder(path).map_err(|source| FolderError::Io { path: path.into(), source })
}
