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

use std::ops::Range;

use crate::{
    event::Generation,
    vault::{MemoKind, tree::Place},
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
pub(super) const HASH_END: usize = 17;

/// The last generation that fits the three bytes that a key id has for it.
pub(in crate::vault) const LAST_GENERATION: u32 = 0x00FF_FFFF;

/// How many bytes of H(subject) a key id carries.
///
/// Among ten million subjects any two share these 64 bits with odds 2⁴⁶ / 2⁶⁴ = 2⁻¹⁸, and even
/// then living keys are told apart, because an entry counts only if its whole id is the one
/// looked for. What could be mixed up is which of two such subjects' erasures explains a
/// dead key. An id that was made up hits one of a million fences with odds 2⁻⁴⁴.
pub(in crate::vault) const SUBJECT_PREFIX: usize = 8;
fn of_subject(subject: &Hash, kind: u8) -> Place {
    [&[SUBJECTS], &subject[..], &[kind]].concat()
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
    [place, &[0]].concat()
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

/// Where a data key is.
pub(super) fn key(subject: &Hash, stream: &Hash, generation: Generation) -> Place {
    [&of_subject(subject, KEY)[..], stream, &generation.0.to_be_bytes()].concat()
}

/// The keys of a subject in the streams whose hash begins so.
pub(super) fn keys_like(subject: &Hash, stream: &[u8]) -> Range<Place> {
    beginning_with(&[&of_subject(subject, KEY)[..], stream].concat())
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
    [&of_subject(owner, DEPENDENT)[..], dependent].concat()
}

/// The stem of a fence.
pub(in crate::vault) fn fence(subject: &Hash) -> Place {
    [&[FENCES], &subject[..]].concat()
}

/// The stem of a memo.
pub(in crate::vault) fn memo(kind: MemoKind, id: &[u8; 16]) -> Place {
    [&[MEMOS, kind as u8], &id[..]].concat()
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
    beginning_with(&[&[SUBJECTS], prefix].concat())
}

/// All fences whose hash begins so.
pub(in crate::vault) fn fences_like(prefix: &[u8]) -> Range<Place> {
    beginning_with(&[&[FENCES], prefix].concat())
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
