//! From bytes to batches of understood lines.

use std::{
    collections::HashSet,
    io::{self, BufRead, BufReader, Read},
};

use oubliette::event::{EventId, NewEvent, StreamName};
use oubliette_files::without_mark;
use uuid::Uuid;

use crate::rows::{self, Kept, NOT_TAKEN, Parsed, RowError, Taking};

/// The longest line, in bytes: a payload and metadata of 16 MiB each, the payload as base64, and
/// the rest.
const MAX_LINE: usize = 48 * 1024 * 1024;
/// The most rows that are appended in one go.
const MAX_ROWS: usize = 1000;
/// The most bytes, unless a single line has more.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How much is kept of a line that is longer.
const BEGINNING: usize = 64 * 1024;

/// The space in which sources have their ids; chosen at random, once and for all.
const SOURCES: Uuid = Uuid::from_u128(0x57ff261f6b5d4a84a96e002d6a9d0371);

/// Ids for the rows of one source that have none: from its name and the line's number, never
/// from what the line says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids(Uuid);

impl Ids {
    pub(crate) fn of(source: &str) -> Self {
        Self(Uuid::new_v5(&SOURCES, source.as_bytes()))
    }

    fn line(self, number: u64) -> EventId {
        EventId::derived(self.0, &number.to_string())
    }
}

/// Lines that can be appended in one go without changing their order: a stream has its events
/// next to each other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<Line>,
    /// Where in the input the next batch begins, in bytes.
    pub(crate) end: u64,
}

impl Batch {
    pub(crate) fn has_events(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.what, What::Event { .. }))
    }
}

#[derive(Debug)]
pub(crate) struct Line {
    /// From 1, blank lines included.
    pub(crate) number: u64,
    pub(crate) what: What,
    /// Which of [`NOT_TAKEN`] it has.
    pub(crate) not_taken: [bool; NOT_TAKEN.len()],
    /// Whether its payload is a text that is itself a JSON object or list.
    pub(crate) in_text: bool,
}

#[derive(Debug)]
pub(crate) enum What {
    Event {
        stream: StreamName,
        event: NewEvent,
        /// Whether the id was made here.
        made_id: bool,
        /// What is to be kept of what another store said.
        kept: Option<Kept>,
    },
    Tombstone,
    Bad {
        error: RowError,
        /// Its stream, where that much can be told.
        stream: Option<StreamName>,
    },
}

