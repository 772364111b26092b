//! What a slot rests on: sectors that are overwritten in place, and a number that only rises.

use zeroize::Zeroizing;

use super::sector::SECTOR_BYTES;
use crate::vault::root::SlotError;

/// Two sectors that can be overwritten in place.
pub(crate) trait Sectors: Send + Sync {
    /// How long each of them is.
    fn sector_bytes(&self) -> usize {
        SECTOR_BYTES
    }

    /// The bytes of sector 0 or 1; fewer, where the medium ends before.
    fn read(&self, index: usize) -> Result<Zeroizing<Vec<u8>>, SlotError>;

    /// Overwrites a sector in place.
    fn write(&self, index: usize, bytes: &[u8]) -> Result<(), SlotError>;

    /// Waits until what was written is on the medium.
    fn sync(&self) -> Result<(), SlotError>;
}

/// A number that can be raised and never lowered. What is wrong it says in words.
pub(super) trait Monotonic: Send + Sync {
    /// What it reads.
    fn read(&self) -> Result<u64, String>;

    /// Raises it by one.
    fn raise(&self) -> Result<(), String>;

    /// Destroys it.
    fn remove(&self) -> Result<(), String>;
}
