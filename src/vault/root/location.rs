//! Where a slot's two sectors are.

use std::{
    fmt,
    path::{Path, PathBuf},
};

#[cfg(any(feature = "tpm", feature = "pkcs11"))]
use super::device;
use super::{
    SlotError, SlotLocation,
    file::{self, SectorFile},
    file_system,
    pair::Pair,
    sector::SECTOR_BYTES,
};
use crate::own::is_same;

impl SlotLocation {
    /// The file, where it is one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            #[cfg(any(feature = "tpm", feature = "pkcs11"))]
            _ => None,
        }
    }

    /// Whether it is the file that a slot notes by this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let path = self.file().and_then(|path| std::path::absolute(path).ok());
        path.is_some_and(|path| path.to_str() == Some(name))
    }

    /// Whether it is the file that a path leads to.
    pub(super) fn is_file(&self, path: &Path) -> bool {
        self.file().is_some_and(|own| is_same(own, path))
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Self::File(_) => SECTOR_BYTES,
            #[cfg(any(feature = "tpm", feature = "pkcs11"))]
            _ => device::SECTOR_BYTES,
        }
    }

    pub(super) fn create(&self) -> Result<Pair, SlotError> {
        Ok(Pair(match self {
            Self::File(path) => Box::new(SectorFile::create(path)?),
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => Box::new(device::create(index.lock()?, index)?),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => Box::new(device::create(object.connect()?, object)?),
        }))
    }

    /// An error where it is a file, to be made in a folder that is not there.
    pub(super) fn refuse_missing_folder(&self) -> Result<(), SlotError> {
        self.file().map_or(Ok(()), |path| file::refuse_missing_folder(path))
    }

    pub(super) fn open(&self) -> Result<Pair, SlotError> {
        Ok(Pair(match self {
            Self::File(path) => {
                let file = SectorFile::open(path)?;
                file_system::warn(path);
                Box::new(file)
            }
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => Box::new(device::open(index.lock()?, index)?),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => Box::new(device::open(object.connect()?, object)?),
        }))
    }

    /// `hold`: while it is open, no one writes to it. A device is held in any case.
    pub(super) fn open_to_read(&self, hold: bool) -> Result<Pair, SlotError> {
        Ok(Pair(match self {
            Self::File(path) => Box::new(SectorFile::open_to_read(path, hold)?),
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => Box::new(device::open_to_read(index.lock()?, index)?),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => Box::new(device::open_to_read(object.connect()?, object)?),
        }))
    }

    /// Takes back what [`SlotLocation::create`] made.
    pub(super) fn unmake(&self, pair: Pair) {
        drop(pair);
        match self {
            Self::File(path) => drop(file::remove(path)),
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => index.unmake(),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => object.unmake(),
        }
    }
}

impl fmt::Display for SlotLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => index.fmt(f),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => object.fmt(f),
        }
    }
}
