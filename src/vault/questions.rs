//! What is asked of the vault, and what it answers.

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;

use crate::{
    crypto::DataKey,
    event::{
        Class, ErasureId, EventId, Generation, KeyId, Layout, OwnerChange, PolicyDigest,
        StreamName, Subject, Timestamp,
    },
};

/// Whom an append concerns. None of these is forgotten while the admission lasts; an exclusive
/// subject has no other append in flight.
#[derive(Debug, Clone, Default)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct AdmissionRequest {
    /// Subjects whose keys are needed, and owners that are named.
    pub shared: Vec<Subject>,
    /// Subjects whose generation is about to change.
    pub exclusive: Vec<Subject>,
}

/// Which data key is needed to seal.
#[derive(Debug, Clone, Copy)]
pub struct KeyRequest<'a> {
    /// The logical stream whose events are sealed.
    pub stream: &'a StreamName,
    /// The subject for whom they are sealed.
    pub subject: &'a Subject,
    /// The generation that a claim of the same append begins; `None`: the subject's current one.
    pub generation: Option<Generation>,
    /// Noted with a new key, for the inventory.
    pub layout: Layout,
    /// The digest of the policy, which is noted with a new key.
    pub policy: PolicyDigest,
}

/// What happened to a data key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeyLookup {
    /// The key lives and opens what it sealed.
    Live {
        /// The living key.
        key: Arc<DataKey>,
        /// The subject whose key it is.
        subject: Subject,
    },
    /// The key is destroyed for good.
    Shredded {
        /// The erasure that destroyed it.
        erasure: ErasureId,
    },
}

/// An owner change, and the event that states it. It counts once that event is in the store.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Claim {
    /// The dependent subject: the stream as its own subject.
    pub subject: Subject,
    /// The event that states the change.
    pub event: EventId,
    /// The change of owners that the event states.
    pub change: OwnerChange,
    /// Whether forgetting any one owner suffices to forget the dependent, or all must be.
    pub any: bool,
    /// A digest of the event's type and payload: the id alone may be given to another event.
    pub content: [u8; 32],
    /// Whether the event is known to be in the store already: then it needs no living generation.
    pub stored: bool,
}

/// What stored events state of the owners of one subject, as far as nobody noted it.
#[derive(Debug, Clone)]
pub(crate) struct OwnerBackfill {
    /// The dependent.
    pub(crate) subject: Subject,
    /// The changes of owners that no claim was made of: their retry changes nothing any more.
    pub(crate) changes: Vec<(EventId, OwnerChange)>,
    /// Who owned it in the tenure that begins so, beside those who are noted.
    pub(crate) owners: Vec<(Generation, Subject)>,
    /// The tenures in which it changed hands unnoted. Their parts cannot be told apart, so that each goes
    /// with the last of its owners.
    pub(crate) mixed: Vec<Generation>,
    /// Who owns it now, where that needs a new generation.
    pub(crate) anew: Option<Vec<Subject>>,
    /// Whether forgetting any one owner suffices.
    pub(crate) any: bool,
}

/// What the store holds under the id of a claim's event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub(crate) enum Evidence {
    /// No event, as far as somebody looked. Counts under the watch of that look alone, and not for a claim that is
    /// its caller's to settle.
    Nothing,
    /// The claim's event was not written and will not be: its writer says so. Under the watch of an append that is
    /// said of this append alone.
    Withdrawn,
    /// The claim's event: its writer says so.
    Written,
    /// An event that somebody looked at. The claim counts if this is its event, or states the
    /// same changes; else it is as if there were [nothing](Self::Nothing).
    Found {
        /// The digest of its type and payload, as in [`Claim::content`].
        content: [u8; 32],
        /// The owner changes that it states.
        changes: Vec<OwnerChange>,
    },
}

/// One owner of a dependent subject in one tenure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Owner {
    /// Who; `None`: someone who is forgotten, and no longer named.
    pub subject: Option<Subject>,
    /// The event that stated it, until someone settled that it is in the store.
    pub unsettled: Option<EventId>,
}

/// A span of generations with the same owners.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Tenure {
    /// Its first generation; it lasts until the next tenure's.
    pub from: Generation,
    /// The event that begins it, until settled.
    pub unsettled: Option<EventId>,
    /// The owners of that time.
    pub owners: Vec<Owner>,
    /// Whether forgetting any one owner suffices.
    pub any: bool,
}

impl Tenure {
    /// The events of unsettled claims.
    pub(crate) fn open_claims(&self) -> impl Iterator<Item = EventId> + '_ {
        self.unsettled.into_iter().chain(self.owners.iter().filter_map(|owner| owner.unsettled))
    }
}

/// The state of a subject in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct SubjectState {
    /// Its fence, if it was ever forgotten, wholly or in part.
    pub fence: Option<Fence>,
    /// The generation of new keys; `None` where there is no key and no claim yet, or where new
    /// keys are refused. While a tenure is unsettled: the generation before it.
    pub current: Option<Generation>,
    /// Its owners over time; empty: it never had any.
    pub tenures: Vec<Tenure>,
}

