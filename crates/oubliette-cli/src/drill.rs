//! Whether anybody forgotten can still be read from copies, dumps and logs.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::{Args, Parser};
use oubliette::audit::{
    Severity,
    drill::{self, CopyReader, DrillOptions, DrillProgress, DrillReport, Leak, SHORTEST_GIVEN},
};
use oubliette_folder::StorePlace;

use super::{
    exit::{CliError, Exit},
    findings::Findings,
    open::Globals,
    output::{Out, count, note},
    report::Report,
    watch::Watch,
};

/// Search copies, dumps and logs for what was forgotten
///
/// Can anybody forgotten still be read from these files?
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette drill /backups /var/log/bank dump.sql
  oubliette drill /backups --needles forgotten.txt --json > drill.ndjson

Give it everything that is a copy, or may hold one: backups, database dumps, old
data folders, log files, the disk image of a test system. Folders are searched
with all that is in them; links are not followed. It looks for what would bring
somebody back, as whoever found the files would:

  roots        copies of the vault's root slot, at any byte of any file. An
               earlier root opens old copies of the vault: that is the one thing
               that must be physically gone.
  copies       of the vault's folder. Each is read under today's root, and under
               every root found anywhere in the paths: a key that an erasure
               destroyed must not be there.
  tokens       sealed parts, in JSON, SQL dumps, databases, anything. Those of
               the forgotten are tried under every destroyed key that was found.
  clear text   values that are sealed in the store, of at least 6 characters or
               digits, standing in clear: in a log, say. At most 50000 of them;
               none that stands in a public field, too; no common words, to
               which --ignore adds. Case, composition (NFC, NFD) and escapes do
               not matter. Of the forgotten nobody has the values any more but
               you: name them with --needles, one a line. No finding shows any
               of them.

What is packed with gzip, zlib or zip, or written in base64 or hexadecimal
digits, is searched wherever it begins, also in each other. What cannot be
looked into is told as that. Nothing that is searched is opened for writing.
Copies of the vault are copied to the temporary folder (TMPDIR) and opened there
by a process that has no rights but on that copy.

Where the event store is at a server, name the server's data folder among the
paths, and its dumps: its disk is not looked into otherwise.

Exit code 0: everything was looked into, and there are nothing but notices. 1:
warnings or errors, each with what to do about it; also where something was not
looked into, so that nothing can be said.

In CI, after restoring last night's backups to /restored:
  oubliette --dir /srv/data drill /restored --needles forgotten.txt || alert")]
pub(super) struct DrillArgs {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Values that must not be found, one a line: names, addresses, numbers of the forgotten
    #[arg(long, value_name = "FILE")]
    needles: Option<PathBuf>,
    /// Words that are no leak wherever they stand, one a line, besides a list of common ones
    #[arg(long, value_name = "FILE")]
    ignore: Option<PathBuf>,
    /// How many bytes may come out of a packed file for each that it has [default: 256]
    #[arg(long, value_name = "RATIO")]
    unpack: Option<u64>,
    /// Open copies of the vault even where the system cannot confine the process that does
    #[arg(long)]
    unconfined: bool,
}

/// How the process that opens a copy is started.
#[derive(Debug, Parser)]
pub(super) struct ReaderArgs {
    folder: PathBuf,
    #[arg(long)]
    unconfined: bool,
}

