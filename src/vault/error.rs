//! What can go wrong with a vault: opening one ([`OpenVaultError`]) and using one that is open ([`VaultError`]).

use std::{error::Error, io, path::PathBuf};

use super::root::{SlotError, user};
use crate::{
    TaskError,
    crypto::RandomError,
    durable,
    event::{ErasureId, EventId, Generation, KeyId, SigningKeyId, Subject},
    own::Refused,
};

/// Why a vault was not made, opened, moved or restored. No message holds key material.
///
/// Whose fault it is:
/// - the caller's: [`NotFound`](Self::NotFound), [`NotEmpty`](Self::NotEmpty), [`NotAFolder`](Self::NotAFolder),
///   [`NotAVault`](Self::NotAVault), [`OwnSlot`](Self::OwnSlot), [`NoPageStore`](Self::NoPageStore);
/// - the machine's: [`InUse`](Self::InUse), [`Clock`](Self::Clock);
/// - an attack, or the wrong copy: [`UntrustedFile`](Self::UntrustedFile), [`FolderCopied`](Self::FolderCopied),
///   [`FolderOld`](Self::FolderOld), [`SlotOld`](Self::SlotOld), [`SlotOutdated`](Self::SlotOutdated),
///   [`RolledBack`](Self::RolledBack), [`EpochTooLow`](Self::EpochTooLow). In doubt nothing was changed.
///
/// ```
/// use oubliette::*;
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// let vault = match Vault::open(&folder, root.as_path()) {
///     // The first start. Do not do this for any other error: a new vault has none of the keys.
///     Err(OpenVaultError::NotFound(_)) => Vault::create(&folder, root.as_path())?,
///     opened => opened?,
/// };
/// assert!(matches!(Vault::open(&folder, root.as_path()), Err(OpenVaultError::InUse(_))));
/// # drop(vault);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenVaultError {
    /// There is no vault here.
    #[error("there is no vault at {0}")]
    NotFound(String),
    /// There is something here already.
    #[error("{0} is not empty; a new vault needs an empty or absent folder")]
    NotEmpty(String),
    /// A file is where the vault's folder was to be.
    #[error("{0} is a file, and a vault is a folder; name another place")]
    NotAFolder(String),
    /// A folder that holds something, but no vault.
    #[error("{0} is not a vault of this program")]
    NotAVault(String),
    /// A slot of its own was to be given to the folder that the slot belongs to already.
    #[error(
        "this folder is the one that its root slot belongs to; copy it, and give the copy a slot of its own"
    )]
    OwnSlot,
    /// The vault's pages are in a database that this program cannot open: it is older than the vault,
    /// or was built without it.
    #[error(
        "the vault keeps its pages in {0}, which this program cannot open; use one that was built with it, and \
         is no older"
    )]
    NoPageStore(String),
    /// Another process has this vault open, or a copy of its folder over the same root slot. 0:
    /// which process is not known.
    #[error("vault in use by {}; close it there, or wait", user(*.0))]
    InUse(u32),
    /// The clock says a time before 1970, which not all that is used here can count from.
    #[error(
        "the clock of this machine says a time before 1970: set it, and open the vault again; nothing of it was \
         opened"
    )]
    Clock,
    /// Something is in the place of a file or folder of ours that is not, or not this user's.
    #[error("{} is not touched: {why}", path.display())]
    UntrustedFile {
        /// What is not touched.
        path: PathBuf,
        /// What it is, and what to do.
        why: String,
    },
    /// The folder is a copy of the vault's folder, which is still where it was. Nothing was changed.
    #[error(
        "{} is a copy of the vault in {}. Where both have one root slot, forgetting somebody in one of them \
         destroys every key of the other. Nothing was changed. Open this copy to be read; or give it a root slot \
         of its own, to go on with both; or say that it is the one, and never go on with the other",
        folder.display(), of.display()
    )]
    FolderCopied {
        /// The folder that is a copy.
        folder: PathBuf,
        /// Where the other one is.
        of: PathBuf,
    },
    /// The folder is not in the state, or not the folder, that was opened last with its root slot.
    /// Nothing was changed.
    #[error(
        "{} is not as the vault was when its root slot was last opened: it was restored, or it is a copy and the \
         vault is elsewhere. Keys that were made elsewhere since are not in it. Nothing was changed. If you \
         restored or copied it here, and no other folder is used with this root slot, say that it is the one; or \
         open it to be read; or give it a root slot of its own, to go on with both",
        .0.display()
    )]
    FolderOld(PathBuf),
    /// The root slot is a copy from before the last openings of this folder. Nothing was changed.
    #[error(
        "the root slot is older than the last openings of {}: a copy of it was put back, or it was taken from a \
         mirror that was away. Nothing was changed. If no other folder is used with this root slot, say that \
         this is the one; if there is a newer slot, put that in its place",
        .0.display()
    )]
    SlotOld(PathBuf),
    /// The root slot is older than the vault's pages: an old copy of the slot was put back.
    #[error(
        "the root slot holds epoch {slot}, the vault's pages are at epoch {vault}: an older copy of the slot was \
         put back, or it is another folder's slot. Open the folder with its own slot; write no slot over one \
         that a folder works under"
    )]
    SlotOutdated {
        /// The epoch of the slot.
        slot: u64,
        /// The epoch that the pages had reached.
        vault: u64,
    },
    /// The vault's pages are older than the root slot: an old copy was put back.
    #[error(
        "the vault's pages do not open under the present root (epoch {epoch}): an older copy of the folder was \
         put back, or it is damaged, or the vault was restored elsewhere into this slot"
    )]
    RolledBack {
        /// The epoch that the slot names.
        epoch: u64,
    },
    /// The vault's epoch is lower than one that was noted elsewhere: vault and slot were rolled
    /// back together.
    #[error(
        "the vault is at epoch {found}, and at least {expected} is expected: vault and root slot were rolled \
         back together; put the present ones back, or, if an old state was restored on purpose, leave the \
         expected epoch out: erasures announced in the event store are then applied again, those that were not \
         must be repeated by name"
    )]
    EpochTooLow {
        /// The epoch of the vault.
        found: u64,
        /// The least that was expected.
        expected: u64,
    },
    /// The root slot: missing, damaged, not to be unwrapped, another vault's.
    #[error(transparent)]
    Slot(SlotError),
    /// What any vault may say, open or not: its pages are damaged, or a newer program's; its disk fails.
    #[error(transparent)]
    Vault(VaultError),
}

