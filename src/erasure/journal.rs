//! What is durable of an erasure: the journal while it is in progress, a record without names
//! ever after.

use std::collections::BTreeMap;

use hmac::Mac;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::{Builder, Uuid};
use zeroize::Zeroizing;

use super::{BadMemo, ErasureError, OperatorError, Plan};
use crate::{
    crypto::{RandomError, Secret, base64url, keyed, random_secret},
    event::{ErasureId, EventId, StreamName, Timestamp, framed},
    vault::{MemoKind, Vault, VaultError, memos},
};

/// An erasure that is decided and not yet done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) erasure: ErasureId,
    pub(super) reason: String,
    pub(super) plan: Plan,
    /// From it come the ids of all events that the erasure appends.
    secret: JournalSecret,
    /// Which attempt to announce it this is: a larger plan is another one.
    attempt: Uuid,
    /// The attempts before it.
    earlier: Vec<Uuid>,
    /// The streams in which the id of the tombstone was another event's, with how many ids were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    taken: BTreeMap<StreamName, u32>,
}

/// Random bytes that are durable with the journal and gone with it. An id that somebody could
/// foresee could be taken by them first: the tombstone would then be taken for one that is
/// there already, or could never be appended.
#[derive(Debug, Clone)]
struct JournalSecret(Secret);

impl JournalSecret {
    fn id(&self, fields: &[&[u8]]) -> EventId {
        let whole = keyed(&self.0).chain_update(framed(fields)).finalize().into_bytes();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&whole[..16]);
        EventId(Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl Serialize for JournalSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        base64url::encode(self.0.as_slice(), &mut text);
        serializer.serialize_str(&Zeroizing::new(text))
    }
}

impl<'de> Deserialize<'de> for JournalSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = base64url::decode(&text).map(Zeroizing::new);
        let bytes: Option<&[u8; 32]> =
            bytes.as_ref().and_then(|bytes| bytes.as_slice().try_into().ok());
        let odd = || de::Error::custom("the secret of a journal has 32 bytes");
        bytes.map(|bytes| Self(Secret::copy_of(bytes))).ok_or_else(odd)
    }
}

impl Journal {
    pub(super) fn new(erasure: ErasureId, reason: String, plan: Plan) -> Result<Self, RandomError> {
        let (secret, attempt) = (JournalSecret(random_secret()?), Uuid::new_v4());
        Ok(Self { erasure, reason, plan, secret, attempt, earlier: vec![], taken: BTreeMap::new() })
    }

    /// The id of the tombstone in a stream: the same however often it is set.
    pub(super) fn tombstone(&self, stream: &StreamName) -> EventId {
        let taken = self.taken.get(stream).copied().unwrap_or_default();
        self.secret.id(&[b"tombstone", stream.as_str().as_bytes(), &taken.to_be_bytes()])
    }

    /// Takes another id for the tombstone in a stream, because somebody else's event has the
    /// present one. Returns how many were taken so far.
    pub(super) fn tombstone_anew(&mut self, stream: &StreamName) -> u32 {
        let taken = self.taken.entry(stream.clone()).or_default();
        *taken += 1;
        *taken
    }

    /// Begins another attempt.
    pub(super) fn try_anew(&mut self) {
        self.earlier.push(std::mem::replace(&mut self.attempt, Uuid::new_v4()));
    }

