//! The event that tells a stream and its readers that a subject is forgotten in it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Day, ErasureRef, EventId, Json, KeyId, Signature, SigningKeyId, StreamName, Subject};

/// The event type of a tombstone. No user's event may have it.
pub const SUBJECT_FORGOTTEN: &str = "SubjectForgotten";

/// What a tombstone says. It holds no personal data, so that it may stay for ever, and nothing that
/// joins it to the tombstones of other streams: from the store alone nobody learns whose forgetting
/// reached which stream.
///
/// That a text has this form proves nothing. The layer checks the signature, and gives a reader a
/// tombstone only where the vault vouches for it: see
/// [`RecordedEvent::tombstone`](super::RecordedEvent::tombstone).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    /// What it says of the subject.
    pub state: State,
    /// Stands for the erasure in this stream; in each stream another.
    #[serde(rename = "ref")]
    pub reference: ErasureRef,
    /// The day in UTC on which the erasure was decided.
    pub day: Day,
    /// The ids of the data keys that died in this stream, as they stand in its tokens, in their
    /// order.
    pub keys: Vec<KeyId>,
    /// Who is forgotten: named only in the subject's own stream, because in a shared one it
    /// would publish for ever who was a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The key of the vault's that signed it.
    pub key: SigningKeyId,
    /// The signature over all of it and its place.
    pub sig: Signature,
}

/// What a tombstone says of a subject. This version carries out [`State::Forgotten`] alone. The other
/// states have their bytes and their name, so that whoever meets one that the vault signed knows that
/// they need a newer version: reading ends there with
/// [`Unreadable::State`](crate::store::Unreadable::State).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// The keys are destroyed, for good.
    Forgotten,
    /// Reserved: the keys are there, and nobody is to use them until that is lifted.
    Suspended,
    /// Reserved: the suspension with the same reference is over.
    Lifted,
}

impl State {
    /// Its name, as it is written and signed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::Suspended => "suspended",
            Self::Lifted => "lifted",
        }
    }
}

/// Why a stream received its tombstone. The plan of an erasure tells it; the tombstone does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// A subject whose events are in this stream asked to be forgotten.
    Request,
    /// The owner of this stream was forgotten.
    OwnerForgotten,
}

/// Why a payload is no tombstone. No message holds anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TombstoneError {
    /// It does not have the form.
    #[error("it does not have the form of a tombstone")]
    Malformed,
}

impl Tombstone {
    /// The tombstone in a payload. Whether anybody vouches for it is not asked.
    ///
    /// # Errors
    /// [`TombstoneError`].
    pub fn parse(data: &Json) -> Result<Self, TombstoneError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            state: State,
            #[serde(rename = "ref")]
            reference: ErasureRef,
            day: Day,
            keys: Vec<KeyId>,
            #[serde(default)]
            subject: Option<Subject>,
            key: SigningKeyId,
            sig: Signature,
        }
        let malformed = |_| TombstoneError::Malformed;
        let Written { state, reference, day, keys, subject, key, sig } =
            serde_json::from_str(data.as_str()).map_err(malformed)?;
        Ok(Self { state, reference, day, keys, subject, key, sig })
    }

    /// What the signature is over: who speaks, where, and all that is said. `docs/format.md`
    /// specifies it.
    pub(crate) fn signed_bytes(&self, vault: Uuid, stream: &StreamName, id: EventId) -> Vec<u8> {
        let keys: Vec<u8> = self.keys.iter().flat_map(|key| key.0).collect();
        let subject = self.subject.as_ref().map_or("", Subject::as_str);
        framed(&[
            b"oubliette tombstone",
            vault.as_bytes(),
            stream.as_str().as_bytes(),
            id.0.as_bytes(),
            self.state.as_str().as_bytes(),
            &self.reference.0,
            self.day.to_string().as_bytes(),
            &keys,
            subject.as_bytes(),
            &self.key.0,
        ])
    }
}

/// The fields one after the other, each with its length in front in four bytes, so that none can
/// be taken for a part of another.
pub(crate) fn framed(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fields.iter().map(|field| 4 + field.len()).sum());
    for field in fields {
        // Each is far below 4 GiB.
        bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}
