//! Where the records are in the tree, and what an opaque key id hides.
//!
//! | place | value |
//! | --- | --- |
//! | `1 ‖ H(subject) ‖ 1 ‖ part` | the subject's record, where it differs from the default |
//! | `1 ‖ H(subject) ‖ 2 ‖ H(stream) ‖ generation` | a data key of the empty class |
//! | `1 ‖ H(subject) ‖ 2 ‖ H(class, stream) ‖ generation` | a data key of another class |
//! | `1 ‖ H(subject) ‖ 3 ‖ H(dependent)` | the name of a subject that named this one as owner, in UTF-8 |
//! | `2 ‖ H(subject) ‖ part` | the fence |
//! | `3 ‖ kind ‖ id ‖ part` | a memo |
//!
//! `H` has 16 bytes, a generation and a part 4; all other parts of a place have 1, a memo's id 16. So a key's
//! place has 38 bytes. The value at a `part` is a part of a whole: the first begins with the length of
//! the whole(4), each has at most 8192 bytes of it, and they are numbered from 0.
//!
//! So all that there is of one subject is one range, and its fence is apart. `H` is a keyed
//! hash: HMAC-SHA-256, cut to 16 bytes. Its key is HMAC-SHA-256 with the vault's identity as key over the text
//! `oubliette vault 1: names`. Hashed are, in UTF-8:
//!
//! | `H` | what is hashed |
//! | --- | --- |
//! | of a subject, a dependent | `subject`, a zero byte, the name |
//! | of a stream, the class being empty | `stream`, a zero byte, the name |
//! | of a stream and a class | `class and stream`, a zero byte, the form(1) and the bytes of the class as in the key's record, the name |
//!
//! A key id is the name of an era(4) and one block of AES-256, encrypted under HMAC-SHA-256 with the era's secret as key
//! over the text `oubliette era 1: key ids`: the first 8 bytes of `H(subject)`, the first 2 of `H(stream)` or
//! `H(class, stream)`, the last 3 of the generation, and 3 random ones.
//!
//! Two of n names collide with odds n² / 2¹²⁹: nothing, at
//! any n that a vault can hold.
//!
//! A class is hashed together with the stream. So a key of any class is among its subject's keys, its
//! place has no byte more, and its id leads to it as any other's. What the class is, its record says.

use std::{fmt, ops::Range};

use aes::{
    Aes256,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Builder;

use super::{
    eras::Eras,
    wire::{Writer, class_form},
};
use crate::{
    crypto::{Secret, derive, keyed, random},
    event::{
        Class, ERA_BYTES, ErasureId, ErasureRef, EventId, Generation, KEY_ID_BYTES, KeyId,
        OwnerChange, StreamName, Subject,
    },
    vault::{MemoKind, VaultError, tree::Place},
};

/// A keyed hash of a name.
pub(in crate::vault) type Hash = [u8; 16];

const SUBJECTS: u8 = 1;
const FENCES: u8 = 2;
const MEMOS: u8 = 3;

const RECORD: u8 = 1;
const KEY: u8 = 2;
const DEPENDENT: u8 = 3;

const SLICE_BITS: u32 = 10;

/// In how many parts all subjects are walked over.
pub(in crate::vault) const SLICES: usize = 1 << SLICE_BITS;

/// Where the hash ends in a place of a subject's.
const HASH_END: usize = 17;

/// The last generation that fits the three bytes that a key id has for it.
pub(in crate::vault) const LAST_GENERATION: u32 = 0x00FF_FFFF;

/// How many bytes of H(subject) a key id carries.
///
/// Among ten million subjects any two share these 64 bits with odds 2⁴⁶ / 2⁶⁴ = 2⁻¹⁸, and even
/// then living keys are told apart, because an entry counts only if its whole id is the one
/// looked for. What could be mixed up is which of two such subjects' erasures explains a
/// dead key. An id that was made up hits one of a million fences with odds 2⁻⁴⁴.
pub(in crate::vault) const SUBJECT_PREFIX: usize = 8;
/// How many bytes of H(stream), or of H(class, stream), a key id carries: they narrow the search, no more.
const STREAM_PREFIX: usize = 2;

/// What a key id says to its vault.
pub(in crate::vault) struct KeyHint {
    /// The beginning of H(subject).
    pub(in crate::vault) subject: [u8; SUBJECT_PREFIX],
    stream: [u8; STREAM_PREFIX],
    /// The generation.
    pub(in crate::vault) generation: Generation,
}

/// The secrets from which places and key ids are made: places for ever from the vault's identity,
/// ids from the secret of their era.
pub(in crate::vault) struct Naming {
    names: Hmac<Sha256>,
    references: Hmac<Sha256>,
    halves: Hmac<Sha256>,
    pub(in crate::vault) eras: Eras,
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Naming")
    }
}

