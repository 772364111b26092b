//! Removing what nobody can read any more, and saying what it takes until then.

use clap::Args;
use oubliette::{
    audit::{FamilyStorage, Storage},
    layer::{LeftDead, Purged},
};
use serde::Serialize;

use super::{
    asking::confirm,
    exit::{CliError, Exit},
    open::{Globals, Purges},
    output::{Out, agree, count, note, stderr_style},
    tables::{self, cell, number},
    watch::Watch,
};

/// So many events that stay are told by name; --json tells more.
const TOLD: usize = 20;

/// Remove from the event store what nobody can read any more
///
/// To forget somebody destroys keys; what they sealed stays, as noise. This removes the noise as well.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette storage
      (how much there is of it)
  oubliette purge
  oubliette purge --yes --json

Of a split stream the private half of each such event is removed: not even
ciphertext is left. In all other events a stub takes the place of what is dead,
50 bytes by which it is known again. Ids, types, revisions, positions, times,
all that is public, tombstones and the layer's own streams stay. Everything
reads as before: what goes could not be read. Claims of ownership that are open
are settled first.

It may be cut off and repeated. In the end the store clears away what the bytes
were, as far as it can: SQLite writes its file anew, and PostgreSQL its table
(VACUUM FULL, which keeps everybody waiting). What it cannot reach is named.

Exit code 1 where something dead stays, with the reason.")]
pub(super) struct PurgeArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Say what the events take, and how much of it is dead
///
/// By family of streams: those that one rule of the policy is for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette storage
  oubliette storage --json | jq '.families[] | select(.dead_bytes > 0)'

Every event is read. Dead is ciphertext whose keys are destroyed: nobody can
read it any more, and `oubliette purge` removes it. Counted are payloads and
metadata, as they are stored; what a database needs besides (names, ids,
indexes, free pages) is not.")]
pub(super) struct StorageArgs {}

pub(super) async fn purge(
    globals: &Globals,
    args: &PurgeArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    if !args.yes {
        confirm(&format!(
            "What nobody can read any more is removed from the event store, for good. {}",
            stderr_style().strong("Nothing that can be read goes with it."),
        ))?;
    }
    let (store, changing) = globals.open_to_change().await?;
    let mut watch = Watch::new(globals.json);
    let purged = store
        .purge(&*changing, |so_far| {
            let gone = so_far.removed + so_far.emptied;
            let events = count(so_far.events, "event");
            watch.count(format!("{events} looked at, {gone} purged, {}", bytes(so_far.bytes)));
        })
        .await;
    watch.finish();
    let purged = purged.map_err(|error| {
        CliError::from(error).with_hint("what was purged is; repeat it, and it goes on")
    })?;
    let Purged { counts, left, former_contents, .. } = &purged;
    out.did(format!("{} purged", bytes(counts.bytes)));
    if globals.json {
        out.json(&purged)?;
    } else {
        out.line(&format!(
            "{} looked at: {} removed, {} emptied, {} of dead ciphertext gone",
            count(counts.events, "event"),
            count_of(counts.removed, "private half", "private halves"),
            count(counts.emptied, "event"),
            bytes(counts.bytes),
        ))?;
        tell_left(left, counts.left, out)?;
        tell_former(globals, former_contents);
    }
    if counts.left > 0 { Err(CliError::Told(Exit::Failed)) } else { Ok(()) }
}

/// Where what went may still be.
pub(super) fn tell_former(globals: &Globals, former: &[String]) {
    for place in former {
        note(globals.json, &format!("what is gone from the store may still be in {place}"));
    }
}

fn tell_left(left: &[LeftDead], all: u64, out: &mut Out) -> Result<(), CliError> {
    for LeftDead { stream, revision, why, .. } in left.iter().take(TOLD) {
        out.line(&format!("event {revision} of {stream} stays: {why}"))?;
    }
    let told = left.len().min(TOLD) as u64;
    if all > told {
        out.line(&format!("{} more stay; --json names more of them", all - told))?;
    }
    Ok(())
}

fn count_of(number: u64, one: &'static str, many: &'static str) -> String {
    format!("{number} {}", agree(number, one, many))
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    storage: &'a Storage,
    total: FamilyStorage,
}

pub(super) async fn storage(
    globals: &Globals,
    _: &StorageArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let (store, purges) = globals.open_with_purges().await?;
    let mut watch = Watch::new(globals.json);
    let storage = store.storage(|events| watch.count(count(events, "event"))).await;
    watch.finish();
    let storage = storage?;
    let total = storage.total();
    if globals.json {
        return Ok(out.json(&Told { storage: &storage, total })?);
    }
    let headers = ["streams", "events", "bytes", "dead", "share", "unreadable"];
    let mut table = tables::table(&headers);
    let mut add = |name: &str, family: &FamilyStorage| {
        tables::add(
            &mut table,
            vec![
                cell(name),
                number(family.events),
                number(bytes(family.bytes)),
                number(bytes(family.dead_bytes)),
                number(share(family.dead_bytes, family.bytes)),
                number(family.unreadable),
            ],
        );
    };
    for family in &storage.families {
        add(family.family.as_deref().unwrap_or("(no rule)"), family);
    }
    if storage.families.len() != 1 {
        add("all", &total);
    }
    out.table(table)?;
    out.line(&format!(
        "and {} for {} of the layer's own, which stay",
        bytes(storage.own_bytes),
        count_of(storage.own_events, "tombstone or announcement", "tombstones and announcements"),
    ))?;
    if total.dead_bytes > 0 {
        let (dead, events) = (bytes(total.dead_bytes), count(total.dead_events, "event"));
        out.line(&match purges {
            Purges::All => format!("`oubliette purge` removes {dead}, of {events}"),
            Purges::Halves => format!(
                "{dead}, of {events}, are dead; `oubliette purge` removes private halves alone: this store cannot change events"
            ),
            Purges::Nothing => format!("{dead}, of {events}, are dead and stay: this store removes nothing"),
        })?;
    }
    Ok(())
}

/// Bytes as people read them.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.0} %", part as f64 / whole as f64 * 100.0)
}
