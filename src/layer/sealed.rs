//! What the codec hands out: a sealed payload, and the right to store it.

use super::{CodecError, sealing::Permit};
use crate::{
    event::{EventId, Json, Payload},
    vault::Settled,
};

/// An event that is sealed, and a permit to store it.
///
/// Forgetting a subject waits while a sealed event of theirs is held, until its permit ends
/// ([`Codec::lasting_for`](super::Codec::lasting_for)): store it, then let go of it with
/// [`Sealed::stored`]. One that is dropped leaves the owners that it states open, see
/// [`Codec::unsettled`](super::Codec::unsettled).
///
/// ```
/// use oubliette::{vault::Settled, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let codec = Codec::new(Vault::in_memory()?, Policy::sealed_by_default());
/// # let (stream, moved) = (StreamName::new("user-456")?, EventType::new("UserMoved")?);
/// # let insert = |_: &oubliette::layer::Sealed| Ok::<(), std::io::Error>(());
/// let sealed = codec.seal(&stream, NewEvent::new(moved, Json::parse("{}")?)).await?;
/// // `insert` is yours: it stores `sealed.id`, `sealed.data` and `sealed.metadata`.
/// let settled = match insert(&sealed) {
///     Ok(()) => sealed.stored().await?,
///     Err(_) => sealed.rejected().await?,
/// };
/// assert_eq!(settled, Settled::Stored);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "store `data` and `metadata`, then call `stored`"]
pub struct Sealed {
    /// The event's id.
    pub id: EventId,
    /// What to store as its payload.
    pub data: Payload,
    /// What to store as its metadata, where there is something.
    pub metadata: Option<Json>,
    pub(super) permit: Permit,
}

impl Sealed {
    /// Says that the event is in your store: owner edges that it states count from now on, and the
    /// subject can be forgotten again. Where the permit had ended, somebody may have been forgotten
    /// meanwhile: the answer says so. It is durable.
    ///
    /// # Errors
    /// [`CodecError::Vault`].
    pub async fn stored(self) -> Result<Settled, CodecError> {
        Ok(self.permit.stored().await?)
    }

    /// Says that the event is not in your store and will not be.
    ///
    /// # Errors
    /// [`CodecError::Vault`].
    pub async fn rejected(self) -> Result<Settled, CodecError> {
        Ok(self.permit.rejected().await?)
    }
}
