//! Memos: what the vault and the rooms above it keep in the tree, sealed and removable for good.
//!
//! A memo is at `3 ‖ kind ‖ id ‖ part` (see [`super::places`]). Its first byte is its version: 1, of every
//! kind so far. The table says what follows. All numbers are big-endian; JSON is UTF-8.
//!
//! | kind | id | memo |
//! | --- | --- | --- |
//! | 1 journal | of the erasure | JSON: `erasure`, `reason`, `plan`, `secret` (32 bytes as base64url), `attempt`, `earlier`, and `taken` where there is any (`src/erasure/journal.rs`; the plan: `src/erasure/plan.rs`) |
//! | 2 erasure | of the erasure | JSON: its record, without names (`src/erasure/journal.rs`). Announcements and lists of erasures have a copy of it |
//! | 3 backup | of the backup | JSON: its entry in the catalogue (see [`super::catalogue`]) |
//! | 4 witness | zeros | JSON: `at` (`revision`, `event`, and its `digest`), `tips`, a list of announcements, each by its `event`, its `digest` and, where it was `seen`, the revision: how far announcements are known (`src/erasure/witness/mark.rs`) |
//! | 4 witness | 15 zeros, 1 | JSON: `gaps`, a list of announcements that are missing, each by its `event`, when it was `found`, and, where somebody `accepted` it, `by` whom and `at` what time (`src/erasure/witness/gap.rs`) |
//! | 5 signing keys | zeros | JSON: the history (see [`super::super::signing`]) |
//! | 6 signing secret | of the signing key | 32 bytes. There is one such memo, and no backup has it |
//! | 7 policy | zeros | the text of the adopted policy, UTF-8 |
//! | 8 era | 4 zeros, its order among the vault's eras(8), its name(4) | 32 bytes: its secret (see [`super::eras`]) |
//! | 9 claim | of the event | `H(dependent)`(16), since when(8) in microseconds (see [`super::super::commit::unsettled`]) |
//! | 10 owners | zeros | 8 bytes: the digest of the owner rules under which the whole store was read. No backup has it |
//! | 10 owners | 15 zeros, 1 | nothing: the whole store was read, and nothing was in clear that the layer would seal. No backup has it |
//! | 11 believed | of an event | JSON: `believed` and `passed`, lists of announcements in it, each by its `event`, its `signer` and the `digest` of what is signed: what the operator said of them (`src/erasure/witness/doubt.rs`) |
//!
//! In memos of kind 4, the `digest` in `at` is SHA-256 over the type of the event, and its data in canonical form or its
//! bytes, each with its length(4) before it. Every other `digest` in memos of the kinds 4 and 11 is SHA-256 over what the
//! announcement's signature is over.
//!
//! **One rule for all memos.** A program reads a memo only if it knows the memo's version, and would itself
//! write the memo with these very bytes.
//!
//! - A higher version is [`VaultError::NewerFormat`]. No member of it is looked at.
//! - A member that is unknown, missing or there twice, and JSON in any other spelling, is
//!   [`VaultError::Damaged`], or an error of the room that reads the memo. Each type says of which members
//!   that holds that they are left out where there is nothing to say (`skip_serializing_if`). All others are
//!   always there, also as `null`, `false`, 0 or an empty list.
//! - A kind of memo that the program does not know keeps the vault closed, and its backup from being
//!   restored: [`VaultError::UnknownKind`].
//!
//! So a later program that has more to say writes the next version of that memo, which an older one
//! refuses when it comes to it. What an older one must not even come near (a hold, say) is a kind of its own.
//! There is one exception: a damaged memo of kind 4 and id 0 is as good as none. Then all announcements
//! are compared, and only the newest are not missed, where they are missing.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{disk::Disk, places};
use crate::vault::{
    MemoKind, VaultError,
    tree::{Change, MAX_PLACE_BYTES, Value},
    wire::Reader,
};

/// The version of every kind of memo.
const VERSION: u8 = 1;

