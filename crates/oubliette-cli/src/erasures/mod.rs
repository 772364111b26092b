//! The records of erasures, and their announcements: to be kept elsewhere, and applied again.

pub(crate) mod list;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use futures::TryStreamExt;
use oubliette::{
    erasure::{ErasureRecord, PendingError, export, gaps, replay},
    event::{Announcement, StreamName},
    store::{EventStore, ReadOptions},
    vault::{MirrorState, Vault},
};

use self::list::Sum;
pub(super) use self::list::read;
use super::{
    allowed::Touches,
    clock::utc,
    exit::CliError,
    open::Globals,
    output::{self, Out, note},
    tables::{self, cell, number},
};

/// List the erasures: when, why, how many keys; never who
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette erasures --json
  oubliette erasures --stream room-7
      (which erasures the tombstones of a stream are of: the stream itself does
      not tell)
  oubliette erasures export > erasures.ndjson
      (keep it apart from the vault and its backups; its last line says that it
      is whole)
  oubliette erasures replay erasures.ndjson
      (after the vault was restored, where the event store cannot tell)

`destroyed in epoch` is the vault's epoch when the keys were destroyed. `forget`
prints the one when all was done, which is higher. The highest, noted elsewhere,
finds a vault out that was rolled back: say it with --expect-epoch.

The list shows what the vault knows by itself. So it can be had also where
nothing is served, because announcements are missing in the event store. Not so
with --stream, which reads events, nor what `erasures export` writes, which says
that it is whole.")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ErasuresArgs {
    /// Only those that reached this stream: each of its tombstones, and the erasure that it is of
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,
    #[command(subcommand)]
    command: Option<ErasuresCommand>,
}

#[derive(Debug, Subcommand)]
enum ErasuresCommand {
    /// Announce all erasures again, and set tombstones that are missing
    #[command(after_help = "\
Example:
  oubliette erasures repeat

For an event store that was put back to an earlier state, or lost events, where
`verify` finds tombstones or announcements missing and nobody has a newer copy
of it. The vault says again what it knows; nobody is forgotten by it, and what
is there already is not doubled but for announcements.")]
    Repeat,
    /// Write all erasures, sealed and without names, one a line: only this vault can read them
    Export,
    /// Apply erasures from a file again, those that the vault does not know
    Replay {
        /// What `erasures export` wrote; `-` is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Apply what is there of a list whose end is missing
        #[arg(long)]
        even_cut: bool,
    },
}

impl ErasuresArgs {
    pub(super) fn touches(&self) -> Touches {
        match self.command {
            None | Some(ErasuresCommand::Export) => Touches::Vault,
            Some(ErasuresCommand::Replay { .. } | ErasuresCommand::Repeat) => Touches::Changes,
        }
    }
}

pub(super) async fn run(
    globals: &Globals,
    args: &ErasuresArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    match &args.command {
        None => match &args.stream {
            Some(stream) => of_stream(globals, stream, out).await,
            None => list(globals, out).await,
        },
        Some(ErasuresCommand::Export) => write(globals, out).await,
        Some(ErasuresCommand::Repeat) => repeat(globals, out).await,
        Some(ErasuresCommand::Replay { file, even_cut }) => {
            apply(globals, file, *even_cut, out).await
        }
    }
}

async fn list(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_to_list().await?;
    let records = store.erasures()?;
    let stale = store.vault().map(Vault::stale_mirrors).transpose()?.unwrap_or_default();
    for gap in store.vault().map(gaps).transpose()?.unwrap_or_default() {
        let accepted = gap.accepted.map_or_else(String::new, |accepted| {
            format!("; accepted by {}, {}", output::printable(&accepted.by), accepted.at)
        });
        let text = format!("announcement {} is missing in the event store", gap.event);
        note(globals.json, &format!("{text}; noticed {}{accepted}", gap.found));
    }
    if globals.json {
        records.iter().try_for_each(|record| out.json(record))?;
        return Ok(());
    }
    let mut table = tables::table(&[
        "erasure",
        "at (UTC)",
        "keys",
        "subjects",
        "streams",
        "destroyed in epoch",
        "state",
        "reason",
    ]);
    for record in &records {
        tables::add(
            &mut table,
            vec![
                cell(record.erasure),
                cell(utc(record.at)),
                number(record.keys),
                number(record.subjects),
                number(record.streams),
                number(record.epoch.map_or(String::new(), |epoch| epoch.to_string())),
                cell(state(record, &stale)),
                cell(output::printable(&record.reason)),
            ],
        );
    }
    if records.is_empty() {
        note(false, "nobody was forgotten here");
    } else {
        out.table(table)?;
    }
    Ok(())
}

