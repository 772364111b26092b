//! Whether anybody forgotten can still be read from copies, dumps and logs.

use std::{fs, panic, path::PathBuf, thread};

use clap::Args;
use oubliette::audit::{
    Severity,
    drill::{self, DrillNews, DrillOptions, DrillReport, SHORTEST_GIVEN},
};
use serde::Serialize;

use super::{
    exit::{CliError, Exit},
    findings::Findings,
    open::Globals,
    output::{Out, count},
    watch::Watch,
};

/// Prove that copies are dead: can anybody forgotten still be read from these files?
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette drill /backups /var/log/bank dump.sql
  oubliette drill /backups --needles forgotten.txt --json > drill.ndjson

Give it everything that is a copy, or may hold one: backups, database dumps, old data folders, log
files, the disk image of a test system. Folders are searched with all that is in them; links are not
followed. It looks for what would bring somebody back, as whoever found the files would:

  roots        copies of the vault's root slot, at any byte of any file. An earlier root opens
               old copies of the vault: that is the one thing that must be physically gone.
  copies       of the vault's folder. Each is read under today's root, and under every root
               found anywhere in the paths: a key that an erasure destroyed must not be there.
  tokens       sealed parts, in JSON, SQL dumps, databases, anything. Those of the forgotten are
               tried under every destroyed key that was found.
  clear text   values that are sealed in the store, of at least 6 characters or digits, standing
               in clear: in a log, say. At most 50000 of them; none that stands in a public field,
               too. Of the forgotten nobody has the values any more but you: name them with
               --needles, one a line. No finding shows a value.

SQLite databases and files packed with gzip are looked into. Files that are encrypted with age are
named and passed over. Copies of the vault and databases are copied to the temporary folder (TMPDIR)
to be opened.

Exit code 0: nothing but notices; nobody forgotten can be read from this. 1: warnings or errors, each
with what to do about it; also where something cannot be looked into, so that nothing can be said.

In CI, after restoring last night's backups to /restored:
  oubliette --dir /srv/data drill /restored --needles forgotten.txt || alert")]
pub(super) struct DrillArgs {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Values that must not be found, one a line: names, addresses, numbers of the forgotten
    #[arg(long, value_name = "FILE")]
    needles: Option<PathBuf>,
}

pub(super) async fn run(globals: &Globals, args: DrillArgs, out: &mut Out) -> Result<(), CliError> {
    for path in &args.paths {
        if let Err(error) = fs::metadata(path) {
            return Err(CliError::usage(format!("{}: {error}", path.display())));
        }
    }
    let needles = args.needles.as_ref().map_or(Ok(Vec::new()), read_needles)?;
    let store = globals.open_to_audit().await?;
    let (slot, vault) = globals.places();
    let options = DrillOptions {
        paths: args.paths,
        needles,
        needles_file: args.needles,
        slots: slot.into_iter().collect(),
        vault: Some(vault),
    };
    // What the database says about a broken copy before it gives up is told as a finding.
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some(drill::THREAD) {
            before(info);
        }
    }));
    let mut watch = Watch::new(globals.json);
    let mut findings = Findings::new(globals.json);
    let drilled = store
        .drill(options, |news| match news {
            DrillNews::Found(finding) => findings.take(finding, out),
            DrillNews::Values { read } => watch.count(format!("{read} events read for values")),
            DrillNews::Searched { bytes, of, pass: 1 } => watch.part("searched", bytes, of),
            DrillNews::Searched { bytes, of, .. } => {
                watch.part("searched again, with destroyed keys", bytes, of);
            }
            _ => {}
        })
        .await;
    watch.finish();
    findings.tell(out)?;
    let report = drilled?;
    if globals.json {
        out.json(&Tagged { kind: "report", clean: report.is_clean(), report: &report })?;
    } else {
        in_words(&report).iter().try_for_each(|line| out.line(line))?;
    }
    if report.files == 0 {
        return Err(CliError::failed("there is no file in what was given: nothing was searched"));
    }
    if report.is_clean() { Ok(()) } else { Err(CliError::Told(Exit::Failed)) }
}

/// One value a line. A line that is too short is refused by its number, and not shown.
fn read_needles(path: &PathBuf) -> Result<Vec<String>, CliError> {
    let failed = |error| CliError::usage(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(failed)?;
    let mut needles = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let value = line.trim();
        if value.is_empty() {
            continue;
        }
        if value.chars().count() < SHORTEST_GIVEN {
            return Err(CliError::usage(format!(
                "{}, line {number}: at least {SHORTEST_GIVEN} characters, or it is everywhere",
                path.display()
            )));
        }
        needles.push(value.to_owned());
    }
    if needles.is_empty() {
        return Err(CliError::usage(format!("{} holds no value to search for", path.display())));
    }
    Ok(needles)
}

#[derive(Serialize)]
struct Tagged<'a> {
    kind: &'static str,
    clean: bool,
    #[serde(flatten)]
    report: &'a DrillReport,
}

fn in_words(report: &DrillReport) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} and {} searched for {}: {} of this vault, {} of its folder",
            count(report.files, "file"),
            count(report.bytes, "byte"),
            count(report.values, "value"),
            count(report.roots, "root"),
            match report.copies {
                1 => "1 copy".to_owned(),
                copies => format!("{copies} copies"),
            },
        ),
        format!(
            "{} of the living, {} shredded, {} of unknown keys",
            count(report.live, "sealed part"),
            report.shredded,
            report.unknown,
        ),
    ];
    if report.public_values > 0 {
        let values = count(report.public_values, "sealed value");
        lines.push(format!("{values} not searched for: public fields hold the same"));
    }
    if report.passed_over > 0 {
        let passed = count(report.passed_over, "link or special file");
        lines.push(format!("{passed} passed over"));
    }
    let [errors, warnings, notices] =
        [Severity::Error, Severity::Warning, Severity::Notice].map(|of| report.count(of));
    let counted = count(notices, "notice");
    lines.push(match (errors, warnings) {
        (0, 0) => format!("nobody who is forgotten can be read from this; {counted}"),
        _ => format!("{}, {}, {counted}", count(errors, "error"), count(warnings, "warning")),
    });
    lines
}
