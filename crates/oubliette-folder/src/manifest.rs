//! `oubliette.json`: that a folder is ours, and what belongs together in it.
//!
//! Nothing in it is trusted, for others may write into the folder. The vault's id must be the one
//! that the vault, its slot and the event store name. The location of the root slot is a hint: a file
//! there must be this user's, and the slot of this vault. The id of the settings leads to what this
//! user noted, or to nothing.
//!
//! The file is a JSON object with these members, and no others:
//!
//! | member | what |
//! | --- | --- |
//! | `oubliette` | the version: 1 |
//! | `vault` | the id of the vault; `null` as long as the folder is being made |
//! | `settings` | the id under which a user's settings are found ([`super::settings`]); may be absent |
//! | `root` | the path of the root slot, where that is a file; else absent |

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    DataFolder, FolderError, StorePlace,
    folder::FORMAT,
    making::{is_empty, refuse_file},
    settings::{Settings, Version, absolute, is_usual, noted, pretty, usual_settings},
    slot::{absolute_root, device},
};
use oubliette::vault::{Kek, PageStoreKind, SlotState, Vault};
use oubliette_files::{durable, own, without_mark};

/// What `oubliette.json` says in the version that this program knows: these members, and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// Says that the folder is ours, and the version.
    oubliette: u32,
    /// The vault's id; none as long as the folder is being made, and nothing is stored in it. It must say
    /// so: serde takes an absent member for `None`, unless it is told how to read it.
    #[serde(deserialize_with = "Option::deserialize")]
    vault: Option<String>,
    /// By which id a user's settings for it are found.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Uuid>,
    /// Where the root slot is, if it is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
}

/// What is noted of a folder, in it and by this user.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    id: Uuid,
    vault: Option<String>,
    /// Of the root slot; a hint.
    hint: Option<PathBuf>,
    settings: Option<Settings>,
}

/// What is in the folder now.
pub(super) enum Found {
    Nothing,
    /// It was being made when the machine stopped; nothing was stored in it.
    Unfinished(Noted),
    Ours(Noted),
}

impl Noted {
    /// Of a new folder, or of one of which only the events were saved.
    pub(super) fn nothing() -> Self {
        Self { id: Uuid::new_v4(), vault: None, hint: None, settings: None }
    }

    /// The vault's id, where it was finished.
    pub(super) fn vault(&self) -> Option<String> {
        self.vault.clone()
    }

    /// This user's settings; empty, where there are none.
    pub(super) fn settings(&self) -> Settings {
        self.settings.clone().unwrap_or_default()
    }

    /// Where the root slot is: what the user noted, or else what the folder says.
    pub(super) fn root(&self) -> Option<PathBuf> {
        self.settings().root.map(PathBuf::from).or_else(|| self.hint.clone())
    }

    /// Where a root slot may be made: where the user noted it. What the folder says counts only if it is
    /// in this user's own state directory, where slots are made by default.
    pub(super) fn own_root(&self) -> Option<PathBuf> {
        let usual = self.hint.clone().filter(|root| is_usual(root));
        self.settings().root.map(PathBuf::from).or(usual)
    }

    /// The same, with other settings.
    pub(super) fn with(mut self, settings: Settings) -> Self {
        let root = settings.root.as_ref().map(PathBuf::from);
        self.hint = root.filter(|root| device(root).is_none());
        self.vault.clone_from(&settings.vault);
        self.settings = Some(settings);
        self
    }
}

impl DataFolder {
    pub(super) fn manifest_file(&self) -> PathBuf {
        self.path.join("oubliette.json")
    }

    pub(super) fn settings_file(&self, id: Uuid) -> Option<PathBuf> {
        let folder = self.settings.clone().or_else(usual_settings)?;
        Some(folder.join(format!("{id}.json")))
    }

