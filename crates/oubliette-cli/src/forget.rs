//! Forgetting: the plan, the deed, the way back in, and the records.

use std::{
    io::{IsTerminal, stderr, stdin},
    sync::Arc,
};

use clap::Args;
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use oubliette::{
    erasure::{
        Erased, ErasureError, Foreign, ForgetOptions, NotReached, Plan, Progress, check_reason,
    },
    event::{Cause, Generation, Subject, Timestamp},
    vault::{Backup, BackupState},
};

use super::{
    exit::{CliError, Exit},
    open::Globals,
    output::{self, Out, agree, cell, note, number, stderr_style, stdout_style, to_stderr},
    read::time,
};

/// Show what forgetting someone would do; change nothing
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oubliette plan user-456")]
pub(super) struct PlanArgs {
    /// Who
    subject: Subject,
}

/// Forget someone: destroy their keys and those of all that depends on them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette forget user-456 --reason 'asked for it on 3 May'
      (on a terminal: shows the plan and asks)
  oubliette forget user-456 --reason 'ticket 4711' --yes

Events that were never sealed, because they are from before the layer, stay
readable. Where there are some about the subject, forgetting is refused; remove
them from the store first, or say --despite-unsealed. It is refused as well
where events are sealed under keys which this vault does not have, because
another vault sealed them or this one lost them (--despite-unknown-keys), and
where a newer version of this program wrote some: forget with that one, or say
--despite-newer. Do not remove events of these two kinds.

Nothing brings the events back afterwards. It may be repeated without a second
effect. Once it is decided, the next command completes it if the machine stops
half-way or the event store does not answer; no option need be repeated. The
reason is kept for good: name no one. One that holds an e-mail address, an
account number or the like is refused.")]
pub(super) struct ForgetArgs {
    /// Who
    subject: Subject,
    /// Why; kept with the record of the erasure
    #[arg(long)]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Forget also where events about the subject were never sealed, and stay readable
    #[arg(long)]
    despite_unsealed: bool,
    /// Forget also where events of the subject are sealed under keys that this vault does not have
    #[arg(long)]
    despite_unknown_keys: bool,
    /// Forget also where a newer program wrote events of which this one cannot say whose they are
    #[arg(long)]
    despite_newer: bool,
}

/// Admit a forgotten subject again, under new keys; what was forgotten stays so
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oubliette reopen user-456")]
pub(super) struct ReopenArgs {
    /// Who
    subject: Subject,
}

