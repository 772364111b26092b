//! The vault's own files: where its pages are.

use clap::{Args, Subcommand};
use oubliette::vault::PageStoreKind;
use serde_json::json;

use super::{
    allowed::Touches,
    exit::CliError,
    open::Globals,
    output::{Out, count},
    watch::Spinner,
};

/// Show what the vault keeps its pages in, or move them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette vault
  oubliette vault move --pages sqlite
  oubliette vault move --pages sled

The vault keeps its sealed pages in sled, or in SQLite. Both keep the same
promises. sled is the default; SQLite is the better choice on a file system that
cannot write a file through (not ext4, XFS or Btrfs), and where you trust its
record more than you need speed.

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
        if self.what.is_some() { Touches::Places } else { Touches::Nothing }
    }
}

pub(super) async fn run(
    globals: &Globals,
    args: &VaultArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let Some(What::Move { pages }) = args.what else {
        let kind = globals.folder().page_store()?;
        if globals.json {
            out.json(&json!({ "pages": kind.to_string() }))?;
        } else {
            out.line(&format!("pages  in {kind}"))?;
        }
        return Ok(());
    };
    let watch = Spinner::new("pages copied");
    let moved = globals.unlocked()?.move_pages(pages, watch.teller()).await;
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