impl Naming {
    pub(in crate::vault) fn new(identity: &Secret, eras: Eras) -> Self {
        let derive = |label: &[u8]| keyed(&derive(identity, label));
        Self {
            names: derive(b"oubliette vault 1: names"),
            references: derive(b"oubliette vault 1: references"),
            halves: derive(b"oubliette vault 1: private halves"),
            eras,
        }
    }

    /// What stands for an erasure in a stream: its id, one block, encrypted under a key that is
    /// the stream's own. So two streams cannot be joined by it, and the vault can read it back.
    pub(in crate::vault) fn reference(
        &self,
        erasure: ErasureId,
        stream: &StreamName,
    ) -> ErasureRef {
        let mut block = erasure.0.into_bytes().into();
        self.references_of(stream).encrypt_block(&mut block);
        ErasureRef(block.into())
    }

    /// The erasure that a reference stands for in a stream, if it is one that this vault made:
    /// any bytes decrypt to something.
    pub(in crate::vault) fn erasure(
        &self,
        reference: ErasureRef,
        stream: &StreamName,
    ) -> ErasureId {
        let mut block = reference.0.into();
        self.references_of(stream).decrypt_block(&mut block);
        ErasureId(Builder::from_bytes(block.into()).into_uuid())
    }

    fn references_of(&self, stream: &StreamName) -> Aes256 {
        let key = self.references.clone().chain_update(stream.as_str()).finalize();
        Aes256::new(&key.into_bytes())
    }

