//! A root slot in memory, for vaults that live as long as their process.

use std::sync::Mutex;

use super::{Root, RootSlot};
use crate::vault::VaultError;

/// The slot; empty until it is first written.
#[derive(Debug, Default)]
pub(crate) struct MemorySlot(Mutex<Option<Root>>);

impl RootSlot for MemorySlot {
    fn read(&self) -> Result<Root, VaultError> {
        let slot = self.0.lock().map_err(|_| VaultError::Poisoned)?;
        slot.clone().ok_or_else(|| VaultError::SlotMissing("in memory".into()))
    }

    fn write(&self, root: &Root) -> Result<(), VaultError> {
        *self.0.lock().map_err(|_| VaultError::Poisoned)? = Some(root.clone());
        Ok(())
    }
}
