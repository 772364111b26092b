//! Roots and tokens among bytes, whatever stands around them.

use std::path::PathBuf;

use aho_corasick::{AhoCorasick, MatchKind};

use super::files::Window;
use crate::{
    audit::AuditError,
    crypto::KEY_ID_BYTES,
    crypto::{KeyId, MIN_TOKEN_BYTES, Secret, Token, can_read, from_base64url},
    event::MAX_PAYLOAD_BYTES,
    vault::{BEGINNING, SECTOR_BYTES, Trace, VaultError, trace},
};

/// What a mark turned out to be.
pub(super) enum Mark<'a> {
    /// Bytes that begin like a root slot and say whose.
    Root(Trace),
    /// A token, or what may be one.
    Token(Found<'a>),
}

/// A root that was found.
pub(super) struct Stray {
    /// In which file.
    pub(super) path: PathBuf,
    /// At which byte.
    pub(super) offset: u64,
    /// What can be told of it.
    pub(super) trace: Trace,
}

/// A token among other bytes.
pub(super) struct Found<'a> {
    /// The key that it names.
    pub(super) key: KeyId,
    /// Whether it must be one: it stands alone, as in JSON or a dump. What is merely somewhere in
    /// a longer run is one only if its key is known.
    pub(super) alone: bool,
    bytes: &'a [u8],
    text: bool,
}

/// What begins a token's text: the version and the algorithm are 1, and the third character has
/// two bits of the key's id.
const BEGINNINGS: [&[u8]; 4] = [b"AQE", b"AQF", b"AQG", b"AQH"];

/// How many bytes after its beginning are needed to tell what a mark is.
pub(super) const AFTER: usize = SECTOR_BYTES;

/// … and to have a token of any length as a whole: its text, with room for the fields' pointers.
pub(super) const AFTER_WHOLE: usize = (MAX_PAYLOAD_BYTES / 3 + (1 << 20)) * 4 + SECTOR_BYTES;

const SHORTEST_TEXT: usize = (MIN_TOKEN_BYTES * 4).div_ceil(3);

/// Looks for them.
pub(super) struct Marks(AhoCorasick);

impl Marks {
    pub(super) fn new() -> Result<Self, AuditError> {
        let mut patterns: Vec<&[u8]> = vec![BEGINNING, &[1, 1]];
        patterns.extend(BEGINNINGS);
        let search = AhoCorasick::builder().match_kind(MatchKind::Standard).build(patterns);
        // A handful of short patterns always fits.
        search.map(Self).map_err(|error| AuditError::Vault(VaultError::Storage(Box::new(error))))
    }

    /// Shows what begins in a window, with its place in the file.
    pub(super) fn look<'w>(&self, window: &Window<'w>, see: &mut dyn FnMut(u64, Mark<'w>)) {
        let bytes = window.bytes;
        let haystack = &bytes[window.from..];
        for found in self.0.find_overlapping_iter(haystack) {
            let at = window.from + found.start();
            if at >= window.to {
                // Every pattern is shorter than what stands after `to`, or the file ends.
                if at >= window.to + BEGINNING.len() {
                    break;
                }
                continue;
            }
            let mark = match found.pattern().as_usize() {
                0 => trace(&bytes[at..]).map(Mark::Root),
                1 => raw(bytes, at).map(Mark::Token),
                _ => text(bytes, at).map(Mark::Token),
            };
            if let Some(mark) = mark {
                see(window.offset + at as u64, mark);
            }
        }
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
    // 24 characters are the 18 bytes up to the end of the key's id.
    let head = std::str::from_utf8(rest.get(..24)?).ok()?;
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
    /// Whether it can be read under a key. Of one that is not text it is not known where it ends.
    pub(super) fn opens(&self, key: &Secret) -> bool {
        if !self.text {
            return can_read(self.bytes, None, key);
        }
        let length = self.bytes.iter().position(|&byte| !is_base64url(byte));
        let text = std::str::from_utf8(&self.bytes[..length.unwrap_or(self.bytes.len())]);
        let token = text.ok().and_then(|text| Token::parse(text).ok());
        token.is_some_and(|token| {
            let bytes = token.as_bytes();
            can_read(bytes, Some(bytes.len()), key)
        })
    }
}
