//! The codec: sealing and opening payloads, for those who own their store's code path.

use std::sync::Arc;

use super::{
    CodecError,
    document::{self, Document, Draft, Notes, Stored},
};
use crate::{
    crypto::{self, Body, Context, DataKey, KeyId, Plaintext, Purpose, SealPart},
    event::{
        EventId, EventType, Generation, Json, NewEvent, Payload, Shredded, StreamName, Subject,
        Why, Withheld,
    },
    policy::{self, Carved, EventFacts, Policy},
    store::Unreadable,
    vault::{Admission, Claim, KeyRequest, KeyState, Opening, UnderWay, Vault},
};

/// Seals payloads under a policy with a vault's keys, and opens them: JSON in, JSON out.
///
/// Use it where you cannot, or do not want to, put a store behind
/// [`EventStore`](crate::store::EventStore): you call [`Codec::seal`] before you write and
/// [`Codec::open`] after you read. [`Oubliette`](super::Oubliette) is this codec around a store,
/// and does more: the split layout, tombstones, owner claims that look into the store.
///
/// Clones share the vault.
#[derive(Debug, Clone)]
pub struct Codec {
    vault: Option<Vault>,
    policy: Policy,
}

/// Which event a payload belongs to. A sealed payload opens only as the event that it was
/// sealed for.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    /// The stream.
    pub stream: &'a StreamName,
    /// The event's id.
    pub id: EventId,
    /// The event's type.
    pub event_type: &'a EventType,
}

/// A payload that is sealed, and the right to store it.
///
/// Forgetting a subject waits while a sealed payload of theirs is held: store it, then let go of
/// it with [`Sealed::stored`].
#[derive(Debug)]
#[must_use = "store `data`, then call `stored`"]
pub struct Sealed {
    /// What to store.
    pub data: Json,
    claims: Vec<(Subject, EventId)>,
    under_way: UnderWay,
    vault: Vault,
    _admission: Admission,
}

/// A payload that was opened, as far as it could be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// What is readable; `None` where nothing is.
    pub data: Option<Payload>,
    /// Metadata, as far as it is readable.
    pub metadata: Option<Json>,
    /// Whose it is, where that is known.
    pub subject: Option<Subject>,
    /// The ids of the keys that its sealed parts are under, living and dead.
    pub keys: Vec<KeyId>,
    /// The parts whose keys are destroyed.
    pub shredded: Vec<Shredded>,
    /// The parts that this reader may not open now.
    pub withheld: Vec<Withheld>,
    /// Whether it had no token: a payload from before there was a codec.
    pub unsealed: bool,
}

/// An event as it is to lie in the store.
pub(super) struct SealedEvent {
    /// The event, or its public half.
    pub(super) event: NewEvent,
    /// Its private half.
    pub(super) half: Option<NewEvent>,
}

impl Codec {
    /// A codec with this vault and policy.
    pub fn new(vault: Vault, policy: Policy) -> Self {
        Self { vault: Some(vault), policy }
    }

    /// A codec that opens nothing and seals nothing: it reads what is public.
    pub fn without_vault(policy: Policy) -> Self {
        Self { vault: None, policy }
    }