pub(super) async fn plan(
    globals: &Globals,
    args: &PlanArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    let plan = store.plan(&args.subject).await?;
    if globals.json {
        out.json(&plan)?;
        return Ok(());
    }
    describe(&plan).lines().try_for_each(|line| out.line(line))?;
    Ok(())
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
        Err(ErasureError::MirrorsPending { mirrors, erased }) => {
            erased.iter().for_each(|erased| tell_completed(globals.json, erased));
            return Err(ErasureError::MirrorsPending { mirrors, erased }.into());
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
    lines.extend(erased.foreign.iter().flatten().map(others));
    let kept = erased.kept.iter().flatten();
    lines.extend(kept.map(|kept| format!("{} stays: {kept}", kept.subject)));
    lines
}

fn owners_unknown() -> String {
    "it is not known whom this missed: events were stored before the vault, before the policy's owner \
     rules or since the vault was backed up, and may state owners (`owners rebuild` looks once for all)"
        .to_owned()
}

fn open_claim(open: &NotReached) -> String {
    let NotReached { subject, event, owner_forgotten, .. } = open;
    if *owner_forgotten {
        return format!(
            "{open}: forget {subject} by name; or say that it stays (`oubliette settle {event} \
             --acknowledge`)"
        );
    }
    format!(
        "{open}: say whether that event was stored (`oubliette settle {event} --stored` or \
         `--rejected`, or `Codec::settle`), then forget {subject} where it should have gone"
    )
}

fn others(foreign: &Foreign) -> String {
    format!(
        "{} holds something of {} ({}), which is theirs and stays",
        foreign.stream,
        foreign.subject,
        output::count(foreign.keys, "key"),
    )
}

/// What is to be said of the backups that still hold the keys.
fn outstanding(backups: &[Backup]) -> Vec<String> {
    let now = Timestamp::now();
    let until = |backup: &Backup| {
        let (file, id) = (output::printable(&backup.file), backup.backup);
        let day = time(&backup.expires.to_string());
        match backup.state(now) {
            BackupState::Expired => {
                format!(
                    "  {file} ({id}): its day, {day}, has passed; nobody said that it is destroyed"
                )
            }
            _ => format!("  {file} until {day} ({id})"),
        }
    };
    let head = (!backups.is_empty()).then(|| {
        "not out of reach yet: these backups of the vault, made before, may still hold the keys; \
         destroy each by its day, and say so with `backup retire`: it is named until then"
            .to_owned()
    });
    head.into_iter().chain(backups.iter().map(until)).collect()
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
    if reopened.generation.is_some() {
        out.line(&format!(
            "nothing depends on {subject} any more: reopen each stream that did, and append an event \
             there that states its owner"
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
    let (at, erasure) = (time(&erased.at.to_string()), erased.erasure);
    if erased.already {
        return format!(
            "{subject} was forgotten already, at {at} by erasure {erasure}; nothing changed"
        );
    }
    format!(
        "{subject} is forgotten: {} of {} destroyed, {} set (erasure {erasure}; the vault is at \
         epoch {})",
        output::count(erased.keys, "key"),
        output::count(erased.subjects, "subject"),
        output::count(erased.streams, "tombstone"),
        erased.epoch,
    )
}

/// The plan for people.
fn describe(plan: &Plan) -> String {
    if let Some(erasure) = plan.already {
        let mut text = format!(
            "{} is forgotten already, since {} by erasure {erasure}",
            plan.subject,
            time(&erasure.at().to_string())
        );
        if !plan.mirrors.is_empty() {
            let (mirrors, erased) = (plan.mirrors.clone(), Vec::new());
            text.push_str(&format!("; but {}", ErasureError::MirrorsPending { mirrors, erased }));
        } else if plan.not_reached.is_empty() && plan.backups.is_empty() {
            text.push_str("; there is nothing to do");
        }
        for open in &plan.not_reached {
            text.push_str(&format!("\n{}", open_claim(open)));
        }
        for line in outstanding(&plan.backups) {
            text.push_str(&format!("\n{line}"));
        }
        return text;
    }
    let waits = plan.decided.map(|erasure| {
        format!(
            "Erasure {erasure} of {} is decided and waits for the event store; the next command that opens the \
             vault carries it out, as it was decided.\n",
            plan.subject
        )
    });
    let mut text = waits.unwrap_or_default();
    // What is decided is not refused any more.
    let refused = |option: &str| match plan.decided {
        None => format!(": forgetting is refused without {option}"),
        Some(_) => String::new(),
    };
    text += &format!(
        "Forgetting {} destroys {} of {}, and sets {}.\n",
        plan.subject,
        output::count(plan.keys(), "key"),
        output::count(plan.subjects.len() as u64, "subject"),
        output::count(plan.streams.len() as u64, "tombstone"),
    );
    let mut subjects = output::table(&["subject", "keys", "generations", "because of"]);
    for affected in &plan.subjects {
        output::add(
            &mut subjects,
            vec![
                cell(&affected.subject),
                number(affected.keys),
                cell(affected.generations.as_deref().map_or_else(|| "all".to_owned(), spans)),
                cell(
                    affected
                        .through
                        .as_ref()
                        .map_or_else(|| "asked".to_owned(), |owner| format!("its owner {owner}")),
                ),
            ],
        );
    }
    append(&mut text, subjects);
    let mut streams = output::table(&["stream", "keys", "sealed", "because of"]);
    for affected in &plan.streams {
        let cause = match affected.cause {
            Cause::Request => "the subject's own request",
            _ => "an owner",
        };
        output::add(
            &mut streams,
            vec![
                cell(&affected.stream),
                number(affected.keys.len()),
                number(format!("~{}", affected.sealed_about)),
                cell(cause),
            ],
        );
    }
    if !plan.streams.is_empty() {
        append(&mut text, streams);
    }
    for kept in &plan.kept {
        text.push_str(&format!("\n{} stays: {kept}", kept.subject));
    }
    if plan.owners_unknown {
        text.push_str(&format!("\n{}", owners_unknown()));
    }
    for open in &plan.not_reached {
        text.push_str(&format!("\n{}", open_claim(open)));
    }
    for foreign in &plan.foreign {
        text.push_str(&format!("\n{}", others(foreign)));
    }
    for unsealed in &plan.unsealed {
        text.push_str(&format!(
            "\n{} in {} never sealed, and will stay readable{}",
            output::count(unsealed.events, "event"),
            unsealed.stream,
            refused("--despite-unsealed"),
        ));
    }
    for newer in &plan.newer {
        text.push_str(&format!(
            "\na newer program wrote {} in {}, and this one cannot say whose: forget with that one{}",
            output::count(newer.events, "event"),
            newer.stream,
            refused("--despite-newer").replacen(": ", "; here ", 1),
        ));
    }
    for unvouched in &plan.unvouched {
        text.push_str(&format!(
            "\n{} in {} newer than this vault, which was put back: once the keys are destroyed, nobody can \
             vouch for {}",
            output::count(unvouched.events, "event"),
            unvouched.stream,
            agree(unvouched.events, "it", "them"),
        ));
    }
    for unknown in &plan.unknown_keys {
        text.push_str(&format!(
            "\n{} in {} sealed under keys that this vault does not have{}",
            output::count(unknown.events, "event"),
            unknown.stream,
            refused("--despite-unknown-keys"),
        ));
    }
    text.trim_end().to_owned()
}

fn append(text: &mut String, table: Table) {
    text.push('\n');
    for line in output::lines(table) {
        text.push_str(&line);
        text.push('\n');
    }
}

fn spans(spans: &[(Generation, Generation)]) -> String {
    let span = |(from, to): &(Generation, Generation)| match to.0 {
        u32::MAX => format!("{from}–"),
        _ if from == to => from.to_string(),
        _ => format!("{from}–{to}"),
    };
    spans.iter().map(span).collect::<Vec<_>>().join(", ")
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
    to_stderr("not confirmed; nothing was changed");
    Err(CliError::Told(Exit::Failed))
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
