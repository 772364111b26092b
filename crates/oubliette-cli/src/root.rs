//! The root slot: where it is, what wraps it, its mirrors.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use oubliette::vault::{Kek, Medium, MirrorState, Vault, VaultError};

use super::{
    allowed::Touches,
    asking::{passphrase, refuse_dash, refuse_unasked},
    exit::CliError,
    kek::KekParser,
    open::{Globals, Store},
    output::{self, Out, note},
    tables::{self, cell, number},
};

/// Show where the root slot is, or change how it is kept
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette root
  oubliette --root /media/new/bank.root root
      (and notes for you that the slot is there now)
  oubliette root kek passphrase
  oubliette root kek 'command:aws kms decrypt --query Plaintext \\
      --ciphertext-blob fileb:///etc/kek.bin --output text'
  oubliette root mirror add /media/stick/oubliette.root
  oubliette root mirror retire /media/stick/oubliette.root
  oubliette root move /safe/oubliette.root
  oubliette root counter bind tpm:0x01500020
  oubliette --dir staging root own")]
pub(super) struct RootArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Wrap the root key by another key-encryption key, or by none
    #[command(after_help = "\
KEK is one of
  none          whoever reads the slot has the root key
  passphrase    asked for on the terminal, or in OUBLIETTE_NEW_PASSPHRASE
  file:PATH     a file with a key of 32 bytes: raw, as 64 hexadecimal digits, or
                in Base64
  env:VAR       a variable with such a key, as text
  command:CMD   a command that writes such a key, so that any KMS can keep it

The vault's pages stay as they are, and so does the root key: an earlier copy of
the slot opens with the earlier KEK until the next erasure.")]
    Kek {
        /// The new one
        #[arg(value_name = "KEK", value_parser = KekParser)]
        new: Kek,
    },
    /// Add and retire copies of the slot on other devices
    Mirror(MirrorArgs),
    /// Give a copy of a data folder a root slot of its own
    ///
    /// From then on the two are vaults apart.
    #[command(after_help = "\
For a folder that was copied, with `cp -r` or as a whole disk: until then both
folders have one root slot, and only one of them opens. What is forgotten in one
of the two afterwards lives on in the other. The slot that they had in common is
read, and stays the other folder's, with its mirrors and its counter; --kek says
what wraps it, and the new one as well.")]
    Own {
        /// Where it is to be; without it, in the user's state directory
        #[arg(value_name = "LOCATION")]
        location: Option<PathBuf>,
    },
    /// Move the slot to another file, and destroy the one before
    #[command(after_help = "\
Example:
  oubliette root move /safe/bank.root

Nobody may have the vault open. The folder of the new file must be there. On the
way both files hold the root, and each is known by name; then the one before is
overwritten and removed. If that is cut off, repeat it, or finish it with
`root mirror retire` of the file before. What wraps the root key stays as it is,
and so do mirrors and counter.")]
    Move {
        /// The file where it is to be
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Have a TPM's counter tell of a rollback of vault and slot together
    Counter(CounterArgs),
}

#[derive(Debug, Args)]
struct CounterArgs {
    #[command(subcommand)]
    what: CounterWhat,
}

#[derive(Debug, Subcommand)]
enum CounterWhat {
    /// Bind the slot to a counter, from the present epoch on
    ///
    /// It is made, unless it is there.
    #[command(after_help = "\
The counter is raised with every new root, and a vault that is behind it does
not open. After an old state was restored on purpose, and erasures since were
repeated, bind it anew:
  oubliette --past-counter erasures replay erasures.ndjson
  oubliette --past-counter root counter bind tpm:0x01500020")]
    Bind {
        /// Its index in the TPM's memory, of its own for each vault
        #[arg(value_name = "tpm:INDEX")]
        index: String,
    },
    /// Bind the slot to none any more, and remove the counter from the TPM
    Release {
        /// It cannot be reached any more
        #[arg(long)]
        lost: bool,
    },
}

#[derive(Debug, Args)]
struct MirrorArgs {
    #[command(subcommand)]
    what: MirrorWhat,
}

#[derive(Debug, Subcommand)]
enum MirrorWhat {
    /// Make a mirror, or take on one of this vault that is there
    ///
    /// Mount its medium first: no folder is made.
    Add {
        /// Its file
        path: PathBuf,
    },
    /// Overwrite a mirror, remove it, and no longer wait for it
    Retire {
        /// Its file
        path: PathBuf,
        /// It is out of reach, and you answer for it that it is destroyed
        #[arg(long)]
        lost: bool,
    },
}

/// Where a new passphrase is looked for, before somebody is asked.
const NEW_PASSPHRASE: &str = "OUBLIETTE_NEW_PASSPHRASE";

impl RootArgs {
    pub(super) fn touches(&self) -> Touches {
        match self.what {
            None => Touches::Vault,
            Some(What::Own { .. } | What::Move { .. }) => Touches::Places,
            Some(What::Kek { .. } | What::Mirror(_) | What::Counter(_)) => Touches::Changes,
        }
    }
}

