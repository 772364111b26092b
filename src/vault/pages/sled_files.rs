//! The files of a sled database, made durable.
//!
//! sled 0.34.7 believes that what it has written is durable: it tells its log so, and reuses the
//! space of what was rewritten. On Linux that is not so. It calls `sync_file_range`, which
//! writes neither the file's metadata nor the drive's cache, where on other systems it calls
//! `fsync`. And it never syncs the folders that it makes files in. So:
//!
//! - Its log, `db`, gets the file attribute `S`: the system then returns from a write only when it
//!   is durable, which is what sled takes for granted.
//! - Every flush ends with an `fdatasync` of the log. Where the file system knows no such attribute
//!   this is all: a power cut within a batch larger than a segment may then damage what was
//!   there before it, and a warning says so.
//! - Opening syncs all files and folders, because it writes `conf` and `snap.*`, and because a
//!   process that was killed may have left its writes in the system's memory.
//! - A message larger than a quarter of a segment is in a file of its own, in `blobs`. With
//!   [`SEGMENT_BYTES`] only a list of more than 30,000 pages to retire is.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    durable::{self, sync_folder},
    own,
    vault::{OpenVaultError, VaultError},
};

/// The size of the log's segments. With sled's own 512 KiB, a node of sixteen large pages is more
/// than a quarter of one, and would be in `blobs`.
pub(super) const SEGMENT_BYTES: usize = 2 << 20;

const LOG: &str = "db";
const BLOBS: &str = "blobs";

/// Readies the folder for sled. The caller holds the lock of the vault.
pub(super) fn prepare(folder: &Path) -> Result<(), OpenVaultError> {
    durable::make_folder(folder).map_err(VaultError::from_io)?;
    heal(folder)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let log = own::open(&folder.join(LOG), &mut options)?;
    // A process that was killed may have left its last writes in the system's memory, and what sled finds there it notes, on
    // the disk, as having been written.
    log.sync_all().map_err(VaultError::from_io)?;
    read_through(&log)?;
    read_blobs_through(&folder.join(BLOBS))?;
    if let Err(error) = write_through(&log) {
        tracing::warn!(
            %error, folder = %folder.display(),
            "this file system cannot write the vault's pages through: a power cut during a large \
             change may damage them; keep the vault on ext4, XFS or Btrfs, or its pages in SQLite"
        );
    }
    Ok(())
}

/// Has the system return from every write of this file only when it is durable.
#[cfg(target_os = "linux")]
fn write_through(file: &File) -> io::Result<()> {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let flags = ioctl_getflags(file)?;
    if !flags.contains(IFlags::SYNC) {
        ioctl_setflags(file, flags | IFlags::SYNC)?;
    }
    Ok(())
}

/// Elsewhere sled syncs its file after every write.
#[cfg(not(target_os = "linux"))]
fn write_through(_: &File) -> io::Result<()> {
    Ok(())
}

/// Removes what sled leaves when it is cut off while it opens, by a kill or a full disk: a snapshot
/// that it was still writing. It would take it for its newest, find it cut off, and call the
/// database corrupt for ever (its issues 1527 and 1533). A snapshot only spares it reading the
/// log again, and before it is renamed nothing relies on it.
pub(super) fn heal(folder: &Path) -> Result<(), VaultError> {
    for entry in fs::read_dir(folder).map_err(VaultError::from_io)? {
        let entry = entry.map_err(VaultError::from_io)?;
        // Not of a link: it says what it is itself.
        let file = entry.file_type().map_err(VaultError::from_io)?.is_file();
        if file && entry.file_name().to_str().is_some_and(is_unfinished_snapshot) {
            durable::remove(&entry.path()).map_err(VaultError::from_io)?;
            tracing::warn!(
                file = %entry.path().display(),
                "removed an unfinished snapshot: the vault was cut off while it was being opened"
            );
        }
    }
    Ok(())
}