    /// Which attempt to announce it this is, from 1 on.
    pub(super) fn attempts(&self) -> u32 {
        u32::try_from(self.earlier.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The id of a part of this attempt's announcement: repeated, the store knows it for what it is.
    pub(super) fn announcement(&self, part: usize) -> EventId {
        self.announcement_of(self.attempt, part)
    }

    fn announcement_of(&self, attempt: Uuid, part: usize) -> EventId {
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        self.secret.id(&[b"announcement", attempt.as_bytes(), &part.to_be_bytes()])
    }

    /// Whether the announcement is one of this journal's own attempts, of so many parts at most.
    pub(super) fn announced_as(&self, id: EventId, parts: usize) -> bool {
        self.earlier
            .iter()
            .chain([&self.attempt])
            .any(|attempt| (0..parts).any(|part| self.announcement_of(*attempt, part) == id))
    }

    fn read(erasure: ErasureId, note: &[u8]) -> Result<Self, BadMemo> {
        let journal: Option<Self> = memos::from_json(MemoKind::Journal, note).ok();
        let journal = journal.filter(|journal| journal.erasure == erasure);
        journal.ok_or(BadMemo::Journal(erasure))
    }

    /// The journal of an erasure, if it is in progress.
    pub(super) fn find(vault: &Vault, erasure: ErasureId) -> Result<Option<Self>, ErasureError> {
        let note = vault.memo(MemoKind::Journal, erasure.0.into_bytes())?;
        Ok(note.map(|note| Self::read(erasure, &note)).transpose()?)
    }

    pub(super) async fn write(&self, vault: &Vault) -> Result<(), VaultError> {
        let note = memos::to_json(self)?;
        vault.put_memo(MemoKind::Journal, self.erasure.0.into_bytes(), &note).await
    }

    pub(super) async fn remove(&self, vault: &Vault) -> Result<(), VaultError> {
        vault.remove_memo(MemoKind::Journal, self.erasure.0.into_bytes()).await
    }

    /// The erasures in progress, oldest first.
    pub(super) fn all(vault: &Vault) -> Result<Vec<Self>, ErasureError> {
        let found = vault.memos(MemoKind::Journal)?.into_iter();
        let read = found.map(|(id, note)| Self::read(ErasureId(Uuid::from_bytes(id)), &note));
        let mut journals = read.collect::<Result<Vec<_>, _>>()?;
        journals.sort_by_key(|journal| journal.erasure);
        Ok(journals)
    }
}

/// What is kept of an erasure, for good. It holds no name, unless its reason does: a reason should
/// say which request it was (a ticket's number), not whose.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// # store.forget(&Subject::of(&user), "request 2026-117").await?;
/// for record in store.erasures()? {
///     println!("{} {}: {} keys ({})", record.at, record.erasure, record.keys, record.reason);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErasureRecord {
    /// The erasure's id.
    pub erasure: ErasureId,
    /// When it was decided.
    pub at: Timestamp,
    /// Why, in the words of the person who asked for it.
    pub reason: String,
    /// Which attempt to announce it this tells of, from 1 on. The erasure was carried out as the last one
    /// said: it may have waited for the store, and others went on meanwhile.
    pub attempt: u32,
    /// How many keys died.
    pub keys: u64,
    /// How many subjects lost keys.
    pub subjects: u64,
    /// How many streams got a tombstone.
    pub streams: u64,
    /// How many events about those who were forgotten were never sealed.
    pub unsealed: u64,
    /// How many events of those who were forgotten are sealed under keys that the vault did not have, or that a
    /// newer program knows.
    pub unknown_keys: u64,
    /// How many streams were not looked into for such events.
    pub passed_over: u64,
    /// How many dependents stayed, because somebody else keeps them.
    pub kept: u64,
    /// How many subjects had something of theirs, which stayed, in the streams of those who were
    /// forgotten.
    #[serde(rename = "foreign")]
    pub bystanders: u64,
    /// Whether every tombstone is written. Of an erasure that was replayed the vault cannot tell:
    /// its tombstones are as its first run left them.
    pub done: bool,
    /// Whether the keys are destroyed; if not, the erasure waits until it can be announced.
    pub destroyed: bool,
    /// Whether it is announced in the event store.
    pub announced: bool,
    /// The vault's epoch when the keys were destroyed. Mirrors of the root slot that hold an earlier
    /// root must be overwritten, or it is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// When it was applied again, because the vault had been rolled back or restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Timestamp>,
    /// When the operator said that it is dealt with, because the vault could not open what it had
    /// announced of it. That was not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dealt_with: Option<Timestamp>,
}

impl ErasureRecord {
    /// The record of an erasure that is decided.
    pub(super) fn of(journal: &Journal) -> Self {
        Self {
            reason: journal.reason.clone(),
            attempt: journal.attempts(),
            keys: journal.plan.keys(),
            subjects: journal.plan.subjects.len() as u64,
            streams: journal.plan.streams.len() as u64,
            unsealed: journal.plan.unsealed_events(),
            unknown_keys: journal.plan.unknown_key_events() + journal.plan.newer_events(),
            passed_over: journal.plan.passed_over,
            kept: journal.plan.kept.len() as u64,
            bystanders: journal.plan.bystanders.len() as u64,
            ..Self::empty(journal.erasure)
        }
    }

