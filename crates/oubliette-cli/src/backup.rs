//! Backups of the vault: making one, the catalogue of them, and restoring.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use oubliette::{
    TaskError,
    event::Timestamp,
    vault::{
        Backup, BackupId, BackupState,
        backup::{BackupError, Identities, Recipients, VerifiedBackup},
    },
};
use serde::Serialize;

use super::{
    allowed::Touches,
    asking::refuse_dash,
    clock::{expiry, time, utc},
    erasures,
    exit::CliError,
    known::noted,
    open::Globals,
    output::{self, Out, note, stdout_style},
    root::tell_of_medium,
    tables::{self, cell, number},
    watch::Spinner,
};

/// Copy the vault into one file that only the recipients can open
///
/// The program needs the vault for itself; a service that holds it makes its backups by `Vault::back_up` while it
/// runs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  age-keygen -o key.txt
      (once; keep it elsewhere, never beside the backups)
  oubliette backup --to age1… --expires 90d vault-2026-05.age
  oubliette backup list
  oubliette backup retire 0198c2de-6f0d-7d6e-8c1e-4c539d0b5b6c
      (after the file was destroyed)
  oubliette restore vault-2026-05.age --identity key.txt

A backup holds the keys of everybody who is not forgotten yet, and forgetting
does not reach it: until you say that it is destroyed (`backup retire`),
`forget` names it. Only the vault is in it; back up the events as you back up
any database, and keep policy.toml.")]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(Debug, Args)]
struct MakeArgs {
    /// Seal it to this age recipient; may be given several times
    #[arg(long, value_name = "age1…")]
    to: Vec<String>,
    /// Seal it to the recipients in this file, each on a line
    #[arg(long, value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
    /// When its file will be destroyed: 90d, 6mo, 1y, or by the end of a day such as 2027-01-31 (UTC)
    #[arg(long, value_name = "WHEN", required = true, value_parser = expiry)]
    expires: Option<Timestamp>,
    /// The file to write; it must not exist
    #[arg(required = true, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// List the backups of this vault, and which are outstanding
    #[command(after_help = "Example:\n  oubliette backup list --json")]
    List,
    /// Record that a backup, and every copy of it, is destroyed
    #[command(
        after_help = "Example:\n  oubliette backup retire 0198c2de-6f0d-7d6e-8c1e-4c539d0b5b6c"
    )]
    Retire {
        /// Its id, as `backup list` prints it
        #[arg(value_parser = whole_id)]
        id: BackupId,
    },
}

/// What a UUID lacks says little to whoever took its beginning.
fn whole_id(text: &str) -> Result<BackupId, String> {
    text.parse().map_err(|_| "give the whole id, as `oubliette backup list` shows it".to_owned())
}

impl BackupArgs {
    pub(super) fn touches(&self) -> Touches {
        match self.command {
            Some(BackupCommand::List) => Touches::Vault,
            None | Some(BackupCommand::Retire { .. }) => Touches::Changes,
        }
    }
}

/// Make the vault anew from a backup, beside its events
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette restore vault-2026-05.age --identity key.txt
  oubliette restore vault-2026-05.age --identity key.txt --overwrite-slot
      (the slot is still there, and the vault that worked under it is gone)
  oubliette restore vault-2026-05.age --identity key.txt \\
      --erasures erasures.ndjson

Who was forgotten after the backup was made stays so: erasures that the events
announce are applied again before anything is read, and so are those in
--erasures (which `erasures export` wrote). What neither knows cannot be known:
forget again by name.

Where announcements are missing in the event store, the vault is restored, and
stays closed until somebody accepts that by name: --past-gap WHO says so with
the same command, or with a later one.

The backup is read through and checked before anything is written. The vault
gets a new root key in a new root slot (--root says where). A root slot of this
vault that is there is left alone, because a folder may work under it: for a
drill beside production, name another place. If that folder's vault is gone, and
this one takes its stead, say so with --overwrite-slot. Keys that were made
after the backup are not in it: events that they sealed cannot be read again.")]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// The file with an age identity of one of its recipients, as `age-keygen` writes it
    #[arg(long, short, value_name = "FILE")]
    identity: PathBuf,
    /// Erasures to apply to what is restored, as `erasures export` wrote them; `-` is stdin
    #[arg(long, value_name = "FILE")]
    erasures: Option<PathBuf>,
    /// Apply what is there of a list whose end is missing
    #[arg(long, requires = "erasures")]
    even_cut: bool,
    /// Restore it though its day has passed
    #[arg(long)]
    even_expired: bool,
    /// Overwrite the vault's root slot that is there: the folder that worked under it is gone
    #[arg(long)]
    overwrite_slot: bool,
}

pub(super) async fn run(
    globals: &Globals,
    args: BackupArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    match args.command {
        None => make(globals, args.make, out).await,
        Some(BackupCommand::List) => list(globals, out).await,
        Some(BackupCommand::Retire { id }) => retire(globals, id, out).await,
    }
}

