//! What the tests share.

use std::time::Duration;

use oubliette::{store::Append, *};
use oubliette_kurrentdb::{KurrentOptions, KurrentStore};

use crate::model::Model;

pub(crate) async fn open(model: &Model) -> KurrentStore {
    options(model).open().await.unwrap()
}

/// Options with little patience.
pub(crate) fn options(model: &Model) -> KurrentOptions {
    KurrentOptions::new(model.url()).patience(Duration::from_secs(2))
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

pub(crate) fn event(number: usize) -> NewEvent {
    let data = Json::parse(&format!(r#"{{"number":{number}}}"#)).unwrap();
    NewEvent::new(EventType::new("Counted").unwrap(), data)
}

pub(crate) fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(event).collect()
}

pub(crate) fn append_of(stream: &str, events: Vec<NewEvent>) -> Append {
    Append::new(name(stream), ExpectedRevision::Any, events)
}

pub(crate) async fn ids_of(store: &impl EventStore, stream: &str) -> Vec<EventId> {
    let found = store.events(&name(stream), ReadOptions::default()).await.unwrap();
    found.iter().map(|event| event.id).collect()
}

pub(crate) fn ids(events: &[NewEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// An error with all that is beneath it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told.push_str(": ");
        told.push_str(&error.to_string());
        source = error.source();
    }
    told
}