/// What remains of a forgotten subject in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub struct Fence {
    /// The keyed pseudonym of the subject.
    pub pseudonym: [u8; 16],
    /// The dead spans of generations, each with the erasure that killed it; both ends inclusive.
    pub dead: Vec<(Generation, Generation, ErasureId)>,
    /// The keys of these generations that were spared, and still are. No other key may ever exist in
    /// them.
    pub spared: Vec<Spared>,
    /// Whether new keys are refused: so, until `reopen`.
    pub closed: bool,
}

/// A key of a dead generation that its erasure spared: the generation, and the key's id.
pub(crate) type Spared = (Generation, KeyId);

/// The state of a key, in the words of NIST SP 800-57 part 1, section 7. Of its states this version
/// knows no suspended key, and cannot be told that one is compromised.
///
/// [`KeyRow`](crate::audit::KeyRow) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyState {
    /// Made for an owner change whose append is not settled yet: nothing else is sealed with it.
    PreActivation,
    /// It seals and opens.
    Active,
    /// Another generation seals; this one opens what it sealed.
    Deactivated,
    /// It is gone, and so is whatever it sealed.
    Destroyed,
}

/// A living key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its id, as in tokens.
    pub id: KeyId,
    /// The logical stream whose events the key seals.
    pub stream: StreamName,
    /// The subject whose key it is.
    pub subject: Subject,
    /// The class of the key.
    pub class: Class,
    /// The generation of the subject's keys.
    pub generation: Generation,
    /// Whether it seals what comes next.
    pub state: KeyState,
    /// When it was made: a key is made when it is first needed, so that it is active from then on.
    pub created: Timestamp,
    /// When a newer generation took its place, where that is known.
    pub deactivated: Option<Timestamp>,
    /// The subjects on whom what it sealed depends.
    pub owners: Vec<Subject>,
    /// When it last sealed, to the day.
    pub last_use: Timestamp,
    /// At most how many payloads it sealed: never fewer than it did, and no more than twice as many as it was asked to, and three. Exact for
    /// a key that this process made and still has in memory.
    pub sealed_at_most: u64,
    /// The layout noted with it.
    pub layout: Layout,
    /// The policy noted with it.
    pub policy: PolicyDigest,
}

/// One entry of the walk over everything that the vault knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InventoryEntry {
    /// A living data key.
    Key(KeyInfo),
    /// The fence of a forgotten subject.
    Fence(Fence),
}

/// Which generations of a subject die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dead {
    /// All that there are; the subject is closed.
    All,
    /// These; the subject goes on under the others.
    Spans(Vec<(Generation, Generation)>),
}

/// One subject of a destruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The subject who loses keys.
    pub subject: Subject,
    /// Which of their generations die.
    pub dead: Dead,
}

/// A batch of keys to destroy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destruction {
    /// The erasure that this is a step of.
    pub erasure: ErasureId,
    /// The subjects who lose keys.
    pub losses: Vec<Loss>,
    /// The keys that live on: retained, held, or of a category that was not asked for. The generations
    /// that they are of are dead nevertheless: nothing more is sealed in them.
    pub spared: BTreeSet<KeyId>,
}

impl Destruction {
    /// One that spares nothing.
    pub fn new(erasure: ErasureId, losses: Vec<Loss>) -> Self {
        Self { erasure, losses, spared: BTreeSet::new() }
    }
}

/// What an erasure takes of one subject, by pseudonym: so that it can be applied by a vault that
/// does not know the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The keyed pseudonym of the subject.
    pub pseudonym: [u8; 16],
    /// The generations that die, both ends inclusive.
    pub dead: Vec<(Generation, Generation)>,
    /// The keys of these generations that live on.
    pub spared: BTreeSet<Spared>,
    /// Whether all that there is of the subject goes, under whatever generation.
    pub whole: bool,
    /// Whether new keys are refused from then on.
    pub closed: bool,
}

/// An erasure without names: what a vault that was rolled back needs to apply it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The erasure's id.
    pub erasure: ErasureId,
    /// What it takes, of whom.
    pub taken: Vec<Taken>,
    /// What is noted of it (kind [`MemoKind::Erasure`]).
    pub record: Vec<u8>,
}

/// What a destruction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destroyed {
    /// How many keys were destroyed.
    pub keys: u64,
    /// The root's epoch since.
    pub epoch: u64,
}

/// Kinds of durable memos that other rooms keep in the vault, sealed like everything there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MemoKind {
    /// An erasure that is decided and not yet done, with its whole plan. Removed physically.
    Journal = 1,
    /// What is kept of an erasure: no names.
    Erasure = 2,
    /// An entry of the catalogue of backups.
    Backup = 3,
    /// How far the announcements in the event store are known, and which of them are missing there.
    Witness = 4,
    /// The history of the signing keys.
    SigningKeys = 5,
    /// The secret of a signing key. In no backup: its finder must not be able to sign.
    SigningSecret = 6,
    /// The policy that was adopted for what is sealed with this vault, as text.
    Policy = 7,
    /// The secret of an era.
    Era = 8,
    /// A claim that the caller of a codec has to settle. No names.
    Claim = 9,
    /// Under which owner rules the whole event store was looked through for owners. One, of eight bytes.
    Owners = 10,
    /// What the operator said of announcements that the vault cannot judge by itself. Under the id of an event,
    /// which anyone who can write to the store chooses.
    Believed = 11,
}
