//! Copying what another store has in clear into the data folder: the way in for what is there already.
//!
//! [`trial`] looks beforehand.

mod trial;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use clap::Args;
use futures::TryStreamExt;
use oubliette::{
    event::{EventId, RecordedEvent},
    store::{
        Comparison, Copied, EventStore, NotKept, ReadAllOptions, Refused, StoreError, compare,
        copy_except, not_kept, sqlite::OpenMode,
    },
};
use oubliette_folder::{OpenedStore, StorePlace};
use serde_json::json;

use super::{
    adoption::is_the_stores,
    allowed::Touches,
    exit::{CliError, Exit},
    open::{Globals, Store},
    output::{Out, agree, count, note, printable},
    stores::{PlaceParser, stores_to_copy, warning},
    watch::Watch,
};

/// Copy the clear events of another store into the data folder
///
/// The way in for events that are there already. They are sealed on the way.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette migrate --from old/events --policy policy.toml --dry-run
  oubliette migrate --from old/events --policy policy.toml
  oubliette migrate --from postgres://app@db/shop?schema=clear
  oubliette migrate --from old/events --to postgres://app@db/shop

OUBLIETTE_FROM_PASSWORD holds the password of a source at a server.

Event ids, streams, types, payloads, metadata and order stay, and so do times
and revisions where the target can keep them; it is said where it cannot. What
the policy does not call public is sealed. Streams `oubliette-*` and
tombstones are another vault's word, and are left out and counted.

It may be cut off and repeated: what is there already is passed over. What is
appended to the source meanwhile may be missed: stop its writers, or migrate
again afterwards. Events of subjects that are forgotten here are not copied
again, and are counted. An event whose place in its stream this store has given
to another, a tombstone say, comes at a later revision, which is counted too.

In the end both sides are read and compared. Exit code 1 where they differ; 4
where they do not, but events of forgotten subjects were left out. The source is
not changed: it stays in clear until you destroy it.

--dry-run reads the source alone. It says how many events would be copied, which
streams no rule of the policy matches, what would be refused, and what is not
kept of times and revisions.")]
pub(super) struct MigrateArgs {
    /// The store to copy, as with --store
    #[arg(long, value_name = "STORE", value_parser = PlaceParser)]
    from: StorePlace,
    /// The event store of the data folder, if it is not noted; as --store
    #[arg(long, value_name = "STORE", value_parser = PlaceParser)]
    to: Option<StorePlace>,
    /// Copy nothing, and say what would be
    #[arg(long)]
    dry_run: bool,
}

impl MigrateArgs {
    pub(super) fn touches(&self) -> Touches {
        if self.dry_run { Touches::Vault } else { Touches::Changes }
    }
}

/// Events of the source that are not copied.
#[derive(Debug, Default)]
struct LeftOut {
    bookkeeping: AtomicU64,
    tombstones: AtomicU64,
}

impl LeftOut {
    /// Whether an event is another vault's word; counts it.
    fn takes(&self, event: &RecordedEvent) -> bool {
        let counter = if event.stream.as_str().starts_with("oubliette-") {
            &self.bookkeeping
        } else if event.is_tombstone() {
            &self.tombstones
        } else {
            return false;
        };
        counter.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn counts(&self) -> (u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.bookkeeping), of(&self.tombstones))
    }

    /// In words, where there are any.
    fn told(&self) -> Vec<String> {
        let (bookkeeping, tombstones) = self.counts();
        let bookkeeping = (bookkeeping > 0)
            .then(|| format!("{} in `oubliette-*` left out", count(bookkeeping, "event")));
        let tombstones =
            (tombstones > 0).then(|| format!("{} left out", count(tombstones, "tombstone")));
        bookkeeping.into_iter().chain(tombstones).collect()
    }
}

pub(super) async fn run(
    mut globals: Globals,
    args: MigrateArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    if args.to.is_some() && globals.store.is_some() {
        return Err(CliError::usage("--to and --store say the same: leave one of them out"));
    }
    let said = [("--from", Some(&args.from)), ("--to", args.to.as_ref())];
    for (option, place) in said {
        let place = place.and_then(|place| warning(option, place));
        place.iter().for_each(|text| note(globals.json, text));
    }
    globals.store = args.to.or(globals.store);
    let from = source(&globals, &args.from).await?;
    match args.dry_run {
        true => trial::run(&globals, &from, out).await,
        false => migrate(&globals, &from, &args.from, out).await,
    }
}