pub(super) async fn run(globals: &Globals, args: &RootArgs, out: &mut Out) -> Result<(), CliError> {
    if let Some(What::Own { location }) = &args.what {
        return own(globals, location.clone(), out).await;
    }
    if let Some(What::Move { to }) = &args.what {
        return move_to(globals, to, out).await;
    }
    if let Some(What::Counter(CounterArgs { what: CounterWhat::Bind { index } })) = &args.what {
        judge(index)?;
    }
    if let Some(What::Kek { new: Kek::Passphrase }) = &args.what {
        refuse_unasked(NEW_PASSPHRASE)?;
    }
    let mut folder = globals.folder();
    if let Some(What::Kek { new }) = &args.what {
        folder = folder.with_kek(Some(new.clone()));
    }
    match args.what {
        None => folder.refuse_unnotable()?,
        Some(_) => folder.refuse_unwritable()?,
    }
    let store = globals.open_existing().await?;
    let vault = vault(&store)?;
    let mut kek = globals.folder().kek()?;
    match &args.what {
        None | Some(What::Own { .. } | What::Move { .. }) => {}
        Some(What::Kek { new }) => {
            let given = match new {
                Kek::Passphrase => Some(passphrase(NEW_PASSPHRASE, true)?),
                _ => None,
            };
            vault.set_kek(new, given.as_ref()).await?;
            kek = new.clone();
        }
        Some(What::Mirror(MirrorArgs { what: MirrorWhat::Add { path } })) => {
            globals.folder().add_mirror(vault, path).await?;
            let name = std::path::absolute(path)?;
            tell_of_mirrors(globals.json, vault, |mirror| Path::new(mirror) == name)?;
        }
        Some(What::Mirror(MirrorArgs { what: MirrorWhat::Retire { path, lost } })) => {
            globals.folder().retire_mirror(vault, path, *lost).await?;
        }
        Some(What::Counter(CounterArgs { what: CounterWhat::Bind { index } })) => {
            bind(vault, index).await?;
        }
        Some(What::Counter(CounterArgs { what: CounterWhat::Release { lost } })) => {
            vault.release_counter(*lost).await?;
        }
    }
    if let Some(did) = did(&args.what) {
        out.did(did);
    }
    if !vault.is_read_only() {
        let noted = globals.folder().note_places(vault, &kek);
        match (&args.what, noted) {
            (None, noted) => noted?,
            (Some(_), Ok(())) => {}
            // The slot is changed, and opens with this alone.
            (Some(What::Kek { .. }), Err(error)) => {
                let text = format!(
                    "what wraps the root key now could not be noted for you: {error}; say --kek '{kek}' \
                     with every command, until `oubliette --kek '{kek}' root` has noted it"
                );
                note(globals.json, &text);
            }
            (Some(_), Err(error)) => {
                let text =
                    format!("it could not be noted for you: {error}; the next command tries");
                note(globals.json, &text);
            }
        }
    }
    show(vault, &kek, globals.json, out)
}

/// What was done, for an error that hides the result.
fn did(what: &Option<What>) -> Option<String> {
    Some(match what.as_ref()? {
        What::Own { .. } | What::Move { .. } => return None,
        What::Kek { new } => format!("the root key is wrapped by the new KEK now (--kek '{new}')"),
        What::Mirror(MirrorArgs { what: MirrorWhat::Add { path } }) => {
            format!("{} is a mirror of the root slot now", path.display())
        }
        What::Mirror(MirrorArgs { what: MirrorWhat::Retire { path, .. } }) => {
            format!("{} is no mirror of the root slot any more", path.display())
        }
        What::Counter(CounterArgs { what: CounterWhat::Bind { index } }) => {
            format!("the root slot is bound to the counter {index}")
        }
        What::Counter(CounterArgs { what: CounterWhat::Release { .. } }) => {
            "the root slot is bound to no counter any more".to_owned()
        }
    })
}

/// On what a file of the slot was made, which somebody named: where its medium was not mounted, that shows here.
pub(super) fn tell_of_medium(json: bool, file: &Path) {
    if let Some(medium) = Medium::of(file) {
        note(json, &format!("{} is on {medium}", file.display()));
    }
}

/// On what these mirrors were made, and whether they are lost together with what they are to outlive.
pub(super) fn tell_of_mirrors(
    json: bool,
    vault: &Vault,
    is_new: impl Fn(&str) -> bool,
) -> Result<(), CliError> {
    for mirror in vault.root_slot()?.mirrors.iter().filter(|mirror| is_new(&mirror.name)) {
        tell_of_medium(json, Path::new(&mirror.name));
        if let Some(other) = &mirror.beside {
            let text = format!(
                "the mirror {} is on the same device as {}, and is lost with it. If it was to be on a medium of its \
                 own, that is not mounted: retire the mirror first, then mount the medium, and add one there",
                mirror.name,
                other.display()
            );
            note(json, &text);
        }
    }
    Ok(())
}

