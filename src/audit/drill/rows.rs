//! Values of a SQLite database that are in several pieces: a long one goes on in overflow pages,
//! which follow each other nowhere but in their chain.
//!
//! Read from the file's format (<https://www.sqlite.org/fileformat2.html>), by no engine: nothing is
//! opened for writing, no journal is played back, nothing in the file is run.
//! What a row holds within one page is there in one piece, and is found in the file as it is.
//! Every page is looked at, also those that belong to no table any more.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// What every database begins with.
pub(super) const BEGINNING: &[u8; 16] = b"SQLite format 3\0";

/// A part of a value that goes on over several pages.
pub(super) enum Piece<'a> {
    /// A value begins, in the cell at this byte of the file, or of its write-ahead log.
    Begins(u64),
    Bytes(&'a [u8]),
    Ends,
}

/// What a database says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    page: usize,
    usable: usize,
    pages: u32,
    /// Whether its text is UTF-16.
    pub(super) wide: bool,
    /// Whether a vault keeps its pages in it.
    pub(super) pages_of_a_vault: bool,
}

impl Header {
    /// Reads one; `None` where it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..100)?;
        let page = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 1 << 16,
            size => usize::from(size),
        };
        let usable = page.checked_sub(usize::from(bytes[20]))?;
        let sound = bytes.starts_with(BEGINNING) && page.is_power_of_two();
        let pages = u32::from_be_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
        let wide = matches!(bytes[59], 2 | 3);
        let pages_of_a_vault = bytes[68..72] == *b"OubP";
        let sound = sound && page >= 512 && usable >= 480;
        sound.then_some(Self { page, usable, pages, wide, pages_of_a_vault })
    }

    /// How long the file is, as far as it says.
    pub(super) fn length(&self) -> u64 {
        self.page as u64 * u64::from(self.pages)
    }
}

/// Why it was not read to its end.
#[derive(Debug)]
pub(super) enum RowsError {
    Io(io::Error),
    /// Its values are longer, taken together, than any sound database's.
    TooMuch,
}

