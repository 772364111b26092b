//! Events as they are stored, one after the other, past whatever is wrong with one of them:
//! for those who judge a store rather than read it.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{
    EventRef, Oubliette,
    document::{Document, Notes, Stored},
    halves::{PATIENCE, document_of},
    opening::is_anothers,
    placement::logical_of,
};
use crate::{
    crypto::{self, Plaintext},
    event::{EventId, KeyId, Position, RecordedEvent, StreamName},
    store::{EventStore, EventStream, ReadAllOptions, StoreError, Unreadable},
    vault::{Keeper, KeyLookup, Tagged, VaultError},
};

/// An event as it is stored, taken apart.
pub(crate) struct Specimen {
    /// The event, or its public half, under its logical stream.
    pub(crate) event: RecordedEvent,
    /// What it turned out to be, with both halves joined; or what is wrong with it.
    pub(crate) document: Result<Document, Unreadable>,
    /// It is a private half whose public half is nowhere.
    pub(crate) lone_half: bool,
}

impl Specimen {
    /// What its tag shows; `None`: it has none.
    pub(crate) async fn tagged(&self, vault: &dyn Keeper) -> Option<Tagged> {
        let Ok(Document::Stored(stored)) = &self.document else { return None };
        stored.tagged(vault, EventRef::of(&self.event)).await
    }

    /// Whether another vault on the same store wrote it, as far as can be told.
    pub(crate) async fn is_anothers(&self, vault: &dyn Keeper) -> bool {
        match &self.document {
            // Tombstones and announcements have signatures in place of tags.
            _ if self.event.is_tombstone() || self.event.is_announcement() => false,
            Ok(Document::Stored(stored)) => stored.is_anothers(vault).await,
            Ok(Document::Clear) => false,
            Err(_) => match Notes::of(self.event.metadata.as_ref()) {
                Ok(notes) => is_anothers(vault, &notes, &[]).await,
                Err(_) => false,
            },
        }
    }

    /// Whether a newer program wrote it, as far as it says so.
    pub(crate) fn is_newer(&self) -> bool {
        self.document.as_ref().is_err_and(Unreadable::is_newer)
    }

    /// Whether nothing shows that this vault wrote it. The layer's own words, in clear, are not
    /// counted so, nor is what is newer than the vault.
    pub(crate) async fn is_unsealed(&self, vault: &dyn Keeper) -> bool {
        let in_clear = match &self.document {
            Ok(Document::Clear) => true,
            Ok(Document::Stored(stored)) => stored.tokens.is_empty(),
            Err(_) => false,
        };
        let own_words = self.event.is_tombstone() || self.event.is_announcement();
        let ours = matches!(self.tagged(vault).await, Some(Tagged::Ours | Tagged::UnknownEra));
        in_clear && !own_words && !ours
    }
}

/// What happened to one token.
pub(crate) enum TokenFate {
    /// It opens.
    Open(Plaintext),
    /// Its key is destroyed.
    Shredded,
    /// Its key is not known.
    Missing,
    /// It does not open, though its key lives.
    Failed(Unreadable),
    /// Its key is beneath a damaged page of the vault, if anywhere.
    Lost,
}

impl<S: EventStore> Oubliette<S> {
    /// All events, in the order of their positions. Only a failure of the store ends it.
    pub(crate) fn specimens(&self) -> BoxStream<'static, Result<Specimen, StoreError>> {
        self.specimens_after(None)
    }

    /// The same, of what is behind a position: of one at which the store is damaged.
    pub(crate) fn specimens_after(
        &self,
        after: Option<Position>,
    ) -> BoxStream<'static, Result<Specimen, StoreError>> {
        let inner = self.store().read_all(ReadAllOptions { after, ..ReadAllOptions::default() });
        let state =
            Specimens { layer: self.clone(), inner, held: HashMap::new(), lone: Vec::new() };
        let next = |mut state: Specimens<S>| async move {
            Ok(state.next().await?.map(|specimen| (specimen, state)))
        };
        stream::try_unfold(state, next).boxed()
    }
}

struct Specimens<S> {
    layer: Oubliette<S>,
    inner: EventStream,
    /// Private halves whose public half has not come yet; each is near the other.
    held: HashMap<EventId, RecordedEvent>,
    lone: Vec<RecordedEvent>,
}

