//! Reading a backup: once as a whole, before anything is done with it, and once more in order of
//! places, to restore it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    iter::Peekable,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use age::{DecryptError, Decryptor, stream::StreamReader};

use super::{
    BackupError, Identities,
    format::{Fault, Header, Item, Reader},
};
use crate::{
    event::{ErasureId, Timestamp, VaultId},
    vault::{
        Backup, BackupId, Decision, History, MemoKind, VaultError,
        records::{
            announced,
            delta::Delta,
            disk::Wholes,
            entries::KeyEntry,
            eras::{self, Eras},
            fence::FenceRecord,
            memos,
            naming::Naming,
            places::{self, Hash},
        },
        signing::keys,
        tree::{Place, Value, joined},
    },
};

/// How an age file begins.
const AGE: &[u8] = b"age-encryption.org/v1\n";

const BUFFER_BYTES: usize = 256 * 1024;

/// A backup that was read from its first byte to its last, and is whole.
///
/// ```no_run
/// use std::path::Path;
/// use oubliette::vault::backup::{Identities, VerifiedBackup};
/// let identities = Identities::from_file(Path::new("key.txt"))?;
/// let backup = VerifiedBackup::read(Path::new("vault-2026-05.age"), identities)?;
/// backup.refuse_expired()?;
/// backup.restore(Path::new("/srv/bank/vault"), Path::new("/var/lib/bank/vault.root"), |_| {})?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct VerifiedBackup {
    path: PathBuf,
    file: File,
    identities: Identities,
    pub(super) header: Header,
    /// What changed during the walk, as it ended: little, beside the rest.
    changed: BTreeMap<Place, Option<Value>>,
    /// Ranges of the walk that went, in order and without overlap.
    gone: Vec<(Place, Place)>,
    /// What the catalogue in it says of itself.
    pub(super) entry: Backup,
    /// How many keys the walk met.
    pub(super) walked_keys: u64,
    /// The eras that its vault had.
    eras: Eras,
    /// The history of signing keys in it.
    signing: History,
    /// The fences of all who are forgotten in it.
    fences: HashMap<Hash, FenceRecord>,
    /// Whether a root slot of its vault that is whole may be overwritten.
    pub(super) overwriting_slot: bool,
}

impl fmt::Debug for VerifiedBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedBackup({}, vault {})", self.header.backup, self.header.vault)
    }
}

impl VerifiedBackup {
    /// The eras that its vault had.
    pub(in crate::vault) fn eras(&self) -> &Eras {
        &self.eras
    }

