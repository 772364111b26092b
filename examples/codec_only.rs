//! Sealing without our store trait: for those who own the code that reads and writes their store.
//!
//! The "database" here is a map from event id to JSON texts, as a table with two JSON columns would
//! be. [`Codec::seal`] comes before the write, [`Codec::open`] after the read, and forgetting is
//! the vault's affair: no row is touched.
//!
//! ```text
//! cargo run --example codec_only
//! ```
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;

use oubliette::{
    event::{EventId, EventType, Json, NewEvent, Payload, StreamName, Subject},
    layer::{Codec, EventRef, Oubliette},
    policy::Policy,
    store::{EventStoreExt, MemoryStore, ReadOptions},
    vault::Vault,
};

const POLICY: &str = r#"
[[stream]]
match  = "patient-{id}"
layout = "inline"
public = ["/ward"]
"#;

/// A row of the database: what identifies the event, its JSON, and its metadata's.
struct Row {
    stream: StreamName,
    event_type: EventType,
    data: String,
    metadata: Option<String>,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (vault, policy) = (Vault::in_memory()?, Policy::parse(POLICY)?);
    let codec = Codec::new(vault.clone(), policy.clone());
    let mut database: BTreeMap<EventId, Row> = BTreeMap::new();

    for (stream, json) in [
        ("patient-1", r#"{"ward":"C3","diagnosis":"a broken arm"}"#),
        ("patient-2", r#"{"ward":"C3","diagnosis":"chickenpox"}"#),
    ] {
        let (stream, event_type) = (StreamName::new(stream)?, EventType::new("Diagnosed")?);
        let event = NewEvent::new(event_type.clone(), Json::parse(json)?);
        let sealed = codec.seal(&stream, event).await?;
        let data = sealed.data.as_json().map_or("", Json::as_str).to_owned();
        let metadata = sealed.metadata.as_ref().map(|json| json.as_str().to_owned());
        database.insert(sealed.id, Row { stream, event_type, data, metadata });
        // Says that the row is there. Until then forgetting this patient would wait for us, for five
        // minutes at most.
        sealed.stored().await?;
    }

    // After a crash between the two, and so at each start: for owners that an event states (here
    // none does), the vault must be told whether the row is there.
    for open in codec.unsettled()? {
        let settled = codec.settle(open.event, database.contains_key(&open.event)).await?;
        println!("{}: {settled:?}", open.event);
    }

    println!("in the database:");
    for row in database.values() {
        println!("  {}  {}…", row.stream, row.data.chars().take(64).collect::<String>());
        assert!(!row.data.contains("arm") && !row.data.contains("pox"), "sealed before the write");
    }
    println!("\nopened:");
    print_all(&codec, &database)?;

    // Erasures are planned and journalled by the layer, which also sets tombstones. Where the
    // events are in a store of yours, an empty one takes its place, and takes the tombstones. It is
    // no witness: `witnessed().elsewhere` says so, where the vault has announced before.
    let layer = Oubliette::open(MemoryStore::new(), vault, policy).await?;
    let erased = layer.forget(&Subject::new("patient-1")?, "the patient asked").await?;
    println!("\nforgotten: patient-1, {} key destroyed; no row was touched\n", erased.keys);

    println!("opened again:");
    let readable = print_all(&codec, &database)?;
    assert_eq!(readable, [false, true], "patient-1 is shredded, patient-2 is not");

    let tombstones = layer.events(&StreamName::new("patient-1")?, ReadOptions::default()).await?;
    println!("\nyours to store as well: {} tombstone, {}", tombstones.len(), tombstones[0].id);

    let (stream, event_type) = (StreamName::new("patient-1")?, EventType::new("Diagnosed")?);
    let event = NewEvent::new(event_type, Json::parse("{}")?);
    let refused = codec.seal(&stream, event).await.expect_err("they are forgotten");
    println!("sealing for them again: {refused}");
    Ok(())
}

/// Opens all rows, in the order of their streams; returns which of them are whole.
fn print_all(codec: &Codec, database: &BTreeMap<EventId, Row>) -> Result<Vec<bool>, Failure> {
    let mut rows: Vec<(&EventId, &Row)> = database.iter().collect();
    rows.sort_by_key(|(_, row)| &row.stream);
    let mut whole = Vec::new();
    for (id, Row { stream, event_type, data, metadata }) in rows {
        let event = EventRef { stream, id: *id, event_type };
        let metadata = metadata.as_deref().map(Json::parse).transpose()?;
        let opened = codec.open(event, &Json::parse(data)?.into(), metadata.as_ref())?;
        let data = opened.data.as_ref().and_then(Payload::as_json).map_or("-", Json::as_str);
        match opened.shredded.first() {
            None => println!("  {stream}  {data}"),
            Some(gone) => {
                println!("  {stream}  {data}   shredded on {} (ref {})", gone.day, gone.reference);
            }
        }
        whole.push(opened.shredded.is_empty());
    }
    Ok(whole)
}
