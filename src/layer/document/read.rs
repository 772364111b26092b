//! From the stored form to the parts, and from the opened parts to the event.

use super::{
    Notes,
    write::{digest, is_empty_object},
};
use crate::{
    crypto::{Body, Context, Plaintext, PublicDigest, Token},
    event::{EventId, Filling, Json, LAYER_KEY, Node, Payload, SEALED_KEY},
    store::Unreadable,
};

/// What a stored event turned out to be.
#[derive(Debug)]
pub enum Document {
    /// It was never sealed, and the layer noted nothing: it reads as it stands.
    Clear,
    /// The layer wrote it.
    Stored(Stored),
}

/// A stored event, taken apart.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stored {
    /// The tokens, in their order; none on the public half of a split event.
    pub tokens: Vec<Token>,
    /// What stands in clear of the data; `None` where nothing does.
    pub public: Option<Payload>,
    /// What stands in clear of the user's metadata, without the layer's own members.
    pub public_metadata: Option<Json>,
    /// What the layer noted.
    pub notes: Notes,
    /// The digest that the tokens are bound to.
    pub digest: PublicDigest,
    /// How many tokens there were, since they may be taken out to be opened.
    parts: usize,
}

const NO_TOKENS: Unreadable =
    Unreadable::Malformed("`$sealed` is not a list of tokens, in one place");

/// Takes a stored event apart.
///
/// # Errors
/// [`Unreadable`]: what is wrong with a token, or with what stands around it.
pub fn parse(data: &Payload, metadata: Option<&Json>) -> Result<Document, Unreadable> {
    let about = metadata.map(Metadata::read).transpose()?.unwrap_or_default();
    let Metadata { tokens: aside, user, bound, notes } = about;
    let sealed = match data {
        Payload::Bytes(bytes) if notes.sealed_bytes => {
            Some((vec![Token::from_bytes(bytes.to_vec())?], None))
        }
        Payload::Bytes(_) => None,
        Payload::Json(json) => split_data(json)?,
    };
    let (tokens, public) = match (sealed, aside) {
        (Some(_), Some(_)) => return Err(NO_TOKENS),
        (Some((tokens, public)), None) => (tokens, public.map(Payload::Json)),
        (None, Some(tokens)) => (tokens, Some(data.clone())),
        (None, None) if notes.is_empty() => return Ok(Document::Clear),
        // The public half of which nothing is public.
        (None, None) if notes.private.is_some() && is_empty_object(data) => (Vec::new(), None),
        (None, None) => (Vec::new(), Some(data.clone())),
    };
    if notes.clear_bytes != matches!(public, Some(Payload::Bytes(_))) {
        return Err(Unreadable::Malformed("the payload's kind is not the one noted"));
    }
    let elsewhere = tokens.is_empty() && notes.private.is_some();
    if !elsewhere && !notes.fields.is_empty() && notes.fields.len() != tokens.len() {
        return Err(Unreadable::Malformed("there are not as many tokens as were noted"));
    }
    if tokens.is_empty() && notes.sealed_bytes && !elsewhere {
        return Err(NO_TOKENS);
    }
    let digest = digest(public.as_ref(), bound.as_ref());
    let parts = tokens.len();
    Ok(Document::Stored(Stored { tokens, public, public_metadata: user, notes, digest, parts }))
}

/// Tokens, and the JSON object that they stand in, where it has other members.
type Beside = (Vec<Token>, Option<Json>);

/// The tokens of JSON data and what stands beside them; `None` where there are none.
fn split_data(json: &Json) -> Result<Option<Beside>, Unreadable> {
    // By far the most frequent: one token, nothing beside it, as the layer wrote it.
    let only = json.as_str().strip_prefix("{\"$sealed\":[\"").and_then(|t| t.strip_suffix("\"]}"));
    match only.map(|text| (Token::parse(text), text)) {
        Some((Ok(token), _)) => return Ok(Some((vec![token], None))),
        // Not one string to its end, or one with escapes, which the general way is to judge.
        Some((Err(_), text)) if text.contains(['"', '\\']) => {}
        Some((Err(error), _)) => return Err(error.into()),
        None => {}
    }
    let Node::Object(mut members) = json.tree() else {
        // A store keeps what it is given; what somebody spoiled there since is not JSON any more,
        // and must not pass for an event that was never sealed.
        return match Json::parse(json.as_str()) {
            Ok(_) => Ok(None),
            Err(_) => Err(Unreadable::Malformed("the data are not JSON")),
        };
    };
    let Some(at) = members.iter().position(|member| member.key == SEALED_KEY) else {
        return Ok(None);
    };
    let tokens = read_tokens(&members.remove(at).value)?;
    let public = (!members.is_empty()).then(|| Json::from_tree(&Node::Object(members)));
    Ok(Some((tokens, public)))
}

fn read_tokens(node: &Node<'_>) -> Result<Vec<Token>, Unreadable> {
    let Node::Array(items) = node else { return Err(NO_TOKENS) };
    if items.is_empty() {
        return Err(NO_TOKENS);
    }
    let read = |item: &Node<'_>| Ok(Token::parse(&item.string().ok_or(NO_TOKENS)?)?);
    items.iter().map(read).collect()
}

