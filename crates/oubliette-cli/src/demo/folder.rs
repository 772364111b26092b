//! The bank's data folder: opened as the program opens one, and looked at from the outside, as anyone who
//! steals the disk would.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::TryStreamExt;
use oubliette::{
    event::{Json, Payload, RecordedEvent},
    layer::Oubliette,
    store::{EventStore, EventStoreExt, ReadAllOptions, ReadOptions, StoreError},
};
use oubliette_folder::{Access, AnyStore, DataFolder};

use super::{
    Failure,
    bank::{Line, books, name},
};

/// The bank's data folder, open.
pub(super) struct Bank {
    pub(super) oubliette: Oubliette<AnyStore>,
    /// Where everything is; it is removed in the end.
    pub(super) place: PathBuf,
    /// The event store's folder.
    pub(super) events: PathBuf,
    /// The vault's folder.
    pub(super) vault: PathBuf,
    /// The vault's root slot, apart from both.
    pub(super) root: PathBuf,
}

/// The bank as it was before it forgot.
pub(super) struct Remembered {
    /// All events as the layer read them.
    pub(super) events: Vec<RecordedEvent>,
    pub(super) books: Vec<Line>,
}

impl Bank {
    /// A new data folder under `place`, with the root slot beside it instead of in it.
    pub(super) async fn open(place: &Path, policy: &str) -> Result<Self, Failure> {
        let policy_file = place.join("policy.toml");
        fs::write(&policy_file, policy)?;
        let (data, root) = (place.join("data"), place.join("root-slot"));
        let folder = DataFolder::at(&data).with_root(Some(root.clone()));
        let parts = folder.open(Access::Create, Some(&policy_file)).await?;
        if let (Some(given), Some(vault)) = (&parts.given, parts.oubliette.vault()) {
            folder.adopt(vault, given).await?;
        }
        Ok(Self {
            oubliette: parts.oubliette,
            place: place.to_owned(),
            events: data.join("events"),
            vault: data.join("vault"),
            root,
        })
    }

    /// All events and the books as they are now.
    pub(super) async fn remember(&self) -> Result<Remembered, Failure> {
        Ok(Remembered { events: self.all().await?, books: books(&self.oubliette).await? })
    }

    /// All events of the bank, through the layer.
    pub(super) async fn all(&self) -> Result<Vec<RecordedEvent>, StoreError> {
        self.oubliette.read_all(ReadAllOptions::default()).try_collect().await
    }

    /// The events of one stream, through the layer.
    pub(super) async fn read(&self, stream: &str) -> Result<Vec<RecordedEvent>, Failure> {
        Ok(self.oubliette.events(&name(stream)?, ReadOptions::default()).await?)
    }
}

impl Remembered {
    /// The events of one stream.
    pub(super) fn of<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = &'a RecordedEvent> {
        self.events.iter().filter(move |event| event.stream.as_str() == stream)
    }
}

/// An event's payload as text; empty where nothing of it is readable.
pub(super) fn text(event: &RecordedEvent) -> &str {
    event.data.as_ref().and_then(Payload::as_json).map_or("", Json::as_str)
}

/// How often a text is in the files of a folder, byte for byte, as `grep` would find it.
pub(super) fn grep(folder: &Path, text: &str) -> io::Result<usize> {
    let mut hits = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        hits += if path.is_dir() {
            grep(&path, text)?
        } else {
            let bytes = fs::read(&path)?;
            bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
        };
    }
    Ok(hits)
}

/// How many files a folder has, and how many bytes.
pub(super) fn size(folder: &Path) -> io::Result<(usize, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (more_files, more_bytes) =
            if entry.path().is_dir() { size(&entry.path())? } else { (1, entry.metadata()?.len()) };
        files += more_files;
        bytes += more_bytes;
    }
    Ok((files, bytes))
}

/// Copies a folder with all that is in it.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
