//! Forgetting, and the way back in.

use std::{
    io::{IsTerminal, stderr, stdin},
    sync::Arc,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use oubliette::{
    erasure::{Erased, ErasureError, ForgetOptions, PendingError, Progress, check_reason},
    event::Subject,
};

use super::{
    clock::time,
    exit::CliError,
    open::Globals,
    output::{self, Out, agree, note, stderr_style, stdout_style, to_stderr},
    plan::{clear_unknown, describe, open_claim, others, outstanding, owners_unknown},
};

/// Forget someone: destroy their keys, and those of dependents
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette forget user-456 --reason 'asked for it on 3 May'
      (on a terminal: shows the plan and asks)
  oubliette forget user-456 --reason 'ticket 4711' --yes

Events that were never sealed, because they are from before the layer, stay
readable. Where there are some about the subject, forgetting is refused: seal
them where they are (oubliette seal-existing), remove them from the store, or
say --despite-unsealed. It is refused as well where events are sealed under keys
which this vault does not have, because another vault sealed them or this one
lost them (--despite-unknown-keys), and where a newer version of this program
wrote some: forget with that one, or say --despite-newer. Do not remove events
of these two kinds.

Nothing brings the events back afterwards. It may be repeated without a second
effect. Once it is decided, the next command completes it if the machine stops
half-way or the event store does not answer; no option need be repeated. The
reason is kept for good: name no one. One that holds an e-mail address, an
account number or the like is refused.")]
pub(super) struct ForgetArgs {
    /// Whom to forget
    subject: Subject,
    /// Why; kept with the record of the erasure
    #[arg(long)]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Forget also where events about the subject were never sealed
    #[arg(long)]
    despite_unsealed: bool,
    /// Forget also where events of the subject are sealed under keys that this vault does not have
    #[arg(long)]
    despite_unknown_keys: bool,
    /// Forget also where a newer program wrote events of which this one cannot say whose they are
    #[arg(long)]
    despite_newer: bool,
}

/// Admit a forgotten subject again, under new keys
///
/// What was forgotten stays so.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oubliette reopen user-456")]
pub(super) struct ReopenArgs {
    /// Whom to admit again
    subject: Subject,
}

pub(super) async fn forget(
    globals: &Globals,
    args: &ForgetArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    check_reason(&args.reason, &args.subject)?;
    let asks = !args.yes;
    if asks && !(stdin().is_terminal() && stderr().is_terminal()) {
        return Err(CliError::usage("forgetting cannot be undone: say --yes")
            .with_hint(format!("`oubliette plan {}` shows what would go", args.subject)));
    }
    let options = ForgetOptions {
        despite_unsealed: args.despite_unsealed,
        despite_unknown_keys: args.despite_unknown_keys,
        despite_newer: args.despite_newer,
        // As the plan looks, so that what it says is refused is refused.
        look_everywhere: true,
    };
    let store = globals.open_existing().await?;
    if asks {
        let plan = store.plan(&args.subject).await?;
        if plan.already.is_none() && plan.decided.is_none() {
            to_stderr(&describe(&plan));
            plan.check(&options)?;
            confirm(&args.subject)?;
        }
    }
    let bar = Arc::new(Bar::default());
    let told = Arc::clone(&bar);
    let tell = move |progress| told.tell(progress);
    let erased = store.forget_with(&args.subject, &args.reason, options, tell).await;
    bar.finish();
    let erased = match erased {
        // What is done all the same, and what it did not reach, is not to be lost over the mirror.
        Err(ErasureError::Pending(PendingError::Mirrors { mirrors, erased })) => {
            erased.iter().for_each(|erased| tell_completed(globals.json, erased));
            return Err(PendingError::Mirrors { mirrors, erased }.into());
        }
        erased => erased?,
    };
    out.did(in_words(&erased));
    if globals.json {
        out.json(&erased)?;
    } else {
        out.line(&in_words(&erased))?;
        remainder(&erased).iter().try_for_each(|line| out.line(line))?;
        outstanding(&erased.backups).iter().try_for_each(|line| out.line(line))?;
    }
    Ok(())
}

/// Says on stderr what an erasure did of which nobody else is told.
pub(super) fn tell_completed(json: bool, erased: &Erased) {
    if json {
        return to_stderr(&serde_json::json!({ "note": "erased", "erased": erased }).to_string());
    }
    let (head, more) = (in_words(erased), remainder(erased));
    [head].iter().chain(&more).for_each(|line| note(false, line));
}

/// What is to be said of what forgetting did not reach. Of an erasure that was done already, as it was
/// then.
fn remainder(erased: &Erased) -> Vec<String> {
    let is = |count: u64| match erased.already {
        false => agree(count, "is", "are"),
        true => agree(count, "was", "were"),
    };
    let mut lines: Vec<String> = erased.not_reached.iter().map(open_claim).collect();
    lines.extend(erased.owners_unknown.then(owners_unknown));
    lines.extend(erased.clear_unknown.then(clear_unknown));
    if erased.unsealed > 0 {
        lines.push(format!(
            "{} about them {} never sealed and can still be read",
            output::count(erased.unsealed, "event"),
            agree(erased.unsealed, "was", "were"),
        ));
    }
    if erased.unknown_keys > 0 {
        lines.push(format!(
            "{} of them {} sealed under keys that this vault does not have{}, and can be read by whoever \
             has those",
            output::count(erased.unknown_keys, "event"),
            is(erased.unknown_keys),
            if erased.already { ", or that a newer program knows" } else { "" },
        ));
    }
    if erased.newer > 0 {
        lines.push(format!(
            "a newer program wrote {} in these streams: whether this reached {}, only that one can say",
            output::count(erased.newer, "event"),
            agree(erased.newer, "it", "them"),
        ));
    }
    if erased.unvouched > 0 {
        lines.push(format!(
            "{} of them {} newer than this vault, which was put back: nobody can vouch for {} any more",
            output::count(erased.unvouched, "event"),
            is(erased.unvouched),
            agree(erased.unvouched, "it", "them"),
        ));
    }
    if erased.passed_over > 0 {
        lines.push(format!(
            "{} not looked into for such events: the first event of each is sealed (`verify` reads them \
             all)",
            output::count(erased.passed_over, "stream"),
        ));
    }
    lines.extend(erased.bystanders.iter().flatten().map(others));
    let kept = erased.kept.iter().flatten();
    lines.extend(kept.map(|kept| format!("{} stays: {kept}", kept.subject)));
    lines
}

pub(super) async fn reopen(
    globals: &Globals,
    args: &ReopenArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    let reopened = store.reopen(&args.subject).await?;
    let subject = stdout_style().strong(args.subject.as_str());
    let did = match reopened.generation {
        Some(generation) => format!(
            "{subject} is admitted again, under generation {generation}; what was forgotten stays so"
        ),
        None => format!("{subject} is not forgotten; nothing changed"),
    };
    out.did(&did);
    if globals.json {
        out.json(&reopened)?;
        return Ok(());
    }
    out.line(&did)?;
    // Whether anything did depend on them, nobody knows any more; without such rules nothing can.
    if reopened.generation.is_some() && !store.policy().owner_rules().is_empty() {
        out.line(&format!(
            "if a stream depended on {subject}, it does so no more: reopen it, and append an event there \
             that states its owner"
        ))?;
    }
    if !reopened.owner_events.is_empty() {
        out.line(&format!(
            "{subject} has no owner: nothing is sealed there before an event that states one ({})",
            reopened.owner_events.join(", ")
        ))?;
    }
    Ok(())
}

fn in_words(erased: &Erased) -> String {
    let subject = stdout_style().strong(erased.subject.as_str());
    let (at, erasure) = (time(erased.at), erased.erasure);
    if erased.already {
        return format!(
            "{subject} was forgotten already, at {at} by erasure {erasure}; nothing changed"
        );
    }
    format!(
        "{subject} is forgotten: {} of {} destroyed, {} set (erasure {erasure}; the vault is now at \
         epoch {})",
        output::count(erased.keys, "key"),
        output::count(erased.subjects, "subject"),
        output::count(erased.streams, "tombstone"),
        erased.epoch,
    )
}

/// Asks on the terminal. The whole name has to be typed: a finger is quick on `y`.
fn confirm(subject: &Subject) -> Result<(), CliError> {
    let style = stderr_style();
    to_stderr(&format!(
        "\n{} To go on, type {}:",
        style.error("This cannot be undone."),
        style.strong(subject.as_str())
    ));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if answer.trim() == subject.as_str() {
        return Ok(());
    }
    Err(CliError::failed("not confirmed; nothing was changed"))
}

/// How far the tombstones are, where somebody watches.
#[derive(Debug, Default)]
struct Bar(std::sync::OnceLock<ProgressBar>);

/// Fewer are set before anybody could look.
const WORTH_A_BAR: usize = 1000;

impl Bar {
    fn tell(&self, progress: Progress) {
        match progress {
            Progress::Destroyed { tombstones }
                if tombstones >= WORTH_A_BAR && stderr().is_terminal() =>
            {
                let bar = self.0.get_or_init(|| ProgressBar::new(tombstones as u64));
                let template = "keys destroyed; tombstones {wide_bar} {pos}/{len} {eta}";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
            }
            Progress::Tombstones(written) => {
                if let Some(bar) = self.0.get() {
                    bar.set_position(written as u64);
                }
            }
            _ => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.0.get() {
            bar.finish_and_clear();
        }
    }
}
