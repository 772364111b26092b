//! The vault as a layer asks it: the one seam between a layer and its keys.
//!
//! [`Keeper`] is all that appending, reading and the codec ask of a vault. The vault of this process is one. A
//! handle of a vault in another process will be another, and the layer will see no difference. So everything
//! that is asked and answered is plain data, and three rules hold:
//!
//! - **An [`Answer`] may take time.** It is there at once where the vault is in this process, or where a handle has
//!   it in memory: then it costs no box and no wait.
//! - **What must be one for all who share a vault is behind the seam**: who is admitted, which claims are in
//!   flight, where a new stream is put. Of these a layer has a [`Guard`] at most: a number by which the vault knows
//!   what it holds for that layer. The vault ends what has an end by its own clock.
//! - **What only the vault's own process may do is not here**: signing, memos, closing, destroying, the pages.
//!   Erasures and audits run where the vault is, and call [`Vault`] itself ([`Keeper::here`]). A layer elsewhere
//!   that is paused, or that lies, can neither stop an erasure nor forge one.
//!
//! Used by `layer`. `docs/decisions/0038-one-seam-for-the-vault.md` says what was weighed.

use std::{
    collections::HashMap,
    fmt,
    future::{Ready, ready},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Either},
};
use lru::LruCache;

use super::{
    AdmissionRequest, Claim, Evidence, KeyLookup, KeyRequest, OpenClaim, Settled, SubjectState,
    Tagged, Vault, VaultError, Vouched, Watch, admission::Admission, commit::committer::Wanted,
};
use crate::{
    cache::lru,
    crypto::{DataKey, EventTag, Token},
    event::{
        Era, ErasureId, ErasureRef, EventId, Generation, KeyId, Signature, SigningKeyId,
        StreamName, Subject, VaultId,
    },
};

/// What a keeper answers, now or later.
pub(crate) type Answer<T> =
    Either<Ready<Result<T, VaultError>>, BoxFuture<'static, Result<T, VaultError>>>;

/// A vault, here or elsewhere. Its methods are those of [`Vault`] that have the same names, where nothing else is said.
pub(crate) trait Keeper: fmt::Debug + Send + Sync {
    /// The vault's identity.
    fn id(&self) -> VaultId;

    /// The vault itself, where it is in this process.
    fn here(&self) -> Option<&Vault>;

    /// Waits until so much time has passed, by the clock that ends permits.
    fn elapse(&self, time: Duration) -> Answer<()>;

    /// Waits until nobody of these subjects is being forgotten, and admits, for so long at most: from then on
    /// the guard keeps nobody waiting, no matter who still has it.
    fn admit(&self, request: AdmissionRequest, lasting: Duration) -> Answer<Guard>;

    /// In which halves the events of a stream will be that has none yet. Who asks first decides, for all who
    /// share the vault: two layers may have different policies.
    fn place_stream(&self, stream: &StreamName, wanted: Halves) -> Answer<Halves>;

