//! The keys with which the vault signs tombstones and announcements.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use jiff::{civil::Date, tz::TimeZone};
use oubliette::{
    erasure::{Compromised, ErasureError, KeyChange, KeyChangeError, PendingError, change_key},
    event::{SigningKeyId, Timestamp},
    vault::{KeyOrigin, PinnedSuccessor, SigningKeyInfo, Successor, Vault},
};
use serde::Serialize;
use serde_json::json;

use super::{
    allowed::Touches,
    asking::refuse_dash,
    clock::{time, utc},
    exit::CliError,
    open::{Globals, Store},
    output::{Out, note, printable},
    tables::{self, cell},
};

/// List the keys that sign; pin, change or distrust one
///
/// They sign tombstones and announcements.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette keys
  oubliette keys --json > signing-keys.ndjson
      (public: give it to whoever is to check tombstones)
  oubliette keys successor --out successor.key
      (once, for every vault: then take the file elsewhere, and make a backup)
  oubliette keys rotate --successor successor.key --compromised-since 2026-11-20
      (after somebody got the vault's folder and its root slot)
  oubliette keys distrust KEY --compromised-since 2026-01-31
      (of an earlier key, whose id the list has)

The secret of the key that signs is in the vault's folder and in no backup. So a
vault that is restored from a backup makes a key of its own, and knows the
earlier ones. Whoever has a copy of the folder and its root slot has the secret
as well, and can sign a change of the key. A successor that was pinned before,
and is kept elsewhere, is what they do not have: where one is pinned, nothing
else can take the key's place.

docs/signing-keys.md says what to do when a key is lost or stolen, step by step.")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: Option<KeysCommand>,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make the key that is to follow the present one
    ///
    /// Its secret is written to a file, for you to keep elsewhere.
    #[command(after_help = "\
The vault notes the public key and announces it. The secret is in the file
alone, which only you may read: keep it offline, apart from the vault, its root
slot and its backups. Then make a backup: a vault that is restored from an
earlier one does not know of the successor by itself.")]
    Successor {
        /// The file to write: a new one, outside of the data folder
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign with another key from now on
    ///
    /// The secret of the present one is destroyed.
    #[command(after_help = "\
Examples:
  oubliette keys rotate
      (no successor is pinned: the present key signs the change)
  oubliette keys rotate --successor successor.key
      (the pinned one takes over; pin the next one afterwards)
  oubliette keys rotate --successor successor.key --compromised-since 2026-11-20

The change is announced in the event store, so that a vault that is restored
learns of it there. With --compromised-since nothing counts any more that only
the earlier key says, whatever date it bears, nor what a key says that a
restored vault made for itself meanwhile. --distrust names other keys that were
stolen as well. What this vault knows of erasures it announces again under the
new key, and it sets its tombstones again. The key changes before anything that
an earlier one announced is applied.

Make a backup afterwards.")]
    Rotate {
        /// The file of the pinned successor
        #[arg(long, value_name = "FILE")]
        successor: Option<PathBuf>,
        /// Since when somebody else may have the present key (UTC): 2026-11-20, or
        /// 2026-11-20T08:00:00Z for an instant
        #[arg(long, value_name = "WHEN", value_parser = instant)]
        compromised_since: Option<Timestamp>,
        /// An earlier key that somebody else has as well; may be said again
        #[arg(long, value_name = "KEY", requires = "compromised_since", value_parser = key)]
        distrust: Vec<SigningKeyId>,
        /// The successor's file is lost: a vault restored from an earlier backup will not know the new key
        #[arg(long, conflicts_with = "successor")]
        without_successor: bool,
    },
    /// Count no more what only an earlier key says
    ///
    /// For one that somebody else has as well.
    #[command(after_help = "\
Examples:
  oubliette keys
      (which keys there were, and when each signed)
  oubliette keys distrust 5YQDkV3PqkHn2mA7sZcB0w --compromised-since 2026-01-31

The key that signs now says so in the event store, so that a vault that is
restored from an earlier backup learns of it there. Whatever date it bears,
nothing counts any more that only an earlier key says which is named here. What
this vault knows of erasures it announces again under the key that signs, and it
sets its tombstones again. A key can distrust none that came after it.

Where the key that signs now was stolen as well, change it: `oubliette keys
rotate --compromised-since WHEN --distrust KEY`.

Make a backup afterwards.")]
    Distrust {
        /// The ids of the keys, as `oubliette keys` lists them
        #[arg(required = true, value_name = "KEY", value_parser = key)]
        keys: Vec<SigningKeyId>,
        /// Since when somebody else may have them (UTC): 2026-11-20, or
        /// 2026-11-20T08:00:00Z for an instant
        #[arg(long, value_name = "WHEN", value_parser = instant)]
        compromised_since: Timestamp,
    },
}

impl KeysArgs {
    pub(super) fn touches(&self) -> Touches {
        if self.command.is_some() { Touches::Changes } else { Touches::Vault }
    }
}

fn key(text: &str) -> Result<SigningKeyId, String> {
    text.parse().map_err(|_| "not the id of a signing key: `oubliette keys` lists them".to_owned())
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let instant = moment(text)?;
    if instant > Timestamp::now() {
        return Err("it is still to come".to_owned());
    }
    Ok(instant)
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let wrong = "neither a date such as 2026-11-20 nor an instant such as 2026-11-20T08:00:00Z";
    let date: Date = text.parse().map_err(|_| wrong)?;
    let at = date.to_zoned_datetime(TimeZone::UTC).map_err(|_| wrong)?;
    Ok(Timestamp::from_micros(at.timestamp().as_microsecond()))
}

pub(super) async fn run(globals: &Globals, args: KeysArgs, out: &mut Out) -> Result<(), CliError> {
    match args.command {
        None => list(globals, out).await,
        Some(KeysCommand::Successor { out: file }) => pin(globals, &file, out).await,
        Some(KeysCommand::Distrust { keys, compromised_since: since }) => {
            distrust(globals, KeyChange::Distrust(Compromised { since, keys }), out).await
        }
        Some(KeysCommand::Rotate { successor, compromised_since, distrust, without_successor }) => {
            let successor = successor.as_deref().map(Successor::load).transpose()?;
            let successor = successor.map(Arc::new);
            let compromised = compromised_since.map(|since| Compromised { since, keys: distrust });
            rotate(globals, KeyChange::Rotate { successor, compromised, without_successor }, out)
                .await
        }
    }
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    key: &'a SigningKeyInfo,
    signs: bool,
}

#[derive(Serialize)]
struct SuccessorRow<'a> {
    #[serde(flatten)]
    key: &'a PinnedSuccessor,
    origin: &'static str,
    signs: bool,
}

