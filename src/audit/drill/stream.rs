//! One stream of bytes being searched, and the streams that come out of it: what is unpacked, what
//! is decoded, and the long values of databases.
//!
//! Bytes are pushed through, so that memory depends on how deep things are packed and not on how
//! large they are. A [`Sink`] bounds how much may come out.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
};

use super::{
    backup::{self, Values},
    encoded::{Code, Piece, Runs},
    marks::Mark,
    packed::{self, How, Inflate, Packed, Unpacking},
    rows,
    sink::{Seen, Sink, Spot},
    text::Text,
    window::{Sliding, Window},
};
/// How deep things may be packed in each other.
pub(super) const DEEPEST: u8 = 8;
/// How many packed things may be open at a time in one stream.
const MOST_OPEN: usize = 64;
/// Where a value of a database was found that is in several pieces.
pub(super) const LONG: &str = "a long value";
/// How much is looked at at a time: of a file, and of what comes out of it.
const STEP: [usize; 2] = [1 << 20, 64 << 10];

/// How text may be encoded besides in UTF-8 and Latin-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wide {
    No,
    /// UTF-16, from an even byte on.
    LittleEndian,
    BigEndian,
    /// UTF-16 of either kind, from any byte on.
    Any,
}

/// A stream that is searched.
pub(super) struct Stream {
    pub(super) inside: String,
    /// What its first byte counts as: for a long value of a database, the place of its cell.
    pub(super) base: u64,
    depth: u8,
    window: Sliding,
    wide: Wide,
    /// Whether these are the bytes of letters among which sealed parts were looked for already.
    decoded: bool,
    open: Vec<Open>,
    runs: [Runs; 2],
    /// For each code, and each letter that it may begin with.
    decoding: [Vec<Stream>; 2],
}

/// Something in a stream that is read as it comes.
struct Open {
    at: u64,
    /// The next byte that it needs.
    next: u64,
    kind: Kind,
}

enum Kind {
    Packed { how: How, state: Inflate, to: Box<Stream> },
    Backup(Values),
    Database { file: File, left: u64 },
}

impl Stream {
    /// The stream of a file.
    pub(super) fn of_file() -> Self {
        Self::new(String::new(), 0)
    }

    fn new(inside: String, depth: u8) -> Self {
        Self {
            inside,
            base: 0,
            depth,
            window: Sliding::default(),
            wide: Wide::No,
            decoded: false,
            open: Vec::new(),
            runs: [Runs::new(Code::Base64), Runs::new(Code::Hex)],
            decoding: Default::default(),
        }
    }

    /// A value of a database at a place of its file.
    fn of_value(&self, at: u64, wide: bool) -> Self {
        let mut value = Self::new(self.within(LONG), self.depth + 1);
        value.base = at;
        value.wide = if wide { Wide::Any } else { Wide::No };
        value
    }

