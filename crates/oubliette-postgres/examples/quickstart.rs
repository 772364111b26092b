//! Events in PostgreSQL, sealed, and somebody forgotten.
//!
//! ```text
//! cargo run -p oubliette-postgres --example postgres_quickstart -- postgres://postgres@localhost/postgres
//! ```
#![allow(clippy::print_stdout)]

use oubliette::*;
use oubliette_postgres::PostgresStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("give the address of a database")?;
    let events = PostgresStore::create(&url).await?;
    for doubt in events.doubts() {
        println!("note: {doubt}");
    }
    // In earnest the keys are in a folder, and their root slot is on another disk: `Vault::create`.
    let vault = Vault::in_memory()?;
    let store = Oubliette::open(events, vault, Policy::sealed_by_default()).await?;

    let user = StreamName::new(format!("user-{}", EventId::random()))?;
    let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
    store.append_to(&user, ExpectedRevision::NoStream, vec![moved]).await?;
    for event in store.events(&user, ReadOptions::default()).await? {
        println!("{} {}: {:?}", event.revision, event.event_type, event.content());
    }

    store.forget(&Subject::of(&user), "asked for it").await?;
    for event in store.events(&user, ReadOptions::default()).await? {
        println!("{} {}: {:?}", event.revision, event.event_type, event.content());
    }
    Ok(())
}
