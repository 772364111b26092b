//! Reading less: what a reader does not want of an event is not opened.

use std::sync::Arc;

use super::{Oubliette, document::Notes};
use crate::{
    event::{EventType, RecordedEvent, Withheld, WithheldReason},
    vault::Keeper,
};

/// What a reader takes of the events. The rest is not opened. The default is all.
///
/// [`Oubliette::wanting`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Only events of these types; empty: of all types.
    pub event_types: Vec<EventType>,
    /// Of each event only what is in clear, as a reader without a vault sees it; but the vault vouches for it.
    pub public_only: bool,
}

impl<S> Oubliette<S> {
    /// The same layer for a reader that takes only some of what is there: a fold that needs three event types of twenty, a
    /// projection of public fields. Every event still comes, so that revisions have no gaps, and what was decided on a
    /// fold can be appended. What is not wanted is [`Withheld`](crate::event::Content::Withheld), for
    /// [`NotWanted`](WithheldReason::NotWanted).
    ///
    /// - Of an event of another type nothing is opened, and nothing is vouched for: also not that it is of that type. Who
    ///   can write to the store can hide an event from this reader by giving it another type; a reader of all events is
    ///   told that it was tampered with.
    /// - With `public_only` nothing is decrypted, and of a split stream the private half is not read. The event's tag
    ///   vouches for what is public; where this vault cannot check it, the event is opened as ever. Where a field has
    ///   a residue or a placeholder (`keep`, `placeholder`), that is what is in clear.
    /// - A part whose key is destroyed is shredded, as ever, in events of the wanted types. Tombstones always come.
    ///
    /// Who copies events reads without this: a copy of an event that was not read whole is refused.
    ///
    /// ```
    /// use oubliette::{event::Revision, layer::Wanted, *};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
    /// # let user = StreamName::new("user-456")?;
    /// let moved = EventType::new("UserMoved")?;
    /// # for event_type in [moved.clone(), EventType::new("UserLoggedIn")?] {
    /// #     let event = NewEvent::new(event_type, Json::parse(r#"{"to":"Leipzig"}"#)?);
    /// #     store.append_to(&user, ExpectedRevision::Any, vec![event]).await?;
    /// # }
    /// let moves = store.wanting(Wanted { event_types: vec![moved], ..Wanted::default() });
    /// let moved = moves.fold(&user, 0, |n, _, content| n + u64::from(matches!(content, Content::Clear(_)))).await?;
    /// assert_eq!((moved.state, moved.revision), (1, Some(Revision(1))));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn wanting(&self, wanted: Wanted) -> Self {
        Self { layer: Arc::clone(&self.layer), wanted: Some(Arc::new(wanted)) }
    }
}

impl Wanted {
    /// Whether anything is wanted of an event.
    pub(super) fn takes(&self, event: &RecordedEvent) -> bool {
        self.event_types.is_empty() || self.event_types.contains(&event.event_type)
    }
}

/// Makes an event one of which nothing is wanted.
pub(super) fn pass_by(event: &mut RecordedEvent) {
    event.data = None;
    event.metadata = None;
    event.withheld = vec![not_wanted(vec!["*".to_owned()])];
}

pub(super) fn not_wanted(fields: Vec<String>) -> Withheld {
    Withheld { why: WithheldReason::NotWanted, fields }
}

/// Whether the vault can say, by its tag, that an event is genuine of which no part is opened. Of a tag that it cannot
/// check says nothing: then a part that opens vouches for the event.
pub(super) async fn can_vouch(vault: &dyn Keeper, notes: &Notes) -> bool {
    match notes.mac {
        Some(tag) if tag.names(vault.id()) => vault.knows_era(tag.era()).await.unwrap_or(false),
        _ => false,
    }
}

/// Whether the private half of an event need not be read by who wants what is public alone.
pub(super) async fn is_enough(vault: &dyn Keeper, notes: &Notes) -> bool {
    !notes.stubs.is_empty() && can_vouch(vault, notes).await
}
