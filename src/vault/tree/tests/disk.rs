//! A disk that crashes: a durable image that only a flush advances, and before it a cache that a
//! process crash keeps and a power cut loses. It keeps every byte ever written.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use zeroize::Zeroizing;

use super::super::{Shape, Tree};
use crate::vault::{
    VaultError,
    pages::{Batch, PageStore},
    root::{SECTOR_BYTES, SectorSlot, Sectors},
};

pub(super) type Image = BTreeMap<Vec<u8>, Vec<u8>>;

/// What goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// The process: all that was written stays readable.
    Process,
    /// The machine: only what was flushed is sure to stay.
    Power,
}

#[derive(Default)]
struct State {
    pages: Image,
    durable: Image,
    unflushed: Vec<Batch>,
    sectors: [Vec<u8>; 2],
    durable_sectors: [Vec<u8>; 2],
    /// Every page ever written.
    archive: Vec<(Vec<u8>, Vec<u8>)>,
    /// Writes and flushes so far.
    step: u64,
    /// The step that fails, in which half of it may happen.
    crash_at: Option<u64>,
    crashed: bool,
    /// Chooses among the states that a crash may leave.
    luck: u64,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(super) fn create(&self, shape: Shape) -> Result<Tree, VaultError> {
        Tree::create(Box::new(self.clone()), Box::new(SectorSlot(self.clone())), shape)
    }

    pub(super) fn open(&self, shape: Shape) -> Result<Tree, VaultError> {
        Tree::open(Box::new(self.clone()), Box::new(SectorSlot(self.clone())), shape)
    }

    /// How many writes and flushes there were.
    pub(super) fn steps(&self) -> u64 {
        self.0.lock().unwrap().step
    }

    /// Fails at the `steps`th write or flush from now, and at all after it.
    pub(super) fn crash_after(&self, steps: u64, luck: u64) {
        let mut state = self.0.lock().unwrap();
        state.crash_at = Some(state.step + steps);
        state.luck = luck;
    }

    pub(super) fn crashed(&self) -> bool {
        self.0.lock().unwrap().crashed
    }

    /// Starts again after a crash, with what it left.
    pub(super) fn restart(&self, crash: Crash) {
        let mut state = self.0.lock().unwrap();
        let state = &mut *state;
        if crash == Crash::Power {
            // Some of the batches that nobody flushed may have reached the disk, in order.
            let kept = (state.luck % (state.unflushed.len() as u64 + 1)) as usize;
            for batch in &state.unflushed[..kept] {
                apply(&mut state.durable, batch);
            }
            state.pages = state.durable.clone();
            for index in 0..2 {
                let (new, old) = (&state.sectors[index], &state.durable_sectors[index]);
                if new != old {
                    state.durable_sectors[index] = torn(new, old, state.luck / 3);
                }
            }
            state.sectors = state.durable_sectors.clone();
        }
        state.unflushed.clear();
        state.durable = state.pages.clone();
        // Sectors in the system's cache stay unflushed: that is what opening has to mend.
        state.crash_at = None;
        state.crashed = false;
    }

    /// Every page that was ever written, with its name.
    pub(super) fn archive(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.lock().unwrap().archive.clone()
    }

    /// The names and contents that are in the page store.
    pub(super) fn image(&self) -> Image {
        self.0.lock().unwrap().pages.clone()
    }

    pub(super) fn set_image(&self, image: Image) {
        let mut state = self.0.lock().unwrap();
        state.durable = image.clone();
        state.pages = image;
        state.unflushed.clear();
    }

    /// All that is in the slot, as read and as on the disk.
    pub(super) fn slot_bytes(&self) -> Vec<Vec<u8>> {
        let state = self.0.lock().unwrap();
        state.sectors.iter().chain(&state.durable_sectors).cloned().collect()
    }

    pub(super) fn set_sectors(&self, sectors: [Vec<u8>; 2]) {
        let mut state = self.0.lock().unwrap();
        state.durable_sectors = sectors.clone();
        state.sectors = sectors;
    }

    pub(super) fn sectors(&self) -> [Vec<u8>; 2] {
        self.0.lock().unwrap().sectors.clone()
    }
}

impl State {
    /// Counts a step; `true`: it is the one in which the crash comes.
    fn step(&mut self) -> Result<bool, VaultError> {
        if self.crashed {
            return Err(failure());
        }
        self.step += 1;
        self.crashed = self.crash_at == Some(self.step);
        Ok(self.crashed)
    }
}

fn failure() -> VaultError {
    VaultError::Storage("the disk is gone".into())
}

fn apply(image: &mut Image, batch: &Batch) {
    for name in &batch.removals {
        image.remove(name);
    }
    image.extend(batch.puts.iter().cloned());
}

/// A sector of which a part was written: nothing, all, or up to some boundary.
fn torn(new: &[u8], old: &[u8], luck: u64) -> Vec<u8> {
    // 100 lies within the root's fields, 4080 within the checksum.
    let cut = [0, 100, 512, 4080, SECTOR_BYTES][(luck % 5) as usize];
    let mut bytes = new[..cut].to_vec();
    bytes.extend_from_slice(old.get(cut..).unwrap_or(&new[cut..]));
    bytes
}

impl PageStore for Disk {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        Ok(self.0.lock().unwrap().pages.get(name).cloned())
    }

    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError> {
        self.0.lock().unwrap().pages.keys().for_each(|name| see(name));
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), VaultError> {
        let mut state = self.0.lock().unwrap();
        state.archive.extend(batch.puts.iter().cloned());
        if state.step()? {
            // The process died before or after it was taken.
            if state.luck % 2 == 1 {
                apply(&mut state.pages, &batch);
                state.unflushed.push(batch);
            }
            return Err(failure());
        }
        apply(&mut state.pages, &batch);
        state.unflushed.push(batch);
        Ok(())
    }

    fn flush(&self) -> Result<(), VaultError> {
        let mut state = self.0.lock().unwrap();
        if state.step()? {
            return Err(failure());
        }
        state.durable = state.pages.clone();
        state.unflushed.clear();
        Ok(())
    }
}

impl Sectors for Disk {
    fn read(&self, index: usize) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        Ok(Zeroizing::new(self.0.lock().unwrap().sectors[index].clone()))
    }

    fn write(&self, index: usize, bytes: &[u8]) -> Result<(), VaultError> {
        let mut state = self.0.lock().unwrap();
        if state.step()? {
            state.sectors[index] = torn(bytes, &state.sectors[index], state.luck);
            return Err(failure());
        }
        state.sectors[index] = bytes.to_vec();
        Ok(())
    }

    fn sync(&self) -> Result<(), VaultError> {
        let mut state = self.0.lock().unwrap();
        if state.step()? {
            return Err(failure());
        }
        state.durable_sectors = state.sectors.clone();
        Ok(())
    }
}
