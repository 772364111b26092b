//! What must be on a disk by when, asked of a trace.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::trace::{Call, What};

/// A disk that keeps what it was told to keep: the content of a file at its last fsync, and a name
/// at the last fsync of its folder.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Files with something that no fsync reached yet, and the line at which that was written.
    dirty: BTreeMap<PathBuf, usize>,
    /// Names that no fsync of their folder reached yet.
    nameless: BTreeMap<PathBuf, usize>,
    /// What was there, or was made since.
    known: BTreeMap<PathBuf, usize>,
    /// Files that hold something.
    filled: BTreeMap<PathBuf, usize>,
}

impl Disk {
    /// With these files, which are durable.
    pub(crate) fn with(known: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { known: known.into_iter().map(|path| (path, 0)).collect(), ..Self::default() }
    }

    /// Follows a call.
    pub(crate) fn see(&mut self, call: &Call) {
        match &call.what {
            What::Wrote(path) => {
                self.dirty.insert(path.clone(), call.ended);
                self.filled.insert(path.clone(), call.ended);
            }
            What::Synced(path) => {
                let reached = |at: &mut usize| *at < call.begun;
                if self.dirty.get_mut(path).is_some_and(reached) {
                    self.dirty.remove(path);
                }
                self.nameless.retain(|name, at| name.parent() != Some(path) || *at >= call.begun);
            }
            What::Named(path) => {
                if self.known.insert(path.clone(), call.ended).is_none() {
                    self.nameless.insert(path.clone(), call.ended);
                }
            }
            What::Moved { from, to } => {
                self.moved(from, to);
                self.known.insert(to.clone(), call.ended);
                self.nameless.insert(to.clone(), call.ended);
            }
            What::Removed(path) => self.forget(path),
            What::Said(_) => {}
        }
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        self.forget(to);
        let rename = |paths: &mut BTreeMap<PathBuf, usize>| {
            *paths = std::mem::take(paths)
                .into_iter()
                .map(|(path, at)| match path.strip_prefix(from) {
                    Ok(rest) if rest == Path::new("") => (to.to_owned(), at),
                    Ok(rest) => (to.join(rest), at),
                    Err(_) => (path, at),
                })
                .collect();
        };
        rename(&mut self.dirty);
        rename(&mut self.nameless);
        rename(&mut self.known);
        rename(&mut self.filled);
    }

    fn forget(&mut self, path: &Path) {
        for paths in [&mut self.dirty, &mut self.nameless, &mut self.known, &mut self.filled] {
            paths.retain(|known, _| !known.starts_with(path));
        }
    }

    /// What of this folder a power cut would take now.
    pub(crate) fn at_risk(&self, folder: &Path) -> Vec<String> {
        let within = |path: &&PathBuf| path.starts_with(folder) && matters(path);
        let dirty = self.dirty.keys().filter(within);
        let dirty = dirty.map(|path| format!("what was written to {}", path.display()));
        // The name of a folder is that of all that is in it. What is empty is no loss.
        let held = |name: &&PathBuf| self.filled.keys().any(|path| path.starts_with(name));
        let nameless = self.nameless.keys().filter(within).filter(held);
        let nameless = nameless.map(|path| format!("the name of {}", path.display()));
        dirty.chain(nameless).collect()
    }
}

/// Whether it would be missed: locks and drafts would not, nor what SQLite makes anew.
fn matters(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name != "lock" && !name.ends_with("-shm") && !name.starts_with(".making")
}
