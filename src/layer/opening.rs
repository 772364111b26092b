//! Opening events: the one path of layer and codec.

use super::{
    Codec, CodecError,
    document::{Document, Head, NotedHoles, Notes, Parts, Stored},
    wanted::{can_vouch, not_wanted},
};
use crate::{
    crypto::{self, Context, Plaintext, Purpose, Token},
    event::{
        ErasureId, EventId, EventType, Holes, Json, KeyId, Payload, RecordedEvent, Shredded,
        StreamName, Subject, Withheld, WithheldReason,
    },
    store::Unreadable,
    vault::{Keeper, KeyLookup, Tagged, VaultError},
};

/// Which event a payload belongs to. A sealed payload opens only as the event that it was
/// sealed for.
///
/// [`Codec`](super::Codec) has an example.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    /// The logical stream of the event.
    pub stream: &'a StreamName,
    /// The event's id.
    pub id: EventId,
    /// The event's type.
    pub event_type: &'a EventType,
}

impl<'a> EventRef<'a> {
    pub(crate) fn of(event: &'a RecordedEvent) -> Self {
        Self { stream: &event.stream, id: event.id, event_type: &event.event_type }
    }

    /// What its tokens are bound to.
    pub(crate) fn context(self) -> Context<'a> {
        let Self { stream, id, event_type } = self;
        Context { purpose: Purpose::Event, stream, event_id: id, event_type }
    }
}

impl Document {
    /// What a stored event is, by itself.
    pub(crate) fn of(event: &RecordedEvent) -> Result<Self, Unreadable> {
        Self::behind(Head::of(event.metadata.as_ref(), None)?, event)
    }

    /// The same, where its metadata were read before.
    pub(super) fn behind(head: Head, event: &RecordedEvent) -> Result<Self, Unreadable> {
        head.with(data_of(event)?)
    }
}

pub(super) fn data_of(event: &RecordedEvent) -> Result<&Payload, Unreadable> {
    event.data.as_ref().ok_or(Unreadable::Malformed("the store returned no data"))
}

impl Stored {
    /// What the tag shows of an event with these tokens; `None`: it has none.
    pub(crate) async fn tagged(&self, vault: &dyn Keeper, event: EventRef<'_>) -> Option<Tagged> {
        let tag = self.notes.mac.as_ref()?;
        // Without its eras a vault vouches for nothing; that they are damaged is told elsewhere.
        vault.check_tag(tag, &self.associated(&event.context()), &self.tokens).await.ok()
    }

    /// Whether another vault wrote the event, as far as can be told: its tag names another, and none of its
    /// keys is this vault's. What it states is then nothing of this vault's.
    pub(crate) async fn is_anothers(&self, vault: &dyn Keeper) -> bool {
        is_anothers(vault, &self.notes, &self.tokens).await
    }

    /// The public half of a split event whose private half is not there. That is all of an event whose
    /// keys are all destroyed, and a reader without a vault could not open the other half.
    ///
    /// # Errors
    /// [`Unreadable::HalfMissing`] where something could be read; [`Unreadable::UnknownEra`] where the vault is older than the
    /// event, and does not know of its keys whether they are destroyed.
    pub(super) async fn without_half(self, vault: Option<&dyn Keeper>) -> Result<Self, Unreadable> {
        let alone = self.alone()?;
        match vault {
            Some(vault) if !are_dead(vault, &alone.tokens).await => {
                Err(match is_of_a_later_era(vault, &alone).await {
                    true => Unreadable::UnknownEra,
                    false => Unreadable::HalfMissing,
                })
            }
            _ => Ok(alone),
        }
    }

