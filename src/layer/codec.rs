//! The codec: sealing and opening events, for those who own their store's code path.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    CodecError, EventRef, Opened, Sealed,
    document::parse,
    sealing::{Prepared, SealedEvent, StoreView, Work, prepare},
};
use crate::{
    TaskError,
    event::{EventId, Json, NewEvent, Payload, StreamName, Subject},
    policy::Policy,
    runtime,
    vault::{Claim, Keeper, OpenClaim, Settled, Vault, at_once},
};

/// How long a permit keeps others waiting, unless somebody says otherwise.
const LASTING: Duration = Duration::from_secs(5 * 60);

/// Seals events under a policy with a vault's keys, and opens them.
///
/// Use it where you cannot, or do not want to, put a store behind
/// [`EventStore`](crate::store::EventStore): you call [`Codec::seal`] before you write and
/// [`Codec::open`] after you read. [`Oubliette`](super::Oubliette) is this codec around a store:
/// what one of them sealed, the other opens. It does more: the split layout, tombstones, owner claims
/// that look into the store.
///
/// Clones share the vault.
///
/// ```
/// use oubliette::{layer::EventRef, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let codec = Codec::new(Vault::in_memory()?, Policy::sealed_by_default());
/// let (stream, moved) = (StreamName::new("user-456")?, EventType::new("UserMoved")?);
/// let json = Json::parse(r#"{"to":"Leipzig"}"#)?;
///
/// let sealed = codec.seal(&stream, NewEvent::new(moved.clone(), json.clone())).await?;
/// let (id, data, metadata) = (sealed.id, sealed.data.clone(), sealed.metadata.clone()); // store these
/// sealed.stored().await?;
///
/// let event = EventRef { stream: &stream, id, event_type: &moved };
/// assert_eq!(codec.open(event, &data, metadata.as_ref())?.data, Some(json.into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Codec {
    keeper: Option<Arc<dyn Keeper>>,
    policy: Policy,
    lasting: Duration,
}

impl Codec {
    /// A codec with this vault and policy.
    pub fn new(vault: Vault, policy: Policy) -> Self {
        Self::over(Arc::new(vault), policy)
    }

    /// A codec with the keys of a vault that may be elsewhere.
    pub(super) fn over(keeper: Arc<dyn Keeper>, policy: Policy) -> Self {
        Self { keeper: Some(keeper), policy, lasting: LASTING }
    }

    /// A codec that opens nothing and seals nothing: it reads what is public.
    pub fn without_vault(policy: Policy) -> Self {
        Self { keeper: None, policy, lasting: LASTING }
    }

    /// The same, but that what is sealed delays others for so long at most (five minutes, unless
    /// this is said). Afterwards forgetting goes on, no matter who still holds a [`Sealed`].
    #[must_use]
    pub fn lasting_for(self, lasting: Duration) -> Self {
        Self { lasting, ..self }
    }

    pub(super) fn lasting(&self) -> Duration {
        self.lasting
    }

    pub(super) fn keeper(&self) -> Option<&Arc<dyn Keeper>> {
        self.keeper.as_ref()
    }

    /// The vault, for what only its own process may do.
    pub(super) fn vault(&self) -> Option<&Vault> {
        self.keeper.as_ref()?.here()
    }

