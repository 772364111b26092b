//! What root slots in a device of its own have in common, be it a TPM or a token: small sectors,
//! which must be made before they can be written, and a lock, because the device knows none.

use std::{
    env,
    fmt::Display,
    fs::{File, OpenOptions},
};

use sha2::{Digest, Sha256};

use super::{file, slot::Sectors};
use crate::vault::VaultError;

/// The length of a sector: as much as one write of any TPM takes; small devices have room for two.
pub(super) const SECTOR_BYTES: usize = 512;

/// Two sectors, each of which can be missing.
pub(super) trait Device: Sectors {
    /// Which of the two exist.
    fn made(&self) -> Result<[bool; 2], VaultError>;

    /// Makes one that does not exist, with zeros in it.
    fn make(&self, sector: usize) -> Result<(), VaultError>;

    /// Removes those that exist.
    fn unmake(&self);
}

/// Makes a slot. After a failure nothing of it is left behind.
///
/// # Errors
/// [`VaultError::NotEmpty`] where there is something already; those of the device.
pub(super) fn create<D: Device>(device: D, place: &impl Display) -> Result<D, VaultError> {
    if device.made()?.contains(&true) {
        return Err(VaultError::NotEmpty(place.to_string()));
    }
    device.make(0)?;
    device.make(1).inspect_err(|_| device.unmake())?;
    Ok(device)
}

/// Opens a slot. One sector that is gone is made again: the root is in the other one.
///
/// # Errors
/// [`VaultError::SlotMissing`]; those of the device.
pub(super) fn open<D: Device>(device: D, place: &impl Display) -> Result<D, VaultError> {
    match device.made()? {
        [false, false] => return Err(VaultError::SlotMissing(place.to_string())),
        [true, true] => {}
        [first, _] => device.make(usize::from(first))?,
    }
    Ok(device)
}

/// Keeps other processes of this machine away from what is named so, for as long as the file is
/// open.
///
/// # Errors
/// [`VaultError::InUse`].
pub(super) fn lock(kind: &str, what: &str) -> Result<File, VaultError> {
    let folder = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, Into::into);
    // A name of its own, whatever is in it.
    let digest = Sha256::digest(what.as_bytes());
    let mark = u64::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 8]));
    let path = folder.join(format!("oubliette-{kind}-{mark:016x}.lock"));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let lock = options.open(path).map_err(|error| VaultError::Storage(Box::new(error)))?;
    file::lock(&lock)?;
    Ok(lock)
}
