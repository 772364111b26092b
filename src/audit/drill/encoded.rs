//! Runs of base64 and of hexadecimal digits, decoded as a stream.
//!
//! Where a run begins is not certain: a letter before it may belong to something else. So it is
//! decoded from each of its first places, and of all but one nonsense comes out.

/// How bytes are written in letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Either alphabet, with or without `=`.
    Base64,
    Hex,
}

impl Code {
    /// How many letters make whole bytes.
    fn group(self) -> usize {
        match self {
            Self::Base64 => 4,
            Self::Hex => 2,
        }
    }

    /// How many letters in a row are worth a look.
    fn least(self) -> usize {
        match self {
            Self::Base64 => 16,
            Self::Hex => 32,
        }
    }

    fn value(self, letter: u8) -> Option<u8> {
        match (self, letter) {
            (Self::Hex, b'0'..=b'9') => Some(letter - b'0'),
            (Self::Hex, b'a'..=b'f') => Some(letter - b'a' + 10),
            (Self::Hex, b'A'..=b'F') => Some(letter - b'A' + 10),
            (Self::Hex, _) => None,
            (_, b'A'..=b'Z') => Some(letter - b'A'),
            (_, b'a'..=b'z') => Some(letter - b'a' + 26),
            (_, b'0'..=b'9') => Some(letter - b'0' + 52),
            (_, b'+' | b'-') => Some(62),
            (_, b'/' | b'_') => Some(63),
            _ => None,
        }
    }

    fn decode(self, letters: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(letters.len());
        for group in letters.chunks(self.group()) {
            match (self, group) {
                (Self::Hex, [a, b]) => bytes.push(a << 4 | b),
                (Self::Base64, [a, b, rest @ ..]) => {
                    bytes.push(a << 2 | b >> 4);
                    if let [c, rest @ ..] = rest {
                        bytes.push(b << 4 | c >> 2);
                        if let [d] = rest {
                            bytes.push(c << 6 | d);
                        }
                    }
                }
                _ => {}
            }
        }
        bytes
    }
}

/// What a run gives.
pub(super) enum Piece<'a> {
    /// Bytes of the run that begins there, decoded from its first, second… letter.
    Bytes { begins: u64, phase: usize, bytes: &'a [u8] },
    /// The runs are at their end.
    End,
}

/// As many letters are decoded at a time.
const AT_ONCE: usize = 32 << 10;
/// A line of this length may go on with the next one.
const LINE: usize = 60;

/// Finds runs in what is fed to it.
pub(super) struct Runs {
    code: Code,
    values: Vec<u8>,
    begins: u64,
    begun: bool,
    line: usize,
    broken: bool,
    /// Whether a letter was seen that a sealed part in text has not.
    pub(super) other_alphabet: bool,
}

impl Runs {
    pub(super) fn new(code: Code) -> Self {
        let values = Vec::new();
        Self {
            code,
            values,
            begins: 0,
            begun: false,
            line: 0,
            broken: false,
            other_alphabet: false,
        }
    }

    pub(super) fn feed(&mut self, offset: u64, bytes: &[u8], see: &mut dyn FnMut(Piece<'_>, bool)) {
        for (&letter, at) in bytes.iter().zip(offset..) {
            if let Some(value) = self.code.value(letter) {
                if self.values.is_empty() && !self.begun {
                    self.begins = at;
                }
                self.broken = false;
                self.other_alphabet |= letter == b'+' || letter == b'/';
                self.line += 1;
                self.values.push(value);
                if self.values.len() >= AT_ONCE {
                    self.decode(false, see);
                }
                continue;
            }
            let open = self.begun || !self.values.is_empty();
            if !open {
                continue;
            }
            let goes_on = match letter {
                b'\r' => self.line >= LINE,
                b'\n' if !self.broken => self.line >= LINE,
                _ => false,
            };
            if goes_on {
                self.broken |= letter == b'\n';
                if self.broken {
                    self.line = 0;
                }
            } else {
                self.finish(see);
            }
        }
    }

    pub(super) fn finish(&mut self, see: &mut dyn FnMut(Piece<'_>, bool)) {
        if self.begun || self.values.len() >= self.code.least() {
            self.decode(true, see);
            see(Piece::End, self.other_alphabet);
        }
        self.values.clear();
        (self.begun, self.line, self.broken, self.other_alphabet) = (false, 0, false, false);
    }

    fn decode(&mut self, last: bool, see: &mut dyn FnMut(Piece<'_>, bool)) {
        let group = self.code.group();
        // All phases take as many letters; so each goes on where it was.
        let taken = (self.values.len() / group).saturating_sub(1) * group;
        for phase in 0..group {
            let end = if last { self.values.len() } else { phase + taken };
            let letters = self.values.get(phase..end).unwrap_or_default();
            let bytes = self.code.decode(letters);
            let piece = Piece::Bytes { begins: self.begins, phase, bytes: &bytes };
            see(piece, self.other_alphabet);
        }
        self.values.drain(..taken);
        self.begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: Code, text: &[u8], piece: usize, phase_wanted: usize) -> Vec<(u64, Vec<u8>)> {
        let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut open = false;
        let mut see = |piece: Piece<'_>, _| match piece {
            Piece::Bytes { begins, phase, bytes } if phase == phase_wanted => {
                if !open {
                    found.push((begins, Vec::new()));
                }
                open = true;
                found.last_mut().unwrap().1.extend_from_slice(bytes);
            }
            Piece::Bytes { .. } => {}
            Piece::End => open = false,
        };
        let mut runs = Runs::new(code);
        for (index, bytes) in text.chunks(piece).enumerate() {
            runs.feed((index * piece) as u64, bytes, &mut see);
        }
        runs.finish(&mut see);
        found
    }

    #[test]
    fn runs_are_decoded_wherever_they_begin_and_over_lines() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        for (code, text) in [(Code::Base64, STANDARD.encode(&bytes)), (Code::Hex, hex)] {
            let lines: Vec<&str> =
                text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
            for text in [text.clone(), lines.join("\n"), lines.join("\r\n")] {
                for glued in ["", "a", "AB", "abc"] {
                    let phase = glued.len() % code.group();
                    let text = format!("= {glued}{text}=;");
                    for piece in [text.len(), 977] {
                        let found = decoded(code, text.as_bytes(), piece, phase);
                        let (begins, got) = &found[0];
                        assert_eq!(*begins, 2);
                        assert!(got.ends_with(&bytes[10..]), "{code:?} {glued} {piece}");
                    }
                }
            }
        }
        assert!(decoded(Code::Base64, b"words of a sentence, none of them long", 9, 0).is_empty());
    }
}
