//! What people and programs see: rows on stdout, words on stderr, colours. Tables are in [`tables`].

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write, stdout},
    sync::LazyLock,
};

use comfy_table::Table;
pub(super) use oubliette::words::{agree, count};
use serde::Serialize;

use super::tables;

/// Stdout, buffered. Nothing but results goes there.
#[derive(Debug)]
pub(super) struct Out {
    stdout: BufWriter<Stdout>,
    /// What the command has done by now.
    done: Option<String>,
}

impl Out {
    pub(super) fn new() -> Self {
        Self { stdout: BufWriter::with_capacity(64 * 1024, stdout()), done: None }
    }

    /// From here on a failure to print says what was done: whoever takes it for the failure of the
    /// command repeats it.
    pub(super) fn did(&mut self, done: impl Into<String>) {
        self.done = Some(done.into());
    }

    fn told<T>(&self, printed: io::Result<T>) -> io::Result<T> {
        printed.map_err(|error| match &self.done {
            Some(done) => io::Error::new(
                error.kind(),
                format!("{done}; the answer could not be printed: {error}"),
            ),
            None => error,
        })
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

    /// Hands on what is buffered: before waiting, and at the end.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stdout.write(bytes);
        self.told(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stdout.flush();
        self.told(flushed)
    }
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
        to_stderr(&format!("{} {text}", stderr_style().hint("note:")));
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
    use std::fmt::Write as _;
    let most = if stdout().is_terminal() { ENOUGH } else { usize::MAX };
    let mut clean = String::with_capacity(text.len().min(most));
    for (i, c) in text.chars().enumerate() {
        if i >= most {
            clean.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
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
    clean
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
    }
}