    /// Reads a backup through and checks all of it. Nothing is written.
    ///
    /// # Errors
    /// One for each way in which a file can be the wrong one: see [`BackupError`].
    pub fn read(path: &Path, identities: Identities) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(BackupError::io(path))?;
        let (mut reader, header) = open(path, &file, &identities)?;
        // Places are checked, and those do not depend on an era.
        let naming = Naming::new(&header.identity, Eras::over(Vec::new()));
        let eras = places::memos(MemoKind::Era);
        let mut kept: BTreeMap<Place, Value> = BTreeMap::new();
        let mut changed: BTreeMap<Place, Option<Value>> = BTreeMap::new();
        let mut gone = Vec::new();
        let mut walked_keys = 0;
        let own =
            places::beginning_with(&places::memo(MemoKind::Backup, header.backup.0.as_bytes()));
        // Few, beside the keys: they are kept until all is read.
        let history = places::memos(MemoKind::SigningKeys);
        let is_kept = |place: &Place| {
            let kept = [&own, &history, &eras];
            places::all_fences().contains(place) || kept.iter().any(|kept| kept.contains(place))
        };
        while let Some(item) = reader.next()? {
            match item {
                Item::Walked(place, value) => {
                    check(path, &naming, &place, &value)?;
                    walked_keys += u64::from(places::is_key(&place));
                    if is_kept(&place) {
                        kept.insert(place, value);
                    }
                }
                Item::Changed(Delta::Value(place, value)) => {
                    check(path, &naming, &place, &value)?;
                    if is_kept(&place) {
                        kept.insert(place.clone(), value.clone());
                    }
                    changed.insert(place, Some(value));
                }
                Item::Changed(Delta::Gone(place)) => {
                    kept.remove(&place);
                    changed.insert(place, None);
                }
                Item::Changed(Delta::RangeGone(from, end)) => {
                    clear(&mut kept, &from, &end);
                    clear(&mut changed, &from, &end);
                    gone.push((from, end));
                }
            }
        }
        drop(reader);
        let eras = wholes(&kept.split_off(&eras.start)).and_then(|memos| eras::read(&memos));
        let eras = Eras::over(eras.map_err(|error| odd(path, error))?);
        let signing = kept.split_off(&history.start);
        let signing = signing_keys(&signing).map_err(|error| odd(path, error))?;
        let entry = entry(&kept.split_off(&own.start)).map_err(|error| odd(path, error))?;
        let fences = fences(&kept).map_err(|error| odd(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            identities,
            header,
            changed,
            gone: joined(gone),
            entry,
            walked_keys,
            eras,
            signing,
            fences,
            overwriting_slot: false,
        })
    }

    /// As [`crate::vault::Vault::open_decision`] of the vault that this will be.
    ///
    /// # Errors
    /// As of [`crate::vault::Vault::open_decision`].
    pub(crate) fn open_decision(
        &self,
        erasure: ErasureId,
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Decision>, VaultError> {
        announced::open_by(self.eras(), erasure, associated, sealed)
    }

    /// The history of signing keys in it.
    pub(crate) fn signing_history(&self) -> &History {
        &self.signing
    }

    /// The vault that it is a copy of.
    pub fn vault(&self) -> VaultId {
        self.header.vault
    }

    /// Which backup it is.
    pub fn backup(&self) -> BackupId {
        self.header.backup
    }

    /// When it was begun.
    pub fn created(&self) -> Timestamp {
        self.header.created
    }

    /// The day by which it was to be destroyed.
    pub fn expires(&self) -> Timestamp {
        self.header.expires
    }

    /// Overwriting a root slot of its vault that is whole, or not. The folder that works under that slot
    /// does not open any more: say so only where that folder is gone.
    #[must_use]
    pub fn overwriting_slot(mut self, overwriting: bool) -> Self {
        self.overwriting_slot = overwriting;
        self
    }

    /// # Errors
    /// [`BackupError::Expired`] if its day has passed.
    pub fn refuse_expired(&self) -> Result<(), BackupError> {
        let expires = self.header.expires;
        if expires <= Timestamp::now() { Err(BackupError::Expired(expires)) } else { Ok(()) }
    }

    /// # Errors
    /// [`BackupError::OtherVault`] if it is not of this vault.
    pub fn refuse_other_vault(&self, wanted: &str) -> Result<(), BackupError> {
        let backup = self.header.vault.to_string();
        if backup == wanted {
            return Ok(());
        }
        Err(BackupError::OtherVault { backup, wanted: wanted.to_owned() })
    }

    /// Puts something else at these places than what the backup has there.
    pub(super) fn put(&mut self, changes: impl IntoIterator<Item = (Place, Option<Value>)>) {
        self.changed.extend(changes);
    }

    /// Its values at the moment that it shows, in order of places; but no key that one of its own
    /// fences says is dead.
    pub(super) fn values(&self) -> Result<Values<'_>, BackupError> {
        let (reader, _) = open(&self.path, &self.file, &self.identities)?;
        let changed = self.changed.iter().peekable();
        let mut values =
            Values { of: self, reader, walked: None, changed, gone: &self.gone, ended: false };
        values.advance()?;
        Ok(values)
    }

    fn is_dead(&self, place: &Place, value: &Value) -> Result<bool, BackupError> {
        let fence = places::hash_of(place).and_then(|hash| self.fences.get(&hash));
        let Some(fence) = fence.filter(|_| places::is_key(place)) else { return Ok(false) };
        let entry = KeyEntry::decode(value).map_err(|error| odd(&self.path, error))?;
        Ok(fence.killer(entry.generation, entry.id).is_some())
    }
}

