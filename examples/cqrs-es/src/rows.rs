//! Sealing and opening the row of an event.

use cqrs_es::persist::SerializedEvent;
use oubliette::{
    event::{EventId, EventType, Json, NewEvent, Payload, StreamName},
    layer::{Codec, CodecError, EventRef, Opened, Sealed},
    store::Unreadable,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    Hole, SealError,
    hole::{HoleEvents, StandIn},
    place::Place,
};

/// The member of an event's metadata that holds its id, in clear: under the name that Oubliette's `TableStore` looks for.
const EVENT_ID: &str = "$event_id";

/// The member of the sealed metadata that holds the event's version, so that nobody can have another upcaster run over it.
const EVENT_VERSION: &str = "$event_version";

/// What turns rows into what the framework reads.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    pub(crate) codec: Codec,
    pub(crate) holes: HoleEvents,
    /// The name of the table, where events in it were sealed in place.
    pub(crate) table: Option<String>,
}

/// An event that is to be sealed, and where.
pub(crate) struct Draft {
    pub(crate) place: Place,
    pub(crate) event: NewEvent,
}

impl Draft {
    pub(crate) fn of_event(aggregate_type: &str, row: &SerializedEvent) -> Result<Self, SealError> {
        let place = Place::of_event(aggregate_type, &row.aggregate_id, row.sequence)?;
        let mut metadata = row.metadata.as_object().cloned().unwrap_or_default();
        metadata.insert(EVENT_VERSION.to_owned(), row.event_version.clone().into());
        let event_type = event_type(aggregate_type, &row.event_type)?;
        let event = NewEvent::new(event_type, Json::of(&row.payload)?)
            .with_id(place.new_id())
            .with_metadata(Json::of(&metadata)?);
        Ok(Self { place, event })
    }

    /// What its tokens are bound to, beside its id.
    pub(crate) fn names(&self) -> (StreamName, EventType) {
        (self.place.stream.clone(), self.event.event_type.clone())
    }
}

/// A sealed event as the two columns of its row.
pub(crate) fn columns(sealed: &Sealed) -> Result<(Value, Value), SealError> {
    let mut metadata: Map<String, Value> = match &sealed.metadata {
        Some(metadata) => metadata.to()?,
        None => Map::new(),
    };
    metadata.insert(EVENT_ID.to_owned(), sealed.id.to_string().into());
    let data = match &sealed.data {
        Payload::Json(data) => data.to()?,
        Payload::Bytes(_) => {
            let why = "sealed bytes are no JSON".to_owned();
            return Err(SealError::NotSealed(CodecError::Invalid(why)));
        }
    };
    Ok((data, metadata.into()))
}

/// The id of the event in a row, where it has one.
pub(crate) fn id_of(metadata: &Value) -> Option<EventId> {
    Uuid::parse_str(metadata.get(EVENT_ID)?.as_str()?).ok().map(EventId)
}

pub(crate) fn event_type(aggregate_type: &str, event_type: &str) -> Result<EventType, SealError> {
    EventType::new(event_type)
        .map_err(|why| SealError::Name { aggregate_type: aggregate_type.to_owned(), why })
}

impl Opener {
    /// The row as it was before it was sealed, or as it is where it never was; of a hole, the application's event.
    pub(crate) fn open(
        &self,
        aggregate_type: &str,
        row: SerializedEvent,
    ) -> Result<SerializedEvent, SealError> {
        let (place, opened) = self.open_row(aggregate_type, &row)?;
        if opened.unsealed {
            return Ok(row);
        }
        let mut metadata: Map<String, Value> = match &opened.metadata {
            Some(metadata) => metadata.to()?,
            None => Map::new(),
        };
        let version = metadata.remove(EVENT_VERSION);
        if version.is_some_and(|version| version != *row.event_version) {
            return Err(place.tampered());
        }
        let left: Option<Value> = match &opened.data {
            Some(Payload::Json(data)) => Some(data.to()?),
            Some(Payload::Bytes(_)) => {
                let why = Unreadable::Malformed("its payload is no JSON");
                return Err(place.unreadable(why));
            }
            None => None,
        };
        let (event_type, event_version, payload) = match (opened.shredded.as_slice(), left) {
            ([], Some(payload)) => (row.event_type, row.event_version, payload),
            ([], None) => return Err(place.unreadable(Unreadable::Malformed("it has no payload"))),
            (shredded, left) => {
                let hole = Hole {
                    aggregate_id: &row.aggregate_id,
                    sequence: row.sequence,
                    event_type: &row.event_type,
                    event_version: &row.event_version,
                    left: left.as_ref(),
                    shredded,
                };
                let StandIn { event_type, event_version, payload } =
                    self.holes.fill(aggregate_type, &hole)?;
                // The framework takes metadata that are texts; what is public of them may be something else.
                metadata.retain(|_, value| value.is_string());
                (event_type, event_version, payload)
            }
        };
        let metadata = metadata.into();
        Ok(SerializedEvent { event_type, event_version, payload, metadata, ..row })
    }

    /// Opens a row, as far as the vault can.
    pub(crate) fn open_row(
        &self,
        aggregate_type: &str,
        row: &SerializedEvent,
    ) -> Result<(Place, Opened), SealError> {
        let place = Place::of_event(aggregate_type, &row.aggregate_id, row.sequence)?;
        let SerializedEvent { event_type, payload, metadata, .. } = row;
        let opened = self.open_at(&place, aggregate_type, event_type, payload, metadata)?;
        Ok((place, opened))
    }

    fn sealed_in_place(&self, place: &Place) -> Option<EventId> {
        place.id_in(self.table.as_deref()?)
    }

    /// Opens what is in two columns in this place.
    pub(crate) fn open_at(
        &self,
        place: &Place,
        aggregate_type: &str,
        event_type: &str,
        data: &Value,
        metadata: &Value,
    ) -> Result<Opened, SealError> {
        let id = match id_of(metadata) {
            Some(id) if place.has(id) || self.sealed_in_place(place) == Some(id) => id,
            // Of another place. Asked before the keys are, so that it is told also when these are destroyed.
            Some(_) => return Err(place.tampered()),
            None => place.id_of_clear(),
        };
        let mut metadata = metadata.as_object().cloned().unwrap_or_default();
        metadata.remove(EVENT_ID);
        let metadata = if metadata.is_empty() { None } else { Some(Json::of(&metadata)?) };
        let event_type = self::event_type(aggregate_type, event_type)?;
        let event = EventRef { stream: &place.stream, id, event_type: &event_type };
        let opened = self.codec.open(event, &Json::of(data)?.into(), metadata.as_ref());
        let opened = opened.map_err(|why| place.unreadable(why))?;
        if !opened.withheld.is_empty() || opened.unvouched {
            return Err(SealError::Withheld {
                stream: place.stream.clone(),
                row: place.row.clone(),
            });
        }
        Ok(opened)
    }
}