    /// What was missing when the event was copied to here, if this vault noted it.
    ///
    /// # Errors
    /// [`Unreadable::ForgedHole`] and its kind, by [`judge_holes`]; errors of the vault.
    pub(crate) async fn holes(
        &self,
        vault: &dyn Keeper,
        event: EventRef<'_>,
    ) -> Result<Option<&Holes>, CodecError> {
        let Some(NotedHoles { holes, mac }) = self.notes.holes.as_deref() else {
            return Ok(None);
        };
        let EventRef { stream, id, event_type } = event;
        let tagged = match mac {
            None => None,
            Some(mac) => {
                let said = holes.tagged_bytes(stream, id, event_type);
                Some(vault.check_holes(mac, &said).await?)
            }
        };
        let others = self.notes.mac.is_some_and(|mac| !mac.names(vault.id()));
        judge_holes(tagged, others)?;
        Ok(Some(holes))
    }
}

/// Of an event with these notes and tokens, as [`Stored::is_anothers`]. Another vault's tag cannot be checked,
/// so that one over a key of this vault's says nothing.
pub(super) async fn is_anothers(vault: &dyn Keeper, notes: &Notes, tokens: &[Token]) -> bool {
    if notes.mac.is_none_or(|tag| tag.names(vault.id())) {
        return false;
    }
    for token in tokens.iter().chain(&notes.stubs) {
        if !matches!(vault.opening_key(token.key_id()).await, Err(VaultError::KeyMissing(_))) {
            return false;
        }
    }
    true
}

/// Whether holes with this tag are this vault's word. `others`: the event's own tag names another
/// vault.
pub(super) fn judge_holes(tagged: Option<Tagged>, others: bool) -> Result<(), Unreadable> {
    match tagged {
        // A part that opens is bound to the note, and so is the event's own tag, which is asked where none does.
        Some(Tagged::Ours | Tagged::UnknownEra) => Ok(()),
        // All of it is theirs.
        Some(Tagged::OtherVault) if others => Err(Unreadable::OtherVault),
        Some(Tagged::OtherVault | Tagged::Forged) | None => Err(Unreadable::ForgedHole),
    }
}

/// A payload that was opened, as far as it could be.
///
/// ```
/// use oubliette::{layer::EventRef, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let codec = Codec::new(Vault::in_memory()?, Policy::sealed_by_default());
/// # let (stream, moved) = (StreamName::new("user-456")?, EventType::new("UserMoved")?);
/// # let sealed = codec.seal(&stream, NewEvent::new(moved.clone(), Json::parse("{}")?)).await?;
/// # let event = EventRef { stream: &stream, id: sealed.id, event_type: &moved };
/// let opened = codec.open(event, &sealed.data, sealed.metadata.as_ref())?;
/// match opened.data {
///     Some(data) => println!("{} bytes, {} parts gone", data.as_bytes().len(), opened.shredded.len()),
///     None => println!("nothing is readable"),
/// }
/// # sealed.stored().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Whether nothing shows that this vault wrote it: it has no token, and no tag of the vault's. It
    /// is from before there was a codec, or forged.
    pub unsealed: bool,
    /// Whether it is not known if this vault wrote it: no part of it opens, and its tag is of an era that the
    /// vault never had, because it was put back to before that.
    pub unvouched: bool,
}

/// What happened to a token.
pub(crate) enum TokenFate {
    /// It opens. It is sealed for this subject.
    Open(Plaintext, Subject),
    /// Its key is destroyed.
    Shredded(Token, ErasureId),
    /// It does not open, though its key lives.
    Failed(Unreadable),
    /// The vault does not give its key: there is none, or it is beneath a damaged page.
    NoKey(VaultError),
}

/// Opens a token under its key, if that lives. All that reads or judges events opens them here.
pub(super) async fn try_token(vault: &dyn Keeper, token: Token, associated: &[u8]) -> TokenFate {
    match vault.opening_key(token.key_id()).await {
        Ok(KeyLookup::Live { key, subject }) => match crypto::open(token, &key, associated) {
            Ok(plaintext) => TokenFate::Open(plaintext, subject),
            Err(error) => TokenFate::Failed(error.into()),
        },
        Ok(KeyLookup::Shredded { erasure }) => TokenFate::Shredded(token, erasure),
        Err(error) => TokenFate::NoKey(error),
    }
}

