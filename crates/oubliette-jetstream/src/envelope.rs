//! One event, one message: what is in its headers, and how it is read back.
//!
//! | header | what |
//! | --- | --- |
//! | `Nats-Msg-Id` | the event's id, by which the server refuses a second message of it |
//! | `Oubliette-Format` | `1`: what this table says |
//! | `Oubliette-Kind` | `json` or `bytes` |
//! | `Oubliette-Type` | the event's type |
//! | `Oubliette-Metadata` | the metadata, where there are any: JSON as it is, or in base64url where it has line breaks |
//!
//! The payload is the message's data, byte for byte. Revision and position are both the sequence that the server gives a
//! message, and `recorded` is the server's time of it. Beside these the server keeps the headers that it was asked by: the
//! expected sequence, and the batch.

use async_nats::{HeaderMap, header::HeaderValue};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use oubliette::{
    EventId, EventType, Json, NewEvent, Payload, RecordedEvent, StoreError,
    event::{Position, Revision, Timestamp},
};

use crate::{error::JetStreamError, subject::Prefix};

/// The version of the envelope, and of the stream's form.
pub(crate) const FORMAT: u64 = 1;
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
const FORMAT_HEADER: &str = "Oubliette-Format";
const KIND: &str = "Oubliette-Kind";
const TYPE: &str = "Oubliette-Type";
const METADATA: &str = "Oubliette-Metadata";

/// The most bytes that the headers of a message have: JetStream counts them in sixteen bits.
pub(crate) const MAX_HEADER_BYTES: usize = 65_535;

/// A message as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) time: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// The headers and the data of an event. Nothing here can fail: names and JSON have no line breaks, and where JSON has, it
/// is encoded.
pub(crate) fn message(event: &NewEvent) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let mut insert = |name: &'static str, value: &str| {
        if let Ok(value) = value.parse::<HeaderValue>() {
            headers.insert(name, value);
        }
    };
    insert(MESSAGE_ID, &event.id.to_string());
    insert(FORMAT_HEADER, &FORMAT.to_string());
    insert(TYPE, event.event_type.as_str());
    insert(KIND, if event.data.as_json().is_some() { "json" } else { "bytes" });
    if let Some(metadata) = &event.metadata {
        let text = metadata.as_str();
        // JSON that begins with a brace is never taken for base64url, nor that for JSON.
        if text.contains(|c: char| c.is_control()) {
            insert(METADATA, &URL_SAFE_NO_PAD.encode(text));
        } else {
            insert(METADATA, text);
        }
    }
    (headers, Bytes::copy_from_slice(event.data.as_bytes()))
}

/// How many bytes headers have on the wire, and in the server's store.
pub(crate) fn header_bytes(headers: &HeaderMap) -> usize {
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| name.len() + value.as_str().len() + ": \r\n".len())
    });
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

/// The event that a message is.
pub(crate) fn event(stored: &Stored, prefix: &Prefix) -> Result<RecordedEvent, StoreError> {
    let position = Position::number(stored.sequence);
    read(stored, prefix).map_err(|what| StoreError::Damaged {
        position,
        source: JetStreamError::Message(what).into(),
    })
}

