//! A root slot in memory, for vaults that live as long as their process.

use std::sync::Mutex;

use super::{Root, RootSlot, SlotChange, SlotState, WrappedBy};
use crate::vault::VaultError;

/// The slot; empty until it is first written.
#[derive(Debug, Default)]
pub(crate) struct MemorySlot(Mutex<Option<Root>>);

impl RootSlot for MemorySlot {
    fn read(&self) -> Result<Root, VaultError> {
        let slot = self.0.lock().map_err(|_| VaultError::Poisoned)?;
        slot.clone().ok_or_else(|| VaultError::SlotMissing("in memory".into()))
    }

    fn settle(&self) -> Result<(), VaultError> {
        Ok(())
    }

    fn write(&self, root: &Root) -> Result<(), VaultError> {
        *self.0.lock().map_err(|_| VaultError::Poisoned)? = Some(root.clone());
        Ok(())
    }

    fn change(&self, _: &Root, change: SlotChange) -> Result<(), VaultError> {
        match change {
            SlotChange::Retry => Ok(()),
            _ => {
                Err(VaultError::Unsupported("a root slot in memory has no mirrors and no wrapping"))
            }
        }
    }

    fn state(&self) -> Result<SlotState, VaultError> {
        let slot = self.0.lock().map_err(|_| VaultError::Poisoned)?;
        Ok(SlotState {
            place: "in memory".into(),
            epoch: slot.as_ref().map_or(0, |root| root.epoch),
            wrapped_by: WrappedBy::Nothing,
            mirrors: Vec::new(),
            counter: None,
        })
    }
}
