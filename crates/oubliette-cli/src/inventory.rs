//! The inventory: every key, and everyone forgotten.

use clap::{Args, ValueEnum};
use comfy_table::Color;
use oubliette::{
    audit::{AuditError, ForgottenRow, KeyRow, Row, Totals},
    event::{Subject, Timestamp},
    vault::{KeyState, Vault},
};
use serde::Serialize;

use super::{
    exit::CliError,
    open::Globals,
    output::{self, Out},
    tables::{self, cell, coloured, number},
};

/// How many lines one table holds.
const TABLE: usize = 1000;

/// List every key, and everyone forgotten
///
/// State, age and owners of each key, and at most how much it sealed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette inventory
  oubliette inventory --json | jq 'select(.kind == \"totals\")'
  oubliette inventory --format csv > keys.csv

States and dates are those of NIST SP 800-57 part 1: an active key seals and
opens, a deactivated one only opens what it sealed, a destroyed one is gone with
all that it sealed; pre-activation is the key of an owner change whose append is
not settled yet.

Seals are reserved before they are used, so that most seals cost no write. A key
sealed at most as much as is told, and no less than half of it. Days are in UTC.

No form of it holds key material. Of the forgotten, a pseudonym is left, no
name. The table leaves out some of what JSON and CSV have: layouts, policies,
ids, and which erasure it was. In CSV, a name that a spreadsheet would take for a formula (it begins with
= + - @) has a ' before it; JSON has names as they are.")]
pub(super) struct InventoryArgs {
    /// How to write it; --json is short for json
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One object a line: keys, forgotten subjects, totals
    Json,
    /// One line a key or forgotten subject; the totals go to stderr
    Csv,
}

pub(super) async fn run(
    globals: &Globals,
    args: &InventoryArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let format = match (args.format, globals.json) {
        (None, false) => Format::Table,
        (None | Some(Format::Json), true) => Format::Json,
        (Some(format), false) => format,
        (Some(_), true) => {
            return Err(CliError::usage("--json and --format contradict each other"));
        }
    };
    let store = globals.open_existing().await?;
    let mut totals = Totals::default();
    let rows = store.inventory()?.inspect(|row| {
        if let Ok(row) = row {
            totals.add(row);
        }
    });
    match format {
        Format::Table => table(rows, out)?,
        Format::Json => {
            for row in rows {
                out.json(&row?)?;
            }
        }
        Format::Csv => csv(rows, out)?,
    }
    let counted = store.count_unsealed().await?;
    (totals.unsealed, totals.newer) = (Some(counted.unsealed), Some(counted.newer));
    totals.epoch = store.vault().map_or(Ok(0), Vault::epoch)?;
    match format {
        Format::Table => {
            let words = in_words(&totals);
            words.split("; ").try_for_each(|line| out.line(line))?;
        }
        Format::Json => out.json(&Tagged { kind: "totals", totals })?,
        Format::Csv => output::to_stderr(&in_words(&totals)),
    }
    Ok(())
}

#[derive(Serialize)]
struct Tagged {
    kind: &'static str,
    #[serde(flatten)]
    totals: Totals,
}

fn in_words(totals: &Totals) -> String {
    let mut words = format!(
        "{} ({} active), at most {}, {} forgotten",
        output::count(totals.keys, "key"),
        totals.active,
        output::count(totals.sealed_at_most, "sealed payload"),
        output::count(totals.forgotten, "subject"),
    );
    if totals.ownerless > 0 {
        words.push_str(&format!(
            ", {} without an owner, which no forgetting reaches",
            output::count(totals.ownerless, "key")
        ));
    }
    if let Some(unsealed @ 1..) = totals.unsealed {
        words.push_str(&format!(", {} never sealed", output::count(unsealed, "event")));
    }
    if let Some(newer @ 1..) = totals.newer {
        words.push_str(&format!(", {} by a newer program", output::count(newer, "event")));
    }
    words.push_str(&format!("; the vault is at epoch {}", totals.epoch));
    words
}

fn table(
    rows: impl Iterator<Item = Result<Row, AuditError>>,
    out: &mut Out,
) -> Result<(), CliError> {
    let headers = ["stream", "subject", "gen", "state", "since", "last use", "sealed", "owners"];
    let mut table = tables::table(&headers);
    for row in rows {
        tables::add(
            &mut table,
            match row? {
                Row::Key(key) => key_cells(&key),
                Row::Forgotten(forgotten) => forgotten_cells(&forgotten),
                _ => continue,
            },
        );
        if table.row_count() == TABLE {
            out.table(std::mem::replace(&mut table, tables::table(&headers)))?;
            out.line("")?;
        }
    }
    if !table.is_empty() {
        out.table(table)?;
        out.line("")?;
    }
    Ok(())
}

