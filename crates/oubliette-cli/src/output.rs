//! What people and programs see: rows on stdout, words on stderr, tables, colours.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write, stdout},
    sync::LazyLock,
};

use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle,
    Table, TableStyle,
};
pub(super) use oubliette::words::{agree, count};
use serde::Serialize;

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
        lines(table).iter().try_for_each(|line| self.line(line))
    }

    /// A table whose last column is text that is only looked at: a terminal's width cuts it.
    pub(super) fn cut_table(&mut self, table: Table) -> io::Result<()> {
        arranged(table, LAST).iter().try_for_each(|line| self.line(line))
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

/// No frame, one line under the header.
const LOOKS: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with these columns, each as wide as what is in it; but see [`Out::cut_table`].
pub(super) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(LOOKS).set_truncation_indicator("…");
    let mut header = comfy_table::Row::from(
        columns
            .iter()
            .map(|name| {
                let cell = Cell::new(name);
                if stdout_style().on { cell.add_attribute(Attribute::Bold) } else { cell }
            })
            .collect::<Vec<_>>(),
    );
    header.max_height(1);
    table.set_header(header);
    if terminal_width().is_some() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        let whole = columns.len().saturating_sub(1);
        table.set_constraints(vec![ColumnConstraint::ContentWidth; whole]);
        // Text is cut where the line ends, and not at a space before.
        table.set_delimiter('\u{0}');
    } else {
        table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
    }
    for column in table.column_iter_mut() {
        // The table itself puts one more between two columns.
        column.set_padding((0, GAP - 1));
    }
    table
}

/// The least that is left to a column that is cut, however narrow the terminal.
const LAST: u16 = 24;
/// Between columns.
const GAP: u16 = 2;

/// A table as lines, without the white space that fills its last column. Nothing is cut: where a line does
/// not fit the terminal, that breaks it, and an id that is copied from there stays one.
pub(super) fn lines(table: Table) -> Vec<String> {
    arranged(table, u16::MAX)
}

/// A table as lines, its last column at least so wide, or as wide as what is in it.
fn arranged(mut table: Table, least: u16) -> Vec<String> {
    if let Some(width) = terminal_width()
        && let Some((last, others)) = table.column_max_content_widths().split_last()
    {
        let others = others.iter().fold(0, |sum: u16, width| sum.saturating_add(*width + GAP));
        table.set_width(width.max(others.saturating_add(least.min(*last)).saturating_add(1)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The terminal's width, where a table does not fit it.
pub(super) fn too_narrow_for(table: &Table) -> Option<usize> {
    let whole = table.column_max_content_widths();
    let whole: usize = whole.iter().map(|width| usize::from(*width) + usize::from(GAP)).sum();
    let width = usize::from(terminal_width()?);
    (whole.saturating_sub(usize::from(GAP)) > width).then_some(width)
}

/// A text as indented lines that are no wider than this. They end at spaces: what is longer, an id, stays
/// whole.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let more = word.chars().count() + 1;
        match lines.last_mut() {
            Some(line) if line.chars().count() + more <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines
}

/// How wide stdout is, where it is a terminal.
fn terminal_width() -> Option<u16> {
    if stdout().is_terminal() { Table::new().width() } else { None }
}

/// Adds a row of one line.
pub(super) fn add(table: &mut Table, cells: Vec<Cell>) {
    let mut row = comfy_table::Row::from(cells);
    row.max_height(1);
    table.add_row(row);
}

/// A cell of text that somebody else wrote.
pub(super) fn cell(text: impl ToString) -> Cell {
    Cell::new(text)
}

/// A cell in a colour, where there are colours.
pub(super) fn coloured(text: impl ToString, colour: Color) -> Cell {
    let cell = Cell::new(text);
    if stdout_style().on { cell.fg(colour) } else { cell }
}

/// A number, aligned as numbers are.
pub(super) fn number(number: impl ToString) -> Cell {
    Cell::new(number).set_alignment(comfy_table::CellAlignment::Right)
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
    fn a_line_ends_at_a_space_and_an_id_stays_whole() {
        let id = "d506b34a-9c2c-4d6e-8a51-0c8e7b8f1a2b";
        let text = format!("event {id} of user-1 is lost");
        assert_eq!(wrapped(&text, 20), ["  event", &format!("  {id}"), "  of user-1 is lost"]);
        assert_eq!(wrapped(&text, 80), [format!("  {text}")]);
        assert_eq!(wrapped("ü ü ü", 7), ["  ü ü ü"]);
    }

    #[test]
    fn what_would_move_the_cursor_is_shown_as_an_escape() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}\u{202e}c"), "a\\u001b[2Jb\\u009b\\u202ec");
        assert_eq!(printable("{\n \"ü\": 1}"), "{  \"ü\": 1}");
    }
}
