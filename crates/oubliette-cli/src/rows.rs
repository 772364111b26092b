//! The JSON form of an event on the command line, one row a line: what `read`, `read-all` and
//! `subscribe` write is what `import` takes. `docs/format.md` specifies it, member by member.
//!
//! ```json
//! {"stream":"user-456","revision":0,"position":"1","id":"…","type":"UserRegistered",
//!  "subject":"user-456","recorded":"2026-01-31T12:00:00Z","metadata":{…},"data":{…},
//!  "keys":["…"],
//!  "shredded":[{"origin":"…","ref":"…","day":"2026-01-31","keys":["…"],"fields":["/name"]}],
//!  "withheld":[{"why":"no-vault","fields":["*"]}]}
//! ```
//!
//! - `data` and `metadata` hold the stored text as it is: numbers, order and spelling included.
//!   Only line breaks between tokens become spaces, because a row is a line.
//! - A payload that is not JSON is in `bytes`, as padded base64 (RFC 4648, section 4), and
//!   there is no `data`. A member of its own, because every form within `data` would also be
//!   somebody's JSON.
//! - The payload of an event of a tombstone's type for which no vault vouches stands in `foreign`,
//!   and there is no `data`.
//! - `position` is a text, whatever the store: what `--after` takes.
//! - `subject` is there where it is known; `metadata`, `data`, `keys`, `shredded` and `withheld` are
//!   there unless empty.
//! - `restored` is there where the store was given the event as another one had recorded it: when it
//!   was. `recorded` is then what that one said.
//! - On the way in, `shredded` and `withheld` are holes, if holes are asked for: the event is stored
//!   as a copy that has them, and reads so.
//! - On the way in, `revision`, `position`, `recorded`, `restored` and `keys` are passed over: the store and the
//!   vault give new ones. `revision` and `recorded` are kept where that is asked for. Any other member is refused: it
//!   would be lost.

mod error;

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use oubliette::event::{
    Content, EventId, EventType, Holes, Json, MAX_PAYLOAD_BYTES, NewEvent, Payload, RecordedEvent,
    Revision, SUBJECT_FORGOTTEN, StreamName, Subject, Timestamp,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

pub(crate) use self::error::{OddPart, RowError};

/// An event as a row, without the line's end.
pub(super) fn write(event: &RecordedEvent) -> String {
    let size = event.data.as_ref().map_or(0, |data| data.as_bytes().len());
    let mut row = String::with_capacity(size + 512);
    row.push('{');
    put(&mut row, "stream", &event.stream);
    put(&mut row, "revision", &event.revision);
    put(&mut row, "position", &event.position);
    put(&mut row, "id", &event.id);
    put(&mut row, "type", &event.event_type);
    if let Some(subject) = &event.subject {
        put(&mut row, "subject", subject);
    }
    put(&mut row, "recorded", &event.recorded);
    if let Some(restored) = &event.restored {
        put(&mut row, "restored", restored);
    }
    if let Some(metadata) = &event.metadata {
        put_json(&mut row, "metadata", metadata);
    }
    match &event.data {
        // Whoever takes the type for the word of a vault must not find it where they look.
        Some(Payload::Json(json)) if matches!(event.content(), Content::Unverified(_)) => {
            put_json(&mut row, "foreign", json);
        }
        Some(Payload::Json(json)) => put_json(&mut row, "data", json),
        Some(Payload::Bytes(bytes)) => put(&mut row, "bytes", &BASE64_STANDARD.encode(bytes)),
        None => {}
    }
    if !event.keys.is_empty() {
        put(&mut row, "keys", &event.keys);
    }
    if !event.shredded.is_empty() {
        put(&mut row, "shredded", &event.shredded);
    }
    if !event.withheld.is_empty() {
        put(&mut row, "withheld", &event.withheld);
    }
    row.push('}');
    row
}

fn name(row: &mut String, name: &str) {
    row.push_str(if row.ends_with('{') { "\"" } else { ",\"" });
    row.push_str(name);
    row.push_str("\":");
}

fn put(row: &mut String, member: &str, value: &impl Serialize) {
    name(row, member);
    // Names, numbers and lists of strings always have a JSON form.
    row.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
}

fn put_json(row: &mut String, member: &str, json: &Json) {
    name(row, member);
    let text = json.as_str();
    if text.contains(['\n', '\r']) {
        // Within strings they are escaped, so that these stand between tokens.
        row.push_str(&text.replace(['\n', '\r'], " "));
    } else {
        row.push_str(text);
    }
}

/// A row, understood.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) stream: StreamName,
    /// Without an id where the row has none.
    pub(super) id: Option<EventId>,
    pub(super) event_type: EventType,
    pub(super) subject: Option<Subject>,
    pub(super) metadata: Option<Json>,
    pub(super) data: Payload,
    pub(super) holes: Option<Holes>,
    /// Which of [`NOT_TAKEN`] it has.
    pub(super) not_taken: [bool; NOT_TAKEN.len()],
    /// Whether its payload is a text that is itself a JSON object or list.
    pub(super) in_text: bool,
    /// When it was recorded and at which revision, where that is to be kept.
    pub(super) kept: Option<Kept>,
}