async fn repeat(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    store.tell_again().await?;
    let erasures = store.erasures()?.len() as u64;
    let did =
        format!("{} announced again, with all tombstones", output::count(erasures, "erasure"));
    out.did(&did);
    if globals.json {
        out.json(&serde_json::json!({ "erasures": erasures }))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}

async fn of_stream(globals: &Globals, stream: &StreamName, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    let mut table = tables::table(&["ref", "rev", "day", "erasure", "at (UTC)", "reason"]);
    let mut events = store.read(stream, ReadOptions::default());
    let mut found = false;
    while let Some(event) = events.try_next().await? {
        let Some(tombstone) = &event.tombstone else { continue };
        found = true;
        let record = store.erasure_of(tombstone.reference, stream)?;
        if globals.json {
            out.json(&serde_json::json!({
                "stream": stream, "revision": event.revision, "ref": tombstone.reference,
                "day": tombstone.day, "keys": tombstone.keys, "erasure": record,
            }))?;
            continue;
        }
        let of = |told: &dyn Fn(&ErasureRecord) -> String| {
            record.as_ref().map_or_else(|| "unknown".to_owned(), told)
        };
        tables::add(
            &mut table,
            vec![
                cell(tombstone.reference),
                number(event.revision),
                cell(tombstone.day),
                cell(of(&|record| record.erasure.to_string())),
                cell(of(&|record| utc(record.at))),
                cell(output::printable(&of(&|record| record.reason.clone()))),
            ],
        );
    }
    match found {
        true if !globals.json => out.table(table)?,
        true => {}
        false => note(globals.json, "no tombstone of this vault's is in this stream"),
    }
    Ok(())
}

/// Whether an erasure is complete.
fn state(record: &ErasureRecord, stale: &[MirrorState]) -> String {
    let name = |behind: &MirrorState| match behind.counter {
        true => format!("counter {}", behind.name),
        false => behind.name.clone(),
    };
    let mirrors: Vec<String> =
        stale.iter().filter(|mirror| mirror.may_precede(record.epoch)).map(name).collect();
    match record {
        _ if record.destroyed && !mirrors.is_empty() => {
            format!("mirror pending: {}", output::printable(&mirrors.join(", ")))
        }
        _ if record.dealt_with.is_some() => "dealt with by hand".to_owned(),
        _ if record.replayed.is_some() => "applied again".to_owned(),
        _ if record.done => "done".to_owned(),
        _ if record.destroyed => "tombstones pending".to_owned(),
        _ => "not done: to be announced".to_owned(),
    }
}

async fn write(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    let vault = store.vault().ok_or_else(|| CliError::failed("there is no vault"))?;
    let mut sum = Sum::default();
    for announcement in export(vault) {
        let line = serde_json::to_string(&announcement?).map_err(CliError::failed)?;
        sum.add(&line);
        out.line(&line)?;
    }
    // Last, and only where all the rest was written: without it the list is cut off.
    out.json(&sum.end())?;
    Ok(())
}

/// A list of nobody may be the wrong file, or one that was written before anybody was forgotten.
pub(super) fn tell_if_empty(json: bool, list: &[Announcement]) {
    if list.is_empty() {
        let text = "the list of erasures is empty, and nothing of it is applied: who was forgotten since the vault was \
                    backed up, and is not announced in the event store, can be read again";
        note(json, text);
    }
}

async fn apply(
    globals: &Globals,
    file: &Path,
    even_cut: bool,
    out: &mut Out,
) -> Result<(), CliError> {
    let announcements = read(file, even_cut)?;
    tell_if_empty(globals.json, &announcements);
    let store = globals.open_with_list(announcements.clone()).await?;
    let vault = store.vault().ok_or_else(|| CliError::failed("there is no vault"))?;
    let of_vault = |said: &Announcement| said.vault() == vault.id().0;
    if !announcements.is_empty() && !announcements.iter().any(of_vault) {
        return Err(CliError::failed(format!(
            "the list has {}, and none of this vault's: nothing was applied",
            output::count(announcements.len() as u64, "announcement")
        ))
        .with_hint("take the file that `erasures export` wrote of this vault"));
    }
    let replayed = replay(vault, announcements).await?;
    let mirrors = vault.stale_mirrors()?;
    // Whoever goes on past a counter is told so, and binds it anew afterwards.
    let is_pending = mirrors.iter().any(|mirror| !mirror.counter);
    let is_unwitnessed = !mirrors.is_empty();
    let pending = PendingError::Mirrors { mirrors, erased: Vec::new() };
    let did = format!(
        "{} applied again, {} destroyed; {} known already",
        output::count(replayed.erasures.len() as u64, "erasure"),
        output::count(replayed.keys, "key"),
        replayed.known,
    );
    out.did(&did);
    if globals.json {
        out.json(&replayed)?;
    } else {
        out.line(&did)?;
    }
    if replayed.foreign > 0 {
        note(
            globals.json,
            &format!(
                "{} passed over: another vault's",
                output::count(replayed.foreign, "announcement")
            ),
        );
    }
    if !replayed.compromised.is_empty() {
        let text = format!(
            "{} passed over: by a compromised signing key alone",
            output::count(replayed.compromised.len() as u64, "announcement")
        );
        note(globals.json, &text);
    }
    // As `forget` says it: with such a mirror and an old copy of the folder they can be read.
    if is_pending && replayed.unverifiable.is_empty() {
        return Err(pending.into());
    }
    if is_unwitnessed {
        note(globals.json, &pending.to_string());
    }
    if replayed.unverifiable.is_empty() {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "{} not applied: this vault did not sign it, or it does not open: forged, changed, or a newer \
         program's",
        output::count(replayed.unverifiable.len() as u64, "line")
    )))
}