    fn asked(&self) -> Result<&dyn Keeper, CodecError> {
        self.keeper.as_deref().ok_or(CodecError::NoVault)
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Seals an event that is to go into this stream: payload, JSON or not, and metadata. What the
    /// policy calls public is in clear beside the tokens (also where its layout is `split`: one
    /// document has one half).
    ///
    /// # Errors
    /// [`CodecError::Forgotten`], [`CodecError::Refused`], [`CodecError::Invalid`],
    /// [`CodecError::Vault`].
    pub async fn seal(&self, stream: &StreamName, event: NewEvent) -> Result<Sealed, CodecError> {
        let mut sealed = self.seal_many(vec![(stream.clone(), event)]).await?;
        sealed.pop().ok_or_else(|| CodecError::Invalid("nothing was sealed".to_owned()))
    }

    /// Seals several events, each for its stream, to be stored in the order given; all or none.
    /// What one transaction of yours stores is to be sealed in one call: an event that changes an
    /// owner waits for all who hold a [`Sealed`] of the same stream.
    ///
    /// # Errors
    /// As [`Codec::seal`]; [`CodecError::Task`].
    pub async fn seal_many(
        &self,
        events: Vec<(StreamName, NewEvent)>,
    ) -> Result<Vec<Sealed>, CodecError> {
        let keeper = self.keeper.clone().ok_or(CodecError::NoVault)?;
        let mut ids = HashSet::with_capacity(events.len());
        if let Some((_, twice)) = events.iter().find(|(_, event)| !ids.insert(event.id)) {
            return Err(CodecError::Invalid(format!("event {} is given twice", twice.id)));
        }
        let (work, order) = self.by_stream(events)?;
        let codec = self.clone();
        let sealing = async move {
            prepare(&codec, &keeper, &NoStore, &work).await.map(|sealed| Unclaimed(Some(sealed)))
        };
        runtime::check()?;
        let mut unclaimed = runtime::spawn(sealing)?.await??;
        let Some(Prepared { sealed, mut permit }) = unclaimed.0.take() else {
            return Err(TaskError::Cancelled.into());
        };
        let hand_out = |SealedEvent { event, keys, .. }| Sealed {
            id: event.id,
            permit: permit.split_off(event.id, keys),
            data: event.data,
            metadata: event.metadata,
        };
        let mut sealed: Vec<_> = sealed.into_iter().map(Vec::into_iter).collect();
        Ok(order.into_iter().filter_map(|at| sealed[at].next()).map(hand_out).collect())
    }

    /// The events of each stream together, because one that changes hands decides under which
    /// generation those after it are sealed; and for each event in which of these it is.
    fn by_stream(
        &self,
        events: Vec<(StreamName, NewEvent)>,
    ) -> Result<(Vec<Work>, Vec<usize>), CodecError> {
        let (mut streams, mut order) = (Vec::new(), Vec::with_capacity(events.len()));
        let mut known: HashMap<StreamName, usize> = HashMap::new();
        for (stream, event) in events {
            let at = *known.entry(stream).or_insert_with_key(|stream| {
                streams.push((stream.clone(), Vec::new()));
                streams.len() - 1
            });
            streams[at].1.push(event);
            order.push(at);
        }
        let cut = |(stream, events)| Work::cut(&self.policy, stream, false, events);
        Ok((streams.into_iter().map(cut).collect::<Result<_, _>>()?, order))
    }

    /// The owner claims of which it is not known whether their events were stored: a crash came between,
    /// or a [`Sealed`] was dropped. Ask for them after each start, look into your store for each
    /// event, and say what you found with [`Codec::settle`]. Those that a [`Sealed`] settles which is
    /// held are not among them.
    ///
    /// Also those that were settled too late ([`OpenClaim::owner_forgotten`]), until the stream's
    /// subject is forgotten or you [acknowledge](Codec::acknowledge) that it stays.
    ///
    /// # Errors
    /// [`CodecError::NoVault`], [`CodecError::Vault`].
    pub fn unsettled(&self) -> Result<Vec<OpenClaim>, CodecError> {
        Ok(at_once(self.asked()?.open_claims())?)
    }

    /// Says whether an event of [`Codec::unsettled`] is in your store, and tells what happened to it. The
    /// answer is durable.
    ///
    /// Your word is about all attempts to store the event. So say that it is not there only once nothing can store it any
    /// more: after a start, before anything else is sealed; or where you know that nobody seals and stores the same event
    /// again while you look. Withdrawn though it is stored, its owner's forgetting does not reach it.
    ///
    /// # Errors
    /// [`CodecError::NoVault`], [`CodecError::Vault`].
    pub async fn settle(&self, event: EventId, stored: bool) -> Result<Settled, CodecError> {
        Ok(self.asked()?.settle_for_caller(event, stored).await?)
    }

    /// Says that the stream of this event stays, though its owner was forgotten before the event was
    /// known to be stored ([`Settled::OwnerForgotten`]): it is told no more. Returns whether there was
    /// something to acknowledge.
    ///
    /// # Errors
    /// [`CodecError::NoVault`], [`CodecError::Vault`].
    pub async fn acknowledge(&self, event: EventId) -> Result<bool, CodecError> {
        Ok(self.asked()?.acknowledge_claim(event).await?)
    }

    /// Opens what [`Codec::seal`] made, after it was read back. Reading never consults the
    /// policy. Blocks for a page of the vault at most.
    ///
    /// # Errors
    /// [`CodecError::Unreadable`] where it does not belong to this event as it is, or its key
    /// is unknown. That somebody is forgotten is no error: see [`Opened::shredded`].
    pub fn open(
        &self,
        event: EventRef<'_>,
        data: &Payload,
        metadata: Option<&Json>,
    ) -> Result<Opened, CodecError> {
        let mut document = parse(data, metadata)?;
        at_once(self.open_stored(event, &mut document, false, || (data.clone(), metadata.cloned())))
    }

    /// Opens several, each as [`Codec::open`] does: one that does not open keeps no other from
    /// it.
    pub fn open_many<'e>(
        &self,
        events: impl IntoIterator<Item = (EventRef<'e>, &'e Payload, Option<&'e Json>)>,
    ) -> Vec<Result<Opened, CodecError>> {
        let open = |(event, data, metadata)| self.open(event, data, metadata);
        events.into_iter().map(open).collect()
    }
}

/// What was sealed and is not handed out yet. Anyone who is cut off while they wait stores none of it,
/// so that what it states is withdrawn.
struct Unclaimed(Option<Prepared>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(Prepared { mut permit, .. }) = self.0.take() {
            let _ = runtime::spawn(async move { permit.judge(&NoStore).await });
        }
    }
}

/// Only the codec's caller can say what is stored.
struct NoStore;

impl StoreView for NoStore {
    type Error = CodecError;
    const BY_CALLER: bool = true;

    async fn settle(&self, _: &dyn Keeper, _: &Subject) -> Result<(), CodecError> {
        Ok(())
    }

    async fn holds_all(&self, _: &[Claim]) -> Result<bool, CodecError> {
        Ok(false)
    }
}
