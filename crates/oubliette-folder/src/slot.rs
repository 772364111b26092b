//! Where a data folder's root slot is, and how it is guarded.

use std::path::{Path, PathBuf};

use super::{
    DataFolder, FolderError,
    making::make_folder,
    manifest::{Found, Noted},
    settings::{absolute, is_usual, usual_root},
};
#[cfg(feature = "pkcs11")]
use oubliette::vault::Pkcs11Object;
use oubliette::vault::{Kek, OpenAs, Passphrase, SlotConfig, SlotLocation, Vault};
#[cfg(feature = "tpm")]
use oubliette::vault::{TpmIndex, TpmIndexError};

impl DataFolder {
    /// With these mirrors of the root slot, besides those that this user noted for the folder.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: impl IntoIterator<Item = PathBuf>) -> Self {
        self.mirrors.extend(mirrors);
        self
    }

    /// With the root wrapped by this key-encryption key, instead of the one that this user noted.
    #[must_use]
    pub fn with_kek(mut self, kek: Option<Kek>) -> Self {
        self.kek = kek;
        self
    }

    /// With this passphrase, where [`DataFolder::kek`] asks for one.
    #[must_use]
    pub fn with_passphrase(mut self, passphrase: Option<Passphrase>) -> Self {
        self.passphrase = passphrase;
        self
    }

    /// Opening it whatever the counter of its root slot says: an old state was restored on purpose,
    /// or the counter is lost. Erasures stay pending until the slot is bound again.
    #[must_use]
    pub fn past_counter(mut self, past: bool) -> Self {
        self.past_counter = past;
        self
    }

    /// Opening its vault as this: see [`OpenAs`].
    #[must_use]
    pub fn open_as(mut self, how: OpenAs) -> Self {
        self.how = how;
        self
    }

    /// Gives this folder, which is a copy, a root slot of its own, and notes it here: at this location, or
    /// in the user's state directory. Returns where it is. See [`Vault::give_own_slot`]; mirrors and
    /// counter of the slot that it had in common with the other folder stay that one's.
    ///
    /// # Errors
    /// [`FolderError::NotFound`], [`FolderError::RootWithin`], those of the vault.
    pub fn give_own_slot(&self, at: Option<PathBuf>) -> Result<PathBuf, FolderError> {
        let Found::Ours(noted) = self.look()? else {
            return Err(FolderError::NotFound(self.path.clone()));
        };
        if noted.settings().store_at.is_some() && self.store.is_none() {
            return Err(FolderError::StoreShared);
        }
        let folder = self.located(&noted);
        folder.refuse_links()?;
        let from = folder.slot(folder.known_root()?)?;
        let root = match at {
            Some(root) => absolute_root(root)?,
            None => usual_root()?,
        };
        let alone = Self { mirrors: Vec::new(), counter: None, ..folder };
        let to = alone.slot(&root)?;
        self.refuse_within(&to)?;
        // Its settings are its own from now on, under an id of their own.
        let settings = alone.settings(noted.vault(), &root)?;
        let own = Noted::nothing();
        let own = own.with(settings);
        // From then on the copy opens over no other slot.
        self.rehearse_memo(&own)?;
        make_room(&root)?;
        drop(Vault::give_own_slot(&alone.vault(), from, to)?);
        self.note(&own)?;
        Ok(root)
    }

    /// Where the key-encryption key comes from that opening will use.
    ///
    /// # Errors
    /// Where what this user noted for the folder cannot be read.
    pub fn kek(&self) -> Result<Kek, FolderError> {
        if let Some(kek) = &self.kek {
            return Ok(kek.clone());
        }
        match self.look() {
            Ok(Found::Ours(noted) | Found::Unfinished(noted)) => {
                Ok(noted.settings().kek.unwrap_or_default())
            }
            Ok(Found::Nothing) | Err(FolderError::NotOurs(_) | FolderError::ManifestLost(_)) => {
                Ok(Kek::None)
            }
            Err(error) => Err(error),
        }
    }

    /// An error where a copy of this folder would have its root slot, too.
    pub(super) fn refuse_within(&self, slot: &SlotConfig) -> Result<(), FolderError> {
        for path in [self.path.clone(), self.vault()] {
            if let Some(root) = slot.within(&path) {
                return Err(FolderError::RootWithin { root: root.to_owned(), path });
            }
        }
        Ok(())
    }

    /// Makes a mirror of the root slot of this folder's vault, which is open.
    ///
    /// # Errors
    /// [`FolderError::RootWithin`]; as of [`Vault::add_mirror`].
    pub async fn add_mirror(&self, vault: &Vault, path: &Path) -> Result<(), FolderError> {
        let folder = match self.look()? {
            Found::Ours(noted) | Found::Unfinished(noted) => self.located(&noted),
            Found::Nothing => self.clone(),
        };
        folder.refuse_within(&SlotConfig::from(path))?;
        // Whoever wants it as a mirror does not want the move that would destroy it. Noted first, so that nothing fails
        // once the mirror is there.
        self.note_wanted(path)?;
        Ok(vault.add_mirror(path).await?)
    }

    /// Retires a mirror of the root slot of this folder's vault, which is open: see [`Vault::retire_mirror`].
    ///
    /// # Errors
    /// As of [`Vault::retire_mirror`].
    pub async fn retire_mirror(
        &self,
        vault: &Vault,
        path: &Path,
        lost: bool,
    ) -> Result<(), FolderError> {
        // The user's settings first: a mirror that they name, and that the slot does not note any more, would be made
        // again. Until the slot lets go of it, the slot names it.
        self.note_without_mirror(path)?;
        let retired = vault.retire_mirror(path, lost).await;
        if retired.is_err()
            && let Ok(slot) = vault.root_slot()
            && let Err(error) = self.note_mirrors(&slot)
        {
            // It may be a mirror still, and then can stand in for a lost slot. What failed first is told, not this.
            tracing::warn!(error = %oubliette::words::chain(&error), "the mirrors of the slot are not noted");
        }
        Ok(retired?)
    }

    /// The root slot at this location, guarded as this folder says.
    pub(super) fn slot(&self, root: &Path) -> Result<SlotConfig, FolderError> {
        let mut slot = SlotConfig::at(location(root)?);
        for mirror in &self.mirrors {
            slot = slot.with_mirror(mirror);
        }
        #[cfg(feature = "tpm")]
        if let Some(counter) = &self.counter {
            let bad =
                |error: TpmIndexError| FolderError::BadRoot(counter.into(), error.to_string());
            slot = slot.with_counter(Some(counter.parse::<TpmIndex>().map_err(bad)?));
        }
        slot = slot.past_counter(self.past_counter);
        let kek = self.kek.clone().unwrap_or_default();
        Ok(slot.with_kek(kek, self.passphrase.clone()))
    }
}

