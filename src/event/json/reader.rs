//! The strict reader: RFC 8259, nothing more.

use std::{borrow::Cow, collections::HashSet};

use super::{JsonError, MAX_DEPTH, Member, Node};

pub(super) fn read(text: &str) -> Result<Node<'_>, JsonError> {
    read_within(text, MAX_DEPTH)
}

/// As [`read`], with another limit of depth.
pub(super) fn read_within(text: &str, max_depth: usize) -> Result<Node<'_>, JsonError> {
    let mut reader = Reader { text, at: 0, max_depth };
    reader.skip_space();
    let node = reader.value(0)?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.error("something follows the value"));
    }
    Ok(node)
}

/// Up to this many members are compared one by one; beyond it a set is quicker.
const FEW: usize = 16;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
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

    fn value(&mut self, depth: usize) -> Result<Node<'a>, JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Node::Leaf),
            Some(b'-' | b'0'..=b'9') => self.number().map(Node::Leaf),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(_) => Err(self.error("no value begins like this")),
            None => Err(self.error("the text ends where a value should stand")),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<Node<'a>, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("a word other than true, false, null"));
        }
        self.at += word.len();
        Ok(Node::Leaf(word))
    }

    fn object(&mut self, depth: usize) -> Result<Node<'a>, JsonError> {
        self.descend(depth)?;
        let mut members: Vec<Member<'a>> = Vec::new();
        let mut many: HashSet<Cow<'a, str>> = HashSet::new();
        self.skip_space();
        if self.eat(b'}') {
            return Ok(Node::Object(members));
        }
        loop {
            self.skip_space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error("an object's key must be a string"));
            }
            let spelling = self.string()?;
            let key = unescape(spelling)
                .ok_or(JsonError::Syntax { problem: "a lone surrogate", at: start })?;
            let duplicate = if members.len() < FEW {
                members.iter().any(|member| member.key == key)
            } else {
                if many.is_empty() {
                    many.extend(members.iter().map(|member| member.key.clone()));
                }
                !many.insert(key.clone())
            };
            if duplicate {
                return Err(JsonError::DuplicateKey { at: start });
            }
            self.skip_space();
            if !self.eat(b':') {
                return Err(self.error("a ':' is missing after a key"));
            }
            self.skip_space();
            let value = self.value(depth + 1)?;
            members.push(Member { key, spelling: Cow::Borrowed(spelling), value });
            self.skip_space();
            if self.eat(b'}') {
                return Ok(Node::Object(members));
            }
            if !self.eat(b',') {
                return Err(self.error("a ',' or '}' is missing"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Node<'a>, JsonError> {
        self.descend(depth)?;
        let mut items = Vec::new();
        self.skip_space();
        if self.eat(b']') {
            return Ok(Node::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.eat(b']') {
                return Ok(Node::Array(items));
            }
            if !self.eat(b',') {
                return Err(self.error("a ',' or ']' is missing"));
            }
        }
    }

    fn descend(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= self.max_depth {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string and returns it as spelled, with its quotes. Whether its escapes form
    /// characters is checked too, so that whoever unescapes later finds no surprise.
    fn string(&mut self) -> Result<&'a str, JsonError> {
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
        Ok(spelling)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit is missing in a number")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
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
        Ok(&self.text[start..self.at])
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