/// Why a vault that is open did not do what it was asked. No message holds key material.
///
/// Whose fault it is:
/// - the caller's: [`Forgotten`](Self::Forgotten), [`Unsettled`](Self::Unsettled),
///   [`NoGeneration`](Self::NoGeneration), [`KeyUsedUp`](Self::KeyUsedUp), [`TooLarge`](Self::TooLarge),
///   [`ReadOnly`](Self::ReadOnly), [`Unsupported`](Self::Unsupported), and [`NewerFormat`](Self::NewerFormat),
///   [`UnknownKind`](Self::UnknownKind) and [`UnknownClass`](Self::UnknownClass), which an older program met;
/// - the machine's: [`DiskFull`](Self::DiskFull), [`DiskReadOnly`](Self::DiskReadOnly), [`Storage`](Self::Storage), [`Poisoned`](Self::Poisoned),
///   [`Random`](Self::Random), [`Task`](Self::Task); [`Slot`](Self::Slot), where the root slot fails;
/// - damage: [`Damaged`](Self::Damaged), [`SigningKeyGap`](Self::SigningKeyGap);
/// - damage or an attack: [`KeyMissing`](Self::KeyMissing).
///
/// ```
/// use oubliette::{layer::RotateError, vault::OpenAs, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// # drop(Vault::create(&folder, root.as_path())?);
/// let vault = Vault::open_as(&folder, root.as_path(), OpenAs::ReadOnly)?;
/// let store = Oubliette::open(MemoryStore::new(), vault, Policy::sealed_by_default()).await?;
/// match store.rotate_root().await {
///     Err(RotateError::Vault(VaultError::ReadOnly)) => println!("opened only to be read"),
///     Err(error) if error.is_temporary() => println!("later: {error}"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The subject is forgotten; [`reopen`](crate::layer::Oubliette::reopen) admits them again.
    #[error("subject {subject} is forgotten; `reopen` admits them again")]
    Forgotten {
        /// The forgotten subject.
        subject: Subject,
        /// By which erasure. No message says it: a log would join the subject to its announcement.
        erasure: ErasureId,
    },
    /// An append that was to change the subject's owners was cut off, so that the generation of
    /// new keys is open until someone who can see the store calls
    /// [`Codec::settle`](crate::layer::Codec::settle), or the layer looks there itself.
    #[error(
        "subject {subject}: whether event {event} was stored must be settled first; whoever sealed it with a \
         codec looks into their store and calls `Codec::settle`"
    )]
    Unsettled {
        /// Whose generation is open.
        subject: Subject,
        /// The event that decides it.
        event: EventId,
    },
    /// The generation is dead, or was never begun.
    #[error("subject {subject} has no living generation {generation}")]
    NoGeneration {
        /// The subject whose key was asked for.
        subject: Subject,
        /// The one that was asked for.
        generation: Generation,
    },
    /// The key of a generation that is not the current one sealed as often as AES-GCM allows.
    #[error(
        "the key of generation {generation} of subject {subject} has sealed as often as it may; what is to be \
         sealed under it must be appended anew, under the current one"
    )]
    KeyUsedUp {
        /// The subject whose key is used up.
        subject: Subject,
        /// The generation of that key.
        generation: Generation,
    },
    /// A place or a value is longer than the vault stores at one place.
    #[error("{bytes} bytes are too many at one place of the vault, at most {most} fit")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// The vault was opened to be read.
    #[error("the vault is open to be read only; open it to be written to")]
    ReadOnly,
    /// This vault cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Something in the vault, its slot or its backup has a version that this program does not know.
    #[error(
        "{what}: its format is {found}, and this program knows up to {known}; it was written by a newer \
         program, use that one"
    )]
    NewerFormat {
        /// What it is.
        what: &'static str,
        /// The format that it names.
        found: u32,
        /// The newest format of it that this program knows.
        known: u32,
    },
    /// The vault, or its backup, holds something of a kind that this program does not know. To pass over
    /// it might destroy what is held, or serve what is not to be served.
    #[error(
        "the vault holds {0}, of which this program knows nothing; it was written by a newer program, use \
         that one"
    )]
    UnknownKind(String),
    /// A data key of a class that this program cannot read.
    #[error(
        "a data key is of a class of form {0}, which this program does not know; it was written by a newer \
         program, use that one"
    )]
    UnknownClass(u8),
    /// There is no room on the disk.
    #[error(
        "the disk is full; nothing of the vault is damaged: make room, and open it again; meanwhile it can be \
         opened to be read, which copies its pages to the folder for temporary files"
    )]
    DiskFull(#[source] Box<dyn Error + Send + Sync>),
    /// The disk can be read and not be written to.
    #[error(
        "the vault is on a disk that can only be read: open it to be read, or make the disk writable"
    )]
    DiskReadOnly(#[source] Box<dyn Error + Send + Sync>),
    /// The disk, or the page store, failed.
    #[error("the vault's storage failed")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
    /// An earlier write failed, so that nothing is known about what is on the disk. Where the pages are in sled, and it
    /// failed to read one of them, only another process can open the vault again.
    #[error("a write to the vault failed earlier; close it and open it again")]
    Poisoned,
    /// Randomness failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The vault's own thread, or a task, did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The root slot fails while the vault works under it.
    #[error(transparent)]
    Slot(SlotError),
    /// A page or record does not have the form that it must have.
    #[error("the vault is damaged: {0}")]
    Damaged(String),
    /// The history of signing keys has a gap.
    #[error(
        "the history of signing keys has a gap: nothing leads to key {0}; no crash leaves this: restore \
         the vault from another backup, and keep a copy of this one"
    )]
    SigningKeyGap(SigningKeyId),
    /// No such key, and no fence that explains why.
    #[error("no key {0} in this vault, and no erasure explains it")]
    KeyMissing(KeyId),
}

