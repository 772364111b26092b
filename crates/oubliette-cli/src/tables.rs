//! Tables, as wide as what is in them. Where stdout is a terminal that is narrower, each row is a paragraph, so
//! that an id stays one word and nothing is lost at the edge.

use std::io::{IsTerminal, stdout};

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, ContentLineStyle,
    LineStyle, Row, Table, TableStyle,
};
use unicode_width::UnicodeWidthStr;

use super::output::stdout_style;

/// No frame, one line under the header.
const LOOKS: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'));

/// The least that is left to a column that is cut: where it would be less, there are paragraphs.
const LAST: u16 = 16;
/// The width of a terminal that does not tell its own.
const USUAL: u16 = 80;
/// Between columns.
const GAP: u16 = 2;

/// A table with these columns, each as wide as what is in it; but see [`cut`].
pub(super) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(LOOKS).set_truncation_indicator("…");
    let mut header = Row::from(
        columns
            .iter()
            .map(|name| {
                let cell = Cell::new(name);
                if stdout_style().is_on() { cell.add_attribute(Attribute::Bold) } else { cell }
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

/// Adds a row of one line.
pub(super) fn add(table: &mut Table, cells: Vec<Cell>) {
    let mut row = Row::from(cells);
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
    if stdout_style().is_on() { cell.fg(colour) } else { cell }
}

/// A number, aligned as numbers are.
pub(super) fn number(number: impl ToString) -> Cell {
    Cell::new(number).set_alignment(CellAlignment::Right)
}

/// A table as lines of which nothing is cut.
pub(super) fn lines(mut table: Table) -> Vec<String> {
    match too_narrow_for(&table) {
        Some(width) => paragraphs(&table, width, false).0,
        None => {
            // The table itself would count the white space behind its last column.
            table.set_width(u16::MAX);
            arranged(&table)
        }
    }
}

/// A table as lines, its last column cut where the terminal ends; and whether that cut anything.
pub(super) fn cut(mut table: Table) -> (Vec<String>, bool) {
    let Some(width) = terminal_width() else { return (arranged(&table), false) };
    let widths = table.column_max_content_widths();
    let Some((last, others)) = widths.split_last() else { return (Vec::new(), false) };
    let others = others.iter().fold(0, |sum: u16, width| sum.saturating_add(*width + GAP));
    if others.saturating_add(LAST.min(*last)) > width {
        return paragraphs(&table, usize::from(width), true);
    }
    table.set_width(width);
    (arranged(&table), others.saturating_add(*last) > width)
}

/// Without the white space that fills the last column.
fn arranged(table: &Table) -> Vec<String> {
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Each row as a line with what its first column has, and the rest indented below. With `cut`, the last
/// column ends with its line; returned is also whether that cut anything.
fn paragraphs(table: &Table, width: usize, cut: bool) -> (Vec<String>, bool) {
    let names: Vec<String> =
        table.header().into_iter().flat_map(Row::cell_iter).map(Cell::content).collect();
    let (mut lines, mut is_cut) = (Vec::new(), false);
    for row in table.row_iter() {
        let cells = names.iter().zip(row.cell_iter().map(Cell::content));
        let mut cells = cells.filter(|(_, content)| !content.is_empty());
        let Some((name, first)) = cells.next() else { continue };
        lines.push(format!("{name} {}", stdout_style().strong(&first)));
        let mut rest: Vec<String> =
            cells.map(|(name, content)| format!("{name} {content}")).collect();
        let last = if cut { rest.pop() } else { None };
        lines.extend(packed(&rest, width));
        if let Some(last) = last.map(|text| format!("  {text}")) {
            let short = shortened(&last, width);
            is_cut |= short != last;
            lines.push(short);
        }
    }
    (lines, is_cut)
}

/// Texts behind each other on indented lines that are no wider than this. One is broken only where it does not
/// fit a line of its own.
fn packed(texts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        let between = " · ";
        let more = columns(text) + columns(between);
        match lines.last_mut() {
            Some(line) if columns(line) + more <= width => {
                line.push_str(between);
                line.push_str(text);
            }
            _ => lines.extend(wrapped(text, width)),
        }
    }
    lines
}

fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let ends = text.char_indices().map(|(at, _)| at);
    let short = ends.map(|at| &text[..at]).take_while(|short| columns(short) < width).last();
    format!("{}…", short.unwrap_or_default())
}

/// How many columns of a terminal a text takes, as the table itself counts them: a character may take two, or none.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// The terminal's width, where a table does not fit it.
pub(super) fn too_narrow_for(table: &Table) -> Option<usize> {
    let whole = table.column_max_content_widths();
    let whole: usize = whole.iter().map(|width| usize::from(*width) + usize::from(GAP)).sum();
    let width = usize::from(terminal_width()?);
    (whole.saturating_sub(usize::from(GAP)) > width).then_some(width)
}

/// A text as indented lines that are no wider than this. They end at spaces, and beside wide characters, whose
/// scripts have no spaces: what is longer, an id, stays whole.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut between = " ";
        for piece in pieces(word) {
            match lines.last_mut() {
                Some(line) if columns(line) + columns(between) + columns(piece) <= width => {
                    line.push_str(between);
                    line.push_str(piece);
                }
                _ => lines.push(format!("  {piece}")),
            }
            between = "";
        }
    }
    lines
}

