//! What is fuzzed of the root slot's sectors.

use sha2::{Digest, Sha256};

use super::{
    KekSecret, Root,
    sector::{self, MAGIC, Record, Sector},
    wrap::{Seal, Wrapping},
};
use crate::crypto::Secret;

const SECTOR: usize = 512;
const KEY: [u8; 32] = [5; 32];

/// A sector that is whole is written as the same bytes; under a key it does not open once it is changed, whatever its
/// sum says. The first two bytes say where it is changed, the others begin behind what all sectors begin with.
pub fn sector(data: &[u8]) {
    assert!(
        !matches!(sector::decode(data, data.len()), Sector::Whole(_)),
        "a sum that nobody made fits"
    );
    let Some((at, content)) = data.split_first_chunk::<2>() else { return };
    let Sector::Whole(record) = sector::decode(&summed(content), SECTOR) else { return };
    let Wrapping::Nothing = record.wrapping else { return is_closed(&record) };
    let bare = seal(&KekSecret::None);
    let root = record.root(&bare).expect("nothing wraps it");
    assert!(
        written(&root, &bare, &record) == summed(content),
        "it is written otherwise than it was read"
    );

    let key = || KekSecret::Key(Secret::copy_of(&KEY));
    let wrapped = written(&root, &seal(&key()), &record);
    let opened = |bytes: &[u8]| {
        let Sector::Whole(record) = sector::decode(bytes, SECTOR) else { return None };
        let root = record.root(&Seal::of(&record.wrapping, &key()).ok()?)?;
        Some(written(&root, &bare, &record))
    };
    assert!(
        opened(&wrapped) == Some(summed(content)),
        "it comes back otherwise than it was wrapped"
    );
    let bit = usize::from(u16::from_be_bytes(*at)) % ((SECTOR - 32) * 8);
    let mut changed = wrapped[..SECTOR - 32].to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    assert!(!matches!(sector::decode(&changed, SECTOR), Sector::Whole(_)));
    let sum = Sha256::digest(&changed);
    changed.extend_from_slice(&sum);
    assert!(opened(&changed).is_none(), "bit {bit} was changed, and it opens");
}

/// What something wraps does not open with nothing.
fn is_closed(record: &Record) {
    assert!(Seal::of(&record.wrapping, &KekSecret::None).is_err(), "it opens with nothing");
}

fn seal(secret: &KekSecret) -> Seal {
    Seal::new(secret).unwrap()
}

fn written(root: &Root, seal: &Seal, record: &Record) -> Vec<u8> {
    sector::encode(root, seal, &record.mirrors, record.counter, SECTOR).unwrap().to_vec()
}

/// A sector with this content, as far as it has room for it.
fn summed(content: &[u8]) -> Vec<u8> {
    let mut bytes = [MAGIC.as_slice(), &sector::FORMAT.to_be_bytes(), content].concat();
    bytes.resize(SECTOR - 32, 0);
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}
