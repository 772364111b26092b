//! What can go wrong with a data folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    StorePlace,
    folder::{DataFolder, FORMAT},
};
use oubliette::{
    TaskError,
    erasure::{ErasureError, KeyChangeError, OperatorError},
    event::SigningKeyId,
    policy::PolicyErrors,
    store::{BoxError, StoreError, sqlite::OpenError},
    vault::{OpenVaultError, SlotError, Unlearned, VaultError, backup::BackupError},
    words::{agree, count},
};
use oubliette_files::own::Refused;
use uuid::Uuid;

/// Why a data folder was not made, opened, changed or restored.
///
/// Whose fault it is:
/// - the caller's: [`NotFound`](Self::NotFound), [`NotOurs`](Self::NotOurs), [`NotAFolder`](Self::NotAFolder),
///   [`DanglingLink`](Self::DanglingLink), [`Occupied`](Self::Occupied), [`StoreTaken`](Self::StoreTaken),
///   [`NoStores`](Self::NoStores), [`AlreadyThere`](Self::AlreadyThere),
///   [`RootWithin`](Self::RootWithin), [`BadRoot`](Self::BadRoot), [`RootUnknown`](Self::RootUnknown),
///   [`OtherSlot`](Self::OtherSlot), [`StoreShared`](Self::StoreShared), [`NotText`](Self::NotText),
///   [`PolicyAbsent`](Self::PolicyAbsent), [`Policy`](Self::Policy), [`NothingToRestoreTo`](Self::NothingToRestoreTo),
///   [`ErasuresOfAnotherVault`](Self::ErasuresOfAnotherVault), [`Contradiction`](Self::Contradiction), and
///   [`NewerFormat`](Self::NewerFormat), which an older program met;
/// - the machine's: [`NoPlaceForRoot`](Self::NoPlaceForRoot), [`NoPlaceForSettings`](Self::NoPlaceForSettings),
///   [`Io`](Self::Io), [`Task`](Self::Task);
/// - damage: [`ManifestLost`](Self::ManifestLost), [`VaultMissing`](Self::VaultMissing),
///   [`EventsMissing`](Self::EventsMissing), [`BadSettings`](Self::BadSettings);
/// - an attack, or the wrong copy: [`VaultOfAnotherStore`](Self::VaultOfAnotherStore),
///   [`EventsOfAnother`](Self::EventsOfAnother), [`StoreUnnoted`](Self::StoreUnnoted),
///   [`SettingsOfAnotherVault`](Self::SettingsOfAnotherVault), [`PolicyChanged`](Self::PolicyChanged),
///   [`UntrustedFile`](Self::UntrustedFile), [`ErasuresDoNotOpen`](Self::ErasuresDoNotOpen),
///   [`StatementDoesNotCount`](Self::StatementDoesNotCount),
///   [`ErasuresOfCompromisedKey`](Self::ErasuresOfCompromisedKey);
/// - what its parts say: [`Open`](Self::Open), [`OpenStore`](Self::OpenStore), [`Store`](Self::Store), [`OpenVault`](Self::OpenVault),
///   [`Vault`](Self::Vault), [`Slot`](Self::Slot), [`Erasure`](Self::Erasure), [`KeyChange`](Self::KeyChange),
///   [`Backup`](Self::Backup);
///   [`AfterKeyChange`](Self::AfterKeyChange) and [`AfterRestoring`](Self::AfterRestoring) say what is done already.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is nothing.
    #[error("there is no data folder at {0} yet; import and append make one")]
    NotFound(PathBuf),
    /// There is one already.
    #[error("{0} is a data folder already; choose another")]
    AlreadyThere(PathBuf),
    /// There is something else.
    #[error("{0} is not empty and not a data folder of ours; choose another")]
    NotOurs(PathBuf),
    /// A file is where a folder is, or would be.
    #[error("{} is a file, and a folder is needed there; choose another place for the {what}", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
        /// What was to be there: `data folder`, `event store` or `vault`.
        what: &'static str,
    },
    /// A symbolic link that leads nowhere is where the data folder would be.
    #[error(
        "{0} is a symbolic link to something that is not there, and a folder is needed: make the folder that it \
         leads to, or choose another place for the data folder"
    )]
    DanglingLink(PathBuf),
    /// There is something where a new data folder's events or vault would begin.
    #[error(
        "there is no data folder at {}, and to begin one, {} must be empty; it is not. If it belongs to a \
         data folder, say which; if not, choose another place for the {what}",
        folder.display(), path.display()
    )]
    Occupied {
        /// The data folder that was to be made.
        folder: PathBuf,
        /// What is not empty.
        path: PathBuf,
        /// What was to be there: `event store` or `vault`.
        what: &'static str,
    },
    /// It has vault and events, and nothing that says that they belong together.
    #[error(
        "{0} is damaged: it has a vault and events, but its oubliette.json is missing or cannot be read; \
         open it with its root slot (and with what else was set for it), and the file is written anew"
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
        "there is no vault at {}, where that of the data folder {} is to be: a new vault beside old events would \
         make them unreadable for ever; say where it is, restore the vault from a backup, or read what is public \
         without it",
        vault.display(), folder.display()
    )]
    VaultMissing {
        /// The data folder.
        folder: PathBuf,
        /// Where its vault was looked for.
        vault: PathBuf,
    },
    /// The events that belong to the vault are gone.
    #[error(
        "there are no events at {events}, where those of the data folder {} are to be; say where they are, restore \
         them, or choose another folder",
        folder.display()
    )]
    EventsMissing {
        /// The data folder.
        folder: PathBuf,
        /// Where its events were looked for.
        events: StorePlace,
    },
    /// Events and vault do not belong together.
    #[error(
        "the events in {place} are sealed by vault {store}, but the vault of this data folder is {vault}"
    )]
    VaultOfAnotherStore {
        /// Where the events are.
        place: StorePlace,
        /// The vault that the events name.
        store: String,
        /// The vault that is there.
        vault: String,
    },
    /// Events that were to become the folder's are not of its vault.
    #[error("the events in {place} do not belong to the vault {vault}; nothing was changed")]
    EventsOfAnother {
        /// Where the events are.
        place: StorePlace,
        /// The vault.
        vault: String,
        /// What was found there.
        source: Box<StoreError>,
    },
    /// A store at a server has events, and does not say whose tokens they hold.
    #[error(
        "the events at {place} do not say that vault {vault} sealed them: they may be in clear, or another vault's, and \
         nothing was changed"
    )]
    StoreUnnoted {
        /// Where the events are.
        place: StorePlace,
        /// The vault of the data folder, or of the backup.
        vault: String,
    },
    /// There are events where a new data folder's would begin, and they are not in clear, or not to be
    /// [kept](DataFolder::with_events).
    #[error(
        "there is no data folder at {}, and to begin one, the event store at {place} must be empty, or hold nothing but \
         events in clear that are to be kept; it is not so. If it belongs to a data folder, say which; if not, choose another \
         event store",
        folder.display()
    )]
    StoreTaken {
        /// The data folder that was to be made.
        folder: PathBuf,
        /// Where the events are.
        place: StorePlace,
    },
    /// The event store is at a server, and this program opens none.
    #[error(
        "the event store is at {0}, and this program opens none that are at servers; use one that does"
    )]
    NoStores(StorePlace),
    /// The event store at a server cannot be opened.
    #[error("the event store at {place} cannot be opened")]
    OpenStore {
        /// Where it is.
        place: StorePlace,
        /// Whether a retry may help.
        temporary: bool,
        /// What its adapter says.
        source: BoxError,
    },
    /// There is no place for the root slot.
    #[error(
        "no place for the vault's root slot: say where, or set XDG_STATE_HOME or HOME to an absolute path"
    )]
    NoPlaceForRoot,
    /// The root slot would lie in the data folder, or in that of its vault.
    #[error(
        "the root slot {root} would lie in the folder {path}: whoever copies the folder would have \
         both, and with an old copy of both, what was forgotten can be read; keep it elsewhere"
    )]
    RootWithin {
        /// The slot, or a mirror of it.
        root: PathBuf,
        /// The folder.
        path: PathBuf,
    },
    /// The location of the root slot is none that this program knows.
    #[error("the root slot cannot be at {0}: {1}")]
    BadRoot(PathBuf, String),
    /// Neither the user's settings nor the folder say where the root slot is.
    #[error("nobody noted for this user where the root slot of {0} is; say where, and it is noted")]
    RootUnknown(PathBuf),
    /// The pages do not belong to the slot that the caller names, and another one is noted.
    #[error(
        "the folder's pages do not belong to the root slot {given} that was named; the one that is noted for this \
         folder is {noted}: name none, or the second. Copy neither over the other: a folder may work under each"
    )]
    OtherSlot {
        /// The slot that the caller names.
        given: PathBuf,
        /// The slot that is noted for the folder.
        noted: PathBuf,
        /// Why they do not belong together.
        #[source]
        source: OpenVaultError,
    },
    /// The event store of a copied folder is elsewhere, and the other folder's as well.
    #[error(
        "the event store of this folder is elsewhere, and the other folder's as well; copy it, and say where the \
         copy is"
    )]
    StoreShared,
    /// There is no place for the settings.
    #[error(
        "no place to note what was set for the folder (its mirrors, say): set XDG_CONFIG_HOME or HOME to \
         an absolute path"
    )]
    NoPlaceForSettings,
    /// A path that could not be noted.
    #[error(
        "the path {} is not UTF-8 text, so it cannot be noted and found again; give another one",
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
        "{} is absent. The policy that this folder works under is in the vault: write the file anew from there. To \
         work without a policy, make that file, empty, and adopt it",
        file.display()
    )]
    PolicyAbsent {
        /// The folder.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// `policy.toml` is not what was adopted.
    #[error(
        "{} is not the policy that this folder works under: somebody changed it. Look at it, and adopt it, or write \
         the one anew that counts until then",
        file.display()
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
    /// The vault cannot be made or opened.
    #[error(transparent)]
    OpenVault(#[from] OpenVaultError),
    /// The vault failed, once it was open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The root slot of a vault that is open failed, or was not changed.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// An erasure that was cut off cannot be completed, or what is announced keeps the layer closed.
    #[error(transparent)]
    Erasure(#[from] ErasureError),
    /// The signing keys were not changed.
    #[error(transparent)]
    KeyChange(#[from] KeyChangeError),
    /// There are no events beside which a vault could be restored.
    #[error("there are no events at {0}; restore the event store first, then the vault beside it")]
    NothingToRestoreTo(StorePlace),
    /// Erasures that were to be applied to a restored vault.
    #[error(
        "of the given erasures, {} of this vault's {}: changed, forged, or of a newer program; \
         or an earlier restoration of the same backup announced them, under a key that no backup has; nothing \
         was restored: take the list as it was written; or, if it is that, restore without it, and \
         answer what opening asks of each erasure",
        .0, agree(*.0 as u64, "does not count", "do not count")
    )]
    ErasuresDoNotOpen(usize),
    /// A statement about signing keys among the erasures that were to be applied to a restored vault.
    #[error(
        "a statement about signing keys among the given erasures does not count: {0}; nothing was restored: \
         take the whole list as it was written"
    )]
    StatementDoesNotCount(Unlearned),
    /// Erasures that were to be applied to a restored vault, and that a key signed which was stolen.
    #[error(
        "of the given erasures, {} {} announced by a signing key alone that is compromised: nothing was \
         restored; take a list that was written after the key was changed, or restore without, and say of each whether to \
         apply it",
        .0, agree(*.0 as u64, "is", "are")
    )]
    ErasuresOfCompromisedKey(usize),
    /// None of the erasures that were to be applied to a restored vault is this vault's.
    #[error(
        "the given list has {}, and none of this vault's: nothing was restored; take the list of the vault that \
         is to be restored",
        count(*.0 as u64, "erasure")
    )]
    ErasuresOfAnotherVault(usize),
    /// The signing key was changed; what came afterwards failed.
    #[error("the signing keys are changed, and {key} signs from now on; opening the folder failed")]
    AfterKeyChange {
        /// The key that signs, or was pinned.
        key: SigningKeyId,
        /// What failed.
        source: Box<FolderError>,
    },
    /// One announcement is to be applied and to be passed over.
    #[error(
        "{}: say one of the two; nothing was changed",
        both(.believed, .passed)
    )]
    Contradiction {
        /// What is to be applied.
        believed: Uuid,
        /// What is to be passed over: the same, or its erasure, or one of its events.
        passed: Uuid,
    },
    /// The vault was restored; opening it failed. Do not restore it again: open it, as the cause says.
    #[error("the vault is restored, and its root slot is at {root}; opening it failed")]
    AfterRestoring {
        /// Where the root slot is.
        root: PathBuf,
        /// What failed.
        source: Box<FolderError>,
    },
    /// A backup cannot be restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Something is in the place of a file or folder of ours that is not, or not this user's.
    #[error("{} is not touched: {why}", path.display())]
    UntrustedFile {
        /// What is not touched.
        path: PathBuf,
        /// What it is, and what to do.
        why: String,
    },
    /// A task did not end by itself.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The file system refuses.
    #[error("{path} cannot be read or written")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<OperatorError> for FolderError {
    fn from(error: OperatorError) -> Self {
        Self::Erasure(error.into())
    }
}