/// Opens the store that is to be copied, beneath any layer.
async fn source(globals: &Globals, place: &StorePlace) -> Result<OpenedStore, CliError> {
    let folder = globals.folder().with_stores(stores_to_copy());
    let vaults = match folder.vaults_of(place).await {
        Ok(vaults) => vaults,
        Err(error) => {
            let error = CliError::from(error);
            let is_data = place.folder().is_some_and(|folder| folder.join("events").is_dir());
            return Err(match is_data {
                true => error.with_hint("that is a data folder: name the folder `events` in it"),
                false => error,
            });
        }
    };
    if !vaults.is_empty() {
        return Err(CliError::failed(format!(
            "the events at {place} are sealed by vault {}, and are read in clear by that vault alone: nothing was copied",
            vaults.join(", ")
        ))
        .with_hint(
            "of that vault's data folder, `oubliette read-all --json` writes what is readable, and \
             `oubliette import --keep-times -` takes it",
        ));
    }
    Ok(folder.open_store(place, OpenMode::ReadOnly).await?)
}

/// What was done, and whether it is right.
struct Done {
    copied: Copied,
    left_out: LeftOut,
    /// Events of subjects that are forgotten here, which are not there.
    refused: u64,
    /// Those that are, and of which parts are gone.
    shredded: u64,
    not_kept: &'static [NotKept],
    compared: Comparison,
}

async fn migrate(
    globals: &Globals,
    from: &OpenedStore,
    place: &StorePlace,
    out: &mut Out,
) -> Result<(), CliError> {
    let (store, mut adoption) = globals.open_or_create().await?;
    let not_kept = not_kept(&store);
    for what in not_kept {
        note(globals.json, &format!("the event store does not keep {what}"));
    }
    adoption.begin(&store).await?;
    let left_out = LeftOut::default();
    let mut watch = Watch::new(globals.json);
    let mut so_far = Copied::default();
    let mut taken = |event: RecordedEvent| (!left_out.takes(&event)).then_some(event);
    let (mut refused, mut ended_by) = (HashSet::new(), None);
    let mut when_refused = |event: &RecordedEvent, error: &StoreError| {
        match error {
            StoreError::Forgotten { .. } => {
                refused.insert(event.id);
                Refused::LeftOut
            }
            // A tombstone has its place, or what was appended here since.
            StoreError::Conflict { .. } => Refused::Later,
            _ => {
                ended_by = Some((event.id, event.revision, event.stream.clone()));
                Refused::Ends
            }
        }
    };
    let mut progress = |copied: Copied| {
        so_far = copied;
        watch.count(format!("{} copied, {} there already", copied.written, copied.already));
    };
    let copied =
        copy_except(&from.store, &store, None, &mut taken, &mut when_refused, &mut progress).await;
    watch.finish();
    let stays = "what was copied stays; repeat the same migrate, and what is there is passed over";
    let copied = match copied {
        Ok(copied) => copied,
        Err(error) => {
            let nothing = so_far.written + so_far.already == 0;
            match nothing && !is_the_stores(&error) {
                true => adoption.put_back(&store).await?,
                false => adoption.keep(),
            }
            if let Some((id, revision, stream)) = ended_by {
                let stream = printable(stream.as_str());
                note(
                    globals.json,
                    &format!(
                        "it ended at event {id}, revision {revision} of {stream}; --dry-run names all that the policy \
                         would refuse"
                    ),
                );
            }
            return Err(CliError::from(error).with_hint(stays));
        }
    };
    adoption.keep();
    out.did(format!("{} copied", count(copied.written, "event")));
    let shredded = shredded(&store).await.map_err(|error| error.with_hint(stays))?;
    let counted = LeftOut::default();
    let (mut passed, mut gone) = (0, 0);
    let mut compared_with = |event: RecordedEvent| {
        if counted.takes(&event) {
            return None;
        }
        if shredded.contains(&event.id) {
            gone += 1;
            return None;
        }
        if refused.contains(&event.id) {
            passed += 1;
            return None;
        }
        Some(event)
    };
    let mut watch = Watch::new(globals.json);
    let compared = compare(&from.store, &store, &mut compared_with, &mut |same| {
        watch.count(format!("{} compared", count(same, "event")));
    })
    .await;
    watch.finish();
    let compared = compared.map_err(|error| {
        CliError::from(error)
            .with_hint("all is copied; comparing it failed: repeat the same migrate")
    })?;
    let done = Done { copied, left_out, refused: passed, shredded: gone, not_kept, compared };
    done.tell(globals.json, place, out)
}

