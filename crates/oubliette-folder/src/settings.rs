//! What this user has set for a data folder.
//!
//! Anyone who may write into the folder can change what it says. A command that gives a key, a module
//! that is loaded, a file to write the root key to, a folder to work in: such things are taken from
//! the command line, from the environment, and from here, `$XDG_CONFIG_HOME/oubliette/<id>.json`.
//! The folder names no more than the id.
//!
//! The file is a JSON object with these members, and no others:
//!
//! | member | what |
//! | --- | --- |
//! | `oubliette` | the version: 1 |
//! | `vault` | the id of the vault; `null` as long as it is being made |
//! | `root` | where the root slot is: a path, or the URI of a device (`tpm:…`, `pkcs11:…`); `null`: it is not noted |
//! | `mirrors` | paths of its mirrors; absent where there is none |
//! | `moving_from` | the file that the root slot moves from; absent where no move is under way |
//! | `kek` | where the key-encryption key comes from: `passphrase`, `file:PATH`, `env:VAR`, `command:CMD`; absent where there is none |
//! | `counter` | the counter that is the slot's witness; absent where there is none |
//! | `vault_at`, `store_at` | where the vault and the event store are; absent where they are in the data folder. Of a store at a server its address, without a password |

use std::{
    fs::OpenOptions,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FolderError, folder::FORMAT, slot::device};
use oubliette::vault::Kek;
use oubliette_files::{
    durable,
    own::{self, Refused},
    without_mark,
};

/// What a file of ours says of its version, whichever it is.
#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) oubliette: u32,
}

/// The settings of one data folder, in the version that this program knows: these members, and no
/// others. Paths are text in them, which always has a JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The version of the form.
    pub(super) oubliette: u32,
    /// The vault that they are for; none as long as it is being made. It and the next member must be
    /// there: serde takes an absent one for `None`, unless it is told how to read it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) vault: Option<String>,
    /// Where the root slot is.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) root: Option<String>,
    /// Where its mirrors are: needed where the slot itself is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) mirrors: Vec<String>,
    /// The file that the root slot moves from. Until it is destroyed it is a mirror, but one that nobody wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) moving_from: Option<String>,
    /// Where the key-encryption key comes from; never the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kek: Option<Kek>,
    /// The counter that is the slot's witness: needed where the slot itself is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counter: Option<String>,
    /// Where the vault is, unless in `vault/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vault_at: Option<String>,
    /// Where the event store is, unless in `events/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) store_at: Option<String>,
}

impl Settings {
    /// Those in a file, if there is one.
    pub(super) fn load(path: Option<PathBuf>) -> Result<Option<Self>, FolderError> {
        let Some(path) = path else { return Ok(None) };
        let mut opened = match own::open(&path, OpenOptions::new().read(true)) {
            Err(Refused::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(FolderError::refused(&path))?,
        };
        own::refuse_shared(&opened, &path).map_err(FolderError::refused(&path))?;
        let mut text = Vec::new();
        let read = opened.read_to_end(&mut text);
        read.map_err(|source| FolderError::Io { path: path.clone(), source })?;
        let text = without_mark(&text);
        let bad = |why: String| FolderError::BadSettings { path: path.clone(), why };
        // The version first: only it says what the rest looks like.
        let version = serde_json::from_slice(text).map_err(|error| bad(error.to_string()));
        let Version { oubliette: found } = version?;
        if found > FORMAT {
            return Err(FolderError::NewerFormat { path, found });
        }
        if found != FORMAT {
            return Err(bad(format!("version {found} was never released")));
        }
        serde_json::from_slice(text).map(Some).map_err(|error| bad(error.to_string()))
    }

    /// Notes them in a file, where they say anything that the folder alone does not tell.
    ///
    /// # Errors
    /// [`FolderError::NoPlaceForSettings`] where they do, and there is no place.
    pub(super) fn save(&self, path: Option<PathBuf>) -> Result<(), FolderError> {
        let text = pretty(&Self { oubliette: FORMAT, ..self.clone() })?;
        self.place(path, |path| durable::replace(path, &text))
    }

    /// An error where [`Settings::save`] would fail, as far as can be seen beforehand.
    pub(super) fn rehearse(&self, path: Option<PathBuf>) -> Result<(), FolderError> {
        self.place(path, durable::rehearse)
    }

    fn place(
        &self,
        path: Option<PathBuf>,
        write: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        self.refuse_unplaceable(path.as_deref())?;
        let Some(path) = path.filter(|path| self.is_needed() || path.exists()) else {
            return Ok(());
        };
        let made = durable::make_folder(durable::parent(&path));
        made.and_then(|()| write(&path)).map_err(|source| FolderError::Io { path, source })
    }

    pub(super) fn refuse_unplaceable(&self, path: Option<&Path>) -> Result<(), FolderError> {
        match path {
            None if self.is_needed() => Err(FolderError::NoPlaceForSettings),
            _ => Ok(()),
        }
    }

    /// Of a slot that is a file the folder tells the place, and whether that is right is seen there.
    fn is_needed(&self) -> bool {
        let rest = Self { vault: None, root: None, oubliette: 0, ..self.clone() };
        let device = self.root.as_ref().is_some_and(|root| device(root.as_ref()).is_some());
        device || rest != Self::default()
    }
}

/// Anything of ours, as JSON.
pub(super) fn pretty(value: &impl Serialize) -> Result<Vec<u8>, FolderError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| FolderError::Io {
        path: PathBuf::from("oubliette.json"),
        source: error.into(),
    })?;
    text.push(b'\n');
    Ok(text)
}

/// A place for a new vault's root slot: apart from the data folder, so that an archive of that
/// folder does not catch it.
pub(super) fn usual_root() -> Result<PathBuf, FolderError> {
    let root = slots().ok_or(FolderError::NoPlaceForRoot)?.join(format!("{}.root", Uuid::new_v4()));
    noted(&root).map(|_| root)
}

/// Whether a root slot is where this program puts them for this user.
pub(super) fn is_usual(root: &Path) -> bool {
    device(root).is_none() && root.parent().is_some_and(|folder| Some(folder) == slots().as_deref())
}

/// A path as it is noted: the same wherever one works later, and as text, or not at all.
///
/// # Errors
/// [`FolderError::NotText`].
pub(super) fn noted(path: &Path) -> Result<String, FolderError> {
    let path = absolute(path)?;
    path.to_str().map(str::to_owned).ok_or(FolderError::NotText(path))
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, FolderError> {
    std::path::absolute(path).map_err(|source| FolderError::Io { path: path.into(), source })
}

fn slots() -> Option<PathBuf> {
    Some(base("XDG_STATE_HOME", ".local/state")?.join("oubliette"))
}

/// Where a user's settings are.
pub(super) fn usual_settings() -> Option<PathBuf> {
    Some(base("XDG_CONFIG_HOME", ".config")?.join("oubliette"))
}

/// A base folder of the XDG specification, which says that a relative one does not count: it would
/// be another one for each folder that one works in.
fn base(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))
}
