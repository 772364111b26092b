//! A disk that crashes: a durable image that only a flush advances, and before it a cache that a
//! process crash keeps and a power cut loses. It keeps every byte ever written.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use zeroize::Zeroizing;

use super::super::{Shape, Tree};
use crate::vault::{
    OpenVaultError, SlotError, VaultError,
    pages::{Batch, PageStore},
    root::{KekSecret, SECTOR_BYTES, Sectors, Slot},
};

pub(in crate::vault) type Image = BTreeMap<Vec<u8>, Vec<u8>>;

/// What goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) enum Crash {
    /// The process: all that was written stays readable.
    Process,
    /// The machine: only what was flushed is sure to stay.
    Power,
}

#[derive(Default, Clone)]
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
    /// For each of them the number of ways in which it can fail.
    ways: Vec<u64>,
    /// The step that fails, in which half of it may happen.
    crash_at: Option<u64>,
    crashed: bool,
    /// Whether only that step fails, and what comes after it would go well.
    once: bool,
    /// Chooses among the states that a crash may leave.
    luck: u64,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(in crate::vault) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(in crate::vault) fn create(&self, shape: Shape) -> Result<Tree, VaultError> {
        Tree::create(Box::new(self.clone()), Box::new(self.slot()), shape)
    }

    pub(in crate::vault) fn open(&self, shape: Shape) -> Result<Tree, OpenVaultError> {
        Tree::open(Box::new(self.clone()), Box::new(self.slot()), shape)
    }

    /// The slot in its sectors.
    pub(in crate::vault) fn slot(&self) -> Slot {
        Slot::over(self.clone(), KekSecret::None)
    }

    /// How many writes and flushes there were.
    pub(in crate::vault) fn steps(&self) -> u64 {
        self.0.lock().unwrap().step
    }

    /// Fails at the `steps`th write or flush from now, and at all after it.
    pub(in crate::vault) fn crash_after(&self, steps: u64, luck: u64) {
        let mut state = self.0.lock().unwrap();
        state.crash_at = Some(state.step + steps);
        state.luck = luck;
    }

    /// Fails at the `steps`th write or flush from now, and at no other: a disk that is full, say,
    /// and then is not.
    pub(in crate::vault) fn fail_once_after(&self, steps: u64, luck: u64) {
        self.crash_after(steps, luck);
        self.0.lock().unwrap().once = true;
    }

    /// For each write and flush so far the number of ways in which it can fail: what
    /// [`Disk::crash_after`] takes as its luck.
    pub(in crate::vault) fn ways(&self) -> Vec<u64> {
        self.0.lock().unwrap().ways.clone()
    }

    /// Everything that may be on the disk when it starts again, if it stops now: after a power
    /// cut any number of the batches that nobody flushed, in order, and each sector that was not
    /// flushed up to any of the boundaries of [`torn`].
    pub(in crate::vault) fn after(&self, crash: Crash) -> Vec<Self> {
        let state = self.0.lock().unwrap().clone();
        let mut states = Vec::new();
        if crash == Crash::Process {
            states.push(state);
        } else {
            for kept in 0..=state.unflushed.len() {
                for cuts in 0..(CUTS.len() * CUTS.len()) as u64 {
                    let cuts = [cuts % CUTS.len() as u64, cuts / CUTS.len() as u64];
                    // What is on the disk already is there once.
                    let same = |at: usize| state.sectors[at] == state.durable_sectors[at];
                    if (0..2).any(|at| same(at) && cuts[at] > 0) {
                        continue;
                    }
                    let mut after = state.clone();
                    after.lose_power(kept, cuts);
                    states.push(after);
                }
            }
        }
        for state in &mut states {
            state.start_again();
        }
        states.into_iter().map(|state| Self(Arc::new(Mutex::new(state)))).collect()
    }

    pub(in crate::vault) fn crashed(&self) -> bool {
        self.0.lock().unwrap().crashed
    }

    /// Starts again after a crash, with what it left.
    pub(in crate::vault) fn restart(&self, crash: Crash) {
        let mut state = self.0.lock().unwrap();
        let state = &mut *state;
        if crash == Crash::Power {
            let kept = (state.luck % (state.unflushed.len() as u64 + 1)) as usize;
            state.lose_power(kept, [state.luck / 3; 2]);
        }
        state.start_again();
    }

    /// Every page that was ever written, with its name.
    pub(in crate::vault) fn archive(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.lock().unwrap().archive.clone()
    }

    /// The names and contents that are in the page store.
    pub(in crate::vault) fn image(&self) -> Image {
        self.0.lock().unwrap().pages.clone()
    }

    pub(in crate::vault) fn set_image(&self, image: Image) {
        let mut state = self.0.lock().unwrap();
        state.durable = image.clone();
        state.pages = image;
        state.unflushed.clear();
    }

    /// All that is in the slot, as read and as on the disk.
    pub(in crate::vault) fn slot_bytes(&self) -> Vec<Vec<u8>> {
        let state = self.0.lock().unwrap();
        state.sectors.iter().chain(&state.durable_sectors).cloned().collect()
    }

    pub(in crate::vault) fn set_sectors(&self, sectors: [Vec<u8>; 2]) {
        let mut state = self.0.lock().unwrap();
        state.durable_sectors = sectors.clone();
        state.sectors = sectors;
    }

    pub(in crate::vault) fn sectors(&self) -> [Vec<u8>; 2] {
        self.0.lock().unwrap().sectors.clone()
    }
}

