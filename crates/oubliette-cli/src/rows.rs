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
//! - A payload that is not JSON stands in `bytes`, as padded base64 (RFC 4648, section 4), and
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
//!   vault give new ones. Any other member is refused: it would be lost.

use std::{borrow::Cow, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use oubliette::event::{
    Content, EventId, EventType, Holes, Json, JsonError, MAX_PAYLOAD_BYTES, NameError, NewEvent,
    Payload, RecordedEvent, SUBJECT_FORGOTTEN, StreamName, Subject,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

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
        Some(Payload::Json(json)) if matches!(event.content(), Content::Foreign(_)) => {
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

/// What is wrong with a row. No message holds anything of it but places.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error("not UTF-8, at byte {0}")]
    NotUtf8(usize),
    #[error("longer than {} MiB", .0 / (1024 * 1024))]
    TooLong(usize),
    #[error(transparent)]
    Json(JsonError),
    #[error("not a JSON object")]
    NotAnObject,
    #[error("`{0}` stands twice")]
    Twice(&'static str),
    #[error(
        "its member number {0} is unknown; a row has stream, type, data, and may have subject, \
         id, metadata, and what `read` adds"
    )]
    Unknown(usize),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is not a string")]
    NotAString(&'static str),
    #[error("`{0}`: {1}")]
    Name(&'static str, NameError),
    #[error("`id` is not a UUID")]
    NotAnId,
    #[error("`{0}`: {1}")]
    Payload(&'static str, JsonError),
    #[error("`metadata` is not an object")]
    Metadata,
    #[error("`{0}` has {1} bytes, at most {MAX_PAYLOAD_BYTES} are accepted")]
    TooLarge(&'static str, usize),
    #[error("`bytes` is not base64")]
    NotBase64,
    #[error("`data` and `bytes` are both there")]
    Both,
    #[error("parts of it are shredded or withheld; --with-holes imports it with these holes")]
    Holes,
    #[error("`{0}` is not a list as `read` writes it: {1}")]
    OddHoles(&'static str, OddPart),
    #[error("a tombstone; --with-holes passes over it")]
    Tombstone,
}

/// Where a list of missing parts is wrong.
#[derive(Debug)]
pub(super) enum OddPart {
    /// One of our own members.
    Missing(String),
    /// At this character of the list.
    At(usize),
    /// It has the parts, and not their form.
    Spelling,
}

impl fmt::Display for OddPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(member) => write!(f, "a part of it has no `{member}`"),
            Self::At(at) => write!(f, "it is wrong at or before its character {at}"),
            Self::Spelling => f.write_str("its parts have another spelling"),
        }
    }
}

impl OddPart {
    /// The error's own words quote what is there, but for the names of members that are not.
    fn of<T: DeserializeOwned>(list: &str) -> Self {
        let Err(error) = serde_json::from_str::<Vec<T>>(list) else { return Self::Spelling };
        let text = error.to_string();
        let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        missing.map_or(Self::At(error.column()), |(member, _)| Self::Missing(member.to_owned()))
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
pub(super) fn parse(line: &[u8], holes: bool) -> Result<Parsed, RowError> {
    let line = std::str::from_utf8(line).map_err(|error| RowError::NotUtf8(error.valid_up_to()))?;
    let members: Members<'_> = match serde_json::from_str(line) {
        Ok(members) => members,
        // Its words quote the line: ours do not.
        Err(_) => {
            return Err(Json::parse(line).err().map_or(RowError::NotAnObject, RowError::Json));
        }
    };
    members.check()?.understand(holes)
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

#[derive(Debug, Clone, Copy)]
enum RowErrorKind {
    Unknown(usize),
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
                        None => RowErrorKind::Unknown(number),
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

/// A key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Members<'a> {
    fn check(self) -> Result<Self, RowError> {
        match self.problem {
            None => Ok(self),
            Some(RowErrorKind::Unknown(number)) => Err(RowError::Unknown(number)),
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

    fn understand(&self, holes: bool) -> Result<Parsed, RowError> {
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
        let not_taken = NOT_TAKEN.map(|name| !matches!(self.raw(name), None | Some("null")));
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
        }))
    }
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use oubliette::event::{ErasureRef, KeyId, Position, Revision, Shredded, Timestamp, VaultId};

    use super::*;

    fn event(data: Payload) -> RecordedEvent {
        RecordedEvent::plain(
            StreamName::new("s-1").unwrap(),
            Revision(3),
            Position::number(9),
            EventId::random(),
            EventType::new("Happened").unwrap(),
            Timestamp::from_micros(0),
            data,
            None,
        )
    }

    fn taken_back(line: &str) -> Row {
        match parse(line.as_bytes(), false) {
            Ok(Parsed::Event(row)) => row,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_taken_back_byte_for_byte() {
        for text in [r#"{"b": 1e400,"a":9007199254740993,"ü":"\u00fc"}"#, "null", "[1, 2]", "-0"] {
            let data = Payload::Json(Json::parse(text).unwrap());
            let row = write(&event(data.clone()));
            assert!(row.contains(text), "{row}");
            assert_eq!(taken_back(&row).data, data);
        }
    }

    #[test]
    fn a_position_is_a_text_and_a_restored_event_says_so() {
        let mut event = event(Payload::Json(Json::parse("1").unwrap()));
        assert!(write(&event).contains(r#""revision":3,"position":"9","id""#));
        assert!(!write(&event).contains("restored"));
        event.position = Position::pair(9, 2);
        event.restored = Some(Timestamp::from_micros(1));
        let row = write(&event);
        assert!(row.contains(r#""position":"9-2""#), "{row}");
        let times = r#""recorded":"1970-01-01T00:00:00Z","restored":"1970-01-01T00:00:00.000001Z""#;
        assert!(row.contains(times), "{row}");
        assert_eq!(taken_back(&row).id, Some(event.id));
    }

    #[test]
    fn bytes_and_json_that_looks_like_them_are_two_things() {
        let bytes = Payload::Bytes([0, 159, 255].into());
        assert_eq!(taken_back(&write(&event(bytes.clone()))).data, bytes);
        let json = Payload::Json(Json::parse(r#"{"bytes":"AJ//"}"#).unwrap());
        assert_eq!(taken_back(&write(&event(json.clone()))).data, json);
    }

    #[test]
    fn a_row_is_one_line_however_the_payload_is_laid_out() {
        let data = Payload::Json(Json::parse("{\r\n  \"a\": \"x\\ny\"\n}").unwrap());
        let row = write(&event(data));
        assert!(!row.contains(['\n', '\r']));
        assert!(row.contains(r#"{    "a": "x\ny" }"#), "{row}");
    }

    #[test]
    fn a_tombstone_that_nobody_vouches_for_is_no_data() {
        let mut forged = event(Payload::Json(Json::parse(r#"{"state":"forgotten"}"#).unwrap()));
        forged.event_type = EventType::new(SUBJECT_FORGOTTEN).unwrap();
        let row = write(&forged);
        assert!(row.contains(r#""foreign":{"state":"forgotten"}"#), "{row}");
        assert!(!row.contains(r#""data""#), "{row}");
        assert!(matches!(parse(row.as_bytes(), true), Ok(Parsed::Tombstone)));
    }

    #[test]
    fn holes_are_said_and_taken_only_when_asked_for() {
        let part = Shredded {
            origin: VaultId(uuid::Uuid::from_u128(5)),
            reference: ErasureRef([7; 16]),
            day: Timestamp::from_micros(0).day(),
            keys: vec![KeyId([9; 20])],
            fields: vec!["*".to_owned()],
            copied: false,
        };
        let whole = RecordedEvent::plain(
            StreamName::new("s").unwrap(),
            Revision(0),
            Position::number(1),
            EventId::random(),
            EventType::new("T").unwrap(),
            Timestamp::now(),
            Payload::Bytes([].into()),
            None,
        );
        let mut shredded = whole;
        shredded.data = None;
        shredded.shredded = vec![part.clone()];
        let row = write(&shredded);
        let written = r#""shredded":[{"origin":"00000000-0000-0000-0000-000000000005","ref":"BwcHBwcHBwcHBwcHBwcHBw","day":"1970-01-01","keys":["CQkJCQkJCQkJCQkJCQkJCQkJCQk"],"fields":["*"]}]}"#;
        assert!(row.ends_with(written), "{row}");
        assert!(matches!(parse(row.as_bytes(), false), Err(RowError::Holes)));
        let Ok(Parsed::Event(taken)) = parse(row.as_bytes(), true) else { panic!() };
        let holes = taken.holes.unwrap();
        assert_eq!(holes.withheld().count(), 0);
        assert_eq!(holes.shredded(), [Shredded { copied: true, ..part }]);
        for (odd, told) in [
            (row.replace("1970", "70"), "character"),
            (row.replace("00005", "0000A"), "character"),
            (row.replace("\"ref\":\"BwcHBwcHBwcHBwcHBwcHBw\",", ""), "no `ref`"),
            (row.replace("\"ref\"", "\"erasure\""), "character"),
            (row.replace("\"day\"", "\"more\":1,\"day\""), "character"),
            (row.replace("[{", "{").replace("}]", "}"), "character"),
            // What a loose reader takes for an object and its members.
            (
                row.replace("[{", "[[")
                    .replace("}]", "]]")
                    .replace("\"origin\":", "")
                    .replace("\"ref\":", "")
                    .replace("\"day\":", "")
                    .replace("\"keys\":", "")
                    .replace("\"fields\":", ""),
                "another spelling",
            ),
            (row.replace("\"day\"", "\"day\":\"1970-01-01\",\"day\""), "character"),
        ] {
            let refused = parse(odd.as_bytes(), true).unwrap_err();
            assert!(matches!(refused, RowError::OddHoles("shredded", _)), "{odd}");
            assert!(refused.to_string().contains(told), "{refused}");
        }
    }

    #[test]
    fn bad_rows_are_refused_without_quoting_them() {
        let why = |line: &str| parse(line.as_bytes(), false).unwrap_err().to_string();
        for (line, reason) in [
            ("", "not JSON"),
            ("Erika", "not JSON"),
            ("[\"Erika\"]", "not a JSON object"),
            (r#"{"stream":"s","type":"T"}"#, "`data` is missing"),
            (r#"{"type":"T","data":1}"#, "`stream` is missing"),
            (r#"{"stream":7,"type":"T","data":1}"#, "`stream` is not a string"),
            (r#"{"stream":"Erika M","type":"T","data":1}"#, "white space"),
            (r#"{"stream":"s","type":"T","data":1,"data":2}"#, "`data` stands twice"),
            (r#"{"stream":"s","Erika":"T","data":1}"#, "member number 2 is unknown"),
            (r#"{"stream":"s","type":"T","data":{"Erika":1,"Erika":2}}"#, "same key twice"),
            (r#"{"stream":"s","type":"T","data":1,"id":"Erika"}"#, "not a UUID"),
            (r#"{"stream":"s","type":"T","data":1,"metadata":["Erika"]}"#, "not an object"),
            (r#"{"stream":"s","type":"T","bytes":"Erika!"}"#, "not base64"),
            (r#"{"stream":"s","type":"T","bytes":"","data":1}"#, "both there"),
            (r#"{"stream":"s","type":"SubjectForgotten","data":{}}"#, "tombstone"),
            (r#"{"stream":"s","type":"T","data":1,"shredded":[{}]}"#, "`shredded` is not a list"),
            (r#"{"stream":"s","type":"T","withheld":[["no-vault",["*"]]]}"#, "`withheld` is not"),
            (
                r#"{"stream":"s","type":"T","withheld":[{"why":"no-vault","fields":["*"]}]}"#,
                "--with-holes",
            ),
            (
                r#"{"stream":"s","type":"T","withheld":[{"why":"Erika","fields":["*"]}]}"#,
                "`withheld` is not",
            ),
        ] {
            let told = why(line);
            assert!(told.contains(reason), "{line}: {told}");
            assert!(!told.contains("Erika"), "{told}");
        }
        assert!(matches!(parse(&[0xff], false), Err(RowError::NotUtf8(0))));
    }

    /// What a row says, member by member.
    fn said(row: Row) -> [String; 7] {
        let Row { stream, id, event_type, subject, metadata, data, holes, .. } = row;
        [
            stream.to_string(),
            format!("{id:?}"),
            event_type.to_string(),
            format!("{subject:?}"),
            // `Debug` shows nothing of what they hold.
            metadata.map_or_else(String::new, |json| json.as_str().to_owned()),
            format!("{:?}", data.as_bytes()),
            holes.map_or_else(String::new, |holes| {
                let withheld: Vec<_> = holes.withheld().map(|part| part.fields).collect();
                format!("{:?} {withheld:?}", holes.shredded())
            }),
        ]
    }

    /// No seal is over a row. But what is changed in one is refused, or shows in the member that it was changed in.
    #[test]
    fn a_changed_bit_of_a_row_is_refused_or_shows_where_it_is() {
        let rows = [
            r#"{"stream":"s-1","revision":3,"position":"9","id":"6fa459ea-ee8a-4ca4-894e-db77e1603500","type":"Moved","subject":"s-1","recorded":"1970-01-01T00:00:00Z","metadata":{"trace":"a"},"data":{"to":"Bonn","n":1.50},"keys":["CQkJCQkJCQkJCQkJCQkJCQkJCQk"],"shredded":[{"origin":"00000000-0000-0000-0000-000000000005","ref":"BwcHBwcHBwcHBwcHBwcHBw","day":"1970-01-01","keys":["CQkJCQkJCQkJCQkJCQkJCQkJCQk"],"fields":["/name"]}],"withheld":[{"why":"no-vault","fields":["/iban"]}]}"#,
            r#"{"stream":"s-1","type":"Sent","restored":"1970-01-01T00:00:00Z","bytes":"AJ//AA=="}"#,
        ];
        // In the order of `said`; the others are passed over.
        let members = ["stream", "id", "type", "subject", "metadata", "data", "shredded"];
        for row in rows {
            let taken = |bytes: &[u8]| match parse(bytes, true) {
                Ok(Parsed::Event(row)) => Some(said(row)),
                Ok(Parsed::Tombstone) => panic!("a tombstone"),
                Err(_) => None,
            };
            let whole = taken(row.as_bytes()).unwrap();
            // The member that a byte is of, and whether it is of its name.
            let member = |at: usize| {
                let begins = NAMES.map(|name| (row.find(&format!("\"{name}\":")), name));
                let before = begins.into_iter().filter(|(begin, _)| begin.is_some_and(|b| b <= at));
                let Some((Some(begin), name)) = before.max() else { return ("", true) };
                let of = match name {
                    "bytes" => "data",
                    "withheld" => "shredded",
                    name => name,
                };
                (of, at < begin + name.len() + 2)
            };
            let mut shown = 0;
            let mut check = |bytes: &[u8], at: usize| {
                let Some(now) = taken(bytes) else { return };
                let (member, is_name) = member(at);
                assert!(!is_name, "byte {at}: another member, or none");
                let differs = |n: &usize| now[*n] != whole[*n];
                let differ: Vec<&str> = (0..7).filter(differs).map(|n| members[n]).collect();
                shown += differ.len();
                match differ.as_slice() {
                    [one] => assert_eq!(*one, member, "byte {at}"),
                    // Another spelling of the same, or nothing that is taken.
                    [] => {
                        let passed = ["revision", "position", "recorded", "restored", "keys"];
                        let same = ["id", "shredded"].contains(&member);
                        assert!(same || passed.contains(&member), "byte {at}");
                    }
                    more => panic!("byte {at}: {more:?}"),
                }
            };
            for bit in 0..row.len() * 8 {
                let mut bytes = row.as_bytes().to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                check(&bytes, bit / 8);
            }
            for at in 0..row.len() {
                let mut bytes = row.as_bytes().to_vec();
                bytes.remove(at);
                check(&bytes, at);
                assert!(parse(&row.as_bytes()[..at], true).is_err(), "cut to {at}");
            }
            assert!(shown > 50, "{shown}");
        }
    }
}
