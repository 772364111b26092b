//! What the values in the tree say: keys and subjects. Fences: see [`super::fence`].
//!
//! A **data key** is at `1 ‖ H(subject) ‖ 2 ‖ H(stream) ‖ generation` (see [`super::places`]). All
//! numbers are big-endian; a name is its length(1) and its bytes.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version: 1 |
//! | 20 | key id |
//! | 32 | the key |
//! | 4 | generation |
//! | 8 | when it was made: microseconds since 1970-01-01 UTC |
//! | 4 | the day of its last use: days since 1970-01-01 UTC |
//! | 8 | how many seals are reserved |
//! | 1 | layout: 0 sealed, 1 inline, 2 split; plus 16 times the form of its class |
//! | 8 | digest of the policy |
//! | 1 + n | the subject's name |
//! | 1 + n | the stream's name; empty if it is the subject's own |
//! | 1 + n | with form 1 or 3: the category |
//! | 4 | with form 2 or 3: the last day of the period: year(2) month(1) day(1) |
//!
//! An empty class has form 0 and no byte. A form above 3 is refused as [`VaultError::UnknownClass`], and
//! a higher version as [`VaultError::NewerFormat`]: whatever else a class may come to have, this program
//! does not take it for less than it is.
//!
//! A **subject's record**, which most have none of (see [`SubjectRecord::default_for`]), at
//! `1 ‖ H(subject) ‖ 1 ‖ part`. Lists have their length(4) before them; an id that may be absent is 0, or
//! 1 and the id(16).
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version: 3 |
//! | 4 | the generation of new keys |
//! | 4 | the highest generation ever begun |
//! | list | tenures of its owners: first generation(4), the open claim's event or none, *any*(1), owners: name, the open claim's event or none |
//! | list | what events stated: event(16), open(1), content(16) or zeros, a list of changes: hash(16) each, generation begun(4) or 0 |
//! | list | names of former owners |
//! | list | when generations began: generation(4) microseconds(8) |
//!
//! a tenure begins when owners change. A claim is open as long as no one has
//! said whether its event is stored; then *content* is not zero. *Content* and *hash* are keyed hashes as `H` is (see
//! [`super::places`]):
//!
//! | hash | what is hashed |
//! | --- | --- |
//! | of a change | `add owner`, `remove owner` or `replace owner`, a zero byte, the owner's name |
//! | of a content | `content`, a zero byte, a digest: SHA-256 over the data, then `json` or `bytes`, a space and the event's type, then the length of the data(8) |
//!
//! The data are those of the event before it was sealed: JSON in canonical form, or bytes.

use super::{
    fence::FenceRecord,
    places::{Hash, LAST_GENERATION},
};
use crate::{
    crypto::{SECRET_BYTES, Secret},
    event::{
        Class, EventId, Generation, KeyId, Layout, PolicyDigest, StreamName, Subject, Timestamp,
    },
    vault::{
        KeyInfo, KeyState, Owner, Tenure, VaultError,
        tree::Value,
        wire::{Reader, Writer, class_form},
    },
};

const VERSION: u8 = 1;
/// Since version 3 a subject's record says what each event stated.
const RECORD_VERSION: u8 = 3;

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 UTC.
pub(in crate::vault) fn today() -> u32 {
    u32::try_from(Timestamp::now().as_micros().div_euclid(DAY)).unwrap_or(0)
}

/// The beginning of a day.
pub(in crate::vault) fn day(number: u32) -> Timestamp {
    Timestamp::from_micros(i64::from(number) * DAY)
}

/// A data key as it is stored; without its secret it is a `KeyEntry<()>`.
#[derive(Clone)]
pub(in crate::vault) struct KeyEntry<S = Secret> {
    pub(in crate::vault) id: KeyId,
    pub(in crate::vault) secret: S,
    pub(in crate::vault) stream: StreamName,
    pub(in crate::vault) subject: Subject,
    pub(in crate::vault) class: Class,
    pub(in crate::vault) generation: Generation,
    pub(in crate::vault) created: Timestamp,
    pub(in crate::vault) last_day: u32,
    /// How many seals are handed out: as many as were used, or more.
    pub(in crate::vault) reserved: u64,
    pub(in crate::vault) layout: Layout,
    pub(in crate::vault) policy: PolicyDigest,
}

impl KeyEntry {
    pub(in crate::vault) fn encode(&self) -> Value {
        let mut to = Writer::new(96 + self.stream.as_str().len() + self.subject.as_str().len());
        to.u8(VERSION);
        to.bytes(&self.id.0);
        to.bytes(self.secret.as_slice());
        to.u32(self.generation.0);
        to.i64(self.created.as_micros());
        to.u32(self.last_day);
        to.u64(self.reserved);
        let layout = match self.layout {
            Layout::Sealed => 0,
            Layout::Inline => 1,
            Layout::Split => 2,
        };
        to.u8(layout | class_form(&self.class) << 4);
        to.bytes(&self.policy.0);
        to.name(self.subject.as_str());
        // Most streams are their own subject: an empty name stands for that.
        let own = self.stream.as_str() == self.subject.as_str();
        to.name(if own { "" } else { self.stream.as_str() });
        to.class(&self.class);
        to.done()
    }

