//! Claims that only the caller of a codec can settle: no one else sees the store that they write to.
//!
//! Each has a memo under its event's id, written with the claim, in one batch: the pseudonym of
//! the dependent, and since when. It holds no name, so that it may outlive somebody who is forgotten.
//! Without such a memo a claim is settled by looking into the store.
//!
//! A claim that is settled after its owner was forgotten leaves its dependent *orphaned*: that erasure
//! did not reach it, and no later one finds it by its owner. Then the memo stays, or is written, until
//! the dependent is forgotten or somebody acknowledges that it stays.

use serde::Serialize;

use super::committer::{Committer, Job};
use crate::{
    event::{EventId, Generation, OwnerChange, StreamName, Subject, Timestamp},
    vault::{
        Evidence, MemoKind, Owner, Vault, VaultError,
        records::{
            entries::{KeyEntry, SubjectRecord},
            memos,
            places::{self, Hash},
        },
        shared::Shared,
        tree::Value,
        wire::{Reader, Writer},
    },
};

/// An owner claim that somebody has to see to: it is not known whether its event was stored, or it was
/// said too late, when its owner was forgotten already.
///
/// ```
/// use oubliette::{vault::Settled, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let codec = Codec::new(Vault::in_memory()?, Policy::sealed_by_default());
/// # let is_stored = |_: EventId| true;
/// // After each start, before anything else is sealed.
/// for claim in codec.unsettled()? {
///     let settled = codec.settle(claim.event, is_stored(claim.event)).await?; // ask your store
///     if settled == Settled::OwnerForgotten {
///         println!("forget {:?} by name: its owner is forgotten already", claim.stream);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[non_exhaustive]
pub struct OpenClaim {
    /// The event that states the owner change.
    pub event: EventId,
    /// The stream for which it was sealed; `None`: the one who could tell is forgotten.
    pub stream: Option<StreamName>,
    /// The owners whom it states, but for those who are forgotten.
    pub owners: Vec<Subject>,
    /// Whether it changes hands, so that nothing is sealed in the stream until it is settled.
    pub begins_generation: bool,
    /// Whether it is settled, and somebody who owns the stream's subject was forgotten before: that
    /// erasure did not reach it. Forget the stream's subject by name, or acknowledge that it stays.
    pub owner_forgotten: bool,
    /// When the claim was noted.
    pub since: Timestamp,
}

/// What happened to an event that was sealed, now that somebody said whether it was stored.
///
/// [`Sealed`](crate::layer::Sealed) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Settled {
    /// It is stored, and what it states counts.
    Stored,
    /// It is not stored, and what it stated is withdrawn.
    Withdrawn,
    /// Somebody whose keys sealed it, or the stream's own subject, was forgotten meanwhile: where it
    /// is stored, that part of it reads as shredded.
    Forgotten,
    /// As said; but somebody who owns the stream's subject since was forgotten meanwhile, and that
    /// erasure did not reach it: forget it, too. It is told again until that is done, or until
    /// somebody acknowledges that it stays.
    OwnerForgotten,
    /// Somebody still holds a permit to store it, and settles it. Nothing changed.
    Held,
    /// Nothing is open under this id: it stated nothing, was settled earlier, or is another vault's.
    Unknown,
}

/// Whose claim, and since when.
pub(in crate::vault) struct CallerClaim {
    subject: Hash,
    since: Timestamp,
}

impl CallerClaim {
    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new(24);
        to.bytes(&self.subject);
        to.i64(self.since.as_micros());
        to.done().to_vec()
    }

    fn decode(memo: &[u8]) -> Result<Self, VaultError> {
        let mut from = Reader::new("a caller's claim", memo);
        let claim = Self { subject: from.array()?, since: from.time()? };
        from.end()?;
        Ok(claim)
    }
}

impl Shared {
    /// The memo of a claim that the caller has to settle.
    pub(in crate::vault) fn caller_claim(
        &self,
        event: EventId,
    ) -> Result<Option<CallerClaim>, VaultError> {
        let memo = self.disk.whole(&places::memo(MemoKind::Claim, event.0.as_bytes()))?;
        let read = |memo: Value| CallerClaim::decode(memos::content(MemoKind::Claim, &memo)?);
        memo.map(read).transpose()
    }