    /// What there is at the path.
    pub(super) fn look(&self) -> Result<Found, FolderError> {
        let file = self.manifest_file();
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if is_empty(&self.path)? {
                    Ok(Found::Nothing)
                } else if file.exists() {
                    // Another process made it between the two looks.
                    self.look()
                } else {
                    Err(self.without_manifest())
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                refuse_file(&self.path, "data folder")?;
                return Err(FolderError::NotOurs(self.path.clone()));
            }
            Err(source) => return Err(FolderError::Io { path: file, source }),
        };
        let not_ours = |_| self.without_manifest();
        let text = without_mark(&text);
        // The version first: only it says what the rest looks like.
        let Version { oubliette: found } = serde_json::from_slice(text).map_err(not_ours)?;
        if found > FORMAT {
            return Err(FolderError::NewerFormat { path: self.path.clone(), found });
        }
        if found != FORMAT {
            return Err(self.without_manifest());
        }
        let Manifest { vault, settings: id, root, .. } =
            serde_json::from_slice(text).map_err(not_ours)?;
        let settings = id.map(|id| Settings::load(self.settings_file(id))).transpose()?.flatten();
        if let (Some(vault), Some(noted)) =
            (&vault, settings.as_ref().and_then(|s| s.vault.as_ref()))
            && vault != noted
        {
            return Err(FolderError::SettingsOfAnotherVault {
                path: self.path.clone(),
                vault: vault.clone(),
                noted: noted.clone(),
            });
        }
        // A module that a URI names would be loaded, and where a relative path leads depends.
        let hint = root.map(PathBuf::from);
        let hint = hint.filter(|root| root.is_absolute() && device(root).is_none());
        let noted = Noted { id: id.unwrap_or_else(Uuid::new_v4), vault, hint, settings };
        Ok(if noted.vault.is_some() { Found::Ours(noted) } else { Found::Unfinished(noted) })
    }

    /// What a folder is whose file is missing or cannot be read. That there is a vault does not make it ours
    /// to work in: whose it is, its root slot shows.
    fn without_manifest(&self) -> FolderError {
        let path = self.path.clone();
        let has_events = self.has_events().is_ok_and(|has_events| has_events);
        match has_events && PageStoreKind::of_vault(&self.vault()).is_ok() {
            true => FolderError::ManifestLost(path),
            false => FolderError::NotOurs(path),
        }
    }

    /// Writes the file again of a folder that lost it. The caller has opened the vault with the slot that
    /// the user named, and the events are of that vault.
    pub(super) fn note_anew(&self, vault: &Vault) -> Result<(), FolderError> {
        let root = absolute_root(self.known_root()?.to_owned())?;
        let settings = self.settings(Some(vault.id().to_string()), &root)?;
        self.note(&Noted::nothing().with(settings))
    }

    /// This folder, with what is noted of it where the caller does not say.
    pub(super) fn located(&self, noted: &Noted) -> Self {
        let settings = noted.settings();
        let path = |noted: Option<String>| noted.map(PathBuf::from);
        let root = self.root.clone().or_else(|| noted.root());
        let mut mirrors: Vec<_> = settings.mirrors.into_iter().map(PathBuf::from).collect();
        // A mirror that became the slot is none any more. One that only leads to it may have a file of its own.
        if let Some(root) = &root {
            mirrors.retain(|mirror| mirror != root);
        }
        Self {
            root,
            mirrors: self.mirrors.iter().cloned().chain(mirrors).collect(),
            kek: self.kek.clone().or(settings.kek),
            counter: self.counter.clone().or(settings.counter),
            vault: self.vault.clone().or_else(|| path(settings.vault_at)),
            store: self.store.clone().or_else(|| settings.store_at.map(noted_store)),
            ..self.clone()
        }
    }

    /// What is to be noted of this folder.
    ///
    /// # Errors
    /// [`FolderError::NotText`] where a path is none that can be noted.
    pub(super) fn settings(
        &self,
        vault: Option<String>,
        root: &Path,
    ) -> Result<Settings, FolderError> {
        let place = |path: &Option<PathBuf>| path.as_deref().map(noted).transpose();
        let mirrors: Vec<_> =
            self.mirrors.iter().map(|path| noted(path)).collect::<Result<_, _>>()?;
        Ok(Settings {
            vault,
            root: Some(noted_root(root)?),
            mirrors,
            kek: self.kek.as_ref().map(noted_kek).transpose()?.flatten(),
            counter: self.counter.clone(),
            vault_at: place(&self.vault)?,
            store_at: self.store.as_ref().map(store_to_note).transpose()?,
            ..Settings::default()
        })
    }

    /// An error where what the caller says could not be noted: better before it counts than after.
    ///
    /// # Errors
    /// [`FolderError::NotText`], [`FolderError::NoPlaceForSettings`].
    pub fn refuse_unnotable(&self) -> Result<(), FolderError> {
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        let settings = self.settings(None, root)?;
        settings.refuse_unplaceable(self.settings_file(Uuid::nil()).as_deref())
    }

    /// An error where [`DataFolder::note`] would fail, as far as can be seen beforehand.
    pub(super) fn rehearse_memo(&self, noted: &Noted) -> Result<(), FolderError> {
        if let Some(settings) = &noted.settings {
            settings.rehearse(self.settings_file(noted.id))?;
        }
        let path = self.manifest_file();
        durable::rehearse(&path).map_err(|source| FolderError::Io { path, source })
    }

    /// An error where what is set for this folder could not be noted now: for before a change of its slot
    /// that is to be noted.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::NotText`], [`FolderError::NoPlaceForSettings`].
    pub fn refuse_unwritable(&self) -> Result<(), FolderError> {
        self.refuse_unnotable()?;
        match self.look()? {
            Found::Ours(noted) => {
                let root = self.root.clone().or_else(|| noted.root());
                let settings = self.settings(noted.vault(), &root.unwrap_or_else(|| "/".into()))?;
                self.rehearse_memo(&noted.with(settings))
            }
            _ => Ok(()),
        }
    }

    /// Notes it: what this user set first, then what belongs together in the folder.
    pub(super) fn note(&self, noted: &Noted) -> Result<(), FolderError> {
        if let Some(settings) = &noted.settings {
            settings.save(self.settings_file(noted.id))?;
        }
        let manifest = Manifest {
            oubliette: FORMAT,
            vault: noted.vault.clone(),
            settings: Some(noted.id),
            root: noted.hint.as_deref().map(super::settings::noted).transpose()?,
        };
        let (file, text) = (self.manifest_file(), pretty(&manifest)?);
        if fs::read(&file).is_ok_and(|there| there == text) {
            return Ok(());
        }
        durable::replace(&file, &text).map_err(|source| FolderError::Io { path: file, source })
    }

    /// Notes for this user where the vault's mirrors and its counter are now, and where its
    /// key-encryption key comes from.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::NotText`].
    pub fn note_slot(&self, vault: &Vault, kek: &Kek) -> Result<(), FolderError> {
        self.note_changed(vault, kek, |_| Ok(()))
    }

    /// As [`DataFolder::note_slot`], and where this folder's root slot, vault and event store are, as
    /// far as the caller said.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::NotText`].
    pub fn note_places(&self, vault: &Vault, kek: &Kek) -> Result<(), FolderError> {
        self.note_changed(vault, kek, |settings| {
            if let Some(root) = &self.root {
                settings.root = Some(noted_root(root)?);
            }
            if let Some(vault) = &self.vault {
                settings.vault_at = Some(noted(vault)?);
            }
            if let Some(store) = &self.store {
                settings.store_at = Some(store_to_note(store)?);
            }
            Ok(())
        })
    }

    /// Takes a mirror from the user's settings.
    pub(super) fn note_without_mirror(&self, path: &Path) -> Result<(), FolderError> {
        self.note_settings(|settings| {
            settings.mirrors.retain(|mirror| !own::is_same(Path::new(mirror), path));
        })
    }

    /// Notes the mirrors that the slot has.
    pub(super) fn note_mirrors(&self, slot: &SlotState) -> Result<(), FolderError> {
        let mirrors = slot.mirrors.iter().map(|mirror| mirror.name.clone()).collect();
        self.note_settings(|settings| settings.mirrors = mirrors)
    }

    /// Notes that a file is no longer what a move leaves behind.
    pub(super) fn note_wanted(&self, path: &Path) -> Result<(), FolderError> {
        self.note_settings(|settings| {
            settings.moving_from =
                settings.moving_from.take().filter(|from| !own::is_same(Path::new(from), path));
        })
    }

    fn note_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<(), FolderError> {
        let (Found::Ours(noted) | Found::Unfinished(noted)) = self.look()? else { return Ok(()) };
        let mut settings = noted.settings();
        change(&mut settings);
        if noted.settings.as_ref().is_none_or(|before| *before == settings) {
            return Ok(());
        }
        self.note(&noted.with(settings))
    }

    fn note_changed(
        &self,
        vault: &Vault,
        kek: &Kek,
        change: impl FnOnce(&mut Settings) -> Result<(), FolderError>,
    ) -> Result<(), FolderError> {
        let Found::Ours(noted) = self.look()? else {
            return Err(FolderError::NotFound(self.path.clone()));
        };
        let state = vault.root_slot()?;
        let mut settings = noted.settings();
        settings.vault = Some(vault.id().to_string());
        settings.root = noted.root().as_deref().map(noted_root).transpose()?;
        settings.mirrors = state.mirrors.into_iter().map(|mirror| mirror.name).collect();
        settings.kek = noted_kek(kek)?;
        settings.counter = state.counter.map(|counter| counter.name);
        change(&mut settings)?;
        // A move is over when the file before is gone, and no mirror, or is the slot again.
        let moving_from = settings.moving_from.take().filter(|from| {
            let is_left = settings.mirrors.contains(from) || Path::new(from).exists();
            is_left && settings.root.as_ref() != Some(from)
        });
        settings.moving_from = moving_from;
        if noted.settings.as_ref() == Some(&settings) {
            return Ok(());
        }
        self.note(&noted.with(settings))
    }
}

