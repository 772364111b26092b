//! The shortest way: a store that can forget, one person's event, and then no more of it.
//!
//! ```text
//! cargo run --example quickstart
//! ```
#![allow(clippy::print_stdout)]

use oubliette::{
    event::{EventType, Json, NewEvent, StreamName, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, ReadOptions, SqliteStore},
    vault::Vault,
};

const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "inline"
public = ["/colour"]   # whatever is not listed is sealed
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // Three places: the events, the vault with the keys, and the vault's root slot, which belongs
    // where no backup of the other two catches it.
    let store = SqliteStore::create(folder.path().join("events"))?;
    let vault = Vault::create(&folder.path().join("vault"), &folder.path().join("root"))?;
    let store = Oubliette::open(store, vault, Policy::parse(POLICY)?).await?;

    let user = StreamName::new("user-456")?;
    let data = Json::parse(r#"{"name":"Annika Quistorp","colour":"turquoise"}"#)?;
    let event = NewEvent::new(EventType::new("UserRegistered")?, data);
    store.append_to(&user, ExpectedRevision::NoStream, vec![event]).await?;

    show("before", &store, &user).await?;
    show("in the store underneath", store.store(), &user).await?;
    let erased = store.forget(&Subject::of(&user), "the user asked").await?;
    println!("forgotten: {} key destroyed, erasure {}\n", erased.keys, erased.erasure);
    show("after", &store, &user).await
}

async fn show(
    when: &str,
    store: &impl EventStoreExt,
    stream: &StreamName,
) -> Result<(), Box<dyn std::error::Error>> {
    println!("{when}:");
    for event in store.events(stream, ReadOptions::default()).await? {
        let data = event.data.as_ref().and_then(|data| data.as_json()).map_or("-", Json::as_str);
        let lost: Vec<&str> =
            event.shredded.iter().flat_map(|part| &part.fields).map(String::as_str).collect();
        println!("  {} {data}   shredded: {lost:?}", event.event_type);
    }
    println!();
    Ok(())
}
