//! Looking at files from the outside, as anyone who steals the disk would.

use std::{fs, io, path::Path};

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
