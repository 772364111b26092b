//! What the layer hands out to be appended within a transaction of the caller's.

use std::{fmt, sync::Arc};

use super::{CodecError, Layer, sealing::Permit};
use crate::{
    store::{Append, EventStore, StoreError},
    vault::Settled,
};

/// What is sealed and is to be appended by you, and the right to do so.
///
/// Forgetting somebody whom it concerns waits until it is settled, or until its time is over: then forgetting goes on, and
/// what you commit afterwards is shredded. So commit within that time, and say what became of it.
///
/// Let go of it only once your transaction has ended: from then on what the store has says whether it was committed.
///
/// ```
/// use std::time::Duration;
/// use oubliette::{store::Append, vault::Settled, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// let user = StreamName::new("user-456")?;
/// let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// let append = Append::new(user.clone(), ExpectedRevision::NoStream, vec![moved]);
///
/// let sealed = store.seal(vec![append], Duration::from_secs(60)).await?;
/// // Here you begin a transaction, append `sealed.appends` to the store beneath within it, write to your own tables, and
/// // commit. (This store has no transactions.)
/// store.store().append(sealed.appends.clone()).await?;
/// assert_eq!(sealed.stored().await?, Settled::Stored);
/// # Ok(())
/// # }
/// ```
#[must_use = "append `appends` to the store beneath, then call `stored`"]
pub struct SealedAppend<S> {
    /// What to append to the store beneath, all or nothing.
    pub appends: Vec<Append>,
    permit: Permit,
    layer: Arc<Layer<S>>,
}

impl<S: EventStore> SealedAppend<S> {
    pub(super) fn new(appends: Vec<Append>, permit: Permit, layer: Arc<Layer<S>>) -> Self {
        Self { appends, permit, layer }
    }

    /// Says that it is in the store: your transaction is committed. Owner edges that it states count from now on, which is
    /// durable. [`Settled::Forgotten`] where somebody whose keys sealed it was forgotten meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Vault`].
    pub async fn stored(self) -> Result<Settled, StoreError> {
        let lives = self.permit.keys_live().await.map_err(CodecError::from)?;
        self.permit.confirm().await.map_err(CodecError::from)?;
        Ok(if lives { Settled::Stored } else { Settled::Forgotten })
    }

    /// Says that your transaction has ended, and you do not know how, or that it was rolled back. The store is asked whether
    /// the events are there.
    pub async fn ended(mut self) {
        self.permit.judge(&*self.layer).await;
    }
}

impl<S> fmt::Debug for SealedAppend<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedAppend").field("appends", &self.appends).finish_non_exhaustive()
    }
}
