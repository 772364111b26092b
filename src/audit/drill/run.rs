//! The order of a drill: everything is searched once; then the copies of the vault are read with
//! the roots that turned up; and if that brought destroyed keys to light, the sealed parts are
//! tried under them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    DrillOptions, DrillProgress, DrillReport, Leak, MOST_UNPACKED,
    copies::{self, Outcome},
    held::Held,
    marks::{Marks, Stray},
    needles::{Needles, Skipped},
    sink::{Seen, Sink, Spot},
    state::{Run, Tell, whole},
    stream::Stream,
    text::Text,
    walk::{self, Entry},
};
use crate::{
    audit::{AuditError, Location},
    vault::Vault,
    words::count,
};

/// No file counts as smaller where it is said how much may come out of it.
const SMALLEST: u64 = 1 << 20;
/// How much is read at a time.
const READ: usize = 256 << 10;

pub(super) fn run(
    vault: &Vault,
    options: &DrillOptions,
    needles: &Needles,
    tell: Tell<'_>,
) -> Result<DrillReport, AuditError> {
    let Skipped { public, ignored, short, left_out } = needles.skipped;
    let report = DrillReport {
        values: needles.len() as u64,
        public_values: public,
        ignored_values: ignored,
        short_values: short,
        values_left_out: left_out,
        ..DrillReport::default()
    };
    let real = |path: &Option<PathBuf>| path.as_ref().and_then(|path| fs::canonicalize(path).ok());
    let all = |paths: &[PathBuf]| paths.iter().filter_map(|p| fs::canonicalize(p).ok()).collect();
    let mut run = Run {
        vault,
        options,
        needles,
        marks: Marks::new()?,
        given: all(&options.paths),
        slots: all(&options.slots),
        folder: real(&options.vault),
        needles_file: real(&options.needles_file),
        epoch: vault.epoch()?,
        backups: vault.backups()?,
        report,
        strays: Vec::new(),
        candidates: Vec::new(),
        pages: HashSet::new(),
        keys: HashMap::new(),
        pass: 1,
        searched: 0,
        of: 0,
        tell,
    };
    if left_out > 0 {
        let what = format!("{} not searched for", count(left_out, "sealed value"));
        run.found(Leak::ValuesLeftOut.at(Location::Vault, what));
    }
    for path in &options.paths {
        walk::walk(path, &mut |entry| {
            if let Entry::File(path) = entry {
                run.of += fs::symlink_metadata(path).map_or(0, |about| about.len());
            }
        });
    }
    run.everything()?;
    run.copies()?;
    if !run.keys.is_empty() {
        (run.pass, run.searched) = (2, 0);
        run.everything()?;
    }
    Ok(run.report)
}

