//! Files and names that survive a power cut.
//!
//! A file that was written, and even synchronised, can still be lost with its *name*: a name is
//! durable once the folder that it is in was synchronised. Whatever is written here is called
//! done only when both are on the disk. It knows nothing of who
//! calls it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// With this begin the names of drafts. One that a crash left behind is of no account.
pub const DRAFT: &str = ".making";

/// Puts these bytes in a file, readable and writable by its owner alone, in place of whatever it
/// held. A crash leaves the old content or the new. A symbolic link is replaced, not followed.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A name of its own: two processes that write at once must not publish each other's halves.
    let draft = path.with_file_name(format!("{DRAFT}-{}", Uuid::new_v4().simple()));
    let written = write_new(&draft, bytes).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // The failure is the news; what stays is of no account.
        let _ = fs::remove_file(&draft);
    }
    written?;
    sync_folder(parent(path))
}

/// Puts these bytes in a new file, readable and writable by its owner alone.
pub fn make(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_new(path, bytes)?;
    sync_folder(parent(path))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder that only its owner may look into, and those that it is in where they are
/// missing. One that is there keeps its mode; its name is made durable, for its maker may
/// have been killed first.
pub fn make_folder(path: &Path) -> io::Result<()> {
    // No folder is made under the name `.`, as in `new/.`.
    let path: &Path = &path.components().collect::<PathBuf>();
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut at = path;
    while !at.is_dir() {
        missing.push(at.to_owned());
        // `.` is its own parent, and not there either where somebody removed it.
        if parent(at) == at {
            break;
        }
        at = parent(at);
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if missing.is_empty() {
        return sync_folder(parent(path));
    }
    for folder in missing.iter().rev() {
        match builder.create(folder) {
            // Somebody else was quicker, and may not have come to synchronise it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made?,
        }
        sync_folder(parent(folder))?;
    }
    Ok(())
}

/// That a file at this path could be replaced now: for before a step that cannot be taken back, where the
/// file is to be replaced after it.
pub fn rehearse(path: &Path) -> io::Result<()> {
    let draft = path.with_file_name(format!("{DRAFT}-{}", Uuid::new_v4().simple()));
    let written = write_new(&draft, &[b' '; 4096]);
    let removed = fs::remove_file(&draft);
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    written.and(removed)
}

/// Removes a file, or a symbolic link.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder(parent(path))
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only Unix lets a folder be opened and synchronised.
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        // One may write into it, and not look: it cannot be synchronised then, and to refuse would
        // not help.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the system has no room for what was to be written: the disk is full, or the user's share of it.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The folder that a path is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        // Of `/`, and of a name alone.
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, path) = (folder.path().join("victim"), folder.path().join("file"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a draft is left");
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("is-a-folder");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"bytes").is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a draft is left");
    }

    #[test]
    fn folders_are_made_with_those_that_they_lie_in() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        make_folder(&deep).unwrap();
        make_folder(&deep).unwrap();
        for made in [&deep, &folder.path().join("a")] {
            assert_eq!(fs::metadata(made).unwrap().mode() & 0o7777, 0o700);
        }
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(make_folder(&folder.path().join("file/in-it")).is_err());
        assert!(make_folder(&folder.path().join("file")).is_err());
    }
}
