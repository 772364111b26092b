//! A mirror: a further slot file, on another device as a rule, which need not be there always.

use std::path::{Path, PathBuf};

use super::{
    Root, SlotLocation,
    file::{self, SectorFile},
    file_system::share_device,
    pair::{Pair, Records},
    sector::Noted,
};
use crate::{
    event::VaultId,
    own::{is_same, settled},
    vault::root::SlotError,
};

/// The mirror. Its file is opened for each use: a device may have gone, and come back, since.
pub(super) struct Mirror {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// The epoch of the one root that it is known to hold.
    pub(super) confirmed: Option<u64>,
    /// Whether the slot notes it already. One that it notes and that is not there is never made
    /// again: where the device is not mounted, that would take the place of the copy that matters.
    known: bool,
    /// Whether its file was made just now.
    made: bool,
    /// Why it could not be reached, or written, the last time.
    pub(super) trouble: Option<String>,
    /// What was logged of that: the root changes several times in one command, and each time the same device is
    /// away.
    logged: Option<String>,
    /// The file of the slot itself. A mirror that leads there now is none: it is neither opened nor written.
    slot: Option<PathBuf>,
}

/// A mirror that is open.
struct Open {
    pair: Pair,
    newest: Records,
}

impl Mirror {
    /// One that the caller names.
    pub(super) fn given(path: &Path, slot: &SlotLocation) -> Result<Self, SlotError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = match path.to_str() {
            Some(name) => name.to_owned(),
            None => return Err(refused(&path, "its path is not UTF-8")),
        };
        let noted = Noted { name, confirmed: None };
        Ok(Self { path, known: false, ..Self::noted(&noted, slot) })
    }

    /// One that the slot notes.
    pub(super) fn noted(noted: &Noted, slot: &SlotLocation) -> Self {
        Self {
            path: PathBuf::from(&noted.name),
            name: noted.name.clone(),
            confirmed: noted.confirmed,
            known: true,
            made: false,
            trouble: None,
            logged: None,
            slot: slot.file().cloned(),
        }
    }

    /// Whether it is the file that a path leads to.
    pub(super) fn is_file(&self, path: &Path) -> bool {
        is_same(&self.path, path)
    }

    /// Whether it is this one that the slot notes: by its name, or, where the caller gave it, by its file. Two names
    /// that the slot notes stay two, wherever they lead now: the medium that one of them is for may be away.
    pub(super) fn is_noted_as(&self, noted: &Self) -> bool {
        self.name == noted.name || !self.known && self.is_file(&noted.path)
    }

    pub(super) fn note(&self) -> Noted {
        Noted { name: self.name.clone(), confirmed: self.confirmed }
    }

    /// Its newest records, if it is there; if not, it remembers why.
    ///
    /// # Errors
    /// [`SlotError::NewerMirror`]: it is there, and may well be newer than the slot.
    pub(super) fn look(&mut self, vault: Option<VaultId>) -> Result<Records, SlotError> {
        match self.open(vault) {
            Ok(open) => Ok(open.newest),
            Err(SlotError::NewerFormat { found, known, .. }) => {
                Err(SlotError::NewerMirror { mirror: self.name.clone(), found, known })
            }
            Err(error) => {
                self.trouble = Some(trouble(&error));
                Ok(Vec::new())
            }
        }
    }

    /// Opens it, where it is a slot of this vault, or one to be.
    fn open(&self, vault: Option<VaultId>) -> Result<Open, SlotError> {
        // By a link or a mount that came since. Its own file is elsewhere, and may hold a root that must go.
        if self.slot.as_ref().is_some_and(|slot| self.is_file(slot)) {
            return Err(SlotError::Damaged("it leads to the root slot itself".to_owned()));
        }
        let pair = Pair(Box::new(SectorFile::open(&self.path)?));
        let found = pair.look()?;
        found.refuse_other(vault)?;
        // Neither sector is whole: only what the slot itself notes is known to be ours.
        if found.newest.is_empty() && !(found.blank || self.known && found.ours) {
            return Err(found.trouble(&self.path.display()));
        }
        Ok(Open { pair, newest: found.newest })
    }

    /// Makes the file, unless the slot notes it or it is there.
    ///
    /// # Errors
    /// [`SlotError::Mirror`], [`SlotError::NoFolder`].
    pub(super) fn make(&mut self, vault: Option<VaultId>) -> Result<(), SlotError> {
        if self.known {
            return Ok(());
        }
        let made = match self.open(vault) {
            Err(SlotError::Missing(_)) => SectorFile::create(&self.path).map(|_| self.made = true),
            opened => opened.map(drop),
        };
        made.map_err(|error| match error {
            error @ SlotError::NoFolder { .. } => error,
            error => self.refused(&trouble(&error)),
        })
    }

    /// An error where it cannot be a mirror of a slot that is still to be made: there is something in its place, and a
    /// root in it may be the only one of its vault.
    ///
    /// # Errors
    /// [`SlotError::Mirror`].
    pub(super) fn refuse_used(&self) -> Result<(), SlotError> {
        match self.open(None) {
            Err(SlotError::Missing(_)) => Ok(()),
            Err(error) => Err(self.refused(&trouble(&error))),
            Ok(open) if open.newest.is_empty() => Ok(()),
            Ok(_) => Err(self.refused(
                "it holds a root, of another vault or of an attempt that was cut off; name another file, or, if no \
                 vault needs it, remove this one",
            )),
        }
    }

    /// An error where it may not become a mirror. In the vault's own folder whoever copies the folder would have both. And a
    /// file that holds another root may be the slot of another folder, of which this one is a copy: overwritten, that
    /// folder would lose every key; taken on while it is newer, it would stand in for this one's slot.
    ///
    /// # Errors
    /// [`SlotError::Within`], [`SlotError::Mirror`].
    pub(super) fn refuse_unfit(&self, root: &Root, others: &[PathBuf]) -> Result<(), SlotError> {
        let file = settled(&self.path);
        let within = |folder: &&PathBuf| folder.is_dir() && file.starts_with(settled(folder));
        if let Some(folder) = others.iter().find(within) {
            return Err(SlotError::Within { slot: self.path.clone(), folder: folder.clone() });
        }
        match self.open(Some(root.vault)) {
            Ok(open) if open.newest.iter().any(|(_, record)| record.page() != root.page) => {
                Err(self.refused(
                    "it holds a root that is not the present one of this slot: another folder may be in use over it; if \
                     none is, it is an old copy, which is to be overwritten and removed first",
                ))
            }
            // What is wrong with it otherwise is told where it is made.
            _ => Ok(()),
        }
    }

    /// The first of these that is on the same device.
    pub(super) fn beside<'o>(&self, others: &'o [PathBuf]) -> Option<&'o Path> {
        others.iter().find(|other| share_device(&self.path, other)).map(PathBuf::as_path)
    }

    /// Overwrites it with this sector. Whether it holds that root alone now, it remembers.
    pub(super) fn write(&mut self, bytes: &[u8], root: &Root) {
        self.known = true;
        match self.try_write(bytes, root) {
            Ok(()) => {
                self.confirmed = Some(root.epoch);
                (self.trouble, self.logged) = (None, None);
            }
            Err(error) => {
                let why = trouble(&error);
                if self.logged.as_ref() != Some(&why) {
                    tracing::warn!(mirror = %self.name, %why, "a mirror of the root slot cannot be written");
                    self.logged = Some(why.clone());
                }
                self.trouble = Some(why);
            }
        }
    }

    fn try_write(&self, bytes: &[u8], root: &Root) -> Result<(), SlotError> {
        let Open { pair, newest } = self.open(Some(root.vault))?;
        if newest.first().is_some_and(|(_, record)| record.age() > (root.epoch, root.opening)) {
            return Err(SlotError::Damaged("it holds a newer root than the slot".into()));
        }
        pair.settle()?;
        pair.overwrite(bytes, newest.first().map_or(0, |(index, _)| *index))
    }

    /// Overwrites it with zeros.
    ///
    /// # Errors
    /// [`SlotError::Mirror`].
    pub(super) fn wipe(&self, vault: VaultId) -> Result<(), SlotError> {
        let wipe = || {
            let Open { pair, .. } = self.open(Some(vault))?;
            pair.overwrite(&vec![0; pair.length()], 0)
        };
        wipe().map_err(|error| self.refused(&trouble(&error)))
    }

    /// Removes its file, which was overwritten, and which the slot no longer notes.
    ///
    /// # Errors
    /// [`SlotError::Mirror`].
    pub(super) fn remove(&self) -> Result<(), SlotError> {
        file::remove(&self.path).map_err(|error| {
            let why = trouble(&error);
            self.refused(&format!(
                "it is overwritten, and no mirror any more, but its file stays, remove it: {why}"
            ))
        })
    }

    /// Takes back what [`Mirror::make`] made.
    pub(super) fn unmake(&self) {
        if self.made && !self.known {
            let _ = file::remove(&self.path);
        }
    }

    /// The error that it cannot be used.
    pub(super) fn refused(&self, why: &str) -> SlotError {
        refused(&self.path, why)
    }
}

/// What is wrong with a mirror. That it is missing or damaged is no loss of keys, as it is with the slot itself.
fn trouble(error: &SlotError) -> String {
    match error {
        SlotError::Missing(_) => "it is not there: is its device attached?".to_owned(),
        SlotError::NotASlot(_) => "it is another file, or was overwritten as a whole".to_owned(),
        SlotError::Damaged(why) => why.clone(),
        error => crate::words::chain(error),
    }
}

fn refused(path: &Path, why: &str) -> SlotError {
    SlotError::Mirror { mirror: path.display().to_string(), why: why.to_owned() }
}