    /// The id of the private half of an event: the same each time, and foreseen by no one else.
    pub(in crate::vault) fn half(&self, event: EventId) -> EventId {
        let whole = self.halves.clone().chain_update(event.0.as_bytes()).finalize().into_bytes();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&whole[..16]);
        EventId(Builder::from_random_bytes(bytes).into_uuid())
    }

    pub(in crate::vault) fn subject(&self, subject: &Subject) -> Hash {
        self.hash(b"subject\0", subject.as_str())
    }

    fn stream(&self, stream: &StreamName, class: &Class) -> Hash {
        if class.is_empty() {
            return self.hash(b"stream\0", stream.as_str());
        }
        // Form and class say where the stream begins.
        let mut name = Writer::new(512);
        name.u8(class_form(class));
        name.class(class);
        name.bytes(stream.as_str().as_bytes());
        self.hash(b"class and stream\0", name.done().as_slice())
    }

    /// An owner change, without the name.
    pub(in crate::vault) fn change(&self, change: &OwnerChange) -> Hash {
        let what: &[u8] = match change {
            OwnerChange::Add(_) => b"add owner\0",
            OwnerChange::Remove(_) => b"remove owner\0",
            OwnerChange::Replace(_) => b"replace owner\0",
        };
        self.hash(what, change.owner().as_str())
    }

    /// The content of an event, for as long as its claim is open. Its digest alone would show
    /// a reader of the vault whether they guessed it.
    pub(in crate::vault) fn content(&self, digest: &[u8; 32]) -> Hash {
        self.hash(b"content\0", digest)
    }

    fn hash(&self, what: &[u8], name: impl AsRef<[u8]>) -> Hash {
        let whole = self.names.clone().chain_update(what).chain_update(name).finalize();
        let mut hash = Hash::default();
        hash.copy_from_slice(&whole.into_bytes()[..16]);
        hash
    }

    /// The place of a data key.
    pub(in crate::vault) fn key(
        &self,
        subject: &Hash,
        stream: &StreamName,
        class: &Class,
        generation: Generation,
    ) -> Place {
        let mut place = of_subject(subject, KEY);
        place.extend_from_slice(&self.stream(stream, class));
        place.extend_from_slice(&generation.0.to_be_bytes());
        place
    }

    /// A new id for the key at a place: the hint and three random bytes, so that a key made
    /// again at the same place (after a restored backup, say) has another id; permuted, so that
    /// ids do not link a person's streams to each other.
    pub(in crate::vault) fn mint(&self, key: &Place) -> Result<KeyId, VaultError> {
        self.id_of(key, random()?)
    }

    fn id_of(&self, key: &Place, salt: [u8; 3]) -> Result<KeyId, VaultError> {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&key[1..1 + SUBJECT_PREFIX]);
        block[8..10].copy_from_slice(&key[HASH_END + 1..HASH_END + 1 + STREAM_PREFIX]);
        block[10..13].copy_from_slice(&key[HASH_END + 18..HASH_END + 21]);
        block[13..].copy_from_slice(&salt);
        let mut block = block.into();
        let era = self.eras.with_current(|keys| {
            keys.ids.encrypt_block(&mut block);
            keys.era
        })?;
        let mut id = [0; KEY_ID_BYTES];
        id[..ERA_BYTES].copy_from_slice(&era.0);
        id[ERA_BYTES..].copy_from_slice(&block);
        Ok(KeyId(id))
    }

    /// As [`Naming::mint`], for vectors.
    #[cfg(test)]
    pub(in crate::vault) fn mint_as_vector(&self, key: &Place, salt: [u8; 3]) -> KeyId {
        self.id_of(key, salt).unwrap()
    }

    /// Whether an id says the place that its key is at.
    pub(in crate::vault) fn leads_to(&self, id: KeyId, place: &[u8]) -> bool {
        let (Ok(Some(hint)), Some(hash)) = (self.hint(id), hash_of(place)) else { return false };
        hash.starts_with(&hint.subject)
            && place.starts_with(&hint.keys_of(&hash).start)
            && place.ends_with(&hint.generation.0.to_be_bytes())
    }

    /// Whether a key of this id may be a stream's: an id has the beginning of the stream's hash. If not, it is not,
    /// as long as there are no keys but those of the empty class.
    pub(in crate::vault) fn may_be_key_of(
        &self,
        id: KeyId,
        stream: &StreamName,
    ) -> Result<bool, VaultError> {
        let hash = self.stream(stream, &Class::default());
        Ok(self.hint(id)?.is_none_or(|hint| hash.starts_with(&hint.stream)))
    }

    /// What an id says; `None`: it is of an era that this vault does not know.
    pub(in crate::vault) fn hint(&self, id: KeyId) -> Result<Option<KeyHint>, VaultError> {
        let [_, _, _, _, block @ ..] = id.0;
        let mut block = block.into();
        if self.eras.with(id.era(), |keys| keys.ids.decrypt_block(&mut block))?.is_none() {
            return Ok(None);
        }
        let block: [u8; 16] = block.into();
        let mut hint = KeyHint { subject: [0; 8], stream: [0; 2], generation: Generation(0) };
        hint.subject.copy_from_slice(&block[..8]);
        hint.stream.copy_from_slice(&block[8..10]);
        hint.generation = Generation(u32::from_be_bytes([0, block[10], block[11], block[12]]));
        Ok(Some(hint))
    }
}

fn of_subject(subject: &Hash, kind: u8) -> Place {
    let mut place = Vec::with_capacity(HASH_END + 21);
    place.push(SUBJECTS);
    place.extend_from_slice(subject);
    place.push(kind);
    place
}

/// From a place to the first that does not begin like it.
pub(in crate::vault) fn beginning_with(place: &[u8]) -> Range<Place> {
    let mut end = place.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            break;
        }
        end.pop();
    }
    place.to_vec()..end
}

/// The place right after this one in the order of places.
pub(in crate::vault) fn after(place: &[u8]) -> Place {
    let mut after = place.to_vec();
    after.push(0);
    after
}

/// All that there is of all subjects, but for their fences.
pub(in crate::vault) fn all_subjects() -> Range<Place> {
    beginning_with(&[SUBJECTS])
}

/// All subjects in so many parts as [`SLICES`] says, of about as many keys each: places are keyed
/// hashes.
pub(in crate::vault) fn slice(number: usize) -> Range<Place> {
    let all = all_subjects();
    let bound = |number: usize| match u16::try_from(number << (16 - SLICE_BITS)) {
        Ok(0) => all.start.clone(),
        Ok(high) => [&[SUBJECTS], &high.to_be_bytes()[..]].concat(),
        Err(_) => all.end.clone(),
    };
    bound(number)..bound(number + 1)
}

