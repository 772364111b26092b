//! A root slot in memory, for vaults that live as long as their process.

use std::sync::Mutex;

use super::{Root, RootSlot, SlotChange, SlotState, WrappedBy};
use crate::vault::root::SlotError;

/// The slot; empty until it is first written.
#[derive(Debug, Default)]
pub(crate) struct MemorySlot(Mutex<Option<Root>>);

impl RootSlot for MemorySlot {
    fn read(&self) -> Result<Root, SlotError> {
        let slot = self.0.lock().map_err(|_| SlotError::Poisoned)?;
        slot.clone().ok_or_else(|| SlotError::Missing("in memory".into()))
    }

    fn settle(&self) -> Result<(), SlotError> {
        Ok(())
    }

    fn write(&self, root: &Root) -> Result<(), SlotError> {
        *self.0.lock().map_err(|_| SlotError::Poisoned)? = Some(root.clone());
        Ok(())
    }

    fn change(&self, _: &Root, change: SlotChange) -> Result<(), SlotError> {
        match change {
            SlotChange::Retry => Ok(()),
            _ => {
                Err(SlotError::Unsupported("a root slot in memory has no mirrors and no wrapping"))
            }
        }
    }

    fn state(&self) -> Result<SlotState, SlotError> {
        let slot = self.0.lock().map_err(|_| SlotError::Poisoned)?;
        Ok(SlotState {
            place: "in memory".into(),
            epoch: slot.as_ref().map_or(0, |root| root.epoch),
            wrapped_by: WrappedBy::Nothing,
            mirrors: Vec::new(),
            counter: None,
        })
    }
}