impl FolderError {
    /// The vault of this folder, which is located, is not there.
    pub(super) fn vault_missing(folder: &DataFolder) -> Self {
        Self::VaultMissing { folder: folder.path.clone(), vault: folder.vault() }
    }

    /// The events of this folder, which is located, are not there.
    pub(super) fn events_missing(folder: &DataFolder) -> Self {
        Self::EventsMissing { folder: folder.path.clone(), events: folder.events() }
    }

    /// The event store at a server, of a folder that was to be made, is not empty.
    pub(super) fn store_taken(folder: &DataFolder) -> Self {
        Self::StoreTaken { folder: folder.path.clone(), place: folder.events() }
    }

    /// Why a file at this path was not opened.
    pub(super) fn refused(path: &Path) -> impl Fn(Refused) -> Self {
        move |refused| match refused {
            Refused::UntrustedFile { path, why } => Self::UntrustedFile { path, why },
            Refused::Io(source) => Self::Io { path: path.to_owned(), source },
        }
    }

    /// Whether the same call may succeed later without anybody's changing anything: what is so of its parts.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::OpenStore { temporary, .. } => *temporary,
            Self::Open(error) => error.is_temporary(),
            Self::Store(error) => error.is_temporary(),
            Self::OpenVault(error) | Self::OtherSlot { source: error, .. } => error.is_temporary(),
            Self::Vault(error) => error.is_temporary(),
            Self::Slot(error) => error.is_temporary(),
            Self::Erasure(error) => error.is_temporary(),
            Self::KeyChange(error) => error.is_temporary(),
            Self::Backup(error) => error.is_temporary(),
            Self::Task(error) => error.is_temporary(),
            Self::AfterKeyChange { .. }
            | Self::AfterRestoring { .. }
            | Self::NotFound(_)
            | Self::AlreadyThere(_)
            | Self::EventsOfAnother { .. }
            | Self::NotOurs(_)
            | Self::NotAFolder { .. }
            | Self::DanglingLink(_)
            | Self::Occupied { .. }
            | Self::ManifestLost(_)
            | Self::NewerFormat { .. }
            | Self::VaultMissing { .. }
            | Self::EventsMissing { .. }
            | Self::VaultOfAnotherStore { .. }
            | Self::StoreUnnoted { .. }
            | Self::StoreTaken { .. }
            | Self::NoStores(_)
            | Self::NoPlaceForRoot
            | Self::RootWithin { .. }
            | Self::BadRoot(..)
            | Self::RootUnknown(_)
            | Self::StoreShared
            | Self::NoPlaceForSettings
            | Self::NotText(_)
            | Self::BadSettings { .. }
            | Self::SettingsOfAnotherVault { .. }
            | Self::PolicyAbsent { .. }
            | Self::PolicyChanged { .. }
            | Self::Policy(_)
            | Self::NothingToRestoreTo(_)
            | Self::ErasuresDoNotOpen(_)
            | Self::StatementDoesNotCount(_)
            | Self::ErasuresOfCompromisedKey(_)
            | Self::ErasuresOfAnotherVault(_)
            | Self::Contradiction { .. }
            | Self::UntrustedFile { .. }
            | Self::Io { .. } => false,
        }
    }
}

fn both(believed: &Uuid, passed: &Uuid) -> String {
    if believed == passed {
        return format!("{believed} is to be applied, and to be passed over");
    }
    format!(
        "{believed} is to be applied, and {passed}, which is of the same announcement, to be passed over"
    )
}