/// Events of which parts are gone here, because somebody was forgotten since they were copied.
async fn shredded(store: &Store) -> Result<HashSet<EventId>, CliError> {
    let mut shredded = HashSet::new();
    if store.erasures()?.is_empty() {
        return Ok(shredded);
    }
    let mut events = store.read_all(ReadAllOptions::default());
    while let Some(event) = events.try_next().await? {
        if !event.shredded.is_empty() {
            shredded.insert(event.id);
        }
    }
    Ok(shredded)
}

impl Done {
    fn tell(&self, json: bool, from: &StorePlace, out: &mut Out) -> Result<(), CliError> {
        let Self { copied, left_out, refused, shredded, not_kept, compared } = self;
        if json {
            let (bookkeeping, tombstones) = left_out.counts();
            let not_kept = names_of(not_kept);
            let later = match compared {
                Comparison::Same { later, .. } => *later,
                _ => 0,
            };
            let different = match compared {
                Comparison::Different { id, stream, what, .. } => {
                    json!({ "id": id, "stream": stream, "what": what.to_string() })
                }
                _ => json!(null),
            };
            out.json(&json!({
                "copied": copied.written, "already": copied.already,
                "left_out": { "bookkeeping": bookkeeping, "tombstones": tombstones },
                "forgotten": refused, "shredded": shredded, "not_kept": not_kept,
                "same": matches!(compared, Comparison::Same { .. }),
                "compared": compared_events(compared), "later": later, "different": different,
            }))?;
        } else {
            let mut words =
                vec![format!("{} copied, {} there already", copied.written, copied.already)];
            words.extend(left_out.told());
            if *refused > 0 {
                words.push(format!("{refused} not copied (subject forgotten)"));
            }
            out.line(&words.join(", "))?;
            if *shredded > 0 {
                let (events, were) = (count(*shredded, "event"), agree(*shredded, "was", "were"));
                out.line(&format!(
                    "{events} {were} not compared: somebody was forgotten since, and parts are gone"
                ))?;
            }
            out.line(&match compared {
                Comparison::Same { events, later: 0 } => {
                    format!("both sides were read: {} the same", count(*events, "event"))
                }
                Comparison::Same { events, later } => format!(
                    "both sides were read: {} the same, {later} of them at later revisions, behind what this store has of \
                     its own in their streams",
                    count(*events, "event")
                ),
                Comparison::Different { id, stream, what, same } => format!(
                    "both sides were read, and they differ: event {id} of {stream}: {what} ({} the same before it)",
                    count(*same, "event")
                ),
                _ => "both sides were read".to_owned(),
            })?;
        }
        if !matches!(compared, Comparison::Same { .. }) {
            return Err(CliError::Told(Exit::Failed));
        }
        if !json {
            note(
                false,
                &format!(
                    "{from} is as it was, in clear: whoever reads it reads who is forgotten here"
                ),
            );
        }
        if *refused > 0 { Err(CliError::Told(Exit::Forgotten)) } else { Ok(()) }
    }
}

/// What a target does not keep, for programs.
fn names_of(not_kept: &[NotKept]) -> Vec<&'static str> {
    let name = |what: &NotKept| match what {
        NotKept::Times => "times",
        NotKept::Revisions => "revisions",
        _ => "more",
    };
    not_kept.iter().map(name).collect()
}

fn compared_events(compared: &Comparison) -> u64 {
    match compared {
        Comparison::Same { events, .. } => *events,
        Comparison::Different { same, .. } => *same,
        _ => 0,
    }
}
