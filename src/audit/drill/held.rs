//! What a file turned out to hold, and how it is told.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::{
    Leak, backup,
    marks::{Found, Stray},
    sink::{Seen, Spot},
    state::{Run, whole},
    stream::LONG,
};
use crate::{
    audit::{AuditError, Location, finding::hex},
    event::KeyId,
    vault::{DeadKey, Fate, KeyLookup, Trace, VaultError},
    words,
};

/// The newest format that a root slot may have in years: what names a higher one is no slot, but
/// this program, say, which has the first bytes of one in it.
const LAST_FORMAT: u32 = 64;
/// How many places of each kind are told in one file.
const MOST_PLACES: usize = 1000;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilePosition {
    inside: Arc<str>,
    offset: u64,
}

/// What a file turned out to hold.
#[derive(Default)]
pub(super) struct Held {
    roots: Vec<(FilePosition, Trace)>,
    backups: Vec<(FilePosition, backup::Header)>,
    age: Vec<FilePosition>,
    closed: Vec<(FilePosition, String)>,
    pages: Option<FilePosition>,
    /// The databases in it that are as deep as itself.
    pub(super) databases: Vec<u64>,
    /// Per value and what it is packed in: how often, and where first.
    values: HashMap<(usize, Arc<str>), (u64, u64)>,
    live: u64,
    shredded: u64,
    unknown: u64,
    /// Keys in a backup that are destroyed.
    dead: Vec<(FilePosition, DeadKey)>,
    /// Per key: how many sealed parts open, and where the first is.
    opened: BTreeMap<KeyId, (u64, FilePosition)>,
    failed: Option<VaultError>,
    /// The last name of what things are packed in, which is the next one's, mostly.
    inside: Option<Arc<str>>,
}

impl Held {
    fn place(&mut self, spot: Spot<'_>) -> FilePosition {
        let known = self.inside.take().filter(|inside| **inside == *spot.inside);
        let inside = known.unwrap_or_else(|| Arc::from(spot.inside));
        self.inside = Some(Arc::clone(&inside));
        FilePosition { inside, offset: spot.offset }
    }

    /// Notes what was seen, in the first pass.
    pub(super) fn note(&mut self, run: &Run<'_>, spot: Spot<'_>, seen: Seen<'_>) {
        let place = self.place(spot);
        match seen {
            Seen::Value(index) => {
                let of = self.values.entry((index, place.inside)).or_insert((0, place.offset));
                *of = (of.0 + 1, of.1.min(place.offset));
            }
            Seen::Root(trace) if self.roots.len() < MOST_PLACES => self.roots.push((place, trace)),
            Seen::Backup(header) if self.backups.len() < MOST_PLACES => {
                self.backups.push((place, header));
            }
            Seen::Stored(at, value) => match run.vault.dead_key(at, value) {
                Ok(key) => self.dead.extend(key.map(|key| (place, key))),
                Err(error) => self.failed = Some(error),
            },
            Seen::Token(found) => self.resolve(run, &found),
            Seen::Age if self.age.len() < MOST_PLACES => self.age.push(place),
            Seen::Closed(why) if self.closed.len() < MOST_PLACES => self.closed.push((place, why)),
            Seen::Pages => {
                self.pages.get_or_insert(place);
            }
            Seen::Database if self.databases.len() < MOST_PLACES => {
                self.databases.push(place.offset);
            }
            _ => {}
        }
    }

    /// Tries what was seen under the destroyed keys, in the second pass.
    pub(super) fn try_open(&mut self, run: &Run<'_>, spot: Spot<'_>, seen: &Seen<'_>) {
        if let Seen::Database = seen {
            self.databases.push(spot.offset);
        }
        if let Seen::Token(found) = seen
            && let Some((secret, _)) = run.keys.get(&found.key)
            && found.opens(secret)
        {
            let place = self.place(spot);
            self.opened.entry(found.key).or_insert((0, place)).0 += 1;
        }
    }

    /// What happened to the key that a token names.
    fn resolve(&mut self, run: &Run<'_>, found: &Found<'_>) {
        match run.vault.opening_key(found.key) {
            Ok(KeyLookup::Live { .. }) => self.live += 1,
            Ok(KeyLookup::Shredded { .. }) => self.shredded += 1,
            Err(VaultError::KeyMissing(_) | VaultError::Damaged(_)) => {
                self.unknown += u64::from(found.alone);
            }
            Err(error) => self.failed = Some(error),
        }
    }

    /// Notes that something could not be read to its end.
    pub(super) fn closed(&mut self, offset: u64, why: String) {
        let place = self.place(Spot { inside: "", offset });
        self.closed.push((place, why));
    }
}

fn at(path: &Path, place: &FilePosition) -> Location {
    let (inside, offset) = (place.inside.to_string(), Some(place.offset));
    Location::File { path: path.to_owned(), inside, offset }
}

