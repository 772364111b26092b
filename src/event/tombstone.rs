//! The event that tells a stream and its readers that a subject is forgotten in it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Day, ErasureRef, EventId, Json, JsonError, KeyId, Signature, SigningKeyId, StreamName, Subject,
    signed::{named, signed_bytes, without},
};

/// The event type of a tombstone. No user's event may have it.
pub const SUBJECT_FORGOTTEN: &str = "SubjectForgotten";

/// What a tombstone says. It holds no personal data, so that it may stay for ever, and nothing that
/// joins it to the tombstones of other streams: the store alone does not show whose forgetting
/// reached which stream.
///
/// That a text has this form proves nothing. The layer checks the signature, and gives a reader a
/// tombstone only where the vault vouches for it: see
/// [`RecordedEvent::tombstone`](super::RecordedEvent::tombstone).
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// let erased = store.forget(&Subject::of(&user), "request 2026-117").await?;
/// let last = store.events(&user, ReadOptions::default()).await?.remove(1);
/// let Content::Tombstone(tombstone) = last.content() else { panic!("it is one") };
/// assert_eq!(tombstone.keys.len() as u64, erased.keys); // the rows of a projection that go
/// assert_eq!(tombstone.subject, Some(Subject::of(&user))); // named in its own stream only
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    /// What it says of the subject.
    pub state: State,
    /// Identifies the erasure in this stream; in each stream it is another one.
    #[serde(rename = "ref")]
    pub reference: ErasureRef,
    /// The day in UTC on which the erasure was decided.
    pub day: Day,
    /// The ids of the data keys that died in this stream, as in its tokens: each once, in the order of
    /// their bytes.
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

/// What a tombstone says of a subject. For another state that the vault signed, a reader needs a newer
/// version: reading ends there with [`Unreadable::State`](crate::store::Unreadable::State).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// The keys are destroyed, for good.
    Forgotten,
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
    /// The tombstone in a payload. It is not checked whether a vault vouches for it.
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
        let Written { state, reference, day, keys, subject, key, sig } =
            data.to().map_err(|_| TombstoneError::Malformed)?;
        // In one way only, because it is signed.
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err(TombstoneError::Malformed);
        }
        let tombstone = Self { state, reference, day, keys, subject, key, sig };
        if data.is_of(&tombstone) { Ok(tombstone) } else { Err(TombstoneError::Malformed) }
    }

    /// What the signature is to be over.
    pub(crate) fn signed_bytes(
        &self,
        vault: Uuid,
        stream: &StreamName,
        id: EventId,
    ) -> Result<Vec<u8>, JsonError> {
        Ok(tombstone_bytes(&Json::of(self)?, vault, stream, id))
    }
}

/// A document that may be a tombstone, of this version or a later one: who signed it, and what it says
/// as far as this program understands it.
#[derive(Debug)]
pub(crate) struct SignedTombstone {
    pub(crate) key: SigningKeyId,
    pub(crate) sig: Signature,
    /// `Err`: not what this version writes; where the state has another name, that name.
    pub(crate) body: Result<Tombstone, Option<String>>,
    /// In canonical form.
    data: Json,
}

impl SignedTombstone {
    /// `None`: it is not signed.
    pub(crate) fn read(data: &Json) -> Option<Self> {
        let data = Json::composed(without(data, &[]));
        let tree = data.tree();
        let text = |name| tree.root().member(name)?.string();
        let key = text("key")?.parse().ok()?;
        let sig = text("sig")?.parse().ok()?;
        let another = || text("state").filter(|state| state != "forgotten");
        let body = Tombstone::parse(&data).map_err(|_| another().map(|state| named(&state)));
        Some(Self { key, sig, body, data: data.clone() })
    }

    /// What the signature is over.
    pub(crate) fn signed_bytes(&self, vault: Uuid, stream: &StreamName, id: EventId) -> Vec<u8> {
        tombstone_bytes(&self.data, vault, stream, id)
    }
}

/// Who speaks, where, and all that is said. `docs/format.md` specifies it.
fn tombstone_bytes(said: &Json, vault: Uuid, stream: &StreamName, id: EventId) -> Vec<u8> {
    let place: [&[u8]; 3] = [vault.as_bytes(), stream.as_str().as_bytes(), id.0.as_bytes()];
    signed_bytes(b"oubliette signed tombstone", &place, said, &["sig"])
}