async fn list(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_to_list().await?;
    let vault = vault(&store)?;
    let (keys, successor) = (vault.signing_keys()?, vault.pinned_successor()?);
    let last = keys.len().saturating_sub(1);
    if globals.json {
        let rows = keys.iter().enumerate().map(|(n, key)| Row { key, signs: n == last });
        rows.into_iter().try_for_each(|row| out.json(&row))?;
        let pinned =
            successor.iter().map(|key| SuccessorRow { key, origin: "pinned", signs: false });
        return Ok(pinned.into_iter().try_for_each(|row| out.json(&row))?);
    }
    let mut table =
        tables::table(&["key", "since (UTC)", "until (UTC)", "state", "origin", "public"]);
    let day = |at: Option<Timestamp>| at.map_or(String::new(), utc);
    for (number, key) in keys.iter().enumerate() {
        let state = match key.compromised {
            Some(at) => format!("compromised since {}", time(at)),
            None if number == last => "signs".to_owned(),
            // It was learned of, and goes on signing where its secret is.
            None if key.until.is_none() => "signs elsewhere".to_owned(),
            None => "retired".to_owned(),
        };
        let row = [
            key.key.to_string(),
            day(Some(key.since)),
            day(key.until),
            state,
            origin(key.origin).to_owned(),
            key.public.to_string(),
        ];
        tables::add(&mut table, row.iter().map(cell).collect());
    }
    if let Some(pinned) = &successor {
        let row = [
            pinned.key.to_string(),
            day(Some(pinned.since)),
            String::new(),
            "pinned successor".to_owned(),
            format!("for {}", pinned.replaces),
            pinned.public.to_string(),
        ];
        tables::add(&mut table, row.iter().map(cell).collect());
    }
    out.table(table)?;
    let restored = keys.last().is_some_and(|key| key.origin == KeyOrigin::Restored);
    match (restored, &successor) {
        (true, None) => note(
            false,
            "this vault had no secret that signs (it was restored, put back or copied), and made a key: no \
             earlier key vouches for it. Make a new backup, and restore no older one",
        ),
        (true, Some(_)) => note(
            false,
            "this vault had no secret that signs (it was restored, put back or copied), and made a key: no \
             earlier key vouches for it. `oubliette keys rotate --successor FILE` puts the pinned \
             successor in its place, which earlier backups know",
        ),
        (false, None) => note(
            false,
            "no successor is pinned: whoever steals the key can sign a change of it as well. \
             `oubliette keys successor --out FILE` pins one",
        ),
        (false, Some(_)) => {}
    }
    Ok(())
}

fn origin(origin: KeyOrigin) -> &'static str {
    match origin {
        KeyOrigin::Created => "created with the vault",
        KeyOrigin::Restored => "made when it was restored or copied",
        KeyOrigin::Rotated => "rotated",
        KeyOrigin::Successor => "pinned successor",
        _ => "unknown",
    }
}

