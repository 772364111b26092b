//! Looking through the whole store for owners whom events state and the vault does not know.
//!
//! The layer notes owners as their events are appended. What was stored before the layer was, or before the
//! policy named owners, stated them unheard. This reads all of it once, and says of each stream who
//! owned it when. What it reads is compared with the tenures that the vault has: an event that is sealed
//! says by its key of which tenure it is, one in clear is of the next one's.
//!
//! A change of hands that was not noted began no generation. What was sealed before and after it has one key,
//! so that both owners own it: it goes with the last of them. That cannot be repaired, and is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt;
use serde::Serialize;

use super::{Layer, Oubliette, Specimen, TokenFate, document::Document, try_tokens};
use crate::{
    event::{
        EventId, Generation, KeyId, OwnerChange, Payload, PolicyDigest, Position, RecordedEvent,
        StreamName, Subject, Timestamp,
    },
    store::{Capability, EventStore, ReadAllOptions, StoreError},
    vault::{
        AdmissionRequest, MemoKind, OwnerBackfill, SubjectState, Tagged, Tenure, Vault, VaultError,
    },
};

/// Why the store was not looked through, or not to its end. What was noted until then stays so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnersError {
    /// The layer was opened without a vault.
    #[error("opened without a vault: there are no owners to note")]
    NoVault,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The event store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OwnersError {
    /// Whether the same call may succeed later without anybody's changing anything: what is so of vault and
    /// store.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Vault(error) => error.is_temporary(),
            Self::Store(error) => error.is_temporary(),
            Self::NoVault => false,
        }
    }
}

/// There is one of each vault's.
const LOOKED: [u8; 16] = [0; 16];
/// Likewise: up to which event nothing is in clear ([`SealedTo`] as text); nothing at all, where it is known for good.
const SEALED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// What looking through the store for owners came to.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// // After the owner rules of the policy changed: what earlier events state.
/// let rebuilt = store.rebuild_owners(true).await?; // `true`: a dry run
/// println!("{} events read, owners of {} streams were not noted", rebuilt.events, rebuilt.mended);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct OwnersRebuilt {
    /// Whether it changed nothing: see [`Oubliette::rebuild_owners`].
    pub dry_run: bool,
    /// How many events were read.
    pub events: u64,
    /// How many streams there are whose rule names owners.
    pub streams: u64,
    /// How many of these had an owner, or a change of hands, that was not noted. It is now, unless this
    /// was a dry run.
    pub mended: u64,
    /// How many changed while the store was read, and were left as they are. Repeat it.
    pub skipped: u64,
    /// How many events a newer program wrote: whom they state, only that one can say. So nothing is noted of
    /// the store as a whole, and `plan` and `forget` still say that they do not know whom they miss.
    pub newer: u64,
    /// What cannot be repaired.
    pub left: Vec<NotMended>,
}

/// What no noting of owners can repair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NotMended {
    /// The stream changed hands, and what was sealed before and after that has one key: it goes with the
    /// last of its owners.
    OneGeneration {
        /// The stream.
        stream: StreamName,
        /// All who owned it meanwhile.
        owners: Vec<Subject>,
    },
    /// An owner is forgotten, and that did not reach the stream: forget it by name.
    Missed {
        /// The stream.
        stream: StreamName,
        /// Who.
        owner: Subject,
    },
    /// Not all of an event that states owners can be read.
    Unreadable {
        /// The stream.
        stream: StreamName,
        /// The event.
        event: EventId,
    },
}

