//! A bank's user in NATS JetStream, and then forgotten.
//!
//! ```text
//! nats-server -js        # with `sync_interval: always` in its configuration, see docs/stores/jetstream.md
//! cargo run -p oubliette-jetstream --example jetstream_quickstart
//! ```
#![allow(clippy::print_stdout)]

use std::{error::Error, path::Path};

use oubliette::*;
use oubliette_jetstream::JetStreamStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    run(&address, Path::new("bank")).await
}

pub(crate) async fn run(address: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    // Makes the stream where it is missing; `open` does not.
    let store = JetStreamStore::create(address).await?;
    for doubt in store.doubts() {
        println!("note: {doubt}");
    }
    // The keys. The root slot belongs outside of every backup: here it is only beside the vault. Its folder is never
    // made for you, because it may be that of a medium that is not mounted.
    std::fs::create_dir_all(folder)?;
    let (vault, root) = (folder.join("vault"), folder.join("vault.root"));
    let vault = match Vault::open(&vault, root.as_path()) {
        Err(OpenVaultError::NotFound(_)) => Vault::create(&vault, root.as_path())?,
        opened => opened?,
    };
    let bank = Oubliette::open(store, vault, Policy::sealed_by_default()).await?;

    let user = StreamName::new(format!("user-{}", EventId::random()))?;
    for (name, data) in [("Registered", r#"{"name":"Annika"}"#), ("Moved", r#"{"to":"Leipzig"}"#)] {
        let event = NewEvent::new(EventType::new(name)?, Json::parse(data)?);
        bank.append_to(&user, ExpectedRevision::Any, vec![event]).await?;
    }
    for event in bank.events(&user, ReadOptions::default()).await? {
        let data = event.data.as_ref().and_then(Payload::as_json).map_or("-", Json::as_str);
        println!("{} {} {data}", event.revision, event.event_type);
    }

    bank.forget(&Subject::of(&user), "she asked").await?;
    for event in bank.events(&user, ReadOptions::default()).await? {
        println!("{} {}: {} parts gone", event.revision, event.event_type, event.shredded.len());
    }
    Ok(())
}