impl State {
    /// Counts a step, which can fail in so many ways; `true`: it is the one that does.
    fn step(&mut self, ways: u64) -> Result<bool, VaultError> {
        if self.crashed && !self.once {
            return Err(failure());
        }
        self.step += 1;
        self.ways.push(ways);
        let fails = self.crash_at == Some(self.step);
        self.crashed |= fails;
        Ok(fails)
    }

    /// Some of the batches that nobody flushed have reached the disk, in order, and of sectors
    /// some part.
    fn lose_power(&mut self, kept: usize, cuts: [u64; 2]) {
        for batch in &self.unflushed[..kept] {
            apply(&mut self.durable, batch);
        }
        self.pages = self.durable.clone();
        for (index, cut) in cuts.into_iter().enumerate() {
            let (new, old) = (&self.sectors[index], &self.durable_sectors[index]);
            if new != old {
                self.durable_sectors[index] = torn(new, old, cut);
            }
        }
        self.sectors = self.durable_sectors.clone();
    }

    /// Sectors in the system's cache stay unflushed: that is what opening has to mend.
    fn start_again(&mut self) {
        self.unflushed.clear();
        self.durable = self.pages.clone();
        self.crash_at = None;
        self.crashed = false;
        self.once = false;
    }
}

fn failure() -> VaultError {
    VaultError::Storage("the disk is gone".into())
}

fn of_the_slot(error: VaultError) -> SlotError {
    SlotError::Storage(Box::new(error))
}

fn apply(image: &mut Image, batch: &Batch) {
    for name in &batch.removals {
        image.remove(name);
    }
    image.extend(batch.puts.iter().cloned());
}

/// Up to where a sector is written when it is torn. 100 is within the root's fields, 4080 within
/// the checksum. (Every other place is tried with the slot alone.)
const CUTS: [usize; 5] = [0, 100, 512, 4080, SECTOR_BYTES];

/// A sector of which a part was written: nothing, all, or up to some boundary.
fn torn(new: &[u8], old: &[u8], luck: u64) -> Vec<u8> {
    let cut = CUTS[(luck % CUTS.len() as u64) as usize];
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
        if state.step(2)? {
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
        if state.step(1)? {
            return Err(failure());
        }
        state.durable = state.pages.clone();
        state.unflushed.clear();
        Ok(())
    }
}

impl Sectors for Disk {
    fn read(&self, index: usize) -> Result<Zeroizing<Vec<u8>>, SlotError> {
        Ok(Zeroizing::new(self.0.lock().unwrap().sectors[index].clone()))
    }

    fn write(&self, index: usize, bytes: &[u8]) -> Result<(), SlotError> {
        let mut state = self.0.lock().unwrap();
        if state.step(CUTS.len() as u64).map_err(of_the_slot)? {
            state.sectors[index] = torn(bytes, &state.sectors[index], state.luck);
            return Err(of_the_slot(failure()));
        }
        state.sectors[index] = bytes.to_vec();
        Ok(())
    }

    fn sync(&self) -> Result<(), SlotError> {
        let mut state = self.0.lock().unwrap();
        if state.step(1).map_err(of_the_slot)? {
            return Err(of_the_slot(failure()));
        }
        state.durable_sectors = state.sectors.clone();
        Ok(())
    }
}