impl<S: EventStore> Oubliette<S> {
    /// Reads the whole store under the present policy, and notes the owners whom its events state and
    /// the vault does not know. Repeating it changes nothing more. With `dry_run` it notes nothing, and says
    /// what it would.
    ///
    /// It keeps some hundred bytes in memory for each stream whose rule names owners.
    ///
    /// # Errors
    /// Errors of vault and store. What was noted until then stays so.
    pub async fn rebuild_owners(&self, dry_run: bool) -> Result<OwnersRebuilt, OwnersError> {
        let vault = self.vault().ok_or(OwnersError::NoVault)?;
        let mut rebuilt = OwnersRebuilt { dry_run, ..OwnersRebuilt::default() };
        let mut histories: HashMap<StreamName, History> = HashMap::new();
        let mut events = self.specimens();
        while let Some(specimen) = events.try_next().await? {
            rebuilt.events += 1;
            rebuilt.newer += u64::from(specimen.is_newer());
            self.read_into(vault, specimen, &mut histories, &mut rebuilt).await?;
        }
        rebuilt.streams = histories.len() as u64;
        let mut histories: Vec<(StreamName, History)> = histories.into_iter().collect();
        histories.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (stream, history) in histories {
            mend(&self.layer, vault, stream, history, &mut rebuilt).await?;
        }
        if !dry_run && rebuilt.skipped == 0 && rebuilt.newer == 0 {
            self.layer.mark_looked(vault).await?;
        }
        Ok(rebuilt)
    }

    async fn read_into(
        &self,
        vault: &Vault,
        specimen: Specimen,
        histories: &mut HashMap<StreamName, History>,
        rebuilt: &mut OwnersRebuilt,
    ) -> Result<(), OwnersError> {
        let vouched = specimen.tagged(vault).await == Some(Tagged::Ours);
        // What another vault's event states is that vault's to note.
        let anothers = specimen.is_anothers(vault).await;
        let Specimen { event, document, .. } = specimen;
        if anothers || !self.policy().reading_plan(&event.stream).declares_owners {
            return Ok(());
        }
        let own = Subject::of(&event.stream);
        let history = match histories.entry(event.stream.clone()) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(History::new(vault.subject_state(&own)?))
            }
        };
        if event.is_tombstone() {
            history.end_if_own(vault, &event).await?;
            return Ok(());
        }
        let states = self.policy().states_owners(&event.stream, &event.event_type);
        let (mut keys, mut data) = (Vec::new(), None);
        match document {
            // A writer past the layer may state anything.
            Ok(Document::Clear) if !history.vouched => data = event.data.clone(),
            Ok(Document::Stored(mut stored)) => {
                let ids: Vec<KeyId> = stored.tokens.iter().map(|token| token.key_id()).collect();
                // Most events state nothing, and need not be opened.
                let fates = match states || !vouched {
                    true => try_tokens(vault, &event, &mut stored).await?,
                    false => Vec::new(),
                };
                let failed = fates.iter().any(|(_, fate)| matches!(fate, TokenFate::Failed(_)));
                let opened: Vec<_> = fates
                    .into_iter()
                    .filter_map(|(_, fate)| match fate {
                        TokenFate::Open(plaintext, _) => Some(plaintext),
                        _ => None,
                    })
                    .collect();
                // A part that opens vouches for all of the event, also where the tag is newer than the vault.
                if vouched || (!failed && !opened.is_empty()) {
                    history.vouched = true;
                    keys = ids;
                    if states && !failed {
                        data = stored.assemble(opened).ok().and_then(|(data, _)| data);
                    }
                }
            }
            Ok(_) | Err(_) => {}
        }
        let changes = self.changes(&event, data.as_ref());
        if states && changes.is_empty() && !history.closed {
            let (stream, event) = (event.stream.clone(), event.id);
            rebuilt.left.push(NotMended::Unreadable { stream, event });
        }
        let generation = history.generation_of(vault, &own, &keys)?;
        history.take(vault, &own, Step { event: &event, generation, changes })?;
        Ok(())
    }

    fn changes(&self, event: &RecordedEvent, data: Option<&Payload>) -> Vec<OwnerChange> {
        let policy = self.policy();
        let stated = data.map(|data| policy.stated_owners(&event.stream, &event.event_type, data));
        stated.unwrap_or_default()
    }
}

/// One event of a stream whose rule names owners.
struct Step<'a> {
    event: &'a RecordedEvent,
    /// That of its own key, where it has one that lives.
    generation: Option<Generation>,
    changes: Vec<OwnerChange>,
}

/// Who is an owner by which event.
type Owners = BTreeMap<Subject, By>;