impl OpenVaultError {
    /// What the system says of the vault's folder.
    pub(super) fn from_io(error: io::Error) -> Self {
        Self::Vault(VaultError::from_io(error))
    }

    /// Whether the same call may succeed later without anybody's changing anything:
    /// [`InUse`](Self::InUse), and what is so of the slot or of the vault.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::InUse(_) => true,
            Self::Slot(error) => error.is_temporary(),
            Self::Vault(error) => error.is_temporary(),
            Self::NotFound(_)
            | Self::NotEmpty(_)
            | Self::NotAFolder(_)
            | Self::NotAVault(_)
            | Self::OwnSlot
            | Self::NoPageStore(_)
            | Self::Clock
            | Self::UntrustedFile { .. }
            | Self::FolderCopied { .. }
            | Self::FolderOld(_)
            | Self::SlotOld(_)
            | Self::SlotOutdated { .. }
            | Self::RolledBack { .. }
            | Self::EpochTooLow { .. } => false,
        }
    }
}

impl VaultError {
    /// What the system says of the vault's files.
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            _ if durable::is_full(&error) => Self::DiskFull(Box::new(error)),
            io::ErrorKind::ReadOnlyFilesystem => Self::DiskReadOnly(Box::new(error)),
            _ => Self::Storage(Box::new(error)),
        }
    }

    /// Whether the same call may succeed later without anybody's changing anything: what is so of the slot, and
    /// a [task](TaskError::is_temporary) that was cut off. After [`DiskFull`](Self::DiskFull),
    /// [`DiskReadOnly`](Self::DiskReadOnly), [`Storage`](Self::Storage) and [`Poisoned`](Self::Poisoned) the vault
    /// must be opened again.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Slot(error) => error.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::Forgotten { .. }
            | Self::Unsettled { .. }
            | Self::NoGeneration { .. }
            | Self::KeyUsedUp { .. }
            | Self::TooLarge { .. }
            | Self::ReadOnly
            | Self::Unsupported(_)
            | Self::NewerFormat { .. }
            | Self::UnknownKind(_)
            | Self::UnknownClass(_)
            | Self::DiskFull(_)
            | Self::DiskReadOnly(_)
            | Self::Storage(_)
            | Self::Poisoned
            | Self::Random(_)
            | Self::Damaged(_)
            | Self::SigningKeyGap(_)
            | Self::KeyMissing(_) => false,
        }
    }
}

