//! Where a vault's root slot is, and how it is guarded.

use std::path::{Path, PathBuf};

#[cfg(feature = "pkcs11")]
use super::pkcs11::Pkcs11Object;
#[cfg(feature = "tpm")]
use super::tpm::TpmIndex;
use super::{
    counter::Asked,
    file::refuse_missing_folder,
    kek::{Kek, Passphrase},
    slot::new_mirrors,
};
use crate::{own::settled, vault::root::SlotError};

/// Where a vault's root slot is, its mirrors, and what wraps the root key.
///
/// The root slot is a small file, or memory of a TPM or a token. It holds the root key and is overwritten at every
/// erasure. Keep it where no backup of the folder reaches: a copy of both brings everyone back.
///
/// ```no_run
/// use std::path::Path;
/// use oubliette::vault::{Kek, SlotConfig, Vault};
/// let slot = SlotConfig::from(Path::new("/var/lib/bank/vault.root"))
///     .with_mirror("/media/stick/vault.root")
///     .with_kek(Kek::File("/run/secrets/kek".into()), None);
/// let vault = Vault::open(Path::new("/srv/bank/vault"), slot)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SlotConfig {
    pub(super) place: SlotLocation,
    pub(super) mirrors: Vec<PathBuf>,
    pub(super) kek: Kek,
    pub(super) passphrase: Option<Passphrase>,
    pub(super) counter: Asked,
    /// The vault's folder, once it is known.
    folder: Option<PathBuf>,
}

/// Where the slot itself is.
///
/// [`SlotConfig::at`] takes one; a path alone is a [`SlotLocation::File`].
///
/// ```
/// use oubliette::vault::{SlotConfig, SlotLocation};
/// let location = SlotLocation::File("/media/stick/bank.root".into());
/// let slot = SlotConfig::at(location).with_mirror("/media/safe/bank.root");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotLocation {
    /// In a file that is overwritten in place.
    File(PathBuf),
    /// In the memory of a TPM 2.0.
    #[cfg(feature = "tpm")]
    Tpm(TpmIndex),
    /// In a PKCS#11 token: a hardware security module, a smart card.
    #[cfg(feature = "pkcs11")]
    Pkcs11(Pkcs11Object),
}

impl SlotConfig {
    /// At a place, without mirrors, wrapped by nothing.
    pub fn at(place: SlotLocation) -> Self {
        let counter = Asked::default();
        let (mirrors, kek, passphrase, folder) = (Vec::new(), Kek::None, None, None);
        Self { place, mirrors, kek, passphrase, counter, folder }
    }

    /// With a further slot file, on another device: whether it is, [`MirrorState::beside`] tells afterwards. One that
    /// is not there yet is made, in a folder that is there; the slot remembers it from then on, and no forgetting is
    /// complete before its copy is overwritten, too.
    ///
    /// [`MirrorState::beside`]: crate::vault::MirrorState::beside
    #[must_use]
    pub fn with_mirror(mut self, path: impl Into<PathBuf>) -> Self {
        self.mirrors.push(path.into());
        self
    }

    /// With the root key wrapped by this key-encryption key; the passphrase, where it is one.
    #[must_use]
    pub fn with_kek(mut self, kek: Kek, passphrase: Option<Passphrase>) -> Self {
        self.kek = kek;
        self.passphrase = passphrase;
        self
    }

    /// With this counter of a TPM, its first index alone, as a witness against a rollback of vault
    /// and slot together. A new slot is bound to it, and so is one that is restored; of one that is
    /// bound already this says how it is reached. [`Vault::bind_counter`](crate::vault::Vault::bind_counter)
    /// binds a slot that is there.
    #[cfg(feature = "tpm")]
    #[must_use]
    pub fn with_counter(mut self, counter: Option<TpmIndex>) -> Self {
        self.counter.at = counter;
        self
    }

    /// Opening the slot whatever its counter says, because an old state was restored on purpose, or
    /// the counter is lost. Erasures stay pending until the slot is bound again.
    #[must_use]
    pub fn past_counter(mut self, past: bool) -> Self {
        self.counter.past = past;
        self
    }

    /// An error where one of the files is in a folder, so that a copy of the folder has it.
    pub(crate) fn refuse_within(&self, folder: &Path) -> Result<(), SlotError> {
        match self.within(folder) {
            Some(path) => {
                Err(SlotError::Within { slot: path.to_owned(), folder: folder.to_owned() })
            }
            None => Ok(()),
        }
    }

    /// Of the vault in this folder.
    pub(crate) fn of_vault_in(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// What mirrors are to be on other devices than.
    pub(super) fn others(&self) -> Vec<PathBuf> {
        self.place.file().into_iter().chain(&self.folder).cloned().collect()
    }

    /// An error where the folder is missing of one of the files, all of which are still to be made. To be asked
    /// before anything else is made: where files are there, a mirror's medium may well be away.
    ///
    /// # Errors
    /// [`SlotError::NoFolder`].
    pub fn refuse_missing_folder(&self) -> Result<(), SlotError> {
        self.place.refuse_missing_folder()?;
        self.mirrors.iter().try_for_each(|path| refuse_missing_folder(path))
    }

    /// An error where one of the mirrors cannot be that of a slot that is still to be made: it is the slot itself, or
    /// another file, or holds a root. To be asked before they are noted anywhere.
    ///
    /// # Errors
    /// [`SlotError::NoFolder`], [`SlotError::Mirror`].
    pub fn refuse_unfit_mirrors(&self) -> Result<(), SlotError> {
        self.mirrors.iter().try_for_each(|path| refuse_missing_folder(path))?;
        new_mirrors(self).map(drop)
    }

    /// The first of the slot's files that is in a folder.
    pub fn within(&self, folder: &Path) -> Option<&Path> {
        let folder = settled(folder);
        let mut files = self.place.file().into_iter().chain(&self.mirrors);
        files.find(|path| settled(path).starts_with(&folder)).map(PathBuf::as_path)
    }
}

impl From<&Path> for SlotConfig {
    fn from(path: &Path) -> Self {
        Self::at(SlotLocation::File(path.to_owned()))
    }
}

impl From<&PathBuf> for SlotConfig {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}
