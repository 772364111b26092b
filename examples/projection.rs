//! A projection that forgets: a search index of what people said, which keeps texts in clear, and
//! with each the ids of the keys under which it came. A tombstone names the keys that died, and so
//! the rows that must go.
//!
//! ```text
//! cargo run --example projection
//! ```
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;

use futures::StreamExt;
use oubliette::{
    event::{
        Content, EventId, EventType, Json, KeyId, NewEvent, Position, RecordedEvent, StreamName,
        Subject,
    },
    layer::Oubliette,
    policy::Policy,
    store::{Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter, MemoryStore},
    vault::Vault,
};

/// A room is many people's: each event is sealed under a key of its author in this room.
const POLICY: &str = r#"
[[stream]]
match   = "room-{id}"
subject = "user-{/author}"
"#;

type Failure = Box<dyn std::error::Error>;

/// What was said, in clear, and under which keys it came. In a database: a table of rows, a table
/// of their keys, and the position, all changed in one transaction.
#[derive(Default)]
struct Index {
    rows: BTreeMap<EventId, (String, Vec<KeyId>)>,
    position: Option<Position>,
}

impl Index {
    fn apply(&mut self, event: &RecordedEvent) {
        match event.content() {
            Content::Clear(data) | Content::Partial { data, .. } => {
                let text = data.as_json().map_or("", Json::as_str).to_owned();
                self.rows.insert(event.id, (text, event.keys.clone()));
            }
            Content::Tombstone(tombstone) => {
                let dead = |key: &KeyId| tombstone.keys.contains(key);
                let before = self.rows.len();
                self.rows.retain(|_, (_, keys)| !keys.iter().any(dead));
                println!(
                    "a tombstone in {}: {} row removed",
                    event.stream,
                    before - self.rows.len()
                );
            }
            // It was gone before it was seen; or no vault vouches for it, and it says nothing.
            Content::Shredded(_) | Content::Withheld(_) | Content::Unverified(_) => {}
        }
        self.position = Some(event.position);
    }

    /// Takes what is new. It asks for one type of events, and still hears of a forgetting.
    async fn catch_up(&mut self, store: &impl EventStore) -> Result<(), Failure> {
        let filter = Filter { event_types: vec![EventType::new("Said")?], ..Filter::default() };
        let mut deliveries = store.subscribe(self.position, filter);
        while let Some(Delivery::Event(event)) = deliveries.next().await.transpose()? {
            self.apply(&event);
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (vault, policy) = (Vault::in_memory()?, Policy::parse(POLICY)?);
    let store = Oubliette::open(MemoryStore::new(), vault, policy).await?;
    for (room, text) in [
        ("room-1", r#"{"author":1,"text":"my knee hurts"}"#),
        ("room-1", r#"{"author":2,"text":"poor you"}"#),
        ("room-2", r#"{"author":1,"text":"selling a bicycle"}"#),
    ] {
        let said = NewEvent::new(EventType::new("Said")?, Json::parse(text)?);
        store.append_to(&StreamName::new(room)?, ExpectedRevision::Any, vec![said]).await?;
    }

    let mut index = Index::default();
    index.catch_up(&store).await?;
    println!("{} rows", index.rows.len());
    assert_eq!(index.rows.len(), 3);

    store.forget(&Subject::new("user-1")?, "asked by letter").await?;
    index.catch_up(&store).await?;
    for (text, _) in index.rows.values() {
        println!("left: {text}");
    }
    assert!(index.rows.values().all(|(text, _)| text.contains("poor you")));

    // One that is built again comes to the same: what was forgotten reads as shredded.
    let mut anew = Index::default();
    anew.catch_up(&store).await?;
    assert!(anew.rows.keys().eq(index.rows.keys()));
    Ok(())
}