/// All fences.
pub(in crate::vault) fn all_fences() -> Range<Place> {
    beginning_with(&[FENCES])
}

/// All that there is of a subject, but for its fence.
pub(in crate::vault) fn subject_range(subject: &Hash) -> Range<Place> {
    let place = of_subject(subject, 0);
    beginning_with(&place[..HASH_END])
}

/// The stem of a subject's record.
pub(in crate::vault) fn record(subject: &Hash) -> Place {
    of_subject(subject, RECORD)
}

/// The keys of a subject.
pub(in crate::vault) fn keys(subject: &Hash) -> Range<Place> {
    beginning_with(&of_subject(subject, KEY))
}

/// The dependents of a subject.
pub(in crate::vault) fn dependents(owner: &Hash) -> Range<Place> {
    beginning_with(&of_subject(owner, DEPENDENT))
}

/// Where an owner keeps a dependent's name.
pub(in crate::vault) fn dependent(owner: &Hash, dependent: &Hash) -> Place {
    let mut place = of_subject(owner, DEPENDENT);
    place.extend_from_slice(dependent);
    place
}

/// The stem of a fence.
pub(in crate::vault) fn fence(subject: &Hash) -> Place {
    let mut place = vec![FENCES];
    place.extend_from_slice(subject);
    place
}

/// The stem of a memo.
pub(in crate::vault) fn memo(kind: MemoKind, id: &[u8; 16]) -> Place {
    let mut place = vec![MEMOS, kind as u8];
    place.extend_from_slice(id);
    place
}

/// The first place after all memos of the kinds up to this one.
pub(in crate::vault) fn after_memos(kind: MemoKind) -> Place {
    beginning_with(&[MEMOS, kind as u8]).end
}

/// The number of a memo's kind; `None`: there is no memo at this place.
pub(in crate::vault) fn memo_number(place: &[u8]) -> Option<u8> {
    match place {
        [MEMOS, number, ..] => Some(*number),
        _ => None,
    }
}

/// Whether the first part of a value of any length is at this place.
pub(in crate::vault) fn is_first_part(place: &[u8]) -> bool {
    place.ends_with(&[0; 4])
}

/// What a newer program has at this place, in words.
pub(in crate::vault) fn unknown(place: &[u8]) -> String {
    match (memo_number(place), place.first()) {
        (Some(number), _) => format!("memos of kind {number}"),
        (None, first) => {
            let first = first.copied().unwrap_or_default();
            format!("a value of kind {first} that has {} bytes of place", place.len())
        }
    }
}

/// All memos of a kind.
pub(in crate::vault) fn memos(kind: MemoKind) -> Range<Place> {
    beginning_with(&[MEMOS, kind as u8])
}

/// Whether what is at this place is in no backup.
#[cfg(feature = "backup")]
pub(in crate::vault) fn is_never_copied(place: &[u8]) -> bool {
    let kinds = [MemoKind::SigningSecret, MemoKind::Owners];
    kinds.iter().any(|kind| place.starts_with(&[MEMOS, *kind as u8]))
}

/// The id in the place of a part of a memo.
pub(in crate::vault) fn memo_id(place: &[u8]) -> Option<[u8; 16]> {
    place.get(2..18)?.try_into().ok()
}

/// All subjects whose hash begins so.
pub(in crate::vault) fn subjects_like(prefix: &[u8]) -> Range<Place> {
    let mut place = vec![SUBJECTS];
    place.extend_from_slice(prefix);
    beginning_with(&place)
}

/// All fences whose hash begins so.
pub(in crate::vault) fn fences_like(prefix: &[u8]) -> Range<Place> {
    let mut place = vec![FENCES];
    place.extend_from_slice(prefix);
    beginning_with(&place)
}

/// The hash in a place of a subject's, or of a fence.
pub(in crate::vault) fn hash_of(place: &[u8]) -> Option<Hash> {
    place.get(1..HASH_END)?.try_into().ok()
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) enum Kind {
    /// A part of a subject's record.
    Record,
    /// A data key.
    Key,
    /// The name of a dependent.
    Dependent,
    /// A part of a fence.
    Fence,
    /// A part of a memo.
    Note,
    /// Nothing of ours.
    Odd,
}

