//! What is durable of an erasure: the journal while it is under way, a record without names
//! ever after.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ErasureError, Plan};
use crate::{
    event::{ErasureId, EventId, Timestamp},
    vault::{NoteKind, Vault},
};

/// An erasure that is decided and not yet done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) erasure: ErasureId,
    pub(super) reason: String,
    pub(super) plan: Plan,
    /// Which attempt to announce it this is: a larger plan is another one.
    #[serde(default)]
    pub(super) attempt: Uuid,
    /// The attempts before it.
    #[serde(default)]
    pub(super) earlier: Vec<Uuid>,
}

impl Journal {
    /// Begins another attempt.
    pub(super) fn try_anew(&mut self) {
        self.earlier.push(std::mem::replace(&mut self.attempt, Uuid::new_v4()));
    }

    /// The id of a part of this attempt's announcement: repeated, the store knows it for what it is.
    pub(super) fn announcement(&self, part: usize) -> EventId {
        announcement(self.erasure, self.attempt, part)
    }

    /// Whether the announcement is one of this journal's own attempts, of so many parts at most.
    pub(super) fn announced_as(&self, id: EventId, parts: usize) -> bool {
        self.earlier
            .iter()
            .chain([&self.attempt])
            .any(|attempt| (0..parts).any(|part| announcement(self.erasure, *attempt, part) == id))
    }

    /// The journal of an erasure, if it is under way.
    pub(super) fn find(vault: &Vault, erasure: ErasureId) -> Result<Option<Self>, ErasureError> {
        let note = vault.note(NoteKind::Journal, erasure.0.into_bytes())?;
        let bad = |_| ErasureError::BadJournal(erasure);
        note.map(|note| serde_json::from_slice(&note).map_err(bad)).transpose()
    }

    pub(super) async fn write(&self, vault: &Vault) -> Result<(), ErasureError> {
        let note = serde_json::to_vec(self).map_err(|_| ErasureError::BadJournal(self.erasure))?;
        Ok(vault.put_note(NoteKind::Journal, self.erasure.0.into_bytes(), &note).await?)
    }

    pub(super) async fn remove(&self, vault: &Vault) -> Result<(), ErasureError> {
        Ok(vault.remove_note(NoteKind::Journal, self.erasure.0.into_bytes()).await?)
    }

    /// The erasures under way, oldest first.
    pub(super) fn all(vault: &Vault) -> Result<Vec<Self>, ErasureError> {
        let parse = |(id, note): ([u8; 16], zeroize::Zeroizing<Vec<u8>>)| {
            let bad = |_| ErasureError::BadJournal(ErasureId(Uuid::from_bytes(id)));
            serde_json::from_slice::<Self>(&note).map_err(bad)
        };
        let mut journals = vault
            .notes(NoteKind::Journal)?
            .into_iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        journals.sort_by_key(|journal| journal.erasure);
        Ok(journals)
    }
}

fn announcement(erasure: ErasureId, attempt: Uuid, part: usize) -> EventId {
    EventId::derived(erasure.0, &format!("announcement {attempt}/{part}"))
}

/// What is kept of an erasure, for good. It names nobody, unless its reason does: a reason should
/// say which request it was (a ticket's number), not whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErasureRecord {
    /// The erasure.
    pub erasure: ErasureId,
    /// When it was decided.
    pub at: Timestamp,
    /// Why, in the words of whoever asked for it.
    pub reason: String,
    /// How many keys died.
    pub keys: u64,
    /// How many subjects lost keys.
    pub subjects: u64,
    /// How many streams got a tombstone.
    pub streams: u64,
    /// How many events about those who were forgotten were never sealed.
    #[serde(default)]
    pub unsealed: u64,
    /// How many streams were not looked into for such events.
    #[serde(default)]
    pub passed_over: u64,
    /// Whether every tombstone is written. Of an erasure that was replayed the vault cannot tell:
    /// its tombstones are as its first run left them.
    pub done: bool,
    /// Whether the keys are destroyed; if not, the erasure waits until it can be announced.
    #[serde(default)]
    pub destroyed: bool,
    /// Whether it is announced in the event store.
    #[serde(default)]
    pub announced: bool,
    /// The vault's epoch when the keys were destroyed. Mirrors of the root slot that hold an earlier
    /// root must be overwritten, or it is not complete.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epoch: Option<u64>,
    /// When it was applied again, because the vault had been rolled back or restored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replayed: Option<Timestamp>,
}

impl ErasureRecord {
    /// The record of an erasure that is decided.
    pub(super) fn of(journal: &Journal) -> Self {
        Self {
            erasure: journal.erasure,
            at: journal.erasure.at(),
            reason: journal.reason.clone(),
            keys: journal.plan.keys(),
            subjects: journal.plan.subjects.len() as u64,
            streams: journal.plan.streams.len() as u64,
            unsealed: journal.plan.unsealed_events(),
            passed_over: journal.plan.passed_over,
            done: false,
            destroyed: false,
            announced: false,
            epoch: None,
            replayed: None,
        }
    }

    /// The record of an erasure that is applied again, as it was announced.
    pub(super) fn replayed(erasure: ErasureId, note: &[u8]) -> Self {
        let announced = serde_json::from_slice(note).ok();
        let record = announced.filter(|record: &Self| record.erasure == erasure);
        let record = record.unwrap_or_else(|| Self {
            erasure,
            at: erasure.at(),
            reason: String::new(),
            keys: 0,
            subjects: 0,
            streams: 0,
            unsealed: 0,
            passed_over: 0,
            done: false,
            destroyed: true,
            announced: true,
            epoch: None,
            replayed: None,
        });
        let replayed = Some(Timestamp::now());
        Self { destroyed: true, announced: true, epoch: None, replayed, ..record }
    }

    pub(super) fn to_note(&self) -> Result<Vec<u8>, ErasureError> {
        serde_json::to_vec(self).map_err(|_| ErasureError::BadJournal(self.erasure))
    }

    /// The record of one erasure.
    pub(super) fn find(vault: &Vault, erasure: ErasureId) -> Result<Option<Self>, ErasureError> {
        let note = vault.note(NoteKind::Erasure, erasure.0.into_bytes())?;
        let bad = |_| ErasureError::BadJournal(erasure);
        note.map(|note| serde_json::from_slice(&note).map_err(bad)).transpose()
    }

    /// The records of all erasures, oldest first.
    pub(crate) fn all(vault: &Vault) -> Result<Vec<Self>, ErasureError> {
        let parse = |(id, note): ([u8; 16], zeroize::Zeroizing<Vec<u8>>)| {
            let bad = |_| ErasureError::BadJournal(ErasureId(Uuid::from_bytes(id)));
            serde_json::from_slice::<Self>(&note).map_err(bad)
        };
        let mut records = vault
            .notes(NoteKind::Erasure)?
            .into_iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        records.sort_by_key(|record| record.erasure);
        Ok(records)
    }
}
