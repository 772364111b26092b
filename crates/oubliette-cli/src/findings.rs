//! Findings as people and programs get them.

use std::{collections::BTreeMap, fmt::Display, io};

use comfy_table::{Color, Table};
use oubliette::{
    audit::{Finding, Location, Severity},
    event::SigningKeyId,
};
use serde::Serialize;

use super::{
    hints,
    output::{self, Out, printable},
    tables::{self, cell, coloured},
};

/// How many findings of one kind a table shows.
const SHOWN: u64 = 20;

/// A finding for programs: as the library has it, with a remedy that this program has commands for.
#[derive(Serialize)]
struct Row<'a, K> {
    finding: K,
    severity: Severity,
    #[serde(rename = "where")]
    at: &'a Location,
    what: &'a str,
    remedy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<SigningKeyId>,
}

impl<'a, K: Copy> Row<'a, K> {
    fn of(found: &'a Finding<K>) -> Self {
        let Finding { kind, severity, at, what, remedy, signer, .. } = found;
        let remedy = hints::in_commands(remedy);
        Self { finding: *kind, severity: *severity, at, what, remedy, signer: *signer }
    }
}

/// Findings of one run: written at once as JSON, or kept, as many as are shown, for a table.
pub(super) struct Findings<K> {
    json: bool,
    rows: Vec<Finding<K>>,
    seen: BTreeMap<K, u64>,
    /// What to do, also about those that are not shown.
    remedies: Vec<(Severity, K, &'static str)>,
    failed: Option<io::Error>,
}

impl<K: Copy + Ord + Display + Serialize> Findings<K> {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: Vec::new(), seen: BTreeMap::new(), remedies: vec![], failed: None }
    }

    pub(super) fn take(&mut self, finding: Finding<K>, out: &mut Out) {
        if self.json {
            if let Err(error) = out.json(&Row::of(&finding)) {
                self.failed.get_or_insert(error);
            }
            return;
        }
        let seen = self.seen.entry(finding.kind).or_default();
        *seen += 1;
        let remedy = (finding.severity, finding.kind, finding.remedy);
        if !self.remedies.contains(&remedy) {
            self.remedies.push(remedy);
        }
        if *seen <= SHOWN {
            self.rows.push(finding);
        }
    }

    /// The table, the worst first, and what to do about each kind: one kind may have several remedies.
    pub(super) fn tell(mut self, out: &mut Out) -> io::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        self.rows.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.kind.cmp(&b.kind)));
        self.remedies.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let table = table(&self.rows);
        match tables::too_narrow_for(&table) {
            None => {
                out.table(table)?;
                out.line("")?;
            }
            Some(width) => {
                self.rows.iter().try_for_each(|finding| paragraph(finding, width, out))?;
            }
        }
        for (_, kind, remedy) in self.remedies {
            let seen = self.seen.get(&kind).copied().unwrap_or_default();
            let more = if seen > SHOWN { format!(" ({seen} in all)") } else { String::new() };
            let kind = output::stdout_style().strong(&kind.to_string());
            out.line(&format!("{kind}{more}: {}", hints::in_commands(remedy)))?;
        }
        out.line("")
    }
}

fn table<K: Display>(findings: &[Finding<K>]) -> Table {
    let mut table = tables::table(&["severity", "finding", "where", "what"]);
    for finding in findings {
        tables::add(
            &mut table,
            vec![
                coloured(finding.severity, colour(finding.severity)),
                cell(&finding.kind),
                cell(printable(&finding.at.to_string())),
                cell(printable(&finding.what)),
            ],
        );
    }
    table
}

/// A finding where the table does not fit: what a remedy asks for may be at the end of its text.
fn paragraph<K: Display>(finding: &Finding<K>, width: usize, out: &mut Out) -> io::Result<()> {
    let style = output::stdout_style();
    let severity = finding.severity.to_string();
    let severity = match finding.severity {
        Severity::Error => style.red(&severity),
        Severity::Warning => style.yellow(&severity),
        Severity::Notice => severity,
    };
    out.line(&format!("{severity}: {}", style.strong(&finding.kind.to_string())))?;
    for text in [&finding.at.to_string(), &finding.what] {
        let lines = tables::wrapped(&printable(text), width);
        lines.iter().try_for_each(|line| out.line(line))?;
    }
    out.line("")
}

fn colour(severity: Severity) -> Color {
    match severity {
        Severity::Error => Color::DarkRed,
        Severity::Warning => Color::DarkYellow,
        Severity::Notice => Color::DarkGrey,
    }
}
