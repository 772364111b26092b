//! What can be told of a sector of a root slot, or of what is left of one, wherever it was found.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    OpeningNumber, Root,
    sector::{FORMAT, MAGIC, SECTOR_BYTES},
};
use crate::{crypto::Secret, event::VaultId};

/// What every sector begins with, in every format.
pub(crate) const BEGINNING: &[u8; 16] = MAGIC;

/// The sum over a sector is at its end, in every format.
const SUM_AT: usize = SECTOR_BYTES - 32;

/// What can be told of bytes that begin like a sector.
pub(crate) struct Trace {
    /// The format that they name.
    pub(crate) format: u32,
    /// The vault that they name.
    pub(crate) vault: VaultId,
    /// The epoch that they name.
    pub(crate) epoch: u64,
    /// Whether the sector is there to its end, as it was written.
    pub(crate) whole: bool,
    /// The root in it, where it is there in clear; also of a sector that is not whole.
    pub(crate) root: Option<Root>,
}

/// Looks at bytes that begin with [`BEGINNING`], as many as there are. `None` where they end
/// before they say whose they are.
pub(crate) fn trace(bytes: &[u8]) -> Option<Trace> {
    let bytes = &bytes[..bytes.len().min(SECTOR_BYTES)];
    let (_, rest) = bytes.split_first_chunk::<16>()?;
    let (format, rest) = rest.split_first_chunk::<4>()?;
    let (vault, rest) = rest.split_first_chunk::<16>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let format = u32::from_be_bytes(*format);
    let vault = VaultId(Uuid::from_bytes(*vault));
    let epoch = u64::from_be_bytes(*epoch);
    let root = || {
        let (page, rest) = rest.split_first_chunk::<16>()?;
        if format != FORMAT {
            return None;
        }
        // What wraps the key, with what; then the nonce. Nothing: the key is in clear.
        let key = rest.strip_prefix(&[0; 4])?.get(12 + 16 + 12..)?;
        let (key, _) = key.split_first_chunk::<32>()?;
        let (key, opening) = (Secret::copy_of(key), OpeningNumber::default());
        Some(Root { vault, epoch, key, page: *page, opening })
    };
    let (body, sum) = bytes.split_at(SUM_AT.min(bytes.len()));
    let whole = Sha256::digest(body).as_slice() == sum;
    Some(Trace { format, vault, epoch, whole, root: root() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::root::{
        KekSecret,
        sector::{Bound, encode},
        wrap::Seal,
    };

    #[test]
    fn as_much_is_told_as_is_left() {
        let vault = VaultId(Uuid::from_u128(7));
        let (key, opening) = (Secret::copy_of(&[9; 32]), OpeningNumber::default());
        let root = Root { vault, epoch: 3, key, page: [8; 16], opening };
        let seal = Seal::new(&KekSecret::None).unwrap();
        let sector = encode(&root, &seal, &[], None, SECTOR_BYTES).unwrap();
        for length in 0..=sector.len() {
            match trace(&sector[..length]) {
                None => assert!(length < 44),
                Some(trace) => {
                    assert_eq!((trace.vault, trace.epoch), (vault, 3));
                    assert_eq!(trace.whole, length == sector.len());
                    assert_eq!(trace.root, (length >= 136).then(|| root.clone()), "{length}");
                }
            }
        }
        // With a counter the root stays where it was.
        let bound = Bound { index: 0x0150_0020, base: 7, epoch: 2 };
        let bound = encode(&root, &seal, &[], Some(bound), SECTOR_BYTES).unwrap();
        assert!(trace(&bound).unwrap().root == Some(root.clone()));
        // A wrapped key is no root.
        let seal = Seal::new(&KekSecret::Key(Secret::copy_of(&[1; 32]))).unwrap();
        let sector = encode(&root, &seal, &[], None, SECTOR_BYTES).unwrap();
        let wrapped = trace(&sector).unwrap();
        assert!(wrapped.whole && wrapped.epoch == 3 && wrapped.root.is_none());
    }
}