    /// A record does not say whose it is: the lists of its owners do, and its keys.
    fn name_of(&self, hash: &Hash, record: &SubjectRecord) -> Result<Option<Subject>, VaultError> {
        let named = |name: &[u8]| {
            let name = std::str::from_utf8(name).ok()?;
            Subject::new(name).ok()
        };
        for owner in record.noted_with() {
            let place = places::dependent(&self.naming.subject(owner), hash);
            if let Some(subject) = self.disk.tree().get(&place)?.and_then(|name| named(&name)) {
                return Ok(Some(subject));
            }
        }
        let keys = places::keys(hash);
        let first = self.disk.tree().range(&keys.start, &keys.end, 1)?.pop();
        let entry = first.map(|(_, value)| KeyEntry::decode(&value)).transpose()?;
        Ok(entry.map(|entry| entry.subject))
    }

    /// Whether something of a subject outlives the erasure of its owners: a key, or what is sealed next.
    pub(in crate::vault) fn is_orphaned(
        &self,
        hash: &Hash,
        record: &SubjectRecord,
    ) -> Result<bool, VaultError> {
        let spans = record.forgotten_spans();
        let fence = self.disk.fence(hash)?;
        if spans.is_empty() || fence.closed {
            return Ok(false);
        }
        let outlives = |generation: Generation| {
            let owned = spans.iter().any(|(from, to)| (*from..=*to).contains(&generation));
            owned && !fence.is_dead(generation)
        };
        if outlives(record.current) {
            return Ok(true);
        }
        for found in self.disk.walk(places::keys(hash)) {
            if outlives(KeyEntry::decode(&found?.1)?.generation) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl SubjectRecord {
    /// The spans of generations whose owners are forgotten: all of them, or any where that suffices.
    fn forgotten_spans(&self) -> Vec<(Generation, Generation)> {
        let mut spans = Vec::new();
        for (at, tenure) in self.tenures.iter().enumerate() {
            let mut counting = tenure.owners.iter().filter(|owner| owner.unsettled.is_none());
            let is_gone = |owner: &Owner| owner.subject.is_none();
            let owned = counting.clone().next().is_some();
            let gone =
                if tenure.any { counting.any(is_gone) } else { owned && counting.all(is_gone) };
            if gone && tenure.unsettled.is_none() {
                let next = self.tenures.get(at + 1).map_or(u32::MAX, |next| next.from.0 - 1);
                spans.push((tenure.from, Generation(next)));
            }
        }
        spans
    }

    /// Whether an event stated this owner here.
    fn was_stated(&self, owner: &[Hash]) -> bool {
        self.stated.iter().flat_map(|stated| &stated.changes).any(|change| owner.contains(change))
    }
}

impl Committer {
    /// Memos with the next write that a claim is its caller's to settle.
    pub(in crate::vault) fn note_caller(
        &mut self,
        event: EventId,
        subject: Hash,
    ) -> Result<(), VaultError> {
        let earlier = self.shared.caller_claim(event)?.filter(|claim| claim.subject == subject);
        let since = earlier.map_or_else(|| self.shared.now(), |claim| claim.since);
        let memo = memos::stored(&CallerClaim { subject, since }.encode());
        let stem = places::memo(MemoKind::Claim, event.0.as_bytes());
        self.changes.extend(self.shared.disk.set_whole(&stem, &memo)?);
        Ok(())
    }

    /// Removes that memo with the next write.
    pub(in crate::vault) fn forget_caller(&mut self, event: EventId) -> Result<(), VaultError> {
        let stem = places::beginning_with(&places::memo(MemoKind::Claim, event.0.as_bytes()));
        // One that is still to be written goes as well.
        let planned: Vec<_> =
            self.changes.range(stem.clone()).map(|(place, _)| place.clone()).collect();
        self.changes.extend(planned.into_iter().map(|place| (place, None)));
        let found: Vec<_> = self.shared.disk.walk(stem).collect::<Result<_, _>>()?;
        self.changes.extend(found.into_iter().map(|(place, _)| (place, None)));
        Ok(())
    }
}

impl Vault {
    /// The claims that only the caller of a codec can settle, but for those whose permits are held; and
    /// those that were settled too late.
    pub(crate) fn open_claims(&self) -> Result<Vec<OpenClaim>, VaultError> {
        self.claims_where(false, |_| true)
    }

    /// The claims on dependents that an event gave to this owner, also where the owner is forgotten since,
    /// and where somebody holds the permit still.
    pub(crate) fn open_claims_on(&self, owner: &Subject) -> Result<Vec<OpenClaim>, VaultError> {
        let changes = [OwnerChange::Add(owner.clone()), OwnerChange::Replace(owner.clone())];
        let changes = changes.map(|change| self.shared().naming.change(&change));
        self.claims_where(true, |record| record.was_stated(&changes))
    }

    fn claims_where(
        &self,
        held: bool,
        concerns: impl Fn(&SubjectRecord) -> bool,
    ) -> Result<Vec<OpenClaim>, VaultError> {
        let shared = self.shared();
        let mut open = Vec::new();
        for (id, memo) in self.memos(MemoKind::Claim)? {
            let event = EventId(uuid::Uuid::from_bytes(id));
            let CallerClaim { subject, since } = CallerClaim::decode(&memo)?;
            let Some(record) = shared.own_record(&subject)?.filter(&concerns) else { continue };
            let is_open = record.is_open(event);
            let told = match is_open {
                true => held || !shared.in_flight.has(event),
                false => shared.is_orphaned(&subject, &record)?,
            };
            if !told {
                continue;
            }
            let owners = record.tenures.iter().flat_map(|tenure| &tenure.owners);
            let stated = owners.filter(|owner| owner.unsettled == Some(event));
            open.push(OpenClaim {
                event,
                stream: shared.name_of(&subject, &record)?.map(|subject| subject.stream()),
                owners: stated.filter_map(|owner| owner.subject.clone()).collect(),
                begins_generation: record.open_generation() == Some(event),
                owner_forgotten: !is_open,
                since,
            });
        }
        open.sort_by_key(|claim| claim.since);
        Ok(open)
    }

    /// Settles a claim by its caller's word, durably.
    pub(crate) async fn settle_for_caller(
        &self,
        event: EventId,
        stored: bool,
    ) -> Result<Settled, VaultError> {
        let shared = self.shared();
        let Some(CallerClaim { subject, .. }) = shared.caller_claim(event)? else {
            return Ok(Settled::Unknown);
        };
        let Some(record) = shared.own_record(&subject)?.filter(|record| record.is_open(event))
        else {
            return self.settled_earlier(event, &subject).await;
        };
        drop(record);
        let evidence = if stored { Evidence::Written } else { Evidence::Withdrawn };
        let found = vec![(event, evidence)];
        self.ask(|reply| Job::Settle(subject, found, None, true, reply)).await?;
        let record = shared.own_record(&subject)?;
        if record.as_ref().is_some_and(|record| record.is_open(event)) {
            // Anyone who holds a permit for it may be about to store it.
            return Ok(Settled::Held);
        }
        let orphaned = |record| shared.is_orphaned(&subject, record);
        Ok(if record.as_ref().map(orphaned).transpose()?.unwrap_or(false) {
            Settled::OwnerForgotten
        } else if stored {
            Settled::Stored
        } else {
            Settled::Withdrawn
        })
    }

    /// What is still to be said of a claim that is open no more. Its memo goes when that is nothing.
    async fn settled_earlier(&self, event: EventId, subject: &Hash) -> Result<Settled, VaultError> {
        let shared = self.shared();
        if let Some(record) = shared.own_record(subject)?
            && shared.is_orphaned(subject, &record)?
        {
            return Ok(Settled::OwnerForgotten);
        }
        let forgotten = !shared.disk.fence(subject)?.dead.is_empty();
        self.remove_memo(MemoKind::Claim, event.0.into_bytes()).await?;
        Ok(if forgotten { Settled::Forgotten } else { Settled::Unknown })
    }

    /// Says that a dependent stays though its owner is forgotten: it is told no more. Returns whether
    /// there was something to acknowledge under this id. A claim that is open is to be settled first.
    pub(crate) async fn acknowledge_claim(&self, event: EventId) -> Result<bool, VaultError> {
        let shared = self.shared();
        let Some(CallerClaim { subject, .. }) = shared.caller_claim(event)? else {
            return Ok(false);
        };
        let record = shared.own_record(&subject)?.filter(|record| !record.is_open(event));
        let orphaned = |record| shared.is_orphaned(&subject, &record);
        if !record.map(orphaned).transpose()?.unwrap_or(false) {
            return Ok(false);
        }
        self.remove_memo(MemoKind::Claim, event.0.into_bytes()).await?;
        Ok(true)
    }
}