/// `snap.`, sixteen capital hexadecimal digits, `.generating`.
fn is_unfinished_snapshot(name: &str) -> bool {
    name.strip_prefix("snap.").and_then(|name| name.strip_suffix(".generating")).is_some_and(|at| {
        at.len() == 16 && at.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
    })
}

/// Reads the log from its beginning to its end, for the error that doing so may meet. Sled takes
/// what the drive fails to read for the end of its log, and writes over what comes after: one bad
/// read while it opens would cost every key. What was read here it finds in the system's memory.
///
/// Of segments that are older than its last snapshot sled reads no more than headers then. They are read here all the same:
/// it reads them while it writes, and where that fails it keeps the half of a batch that it had applied.
fn read_through(file: &File) -> Result<(), VaultError> {
    let mut part = vec![0; 1 << 16];
    let mut file = file;
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(VaultError::from_io(error)),
        }
    }
}

/// The same of what its log points to: of that, too, sled takes a failed read for the end of the log. Whether it is whole is
/// for sled to say: of a change that was cut off it need not be.
fn read_blobs_through(blobs: &Path) -> Result<(), VaultError> {
    let entries = match fs::read_dir(blobs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(VaultError::from_io)?,
    };
    for entry in entries {
        let path = entry.map_err(VaultError::from_io)?.path();
        read_through(&File::open(path).map_err(VaultError::from_io)?)?;
    }
    Ok(())
}

/// The files of one open database.
pub(super) struct SledFiles {
    /// A handle of our own: the system reports a failed write once to each.
    log: File,
    blobs: PathBuf,
    /// The blobs that are durable. Sled never writes to one again.
    synced: Mutex<HashSet<OsString>>,
}

impl SledFiles {
    /// Makes durable what sled wrote while it opened, and what a process that was killed left
    /// unsynced: all of it is visible now, and relied upon from now on.
    pub(super) fn open(folder: &Path) -> Result<Self, VaultError> {
        for entry in fs::read_dir(folder).map_err(VaultError::from_io)? {
            let entry = entry.map_err(VaultError::from_io)?;
            if entry.file_type().map_err(VaultError::from_io)?.is_file() {
                File::open(entry.path())
                    .and_then(|file| file.sync_all())
                    .map_err(VaultError::from_io)?;
            }
        }
        let files = Self {
            log: File::open(folder.join(LOG)).map_err(VaultError::from_io)?,
            blobs: folder.join(BLOBS),
            synced: Mutex::default(),
        };
        files.sync_blobs()?;
        // The folder itself, which may be new, `prepare` made durable.
        for folder in [&files.blobs, folder] {
            sync_folder(folder).map_err(VaultError::from_io)?;
        }
        Ok(files)
    }

    /// Makes durable all that sled has written. Call it after sled's own flush: until that returns,
    /// what was applied may be in buffers of sled's.
    pub(super) fn sync(&self) -> Result<(), VaultError> {
        // First the blobs, to which the log points.
        self.sync_blobs()?;
        self.log.sync_data().map_err(VaultError::from_io)
    }

    /// Syncs the blobs that were made since. There is seldom one.
    fn sync_blobs(&self) -> Result<(), VaultError> {
        let mut synced = self.synced.lock().map_err(|_| VaultError::Poisoned)?;
        let mut present = HashSet::new();
        let mut made = false;
        for entry in fs::read_dir(&self.blobs).map_err(VaultError::from_io)? {
            let name = entry.map_err(VaultError::from_io)?.file_name();
            if !synced.contains(&name) {
                match File::open(self.blobs.join(&name)).and_then(|blob| blob.sync_all()) {
                    Ok(()) => {}
                    // Sled has replaced it already.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(VaultError::from_io(error)),
                }
                made = true;
            }
            present.insert(name);
        }
        if made {
            sync_folder(&self.blobs).map_err(VaultError::from_io)?;
        }
        *synced = present;
        Ok(())
    }
}

