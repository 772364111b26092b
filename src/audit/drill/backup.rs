//! A backup of a vault that is not encrypted: every key of its time in clear.
//!
//! The format is in `docs/backups.md`. What does not have it ends the reading; what was read until
//! then has been shown.

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::event::VaultId;

/// What every backup begins with, once decrypted.
pub(super) const BEGINNING: &[u8; 16] = b"OUBLIETTE BACKUP";

/// How long the header is, with what begins it.
pub(super) const HEADER_BYTES: usize = 16 + 4 + 16 + 16 + 8 + 8 + 8 + 32;

/// What it says of itself.
pub(super) struct Header {
    pub(super) vault: VaultId,
    pub(super) backup: Uuid,
    pub(super) epoch: u64,
}

impl Header {
    /// Reads bytes that begin with [`BEGINNING`].
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        // A number of formats that will do for years; else it is this program, say.
        if bytes[16..19] != [0; 3] || !(1..=64).contains(&bytes[19]) {
            return None;
        }
        let vault = VaultId(Uuid::from_slice(&bytes[20..36]).ok()?);
        let backup = Uuid::from_slice(&bytes[36..52]).ok()?;
        let epoch = u64::from_be_bytes(bytes[68..76].try_into().ok()?);
        Some(Self { vault, backup, epoch })
    }
}

/// Reads the values after the header from what is fed to it.
#[derive(Default)]
pub(super) struct Values {
    /// Wiped: keys pass through it.
    rest: Zeroizing<Vec<u8>>,
}

impl Values {
    /// Shows each place with its value. `false`: it is at its end.
    pub(super) fn feed(&mut self, bytes: &[u8], see: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        for bytes in bytes.chunks(32 << 10) {
            // By hand: a buffer that grows by itself leaves what it held behind.
            let mut all = Zeroizing::new(Vec::with_capacity(self.rest.len() + bytes.len()));
            all.extend_from_slice(&self.rest);
            all.extend_from_slice(bytes);
            let mut at = 0;
            loop {
                match item(&all[at..], see) {
                    Item::Read(length) => at += length,
                    Item::CutOff => break,
                    Item::Odd => return false,
                }
            }
            self.rest = Zeroizing::new(all[at..].to_vec());
        }
        true
    }
}

enum Item {
    Read(usize),
    CutOff,
    Odd,
}

fn item(bytes: &[u8], see: &mut dyn FnMut(&[u8], &[u8])) -> Item {
    let mut whole = || -> Option<usize> {
        match bytes.first()? {
            1 => {
                let place = usize::from(*bytes.get(1)?);
                let value = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
                let end = 4 + place + value;
                let content = bytes.get(4..end)?;
                see(&content[..place], &content[place..]);
                Some(end)
            }
            2 => Some(1),
            3 => Some(2 + usize::from(*bytes.get(1)?)),
            _ => {
                let second = 2 + usize::from(*bytes.get(1)?);
                Some(second + 1 + usize::from(*bytes.get(second)?))
            }
        }
    };
    match bytes.first() {
        None | Some(1..=4) => match whole() {
            Some(length) if length <= bytes.len() => Item::Read(length),
            _ => Item::CutOff,
        },
        Some(_) => Item::Odd,
    }
}