/// What a text says of the location of a root slot.
fn location(root: &Path) -> Result<SlotLocation, FolderError> {
    let Some(kind) = device(root) else { return Ok(SlotLocation::File(root.to_owned())) };
    // Of a URI no more is repeated: a PIN may be in it, by mistake.
    let shown = if kind == "tpm" { root.to_owned() } else { format!("{kind}:…").into() };
    let bad = |why: String| FolderError::BadRoot(shown.clone(), why);
    match kind {
        #[cfg(feature = "tpm")]
        "tpm" => {
            let index = root.to_string_lossy().parse::<TpmIndex>();
            let index = index.map_err(|error| bad(error.to_string()))?;
            Ok(SlotLocation::Tpm(index.with_auth(secret("OUBLIETTE_TPM_AUTH"))))
        }
        #[cfg(feature = "pkcs11")]
        "pkcs11" => {
            let object = root.to_string_lossy().parse::<Pkcs11Object>();
            let object = object.map_err(|error| bad(error.to_string()))?;
            Ok(SlotLocation::Pkcs11(object.with_pin(secret("OUBLIETTE_PKCS11_PIN"))))
        }
        _ => Err(bad(format!("this program was built without the feature `{kind}`"))),
    }
}

/// What guards the slot in a device, if the environment says.
#[cfg(any(feature = "tpm", feature = "pkcs11"))]
fn secret(variable: &str) -> Option<Passphrase> {
    std::env::var(variable).ok().and_then(Passphrase::new)
}

/// The kind of device that a location is in; `None`: it is a file.
pub(super) fn device(root: &Path) -> Option<&'static str> {
    let (kind, _) = root.to_str()?.split_once(':')?;
    ["tpm", "pkcs11"].into_iter().find(|known| known.eq_ignore_ascii_case(kind))
}

/// The same location, wherever one works later.
pub(super) fn absolute_root(root: PathBuf) -> Result<PathBuf, FolderError> {
    if device(&root).is_some() { Ok(root) } else { absolute(&root) }
}

/// Makes the folder of a slot that is to be in this user's state folder. No other is made: it may be the mount point
/// of a medium that is away.
///
/// # Errors
/// [`SlotError::NoFolder`](oubliette::vault::SlotError::NoFolder).
pub(super) fn make_room(root: &Path) -> Result<(), FolderError> {
    make_usual_room(root)?;
    refuse_missing_folder(root)
}

/// As [`make_room`]; another folder need not be there.
pub(super) fn make_usual_room(root: &Path) -> Result<(), FolderError> {
    root.parent().filter(|_| is_usual(root)).map_or(Ok(()), make_folder)
}

/// An error where a file of a slot is to be made in a folder that is not there.
pub(super) fn refuse_missing_folder(file: &Path) -> Result<(), FolderError> {
    match device(file) {
        Some(_) => Ok(()),
        None => Ok(SlotConfig::from(file).refuse_missing_folder()?),
    }
}
