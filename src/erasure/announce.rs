//! An announcement: an erasure without names, sealed, for a place that is not rolled back with
//! the vault. `docs/format.md` specifies its bytes.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ErasureError;
#[cfg(feature = "cli")]
use crate::vault::backup::VerifiedBackup;
use crate::{
    crypto::base64url,
    event::{
        ERASURE_ANNOUNCED, ERASURES, ErasureId, EventId, EventType, Json, NewEvent, RecordedEvent,
        StreamName, Timestamp,
    },
    store::StoreError,
    vault::{Vault, VaultId, Verdict},
};

const FORMAT: u32 = 1;

/// An announced erasure. Whom it took is sealed: only the vault that announced it, or one
/// restored from it, can open that, or make one.
///
/// As text it is one line of JSON, as `oubliette erasures export` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    id: EventId,
    #[serde(flatten)]
    body: Body,
}

/// What stands in the event's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    format: u32,
    vault: Uuid,
    erasure: ErasureId,
    at: Timestamp,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<EventId>,
    sealed: String,
}

/// A text is no announcement.
#[derive(Debug, thiserror::Error)]
#[error("not an announcement of an erasure, as `oubliette erasures export` writes them: {0}")]
pub struct AnnouncementError(#[source] serde_json::Error);

impl FromStr for Announcement {
    type Err = AnnouncementError;
    fn from_str(text: &str) -> Result<Self, AnnouncementError> {
        serde_json::from_str(text).map_err(AnnouncementError)
    }
}

impl Announcement {
    /// The id of its event.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The vault that announced it, as it says.
    pub fn vault(&self) -> VaultId {
        VaultId(self.body.vault)
    }

    /// The erasure.
    pub fn erasure(&self) -> ErasureId {
        self.body.erasure
    }

    /// The vault's epoch before the erasure, or, of one that was exported, at that time.
    pub fn epoch(&self) -> u64 {
        self.body.epoch
    }

    /// The announcement that the vault had made or seen last before; `None`: none, or exported.
    pub fn previous(&self) -> Option<EventId> {
        self.body.previous
    }

    pub(super) fn seal(
        vault: &Vault,
        id: EventId,
        previous: Option<EventId>,
        verdict: &Verdict,
    ) -> Result<Self, ErasureError> {
        let (erasure, at) = (verdict.erasure, verdict.erasure.at());
        let (epoch, sealed) = (vault.epoch()?, String::new());
        let body =
            Body { format: FORMAT, vault: vault.id().0, erasure, at, epoch, previous, sealed };
        let mut announcement = Self { id, body };
        let sealed = vault.seal_verdict(verdict, &announcement.associated())?;
        base64url::encode(&sealed, &mut announcement.body.sealed);
        Ok(announcement)
    }

    /// What was announced; `None` where it is not this vault's word, or not one that this program
    /// understands.
    pub(super) fn open(&self, vault: &Vault) -> Option<Verdict> {
        self.open_by(vault.id(), |associated, sealed| {
            vault.open_verdict(self.body.erasure, associated, sealed)
        })
    }

    /// Whether it is the word of the vault that a backup is of, or of another vault.
    #[cfg(feature = "cli")]
    pub(crate) fn suits(&self, backup: &VerifiedBackup) -> bool {
        let open = |associated: &[u8], sealed: &[u8]| {
            backup.open_verdict(self.body.erasure, associated, sealed)
        };
        self.vault() != backup.vault() || self.open_by(backup.vault(), open).is_some()
    }

    fn open_by(
        &self,
        vault: VaultId,
        open: impl FnOnce(&[u8], &[u8]) -> Option<Verdict>,
    ) -> Option<Verdict> {
        if self.body.format != FORMAT || self.vault() != vault {
            return None;
        }
        open(&self.associated(), &base64url::decode(&self.body.sealed)?)
    }

    /// What the seal covers besides: all that stands in clear, and where it stands.
    fn associated(&self) -> Vec<u8> {
        let body = &self.body;
        let mut bytes = Vec::new();
        let mut field = |field: &[u8]| {
            // Each is far below 4 GiB.
            bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
            bytes.extend_from_slice(field);
        };
        field(b"oubliette announcement");
        field(&body.format.to_be_bytes());
        field(body.vault.as_bytes());
        field(body.erasure.0.as_bytes());
        field(&body.at.as_micros().to_be_bytes());
        field(&body.epoch.to_be_bytes());
        field(body.previous.as_ref().map_or(&[], |previous| previous.0.as_bytes().as_slice()));
        field(self.id.0.as_bytes());
        field(ERASURES.as_bytes());
        bytes
    }

    /// The announcement in an event, if it has the form of one.
    pub(super) fn of(event: &RecordedEvent) -> Option<Self> {
        let data = event.data.as_ref()?.as_json().filter(|_| event.is_announcement())?;
        Some(Self { id: event.id, body: serde_json::from_str(data.as_str()).ok()? })
    }

    pub(super) fn to_event(&self) -> Result<NewEvent, StoreError> {
        let invalid = |error: &dyn std::fmt::Display| StoreError::Invalid(error.to_string());
        let data = Json::of(&self.body).map_err(|error| invalid(&error))?;
        let event_type = EventType::new(ERASURE_ANNOUNCED).map_err(|error| invalid(&error))?;
        Ok(NewEvent::new(event_type, data).with_id(self.id))
    }
}

/// The stream of announcements.
pub(super) fn stream() -> Result<StreamName, StoreError> {
    StreamName::new(ERASURES).map_err(|error| StoreError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is bound of the vectors of `docs/format.md`, which another program made.
    #[test]
    fn the_vectors_are_bound_to_what_stands_in_clear() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/announcements.json")).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            let line: Announcement = vector["line"].to_string().parse().unwrap();
            let associated: String =
                line.associated().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(associated, vector["associated"].as_str().unwrap());
            let again: serde_json::Value = serde_json::to_value(&line).unwrap();
            assert_eq!(again, vector["line"]);
        }
    }
}