impl From<io::Error> for RowsError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Shows all values that go on over several pages: those of the database that begins at `base`,
/// and those of its write-ahead log. Of a database in UTF-16 it shows all values.
pub(super) fn walk(
    db: &mut File,
    base: u64,
    log: Option<&mut File>,
    see: &mut dyn FnMut(Piece<'_>),
) -> Result<(), RowsError> {
    let mut head = [0; 100];
    db.seek(SeekFrom::Start(base))?;
    db.read_exact(&mut head)?;
    let Some(header) = Header::read(&head) else {
        return Err(RowsError::Io(io::Error::other("it has no header of a database")));
    };
    let length = db.seek(SeekFrom::End(0))?.saturating_sub(base);
    let present = length.div_ceil(header.page as u64);
    let pages = if header.pages == 0 { present } else { present.min(header.pages.into()) };
    let mut log_length = 0;
    let mut frames = Vec::new();
    let mut log = log;
    if let Some(log) = log.as_deref_mut() {
        log_length = log.seek(SeekFrom::End(0))?;
        frames = read_frames(log, header.page)?;
    }
    // Cells of hostile pages may name one chain again and again.
    let room = 4 * (length + log_length) + (64 << 20);
    let mut reader = Reader { header, db, base, log, newest: HashMap::new(), room };
    let mut page = vec![0; header.page];
    for number in 1..=pages {
        let at = base + (number - 1) * header.page as u64;
        read_at(reader.db, at, &mut page)?;
        reader.cells(&page, at, number == 1, see)?;
    }
    reader.newest = frames.iter().copied().collect();
    for (number, at) in frames {
        if let Some(log) = reader.log.as_deref_mut() {
            read_at(log, at, &mut page)?;
            reader.cells(&page, at, number == 1, see)?;
        }
    }
    Ok(())
}

/// The pages that a write-ahead log holds, each with its place, in their order: of the turn that it
/// is in. What is left of earlier turns is found in the file as it is.
fn read_frames(log: &mut File, page: usize) -> io::Result<Vec<(u32, u64)>> {
    const HEADER: u64 = 32;
    const FRAME: u64 = 24;
    let mut frames = Vec::new();
    let (mut head, mut frame) = ([0; HEADER as usize], [0; FRAME as usize]);
    log.seek(SeekFrom::Start(0))?;
    if log.read_exact(&mut head).is_err() || !is_log(&head) || number(&head, 8) as usize != page {
        return Ok(frames);
    }
    let end = log.seek(SeekFrom::End(0))?;
    let mut at = HEADER;
    while at + FRAME + page as u64 <= end {
        log.seek(SeekFrom::Start(at))?;
        log.read_exact(&mut frame)?;
        if frame[8..16] != head[16..24] {
            break;
        }
        frames.push((number(&frame, 0), at + FRAME));
        at += FRAME + page as u64;
    }
    Ok(frames)
}

/// Whether a write-ahead log begins so.
pub(super) fn is_log(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x37\x7f\x06\x82") || bytes.starts_with(b"\x37\x7f\x06\x83")
}

/// What a rollback journal begins with.
pub(super) const JOURNAL: &[u8; 8] = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7";

fn number(bytes: &[u8], at: usize) -> u32 {
    let of = |at| u32::from(bytes.get(at).copied().unwrap_or_default());
    of(at) << 24 | of(at + 1) << 16 | of(at + 2) << 8 | of(at + 3)
}

/// Fills the page; with zeros where the file is at its end.
fn read_at(from: &mut File, at: u64, page: &mut [u8]) -> io::Result<()> {
    from.seek(SeekFrom::Start(at))?;
    let mut filled = 0;
    while filled < page.len() {
        match from.read(&mut page[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    page[filled..].fill(0);
    Ok(())
}

struct Reader<'a> {
    header: Header,
    db: &'a mut File,
    base: u64,
    log: Option<&'a mut File>,
    /// Where in the log the newest version of a page is.
    newest: HashMap<u32, u64>,
    /// How many bytes may still be put together.
    room: u64,
}

impl Reader<'_> {
    /// The cells of a page, if it has the form of one that has them.
    fn cells(
        &mut self,
        page: &[u8],
        at: u64,
        first: bool,
        see: &mut dyn FnMut(Piece<'_>),
    ) -> Result<(), RowsError> {
        let start = if first { 100 } else { 0 };
        let Some(&kind) = page.get(start) else { return Ok(()) };
        // How long the page's header is, and what a cell has before its payload's length.
        let (header, before) = match kind {
            0x0d | 0x0a => (8, 0),
            0x02 => (12, 4),
            _ => return Ok(()),
        };
        let count = (number(page, start + 3) >> 16) as usize;
        for index in 0..count {
            let pointer = start + header + 2 * index;
            if pointer + 2 > page.len() {
                break;
            }
            let cell = (number(page, pointer) >> 16) as usize;
            let Some((length, used)) = varint(page, cell + before) else { continue };
            let mut body = cell + before + used;
            if kind == 0x0d {
                let Some((_, used)) = varint(page, body) else { continue };
                body += used;
            }
            self.payload(page, body, length, kind == 0x0d, at + cell as u64, see)?;
        }
        Ok(())
    }

    fn payload(
        &mut self,
        page: &[u8],
        body: usize,
        length: u64,
        table: bool,
        at: u64,
        see: &mut dyn FnMut(Piece<'_>),
    ) -> Result<(), RowsError> {
        // The names are those of the description of the format, section 1.6.
        let u = self.header.usable as u64;
        let x = if table { u - 35 } else { (u - 12) * 64 / 255 - 23 };
        let m = (u - 12) * 32 / 255 - 23;
        if length <= x {
            if self.header.wide
                && let Some(bytes) = page.get(body..body + length as usize)
            {
                see(Piece::Begins(at));
                see(Piece::Bytes(bytes));
                see(Piece::Ends);
            }
            return Ok(());
        }
        let k = m + length.saturating_sub(m) % (u - 4);
        let local = if k <= x { k } else { m } as usize;
        let Some(bytes) = page.get(body..body + local) else { return Ok(()) };
        let mut next = number(page, body + local);
        see(Piece::Begins(at));
        see(Piece::Bytes(bytes));
        let mut left = length - local as u64;
        let mut overflow = vec![0; self.header.page];
        while left > 0 && next > 0 && self.read(next, &mut overflow)? {
            let take = left.min(u - 4);
            self.room = self.room.checked_sub(take).ok_or(RowsError::TooMuch)?;
            see(Piece::Bytes(&overflow[4..4 + take as usize]));
            left -= take;
            next = number(&overflow, 0);
        }
        see(Piece::Ends);
        Ok(())
    }

    fn read(&mut self, number: u32, page: &mut [u8]) -> Result<bool, RowsError> {
        if let (Some(at), Some(log)) = (self.newest.get(&number), self.log.as_deref_mut()) {
            read_at(log, *at, page)?;
            return Ok(true);
        }
        let at = self.base + u64::from(number - 1) * self.header.page as u64;
        if at >= self.db.seek(SeekFrom::End(0))? {
            return Ok(false);
        }
        read_at(self.db, at, page)?;
        Ok(true)
    }
}

fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for index in 0..9 {
        let byte = *bytes.get(at + index)?;
        if index == 8 {
            return Some((value << 8 | u64::from(byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}