impl<S: EventStore> Specimens<S> {
    async fn next(&mut self) -> Result<Option<Specimen>, StoreError> {
        loop {
            if let Some(event) = self.lone.pop() {
                // A later public half does not lead to it; then it is late itself.
                let newer = Document::of(&event).err().filter(Unreadable::is_newer);
                let document = Err(newer.unwrap_or(Unreadable::HalfMissing));
                return Ok(Some(Specimen { event, document, lone_half: true }));
            }
            let Some(mut event) = self.inner.try_next().await? else {
                if self.held.is_empty() {
                    return Ok(None);
                }
                self.lone = self.held.drain().map(|(_, half)| half).collect();
                continue;
            };
            if event.is_announcement() {
                // Only what is signed counts of it: no note beside it, and no token in it.
                event.metadata = None;
                let document = Ok(Document::Clear);
                return Ok(Some(Specimen { event, document, lone_half: false }));
            }
            let notes = match Notes::of(event.metadata.as_ref()) {
                Ok(notes) => notes,
                Err(unreadable) => {
                    let document = Err(unreadable);
                    return Ok(Some(Specimen { event, document, lone_half: false }));
                }
            };
            let logical = logical_of(&self.layer.layer.codec, &event.stream, &notes);
            if notes.public.is_some() && (logical.is_ok() || self.is_of_no_rule(&notes)) {
                // More than one append has: the oldest of them wait in vain.
                if self.held.len() >= 2 * PATIENCE {
                    self.lone = self.held.drain().map(|(_, half)| half).collect();
                }
                self.held.insert(event.id, event);
                continue;
            }
            let logical = match logical {
                Ok(logical) => logical,
                Err(unreadable) => {
                    // What is told of the one goes for the other.
                    notes.private.and_then(|id| self.held.remove(&id));
                    return Ok(Some(Specimen {
                        event,
                        document: Err(unreadable),
                        lone_half: false,
                    }));
                }
            };
            let private = match notes.private {
                None => None,
                Some(id) => match self.held.remove(&id) {
                    Some(private) => Some(private),
                    None => look_up(&self.layer, &logical, id).await?,
                },
            };
            event.stream = logical;
            let document = document_of(&event, private.as_ref(), self.layer.layer.keeper()).await;
            return Ok(Some(Specimen { event, document, lone_half: false }));
        }
    }
}

impl<S: EventStore> Specimens<S> {
    /// Whether no rule of the policy splits the stream that is noted: another vault's policy may. Then its
    /// public half, which has a tag, says whose both are.
    fn is_of_no_rule(&self, notes: &Notes) -> bool {
        let names = |logical| self.layer.policy().reading_plan(logical).split_names;
        notes.stream.as_ref().is_some_and(|logical| names(logical).is_none())
    }
}

/// Finds a private half in its stream.
async fn look_up<S: EventStore>(
    layer: &Oubliette<S>,
    logical: &StreamName,
    id: EventId,
) -> Result<Option<RecordedEvent>, StoreError> {
    let Some(names) = layer.policy().reading_plan(logical).split_names else {
        return Ok(None);
    };
    Ok(layer.layer.find_in(&names.private, [id].into(), None).await?.pop())
}

/// Takes the tokens out of a stored event and tries each.
///
/// # Errors
/// Those of a vault that fails as a whole.
pub(crate) async fn try_tokens(
    vault: &dyn Keeper,
    event: &RecordedEvent,
    stored: &mut Stored,
) -> Result<Vec<(KeyId, TokenFate)>, VaultError> {
    let associated = stored.associated(&EventRef::of(event).context());
    let tokens = std::mem::take(&mut stored.tokens);
    let mut fates = Vec::with_capacity(tokens.len());
    for token in tokens {
        let id = token.key_id();
        let fate = match vault.opening_key(id).await {
            Ok(KeyLookup::Live { key, .. }) => match crypto::open(token, &key, &associated) {
                Ok(plaintext) => TokenFate::Open(plaintext),
                Err(error) => TokenFate::Failed(error.into()),
            },
            Ok(KeyLookup::Shredded { .. }) => TokenFate::Shredded,
            Err(VaultError::KeyMissing(_)) => TokenFate::Missing,
            // A store that cannot read one page may well read the next.
            Err(VaultError::Damaged(_) | VaultError::Storage(_) | VaultError::DiskFull(_)) => {
                TokenFate::Lost
            }
            Err(error) => return Err(error),
        };
        fates.push((id, fate));
    }
    Ok(fates)
}
