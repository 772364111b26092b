//! What the layer notes in an event's metadata, under `$oubliette`.

use serde::{Deserialize, Serialize};
use uuid::fmt::Hyphenated;

use super::Head;
use crate::{
    crypto::{EventTag, Token},
    event::{EventId, Holes, Json, Kind, LAYER_KEY, Node, Pieces, Shredded, StreamName, fill},
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
    /// The payload is not JSON and is in clear; only metadata is sealed.
    pub clear_bytes: bool,
    /// No token is of the event's own subject: all that is sealed is other people's.
    pub others: bool,
    /// Where there is more than one token: the policy's pointers that each covers.
    pub fields: Vec<Vec<String>>,
    /// What was missing already of the event that this is a copy of.
    pub holes: Option<Box<NotedHoles>>,
    /// What vouches for the event when its keys are gone; on the public half, where there are two.
    pub mac: Option<EventTag>,
    /// On the public half: the stubs of the private half's tokens, so that the tag can be asked without it.
    pub stubs: Vec<Token>,
}

/// The holes of a copied event, as they are noted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotedHoles {
    /// What is missing.
    pub holes: Holes,
    /// What vouches that this vault noted it. Without one the note is forged.
    pub mac: Option<EventTag>,
}

/// The member in which later notes say their version. Those of version 1 do not have it.
const VERSION_KEY: &str = "v";

/// What is around a tag without other notes.
const BEFORE_TAG: &str = "{\"$oubliette\":{\"mac\":\"";
const AFTER_TAG: &str = "\"}}";

/// How long notes are, mostly: those of both halves of a split event fit.
pub(super) const ROOM: usize = 192;

const NOT_NOTES: Unreadable = Unreadable::Malformed("`$oubliette` is not as the layer writes it");

impl Notes {
    /// Whether there is nothing to note.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The notes in an event's metadata; none where there are none. Notes that cannot be read are not *no*
    /// notes: an event that is in a half, say, would pass for one that does not.
    ///
    /// # Errors
    /// As when the event is opened.
    pub(crate) fn of(metadata: Option<&Json>) -> Result<Self, Unreadable> {
        Head::of(metadata, None).map(|head| head.notes)
    }

    /// Whether there may be notes in a text. A store, or somebody else, may have written the name with escapes.
    pub(super) fn may_be_in(text: &str) -> bool {
        text.contains(LAYER_KEY) || text.contains("\\u00")
    }

    /// By far the most frequent: the tag and nothing else, as the layer wrote it. `None`: it may be anything,
    /// which the general way is to judge.
    pub(super) fn only_a_tag(metadata: &Json) -> Option<Self> {
        let text = metadata.as_str().strip_prefix(BEFORE_TAG)?.strip_suffix(AFTER_TAG)?;
        // No quote and no escape is in it, or it would be no tag.
        Some(Self { mac: Some(EventTag::parse(text)?), ..Self::default() })
    }

    /// The notes in an event's metadata; none where there are none.
    ///
    /// `near`: the stream that they are likely to name, so that its name is not checked again.
    pub(super) fn of_metadata(
        metadata: Node<'_>,
        near: Option<&StreamName>,
    ) -> Result<Self, Unreadable> {
        let read = |noted| Self::read(noted, near);
        metadata.member(LAYER_KEY).map(read).transpose().map(Option::unwrap_or_default)
    }

    /// Metadata without the notes; `None` where nothing else is there.
    pub(crate) fn strip(metadata: Option<&Json>) -> Option<Json> {
        let metadata = metadata?;
        let tree = metadata.tree();
        let is_note = |member: Node<'_>| member.is_called(LAYER_KEY);
        if !tree.root().is_object() {
            return Some(metadata.clone());
        }
        let other = tree.root().children().any(|member| !is_note(member));
        if other { fill(Some(tree.root()), &[LAYER_KEY], Pieces::new(), false) } else { None }
    }

