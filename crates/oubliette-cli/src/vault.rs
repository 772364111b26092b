//! The vault's own files: making and attaching a data folder, and where the vault's pages are.

use clap::{Args, Subcommand};
use oubliette::{
    policy::Policy,
    vault::{PageStoreKind, VaultError},
};
use serde_json::json;

use super::{
    allowed::Touches,
    exit::CliError,
    open::{Globals, Store},
    output::{Out, count, note, printable},
    watch::Spinner,
};

/// Make a vault, attach one, show or move its pages
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette vault
  oubliette --dir bank vault create --policy policy.toml
  oubliette --dir bank --root /safe/bank.root --vault /srv/bank/keys \\
      --store /srv/bank/events vault attach
  oubliette vault move --pages sqlite
  oubliette vault move --pages sled

The vault keeps its sealed pages in sled, or in SQLite. Both keep the same
promises. sled is the default, and makes somewhat more keys where many are made
at once. SQLite opens in half of the time, or far less where there are many
keys, takes less disk, and is the better choice on a file system that cannot
write a file through (not ext4, XFS or Btrfs).

Nobody may have the vault open. Every page is copied as it is and read again
before the new store takes the old one's place, in one step. After a failure or
a crash the old one is in force, and the move can be repeated. It needs as much
room again as the pages take. Root and keys stay as they are.")]
pub(super) struct VaultArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a data folder with a new vault and an empty event store
    #[command(after_help = "\
Examples:
  oubliette --dir bank vault create
  oubliette --dir bank --root /safe/bank.root --kek passphrase vault create
  oubliette --dir bank vault create --pages sqlite --policy policy.toml

`append` and `import` make a data folder as well, where there is none. This one
makes nothing else, and fails where there is one.")]
    Create {
        /// Where the pages are to be: sled or sqlite
        #[arg(long, value_name = "STORE", value_parser = kind, default_value = "sled")]
        pages: PageStoreKind,
        /// The event store has events already, in clear: keep them
        ///
        /// They are read as they are, until `oubliette seal-existing` seals them.
        #[arg(long)]
        with_events: bool,
    },
    /// Make a data folder of a vault and an event store that are there
    #[command(after_help = "\
Example:
  oubliette --dir bank --root /safe/bank.root --vault /srv/bank/keys \\
      --store /srv/bank/events vault attach --policy policy.toml

For a vault and an event store that a program made with the library. Neither is
moved: say where the root slot is (--root, with --kek and --mirror where there
are any), and vault and events, unless they are `vault/` and `events/` in the
data folder. The events may be at a server: --store postgres://app@db/shop. It
is noted, so that other commands find them.

Without --policy the policy counts that the program adopted in the vault. If it
adopted none, give the one that it works under: by it `append` and `import` know
what is public, and who the owners are.")]
    Attach,
    /// Move the pages to another page store
    Move {
        /// Where to: sled or sqlite
        #[arg(long, value_name = "STORE", value_parser = kind)]
        pages: PageStoreKind,
    },
}

fn kind(text: &str) -> Result<PageStoreKind, String> {
    text.parse().map_err(|_| "not sled and not sqlite".to_owned())
}

impl VaultArgs {
    pub(super) fn touches(&self) -> Touches {
        match self.what {
            None => Touches::Folder,
            Some(What::Move { .. }) => Touches::Places,
            Some(What::Create { .. } | What::Attach) => Touches::Changes,
        }
    }
}

pub(super) async fn run(
    globals: &Globals,
    args: &VaultArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    match args.what {
        None => show(globals, out),
        Some(What::Create { pages, with_events }) => {
            let folder = globals.unlocked()?.with_pages(pages).with_events(with_events);
            let store = globals.made(folder.create(globals.policy.as_deref()).await?)?;
            tell(globals, &store, "made", out)
        }
        Some(What::Attach) => {
            let folder = globals.unlocked()?;
            let attach = async || folder.attach(globals.policy.as_deref()).await;
            let store = globals.made(globals.patiently(attach).await?)?;
            let policy = store.policy().digest();
            if policy == Policy::sealed_by_default().digest() {
                note(
                    globals.json,
                    "no policy is adopted in this vault: what is appended from here is sealed whole. If the program \
                     works under one, `oubliette policy adopt FILE` says so",
                );
            }
            tell(globals, &store, "attached", out)
        }
        Some(What::Move { pages }) => move_pages(globals, pages, out).await,
    }
}

fn show(globals: &Globals, out: &mut Out) -> Result<(), CliError> {
    let kind = globals.folder().page_store()?;
    if globals.json {
        out.json(&json!({ "pages": kind.to_string() }))?;
    } else {
        out.line(&format!("pages  in {kind}"))?;
    }
    Ok(())
}

fn tell(globals: &Globals, store: &Store, what: &str, out: &mut Out) -> Result<(), CliError> {
    let vault = store.vault().ok_or(VaultError::Unsupported("opened without a vault"))?;
    let (id, root) = (vault.id(), vault.root_slot()?.place);
    let folder = globals.dir.display().to_string();
    let did = format!("vault {id} is {what}, in the data folder {folder}");
    out.did(&did);
    if globals.json {
        out.json(&json!({ "vault": id.to_string(), "folder": folder, "root": root }))?;
    } else {
        out.line(&printable(&did))?;
    }
    Ok(())
}

async fn move_pages(
    globals: &Globals,
    pages: PageStoreKind,
    out: &mut Out,
) -> Result<(), CliError> {
    let watch = Spinner::new("pages copied");
    let folder = globals.unlocked()?;
    let moved = globals.patiently(async || folder.move_pages(pages, watch.teller()).await).await;
    watch.finish();
    let moved = moved?;
    let did = match moved.from == moved.to {
        true => format!("The vault's pages are in {} already.", moved.to),
        false => format!(
            "{} moved from {} to {}, and read again. Root and keys are as they were.",
            count(moved.pages, "page"),
            moved.from,
            moved.to
        ),
    };
    out.did(did.trim_end_matches('.'));
    if globals.json {
        out.json(&json!({
            "from": moved.from.to_string(),
            "to": moved.to.to_string(),
            "pages": moved.pages,
            "bytes": moved.bytes,
        }))?;
    } else {
        out.line(&did)?;
    }
    Ok(())
}