/// Metadata, taken apart.
#[derive(Default)]
struct Metadata {
    tokens: Option<Vec<Token>>,
    /// What is the user's.
    user: Option<Json>,
    /// What the digest covers: all but the tokens.
    bound: Option<Json>,
    notes: Notes,
}

impl Metadata {
    fn read(json: &Json) -> Result<Self, Unreadable> {
        let clear =
            || Self { user: Some(json.clone()), bound: Some(json.clone()), ..Self::default() };
        let Node::Object(mut members) = json.tree() else { return Ok(clear()) };
        // Some stores give `{}` back where nothing was.
        if members.is_empty() {
            return Ok(Self::default());
        }
        let tokens = members.iter().position(|member| member.key == SEALED_KEY);
        let tokens = tokens.map(|at| read_tokens(&members.remove(at).value)).transpose()?;
        let notes = members.iter().position(|member| member.key == LAYER_KEY);
        if tokens.is_none() && notes.is_none() {
            return Ok(clear());
        }
        let some = |members: &Vec<_>| {
            (!members.is_empty()).then(|| Json::from_tree(&Node::Object(members.clone())))
        };
        let bound = some(&members);
        let notes = notes.map(|at| Notes::read(&members.remove(at).value)).transpose()?;
        Ok(Self { tokens, user: some(&members), bound, notes: notes.unwrap_or_default() })
    }
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
        let theirs = &private.notes;
        let belong = self.notes.stream.is_some()
            && self.notes.stream == theirs.stream
            && self.notes.private == Some(private_id)
            && theirs.public == Some(id)
            && self.notes.public.is_none()
            && theirs.private.is_none()
            && theirs.fields.is_empty()
            && private.public.is_none()
            && private.public_metadata.is_none()
            && self.tokens.is_empty();
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

    /// The associated data that each of the tokens is bound to.
    pub fn associated(&self, context: &Context<'_>) -> Vec<u8> {
        context.associated(self.tokens.iter().map(Token::key_id), &self.digest)
    }

    /// Puts what was opened beside what is public: data and metadata. With fewer opened than
    /// there are tokens, their fields are absent; where nothing of the data is readable there is
    /// none.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] where an opened part has no place.
    pub fn assemble(
        &self,
        opened: Vec<Plaintext>,
    ) -> Result<(Option<Payload>, Option<Json>), Unreadable> {
        let gaps = opened.len() < self.parts;
        let metadata = self.metadata(&opened, gaps)?;
        Ok((self.data(opened, gaps)?, metadata))
    }

    fn data(&self, mut opened: Vec<Plaintext>, gaps: bool) -> Result<Option<Payload>, Unreadable> {
        let whole = match opened.iter().position(Plaintext::is_whole) {
            Some(at) => opened.swap_remove(at).into_whole()?,
            None => None,
        };
        let mut fillings = Vec::new();
        let mut fields = false;
        for part in &opened {
            match part.body()? {
                Body::Nothing => {}
                Body::Json(_) | Body::Bytes(_) => {
                    return Err(Unreadable::Malformed("two parts are the whole payload"));
                }
                Body::Fields(text) => {
                    fields = true;
                    fillings.extend(read(text)?);
                }
            }
        }
        match (whole, fields) {
            (Some(_), true) => {
                Err(Unreadable::Malformed("a part is the whole payload, and another fields of it"))
            }
            (Some(whole), false) => Ok(Some(whole)),
            (None, false) => Ok(self.public.clone()),
            (None, true) => match &self.public {
                Some(Payload::Bytes(_)) => {
                    Err(Unreadable::Malformed("fields of a payload that is not JSON"))
                }
                public => {
                    let public = public.as_ref().and_then(Payload::as_json);
                    Ok(Some(filled(public, fillings, gaps)?.into()))
                }
            },
        }
    }

    fn metadata(&self, opened: &[Plaintext], gaps: bool) -> Result<Option<Json>, Unreadable> {
        let mut fillings = Vec::new();
        for part in opened {
            let text = part.metadata()?;
            if !text.is_empty() {
                fillings.extend(read(text)?);
            }
        }
        if fillings.is_empty() {
            return Ok(self.public_metadata.clone());
        }
        filled(self.public_metadata.as_ref(), fillings, gaps).map(Some)
    }
}

fn read(text: &str) -> Result<Vec<Filling<'_>>, Unreadable> {
    Filling::read_all(text)
        .map_err(|_| Unreadable::Malformed("a token's fillings are not a list of them"))
}

fn filled(
    public: Option<&Json>,
    fillings: Vec<Filling<'_>>,
    gaps: bool,
) -> Result<Json, Unreadable> {
    let mut tree = public.map_or_else(|| Node::Object(Vec::new()), Json::tree);
    if !tree.fill_all(fillings, gaps) {
        return Err(Unreadable::Malformed("a sealed field has no place in the event"));
    }
    Ok(Json::from_tree(&tree))
}