/// What another store said of an event, and is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) recorded: Timestamp,
    pub(crate) revision: Revision,
}

/// What of a row is wanted beside the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Taking {
    /// Rows that say that parts are missing, too.
    pub(crate) holes: bool,
    /// When the event was recorded, and its revision.
    pub(crate) times: bool,
}

/// What a row turned out to be.
#[derive(Debug)]
pub(super) enum Parsed {
    Event(Row),
    /// A tombstone, which only the one who forgets may set.
    Tombstone,
}

impl Row {
    pub(super) fn into_event(self, id: EventId) -> (StreamName, NewEvent) {
        let mut event = NewEvent::new(self.event_type, self.data).with_id(id);
        event.metadata = self.metadata;
        event.subject = self.subject;
        event.holes = self.holes.map(Box::new);
        (self.stream, event)
    }
}

/// Reads a row. With `holes`, one that says that parts are missing is taken, too.
#[cfg(any(test, fuzzing))]
pub(super) fn parse(line: &[u8], holes: bool) -> Result<Parsed, RowError> {
    parse_taking(line, Taking { holes, times: false })
}

/// Reads a row.
pub(super) fn parse_taking(line: &[u8], taking: Taking) -> Result<Parsed, RowError> {
    let line = std::str::from_utf8(line).map_err(|error| RowError::NotUtf8(error.valid_up_to()))?;
    let members: Members<'_> = match serde_json::from_str(line) {
        Ok(members) => members,
        // Its words quote the line: ours do not.
        Err(_) => {
            return Err(Json::parse(line).err().map_or(RowError::NotAnObject, RowError::Json));
        }
    };
    members.check()?.understand(taking)
}

/// The stream of a row that is not understood, where that much can be told.
pub(super) fn stream_of(line: &[u8]) -> Option<StreamName> {
    let members = str::from_utf8(line).ok().and_then(|line| serde_json::from_str(line).ok());
    let name = match members.as_ref().and_then(|members: &Members<'_>| members.raw("stream")) {
        Some(name) => serde_json::from_str(name).ok()?,
        None => {
            let key = b"\"stream\"";
            let at = line.windows(key.len()).position(|bytes| bytes == key)? + key.len();
            let rest = line[at..].trim_ascii_start().strip_prefix(b":")?;
            // A string, whatever comes after it.
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<String>();
            values.next()?.ok()?
        }
    };
    StreamName::new(name).ok()
}

/// Whether a payload is a string that holds an object or a list: an object that was written into a
/// column of text, and read from there as it lay.
fn is_in_text(data: &Payload) -> bool {
    let Payload::Json(json) = data else { return false };
    json.as_str().starts_with('"')
        && serde_json::from_str::<String>(json.as_str()).is_ok_and(|text| {
            text.trim_start().starts_with(['{', '[']) && Json::parse(&text).is_ok()
        })
}

/// The members of a row, as they are spelled.
#[derive(Debug, Default)]
struct Members<'a> {
    known: [Option<&'a RawValue>; NAMES.len()],
    problem: Option<RowErrorKind>,
}

/// The longest name of a member that is told.
const NAME: usize = 40;

#[derive(Debug)]
enum RowErrorKind {
    Unknown(String),
    Twice(&'static str),
}

const NAMES: [&str; 15] = [
    "stream", "type", "data", "subject", "id", "metadata", "bytes", "shredded", "withheld",
    "revision", "position", "recorded", "restored", "keys", "foreign",
];

/// What the store that a row comes from said of the event, and the one that it is imported into says anew.
pub(super) const NOT_TAKEN: [&str; 3] = ["recorded", "revision", "position"];

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                let mut number = 0;
                while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
                    number += 1;
                    let value: &'de RawValue = map.next_value()?;
                    let problem = match NAMES.iter().position(|name| *name == key) {
                        None => RowErrorKind::Unknown(named(&key, number)),
                        Some(at) if members.known[at].replace(value).is_some() => {
                            RowErrorKind::Twice(NAMES[at])
                        }
                        Some(_) => continue,
                    };
                    members.problem.get_or_insert(problem);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member in words: by its name where that is a plain word, as names of columns are, and else by its number. What has
/// an `@` or a space in it may be what somebody wrote in the place of a name.
fn named(name: &str, number: usize) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if name.chars().count() <= NAME && !name.is_empty() && name.chars().all(plain) {
        format!("`{name}`")
    } else {
        format!("number {number}")
    }
}

