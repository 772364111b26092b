//! Reading: one stream, all streams, and whatever comes. `skipping` says what it may pass over.

mod skipping;

use clap::Args;
use comfy_table::{Cell, Color, Table};
use futures::{StreamExt, TryStreamExt};
use oubliette::{
    event::{
        Content, EventType, Payload, Position, RecordedEvent, Revision, Shredded, StreamName,
        Tombstone, Withheld,
    },
    store::{Delivery, Direction, EventStore, EventStream, Filter, ReadAllOptions, ReadOptions},
};

use skipping::{Behind, Skipped};

use super::{
    clock::utc,
    exit::CliError,
    open::{Globals, Store},
    output::{self, Out, agree, note, printable},
    rows, signals,
    tables::{self, cell, coloured, number},
};

/// How many events one table holds: each has its header, so that long reads need little memory
/// and a screen of them is never without one.
const TABLE: usize = 1000;

/// Read one stream
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette read user-456
  oubliette read user-456 --backwards --limit 1  (the last event)
  oubliette read user-456 --from 10 --json
  oubliette read user-456 --no-vault             (what is public)
  oubliette read user-public-456
      (the public half of a split stream)

A payload that cannot be read says why: `shredded` is gone for good, `withheld`
is what this reader may not open now. `--json` writes rows that `import` takes.")]
pub(super) struct ReadArgs {
    /// The stream
    stream: StreamName,
    /// The first revision to show
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    #[command(flatten)]
    how: How,
}

/// Read all streams, in the order in which events were appended
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette read-all --limit 20
  oubliette read-all --backwards --limit 20   (the newest)
  oubliette read-all --after 1000             (what came after that position)
  oubliette read-all --json > events.ndjson   (`import` takes it back)
  oubliette read-all --skip-unreadable        (past events whose key is lost)

--skip-unreadable passes over damage of single events. What a vault says of
itself, for instance that an erasure was undone, still ends the reading.")]
pub(super) struct ReadAllArgs {
    /// Only events after this position, as the store wrote it (with --backwards, before it)
    #[arg(long, value_name = "POSITION")]
    after: Option<Position>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// At most this many events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// From the newest to the oldest
    #[arg(long)]
    backwards: bool,
    /// Pass over damaged events, and count them
    ///
    /// Also those whose key is lost. Without it reading ends at the first of them. `verify` tells what is wrong
    /// with each. Reading ends all the same at what a vault says, such as that an erasure of its own was undone,
    /// and at what a newer program wrote.
    #[arg(long)]
    skip_unreadable: bool,
}

impl How {
    fn direction(&self) -> Direction {
        if self.backwards { Direction::Backwards } else { Direction::Forwards }
    }
}

/// Show what is there, then what comes, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette subscribe
  oubliette subscribe --stream-prefix account- --type MoneyDeposited --json
  oubliette subscribe --after 1000 --until-caught-up

