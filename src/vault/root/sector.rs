//! One sector of the root slot, as bytes.
//!
//! | bytes | content |
//! | --- | --- |
//! | 16 | `OUBLIETTE ROOT\r\n` |
//! | 4 | format, big-endian |
//! | 16 | vault id |
//! | 8 | epoch, big-endian |
//! | 16 | id of the root page |
//! | 32 | root key |
//! | 3972 | zero |
//! | 32 | SHA-256 of all before, in every format |

use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Root;
use crate::{crypto::Secret, vault::VaultId};

/// The length of a sector, in bytes: the unit in which today's drives write.
pub(crate) const SECTOR_BYTES: usize = 4096;

pub(super) const MAGIC: &[u8; 16] = b"OUBLIETTE ROOT\r\n";
const SUM_AT: usize = SECTOR_BYTES - 32;

/// The newest format of a sector that this program knows.
pub(super) const FORMAT: u32 = 1;

/// What a sector holds.
#[derive(Debug)]
pub(super) enum Sector {
    /// A root.
    Whole(Root),
    /// A whole sector of a format that this program does not know.
    Newer(u32),
    /// Nothing that was written as a whole.
    Broken,
}

/// The sector that holds a root.
pub(super) fn encode(root: &Root) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECTOR_BYTES));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(root.vault.0.as_bytes());
    bytes.extend_from_slice(&root.epoch.to_be_bytes());
    bytes.extend_from_slice(&root.page);
    bytes.extend_from_slice(root.key.as_slice());
    bytes.resize(SUM_AT, 0);
    let sum = Sha256::digest(bytes.as_slice());
    bytes.extend_from_slice(&sum);
    bytes
}

/// Reads a sector.
pub(super) fn decode(bytes: &[u8]) -> Sector {
    parse(bytes).unwrap_or(Sector::Broken)
}

fn parse(bytes: &[u8]) -> Option<Sector> {
    if bytes.len() != SECTOR_BYTES {
        return None;
    }
    let (body, sum) = bytes.split_at_checked(SUM_AT)?;
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
        return Some(Sector::Newer(format));
    }
    let (vault, rest) = rest.split_first_chunk::<16>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (page, rest) = rest.split_first_chunk::<16>()?;
    let (key, _) = rest.split_first_chunk::<32>()?;
    Some(Sector::Whole(Root {
        vault: VaultId(Uuid::from_bytes(*vault)),
        epoch: u64::from_be_bytes(*epoch),
        key: Secret::copy_of(key),
        page: *page,
    }))
}
