//! What is durable of an erasure: the journal while it is under way, a record without names
//! ever after.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ErasureError, Plan};
use crate::{
    event::{ErasureId, Timestamp},
    vault::{NoteKind, Vault},
};

/// An erasure that is decided and not yet done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) erasure: ErasureId,
    pub(super) reason: String,
    pub(super) plan: Plan,
}

impl Journal {
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
    /// Whether every tombstone is written.
    pub done: bool,
    /// The epoch of the root that it led to, once that is known: mirrors of the root slot that hold an
    /// earlier one must be overwritten, or it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

impl ErasureRecord {
    pub(super) fn of(journal: &Journal, done: bool) -> Self {
        Self {
            erasure: journal.erasure,
            at: journal.erasure.at(),
            reason: journal.reason.clone(),
            keys: journal.plan.keys(),
            subjects: journal.plan.subjects.len() as u64,
            streams: journal.plan.streams.len() as u64,
            done,
            epoch: None,
        }
    }

    pub(super) fn led_to(self, epoch: u64) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    pub(super) fn to_note(&self) -> Result<Vec<u8>, ErasureError> {
        serde_json::to_vec(self).map_err(|_| ErasureError::BadJournal(self.erasure))
    }

    /// The record of one erasure.
    pub(super) fn find(vault: &Vault, erasure: ErasureId) -> Result<Option<Self>, ErasureError> {
        Ok(Self::all(vault)?.into_iter().find(|record| record.erasure == erasure))
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
