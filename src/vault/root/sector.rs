//! One sector of the root slot, as bytes. There is one format, 4, for slots of every kind:
//!
//! | bytes | content |
//! | --- | --- |
//! | 16 | `OUBLIETTE ROOT\r\n` |
//! | 4 | format, big-endian like all numbers here |
//! | 16 | vault id |
//! | 8 | epoch |
//! | 16 | id of the root page |
//! | 4 | what wraps the root key: 0 nothing, 1 a key, 2 a passphrase |
//! | 12 | of a passphrase: Argon2id's memory in KiB, passes, lanes; else zero |
//! | 16 | salt; zero where nothing wraps |
//! | 12 | nonce; zero where nothing wraps |
//! | 48 | root key and tag, AES-256-GCM; where nothing wraps: root key and zeros |
//! | 16 | the opening number: a count (8), random bytes (8) |
//! | 20 | the counter: its index (4), what it read (8) at which epoch (8); zero where there is none |
//! | 2 | number of mirrors |
//! | … | each mirror: 2 bytes of length, its name, 8 bytes: 1 + the epoch that it is known to hold alone, or 0 |
//! | … | zero |
//! | 32 | SHA-256 of all before, in every format |
//!
//! A passphrase is stretched to 32 bytes by Argon2id (RFC 9106, version 0x13) with the salt. What is stretched
//! is its UTF-8 in Unicode's Normalization Form C, every space as U+0020. It has no controls, nothing
//! that does not show, and no character that Unicode has not assigned. The AES key is HMAC-SHA-256 with
//! these 32 bytes, or with the key-encryption key, as key, over the text
//! `oubliette root slot, wrapping, format 2` (the 2 is part of the text, and no version) and the salt.
//!
//! The associated data of the wrapped key are the 92 bytes before the nonce, and then everything from the opening
//! number up to the sum.
//!
//! Two sectors are a slot:
//!
//! | where | length | sector 0 | sector 1 |
//! | --- | --- | --- | --- |
//! | file | 4096 | at byte 0 | at byte 2²⁰ (zeros are between them) |
//! | TPM 2.0 | 512 | the index | the index after it |
//! | PKCS#11 token | 512 | the private data object labelled `NAME.0` | `NAME.1` |
//!
//! A sector that is not whole counts for nothing: its sum does not fit, or what is before it does not have this form. Of two
//! that are whole the one with the higher epoch counts, then the one with the higher opening number (count, then
//! random bytes). Two of different vaults are damage. A mirror is a file like the slot; its root takes the place of the
//! slot's own only where it is higher in that order.
//!
//! A sector of another format whose sum fits is refused by its number.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    OpeningNumber, Root,
    wrap::{Cost, SALT_BYTES, Seal, Wrapping, is_bare},
};
use crate::{
    crypto::{BLOB_OVERHEAD, SECRET_BYTES},
    event::VaultId,
    vault::{
        SlotError, VaultError,
        wire::{Reader, Writer},
    },
};

/// The length of a sector, in bytes: the unit in which today's drives write.
pub(crate) const SECTOR_BYTES: usize = 4096;

pub(super) const MAGIC: &[u8; 16] = b"OUBLIETTE ROOT\r\n";
const SUM_BYTES: usize = 32;
/// Where the key begins, with its nonce: what is before it is bound to it.
const KEY_AT: usize = 92;
/// Where what is noted begins: it is bound to the key as well.
const NOTED_AT: usize = KEY_AT + SECRET_BYTES + BLOB_OVERHEAD;

/// The format of a sector.
pub(super) const FORMAT: u32 = 4;

/// A mirror, as the slot notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) name: String,
    /// The epoch of the one root that the mirror is known to hold.
    pub(super) confirmed: Option<u64>,
}

/// What the slot notes of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// Which index of the TPM's memory it is.
    pub(super) index: u32,
    /// What it read at the epoch.
    pub(super) base: u64,
    pub(super) epoch: u64,
}

impl Bound {
    /// What a slot notes that is bound to no counter: no index of a TPM's memory is 0.
    const NONE: Self = Self { index: 0, base: 0, epoch: 0 };
}

/// What a sector holds.
pub(super) enum Sector {
    /// A root.
    Whole(Box<Record>),
    /// A whole sector of another format.
    OtherFormat(u32),
    /// Nothing that was written as a whole.
    Broken,
}