With --json, {\"caught_up\":true} stands between what was there and what comes. A
vault has one process at a time: to watch while others write, use --no-vault.")]
pub(super) struct SubscribeArgs {
    /// Only events after this position, as the store wrote it
    #[arg(long, value_name = "POSITION")]
    after: Option<Position>,
    /// Only streams whose names begin so, or with another of these
    #[arg(long, value_name = "PREFIX")]
    stream_prefix: Vec<String>,
    /// Only events of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<EventType>,
    /// End once all that is there has been shown
    #[arg(long)]
    until_caught_up: bool,
    /// Pass over damaged events, and count them
    ///
    /// As `read-all` does.
    #[arg(long)]
    skip_unreadable: bool,
}

pub(super) async fn stream(
    globals: &Globals,
    args: &ReadArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let store = globals.open_to_read().await?;
    let options = ReadOptions {
        from: args.from.map(Revision),
        direction: args.how.direction(),
        limit: args.how.limit,
    };
    let read = |behind: Option<&Behind>, limit| {
        let from = match (behind, args.how.backwards) {
            (None, _) => options.from,
            (Some(behind), false) => Some(Revision(behind.revision?.0.checked_add(1)?)),
            (Some(behind), true) => Some(Revision(behind.revision?.0.checked_sub(1)?)),
        };
        Some(store.read(&args.stream, ReadOptions { from, limit, ..options }))
    };
    let shown = show(globals, out, &args.how, read, Columns::OneStream).await?;
    if shown == 0 && !globals.json {
        note(false, &format!("no events in {} there", args.stream));
    }
    tell_unsealed(globals, &store);
    Ok(())
}

pub(super) async fn all(
    globals: &Globals,
    args: &ReadAllArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let store = globals.open_to_read().await?;
    let options = ReadAllOptions {
        after: args.after,
        direction: args.how.direction(),
        limit: args.how.limit,
    };
    let read = |behind: Option<&Behind>, limit| {
        let after = behind.map_or(options.after, |behind| Some(behind.position));
        Some(store.read_all(ReadAllOptions { after, limit, ..options }))
    };
    let shown = show(globals, out, &args.how, read, Columns::AllStreams).await?;
    if shown == 0 && !globals.json {
        note(false, "no events there");
    }
    tell_unsealed(globals, &store);
    Ok(())
}

fn tell_unsealed(globals: &Globals, store: &Store) {
    let unsealed = store.unsealed();
    if unsealed > 0 && !globals.json {
        note(
            false,
            &format!(
                "{} never sealed: stored before this layer was there",
                output::count(unsealed, "event")
            ),
        );
    }
    let unvouched = store.unvouched();
    if unvouched > 0 && !globals.json {
        note(
            false,
            &format!(
                "{} newer than this vault, which was put back: nobody can vouch for {}",
                output::count(unvouched, "event"),
                agree(unvouched, "it", "them"),
            ),
        );
    }
}

/// A page of events is read by looking down it, one line each; but nobody should take a cut payload for a whole one.
const CUT: &str = "what ends in … is cut where the terminal ends; `--json`, or a pipe such as `| less`, shows it whole";

/// Writes events; returns how many. `read` begins to read, or goes on behind an event that cannot be opened.
async fn show(
    globals: &Globals,
    out: &mut Out,
    how: &How,
    read: impl Fn(Option<&Behind>, Option<usize>) -> Option<EventStream>,
    columns: Columns,
) -> Result<u64, CliError> {
    let Some(mut events) = read(None, how.limit) else { return Ok(0) };
    let (mut shown, mut skipped) = (0, Skipped::default());
    let mut table = columns.table();
    let mut is_cut = false;
    let mut result = Ok(());
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => break,
            // After what was read before it.
            Err(error) => {
                let behind =
                    if how.skip_unreadable { skipped.pass(globals.json, &error) } else { None };
                let Some(behind) = behind else {
                    result = Err(CliError::from(error));
                    break;
                };
                let left = how.limit.map(|limit| limit.saturating_sub(shown));
                match read(Some(&behind), left) {
                    Some(more) => events = more,
                    None if behind.revision.is_some() => break,
                    None => {
                        result = Err(CliError::from(error));
                        break;
                    }
                }
                continue;
            }
        };
        shown += 1;
        if globals.json {
            out.line(&rows::write(&event))?;
            continue;
        }
        columns.add(&mut table, &event);
        if table.row_count() == TABLE {
            is_cut |= out.cut_table(std::mem::replace(&mut table, columns.table()))?;
            out.line("")?;
        }
    }
    if !table.is_empty() {
        is_cut |= out.cut_table(table)?;
    }
    let flushed = out.flush();
    if is_cut {
        note(false, CUT);
    }
    skipped.tell(globals.json);
    // That reading failed is told, whoever reads what came before.
    result?;
    flushed?;
    Ok(shown as u64)
}

pub(super) async fn subscribe(
    globals: &Globals,
    args: &SubscribeArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let store = globals.open_to_read().await?;
    let filter = Filter {
        stream_prefixes: args.stream_prefix.clone(),
        event_types: args.event_type.clone(),
    };
    let mut skipped = Skipped::default();
    let shown = deliver(globals, args, &store, &filter, &mut skipped, out).await;
    skipped.tell(globals.json);
    shown
}

async fn deliver(
    globals: &Globals,
    args: &SubscribeArgs,
    store: &Store,
    filter: &Filter,
    skipped: &mut Skipped,
    out: &mut Out,
) -> Result<(), CliError> {
    let mut deliveries = store.subscribe(args.after, filter.clone()).peekable();
    let mut interrupt = std::pin::pin!(signals::asked_to_end());
    // It would hold the vault for nobody until the next event comes.
    let mut unread = std::pin::pin!(output::nobody_reads());
    loop {
        // Before waiting, everything is handed on.
        if futures::poll!(std::pin::Pin::new(&mut deliveries).peek()).is_pending() {
            out.flush()?;
        }
        let delivery = tokio::select! {
            biased;
            signal = &mut interrupt => return Ok(signal.map(drop)?),
            delivery = deliveries.next() => delivery,
            () = &mut unread => return Ok(()),
        };
        let delivery = match delivery.transpose() {
            Ok(delivery) => delivery,
            Err(error) => {
                let behind =
                    if args.skip_unreadable { skipped.pass(globals.json, &error) } else { None };
                let Some(behind) = behind else { return Err(error.into()) };
                deliveries = store.subscribe(Some(behind.position), filter.clone()).peekable();
                continue;
            }
        };
        match delivery {
            None => return Ok(()),
            Some(Delivery::Event(event)) if globals.json => out.line(&rows::write(&event))?,
            Some(Delivery::Event(event)) => out.line(&line(&event))?,
            Some(Delivery::CaughtUp) => {
                if globals.json {
                    out.line("{\"caught_up\":true}")?;
                } else if !args.until_caught_up {
                    out.flush()?;
                    note(false, "caught up; waiting for what comes, Ctrl-C ends it");
                }
                if args.until_caught_up {
                    return Ok(());
                }
            }
        }
    }
}