    pub(super) fn empty(erasure: ErasureId) -> Self {
        Self {
            erasure,
            at: erasure.at(),
            reason: String::new(),
            attempt: 0,
            keys: 0,
            subjects: 0,
            streams: 0,
            unsealed: 0,
            unknown_keys: 0,
            passed_over: 0,
            kept: 0,
            bystanders: 0,
            done: false,
            destroyed: false,
            announced: false,
            epoch: None,
            replayed: None,
            dealt_with: None,
        }
    }

    /// That of an attempt.
    #[cfg(test)]
    pub(super) fn attempted(erasure: ErasureId, attempt: u32) -> Self {
        Self { attempt, ..Self::empty(erasure) }
    }

    /// The record of an erasure that the operator dealt with. Nothing else may be known of it, or an earlier
    /// attempt was applied.
    pub(super) fn dealt_with(vault: &Vault, erasure: ErasureId) -> Result<Self, OperatorError> {
        let dealt_with = Some(Timestamp::now());
        let known = match vault.memo(MemoKind::Erasure, erasure.0.into_bytes())? {
            Some(note) => Self::read(erasure, &note)?,
            None => Self::empty(erasure),
        };
        Ok(Self { destroyed: true, announced: true, dealt_with, ..known })
    }

    /// Whether no later attempt took more: the erasure was carried out when this was noted, or the operator
    /// answers for it. One that was applied as it was announced may have been tried again since.
    pub(crate) fn is_final(&self) -> bool {
        let carried_out = self.destroyed && self.replayed.is_none();
        carried_out || self.done || self.dealt_with.is_some()
    }

    /// The record of an erasure that is applied again, as it was announced; some were without one.
    pub(super) fn replayed(erasure: ErasureId, announced: &[u8]) -> Result<Self, BadMemo> {
        let record = match announced {
            [] => Self::empty(erasure),
            note => Self::read(erasure, note)?,
        };
        let replayed = Some(Timestamp::now());
        Ok(Self { destroyed: true, announced: true, epoch: None, replayed, ..record })
    }

    /// The attempt of which the record in a memo tells; 0 where there is none.
    pub(super) fn attempt_in(note: &[u8]) -> u32 {
        serde_json::from_slice::<Self>(note).map_or(0, |record| record.attempt)
    }

    pub(super) fn to_memo(&self) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        memos::to_json(self)
    }

    /// The record of an erasure in its memo, or in the copy of that in an announcement.
    pub(crate) fn read(erasure: ErasureId, note: &[u8]) -> Result<Self, BadMemo> {
        let record: Option<Self> = memos::from_json(MemoKind::Erasure, note).ok();
        let record = record.filter(|record| record.erasure == erasure);
        record.ok_or(BadMemo::Record(erasure))
    }

    /// The record of one erasure.
    pub(super) fn find(vault: &Vault, erasure: ErasureId) -> Result<Option<Self>, ErasureError> {
        let note = vault.memo(MemoKind::Erasure, erasure.0.into_bytes())?;
        Ok(note.map(|note| Self::read(erasure, &note)).transpose()?)
    }

    /// The records of all erasures, oldest first.
    pub(crate) fn all(vault: &Vault) -> Result<Vec<Self>, ErasureError> {
        let found = vault.memos(MemoKind::Erasure)?.into_iter();
        let read = found.map(|(id, note)| Self::read(ErasureId(Uuid::from_bytes(id)), &note));
        let mut records = read.collect::<Result<Vec<_>, _>>()?;
        records.sort_by_key(|record| record.erasure);
        Ok(records)
    }
}