pub(super) fn reader(args: &ReaderArgs) -> Exit {
    match drill::read_copy(&args.folder, args.unconfined) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

pub(super) async fn run(globals: &Globals, args: DrillArgs, out: &mut Out) -> Result<(), CliError> {
    for path in &args.paths {
        if let Err(error) = fs::metadata(path) {
            return Err(CliError::usage(format!("{}: {error}", path.display())));
        }
    }
    let needles = args.needles.as_ref().map_or(Ok(Vec::new()), |file| {
        let least = "or it is everywhere";
        read_lines(file, SHORTEST_GIVEN, least)
    })?;
    let ignore = args.ignore.as_ref().map_or(Ok(Vec::new()), |file| read_lines(file, 1, ""))?;
    let store = globals.open_to_audit().await?;
    let (slot, vault) = globals.places();
    if let StorePlace::Address(address) = globals.folder().store_place() {
        let text = format!(
            "the event store is at {address}: its events are read for values that must not be found, but of what the \
             server has on disk only the given paths are searched; give its data folder, its dumps and its backups"
        );
        note(globals.json, &text);
    }
    let options = DrillOptions {
        paths: args.paths,
        needles,
        needles_file: args.needles,
        slots: slot.into_iter().collect(),
        vault: Some(vault),
        ignore,
        reader: CopyReader::Program { program: env::current_exe()?, unconfined: args.unconfined },
        unpack: args.unpack,
    };
    let mut watch = Watch::new(globals.json);
    let mut findings = Findings::new(globals.json);
    let drilled = store
        .drill(options, |news| match news {
            DrillProgress::Found(finding) => findings.take(finding, out),
            DrillProgress::Values { read } => {
                watch.count(format!("{} read for values", count(read, "event")));
            }
            DrillProgress::Searched { bytes, of, pass: 1 } => watch.part("searched", bytes, of),
            DrillProgress::Searched { bytes, of, .. } => {
                watch.part("searched again, with destroyed keys", bytes, of);
            }
            _ => {}
        })
        .await;
    watch.finish();
    findings.tell(out)?;
    let report = drilled?;
    if globals.json {
        let (clean, found) = (report.is_clean(), &report.found);
        out.json(&Report { clean, report: &report, found })?;
    } else {
        in_words(&report).iter().try_for_each(|line| out.line(line))?;
    }
    if report.files == 0 {
        return Err(CliError::failed("there is no file in what was given: nothing was searched"));
    }
    if report.is_clean() { Ok(()) } else { Err(CliError::Told(Exit::Failed)) }
}

/// One value a line. A line that is too short is refused by its number, and not shown.
fn read_lines(path: &Path, shortest: usize, why: &str) -> Result<Vec<String>, CliError> {
    let bytes = fs::read(path).map_err(|e| CliError::usage(format!("{}: {e}", path.display())))?;
    let text = decode(&bytes).ok_or_else(|| {
        CliError::usage(format!("{} is neither UTF-8 nor UTF-16 with its mark", path.display()))
    })?;
    let mut values = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let value = line.trim();
        if value.is_empty() {
            continue;
        }
        if value.chars().count() < shortest {
            return Err(CliError::usage(format!(
                "{}, line {number}: at least {shortest} characters, {why}",
                path.display()
            )));
        }
        values.push(value.to_owned());
    }
    if values.is_empty() {
        return Err(CliError::usage(format!("{} holds no value", path.display())));
    }
    Ok(values)
}

/// Text, without the mark that some programs write before it.
fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

fn in_words(report: &DrillReport) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} and {} searched, and {} that came out of them, for {}: {} of this vault, {} of its \
             folder",
            count(report.files, "file"),
            count(report.bytes, "byte"),
            count(report.unpacked, "byte"),
            count(report.values, "value"),
            count(report.roots, "root"),
            count(report.copies, "copy"),
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
    if report.ignored_values + report.short_values > 0 {
        let (ignored, short) = (count(report.ignored_values, "common word"), report.short_values);
        lines.push(format!(
            "{ignored} and {short} of fewer than 6 letters or digits not searched for"
        ));
    }
    if report.passed_over > 0 {
        let passed = count(report.passed_over, "entry");
        lines
            .push(format!("{passed} passed over: links, pipes or sockets, with nothing to search"));
    }
    let [errors, warnings, notices] =
        [Severity::Error, Severity::Warning, Severity::Notice].map(|of| report.count(of));
    let counted = count(notices, "notice");
    lines.push(match (errors, warnings) {
        (0, 0) => format!("nothing of the forgotten was found in what was searched; {counted}"),
        (0, _) if report.found.contains_key(&Leak::NotLookedInto) => format!(
            "{}, {counted}; not everything was looked into, so nothing is said about the whole",
            count(warnings, "warning")
        ),
        _ => format!("{}, {}, {counted}", count(errors, "error"), count(warnings, "warning")),
    });
    lines
}
