//! The plaintext of a backup, written and read as a stream. All numbers are big-endian; times are
//! microseconds since 1970-01-01 UTC.
//!
//! | bytes | what |
//! | --- | --- |
//! | 16 | `OUBLIETTE BACKUP` |
//! | 4 | format: 1 |
//! | 16 | the vault's id |
//! | 16 | the backup's id |
//! | 8 | when it was begun |
//! | 8 | when it expires |
//! | 8 | the root's epoch when it was begun |
//! | 32 | the vault's identity |
//! | … | the walk: values in strictly ascending order of places |
//! | 1 | 2: the walk ends |
//! | … | changes: values, *gone* and *range gone*, in the order in which they are to be applied |
//! | 1 | 5: the trailer |
//! | 8 | how many values the walk has |
//! | 8 | how many changes there are |
//! | 65,536 | zeros, which wash the last secrets out of the buffers of writers and readers |
//!
//! | item | bytes |
//! | --- | --- |
//! | value | 1 ‖ length of the place(1) ‖ length of the value(2) ‖ place ‖ value |
//! | gone | 3 ‖ length(1) ‖ place: nothing is there now |
//! | range gone | 4 ‖ length(1) ‖ from ‖ length(1) ‖ to: nothing is from there (inclusive) to there (exclusive) |
//!
//! Values are those of the tree: see [`crate::vault::places`], [`crate::vault::records`] and
//! [`crate::vault::fence`]. A key that a fence in the same backup says is dead is not restored; one that
//! the fence says was spared is.

use std::io::{self, Read, Write};

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    crypto::Secret,
    event::{Timestamp, VaultId},
    vault::{
        BackupId,
        records::delta::Delta,
        tree::{MAX_PLACE_BYTES, MAX_VALUE_BYTES, Place, Value},
    },
};

const MAGIC: &[u8; 16] = b"OUBLIETTE BACKUP";

/// The newest format that this program knows.
pub(super) const FORMAT: u32 = 1;

const VALUE: u8 = 1;
const END_OF_WALK: u8 = 2;
const GONE: u8 = 3;
const RANGE_GONE: u8 = 4;
const TRAILER: u8 = 5;

/// As much as age seals at a time, and keeps in memory until it does.
pub(super) const WASH_BYTES: usize = 64 * 1024;

/// What a backup says of itself.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) vault: VaultId,
    pub(super) backup: BackupId,
    pub(super) created: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) epoch: u64,
    pub(super) identity: Secret,
}

/// Where the plaintext goes.
pub(super) struct Writer<W> {
    to: W,
    walked: u64,
    changes: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(mut to: W, header: &Header) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        to.write_all(&FORMAT.to_be_bytes())?;
        to.write_all(header.vault.0.as_bytes())?;
        to.write_all(header.backup.0.as_bytes())?;
        to.write_all(&header.created.as_micros().to_be_bytes())?;
        to.write_all(&header.expires.as_micros().to_be_bytes())?;
        to.write_all(&header.epoch.to_be_bytes())?;
        to.write_all(header.identity.as_slice())?;
        Ok(Self { to, walked: 0, changes: 0 })
    }

    pub(super) fn walked(&mut self, place: &[u8], value: &[u8]) -> io::Result<()> {
        self.walked += 1;
        self.value(place, value)
    }

    pub(super) fn end_of_walk(&mut self) -> io::Result<()> {
        self.to.write_all(&[END_OF_WALK])
    }

    pub(super) fn change(&mut self, delta: &Delta) -> io::Result<()> {
        self.changes += 1;
        match delta {
            Delta::Value(place, value) => self.value(place, value),
            Delta::Gone(place) => {
                self.to.write_all(&[GONE])?;
                self.place(place)
            }
            Delta::RangeGone(from, end) => {
                self.to.write_all(&[RANGE_GONE])?;
                self.place(from)?;
                self.place(end)
            }
        }
    }

    /// Writes the end, and gives back where it went.
    pub(super) fn end(mut self) -> io::Result<W> {
        self.to.write_all(&[TRAILER])?;
        self.to.write_all(&self.walked.to_be_bytes())?;
        self.to.write_all(&self.changes.to_be_bytes())?;
        self.to.write_all(&[0; WASH_BYTES])?;
        Ok(self.to)
    }

    /// The tree holds no longer places and values: their lengths fit.
    fn value(&mut self, place: &[u8], value: &[u8]) -> io::Result<()> {
        self.to.write_all(&[VALUE, place.len() as u8])?;
        self.to.write_all(&(value.len() as u16).to_be_bytes())?;
        self.to.write_all(place)?;
        self.to.write_all(value)
    }

    fn place(&mut self, place: &[u8]) -> io::Result<()> {
        self.to.write_all(&[place.len() as u8])?;
        self.to.write_all(place)
    }
}

