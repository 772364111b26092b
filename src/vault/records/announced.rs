//! What an announcement seals: whom and what an erasure took, without names, so that only this vault (and what is
//! restored from it) can read and make it. Its bytes are in `docs/format.md`, section 10.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{
    eras::{EraKeys, Eras},
    memos,
    places::LAST_GENERATION,
};
use crate::{
    crypto::{BLOB_OVERHEAD, Cipher, SECRET_BYTES, Secret, random_secret},
    event::{ERA_BYTES, Era, ErasureId, Generation, KeyId},
    vault::{
        Decision, MemoKind, Taken, VaultError,
        wire::{Reader, Writer},
    },
};

const VERSION: u8 = 1;
const WHOLE: u8 = 1;
const CLOSED: u8 = 2;
const SPARED: u8 = 4;
/// What is sealed is filled up to a multiple of so many bytes: its length tells little of how many subjects there are.
const STEP: usize = 256;

/// The length of a message's key, wrapped for one era.
pub(in crate::vault) const WRAP_BYTES: usize = ERA_BYTES + SECRET_BYTES + BLOB_OVERHEAD;

/// Seals under a fresh key, which is wrapped for each of these eras:
/// `count(2) (era(4) blob of the key)* blob`, each blob with what is associated.
pub(in crate::vault) fn seal_for(
    eras: &Eras,
    readers: &[Era],
    plain: &[u8],
    associated: &[u8],
) -> Result<Vec<u8>, VaultError> {
    // One key for the message, wrapped for each era: the length grows by a wrap for each outstanding backup, and not
    // by the message.
    let key = random_secret()?;
    let mut wraps = Vec::with_capacity(readers.len() * WRAP_BYTES);
    for era in readers {
        let wrap = |keys: &EraKeys| keys.announcements.seal_blob(associated, key.as_slice());
        if let Some(wrap) = eras.with(*era, wrap)? {
            wraps.extend_from_slice(&era.0);
            wraps.extend_from_slice(&wrap?);
        }
    }
    let many =
        |_| VaultError::Unsupported("more than 65,535 backups are neither retired nor expired");
    let count = u16::try_from(wraps.len() / WRAP_BYTES).map_err(many)?;
    let sealed = Cipher::new(&key).seal_blob(associated, plain)?;
    Ok([&count.to_be_bytes()[..], &wraps, &sealed].concat())
}

pub(in crate::vault) fn open_by(
    eras: &Eras,
    erasure: ErasureId,
    associated: &[u8],
    bytes: &[u8],
) -> Result<Option<Decision>, VaultError> {
    let plain = unseal(eras, associated, bytes);
    plain.map(|plain| decode(erasure, &plain)).transpose()
}

fn unseal(eras: &Eras, associated: &[u8], bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (count, bytes) = bytes.split_first_chunk::<2>()?;
    let wraps = usize::from(u16::from_be_bytes(*count)) * WRAP_BYTES;
    let (wraps, sealed) = bytes.split_at_checked(wraps)?;
    let key = wraps.as_chunks::<WRAP_BYTES>().0.iter().find_map(|wrap| {
        let (era, wrap) = wrap.split_first_chunk()?;
        let open = |keys: &EraKeys| keys.announcements.open_blob(associated, wrap);
        let key = eras.with(Era(*era), open).ok()???;
        Some(Secret::copy_of(key.as_slice().try_into().ok()?))
    })?;
    Cipher::new(&key).open_blob(associated, sealed)
}

pub(in crate::vault) fn encode(decision: &Decision) -> Zeroizing<Vec<u8>> {
    let size = |taken: &Taken| 25 + 8 * taken.dead.len() + 24 * taken.spared.len();
    // In the one spelling: `decode` refuses any other.
    let taken = in_order(&decision.taken);
    let room: usize = taken.iter().map(size).sum();
    let mut to = Writer::new(STEP + 16 + room + decision.record.len());
    to.u8(VERSION);
    to.count(taken.len());
    for taken in &taken {
        to.bytes(&taken.pseudonym);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let spared = flag(!taken.spared.is_empty(), SPARED);
        to.u8(flag(taken.whole, WHOLE) | flag(taken.closed, CLOSED) | spared);
        to.count(taken.dead.len());
        for (from, until) in &taken.dead {
            to.u32(from.0);
            to.u32(until.0);
        }
        if !taken.spared.is_empty() {
            to.count(taken.spared.len());
        }
        for (generation, id) in &taken.spared {
            to.u32(generation.0);
            to.bytes(&id.0);
        }
    }
    let record = match decision.record.as_slice() {
        [] => Zeroizing::default(),
        record => memos::stored(record),
    };
    to.count(record.len());
    to.bytes(&record);
    to.fill(STEP);
    to.done()
}

