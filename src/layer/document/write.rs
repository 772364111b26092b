//! From the parts to the stored form.

use super::{
    Notes,
    digest::{Clear, digest},
    notes,
};
use crate::{
    crypto::{EventTag, PublicDigest, Token},
    event::{Json, LAYER_KEY, Payload, SEALED_KEY, Tree},
};

/// The public part of an event that is being sealed: first its digest is taken, which the tokens
/// are bound to, then the tokens are put beside it.
#[derive(Debug, Clone)]
pub struct Draft {
    public: Option<Payload>,
    metadata: Option<Json>,
    notes: Notes,
    digest: PublicDigest,
}

impl Draft {
    /// What is to be in clear: `public` of the data (`None` where nothing is public, which is
    /// not the same as a public `{}`), `metadata` of the metadata (an object), and the notes.
    pub fn new(public: Option<Payload>, metadata: Option<&Json>, notes: &Notes) -> Self {
        // The public half of which nothing is public must be stored as something: see `store_clear`.
        // So must a copy of which nothing was readable.
        let bare = notes.holes.as_ref().is_some_and(|noted| noted.holes.bare);
        let hides = notes.private.is_some() || bare;
        let public = public.filter(|public| !(hides && is_empty_object(public)));
        let clear_bytes = matches!(public, Some(Payload::Bytes(_)));
        let notes = Notes { clear_bytes, ..notes.clone() };
        let metadata = metadata.filter(|metadata| has_members(metadata)).cloned();
        let mut draft = Self { public, metadata, notes, digest: PublicDigest::NOTHING };
        draft.digest = draft.take_digest();
        draft
    }

    fn take_digest(&self) -> PublicDigest {
        let metadata = self.noted();
        let (data, metadata) =
            (self.public.as_ref().and_then(Payload::as_json), metadata.as_ref().map(Json::tree));
        let data = data.map(Json::tree);
        let clear = match (&data, &self.public) {
            (Some(tree), _) => Some(Clear::Json(tree.root())),
            (None, Some(public)) => Some(Clear::Bytes(public.as_bytes())),
            (None, None) => None,
        };
        digest(clear, metadata.as_ref().map(Tree::root))
    }

    /// The public metadata with the notes as their last member.
    fn noted(&self) -> Option<Json> {
        if self.notes.is_empty() {
            return self.metadata.clone();
        }
        let mut text = begin_last(self.metadata.as_ref(), LAYER_KEY, notes::ROOM);
        self.notes.write(&mut text);
        text.push('}');
        Some(Json::trusted(text))
    }

    /// With the tag that vouches for it and for its tokens, which is bound to the digest and therefore not
    /// in it. What is left of the tokens is noted if they will be elsewhere.
    #[must_use]
    pub fn tagged(mut self, tag: EventTag, tokens: &[Token]) -> Self {
        self.notes.mac = Some(tag);
        if self.notes.private.is_some() {
            self.notes.stubs = tokens.iter().map(Token::stub).collect();
        }
        self
    }

    /// The digest that the tokens must be bound to.
    pub fn digest(&self) -> &PublicDigest {
        &self.digest
    }

    /// Data and metadata as they are stored, with the event's tokens in them.
    pub fn store(self, tokens: &[Token]) -> (Payload, Option<Json>) {
        let metadata = self.noted();
        match (self.public, tokens) {
            (public, []) => (public.unwrap_or_else(empty_object), metadata),
            (None, [token]) if self.notes.sealed_bytes => {
                (Payload::Bytes(token.as_bytes().into()), metadata)
            }
            (None, _) => (Json::trusted(beside(None, tokens)).into(), metadata),
            (Some(Payload::Json(json)), _) if has_members(&json) => {
                (Json::trusted(beside(Some(&json), tokens)).into(), metadata)
            }
            (Some(public), _) => (public, Some(Json::trusted(beside(metadata.as_ref(), tokens)))),
        }
    }

    /// Data and metadata as they are stored where the tokens are elsewhere: the public half of
    /// a split event.
    pub fn store_clear(self) -> (Payload, Option<Json>) {
        self.store(&[])
    }
}

fn empty_object() -> Payload {
    Json::trusted("{}").into()
}

fn is_empty_object(data: &Payload) -> bool {
    data.as_json().is_some_and(|json| json.as_str().starts_with('{') && !has_members(json))
}

/// Whether it is an object with something in it. Its text is JSON, so that only white space is
/// between the braces of one that has nothing.
fn has_members(json: &Json) -> bool {
    open_end(json).is_some()
}

/// An object with the tokens as its last member.
fn beside(object: Option<&Json>, tokens: &[Token]) -> String {
    let length: usize = tokens.iter().map(|token| token.text_len() + 3).sum();
    let mut text = begin_last(object, SEALED_KEY, length + 4);
    text.push('[');
    for (i, token) in tokens.iter().enumerate() {
        text.push_str(if i > 0 { ",\"" } else { "\"" });
        token.write(&mut text);
        text.push('"');
    }
    text.push_str("]}");
    text
}

/// The text of an object up to the value of its last member, which is to be appended, and has about so many bytes.
fn begin_last(object: Option<&Json>, key: &str, room: usize) -> String {
    let front = object.and_then(open_end).unwrap_or_default();
    let mut text = String::with_capacity(front.len() + key.len() + room + 6);
    text.push_str(front);
    text.push(if front.is_empty() { '{' } else { ',' });
    text.push('"');
    text.push_str(key);
    text.push_str("\":");
    text
}

/// The text of an object without its closing brace, white space and all; `None` where it has no
/// members.
fn open_end(object: &Json) -> Option<&str> {
    let front = object.as_str().strip_suffix('}')?;
    let inner = front.strip_prefix('{')?.trim_start_matches([' ', '\t', '\n', '\r']);
    (!inner.is_empty()).then_some(front)
}
