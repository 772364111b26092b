//! The order of a drill: everything is searched once; then the copies of the vault are read with
//! the roots that turned up; and if that brought destroyed keys to light, the sealed parts are
//! tried under them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use super::{
    DrillNews, DrillOptions, DrillReport, Leak,
    copies::{self, Candidate, Outcome},
    files::{self, Entry, Form, Window},
    marks::{self, Found, Mark, Marks, Stray},
    needles::{self, Needles, Tally},
};
use crate::{
    audit::{AuditError, Finding, Where, finding::hex},
    crypto::{KeyId, Secret},
    vault::{Fate, KeyState, Trace, Vault, VaultError},
};

/// How many destroyed keys are tried on sealed parts. All are told.
const MOST_KEYS: usize = 1 << 20;
/// The newest format that a root slot may have in years: what names a higher one is no slot, but
/// this program, say, which has the first bytes of one in it.
const LAST_FORMAT: u32 = 64;

type Tell<'a> = &'a mut (dyn FnMut(DrillNews) + Send);

pub(super) fn run(
    vault: &Vault,
    options: &DrillOptions,
    needles: &Needles,
    tell: Tell<'_>,
) -> Result<DrillReport, AuditError> {
    let report = DrillReport {
        values: needles.len() as u64,
        public_values: needles.public,
        values_left_out: needles.left_out,
        ..DrillReport::default()
    };
    let real = |path: &Option<PathBuf>| path.as_ref().and_then(|path| fs::canonicalize(path).ok());
    let mut run = Run {
        vault,
        needles,
        marks: Marks::new()?,
        slots: options.slots.iter().filter_map(|path| fs::canonicalize(path).ok()).collect(),
        folder: real(&options.vault),
        needles_file: real(&options.needles_file),
        epoch: vault.epoch()?,
        report,
        strays: Vec::new(),
        candidates: Vec::new(),
        keys: HashMap::new(),
        pass: 1,
        searched: 0,
        of: 0,
        tell,
    };
    if needles.left_out > 0 {
        let what = format!("{} sealed values are not searched for", needles.left_out);
        run.found(Leak::ValuesLeftOut.at(Where::Vault, what));
    }
    for path in &options.paths {
        files::walk(path, &mut |entry| {
            if let Entry::File(path) = entry {
                run.of += fs::metadata(path).map_or(0, |about| about.len());
            }
        });
    }
    run.everything(&options.paths)?;
    run.copies()?;
    if !run.keys.is_empty() {
        (run.pass, run.searched) = (2, 0);
        run.everything(&options.paths)?;
    }
    Ok(run.report)
}

struct Run<'a> {
    vault: &'a Vault,
    needles: &'a Needles,
    marks: Marks,
    slots: Vec<PathBuf>,
    folder: Option<PathBuf>,
    needles_file: Option<PathBuf>,
    epoch: u64,
    report: DrillReport,
    strays: Vec<Stray>,
    candidates: Vec<Candidate>,
    /// The destroyed keys that were found, each with where from.
    keys: HashMap<KeyId, (Secret, String)>,
    pass: u64,
    searched: u64,
    of: u64,
    tell: Tell<'a>,
}

/// What a file turned out to hold.
#[derive(Default)]
struct Held {
    roots: Vec<(u64, Trace)>,
    needles: Tally,
    /// Where a value is that was found in a database and not in the file as it lies.
    places: HashMap<usize, String>,
    live: u64,
    shredded: u64,
    unknown: u64,
    /// Per key: how many sealed parts open, and where the first is.
    opened: BTreeMap<KeyId, (u64, Option<u64>)>,
    failed: Option<VaultError>,
}

