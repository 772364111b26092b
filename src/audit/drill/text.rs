//! Text in one form, however it is written: what is compared here is decomposed (NFD), without
//! case, with one blank where there is any white space, and without what is invisible.
//!
//! Bytes are read as UTF-8, and what is not UTF-8 as Latin-1. [`unescaped`] undoes one layer of
//! escapes: of JSON, SQL, C, URLs, quoted-printable and HTML.

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

/// Text, and for each of its bytes where it comes from.
#[derive(Default)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    pub(super) at: Vec<u32>,
}

impl Text {
    fn with_room(room: usize) -> Self {
        Self { bytes: Vec::with_capacity(room), at: Vec::with_capacity(room) }
    }

    /// Bytes as they are.
    pub(super) fn plain(bytes: &[u8]) -> Self {
        // A window is far shorter than 4 GiB.
        Self { bytes: bytes.to_vec(), at: (0..bytes.len() as u32).collect() }
    }

    /// UTF-16, in either order, from this byte on.
    pub(super) fn wide(bytes: &[u8], from: usize, big_endian: bool) -> Self {
        let unit = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let pairs = bytes.get(from..).unwrap_or_default().chunks_exact(2);
        let (mut text, mut at) = (Self::with_room(bytes.len()), from);
        for read in char::decode_utf16(pairs.map(unit)) {
            let read = read.unwrap_or(char::REPLACEMENT_CHARACTER);
            text.push(read, at as u32);
            at += 2 * read.len_utf16();
        }
        text
    }

    fn byte(&mut self, byte: u8, at: u32) {
        self.bytes.push(byte);
        self.at.push(at);
    }

    fn push(&mut self, read: char, at: u32) {
        for byte in read.encode_utf8(&mut [0; 4]).bytes() {
            self.byte(byte, at);
        }
    }
}

/// The form in which a value is compared.
pub(super) fn folded(text: &str) -> String {
    let text = fold(&Text::plain(text.as_bytes()));
    String::from_utf8_lossy(&text.bytes).trim().to_owned()
}

/// Brings a text into the form that is compared.
pub(super) fn fold(text: &Text) -> Text {
    let mut to = Text::with_room(text.bytes.len() + text.bytes.len() / 8);
    // Marks over a letter, which have an order of their own.
    let mut marks: Vec<(u8, char, u32)> = Vec::new();
    let mut index = 0;
    while let Some(&byte) = text.bytes.get(index) {
        let at = text.at[index];
        if byte.is_ascii() {
            settle(&mut marks, &mut to);
            index += 1;
            if byte > b' ' && byte != 0x7f {
                to.byte(byte.to_ascii_lowercase(), at);
            } else if to.bytes.last() != Some(&b' ') {
                to.byte(b' ', at);
            }
            continue;
        }
        let (read, length) = character(&text.bytes[index..]);
        index += length;
        if is_invisible(read) {
            continue;
        }
        if read.is_whitespace() || read.is_control() {
            settle(&mut marks, &mut to);
            if to.bytes.last() != Some(&b' ') {
                to.byte(b' ', at);
            }
            continue;
        }
        let mut one = |part: char| match canonical_combining_class(part) {
            0 => {
                settle(&mut marks, &mut to);
                to.push(part, at);
            }
            class => marks.push((class, part, at)),
        };
        match read {
            'ß' | 'ẞ' => ['s', 's'].into_iter().for_each(one),
            'ſ' => one('s'),
            'ς' => one('σ'),
            // A dotted capital I is an i with a dot that is not written.
            'İ' => one('i'),
            _ => read.to_lowercase().for_each(|lower| decompose_canonical(lower, &mut one)),
        }
    }
    settle(&mut marks, &mut to);
    to
}

fn settle(marks: &mut Vec<(u8, char, u32)>, to: &mut Text) {
    if !marks.is_empty() {
        marks.sort_by_key(|mark| mark.0);
        marks.drain(..).for_each(|(_, mark, at)| to.push(mark, at));
    }
}

/// The character that bytes begin with, and its length; as Latin-1, where it is not UTF-8.
fn character(bytes: &[u8]) -> (char, usize) {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let read = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    match read.and_then(|text| text.chars().next()) {
        Some(read) => (read, length),
        None => (char::from(bytes[0]), 1),
    }
}