/// The values of a backup, in order.
pub(super) struct Values<'a> {
    of: &'a VerifiedBackup,
    reader: Plain<'a>,
    /// The next one of the walk.
    walked: Option<(Place, Value)>,
    changed: Peekable<std::collections::btree_map::Iter<'a, Place, Option<Value>>>,
    gone: &'a [(Place, Place)],
    ended: bool,
}

impl Values<'_> {
    fn advance(&mut self) -> Result<(), BackupError> {
        self.walked = None;
        while !self.ended && self.walked.is_none() {
            match self.reader.next()? {
                Some(Item::Walked(place, value)) => {
                    while self.gone.first().is_some_and(|(_, end)| *end <= place) {
                        self.gone = &self.gone[1..];
                    }
                    if self.gone.first().is_none_or(|(from, _)| place < *from) {
                        self.walked = Some((place, value));
                    }
                }
                // Known since the file was verified. Read nevertheless: it must still be whole.
                Some(Item::Changed(_)) => {}
                None => self.ended = true,
            }
        }
        Ok(())
    }

    fn next_value(&mut self) -> Result<Option<(Place, Value)>, BackupError> {
        loop {
            let walked = self.walked.as_ref().map(|(place, _)| place);
            let first = match (walked, self.changed.peek()) {
                (None, None) => return Ok(None),
                (Some(walked), Some((changed, _))) if *changed <= walked => {
                    if *changed == walked {
                        self.advance()?;
                    }
                    self.changed.next()
                }
                (None, Some(_)) => self.changed.next(),
                (Some(_), _) => None,
            };
            let value = match first {
                Some((place, value)) => value.clone().map(|value| (place.clone(), value)),
                None => {
                    let value = self.walked.take();
                    self.advance()?;
                    value
                }
            };
            if let Some((place, value)) = value
                && !self.of.is_dead(&place, &value)?
            {
                return Ok(Some((place, value)));
            }
        }
    }
}

impl Iterator for Values<'_> {
    type Item = Result<(Place, Value), BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_value().transpose()
    }
}

/// Every key is where its name says, and nothing is there that this program does not know.
fn check(path: &Path, naming: &Naming, place: &Place, value: &Value) -> Result<(), BackupError> {
    memos::refuse_newer(place, value).map_err(|error| odd(path, error))?;
    if !places::is_key(place) {
        return Ok(());
    }
    let entry = KeyEntry::decode(value).map_err(|error| odd(path, error))?;
    if naming.place_of(&entry) == *place {
        return Ok(());
    }
    let what = "a key in it stands at a place that is not its own".to_owned();
    Err(BackupError::Odd { path: path.to_owned(), what })
}

/// The catalogue's entry of the backup itself, in parts.
fn entry(parts: &BTreeMap<Place, Value>) -> Result<Backup, VaultError> {
    let missing = || VaultError::Damaged("it is not in its own catalogue".into());
    let memo = wholes(parts)?.pop().ok_or_else(missing)?.1;
    memos::from_json(MemoKind::Backup, memos::content(MemoKind::Backup, &memo)?)
}

/// The history of signing keys, in parts.
fn signing_keys(parts: &BTreeMap<Place, Value>) -> Result<History, VaultError> {
    let missing = || VaultError::Damaged("it has no history of signing keys".into());
    keys::read(&wholes(parts)?.pop().ok_or_else(missing)?.1)
}

fn wholes(parts: &BTreeMap<Place, Value>) -> Result<Vec<(Place, Value)>, VaultError> {
    let mut wholes = Wholes::default();
    for (place, value) in parts {
        wholes.part(place, value)?;
    }
    wholes.done()
}

