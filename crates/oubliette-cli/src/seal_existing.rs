//! Sealing in place what the event store has in clear.

use clap::Args;
use oubliette::layer::{LeftInClear, SealedExisting};

use super::{
    asking::confirm,
    exit::{CliError, Exit},
    open::Globals,
    output::{Out, count, stderr_style},
    purge::tell_former,
    watch::Watch,
};

/// So many events that stay in clear are told by name; --json tells more.
const TOLD: usize = 20;

/// Seal, where they are, the events that are in clear
///
/// The way in for an event store that goes on being used: nothing is copied.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette --dir bank --store postgres://app@db/shop vault create \\
      --with-events --policy policy.toml
  oubliette --dir bank seal-existing
  oubliette --dir bank seal-existing --yes --json

Each event that is in clear gets the stored form that an append of it would have
got by the policy. Ids, types, revisions, positions and times stay. Others may
go on appending meanwhile; what they append in clear behind the walk is sealed
by the next run, and read by each `plan` until then. It may be cut off and
repeated: what is sealed is passed over.

What it would meet is seen before anything is made, by
  oubliette --dir trial --policy policy.toml migrate --from STORE --dry-run

In the end the store clears away what the events were, as far as it can. What it
cannot reach is named: backups, archived logs and standbys from before are in
clear for ever, until you destroy them. `oubliette drill` looks into files for
what would bring somebody back.

An event stays in one piece, also where the policy would split it today; and one
that is refused stays in clear, is named and counted. Exit code 1 where there
are any.")]
pub(super) struct SealExistingArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(
    globals: &Globals,
    args: &SealExistingArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    if !args.yes {
        confirm(&format!(
            "What is in clear is sealed by the adopted policy (`oubliette policy show`): whose an event is, is {}",
            stderr_style().strong("decided now, for good."),
        ))?;
    }
    let (store, changing) = globals.open_to_change().await?;
    let rewriting = changing.as_rewrite().ok_or_else(|| {
        CliError::failed("this event store can remove events, and change none: nothing was sealed")
            .with_hint("`oubliette migrate --from` copies and seals them into another store")
    })?;
    let mut watch = Watch::new(globals.json);
    let sealed = store
        .seal_existing(rewriting, |so_far| {
            watch.count(format!("{} sealed, {} already", so_far.sealed, so_far.already));
        })
        .await;
    watch.finish();
    let sealed = sealed.map_err(|error| {
        CliError::from(error).with_hint("what was sealed is; repeat it, and it goes on")
    })?;
    let SealedExisting { counts, left, former_contents, .. } = &sealed;
    out.did(format!("{} sealed", count(counts.sealed, "event")));
    if globals.json {
        out.json(&sealed)?;
    } else {
        out.line(&format!(
            "{} sealed; {} as they should be; {} in clear",
            count(counts.sealed, "event"),
            counts.already,
            counts.left,
        ))?;
        for LeftInClear { stream, revision, why, .. } in left.iter().take(TOLD) {
            out.line(&format!("event {revision} of {stream} stays in clear: {why}"))?;
        }
        let told = left.len().min(TOLD) as u64;
        if counts.left > told {
            out.line(&format!(
                "{} more stay in clear; --json names more of them",
                counts.left - told
            ))?;
        }
        tell_former(globals, former_contents);
    }
    if counts.left > 0 { Err(CliError::Told(Exit::Failed)) } else { Ok(()) }
}