/// Why reading cannot go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A row needs an id, and there is no name to make one from.
    NoSource(u64),
    /// The first line is not the beginning of a row: all others would be bad as well.
    NotRows(u64),
    Io(io::Error),
}

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    ids: Option<Ids>,
    taking: Taking,
    /// Whether reading may wait for the writer: then what has come is not kept waiting for more.
    waits: bool,
    /// Whether no row was read yet.
    first: bool,
    number: u64,
    at: u64,
    /// A line that was read and did not fit into the batch, and its length.
    held: Option<(Line, usize)>,
    /// An end that was met while a batch was being filled.
    stop: Option<Stop>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, ids: Option<Ids>, holes: bool, waits: bool) -> Self {
        let input = BufReader::with_capacity(256 * 1024, input);
        let (number, at, held, stop) = (0, 0, None, None);
        let taking = Taking { holes, times: false };
        Self { input, ids, taking, waits, first: true, number, at, held, stop }
    }

    /// With what rows say of when they were recorded, and of their revisions.
    pub(crate) fn keeping_times(mut self, times: bool) -> Self {
        self.taking.times = times;
        self
    }

    /// The next lines; `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, Stop> {
        if let Some(stop) = self.stop.take() {
            return Err(stop);
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut streams: HashSet<StreamName> = HashSet::new();
        let mut last: Option<StreamName> = None;
        while batch.lines.len() < MAX_ROWS {
            if self.waits && self.would_wait() && !batch.lines.is_empty() {
                break;
            }
            let (line, length) = match self.held.take().map_or_else(|| self.next(), |l| Ok(Some(l)))
            {
                Ok(Some(line)) => line,
                Ok(None) => break,
                // What was read before it is not lost.
                Err(stop) if !batch.lines.is_empty() => {
                    self.stop = Some(stop);
                    break;
                }
                Err(stop) => return Err(stop),
            };
            let mut fits = batch.lines.is_empty() || bytes + length <= MAX_BYTES;
            if let What::Event { stream, .. } = &line.what
                && last.as_ref() != Some(stream)
            {
                fits &= !streams.contains(stream);
                if fits {
                    streams.insert(stream.clone());
                    last = Some(stream.clone());
                }
            }
            if !fits {
                self.held = Some((line, length));
                break;
            }
            bytes += length;
            batch.end = self.at;
            batch.lines.push(line);
        }
        Ok((!batch.lines.is_empty()).then_some(batch))
    }

    /// Whether the next line is not here as a whole.
    fn would_wait(&self) -> bool {
        self.held.is_none() && !self.input.buffer().contains(&b'\n')
    }

    /// The next line that is not blank.
    fn next(&mut self) -> Result<Option<(Line, usize)>, Stop> {
        loop {
            let mut line = Vec::new();
            let Some(whole) = self.read_line(&mut line).map_err(Stop::Io)? else {
                return Ok(None);
            };
            // Each file that was joined to another may begin with a byte-order mark.
            let text = without_mark(&line);
            if whole && text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let number = self.number;
            if std::mem::take(&mut self.first) && whole && !may_begin_rows(text) {
                return Err(Stop::NotRows(number));
            }
            let parsed = if whole {
                rows::parse_taking(text, self.taking)
            } else {
                Err(RowError::TooLong(MAX_LINE))
            };
            let (mut not_taken, mut in_text) = ([false; NOT_TAKEN.len()], false);
            let what = match parsed {
                Ok(Parsed::Event(row)) => {
                    (not_taken, in_text) = (row.not_taken, row.in_text);
                    let (made_id, kept) = (row.id.is_none(), row.kept);
                    let id = row.id.or_else(|| Some(self.ids?.line(number)));
                    let (stream, event) = row.into_event(id.ok_or(Stop::NoSource(number))?);
                    What::Event { stream, event, made_id, kept }
                }
                Ok(Parsed::Tombstone) => What::Tombstone,
                Err(error) => What::Bad { error, stream: rows::stream_of(text) },
            };
            return Ok(Some((Line { number, what, not_taken, in_text }, line.len())));
        }
    }

    /// Reads up to the end of the line, which is left out. `Some(false)`: the line is too long
    /// and was passed over.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
        let mut any = false;
        let mut whole = true;
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            if !any {
                any = true;
                self.number += 1;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            whole &= line.len() + text.len() <= MAX_LINE;
            if whole {
                line.extend_from_slice(text);
            } else {
                // Its stream may be told by its beginning.
                line.truncate(BEGINNING);
                line.shrink_to_fit();
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.input.consume(used);
            self.at += used as u64;
            if end.is_some() {
                break;
            }
        }
        Ok(any.then_some(whole))
    }
}

