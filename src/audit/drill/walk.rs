//! Paths: folders walked over, regular files opened, and nothing else.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What a walk meets.
pub(super) enum Entry {
    /// A regular file.
    File(PathBuf),
    /// A folder, before what is in it.
    Folder(PathBuf),
    /// A symbolic link below a given path. Links are not followed.
    Link(PathBuf),
    /// A pipe or a socket: nothing is stored there.
    Empty,
    /// A device.
    Device(PathBuf),
    /// Something that cannot be read.
    Failed(PathBuf, io::Error),
}

/// Walks over a path and all that is below it, in the order of names. The path itself may be a
/// link; links below it are shown and not followed.
pub(super) fn walk(path: &Path, see: &mut dyn FnMut(Entry)) {
    let real = fs::canonicalize(path).and_then(|real| Ok((fs::metadata(&real)?.file_type(), real)));
    match real {
        Ok((kind, _)) if kind.is_dir() => folder(path, see),
        // Named as the caller named it, unless it is a link, which nothing opens.
        Ok((kind, real)) => {
            let link = fs::symlink_metadata(path).is_ok_and(|about| about.is_symlink());
            see(entry(if link { real } else { path.to_owned() }, kind));
        }
        Err(error) => see(Entry::Failed(path.to_owned(), error)),
    }
}

fn folder(path: &Path, see: &mut dyn FnMut(Entry)) {
    // A stack, not recursion: anyone who made the folders chose how deep they are.
    let mut next = vec![path.to_owned()];
    while let Some(path) = next.pop() {
        see(Entry::Folder(path.clone()));
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                see(Entry::Failed(path, error));
                continue;
            }
        };
        let mut inner = Vec::new();
        let mut folders = Vec::new();
        for found in entries {
            match found.and_then(|found| Ok((found.path(), found.file_type()?))) {
                Ok((path, kind)) if kind.is_dir() => folders.push(path),
                Ok((path, kind)) => inner.push((path, kind)),
                Err(error) => see(Entry::Failed(path.clone(), error)),
            }
        }
        inner.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        inner.into_iter().for_each(|(path, kind)| see(entry(path, kind)));
        folders.sort_unstable_by(|a, b| b.cmp(a));
        next.extend(folders);
    }
}

fn entry(path: PathBuf, kind: fs::FileType) -> Entry {
    if kind.is_file() {
        return Entry::File(path);
    }
    if kind.is_symlink() {
        return Entry::Link(path);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() || kind.is_socket() {
            return Entry::Empty;
        }
    }
    Entry::Device(path)
}

/// Opens a regular file, and returns its length at this moment. Fails where the path has become a
/// link, a pipe or a device since it was seen; does not wait for anyone.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // Both are small bits in every Unix.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        options.custom_flags(i32::try_from(flags).unwrap_or_default());
    }
    let file = options.open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file any more"));
    }
    Ok((file, about.len()))
}