/// What is at a place, by its form.
pub(in crate::vault) fn kind_of(place: &[u8]) -> Kind {
    match (place.first(), place.get(HASH_END), place.len()) {
        (Some(&SUBJECTS), Some(&RECORD), 22) => Kind::Record,
        (Some(&SUBJECTS), Some(&KEY), 38) => Kind::Key,
        (Some(&SUBJECTS), Some(&DEPENDENT), 34) => Kind::Dependent,
        (Some(&FENCES), _, 21) => Kind::Fence,
        (Some(&MEMOS), _, 22) => Kind::Note,
        _ => Kind::Odd,
    }
}

/// A place for people: whose, as far as a pseudonym tells, and what.
pub(crate) fn in_words(place: &[u8]) -> String {
    let pseudonym = || {
        let bytes = place.get(1..place.len().min(HASH_END)).unwrap_or_default();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    match kind_of(place) {
        _ if place.is_empty() => "the beginning".to_owned(),
        Kind::Key => format!("a key of {}", pseudonym()),
        Kind::Dependent => format!("a dependent of {}", pseudonym()),
        Kind::Odd | Kind::Record | Kind::Fence | Kind::Note => match place.first() {
            Some(&SUBJECTS) if place.get(HASH_END) == Some(&RECORD) => {
                format!("the record of {}", pseudonym())
            }
            Some(&SUBJECTS) => format!("subject {}", pseudonym()),
            Some(&FENCES) => format!("the fence of {}", pseudonym()),
            Some(&MEMOS) => "a memo".to_owned(),
            _ => "a place of no kind".to_owned(),
        },
    }
}

/// Whether a data key is at this place.
pub(in crate::vault) fn is_key(place: &[u8]) -> bool {
    place.first() == Some(&SUBJECTS) && place.get(HASH_END) == Some(&KEY)
}

/// Whether a part of a subject's record is at this place.
pub(in crate::vault) fn is_record(place: &[u8]) -> bool {
    place.first() == Some(&SUBJECTS) && place.get(HASH_END) == Some(&RECORD)
}

/// The generation in the place of a data key.
pub(in crate::vault) fn generation_of(place: &[u8]) -> Option<Generation> {
    place.last_chunk().map(|bytes| Generation(u32::from_be_bytes(*bytes)))
}

impl KeyHint {
    /// The keys of one subject that the id may mean.
    pub(in crate::vault) fn keys_of(&self, subject: &Hash) -> Range<Place> {
        let mut place = of_subject(subject, KEY);
        place.extend_from_slice(&self.stream);
        beginning_with(&place)
    }
}

/// The reference of a vault with this identity, for the vectors of `docs/format.md`.
#[cfg(test)]
pub(crate) fn reference_as_vector(
    identity: &[u8; 32],
    erasure: ErasureId,
    stream: &StreamName,
) -> ErasureRef {
    Naming::new(&Secret::copy_of(identity), Eras::over(Vec::new())).reference(erasure, stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The references of the vectors of `docs/format.md`.
    #[test]
    fn a_reference_is_the_erasure_to_the_vault_alone() {
        let file: serde_json::Value = crate::layer::document::vectors::committed("tombstones.json");
        let mut identity = Secret::default();
        identity.copy_from_slice(&(0..32).collect::<Vec<u8>>());
        let naming = Naming::new(&identity, Eras::over(Vec::new()));
        let mut seen = Vec::new();
        for vector in file["vectors"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let (erasure, stream) =
                (text("erasure").parse().unwrap(), text("stream").parse().unwrap());
            let data: serde_json::Value = serde_json::from_str(text("data")).unwrap();
            let reference = naming.reference(erasure, &stream);
            assert_eq!(data["ref"], reference.to_string());
            assert_eq!(naming.erasure(reference, &stream), erasure);
            seen.push((stream, reference));
        }
        for (stream, reference) in &seen {
            let same = seen.iter().filter(|(_, other)| other == reference);
            assert!(same.into_iter().all(|(other, _)| other == stream));
        }
    }

    #[test]
    fn a_private_half_has_one_id() {
        let naming = Naming::new(&Secret::default(), Eras::over(Vec::new()));
        let (one, other) = (EventId::random(), EventId::random());
        assert_eq!(naming.half(one), naming.half(one));
        assert_ne!(naming.half(one), naming.half(other));
        let mut another = Secret::default();
        another[0] = 1;
        assert_ne!(naming.half(one), Naming::new(&another, Eras::over(Vec::new())).half(one));
    }
}
