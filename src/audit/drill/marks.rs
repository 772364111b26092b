//! Roots, tokens, and whatever has a beginning of its own, among bytes, no matter what is around it.

use std::path::PathBuf;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{
    backup,
    packed::{self, How},
    rows,
    window::Window,
};
use crate::{
    audit::AuditError,
    crypto::{MIN_TOKEN_BYTES, Secret, can_read, from_base64url},
    event::{KEY_ID_BYTES, KeyId},
    vault::{BEGINNING, Trace, VaultError, trace},
};

/// What a mark turned out to be.
pub(super) enum Mark<'a> {
    /// Bytes that begin like a root slot and say whose.
    Root(Trace),
    /// A token, or what may be one.
    Token(Found<'a>),
    /// What may be packed.
    Packed(How),
    /// A backup of a vault that is not encrypted.
    Backup(backup::Header),
    /// A SQLite database.
    Database(rows::Header),
    /// What says that it is one, and is none.
    BadDatabase,
    /// The journal of a SQLite database, of either kind.
    Log,
    /// The files of sled, in which a vault keeps its pages.
    Pages,
}

/// A root that was found.
pub(super) struct Stray {
    /// In which file.
    pub(super) path: PathBuf,
    /// What it is packed in there, if it is.
    pub(super) inside: String,
    /// At which byte.
    pub(super) offset: u64,
    /// What can be told of it.
    pub(super) trace: Trace,
}

/// A token among other bytes.
pub(super) struct Found<'a> {
    /// The key that it names.
    pub(super) key: KeyId,
    /// Whether it must be one: it is alone, as in JSON or a dump. What is merely somewhere in
    /// a longer run is one only if its key is known.
    pub(super) alone: bool,
    bytes: &'a [u8],
    /// Whether it is in letters.
    pub(super) text: bool,
}

/// What begins a token's text: the version and the algorithm are 1, and the third character has
/// two bits of the key's id.
const BEGINNINGS: [&[u8]; 4] = [b"AQE", b"AQF", b"AQG", b"AQH"];

const SHORTEST_TEXT: usize = (MIN_TOKEN_BYTES * 4).div_ceil(3);

/// As many whole groups of four letters as the bytes up to the end of the key's id take.
const HEAD_TEXT: usize = (2 + KEY_ID_BYTES).div_ceil(3) * 4;

/// Looks for them.
pub(super) struct Marks(AhoCorasick);

impl Marks {
    pub(super) fn new() -> Result<Self, AuditError> {
        let mut patterns: Vec<&[u8]> = vec![BEGINNING, &[1, 1]];
        patterns.extend(BEGINNINGS);
        patterns.extend([&backup::BEGINNING[..], rows::BEGINNING, rows::JOURNAL, PAGES]);
        patterns.extend(LOGS);
        patterns.extend(packed::BEGINNINGS.map(|(begins, _)| begins));
        let search = AhoCorasick::builder().match_kind(MatchKind::Standard).build(patterns);
        // A handful of short patterns always fits.
        search.map(Self).map_err(|error| AuditError::Vault(VaultError::Storage(Box::new(error))))
    }

    /// Shows what begins in a window, with its place there.
    pub(super) fn look<'w>(&self, window: &Window<'w>, see: &mut dyn FnMut(usize, Mark<'w>)) {
        let bytes = window.bytes;
        let haystack = &bytes[window.from..];
        for found in self.0.find_overlapping_iter(haystack) {
            let at = window.from + found.start();
            if at >= window.to {
                // Every pattern is shorter than what is after `to`, or the file ends.
                if at >= window.to + BEGINNING.len() {
                    break;
                }
                continue;
            }
            let mark = match found.pattern().as_usize() {
                0 => trace(&bytes[at..]).map(Mark::Root),
                1 => raw(bytes, at).map(Mark::Token),
                2..=5 => text(bytes, at).map(Mark::Token),
                6 => backup::Header::read(&bytes[at..]).map(Mark::Backup),
                7 => database(&bytes[at..], window.offset + at as u64),
                // A journal is at the beginning of a file.
                8 | 10 | 11 => (window.offset + at as u64).is_multiple_of(512).then_some(Mark::Log),
                9 => Some(Mark::Pages),
                other => packed::BEGINNINGS.get(other - 12).map(|(_, how)| Mark::Packed(*how)),
            };
            if let Some(mark) = mark {
                see(at, mark);
            }
        }
    }
}

/// The name of the only tree in a database of sled, with its length before it, as it is there.
const PAGES: &[u8] = b"\x0f__sled__default";

/// What a write-ahead log of SQLite begins with.
const LOGS: [&[u8]; 2] = [b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"];

/// A database, or what only begins like one: a program that knows SQLite does, somewhere.
fn database<'a>(bytes: &[u8], offset: u64) -> Option<Mark<'a>> {
    match rows::Header::read(bytes) {
        Some(header) => Some(Mark::Database(header)),
        None => offset.is_multiple_of(512).then_some(Mark::BadDatabase),
    }
}

fn raw(bytes: &[u8], at: usize) -> Option<Found<'_>> {
    let rest = bytes.get(at..).filter(|rest| rest.len() >= MIN_TOKEN_BYTES)?;
    let key = KeyId(rest.get(2..2 + KEY_ID_BYTES)?.try_into().ok()?);
    Some(Found { key, alone: false, bytes: rest, text: false })
}

fn text(bytes: &[u8], at: usize) -> Option<Found<'_>> {
    let rest = &bytes[at..];
    // No further than that: what is made of nothing but beginnings must not take for ever.
    if !rest.get(..SHORTEST_TEXT)?.iter().all(|&byte| is_base64url(byte)) {
        return None;
    }
    let head = std::str::from_utf8(rest.get(..HEAD_TEXT)?).ok()?;
    let head = from_base64url(head)?;
    let key = KeyId(head.get(2..2 + KEY_ID_BYTES)?.try_into().ok()?);
    // After a backslash a letter belongs to an escape: `\n` before a token is a line's end.
    let alone = match bytes.get(..at) {
        Some([.., before, last]) => !is_base64url(*last) || *before == b'\\',
        Some([last]) => !is_base64url(*last),
        _ => true,
    };
    Some(Found { key, alone, bytes: rest, text: true })
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

impl Found<'_> {
    /// Whether it can be read under the key that it names.
    pub(super) fn opens(&self, key: &Secret) -> bool {
        if !self.text {
            return can_read(self.bytes, key);
        }
        let letters = self.bytes.get(..SHORTEST_TEXT / 4 * 4).unwrap_or_default();
        let head = std::str::from_utf8(letters).ok().and_then(from_base64url);
        head.is_some_and(|head| can_read(&head, key))
    }
}
