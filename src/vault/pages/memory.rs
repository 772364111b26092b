//! Pages in memory, for vaults that live as long as their process.

use std::{collections::HashMap, sync::RwLock};

use super::{Batch, PageStore};
use crate::vault::VaultError;

/// Pages in a map.
#[derive(Debug, Default)]
pub(crate) struct MemoryPages(RwLock<HashMap<Vec<u8>, Vec<u8>>>);

impl PageStore for MemoryPages {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        Ok(self.0.read().map_err(|_| VaultError::Poisoned)?.get(name).cloned())
    }

    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError> {
        self.0.read().map_err(|_| VaultError::Poisoned)?.keys().for_each(|name| see(name));
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), VaultError> {
        let mut map = self.0.write().map_err(|_| VaultError::Poisoned)?;
        for name in &batch.removals {
            map.remove(name);
        }
        map.extend(batch.puts);
        Ok(())
    }

    fn flush(&self) -> Result<(), VaultError> {
        Ok(())
    }
}
