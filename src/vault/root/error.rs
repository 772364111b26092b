//! Why a root slot was not made, opened, written or changed.

use std::{error::Error, io, path::PathBuf};

use super::kek::WrappedBy;
use crate::{TaskError, crypto::RandomError, durable, own::Refused};

/// Why a root slot was not made, opened, written or changed. No message holds key material.
///
/// Whose fault it is:
/// - the caller's: [`NotEmpty`](Self::NotEmpty), [`NoFolder`](Self::NoFolder), [`Within`](Self::Within),
///   [`Permissions`](Self::Permissions), [`WrongKek`](Self::WrongKek), [`KekMissing`](Self::KekMissing),
///   [`KekNotNeeded`](Self::KekNotNeeded), [`ReadOnly`](Self::ReadOnly), [`Unsupported`](Self::Unsupported), and
///   [`NewerFormat`](Self::NewerFormat) and
///   [`NewerMirror`](Self::NewerMirror), which an older program met;
/// - the machine's: [`InUse`](Self::InUse), [`Missing`](Self::Missing), [`Device`](Self::Device),
///   [`Mirror`](Self::Mirror), [`Counter`](Self::Counter), [`KekUnusable`](Self::KekUnusable),
///   [`DiskFull`](Self::DiskFull), [`DiskReadOnly`](Self::DiskReadOnly), [`Storage`](Self::Storage),
///   [`Poisoned`](Self::Poisoned),
///   [`Random`](Self::Random), [`Task`](Self::Task);
/// - damage: [`Damaged`](Self::Damaged), [`NotASlot`](Self::NotASlot);
/// - an attack, or the wrong copy: [`UntrustedFile`](Self::UntrustedFile), [`OfAnotherVault`](Self::OfAnotherVault),
///   [`Taken`](Self::Taken), [`BehindCounter`](Self::BehindCounter).
///
/// ```
/// use oubliette::{vault::SlotError, *};
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// # drop(Vault::create(&folder, root.as_path())?);
/// # std::fs::remove_file(&root)?;
/// let opened = Vault::open(&folder, root.as_path());
/// match opened {
///     Err(OpenVaultError::Slot(SlotError::Missing(_))) => println!("is its disk mounted?"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// There is something already where a new slot was to be.
    #[error("{0} is not empty; a new root slot needs a place where nothing is")]
    NotEmpty(String),
    /// The folder is missing in which a file of the slot was to be made.
    #[error(
        "the root slot's file {} is not made, because there is no folder {}: mount the medium that it is to be on, \
         or make the folder, and try again",
        file.display(), folder.display()
    )]
    NoFolder {
        /// The file that was to be made.
        file: PathBuf,
        /// The folder that it was to be in.
        folder: PathBuf,
    },
    /// One of the slot's files is in the vault's folder.
    #[error(
        "the root slot {} is in {}: anyone who copies the folder would have it too; keep it elsewhere",
        slot.display(), folder.display()
    )]
    Within {
        /// The file that was named as the slot.
        slot: PathBuf,
        /// The vault's folder, which it would be in.
        folder: PathBuf,
    },
    /// Others than its owner may read the slot.
    #[error(
        "the root slot {} may be read by others (mode {mode:o}); make it private first: chmod 600",
        path.display()
    )]
    Permissions {
        /// The slot's file.
        path: PathBuf,
        /// The permissions of the file.
        mode: u32,
    },
    /// The key-encryption key does not open the slot.
    #[error(
        "this is not the key-encryption key of the root slot, which is wrapped by {0}; give the right one"
    )]
    WrongKek(WrappedBy),
    /// The slot is wrapped, and no key-encryption key was given.
    #[error("the root slot is wrapped by {0}, and no key-encryption key was given; give it")]
    KekMissing(WrappedBy),
    /// A key-encryption key was given for a slot that is not wrapped.
    #[error(
        "a key-encryption key was given, but the root slot is not wrapped by one; open it without, and wrap \
         it then"
    )]
    KekNotNeeded,
    /// The slot was opened to be read.
    #[error("the root slot is open to be read only")]
    ReadOnly,
    /// This slot cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A newer program wrote the slot.
    #[error(
        "the root slot: its format is {found}, and this program knows up to {known}; it was written by a newer \
         program, use that one"
    )]
    NewerFormat {
        /// The format that it names.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// A mirror was written by a newer version, and the slot itself was not: it is an old copy, or the newer
    /// program was stopped in between.
    #[error(
        "the mirror {mirror} has format {found}, this program knows up to {known}, and the root slot itself is \
         older; use the newer program"
    )]
    NewerMirror {
        /// The mirror's path.
        mirror: String,
        /// The format that it names.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// Another process has the slot open. 0: which process is not known.
    #[error("the root slot is in use by {}; close the vault there, or wait", user(*.0))]
    InUse(u32),
    /// The slot is not where it should be.
    #[error(
        "the root slot {0} is missing, and without it no key of this vault can be read: say where it is, or \
         where a mirror of it is"
    )]
    Missing(String),
    /// The device that holds the slot cannot be used.
    #[error("the root slot {place} cannot be reached: {why}")]
    Device {
        /// Where the slot is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A mirror that was asked for cannot be made, wiped or used.
    #[error("the root slot's mirror {mirror} cannot be used: {why}")]
    Mirror {
        /// The mirror's place.
        mirror: String,
        /// What is wrong with it.
        why: String,
    },
    /// The counter that bears witness of the slot cannot be used.
    #[error(
        "the counter {counter}, which tells whether vault and root slot were rolled back together, cannot be \
         used: {why}; make it reachable, or, if you know that nothing was rolled back, or have dealt with it, \
         open the slot past its counter and bind one anew"
    )]
    Counter {
        /// The counter's place.
        counter: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key-encryption key cannot be read where it should be.
    #[error("the key-encryption key ({kek}) cannot be read: {why}")]
    KekUnusable {
        /// Where it should come from.
        kek: String,
        /// What is wrong; nothing of what was read.
        why: String,
    },
    /// There is no room on the slot's disk.
    #[error("the disk of the root slot is full; make room, and open the vault again")]
    DiskFull(#[source] Box<dyn Error + Send + Sync>),
    /// The slot's disk can be read and not be written to.
    #[error(
        "the root slot is on a disk that can only be read: open the vault to be read, or make the disk writable"
    )]
    DiskReadOnly(#[source] Box<dyn Error + Send + Sync>),
    /// The slot's disk failed.
    #[error("the root slot cannot be read or written")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
    /// An earlier write failed, so that nothing is known about what is in the slot.
    #[error("a write to the root slot failed earlier; close the vault and open it again")]
    Poisoned,
    /// Randomness failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The task that read a key-encryption key did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The slot holds no root that is whole.
    #[error(
        "the root slot is damaged: {0}; without it no key of this vault can be read, restore the vault from a \
         backup"
    )]
    Damaged(String),
    /// What is to be the slot is something else, and was not touched.
    #[error(
        "{0} holds no root slot: it is another file, or was overwritten as a whole; say where the slot is, or \
         where a mirror of it is"
    )]
    NotASlot(String),
    /// Something is in the place of the slot's file that is not ours, or not this user's.
    #[error("{} is not touched: {why}", path.display())]
    UntrustedFile {
        /// What is not touched.
        path: PathBuf,
        /// What it is, and what to do.
        why: String,
    },
    /// The slot is of another vault.
    #[error("the root slot belongs to vault {slot}, not to vault {vault}")]
    OfAnotherVault {
        /// The vault that the slot names.
        slot: String,
        /// The vault that was to be opened.
        vault: String,
    },
    /// Somebody else has opened the slot since, where no lock reaches. Nothing is written any more.
    #[error(
        "the root slot {0} was opened by another process since, in a container or on another machine: it \
         belongs to the folder that was opened there. Nothing more is written here; close this vault, and find \
         out which of the two folders is the one"
    )]
    Taken(String),
    /// The slot's counter tells of a later epoch than the slot: vault and slot were rolled back together.
    #[error(
        "the vault is at epoch {found}, and its counter {counter} tells of epoch {expected}: vault and root slot \
         were rolled back together; put the present ones back, or, if an old state was restored on purpose, open \
         the slot past its counter and bind the counter anew: erasures announced in the event store are then \
         applied again, those that were not must be repeated by name"
    )]
    BehindCounter {
        /// The counter's place.
        counter: String,
        /// The epoch of the slot.
        found: u64,
        /// The epoch that the counter tells.
        expected: u64,
    },
}

