//! What the codec hands out: a sealed payload, and the right to store it.

use std::sync::Arc;

use super::{CodecError, sealing::Stating};
use crate::{
    event::{EventId, Json, Payload},
    vault::{Admission, Vault},
};

/// An event that is sealed, and the right to store it.
///
/// Forgetting a subject waits while a sealed event of theirs is held: store it, then let go of
/// it with [`Sealed::stored`].
#[derive(Debug)]
#[must_use = "store `data` and `metadata`, then call `stored`"]
pub struct Sealed {
    /// The event's id.
    pub id: EventId,
    /// What to store as its payload.
    pub data: Payload,
    /// What to store as its metadata, where there is something.
    pub metadata: Option<Json>,
    pub(super) claims: Option<Stating>,
    pub(super) vault: Vault,
    /// That of all events that were sealed together.
    pub(super) _admission: Arc<Admission>,
}

impl Sealed {
    /// Says that the event is in your store: owner edges that it states count from now on, and the
    /// subject can be forgotten again.
    ///
    /// # Errors
    /// [`CodecError::Vault`].
    pub async fn stored(self) -> Result<(), CodecError> {
        match self.claims {
            Some(claims) => Ok(claims.confirm(&self.vault).await?),
            None => Ok(()),
        }
    }

    /// Says that the event is not in your store and will not be.
    ///
    /// # Errors
    /// [`CodecError::Vault`].
    pub async fn rejected(self) -> Result<(), CodecError> {
        match self.claims {
            Some(claims) => Ok(claims.withdraw(&self.vault).await?),
            None => Ok(()),
        }
    }
}