impl Codec {
    /// Opens a stored event as far as the vault can, and takes its tokens out of the document. `public_only`:
    /// but for what need not be opened. `as_it_stands` is taken where it was never sealed.
    pub(super) async fn open_stored(
        &self,
        event: EventRef<'_>,
        document: &mut Document,
        public_only: bool,
        as_it_stands: impl FnOnce() -> (Payload, Option<Json>),
    ) -> Result<Opened, CodecError> {
        let mut opened = Opened::default();
        let stored = match document {
            Document::Stored(stored) => stored,
            Document::Clear => {
                let (data, metadata) = as_it_stands();
                return Ok(Opened { data: Some(data), metadata, unsealed: true, ..opened });
            }
        };
        // Before the tokens, which are bound to it, so that a forged hole is told by its name.
        if let Some(vault) = self.keeper() {
            stored.holes(&**vault, event).await?;
        }
        let plaintexts = self.unseal(event, stored, public_only, &mut opened).await?;
        self.add_holes(stored, &mut opened);
        if opened.unvouched {
            // That a key is destroyed does not show that it was this event's.
            let unsure =
                |part: Shredded| Withheld { why: WithheldReason::Unvouched, fields: part.fields };
            opened.withheld.extend(opened.shredded.drain(..).map(unsure));
        }
        (opened.data, opened.metadata) = stored.assemble(plaintexts)?;
        Ok(opened)
    }

    /// What is missing of a copy. Without a vault no one is called forgotten.
    fn add_holes(&self, stored: &Stored, opened: &mut Opened) {
        let Some(NotedHoles { holes, .. }) = stored.notes.holes.as_deref() else { return };
        if self.keeper().is_some() {
            opened.shredded.extend(holes.shredded.iter().cloned());
        } else {
            let unsure = |part: &Shredded| Withheld {
                why: WithheldReason::NoVault,
                fields: part.fields.clone(),
            };
            opened.withheld.extend(holes.shredded.iter().map(unsure));
        }
        opened.withheld.extend(holes.withheld());
    }

    /// Takes out the tokens and opens those whose keys live, and notes of the others what happened to them. With
    /// `public_only` none is opened where the tag can vouch for the event.
    async fn unseal(
        &self,
        event: EventRef<'_>,
        stored: &mut Stored,
        public_only: bool,
        opened: &mut Opened,
    ) -> Result<Parts, CodecError> {
        let associated = stored.associated(&event.context());
        let lets_be = match self.keeper() {
            Some(vault) => public_only && can_vouch(&**vault, &stored.notes).await,
            None => false,
        };
        let tokens = std::mem::take(&mut stored.tokens);
        let mut plaintexts = Parts::with_capacity(tokens.len());
        let mut unopened = Vec::new();
        for (i, token) in tokens.into_iter().enumerate() {
            let fields = || match stored.notes.fields.get(i) {
                Some(fields) => fields.clone(),
                None => vec!["*".to_owned()],
            };
            let id = token.key_id();
            opened.keys.push(id);
            let Some(vault) = self.keeper() else {
                opened.withheld.push(Withheld { why: WithheldReason::NoVault, fields: fields() });
                continue;
            };
            let is_own = i == 0 && !stored.notes.others;
            if lets_be && let Ok(KeyLookup::Live { subject, .. }) = vault.opening_key(id).await {
                opened.subject = opened.subject.take().or(is_own.then_some(subject));
                opened.withheld.push(not_wanted(fields()));
                unopened.push(token);
                continue;
            }
            match try_token(&**vault, token, &associated).await {
                TokenFate::Open(plaintext, subject) => {
                    opened.subject = opened.subject.take().or(is_own.then_some(subject));
                    plaintexts.push(plaintext);
                }
                TokenFate::Failed(unreadable) => return Err(unreadable.into()),
                TokenFate::NoKey(error) => return Err(no_key(&**vault, id, stored, error).await),
                TokenFate::Shredded(token, erasure) => {
                    opened.shredded.push(Shredded {
                        origin: vault.id(),
                        reference: vault.reference(erasure, event.stream).await?,
                        day: erasure.day(),
                        keys: vec![id],
                        fields: fields(),
                        copied: false,
                    });
                    unopened.push(token);
                }
            }
        }
        match self.keeper() {
            // A part that opened is bound to all key ids of the event, and to what is public of it.
            Some(vault) if plaintexts.is_empty() => {
                vouch(&**vault, stored, &associated, &unopened, opened).await?;
            }
            Some(_) => {}
            None => opened.unsealed = stored.notes.mac.is_none() && opened.withheld.is_empty(),
        }
        Ok(plaintexts)
    }
}

