//! The number of an opening: fresh each time a vault is opened to be written to.
//!
//! It is in the slot and in the vault's pages. A folder whose pages do not know the slot's number is not the
//! folder that was opened last.

use crate::{crypto::random, vault::root::SlotError};

const NUMBER_BYTES: usize = 16;

/// The number: how many openings came before, and eight random bytes, so that no two copies of a
/// vault ever take the same one. Ordered by the count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OpeningNumber {
    count: u64,
    chance: [u8; 8],
}

impl OpeningNumber {
    /// That of a vault that is being made.
    pub(crate) fn first() -> Result<Self, SlotError> {
        Self::default().next()
    }

    /// A fresh one, after this.
    pub(crate) fn next(self) -> Result<Self, SlotError> {
        Ok(Self { count: self.count.saturating_add(1), chance: random()? })
    }

    /// Whether it cannot have come before the other, and is not the other: somebody else's, then.
    pub(super) fn is_beside_or_after(self, other: Self) -> bool {
        self != other && self.count >= other.count
    }

    pub(crate) fn to_bytes(self) -> [u8; NUMBER_BYTES] {
        let mut bytes = [0; NUMBER_BYTES];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..].copy_from_slice(&self.chance);
        bytes
    }

    pub(crate) fn of(bytes: [u8; NUMBER_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, chance @ ..] = bytes;
        Self { count: u64::from_be_bytes([a, b, c, d, e, f, g, h]), chance }
    }
}