/// A word in pieces that stay whole: each wide character is one, with the marks on it.
fn pieces(word: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut was_wide) = (0, false);
    for (at, c) in word.char_indices() {
        let wide = match columns(c.encode_utf8(&mut [0; 4])) {
            0 => continue,
            columns => columns > 1,
        };
        if at > start && (wide || was_wide) {
            pieces.push(&word[start..at]);
            start = at;
        }
        was_wide = wide;
    }
    pieces.push(&word[start..]);
    pieces
}

/// How wide stdout is, where it is a terminal.
fn terminal_width() -> Option<u16> {
    stdout().is_terminal().then(|| known_width(Table::new().width()))
}

/// A terminal that says it has no columns does not know: a pseudo-terminal whose size nobody set, a serial line.
fn known_width(said: Option<u16>) -> u16 {
    said.filter(|width| *width > 0).unwrap_or(USUAL)
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

    /// What is twice as wide as it is long went beyond the edge.
    #[test]
    fn wide_characters_count_for_two_and_are_never_split() {
        assert_eq!(wrapped("忘却の 理由 ab", 10), ["  忘却の", "  理由 ab"]);
        // Without spaces, lines end between them; a mark stays on its character.
        assert_eq!(wrapped("id-1忘却の理由", 10), ["  id-1忘却", "  の理由"]);
        assert_eq!(wrapped("忘\u{301}却\u{301}", 4), ["  忘\u{301}", "  却\u{301}"]);
        assert_eq!(
            packed(&["理由 忘却".to_owned(), "鍵 1".to_owned()], 17),
            ["  理由 忘却", "  鍵 1"]
        );
        for (width, short) in [(8, "忘却の理"), (7, "忘却の…"), (6, "忘却…"), (1, "…")]
        {
            assert_eq!(shortened("忘却の理", width), short);
        }
        for columns in [40, 60] {
            let lines = wrapped(&"本人からの書面による請求に基づく消去 ".repeat(9), columns);
            assert!(lines.iter().all(|line| line.width() <= columns), "{lines:?}");
            assert!(lines.iter().rev().skip(1).all(|line| line.width() + 3 > columns), "{lines:?}");
        }
    }

    /// Each word had a line of its own.
    #[test]
    fn a_terminal_that_says_it_has_no_columns_is_taken_for_a_usual_one() {
        assert_eq!([None, Some(0), Some(120)].map(known_width), [80, 80, 120]);
    }

    #[test]
    fn a_row_that_does_not_fit_is_a_paragraph_and_says_what_is_what() {
        let mut erasures = table(&["erasure", "keys", "epoch", "reason"]);
        add(&mut erasures, vec![cell("01a2"), number(17), cell(""), cell("asked by a letter")]);
        let whole = ["erasure 01a2", "  keys 17", "  reason asked by a", "  letter"];
        assert_eq!(paragraphs(&erasures, 19, false).0, whole);
        assert_eq!(paragraphs(&erasures, 80, false).0[1], "  keys 17 · reason asked by a letter");
        let cut = ["erasure 01a2", "  keys 17", "  reason asked by…"];
        let (lines, is_cut) = paragraphs(&erasures, 18, true);
        assert!(lines == cut && is_cut, "{lines:?}");
        assert!(!paragraphs(&erasures, 28, true).1);
        assert_eq!(shortened("üüü", 3), "üüü");
        assert_eq!(shortened("üüüü", 3), "üü…");
    }
}