/// Whether the keys of these tokens are all known to be destroyed.
pub(super) async fn are_dead(vault: &dyn Keeper, tokens: &[Token]) -> bool {
    for token in tokens {
        if !is_dead(vault, token).await {
            return false;
        }
    }
    true
}

/// Whether a token's key is known to be destroyed.
pub(super) async fn is_dead(vault: &dyn Keeper, token: &Token) -> bool {
    matches!(vault.opening_key(token.key_id()).await, Ok(KeyLookup::Shredded { .. }))
}

/// Why there is no key for a token, as far as the event and the key's id say.
async fn no_key(vault: &dyn Keeper, id: KeyId, stored: &Stored, error: VaultError) -> CodecError {
    let tag = stored.notes.mac.filter(|_| matches!(error, VaultError::KeyMissing(_)));
    match tag {
        Some(tag) if !tag.names(vault.id()) => Unreadable::OtherVault.into(),
        // Ids name the eras of the vault that made them, and this vault may never have had that one.
        Some(_) => match vault.knows_era(id.era()).await {
            Ok(true) => error.into(),
            Ok(false) => Unreadable::UnknownEra.into(),
            Err(error) => error.into(),
        },
        None => error.into(),
    }
}

/// Whether this vault wrote an event under a key of an era that it does not know of any more.
async fn is_of_a_later_era(vault: &dyn Keeper, stored: &Stored) -> bool {
    if stored.notes.mac.is_none_or(|tag| !tag.names(vault.id())) {
        return false;
    }
    for token in &stored.tokens {
        let is_missing =
            matches!(vault.opening_key(token.key_id()).await, Err(VaultError::KeyMissing(_)));
        if is_missing && matches!(vault.knows_era(token.key_id().era()).await, Ok(false)) {
            return true;
        }
    }
    false
}

/// Asks the tag of an event of which no part opened: these are all of its tokens. Of an event in clear
/// without token or hole that it does not vouch for it is no error: it is somebody else's. Nor is an unknown era: what is
/// newer than the vault must not end all reading, but says so.
async fn vouch(
    vault: &dyn Keeper,
    stored: &Stored,
    associated: &[u8],
    tokens: &[Token],
    opened: &mut Opened,
) -> Result<(), CodecError> {
    let tag = stored.notes.mac.as_ref();
    let tagged = match tag {
        Some(tag) => Some(vault.check_tag(tag, associated, tokens).await?),
        None => None,
    };
    let in_clear = tokens.is_empty() && stored.notes.holes.is_none();
    match tagged {
        Some(Tagged::Ours) => {}
        Some(Tagged::UnknownEra) => opened.unvouched = true,
        Some(Tagged::Forged) => return Err(Unreadable::Tampered.into()),
        Some(Tagged::OtherVault) | None if in_clear => opened.unsealed = true,
        Some(Tagged::OtherVault) => return Err(Unreadable::OtherVault.into()),
        None => return Err(Unreadable::Untagged.into()),
    }
    Ok(())
}
