//! New keys: for one subject, for all that is old, or at the root.

use std::io::{IsTerminal, stderr, stdin};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Span;
use oubliette::{
    event::{Subject, Timestamp},
    layer::{Sweeping, Swept},
};
use serde_json::json;

use super::{
    clock::{from_now, span, time},
    exit::CliError,
    open::{Globals, Store},
    output::{self, Out, stderr_style, stdout_style, to_stderr},
};

/// Begin new keys for what is sealed from now on
///
/// Everything that is there still opens.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette rotate user-456
  oubliette rotate --older-than 1y --yes
      (for a yearly job; or 90d, 6mo, '2y 6mo')
  oubliette rotate --older-than 0s --yes
      (everybody: after somebody saw the keys)
  oubliette rotate --root-key

A subject's new events, in all their streams, are sealed under new keys from
then on. Older keys stay, deactivated: they open what they sealed. Nothing is
encrypted anew, nobody is forgotten by it, and a forgetting reaches old and new
keys alike. Subjects whose keys are old enough are rotated as a whole. It may be
broken off and repeated: who was rotated is not rotated again. Long before a key
has sealed 2^32 payloads this happens by itself.

--root-key replaces the root key in the root slot, and no other: older copies of
the slot open nothing that is written from then on under fresh keys. Who has
read the old slot AND the vault's folder knows the other keys, too; --older-than
0s replaces all that seal, with the pages they stand in. Copies of the root slot
are outdated after each of the three: destroy them.")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct RotateArgs {
    /// Whose keys
    #[arg(group = "what")]
    subject: Option<Subject>,
    /// The root key alone
    #[arg(long, group = "what")]
    root_key: bool,
    /// Everybody whose keys are older than this: 1y, 6mo, 90d, 12h; also keys made while the clock was ahead
    #[arg(long, value_name = "AGE", group = "what", value_parser = age)]
    older_than: Option<Span>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

fn age(text: &str) -> Result<Span, String> {
    let span = span(text)?;
    if span.is_negative() { Err("an age is not negative".to_owned()) } else { Ok(span) }
}

pub(super) async fn run(
    globals: &Globals,
    args: &RotateArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    if let Some(subject) = &args.subject {
        return one(&globals.open_existing().await?, subject, globals.json, out).await;
    }
    if let Some(age) = args.older_than {
        return old(globals, args.yes, age, out).await;
    }
    let epoch = globals.open_existing().await?.rotate_root().await?;
    let did = format!("the root key is new, of epoch {epoch}; {OUTDATED}");
    out.did(&did);
    if globals.json {
        out.json(&json!({ "epoch": epoch }))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}

const OUTDATED: &str = "copies of the root slot are outdated now";

async fn one(store: &Store, subject: &Subject, json: bool, out: &mut Out) -> Result<(), CliError> {
    let rotated = store.rotate(subject).await?;
    let who = stdout_style().strong(subject.as_str());
    let did = match rotated.generation {
        Some(generation) => format!(
            "{who} is sealed under generation {generation} from now on; older keys open what they \
             sealed; {OUTDATED}"
        ),
        None => format!("{who} has no key in use: the next one is new; nothing changed"),
    };
    out.did(&did);
    if json {
        out.json(&rotated)?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}

async fn old(globals: &Globals, yes: bool, age: Span, out: &mut Out) -> Result<(), CliError> {
    let before =
        from_now(-age).map_err(|_| CliError::usage("--older-than reaches back before all time"))?;
    if !yes {
        if !(stdin().is_terminal() && stderr().is_terminal()) {
            return Err(CliError::usage("this may concern everybody: say --yes"));
        }
        confirm(&before)?;
    }
    let store = globals.open_existing().await?;
    let bar = stderr().is_terminal().then(bar);
    let told = bar.clone();
    let swept = store
        .rotate_older_than(before, move |sweeping| {
            if let Some(bar) = &told {
                show(bar, sweeping);
            }
        })
        .await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let swept = swept?;
    out.did(in_words(&swept));
    if globals.json {
        out.json(&swept)?;
    } else {
        out.line(&in_words(&swept))?;
    }
    if swept.unsettled > 0 {
        return Err(CliError::failed(format!(
            "{} left as before: an owner change that was cut off cannot be settled now",
            output::count(swept.unsettled, "subject")
        ))
        .with_hint("repeat it later; who was rotated is not rotated again"));
    }
    Ok(())
}

fn in_words(swept: &Swept) -> String {
    let outdated = if swept.rotated > 0 { format!("; {OUTDATED}") } else { String::new() };
    format!(
        "{} looked at, {} with an active one from before {} rotated{outdated}",
        output::count(swept.keys, "key"),
        output::count(swept.rotated, "subject"),
        time(swept.before),
    )
}

fn confirm(before: &Timestamp) -> Result<(), CliError> {
    to_stderr(&format!(
        "Everybody with an active key from before {} gets a new one. {} To go on, type yes:",
        time(*before),
        stderr_style().strong("Nothing is lost by it."),
    ));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(CliError::failed("not confirmed; nothing was changed"))
}

/// How finely the bar shows how far it is.
const STEPS: f64 = 10_000.0;

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(STEPS as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, sweeping: Sweeping) {
    bar.set_message(output::count(sweeping.keys, "key"));
    // Between 0 and 1 of it, so that nothing is cut off.
    bar.set_position((sweeping.part * STEPS) as u64);
}