impl MemoKind {
    /// What a memo of this kind is, for messages.
    fn what(self) -> &'static str {
        match self {
            Self::Journal => "the journal of an erasure",
            Self::Erasure => "the record of an erasure",
            Self::Backup => "an entry of the catalogue of backups",
            Self::Witness => "the memo on announced erasures",
            Self::SigningKeys => "the history of the signing keys",
            Self::SigningSecret => "the secret of a signing key",
            Self::Policy => "the memo of the adopted policy",
            Self::Era => "the secret of an era",
            Self::Claim => "the memo of an owner claim",
            Self::Owners => "the memo on owner rules",
            Self::Believed => "the memo on announcements in doubt",
        }
    }

    /// The last one.
    pub(crate) const LAST: Self = Self::Believed;

    /// The kind with this number.
    fn of(number: u8) -> Option<Self> {
        use MemoKind::*;
        let kinds = [
            Journal,
            Erasure,
            Backup,
            Witness,
            SigningKeys,
            SigningSecret,
            Policy,
            Era,
            Claim,
            Owners,
            Believed,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A memo as it is stored.
pub(in crate::vault) fn stored(content: &[u8]) -> Value {
    let mut memo = Zeroizing::new(Vec::with_capacity(1 + content.len()));
    memo.push(VERSION);
    memo.extend_from_slice(content);
    memo
}

/// What a stored memo says.
pub(in crate::vault) fn content(kind: MemoKind, stored: &[u8]) -> Result<&[u8], VaultError> {
    let mut memo = Reader::new(kind.what(), stored);
    memo.version(VERSION)?;
    Ok(memo.rest())
}

/// The content of a memo that is JSON.
pub(crate) fn to_json(memo: &impl Serialize) -> Result<Value, VaultError> {
    let text = serde_json::to_vec(memo).map_err(|error| VaultError::Storage(Box::new(error)))?;
    Ok(Zeroizing::new(text))
}

/// What the content of a memo says that is JSON, if [`to_json`] makes the same bytes of it.
///
/// That one comparison finds every member that is unknown, missing or there twice, at whatever depth.
/// Attributes of each type would not: serde takes an absent `Option` for none.
pub(crate) fn from_json<T: Serialize + DeserializeOwned>(
    kind: MemoKind,
    content: &[u8],
) -> Result<T, VaultError> {
    let odd = || VaultError::Damaged(format!("{} does not have its form", kind.what()));
    let memo: T = serde_json::from_slice(content).map_err(|_| odd())?;
    let mut rest = Same(content);
    match serde_json::to_writer(&mut rest, &memo) {
        Ok(()) if rest.0.is_empty() => Ok(memo),
        _ => Err(odd()),
    }
}

/// Takes what is written only if it is what comes next here. So no second copy is made of what may be
/// secret.
struct Same<'a>(&'a [u8]);

impl io::Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error where a value is of a kind, or a memo of a version, that this program does not know. The
/// value is what one place holds.
pub(in crate::vault) fn refuse_newer(place: &[u8], value: &[u8]) -> Result<(), VaultError> {
    let unknown = || VaultError::UnknownKind(places::unknown(place));
    if places::kind_of(place) == places::Kind::Odd {
        return Err(unknown());
    }
    let Some(number) = places::memo_number(place) else { return Ok(()) };
    let kind = MemoKind::of(number).ok_or_else(unknown)?;
    if !places::is_first_part(place) {
        return Ok(());
    }
    // Before the version there is the length of the whole.
    let mut memo = Reader::new(kind.what(), value);
    memo.bytes(4)?;
    memo.version(VERSION)
}

/// An error where a vault holds a kind of memo that this program does not know, or anything after all memos.
/// Whatever is beneath a damaged page is not seen.
pub(in crate::vault) fn refuse_unknown_kinds(disk: &Disk) -> Result<(), VaultError> {
    let from = places::after_memos(MemoKind::LAST);
    match disk.tree().range(&from, &[u8::MAX; MAX_PLACE_BYTES], 1) {
        Ok(found) => match found.first() {
            Some((place, _)) => Err(VaultError::UnknownKind(places::unknown(place))),
            None => Ok(()),
        },
        Err(error @ VaultError::Damaged(_)) => {
            tracing::warn!(error = %crate::words::chain(&error), "whether the vault is a newer program's cannot be seen");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What a vault writes that was put back, or may have been: whom the events in the store name as owners, it does not
/// know any more. Nothing, where that is beneath a damaged page.
pub(in crate::vault) fn without_looked(disk: &Disk) -> Result<Vec<Change>, VaultError> {
    let found = disk.walk(places::memos(MemoKind::Owners));
    match found.map(|found| Ok((found?.0, None))).collect() {
        Err(VaultError::Damaged(_)) => Ok(Vec::new()),
        changes => changes,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ops::Range;

    use super::*;

    /// Where the members are in a JSON text, of every object in it.
    fn members(text: &[u8]) -> Vec<Range<usize>> {
        let (mut found, mut open, mut in_string) = (Vec::new(), Vec::<(bool, usize)>::new(), false);
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            match (byte, in_string) {
                (b'\\', true) => at += 1,
                (b'"', _) => in_string = !in_string,
                (b'{' | b'[', false) => open.push((*byte == b'{', at + 1)),
                (b',' | b'}' | b']', false) => {
                    let (is_object, start) = open.last_mut().unwrap();
                    if *is_object && *start < at {
                        found.push(*start..at);
                    }
                    *start = at + 1;
                    if *byte != b',' {
                        open.pop();
                    }
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Checks the rule for a memo that is JSON: it is read as it was written, and nothing else is read for
    /// it. `read` writes again what it read. Members that may be absent, where they say nothing, are named.
    pub(crate) fn is_strict(
        kind: MemoKind,
        text: &[u8],
        may_be_absent: &[&str],
        read: impl Fn(&[u8]) -> Option<Value>,
    ) {
        let is =
            |read: Option<Value>, text: &[u8]| read.is_some_and(|read| read.as_slice() == text);
        let told = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        assert!(is(read(text), text), "{}", told(text));
        let members = members(text);
        assert!(members.len() > 1);
        for Range { start, end } in members {
            let (before, member, after) = (&text[..start], &text[start..end], &text[end..]);
            let more = [before, br#""unknown":1,"#, member, after].concat();
            assert!(read(&more).is_none(), "{}", told(&more));
            let twice = [before, member, b",", member, after].concat();
            assert!(read(&twice).is_none(), "{}", told(&twice));
            let name = told(member.split(|byte| *byte == b'"').nth(1).unwrap());
            let less = match (before.strip_suffix(b","), after.strip_prefix(b",")) {
                (_, Some(after)) => [before, after].concat(),
                (Some(before), None) => [before, after].concat(),
                (None, None) => [before, after].concat(),
            };
            match read(&less) {
                Some(_) => assert!(may_be_absent.contains(&&*name), "{}", told(&less)),
                None => assert!(!may_be_absent.contains(&&*name), "{}", told(&less)),
            }
        }
        // Whatever is read of other bytes is another memo, and would be written so.
        let stride = 1 + text.len() / 1000;
        let flipped = (0..text.len() * 8).step_by(stride).map(|bit| {
            let mut changed = text.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        let cut = (0..text.len()).step_by(stride);
        let cut = cut.map(|at| [&text[..at], &text[at + 1..]].concat());
        let spaced = [[text, b" "].concat(), [b" ", text].concat()];
        for changed in flipped.chain(cut).chain(spaced) {
            let again = read(&changed);
            assert!(again.is_none() || is(again, &changed), "{}", told(&changed));
        }
        for length in (0..text.len()).step_by(stride) {
            assert!(read(&text[..length]).is_none(), "the first {length} bytes");
        }
        has_a_version(kind, text);
    }

    /// A memo of a later version is refused by that name, one of none is damaged.
    pub(crate) fn has_a_version(kind: MemoKind, of: &[u8]) {
        let memo = stored(of);
        assert_eq!(content(kind, &memo).unwrap(), of);
        for version in (0..=255).filter(|version| *version != VERSION) {
            let mut changed = memo.clone();
            changed[0] = version;
            match content(kind, &changed) {
                Err(error @ VaultError::NewerFormat { found, known: 1, .. }) if version > 1 => {
                    assert_eq!(found, u32::from(version));
                    assert!(error.to_string().contains("written by a newer program"), "{error}");
                }
                Err(VaultError::Damaged(_)) if version == 0 => {}
                other => panic!("version {version}: {other:?}"),
            }
        }
        assert!(matches!(content(kind, b""), Err(VaultError::Damaged(_))));
    }

    #[test]
    fn every_kind_of_note_has_a_version() {
        for number in 0..=u8::MAX {
            let Some(kind) = MemoKind::of(number) else { continue };
            assert_eq!(kind as u8, number);
            has_a_version(kind, b"text");
        }
        let known = (0..=u8::MAX).filter_map(MemoKind::of).count();
        assert_eq!(
            (known, MemoKind::of(0), MemoKind::of(MemoKind::LAST as u8 + 1)),
            (11, None, None)
        );
    }
}
