//! Lists of erasures in files: an announcement a line, and an end by which it is known that none is missing.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, stdin},
    path::Path,
};

use oubliette::event::{Announcement, AnnouncementError, Json};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::exit::CliError;

/// The last line of a list.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    end: Total,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Total {
    #[serde(deserialize_with = "count")]
    announcements: u64,
    /// In hexadecimal digits, of the lines before it, each without white space around it and with a line
    /// feed.
    sha256: String,
}

/// A line that is an end, or was one.
#[derive(Deserialize)]
struct Ends {
    #[serde(rename = "end")]
    _end: serde::de::IgnoredAny,
}

/// A whole number, which another program may have written as `1.0` or `1e0`.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = |float: f64| float.fract() == 0.0 && (0.0..9e15).contains(&float);
    let count = number.as_u64().or_else(|| Some(number.as_f64().filter(|f| whole(*f))? as u64));
    count.ok_or_else(|| serde::de::Error::custom("not a count"))
}

/// What the end says, as far as the list is known.
#[derive(Default)]
pub(super) struct Sum {
    announcements: u64,
    digest: Sha256,
}

impl Sum {
    pub(super) fn add(&mut self, line: &str) {
        self.announcements += 1;
        self.digest.update(bare(line));
        self.digest.update(b"\n");
    }

    pub(super) fn end(self) -> End {
        let sha256 = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        End { end: Total { announcements: self.announcements, sha256 } }
    }
}

/// A line without the white space around it: JSON's, so that all readers see the same.
fn bare(line: &str) -> &str {
    line.trim_matches([' ', '\t', '\r'])
}

/// A line without the byte-order mark that a file may begin with. Lists that were joined have one in their midst.
fn without_mark(line: &str) -> &str {
    line.trim_start_matches('\u{feff}')
}

/// What is wrong with a list. `docs/format.md` has these names.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("line {line}: {said}")]
    NoAnnouncement { line: usize, said: AnnouncementError },
    #[error(
        "line {0} ends a list that is not the one before it: lines are missing or were changed"
    )]
    OtherEnd(usize),
    #[error("line {0} does not have the form of a list's end: it was changed")]
    OddEnd(usize),
    #[error(
        "the list of erasures has no end: it was cut off, or a disk was full when it was written"
    )]
    NoEnd,
}

impl From<ListError> for CliError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Io(error) => error.into(),
            ListError::NoAnnouncement { .. } => Self::usage(error),
            error => Self::failed(error).with_hint(HINT),
        }
    }
}

/// The announcements in a file; `-` is stdin. Several lists may follow each other.
pub(crate) fn read(file: &Path, even_cut: bool) -> Result<Vec<Announcement>, CliError> {
    if file == Path::new("-") {
        return Ok(parse(stdin().lock(), even_cut)?);
    }
    let open = File::open(file);
    let named = |error| CliError::failed(format!("{}: {error}", file.display()));
    Ok(parse(BufReader::new(open.map_err(named)?), even_cut)?)
}

fn parse(lines: impl BufRead, even_cut: bool) -> Result<Vec<Announcement>, ListError> {
    let mut announcements = Vec::new();
    // Of the list that has not ended; `None`: the last line was an end.
    let mut open = Some(Sum::default());
    // Half a line, which only the last one may be.
    let mut half = None;
    for (number, line) in lines.lines().enumerate() {
        let line = line?;
        let line = without_mark(&line);
        if bare(line).is_empty() {
            continue;
        }
        let at = number + 1;
        if let Some(error) = half.take() {
            return Err(error);
        }
        if let Ok(end) = Json::parse(line).and_then(|line| line.to_exact::<End>()) {
            if open.take().unwrap_or_default().end() != end && !even_cut {
                return Err(ListError::OtherEnd(at));
            }
            continue;
        }
        if serde_json::from_str::<Ends>(line).is_ok() && !even_cut {
            return Err(ListError::OddEnd(at));
        }
        open.get_or_insert_default().add(line);
        match line.parse::<Announcement>() {
            Ok(announcement) => announcements.push(announcement),
            Err(said) => {
                let error = ListError::NoAnnouncement { line: at, said };
                if !even_cut {
                    return Err(error);
                }
                half = Some(error);
            }
        }
    }
    if open.is_some() && !even_cut {
        return Err(ListError::NoEnd);
    }
    Ok(announcements)
}

const HINT: &str = "take a whole list, as `erasures export` writes it; with --even-cut what is there is \
                    applied, and who else was forgotten can be read again";

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        let read = parse(text.as_bytes(), false);
        read.map(|list| list.len()).map_err(|error| error.to_string())
    }

    fn end(lines: &[&str]) -> String {
        let mut sum = Sum::default();
        lines.iter().for_each(|line| sum.add(line));
        serde_json::to_string(&sum.end()).unwrap()
    }

    /// Of announcements as this vault signed them: whatever is changed in a list, it is refused as a whole.
    #[test]
    fn no_bit_and_no_byte_of_a_list_can_change_unnoticed() {
        let vectors = crate::vectors::committed("announcements.json");
        let lines = vectors["vectors"].as_array().unwrap().iter().take(1);
        let lines: Vec<String> = lines.map(|vector| vector["line"].to_string()).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let whole = [lines.join("\n"), end(&lines)].join("\n") + "\n";
        assert_eq!(read(&whole), Ok(1));
        let named = |bytes: &[u8], what: &str, at: usize| {
            let refused = parse(bytes, false);
            let Err(told) = refused else { panic!("{what} {at}: {refused:?}") };
            let told = told.to_string();
            let names = [
                "lines are missing or were changed",
                "the form of a list's end",
                "has no end",
                "line 1: ",
                "line 2: ",
                // What is no text at all.
                "UTF-8",
            ];
            assert!(names.iter().any(|name| told.contains(name)), "{what} {at}: {told}");
        };
        let bytes = whole.as_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            named(&flipped, "bit", bit);
        }
        // Without its last line feed it is the same list.
        for at in 0..bytes.len() - 1 {
            named(&bytes[..at], "cut to", at);
            let mut shorter = bytes.to_vec();
            shorter.remove(at);
            named(&shorter, "byte", at);
        }
    }
}
