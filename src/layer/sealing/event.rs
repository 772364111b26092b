//! One event from cut to stored form.

use crate::{
    crypto::{self, Body, DataKey, SealPart, Token},
    event::{KeyId, NewEvent, Payload},
    layer::{
        CodecError, EventRef,
        document::{Draft, NotedHoles, Notes},
    },
    policy::{self, CutEvent, Policy},
    vault::Keeper,
};

use super::Work;

/// An event as it is to be stored.
pub(in crate::layer) struct SealedEvent {
    /// The event, or its public half.
    pub(in crate::layer) event: NewEvent,
    /// Its private half.
    pub(in crate::layer) half: Option<NewEvent>,
    /// The keys that sealed it.
    pub(in crate::layer) keys: Vec<KeyId>,
}

/// Seals an event with the keys of its parts, in their order.
pub(super) async fn seal(
    policy: &Policy,
    vault: &dyn Keeper,
    work: &Work,
    event: &NewEvent,
    cut: &CutEvent,
    keys: &[&DataKey],
) -> Result<SealedEvent, CodecError> {
    if keys.len() != cut.parts.len() {
        return Err(CodecError::Invalid("a part without a key".to_owned()));
    }
    let half_id = if work.split { vault.half_id(event.id).await? } else { event.id };
    let whole_bytes = matches!(event.data, Payload::Bytes(_))
        && cut.parts.iter().any(|part| matches!(part.body, policy::Body::Whole));
    let mut notes = Notes { sealed_bytes: whole_bytes, ..Notes::default() };
    if cut.parts.len() > 1 {
        notes.fields = cut.parts.iter().map(|part| part.fields.clone()).collect();
    }
    notes.others = cut.parts.first().is_some_and(|first| first.subject != cut.subject);
    if work.split {
        notes.stream = Some(work.stream.clone());
        notes.private = (!cut.parts.is_empty()).then_some(half_id);
        // The payload's kind is the private half's affair.
        notes.sealed_bytes = false;
    }
    if let Some(holes) = &event.holes {
        let said = holes.tagged_bytes(&work.stream, event.id, &event.event_type);
        let noted = NotedHoles::new((**holes).clone(), vault.tag_holes(&said).await?);
        notes.holes = Some(Box::new(noted));
    }
    let public =
        if cut.clear { Some(event.data.clone()) } else { cut.public.clone().map(Payload::Json) };
    let draft = Draft::new(public, cut.public_metadata.as_ref(), &notes);

    let mut parts: Vec<SealPart<'_>> =
        cut.parts.iter().zip(keys).map(|(part, key)| part_of(policy, event, part, key)).collect();
    if let (true, Some(first), true) = (work.split, parts.first_mut(), cut.clear) {
        // A public `{}` would look like the half of which nothing is public: it goes into the token.
        if let Some(empty) =
            event.data.as_json().filter(|json| json.tree().root().is_empty_object())
        {
            first.body = empty.into();
        }
    }
    let context =
        EventRef { stream: &work.stream, id: event.id, event_type: &event.event_type }.context();
    let tokens = crypto::seal(&parts, &context, draft.digest()).map_err(CodecError::Sealing)?;

    // Also where there is no token: an event in clear without a tag is not this vault's.
    let associated = context.associated(tokens.iter().map(Token::key_id), draft.digest());
    let draft = draft.tagged(vault.tag(&associated, &tokens).await?, &tokens);
    let keys = keys.iter().map(|key| key.id()).collect();
    let made = |id, (data, metadata)| NewEvent {
        id,
        event_type: event.event_type.clone(),
        data,
        metadata,
        subject: None,
        holes: None,
    };
    if !work.split {
        return Ok(SealedEvent { event: made(event.id, draft.store(&tokens)), half: None, keys });
    }
    let half = (!tokens.is_empty()).then(|| {
        let notes = Notes {
            stream: Some(work.stream.clone()),
            public: Some(event.id),
            sealed_bytes: whole_bytes,
            ..Notes::default()
        };
        made(half_id, Draft::new(None, None, &notes).store(&tokens))
    });
    Ok(SealedEvent { event: made(event.id, draft.store_clear()), half, keys })
}

fn part_of<'a>(
    policy: &Policy,
    event: &'a NewEvent,
    part: &'a policy::Part,
    key: &'a DataKey,
) -> SealPart<'a> {
    SealPart {
        key,
        policy: policy.digest(),
        body: match (&part.body, &event.data) {
            (policy::Body::Nothing, _) => Body::Nothing,
            (policy::Body::Fields(fields), _) => Body::Fields(fields),
            (policy::Body::Whole, Payload::Json(json)) => Body::from(json),
            (policy::Body::Whole, Payload::Bytes(bytes)) => Body::Bytes(bytes),
        },
        metadata: part.metadata.as_ref().map_or("", |metadata| metadata.as_str()),
        pad: policy.pad().unwrap_or(1),
    }
}
