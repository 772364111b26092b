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
        ANNOUNCED, ANNOUNCEMENTS, ErasureId, EventId, EventType, Json, NewEvent, RecordedEvent,
        Signature, SigningKeyId, StreamName, Timestamp, framed,
    },
    store::StoreError,
    vault::{Vault, VaultError, VaultId, Verdict, Vouched},
};

const FORMAT: u32 = 1;

/// An announced erasure. Whom it took is sealed: only the vault that announced it, or one
/// restored from it, can open that. And it is signed, because the key that seals stands in every
/// backup of the vault, and the one that signs in none: whoever finds a backup can read what was
/// announced, but have nobody forgotten.
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
    /// Who signed, and the signature. What has none may be an announcement; it counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<SigningKeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sig: Option<Signature>,
}

/// Why something that says it is an announcement of this vault does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uncounted {
    /// It has no signature, or not one of a key in the vault's history.
    Unsigned,
    /// It opens, so that a holder of the vault or of a backup made it, and is signed by a key that the
    /// vault does not know: an earlier restoration of the same backup, or whoever found one.
    Stranger(Box<Verdict>),
    /// It has a form that this program does not know.
    Unopened,
    /// This vault signed it, and cannot open it: it was put back to before the eras for which it is
    /// sealed.
    TooNew,
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
        let (vault_id, key, sig) = (vault.id().0, None, None);
        let body = Body {
            format: FORMAT,
            vault: vault_id,
            erasure,
            at,
            epoch,
            previous,
            sealed,
            key,
            sig,
        };
        let mut announcement = Self { id, body };
        let sealed = vault.seal_verdict(verdict, &announcement.associated())?;
        base64url::encode(&sealed, &mut announcement.body.sealed);
        let (key, sig) = vault.sign(|key| announcement.signed_bytes(key, &sealed))?;
        (announcement.body.key, announcement.body.sig) = (Some(key), Some(sig));
        Ok(announcement)
    }

    /// What was announced, if it is this vault's word.
    ///
    /// # Errors
    /// Those of a vault whose signing keys cannot be read.
    pub(crate) fn open(&self, vault: &Vault) -> Result<Result<Verdict, Uncounted>, VaultError> {
        self.open_by(
            |key, bytes, sig| vault.vouches(key, bytes, sig),
            |associated, sealed| vault.open_verdict(self.body.erasure, associated, sealed),
        )
    }

    /// Whether it is the word of the vault that a backup is of, or of another vault.
    #[cfg(feature = "cli")]
    pub(crate) fn suits(&self, backup: &VerifiedBackup) -> bool {
        let opened = self.open_by(
            |key, bytes, sig| Ok(backup.vouches(key, bytes, sig)),
            |associated, sealed| backup.open_verdict(self.body.erasure, associated, sealed),
        );
        self.vault() != backup.vault() || opened.is_ok_and(|opened| opened.is_ok())
    }

    fn open_by(
        &self,
        vouches: impl FnOnce(SigningKeyId, &[u8], &Signature) -> Result<Vouched, VaultError>,
        open: impl FnOnce(&[u8], &[u8]) -> Option<Verdict>,
    ) -> Result<Result<Verdict, Uncounted>, VaultError> {
        if self.body.format != FORMAT {
            return Ok(Err(Uncounted::Unopened));
        }
        let Some(sealed) = base64url::decode(&self.body.sealed) else {
            return Ok(Err(Uncounted::Unopened));
        };
        let Body { key: Some(key), sig: Some(sig), .. } = &self.body else {
            return Ok(Err(Uncounted::Unsigned));
        };
        let vouched = vouches(*key, &self.signed_bytes(*key, &sealed), sig)?;
        let opened = || open(&self.associated(), &sealed);
        Ok(match vouched {
            Vouched::Ours => opened().ok_or(Uncounted::TooNew),
            Vouched::Forged => Err(Uncounted::Unsigned),
            Vouched::UnknownKey => Err(opened()
                .map_or(Uncounted::Unsigned, |verdict| Uncounted::Stranger(Box::new(verdict)))),
        })
    }

    /// What the signature is over: all that the seal covers, the key that signs, and what is sealed.
    fn signed_bytes(&self, key: SigningKeyId, sealed: &[u8]) -> Vec<u8> {
        framed(&[b"oubliette signed announcement", &self.associated(), &key.0, sealed])
    }

    /// What the seal covers besides: all that stands in clear, and where it stands.
    fn associated(&self) -> Vec<u8> {
        let body = &self.body;
        framed(&[
            b"oubliette announcement",
            &body.format.to_be_bytes(),
            body.vault.as_bytes(),
            body.erasure.0.as_bytes(),
            &body.at.as_micros().to_be_bytes(),
            &body.epoch.to_be_bytes(),
            body.previous.as_ref().map_or(&[], |previous| previous.0.as_bytes().as_slice()),
            self.id.0.as_bytes(),
            ANNOUNCEMENTS.as_bytes(),
        ])
    }

    /// The announcement in an event, if it has the form of one.
    pub(crate) fn of(event: &RecordedEvent) -> Option<Self> {
        let data = event.data.as_ref()?.as_json().filter(|_| event.is_announcement())?;
        Some(Self { id: event.id, body: serde_json::from_str(data.as_str()).ok()? })
    }

    pub(super) fn to_event(&self) -> Result<NewEvent, StoreError> {
        let invalid = |error: &dyn std::fmt::Display| StoreError::Invalid(error.to_string());
        let data = Json::of(&self.body).map_err(|error| invalid(&error))?;
        let event_type = EventType::new(ANNOUNCED).map_err(|error| invalid(&error))?;
        Ok(NewEvent::new(event_type, data).with_id(self.id))
    }
}

/// The stream of announcements.
pub(super) fn stream() -> Result<StreamName, StoreError> {
    StreamName::new(ANNOUNCEMENTS).map_err(|error| StoreError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::VerifyingKey;

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
            assert_eq!(told(&file, &line), "good");
        }
        for vector in file["bad"].as_array().unwrap() {
            let line: Announcement = vector["line"].to_string().parse().unwrap();
            assert_eq!(told(&file, &line), vector["error"], "{vector}");
        }
    }

    /// What is said of an announcement by a vault with the vectors' history. Whether it opens is
    /// another test's.
    fn told(file: &serde_json::Value, line: &Announcement) -> &'static str {
        let keys = file["keys"].as_array().unwrap().iter();
        let keys: Vec<VerifyingKey> =
            keys.map(|key| key["public"].as_str().unwrap().parse().unwrap()).collect();
        let vouches = |key, bytes: &[u8], sig: &_| {
            Ok(match keys.iter().find(|known| known.id() == key) {
                None => Vouched::UnknownKey,
                Some(known) if known.verifies(bytes, sig) => Vouched::Ours,
                Some(_) => Vouched::Forged,
            })
        };
        let erasure = line.erasure();
        let open = |_: &[u8], _: &[u8]| Some(Verdict { erasure, taken: vec![], note: vec![] });
        match line.open_by(vouches, open).unwrap() {
            Ok(_) => "good",
            // Here whatever is sealed opens.
            Err(Uncounted::Unsigned | Uncounted::Stranger(_)) => "unsigned",
            Err(Uncounted::Unopened) => "unopened",
            Err(Uncounted::TooNew) => "too new",
        }
    }
}
