//! Paths and bytes: folders walked over, files of any size read through a window.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What is come upon in a folder.
pub(super) enum Entry {
    /// A file with content.
    File(PathBuf),
    /// A folder, before what is in it.
    Folder(PathBuf),
    /// A link, a device, a pipe…
    PassedOver,
    /// Something that cannot be read.
    Failed(PathBuf, io::Error),
}

/// Walks over a path and all that is below it, in the order of names. Links are not followed, but
/// the path itself may be one.
pub(super) fn walk(path: &Path, see: &mut dyn FnMut(Entry)) {
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => folder(path, see),
        Ok(about) if about.is_file() => see(Entry::File(path.to_owned())),
        Ok(_) => see(Entry::PassedOver),
        Err(error) => see(Entry::Failed(path.to_owned(), error)),
    }
}

fn folder(path: &Path, see: &mut dyn FnMut(Entry)) {
    // A stack, not recursion: whoever made the folders chose how deep they are.
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
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
                Ok((path, kind)) if kind.is_dir() => folders.push(path),
                Ok((path, kind)) if kind.is_file() => inner.push(path),
                Ok(_) => see(Entry::PassedOver),
                Err(error) => see(Entry::Failed(path.clone(), error)),
            }
        }
        inner.sort_unstable();
        inner.into_iter().for_each(|path| see(Entry::File(path)));
        folders.sort_unstable_by(|a, b| b.cmp(a));
        next.extend(folders);
    }
}

/// A piece of a file.
pub(super) struct Window<'a> {
    /// The bytes.
    pub(super) bytes: &'a [u8],
    /// What begins at or after this byte, and before `to`, is to be looked at here; what stands
    /// around it is there to be looked at with it.
    pub(super) from: usize,
    /// Likewise.
    pub(super) to: usize,
    /// Where in the file the first byte is.
    pub(super) offset: u64,
}

/// How many bytes before a beginning can be seen.
const BEFORE: usize = 2;

/// Reads to the end, so that `after` bytes after each beginning can be seen, or all that there
/// are. Keeps `after` bytes and as many again, or a MiB, in memory.
pub(super) fn windows(
    mut reader: impl Read,
    after: usize,
    see: &mut dyn FnMut(Window<'_>),
) -> io::Result<()> {
    let step = after.max(1 << 20);
    let mut bytes = vec![0; BEFORE + after + step];
    let (mut filled, mut from, mut offset) = (0, 0, 0);
    loop {
        let read = fill(&mut reader, &mut bytes[filled..]);
        let (read, failed) = match read {
            Ok(read) => (read, None),
            Err((read, error)) => (read, Some(error)),
        };
        filled += read;
        let ended = filled < bytes.len();
        let to = if ended { filled } else { filled - after };
        see(Window { bytes: &bytes[..filled], from, to, offset });
        if let Some(error) = failed {
            return Err(error);
        }
        if ended {
            return Ok(());
        }
        let keep = to.saturating_sub(BEFORE);
        bytes.copy_within(keep..filled, 0);
        (filled, from, offset) = (filled - keep, to - keep, offset + keep as u64);
    }
}

/// Fills a buffer, or as much of it as there is; of an error, what was read before it as well.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, (usize, io::Error)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((filled, error)),
        }
    }
    Ok(filled)
}

/// What a file is, as far as its beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Text, or anything else.
    Plain,
    /// A SQLite database.
    Sqlite,
    /// gzip, which is looked into.
    Gzip,
    /// An archive that is searched as it lies.
    Tar,
    /// Compressed in a way that is not looked into.
    Compressed(&'static str),
    /// Encrypted with age. Whoever has an identity can look into it: here is the place for it.
    Age,
}

/// How many bytes tell what a file is.
const HEAD: u64 = 512;

/// Opens a file, as long as it is now.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// What a file is.
pub(super) fn form(path: &Path) -> io::Result<Form> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(form_of(&head))
}

fn form_of(head: &[u8]) -> Form {
    const FORMS: [(&[u8], Form); 10] = [
        (b"SQLite format 3\0", Form::Sqlite),
        (b"\x1f\x8b\x08", Form::Gzip),
        (b"age-encryption.org/v1\n", Form::Age),
        (b"-----BEGIN AGE ENCRYPTED FILE-----", Form::Age),
        (b"\x28\xb5\x2f\xfd", Form::Compressed("zstd")),
        (b"\xfd7zXZ\0", Form::Compressed("xz")),
        (b"BZh", Form::Compressed("bzip2")),
        (b"PK\x03\x04", Form::Compressed("zip")),
        (b"7z\xbc\xaf\x27\x1c", Form::Compressed("7z")),
        (b"\x04\x22\x4d\x18", Form::Compressed("lz4")),
    ];
    let begins = FORMS.iter().find(|(magic, _)| head.starts_with(magic));
    match begins {
        Some((_, form)) => *form,
        None if head.get(257..262) == Some(b"ustar") => Form::Tar,
        None => Form::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives as little as it likes.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = self.0.len().min(buffer.len()).min(70_001);
            buffer[..some].copy_from_slice(&self.0[..some]);
            self.0 = &self.0[some..];
            Ok(some)
        }
    }

    #[test]
    fn each_beginning_is_seen_once_with_what_stands_around_it() {
        for length in [0, 1, 5, 4096, (1 << 20) + 9, (1 << 20) + 4098, (3 << 20) + 77] {
            let bytes: Vec<u8> = (0..length).map(|i: usize| (i % 251) as u8).collect();
            let mut next = 0;
            windows(Drip(&bytes), 4096, &mut |window| {
                assert_eq!(window.offset as usize + window.from, next);
                for at in [window.from, window.to.saturating_sub(1)] {
                    let absolute = window.offset as usize + at;
                    assert!(at >= 2.min(absolute), "{at}");
                    let seen = &window.bytes[at..window.bytes.len().min(at + 4096)];
                    assert_eq!(seen, &bytes[absolute..length.min(absolute + seen.len())]);
                    assert!(seen.len() == 4096 || absolute + seen.len() == length);
                }
                next = window.offset as usize + window.to;
            })
            .unwrap();
            assert_eq!(next, length);
        }
    }

    #[test]
    fn forms_are_told_by_their_beginnings() {
        assert_eq!(form_of(b"age-encryption.org/v1\n-> X25519"), Form::Age);
        assert_eq!(form_of(b"SQLite format 3\0\x10"), Form::Sqlite);
        assert_eq!(form_of(b""), Form::Plain);
        assert_eq!(form_of(b"{\"a\":1}"), Form::Plain);
        let mut tar = [0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(form_of(&tar), Form::Tar);
    }
}