/// A soft hyphen, joiners, marks of direction, a byte order mark.
fn is_invisible(read: char) -> bool {
    matches!(read, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
}

/// Undoes one layer of escapes; `None` where there are none.
pub(super) fn unescaped(text: &Text) -> Option<Text> {
    let mut to = Text::with_room(text.bytes.len());
    let (mut index, mut changed) = (0, false);
    while let Some(&byte) = text.bytes.get(index) {
        let at = text.at[index];
        let rest = &text.bytes[index..];
        let read = match byte {
            b'\\' => backslash(rest),
            b'%' | b'=' => hex(rest.get(1..3)).map(|byte| (Escape::Byte(byte as u8), 3)),
            b'&' => entity(rest),
            b'\'' | b'"' if rest.get(1) == Some(&byte) => Some((Escape::Byte(byte), 2)),
            b'+' => Some((Escape::Byte(b' '), 1)),
            _ => None,
        };
        match read {
            Some((escape, length)) => {
                changed = true;
                index += length;
                match escape {
                    Escape::Byte(byte) => to.byte(byte, at),
                    Escape::Char(read) => to.push(read, at),
                }
            }
            None => {
                to.byte(byte, at);
                index += 1;
            }
        }
    }
    changed.then_some(to)
}

enum Escape {
    Byte(u8),
    Char(char),
}

fn backslash(rest: &[u8]) -> Option<(Escape, usize)> {
    let byte = |byte| Some((Escape::Byte(byte), 2));
    match *rest.get(1)? {
        b'n' | b't' | b'r' => byte(b' '),
        b'x' => hex(rest.get(2..4)).map(|byte| (Escape::Byte(byte as u8), 4)),
        b'u' if rest.get(2) == Some(&b'{') => {
            let end = rest.iter().take(10).position(|&byte| byte == b'}')?;
            let read = char::from_u32(hex(rest.get(3..end))?)?;
            Some((Escape::Char(read), end + 1))
        }
        b'u' => {
            let first = hex(rest.get(2..6))?;
            let second = (rest.get(6..8) == Some(b"\\u")).then(|| hex(rest.get(8..12))).flatten();
            let units = [first as u16, second.unwrap_or_default() as u16];
            let pair = (0xd800..0xdc00).contains(&first).then_some(units);
            let units = pair.as_ref().map_or(&units[..1], |pair| &pair[..]);
            let read = char::decode_utf16(units.iter().copied()).next()?.ok()?;
            Some((Escape::Char(read), if pair.is_some() { 12 } else { 6 }))
        }
        b'0'..=b'3' => {
            let digits = rest.get(1..4)?;
            let octal = digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
            let value = digits.iter().fold(0, |value: u32, digit| value * 8 + u32::from(digit & 7));
            octal.then_some((Escape::Byte(value as u8), 4))
        }
        other if other.is_ascii_punctuation() => byte(other),
        _ => None,
    }
}

/// A number in hexadecimal digits, all of them.
fn hex(digits: Option<&[u8]>) -> Option<u32> {
    let digits = digits?;
    if digits.is_empty() || digits.len() > 6 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The names that HTML has for the characters of Latin-1 from 192 on, in their order.
const LATIN: &str = "Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml \
Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc \
Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml \
igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc \
uuml yacute thorn yuml";

fn entity(rest: &[u8]) -> Option<(Escape, usize)> {
    let end = rest.iter().take(12).position(|&byte| byte == b';')?;
    let name = std::str::from_utf8(rest.get(1..end)?).ok()?;
    let read = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => match name.strip_prefix('#') {
            Some(number) => {
                let hexadecimal = number.strip_prefix(['x', 'X']);
                let code = match hexadecimal {
                    Some(digits) => hex(Some(digits.as_bytes()))?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
            None => {
                let index = LATIN.split_ascii_whitespace().position(|known| known == name)?;
                char::from_u32(192 + u32::try_from(index).ok()?)?
            }
        },
    };
    Some((Escape::Char(read), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_layer(text: &[u8]) -> String {
        let text = unescaped(&Text::plain(text)).unwrap();
        String::from_utf8_lossy(&fold(&text).bytes).into_owned()
    }

    #[test]
    fn one_form_for_case_composition_marks_blanks_and_latin_1() {
        let form = folded("Jürgen  Weiß");
        for other in ["JÜRGEN WEISS", "Ju\u{308}rgen\u{a0}Wei\u{df}", "jür\u{ad}gen\n\tweiß"] {
            assert_eq!(folded(other), form, "{other}");
        }
        let latin = fold(&Text::plain(b"J\xfcrgen Wei\xdf"));
        assert_eq!(latin.bytes, form.as_bytes());
        assert_eq!(&latin.at[..4], [0, 1, 1, 1]);
        assert_eq!(folded("o\u{323}\u{302}"), folded("o\u{302}\u{323}"));
    }

    #[test]
    fn every_escape_is_undone() {
        let form = folded("ü/'\"");
        for text in [
            &br#"\u00fc\/\'\""#[..],
            br#"\u{fc}\/''"""#,
            br#"\xc3\xbc/''"""#,
            br#"\303\274/''"""#,
            br#"%C3%bc%2F%27%22"#,
            br#"=C3=BC=2F=27=22"#,
            br#"&uuml;/&apos;&quot;"#,
            br#"&#252;&#x2f;&#39;&#34;"#,
        ] {
            assert_eq!(one_layer(text), form, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(one_layer(br#"\ud83d\ude00"#), "😀");
        assert!(unescaped(&Text::plain(b"nothing of the kind & 5 % 'x' \\")).is_none());
    }

    #[test]
    fn wide_text_is_read_in_either_order() {
        let units: Vec<u16> = "x Jürgen".encode_utf16().collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let text = Text::wide(&big, 0, true);
        assert_eq!((text.bytes.as_slice(), text.at[2]), ("x Jürgen".as_bytes(), 4));
    }
}
