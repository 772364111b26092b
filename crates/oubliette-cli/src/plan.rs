//! What forgetting somebody would do, and what it does not reach.

use clap::Args;
use comfy_table::Table;
use oubliette::{
    erasure::{Bystander, NotReached, PendingError, Plan},
    event::{Cause, ErasureId, Generation, Subject, Timestamp},
    vault::{Backup, BackupState},
};
use serde::Serialize;

use super::{
    clock::time,
    exit::CliError,
    open::Globals,
    output::{self, Out, agree},
    tables::{self, cell, number},
};

/// Show what forgetting someone would do; change nothing
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oubliette plan user-456")]
pub(super) struct PlanArgs {
    /// Whose forgetting
    subject: Subject,
}

pub(super) async fn run(globals: &Globals, args: &PlanArgs, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    let plan = store.plan(&args.subject).await?;
    if globals.json {
        // `forget` has a member `already` that says yes or no.
        let mut plan = plan;
        let forgotten_by = plan.already.take();
        out.json(&Row { forgotten_by, plan: &plan })?;
        return Ok(());
    }
    describe(&plan).lines().try_for_each(|line| out.line(line))?;
    Ok(())
}

/// The plan for programs.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    /// The erasure that did it, where it is done already.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten_by: Option<ErasureId>,
}

/// The plan for people.
pub(super) fn describe(plan: &Plan) -> String {
    if let Some(erasure) = plan.already {
        let mut text = format!(
            "{} is forgotten already, since {} by erasure {erasure}",
            plan.subject,
            time(erasure.at())
        );
        if !plan.mirrors.is_empty() {
            let (mirrors, erased) = (plan.mirrors.clone(), Vec::new());
            text.push_str(&format!("; but {}", PendingError::Mirrors { mirrors, erased }));
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
    let mut subjects = tables::table(&["subject", "keys", "generations", "because of"]);
    for affected in &plan.subjects {
        tables::add(
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
    let mut streams = tables::table(&["stream", "keys", "sealed", "because of"]);
    for affected in &plan.streams {
        let cause = match affected.cause {
            Cause::Request => "the subject's own request",
            _ => "an owner",
        };
        tables::add(
            &mut streams,
            vec![
                cell(&affected.stream),
                number(affected.keys.len()),
                number(format!("≤{}", affected.sealed_at_most)),
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
    if plan.clear_unknown {
        text.push_str(&format!("\n{}", clear_unknown()));
    }
    if plan.owners_unknown {
        text.push_str(&format!("\n{}", owners_unknown()));
    }
    for open in &plan.not_reached {
        text.push_str(&format!("\n{}", open_claim(open)));
    }
    for bystander in &plan.bystanders {
        text.push_str(&format!("\n{}", others(bystander)));
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
    for line in tables::lines(table) {
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

pub(super) fn owners_unknown() -> String {
    "it is not known whom this missed: events were stored before the vault, before the policy's owner \
     rules or since the vault was backed up, and may state owners (`owners rebuild` looks once for all)"
        .to_owned()
}

pub(super) fn clear_unknown() -> String {
    "it is not known whether anything about them is in clear in streams in which they have no key: the event store does not \
     read all streams, or has events in clear of which the policy does not say whose they are (`seal-existing` names those)"
        .to_owned()
}

pub(super) fn open_claim(open: &NotReached) -> String {
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

pub(super) fn others(bystander: &Bystander) -> String {
    format!(
        "{} holds something of {} ({}), which is theirs and stays",
        bystander.stream,
        bystander.subject,
        output::count(bystander.keys, "key"),
    )
}

/// What is to be said of the backups that still hold the keys.
pub(super) fn outstanding(backups: &[Backup]) -> Vec<String> {
    let now = Timestamp::now();
    let until = |backup: &Backup| {
        let (file, id) = (output::printable(&backup.file), backup.backup);
        let day = time(backup.expires);
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
