//! From the stored form to the parts, and from the opened parts to the event.
//!
//! One pass over each stored text finds where its values are. The tokens, the digest and the
//! places to fill all come from that list; a text is composed only where something is filled in, or
//! where a member of the layer's own must go.

use smallvec::{SmallVec, smallvec};

use super::{
    Notes,
    digest::{Clear, digest},
};
use crate::{
    crypto::{Associated, Body, Context, Plaintext, PublicDigest, Token},
    event::{
        Entry, EventId, Fillings, Json, Kind, LAYER_KEY, Node, Payload, Pieces, SEALED_KEY,
        StreamName, fill,
    },
    store::Unreadable,
};

/// What was opened of an event's parts: mostly one.
pub type Parts = SmallVec<[Plaintext; 1]>;

/// What a stored event turned out to be.
#[derive(Debug)]
// What the layer wrote is the rule: boxing it would cost the rule.
#[allow(clippy::large_enum_variant)]
pub enum Document {
    /// It was never sealed, and the layer noted nothing: it reads as it is.
    Clear,
    /// The layer wrote it.
    Stored(Stored),
}

/// The tokens of an event: mostly one.
pub type Tokens = SmallVec<[Token; 1]>;

/// A stored event, taken apart.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stored {
    /// The tokens, in their order; none on the public half of a split event.
    pub tokens: Tokens,
    /// What the layer noted.
    pub notes: Notes,
    /// The digest that the tokens are bound to.
    pub digest: PublicDigest,
    /// What is in clear of the data; `None` where nothing is.
    public: Option<Public>,
    /// What is in clear of the user's metadata.
    metadata: Option<Text>,
    /// How many tokens there were, since they may be taken out to be opened.
    parts: usize,
}

#[derive(Debug)]
enum Public {
    Json(Text),
    Bytes(Payload),
}

/// A stored text, and where its values are.
#[derive(Debug)]
struct Text {
    json: Json,
    entries: Vec<Entry>,
    /// Which of its members are the layer's own.
    hidden: &'static [&'static str],
}

const NO_TOKENS: Unreadable =
    Unreadable::Malformed("`$sealed` is not a list of tokens, in one place");
const NOT_JSON: Unreadable = Unreadable::Malformed("the data are not JSON");

impl Text {
    fn read(json: &Json, hidden: &'static [&'static str]) -> Result<Self, Unreadable> {
        let entries = json.try_tree().map_err(|_| NOT_JSON)?.into_entries();
        Ok(Self { json: json.clone(), entries, hidden })
    }

    fn root(&self) -> Node<'_> {
        Node::new(self.json.as_str(), &self.entries, 0)
    }

    /// Whether there is anything but the layer's own.
    fn says_something(&self) -> bool {
        let root = self.root();
        !root.is_object() || root.children().any(|member| !self.hides(&member))
    }

    fn hides(&self, member: &Node<'_>) -> bool {
        self.hidden.iter().any(|key| member.is_called(key))
    }

    /// The text without the layer's own.
    fn shown(&self) -> Option<Json> {
        let root = self.root();
        if !root.is_object() || !root.children().any(|member| self.hides(&member)) {
            return Some(self.json.clone());
        }
        fill(Some(root), self.hidden, Pieces::new(), false)
    }
}

/// What a stored event's metadata say. It is read first: it says of which version all is that is there, and which half
/// of an event it is.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// What the layer noted.
    pub(crate) notes: Notes,
    metadata: Metadata,
}

#[derive(Debug, Default)]
enum Metadata {
    /// There are none; or the tag alone, so that nothing of them is bound, and nothing is the user's.
    #[default]
    Nothing,
    /// They hold no notes, or it was forgotten where their values are.
    Unread(Json),
    Read(Text),
}

impl Head {
    /// Reads an event's metadata. `near`: the stream that they are likely to name.
    ///
    /// # Errors
    /// [`Unreadable`], where the notes cannot be read.
    pub(crate) fn of(
        metadata: Option<&Json>,
        near: Option<&StreamName>,
    ) -> Result<Self, Unreadable> {
        let Some(json) = metadata else { return Ok(Self::default()) };
        if let Some(notes) = Notes::only_a_tag(json) {
            return Ok(Self { notes, metadata: Metadata::Nothing });
        }
        if !Notes::may_be_in(json.as_str()) {
            return Ok(Self { metadata: Metadata::Unread(json.clone()), ..Self::default() });
        }
        let text = Text::read(json, OWN)?;
        let notes = Notes::of_metadata(text.root(), near)?;
        Ok(Self { notes, metadata: Metadata::Read(text) })
    }