fn read(stored: &Stored, prefix: &Prefix) -> Result<RecordedEvent, &'static str> {
    let header = |name: &str| stored.headers.get(name).map(HeaderValue::as_str);
    match header(FORMAT_HEADER).map(str::parse::<u64>) {
        Some(Ok(FORMAT)) => {}
        Some(Ok(newer)) if newer > FORMAT => {
            return Err("it has a newer format; use the program that wrote it");
        }
        Some(_) => return Err("its header Oubliette-Format is no version"),
        None => return Err("it has no header Oubliette-Format, so that another program wrote it"),
    }
    let stream = prefix.stream(&stored.subject).ok_or("its subject is no stream's name")?;
    let id: EventId = header(MESSAGE_ID)
        .and_then(|id| id.parse().ok())
        .ok_or("its header Nats-Msg-Id is no event id")?;
    let event_type = header(TYPE)
        .and_then(|name| EventType::new(name).ok())
        .ok_or("its header Oubliette-Type is no event type")?;
    let data: Payload = match header(KIND) {
        // The server keeps a message byte for byte, with a checksum, and this one says that it is of ours.
        Some("json") => {
            let text = str::from_utf8(&stored.payload).map_err(|_| "its data are not JSON")?;
            Json::trusted(text).into()
        }
        Some("bytes") => Payload::Bytes(stored.payload.as_ref().into()),
        _ => return Err("its header Oubliette-Kind is neither json nor bytes"),
    };
    let metadata = match header(METADATA) {
        None => None,
        Some(text) if text.starts_with('{') => Some(Json::trusted(text)),
        Some(encoded) => {
            let text = URL_SAFE_NO_PAD
                .decode(encoded)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.filter(|text| text.starts_with('{'));
            Some(Json::trusted(text.ok_or("its header Oubliette-Metadata is no JSON object")?))
        }
    };
    let recorded: Timestamp = stored.time.parse().map_err(|_| "its time is none")?;
    Ok(RecordedEvent::plain(
        stream,
        Revision(stored.sequence),
        Position::number(stored.sequence),
        id,
        event_type,
        recorded,
        data,
        metadata,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix() -> Prefix {
        Prefix::new("bank").unwrap()
    }

    fn stored(event: &NewEvent) -> Stored {
        let (headers, payload) = message(event);
        Stored {
            sequence: 7,
            subject: "bank.user-1".to_owned(),
            time: "2026-11-30T09:00:00.123456789Z".to_owned(),
            headers,
            payload,
        }
    }

    fn moved(data: impl Into<Payload>) -> NewEvent {
        NewEvent::new(EventType::new("Zügig").unwrap(), data)
    }

    #[test]
    fn an_event_comes_back_as_it_went_in() {
        let json = |text: &str| Json::parse(text).unwrap();
        for (data, metadata) in [
            (Payload::from(json("{ \"a\" : [1 ,\t2],\n\"é\":1e400 }")), None),
            (Payload::Bytes([0, 255, 10, 13].into()), Some("{\"a\":\"é\u{2028} \"}")),
            (json("null").into(), Some("{ \"a\" : 1 ,\r\n\t\"b\":2 }")),
            (json("1").into(), Some("{}")),
        ] {
            let new = NewEvent { metadata: metadata.map(json), ..moved(data) };
            let message = stored(&new);
            assert!(header_bytes(&message.headers) < 400);
            let read = event(&message, &prefix()).unwrap();
            assert_eq!((read.id, &read.event_type), (new.id, &new.event_type));
            assert_eq!((read.data, read.metadata), (Some(new.data), new.metadata));
            assert_eq!((read.stream.as_str(), read.revision.0), ("user-1", 7));
            assert_eq!(read.recorded.as_micros(), 1_796_029_200_123_456);
        }
    }

    #[test]
    fn another_programs_message_is_damage_and_says_what_is_wrong() {
        let change = |name: &'static str, value: Option<&str>| {
            let mut message = stored(&moved(Json::parse("{}").unwrap()));
            let mut headers = HeaderMap::new();
            for (key, values) in message.headers.iter() {
                let key: &str = key.as_ref();
                if key != name {
                    headers.insert(key.to_owned(), values[0].clone());
                }
            }
            if let Some(value) = value {
                headers.insert(name, value);
            }
            message.headers = headers;
            message
        };
        for (name, value) in [
            (FORMAT_HEADER, None),
            (FORMAT_HEADER, Some("one")),
            (FORMAT_HEADER, Some("2")),
            (MESSAGE_ID, None),
            (MESSAGE_ID, Some("7")),
            (TYPE, None),
            (TYPE, Some("$x")),
            (KIND, None),
            (KIND, Some("xml")),
            (METADATA, Some("[]")),
            (METADATA, Some("e1")),
        ] {
            let read = event(&change(name, value), &prefix());
            let Err(StoreError::Damaged { position, source }) = read else {
                panic!("{name} {value:?}")
            };
            assert_eq!(position.as_number(), Some(7));
            assert!(source.to_string().contains("message"), "{source}");
        }
        let foreign =
            Stored { subject: "bank.a.b".to_owned(), ..stored(&moved(Json::parse("{}").unwrap())) };
        assert!(event(&foreign, &prefix()).is_err());
    }
}
