//! Owner claims of events that a program sealed with the codec: who is to see to them, and how.

use clap::Args;
use oubliette::{
    event::EventId,
    layer::Codec,
    vault::{OpenClaim, Settled},
};

use super::{
    clock::utc,
    exit::{CliError, Exit},
    open::Globals,
    output::Out,
    tables::{self, cell},
};

/// List the owner claims that somebody has to settle
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette claims
  oubliette claims --json | jq -r .event

A program that seals events with the codec, and stores them itself, says
afterwards whether an event was stored. One that was killed in between did not.
Look into its store for each event listed here, and say what you found with
`oubliette settle`. `verify` warns of each claim until then.")]
pub(super) struct ClaimsArgs {}

/// Say whether a sealed event was stored
///
/// Then the owner that it states counts, or does not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette settle 6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11 --stored
  oubliette settle 6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11 --rejected
      (the event is not in the program's store, and will not be)
  oubliette settle 6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11 --acknowledge
      (its owner was forgotten before that was said; the stream is to stay all
      the same)

Exit code 1 where something is left to do: the owner was forgotten already, so
that the stream is to be forgotten by name; or nothing is open under this id.")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct SettleArgs {
    /// The event's id, as `claims` lists it
    #[arg(value_name = "EVENT")]
    event: EventId,
    /// The event is in the program's store
    #[arg(long, group = "what")]
    stored: bool,
    /// The event is not in the program's store, and will not be
    #[arg(long, group = "what")]
    rejected: bool,
    /// The stream stays, though its owner is forgotten
    #[arg(long, group = "what")]
    acknowledge: bool,
}

pub(super) async fn list(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let claims = codec(globals).await?.unsettled()?;
    if globals.json {
        return Ok(claims.iter().try_for_each(|claim| out.json(claim))?);
    }
    if claims.is_empty() {
        return Ok(out.line("no claim is open")?);
    }
    let mut table = tables::table(&["event", "stream", "owners", "since (UTC)", "state"]);
    for claim in &claims {
        let owners: Vec<_> = claim.owners.iter().map(ToString::to_string).collect();
        tables::add(
            &mut table,
            vec![
                cell(claim.event),
                cell(
                    claim.stream.as_ref().map_or_else(|| "forgotten".to_owned(), |s| s.to_string()),
                ),
                cell(owners.join(", ")),
                cell(utc(claim.since)),
                cell(state(claim)),
            ],
        );
    }
    Ok(out.table(table)?)
}

fn state(claim: &OpenClaim) -> &'static str {
    match claim {
        OpenClaim { owner_forgotten: true, .. } => {
            "the owner was forgotten before it was settled: forget the stream by name, or \
             `settle --acknowledge`"
        }
        OpenClaim { begins_generation: true, .. } => {
            "open; nothing is sealed in the stream: `settle --stored` or `--rejected`"
        }
        _ => "open: `settle --stored` or `--rejected`",
    }
}

pub(super) async fn settle(
    globals: &Globals,
    args: &SettleArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let (codec, event) = (codec(globals).await?, args.event);
    if args.acknowledge {
        let acknowledged = codec.acknowledge(event).await?;
        let words = match acknowledged {
            true => "acknowledged: the stream stays, and nothing is told of it any more",
            false => "there is nothing to acknowledge under this id (`oubliette claims`)",
        };
        out.did(words);
        if globals.json {
            out.json(&serde_json::json!({ "event": event, "acknowledged": acknowledged }))?;
        } else {
            out.line(words)?;
        }
        return if acknowledged { Ok(()) } else { Err(left(globals.json, words)) };
    }
    let settled = codec.settle(event, args.stored).await?;
    let (words, done) = match settled {
        Settled::Stored => {
            ("settled: the event counts, and so does the owner that it states", true)
        }
        Settled::Withdrawn => ("settled: what the event stated is withdrawn", true),
        Settled::Forgotten => {
            ("settled: its subject was forgotten meanwhile, and what is stored is shredded", true)
        }
        Settled::OwnerForgotten => (
            "settled; but its owner was forgotten before, and that did not reach this stream: forget \
             the stream by name, or say that it stays (--acknowledge); `oubliette claims` names it",
            false,
        ),
        Settled::Held => ("nothing changed: a permit for this event is held", false),
        _ => ("nothing is open under this id (`oubliette claims`)", false),
    };
    out.did(words);
    if globals.json {
        out.json(&serde_json::json!({ "event": event, "settled": settled }))?;
    } else {
        out.line(words)?;
    }
    if done { Ok(()) } else { Err(left(globals.json, words)) }
}

/// Something is left to do, which people have read by now.
fn left(json: bool, words: &'static str) -> CliError {
    if json { CliError::failed(words) } else { CliError::Told(Exit::Failed) }
}

async fn codec(globals: &Globals) -> Result<Codec, CliError> {
    let store = globals.open_existing().await?;
    let vault = store.vault().ok_or_else(|| CliError::failed("there is no vault"))?;
    Ok(Codec::new(vault.clone(), store.policy().clone()))
}
