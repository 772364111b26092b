//! Events: ours as the server takes them, and the server's as we return them.
//!
//! | of an event | on the server |
//! | --- | --- |
//! | stream | its name, behind the prefix: see `names` |
//! | id | the event's id |
//! | type | the event's type |
//! | payload | the data, byte for byte; the content type says whether they are JSON |
//! | metadata | the custom metadata, byte for byte; none where there are none |
//! | revision | the event's number in its stream |
//! | position | commit and prepare position, as a pair |
//! | recorded | `created`, in ticks of 100 nanoseconds |

use bytes::Bytes;
use kurrentdb::{EventData, ResolvedEvent};
use oubliette::{
    NewEvent, RecordedEvent, StoreError,
    event::{EventId, EventType, Json, Payload, Position, Revision, Timestamp},
};
use uuid::Uuid;

use crate::{
    error::KurrentError,
    names::{Prefix, Whose},
};

/// Commit and prepare position.
pub(crate) type Pair = (u64, u64);

/// An event as the server has it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) stream: String,
    pub(crate) revision: u64,
    /// `None`: the server does not tell, as of an event in a transaction of the old TCP interface.
    pub(crate) position: Option<Pair>,
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    pub(crate) json: bool,
    /// 100 nanoseconds each, since 1970.
    pub(crate) ticks: Option<u64>,
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

impl Found {
    /// Takes the event that the client read; where it is a link, the link.
    pub(crate) fn of(resolved: ResolvedEvent) -> Option<Self> {
        let event = resolved.link.or(resolved.event)?;
        let kurrentdb::Position { commit, prepare } = event.position;
        let told = commit != u64::MAX && prepare != u64::MAX;
        Some(Self {
            // The client does not look whether it is UTF-8.
            stream: String::from_utf8_lossy(event.stream_id().as_bytes()).into_owned(),
            revision: event.revision,
            position: told.then_some((commit, prepare)),
            id: event.id,
            // The client's own `created` has whole seconds.
            ticks: event.metadata.get("created").and_then(|ticks| ticks.parse().ok()),
            event_type: event.event_type,
            json: event.is_json,
            data: event.data,
            metadata: event.custom_metadata,
        })
    }

    /// How many bytes of memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        256 + self.data.len() + self.metadata.len()
    }

    /// Whether it holds what this event does.
    pub(crate) fn is_as(&self, event: &NewEvent) -> bool {
        let metadata = event.metadata.as_ref().map_or("", Json::as_str);
        self.id == event.id.0
            && self.event_type == event.event_type.as_str()
            && self.json == event.data.as_json().is_some()
            && *self.data == *event.data.as_bytes()
            && *self.metadata == *metadata.as_bytes()
    }
}

/// The event as the client sends it.
pub(crate) fn outgoing(event: &NewEvent) -> Result<EventData, StoreError> {
    let name = event.event_type.as_str();
    let data = match &event.data {
        // Writes the text as it is.
        Payload::Json(json) => EventData::json(name, json).map_err(|_| {
            StoreError::Invalid(format!("the payload of event {} is not JSON", event.id))
        })?,
        Payload::Bytes(bytes) => EventData::binary(name, Bytes::copy_from_slice(bytes)),
    };
    let data = data.id(event.id.0);
    Ok(match &event.metadata {
        Some(metadata) => data.metadata(Bytes::copy_from_slice(metadata.as_str().as_bytes())),
        None => data,
    })
}

/// The position of an event, as this library has it.
pub(crate) fn position((commit, prepare): Pair) -> Position {
    Position::pair(commit, prepare)
}

/// The pair that a position is.
pub(crate) fn pair(position: Position) -> Result<Pair, StoreError> {
    position.as_pair().ok_or(StoreError::ForeignPosition(position))
}

/// The event as this library has it; `None` for what is the server's own, or another store's.
///
/// Another program may write to the same streams, so that what is read is looked at like anything from outside.
pub(crate) fn incoming(
    found: &Found,
    prefix: &Prefix,
) -> Result<Option<RecordedEvent>, StoreError> {
    let whose = prefix.ours(&found.stream);
    // Links, stream metadata and other events of the server's, in whichever stream.
    if whose == Whose::Others || found.event_type.starts_with('$') {
        return Ok(None);
    }
    let position = position(found.position.unwrap_or_default());
    let damaged = |what| StoreError::Damaged { position, source: KurrentError::Event(what).into() };
    if found.position.is_none() {
        return Err(damaged(
            "the server does not tell its position, because it was written in a transaction of the old TCP interface, or \
             because the server is older than 22.6; `read_all` returns it",
        ));
    }
    let Whose::Ours(stream) = whose else {
        return Err(damaged(
            "its stream has a name that no stream of this library has; open the store with a prefix of its own",
        ));
    };
    let event_type = EventType::new(&found.event_type)
        .ok()
        .filter(|name| name.as_str() == found.event_type)
        .ok_or_else(|| damaged("its type is no event type of this library"))?;
    let json = |bytes: &[u8]| str::from_utf8(bytes).ok().and_then(|text| Json::parse(text).ok());
    let data = if found.json {
        let json = json(&found.data);
        json.ok_or_else(|| {
            damaged("its data are called JSON and are none, or name a member twice")
        })?
        .into()
    } else {
        Payload::Bytes(found.data.as_ref().into())
    };
    let metadata = match found.metadata.as_ref() {
        b"" | b"null" => None,
        bytes => Some(
            json(bytes)
                .filter(|json| json.as_str().starts_with('{'))
                .ok_or_else(|| damaged("its metadata are no JSON object"))?,
        ),
    };
    let micros = found.ticks.map(|ticks| ticks / 10).and_then(|micros| i64::try_from(micros).ok());
    let micros = micros.ok_or_else(|| damaged("the server does not tell when it was created"))?;
    Ok(Some(RecordedEvent::plain(
        stream,
        Revision(found.revision),
        position,
        EventId(found.id),
        event_type,
        Timestamp::from_micros(micros),
        data,
        metadata,
    )))
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
