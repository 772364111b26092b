//! A root slot of two sectors: whatever breaks off a write leaves one of them whole.

use zeroize::Zeroizing;

use super::{
    Root, RootSlot,
    sector::{FORMAT, Sector, decode, encode},
};
use crate::vault::VaultError;

/// Two sectors of [`SECTOR_BYTES`](super::sector::SECTOR_BYTES) that can be overwritten in place.
pub(crate) trait Sectors: Send + Sync {
    /// The bytes of sector 0 or 1; fewer, where the medium ends before.
    fn read(&self, index: usize) -> Result<Zeroizing<Vec<u8>>, VaultError>;

    /// Overwrites a sector in place.
    fn write(&self, index: usize, bytes: &[u8]) -> Result<(), VaultError>;

    /// Waits until what was written is on the medium.
    fn sync(&self) -> Result<(), VaultError>;
}

/// The slot.
pub(crate) struct SectorSlot<S>(pub(crate) S);

impl<S: Sectors> SectorSlot<S> {
    fn sectors(&self) -> Result<[Sector; 2], VaultError> {
        Ok([decode(&self.0.read(0)?), decode(&self.0.read(1)?)])
    }
}

impl<S: Sectors> RootSlot for SectorSlot<S> {
    fn read(&self) -> Result<Root, VaultError> {
        let mut best: Option<Root> = None;
        for sector in self.sectors()? {
            match sector {
                Sector::Whole(root) => {
                    if let Some(best) = &best
                        && best.vault != root.vault
                    {
                        return Err(VaultError::SlotDamaged(
                            "its two sectors name different vaults".into(),
                        ));
                    }
                    if best.as_ref().is_none_or(|b| b.epoch < root.epoch) {
                        best = Some(root);
                    }
                }
                Sector::Newer(found) => {
                    return Err(VaultError::NewerFormat { found, known: FORMAT });
                }
                Sector::Broken => {}
            }
        }
        best.ok_or_else(|| VaultError::SlotDamaged("neither of its two sectors is whole".into()))
    }

    fn write(&self, root: &Root) -> Result<(), VaultError> {
        let bytes = encode(root);
        let holds = |sector: &Sector| matches!(sector, Sector::Whole(r) if r == root);
        // At every moment one sector must be whole on the medium, though what is read here may
        // stand in the system's cache only. A broken sector means that the other one was durable
        // before it was touched. A sector that already holds this root, beside one that holds
        // an earlier one, may not be on the medium yet, but then the earlier one is.
        let order = match self.sectors()? {
            [Sector::Whole(_), Sector::Broken] => [1, 0],
            [Sector::Broken, _] => [0, 1],
            [_, second] if holds(&second) => [1, 0],
            _ => [0, 1],
        };
        for index in order {
            self.0.write(index, &bytes)?;
            self.0.sync()?;
        }
        Ok(())
    }
}