/// One thing that a backup says.
pub(super) enum Item {
    Walked(Place, Value),
    Changed(Delta),
}

/// What the plaintext, which is genuine as far as age can tell, says that no backup says.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    /// Not a backup at all.
    NotABackup,
    Newer(u32),
    Odd(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where the plaintext comes from.
pub(super) struct Reader<R> {
    from: R,
    walked: u64,
    changes: u64,
    last: Option<Place>,
    walk_ended: bool,
}

impl<R: Read> Reader<R> {
    pub(super) fn begin(mut from: R) -> Result<(Self, Header), Fault> {
        let mut magic = [0; 16];
        from.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(Fault::NotABackup);
        }
        let mut reader = Self { from, walked: 0, changes: 0, last: None, walk_ended: false };
        let format = u32::from_be_bytes(reader.array()?);
        if format != FORMAT {
            return Err(if format > FORMAT { Fault::Newer(format) } else { Fault::NotABackup });
        }
        let vault = VaultId(Uuid::from_bytes(reader.array()?));
        let backup = BackupId(Uuid::from_bytes(reader.array()?));
        let created = Timestamp::from_micros(i64::from_be_bytes(reader.array()?));
        let expires = Timestamp::from_micros(i64::from_be_bytes(reader.array()?));
        let epoch = u64::from_be_bytes(reader.array()?);
        let mut identity = Secret::default();
        reader.from.read_exact(identity.as_mut_slice())?;
        Ok((reader, Header { vault, backup, created, expires, epoch, identity }))
    }

    /// The next item; `None` after the trailer, when all has been read and is whole.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Fault> {
        loop {
            let kind = self.array::<1>()?[0];
            return match (kind, self.walk_ended) {
                (VALUE, false) => {
                    let (place, value) = self.value()?;
                    if self.last.as_ref().is_some_and(|last| *last >= place) {
                        return Err(odd("its places are not in order"));
                    }
                    self.last = Some(place.clone());
                    self.walked += 1;
                    Ok(Some(Item::Walked(place, value)))
                }
                (END_OF_WALK, false) => {
                    self.walk_ended = true;
                    continue;
                }
                (VALUE, true) => {
                    let (place, value) = self.value()?;
                    self.changed(Delta::Value(place, value))
                }
                (GONE, true) => {
                    let place = self.place()?;
                    self.changed(Delta::Gone(place))
                }
                (RANGE_GONE, true) => {
                    let (from, end) = (self.place()?, self.place()?);
                    self.changed(Delta::RangeGone(from, end))
                }
                (TRAILER, true) => {
                    let walked = u64::from_be_bytes(self.array()?);
                    let changes = u64::from_be_bytes(self.array()?);
                    if (walked, changes) != (self.walked, self.changes) {
                        return Err(odd("it does not hold as much as it says at its end"));
                    }
                    self.rest()
                }
                _ => Err(odd("something in it is not of its form")),
            };
        }
    }

    fn changed(&mut self, delta: Delta) -> Result<Option<Item>, Fault> {
        self.changes += 1;
        Ok(Some(Item::Changed(delta)))
    }

    /// Nothing but the zeros follows.
    fn rest(&mut self) -> Result<Option<Item>, Fault> {
        let mut rest = Zeroizing::new(vec![0; WASH_BYTES]);
        self.from.read_exact(&mut rest)?;
        let more = self.from.read(&mut [0])?;
        if more > 0 || rest.iter().any(|byte| *byte != 0) {
            return Err(odd("something follows its end"));
        }
        Ok(None)
    }

    fn value(&mut self) -> Result<(Place, Value), Fault> {
        let [place] = self.array::<1>()?;
        let length = usize::from(u16::from_be_bytes(self.array()?));
        if length > MAX_VALUE_BYTES {
            return Err(odd("a value in it is too long"));
        }
        let place = self.bytes(place)?;
        let mut value = Zeroizing::new(vec![0; length]);
        self.from.read_exact(&mut value)?;
        Ok((place, value))
    }

    fn place(&mut self) -> Result<Place, Fault> {
        let [length] = self.array::<1>()?;
        self.bytes(length)
    }

    fn bytes(&mut self, length: u8) -> Result<Place, Fault> {
        if usize::from(length) > MAX_PLACE_BYTES {
            return Err(odd("a place in it is too long"));
        }
        let mut place = vec![0; usize::from(length)];
        self.from.read_exact(&mut place)?;
        Ok(place)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn odd(what: &str) -> Fault {
    Fault::Odd(what.to_owned())
}