#[cfg(test)]
impl SledFiles {
    /// From now on the system refuses to sync the log, as it does on a device that cannot.
    pub(super) fn fail(&mut self) {
        self.log = File::open("/dev/null").unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{
        Vault,
        pages::{Batch, PageStore, SledPages},
    };

    /// What sled leaves when it is killed while it opens: a whole snapshot, or some of one.
    #[test]
    fn a_snapshot_that_a_full_disk_cut_off_does_not_make_the_vault_damaged() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, root) = (temp.path().join("vault"), temp.path().join("root"));
        drop(Vault::create(&folder, &root).unwrap());
        drop(Vault::open(&folder, &root).unwrap());
        let pages = folder.join("pages");
        let left = pages.join("snap.0FFFFFFFFFFFFFFF.generating");
        for bytes in [&b""[..], b"half of a snapshot, and no checksum"] {
            fs::write(&left, bytes).unwrap();
            drop(Vault::open(&folder, &root).unwrap());
            assert!(!left.exists());
        }
    }

    #[test]
    #[cfg(unix)]
    fn nothing_but_a_file_of_exactly_that_name_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let name = |at: &str| temp.path().join(format!("snap.{at}.generating"));
        let (link, precious) = (name("00000000000000AA"), temp.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        fs::create_dir(name("00000000000000AB")).unwrap();
        for other in ["", "00000000000000a1", "00000000000000A", "000000000000000A1", "é"] {
            fs::write(name(other), "").unwrap();
        }
        fs::write(temp.path().join("snap.00000000000000AC"), "").unwrap();
        fs::write(name("00000000000000AD"), "").unwrap();
        heal(temp.path()).unwrap();
        assert!(!name("00000000000000AD").exists());
        assert!(link.is_symlink() && precious.exists());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 9);
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[allow(clippy::print_stderr)] // to skip loudly
    fn the_log_is_written_through_also_when_a_copy_lost_its_attribute() {
        use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
        let temp = tempfile::tempdir().unwrap();
        let flags = || ioctl_getflags(File::open(temp.path().join(LOG)).unwrap());
        drop(SledPages::open(temp.path()).unwrap());
        let Ok(made) = flags().inspect_err(|error| eprintln!("SKIPPED: {error}")) else { return };
        assert!(made.contains(IFlags::SYNC));
        let log = File::open(temp.path().join(LOG)).unwrap();
        ioctl_setflags(log, made - IFlags::SYNC).unwrap();
        drop(SledPages::open(temp.path()).unwrap());
        assert!(flags().unwrap().contains(IFlags::SYNC));
    }

    /// Sled would take the failure for the end of its log, if the log pointed there, and open without what comes after.
    #[test]
    #[cfg(unix)]
    fn a_blob_that_cannot_be_read_stops_the_opening() {
        let temp = tempfile::tempdir().unwrap();
        drop(SledPages::open(temp.path()).unwrap());
        // The system opens a folder as it does a file, and fails to read it.
        let blob = temp.path().join(BLOBS).join("1");
        fs::create_dir(&blob).unwrap();
        let error = SledPages::open(temp.path()).err().unwrap();
        assert!(matches!(error, OpenVaultError::Vault(VaultError::Storage(_))), "{error:?}");
        fs::remove_dir(&blob).unwrap();
        drop(SledPages::open(temp.path()).unwrap());
    }

    /// A node of large pages, which sled would keep in a file of its own with smaller segments.
    #[test]
    fn nodes_of_pages_lie_in_the_log() {
        let temp = tempfile::tempdir().unwrap();
        let pages = SledPages::open(temp.path()).unwrap();
        for round in 0..12_u8 {
            let puts = (0..64_u8).map(|name| (vec![name; 16], vec![round; 17_000])).collect();
            pages.apply(Batch { puts, removals: Vec::new() }).unwrap();
            pages.flush().unwrap();
        }
        assert_eq!(fs::read_dir(temp.path().join(BLOBS)).unwrap().count(), 0);
    }
}
