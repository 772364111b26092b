//! The strict reader: RFC 8259, nothing more. It goes over a text once, and makes a flat list of
//! what is where.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use super::{JsonError, Kind, MAX_DEPTH};

/// One value of a text: an element or a member's value, and the piece of text that is its own.
///
/// A member's piece is all between the commas or brackets around it: white space, key, colon,
/// value. So an object's text is `{`, the pieces joined by commas, and `}`, and to take members
/// out and put them in again gives the same bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(super) kind: Kind,
    /// Whether the key, and a string's text, are spelled without escapes, as most are.
    pub(super) plain_key: bool,
    pub(super) plain: bool,
    /// The piece that it is in.
    pub(super) from: u32,
    pub(super) to: u32,
    /// The key as spelled, with its quotes; empty for an element and for the root.
    pub(super) key: u32,
    pub(super) key_end: u32,
    /// The value.
    pub(super) at: u32,
    pub(super) end: u32,
    /// The entry after all that is in this one.
    pub(super) next: u32,
}

/// Reads a whole text. The first entry is the root.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, JsonError> {
    let mut reader = Reader { text, at: 0, entries: Vec::with_capacity(likely(text.len())) };
    reader.piece(0, false)?;
    if reader.at < text.len() {
        return Err(reader.error("something follows the value"));
    }
    Ok(reader.entries)
}

/// About how many values a text of this length has, or a few more: so that a list of them need not grow.
pub(super) fn likely(length: usize) -> usize {
    (length / 24).clamp(4, 64)
}

/// Reads a member or an element somewhere in a text, with the white space around it,
/// and appends its entries.
pub(super) fn read_piece(
    text: &str,
    range: Range<usize>,
    entries: &mut Vec<Entry>,
) -> Result<(), JsonError> {
    let outside = JsonError::Syntax { problem: "a piece is cut within a character", at: range.end };
    let upto = text.get(..range.end).filter(|_| text.is_char_boundary(range.start));
    let upto = upto.ok_or(outside)?;
    let mut reader = Reader { text: upto, at: range.start, entries: std::mem::take(entries) };
    let read = reader.member_or_element();
    if read.is_ok() && reader.at < upto.len() {
        return Err(reader.error("something follows the value"));
    }
    *entries = reader.entries;
    read
}

/// Up to this many members are compared one by one; beyond it a set is quicker.
const FEW: usize = 16;

/// Where a member's key is, with its quotes.
#[derive(Default)]
struct Key {
    at: Range<usize>,
    plain: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    entries: Vec<Entry>,
}