#[derive(Debug, Clone)]
struct By {
    at: Timestamp,
    /// Whether the change was noted.
    noted: bool,
}

/// What the events of a stream say of its owners, until the last that was read.
struct History {
    /// Whether an event was read that this vault vouches for.
    vouched: bool,
    tenures: Vec<Tenure>,
    closed: bool,
    owners: Owners,
    /// Of each tenure in which something is sealed: everybody who owned it meanwhile.
    sealed: BTreeMap<Generation, Sealed>,
    /// What no claim was made of.
    changes: Vec<(EventId, OwnerChange)>,
    last_key: Option<(KeyId, Option<Generation>)>,
}

#[derive(Default)]
struct Sealed {
    owners: Owners,
    /// Whether somebody of these no longer owned it while more was sealed.
    mixed: bool,
}

impl History {
    fn new(state: SubjectState) -> Self {
        Self {
            vouched: false,
            closed: state.fence.is_some_and(|fence| fence.closed),
            tenures: state.tenures,
            owners: Owners::new(),
            sealed: BTreeMap::new(),
            changes: Vec::new(),
            last_key: None,
        }
    }

    /// The whole stream was forgotten: who owned it before does not own what came after.
    async fn end_if_own(&mut self, vault: &Vault, event: &RecordedEvent) -> Result<(), VaultError> {
        let judged = super::tombstone::judge(vault, event).await?;
        if judged.is_ok_and(|tombstone| tombstone.subject.is_some()) {
            self.owners.clear();
        }
        Ok(())
    }

    /// The generation of an event's own key.
    fn generation_of(
        &mut self,
        vault: &Vault,
        own: &Subject,
        keys: &[KeyId],
    ) -> Result<Option<Generation>, VaultError> {
        for &id in keys {
            let known = self.last_key.filter(|(last, _)| *last == id).map(|(_, of)| of);
            let generation = match known {
                Some(generation) => generation,
                None => {
                    let info = vault.key_info(id)?.filter(|info| info.subject == *own);
                    info.map(|info| info.generation)
                }
            };
            if generation.is_some() {
                self.last_key = Some((id, generation));
                return Ok(generation);
            }
        }
        Ok(None)
    }

    fn tenure_of(&self, generation: Generation) -> Generation {
        let tenure = self.tenures.iter().rfind(|tenure| tenure.from <= generation);
        tenure.or(self.tenures.first()).map_or(Generation::FIRST, |tenure| tenure.from)
    }

    fn last_epoch(&self) -> Generation {
        self.tenures.last().map_or(Generation::FIRST, |tenure| tenure.from)
    }

    fn take(&mut self, vault: &Vault, own: &Subject, step: Step<'_>) -> Result<(), VaultError> {
        let Step { event, generation, changes } = step;
        let only_removes = !changes.is_empty()
            && changes.iter().all(|change| matches!(change, OwnerChange::Remove(_)));
        // What only removes is sealed for those who owned it until then.
        let before = only_removes.then(|| self.owners.clone());
        for change in changes {
            let noted = vault.has_stated(own, event.id, &change)?;
            let by = By { at: event.recorded, noted };
            match &change {
                OwnerChange::Add(owner) => drop(self.owners.insert(owner.clone(), by)),
                OwnerChange::Remove(owner) => drop(self.owners.remove(owner)),
                OwnerChange::Replace(owner) => {
                    self.owners = Owners::from([(owner.clone(), by)]);
                }
            }
            if !noted {
                self.changes.push((event.id, change));
            }
        }
        let Some(generation) = generation else { return Ok(()) };
        let owners = before.as_ref().unwrap_or(&self.owners);
        let tenure = self.tenure_of(generation);
        let sealed = self.sealed.entry(tenure).or_default();
        sealed.mixed |= sealed.owners.keys().any(|owner| !owners.contains_key(owner));
        for (owner, by) in owners {
            sealed.owners.entry(owner.clone()).or_insert_with(|| by.clone());
        }
        Ok(())
    }
}

