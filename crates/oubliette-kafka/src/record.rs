//! How an event is a record of Kafka's: what is in its key, its headers and its value.
//!
//! | part | in the store's topic | in a relay's topic |
//! | --- | --- | --- |
//! | key | the event's id | the stream |
//! | value | the payload as it is stored | the same |
//! | `oubliette` | `event/1` | `relayed/1` |
//! | `stream`, `type`, `revision`, `recorded` | of the event, numbers as text | the same |
//! | `kind` | `json` or `bytes` | the same |
//! | `restored`, `metadata` | where there are any | the same |
//! | `after` | where the event directly before is missing | – |
//! | `id`, `position` | – | of the event |
//!
//! `after` is the revision that its stream had before, or `-` where there was none: of a store that was restored from one
//! that had removed events. `recorded` and `restored` are microseconds since 1970. A record `writer/1` in the store's topic says who writes from
//! there on: its key is a random id.

use oubliette::event::{
    EventId, EventType, Json, Payload, Position, RecordedEvent, Revision, StreamName, Timestamp,
};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use uuid::Uuid;

use crate::error::KafkaError;

const MARK: &str = "oubliette";
pub(crate) const EVENT: &str = "event/1";
pub(crate) const WRITER: &str = "writer/1";
pub(crate) const RELAYED: &str = "relayed/1";
pub(crate) const FORGOTTEN: &str = "forgotten/1";

/// An event on its way to Kafka.
#[derive(Debug, Clone)]
pub(crate) struct Outbound {
    pub(crate) stream: StreamName,
    pub(crate) revision: Revision,
    /// The stream's last revision before it.
    pub(crate) after: Option<Revision>,
    pub(crate) id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) recorded: Timestamp,
    pub(crate) restored: Option<Timestamp>,
    pub(crate) data: Payload,
    pub(crate) metadata: Option<Json>,
}

impl Outbound {
    /// The headers of both forms; those that only one has come in `more`.
    pub(crate) fn headers(&self, mark: &str, more: &[(&str, &str)]) -> OwnedHeaders {
        let kind = if self.data.as_json().is_some() { "json" } else { "bytes" };
        let mut headers = OwnedHeaders::new_with_capacity(NAMES.len());
        let mut add = |key, value: &str| {
            let all = std::mem::take(&mut headers);
            headers = all.insert(Header { key, value: Some(value) });
        };
        add(MARK, mark);
        add("stream", self.stream.as_str());
        add("revision", &self.revision.to_string());
        add("type", self.event_type.as_str());
        add("recorded", &self.recorded.as_micros().to_string());
        add("kind", kind);
        if let Some(restored) = self.restored {
            add("restored", &restored.as_micros().to_string());
        }
        if let Some(metadata) = &self.metadata {
            add("metadata", metadata.as_str());
        }
        if self.after != before(self.revision) {
            add("after", &self.after.map_or(NOTHING.to_owned(), |after| after.to_string()));
        }
        for (key, value) in more {
            add(key, value);
        }
        headers
    }

    /// What an index needs of it.
    pub(crate) fn place(&self) -> Place {
        let Self { stream, revision, after, id, .. } = self;
        Place { stream: stream.clone(), revision: *revision, after: *after, id: *id }
    }

    /// At least as many bytes as its record has in a batch of its own.
    pub(crate) fn size(&self) -> usize {
        size_of(self.data.as_bytes().len(), self.metadata.as_ref(), &self.stream, &self.event_type)
    }
}

/// In the header `after`: it is the first of its stream.
const NOTHING: &str = "-";

/// The revision before, if it is not the first.
pub(crate) fn before(revision: Revision) -> Option<Revision> {
    revision.0.checked_sub(1).map(Revision)
}

/// At least as many bytes as an event has as the only record of a batch.
pub(crate) fn size_of(
    data: usize,
    metadata: Option<&Json>,
    stream: &StreamName,
    event_type: &EventType,
) -> usize {
    // The batch, the record's own numbers, the names of the headers, and numbers as text take less than this.
    const AROUND: usize = 512;
    // A relay has the stream in the key as well.
    let names = 2 * stream.as_str().len() + event_type.as_str().len();
    AROUND + names + data + metadata.map_or(0, |metadata| metadata.as_str().len())
}