impl Run<'_> {
    fn everything(&mut self) -> Result<(), AuditError> {
        let mut failed = None;
        for path in &self.options.paths {
            walk::walk(path, &mut |entry| {
                if failed.is_none() {
                    failed = self.entry(entry).err();
                }
            });
        }
        failed.map_or(Ok(()), Err)
    }

    fn entry(&mut self, entry: Entry) -> Result<(), AuditError> {
        if let (1, Entry::File(path) | Entry::Folder(path) | Entry::Link(path)) =
            (self.pass, &entry)
        {
            self.name(path);
        }
        match entry {
            Entry::File(path) => {
                let real = fs::canonicalize(&path).ok();
                if real.is_some() && real == self.needles_file {
                    return Ok(());
                }
                return self.file(&path, real.is_some_and(|real| self.slots.contains(&real)));
            }
            // In the second pass all this has been told.
            _ if self.pass > 1 => {}
            Entry::Folder(path) => self.folder(&path),
            Entry::Empty => self.report.passed_over += 1,
            Entry::Link(path) => self.link(&path),
            Entry::Device(path) => {
                let what = "a device: give an image of it";
                self.found(Leak::NotLookedInto.at(whole(&path), what));
            }
            Entry::Failed(path, error) => self.unreadable(&path, &error.to_string()),
        }
        Ok(())
    }

    /// Searches the name of a file or a folder.
    fn name(&mut self, path: &Path) {
        let Some(name) = path.file_name() else { return };
        let mut values = BTreeSet::new();
        self.needles.look(&Text::plain(name.as_encoded_bytes()), &mut |index, _| {
            values.insert(index);
        });
        for index in values {
            let what = format!("{}, in its name", self.needles.origin(index));
            self.found(Leak::ClearText.at(whole(path), what));
        }
    }

    fn unreadable(&mut self, path: &Path, why: &str) {
        self.found(Leak::Unreadable.at(whole(path), why));
    }

    /// What a link leads to is searched anyway, or else it is not.
    fn link(&mut self, path: &Path) {
        let within = match fs::canonicalize(path) {
            Ok(real) => self.given.iter().any(|given| real.starts_with(given)),
            // To nothing, or round in a circle.
            Err(_) => true,
        };
        if within {
            self.report.passed_over += 1;
        } else {
            let what = "a link out of what was given, which is not followed: give what it leads to";
            self.found(Leak::NotLookedInto.at(whole(path), what));
        }
    }

    fn folder(&mut self, path: &Path) {
        match copies::recognise(path) {
            Ok(Some(candidate)) => {
                self.pages.insert(candidate.pages.clone());
                let real = fs::canonicalize(path).ok();
                let other = candidate.vault.filter(|vault| *vault != self.vault.id());
                if real.is_some() && real == self.folder {
                    self.found(Leak::TodaysVault.at(whole(path), "it is open, and in its place"));
                } else if let Some(other) = other {
                    self.found(Leak::OtherVault.at(whole(path), format!("vault {other}")));
                } else {
                    self.candidates.push(candidate);
                }
            }
            Ok(None) => {}
            Err(error) => self.found(Leak::BrokenCopy.at(whole(path), crate::words::chain(&error))),
        }
    }

    fn file(&mut self, path: &Path, in_its_place: bool) -> Result<(), AuditError> {
        let (mut file, length) = match walk::open(path) {
            Ok(opened) => opened,
            Err(error) => {
                if self.pass == 1 {
                    self.unreadable(path, &error.to_string());
                }
                return Ok(());
            }
        };
        self.report.files += u64::from(self.pass == 1);
        let mut held = Held::default();
        let read = self.search(path, &mut file, length, &mut held);
        if let Err(error) = read
            && self.pass == 1
        {
            self.unreadable(path, &error.to_string());
        }
        self.tell_held(path, held, in_its_place)
    }

    fn search(
        &mut self,
        path: &Path,
        file: &mut File,
        length: u64,
        held: &mut Held,
    ) -> io::Result<()> {
        let ratio = self.options.unpack.unwrap_or(MOST_UNPACKED);
        let budget = length.max(SMALLEST).saturating_mul(ratio);
        let mut left = budget;
        let mut stream = Stream::of_file();
        let mut bytes = vec![0; READ];
        // As long as it is now: a log that grows while it is read would have no end.
        let mut rest = Read::by_ref(file).take(length);
        loop {
            let read = match rest.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.sink(&mut left, held, &mut |sink| stream.finish(sink));
                    return Err(error);
                }
            };
            self.sink(&mut left, held, &mut |sink| stream.feed(&bytes[..read], sink));
            self.searched += read as u64;
            let (bytes, of, pass) = (self.searched, self.of, self.pass);
            self.report.bytes += if pass == 1 { read as u64 } else { 0 };
            (self.tell)(DrillProgress::Searched { bytes, of, pass });
        }
        self.sink(&mut left, held, &mut |sink| stream.finish(sink));
        for base in std::mem::take(&mut held.databases) {
            // A log is beside its database.
            let mut log = match base {
                0 => log_of(path),
                _ => None,
            };
            let mut failed = None;
            self.sink(&mut left, held, &mut |sink| {
                failed = Stream::of_file().long_values(file, base, log.as_mut(), sink).err();
            });
            if let Some(why) = failed
                && self.pass == 1
            {
                held.closed(base, why);
            }
        }
        self.report.unpacked += if self.pass == 1 { budget - left } else { 0 };
        Ok(())
    }

    /// Lends a sink that notes what is seen in this pass.
    fn sink(&self, left: &mut u64, held: &mut Held, work: &mut dyn FnMut(&mut Sink<'_>)) {
        let mut see = |spot: Spot<'_>, seen: Seen<'_>| match self.pass {
            1 => held.note(self, spot, seen),
            _ => held.try_open(self, spot, &seen),
        };
        let needles = (self.pass == 1).then_some(self.needles);
        let mut sink = Sink { needles, marks: &self.marks, see: &mut see, budget: *left };
        work(&mut sink);
        *left = sink.budget;
    }

    /// Reads the copies of the vault with every root that turned up.
    fn copies(&mut self) -> Result<(), AuditError> {
        let strays = std::mem::take(&mut self.strays);
        for candidate in std::mem::take(&mut self.candidates) {
            self.report.copies += 1;
            let at = || whole(&candidate.folder);
            let mut known = HashSet::new();
            let reader = &self.options.reader;
            let read = copies::read(self.vault, &candidate, reader, &strays, &mut |stray, key| {
                let place = stray.map(|stray| (&stray.path, &stray.inside, stray.offset));
                if !known.insert((key.id, place)) {
                    return;
                }
                let under = match stray {
                    None => "today's root".to_owned(),
                    Some(Stray { path, inside, offset, trace }) => {
                        let (path, inside, offset) = (path.clone(), inside.clone(), Some(*offset));
                        let place = Location::File { path, inside, offset };
                        format!("the root of epoch {} in {place}", trace.epoch)
                    }
                };
                let from = format!("which is in {}, under {under}", candidate.folder.display());
                self.dead_key(at(), key, &format!("under {under}"), from);
            });
            match read {
                Outcome::Done if known.is_empty() => {
                    let what = "no key that is destroyed can be read from it";
                    self.found(Leak::VaultCopy.at(at(), what));
                }
                Outcome::Done => {}
                Outcome::NotOpened(why) => {
                    let what = format!("a copy of the vault, which was not opened: {why}");
                    self.found(Leak::NotLookedInto.at(at(), what));
                }
                Outcome::Broken(why) => self.found(Leak::BrokenCopy.at(at(), why)),
                Outcome::Failed(error) => self.unreadable(&candidate.folder, &error.to_string()),
                Outcome::NoRoom(error) => return Err(AuditError::NoRoom(error)),
                Outcome::Vault(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The write-ahead log of a database.
fn log_of(path: &Path) -> Option<File> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    walk::open(Path::new(&name)).ok().map(|(file, _)| file)
}