/// A root as it is at rest, and what is noted with it.
pub(super) struct Record {
    pub(super) vault: VaultId,
    pub(super) epoch: u64,
    pub(super) opening: OpeningNumber,
    pub(super) wrapping: Wrapping,
    pub(super) mirrors: Vec<Noted>,
    pub(super) counter: Option<Bound>,
    page: [u8; 16],
    /// As [`Seal::close`] gave it. Wiped when dropped: it may not be wrapped.
    key: Zeroizing<Vec<u8>>,
    /// What it is bound to.
    bound: Vec<u8>,
}

impl Record {
    /// Of two records the one of the later age was written later.
    pub(super) fn age(&self) -> (u64, OpeningNumber) {
        (self.epoch, self.opening)
    }

    /// The page that only this root opens.
    pub(super) fn page(&self) -> [u8; 16] {
        self.page
    }

    /// The root, if this is what it is sealed with.
    pub(super) fn root(&self, seal: &Seal) -> Option<Root> {
        let key = seal.open(&self.bound, &self.key)?;
        let Self { vault, epoch, opening, page, .. } = *self;
        Some(Root { vault, epoch, key, page, opening })
    }
}

/// The sector that holds a root.
///
/// # Errors
/// [`SlotError::Mirror`] where there are more of them than it has room for.
pub(super) fn encode(
    root: &Root,
    seal: &Seal,
    mirrors: &[Noted],
    counter: Option<Bound>,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, SlotError> {
    let sum_at = length - SUM_BYTES;
    // Exactly as long as it will be, so that no reallocation leaves a copy of the key behind.
    let mut to = Writer::new(length);
    to.bytes(MAGIC);
    to.u32(FORMAT);
    to.bytes(root.vault.0.as_bytes());
    to.u64(root.epoch);
    to.bytes(&root.page);
    let (kind, cost, salt) = match &seal.wrapping {
        Wrapping::Nothing => (0, Cost::NONE, &[0; SALT_BYTES]),
        Wrapping::Key { salt } => (1, Cost::NONE, salt),
        Wrapping::Passphrase { cost, salt } => (2, *cost, salt),
    };
    for number in [kind, cost.memory, cost.passes, cost.lanes] {
        to.u32(number);
    }
    to.bytes(salt);

    // Made before the key, which is bound to it, and written after it.
    let mut noted = Writer::new(sum_at - NOTED_AT);
    noted.bytes(&root.opening.to_bytes());
    let Bound { index, base, epoch } = counter.unwrap_or(Bound::NONE);
    noted.u32(index);
    noted.u64(base);
    noted.u64(epoch);
    noted.u16(mirrors.len());
    for mirror in mirrors {
        noted.u16(mirror.name.len());
        noted.bytes(mirror.name.as_bytes());
        noted.u64(mirror.confirmed.map_or(0, |epoch| epoch.saturating_add(1)));
    }
    let (mut noted, most) = (noted.done(), sum_at - NOTED_AT);
    if noted.len() > most {
        let why =
            format!("the slot has {most} bytes for the names of all mirrors, not {}", noted.len());
        let mirror = mirrors.last().map(|last| last.name.clone()).unwrap_or_default();
        return Err(SlotError::Mirror { mirror, why });
    }
    noted.resize(most, 0);

    let bound = [to.so_far(), noted.as_slice()].concat();
    to.bytes(&seal.close(&bound, &root.key)?);
    to.bytes(&noted);
    to.bytes(&Sha256::digest(to.so_far()));
    Ok(to.done())
}

/// Reads a sector.
pub(super) fn decode(bytes: &[u8], length: usize) -> Sector {
    if bytes.len() != length {
        return Sector::Broken;
    }
    parse(bytes).unwrap_or(Sector::Broken)
}

/// # Errors
/// One for all that is no sector, or was not written as a whole.
fn parse(bytes: &[u8]) -> Result<Sector, VaultError> {
    let (body, sum) = bytes.split_at(bytes.len().saturating_sub(SUM_BYTES));
    let mut from = Reader::new("a sector of a root slot", body);
    if Sha256::digest(body).as_slice() != sum || from.array()? != *MAGIC {
        return Err(from.odd());
    }
    let format = from.u32()?;
    if format != FORMAT {
        return Ok(Sector::OtherFormat(format));
    }
    let (vault, epoch, page) = (VaultId(from.id()?), from.u64()?, from.array()?);
    let kind = from.u32()?;
    let cost = Cost { memory: from.u32()?, passes: from.u32()?, lanes: from.u32()? };
    let salt = from.array()?;
    let key = Zeroizing::new(from.bytes(NOTED_AT - KEY_AT)?.to_vec());
    let wrapping = match kind {
        // Under a key all of this is sealed. Without one it has one form all the same.
        0 if cost == Cost::NONE && salt == [0; SALT_BYTES] && is_bare(&key) => Wrapping::Nothing,
        1 => Wrapping::Key { salt },
        2 => Wrapping::Passphrase { cost, salt },
        _ => return Err(from.odd()),
    };
    // All of these bytes are there: they were read just now.
    let bound = [&body[..KEY_AT], &body[NOTED_AT..]].concat();
    let opening = OpeningNumber::of(from.array()?);
    let counter = Bound { index: from.u32()?, base: from.u64()?, epoch: from.u64()? };
    let counter = Some(counter).filter(|bound| *bound != Bound::NONE);
    let mut mirrors = Vec::new();
    for _ in 0..from.u16()? {
        let length = from.u16()?;
        let name = from.text(length.into())?.to_owned();
        mirrors.push(Noted { name, confirmed: from.u64()?.checked_sub(1) });
    }
    from.end_filled()?;
    let record = Record { vault, epoch, opening, wrapping, mirrors, counter, page, key, bound };
    Ok(Sector::Whole(Box::new(record)))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{crypto::Secret, vault::root::KekSecret};

    fn a_root() -> Root {
        let opening = OpeningNumber::first().unwrap();
        let vault = VaultId(Uuid::from_u128(7));
        Root { vault, epoch: 3, key: Secret::copy_of(&[9; 32]), page: [8; 16], opening }
    }

    #[test]
    fn no_bit_and_no_byte_of_a_sector_can_change_unnoticed() {
        let mirrors = [Noted { name: "/m".into(), confirmed: Some(3) }];
        let bound = Some(Bound { index: 0x0150_0020, base: 7, epoch: 2 });
        let seal = Seal::new(&KekSecret::Key(Secret::copy_of(&[1; 32]))).unwrap();
        let good = encode(&a_root(), &seal, &mirrors, bound, 512).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&bytes, 512), Sector::Broken), "bit {bit}");
            // Someone without the key can make the sum fit, and no more.
            let sum = Sha256::digest(&bytes[..480]);
            bytes[480..].copy_from_slice(&sum);
            match decode(&bytes, 512) {
                Sector::Whole(record) if bytes == good => assert!(record.root(&seal).is_some()),
                Sector::Whole(record) => assert!(record.root(&seal).is_none(), "bit {bit}"),
                Sector::OtherFormat(format) => {
                    assert!((128..160).contains(&bit) && format != FORMAT, "bit {bit}");
                }
                Sector::Broken => {}
            }
        }
        for length in 0..good.len() {
            assert!(matches!(decode(&good[..length], 512), Sector::Broken), "cut to {length}");
            assert!(matches!(decode(&good[..length], length), Sector::Broken), "{length} long");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(matches!(decode(&longer, 512), Sector::Broken));
    }

    #[test]
    fn what_is_noted_comes_back_and_is_bound_to_the_key() {
        let root = a_root();
        let opening = root.opening;
        let mirrors = [Noted { name: "/m".into(), confirmed: Some(3) }];
        for secret in [KekSecret::None, KekSecret::Key(Secret::copy_of(&[1; 32]))] {
            let seal = Seal::new(&secret).unwrap();
            let bound = Bound { index: 0x0150_0020, base: 7, epoch: 2 };
            for counter in [None, Some(bound)] {
                let bytes = encode(&root, &seal, &mirrors, counter, 512).unwrap();
                assert_eq!((bytes.len(), bytes[16..20].to_vec()), (512, vec![0, 0, 0, 4]));
                let Sector::Whole(record) = decode(&bytes, 512) else { panic!("not whole") };
                assert_eq!((&record.mirrors[..], record.counter), (&mirrors[..], counter));
                assert!(record.root(&seal) == Some(root.clone()));
                assert_eq!(record.root(&seal).unwrap().opening, opening);
                // The number of the opening, the counter, the mirrors.
                for at in [152, 159, 160, 167, 171, 190, 192] {
                    let mut other = bytes.clone();
                    other[at] ^= 1;
                    let sum = Sha256::digest(&other[..480]);
                    other[480..].copy_from_slice(&sum);
                    let Sector::Whole(record) = decode(&other, 512) else {
                        // The count and the lengths of the mirrors.
                        assert!(at >= 188, "byte {at}");
                        continue;
                    };
                    let opens = record.root(&seal).is_some();
                    assert_eq!(opens, matches!(secret, KekSecret::None), "byte {at}");
                }
            }
        }
    }
}