fn vault(store: &Store) -> Result<&Vault, CliError> {
    store.vault().ok_or_else(|| CliError::failed("there is no vault"))
}

async fn pin(globals: &Globals, file: &Path, out: &mut Out) -> Result<(), CliError> {
    refuse_dash("--out", file)?;
    refuse_within(globals, file)?;
    let store = globals.open_existing().await?;
    let vault = vault(&store)?;
    if let Some(pinned) = vault.pinned_successor()? {
        return Err(KeyChangeError::AlreadyPinned(pinned.key).into());
    }
    let successor = Arc::new(Successor::generate(vault.id())?);
    // Before it counts: a successor whose secret nobody has could never take over.
    successor.save(file)?;
    let pinned = change_key(vault, &KeyChange::Pin(Arc::clone(&successor))).await;
    if pinned.is_err() {
        // It is nobody's successor.
        let _ = fs::remove_file(file);
    }
    pinned?;
    let did = format!("key {} is to follow the one that signs", successor.id());
    out.did(format!("{did}, and its secret is in {}", file.display()));
    tell_pending(globals, &store).await?;
    if globals.json {
        out.json(&json!({
            "key": successor.id(), "public": successor.public(), "file": file.display().to_string(),
        }))?;
    } else {
        out.line(&did)?;
        let file = printable(&file.display().to_string());
        out.line(&format!("its secret is in {file} and nowhere else"))?;
    }
    note(
        globals.json,
        "take the file elsewhere, apart from the vault, its root slot and its backups, and make a backup of \
         the vault now: one that is restored from an earlier backup may not know of the successor",
    );
    Ok(())
}

/// A file in the vault's folder is stolen with it.
fn refuse_within(globals: &Globals, file: &Path) -> Result<(), CliError> {
    let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let Ok(at) = fs::canonicalize(parent) else { return Ok(()) };
    let (_, vault) = globals.places();
    for folder in [&globals.dir, &vault] {
        if fs::canonicalize(folder).is_ok_and(|folder| at.starts_with(folder)) {
            let told = format!("{} lies in {}", file.display(), folder.display());
            return Err(CliError::usage(told).with_hint(
                "whoever copies the folder would have the successor, too: keep it elsewhere",
            ));
        }
    }
    Ok(())
}

async fn rotate(globals: &Globals, change: KeyChange, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_with_key_change(change).await?;
    let vault = vault(&store)?;
    let keys = vault.signing_keys()?;
    let Some((now, earlier)) = keys.split_last() else { return Ok(()) };
    let did = format!("key {} signs from now on", now.key);
    out.did(&did);
    tell_pending(globals, &store).await?;
    if globals.json {
        out.json(&json!({
            "key": now.key, "public": now.public, "origin": now.origin,
            "replaced": earlier.last().map(|key| key.key),
            "compromised": compromised(&keys),
        }))?;
    } else {
        out.line(&did)?;
        tell_compromised(&keys, out)?;
    }
    let pin = match now.origin {
        KeyOrigin::Successor => {
            "pin the next successor (`oubliette keys successor --out FILE`), and "
        }
        _ => "",
    };
    note(globals.json, &format!("{pin}make a new backup of the vault, and restore no older one"));
    Ok(())
}

async fn distrust(globals: &Globals, change: KeyChange, out: &mut Out) -> Result<(), CliError> {
    let store = globals.open_with_key_change(change).await?;
    let keys = vault(&store)?.signing_keys()?;
    out.did("an earlier signing key is distrusted");
    tell_pending(globals, &store).await?;
    if globals.json {
        let signs = keys.last().map(|key| key.key);
        out.json(&json!({ "key": signs, "compromised": compromised(&keys) }))?;
    } else {
        tell_compromised(&keys, out)?;
    }
    note(globals.json, "make a new backup of the vault, and restore no older one");
    Ok(())
}

/// All that are, whenever somebody said so.
fn compromised(keys: &[SigningKeyInfo]) -> Vec<SigningKeyId> {
    keys.iter().filter(|key| key.compromised.is_some()).map(|key| key.key).collect()
}

fn tell_compromised(keys: &[SigningKeyInfo], out: &mut Out) -> Result<(), CliError> {
    for key in compromised(keys) {
        out.line(&format!("what only key {key} says does not count any more"))?;
    }
    Ok(())
}

/// Has the event store told, and says where it could not be.
async fn tell_pending(globals: &Globals, store: &Store) -> Result<(), CliError> {
    match store.resume().await {
        Ok(_) => Ok(()),
        // What waits for a mirror is told as an error, because somebody has to see to it.
        Err(ErasureError::Pending(error)) if !matches!(error, PendingError::Mirrors { .. }) => {
            note(globals.json, &error.to_string());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