/// In the one spelling: subjects in ascending order, spans too, none of which touch.
fn in_order(taken: &[Taken]) -> Vec<Taken> {
    let mut taken = taken.to_vec();
    taken.sort_by_key(|taken| taken.pseudonym);
    for Taken { dead, .. } in &mut taken {
        dead.sort_unstable();
        dead.dedup_by(|later, earlier| {
            let touches = later.0 <= earlier.1.next();
            if touches {
                earlier.1 = earlier.1.max(later.1);
            }
            touches
        });
    }
    taken
}

pub(in crate::vault) fn decode(erasure: ErasureId, bytes: &[u8]) -> Result<Decision, VaultError> {
    let mut from = Reader::new("an announcement", bytes);
    from.version(VERSION)?;
    let mut taken: Vec<Taken> = Vec::new();
    for _ in 0..from.u32()? {
        let pseudonym = from.array()?;
        // Anyone with a backup can seal bytes of their own. So all that `encode` would not write is refused, and
        // not only what would lead astray.
        if taken.last().is_some_and(|last| last.pseudonym >= pseudonym) {
            return Err(from.odd());
        }
        let flags = from.u8()?;
        if flags & !(WHOLE | CLOSED | SPARED) != 0 {
            return Err(from.odd());
        }
        let mut dead: Vec<(Generation, Generation)> = Vec::new();
        for _ in 0..from.u32()? {
            let (first, last) = (Generation(from.u32()?), Generation(from.u32()?));
            // Not touching, either: two spans that touch are one, in the one spelling.
            let follows = dead.last().is_none_or(|(_, before)| before.next() < first);
            if first < Generation::FIRST || last < first || last.0 > LAST_GENERATION || !follows {
                return Err(from.odd());
            }
            dead.push((first, last));
        }
        // Taking all is taking something.
        if flags & WHOLE != 0 && dead.is_empty() {
            return Err(from.odd());
        }
        let mut spared = BTreeSet::new();
        if flags & SPARED != 0 {
            for _ in 0..from.u32()? {
                let key = (Generation(from.u32()?), KeyId(from.array()?));
                let fits = (1..=LAST_GENERATION).contains(&key.0.0);
                if !fits || spared.last().is_some_and(|last| *last >= key) {
                    return Err(from.odd());
                }
                spared.insert(key);
            }
            if spared.is_empty() {
                return Err(from.odd());
            }
        }
        taken.push(Taken {
            pseudonym,
            dead,
            spared,
            whole: flags & WHOLE != 0,
            closed: flags & CLOSED != 0,
        });
    }
    let length = usize::try_from(from.u32()?).map_err(|_| from.odd())?;
    let record = match from.bytes(length)? {
        [] => Vec::new(),
        record => memos::content(MemoKind::Erasure, record)?.to_vec(),
    };
    from.end_filled()?;
    Ok(Decision { erasure, taken, record })
}

#[cfg(test)]
impl Decision {
    /// What is sealed of it.
    pub(crate) fn plaintext(&self) -> Zeroizing<Vec<u8>> {
        encode(self)
    }
}

/// Seals as [`Vault::seal_decision`] does, under fixed keys and nonces, for the vectors of
/// `docs/format.md`: for eras with these names and secrets.
#[cfg(test)]
pub(crate) fn seal_as_vector(eras: &[(Era, [u8; 32])], associated: &[u8], plain: &[u8]) -> Vec<u8> {
    const KEY: [u8; 32] = [7; 32];
    let blob = |cipher: &Cipher, nonce: u8, text: &[u8]| {
        let mut blob = vec![nonce; 12];
        blob.extend_from_slice(text);
        cipher.seal_with_nonce([nonce; 12], associated, &mut blob, 0).unwrap();
        blob
    };
    let mut sealed = u16::try_from(eras.len()).unwrap().to_be_bytes().to_vec();
    for ((era, secret), nonce) in eras.iter().zip(0x10..) {
        let keys = EraKeys::new(*era, 1, &Secret::copy_of(secret));
        sealed.extend_from_slice(&era.0);
        sealed.extend_from_slice(&blob(&keys.announcements, nonce, &KEY));
    }
    sealed.extend_from_slice(&blob(&Cipher::new(&KEY), 0x41, plain));
    sealed
}

