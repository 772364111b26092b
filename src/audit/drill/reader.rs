//! The process that opens a copy of a vault: a database's engine over bytes from strangers.
//!
//! It has a copy of the copy, a pipe in and a pipe out, and nothing else: no vault, no store, no
//! environment, no other file, and no TCP where the kernel can keep it from that. On Linux, Landlock sees
//! to it. It serves pages,
//! which are ciphertext: it has no key, and learns none.
//!
//! ```text
//! first answer  confined(1)             1: it is; 0: the system cannot do it, and it has ended
//! second        opened(1)               1; or 0, and why in text up to the end
//! asked         name(16)
//! answered      length(4) page          no page: a length of 2³² - 1
//! ```

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::walk;
use crate::vault::Copied;

/// No page is longer.
const LONGEST_PAGE: u32 = 64 << 20;
const NO_PAGE: u32 = u32::MAX;

/// Who opens copies of the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyReader {
    /// No one: a copy of the vault is told as not looked into.
    #[default]
    Nobody,
    /// A program that runs [`read_copy`] when it is started with [`READER`] and a folder: the
    /// command line `oubliette`, or the program itself.
    Program {
        /// Its path.
        program: PathBuf,
        /// Whether it may also open copies where the system cannot confine it.
        unconfined: bool,
    },
}

/// What a [`CopyReader`] is started with, followed by the folder.
pub const READER: &str = "drill-reader";

/// What the process of a [`CopyReader`] does: it gives away all its rights and answers on its
/// standard output for the pages that are asked for on its standard input. Call it before there
/// are threads, and end the process when it returns.
///
/// # Errors
/// Those of the pipes.
pub fn read_copy(folder: &Path, unconfined: bool) -> io::Result<()> {
    let confined = confine(folder);
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    output.write_all(&[u8::from(confined)])?;
    output.flush()?;
    if !confined && !unconfined {
        return Ok(());
    }
    let copy = match Copied::open(folder) {
        Ok(copy) => copy,
        Err(error) => {
            output.write_all(&[0])?;
            output.write_all(crate::words::chain(&error).as_bytes())?;
            return output.flush();
        }
    };
    output.write_all(&[1])?;
    output.flush()?;
    let mut name = [0; 16];
    while input.read_exact(&mut name).is_ok() {
        // What does not read is not there.
        let page = copy.page(&name).ok().flatten();
        let length = page.as_ref().map_or(Ok(NO_PAGE), |page| u32::try_from(page.len()));
        output.write_all(&length.unwrap_or(NO_PAGE).to_be_bytes())?;
        if let (Some(page), Ok(_)) = (page, length) {
            output.write_all(&page)?;
        }
        output.flush()?;
    }
    Ok(())
}

/// Takes all rights from this process but those on a folder. `false`: the system cannot do that.
#[cfg(target_os = "linux")]
fn confine(folder: &Path) -> bool {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
    };
    // As much of it as the kernel knows; an older one knows files and no network.
    let all = ABI::V6;
    let restrict = || -> Result<RestrictionStatus, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(all))?
            .handle_access(AccessNet::from_all(all))?
            .scope(Scope::from_all(all))?
            .create()?
            .add_rules(path_beneath_rules([folder], AccessFs::from_all(all)))?
            .restrict_self()
    };
    let confined = restrict().is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced);
    // Both, whatever came of the other: unconfined it may be told to go on.
    let limited = limit();
    confined && limited
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Path) -> bool {
    false
}

/// Bounds what hostile files can make it take: memory, and time.
#[cfg(target_os = "linux")]
fn limit() -> bool {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let set = |what, most| setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) });
    set(Resource::As, 8 << 30).is_ok() && set(Resource::Cpu, 4 * 3600).is_ok()
}

/// Why a copy was not read.
#[derive(Debug)]
pub(super) enum ReaderError {
    /// It has no pages, or they do not open.
    Broken(String),
    /// No one may open it.
    NotOpened(&'static str),
    /// There is no room of our own to copy it to.
    NoRoom(io::Error),
    Failed(io::Error),
}

impl From<io::Error> for ReaderError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A copy that is open in a process of its own. It ends when this is dropped.
pub(super) struct Pages {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// Whether it went away before its time.
    pub(super) lost: bool,
    _copy: tempfile::TempDir,
}

impl Pages {
    /// Copies a folder's files once more and has them opened.
    pub(super) fn open(pages: &Path, reader: &CopyReader) -> Result<Self, ReaderError> {
        let CopyReader::Program { program, unconfined } = reader else {
            return Err(ReaderError::NotOpened("no program is named that would open it"));
        };
        // Ours: that this fails says nothing of the copy.
        let copy = tempfile::Builder::new().prefix("oubliette-drill").tempdir();
        let copy = copy.map_err(ReaderError::NoRoom)?;
        match copy_files(pages, copy.path()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReaderError::Broken("it has no pages".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        let mut command = Command::new(program);
        command.arg(READER).arg(copy.path());
        if *unconfined {
            command.arg("--unconfined");
        }
        let mut process = command
            .env_clear()
            .current_dir(copy.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What an engine says before it gives up is of no use.
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the reader of copies has no pipes").into());
        };
        let mut pages = Self { process, input, output, lost: false, _copy: copy };
        let gave_up = || ReaderError::Broken("the database gives up on it".to_owned());
        let mut answer = [0];
        pages.output.read_exact(&mut answer)?;
        if answer == [0] && !unconfined {
            return Err(ReaderError::NotOpened(
                "this system cannot confine the process that would open it (Landlock, Linux 5.13)",
            ));
        }
        pages.output.read_exact(&mut answer).map_err(|_| gave_up())?;
        if answer == [0] {
            let mut why = String::new();
            let _ = (&mut pages.output).take(4096).read_to_string(&mut why);
            return Err(ReaderError::Broken(why));
        }
        Ok(pages)
    }

    /// The page under a name.
    pub(super) fn page(&mut self, name: &[u8; 16]) -> Option<Vec<u8>> {
        if self.lost {
            return None;
        }
        let asked = self.ask(name);
        self.lost = asked.is_err();
        asked.ok().flatten()
    }

    fn ask(&mut self, name: &[u8; 16]) -> io::Result<Option<Vec<u8>>> {
        self.input.write_all(name)?;
        self.input.flush()?;
        let mut length = [0; 4];
        self.output.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length == NO_PAGE {
            return Ok(None);
        }
        if length > LONGEST_PAGE {
            return Err(io::Error::other("a page is too long"));
        }
        let mut page = vec![0; length as usize];
        self.output.read_exact(&mut page)?;
        Ok(Some(page))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // It has nothing to finish, and may not want to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Copies a folder's files to another, which is there.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    let copy = |from: &Path, to: PathBuf| -> io::Result<()> {
        let (file, length) = walk::open(from)?;
        io::copy(&mut file.take(length), &mut fs::File::create_new(to)?).map(drop)
    };
    // Of the pages' store: its own folder and one below.
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_file() {
            copy(&entry.path(), path)?;
        } else if kind.is_dir() {
            fs::create_dir(&path)?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_file() {
                    copy(&inner.path(), path.join(inner.file_name()))?;
                }
            }
        }
    }
    Ok(())
}