    /// The key to seal with. The caller must hold an admission of the subject.
    fn sealing_key(&self, request: KeyRequest<'_>, seals: u32) -> Answer<Arc<DataKey>>;

    /// The state of the key with this id.
    fn opening_key(&self, id: KeyId) -> Answer<KeyLookup>;

    /// Whether this vault had an era.
    fn knows_era(&self, era: Era) -> Answer<bool>;

    /// The id that the private half of an event has.
    fn half_id(&self, event: EventId) -> Answer<EventId>;

    /// What stands for an erasure in a stream.
    fn reference(&self, erasure: ErasureId, stream: &StreamName) -> Answer<ErasureRef>;

    /// The tag of an event with these tokens and this associated data.
    fn tag(&self, associated: &[u8], tokens: &[Token]) -> Answer<EventTag>;

    /// What the tag of such an event shows.
    fn check_tag(&self, tag: &EventTag, associated: &[u8], tokens: &[Token]) -> Answer<Tagged>;

    /// The tag of what is missing of a copied event.
    fn tag_holes(&self, said: &[u8]) -> Answer<EventTag>;

    /// What the tag of holes that say this shows.
    fn check_holes(&self, tag: &EventTag, said: &[u8]) -> Answer<Tagged>;

    /// What a signature over these bytes is worth.
    fn vouches(&self, key: SigningKeyId, bytes: &[u8], signature: &Signature) -> Answer<Vouched>;

    /// The state of a subject.
    fn subject_state(&self, subject: &Subject) -> Answer<SubjectState>;

    /// Whether somebody owns what is sealed for a subject next.
    fn has_owner(&self, subject: &Subject) -> Answer<bool>;

    /// Whether some of a subject was forgotten, and nobody owns what would be sealed for it next.
    fn lost_its_owners(&self, subject: &Subject) -> Answer<bool>;

    /// Says that these events are about to be written, before they are claimed: until the guard is dropped,
    /// nobody who looks into a store withdraws their claims.
    fn begin_claims(&self, events: Vec<EventId>) -> Answer<Guard>;

    /// Says that somebody is about to look for these events in a store.
    fn begin_look(&self, events: Vec<EventId>) -> Answer<Guard>;

    /// Records owner changes durably. `by_caller`: the events go into a store that only the caller sees.
    fn claim(&self, claims: &[Claim], by_caller: bool) -> Answer<Vec<Option<Generation>>>;

    /// Settles claims of a subject by what is known of their events. What is not in the store counts under the
    /// guard of the look that did not find it, or of the append that did not write it, and only where no other
    /// append of the event was in flight since that guard was given. Without one, the writer's own word that the event
    /// was not written counts for all its attempts.
    fn settle_by(
        &self,
        subject: &Subject,
        found: Vec<(EventId, Evidence)>,
        under: Option<&Guard>,
    ) -> Answer<()>;

    /// Settles a claim by its caller's word, durably.
    fn settle_for_caller(&self, event: EventId, stored: bool) -> Answer<Settled>;

    /// The claims that only the caller of a codec can settle.
    fn open_claims(&self) -> Answer<Vec<OpenClaim>>;

    /// Says that a dependent stays though its owner is forgotten.
    fn acknowledge_claim(&self, event: EventId) -> Answer<bool>;
}

/// The streams that the public and the private halves of a stream's events are in; `None`: they are in one piece.
pub(crate) type Halves = Option<(StreamName, StreamName)>;

/// The number by which a vault knows what it holds for somebody.
pub(crate) type GuardId = u64;

/// What a vault holds for its caller, until this is dropped. It belongs to the task that appends, so that a
/// caller who drops a future changes nothing.
#[derive(Debug)]
#[must_use]
pub(crate) struct Guard {
    id: GuardId,
    by: Arc<dyn Release>,
}

/// Who is told that a [`Guard`] was dropped.
pub(crate) trait Release: fmt::Debug + Send + Sync {
    /// Lets go of what is held by that number. Nobody waits for it.
    fn release(&self, guard: GuardId);
}

impl Guard {
    pub(crate) fn new(id: GuardId, by: Arc<dyn Release>) -> Self {
        Self { id, by }
    }
}

#[cfg(test)]
impl Guard {
    pub(crate) fn id(&self) -> GuardId {
        self.id
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.by.release(self.id);
    }
}

/// What a vault holds, by number.
#[derive(Debug, Default)]
pub(super) struct Guards(Mutex<(GuardId, HashMap<GuardId, Held>)>);

/// What matters of it is when it is dropped.
#[derive(Debug)]
#[allow(dead_code)]
enum Held {
    Admission(Admission),
    Watch(Arc<Watch>),
}

impl Guards {
    fn keep(self: &Arc<Self>, held: Held) -> Guard {
        // No code panics while it holds this lock.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.0 += 1;
        let id = all.0;
        all.1.insert(id, held);
        drop(all);
        Guard::new(id, Arc::clone(self) as Arc<dyn Release>)
    }

    fn watch(&self, guard: &Guard) -> Option<Arc<Watch>> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).1.get(&guard.id)? {
            Held::Watch(watch) => Some(Arc::clone(watch)),
            Held::Admission(_) => None,
        }
    }
}

impl Release for Guards {
    fn release(&self, guard: GuardId) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&guard);
        // The lock is free by then: this wakes others.
        drop(held);
    }
}

/// In which halves new streams are, as decided since the vault was opened. Of those that have events the store tells.
pub(super) struct NewStreams(Mutex<LruCache<StreamName, Halves>>);

/// How many of them are kept; each is some hundred bytes, and is needed until the first append is answered.
const KEPT: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

impl Default for NewStreams {
    fn default() -> Self {
        Self(Mutex::new(lru(KEPT)))
    }
}

impl NewStreams {
    fn decide(&self, stream: &StreamName, wanted: Halves) -> Halves {
        // No code panics while it holds this lock.
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decided.get_or_insert_ref(stream, || wanted).clone()
    }
}

/// The answer of a vault that is in this process, for what cannot wait.
///
/// # Errors
/// [`VaultError::Unsupported`] where it is not there at once.
pub(crate) fn at_once<T, E: From<VaultError>>(
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let elsewhere = "the vault is in another process, and this cannot wait for it";
    answer.now_or_never().unwrap_or_else(|| Err(VaultError::Unsupported(elsewhere).into()))
}

fn now<T>(answer: Result<T, VaultError>) -> Answer<T> {
    Either::Left(ready(answer))
}

fn later<T>(answer: impl Future<Output = Result<T, VaultError>> + Send + 'static) -> Answer<T> {
    Either::Right(answer.boxed())
}

/// The vault of this process: what is looked up is there at once, and blocks for page reads at most.
impl Keeper for Vault {
    fn id(&self) -> VaultId {
        self.id()
    }

    fn here(&self) -> Option<&Vault> {
        Some(self)
    }

    fn elapse(&self, time: Duration) -> Answer<()> {
        let vault = self.clone();
        later(async move {
            vault.elapse(time).await;
            Ok(())
        })
    }

    fn admit(&self, request: AdmissionRequest, lasting: Duration) -> Answer<Guard> {
        let vault = self.clone();
        later(async move {
            let admission = vault.admit_for(request, Some(lasting)).await?;
            Ok(vault.guards().keep(Held::Admission(admission)))
        })
    }

