//! All bytes that a vault's store ever wrote: every version of every file, and, where the vault
//! stands over [`Recording`] parts, every page handed to the page store.

use std::{
    collections::{HashMap, HashSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use super::adversary::Window;
use crate::vault::{
    SlotError, VaultError,
    pages::{Batch, PageStore},
    root::{Root, RootSlot, SlotChange, SlotState},
};

const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The archive; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Archive(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The newest version of each file.
    files: HashMap<PathBuf, Vec<u8>>,
    /// What each version had that the one before had not, and 32 bytes more on both sides: so
    /// every 32 bytes that ever stood somewhere stand in one of these.
    pieces: HashSet<Vec<u8>>,
    /// Names and contents of pages.
    pages: HashSet<(Vec<u8>, Vec<u8>)>,
    /// Those that may never have come to belong to the tree, because a fault cut them off.
    loose: HashSet<(Vec<u8>, Vec<u8>)>,
    /// Since the operation began.
    recent: Vec<(Vec<u8>, Vec<u8>)>,
    /// Every root key that was handed to the slot; the last is today's.
    roots: Vec<Window>,
    fault: Option<Fault>,
}

/// What happens at some write.
struct Fault {
    /// After so many writes.
    after: u64,
    /// Is done once, before everything fails.
    then: Option<Box<dyn FnOnce() + Send>>,
}

impl Archive {
    /// Takes all files of a folder, and of those below it.
    pub(super) fn take_files(&self, folder: &Path) {
        let mut state = self.0.lock().unwrap();
        for path in files_of(folder) {
            let Ok(bytes) = fs::read(&path) else { continue };
            let before = state.files.insert(path, bytes.clone()).unwrap_or_default();
            let news = runs(&before, &bytes).into_iter().map(|run| bytes[run].to_vec());
            state.pieces.extend(news);
        }
    }

    /// Takes a page that was found.
    pub(super) fn take_page(&self, name: Vec<u8>, content: Vec<u8>) {
        self.0.lock().unwrap().pages.insert((name, content));
    }

    /// An operation begins.
    pub(super) fn begin(&self) {
        self.0.lock().unwrap().recent.clear();
    }

    /// Lets a write fail, and all that follow it, as if the process had ended there.
    pub(super) fn fail_after(&self, after: u64, then: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().fault = Some(Fault { after, then: Some(Box::new(then)) });
    }

    /// Ends the fault. Whether it had come.
    pub(super) fn mend(&self) -> bool {
        self.0.lock().unwrap().fault.take().is_some_and(|fault| fault.then.is_none())
    }

    pub(super) fn pages(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.lock().unwrap().pages.iter().cloned().collect()
    }

    pub(super) fn is_loose(&self, page: &(Vec<u8>, Vec<u8>)) -> bool {
        self.0.lock().unwrap().loose.contains(page)
    }

    pub(super) fn roots(&self) -> Vec<Window> {
        self.0.lock().unwrap().roots.clone()
    }

    /// How many bytes the raw archive has.
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().unwrap().pieces.iter().map(Vec::len).sum()
    }

    /// Which of these stand anywhere in the files, in any version, at any offset.
    pub(super) fn raw(&self, wanted: &HashMap<Window, usize>) -> HashSet<usize> {
        let state = self.0.lock().unwrap();
        state.pieces.iter().flat_map(|piece| search(piece, wanted)).collect()
    }

    fn step(&self) -> Result<(), VaultError> {
        let mut state = self.0.lock().unwrap();
        let state = &mut *state;
        let Some(fault) = &mut state.fault else { return Ok(()) };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        if let Some(then) = fault.then.take() {
            then();
        }
        state.loose.extend(state.recent.drain(..));
        Err(VaultError::Storage("the process ended here".into()))
    }
}

/// Which of the wanted keys are in these bytes, at any offset.
pub(super) fn search(bytes: &[u8], wanted: &HashMap<Window, usize>) -> Vec<usize> {
    // Most windows begin with two bytes with which no key begins.
    let mut begins = vec![false; 1 << 16];
    for key in wanted.keys() {
        begins[usize::from(key[0]) << 8 | usize::from(key[1])] = true;
    }
    let mut found = Vec::new();
    for run in runs(&[], bytes) {
        let run = &bytes[run];
        for (at, pair) in run.windows(2).enumerate() {
            if begins[usize::from(pair[0]) << 8 | usize::from(pair[1])]
                && let Some(window) = run.get(at..at + 32)
            {
                found.extend(wanted.get(window));
            }
        }
    }
    found
}

/// All files below a folder.
pub(in crate::vault) fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_of(&path)) } else { found.push(path) }
    }
    found
}

/// The blocks that are neither as they were nor empty, in runs, with what touches them.
fn runs(before: &[u8], after: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for from in (0..after.len()).step_by(BLOCK) {
        let to = (from + BLOCK).min(after.len());
        let block = &after[from..to];
        if before.get(from..to) == Some(block) || *block == ZEROS[..block.len()] {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == from => run.end = to,
            _ => runs.push(from..to),
        }
    }
    let wide = |run: Range<usize>| run.start.saturating_sub(32)..(run.end + 32).min(after.len());
    runs.into_iter().map(wide).collect()
}

/// A part of a vault's store that hands everything on, and keeps it.
pub(super) struct Recording<T> {
    pub(super) inner: T,
    pub(super) archive: Archive,
}

impl<P: PageStore> PageStore for Recording<P> {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        self.inner.get(name)
    }

    fn apply(&self, batch: Batch) -> Result<(), VaultError> {
        {
            let mut state = self.archive.0.lock().unwrap();
            state.recent.extend(batch.puts.iter().cloned());
            state.pages.extend(batch.puts.iter().cloned());
        }
        self.archive.step()?;
        self.inner.apply(batch)
    }

    fn names(&self, see: &mut dyn FnMut(&[u8])) -> Result<(), VaultError> {
        self.inner.names(see)
    }

    fn flush(&self) -> Result<(), VaultError> {
        self.archive.step()?;
        self.inner.flush()
    }
}

impl RootSlot for Recording<Box<dyn RootSlot>> {
    fn read(&self) -> Result<Root, SlotError> {
        self.inner.read()
    }

    fn settle(&self) -> Result<(), SlotError> {
        self.archive.step().map_err(failed)?;
        self.inner.settle()
    }

    fn write(&self, root: &Root) -> Result<(), SlotError> {
        self.archive.step().map_err(failed)?;
        self.inner.write(root)?;
        self.archive.0.lock().unwrap().roots.push(*root.key);
        self.archive.step().map_err(failed)
    }

    fn change(&self, root: &Root, change: SlotChange) -> Result<(), SlotError> {
        self.inner.change(root, change)
    }

    fn state(&self) -> Result<SlotState, SlotError> {
        self.inner.state()
    }
}

fn failed(error: VaultError) -> SlotError {
    SlotError::Storage(Box::new(error))
}