    /// Whether there is so little to it that it need not be kept: it can be read again at no cost.
    pub(crate) fn is_brief(&self) -> bool {
        match self.metadata {
            Metadata::Nothing => true,
            Metadata::Unread(_) => self.notes.is_empty(),
            Metadata::Read(_) => false,
        }
    }

    /// Whether these metadata are absent, or the layer's tag and nothing else: then they say nothing of where the event is,
    /// nor of another half.
    pub(crate) fn is_tag_at_most(metadata: Option<&Json>) -> bool {
        metadata.is_none_or(|metadata| Notes::only_a_tag(metadata).is_some())
    }

    /// The same, to be kept for some time: without the places of its values, if these are many. An event of ours has few;
    /// anybody who can write to the store may have made others.
    pub(crate) fn kept(mut self) -> Self {
        if let Metadata::Read(text) = &self.metadata
            && text.entries.len() > FEW
        {
            self.metadata = Metadata::Unread(text.json.clone());
        }
        self
    }

    /// The event whose metadata these are.
    ///
    /// # Errors
    /// As [`parse`].
    pub(crate) fn with(self, data: &Payload) -> Result<Document, Unreadable> {
        self.with_digest(data, digest)
    }

    /// The private half whose metadata these are. Its tokens are bound to what the public half has in clear: of its own
    /// there is no digest.
    ///
    /// # Errors
    /// As [`parse`].
    pub(crate) fn with_half(self, data: &Payload) -> Result<Document, Unreadable> {
        self.with_digest(data, |_, _| PublicDigest::NOTHING)
    }

    fn with_digest(
        self,
        data: &Payload,
        digest: impl FnOnce(Option<Clear<'_>>, Option<Node<'_>>) -> PublicDigest,
    ) -> Result<Document, Unreadable> {
        let metadata = match self.metadata {
            Metadata::Nothing => None,
            Metadata::Unread(json) => Some(Text::read(&json, OWN)?),
            Metadata::Read(text) => Some(text),
        };
        take_apart(data, metadata, self.notes, digest)
    }
}

/// Up to how many values of metadata are remembered while an event waits for its other half.
const FEW: usize = 64;
/// The members of metadata that are the layer's own.
const OWN: &[&str] = &[SEALED_KEY, LAYER_KEY];

/// Takes a stored event apart.
///
/// # Errors
/// [`Unreadable`]: what is wrong with a token, or with what is around it.
pub fn parse(data: &Payload, metadata: Option<&Json>) -> Result<Document, Unreadable> {
    Head::of(metadata, None)?.with(data)
}

fn take_apart(
    data: &Payload,
    metadata: Option<Text>,
    notes: Notes,
    digest: impl FnOnce(Option<Clear<'_>>, Option<Node<'_>>) -> PublicDigest,
) -> Result<Document, Unreadable> {
    let aside = metadata.as_ref().map(|text| tokens_in(text.root())).transpose()?.flatten();
    if notes.private.is_none() && !notes.stubs.is_empty() {
        return Err(Unreadable::Malformed("stubs are noted of no private half"));
    }
    let (tokens, public) = match data {
        Payload::Bytes(bytes) if notes.sealed_bytes => {
            (Some(smallvec![Token::from_bytes(bytes.to_vec())?]), None)
        }
        Payload::Bytes(_) => (None, Some(Public::Bytes(data.clone()))),
        Payload::Json(json) => match only_a_token(json)? {
            Some(token) => (Some(smallvec![token]), None),
            None => {
                let text = Text::read(json, &[SEALED_KEY])?;
                let tokens = tokens_in(text.root())?;
                // Data that are nothing but tokens are no public data; `{}` is.
                let nothing = tokens.is_some() && !text.says_something();
                (tokens, (!nothing).then_some(Public::Json(text)))
            }
        },
    };
    let tokens = match (tokens, aside) {
        (Some(_), Some(_)) => return Err(NO_TOKENS),
        (None, None) if notes.is_empty() => return Ok(Document::Clear),
        (tokens, aside) => tokens.or(aside).unwrap_or_default(),
    };
    let elsewhere = tokens.is_empty() && notes.private.is_some();
    let bare = notes.holes.as_ref().is_some_and(|noted| noted.holes.bare);
    // The public half of which nothing is public; and the copy of which nothing was readable.
    let is_empty = |public: &Public| matches!(public, Public::Json(text) if text.root().is_object() && text.root().is_empty());
    let public = public.filter(|public| !((elsewhere || bare) && is_empty(public)));
    if bare && public.is_some() {
        return Err(Unreadable::Malformed("there are data where it is noted that there are none"));
    }
    if notes.clear_bytes != matches!(public, Some(Public::Bytes(_))) {
        return Err(Unreadable::Malformed("the payload's kind is not the one noted"));
    }
    if !elsewhere && !notes.fields.is_empty() && notes.fields.len() != tokens.len() {
        return Err(Unreadable::Malformed("there are not as many tokens as were noted"));
    }
    if tokens.is_empty() && notes.sealed_bytes && !elsewhere {
        return Err(NO_TOKENS);
    }
    let clear = public.as_ref().map(|public| match public {
        Public::Json(text) => Clear::Json(text.root()),
        Public::Bytes(bytes) => Clear::Bytes(bytes.as_bytes()),
    });
    let digest = digest(clear, metadata.as_ref().map(Text::root));
    let metadata = metadata.filter(Text::says_something);
    let parts = tokens.len();
    Ok(Document::Stored(Stored { tokens, notes, digest, public, metadata, parts }))
}

