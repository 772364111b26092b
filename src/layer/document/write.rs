//! From the parts to the stored form.

use super::Notes;
use crate::{
    crypto::{PublicDigest, Token},
    event::{Json, LAYER_KEY, Node, Payload, SEALED_KEY},
};

/// The public part of an event that is being sealed: first its digest is taken, which the tokens
/// are bound to, then the tokens are put beside it.
#[derive(Debug, Clone)]
pub struct Draft {
    public: Option<Payload>,
    metadata: Option<Json>,
    sealed_bytes: bool,
    digest: PublicDigest,
}

impl Draft {
    /// What is to stand in clear: `public` of the data (`None` where nothing is public, which is
    /// not the same as a public `{}`), `metadata` of the metadata (an object), and the notes.
    pub fn new(public: Option<Payload>, metadata: Option<&Json>, notes: &Notes) -> Self {
        // The public half of which nothing is public must be stored as something: see `store_clear`.
        let public = public.filter(|public| notes.private.is_none() || !is_empty_object(public));
        let clear_bytes = matches!(public, Some(Payload::Bytes(_)));
        let metadata = if clear_bytes != notes.clear_bytes {
            with_notes(metadata, &Notes { clear_bytes, ..notes.clone() })
        } else {
            with_notes(metadata, notes)
        };
        let digest = digest(public.as_ref(), metadata.as_ref());
        Self { public, metadata, sealed_bytes: notes.sealed_bytes, digest }
    }

    /// The digest that the tokens must be bound to.
    pub fn digest(&self) -> &PublicDigest {
        &self.digest
    }

    /// Data and metadata as they are stored, with the event's tokens in them.
    pub fn store(self, tokens: &[Token]) -> (Payload, Option<Json>) {
        match (&self.public, tokens) {
            (_, []) => self.store_clear(),
            (None, [token]) if self.sealed_bytes => {
                (Payload::Bytes(token.as_bytes().into()), self.metadata)
            }
            (None, _) => (Json::trusted(beside(None, tokens)).into(), self.metadata),
            (Some(Payload::Json(json)), _) if has_members(json) => {
                (Json::trusted(beside(Some(json), tokens)).into(), self.metadata)
            }
            (Some(public), _) => {
                let metadata = beside(self.metadata.as_ref(), tokens);
                (public.clone(), Some(Json::trusted(metadata)))
            }
        }
    }

    /// Data and metadata as they are stored where the tokens stand elsewhere: the public half of
    /// a split event.
    pub fn store_clear(self) -> (Payload, Option<Json>) {
        (self.public.unwrap_or_else(|| Json::trusted("{}").into()), self.metadata)
    }
}

/// The digest of a public part. `metadata` has no `$sealed`, but has `$oubliette`.
pub(super) fn digest(data: Option<&Payload>, metadata: Option<&Json>) -> PublicDigest {
    if data.is_none() && metadata.is_none() {
        return PublicDigest::NOTHING;
    }
    let canonical = |json: &Json| json.tree().to_canonical().into_bytes();
    let metadata = metadata.map(canonical).unwrap_or_default();
    match data {
        None => PublicDigest::of(&[], &metadata),
        Some(Payload::Json(json)) => PublicDigest::of(&canonical(json), &metadata),
        Some(Payload::Bytes(bytes)) => PublicDigest::of(bytes, &metadata),
    }
}

/// Public metadata with the notes as the last member; an empty object counts as none.
fn with_notes(metadata: Option<&Json>, notes: &Notes) -> Option<Json> {
    let metadata = metadata.filter(|metadata| metadata.as_str() != "{}" && has_members(metadata));
    if notes.is_empty() {
        return metadata.cloned();
    }
    Some(Json::trusted(with_member(metadata, LAYER_KEY, &notes.write())))
}

pub(super) fn is_empty_object(data: &Payload) -> bool {
    data.as_json().is_some_and(|json| json.as_str().starts_with('{') && !has_members(json))
}

fn has_members(json: &Json) -> bool {
    json.as_str().starts_with('{')
        && matches!(json.tree(), Node::Object(members) if !members.is_empty())
}

/// An object with the tokens as its last member.
fn beside(object: Option<&Json>, tokens: &[Token]) -> String {
    let front = object.and_then(open_end);
    let length: usize = tokens.iter().map(|token| token.text_len() + 3).sum();
    let mut text = String::with_capacity(front.map_or(1, |front| front.len() + 1) + length + 16);
    match front {
        Some(front) => {
            text.push_str(front);
            text.push(',');
        }
        None => text.push('{'),
    }
    text.push('"');
    text.push_str(SEALED_KEY);
    text.push_str("\":[");
    for (i, token) in tokens.iter().enumerate() {
        text.push_str(if i > 0 { ",\"" } else { "\"" });
        token.write(&mut text);
        text.push('"');
    }
    text.push_str("]}");
    text
}

fn with_member(object: Option<&Json>, key: &str, value: &str) -> String {
    match object.and_then(open_end) {
        Some(front) => format!("{front},\"{key}\":{value}}}"),
        None => format!("{{\"{key}\":{value}}}"),
    }
}

/// The text of an object without its closing brace; `None` where it has no members.
fn open_end(object: &Json) -> Option<&str> {
    let front = object.as_str().strip_suffix('}')?.trim_end_matches([' ', '\t', '\n', '\r']);
    if front.ends_with('{') && front.len() == 1 { None } else { Some(front) }
}
