//! Two sectors that hold the same root: whatever breaks off a write leaves one of them whole.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    OpeningNumber,
    hardware::Sectors,
    sector::{FORMAT, MAGIC, Record, Sector, decode},
};
use crate::{event::VaultId, vault::root::SlotError};

/// The two sectors.
pub(super) struct Pair(pub(super) Box<dyn Sectors>);

/// Records of one age, and in which sector each is.
pub(super) type Records = Vec<(usize, Box<Record>)>;

/// What two sectors hold.
#[derive(Default)]
pub(super) struct Found {
    /// The newest records.
    pub(super) newest: Records,
    /// Whether something of ours was there, whole or not.
    pub(super) ours: bool,
    /// Whether nothing was ever written.
    pub(super) blank: bool,
}

impl Found {
    /// An error where this is the slot of another vault than the one that is wanted.
    pub(super) fn refuse_other(&self, wanted: Option<VaultId>) -> Result<(), SlotError> {
        match (self.newest.first().map(|(_, record)| record.vault), wanted) {
            (Some(slot), Some(vault)) if slot != vault => {
                Err(SlotError::OfAnotherVault { slot: slot.to_string(), vault: vault.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with a slot at this place in which no record is whole.
    pub(super) fn trouble(&self, place: &impl fmt::Display) -> SlotError {
        match self.ours || self.blank {
            true => not_whole(),
            false => SlotError::NotASlot(place.to_string()),
        }
    }
}

/// The age of records: they are of one.
pub(super) fn age_of(records: &Records) -> Option<(u64, OpeningNumber)> {
    records.first().map(|(_, record)| record.age())
}

/// What is wrong with a slot in which no record is whole.
pub(super) fn not_whole() -> SlotError {
    SlotError::Damaged("neither of its two sectors is whole".into())
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
