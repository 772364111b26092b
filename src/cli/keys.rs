//! The keys with which the vault signs tombstones and announcements.

use clap::Args;
use oubliette::vault::{KeyOrigin, SigningKeyInfo};
use serde::Serialize;

use super::{
    exit::CliError,
    open::Globals,
    output::{self, Out, cell, note},
    read::time,
};

/// List the keys that sign tombstones and announcements: public keys, never a secret
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette keys
  oubliette keys --json > signing-keys.ndjson
      (public: give it to whoever is to check tombstones)

The secret of the key that signs is in the vault's folder and in no backup. So a vault that is restored
from a backup makes a key of its own, and knows the earlier ones. Whoever has a copy of the folder
and its root slot has the secret as well.")]
pub(super) struct KeysArgs {}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    key: &'a SigningKeyInfo,
    signs: bool,
}

pub(super) async fn run(
    globals: &Globals,
    _args: &KeysArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let store = globals.open_to_audit().await?;
    let vault = store.vault().ok_or_else(|| CliError::failed("there is no vault"))?;
    let keys = vault.signing_keys()?;
    let last = keys.len().saturating_sub(1);
    if globals.json {
        let rows = keys.iter().enumerate().map(|(n, key)| Row { key, signs: n == last });
        return Ok(rows.into_iter().try_for_each(|row| out.json(&row))?);
    }
    let mut table = output::table(&["key", "since", "origin", "public", "signs"]);
    for (number, key) in keys.iter().enumerate() {
        let origin = match key.origin {
            KeyOrigin::Created => "created with the vault",
            KeyOrigin::Restored => "made when it was restored or copied",
            _ => "unknown",
        };
        output::add(
            &mut table,
            vec![
                cell(key.key),
                cell(time(&key.since.to_string())),
                cell(origin),
                cell(key.public),
                cell(if number == last { "yes" } else { "no" }),
            ],
        );
    }
    out.table(table)?;
    if keys.last().is_some_and(|key| key.origin == KeyOrigin::Restored) {
        note(
            false,
            "this vault was restored from a backup, which holds no secret: no earlier key vouches \
             for the one that signs now. Make a new backup, and restore no older one",
        );
    }
    Ok(())
}
