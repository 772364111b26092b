//! The file of a backup: written as a draft beside its place, and put there when it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use age::{Encryptor, stream::StreamWriter};

use super::{BackupError, Recipients, format::WASH_BYTES};
use crate::{
    durable::{self, parent, sync_folder},
    vault::{BackupId, tree::read_header},
};

/// A file that is being written. It is removed unless it was put in its place.
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// Makes it, readable and writable by its owner alone.
    pub(super) fn create(place: &Path, backup: BackupId) -> Result<Self, BackupError> {
        refuse_existing(place)?;
        let path = draft_path(place, backup);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(BackupError::io(place))?;
        Ok(Self { file, path, place: place.to_owned() })
    }

    /// Where ciphertext is to go, and how that went.
    pub(super) fn sink(&self) -> Result<(Sink, Failure), BackupError> {
        let file = self.file.try_clone().map_err(BackupError::io(&self.place))?;
        let failure = Failure::default();
        Ok((Sink { file, failure: failure.clone() }, failure))
    }

    /// Where it is to be: what errors name, because nobody asked for a draft.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Makes it durable, and gives it its name, unless something has that by now.
    pub(super) fn put_in_place(self) -> Result<(), BackupError> {
        self.file.sync_all().map_err(BackupError::io(&self.place))?;
        match fs::hard_link(&self.path, &self.place) {
            // A crash just here leaves both names; the catalogue says that it is incomplete.
            Ok(()) => fs::remove_file(&self.path).map_err(BackupError::io(&self.path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(self.place.clone()));
            }
            // A file system without links: there only a look, an instant before, prevents that
            // something is replaced.
            Err(_) => {
                refuse_existing(&self.place)?;
                fs::rename(&self.path, &self.place).map_err(BackupError::io(&self.place))?;
            }
        }
        sync_folder(parent(&self.place)).map_err(BackupError::io(&self.place))
    }

    /// Removes it, and tells whether it is certainly gone.
    pub(super) fn remove(path: &Path) -> bool {
        match durable::remove(path) {
            Ok(()) => true,
            // Its removal may not be durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                sync_folder(parent(path)).is_ok()
            }
            Err(_) => false,
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        Self::remove(&self.path);
    }
}

/// Where the draft of a backup is: beside its place, so that it can be renamed.
pub(super) fn draft_path(place: &Path, backup: BackupId) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{backup}.part"));
    place.with_file_name(name)
}

/// An error where there is something of this name, a broken link included.
pub(super) fn refuse_existing(place: &Path) -> Result<(), BackupError> {
    match fs::symlink_metadata(place) {
        Ok(_) => Err(BackupError::Exists(place.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::io(place)(error)),
    }
}

/// An error where the file would be in a vault's folder: removing that would remove its backup as well,
/// and a restoration refuses a folder that holds anything else.
pub(super) fn refuse_within_a_vault(place: &Path) -> Result<(), BackupError> {
    let Ok(folder) = fs::canonicalize(parent(place)) else { return Ok(()) };
    match folder.ancestors().find(|folder| read_header(folder).is_ok()) {
        Some(vault) => Err(BackupError::WithinVault(vault.to_owned())),
        None => Ok(()),
    }
}

/// Takes ciphertext. After a failure it takes everything and keeps nothing, so that the buffers
/// in front of it can still be washed.
pub(super) struct Sink {
    file: File,
    failure: Failure,
}

/// How a [`Sink`] fares: what failed, if something did.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// The first failure. Who asks again is told only that there was one.
    pub(super) fn check(&self, path: &Path) -> Result<(), BackupError> {
        match &mut *self.lock() {
            None => Ok(()),
            Some(failed) => {
                // Not taken out: the sink keeps nothing from then on.
                let told = io::Error::other("an earlier write failed");
                Err(BackupError::io(path)(std::mem::replace(failed, told)))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<io::Error>> {
        // No code panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            *failure = self.file.write_all(bytes).err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seals what is written to it, in age's format.
pub(super) struct Sealer(Option<StreamWriter<Sink>>);

impl Sealer {
    pub(super) fn new(recipients: &Recipients, sink: Sink) -> Result<Self, BackupError> {
        let all = recipients.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let seal = |error: age::EncryptError| BackupError::Seal(error.to_string());
        let encryptor = Encryptor::with_recipients(all).map_err(seal)?;
        let stream = encryptor.wrap_output(sink).map_err(|error| seal(error.into()))?;
        Ok(Self(Some(stream)))
    }

    /// Says that this is the end: without it the file does not open.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.0.take() {
            Some(stream) => stream.finish().map(drop),
            None => Ok(()),
        }
    }
}

impl Write for Sealer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Some(stream) => stream.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Sealer {
    /// Where a backup is broken off, its last secrets are still in age's buffer, which is not
    /// wiped when it is dropped.
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            let _ = stream.write_all(&[0; WASH_BYTES]);
        }
    }
}