/// Whether a first line is a row, or a broken one. An object that goes on in the next line is none.
fn may_begin_rows(line: &[u8]) -> bool {
    line.trim_ascii().strip_prefix(b"{").is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &str) -> Vec<Vec<u64>> {
        let mut lines = Lines::new(text.as_bytes(), Some(Ids::of("test")), false, false);
        let mut all = Vec::new();
        while let Some(batch) = lines.next_batch().unwrap() {
            all.push(batch.lines.iter().map(|line| line.number).collect());
        }
        all
    }

    fn row(stream: &str) -> String {
        format!("{{\"stream\":\"{stream}\",\"type\":\"T\",\"data\":1}}\n")
    }

    #[test]
    fn a_batch_never_changes_the_order_of_lines() {
        let text = ["a", "a", "b", "c", "b", "a", "a"].map(row).concat();
        assert_eq!(batches(&text), [vec![1, 2, 3, 4], vec![5, 6, 7]]);
    }

    #[test]
    fn blank_lines_count_and_bad_ones_travel_along() {
        let text = format!("\u{feff}{}\n\r\nnonsense\n{}", row("a"), row("a").trim_end());
        assert_eq!(batches(&text), [vec![1, 4, 5]]);
    }

    #[test]
    fn a_byte_order_mark_before_any_line_is_passed_over() {
        let text = format!("\u{feff}{0}\u{feff}{0}\u{feff}\n{0}", row("a"));
        let mut lines = Lines::new(text.as_bytes(), Some(Ids::of("test")), false, false);
        let lines = lines.next_batch().unwrap().unwrap().lines;
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 4]);
        assert!(lines.iter().all(|line| matches!(line.what, What::Event { .. })), "{lines:?}");
    }

    /// Gives one piece at each reading, and fails where more is asked for than has come.
    struct Pipe(Vec<String>);

    impl Read for Pipe {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.pop().ok_or(io::ErrorKind::WouldBlock)?;
            into[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    #[test]
    fn what_came_through_a_pipe_does_not_wait_for_more() {
        let a = row("a");
        let half = a.len() / 2;
        let pieces = [format!("{a}{a}"), format!("{a}{}", &a[..half]), a[half..].to_owned()];
        let pipe = || Pipe(pieces.iter().rev().cloned().collect());
        let mut lines = Lines::new(pipe(), Some(Ids::of("test")), false, true);
        for number in [2, 1, 1] {
            assert_eq!(lines.next_batch().unwrap().unwrap().lines.len(), number);
        }
        assert!(matches!(lines.next_batch(), Err(Stop::Io(_))));
        // A file is not cut up.
        let mut lines = Lines::new(pipe(), Some(Ids::of("test")), false, false);
        assert_eq!(lines.next_batch().unwrap().unwrap().lines.len(), 4);
    }

    #[test]
    fn what_are_no_rows_is_said_once() {
        for text in ["id,type,data\n1,T,{}\n", "\n[\n{}\n]\n", "{\n\"stream\": \"a\"}\n", "Erika"] {
            let mut lines = Lines::new(text.as_bytes(), Some(Ids::of("test")), false, false);
            assert!(matches!(lines.next_batch(), Err(Stop::NotRows(1 | 2))), "{text}");
        }
    }

    #[test]
    fn of_a_bad_line_the_stream_is_told_where_it_can_be() {
        let stream = |line: &[u8]| rows::stream_of(line).map(|stream| stream.to_string());
        for line in [
            &br#"{"stream":"a-1","type":"T","data":"#[..],
            br#"{"type":"T", "stream" : "a-1""#,
            b"{\"stream\":\"a-1\",\"data\":\"\xff\"}",
            br#"{"data":{"stream":"b"},"stream":"a-1","type":7}"#,
            br#"{"stream":"\u0061-1"}"#,
        ] {
            assert_eq!(stream(line).as_deref(), Some("a-1"), "{}", line.escape_ascii());
        }
        for line in [&b"Erika"[..], br#"{"stream":"a-"#, br#"{"stream":7}"#, br#"{"stream":"a b"}"#]
        {
            assert_eq!(stream(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_batch_has_an_end() {
        assert_eq!(
            batches(&row("a").repeat(2500)).iter().map(Vec::len).collect::<Vec<_>>(),
            [1000, 1000, 500]
        );
        let large =
            format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(3 << 20));
        assert_eq!(batches(&large.repeat(3)), [[1], [2], [3]]);
    }

    #[test]
    fn a_line_without_end_costs_only_itself() {
        let text = format!("{}\n{}", "x".repeat(MAX_LINE + 1), row("a"));
        let mut lines = Lines::new(text.as_bytes(), Some(Ids::of("test")), false, false);
        let batch = lines.next_batch().unwrap().unwrap();
        assert!(matches!(batch.lines[0].what, What::Bad { error: RowError::TooLong(_), .. }));
        assert!(matches!(batch.lines[1].what, What::Event { .. }));
    }

    #[test]
    fn without_a_source_a_row_without_an_id_stops_after_those_before_it() {
        let with_id = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1,\
                       \"id\":\"6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11\"}\n";
        let text = format!("{with_id}{}", row("a"));
        let mut lines = Lines::new(text.as_bytes(), None, false, false);
        assert_eq!(lines.next_batch().unwrap().unwrap().lines.len(), 1);
        assert!(matches!(lines.next_batch(), Err(Stop::NoSource(2))));
    }
}
