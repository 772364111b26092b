//! What people and programs see: rows on stdout, words on stderr, colours. Tables are in [`tables`].

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write, stdout},
    sync::LazyLock,
};

use comfy_table::Table;
pub(super) use oubliette::words::{agree, count};
use serde::Serialize;

use super::tables;

/// What a command does once its output is not read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It ends: all that it is there for is to be read.
    Ends,
    /// It goes on to its end, and its exit code is that of its work: what it changes, or finds out, counts whether
    /// it is read or not.
    GoesOn,
}

/// That nobody reads what is printed any more: `oubliette read-all | head`. The only broken pipe that is ours.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads what is printed")]
struct NobodyReads;

/// Whether this is no failure, but a reader of stdout who has had enough.
pub(super) fn is_unread(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NobodyReads>())
}

fn unread(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, NobodyReads),
        _ => error,
    }
}

/// Stdout, buffered. Nothing but results goes there.
#[derive(Debug)]
pub(super) struct Out {
    stdout: BufWriter<Stdout>,
    unread: Unread,
    /// Why nothing is printed any more, where the command goes on.
    failed: Option<io::Error>,
    /// What the command has done by now.
    done: Option<String>,
}

impl Out {
    pub(super) fn new(unread: Unread) -> Self {
        Self::buffered(64 * 1024, unread)
    }

    /// Of which each line is seen as it is printed.
    pub(super) fn at_once(unread: Unread) -> Self {
        Self::buffered(0, unread)
    }

    fn buffered(bytes: usize, unread: Unread) -> Self {
        let stdout = BufWriter::with_capacity(bytes, stdout());
        Self { stdout, unread, failed: None, done: None }
    }

    /// From here on a failure to print says what was done: whoever takes it for the failure of the
    /// command repeats it.
    pub(super) fn did(&mut self, done: impl Into<String>) {
        self.done = Some(done.into());
    }

    /// Prints, unless that failed before: printing decides over a command only where it is all there is to do.
    fn print<T>(
        &mut self,
        print: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<T>,
        unprinted: T,
    ) -> io::Result<T> {
        if self.failed.is_some() {
            return Ok(unprinted);
        }
        match print(&mut self.stdout) {
            Ok(printed) => Ok(printed),
            // It is tried again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) if self.unread == Unread::Ends => Err(unread(error)),
            Err(error) => {
                self.failed = Some(error);
                Ok(unprinted)
            }
        }
    }

    /// Hands on the rest, and says at last what of it all could not be printed.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        match self.failed.take().map(unread) {
            None => Ok(()),
            Some(error) if is_unread(&error) => Err(error),
            Some(error) => {
                let done = self.done.take().map_or_else(String::new, |done| format!("{done}; "));
                let text = format!("{done}the answer could not be printed: {error}");
                Err(io::Error::new(error.kind(), text))
            }
        }
    }

    /// One line.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.write_all(text.as_bytes())?;
        self.write_all(b"\n")
    }

    /// One line of NDJSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self, value)?;
        self.write_all(b"\n")
    }

    /// A table of which nothing is cut.
    pub(super) fn table(&mut self, table: Table) -> io::Result<()> {
        tables::lines(table).iter().try_for_each(|line| self.line(line))
    }

    /// A table whose last column is text that is only looked at: a terminal's width cuts it. Returns whether it
    /// did, for whoever prints it to say so.
    pub(super) fn cut_table(&mut self, table: Table) -> io::Result<bool> {
        let (lines, is_cut) = tables::cut(table);
        lines.iter().try_for_each(|line| self.line(line))?;
        Ok(is_cut)
    }

    /// Hands on what is buffered: before waiting.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.print(|stdout| stdout.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.print(Write::flush, ())
    }
}

/// Waits until nobody reads stdout any more, because the other end of its pipe is closed: who waits for something to
/// print would not learn of it. A file has no other end.
#[cfg(unix)]
pub(super) async fn nobody_reads() {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::Errno,
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    let watch = move || {
        let stdout = stdout();
        // Of no event but those that are always told.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while let Err(Errno::INTR) = poll(&mut watched, None) {}
        if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            let _ = tell.send(());
        }
    };
    // On a thread that ends with the process: where stdout is a file, it waits for ever.
    let watching = std::thread::Builder::new().name("reader-of-stdout".to_owned()).spawn(watch);
    if watching.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