async fn make(globals: &Globals, args: MakeArgs, out: &mut Out) -> Result<(), CliError> {
    let mut recipients = Recipients::default();
    args.to.iter().try_for_each(|to| recipients.add(to))?;
    args.recipients_file.iter().try_for_each(|file| recipients.add_file(file))?;
    let (Some(file), Some(expires)) = (args.file, args.expires) else {
        return Err(CliError::usage("FILE and --expires are needed"));
    };
    refuse_dash("FILE", &file)?;
    if expires <= Timestamp::now() {
        return Err(BackupError::ExpiresInThePast(expires).into());
    }
    let store = globals.open_existing().await?;
    let vault = store.vault().ok_or_else(|| CliError::failed("there is no vault"))?;
    let watch = Spinner::new("places written");
    let told = watch.teller();
    let backup = vault.back_up(&file, &recipients, expires, told).await;
    watch.finish();
    let backup = backup?;
    let did = format!(
        "backup {} is in {}: about {}, to be destroyed by {}",
        backup.backup,
        stdout_style().strong(&output::printable(&file.display().to_string())),
        output::count(backup.keys.unwrap_or_default(), "key"),
        time(backup.expires),
    );
    out.did(&did);
    if globals.json {
        out.json(&Row::of(&backup))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}

async fn list(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_to_list().await?;
    let vault = store.vault().ok_or_else(|| CliError::failed("there is no vault"))?;
    let backups = vault.backups()?;
    if globals.json {
        backups.iter().try_for_each(|backup| out.json(&Row::of(backup)))?;
        return Ok(());
    }
    let mut table =
        tables::table(&["backup", "created (UTC)", "expires (UTC)", "keys", "to", "state", "file"]);
    for backup in &backups {
        let row = vec![
            cell(backup.backup),
            cell(utc(backup.created)),
            cell(utc(backup.expires)),
            number(backup.keys.map_or_else(String::new, |keys| format!("~{keys}"))),
            number(backup.recipients.len()),
            cell(state(backup)),
            cell(output::printable(&backup.file)),
        ];
        tables::add(&mut table, row);
    }
    if backups.is_empty() {
        note(false, "no backup was made of this vault");
    } else {
        out.table(table)?;
    }
    Ok(())
}

fn state(backup: &Backup) -> String {
    match backup.state(Timestamp::now()) {
        BackupState::Valid => "valid".to_owned(),
        BackupState::Incomplete => "incomplete: destroy its draft, then retire it".to_owned(),
        BackupState::Expired => {
            "expired: destroy it, then retire it; forgetting names it until then".to_owned()
        }
        _ => match &backup.retired {
            Some(at) => format!("retired {}", time(*at)),
            None => "unknown".to_owned(),
        },
    }
}

async fn retire(globals: &Globals, id: BackupId, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_existing().await?;
    let vault = store.vault().ok_or_else(|| CliError::failed("there is no vault"))?;
    let backup = vault.retire_backup(id).await?.ok_or(BackupError::Unknown(id))?;
    let file = output::printable(&backup.file);
    let did = format!("backup {id} ({file}) no longer counts as a copy of anybody's keys");
    out.did(&did);
    if globals.json {
        out.json(&Row::of(&backup))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}

pub(super) async fn restore(
    globals: &Globals,
    args: RestoreArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    refuse_dash("FILE", &args.file)?;
    refuse_dash("--identity", &args.identity)?;
    let identities = Identities::from_file(&args.identity)?;
    let read = |file: &PathBuf| erasures::read(file, args.even_cut);
    let erasures = args.erasures.as_ref().map(read).transpose()?;
    erasures.iter().for_each(|list| erasures::tell_if_empty(globals.json, list));
    let erasures = erasures.unwrap_or_default();
    let (file, watch) = (args.file.clone(), Spinner::new("places restored"));
    let read = tokio::task::spawn_blocking(move || VerifiedBackup::read(&file, identities));
    let verified = read.await.map_err(TaskError::from)??;
    if !args.even_expired {
        verified.refuse_expired()?;
    }
    let verified = verified.overwriting_slot(args.overwrite_slot);
    let created = verified.created();
    let restored = globals.unlocked()?.restore(verified, erasures, watch.teller()).await;
    watch.finish();
    let restored = restored?;
    restored.parts.notes.iter().for_each(|told| note(globals.json, &noted(told)));
    globals.tell_of_witness(&restored.parts.oubliette.witnessed());
    if let Some(left) = &restored.left {
        let text = format!(
            "the root slot before, {}, is still there, and opens copies of the vault from before: \
             if no folder uses it any more, destroy it",
            left.display()
        );
        note(globals.json, &text);
    }
    let (applied, foreign) = match &restored.replayed {
        Some(replayed) => (replayed.erasures.len() as u64, replayed.foreign),
        None => (0, 0),
    };
    if foreign > 0 {
        let text = format!("{} passed over: another vault's", output::count(foreign, "erasure"));
        note(globals.json, &text);
    }
    let did = format!(
        "vault {} is as it was on {}: {} (backup {})",
        restored.restored.vault,
        time(created),
        output::count(restored.restored.keys, "key"),
        restored.restored.backup.backup,
    );
    if globals.root.is_some() {
        tell_of_medium(globals.json, &restored.root);
    }
    out.did(format!("{did}; its root slot is {}", restored.root.display()));
    if globals.json {
        out.json(&Told {
            vault: restored.restored.vault.to_string(),
            backup: restored.restored.backup.backup,
            created,
            keys: restored.restored.keys,
            epoch: restored.restored.epoch,
            applied,
            root: restored.root,
        })?;
        return Ok(());
    }
    out.line(&did)?;
    if args.erasures.is_some() {
        out.line(&format!("{} of the file applied to it", output::count(applied, "erasure")))?;
    }
    let root = output::printable(&restored.root.display().to_string());
    out.line(&format!("its root slot is {root}"))?;
    note(
        false,
        "events that were sealed under keys made after the backup cannot be read again, and \
         backups made after it are not in the catalogue",
    );
    Ok(())
}

/// A backup, with its state.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    backup: &'a Backup,
    state: BackupState,
}

impl<'a> Row<'a> {
    fn of(backup: &'a Backup) -> Self {
        Self { backup, state: backup.state(Timestamp::now()) }
    }
}

/// What is told of a restoration.
#[derive(Serialize)]
struct Told {
    vault: String,
    backup: BackupId,
    created: Timestamp,
    keys: u64,
    epoch: u64,
    /// How many of the given erasures were applied to it.
    applied: u64,
    root: PathBuf,
}
