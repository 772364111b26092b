//! Whether a folder is the one that its root slot belongs to.
//!
//! Two folders over one slot destroy each other: the first forgetting in one of them overwrites the
//! root that the other needs. A copied folder is as whole as the one that it was copied from, so
//! each opening leaves a fresh number: first in the pages, beside the one that is in the slot, then in the
//! slot; then the pages keep that one alone. Whichever folder is opened next after that and does not know the
//! slot's number, is not the one that was opened last.
//!
//! Of a copy that is opened *before* the folder that it was copied from, the number says nothing:
//! both know it. So the pages note as well where the folder was, and when it was made, which no
//! copying of files takes along. A folder that is elsewhere, while a vault of the same id is still
//! at the noted place, is a copy. A folder that was made again at the noted place was restored there,
//! or copied. Both must be confirmed by somebody. A folder that is elsewhere, and nothing is left at
//! the noted place, was moved.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::{folder::read_header, marker::Marker};
use crate::{
    crypto::{Label, Secret},
    event::VaultId,
    vault::{OpenVaultError, VaultError, root::OpeningNumber, wire::Reader},
};

const MARKER: Marker =
    Marker { purpose: Label::OPENINGS, what: "the note of the vault's last openings", format: 1 };

/// The numbers that the slot may hold, and where the folder was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Openings {
    /// The one that was in the slot, and the one that was to take its place: a crash in between
    /// leaves the first or the second there. Twice the same once the slot has it.
    pub(super) numbers: [OpeningNumber; 2],
    pub(super) at: Whereabouts,
}

impl Openings {
    /// `number(16) number(16) made(16) path`, sealed.
    pub(super) fn seal(&self, vault: VaultId, identity: &Secret) -> Result<Vec<u8>, VaultError> {
        let mut plain = self.numbers.map(OpeningNumber::to_bytes).concat();
        plain.extend_from_slice(&self.at.made.unwrap_or_default().to_be_bytes());
        plain.extend_from_slice(self.at.path.as_os_str().as_encoded_bytes());
        MARKER.seal(vault, identity, &plain)
    }

    /// `None`: there are none that open, and nothing is known.
    ///
    /// # Errors
    /// [`VaultError::NewerFormat`].
    pub(super) fn open(
        vault: VaultId,
        identity: &Secret,
        stored: &[u8],
    ) -> Result<Option<Self>, VaultError> {
        Ok(MARKER.open(vault, identity, stored)?.and_then(|plain| Self::parse(&plain).ok()))
    }

    fn parse(plain: &[u8]) -> Result<Self, VaultError> {
        let mut from = Reader::new(MARKER.what, plain);
        let numbers = [OpeningNumber::of(from.array()?), OpeningNumber::of(from.array()?)];
        let made = Some(u128::from_be_bytes(from.array()?)).filter(|made| *made != 0);
        Ok(Self { numbers, at: Whereabouts { path: path_of(from.rest()), made } })
    }

    /// Whether this is the very folder that was opened last.
    pub(super) fn are_of(&self, here: &Whereabouts) -> bool {
        self.at.path == here.path && !here.made_anew_since(&self.at)
    }

    /// An error where it is not certain that this folder is the one that the slot with this number
    /// belongs to.
    pub(super) fn admit(
        known: Option<&Self>,
        number: OpeningNumber,
        vault: VaultId,
        here: &Whereabouts,
    ) -> Result<(), OpenVaultError> {
        let folder = || here.path.clone();
        let Some(known) = known else { return Err(OpenVaultError::FolderOld(folder())) };
        let copied = known.at.path != here.path && known.at.still_holds(vault, here);
        if copied {
            return Err(OpenVaultError::FolderCopied {
                folder: folder(),
                of: known.at.path.clone(),
            });
        }
        if !known.numbers.contains(&number) {
            let slot_is_older = known.numbers.iter().all(|known| number < *known);
            return Err(match slot_is_older {
                true => OpenVaultError::SlotOld(folder()),
                false => OpenVaultError::FolderOld(folder()),
            });
        }
        if known.at.path != here.path {
            tracing::info!(
                from = %known.at.path.display(), to = %here.path.display(), "the vault's folder was moved"
            );
        } else if here.made_anew_since(&known.at) {
            return Err(OpenVaultError::FolderOld(folder()));
        }
        Ok(())
    }
}

/// Where a folder is, and when it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// Absolute, as it was given: by way of a link, where there is one. Empty: nowhere, in memory.
    path: PathBuf,
    /// In nanoseconds since 1970, where the file system says. A folder that is moved keeps it, and one
    /// that is copied has its own. An inode's number would not do: it is given out again.
    made: Option<u128>,
}

impl Whereabouts {
    pub(crate) fn of(folder: &Path) -> Result<Self, VaultError> {
        let path = std::path::absolute(folder).map_err(VaultError::from_io)?;
        let made = fs::metadata(&path).and_then(|about| about.created()).ok();
        let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        Ok(Self { path, made: made.map(|made| made.as_nanos()) })
    }

    fn made_anew_since(&self, noted: &Self) -> bool {
        matches!((self.made, noted.made), (Some(now), Some(then)) if now != then)
    }

    /// Whether a vault of this id is still at this noted place, and it is not the very folder that is
    /// being opened: a bind mount and a container lead to one folder by several paths.
    fn still_holds(&self, vault: VaultId, here: &Self) -> bool {
        match read_header(&self.path) {
            Ok(found) => found.vault == vault && !same_folder(&self.path, &here.path),
            // It is there, and may not be looked into.
            Err(OpenVaultError::Vault(VaultError::Storage(_))) => self.path.exists(),
            Err(_) => false,
        }
    }
}

#[cfg(unix)]
fn same_folder(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let which = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    which(one).is_some_and(|one| Some(one) == which(other))
}

#[cfg(not(unix))]
fn same_folder(one: &Path, other: &Path) -> bool {
    one == other
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

/// A path that is not Unicode is not found again: then it is not known whether it was left.
#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}
