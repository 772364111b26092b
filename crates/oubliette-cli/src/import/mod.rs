//! Importing rows: many at a time, in constant memory, one bad line costing only itself.
//!
//! [`lines`] reads and understands, on a thread of its own; [`appending`] appends what it hands over
//! and sees to what is refused; this module counts and tells.

mod appending;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod lines;

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, IsTerminal, Read, stderr, stdin},
    path::{Path, PathBuf},
};

use clap::Args;
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use oubliette::store::{Capability, EventStore, ReadAllOptions};
use serde::Serialize;
use tokio::sync::mpsc;

use super::rows::NOT_TAKEN;
use super::{
    exit::{CliError, Exit},
    open::{Globals, Store},
    output::{Out, agree, clean, count, note, printable, stderr_style, to_stderr},
};
use appending::{Appender, Outcome};
use lines::{Batch, Ids, Lines, Stop, What};

/// Import events, one JSON object a line (NDJSON)
#[derive(Debug, Args)]
#[command(after_help = "\
A row is {\"stream\",\"type\",\"data\",\"subject\"?,\"id\"?,\"metadata\"?}; what `read
--json` writes is one, too. `data` is kept as it is spelled. A payload that is
not JSON stands in \"bytes\", as base64, in place of \"data\".

Examples:
  oubliette import events.ndjson --policy policy.toml
  oubliette read-all --json | oubliette --dir elsewhere import -
  generate | oubliette import - --source nightly-2026-05-03

When a line is bad, later lines of its stream are not imported: owners depend on
the order of events. Repair it and repeat the same import. A line of which not
even the stream can be told costs only itself.

A row without an id gets one from the name of its source and its line number, so
that the same import may be repeated, also after a crash: what is there already
is not doubled. The name is the file's absolute path, unless --source says
another: say one where the file may move, or its lines change. The same rows
under another path would be stored twice.

With --keep-times a row that has `recorded` and `revision` keeps both.
`oubliette migrate` copies a store that this program can read by itself.

It has no dry run. `oubliette policy check POLICY --sample FILE` reads the same
rows, says which are bad or would be refused, and stores nothing.

With --policy the rows are imported under that policy. The folder adopts it
before the first of them is stored. If all are refused, it keeps its own.

Bad lines are listed with their numbers and reasons, and other streams go on.
Exit code 1 if there were any; 4 if none was bad, but some belong to forgotten
subjects and were refused.")]
pub(super) struct ImportArgs {
    /// The file; `-` is stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// The name from which rows without an id get theirs; the file's absolute path without it
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    source: Option<String>,
    /// Take rows with shredded or withheld parts, too: what is readable of them is sealed anew, and
    /// what is missing stays missing and says so. Tombstones are passed over
    #[arg(long)]
    with_holes: bool,
    /// Keep when each event was recorded, and its revision
    ///
    /// Of rows that have `recorded` and `revision`, as `read-all --json` writes them. Rows without `recorded` are
    /// imported as always. Revisions must follow those that are there.
    #[arg(long, conflicts_with = "with_holes")]
    keep_times: bool,
    /// What people look for; it says what there is instead
    #[arg(long, hide = true)]
    dry_run: bool,
}

/// How it went.
#[derive(Debug, Default, Serialize)]
struct Summary {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    lines: u64,
    imported: u64,
    already: u64,
    forgotten: u64,
    bad: u64,
    /// Behind a bad line of their stream.
    held: u64,
    skipped: u64,
    /// How many lines say of their event what the store says anew, by the member that says it.
    not_taken: BTreeMap<&'static str, u64>,
    /// The first line whose payload is JSON within a text.
    #[serde(skip)]
    in_text: Option<u64>,
    /// Rows whose ids were made of the source.
    #[serde(skip)]
    made_ids: MadeIds,
}

#[derive(Debug, Default)]
struct MadeIds {
    imported: u64,
    already: u64,
}

pub(super) async fn run(
    globals: &Globals,
    args: ImportArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    if args.dry_run {
        return Err(CliError::usage("import has no dry run").with_hint(
            "`oubliette policy check POLICY --sample FILE` reads the same rows, says which are bad or would be \
             refused, and stores nothing",
        ));
    }
    let input = Input::open(&args.file, args.source.is_some())?;
    let of_path = args.source.is_none();
    let source = args.source.or_else(|| input.name.clone());
    let (store, mut adoption) = globals.open_or_create().await?;
    if args.keep_times && !store.capabilities().has(Capability::Restore) {
        return Err(CliError::usage(
            "--keep-times asks for times and revisions to be kept, and this event store cannot: leave it out",
        ));
    }
    let had_streams = of_path && has_streams(&store).await;

    let watch = Watch::new(globals.json, input.bytes);
    let ids = source.as_deref().map(Ids::of);
    let lines = Lines::new(input.reader, ids, args.with_holes, input.bytes.is_none());
    let mut lines = lines.keeping_times(args.keep_times);
    // One batch is read while another is appended.
    let (sender, mut batches) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || {
        loop {
            let batch = lines.next_batch();
            let last = !matches!(batch, Ok(Some(_)));
            if sender.blocking_send(batch).is_err() || last {
                return;
            }
        }
    });

    let mut summary = Summary { source, ..Summary::default() };
    let mut appender = Appender::new(store.clone());
    let ended = loop {
        let batch = match batches.recv().await {
            Some(Ok(Some(batch))) => batch,
            Some(Ok(None)) | None => break Ok(()),
            Some(Err(stop)) => break Err(stop.told("")),
        };
        let taken = async {
            if batch.has_events() {
                adoption.begin(&store).await?;
            }
            let stored = take(globals.json, &mut appender, batch, &mut summary, &watch, out).await;
            match &stored {
                Ok(false) => adoption.put_back(&store).await?,
                _ => adoption.keep(),
            }
            stored
        };
        if let Err(error) = taken.await {
            break Err(error);
        }
    };
    drop(batches);
    watch.finish();
    // The thread ends with its next batch; on a terminal's stdin that may be never.
    reading.abort();
    if !summary.not_taken.is_empty() {
        let (not_taken, said) = (&summary.not_taken, summary.not_taken.iter());
        let said = said.map(|(name, rows)| format!("`{name}` of {}", count(*rows, "row")));
        let would_be = ["recorded", "revision"].iter().all(|name| not_taken.contains_key(name));
        let text = format!(
            "not taken: {}. The store numbers and dates what it stores: put what you need of it into the payload{}",
            said.collect::<Vec<_>>().join(", "),
            if would_be {
                ", or say --keep-times, which keeps `recorded` and `revision`"
            } else {
                ""
            }
        );
        note(globals.json, &text);
    }
    tell(globals.json, &summary, out)?;
    if had_streams && summary.made_ids.imported > 0 && summary.made_ids.already == 0 {
        tell_of_path(globals.json, &summary);
    }
    match ended {
        Err(error) => Err(error.with_hint(
            "what was imported stays; repeat the same import, and what is there is not doubled",
        )),
        Ok(()) if summary.bad + summary.held > 0 => Err(CliError::Told(Exit::Failed)),
        Ok(()) if summary.forgotten > 0 => Err(CliError::Told(Exit::Forgotten)),
        Ok(()) => Ok(()),
    }
}

/// Places a batch. Returns whether any of its events is in the store now.
async fn take(
    json: bool,
    appender: &mut Appender,
    batch: Batch,
    summary: &mut Summary,
    watch: &Watch,
    out: &mut Out,
) -> Result<bool, CliError> {
    let end = batch.end;
    let mut made_ids = HashSet::new();
    for line in &batch.lines {
        if matches!(line.what, What::Event { made_id: true, .. }) {
            made_ids.insert(line.number);
        }
        for (name, _) in NOT_TAKEN.iter().zip(line.not_taken).filter(|(_, said)| *said) {
            *summary.not_taken.entry(name).or_default() += 1;
        }
        if line.in_text && summary.in_text.is_none() {
            summary.in_text = Some(line.number);
            let told = format!(
                "line {}: `data` is a text that holds JSON, and is sealed as a text: no pointer of the \
                 policy leads into it, no owner is read from it; if it comes from a column of text, put its \
                 JSON in place of the text (said once)",
                line.number
            );
            watch.aside(|| note(json, &told));
        }
    }
    let (outcomes, failed) = appender.place(batch).await;
    let there = |outcome: &Outcome| matches!(outcome, Outcome::Imported | Outcome::Already);
    let stored = outcomes.iter().any(|(_, outcome)| there(outcome));
    for (line, outcome) in outcomes {
        summary.lines += 1;
        match outcome {
            Outcome::Imported if made_ids.contains(&line) => summary.made_ids.imported += 1,
            Outcome::Already if made_ids.contains(&line) => summary.made_ids.already += 1,
            _ => {}
        }
        let (count, what) = match &outcome {
            Outcome::Imported => (&mut summary.imported, None),
            Outcome::Already => (&mut summary.already, None),
            Outcome::Skipped => (&mut summary.skipped, None),
            Outcome::Forgotten(why) => (&mut summary.forgotten, Some(("forgotten", why.as_str()))),
            Outcome::Bad(why) => (&mut summary.bad, Some(("bad", why.as_str()))),
            Outcome::Held => (&mut summary.held, Some(("held", HELD))),
        };
        *count += 1;
        let Some((what, why)) = what else { continue };
        if json {
            out.json(&serde_json::json!({"line": line, "outcome": what, "reason": why}))?;
        } else {
            let line = stderr_style().strong(&format!("line {line}:"));
            watch.aside(|| to_stderr(&format!("{line} {}", clean(why))));
        }
    }
    watch.at(end, summary.lines);
    failed.map_or(Ok(stored), |error| Err(error.into()))
}

fn tell(json: bool, summary: &Summary, out: &mut Out) -> Result<(), CliError> {
    let Summary { imported, already, forgotten, bad, held, skipped, .. } = summary;
    let mut words = format!("{imported} imported, {already} already there, {bad} bad");
    if *held > 0 {
        let behind = agree(*held, "a bad line of its stream", "bad lines of their streams");
        words.push_str(&format!(", {held} held back behind {behind}"));
    }
    if *forgotten > 0 {
        words.push_str(&format!(", {forgotten} refused (subject forgotten)"));
    }
    if *skipped > 0 {
        words.push_str(&format!(", {} passed over", count(*skipped, "tombstone")));
    }
    out.did(&words);
    if json {
        out.json(summary)?;
    } else {
        out.line(&words)?;
        if let Some(source) = &summary.source
            && summary.made_ids.imported + summary.made_ids.already > 0
        {
            out.line(&format!(
                "rows without an id got theirs from the source {}",
                printable(source)
            ))?;
        }
    }
    Ok(())
}

/// Whether anything is in the folder: what cannot be read is there as well.
async fn has_streams(store: &Store) -> bool {
    let first = ReadAllOptions { limit: Some(1), ..ReadAllOptions::default() };
    !matches!(store.read_all(first).try_next().await, Ok(None))
}

/// A path is a name that changes: nobody can see from the rows that they were imported under another one.
fn tell_of_path(json: bool, summary: &Summary) {
    let text = format!(
        "{} without an id got theirs from the file's path. If these rows were imported under another path before, \
         they are stored twice now: --source NAME gives rows a name that stays",
        count(summary.made_ids.imported, "row")
    );
    note(json, &text);
}

/// Why a line that is not bad itself is not imported.
const HELD: &str = "not imported: an earlier line of its stream is bad";

/// Where the rows come from.
struct Input {
    reader: Box<dyn Read + Send>,
    /// The file's path; stdin and other pipes have no name.
    name: Option<String>,
    /// How many bytes there are, where that is known.
    bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path, named: bool) -> Result<Self, CliError> {
        if path.as_os_str() == "-" {
            return Ok(Self { reader: Box::new(stdin()), name: None, bytes: None });
        }
        let failed = |error| CliError::failed(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(CliError::usage(format!("{} is a folder", path.display())));
        }
        // A pipe with a name gives other rows each time.
        let name = if named || !about.is_file() { None } else { name_of(path)? };
        let bytes = about.is_file().then_some(about.len());
        Ok(Self { reader: Box::new(file), name, bytes })
    }
}

/// The path of a file that is open, as a name for its rows. `None`: it is only a number of this process's, that of
/// a pipe which a shell gave it (`import <(…)`, `import /dev/stdin`), and the next pipe has the same.
fn name_of(path: &Path) -> Result<Option<String>, CliError> {
    let full = match path.canonicalize() {
        Ok(full) => full,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::failed(format!("{}: {error}", path.display()))),
    };
    if full.starts_with("/dev/fd") || full.starts_with("/proc") {
        return Ok(None);
    }
    // Two files could share a name that stands for both, and their rows the ids.
    full.into_os_string().into_string().map(Some).map_err(|_| {
        CliError::usage(format!("the path of {} is not UTF-8 text", path.display()))
            .with_hint("say --source NAME, from which rows without an id get theirs")
    })
}

impl Stop {
    /// As an error; `of` says of what the lines are, where that is not plain.
    pub(crate) fn told(self, of: &str) -> CliError {
        match self {
            Self::NoSource(line) => CliError::usage(format!(
                "line {line}{of} has no id, and stdin, as any pipe, has no name to make one from: say --source NAME"
            )),
            Self::NotRows(line) => CliError::usage(format!(
                "line {line}{of} is no row: import takes NDJSON, one JSON object a line, such as \
                 {{\"stream\":\"user-456\",\"type\":\"UserRegistered\",\"data\":{{}}}}"
            ))
            .with_hint(
                "convert CSV and the like first; `jq -c` makes lines of objects that are laid out over \
                 several, `jq -c '.[]'` of a list",
            ),
            Self::Io(error) => CliError::failed(format!("the input cannot be read: {error}")),
        }
    }
}

/// Progress, where somebody watches.
struct Watch(Option<ProgressBar>);

impl Watch {
    fn new(json: bool, bytes: Option<u64>) -> Self {
        if json || !stderr().is_terminal() {
            return Self(None);
        }
        let (bar, template) = match bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{wide_bar} {binary_bytes}/{binary_total_bytes} {msg} {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    fn at(&self, bytes: u64, lines: u64) {
        if let Some(bar) = &self.0 {
            bar.set_message(count(lines, "line"));
            if bar.length().is_some() {
                bar.set_position(bytes);
            } else {
                bar.tick();
            }
        }
    }

    /// Says something without the bar in the way.
    fn aside(&self, say: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
