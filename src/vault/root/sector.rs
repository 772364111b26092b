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
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    OpeningNumber, Root,
    counter::Bound,
    opening::NUMBER_BYTES,
    wrap::{Cost, SALT_BYTES, Seal, Wrapping},
};
use crate::{
    crypto::{NONCE_BYTES, SECRET_BYTES, Secret, TAG_BYTES},
    event::VaultId,
    vault::root::SlotError,
};

/// The length of a sector, in bytes: the unit in which today's drives write.
pub(crate) const SECTOR_BYTES: usize = 4096;

pub(super) const MAGIC: &[u8; 16] = b"OUBLIETTE ROOT\r\n";
const SUM_BYTES: usize = 32;
/// Where the nonce begins: what is before it is bound to the key.
const NONCE_AT: usize = 92;
const WRAPPED_BYTES: usize = 32 + TAG_BYTES;
/// Where what is noted begins: it is bound to the key as well.
const NOTED_AT: usize = NONCE_AT + NONCE_BYTES + WRAPPED_BYTES;

/// The format of a sector.
pub(super) const FORMAT: u32 = 4;

/// A mirror, as the slot notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) name: String,
    /// The epoch of the one root that the mirror is known to hold.
    pub(super) confirmed: Option<u64>,
}

/// What a sector holds.
#[derive(Debug)]
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
    nonce: [u8; NONCE_BYTES],
    /// Wiped when dropped: it may not be wrapped.
    key: Zeroizing<Vec<u8>>,
    bound: Vec<u8>,
}

impl Record {
    /// Of two records the one of the later age was written later.
    pub(super) fn age(&self) -> (u64, OpeningNumber) {
        (self.epoch, self.opening)
    }

    /// The page that only this root opens.
    #[cfg(feature = "backup")]
    pub(super) fn page(&self) -> [u8; 16] {
        self.page
    }

    /// The root, if this is what it is sealed with.
    pub(super) fn root(&self, seal: &Seal) -> Option<Root> {
        let opened = seal.open(&self.nonce, &self.bound, &self.key)?;
        let key = Secret::copy_of(opened.first_chunk::<32>()?);
        let Self { vault, epoch, opening, page, .. } = *self;
        Some(Root { vault, epoch, key, page, opening })
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({}, epoch {}, {:?})", self.vault, self.epoch, self.wrapping)
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
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(root.vault.0.as_bytes());
    bytes.extend_from_slice(&root.epoch.to_be_bytes());
    bytes.extend_from_slice(&root.page);
    let (kind, cost, salt) = match &seal.wrapping {
        Wrapping::Nothing => (0, Cost::NONE, &[0; SALT_BYTES]),
        Wrapping::Key { salt } => (1, Cost::NONE, salt),
        Wrapping::Passphrase { cost, salt } => (2, *cost, salt),
    };
    for number in [kind, cost.memory, cost.passes, cost.lanes] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(salt);

    let mut noted = root.opening.to_bytes().to_vec();
    let Bound { index, base, epoch } = counter.unwrap_or(Bound::NONE);
    noted.extend_from_slice(&index.to_be_bytes());
    noted.extend_from_slice(&base.to_be_bytes());
    noted.extend_from_slice(&epoch.to_be_bytes());
    let count = u16::try_from(mirrors.len()).unwrap_or(u16::MAX);
    noted.extend_from_slice(&count.to_be_bytes());
    for mirror in mirrors {
        let length = u16::try_from(mirror.name.len()).unwrap_or(u16::MAX);
        noted.extend_from_slice(&length.to_be_bytes());
        noted.extend_from_slice(mirror.name.as_bytes());
        let confirmed = mirror.confirmed.map_or(0, |epoch| epoch.saturating_add(1));
        noted.extend_from_slice(&confirmed.to_be_bytes());
    }
    let room = sum_at - NOTED_AT;
    if noted.len() > room {
        let why =
            format!("the slot has {room} bytes for the names of all mirrors, not {}", noted.len());
        let mirror = mirrors.last().map(|last| last.name.clone()).unwrap_or_default();
        return Err(SlotError::Mirror { mirror, why });
    }
    noted.resize(room, 0);

    let bound = [bytes.as_slice(), &noted].concat();
    let (nonce, wrapped) = seal.close(&bound, &root.key)?;
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&wrapped);
    bytes.extend_from_slice(&noted);
    let sum = Sha256::digest(bytes.as_slice());
    bytes.extend_from_slice(&sum);
    Ok(bytes)
}

/// Reads a sector.
pub(super) fn decode(bytes: &[u8], length: usize) -> Sector {
    if bytes.len() != length {
        return Sector::Broken;
    }
    parse(bytes).unwrap_or(Sector::Broken)
}

fn parse(bytes: &[u8]) -> Option<Sector> {
    let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
    if Sha256::digest(body).as_slice() != sum {
        return None;
    }
    let (magic, rest) = body.split_first_chunk::<16>()?;
    let (format, rest) = rest.split_first_chunk::<4>()?;
    if magic != MAGIC {
        return None;
    }
    let format = u32::from_be_bytes(*format);
    if format != FORMAT {
        return Some(Sector::OtherFormat(format));
    }
    let (vault, rest) = rest.split_first_chunk::<16>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (page, rest) = rest.split_first_chunk::<16>()?;
    let (numbers, rest) = rest.split_first_chunk::<16>()?;
    let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let (key, noted) = rest.split_first_chunk::<WRAPPED_BYTES>()?;
    let unused = [&numbers[4..], salt, nonce, &key[SECRET_BYTES..]].concat();
    let mut numbers = numbers.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
    let mut number = || numbers.next().unwrap_or_default();
    let wrapping = match number() {
        // Under a key all of this is sealed. Without one it has one form all the same.
        0 if is_zero(&unused) => Wrapping::Nothing,
        1 => Wrapping::Key { salt: *salt },
        2 => {
            let cost = Cost { memory: number(), passes: number(), lanes: number() };
            Wrapping::Passphrase { cost, salt: *salt }
        }
        _ => return None,
    };
    let bound = [body.get(..NONCE_AT)?, noted].concat();
    let (opening, rest) = noted.split_first_chunk::<NUMBER_BYTES>()?;
    let (counter, rest) = counter(rest)?;
    Some(Sector::Whole(Box::new(Record {
        vault: VaultId(Uuid::from_bytes(*vault)),
        epoch: u64::from_be_bytes(*epoch),
        opening: OpeningNumber::of(*opening),
        wrapping,
        mirrors: mirrors(rest)?,
        counter,
        page: *page,
        nonce: *nonce,
        key: Zeroizing::new(key.to_vec()),
        bound,
    })))
}

fn counter(noted: &[u8]) -> Option<(Option<Bound>, &[u8])> {
    let (index, rest) = noted.split_first_chunk::<4>()?;
    let (base, rest) = rest.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let bound = Bound {
        index: u32::from_be_bytes(*index),
        base: u64::from_be_bytes(*base),
        epoch: u64::from_be_bytes(*epoch),
    };
    Some((Some(bound).filter(|bound| *bound != Bound::NONE), rest))
}

fn mirrors(noted: &[u8]) -> Option<Vec<Noted>> {
    let (count, mut rest) = noted.split_first_chunk::<2>()?;
    let mut mirrors = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (confirmed, after) = after.split_first_chunk::<8>()?;
        mirrors.push(Noted {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            confirmed: u64::from_be_bytes(*confirmed).checked_sub(1),
        });
        rest = after;
    }
    is_zero(rest).then_some(mirrors)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::root::KekSecret;

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