    /// Metadata that holds the notes and nothing else.
    pub(crate) fn to_metadata(&self) -> Json {
        let mut text = format!("{{\"{LAYER_KEY}\":");
        self.write(&mut text);
        text.push('}');
        Json::trusted(text)
    }

    /// Appends the notes' JSON.
    pub(super) fn write(&self, text: &mut String) {
        // Piece by piece: every event has notes, and formatting them cost a tenth of its sealing.
        let mut members = Members { text, next: '{' };
        if let Some(stream) = &self.stream {
            members.begin("stream").push_str(&quoted(stream.as_str()));
        }
        if let Some(id) = self.private {
            members.id("private", id);
        }
        if let Some(id) = self.public {
            members.id("public", id);
        }
        if self.sealed_bytes {
            members.begin("sealed").push_str("\"bytes\"");
        }
        if self.clear_bytes {
            members.begin("clear").push_str("\"bytes\"");
        }
        if self.others {
            members.begin("others").push_str("true");
        }
        if !self.fields.is_empty() {
            let list = |text: &mut String, fields: &Vec<String>| {
                write_list(text, fields, |text, field| text.push_str(&quoted(field)));
            };
            write_list(members.begin("fields"), &self.fields, list);
        }
        if let Some(holes) = &self.holes {
            members.begin("holes").push_str(&holes.write());
        }
        if !self.stubs.is_empty() {
            write_list(members.begin("stubs"), &self.stubs, |text, stub| {
                text.push('"');
                stub.write(text);
                text.push('"');
            });
        }
        if let Some(mac) = &self.mac {
            let text = members.begin("mac");
            text.push('"');
            mac.write(text);
            text.push('"');
        }
        members.end();
    }

    fn read(node: Node<'_>, near: Option<&StreamName>) -> Result<Self, Unreadable> {
        let mut notes = Self::default();
        if !node.is_object() {
            return Err(NOT_NOTES);
        }
        // Before all else: what the other members of later notes look like, only a later program knows.
        if let Some(version) = node.member(VERSION_KEY) {
            let later = version.text().parse().ok().filter(|version| *version > 1);
            return Err(later.map_or(NOT_NOTES, Unreadable::NotesVersion));
        }
        for value in node.children() {
            match value.key().ok_or(NOT_NOTES)?.as_ref() {
                "stream" => {
                    let name = value.string().ok_or(NOT_NOTES)?;
                    notes.stream = Some(match near.filter(|near| near.as_str() == name) {
                        Some(near) => near.clone(),
                        None => StreamName::new(name).map_err(|_| NOT_NOTES)?,
                    });
                }
                "private" => notes.private = Some(read_id(value)?),
                "public" => notes.public = Some(read_id(value)?),
                "sealed" if value.string().as_deref() == Some("bytes") => notes.sealed_bytes = true,
                "clear" if value.string().as_deref() == Some("bytes") => notes.clear_bytes = true,
                "others" if value.text() == "true" => notes.others = true,
                "holes" => {
                    let noted = NotedHoles::read(value.text()).ok_or(NOT_NOTES)?;
                    notes.holes = Some(Box::new(noted));
                }
                "mac" => {
                    let text = value.string().ok_or(NOT_NOTES)?;
                    notes.mac = Some(EventTag::parse(&text).ok_or(NOT_NOTES)?);
                }
                "stubs" => notes.stubs = read_stubs(value)?,
                "fields" => notes.fields = read_fields(value).ok_or(NOT_NOTES)?,
                _ => return Err(NOT_NOTES),
            }
        }
        if node.is_empty() { Err(NOT_NOTES) } else { Ok(notes) }
    }
}

/// An object that is being written.
struct Members<'t> {
    text: &'t mut String,
    /// What comes before the next member.
    next: char,
}