pub(super) async fn nobody_reads() {
    std::future::pending::<()>().await;
}

/// One line on stderr. That nobody reads it is no reason to fail.
pub(super) fn to_stderr(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A word on what happened besides the result: text for people, an object for programs.
pub(super) fn note(json: bool, text: &str) {
    if json {
        to_stderr(&serde_json::json!({ "note": text }).to_string());
    } else {
        to_stderr(&format!("{} {}", stderr_style().hint("note:"), clean(text)));
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    on: bool,
}

impl Style {
    pub(super) fn is_on(self) -> bool {
        self.on
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(super) fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn hint(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn magenta(self, text: &str) -> String {
        self.paint("35", text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }
}

fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

static STDOUT_STYLE: LazyLock<Style> =
    LazyLock::new(|| Style { on: wants_colour() && stdout().is_terminal() });
static STDERR_STYLE: LazyLock<Style> =
    LazyLock::new(|| Style { on: wants_colour() && io::stderr().is_terminal() });

pub(super) fn stdout_style() -> Style {
    *STDOUT_STYLE
}

pub(super) fn stderr_style() -> Style {
    *STDERR_STYLE
}

/// How many characters of a text are worth looking at for one line of a table.
const ENOUGH: usize = 2048;

/// A text made fit for a terminal: control and other invisible characters as JSON would escape
/// them, so that nobody's payload moves the cursor. Where stdout is a terminal, no longer than
/// any line of it.
pub(super) fn printable(text: &str) -> String {
    let most = if stdout().is_terminal() { ENOUGH } else { usize::MAX };
    let mut clean = String::with_capacity(text.len().min(most));
    for (i, c) in text.chars().enumerate() {
        if i >= most {
            clean.push('…');
            break;
        }
        if c == '\n' { clean.push(' ') } else { push_clean(&mut clean, c) }
    }
    clean
}

/// A text made fit for a terminal as by [`printable`], but whole and with its lines: an error, a note. Colours that
/// are in it go, because they are those of stdout.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in uncoloured(text).chars() {
        if c == '\n' { clean.push(c) } else { push_clean(&mut clean, c) }
    }
    clean
}

fn push_clean(clean: &mut String, c: char) {
    use std::fmt::Write as _;
    match c {
        '\r' | '\t' => clean.push(' '),
        _ if hostile(c) => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing into a string cannot fail.
                let _ = write!(clean, "\\u{unit:04x}");
            }
        }
        _ => clean.push(c),
    }
}

/// Without what [`Style`] paints with.
fn uncoloured(text: &str) -> String {
    const BEGIN: &str = "\u{1b}[";
    let mut parts = text.split(BEGIN);
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = |c: char| c.is_ascii_digit() || c == ';';
        match part.trim_start_matches(code).strip_prefix('m') {
            Some(rest) => bare.push_str(rest),
            // No colour.
            None => {
                bare.push_str(BEGIN);
                bare.push_str(part);
            }
        }
    }
    bare
}

fn hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_the_cursor_is_shown_as_an_escape() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}\u{202e}c"), "a\\u001b[2Jb\\u009b\\u202ec");
        assert_eq!(printable("{\n \"ü\": 1}"), "{  \"ü\": 1}");
        assert_eq!(clean("a\u{1b}[2J\r\nb\u{9b}"), "a\\u001b[2J \nb\\u009b");
    }

    #[test]
    fn an_error_has_no_colours_of_stdout_and_nothing_passes_for_one() {
        let strong = Style { on: true }.strong("user-1");
        assert_eq!(clean(&format!("{strong} is forgotten")), "user-1 is forgotten");
        assert_eq!(clean("\u{1b}[\u{1b}[1m2J"), "\\u001b[2J");
    }
}