/// A key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Members<'a> {
    fn check(self) -> Result<Self, RowError> {
        match self.problem {
            None => Ok(self),
            Some(RowErrorKind::Unknown(name)) => Err(RowError::Unknown(name)),
            Some(RowErrorKind::Twice(name)) => Err(RowError::Twice(name)),
        }
    }

    fn raw(&self, name: &'static str) -> Option<&'a str> {
        let at = NAMES.iter().position(|known| *known == name)?;
        self.known[at].map(RawValue::get)
    }

    /// A member that is a string; `null` is as if it were not there.
    fn string(&self, name: &'static str) -> Result<Option<String>, RowError> {
        match self.raw(name) {
            None | Some("null") => Ok(None),
            Some(text) => {
                serde_json::from_str(text).map(Some).map_err(|_| RowError::NotAString(name))
            }
        }
    }

    fn json(&self, name: &'static str) -> Result<Option<Json>, RowError> {
        let Some(text) = self.raw(name) else { return Ok(None) };
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(RowError::TooLarge(name, text.len()));
        }
        Json::parse(text).map(Some).map_err(|error| RowError::Payload(name, error))
    }

    /// A list of parts that are missing; empty where the member is not there.
    fn parts<T: DeserializeOwned + Serialize>(
        &self,
        name: &'static str,
    ) -> Result<Vec<T>, RowError> {
        match self.raw(name) {
            None | Some("null") => Ok(Vec::new()),
            Some(text) => Json::parse(text)
                .and_then(|list| list.to_exact())
                .map_err(|_| RowError::OddHoles(name, OddPart::of::<T>(text))),
        }
    }

    /// When it was recorded and at which revision. Without a time, there is nothing to be kept.
    fn kept(&self) -> Result<Option<Kept>, RowError> {
        let Some(recorded) = self.string("recorded")? else { return Ok(None) };
        let recorded = recorded.parse().map_err(|_| RowError::NotATime)?;
        let revision = match self.raw("revision") {
            None | Some("null") => return Err(RowError::NoRevision),
            Some(text) => text.parse().map_err(|_| RowError::NotARevision)?,
        };
        Ok(Some(Kept { recorded, revision: Revision(revision) }))
    }

    fn understand(&self, taking: Taking) -> Result<Parsed, RowError> {
        let Taking { holes, times } = taking;
        let named = |name: &'static str| self.string(name)?.ok_or(RowError::Missing(name));
        let stream =
            StreamName::new(named("stream")?).map_err(|error| RowError::Name("stream", error))?;
        let event_type =
            EventType::new(named("type")?).map_err(|error| RowError::Name("type", error))?;
        if event_type.as_str() == SUBJECT_FORGOTTEN {
            return if holes { Ok(Parsed::Tombstone) } else { Err(RowError::Tombstone) };
        }
        let (shredded, withheld) = (self.parts("shredded")?, self.parts("withheld")?);
        let has_holes = !shredded.is_empty() || !withheld.is_empty();
        if has_holes && !holes {
            return Err(RowError::Holes);
        }
        let subject = self.string("subject")?.map(Subject::new).transpose();
        let subject = subject.map_err(|error| RowError::Name("subject", error))?;
        let id = match self.string("id")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| RowError::NotAnId)?),
        };
        let metadata = match self.raw("metadata") {
            None | Some("null") => None,
            Some(text) if !text.starts_with('{') => return Err(RowError::Metadata),
            Some(_) => self.json("metadata")?,
        };
        let (data, bare) = match (self.json("data")?, self.string("bytes")?) {
            (Some(_), Some(_)) => return Err(RowError::Both),
            (Some(json), None) => (Payload::Json(json), false),
            (None, Some(text)) => {
                let bytes = BASE64_STANDARD.decode(text).map_err(|_| RowError::NotBase64)?;
                if bytes.len() > MAX_PAYLOAD_BYTES {
                    return Err(RowError::TooLarge("bytes", bytes.len()));
                }
                (Payload::Bytes(bytes.into()), false)
            }
            // Nothing of it is readable; that it happened is.
            (None, None) if has_holes => {
                (Payload::Json(Json::parse("{}").map_err(RowError::Json)?), true)
            }
            (None, None) => return Err(RowError::Missing("data")),
        };
        let holes = Holes::new(&shredded, &withheld, bare);
        let kept = if times { self.kept()? } else { None };
        let is_taken = |name| kept.is_some() && name != "position";
        let not_taken =
            NOT_TAKEN.map(|name| !matches!(self.raw(name), None | Some("null")) && !is_taken(name));
        let in_text = is_in_text(&data);
        Ok(Parsed::Event(Row {
            stream,
            id,
            event_type,
            subject,
            metadata,
            data,
            holes,
            not_taken,
            in_text,
            kept,
        }))
    }
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests;
