//! What can go wrong with a vault.

use std::{io, path::PathBuf};

use super::root::WrappedBy;
use crate::{
    crypto::RandomError,
    event::{ErasureId, EventId, Generation, KeyId, SigningKeyId, Subject},
    own::Refused,
    runtime::NoRuntime,
};

/// Why the vault did not do what it was asked. No message holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The subject is forgotten; `reopen` admits them again.
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
        "subject {subject}: whether event {event} was stored must be settled first; whoever sealed it \
         with a codec looks into their store and calls `Codec::settle`, or runs `oubliette settle`"
    )]
    Unsettled {
        /// Whose generation is open.
        subject: Subject,
        /// The event that decides it.
        event: EventId,
    },
    /// No such key, and no fence that explains why.
    #[error("no key {0} in this vault, and no erasure explains it")]
    KeyMissing(KeyId),
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
        "the key of generation {generation} of subject {subject} has sealed as often as it may; \
         what is to be sealed under it must be appended anew, under the current one"
    )]
    KeyUsedUp {
        /// The subject whose key is used up.
        subject: Subject,
        /// The generation of that key.
        generation: Generation,
    },
    /// Another process has this vault open, or a copy of its folder over the same root slot. 0:
    /// which process is not known.
    #[error("vault in use by {}; close it there, or wait", user(*.0))]
    InUse(u32),
    /// There is no vault here.
    #[error("there is no vault at {0}")]
    NotFound(String),
    /// There is something here already.
    #[error("{0} is not empty; a new vault needs an empty or absent folder")]
    NotEmpty(String),
    /// The vault's root slot is not where it should be.
    #[error(
        "the root slot {0} is missing: without it no key of this vault can be read; \
         say where it is with --root, or where a mirror of it is with --mirror"
    )]
    SlotMissing(String),
    /// The root slot is of another vault.
    #[error("the root slot belongs to vault {slot}, not to vault {vault}")]
    SlotOfAnotherVault {
        /// The vault that the slot names.
        slot: VaultIdText,
        /// The vault that was to be opened.
        vault: VaultIdText,
    },
    /// What is to be the root slot is something else, and was not touched.
    #[error(
        "{0} holds no root slot: it is another file, or was overwritten as a whole; say where the slot is \
         with --root, or where a mirror of it is with --mirror"
    )]
    NotASlot(String),
    /// The root slot holds no root that is whole.
    #[error(
        "the root slot is damaged: {0}; without it no key of this vault can be read, \
         restore the vault from a backup"
    )]
    SlotDamaged(String),
    /// Others than its owner may read the root slot.
    #[error(
        "the root slot {} may be read by others (mode {mode:o}); \
         make it private first: chmod 600",
        path.display()
    )]
    SlotPermissions {
        /// The slot's file.
        path: PathBuf,
        /// The permissions of the file.
        mode: u32,
    },
    /// Something is in the place of a file or folder of ours that is not, or not this user's.
    #[error("{} is not touched: {why}", path.display())]
    Foreign {
        /// What is not touched.
        path: PathBuf,
        /// What it is, and what to do.
        why: String,
    },
    /// The root slot is older than the vault's pages: an old copy of the slot was put back.
    #[error(
        "the root slot holds epoch {slot}, the vault's pages are at epoch {vault}: \
         an older copy of the slot was put back, or it is another folder's slot. Give --root the folder's \
         own slot; write no slot over one that a folder works under"
    )]
    SlotOutdated {
        /// The epoch of the slot.
        slot: u64,
        /// The epoch that the pages had reached.
        vault: u64,
    },
    /// The folder is a copy of the vault's folder, which is still where it was. Nothing was changed.
    #[error(
        "{} is a copy of the vault in {}. Where both have one root slot, forgetting somebody in one of \
         them destroys every key of the other. Nothing was changed. To look into this \
         copy, open it with --read-only. To go on with both, give this one a root slot of its own: \
         `oubliette root own`. To go on with this one, and never again with the other, say \
         --this-is-the-one",
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
        "{} is not as the vault was when its root slot was last opened: it was restored, or it is a \
         copy and the vault is elsewhere. Keys that were made elsewhere since are not in it. Nothing \
         was changed. If you restored or copied it here, and no other folder is used with this root \
         slot, say --this-is-the-one once. To look into it, open it with --read-only. To go on \
         with both, give this one a root slot of its own: `oubliette root own`",
        .0.display()
    )]
    FolderOld(PathBuf),
    /// The root slot is a copy from before the last openings of this folder. Nothing was changed.
    #[error(
        "the root slot is older than the last openings of {}: a copy of it was put back, or it was \
         taken from a mirror that was away. Nothing was changed. If no other folder is used with this \
         root slot, say --this-is-the-one once; if there is a newer slot, put that in its place",
        .0.display()
    )]
    SlotOld(PathBuf),
    /// Somebody else has opened the root slot since, where no lock reaches. Nothing is written any
    /// more.
    #[error(
        "the root slot {0} was opened by another process since, in a container or on another machine: \
         it belongs to the folder that was opened there. Nothing more is written here; close this vault, \
         and find out which of the two folders is the one"
    )]
    SlotTaken(String),
    /// The vault was opened to be read.
    #[error("the vault is open to be read only; open it without --read-only")]
    ReadOnly,
    /// One of the slot's files is in the vault's folder.
    #[error(
        "the root slot {} lies in {}: whoever copies the folder would have it too; \
         keep it elsewhere",
        slot.display(), folder.display()
    )]
    SlotWithin {
        /// The file that was named as the slot.
        slot: PathBuf,
        /// The vault's folder, which it would be in.
        folder: PathBuf,
    },
    /// The device that holds the root slot cannot be used.
    #[error("the root slot {place} cannot be reached: {why}")]
    SlotDevice {
        /// Where the slot is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A mirror of the root slot that was asked for cannot be made, wiped or used.
    #[error("the root slot's mirror {mirror} cannot be used: {why}")]
    Mirror {
        /// The mirror's place.
        mirror: String,
        /// What is wrong with it.
        why: String,
    },
    /// The counter that is the root slot's witness cannot be used.
    #[error(
        "the counter {counter}, which tells whether vault and root slot were rolled back together, \
         cannot be used: {why}; make it reachable, or, if you know that nothing was rolled back, or \
         have dealt with it, go on with --past-counter and bind another one, or the same one anew \
         (`oubliette root counter`)"
    )]
    Counter {
        /// The counter's place.
        counter: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key-encryption key does not open the root slot.
    #[error(
        "this is not the key-encryption key of the root slot, which is wrapped by {0}; \
         give the right one with --kek"
    )]
    WrongKek(WrappedBy),
    /// The root slot is wrapped, and no key-encryption key was given.
    #[error(
        "the root slot is wrapped by {0}, and no key-encryption key was given; \
         say where it is with --kek"
    )]
    KekMissing(WrappedBy),
    /// A key-encryption key was given for a root slot that is not wrapped.
    #[error(
        "a key-encryption key was given, but the root slot is not wrapped by one; open it with \
         --kek none, and wrap it with `oubliette root kek`"
    )]
    KekNotNeeded,
    /// The key-encryption key cannot be read where it should be.
    #[error("the key-encryption key ({kek}) cannot be read: {why}")]
    KekUnusable {
        /// Where it should come from.
        kek: String,
        /// What is wrong; nothing of what was read.
        why: String,
    },
    /// This vault cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A folder that holds something, but no vault.
    #[error("{0} is not a vault of this program")]
    NotAVault(String),
    /// A place or a value is longer than the vault stores at one place.
    #[error("{bytes} bytes are too many at one place of the vault, at most {most} fit")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// The vault's pages are older than the root slot: an old copy was put back.
    #[error(
        "the vault's pages do not open under the present root (epoch {epoch}): \
         an older copy of the folder was put back, or it is damaged, or the vault was restored elsewhere \
         into this slot"
    )]
    RolledBack {
        /// The epoch that the slot names.
        epoch: u64,
    },
    /// The vault's epoch is lower than one that was noted elsewhere: vault and slot were rolled
    /// back together.
    #[error(
        "the vault is at epoch {found}, and at least {expected} is expected{}: vault and root slot \
         were rolled back together; put the present ones back, or, if an old state was restored \
         on purpose, {}: erasures announced in the event store are then \
         applied again, those that were not must be repeated by name",
        told_by(.counter.as_deref()), go_on(.counter.as_deref())
    )]
    EpochTooLow {
        /// The epoch of the vault.
        found: u64,
        /// The least that was expected.
        expected: u64,
        /// The counter that expects it; `None`: the caller does.
        counter: Option<String>,
    },
    /// A page or record does not have the form that it must have.
    #[error("the vault is damaged: {0}")]
    Damaged(String),
    /// The history of signing keys has a gap.
    #[error(
        "the history of signing keys has a gap: nothing leads to key {0}; no crash leaves this: restore \
         the vault from another backup, and keep a copy of this one"
    )]
    SigningKeyGap(SigningKeyId),
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
    /// A mirror of the root slot was written by a newer version, and the slot itself was not: it is an old
    /// copy, or the newer program was stopped in between.
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
    /// An earlier write failed, so that nothing is known about what is on the disk.
    #[error("a write to the vault failed earlier; close it and open it again")]
    Poisoned,
    /// Randomness failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The vault's pages are in a database that this program cannot open: it is older than the vault,
    /// or was built without it.
    #[error(
        "the vault keeps its pages in {0}, which this program cannot open; \
         use one that was built with it, and is no older"
    )]
    NoPageStore(String),
    /// The clock says a time before 1970, which not all that is used here can count from.
    #[error(
        "the clock of this machine says a time before 1970: set it, and open the vault again; nothing \
         of it was opened"
    )]
    Clock,
    /// It was called outside of a Tokio runtime, and needs one. Nothing was done.
    #[error("{NoRuntime}")]
    NoRuntime,
    /// There is no room on the disk.
    #[error(
        "the disk is full; nothing of the vault is damaged: make room, and open it again; to read \
         meanwhile, `--read-only`, which copies the vault's pages to the folder for temporary files"
    )]
    DiskFull(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk, or the page store, failed.
    #[error("the vault's storage failed: {0}")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl VaultError {
    /// What the system says of the vault's files.
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(Box::new(error))
            }
            _ => Self::Storage(Box::new(error)),
        }
    }
}

impl From<NoRuntime> for VaultError {
    fn from(_: NoRuntime) -> Self {
        Self::NoRuntime
    }
}

impl From<Refused> for VaultError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Foreign { path, why } => Self::Foreign { path, why },
            Refused::Io(error) => Self::from_io(error),
        }
    }
}

/// A vault's id as text.
pub type VaultIdText = String;

fn told_by(counter: Option<&str>) -> String {
    counter.map_or_else(String::new, |counter| format!(" by the counter {counter}"))
}

fn go_on(counter: Option<&str>) -> &'static str {
    match counter {
        Some(_) => {
            "go on with --past-counter, and bind the counter anew afterwards with \
             `oubliette root counter bind`"
        }
        None => "leave the expected epoch out",
    }
}

/// Who has the vault open.
fn user(process: u32) -> String {
    match process {
        0 => "another process, perhaps by a copy of its folder".to_owned(),
        process => format!("process {process}"),
    }
}
