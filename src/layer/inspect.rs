//! Events as they are stored, one after the other, past whatever is wrong with one of them:
//! for those who judge a store rather than read it.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::{
    EventRef, Oubliette,
    document::{Document, Notes, Stored},
    halves::{Audience, Found, Joined, document_of, join_all},
    opening::{TokenFate, is_anothers, try_token},
};
use crate::{
    event::{KeyId, Position, RecordedEvent},
    store::{Delivery, Direction, EventStore, ReadAllOptions, StoreError, Unreadable},
    vault::{Keeper, Tagged, VaultError},
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
    async fn of(joined: Joined, vault: Option<&dyn Keeper>) -> Option<Self> {
        let (event, document, lone_half) = match joined {
            Joined::Event(Found { event, .. }) if event.is_bookkeeping() => {
                (event, Ok(Document::Clear), false)
            }
            Joined::Event(Found { event, read }) => {
                let document = document_of(&event, read, vault, false).await;
                (event, document, false)
            }
            Joined::Misplaced(event, unreadable) => (event, Err(unreadable), false),
            Joined::LoneHalf(event) => {
                // A later public half does not lead to it; then it is late itself.
                let newer = Document::of(&event).err().filter(Unreadable::is_newer);
                (event, Err(newer.unwrap_or(Unreadable::HalfMissing)), true)
            }
            Joined::CaughtUp => return None,
        };
        Some(Self { event, document, lone_half })
    }

    /// What its tag shows; `None`: it has none.
    pub(crate) async fn tagged(&self, vault: &dyn Keeper) -> Option<Tagged> {
        let Ok(Document::Stored(stored)) = &self.document else { return None };
        stored.tagged(vault, EventRef::of(&self.event)).await
    }

    /// Whether another vault on the same store wrote it, as far as can be told.
    pub(crate) async fn is_anothers(&self, vault: &dyn Keeper) -> bool {
        match &self.document {
            // Tombstones and announcements have signatures in place of tags.
            _ if self.event.is_tombstone() || self.event.is_bookkeeping() => false,
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
        let own_words = self.event.is_tombstone() || self.event.is_bookkeeping();
        let ours = matches!(self.tagged(vault).await, Some(Tagged::Ours | Tagged::UnknownEra));
        in_clear && !own_words && !ours
    }
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
        let inner = inner.map_ok(Delivery::Event).boxed();
        let layer = Arc::clone(&self.layer);
        join_all(Arc::clone(&layer), None, inner, Direction::Forwards, Audience::Auditors)
            .try_filter_map(move |joined| {
                let layer = Arc::clone(&layer);
                async move { Ok(Specimen::of(joined, layer.keeper()).await) }
            })
            .boxed()
    }
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
        match try_token(vault, token, &associated).await {
            // A store that cannot read one page may well read the next.
            TokenFate::NoKey(error) if !is_of_one_key(&error) => return Err(error),
            fate => fates.push((id, fate)),
        }
    }
    Ok(fates)
}

fn is_of_one_key(error: &VaultError) -> bool {
    use VaultError::{Damaged, DiskFull, KeyMissing, Storage};
    matches!(error, KeyMissing(_) | Damaged(_) | Storage(_) | DiskFull(_))
}