    pub(super) fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Seals a JSON payload. What the policy calls public stands in clear beside the token (also
    /// where its layout is `split`: one document has one half).
    ///
    /// # Errors
    /// [`CodecError::Forgotten`], [`CodecError::Refused`], [`CodecError::Vault`].
    pub async fn seal(&self, event: EventRef<'_>, data: &Json) -> Result<Sealed, CodecError> {
        let vault = self.vault.clone().ok_or(CodecError::NoVault)?;
        let EventRef { stream, id, event_type } = event;
        let payload = Payload::Json(data.clone());
        let facts = EventFacts { stream, event_type, subject: None };
        let carved = self.policy.carve(&facts, &payload, None)?;

        let own = Subject::of(stream);
        let begins = carved.owners.iter().any(|change| change.begins_generation());
        let named = carved.parts.iter().map(|part| &part.subject);
        let named = named.chain(carved.owners.iter().map(|change| change.owner()));
        let opening = Opening {
            shared: named.filter(|subject| !(begins && **subject == own)).cloned().collect(),
            exclusive: if begins { vec![own.clone()] } else { vec![] },
        };
        let admission = vault.admit(opening).await?;
        let claims: Vec<Claim> = carved
            .owners
            .iter()
            .map(|change| Claim {
                subject: own.clone(),
                event: id,
                change: change.clone(),
                any: carved.any_owner,
                stored: false,
            })
            .collect();
        let events = if claims.is_empty() { vec![] } else { vec![id] };
        let under_way = vault.begin_claims(events);
        let begun: Option<Generation> = if claims.is_empty() {
            None
        } else {
            vault.claim(&claims).await?.into_iter().flatten().next_back()
        };
        let mut keys = Vec::with_capacity(carved.parts.len());
        for part in &carved.parts {
            let request = KeyRequest {
                stream,
                subject: &part.subject,
                generation: begun.filter(|_| part.subject == own),
                layout: carved.layout,
                policy: self.policy.digest(),
            };
            keys.push(vault.sealing_key(request, 1).await?);
        }
        let new = NewEvent {
            id,
            event_type: event_type.clone(),
            data: payload,
            metadata: None,
            subject: None,
        };
        let sealed = self.seal_carved(stream, &new, &carved, &keys, false)?;
        let Payload::Json(data) = sealed.event.data else {
            return Err(CodecError::Invalid("a JSON payload sealed to something else".to_owned()));
        };
        let claims = claims.into_iter().map(|claim| (claim.subject, claim.event)).collect();
        Ok(Sealed { data, claims, under_way, vault, _admission: admission })
    }

    /// Opens what [`Codec::seal`] made, after it was read back. Reading never consults the
    /// policy. Blocks for a page of the vault at most.
    ///
    /// # Errors
    /// [`CodecError::Unreadable`] where it does not belong to this event as it stands, or its key
    /// is unknown. That somebody is forgotten is no error: see [`Opened::shredded`].
    pub fn open(&self, event: EventRef<'_>, data: &Json) -> Result<Opened, CodecError> {
        self.open_stored(event, document::parse(&Payload::Json(data.clone()), None)?, || {
            (Payload::Json(data.clone()), None)
        })
    }

    /// Seals an event that the policy has carved, with the keys of its parts in their order.
    pub(super) fn seal_carved(
        &self,
        stream: &StreamName,
        event: &NewEvent,
        carved: &Carved,
        keys: &[Arc<DataKey>],
        split: bool,
    ) -> Result<SealedEvent, CodecError> {
        let vault = self.vault.as_ref().ok_or(CodecError::NoVault)?;
        let half_id = vault.half_id(event.id);
        let whole_bytes = matches!(event.data, Payload::Bytes(_))
            && carved.parts.iter().any(|part| matches!(part.body, policy::Body::Whole));
        let mut notes = Notes { sealed_bytes: whole_bytes, ..Notes::default() };
        if carved.parts.len() > 1 {
            notes.fields = carved.parts.iter().map(|part| part.fields.clone()).collect();
        }
        notes.others = carved.parts.first().is_some_and(|first| first.subject != carved.subject);
        if split {
            notes.stream = Some(stream.clone());
            notes.private = (!carved.parts.is_empty()).then_some(half_id);
            // The payload's kind is the private half's affair.
            notes.sealed_bytes = false;
        } else if carved.parts.is_empty() {
            // Wholly public, and by this layer: not to be counted as one from before it.
            notes.stream = Some(stream.clone());
        }
        let public = if carved.clear {
            Some(event.data.clone())
        } else {
            carved.public.clone().map(Payload::Json)
        };
        let draft = Draft::new(public, carved.public_metadata.as_ref(), &notes);
        let parts: Vec<SealPart<'_>> = carved
            .parts
            .iter()
            .zip(keys)
            .map(|(part, key)| SealPart {
                key,
                policy: self.policy.digest(),
                body: match (&part.body, &event.data) {
                    (policy::Body::Nothing, _) => Body::Nothing,
                    (policy::Body::Fields(fields), _) => Body::Fields(fields),
                    (policy::Body::Whole, Payload::Json(json)) => Body::from(json),
                    (policy::Body::Whole, Payload::Bytes(bytes)) => Body::Bytes(bytes),
                },
                metadata: part.metadata.as_ref().map_or("", |metadata| metadata.as_str()),
                pad: self.policy.pad().unwrap_or(1),
            })
            .collect();
        if parts.len() != carved.parts.len() {
            return Err(CodecError::Invalid("a part without a key".to_owned()));
        }
        let context = Context {
            purpose: Purpose::Event,
            stream,
            event_id: event.id,
            event_type: &event.event_type,
        };
        let tokens = crypto::seal(&parts, &context, draft.digest()).map_err(CodecError::Sealing)?;

        let made = |id, (data, metadata)| NewEvent {
            id,
            event_type: event.event_type.clone(),
            data,
            metadata,
            subject: None,
        };
        if !split {
            return Ok(SealedEvent { event: made(event.id, draft.store(&tokens)), half: None });
        }
        let half = (!tokens.is_empty()).then(|| {
            let notes = Notes {
                stream: Some(stream.clone()),
                public: Some(event.id),
                sealed_bytes: whole_bytes,
                ..Notes::default()
            };
            made(half_id, Draft::new(None, None, &notes).store(&tokens))
        });
        Ok(SealedEvent { event: made(event.id, draft.store_clear()), half })
    }

    /// Opens a stored event as far as the vault can. `as_it_stands` is taken where it was never
    /// sealed.
    pub(super) fn open_stored(
        &self,
        event: EventRef<'_>,
        document: Document,
        as_it_stands: impl FnOnce() -> (Payload, Option<Json>),
    ) -> Result<Opened, CodecError> {
        let mut opened = Opened {
            data: None,
            metadata: None,
            subject: None,
            keys: Vec::new(),
            shredded: Vec::new(),
            withheld: Vec::new(),
            unsealed: false,
        };
        let mut stored = match document {
            Document::Stored(stored) => stored,
            Document::Clear => {
                let (data, metadata) = as_it_stands();
                return Ok(Opened { data: Some(data), metadata, unsealed: true, ..opened });
            }
        };
        let plaintexts = self.unseal(event, &mut stored, &mut opened)?;
        (opened.data, opened.metadata) = stored.assemble(plaintexts)?;
        Ok(opened)
    }

    /// Takes out the tokens and opens those whose keys live, and notes of the others what became of them.
    fn unseal(
        &self,
        event: EventRef<'_>,
        stored: &mut Stored,
        opened: &mut Opened,
    ) -> Result<Vec<Plaintext>, CodecError> {
        let context = Context {
            purpose: Purpose::Event,
            stream: event.stream,
            event_id: event.id,
            event_type: event.event_type,
        };
        let associated = stored.associated(&context);
        let tokens = std::mem::take(&mut stored.tokens);
        let mut plaintexts = Vec::with_capacity(tokens.len());
        for (i, token) in tokens.into_iter().enumerate() {
            let fields = || match stored.notes.fields.get(i) {
                Some(fields) => fields.clone(),
                None => vec!["*".to_owned()],
            };
            let id = token.key_id();
            opened.keys.push(id);
            let Some(vault) = &self.vault else {
                opened.withheld.push(Withheld { why: Why::NoVault, fields: fields() });
                continue;
            };
            match vault.opening_key(id)? {
                KeyState::Live { key, subject } => {
                    let plaintext = crypto::open(token, &key, &associated)
                        .map_err(|error| CodecError::Unreadable(Unreadable::from(error)))?;
                    plaintexts.push(plaintext);
                    if i == 0 && !stored.notes.others {
                        opened.subject = Some(subject);
                    }
                }
                KeyState::Shredded { erasure } => opened.shredded.push(Shredded {
                    reference: vault.reference(erasure, event.stream),
                    day: erasure.day(),
                    keys: vec![id],
                    fields: fields(),
                }),
            }
        }
        Ok(plaintexts)
    }
}

impl Sealed {
    /// Says that the payload is in your store: owner edges that it states count from now on, and
    /// the subject can be forgotten again.
    ///
    /// # Errors
    /// [`CodecError::Vault`].
    pub async fn stored(self) -> Result<(), CodecError> {
        for (subject, event) in &self.claims {
            self.vault.settle(subject, std::slice::from_ref(event), true).await?;
        }
        Ok(())
    }

    /// Says that the payload is not in your store and will not be.
    ///
    /// # Errors
    /// [`CodecError::Vault`].
    pub async fn rejected(self) -> Result<(), CodecError> {
        drop(self.under_way);
        for (subject, event) in &self.claims {
            self.vault.settle(subject, std::slice::from_ref(event), false).await?;
        }
        Ok(())
    }
}