/// An event on one line, where no table can be made because it is not known what comes.
fn line(event: &RecordedEvent) -> String {
    let state = state(event);
    format!(
        "{:>8}  {}@{}  {}  {}  {}",
        event.position,
        output::stdout_style().strong(event.stream.as_str()),
        event.revision,
        event.event_type,
        state.paint(),
        body(event)
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Columns {
    OneStream,
    AllStreams,
}

impl Columns {
    fn table(self) -> Table {
        tables::table(match self {
            Self::OneStream => &["rev", "recorded (UTC)", "type", "state", "data"],
            Self::AllStreams => &["position", "stream", "rev", "type", "state", "data"],
        })
    }

    fn add(self, table: &mut Table, event: &RecordedEvent) {
        let state = state(event);
        let cells: Vec<Cell> = match self {
            Self::OneStream => vec![
                number(event.revision),
                cell(utc(event.recorded)),
                cell(&event.event_type),
                coloured(state.name, state.colour),
                cell(body(event)),
            ],
            Self::AllStreams => vec![
                number(event.position),
                cell(&event.stream),
                number(event.revision),
                cell(&event.event_type),
                coloured(state.name, state.colour),
                cell(body(event)),
            ],
        };
        tables::add(table, cells);
    }
}

struct State {
    name: &'static str,
    colour: Color,
}

impl State {
    fn paint(&self) -> String {
        let style = output::stdout_style();
        match self.colour {
            Color::DarkGreen => style.green(self.name),
            Color::DarkRed => style.red(self.name),
            Color::DarkMagenta => style.magenta(self.name),
            _ => style.yellow(self.name),
        }
    }
}

fn state(event: &RecordedEvent) -> State {
    let (name, colour) = match event.content() {
        Content::Clear(_) => ("clear", Color::DarkGreen),
        Content::Partial { shredded: [], .. } => ("partly withheld", Color::DarkYellow),
        Content::Partial { .. } => ("partly shredded", Color::DarkYellow),
        Content::Shredded(_) => ("shredded", Color::DarkRed),
        Content::Withheld(_) => ("withheld", Color::DarkYellow),
        Content::Tombstone(_) => ("tombstone", Color::DarkMagenta),
        Content::Unverified(_) => ("not vouched for", Color::DarkYellow),
    };
    State { name, colour }
}

/// What there is to see of an event, and what is missing.
fn body(event: &RecordedEvent) -> String {
    match event.content() {
        Content::Clear(data) => payload(data),
        Content::Partial { data, shredded, withheld } => {
            format!("{}  ({})", payload(data), missing(shredded, withheld))
        }
        Content::Shredded(shredded) => missing(shredded, &[]),
        Content::Withheld(withheld) => missing(&event.shredded, withheld),
        Content::Tombstone(tombstone) => epitaph(tombstone),
        Content::Unverified(_) => {
            "of a tombstone's type, and nobody vouches for it here".to_owned()
        }
    }
}

fn payload(data: &Payload) -> String {
    match data {
        Payload::Json(json) => printable(json.as_str()),
        Payload::Bytes(bytes) => output::count(bytes.len() as u64, "byte"),
    }
}

fn missing(shredded: &[Shredded], withheld: &[Withheld]) -> String {
    let fields = |fields: &[String]| match fields {
        [all] if all == "*" => String::new(),
        fields => format!("{} ", printable(&fields.join(" "))),
    };
    let gone = shredded.iter().map(|part| {
        let before = if part.copied { " (before it was copied)" } else { "" };
        format!("{}forgotten {}{before}", fields(&part.fields), part.day)
    });
    let kept =
        withheld.iter().map(|part| format!("{}withheld: {}", fields(&part.fields), part.why));
    gone.chain(kept).collect::<Vec<_>>().join(", ")
}

fn epitaph(tombstone: &Tombstone) -> String {
    let who = match &tombstone.subject {
        Some(subject) => subject.to_string(),
        None => "someone".to_owned(),
    };
    // The day first: a narrow terminal cuts the rest, which `erasures --stream` prints whole.
    format!(
        "forgotten {}: {who}, ref {}, {}",
        tombstone.day,
        tombstone.reference,
        output::count(tombstone.keys.len() as u64, "key")
    )
}