async fn move_to(globals: &Globals, to: &Path, out: &mut Out) -> Result<(), CliError> {
    refuse_dash("FILE", to)?;
    let folder = globals.unlocked()?;
    let moved = globals.patiently(async || folder.move_root(to.to_owned()).await).await?;
    if moved.is_some() {
        tell_of_medium(globals.json, to);
    }
    let to = std::path::absolute(to)?.display().to_string();
    let did = match &moved {
        Some(from) => {
            format!("root slot   {to} (moved from {}, which is destroyed)", from.display())
        }
        None => format!("root slot   {to} (it is there already)"),
    };
    out.did(&did);
    if globals.json {
        let from = moved.map(|from| from.display().to_string());
        out.json(&serde_json::json!({ "root": to, "from": from }))?;
    } else {
        out.line(&output::printable(&did))?;
    }
    Ok(())
}

async fn own(globals: &Globals, location: Option<PathBuf>, out: &mut Out) -> Result<(), CliError> {
    let folder = globals.unlocked()?;
    let root = globals.patiently(async || folder.give_own_slot(location.clone())).await?;
    if location.is_some() {
        tell_of_medium(globals.json, &root);
    }
    out.did(format!("the folder has a root slot of its own, {}", root.display()));
    if globals.json {
        out.json(&serde_json::json!({ "root": root }))?;
    } else {
        let root = output::printable(&root.display().to_string());
        out.line(&format!("root slot   {root} (its own)"))?;
    }
    let named = globals.root.as_ref().filter(|named| **named != root);
    if let Some(named) = named {
        let text = format!(
            "--root or OUBLIETTE_ROOT names {}, which is the other folder's: for this folder leave it out, \
             or name {}",
            named.display(),
            root.display()
        );
        note(globals.json, &text);
    }
    Ok(())
}

#[cfg(feature = "tpm")]
fn judge(index: &str) -> Result<oubliette::vault::TpmIndex, CliError> {
    index.parse().map_err(CliError::usage)
}

#[cfg(feature = "tpm")]
async fn bind(vault: &Vault, index: &str) -> Result<(), CliError> {
    Ok(vault.bind_counter(&judge(index)?).await?)
}

#[cfg(not(feature = "tpm"))]
fn judge(_: &str) -> Result<(), CliError> {
    Err(CliError::usage("this program was built without the feature `tpm`"))
}

#[cfg(not(feature = "tpm"))]
async fn bind(_: &Vault, index: &str) -> Result<(), CliError> {
    judge(index)
}

fn vault(store: &Store) -> Result<&Vault, CliError> {
    store.vault().ok_or_else(|| VaultError::Unsupported("opened without a vault").into())
}

fn show(vault: &Vault, kek: &Kek, json: bool, out: &mut Out) -> Result<(), CliError> {
    let state = vault.root_slot()?;
    if json {
        let mut told = serde_json::to_value(&state).map_err(CliError::failed)?;
        told["kek"] = kek.to_string().into();
        out.json(&told)?;
        return Ok(());
    }
    let kek = output::printable(&kek.to_string());
    out.line(&format!("vault       {}", vault.id()))?;
    out.line(&format!("root slot   {}", output::printable(&state.place)))?;
    out.line(&format!("epoch       {}", state.epoch))?;
    out.line(&format!("wrapped by  {} ({kek})", state.wrapped_by))?;
    if let Some(counter) = &state.counter {
        let told = counter.may_hold.map_or_else(|| "?".to_owned(), |epoch| epoch.to_string());
        let trouble = counter.trouble.iter().map(|why| format!("; {why}")).collect::<String>();
        let name = output::printable(&counter.name);
        let trouble = output::printable(&trouble);
        out.line(&format!("counter     {name}, which tells epoch {told}{trouble}"))?;
    }
    if state.mirrors.is_empty() {
        return Ok(out.line("mirrors     none")?);
    }
    let mut table = tables::table(&["mirror", "last known epoch", "state"]);
    for mirror in &state.mirrors {
        let held = mirror.may_hold.map_or_else(|| "?".to_owned(), |epoch| epoch.to_string());
        let name = output::printable(&mirror.name);
        let state = output::printable(&mirror_state(mirror));
        tables::add(&mut table, vec![cell(name), number(held), cell(state)]);
    }
    out.table(table)?;
    Ok(())
}

fn mirror_state(mirror: &MirrorState) -> String {
    let state =
        if mirror.stale { "STALE: may hold an earlier root" } else { "holds the present root" };
    let beside =
        mirror.beside.as_ref().map(|other| format!("on one device with {}", other.display()));
    let also = [mirror.trouble.clone(), beside].into_iter().flatten();
    also.fold(state.to_owned(), |state, more| format!("{state}; {more}"))
}