impl Run<'_> {
    /// Tells what a file held.
    pub(super) fn tell_held(
        &mut self,
        path: &Path,
        held: Held,
        in_its_place: bool,
    ) -> Result<(), AuditError> {
        if let Some(error) = held.failed {
            return Err(error.into());
        }
        self.report.live += held.live;
        self.report.shredded += held.shredded;
        self.report.unknown += held.unknown;
        for (place, trace) in held.roots {
            self.root(path, &place, trace, in_its_place)?;
        }
        for (place, header) in held.backups {
            self.clear_backup(at(path, &place), &header);
        }
        for (place, key) in held.dead {
            let from = format!("which is in {}, in clear", path.display());
            self.dead_key(at(path, &place), key, "in clear, in a backup", from);
        }
        let plain: HashSet<usize> =
            held.values.keys().filter(|(_, inside)| inside.is_empty()).map(|of| of.0).collect();
        let mut values: Vec<_> = held.values.into_iter().collect();
        // What is found in the file as it is need not be told of its long values again.
        values.retain(|((index, inside), _)| **inside != *LONG || !plain.contains(index));
        values.sort_by(|a, b| (&a.0.1, a.1.1, a.0.0).cmp(&(&b.0.1, b.1.1, b.0.0)));
        for ((index, inside), (count, offset)) in values {
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            let what = format!("{}, {times}", self.needles.origin(index));
            self.found(Leak::ClearText.at(at(path, &FilePosition { inside, offset }), what));
        }
        if held.unknown > 0 {
            let what = format!("{} of unknown keys", words::count(held.unknown, "sealed part"));
            self.found(Leak::UnknownTokens.at(whole(path), what));
        }
        for (key, (count, place)) in held.opened {
            let from = self.keys.get(&key).map_or("", |(_, from)| from);
            let parts = words::count(count, "sealed part");
            let what = format!("{parts} under key {key}, {from}");
            self.found(Leak::TokenOpens.at(at(path, &place), what));
        }
        for place in held.age {
            self.age(path, at(path, &place));
        }
        if let Some(place) = held.pages
            && (!place.inside.is_empty() || path.parent().is_none_or(|of| !self.pages.contains(of)))
        {
            let what = "pages of a vault, perhaps: a copy is opened only as a folder of files";
            self.found(Leak::NotLookedInto.at(at(path, &place), what));
        }
        for (place, why) in held.closed {
            self.found(Leak::NotLookedInto.at(at(path, &place), why));
        }
        Ok(())
    }

    fn clear_backup(&mut self, at: Location, header: &backup::Header) {
        let backup::Header { vault, backup, epoch } = header;
        if *vault == self.vault.id() {
            let what = format!("backup {backup}, every key of epoch {epoch}, not encrypted");
            self.found(Leak::ClearBackup.at(at, what));
        } else {
            self.found(
                Leak::OtherVault.at(at, format!("backup {backup} of vault {vault}, not encrypted")),
            );
        }
    }

    /// Something encrypted: a backup of this vault, if the catalogue has one of that name.
    fn age(&mut self, path: &Path, at: Location) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known = self.backups.iter().find(|backup| {
            backup.file == *name || name == format!("{}.{}.part", backup.file, backup.backup)
        });
        let Some(known) = known else {
            let what = match self.backups.iter().filter(|backup| backup.retired.is_none()).count() {
                0 => "encrypted with age".to_owned(),
                count => format!(
                    "encrypted with age; by its name it is none of the backups of this vault, of which {count} \
                     {} not retired",
                    words::agree(count as u64, "is", "are")
                ),
            };
            self.found(Leak::Encrypted.at(at, what));
            return;
        };
        let state = match known.retired {
            Some(_) => "which is said to be gone".to_owned(),
            None => format!("to be destroyed by {}", known.expires),
        };
        let (id, epoch) = (known.backup, known.epoch);
        let finding = if epoch < self.epoch {
            let what = format!(
                "by its name backup {id}, {state}: it holds keys of epoch {epoch}, {} is in use",
                self.epoch
            );
            Leak::SealedBackup.at(at, what)
        } else {
            let what = format!("by its name backup {id}, {state}: nothing was destroyed since");
            Leak::Encrypted.at(at, what)
        };
        self.found(finding);
    }

    pub(super) fn dead_key(&mut self, at: Location, key: DeadKey, under: &str, from: String) {
        let whose = format!("key {} of pseudonym {}", key.id, hex(&key.pseudonym));
        let finding = match key.fate {
            Fate::Destroyed(erasure) => {
                let what = format!("{whose}, destroyed by erasure {erasure}, {under}");
                Leak::DestroyedKey.at(at, what)
            }
            Fate::Unknown => Leak::StrangeKey.at(at, format!("{whose}, {under}")),
        };
        self.found(finding);
        self.keep(key, from);
    }

    fn root(
        &mut self,
        path: &Path,
        place: &FilePosition,
        trace: Trace,
        in_its_place: bool,
    ) -> Result<(), AuditError> {
        let Trace { format, vault, epoch, whole, root } = &trace;
        let at = at(path, place);
        if *vault != self.vault.id() {
            if (1..=LAST_FORMAT).contains(format) {
                let state = if *whole { "" } else { ", broken" };
                self.found(
                    Leak::OtherRoot.at(at, format!("epoch {epoch} of vault {vault}{state}")),
                );
            }
            return Ok(());
        }
        self.report.roots += 1;
        let in_use = match root {
            Some(root) => self.vault.is_root(root)?,
            None => *epoch == self.epoch,
        };
        let in_its_place = in_its_place && place.inside.is_empty();
        let kind = match (whole, in_use) {
            (false, _) => Leak::BrokenRoot,
            (true, true) if in_its_place => Leak::TodaysSlot,
            (true, true) => Leak::SlotCopy,
            (true, false) if *epoch > self.epoch => Leak::NewerRoot,
            (true, false) => Leak::EarlierRoot,
        };
        let wrapped = if root.is_none() && *whole { ", wrapped by another key" } else { "" };
        let what = format!("epoch {epoch} of this vault, {} is in use{wrapped}", self.epoch);
        self.found(kind.at(at, what));
        let known = self.strays.iter().any(|known| known.trace.root == *root);
        if root.is_some() && !in_use && !known {
            let (path, inside) = (path.to_owned(), place.inside.to_string());
            self.strays.push(Stray { path, inside, offset: place.offset, trace });
        }
        Ok(())
    }
}