/// The headers of the record that says who writes.
pub(crate) fn mark(mark: &str) -> OwnedHeaders {
    OwnedHeaders::new().insert(Header { key: MARK, value: Some(mark) })
}

/// Why a record is no event of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotOurs {
    /// Another program wrote it.
    #[error("another program wrote this record: it has no header `oubliette`")]
    Foreign,
    /// It is of a form that this program does not know.
    #[error(
        "this record has the form `{0}`, which this program does not know: use the newer program"
    )]
    Newer(String),
    /// It says that it is one, and is not.
    #[error("this record says that it is an event, and is malformed: {0}")]
    Malformed(&'static str),
}

/// A record of the store's topic.
#[derive(Debug)]
pub(crate) enum Entry {
    Event(Place, EventType),
    Writer(Uuid),
}

impl Entry {
    /// The record's key.
    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Event(place, _) => place.id.0,
            Self::Writer(writer) => *writer,
        }
    }
}

/// What an index needs of an event.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) stream: StreamName,
    pub(crate) revision: Revision,
    /// The stream's last revision before it.
    pub(crate) after: Option<Revision>,
    pub(crate) id: EventId,
}

/// The headers that we know, as they are in a record.
#[derive(Debug, Default)]
struct Found<'a> {
    values: [Option<&'a [u8]>; NAMES.len()],
}

const NAMES: [&str; 11] = [
    MARK, "stream", "revision", "type", "recorded", "kind", "restored", "metadata", "after", "id",
    "position",
];

impl<'a> Found<'a> {
    fn of<M: Message>(message: &'a M) -> Result<Self, NotOurs> {
        let mut found = Self::default();
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            let Some(at) = NAMES.iter().position(|name| *name == header.key) else { continue };
            let Some(place) = found.values.get_mut(at) else { continue };
            if place.replace(header.value.unwrap_or_default()).is_some() {
                return Err(NotOurs::Malformed("a header occurs twice"));
            }
        }
        Ok(found)
    }

    fn text(&self, name: &'static str) -> Option<&'a str> {
        let at = NAMES.iter().position(|other| *other == name)?;
        str::from_utf8((*self.values.get(at)?)?).ok()
    }

    fn must<T>(
        &self,
        name: &'static str,
        what: &'static str,
        of: impl Fn(&str) -> Option<T>,
    ) -> Result<T, NotOurs> {
        self.text(name).and_then(of).ok_or(NotOurs::Malformed(what))
    }

    /// Whether the record says that it is of this form.
    fn is(&self, form: &str) -> Result<bool, NotOurs> {
        let known = [EVENT, WRITER, RELAYED, FORGOTTEN];
        match self.text(MARK) {
            None => Err(NotOurs::Foreign),
            Some(mark) if mark == form => Ok(true),
            Some(mark) if known.contains(&mark) => Ok(false),
            Some(mark) => Err(NotOurs::Newer(mark.chars().take(40).collect())),
        }
    }

    fn stream(&self) -> Result<StreamName, NotOurs> {
        self.must("stream", "no stream", |text| name_as_written(text, StreamName::new(text).ok()))
    }

    fn event_type(&self) -> Result<EventType, NotOurs> {
        self.must("type", "no type", |text| name_as_written(text, EventType::new(text).ok()))
    }

    fn revision(&self) -> Result<Revision, NotOurs> {
        self.must("revision", "no revision", |text| number(text).map(Revision))
    }

    /// The stream's last revision before it.
    fn after(&self) -> Result<Option<Revision>, NotOurs> {
        match self.text("after") {
            None => Ok(before(self.revision()?)),
            Some(NOTHING) => Ok(None),
            Some(text) => match number(text) {
                Some(after) => Ok(Some(Revision(after))),
                None => Err(NotOurs::Malformed("no revision before it")),
            },
        }
    }

    fn micros(&self, name: &'static str) -> Result<Timestamp, NotOurs> {
        let of = |text: &str| text.parse().ok().map(Timestamp::from_micros);
        self.must(name, "no time", of)
    }

    /// The event with its payload.
    fn event<M: Message>(
        &self,
        message: &M,
        id: EventId,
        position: Position,
    ) -> Result<RecordedEvent, NotOurs> {
        let bytes = message.payload().unwrap_or_default();
        let json = |bytes: &[u8], what| {
            let text = str::from_utf8(bytes).ok();
            text.and_then(|text| Json::parse(text).ok()).ok_or(NotOurs::Malformed(what))
        };
        // Whoever may write to the topic may write anything: nothing in it is trusted to be JSON.
        let data = match self.text("kind") {
            Some("json") => json(bytes, "its payload is no JSON")?.into(),
            Some("bytes") => Payload::Bytes(bytes.into()),
            _ => return Err(NotOurs::Malformed("no kind")),
        };
        let metadata = match self.text("metadata") {
            Some(text) => Some(json(text.as_bytes(), "its metadata is no JSON")?),
            None => None,
        };
        let event_type = self.event_type()?;
        let mut event = RecordedEvent::plain(
            self.stream()?,
            self.revision()?,
            position,
            id,
            event_type,
            self.micros("recorded")?,
            data,
            metadata,
        );
        if self.text("restored").is_some() {
            event.restored = Some(self.micros("restored")?);
        }
        Ok(event)
    }
}