/// What a disk, or chance, says is said alike wherever it says it.
impl From<SlotError> for VaultError {
    fn from(error: SlotError) -> Self {
        match error {
            SlotError::DiskFull(source) => Self::DiskFull(source),
            SlotError::Storage(source) => Self::Storage(source),
            SlotError::Poisoned => Self::Poisoned,
            SlotError::Random(error) => Self::Random(error),
            SlotError::Task(error) => Self::Task(error),
            SlotError::ReadOnly => Self::ReadOnly,
            SlotError::NewerFormat { found, known } => {
                Self::NewerFormat { what: "the root slot", found, known }
            }
            other => Self::Slot(other),
        }
    }
}

impl From<VaultError> for OpenVaultError {
    fn from(error: VaultError) -> Self {
        match error {
            // Held by its folder or by its slot: the vault is in use.
            VaultError::Slot(SlotError::InUse(process)) => Self::InUse(process),
            VaultError::Slot(error) => Self::Slot(error),
            other => Self::Vault(other),
        }
    }
}

impl From<SlotError> for OpenVaultError {
    fn from(error: SlotError) -> Self {
        VaultError::from(error).into()
    }
}

impl From<Refused> for OpenVaultError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::UntrustedFile { path, why } => Self::UntrustedFile { path, why },
            Refused::Io(error) => Self::from_io(error),
        }
    }
}
