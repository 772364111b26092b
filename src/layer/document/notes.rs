//! What the layer notes in an event's metadata, under `$oubliette`.

use crate::{
    event::{EventId, Json, LAYER_KEY, Node, StreamName},
    store::Unreadable,
};

/// What a reader needs to put an event together again. Absent where nothing is needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Notes {
    /// The logical stream, on both halves of a split event.
    pub stream: Option<StreamName>,
    /// On the public half: the id of the private half.
    pub private: Option<EventId>,
    /// On the private half: the id of the public half.
    pub public: Option<EventId>,
    /// The payload is not JSON, and the data are its one token's bytes.
    pub sealed_bytes: bool,
    /// The payload is not JSON and stands in clear; only metadata is sealed.
    pub clear_bytes: bool,
    /// No token is of the event's own subject: all that is sealed is other people's.
    pub others: bool,
    /// Where there is more than one token: the policy's pointers that each covers.
    pub fields: Vec<Vec<String>>,
}

const NOT_NOTES: Unreadable = Unreadable::Malformed("`$oubliette` is not as the layer writes it");

impl Notes {
    /// Whether there is nothing to note.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The notes in an event's metadata. Where what stands there is not as the layer writes it,
    /// there are none, and opening the event will say so.
    pub(crate) fn of(metadata: Option<&Json>) -> Self {
        let noted = |json: &&Json| json.as_str().contains(LAYER_KEY);
        let read = |json: &Json| Self::read(json.tree().member(LAYER_KEY)?).ok();
        metadata.filter(noted).and_then(read).unwrap_or_default()
    }

    /// Metadata without the notes; `None` where nothing else is there.
    pub(crate) fn strip(metadata: Option<&Json>) -> Option<Json> {
        let Node::Object(mut members) = metadata?.tree() else { return metadata.cloned() };
        members.retain(|member| member.key != LAYER_KEY);
        (!members.is_empty()).then(|| Json::from_tree(&Node::Object(members)))
    }

    /// Metadata that holds the notes and nothing else.
    pub(crate) fn to_metadata(&self) -> Json {
        Json::trusted(format!("{{\"{LAYER_KEY}\":{}}}", self.write()))
    }

    /// The notes' JSON.
    pub(super) fn write(&self) -> String {
        let mut members = Vec::new();
        if let Some(stream) = &self.stream {
            members.push(format!(r#""stream":{}"#, quoted(stream.as_str())));
        }
        if let Some(id) = self.private {
            members.push(format!(r#""private":"{id}""#));
        }
        if let Some(id) = self.public {
            members.push(format!(r#""public":"{id}""#));
        }
        if self.sealed_bytes {
            members.push(r#""sealed":"bytes""#.to_owned());
        }
        if self.clear_bytes {
            members.push(r#""clear":"bytes""#.to_owned());
        }
        if self.others {
            members.push(r#""others":true"#.to_owned());
        }
        if !self.fields.is_empty() {
            let list = |fields: &Vec<String>| {
                let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
                format!("[{}]", fields.join(","))
            };
            let lists: Vec<String> = self.fields.iter().map(list).collect();
            members.push(format!(r#""fields":[{}]"#, lists.join(",")));
        }
        format!("{{{}}}", members.join(","))
    }

    pub(super) fn read(node: &Node<'_>) -> Result<Self, Unreadable> {
        let mut notes = Self::default();
        for member in node.members().ok_or(NOT_NOTES)? {
            let value = &member.value;
            match member.key.as_ref() {
                "stream" => {
                    let name = value.string().ok_or(NOT_NOTES)?;
                    notes.stream = Some(StreamName::new(name).map_err(|_| NOT_NOTES)?);
                }
                "private" => notes.private = Some(read_id(value)?),
                "public" => notes.public = Some(read_id(value)?),
                "sealed" if value.string().as_deref() == Some("bytes") => notes.sealed_bytes = true,
                "clear" if value.string().as_deref() == Some("bytes") => notes.clear_bytes = true,
                "others" if matches!(value, Node::Leaf("true")) => notes.others = true,
                "fields" => notes.fields = read_fields(value).ok_or(NOT_NOTES)?,
                _ => return Err(NOT_NOTES),
            }
        }
        if notes.is_empty() { Err(NOT_NOTES) } else { Ok(notes) }
    }
}

/// An id in the one spelling that the layer writes.
fn read_id(value: &Node<'_>) -> Result<EventId, Unreadable> {
    let text = value.string().ok_or(NOT_NOTES)?;
    let id: EventId = text.parse().map_err(|_| NOT_NOTES)?;
    if id.to_string() == text { Ok(id) } else { Err(NOT_NOTES) }
}

fn read_fields(value: &Node<'_>) -> Option<Vec<Vec<String>>> {
    let Node::Array(lists) = value else { return None };
    let read = |list: &Node<'_>| {
        let Node::Array(fields) = list else { return None };
        fields.iter().map(|field| field.string().map(Into::into)).collect()
    };
    if lists.is_empty() { None } else { lists.iter().map(read).collect() }
}

fn quoted(text: &str) -> String {
    // Writing a string into memory cannot fail.
    Json::of(text).map(|json| json.as_str().to_owned()).unwrap_or_default()
}