/// Notes what a stream's events state, and says what cannot be repaired.
async fn mend<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    stream: StreamName,
    mut history: History,
    rebuilt: &mut OwnersRebuilt,
) -> Result<(), OwnersError> {
    if history.closed {
        return Ok(());
    }
    let last = history.last_epoch();
    let current = history.sealed.entry(last).or_default();
    let left = |owner: &Subject| !history.owners.contains_key(owner);
    // What comes next is its present owners', no matter who else owned what is sealed until now.
    let anew = current.mixed || current.owners.keys().any(left);
    if anew {
        current.mixed = true;
    } else {
        current.owners.extend(history.owners.clone());
    }
    let mut lost = BTreeSet::new();
    let mut owners = Vec::new();
    let mut mixed = Vec::new();
    for (from, sealed) in &history.sealed {
        let tenure = history.tenures.iter().find(|tenure| tenure.from == *from);
        let named = |owner: &Subject| {
            let mut named = tenure.into_iter().flat_map(|tenure| &tenure.owners);
            named.any(|named| named.subject.as_ref() == Some(owner))
        };
        for (owner, by) in sealed.owners.iter().filter(|(owner, _)| !named(owner)) {
            if forgotten_since(vault, owner, by.at)? {
                lost.extend((!by.noted).then(|| owner.clone()));
            } else {
                owners.push((*from, owner.clone()));
            }
        }
        if sealed.mixed {
            mixed.push(*from);
            let owners = sealed.owners.keys().cloned().collect();
            let stream = stream.clone();
            rebuilt.left.push(NotMended::OneGeneration { stream, owners });
        }
    }
    let missed = |owner| NotMended::Missed { stream: stream.clone(), owner };
    rebuilt.left.extend(lost.into_iter().map(missed));
    let mut present = Vec::new();
    for (owner, by) in history.owners.iter().filter(|_| anew) {
        if !forgotten_since(vault, owner, by.at)? {
            present.push(owner.clone());
        }
    }
    if owners.is_empty() && !anew {
        return Ok(());
    }
    let stating = OwnerBackfill {
        subject: Subject::of(&stream),
        changes: history.changes,
        owners,
        mixed,
        anew: anew.then_some(present),
        any: layer.policy().any_owner(&stream),
    };
    rebuilt.mended += 1;
    if !rebuilt.dry_run && !note(layer, vault, &history.tenures, stating).await? {
        rebuilt.mended -= 1;
        rebuilt.skipped += 1;
    }
    Ok(())
}

/// Whether a subject was forgotten after this.
fn forgotten_since(vault: &Vault, subject: &Subject, at: Timestamp) -> Result<bool, VaultError> {
    let Some(fence) = vault.subject_state(subject)?.fence else { return Ok(false) };
    Ok(fence.closed || fence.dead.iter().any(|(_, _, erasure)| erasure.at() >= at))
}

/// Notes it, unless the stream changed hands meanwhile, or somebody was forgotten.
async fn note<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    tenures: &[Tenure],
    stating: OwnerBackfill,
) -> Result<bool, OwnersError> {
    let named = stating.owners.iter().map(|(_, owner)| owner).chain(stating.anew.iter().flatten());
    let opening = AdmissionRequest {
        shared: named.cloned().collect(),
        exclusive: vec![stating.subject.clone()],
    };
    let _admission = match vault.admit(opening).await {
        Err(VaultError::Forgotten { .. }) => return Ok(false),
        admitted => admitted?,
    };
    layer.settle(vault, &stating.subject).await?;
    if vault.subject_state(&stating.subject)?.tenures != tenures {
        return Ok(false);
    }
    match vault.note_owners(stating).await {
        Err(VaultError::Unsettled { .. }) => Ok(false),
        noted => noted.map(|()| true).map_err(Into::into),
    }
}

/// How much of a store is known to have nothing in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownSealed {
    /// It was empty when the layer was put around it, and has no other writers.
    All,
    /// Up to this event; behind it, or everywhere, nobody looked.
    UpTo(Option<SealedTo>),
}