fn key_cells(key: &KeyRow) -> Vec<comfy_table::Cell> {
    let state = match key.state {
        KeyState::Active => coloured("active", Color::DarkGreen),
        other => coloured(word(other), Color::DarkYellow),
    };
    let owners = if key.ownerless { "none!".to_owned() } else { names(&key.owners) };
    // Since when it is what it is, where that is known.
    let since = match key.state {
        KeyState::Active => key.activation,
        _ => key.deactivation,
    };
    vec![
        cell(stream_and_class(key)),
        cell(&key.subject),
        number(key.generation),
        state,
        cell(since.as_ref().map(day).unwrap_or_default()),
        cell(&key.last_use),
        number(format!("≤{}", key.sealed_at_most)),
        cell(owners),
    ]
}

/// The stream, and what else sets the key apart.
fn stream_and_class(key: &KeyRow) -> String {
    let category = key.category.iter().map(|category| format!(" {category}"));
    let period = key.period.iter().map(|period| format!(" up to {period}"));
    std::iter::once(key.stream.to_string()).chain(category).chain(period).collect()
}

fn forgotten_cells(forgotten: &ForgottenRow) -> Vec<comfy_table::Cell> {
    let state = if forgotten.closed { "destroyed" } else { "destroyed, reopened" };
    let last = forgotten.erasures.last();
    vec![
        cell("(forgotten)"),
        cell(format!("{}…", &forgotten.pseudonym.get(..8).unwrap_or_default())),
        number(last.map_or(String::new(), |span| match span.to.0 {
            u32::MAX => "all".to_owned(),
            to => format!("≤{to}"),
        })),
        coloured(state, Color::DarkRed),
        cell(last.map(|span| day(&span.destruction)).unwrap_or_default()),
    ]
}

/// A state as NIST SP 800-57 part 1 calls it.
fn word(state: KeyState) -> &'static str {
    match state {
        KeyState::PreActivation => "pre-activation",
        KeyState::Active => "active",
        KeyState::Destroyed => "destroyed",
        _ => "deactivated",
    }
}

fn instant(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

/// `2026-01-31`, in UTC.
fn day(at: &Timestamp) -> String {
    at.to_string().chars().take("2026-01-31".len()).collect()
}

fn names(names: &[Subject]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[derive(Serialize, Default)]
struct CsvRow {
    kind: &'static str,
    state: &'static str,
    id: String,
    stream: String,
    subject: String,
    generation: Option<u32>,
    activation: String,
    deactivation: String,
    destruction: String,
    last_use: String,
    #[serde(rename = "sealed_about")]
    sealed_at_most: Option<u64>,
    owners: String,
    ownerless: Option<bool>,
    layout: String,
    policy: String,
    pseudonym: String,
    closed: Option<bool>,
    erasures: String,
    category: String,
    period: String,
    spared: String,
}

impl CsvRow {
    /// With names that a spreadsheet does not take for formulas. Only names come from strangers.
    fn harmless(mut self) -> Self {
        let names = [&mut self.stream, &mut self.subject, &mut self.owners, &mut self.category];
        for name in names {
            if name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                name.insert(0, '\'');
            }
        }
        self
    }
}

fn csv(rows: impl Iterator<Item = Result<Row, AuditError>>, out: &mut Out) -> Result<(), CliError> {
    let mut writer = csv::Writer::from_writer(out);
    for row in rows {
        let row = match row? {
            Row::Key(key) => CsvRow {
                kind: "key",
                state: word(key.state),
                id: key.id,
                stream: key.stream.to_string(),
                subject: key.subject.to_string(),
                generation: Some(key.generation.0),
                activation: instant(key.activation),
                deactivation: instant(key.deactivation),
                last_use: key.last_use,
                sealed_at_most: Some(key.sealed_at_most),
                owners: names(&key.owners),
                ownerless: Some(key.ownerless),
                layout: key.layout.to_string(),
                policy: key.policy,
                category: key.category.map(|category| category.to_string()).unwrap_or_default(),
                period: key.period.map(|period| period.to_string()).unwrap_or_default(),
                ..CsvRow::default()
            },
            Row::Forgotten(forgotten) => CsvRow {
                kind: "forgotten",
                state: word(forgotten.state),
                closed: Some(forgotten.closed),
                destruction: instant(forgotten.erasures.last().map(|span| span.destruction)),
                pseudonym: forgotten.pseudonym,
                erasures: forgotten
                    .erasures
                    .iter()
                    .map(|span| format!("{}:{}-{}", span.erasure, span.from, span.to))
                    .collect::<Vec<_>>()
                    .join(" "),
                spared: forgotten
                    .spared
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
                ..CsvRow::default()
            },
            _ => continue,
        };
        writer.serialize(row.harmless()).map_err(csv_error)?;
    }
    writer.flush()?;
    Ok(())
}

fn csv_error(error: csv::Error) -> CliError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        kind => CliError::failed(format!("{kind:?}")),
    }
}