/// By far the most frequent: one token, nothing beside it, as the layer wrote it.
fn only_a_token(json: &Json) -> Result<Option<Token>, Unreadable> {
    let text = json.as_str().strip_prefix("{\"$sealed\":[\"").and_then(|t| t.strip_suffix("\"]}"));
    match text.map(|text| (Token::parse(text), text)) {
        Some((Ok(token), _)) => Ok(Some(token)),
        // Not one string to its end, or one with escapes, which the general way is to judge.
        Some((Err(_), text)) if text.contains(['"', '\\']) => Ok(None),
        Some((Err(error), _)) => Err(error.into()),
        None => Ok(None),
    }
}

/// The tokens that are in an object; `None` where there are none.
fn tokens_in(object: Node<'_>) -> Result<Option<Tokens>, Unreadable> {
    let Some(list) = object.member(SEALED_KEY) else { return Ok(None) };
    if list.kind() != Kind::Array || list.is_empty() {
        return Err(NO_TOKENS);
    }
    let read = |item: Node<'_>| Ok(Token::parse(&item.string().ok_or(NO_TOKENS)?)?);
    list.children().map(read).collect::<Result<_, _>>().map(Some)
}

impl Stored {
    /// Joins the halves of a split event: `self` is the public one, `private` the other.
    ///
    /// # Errors
    /// [`Unreadable::Tampered`] where they do not belong together.
    pub fn join(
        mut self,
        id: EventId,
        private: Self,
        private_id: EventId,
    ) -> Result<Self, Unreadable> {
        // Tokens are bound to the public half's notes alone: of the private half's none is passed over.
        let theirs = Notes {
            stream: self.notes.stream.clone(),
            public: Some(id),
            sealed_bytes: private.notes.sealed_bytes,
            ..Notes::default()
        };
        let stubs = private.tokens.iter().map(Token::stub);
        let belong = self.notes.stream.is_some()
            && self.notes.private == Some(private_id)
            && self.notes.public.is_none()
            && private.notes == theirs
            && private.public.is_none()
            && private.metadata.is_none()
            && self.tokens.is_empty()
            && self.notes.stubs.iter().eq(&stubs.collect::<Vec<_>>());
        if !belong {
            return Err(Unreadable::Tampered);
        }
        if private.tokens.is_empty() {
            return Err(NO_TOKENS);
        }
        if !self.notes.fields.is_empty() && self.notes.fields.len() != private.tokens.len() {
            return Err(Unreadable::Malformed("there are not as many tokens as were noted"));
        }
        (self.tokens, self.parts) = (private.tokens, private.parts);
        Ok(self)
    }

    /// The public half of a split event by itself: stubs stand for the tokens of the private half.
    ///
    /// # Errors
    /// [`Unreadable::HalfMissing`] where it has none.
    pub fn alone(mut self) -> Result<Self, Unreadable> {
        if self.notes.stubs.is_empty() {
            return Err(Unreadable::HalfMissing);
        }
        self.tokens = std::mem::take(&mut self.notes.stubs).into();
        self.parts = self.tokens.len();
        Ok(self)
    }

    /// The event as far as it is known without looking for a private half: itself, or [`Self::alone`].
    ///
    /// # Errors
    /// As [`Self::alone`].
    pub(crate) fn by_itself(self) -> Result<Self, Unreadable> {
        if self.notes.private.is_some() { self.alone() } else { Ok(self) }
    }