/// An event up to which nothing is in clear. It is read again each time: where it is not there any more, or in clear, the store is
/// another one, or was put back to before, and what was known of it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedTo {
    /// The position of the event before it, of all streams; `None`: it is the first.
    pub(crate) behind: Option<Position>,
    pub(crate) event: EventId,
}

impl SealedTo {
    /// The note of an event that was read behind this position.
    pub(crate) fn new(behind: Option<Position>, event: EventId) -> Self {
        Self { behind, event }
    }

    fn note(&self) -> String {
        let behind = self.behind.map(|position| position.to_string());
        format!("{} {}", self.event, behind.unwrap_or_default())
    }

    fn read(note: &str) -> Option<Self> {
        let (event, behind) = note.split_once(' ')?;
        let behind = match behind {
            "" => None,
            position => Some(position.parse().ok()?),
        };
        Some(Self { behind, event: EventId(event.parse().ok()?) })
    }
}

impl<S: EventStore> Layer<S> {
    /// Notes that all owners whom events in the store state are known.
    async fn mark_looked(&self, vault: &Vault) -> Result<(), VaultError> {
        let Some(PolicyDigest(digest)) = self.policy().owner_digest() else { return Ok(()) };
        vault.put_memo(MemoKind::Owners, LOOKED, &digest).await
    }

    /// Whether somebody may be an owner by an event that was stored unseen: before the layer was, or before
    /// the present rules that name owners.
    pub(crate) fn may_miss_owners(&self, vault: &Vault) -> Result<bool, VaultError> {
        let Some(PolicyDigest(digest)) = self.policy().owner_digest() else { return Ok(false) };
        let looked = vault.memo(MemoKind::Owners, LOOKED)?;
        Ok(looked.is_none_or(|looked| looked.as_slice() != digest))
    }

    /// How much of the store is known to have nothing in clear.
    pub(crate) fn known_sealed(&self, vault: &Vault) -> Result<KnownSealed, VaultError> {
        let Some(noted) = vault.memo(MemoKind::Owners, SEALED)? else {
            return Ok(KnownSealed::UpTo(None));
        };
        if noted.is_empty() {
            return Ok(KnownSealed::All);
        }
        Ok(KnownSealed::UpTo(std::str::from_utf8(&noted).ok().and_then(SealedTo::read)))
    }

    /// Notes that nothing is in clear up to an event. It is not noted for good: whoever wrote in clear may go on.
    pub(crate) async fn mark_sealed(&self, vault: &Vault, to: SealedTo) -> Result<(), VaultError> {
        match self.known_sealed(vault)? {
            _ if vault.is_read_only() => Ok(()),
            KnownSealed::All => Ok(()),
            KnownSealed::UpTo(Some(known)) if known == to => Ok(()),
            KnownSealed::UpTo(_) => {
                vault.put_memo(MemoKind::Owners, SEALED, to.note().as_bytes()).await
            }
        }
    }

    /// In a store that is empty there is nothing to look through.
    pub(super) async fn mark_if_empty(&self, vault: &Vault) -> Result<(), StoreError> {
        let failed = |error: VaultError| StoreError::from(super::CodecError::from(error));
        if vault.is_read_only() {
            return Ok(());
        }
        let miss_owners = self.may_miss_owners(vault).map_err(failed)?;
        // Where others write as well, it is known of today only.
        let is_sole = self.store.capabilities().has(Capability::Sole);
        let known = self.known_sealed(vault).map_err(failed)?;
        let may_be_clear = is_sole && known == KnownSealed::UpTo(None);
        let can_look = may_be_clear && self.store.capabilities().has(Capability::ReadAll);
        if !(miss_owners || can_look) {
            return Ok(());
        }
        let first = ReadAllOptions { limit: Some(1), ..ReadAllOptions::default() };
        if self.store.read_all(first).try_next().await?.is_none() {
            if miss_owners {
                self.mark_looked(vault).await.map_err(failed)?;
            }
            if may_be_clear {
                vault.put_memo(MemoKind::Owners, SEALED, &[]).await.map_err(failed)?;
            }
        }
        Ok(())
    }
}