    /// A byte of this stream.
    fn spot(&self, offset: u64) -> Spot<'_> {
        Spot { inside: &self.inside, offset: self.base + offset }
    }

    fn within(&self, what: &str) -> String {
        match self.inside.as_str() {
            "" => what.to_owned(),
            outer => format!("{outer} > {what}"),
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        let mut window = std::mem::take(&mut self.window);
        let step = STEP[usize::from(self.depth > 0)];
        window.feed(bytes, step, &mut |window| self.look(&window, sink));
        self.window = window;
    }

    /// There is no more.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        let mut window = std::mem::take(&mut self.window);
        window.finish(&mut |window| self.look(&window, sink));
        for open in std::mem::take(&mut self.open) {
            self.close(open, sink);
        }
        for (index, mut runs) in
            std::mem::replace(&mut self.runs, [Runs::new(Code::Base64), Runs::new(Code::Hex)])
                .into_iter()
                .enumerate()
        {
            runs.finish(&mut |piece, other| self.decoded(index, &piece, other, sink));
        }
    }

    fn look(&mut self, window: &Window<'_>, sink: &mut Sink<'_>) {
        if window.offset == 0 && window.from == 0 {
            self.begins(window.bytes);
        }
        self.values(window, sink);
        let marks = sink.marks;
        marks.look(window, &mut |at, mark| self.mark(window, at, mark, sink));
        self.blocks(window, sink);
        for mut open in std::mem::take(&mut self.open) {
            if self.give(&mut open, window, sink) {
                self.open.push(open);
            }
        }
        let fresh = &window.bytes[window.from..window.to];
        let offset = window.offset + window.from as u64;
        for index in 0..self.runs.len() {
            let code = [Code::Base64, Code::Hex][index];
            let mut runs = std::mem::replace(&mut self.runs[index], Runs::new(code));
            runs.feed(offset, fresh, &mut |piece, other| {
                self.decoded(index, &piece, other, sink);
            });
            self.runs[index] = runs;
        }
    }

    /// Whether it is in UTF-16, as far as its beginning tells.
    fn begins(&mut self, bytes: &[u8]) {
        if self.wide != Wide::No {
            return;
        }
        let head = &bytes[..bytes.len().min(4096)];
        let zeros = |from: usize| head.iter().skip(from).step_by(2).filter(|b| **b == 0).count();
        let (even, odd) = (zeros(0), zeros(1));
        let database = head.starts_with(rows::BEGINNING) && matches!(head.get(59), Some(2 | 3));
        self.wide = if database {
            Wide::Any
        } else if head.starts_with(&[0xff, 0xfe]) || odd > head.len() / 16 && even <= odd / 4 {
            Wide::LittleEndian
        } else if head.starts_with(&[0xfe, 0xff]) || even > head.len() / 16 && odd <= even / 4 {
            Wide::BigEndian
        } else {
            Wide::No
        };
    }

    fn values(&self, window: &Window<'_>, sink: &mut Sink<'_>) {
        let Some(needles) = sink.needles else { return };
        let all = &window.bytes[window.from..];
        // So that the first byte is even in the stream.
        let even = (window.offset as usize + window.from) % 2;
        let wide: &[(usize, bool)] = match self.wide {
            Wide::No => &[],
            Wide::LittleEndian => &[(even, false)],
            Wide::BigEndian => &[(even, true)],
            Wide::Any => &[(0, false), (1, false), (0, true), (1, true)],
        };
        let texts = std::iter::once(Text::plain(all))
            .chain(wide.iter().map(|&(from, big)| Text::wide(all, from, big)));
        let mut seen = std::collections::HashSet::new();
        for text in texts {
            needles.look(&text, &mut |index, at| {
                if window.from + at < window.to && seen.insert((index, at)) {
                    let offset = window.offset + (window.from + at) as u64;
                    sink.see(self.spot(offset), Seen::Value(index));
                }
            });
        }
    }

    fn mark<'w>(&mut self, window: &Window<'w>, at: usize, mark: Mark<'w>, sink: &mut Sink<'_>) {
        let offset = window.offset + at as u64;
        let see = |sink: &mut Sink<'_>, seen| sink.see(self.spot(offset), seen);
        if let Mark::Database(header) = &mark
            && header.pages_of_a_vault
        {
            see(sink, Seen::Pages);
        }
        match mark {
            Mark::Root(trace) => see(sink, Seen::Root(trace)),
            // The bytes of a sealed part whose letters were seen.
            Mark::Token(found) if self.decoded && !found.text && offset.is_multiple_of(3) => {}
            Mark::Token(found) => see(sink, Seen::Token(found)),
            Mark::Pages => see(sink, Seen::Pages),
            Mark::Packed(how) => self.packed(window, at, how, sink),
            Mark::Backup(header) => {
                see(sink, Seen::Backup(header));
                let next = offset + backup::HEADER_BYTES as u64;
                self.add(Open { at: offset, next, kind: Kind::Backup(Values::default()) }, sink);
            }
            Mark::Database(_) if self.depth == 0 => see(sink, Seen::Database),
            Mark::Database(header) => {
                let left = match header.length() {
                    0 => u64::MAX,
                    length => length,
                };
                match tempfile::tempfile() {
                    Ok(file) => {
                        let kind = Kind::Database { file, left };
                        self.add(Open { at: offset, next: offset, kind }, sink);
                    }
                    Err(error) => see(
                        sink,
                        Seen::Closed(format!(
                            "a database; the temporary folder cannot be used: {error}"
                        )),
                    ),
                }
            }
            Mark::Log if self.depth > 0 || offset > 0 => {
                let why = "long values in the journal of a database, which is packed".to_owned();
                see(sink, Seen::Closed(why));
            }
            Mark::Log => {}
            Mark::BadDatabase => {
                see(
                    sink,
                    Seen::Closed("it does not read as the database that it says it is".to_owned()),
                );
            }
        }
    }

    fn packed(&mut self, window: &Window<'_>, at: usize, how: How, sink: &mut Sink<'_>) {
        let offset = window.offset + at as u64;
        let found = packed::packed(window.bytes, at, how);
        let (how, name, data) = match found {
            Some(Packed::Here { how, name, data }) => (how, name, data),
            Some(Packed::Closed(why)) => {
                sink.see(self.spot(offset), Seen::Closed(why));
                return;
            }
            None => {
                if how == How::Gzip && offset.is_multiple_of(512) {
                    let why = "gzip, whose header is damaged".to_owned();
                    sink.see(self.spot(offset), Seen::Closed(why));
                }
                return;
            }
        };
        if self.depth >= DEEPEST {
            // By chance there are the two bytes of zlib everywhere.
            if how != How::Zlib {
                let why = format!("{name}: it is packed more than {DEEPEST} deep");
                sink.see(self.spot(offset), Seen::Closed(why));
            }
            return;
        }
        let inside = self.within(&format!("{name} at byte {offset}"));
        let to = Box::new(Self::new(inside, self.depth + 1));
        let next = window.offset + data as u64;
        let kind = Kind::Packed { how, state: Inflate::new(how), to };
        let mut open = Open { at: offset, next, kind };
        if how != How::Zlib || self.give(&mut open, window, sink) {
            self.add(open, sink);
        }
    }

    fn add(&mut self, open: Open, sink: &mut Sink<'_>) {
        if self.open.len() < MOST_OPEN {
            self.open.push(open);
        } else {
            let why = "more packed things begin than can be open at a time".to_owned();
            sink.see(self.spot(open.at), Seen::Closed(why));
        }
    }

    /// What begins a file, or a member of a tar, or a file in an image.
    fn blocks(&self, window: &Window<'_>, sink: &mut Sink<'_>) {
        let first = window.offset + window.from as u64;
        let mut at = window.from + (first.next_multiple_of(512) - first) as usize;
        while at < window.to {
            let (bytes, offset) = (&window.bytes[at..], window.offset + at as u64);
            if packed::is_age(bytes) {
                sink.see(self.spot(offset), Seen::Age);
            } else if let Some(name) = packed::closed(bytes) {
                sink.see(self.spot(offset), Seen::Closed(name.to_owned()));
            }
            at += 512;
        }
    }

    /// Gives something that is open what the window has for it. `false`: it is done.
    fn give(&self, open: &mut Open, window: &Window<'_>, sink: &mut Sink<'_>) -> bool {
        let end = window.offset + window.to as u64;
        if open.next >= end {
            return true;
        }
        let from = open.next.saturating_sub(window.offset) as usize;
        let bytes = &window.bytes[from..window.to];
        open.next = end;
        match &mut open.kind {
            Kind::Backup(values) => values.feed(bytes, &mut |place, value| {
                sink.see(self.spot(open.at), Seen::Stored(place, value));
            }),
            Kind::Database { file, left } => {
                let take = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= take as u64;
                if !sink.spend(self.spot(0), take) {
                    return false;
                }
                if let Err(error) = file.write_all(&bytes[..take]) {
                    let why = format!("a database, which cannot be set aside: {error}");
                    sink.see(self.spot(open.at), Seen::Closed(why));
                    return false;
                }
                if *left == 0 {
                    self.rows(open.at, file, sink);
                }
                *left > 0
            }
            Kind::Packed { how, state, to } => {
                let done = state.feed(bytes, &mut |bytes| {
                    if !sink.spend(self.spot(0), bytes.len()) {
                        return false;
                    }
                    to.feed(bytes, sink);
                    true
                });
                match done {
                    Unpacking::GoesOn => true,
                    done => {
                        self.unpacked(*how, open.at, done, state.out, to, sink);
                        false
                    }
                }
            }
        }
    }

    fn unpacked(
        &self,
        how: How,
        at: u64,
        done: Unpacking,
        out: u64,
        to: &mut Stream,
        sink: &mut Sink<'_>,
    ) {
        let told = match how {
            // What is no zlib at all ends soon.
            How::Zlib => out > 64 << 10,
            How::Gzip | How::Zip => out > 0 || at.is_multiple_of(512),
        };
        if done != Unpacking::Ended && done != Unpacking::Stopped && told {
            let why = "it cannot be unpacked to its end".to_owned();
            sink.see(to.spot(out), Seen::Closed(why));
        }
        to.finish(sink);
    }

    /// The stream has ended, and this has not.
    fn close(&self, open: Open, sink: &mut Sink<'_>) {
        match open.kind {
            Kind::Packed { how, state, mut to } => {
                self.unpacked(how, open.at, Unpacking::Failed, state.out, &mut to, sink);
            }
            Kind::Backup(_) => {}
            Kind::Database { mut file, .. } => self.rows(open.at, &mut file, sink),
        }
    }

    fn rows(&self, at: u64, file: &mut File, sink: &mut Sink<'_>) {
        let database = Self::new(self.within(&format!("database at byte {at}")), self.depth);
        if let Err(why) = database.long_values(file, 0, None, sink) {
            sink.see(database.spot(0), Seen::Closed(why));
        }
    }

    /// Searches the long values of a database that begins at `base` of a file.
    pub(super) fn long_values(
        &self,
        file: &mut File,
        base: u64,
        log: Option<&mut File>,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let wide = self.wide == Wide::Any || is_wide(file, base);
        let mut value: Option<Stream> = None;
        let walked = rows::walk(file, base, log, &mut |piece| match piece {
            rows::Piece::Begins(at) => value = Some(self.of_value(at, wide)),
            rows::Piece::Bytes(bytes) => {
                if let Some(value) = &mut value {
                    value.feed(bytes, sink);
                }
            }
            rows::Piece::Ends => {
                if let Some(mut value) = value.take() {
                    value.finish(sink);
                }
            }
        });
        walked.map_err(|error| match error {
            rows::RowsError::Io(error) => format!("a database: {error}"),
            rows::RowsError::TooMuch => "a database whose values have no end".to_owned(),
        })
    }

    fn decoded(&mut self, index: usize, piece: &Piece<'_>, other: bool, sink: &mut Sink<'_>) {
        let Piece::Bytes { begins, phase, bytes } = piece else {
            for mut stream in std::mem::take(&mut self.decoding[index]) {
                stream.finish(sink);
            }
            return;
        };
        let name = ["base64", "hexadecimal digits"][index];
        if self.depth >= DEEPEST {
            if *phase == 0 {
                let why = format!("{name}: it is packed more than {DEEPEST} deep");
                sink.see(self.spot(*begins), Seen::Closed(why));
            }
            return;
        }
        if !sink.spend(self.spot(0), bytes.len()) {
            return;
        }
        if self.decoding[index].len() <= *phase {
            let inside = self.within(&format!("{name} at byte {}", begins + *phase as u64));
            self.decoding[index].push(Self::new(inside, self.depth + 1));
        }
        if let Some(stream) = self.decoding[index].get_mut(*phase) {
            stream.decoded = index == 0 && !other;
            stream.feed(bytes, sink);
        }
    }
}

fn is_wide(file: &mut File, base: u64) -> bool {
    let mut head = [0; 100];
    let read = file.seek(std::io::SeekFrom::Start(base)).and_then(|_| file.read_exact(&mut head));
    read.is_ok() && rows::Header::read(&head).is_some_and(|header| header.wide)
}
