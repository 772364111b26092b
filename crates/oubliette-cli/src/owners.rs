//! Looking through the store for owners who are not noted.

use clap::{Args, Subcommand};
use oubliette::layer::NotMended;

use super::{
    allowed::Touches,
    exit::{CliError, Exit},
    open::Globals,
    output::{self, Out},
};

/// Note the owners that stored events state, as if the policy had always been there
#[derive(Debug, Args)]
pub(super) struct OwnersArgs {
    #[command(subcommand)]
    command: OwnersCommand,
}

#[derive(Debug, Subcommand)]
enum OwnersCommand {
    /// Read the whole store once under the present policy, and note what it says of owners
    #[command(after_help = "\
Examples:
  oubliette owners rebuild --dry-run
      (what it would note, and what it cannot mend)
  oubliette owners rebuild

Owners are noted as events are appended. What was stored before there was a
vault, or before the policy named owners, stated them to nobody, and a
forgetting does not reach it. Until this has run, `plan` and `forget` say that
they do not know whom they miss.

A change of hands that nobody noted began no generation: what was sealed before
and after it has one key and goes with the last of its owners. Such streams are
named, and so are those with an owner who is forgotten already; forget them by
name where they should go. Then the exit code is 1.")]
    Rebuild {
        /// Change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

impl OwnersArgs {
    pub(super) fn touches(&self) -> Touches {
        let OwnersCommand::Rebuild { dry_run } = self.command;
        if dry_run { Touches::Vault } else { Touches::Changes }
    }
}

pub(super) async fn run(
    globals: &Globals,
    args: &OwnersArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let OwnersCommand::Rebuild { dry_run } = args.command;
    let store = globals.open_existing().await?;
    let rebuilt = store.rebuild_owners(dry_run).await?;
    let did = if dry_run { "would be noted" } else { "were noted" };
    let did = format!(
        "{} read, {} with owner rules: owners of {} {did}",
        output::count(rebuilt.events, "event"),
        output::count(rebuilt.streams, "stream"),
        output::count(rebuilt.mended, "stream"),
    );
    out.did(&did);
    if globals.json {
        out.json(&rebuilt)?;
    } else {
        out.line(&did)?;
        if rebuilt.skipped > 0 {
            out.line(&format!(
                "{} changed meanwhile: repeat it",
                output::count(rebuilt.skipped, "stream")
            ))?;
        }
        if rebuilt.newer > 0 {
            out.line(&format!(
                "{} by a newer program: which owners those state is not known; repeat it with that one",
                output::count(rebuilt.newer, "event")
            ))?;
        }
        rebuilt.left.iter().try_for_each(|left| out.line(&in_words(left)))?;
    }
    if rebuilt.left.is_empty() && rebuilt.skipped == 0 && rebuilt.newer == 0 {
        Ok(())
    } else {
        Err(CliError::Told(Exit::Failed))
    }
}

fn in_words(left: &NotMended) -> String {
    match left {
        NotMended::OneGeneration { stream, owners } => {
            let owners: Vec<&str> = owners.iter().map(|owner| owner.as_str()).collect();
            format!(
                "{stream} changed hands under one key: what was sealed until now goes with the last of {}",
                owners.join(", ")
            )
        }
        NotMended::Missed { stream, owner } => format!(
            "{stream} was missed when its owner {owner} was forgotten: forget {stream} by name where \
             it should go"
        ),
        NotMended::Unreadable { stream, event } => {
            format!("{stream}: event {event} states an owner and cannot be read")
        }
        _ => String::new(),
    }
}
