//! What the cases are written with.

use std::sync::Arc;

use futures::TryStreamExt;
use uuid::Uuid;

use super::Profile;
use crate::{
    event::{EventType, Json, NewEvent, Payload, Position, RecordedEvent, StreamName},
    store::{
        Append, Appended, Capability, Direction, EventStore, EventStoreExt, EventStream,
        ExpectedRevision, ReadAllOptions, ReadOptions, StoreError,
    },
};

/// Ends a case where something is not so.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(super) use ensure;

pub(super) type Decision<T = ()> = Result<T, String>;

/// Several tasks write this many appends each, where a case is about concurrency.
pub(super) const TASKS: usize = 8;

pub(super) struct Kit<'a> {
    pub(super) store: &'a Arc<dyn EventStore>,
    pub(super) profile: &'a Profile,
    /// Begins every tag of this case, so that no other case's streams are met.
    tag: String,
}

impl<'a> Kit<'a> {
    pub(super) fn new(store: &'a Arc<dyn EventStore>, profile: &'a Profile) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        Self { store, profile, tag: format!("t{}", &random[..11]) }
    }

    pub(super) fn has(&self, capability: Capability) -> bool {
        self.store.capabilities().has(capability)
    }

    /// What all names of [`Kit::stream`] with this beginning begin with.
    pub(super) fn name(&self, tag: &str) -> String {
        (self.profile.stream)(&format!("{}{tag}", self.tag))
    }

    pub(super) fn stream(&self, tag: &str) -> Decision<StreamName> {
        StreamName::new(self.name(tag))
            .map_err(|error| format!("the profile makes an invalid stream name: {error}"))
    }

    pub(super) fn payload(&self, value: &str) -> Decision<Json> {
        Json::parse(&(self.profile.payload)(value))
            .map_err(|error| format!("the profile makes an invalid payload: {error}"))
    }

    pub(super) fn event(&self, number: usize) -> Decision<NewEvent> {
        Ok(NewEvent::new(event_type("SomethingHappened")?, self.payload(&number.to_string())?))
    }

    pub(super) fn events(&self, count: usize) -> Decision<Vec<NewEvent>> {
        (0..count).map(|number| self.event(number)).collect()
    }

    /// Appends what must succeed.
    pub(super) async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Decision<Appended> {
        let appended = self.append_all(vec![Append::new(stream.clone(), expected, events)]).await?;
        appended.first().copied().ok_or_else(|| "no answer".to_owned())
    }

    /// Appends what must succeed, to any number of streams.
    pub(super) async fn append_all(&self, appends: Vec<Append>) -> Decision<Vec<Appended>> {
        let streams = appends.len();
        let appended = self
            .store
            .append(appends)
            .await
            .map_err(|error| format!("an append that must succeed failed: {error}"))?;
        ensure!(
            appended.len() == streams,
            "an append to {streams} streams was answered for {}",
            appended.len()
        );
        Ok(appended)
    }

    /// Appends what must fail.
    pub(super) async fn refused(&self, appends: Vec<Append>) -> Decision<StoreError> {
        match self.store.append(appends).await {
            Ok(_) => Err("an append that must be refused was accepted".to_owned()),
            Err(error) => Ok(error),
        }
    }

    pub(super) async fn read(&self, stream: &StreamName) -> Decision<Vec<RecordedEvent>> {
        self.read_with(stream, ReadOptions::default()).await
    }

    pub(super) async fn read_with(
        &self,
        stream: &StreamName,
        options: ReadOptions,
    ) -> Decision<Vec<RecordedEvent>> {
        let events = self
            .store
            .events(stream, options)
            .await
            .map_err(|error| format!("reading stream {stream} failed: {error}"))?;
        match events.iter().find(|event| event.stream != *stream) {
            None => Ok(events),
            Some(event) => {
                Err(format!("reading stream {stream} returned an event of {}", event.stream))
            }
        }
    }

    /// Reads all streams, and keeps the events of this case.
    pub(super) async fn read_all(&self, options: ReadAllOptions) -> Decision<Vec<RecordedEvent>> {
        let events: Vec<RecordedEvent> = self
            .store
            .read_all(options)
            .try_collect()
            .await
            .map_err(|error| format!("reading all streams failed: {error}"))?;
        Ok(events.into_iter().filter(|event| self.is_mine(event)).collect())
    }

    pub(super) fn is_mine(&self, event: &RecordedEvent) -> bool {
        event.stream.as_str().starts_with(&self.name(""))
    }

    /// Checks that a stream holds these events and no others.
    pub(super) async fn holds(&self, stream: &StreamName, events: &[NewEvent]) -> Decision {
        let found = self.read(stream).await?;
        ensure!(
            found.len() == events.len(),
            "stream {stream} should hold {} events and holds {}",
            events.len(),
            found.len()
        );
        events.iter().zip(&found).try_for_each(|(event, found)| self.same(event, found))
    }

    /// Checks that an event came back as it went in.
    pub(super) fn same(&self, event: &NewEvent, found: &RecordedEvent) -> Decision {
        let id = event.id;
        ensure!(found.id == id, "event {} stands where {id} should", found.id);
        ensure!(found.event_type == event.event_type, "event {id} changed its type");
        ensure!(
            found.shredded.is_empty() && found.withheld.is_empty(),
            "of event {id} something is shredded or withheld, and nobody was forgotten"
        );
        ensure!(
            found.data.as_ref().is_some_and(|data| self.same_payload(&event.data, data)),
            "the data of event {id} changed: {} came back as {}",
            show(Some(&event.data)),
            show(found.data.as_ref())
        );
        let same_metadata = match (&event.metadata, &found.metadata) {
            (None, None) => true,
            (Some(metadata), Some(found)) => self.same_json(metadata, found),
            // Metadata without members says nothing: some stores know one kind of nothing only.
            (Some(metadata), None) => metadata.as_str() == "{}",
            (None, Some(_)) => false,
        };
        ensure!(
            same_metadata,
            "the metadata of event {id} changed: {} came back as {}",
            show(event.metadata.clone().map(Payload::Json).as_ref()),
            show(found.metadata.clone().map(Payload::Json).as_ref())
        );
        Ok(())
    }

    fn same_payload(&self, payload: &Payload, found: &Payload) -> bool {
        match (payload, found) {
            (Payload::Json(json), Payload::Json(found)) => self.same_json(json, found),
            _ => payload == found,
        }
    }

    fn same_json(&self, json: &Json, found: &Json) -> bool {
        let canonical = |json: &Json| json.tree().root().to_canonical();
        json == found || !self.has(Capability::Verbatim) && canonical(json) == canonical(found)
    }
}

