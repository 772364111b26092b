//! How rows become events, and payloads columns.

use oubliette::{
    event::{
        EventId, EventType, Json, Payload, Position, RecordedEvent, Revision, StreamName, Timestamp,
    },
    store::StoreError,
};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    names,
    shape::{EVENT_ID, Ids, Kept, Shape},
};
use crate::{error::PostgresError, rows::Names};

/// What bytes begin with that would be taken for JSON otherwise, in a column of bytes.
const NO_JSON: &[u8] = b"\0oubliette: no JSON\0";

/// The columns before those that make a stream's name, as [`Shape::cooked`] has them.
pub(super) const BEFORE_PARTS: usize = 8;

/// Names that were met, so that many events share one.
#[derive(Debug, Default)]
pub(super) struct Seen {
    types: Names,
    stream: Option<(Vec<String>, StreamName)>,
}

// As `map_err` wants it.
#[allow(clippy::needless_pass_by_value)]
fn client(error: tokio_postgres::Error) -> StoreError {
    PostgresError::from(&error).into()
}

/// A row's position; of one that has none, the first.
pub(super) fn position(at: i64) -> Position {
    Position::number(u64::try_from(at).unwrap_or(0))
}

fn damaged(at: i64, what: &'static str) -> StoreError {
    StoreError::Damaged { position: position(at), source: PostgresError::Damaged(what).into() }
}

impl Shape {
    /// The event of a row of [`Shape::cooked`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a row holds what no event can be made of.
    pub(super) fn event(&self, row: &Row, seen: &mut Seen) -> Result<RecordedEvent, StoreError> {
        let at: i64 = row.try_get(0).map_err(client)?;
        if at < 0 {
            return Err(damaged(at, "its position is negative: repair the row"));
        }
        let stream = self.stream(row, at, BEFORE_PARTS, seen)?;
        let revision: Option<i64> = row.try_get(1).map_err(client)?;
        let revision = revision
            .and_then(|revision| u64::try_from(revision.checked_sub(self.first_revision)?).ok());
        let revision = revision.ok_or_else(|| {
            damaged(at, "its revision is NULL, or before a stream's first: repair the row")
        })?;
        let event_type = seen.event_type(row.try_get(3).map_err(client)?);
        let event_type = event_type.ok_or_else(|| damaged(at, "its type can be no name"))?;
        let text: Option<&str> = row.try_get(4).map_err(client)?;
        let data = match (text, row.try_get::<_, Option<&[u8]>>(5).map_err(client)?) {
            (Some(text), _) => from_text(text),
            (None, Some(bytes)) => from_bytes(bytes),
            // As PostgreSQL itself makes JSON of it.
            (None, None) => Payload::Json(Json::trusted("null")),
        };
        let metadata: Option<&str> = row.try_get(6).map_err(client)?;
        let (kept, metadata) = match (&self.ids, &self.metadata) {
            (Ids::Metadata, Some(column)) if column.kind == Kept::Json => {
                metadata.map_or((None, None), without_id)
            }
            _ => (None, metadata.map(str::to_owned)),
        };
        let metadata = metadata.and_then(|text| read_metadata(&text));
        let id: Option<&str> = row.try_get(2).map_err(client)?;
        // Without a time it is as where the mapping names none.
        let recorded: Option<i64> = row.try_get(7).map_err(client)?;
        let id = kept.or_else(|| id.and_then(|id| self.id_of(id)));
        let id = id.unwrap_or_else(|| self.derived(&format!("place/{revision}/{stream}")));
        Ok(RecordedEvent::plain(
            stream,
            Revision(revision),
            position(at),
            id,
            event_type,
            Timestamp::from_micros(recorded.unwrap_or(0)),
            data,
            metadata,
        ))
    }

    /// The id that a text in the table is.
    fn id_of(&self, text: &str) -> Option<EventId> {
        match canonical(text) {
            Some(id) => Some(id),
            None if matches!(self.ids, Ids::Metadata) => None,
            // Of an id of another kind, or in another spelling, so that two of them are two.
            None => Some(self.derived(&format!("id/{text}"))),
        }
    }

    fn derived(&self, name: &str) -> EventId {
        EventId::derived(self.space, name)
    }

    /// The stream of a row, whose parts begin with this column.
    pub(super) fn stream(
        &self,
        row: &Row,
        at: i64,
        first: usize,
        seen: &mut Seen,
    ) -> Result<StreamName, StoreError> {
        let mut values: Vec<&str> = Vec::with_capacity(self.parts.len());
        for column in first..first + self.parts.len() {
            let value: Option<&str> = row.try_get(column).map_err(client)?;
            values.push(value.ok_or_else(|| {
                damaged(at, "a column of its stream's name is NULL: repair the row")
            })?);
        }
        if let Some((known, stream)) = &seen.stream
            && known.iter().map(String::as_str).eq(values.iter().copied())
        {
            return Ok(stream.clone());
        }
        let stream = self.template.name(&values).ok_or_else(|| {
            damaged(at, "its stream's name is empty, or longer than 255 bytes: repair the row")
        })?;
        let (_, stream) =
            seen.stream.insert((values.into_iter().map(str::to_owned).collect(), stream));
        Ok(stream.clone())
    }
}

impl Seen {
    /// What a row has in the column of its type, as one.
    pub(super) fn event_type(&mut self, text: Option<&str>) -> Option<EventType> {
        let known = text.and_then(|text| self.types.event_type(text));
        known.or_else(|| names::event_type(text))
    }
}