    pub(in crate::vault) fn decode(bytes: &[u8]) -> Result<Self, VaultError> {
        KeyEntry::decode_with(bytes, |bytes| {
            let mut secret = Secret::default();
            secret.copy_from_slice(bytes);
            secret
        })
    }
}

impl KeyEntry<()> {
    /// All but the secret, of which no copy is made.
    pub(in crate::vault) fn decode_told(bytes: &[u8]) -> Result<Self, VaultError> {
        Self::decode_with(bytes, |_| ())
    }
}

impl<S> KeyEntry<S> {
    fn decode_with(bytes: &[u8], secret: impl FnOnce(&[u8]) -> S) -> Result<Self, VaultError> {
        let mut from = Reader::new("a key's entry", bytes);
        from.version(VERSION)?;
        let id = KeyId(from.array()?);
        let secret = secret(from.bytes(SECRET_BYTES)?);
        let generation = Generation(from.u32()?);
        let created = from.time()?;
        let last_day = from.u32()?;
        let reserved = from.u64()?;
        let form = from.u8()?;
        let layout = match form & 0x0F {
            0 => Layout::Sealed,
            1 => Layout::Inline,
            2 => Layout::Split,
            _ => return Err(from.odd()),
        };
        let policy = PolicyDigest(from.array()?);
        let subject = from.subject()?;
        let stream = match from.name()? {
            "" => subject.stream(),
            name => StreamName::new(name).map_err(|_| from.odd())?,
        };
        let class = from.class(form >> 4)?;
        from.end()?;
        Ok(Self {
            id,
            secret,
            stream,
            subject,
            class,
            generation,
            created,
            last_day,
            reserved,
            layout,
            policy,
        })
    }

    /// What may be told of it.
    pub(in crate::vault) fn info(self, subject: &SubjectRecord) -> KeyInfo {
        let (state, deactivated) = subject.key_state(self.generation);
        KeyInfo {
            state,
            deactivated,
            owners: subject.owners_of(self.generation),
            id: self.id,
            stream: self.stream,
            subject: self.subject,
            class: self.class,
            generation: self.generation,
            created: self.created,
            last_use: day(self.last_day),
            sealed_at_most: self.reserved,
            layout: self.layout,
            policy: self.policy,
        }
    }
}

/// What the vault knows of a subject. Most have none of their own: see [`SubjectRecord::default_for`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct SubjectRecord {
    /// The generation of new keys.
    pub(in crate::vault) current: Generation,
    /// The highest generation ever begun, by claims that came to nothing, too.
    pub(in crate::vault) highest: Generation,
    pub(in crate::vault) tenures: Vec<Tenure>,
    /// The events that claimed something, open or counted. Those that count are kept so that an
    /// old append that is tried again does not change the owners again.
    pub(in crate::vault) stated: Vec<Stated>,
    /// Who was named by claims that were withdrawn. They still have this subject among their
    /// dependents: only an erasure takes a name away for good, and a rejected append is not
    /// worth one.
    pub(in crate::vault) former: Vec<Subject>,
    /// When each generation after the first became the one of new keys, in order: with it the
    /// one before was deactivated. Claims that came to nothing are not among them.
    pub(in crate::vault) began: Vec<(Generation, Timestamp)>,
}

impl Default for SubjectRecord {
    fn default() -> Self {
        Self::default_for(&FenceRecord::default())
    }
}

impl SubjectRecord {
    /// What holds of a subject without a record: it uses the first generation that is not dead.
    pub(in crate::vault) fn default_for(fence: &FenceRecord) -> Self {
        let current = fence.next_generation();
        Self {
            current,
            highest: current,
            tenures: Vec::new(),
            stated: Vec::new(),
            former: Vec::new(),
            began: Vec::new(),
        }
    }

    /// Makes a generation the one of new keys, unless a newer one is.
    pub(in crate::vault) fn go_on_with(&mut self, generation: Generation) {
        if generation > self.current {
            self.current = generation;
            self.began.push((generation, Timestamp::now()));
        }
    }

    /// The state of the living keys of a generation, and since when they no longer seal, where that
    /// is known. The fence has no say: where it keeps new keys out, the current generation is dead.
    pub(in crate::vault) fn key_state(
        &self,
        generation: Generation,
    ) -> (KeyState, Option<Timestamp>) {
        let pending = |tenure: &Tenure| tenure.unsettled.is_some() && tenure.from == generation;
        if generation == self.current {
            (KeyState::Active, None)
        } else if self.tenures.iter().any(pending) {
            (KeyState::PreActivation, None)
        } else {
            let next = self.began.iter().find(|(began, _)| *began > generation);
            (KeyState::Deactivated, next.map(|(_, at)| *at))
        }
    }

