//! Streams of events for queries.
//!
//! A stream of the framework's gives its rows to nobody but an aggregate, and without their types. So it is read as the
//! events of an aggregate that takes anything, and an upcaster, which sees the row as it is, puts all of it into the payload.

use std::convert::Infallible;

use cqrs_es::{
    Aggregate, DomainEvent,
    event_sink::EventSink,
    persist::{EventUpcaster, PersistenceError, ReplayStream, SerializedEvent},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rows::Opener;

/// How many events wait for the query.
const WAITING: usize = 200;

/// The same stream, with its rows opened. What does not open is an error in its place, and the stream goes on behind it.
pub(crate) fn opened(
    opener: Opener,
    aggregate_type: &'static str,
    mut rows: ReplayStream,
) -> ReplayStream {
    let (mut feed, stream) = ReplayStream::new(WAITING);
    tokio::spawn(async move {
        let upcasters: [Box<dyn EventUpcaster>; 1] = [Box::new(WholeRow)];
        while let Some(row) = rows.next::<Anything>(&upcasters).await {
            let opened = row.and_then(|row| {
                let Row { event_type, event_version, payload, metadata } =
                    serde_json::from_value(row.payload.0)?;
                let row = SerializedEvent {
                    aggregate_id: row.aggregate_id,
                    sequence: row.sequence,
                    aggregate_type: aggregate_type.to_owned(),
                    event_type,
                    event_version,
                    payload,
                    metadata,
                };
                opener.open(aggregate_type, row).map_err(PersistenceError::from)
            });
            if feed.push(opened).await.is_err() {
                // Nobody reads it any more.
                return;
            }
        }
    });
    stream
}

/// What an envelope leaves out of a row, or reads in a form of its own.
#[derive(Serialize, Deserialize)]
struct Row {
    event_type: String,
    event_version: String,
    payload: Value,
    metadata: Value,
}

struct WholeRow;

impl EventUpcaster for WholeRow {
    fn can_upcast(&self, _: &str, _: &str) -> bool {
        true
    }

    fn upcast(&self, row: SerializedEvent) -> SerializedEvent {
        let SerializedEvent { event_type, event_version, payload, metadata, .. } = &row;
        let whole = json!({
            "event_type": event_type, "event_version": event_version, "payload": payload, "metadata": metadata,
        });
        SerializedEvent { payload: whole, metadata: json!({}), ..row }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Anything;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct AnyEvent(Value);

impl DomainEvent for AnyEvent {
    fn event_type(&self) -> String {
        String::new()
    }

    fn event_version(&self) -> String {
        String::new()
    }
}

impl Aggregate for Anything {
    const TYPE: &'static str = "";
    type Command = ();
    type Event = AnyEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, (): (), (): &(), _: &EventSink<Self>) -> Result<(), Infallible> {
        Ok(())
    }

    fn apply(&mut self, _: AnyEvent) {}
}