impl Members<'_> {
    /// Begins a member; its value is to be appended.
    fn begin(&mut self, key: &str) -> &mut String {
        self.text.push(self.next);
        self.next = ',';
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
        self.text
    }

    fn id(&mut self, key: &str, id: EventId) {
        let mut buffer = [0; Hyphenated::LENGTH];
        let id = id.0.hyphenated().encode_lower(&mut buffer);
        let text = self.begin(key);
        text.push('"');
        text.push_str(id);
        text.push('"');
    }

    fn end(self) {
        if self.next == '{' {
            self.text.push('{');
        }
        self.text.push('}');
    }
}

fn write_list<T>(text: &mut String, items: &[T], write: impl Fn(&mut String, &T)) {
    text.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write(text, item);
    }
    text.push(']');
}

impl NotedHoles {
    /// Holes with the tag that vouches for them.
    pub(crate) fn new(holes: Holes, mac: EventTag) -> Self {
        Self { holes, mac: Some(mac) }
    }

    fn write(&self) -> String {
        let Holes { shredded, withheld, bare, .. } = &self.holes;
        let written = WrittenHoles {
            shredded: (!shredded.is_empty()).then(|| shredded.clone()),
            withheld: (!withheld.is_empty()).then(|| withheld.clone()),
            bare: bare.then_some(true),
            mac: self.mac.map(|mac| mac.to_string()),
        };
        // Lists of strings always have a JSON form.
        Json::of(&written).map(|json| json.as_str().to_owned()).unwrap_or_default()
    }

    fn read(text: &str) -> Option<Self> {
        let WrittenHoles { shredded, withheld, bare, mac } = Json::trusted(text).to_exact().ok()?;
        // What there is nothing of is not noted.
        let empty = shredded.as_ref().is_some_and(Vec::is_empty)
            || withheld.as_ref().is_some_and(Vec::is_empty)
            || (shredded.is_none() && withheld.is_none())
            || bare == Some(false);
        let mac = mac.map(|text| EventTag::parse(&text).ok_or(())).transpose().ok()?;
        let copied = |part: Shredded| Shredded { copied: true, ..part };
        let holes = Holes {
            shredded: shredded.into_iter().flatten().map(copied).collect(),
            withheld: withheld.unwrap_or_default(),
            bare: bare.is_some(),
            not_wanted: false,
        };
        (!empty).then_some(Self { holes, mac })
    }
}

/// The JSON of holes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHoles {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shredded: Option<Vec<Shredded>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withheld: Option<Vec<Vec<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bare: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

/// An id in the one spelling that the layer writes.
fn read_id(value: Node<'_>) -> Result<EventId, Unreadable> {
    let text = value.string().ok_or(NOT_NOTES)?;
    let id: EventId = text.parse().map_err(|_| NOT_NOTES)?;
    let mut buffer = [0; Hyphenated::LENGTH];
    if *id.0.hyphenated().encode_lower(&mut buffer) == *text { Ok(id) } else { Err(NOT_NOTES) }
}

fn read_fields(value: Node<'_>) -> Option<Vec<Vec<String>>> {
    let is_list = |node: &Node<'_>| node.kind() == Kind::Array;
    let read = |list: Node<'_>| {
        let list = Some(list).filter(is_list)?;
        list.children().map(|field| field.string().map(Into::into)).collect()
    };
    let lists = Some(value).filter(|value| is_list(value) && !value.is_empty())?;
    lists.children().map(read).collect()
}

fn read_stubs(value: Node<'_>) -> Result<Vec<Token>, Unreadable> {
    let stub = |item: Node<'_>| match Token::parse(&item.string().ok_or(NOT_NOTES)?) {
        Ok(token) if token.is_stub() => Ok(token),
        // Stubs of later tokens are as late as those.
        Err(error) if Unreadable::from(error).is_newer() => Err(error.into()),
        Ok(_) | Err(_) => Err(NOT_NOTES),
    };
    if value.kind() != Kind::Array || value.is_empty() {
        return Err(NOT_NOTES);
    }
    value.children().map(stub).collect()
}

fn quoted(text: &str) -> String {
    // Writing a string into memory cannot fail.
    Json::of(text).map(|json| json.as_str().to_owned()).unwrap_or_default()
}
