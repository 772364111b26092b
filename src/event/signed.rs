//! What a vault says in clear in its event store, and signs: tombstones and announcements.
//!
//! Everything is signed as it is read: over the canonical form of all members, those included that
//! this program does not know. So a later form, too, can be told from a forged one, and what the vault
//! said and this program does not understand is never passed over.

use super::Json;

/// What is signed, or bound: what for, where it is said, and the canonical form of the document without
/// some of its members.
pub(super) fn signed_bytes(
    label: &[u8],
    place: &[&[u8]],
    said: &Json,
    left_out: &[&str],
) -> Vec<u8> {
    let text = without(said, left_out);
    framed(&[&[label], place, &[text.as_bytes()]].concat())
}

/// The canonical form of a document, without some of its members: a store may spell it in other ways than
/// it was signed in. That of what is no JSON, or has a member twice, is `null`.
pub(super) fn without(said: &Json, left_out: &[&str]) -> String {
    let paths: Vec<[&str; 1]> = left_out.iter().map(|name| [*name]).collect();
    let paths: Vec<&[&str]> = paths.iter().map(|path| &path[..]).collect();
    let mut text = String::new();
    said.tree().root().canonical(&mut text, &paths);
    text
}

/// A name that somebody else gave, made fit to be told.
pub(super) fn named(name: &str) -> String {
    const LONGEST: usize = 40;
    let plain = |c: char| c.is_ascii_lowercase() || c == '-';
    if name.len() <= LONGEST && name.chars().all(plain) { name.to_owned() } else { "?".to_owned() }
}

/// The fields one after the other, each with its length in front in four bytes, so that none can
/// be taken for a part of another.
pub(crate) fn framed(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fields.iter().map(|field| 4 + field.len()).sum());
    for field in fields {
        // Each is far below 4 GiB.
        bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}
