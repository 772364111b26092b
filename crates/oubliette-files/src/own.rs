//! Files and folders that are ours, and nothing that somebody else put in their place.
//!
//! Anyone who may write into a folder can put a symbolic link, a pipe or another user's file where one
//! of ours should be. So what is locked, overwritten or emptied is opened without following a link,
//! and looked at by its descriptor before it is touched. It knows nothing of who calls it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Why something was not touched.
#[derive(Debug)]
pub enum Refused {
    /// It is not ours.
    UntrustedFile {
        /// What was to be opened.
        path: PathBuf,
        /// What it is instead, and what to do.
        why: String,
    },
    /// The system says no.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a file of this user's; one that the options make is for them alone. Its last component is
/// not followed where it is a link.
pub fn open(path: &Path, options: &mut OpenOptions) -> Result<File, Refused> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;
        // Not blocking: a pipe would keep us waiting for somebody at its other end.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    let file = options.open(path).map_err(|error| if_link(path, error))?;
    refuse_untrusted(&file, path)?;
    Ok(file)
}

/// Opens a lock file of this user's, or makes it. It is not emptied.
pub fn open_lock(path: &Path) -> Result<File, Refused> {
    let mut options = OpenOptions::new();
    let file = open(path, options.read(true).write(true).create(true).truncate(false))?;
    refuse_second_name(&file, path)?;
    Ok(file)
}

/// Empties a folder of this user's, but for what is to be kept, and only if there is nothing in it
/// besides what has one of these names.
pub fn clear(path: &Path, ours: &[&str], keep: &[&str]) -> Result<(), Refused> {
    let folder = Folder::open(path)?;
    let mut losses = Vec::new();
    for name in folder.names()? {
        let known = |known: &str| name.as_encoded_bytes() == known.as_bytes();
        let draft = name.as_encoded_bytes().starts_with(crate::durable::DRAFT.as_bytes());
        if !draft && !ours.iter().any(|ours| known(ours)) {
            let why = "a vault that was never finished does not hold this; move it away";
            return Err(Refused::UntrustedFile { path: path.join(name), why: why.to_owned() });
        }
        if !keep.iter().any(|keep| known(keep)) {
            losses.push(name);
        }
    }
    losses.iter().try_for_each(|name| folder.remove(name))?;
    Ok(())
}

/// An error where a path is a symbolic link, wherever it leads.
pub fn refuse_link(path: &Path) -> Result<(), Refused> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(untrusted(path, LINK)),
        _ => Ok(()),
    }
}

/// An error where others than its owner may read or write it.
#[cfg(unix)]
pub fn refuse_shared(file: &File, path: &Path) -> Result<(), Refused> {
    match std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o077 {
        0 => Ok(()),
        _ => Err(untrusted(path, "others may read or write it; look at it, then chmod 600")),
    }
}

#[cfg(not(unix))]
pub fn refuse_shared(_: &File, _: &Path) -> Result<(), Refused> {
    Ok(())
}

/// Whether two paths lead to one file: by a link, by `..`, or because it has two names. Where neither leads to
/// anything, they do if they would make the same file.
pub fn is_same(one: &Path, other: &Path) -> bool {
    match (identity(one), identity(other)) {
        (None, None) => settled(one) == settled(other),
        (one, other) => one == other,
    }
}

/// What no two files have in common.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// A path without links, as far as it exists.
pub fn settled(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return real.join(rest);
        }
    }
    path
}

/// What to do where others may look into a folder, or write there.
pub fn too_open(folder: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(folder).ok()?) & 0o7777;
        let may = match mode & 0o077 {
            0 => return None,
            shared if shared & 0o022 != 0 => "look and write",
            _ => "look",
        };
        let folder = folder.display();
        Some(format!("others may {may} in {folder} (mode {mode:o}): chmod -R go= {folder}"))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

fn if_link(path: &Path, error: io::Error) -> Refused {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => untrusted(path, LINK),
        _ => Refused::Io(error),
    }
}

const LINK: &str = "it is a symbolic link; name what it leads to, or remove it";

fn untrusted(path: &Path, why: &str) -> Refused {
    Refused::UntrustedFile { path: path.to_owned(), why: why.to_owned() }
}

fn refuse_untrusted(file: &File, path: &Path) -> Result<(), Refused> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(untrusted(path, "it is not a plain file"));
    }
    refuse_other_owner(&found, path)
}

/// The superuser is no exception: what another user made decides nothing for them.
#[cfg(unix)]
fn refuse_other_owner(found: &fs::Metadata, path: &Path) -> Result<(), Refused> {
    use std::os::unix::fs::MetadataExt;
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    let why = format!("it belongs to user {owner}, and this is user {user}; run it as its owner");
    Err(Refused::UntrustedFile { path: path.to_owned(), why })
}

#[cfg(not(unix))]
fn refuse_other_owner(_: &fs::Metadata, _: &Path) -> Result<(), Refused> {
    Ok(())
}