impl<'a> Reader<'a> {
    fn error(&self, problem: &'static str) -> JsonError {
        JsonError::Syntax { problem, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A position; texts of 4 GiB are far beyond what any store takes.
    fn position(&self, at: usize) -> Result<u32, JsonError> {
        u32::try_from(at).map_err(|_| JsonError::Syntax { problem: "4 GiB of text or more", at })
    }

    /// A value with the white space around it.
    fn piece(&mut self, depth: usize, is_member: bool) -> Result<(), JsonError> {
        let from = self.at;
        self.skip_space();
        let key = if is_member { self.key()? } else { Key::default() };
        self.entry(from, &key, depth)
    }

    /// As [`Reader::piece`], of whichever kind is here.
    fn member_or_element(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        self.skip_space();
        let start = self.at;
        if self.peek() == Some(b'"') {
            let plain = self.string()?;
            let key = Key { at: start..self.at, plain };
            self.skip_space();
            if self.eat(b':') {
                self.skip_space();
                return self.entry(from, &key, 1);
            }
            self.at = start;
        }
        self.entry(from, &Key::default(), 1)
    }

    /// A key and its colon, with the white space up to the value.
    fn key(&mut self) -> Result<Key, JsonError> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.error("an object's key must be a string"));
        }
        let plain = self.string()?;
        let end = self.at;
        self.skip_space();
        if !self.eat(b':') {
            return Err(self.error("a ':' is missing after a key"));
        }
        self.skip_space();
        Ok(Key { at: start..end, plain })
    }

    fn entry(&mut self, from: usize, key: &Key, depth: usize) -> Result<(), JsonError> {
        let at = self.at;
        let entry = Entry {
            kind: Kind::Null,
            plain_key: key.plain,
            plain: false,
            from: self.position(from)?,
            to: 0,
            key: self.position(key.at.start)?,
            key_end: self.position(key.at.end)?,
            at: self.position(at)?,
            end: 0,
            next: 0,
        };
        let index = self.entries.len();
        self.entries.push(entry);
        let (kind, plain) = self.value(depth, index)?;
        let end = self.position(self.at)?;
        self.skip_space();
        let (to, next) = (self.position(self.at)?, self.position(self.entries.len())?);
        self.entries[index] = Entry { kind, plain, to, end, next, ..entry };
        Ok(())
    }

    /// What kind of value is here, and whether it is spelled without escapes.
    fn value(&mut self, depth: usize, index: usize) -> Result<(Kind, bool), JsonError> {
        let kind = match self.peek() {
            Some(b'"') => return self.string().map(|plain| (Kind::String, plain)),
            Some(b'{') => self.object(depth, index),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| Kind::Number),
            Some(b't') => self.literal("true", Kind::Bool),
            Some(b'f') => self.literal("false", Kind::Bool),
            Some(b'n') => self.literal("null", Kind::Null),
            Some(_) => Err(self.error("no value begins like this")),
            None => Err(self.error("the text ends where a value should stand")),
        };
        kind.map(|kind| (kind, true))
    }

    fn literal(&mut self, word: &'static str, kind: Kind) -> Result<Kind, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("a word other than true, false, null"));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn object(&mut self, depth: usize, index: usize) -> Result<Kind, JsonError> {
        self.descend(depth)?;
        let mut many: HashSet<Cow<'a, str>> = HashSet::new();
        let before = self.at;
        self.skip_space();
        if self.eat(b'}') {
            return Ok(Kind::Object);
        }
        self.at = before;
        let mut members = 0;
        loop {
            let member = self.entries.len();
            self.piece(depth + 1, true)?;
            self.check_duplicate(index, member, members, &mut many)?;
            members += 1;
            if self.eat(b'}') {
                return Ok(Kind::Object);
            }
            if !self.eat(b',') {
                return Err(self.error("a ',' or '}' is missing"));
            }
        }
    }

    /// Refuses a member whose key one of the `members` before it has.
    fn check_duplicate(
        &self,
        object: usize,
        member: usize,
        members: usize,
        many: &mut HashSet<Cow<'a, str>>,
    ) -> Result<(), JsonError> {
        let siblings = || {
            let mut next = object + 1;
            std::iter::from_fn(move || {
                let this = (next < member).then_some(next)?;
                next = self.entries[this].next as usize;
                Some(this)
            })
        };
        let duplicate = if members < FEW {
            siblings().any(|sibling| self.same_key(sibling, member))
        } else {
            if many.is_empty() {
                many.extend(siblings().filter_map(|sibling| self.key_of(sibling).ok()));
            }
            !many.insert(self.key_of(member)?)
        };
        if duplicate {
            return Err(JsonError::DuplicateKey { at: self.entries[member].key as usize });
        }
        Ok(())
    }

    fn same_key(&self, one: usize, other: usize) -> bool {
        let (a, b) = (&self.entries[one], &self.entries[other]);
        if a.plain_key && b.plain_key {
            let spelling = |entry: &Entry| {
                self.text.as_bytes().get(entry.key as usize..entry.key_end as usize)
            };
            return a.key_end - a.key == b.key_end - b.key && spelling(a) == spelling(b);
        }
        matches!((self.key_of(one), self.key_of(other)), (Ok(a), Ok(b)) if a == b)
    }

    fn key_of(&self, member: usize) -> Result<Cow<'a, str>, JsonError> {
        let Entry { key, key_end, plain_key, .. } = self.entries[member];
        let surrogate = JsonError::Syntax { problem: "a lone surrogate", at: key as usize };
        characters(&self.text[key as usize..key_end as usize], plain_key).ok_or(surrogate)
    }

    fn array(&mut self, depth: usize) -> Result<Kind, JsonError> {
        self.descend(depth)?;
        let before = self.at;
        self.skip_space();
        if self.eat(b']') {
            return Ok(Kind::Array);
        }
        self.at = before;
        loop {
            self.piece(depth + 1, false)?;
            if self.eat(b']') {
                return Ok(Kind::Array);
            }
            if !self.eat(b',') {
                return Err(self.error("a ',' or ']' is missing"));
            }
        }
    }

    fn descend(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= MAX_DEPTH {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string, and says whether it is spelled without escapes. Whether escapes form
    /// characters is checked too, so that unescaping it later cannot fail.
    fn string(&mut self) -> Result<bool, JsonError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    match bytes.get(self.at) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                            self.at += 1;
                        }
                        Some(b'u') => {
                            let digits = bytes.get(self.at + 1..self.at + 5);
                            if !digits
                                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                            {
                                return Err(self.error("\\u needs four hexadecimal digits"));
                            }
                            self.at += 5;
                        }
                        _ => return Err(self.error("an unknown escape")),
                    }
                }
                Some(_) => return Err(self.error("a control character in a string")),
                None => return Err(self.error("a string does not end")),
            }
        }
        self.at += 1;
        let spelling = &self.text[start..self.at];
        if escaped && unescape(spelling).is_none() {
            return Err(JsonError::Syntax { problem: "a lone surrogate", at: start });
        }
        Ok(!escaped)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit is missing in a number")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        } else if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.error("a number begins with a zero"));
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }
}

/// How many bytes at the front are neither a quote nor a backslash nor a control character. Blocks
/// are looked at as a whole, which the compiler turns into vector instructions.
fn plain(bytes: &[u8]) -> usize {
    let odd = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    let odd_block = |block: &[u8; 16]| block.iter().fold(false, |found, byte| found | odd(byte));
    let (blocks, _) = bytes.as_chunks();
    let whole = 16 * blocks.iter().position(odd_block).unwrap_or(blocks.len());
    whole + bytes[whole..].iter().position(odd).unwrap_or(bytes.len() - whole)
}

/// As [`unescape`], where it is known whether there are escapes.
pub(super) fn characters(spelling: &str, plain: bool) -> Option<Cow<'_, str>> {
    if plain { Some(Cow::Borrowed(&spelling[1..spelling.len() - 1])) } else { unescape(spelling) }
}

/// The characters of a string that is spelled with its quotes; `None` for a lone surrogate.
pub(super) fn unescape(spelling: &str) -> Option<Cow<'_, str>> {
    let inner = &spelling[1..spelling.len() - 1];
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        rest = &rest[at + 2..];
        text.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut unit = take_unit(&mut rest)?;
                if (0xD800..0xDC00).contains(&unit) {
                    rest = rest.strip_prefix("\\u")?;
                    let low = take_unit(&mut rest)?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return None;
                    }
                    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                }
                char::from_u32(unit)?
            }
            &other => char::from(other),
        });
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

fn take_unit(rest: &mut &str) -> Option<u32> {
    let unit = u32::from_str_radix(rest.get(..4)?, 16).ok()?;
    *rest = &rest[4..];
    Some(unit)
}
