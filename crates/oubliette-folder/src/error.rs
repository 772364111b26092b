//! What can go wrong with a data folder.

use std::{io, path::PathBuf};

use super::folder::FORMAT;
use oubliette::{
    erasure::ErasureError,
    event::SigningKeyId,
    policy::PolicyErrors,
    store::{StoreError, sqlite::OpenError},
    vault::{Unlearned, VaultError, backup::BackupError},
    words::{agree, count},
};
use uuid::Uuid;

/// Why a folder could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is nothing.
    #[error("there is no data folder at {0}; `import` or `append` makes one")]
    NotFound(PathBuf),
    /// There is one already.
    #[error("{0} is a data folder already; choose another with --dir")]
    AlreadyThere(PathBuf),
    /// There is something else.
    #[error("{0} is not empty and not a data folder of ours; choose another with --dir")]
    NotOurs(PathBuf),
    /// There is something where a new data folder's events or vault would begin.
    #[error(
        "there is no data folder at {}, and to begin one, {} must be empty; it is not. If it belongs to a \
         data folder, say which (--dir); if not, choose another place ({option})",
        folder.display(), path.display()
    )]
    Occupied {
        /// The data folder that was to be made.
        folder: PathBuf,
        /// What is not empty.
        path: PathBuf,
        /// What says where it is to be.
        option: &'static str,
    },
    /// It has vault and events, and nothing that says that they belong together.
    #[error(
        "{0} is damaged: it has a vault and events, but its oubliette.json is missing or cannot be read; \
         say where the root slot is, and the file is written anew: `oubliette --root SLOT root` (with \
         --kek, --vault and --store where they were set)"
    )]
    ManifestLost(PathBuf),
    /// A newer program made it.
    #[error(
        "{path}: its format is {found}, and this program knows up to {FORMAT}; it was written by a newer \
         program, use that one"
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The vault that belongs to the events is gone.
    #[error(
        "{0} has events but no vault: a new vault beside old events would make them unreadable \
         for ever; say where the vault is (--vault), restore the vault from a backup (`oubliette restore`), or read \
         what is public with --no-vault"
    )]
    VaultMissing(PathBuf),
    /// The events that belong to the vault are gone.
    #[error(
        "{0} has a vault but no events; say where they are (--store), restore them, or choose another \
         folder"
    )]
    EventsMissing(PathBuf),
    /// Events and vault do not belong together.
    #[error(
        "the events in {path} are sealed by vault {store}, but the vault of this data folder is {vault}"
    )]
    VaultOfAnotherStore {
        /// The folder of the events.
        path: PathBuf,
        /// The vault that the events name.
        store: String,
        /// The vault that is there.
        vault: String,
    },
    /// Events that were to become the folder's are not of its vault.
    #[error(
        "the events in {path} do not belong to the vault {vault}; nothing was changed ({source})"
    )]
    EventsOfAnother {
        /// The folder of the events.
        path: PathBuf,
        /// The vault.
        vault: String,
        /// What was found there.
        source: StoreError,
    },
    /// There is no place for the root slot.
    #[error(
        "no place for the vault's root slot: set --root or OUBLIETTE_ROOT, or XDG_STATE_HOME or HOME to an \
         absolute path"
    )]
    NoPlaceForRoot,
    /// The root slot would lie in the folder.
    #[error(
        "the root slot {root} would lie in the data folder {path}: whoever copies the folder would have \
         both, and with an old copy of both, what was forgotten can be read; keep it elsewhere"
    )]
    RootWithin {
        /// The slot, or a mirror of it.
        root: PathBuf,
        /// The folder.
        path: PathBuf,
    },
    /// The place of the root slot is none that this program knows.
    #[error("the root slot cannot be at {0}: {1}")]
    BadRoot(PathBuf, String),
    /// Neither the user's settings nor the folder say where the root slot is.
    #[error(
        "nobody noted for this user where the root slot of {0} is; say where with --root, and with \
         `oubliette --root PLACE root` it is noted"
    )]
    RootUnknown(PathBuf),
    /// The pages do not belong to the slot that the caller names, and another one is noted.
    #[error(
        "the folder's pages do not belong to the root slot {given}, which --root or OUBLIETTE_ROOT names; \
         the one that is noted for this folder is {noted}: leave out the first, or name the second. Copy \
         neither over the other: a folder may work under each"
    )]
    OtherSlot {
        /// The slot that the caller names.
        given: PathBuf,
        /// The slot that is noted for the folder.
        noted: PathBuf,
        /// Why they do not belong together.
        #[source]
        source: VaultError,
    },
    /// There is no place for the settings.
    #[error(
        "no place to note what was set for the folder (its mirrors, say): set XDG_CONFIG_HOME or HOME to \
         an absolute path"
    )]
    NoPlaceForSettings,
    /// A path that could not be noted.
    #[error(
        "the path {} is not UTF-8 text, so it cannot be noted and found again; give another one: --root or \
         XDG_STATE_HOME for the root slot, or --vault, --store, --mirror, --kek",
        .0.display()
    )]
    NotText(PathBuf),
    /// What this user noted for a folder cannot be understood.
    #[error("the settings in {} cannot be read: {why}; mend them, or remove them and give the options again", path.display())]
    BadSettings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The folder leads to what this user noted for another one.
    #[error(
        "{} is a folder of vault {vault}, but leads to the settings of vault {noted}: its oubliette.json \
         was changed; put the right one back",
        path.display()
    )]
    SettingsOfAnotherVault {
        /// The folder.
        path: PathBuf,
        /// The vault that it names.
        vault: String,
        /// The vault that the settings are for.
        noted: String,
    },
    /// There is no `policy.toml`. That it is absent says nothing: the vault keeps the policy that counts.
    #[error(
        "{} is absent. The policy that this folder works under is in the vault: \
         `oubliette --dir {} policy show > {}` brings the file back. To work without a policy, make that \
         file, empty, and say `oubliette --dir {} policy adopt`",
        file.display(), path.display(), file.display(), path.display()
    )]
    PolicyAbsent {
        /// The folder.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// `policy.toml` is not what was adopted.
    #[error(
        "{} is not the policy that this folder works under: somebody changed it. Look at it; \
         `oubliette --dir {} policy adopt` makes it the folder's policy, `oubliette --dir {} policy show` \
         prints the one that counts until then",
        file.display(), path.display(), path.display()
    )]
    PolicyChanged {
        /// The folder.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// The event store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The event store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An erasure that was cut off cannot be completed.
    #[error(transparent)]
    Erasure(#[from] ErasureError),
    /// There are no events beside which a vault could be restored.
    #[error("there are no events at {0}; restore the event store first, then the vault beside it")]
    NothingToRestoreTo(PathBuf),
    /// Erasures that were to be applied to a restored vault.
    #[error(
        "of the given erasures, {} of this vault's {}: changed, forged, or of a newer program; \
         or an earlier restoration of the same backup announced them, under a key that no backup has; nothing \
         was restored: take the file as `erasures export` wrote it; or, if it is that, restore without it, and \
         answer what opening asks of each erasure (`--believe-erasure`)",
        .0, agree(*.0 as u64, "does not count", "do not count")
    )]
    ErasuresDoNotOpen(usize),
    /// A statement about signing keys among the erasures that were to be applied to a restored vault.
    #[error(
        "a statement about signing keys among the given erasures does not count: {0}; nothing was restored: \
         take the whole file as `erasures export` wrote it"
    )]
    StatementDoesNotCount(Unlearned),
    /// Erasures that were to be applied to a restored vault, and that a key signed which was stolen.
    #[error(
        "of the given erasures, {} {} announced by a signing key alone that is compromised: nothing was \
         restored; take a file that `erasures export` wrote after the key was changed, or restore \
         without, and say of each whether to apply it (`--believe-erasure`)",
        .0, agree(*.0 as u64, "is", "are")
    )]
    ErasuresOfCompromisedKey(usize),
    /// None of the erasures that were to be applied to a restored vault is this vault's.
    #[error(
        "the given list has {}, and none of this vault's: nothing was restored; take the file that \
         `erasures export` wrote of the vault that is to be restored",
        count(*.0 as u64, "erasure")
    )]
    ErasuresOfAnotherVault(usize),
    /// The signing key was changed; what came afterwards failed.
    #[error("the signing keys are changed, and {key} signs from now on; but {source}")]
    AfterKeyChange {
        /// The key that signs, or was pinned.
        key: SigningKeyId,
        /// What failed.
        source: Box<FolderError>,
    },
    /// One announcement is to be applied and to be passed over.
    #[error(
        "{}: say one of the two, `--believe-erasure` or `--past-erasure`; nothing was changed",
        both(.believed, .passed)
    )]
    Contradiction {
        /// What is to be applied.
        believed: Uuid,
        /// What is to be passed over: the same, or its erasure, or one of its events.
        passed: Uuid,
    },
    /// The vault was restored; opening it failed. Do not restore it again: open it, as the cause says.
    #[error("the vault is restored, and its root slot is at {root}; but {source}")]
    AfterRestoring {
        /// Where the root slot is.
        root: PathBuf,
        /// What failed.
        source: Box<FolderError>,
    },
    /// A backup cannot be restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The file system refuses.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn both(believed: &Uuid, passed: &Uuid) -> String {
    if believed == passed {
        return format!("{believed} is to be applied, and to be passed over");
    }
    format!(
        "{believed} is to be applied, and {passed}, which is of the same announcement, to be passed over"
    )
}