/// A payload in a message. The suite's payloads are its own, so that they may be shown.
fn show(payload: Option<&Payload>) -> String {
    match payload {
        None => "nothing".to_owned(),
        Some(payload) => {
            let text = String::from_utf8_lossy(payload.as_bytes());
            let kind = if payload.as_json().is_some() { "JSON" } else { "bytes" };
            format!("{kind} {:?}", text.chars().take(80).collect::<String>())
        }
    }
}

pub(super) fn event_type(name: &str) -> Decision<EventType> {
    EventType::new(name).map_err(|error| error.to_string())
}

/// Checks that an error is the refusal of a capability.
pub(super) fn is_unsupported(error: &StoreError, capability: Capability) -> Decision {
    match error {
        StoreError::Unsupported(found) if *found == capability => Ok(()),
        other => Err(format!("without {capability}, Unsupported was due and came: {other}")),
    }
}

/// Checks that a stream begins with the refusal of a capability.
pub(super) async fn refuses(mut events: EventStream, capability: Capability) -> Decision {
    match events.try_next().await {
        Err(error) => is_unsupported(&error, capability),
        Ok(_) => Err(format!("the store does not have {capability}, and pretends to")),
    }
}

pub(super) fn backwards() -> ReadOptions {
    ReadOptions { direction: Direction::Backwards, ..ReadOptions::default() }
}

pub(super) fn positions(events: &[RecordedEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

pub(super) fn grows<T: PartialOrd>(items: &[T]) -> bool {
    items.windows(2).all(|pair| pair[0] < pair[1])
}

/// Waits for a task of the suite's.
pub(super) async fn join<T>(task: tokio::task::JoinHandle<T>) -> Decision<T> {
    task.await.map_err(|error| format!("the store panicked in a task: {error}"))
}