impl SlotError {
    /// What the system says of the slot's files.
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            _ if durable::is_full(&error) => Self::DiskFull(Box::new(error)),
            io::ErrorKind::ReadOnlyFilesystem => Self::DiskReadOnly(Box::new(error)),
            _ => Self::Storage(Box::new(error)),
        }
    }

    /// Whether the same call may succeed later without anybody's changing anything:
    /// [`InUse`](Self::InUse), and a [task](TaskError::is_temporary) that was cut off.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::InUse(_) => true,
            Self::Task(error) => error.is_temporary(),
            Self::NotEmpty(_)
            | Self::NoFolder { .. }
            | Self::Within { .. }
            | Self::Permissions { .. }
            | Self::WrongKek(_)
            | Self::KekMissing(_)
            | Self::KekNotNeeded
            | Self::ReadOnly
            | Self::Unsupported(_)
            | Self::NewerFormat { .. }
            | Self::NewerMirror { .. }
            | Self::Missing(_)
            | Self::Device { .. }
            | Self::Mirror { .. }
            | Self::Counter { .. }
            | Self::KekUnusable { .. }
            | Self::DiskFull(_)
            | Self::DiskReadOnly(_)
            | Self::Storage(_)
            | Self::Poisoned
            | Self::Random(_)
            | Self::Damaged(_)
            | Self::NotASlot(_)
            | Self::UntrustedFile { .. }
            | Self::OfAnotherVault { .. }
            | Self::Taken(_)
            | Self::BehindCounter { .. } => false,
        }
    }
}

impl From<Refused> for SlotError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::UntrustedFile { path, why } => Self::UntrustedFile { path, why },
            Refused::Io(error) => Self::from_io(error),
        }
    }
}

/// Who has it open.
pub(crate) fn user(process: u32) -> String {
    match process {
        0 => "another process, perhaps by a copy of its folder".to_owned(),
        process => format!("process {process}"),
    }
}