fn noted_root(root: &Path) -> Result<String, FolderError> {
    match (device(root), root.to_str()) {
        (Some(_), Some(place)) => Ok(place.to_owned()),
        _ => noted(root),
    }
}

/// None, where there is none.
fn noted_kek(kek: &Kek) -> Result<Option<Kek>, FolderError> {
    Ok(match kek {
        Kek::None => None,
        Kek::File(path) => {
            noted(path)?;
            Some(Kek::File(absolute(path)?))
        }
        other => Some(other.clone()),
    })
}

/// Where an event store is, as it is noted: without a password.
fn store_to_note(store: &StorePlace) -> Result<String, FolderError> {
    match store {
        StorePlace::Folder(folder) => noted(folder),
        StorePlace::Address(address) => Ok(address.to_string()),
    }
}

fn noted_store(noted: String) -> StorePlace {
    noted.parse().unwrap_or_else(|_| StorePlace::Folder(noted.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder's file, and this user's settings for it.
    fn noted(folder: &Path) -> (DataFolder, Noted, Settings) {
        let (at, settings) = (folder.join("data"), folder.join("settings"));
        fs::create_dir(&at).unwrap();
        let data = DataFolder::at(&at).with_settings(Some(settings));
        let vault = Some(Uuid::new_v4().to_string());
        let settings = Settings {
            vault: vault.clone(),
            root: Some("tpm:0x01500016".to_owned()),
            mirrors: vec!["/mirror".to_owned()],
            ..Settings::default()
        };
        let hint = Some(PathBuf::from("/slot"));
        let noted = Noted { id: Uuid::new_v4(), vault, hint, settings: Some(settings.clone()) };
        data.note(&noted).unwrap();
        (data, noted, settings)
    }

    fn flipped(good: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..good.len() * 8).map(|bit| {
            let mut bytes = good.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        })
    }

    /// It is refused, or names another vault, another slot or other settings, each of which must be of the
    /// vault that is there.
    #[test]
    fn no_bit_and_no_byte_of_a_folders_file_makes_it_nothing_or_a_new_one_of_the_same_vault() {
        let place = tempfile::tempdir().unwrap();
        let (data, noted, _) = noted(place.path());
        let good = fs::read(data.manifest_file()).unwrap();
        let look = |bytes: &[u8]| {
            fs::write(data.manifest_file(), bytes).unwrap();
            data.look()
        };
        let mut read = 0;
        for bytes in flipped(&good) {
            match look(&bytes) {
                Ok(Found::Ours(found)) => {
                    read += 1;
                    let same = (found.vault == noted.vault, found.id == noted.id);
                    // Other settings are none, or another folder's.
                    assert_eq!(found.settings.is_some(), same.1, "{bytes:?}");
                    assert!(same == (true, true) || found.settings.is_none(), "{bytes:?}");
                }
                Ok(Found::Nothing | Found::Unfinished(_)) => panic!("{bytes:?}"),
                Err(FolderError::NewerFormat { found, .. }) => assert!(found > FORMAT),
                Err(FolderError::NotOurs(_) | FolderError::SettingsOfAnotherVault { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(read > 50, "{read}");
        for length in 0..good.len() - 1 {
            let cut = look(&good[..length]);
            assert!(matches!(cut, Err(FolderError::NotOurs(_))), "cut to {length}");
        }
        let newer = String::from_utf8(good).unwrap().replace(": 1,", ": 2,");
        let newer = look(newer.as_bytes());
        assert!(matches!(newer, Err(FolderError::NewerFormat { found: 2, .. })));
    }

    #[test]
    fn settings_that_are_changed_cut_or_newer_are_refused_or_other_ones() {
        let place = tempfile::tempdir().unwrap();
        let (data, noted, settings) = noted(place.path());
        let file = data.settings_file(noted.id).unwrap();
        let good = fs::read(&file).unwrap();
        let load = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            Settings::load(Some(file.clone()))
        };
        let settings = Settings { oubliette: FORMAT, ..settings };
        assert_eq!(load(&good).unwrap(), Some(settings.clone()));
        let text = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        for bytes in flipped(&good) {
            match load(&bytes) {
                Ok(read) => {
                    assert_eq!(read.as_ref() == Some(&settings), text(&bytes) == text(&good));
                }
                Err(FolderError::BadSettings { .. }) => {}
                // What is no text at all.
                Err(FolderError::Io { .. }) => assert!(std::str::from_utf8(&bytes).is_err()),
                Err(FolderError::NewerFormat { found, .. }) => assert!(found > FORMAT),
                Err(other) => panic!("{other:?}"),
            }
        }
        for length in 0..good.len() - 1 {
            let cut = load(&good[..length]);
            assert!(matches!(cut, Err(FolderError::BadSettings { .. })), "cut to {length}");
        }
        let newer = String::from_utf8(good).unwrap().replace(": 1,", ": 2,");
        let newer = load(newer.as_bytes());
        assert!(matches!(newer, Err(FolderError::NewerFormat { found: 2, .. })));
    }
}
