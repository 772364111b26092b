//! A table of clear events, copied into a store that seals.
//!
//! ```text
//! cargo run -p oubliette-postgres --example postgres_table        # in a folder that docs/stores/postgres-table.md prepares
//! ```
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, path::Path};

use oubliette::{
    store::{Comparison, compare, copy},
    *,
};
use oubliette_postgres::{Options, TableMapping, TableStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::var("DATABASE_URL")?, Path::new(".")).await
}

pub(crate) async fn run(address: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mapping = TableMapping::parse(&fs::read_to_string(folder.join("events.toml"))?)?;
    let clear = TableStore::open(Options::new(address), mapping).await?;
    for doubt in clear.doubts().iter().chain(clear.why_read_only()) {
        println!("note: {doubt}");
    }
    // The keys. The root slot belongs outside of every backup: here it is only beside the vault.
    let (vault, root) = (folder.join("vault"), folder.join("vault.root"));
    let vault = match Vault::open(&vault, root.as_path()) {
        Err(OpenVaultError::NotFound(_)) => Vault::create(&vault, root.as_path())?,
        opened => opened?,
    };
    let policy = Policy::load(&folder.join("policy.toml"))?;
    // Tables of our own, in a schema in which no other vault's events are.
    let tables = Options::new(address).schema("sealed").create().await?;
    let sealed = Oubliette::open(tables, vault, policy).await?;

    // Ids, times and revisions stay. It can be cut off and repeated.
    let copied = copy(&clear, &sealed, None, &mut Some, &mut |_| {}).await?;
    println!("{} events written, {} were there already", copied.written, copied.already);
    match compare(&clear, &sealed, &mut Some, &mut |_| {}).await? {
        Comparison::Same { events, .. } => println!("{events} events are the same on both sides"),
        different => return Err(format!("the copy is another: {different:?}").into()),
    }
    Ok(())
}