    fn place_stream(&self, stream: &StreamName, wanted: Halves) -> Answer<Halves> {
        now(Ok(self.new_streams().decide(stream, wanted)))
    }

    fn sealing_key(&self, request: KeyRequest<'_>, seals: u32) -> Answer<Arc<DataKey>> {
        match self.warm_key(&request, seals).transpose() {
            Some(warm) => now(warm),
            None => later(self.clone().cold_key(Wanted::new(request, seals))),
        }
    }

    fn opening_key(&self, id: KeyId) -> Answer<KeyLookup> {
        now(self.opening_key(id))
    }

    fn knows_era(&self, era: Era) -> Answer<bool> {
        now(self.knows_era(era))
    }

    fn half_id(&self, event: EventId) -> Answer<EventId> {
        now(Ok(self.half_id(event)))
    }

    fn reference(&self, erasure: ErasureId, stream: &StreamName) -> Answer<ErasureRef> {
        now(Ok(self.reference(erasure, stream)))
    }

    fn tag(&self, associated: &[u8], tokens: &[Token]) -> Answer<EventTag> {
        now(self.tag(associated, tokens))
    }

    fn check_tag(&self, tag: &EventTag, associated: &[u8], tokens: &[Token]) -> Answer<Tagged> {
        now(self.check_tag(tag, associated, tokens))
    }

    fn tag_holes(&self, said: &[u8]) -> Answer<EventTag> {
        now(self.tag_holes(said))
    }

    fn check_holes(&self, tag: &EventTag, said: &[u8]) -> Answer<Tagged> {
        now(self.check_holes(tag, said))
    }

    fn vouches(&self, key: SigningKeyId, bytes: &[u8], signature: &Signature) -> Answer<Vouched> {
        now(self.vouches(key, bytes, signature))
    }

    fn subject_state(&self, subject: &Subject) -> Answer<SubjectState> {
        now(self.subject_state(subject))
    }

    fn has_owner(&self, subject: &Subject) -> Answer<bool> {
        now(self.has_owner(subject))
    }

    fn lost_its_owners(&self, subject: &Subject) -> Answer<bool> {
        now(self.lost_its_owners(subject))
    }

    fn begin_claims(&self, events: Vec<EventId>) -> Answer<Guard> {
        now(Ok(self.guards().keep(Held::Watch(Arc::new(self.begin_claims(events))))))
    }

    fn begin_look(&self, events: Vec<EventId>) -> Answer<Guard> {
        now(Ok(self.guards().keep(Held::Watch(Arc::new(self.begin_look(events))))))
    }

    fn claim(&self, claims: &[Claim], by_caller: bool) -> Answer<Vec<Option<Generation>>> {
        let (vault, claims) = (self.clone(), claims.to_vec());
        later(async move { vault.claim_by(claims, by_caller).await })
    }

    fn settle_by(
        &self,
        subject: &Subject,
        found: Vec<(EventId, Evidence)>,
        under: Option<&Guard>,
    ) -> Answer<()> {
        let (vault, subject) = (self.clone(), subject.clone());
        // A guard that is gone is not the same as none: under it, nothing counts that was not found.
        let gone = || Arc::new(self.begin_look(Vec::new()));
        let watch = under.map(|guard| self.guards().watch(guard).unwrap_or_else(gone));
        later(async move { vault.settle_by(&subject, found, watch).await })
    }

    fn settle_for_caller(&self, event: EventId, stored: bool) -> Answer<Settled> {
        let vault = self.clone();
        later(async move { vault.settle_for_caller(event, stored).await })
    }

    fn open_claims(&self) -> Answer<Vec<OpenClaim>> {
        now(self.open_claims())
    }

    fn acknowledge_claim(&self, event: EventId) -> Answer<bool> {
        let vault = self.clone();
        later(async move { vault.acknowledge_claim(event).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Layout, PolicyDigest};

    /// No box, no task, no wait: what is warm is on the way of every append and every read.
    #[tokio::test]
    async fn a_warm_key_is_there_at_once() {
        let vault = Vault::in_memory().unwrap();
        let keeper: &dyn Keeper = &vault;
        let (stream, subject) = ("user-1".parse().unwrap(), "user-1".parse().unwrap());
        let (layout, policy) = (Layout::Sealed, PolicyDigest::default());
        let request =
            KeyRequest { stream: &stream, subject: &subject, generation: None, layout, policy };
        let key = keeper.sealing_key(request, 1).await.unwrap();
        // A new key has three seals to spare. Who wants more waits until they are reserved.
        assert!(matches!(keeper.sealing_key(request, 4), Either::Right(_)));
        let warm = keeper.sealing_key(request, 1);
        assert!(matches!(warm, Either::Left(_)));
        assert_eq!(warm.await.unwrap().id(), key.id());
        assert!(matches!(keeper.opening_key(key.id()), Either::Left(_)));
        // More than is reserved: the committer is asked.
        assert!(matches!(keeper.sealing_key(request, u32::MAX >> 4), Either::Right(_)));
    }
}
