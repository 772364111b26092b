//! Two sectors that hold the same root: whatever breaks off a write leaves one of them whole.

use zeroize::Zeroizing;

use super::sector::{FORMAT, MAGIC, Record, SECTOR_BYTES, Sector, decode};
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

/// The two sectors.
pub(super) struct Pair(pub(super) Box<dyn Sectors>);

/// What two sectors hold.
pub(super) struct Found {
    /// The newest records, which are of one age, and in which sector they are.
    pub(super) newest: Vec<(usize, Box<Record>)>,
    /// Whether something of ours was there, whole or not.
    pub(super) ours: bool,
    /// Whether nothing was ever written.
    pub(super) blank: bool,
}

impl Pair {
    pub(super) fn length(&self) -> usize {
        self.0.sector_bytes()
    }

    /// The bytes of both; none of one that cannot be read, as long as the other can.
    fn bytes(&self) -> Result<[Zeroizing<Vec<u8>>; 2], SlotError> {
        match (self.0.read(0), self.0.read(1)) {
            (Err(error), Err(_)) => Err(error),
            (first, second) => Ok([first.unwrap_or_default(), second.unwrap_or_default()]),
        }
    }

    /// Reads both.
    ///
    /// # Errors
    /// [`SlotError::NewerFormat`]; [`SlotError::Damaged`] where they do not belong together.
    pub(super) fn look(&self) -> Result<Found, SlotError> {
        let bytes = self.bytes()?;
        let mut found = Found {
            newest: Vec::new(),
            ours: bytes.iter().any(|bytes| bytes.starts_with(MAGIC)),
            blank: bytes.iter().all(|bytes| bytes.iter().all(|byte| *byte == 0)),
        };
        for (index, bytes) in bytes.iter().enumerate() {
            match decode(bytes, self.length()) {
                Sector::Whole(record) => {
                    let (vault, age) = (record.vault, record.age());
                    let best = found.newest.first().map(|(_, best)| (best.vault, best.age()));
                    if best.is_some_and(|best| best.0 != vault) {
                        let why = "its two sectors name different vaults";
                        return Err(SlotError::Damaged(why.into()));
                    }
                    if best.is_some_and(|best| best.1 < age) {
                        found.newest.clear();
                    }
                    if best.is_none_or(|best| best.1 <= age) {
                        found.newest.push((index, record));
                    }
                }
                Sector::OtherFormat(found) if found > FORMAT => {
                    return Err(SlotError::NewerFormat { found, known: FORMAT });
                }
                Sector::OtherFormat(found) => {
                    let why = format!("it has format {found}, which was never released");
                    return Err(SlotError::Damaged(why));
                }
                Sector::Broken => {}
            }
        }
        Ok(found)
    }

    /// Makes sure that what can be read is on the medium: a crash may have left it in the system's
    /// cache only. Two that are both whole are written again as they are, which harms neither,
    /// whatever breaks it off. If only one is whole, it was on the medium before the other
    /// was touched, and it is not touched now.
    pub(super) fn settle(&self) -> Result<(), SlotError> {
        let bytes = self.bytes()?;
        let whole =
            |bytes: &Zeroizing<Vec<u8>>| matches!(decode(bytes, self.length()), Sector::Whole(_));
        if bytes.iter().all(whole) {
            for (index, bytes) in bytes.iter().enumerate() {
                self.0.write(index, bytes)?;
                self.0.sync()?;
            }
        }
        Ok(())
    }

    /// Overwrites both; the one to keep for as long as the other is not on the medium comes last.
    pub(super) fn overwrite(&self, bytes: &[u8], keep: usize) -> Result<(), SlotError> {
        for index in [1 - keep, keep] {
            self.0.write(index, bytes)?;
            self.0.sync()?;
        }
        Ok(())
    }
}