/// In one spelling only: a name that is taken in another form is another record's.
fn name_as_written<T: AsRef<str>>(text: &str, name: Option<T>) -> Option<T> {
    name.filter(|name| name.as_ref() == text)
}

/// A number in its one spelling.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

fn id(bytes: Option<&[u8]>) -> Option<Uuid> {
    Uuid::parse_str(str::from_utf8(bytes?).ok()?).ok()
}

/// What an index needs of a record of the store's topic.
pub(crate) fn entry<M: Message>(message: &M) -> Result<Entry, NotOurs> {
    let found = Found::of(message)?;
    let key = id(message.key()).ok_or(NotOurs::Malformed("its key is no id"));
    if found.is(WRITER)? {
        return key.map(Entry::Writer);
    }
    if !found.is(EVENT)? {
        return Err(NotOurs::Malformed("it is of a relay's topic"));
    }
    // All that reading will need, so that what cannot be read is not taken for an event.
    found.micros("recorded")?;
    let event_type = found.event_type()?;
    let is_kind = |text: &str| matches!(text, "json" | "bytes").then_some(());
    found.must("kind", "no kind", is_kind)?;
    let (stream, revision, id) = (found.stream()?, found.revision()?, EventId(key?));
    let after = found.after()?;
    Ok(Entry::Event(Place { stream, revision, after, id }, event_type))
}

/// The event in a record of the store's topic.
pub(crate) fn stored<M: Message>(message: &M) -> Result<RecordedEvent, KafkaError> {
    let read = || {
        let found = Found::of(message)?;
        let key = id(message.key()).ok_or(NotOurs::Malformed("its key is no id"))?;
        let offset = u64::try_from(message.offset()).unwrap_or(0);
        found.event(message, EventId(key), Position::number(offset))
    };
    read().map_err(|stranger| match stranger {
        NotOurs::Malformed(what) => KafkaError::Damaged(what),
        _ => KafkaError::Damaged("it is no event"),
    })
}

/// The event in a record of a relay's topic, and only that.
pub(crate) fn relayed<M: Message>(message: &M) -> Result<RecordedEvent, NotOurs> {
    let found = Found::of(message)?;
    if !found.is(RELAYED)? {
        return Err(NotOurs::Malformed("it is of a store's topic"));
    }
    let position = relayed_position(&found)?;
    let id = found.must("id", "no id", |text| Uuid::parse_str(text).ok())?;
    found.event(message, EventId(id), position)
}

/// The position of a record of a relay's topic, where it is one.
pub(crate) fn position<M: Message>(message: &M) -> Result<Position, NotOurs> {
    let found = Found::of(message)?;
    if found.is(RELAYED)? { relayed_position(&found) } else { Err(NotOurs::Foreign) }
}

