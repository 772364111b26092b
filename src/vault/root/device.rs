//! What root slots in a device of its own have in common, be it a TPM or a token: small sectors,
//! which must be made before they can be written.

use std::fmt::Display;

use super::hardware::Sectors;
use crate::vault::root::SlotError;

/// The length of a sector: as much as one write of any TPM takes; small devices have room for two.
pub(super) const SECTOR_BYTES: usize = 512;

/// Two sectors, each of which can be missing.
pub(super) trait Device: Sectors {
    /// Which of the two exist.
    fn made(&self) -> Result<[bool; 2], SlotError>;

    /// Makes one that does not exist, with zeros in it.
    fn make(&self, sector: usize) -> Result<(), SlotError>;

    /// Removes those that exist.
    fn unmake(&self);
}

/// Makes a slot. After a failure nothing of it is left behind.
///
/// # Errors
/// [`SlotError::NotEmpty`] where there is something already; those of the device.
pub(super) fn create<D: Device>(device: D, place: &impl Display) -> Result<D, SlotError> {
    if device.made()?.contains(&true) {
        return Err(SlotError::NotEmpty(place.to_string()));
    }
    device.make(0)?;
    device.make(1).inspect_err(|_| device.unmake())?;
    Ok(device)
}

/// Opens a slot. One sector that is gone is made again: the root is in the other one.
///
/// # Errors
/// [`SlotError::Missing`]; those of the device.
pub(super) fn open<D: Device>(device: D, place: &impl Display) -> Result<D, SlotError> {
    match device.made()? {
        [false, false] => return Err(SlotError::Missing(place.to_string())),
        [true, true] => {}
        [first, _] => device.make(usize::from(first))?,
    }
    Ok(device)
}

/// Opens a slot to be read: nothing is made.
///
/// # Errors
/// [`SlotError::Missing`]; those of the device.
pub(super) fn open_to_read<D: Device>(device: D, place: &impl Display) -> Result<D, SlotError> {
    match device.made()? {
        [false, false] => Err(SlotError::Missing(place.to_string())),
        _ => Ok(device),
    }
}