/// Opens as [`Vault::open_decision`] does, with these eras.
#[cfg(test)]
pub(crate) fn open_vector(
    eras: &[(Era, [u8; 32])],
    erasure: ErasureId,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Option<Decision>, VaultError> {
    let keys = |(era, secret): &(Era, _)| EraKeys::new(*era, 1, &Secret::copy_of(secret));
    open_by(&Eras::over(eras.iter().map(keys).collect()), erasure, associated, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Vault;

    fn bytes(hex: &serde_json::Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// What is sealed of the vectors of `docs/format.md`.
    #[test]
    fn the_vectors_open_and_are_written_so() {
        let file: serde_json::Value =
            crate::layer::document::vectors::committed("announcements.json");
        let era = |at: usize| {
            let era = &file["eras"][at];
            let secret = bytes(&era["secret"]).try_into().unwrap();
            let era = era["era"].as_str().unwrap().parse().unwrap();
            Eras::over(vec![EraKeys::new(era, 1, &Secret::copy_of(&secret))])
        };
        for (n, vector) in file["vectors"].as_array().unwrap().iter().enumerate() {
            let (line, opened) = (&vector["line"], &vector["opened"]);
            let erasure = line["about"].as_str().unwrap().parse().unwrap();
            let sealed =
                crate::crypto::base64url::decode(line["sealed"].as_str().unwrap()).unwrap();
            let associated = bytes(&vector["associated"]);
            let decision = open_by(&era(1), erasure, &associated, &sealed).unwrap().unwrap();
            // The first is sealed for an earlier era as well.
            let earlier = open_by(&era(0), erasure, &associated, &sealed).unwrap();
            assert_eq!(earlier, (n == 0).then(|| decision.clone()));
            assert_eq!(*encode(&decision), bytes(&vector["plaintext"]));
            assert_eq!(decision.record, opened["record"].as_str().unwrap().as_bytes());
            for (taken, wanted) in decision.taken.iter().zip(opened["taken"].as_array().unwrap()) {
                assert_eq!(taken.pseudonym.as_slice(), bytes(&wanted["pseudonym"]));
                assert_eq!(wanted["whole"], taken.whole);
                assert_eq!(wanted["closed"], taken.closed);
                let dead: Vec<_> = taken.dead.iter().map(|(from, to)| vec![from.0, to.0]).collect();
                assert_eq!(serde_json::json!(dead), wanted["dead"]);
                let spared: Vec<_> =
                    taken.spared.iter().map(|(at, id)| (at.0, id.0.to_vec())).collect();
                let listed = wanted["spared"].as_array().into_iter().flatten();
                let listed = listed.map(|s| (s[0].as_u64().unwrap() as u32, bytes(&s[1])));
                assert_eq!(spared, listed.collect::<Vec<_>>());
            }
        }
    }

    /// No text that was changed is misread; each is refused.
    #[test]
    fn no_bit_and_no_byte_of_a_decision_is_passed_over() {
        let taken = |from, to| Taken {
            pseudonym: [7; 16],
            dead: vec![(Generation(from), Generation(to))],
            spared: BTreeSet::new(),
            whole: true,
            closed: true,
        };
        let erasure = ErasureId::now();
        let decision = |taken| Decision { erasure, taken: vec![taken], record: b"memo".to_vec() };
        let good = encode(&decision(taken(1, 3)));
        assert_eq!(decode(erasure, &good).unwrap(), decision(taken(1, 3)));
        let end = 5 + 21 + 8 + 4 + 5;
        for length in 0..end {
            assert!(decode(erasure, &good[..length]).is_err(), "truncated to {length}");
        }
        for (from, to) in [(0, 1), (3, 2), (1, LAST_GENERATION + 1), (1, u32::MAX)] {
            assert!(
                decode(erasure, &encode(&decision(taken(from, to)))).is_err(),
                "{from} to {to}"
            );
        }
        let mut newer = good.to_vec();
        newer[0] = 2;
        assert!(matches!(decode(erasure, &newer), Err(VaultError::NewerFormat { .. })));
        // Spared keys: at least one, each once, in order, of a generation that there can be.
        let sparing = |keys: &[(u32, u8)]| {
            let spared = keys.iter().map(|(at, id)| (Generation(*at), KeyId([*id; 20]))).collect();
            decision(Taken { spared, ..taken(1, 3) })
        };
        let list = sparing(&[(1, 1), (2, 1)]);
        let bytes = encode(&list);
        assert_eq!(decode(erasure, &bytes).unwrap(), list);
        for length in 0..end + 4 + 2 * 24 {
            assert!(decode(erasure, &bytes[..length]).is_err(), "truncated to {length}");
        }
        // Whatever bit is changed, it is refused, or is another decision.
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match decode(erasure, &flipped) {
                Ok(read) => assert_eq!(*encode(&read), flipped, "bit {bit}"),
                Err(VaultError::NewerFormat { found, .. }) => {
                    // The version of the plaintext, or of the record at its end.
                    let versions = [0, end + 4 + 2 * 24 - 5];
                    assert!(versions.contains(&(bit / 8)), "bit {bit}");
                    assert_eq!(found, u32::from(flipped[bit / 8]), "bit {bit}");
                }
                Err(VaultError::Damaged(_)) => {}
                Err(other) => panic!("bit {bit}: {other}"),
            }
        }
        let at = 1 + 4 + 16 + 1 + 4 + 8 + 4;
        for (changed, to) in [(at + 3, 3), (at + 24 + 3, 1), (at, 1), (at - 1, 0), (at - 1, 4)] {
            let mut bytes = bytes.to_vec();
            bytes[changed] = to;
            assert!(decode(erasure, &bytes).is_err(), "byte {changed} is {to}");
        }
        let mut flags = good.to_vec();
        flags[21] = 8;
        assert!(decode(erasure, &flags).is_err());
    }

    fn taken(pseudonym: u8, dead: &[(u32, u32)]) -> Taken {
        Taken {
            pseudonym: [pseudonym; 16],
            dead: dead.iter().map(|(from, to)| (Generation(*from), Generation(*to))).collect(),
            spared: BTreeSet::new(),
            whole: false,
            closed: false,
        }
    }

    /// However a plan or a fence lists them. Else two readers could take the same bytes for two things.
    #[test]
    fn what_an_announcement_takes_has_one_spelling() {
        let erasure = ErasureId::now();
        let decision = |taken| Decision { erasure, taken, record: Vec::new() };
        let one = encode(&decision(vec![taken(1, &[(1, 3), (5, 6)]), taken(2, &[(7, 7)])]));
        let other = encode(&decision(vec![
            taken(2, &[(7, 7)]),
            taken(1, &[(5, 5), (2, 3), (6, 6), (1, 2)]),
        ]));
        assert_eq!(one, other);
        assert_eq!(encode(&decode(erasure, &one).unwrap()), one);
        // As it is never written. A subject has 21 bytes, and 8 for each span.
        let (first, second) = (&one[5..42], &one[42..71]);
        let rest = &one[71..];
        assert_eq!([&one[..5], first, second, rest].concat(), *one);
        for odd in [[second, first], [first, first]] {
            assert!(decode(erasure, &[&one[..5], &odd.concat(), rest].concat()).is_err());
        }
        let spelled = |dead: &[(u32, u32)]| {
            let mut plain = one[..5].to_vec();
            plain[4] = 1;
            plain.extend_from_slice(&[1; 16]);
            plain.push(0);
            plain.extend_from_slice(&(dead.len() as u32).to_be_bytes());
            let spans = dead.iter().flat_map(|(from, to)| [from.to_be_bytes(), to.to_be_bytes()]);
            plain.extend(spans.flatten());
            plain.extend_from_slice(&[0; 4]);
            decode(erasure, &plain)
        };
        assert_eq!(spelled(&[(1, 2), (4, 4)]).unwrap().taken, [taken(1, &[(1, 2), (4, 4)])]);
        for odd in [[(4, 4), (1, 2)], [(1, 2), (1, 2)], [(1, 2), (2, 3)], [(1, 2), (3, 4)]] {
            assert!(spelled(&odd).is_err(), "{odd:?}");
        }
        // Taking all is taking something.
        let mut all = encode(&decision(vec![taken(1, &[])]));
        assert!(decode(erasure, &all).is_ok());
        all[21] = WHOLE;
        assert!(decode(erasure, &all).is_err());
    }

    #[test]
    fn the_length_of_an_announcement_tells_little_and_what_fills_it_is_nothing() {
        let erasure = ErasureId::now();
        let decision = |subjects: u8, memo: &[u8]| {
            let taken = (0..subjects).map(|subject| taken(subject, &[(1, 1)])).collect();
            Decision { erasure, taken, record: memo.to_vec() }
        };
        let lengths = (0..40).map(|subjects| encode(&decision(subjects, b"ticket 4711")).len());
        let lengths: BTreeSet<_> = lengths.collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [256, 512, 768, 1024, 1280]);
        let plain = encode(&decision(1, b"ticket 4711"));
        let end = 5 + 29 + 4 + 12;
        for at in end..plain.len() {
            let mut changed = plain.to_vec();
            changed[at] = 1;
            assert!(decode(erasure, &changed).is_err(), "byte {at}");
        }
        for length in [end, end + 1, plain.len() + 1000] {
            let mut filled = plain.to_vec();
            filled.resize(length, 0);
            assert_eq!(decode(erasure, &filled).unwrap(), decision(1, b"ticket 4711"));
        }
    }

    /// What is announced is never taken back.
    #[test]
    fn what_could_not_be_read_again_is_not_sealed() {
        let vault = Vault::in_memory().unwrap();
        let taken = vec![taken(1, &[(1, 1)]), taken(1, &[(2, 2)])];
        let decision = Decision { erasure: ErasureId::now(), taken, record: Vec::new() };
        assert!(matches!(vault.seal_decision(&decision, b""), Err(VaultError::Damaged(_))));
    }
}