    /// Those on whom what a generation sealed depends.
    pub(in crate::vault) fn owners_of(&self, generation: Generation) -> Vec<Subject> {
        let tenure = self.tenures.iter().rfind(|tenure| tenure.from <= generation);
        let owners = tenure.into_iter().flat_map(|tenure| &tenure.owners);
        owners.filter_map(|owner| owner.subject.clone()).collect()
    }

    /// The generation after all that were ever begun.
    pub(in crate::vault) fn begin_generation(&mut self) -> Result<Generation, VaultError> {
        if self.highest.0 >= LAST_GENERATION {
            return Err(VaultError::Damaged("a subject has no generation left".into()));
        }
        self.highest = self.highest.next();
        Ok(self.highest)
    }

    pub(in crate::vault) fn encode(&self) -> Value {
        let mut to = Writer::new(64);
        to.u8(RECORD_VERSION);
        to.u32(self.current.0);
        to.u32(self.highest.0);
        to.count(self.tenures.len());
        for tenure in &self.tenures {
            to.u32(tenure.from.0);
            to.maybe_id(tenure.unsettled.map(|event| event.0));
            to.u8(u8::from(tenure.any));
            to.count(tenure.owners.len());
            for owner in &tenure.owners {
                to.name(owner.subject.as_ref().map_or("", Subject::as_str));
                to.maybe_id(owner.unsettled.map(|event| event.0));
            }
        }
        to.count(self.stated.len());
        for stated in &self.stated {
            stated.encode(&mut to);
        }
        to.count(self.former.len());
        for subject in &self.former {
            to.name(subject.as_str());
        }
        to.count(self.began.len());
        for (generation, at) in &self.began {
            to.u32(generation.0);
            to.i64(at.as_micros());
        }
        to.done()
    }

    pub(in crate::vault) fn decode(bytes: &[u8]) -> Result<Self, VaultError> {
        let mut from = Reader::new("a subject's record", bytes);
        from.version(RECORD_VERSION)?;
        let current = Generation(from.u32()?);
        let highest = Generation(from.u32()?);
        let mut tenures = Vec::new();
        for _ in 0..from.u32()? {
            let first = Generation(from.u32()?);
            let unsettled = from.maybe_id()?.map(EventId);
            let any = from.flag()?;
            let mut owners = Vec::new();
            for _ in 0..from.u32()? {
                let subject = match from.name()? {
                    "" => None,
                    name => Some(Subject::new(name).map_err(|_| from.odd())?),
                };
                owners.push(Owner { subject, unsettled: from.maybe_id()?.map(EventId) });
            }
            tenures.push(Tenure { from: first, unsettled, owners, any });
        }
        let mut stated = Vec::new();
        for _ in 0..from.u32()? {
            stated.push(Stated::decode(&mut from)?);
        }
        let mut former = Vec::new();
        for _ in 0..from.u32()? {
            former.push(from.subject()?);
        }
        let mut began = Vec::new();
        for _ in 0..from.u32()? {
            began.push((Generation(from.u32()?), from.time()?));
        }
        from.end()?;
        Ok(Self { current, highest, tenures, stated, former, began })
    }
}

/// What an event states of owners, as its claims say. Names and content are here as keyed
/// hashes: the record outlives the owners that it once named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct Stated {
    pub(in crate::vault) event: EventId,
    /// Its type and payload; `None` once it counts, when they are not needed any more.
    pub(in crate::vault) content: Option<Hash>,
    /// Each change.
    pub(in crate::vault) changes: Vec<Hash>,
    /// The generation that it began, once it counts.
    pub(in crate::vault) begun: Option<Generation>,
}

impl Stated {
    pub(in crate::vault) fn is_open(&self) -> bool {
        self.content.is_some()
    }

    fn encode(&self, to: &mut Writer) {
        to.bytes(self.event.0.as_bytes());
        to.u8(u8::from(self.is_open()));
        to.bytes(&self.content.unwrap_or_default());
        to.count(self.changes.len());
        for change in &self.changes {
            to.bytes(change);
        }
        to.u32(self.begun.map_or(0, |generation| generation.0));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, VaultError> {
        let event = EventId(from.id()?);
        let open = from.flag()?;
        let hash: Hash = from.array()?;
        if !open && hash != Hash::default() {
            return Err(from.odd());
        }
        let content = open.then_some(hash);
        let mut changes = Vec::new();
        for _ in 0..from.u32()? {
            changes.push(from.array()?);
        }
        let begun = Some(Generation(from.u32()?)).filter(|begun| begun.0 > 0);
        Ok(Self { event, content, changes, begun })
    }
}