fn relayed_position(found: &Found<'_>) -> Result<Position, NotOurs> {
    found.must("position", "no position", |text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use rdkafka::{Timestamp as Stamp, message::OwnedMessage};

    use super::*;

    fn outbound() -> Outbound {
        Outbound {
            stream: StreamName::new("user-é").unwrap(),
            revision: Revision(3),
            after: Some(Revision(2)),
            id: EventId::random(),
            event_type: EventType::new("Moved").unwrap(),
            recorded: Timestamp::from_micros(-7),
            restored: Some(Timestamp::from_micros(8)),
            data: Json::parse("{\"to\" : 1.50}").unwrap().into(),
            metadata: Some(Json::parse("{}").unwrap()),
        }
    }

    fn message(key: &str, value: &[u8], headers: OwnedHeaders) -> OwnedMessage {
        let (key, value) = (Some(key.as_bytes().to_vec()), Some(value.to_vec()));
        OwnedMessage::new(value, key, "t".into(), Stamp::NotAvailable, 0, 42, Some(headers))
    }

    #[test]
    fn an_event_comes_back_as_it_went_in() {
        let out = outbound();
        let key = out.id.to_string();
        let back = stored(&message(&key, out.data.as_bytes(), out.headers(EVENT, &[]))).unwrap();
        assert_eq!(
            (back.stream, back.revision, back.id),
            (out.stream.clone(), out.revision, out.id)
        );
        assert_eq!((back.data, back.metadata), (Some(out.data.clone()), out.metadata.clone()));
        assert_eq!((back.recorded, back.restored), (out.recorded, out.restored));
        assert_eq!(back.position, Position::number(42));

        let more = [("id", key.as_str()), ("position", "7-8")];
        let headers = out.headers(RELAYED, &more);
        let back = relayed(&message(out.stream.as_str(), out.data.as_bytes(), headers)).unwrap();
        assert_eq!((back.id, back.position), (out.id, Position::pair(7, 8)));
    }

    #[test]
    fn what_is_missing_before_an_event_is_in_its_record() {
        let key = outbound().id.to_string();
        let headers = |after| Outbound { after, ..outbound() }.headers(EVENT, &[]);
        let has = |headers: &OwnedHeaders| headers.iter().any(|header| header.key == "after");
        assert!(!has(&headers(Some(Revision(2)))));
        for after in [Some(Revision(2)), Some(Revision(0)), None] {
            let Ok(Entry::Event(place, _)) = entry(&message(&key, b"{}", headers(after))) else {
                panic!("{after:?}")
            };
            assert_eq!(place.after, after);
        }
        for said in ["", "+1", "01", "1.0", "--"] {
            let headers = Outbound { after: Some(Revision(2)), ..outbound() }
                .headers(EVENT, &[("after", said)]);
            let read = entry(&message(&key, b"{}", headers));
            assert_eq!(read.unwrap_err(), NotOurs::Malformed("no revision before it"), "{said}");
        }
    }

    #[test]
    fn what_others_write_is_told_from_ours() {
        let out = outbound();
        let key = out.id.to_string();
        let ours = || out.headers(EVENT, &[]);
        let entry = |key: &str, headers| entry(&message(key, b"{}", headers));
        assert!(matches!(entry(&key, ours()), Ok(Entry::Event(..))));
        assert!(matches!(entry(&key, mark(WRITER)), Ok(Entry::Writer(_))));
        assert_eq!(entry(&key, OwnedHeaders::new()).unwrap_err(), NotOurs::Foreign);
        let newer = entry(&key, mark("event/2")).unwrap_err();
        assert_eq!(newer, NotOurs::Newer("event/2".to_owned()));
        let twice = ours().insert(Header { key: "revision", value: Some("4") });
        let other = Header { key: "stream", value: Some("e\u{301}") };
        for headers in [twice, mark(EVENT), mark(RELAYED), mark(EVENT).insert(other)] {
            assert!(matches!(entry(&key, headers).unwrap_err(), NotOurs::Malformed(_)));
        }
        assert!(matches!(entry("no id", ours()).unwrap_err(), NotOurs::Malformed(_)));
        for (text, what) in [("07", None), ("+7", None), ("-1", None), ("7", Some(7))] {
            assert_eq!(number(text), what);
        }
    }

    #[test]
    fn what_is_no_json_is_damaged_and_not_shown() {
        let out = outbound();
        let message = message(&out.id.to_string(), b"hunter2", out.headers(EVENT, &[]));
        let told = format!("{:?}", stored(&message).unwrap_err());
        assert!(told.contains("JSON") && !told.contains("hunter2"), "{told}");
    }
}
