//! A root slot in a PKCS#11 token (a hardware security module, a smart card): two private data
//! objects, one a sector, by way of the module that the token's maker gives.
//!
//! What a token keeps of an object that was overwritten is for its maker to say. SoftHSM keeps its
//! objects in files: it is for tests, and warned of.

mod token;
mod uri;

use std::sync::{Mutex, MutexGuard, Once};

use cryptoki::session::Session;
use zeroize::Zeroizing;

use self::token::{Objects, Token};
pub use self::uri::{Pkcs11Object, Pkcs11UriError};
use super::{
    device::{Device, SECTOR_BYTES},
    device_lock::DeviceLock,
    hardware::Sectors,
};
use crate::vault::root::SlotError;

impl Pkcs11Object {
    /// Takes back what was made.
    pub(super) fn unmake(&self) {
        if let Ok(sectors) = self.connect() {
            sectors.unmake();
        }
    }

    /// Keeps others away, for as long as the slot is open, and logs in.
    pub(super) fn connect(&self) -> Result<TokenSectors, SlotError> {
        let failed = |why| SlotError::Device { place: self.to_string(), why };
        let token = Token::find(self).map_err(failed)?;
        // Before the PIN is given: anyone who finds the slot in use has not used up an attempt.
        let what = format!("{} {}", self.object, token.name());
        let lock = DeviceLock::take("pkcs11", &what, self)?;
        let session = token.log_in(self).map_err(failed)?;
        Ok(TokenSectors::of(self, session, Some(lock)))
    }
}

/// The two sectors.
pub(super) struct TokenSectors<O: Objects = Session> {
    at: Pkcs11Object,
    /// Ends before the lock is given back.
    objects: Mutex<O>,
    /// That the token does not overwrite is told once.
    told: Once,
    _lock: Option<DeviceLock>,
}

impl<O: Objects> TokenSectors<O> {
    fn of(at: &Pkcs11Object, objects: O, lock: Option<DeviceLock>) -> Self {
        Self { at: at.clone(), objects: Mutex::new(objects), told: Once::new(), _lock: lock }
    }

    fn objects(&self) -> Result<MutexGuard<'_, O>, SlotError> {
        self.objects.lock().map_err(|_| SlotError::Poisoned)
    }

    fn failed(&self, why: String) -> SlotError {
        SlotError::Device { place: self.at.to_string(), why }
    }

    fn name(&self, sector: usize) -> String {
        format!("{}.{sector}", self.at.object)
    }

    /// The object that is a sector, if there is one.
    fn find(&self, objects: &O, sector: usize) -> Result<Option<O::Handle>, SlotError> {
        let name = self.name(sector);
        match objects.find(&name).map_err(|why| self.failed(why))?[..] {
            [] => Ok(None),
            [object] => Ok(Some(object)),
            ref found => Err(self.failed(format!(
                "{} data objects of the token are named {name:?}, and one was made; which it is cannot be \
                 told. Somebody put another one there, as from a backup of the token: remove that one. A \
                 slot that was written whole has the same root in its other sector as well",
                found.len(),
            ))),
        }
    }

    fn put(&self, sector: usize, bytes: &[u8]) -> Result<(), SlotError> {
        let objects = self.objects()?;
        let failed = |why| self.failed(why);
        if let Some(object) = self.find(&objects, sector)? {
            // What the token says of it is not all: the earlier root must be gone.
            if objects.overwrite(object, bytes).map_err(failed)?
                && objects.read(object).map_err(failed)?.as_slice() == bytes
            {
                return Ok(());
            }
            self.told.call_once(|| {
                tracing::warn!(
                    slot = %self.at,
                    "the token does not overwrite objects: the root slot's are destroyed and made anew"
                );
            });
            // In this order: until the new one is made it is a sector that is lost, and the other one has
            // the root. The other way round a crash would leave two of one name.
            objects.destroy(object).map_err(failed)?;
        }
        objects.make(&self.name(sector), bytes).map_err(failed)
    }
}

impl<O: Objects> Device for TokenSectors<O> {
    fn made(&self) -> Result<[bool; 2], SlotError> {
        let objects = self.objects()?;
        Ok([self.find(&objects, 0)?.is_some(), self.find(&objects, 1)?.is_some()])
    }

    fn make(&self, sector: usize) -> Result<(), SlotError> {
        self.put(sector, &[0; SECTOR_BYTES])
    }

    fn unmake(&self) {
        let Ok(objects) = self.objects() else { return };
        for sector in [0, 1] {
            if let Ok(Some(object)) = self.find(&objects, sector) {
                let _ = objects.destroy(object);
            }
        }
    }
}

impl<O: Objects> Sectors for TokenSectors<O> {
    fn sector_bytes(&self) -> usize {
        SECTOR_BYTES
    }

    fn read(&self, sector: usize) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        let objects = self.objects()?;
        match self.find(&objects, sector)? {
            Some(object) => objects.read(object).map_err(|why| self.failed(why)),
            None => Err(SlotError::Missing(self.at.to_string())),
        }
    }

    fn write(&self, sector: usize, bytes: &[u8]) -> Result<(), SlotError> {
        self.put(sector, bytes)
    }

    /// The token answers when it has written.
    fn sync(&self) -> Result<(), SlotError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
