//! Where a slot's two sectors are.

use std::fmt;

use super::{
    SlotLocation,
    file::{self, SectorFile},
    file_system,
    pair::Pair,
};
use crate::vault::root::SlotError;

/// The place of a slot that is in use.
pub(super) enum Location {
    Config(SlotLocation),
    #[cfg(test)]
    Test,
}

impl SlotLocation {
    pub(super) fn create(&self) -> Result<Pair, SlotError> {
        Ok(Pair(match self {
            Self::File(path) => Box::new(SectorFile::create(path)?),
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => Box::new(index.create()?),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => Box::new(object.create()?),
        }))
    }

    /// An error where it is a file, to be made in a folder that is not there.
    pub(super) fn refuse_missing_folder(&self) -> Result<(), SlotError> {
        match self {
            Self::File(path) => file::refuse_missing_folder(path),
            #[cfg(any(feature = "tpm", feature = "pkcs11"))]
            _ => Ok(()),
        }
    }

    pub(super) fn open(&self) -> Result<Pair, SlotError> {
        Ok(Pair(match self {
            Self::File(path) => {
                let file = SectorFile::open(path)?;
                file_system::warn(path);
                Box::new(file)
            }
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => Box::new(index.open()?),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => Box::new(object.open()?),
        }))
    }

    /// `hold`: while it is open, no one writes to it. A device is held in any case.
    pub(super) fn open_to_read(&self, hold: bool) -> Result<Pair, SlotError> {
        Ok(Pair(match self {
            Self::File(path) => Box::new(SectorFile::open_to_read(path, hold)?),
            #[cfg(feature = "tpm")]
            Self::Tpm(index) => Box::new(index.open_to_read()?),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(object) => Box::new(object.open_to_read()?),
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

impl Location {
    pub(super) fn create(&self) -> Result<Pair, SlotError> {
        match self {
            Self::Config(place) => place.create(),
            #[cfg(test)]
            Self::Test => Err(SlotError::Poisoned),
        }
    }

    /// Whether it is the file that a slot notes by this name.
    pub(super) fn is_file(&self, name: &str) -> bool {
        match self {
            Self::Config(SlotLocation::File(path)) => {
                std::path::absolute(path).is_ok_and(|path| path.to_str() == Some(name))
            }
            #[cfg(any(feature = "tpm", feature = "pkcs11"))]
            Self::Config(_) => false,
            #[cfg(test)]
            Self::Test => false,
        }
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Self::Config(SlotLocation::File(_)) => super::sector::SECTOR_BYTES,
            #[cfg(any(feature = "tpm", feature = "pkcs11"))]
            Self::Config(_) => super::device::SECTOR_BYTES,
            #[cfg(test)]
            Self::Test => super::sector::SECTOR_BYTES,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(place) => place.fmt(f),
            #[cfg(test)]
            Self::Test => f.write_str("in a test"),
        }
    }
}