/// A hard link would give somebody else's file a name that we write to.
#[cfg(unix)]
fn refuse_second_name(file: &File, path: &Path) -> Result<(), Refused> {
    match std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) {
        0 | 1 => Ok(()),
        _ => Err(untrusted(path, "the same file has another name as well; remove this one")),
    }
}

#[cfg(not(unix))]
fn refuse_second_name(_: &File, _: &Path) -> Result<(), Refused> {
    Ok(())
}

/// A folder of this user's, held open, so that no one can exchange it for another.
#[cfg(unix)]
struct Folder(File);

#[cfg(unix)]
impl Folder {
    fn open(path: &Path) -> Result<Self, Refused> {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let folder = options.open(path).map_err(|error| if_link(path, error))?;
        refuse_other_owner(&folder.metadata()?, path)?;
        Ok(Self(folder))
    }

    fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        use std::os::unix::ffi::OsStringExt;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(std::ffi::OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Removes what has a name, with all that is in it. Of a link, the link.
    fn remove(&self, name: &std::ffi::OsStr) -> io::Result<()> {
        use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
        let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::empty()) {
            Ok(inner) => {
                let inner = Self(inner.into());
                inner.names()?.iter().try_for_each(|name| inner.remove(name))?;
                Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
            }
            Err(_) => Ok(unlinkat(&self.0, name, AtFlags::empty())?),
        }
    }
}

/// Where folders cannot be held open, a look comes before each step.
#[cfg(not(unix))]
struct Folder(PathBuf);

#[cfg(not(unix))]
impl Folder {
    fn open(path: &Path) -> Result<Self, Refused> {
        match fs::symlink_metadata(path)? {
            found if found.is_dir() => Ok(Self(path.to_owned())),
            _ => Err(untrusted(path, LINK)),
        }
    }

    fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn remove(&self, name: &std::ffi::OsStr) -> io::Result<()> {
        let path = self.0.join(name);
        match fs::symlink_metadata(&path)?.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn why(refused: Result<impl Sized, Refused>) -> String {
        match refused {
            Err(Refused::UntrustedFile { why, .. }) => why,
            Err(Refused::Io(error)) => panic!("{error}"),
            Ok(_) => panic!("not refused"),
        }
    }

    #[test]
    fn a_lock_is_no_link_no_pipe_and_no_second_name() {
        let temp = tempfile::tempdir().unwrap();
        let (victim, lock) = (temp.path().join("victim"), temp.path().join("lock"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &lock).unwrap();
        assert!(why(open_lock(&lock)).contains("symbolic link"));
        fs::remove_file(&lock).unwrap();
        symlink(temp.path().join("absent"), &lock).unwrap();
        assert!(why(open_lock(&lock)).contains("symbolic link"));
        assert!(!temp.path().join("absent").exists());
        fs::remove_file(&lock).unwrap();
        fs::hard_link(&victim, &lock).unwrap();
        assert!(why(open_lock(&lock)).contains("another name"));
        fs::remove_file(&lock).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(why(open_lock(&lock)).contains("plain file"));
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_is_the_same_by_whichever_name() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        symlink(at("folder"), at("link")).unwrap();
        let names = ["folder/x", "folder/../folder/x", "link/x", "link/../folder/./x"].map(at);
        let all_same = || names.iter().all(|one| names.iter().all(|other| is_same(one, other)));
        assert!(all_same(), "before it is there");
        fs::write(&names[0], "").unwrap();
        assert!(all_same());
        fs::hard_link(&names[0], at("second")).unwrap();
        symlink(&names[0], at("third")).unwrap();
        assert!(is_same(&names[1], &at("second")) && is_same(&names[1], &at("third")));
        fs::copy(&names[0], at("copy")).unwrap();
        for other in ["copy", "absent", "folder/y"] {
            assert!(!is_same(&names[0], &at(other)), "{other}");
        }
        assert!(!is_same(&at("absent"), &at("folder/absent")));
    }

    #[test]
    fn clearing_follows_no_link_and_knows_what_is_ours() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, victim) = (temp.path().join("folder"), temp.path().join("victim"));
        fs::create_dir_all(folder.join("pages/blobs")).unwrap();
        fs::create_dir_all(victim.join("letters")).unwrap();
        fs::write(victim.join("letters/one"), "precious").unwrap();
        symlink(&victim, folder.join("pages/blobs/link")).unwrap();
        symlink(&victim, folder.join("header")).unwrap();
        fs::write(folder.join("lock"), "").unwrap();
        fs::write(folder.join("diary"), "precious").unwrap();
        assert!(why(clear(&folder, &["pages", "lock", "header"], &[])).contains("never finished"));
        assert!(folder.join("pages/blobs/link").is_symlink(), "something was removed");
        fs::remove_file(folder.join("diary")).unwrap();
        clear(&folder, &["pages", "lock", "header"], &["lock"]).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(fs::read(victim.join("letters/one")).unwrap(), b"precious");

        let link = temp.path().join("link");
        symlink(&victim, &link).unwrap();
        assert!(why(clear(&link, &["letters"], &[])).contains("symbolic link"));
        assert!(victim.join("letters/one").exists());
    }
}