impl Run<'_> {
    fn found(&mut self, finding: Finding<Leak>) {
        *self.report.found.entry(finding.kind).or_default() += 1;
        (self.tell)(DrillNews::Found(finding));
    }

    fn everything(&mut self, paths: &[PathBuf]) -> Result<(), AuditError> {
        let mut failed = None;
        for path in paths {
            files::walk(path, &mut |entry| {
                if failed.is_none() {
                    failed = self.entry(entry).err();
                }
            });
        }
        failed.map_or(Ok(()), Err)
    }

    fn entry(&mut self, entry: Entry) -> Result<(), AuditError> {
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
            Entry::PassedOver => self.report.passed_over += 1,
            Entry::Failed(path, error) => self.unreadable(&path, &error.to_string()),
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &Path, why: &str) {
        let at = Where::File { path: path.to_owned(), offset: None };
        self.found(Leak::Unreadable.at(at, why));
    }

    fn folder(&mut self, path: &Path) {
        let at = || Where::File { path: path.to_owned(), offset: None };
        match copies::recognise(path) {
            Ok(Some(candidate)) => {
                let real = fs::canonicalize(path).ok();
                let other = candidate.vault.filter(|vault| *vault != self.vault.id());
                if real.is_some() && real == self.folder {
                    self.found(Leak::TodaysVault.at(at(), "it is open, and in its place"));
                } else if let Some(other) = other {
                    self.found(Leak::OtherVault.at(at(), format!("vault {other}")));
                } else {
                    self.candidates.push(candidate);
                }
            }
            Ok(None) => {}
            Err(error) => self.found(Leak::BrokenCopy.at(at(), error.to_string())),
        }
    }

    fn file(&mut self, path: &Path, in_its_place: bool) -> Result<(), AuditError> {
        let at = || Where::File { path: path.to_owned(), offset: None };
        let form = match files::form(path) {
            Ok(form) => form,
            Err(error) if self.pass == 1 => {
                self.unreadable(path, &error.to_string());
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        if self.pass == 1 {
            self.report.files += 1;
            match form {
                Form::Age => {
                    self.found(Leak::Encrypted.at(at(), "not looked into: encrypted backup"));
                }
                Form::Compressed(how) => {
                    self.found(Leak::Compressed.at(at(), format!("not looked into: {how}")));
                }
                Form::Tar => self.found(Leak::Archive.at(at(), "a tar archive")),
                Form::Plain | Form::Sqlite | Form::Gzip => {}
            }
        }
        let mut packed = form == Form::Gzip;
        if packed {
            let mut held = Held::default();
            let unpacked = files::open(path).and_then(|(file, length)| {
                self.search(&mut MultiGzDecoder::new(file.take(length)), &mut held)
            });
            if let Err(error) = unpacked {
                packed = false;
                if self.pass == 1 {
                    self.unreadable(path, &format!("it cannot be unpacked to its end: {error}"));
                }
            }
            // A place in it is where it would be in the unpacked file.
            self.tell_held(path, held, in_its_place, " (unpacked)")?;
        }
        if !packed {
            let mut held = Held::default();
            // As long as it is now: a log that grows while it is read would have no end.
            let read = files::open(path)
                .and_then(|(file, length)| self.search(&mut file.take(length), &mut held));
            if let Err(error) = read
                && self.pass == 1
            {
                self.unreadable(path, &error.to_string());
            }
            if form == Form::Sqlite {
                self.rows(path, &mut held);
            }
            self.tell_held(path, held, in_its_place, "")?;
        }
        Ok(())
    }

    fn search(&mut self, reader: &mut dyn Read, held: &mut Held) -> io::Result<()> {
        let pass = self.pass;
        let after = if pass == 1 { marks::AFTER.max(needles::AFTER) } else { marks::AFTER_WHOLE };
        files::windows(reader, after, &mut |window| {
            let bytes = (window.to - window.from) as u64;
            self.look(&window, held);
            self.searched += bytes;
            if pass == 1 {
                self.report.bytes += bytes;
            }
            let (bytes, of) = (self.searched, self.of);
            (self.tell)(DrillNews::Searched { bytes, of, pass });
        })
    }

    fn look(&self, window: &Window<'_>, held: &mut Held) {
        if self.pass > 1 {
            self.marks.look(window, &mut |at, mark| self.try_open(at, &mark, held));
            return;
        }
        self.needles.look(window, &mut |needle, at| held.needles.add(needle, Some(at)));
        self.marks.look(window, &mut |at, mark| match mark {
            Mark::Root(trace) => held.roots.push((at, trace)),
            Mark::Token(found) => self.resolve(&found, held),
        });
    }

    /// What became of the key that a token names.
    fn resolve(&self, found: &Found<'_>, held: &mut Held) {
        match self.vault.opening_key(found.key) {
            Ok(KeyState::Live { .. }) => held.live += 1,
            Ok(KeyState::Shredded { .. }) => held.shredded += 1,
            Err(VaultError::KeyMissing(_) | VaultError::Damaged(_)) => {
                held.unknown += u64::from(found.alone);
            }
            Err(error) => held.failed = Some(error),
        }
    }

    fn try_open(&self, at: u64, mark: &Mark<'_>, held: &mut Held) {
        if let Mark::Token(found) = mark
            && let Some((secret, _)) = self.keys.get(&found.key)
            && found.opens(secret)
        {
            held.opened.entry(found.key).or_insert((0, Some(at))).0 += 1;
        }
    }

    /// Looks into the values of a database for what was not found in the file as it lies.
    #[cfg(feature = "sqlite")]
    fn rows(&mut self, path: &Path, held: &mut Held) {
        let mut places: HashMap<usize, String> = HashMap::new();
        let walked = super::rows::walk(path, &mut |table, column, bytes| {
            let window = Window { bytes, from: 0, to: bytes.len(), offset: 0 };
            if self.pass > 1 {
                let mut inner = Held::default();
                self.marks.look(&window, &mut |at, mark| self.try_open(at, &mark, &mut inner));
                for (key, (count, _)) in inner.opened {
                    let at_once = held.opened.get(&key).is_some_and(|(_, at)| at.is_some());
                    if !at_once {
                        held.opened.entry(key).or_default().0 += count;
                    }
                }
                return;
            }
            self.needles.look(&window, &mut |needle, _| {
                if !held.needles.has(needle) || places.contains_key(&needle) {
                    held.needles.add(needle, None);
                    let place = || format!(" (table {table}, column {column})");
                    places.entry(needle).or_insert_with(place);
                }
            });
        });
        held.places = places;
        if let Err(why) = walked
            && self.pass == 1
        {
            self.unreadable(path, &format!("it does not open as a database: {why}"));
        }
    }

    #[cfg(not(feature = "sqlite"))]
    fn rows(&mut self, path: &Path, _: &mut Held) {
        if self.pass == 1 {
            self.unreadable(path, "this program is built without SQLite");
        }
    }

    fn tell_held(
        &mut self,
        path: &Path,
        held: Held,
        in_its_place: bool,
        how: &str,
    ) -> Result<(), AuditError> {
        if let Some(error) = held.failed {
            return Err(error.into());
        }
        let at = |offset| Where::File { path: path.to_owned(), offset };
        self.report.live += held.live;
        self.report.shredded += held.shredded;
        self.report.unknown += held.unknown;
        for (offset, trace) in held.roots {
            self.root(Stray { path: path.to_owned(), offset, trace }, in_its_place, how)?;
        }
        for (needle, count, offset) in held.needles.into_sorted() {
            let place = held.places.get(&needle).map_or(how, String::as_str);
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            let what = format!("{}, {times}{place}", self.needles.origin(needle));
            self.found(Leak::ClearText.at(at(offset), what));
        }
        if held.unknown > 0 {
            let what = format!("{} sealed parts of unknown keys{how}", held.unknown);
            self.found(Leak::UnknownTokens.at(at(None), what));
        }
        for (key, (count, offset)) in held.opened {
            let from = self.keys.get(&key).map_or("", |(_, from)| from);
            let parts = if count == 1 { "1 sealed part" } else { &format!("{count} sealed parts") };
            let what = format!("{parts} under key {key}, {from}{how}");
            self.found(Leak::TokenOpens.at(at(offset), what));
        }
        Ok(())
    }

    fn root(&mut self, stray: Stray, in_its_place: bool, how: &str) -> Result<(), AuditError> {
        let Trace { format, vault, epoch, whole, root } = &stray.trace;
        let at = Where::File { path: stray.path.clone(), offset: Some(stray.offset) };
        if *vault != self.vault.id() {
            if (1..=LAST_FORMAT).contains(format) {
                let state = if *whole { "" } else { ", broken" };
                let what = format!("epoch {epoch} of vault {vault}{state}{how}");
                self.found(Leak::OtherRoot.at(at, what));
            }
            return Ok(());
        }
        self.report.roots += 1;
        let in_use = match root {
            Some(root) => self.vault.is_root(root)?,
            None => *epoch == self.epoch,
        };
        let kind = match (whole, in_use) {
            (false, _) => Leak::BrokenRoot,
            (true, true) if in_its_place => Leak::TodaysSlot,
            (true, true) => Leak::SlotCopy,
            (true, false) if *epoch > self.epoch => Leak::NewerRoot,
            (true, false) => Leak::EarlierRoot,
        };
        let wrapped = if root.is_none() && *whole { ", wrapped by another key" } else { "" };
        let what = format!("epoch {epoch} of this vault, {} is in use{wrapped}{how}", self.epoch);
        self.found(kind.at(at, what));
        let known = self.strays.iter().any(|known| known.trace.root == *root);
        if root.is_some() && !in_use && !known {
            self.strays.push(stray);
        }
        Ok(())
    }

    /// Reads the copies of the vault with every root that turned up.
    fn copies(&mut self) -> Result<(), AuditError> {
        let strays = std::mem::take(&mut self.strays);
        for candidate in std::mem::take(&mut self.candidates) {
            self.report.copies += 1;
            let at = || Where::File { path: candidate.folder.clone(), offset: None };
            let mut known = HashSet::new();
            let read = copies::read(self.vault, &candidate, &strays, &mut |stray, key| {
                let place = stray.map(|stray| (&stray.path, stray.offset));
                if !known.insert((key.id, place)) {
                    return;
                }
                let under = match stray {
                    None => "today's root".to_owned(),
                    Some(stray) => format!(
                        "the root of epoch {} in {} at byte {}",
                        stray.trace.epoch,
                        stray.path.display(),
                        stray.offset
                    ),
                };
                let whose = format!("key {} of pseudonym {}", key.id, hex(&key.pseudonym));
                let finding = match key.fate {
                    Fate::Destroyed(erasure) => Leak::DestroyedKey.at(
                        at(),
                        format!("{whose}, destroyed by erasure {erasure}, under {under}"),
                    ),
                    Fate::Unknown => Leak::StrangeKey.at(at(), format!("{whose}, under {under}")),
                };
                self.found(finding);
                if self.keys.len() < MOST_KEYS {
                    let from = format!("which is in {}, under {under}", candidate.folder.display());
                    self.keys.entry(key.id).or_insert((key.secret, from));
                }
            });
            match read {
                Outcome::Done if known.is_empty() => {
                    let what = "no key that is destroyed can be read from it";
                    self.found(Leak::VaultCopy.at(at(), what));
                }
                Outcome::Done => {}
                Outcome::Broken(why) => self.found(Leak::BrokenCopy.at(at(), why)),
                Outcome::Failed(error) => self.unreadable(&candidate.folder, &error.to_string()),
                Outcome::Vault(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