/// The fences in it, in parts.
fn fences(parts: &BTreeMap<Place, Value>) -> Result<HashMap<Hash, FenceRecord>, VaultError> {
    let fences = wholes(parts)?.into_iter().map(|(stem, value)| {
        Ok((places::hash_of(&stem).unwrap_or_default(), FenceRecord::decode(&value)?))
    });
    fences.collect()
}

fn clear<T>(of: &mut BTreeMap<Place, T>, from: &Place, end: &Place) {
    // A range that ends before it begins would be a panic of the map's.
    let end = end.max(from);
    let within = of.range(from.clone()..end.clone()).map(|(place, _)| place.clone());
    for place in within.collect::<Vec<_>>() {
        of.remove(&place);
    }
}

fn odd(path: &Path, error: VaultError) -> BackupError {
    match error {
        // A newer program wrote it, and can restore it.
        newer @ (VaultError::NewerFormat { .. }
        | VaultError::UnknownKind(_)
        | VaultError::UnknownClass(_)) => newer.into(),
        error => BackupError::Odd { path: path.to_owned(), what: crate::words::chain(&error) },
    }
}

/// The plaintext of a file, with faults told as errors of that file.
struct Plain<'a> {
    path: &'a Path,
    reader: Reader<StreamReader<BufReader<Tracked<'a>>>>,
    ended: Arc<AtomicBool>,
}

impl Plain<'_> {
    fn next(&mut self) -> Result<Option<Item>, BackupError> {
        self.reader.next().map_err(|fault| told(self.path, fault, &self.ended))
    }
}

/// Opens a file from its beginning.
fn open<'a>(
    path: &'a Path,
    mut file: &'a File,
    identities: &Identities,
) -> Result<(Plain<'a>, Header), BackupError> {
    file.rewind().map_err(BackupError::io(path))?;
    let ended = Arc::new(AtomicBool::new(false));
    let tracked = Tracked { file, ended: Arc::clone(&ended) };
    let mut input = BufReader::with_capacity(BUFFER_BYTES, tracked);
    let beginning = input.fill_buf().map_err(BackupError::io(path))?;
    let known = AGE.len().min(beginning.len());
    if beginning[..known] != AGE[..known] {
        return Err(BackupError::NotAge(path.to_owned()));
    }
    let refused = |error: DecryptError| match error {
        DecryptError::NoMatchingKeys => BackupError::OtherRecipient(path.to_owned()),
        DecryptError::Io(error) => told(path, error.into(), &ended),
        _ => BackupError::Damaged(path.to_owned()),
    };
    let decryptor = Decryptor::new_buffered(input).map_err(refused)?;
    let all = identities.0.iter().map(|identity| identity as &dyn age::Identity);
    let stream = decryptor.decrypt(all).map_err(refused)?;
    let (reader, header) = Reader::begin(stream).map_err(|fault| told(path, fault, &ended))?;
    Ok((Plain { path, reader, ended }, header))
}

fn told(path: &Path, fault: Fault, ended: &AtomicBool) -> BackupError {
    let path = path.to_owned();
    match fault {
        Fault::NotABackup => BackupError::NotABackup(path),
        Fault::Newer(found) => {
            let known = super::format::FORMAT;
            VaultError::NewerFormat { what: "the backup", found, known }.into()
        }
        Fault::Odd(what) => BackupError::Odd { path, what },
        Fault::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::CutOff(path),
            // What does not open at the very end may be all that is left of more.
            io::ErrorKind::InvalidData if ended.load(Ordering::Relaxed) => {
                BackupError::CutOff(path)
            }
            io::ErrorKind::InvalidData => BackupError::Damaged(path),
            _ => BackupError::Io { path, source: error },
        },
    }
}

/// A file that remembers whether it was read to its end.
struct Tracked<'a> {
    file: &'a File,
    ended: Arc<AtomicBool>,
}

impl Read for Tracked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(read)
    }
}
