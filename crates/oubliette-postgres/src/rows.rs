//! How rows become events.

use std::collections::HashSet;

use oubliette::{
    event::{
        EventId, EventType, Json, Payload, Position, RecordedEvent, Revision, StreamName, Timestamp,
    },
    store::StoreError,
};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Payloads, error::PostgresError};

/// The columns, in the order that [`Names::event`] reads them in; `e` is the event, `s` its stream.
pub(crate) const COLUMNS: &str = "e.tx, e.seq, s.name, e.revision, e.id, e.type, e.recorded, e.restored, \
    e.data::text, e.bytes, e.metadata::text";

/// How many types of events a read remembers, so that events share them.
const TYPES: usize = 1024;

/// Names that were met, so that many events share one.
#[derive(Debug, Default)]
pub(crate) struct Names {
    stream: Option<StreamName>,
    types: HashSet<EventType>,
}

impl Names {
    /// The event of a row.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where this program did not write it.
    pub(crate) fn event(
        &mut self,
        row: &Row,
        payloads: Payloads,
    ) -> Result<RecordedEvent, StoreError> {
        let client = |error: tokio_postgres::Error| StoreError::from(PostgresError::from(&error));
        let (tx, seq): (i64, i64) =
            (row.try_get(0).map_err(client)?, row.try_get(1).map_err(client)?);
        let position = position(tx, seq);
        let damaged =
            |what| StoreError::Damaged { position, source: PostgresError::Damaged(what).into() };
        let name: &str = row.try_get(2).map_err(client)?;
        let stream = match &self.stream {
            Some(stream) if stream.as_str() == name => stream.clone(),
            _ => {
                let stream =
                    StreamName::new(name).map_err(|_| damaged("its stream has no valid name"))?;
                self.stream.insert(stream).clone()
            }
        };
        let event_type = self.event_type(row.try_get(5).map_err(client)?);
        let event_type = event_type.ok_or_else(|| damaged("its type is no valid name"))?;
        let json = |text: &str| match payloads {
            // The server gives back what it was given.
            Payloads::Json | Payloads::Text => Ok(Json::trusted(text)),
            // It gives back a text of its own.
            Payloads::Jsonb => {
                Json::parse(text).map_err(|_| damaged("it holds no JSON that can be read"))
            }
        };
        let data: Option<&str> = row.try_get(8).map_err(client)?;
        let bytes: Option<&[u8]> = row.try_get(9).map_err(client)?;
        let data = match (data, bytes) {
            (Some(text), None) => Payload::Json(json(text)?),
            (None, Some(bytes)) => Payload::Bytes(bytes.into()),
            _ => return Err(damaged("it has no payload, or two")),
        };
        let metadata: Option<&str> = row.try_get(10).map_err(client)?;
        let revision: i64 = row.try_get(3).map_err(client)?;
        let id: Uuid = row.try_get(4).map_err(client)?;
        let mut event = RecordedEvent::plain(
            stream,
            Revision(u64::try_from(revision).map_err(|_| damaged("its revision is negative"))?),
            position,
            EventId(id),
            event_type,
            Timestamp::from_micros(row.try_get(6).map_err(client)?),
            data,
            metadata.map(json).transpose()?,
        );
        let restored: Option<i64> = row.try_get(7).map_err(client)?;
        event.restored = restored.map(Timestamp::from_micros);
        Ok(event)
    }

    pub(crate) fn event_type(&mut self, text: &str) -> Option<EventType> {
        if let Some(event_type) = self.types.get(text) {
            return Some(event_type.clone());
        }
        let event_type = EventType::new(text).ok()?;
        if self.types.len() >= TYPES {
            self.types.clear();
        }
        self.types.insert(event_type.clone());
        Some(event_type)
    }
}

/// A position is the transaction's number, and the place in it.
pub(crate) fn position(tx: i64, seq: i64) -> Position {
    Position::pair(unsigned(tx), unsigned(seq))
}

/// The two numbers of a position, where it is one of this store's. Beyond what can be stored nothing is stored.
pub(crate) fn numbers(position: Position) -> Result<(i64, i64), StoreError> {
    let (tx, seq) = position.as_pair().ok_or(StoreError::ForeignPosition(position))?;
    Ok((stored(tx), stored(seq)))
}

pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Our own numbers are never negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