    fn is_bare(&self) -> bool {
        self.notes.holes.as_ref().is_some_and(|noted| noted.holes.bare)
    }

    /// The associated data that each of the tokens is bound to.
    pub fn associated(&self, context: &Context<'_>) -> Associated {
        context.associated(self.tokens.iter().map(Token::key_id), &self.digest)
    }

    /// What is in clear of the data; `None` where nothing is.
    pub fn public(&self) -> Option<Payload> {
        match self.public.as_ref()? {
            Public::Json(text) => text.shown().map(Payload::Json),
            Public::Bytes(bytes) => Some(bytes.clone()),
        }
    }

    /// Puts what was opened beside what is public: data and metadata. With fewer opened than
    /// there are tokens, their fields are absent; where nothing of the data is readable there is
    /// none.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] where an opened part has no place.
    pub fn assemble(
        &self,
        opened: impl Into<Parts>,
    ) -> Result<(Option<Payload>, Option<Json>), Unreadable> {
        let opened = opened.into();
        let gaps = opened.len() < self.parts;
        let metadata = self.open_metadata(&opened, gaps)?;
        Ok((self.open_data(opened, gaps)?, metadata))
    }

    fn open_data(&self, mut opened: Parts, gaps: bool) -> Result<Option<Payload>, Unreadable> {
        let whole = match opened.iter().position(Plaintext::is_whole) {
            Some(at) => opened.swap_remove(at).whole()?,
            None => None,
        };
        let mut parts: SmallVec<[Fillings<'_>; 1]> = SmallVec::new();
        for part in &opened {
            match part.body()? {
                Body::Nothing => {}
                Body::Json(_) | Body::Bytes(_) => {
                    return Err(Unreadable::Malformed("two parts are the whole payload"));
                }
                Body::Fields(text) => parts.push(read(text)?),
            }
        }
        match (whole, parts.is_empty(), &self.public) {
            (Some(_), false, _) => {
                Err(Unreadable::Malformed("a part is the whole payload, and another fields of it"))
            }
            (Some(_), true, Some(_)) => {
                Err(Unreadable::Malformed("a part is the whole payload, and data stand beside it"))
            }
            (Some(whole), true, None) => Ok(Some(whole)),
            // The halves of a split event keep no public `{}` apart from no public data: of data of
            // which nothing is sealed, and nothing is in clear, there was nothing.
            (None, true, None) if self.parts > 0 && !gaps && !self.is_bare() => {
                Ok(Some(Json::trusted("{}").into()))
            }
            (None, true, _) => Ok(self.public()),
            (None, false, Some(Public::Bytes(_))) => {
                Err(Unreadable::Malformed("fields of a payload that is not JSON"))
            }
            (None, false, Some(Public::Json(text))) => {
                Ok(Some(filled(Some(text), &parts, gaps)?.into()))
            }
            (None, false, None) => Ok(Some(filled(None, &parts, gaps)?.into())),
        }
    }

    fn open_metadata(&self, opened: &[Plaintext], gaps: bool) -> Result<Option<Json>, Unreadable> {
        let mut parts: SmallVec<[Fillings<'_>; 1]> = SmallVec::new();
        for part in opened {
            let text = part.metadata()?;
            if !text.is_empty() {
                parts.push(read(text)?);
            }
        }
        if parts.is_empty() {
            return Ok(self.metadata.as_ref().and_then(Text::shown));
        }
        filled(self.metadata.as_ref(), &parts, gaps).map(Some)
    }
}

const NOT_FILLINGS: Unreadable = Unreadable::Malformed("a token's fillings are not a list of them");

fn read(text: &str) -> Result<Fillings<'_>, Unreadable> {
    Fillings::read(text).map_err(|_| NOT_FILLINGS)
}

fn filled(rest: Option<&Text>, parts: &[Fillings<'_>], gaps: bool) -> Result<Json, Unreadable> {
    let fillings: Pieces<'_> = parts
        .iter()
        .flat_map(Fillings::iter)
        .collect::<Result<_, _>>()
        .map_err(|_| NOT_FILLINGS)?;
    let (root, hidden) = rest.map_or((None, &[][..]), |text| (Some(text.root()), text.hidden));
    fill(root, hidden, fillings, gaps)
        .ok_or(Unreadable::Malformed("a sealed field has no place in the event"))
}