/// An id in the one spelling that we write.
fn canonical(text: &str) -> Option<EventId> {
    let uuid = Uuid::parse_str(text).ok()?;
    (uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some(EventId(uuid))
}

/// The member in which metadata are kept that are no JSON object, as the text that they are.
const AS_TEXT: &str = "$metadata";

/// Metadata without members say nothing, and `null` and an empty text as little. What is no JSON object is kept as a text in
/// one: nothing of it is lost where the row is sealed or copied.
fn read_metadata(text: &str) -> Option<Json> {
    match Json::parse(text) {
        Ok(json) if matches!(json.as_str(), "null" | "{}") => None,
        Ok(json) if json.as_str().starts_with('{') => Some(json),
        _ if text.trim().is_empty() => None,
        _ => Json::of(&BTreeMap::from([(AS_TEXT, text)])).ok(),
    }
}

/// What the metadata begin with in which we keep an id, and end with.
fn before_id() -> String {
    format!("{{\"{EVENT_ID}\":\"")
}

/// Metadata that hold an id as well, in a column that keeps their text.
pub(super) fn with_id(id: EventId, metadata: Option<&Json>) -> String {
    let rest = metadata.map_or("}", |json| json.as_str().get(1..).unwrap_or("}"));
    let comma =
        if rest.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('}') { "" } else { "," };
    format!("{}{id}\"{comma}{rest}", before_id())
}

/// The id that they hold, and what was there before it was put in.
fn without_id(text: &str) -> (Option<EventId>, Option<String>) {
    let kept = text.strip_prefix(&before_id()).and_then(|rest| {
        let (id, rest) = rest.split_once('"')?;
        let id = canonical(id)?;
        Some((id, rest.strip_prefix(',').unwrap_or(rest)))
    });
    match kept {
        // There were none.
        Some((id, "}")) => (Some(id), None),
        Some((id, rest)) => (Some(id), Some(format!("{{{rest}"))),
        None => (None, Some(text.to_owned())),
    }
}

/// Whether metadata use the name under which ids are kept.
pub(super) fn uses_our_name(metadata: &Json) -> bool {
    // Spelled as it is, or with escapes.
    let text = metadata.as_str();
    (text.contains(EVENT_ID) || text.contains("\\u"))
        && metadata
            .to::<BTreeMap<String, IgnoredAny>>()
            .is_ok_and(|members| members.contains_key(EVENT_ID))
}

/// In a column of bytes JSON is what reads as such. Bytes that would are marked.
pub(super) fn to_bytes(payload: &Payload) -> Vec<u8> {
    match payload {
        Payload::Json(json) => json.as_str().as_bytes().to_vec(),
        Payload::Bytes(bytes) if bytes.starts_with(NO_JSON) || json(bytes).is_some() => {
            [NO_JSON, bytes].concat()
        }
        Payload::Bytes(bytes) => bytes.to_vec(),
    }
}

/// In a column of text or JSON, too, JSON is what reads as such, and everything else bytes. PostgreSQL takes for JSON what is none
/// here: half of a surrogate pair, a member twice, hundreds of lists in each other.
fn from_text(text: &str) -> Payload {
    Json::parse(text).map_or_else(|_| Payload::Bytes(text.as_bytes().into()), Payload::Json)
}

fn from_bytes(bytes: &[u8]) -> Payload {
    match bytes.strip_prefix(NO_JSON) {
        Some(marked) => Payload::Bytes(marked.into()),
        None => json(bytes).map_or_else(|| Payload::Bytes(bytes.into()), Payload::Json),
    }
}

fn json(bytes: &[u8]) -> Option<Json> {
    Json::parse(str::from_utf8(bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn metadata_come_back_as_they_were_before_an_id_was_put_in() {
        let id = EventId::random();
        for text in ["{ }", r#"{"a":1}"#, "{ \"a\" : [ 1 ] }", "{\n}", r#"{"":""}"#] {
            let json = Json::parse(text).unwrap();
            let kept = with_id(id, Some(&json));
            Json::parse(&kept).unwrap();
            assert_eq!(without_id(&kept), (Some(id), Some(text.to_owned())), "{kept}");
            assert!(!uses_our_name(&json));
        }
        for nothing in [None, Some(&Json::trusted("{}"))] {
            assert_eq!(without_id(&with_id(id, nothing)), (Some(id), None));
        }
        for foreign in [
            "{}",
            "[]",
            r#"{"$event_id":"7","a":1}"#,
            r#"{"a":1,"$event_id":"57ff261f-6b5d-4a84-a96e-002d6a9d0371"}"#,
        ] {
            assert_eq!(without_id(foreign), (None, Some(foreign.to_owned())));
        }
        for ours in [r#"{"$event_id":1}"#, r#"{"a":1,"\u0024event_id":null}"#] {
            assert!(uses_our_name(&Json::parse(ours).unwrap()), "{ours}");
        }
        assert!(!uses_our_name(&Json::parse(r#"{"a":"$event_id"}"#).unwrap()));
    }

    #[test]
    fn bytes_and_json_are_told_apart_in_a_column_of_bytes() {
        let bytes = |bytes: &[u8]| Payload::Bytes(bytes.into());
        let marked = to_bytes(&bytes(b"7"));
        for payload in [
            Payload::Json(Json::parse("{\"a\":1}").unwrap()),
            bytes(b"{\"a\":1}"),
            bytes(b" 7 "),
            bytes(b""),
            bytes(&[0xff, 0]),
            bytes(NO_JSON),
            bytes(&marked),
        ] {
            assert_eq!(from_bytes(&to_bytes(&payload)), payload);
        }
        assert_eq!(to_bytes(&bytes(b"\x01token")), b"\x01token");
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = "57ff261f-6b5d-4a84-a96e-002d6a9d0371";
        assert_eq!(canonical(id).unwrap().to_string(), id);
        for other in ["", "7", &id.to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}")] {
            assert_eq!(canonical(other), None, "{other}");
        }
    }
}
