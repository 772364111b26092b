//! Tombstones as they are signed, and whether one in the store is this vault's word.

use crate::{
    event::{
        ErasureId, EventId, KeyId, Payload, RecordedEvent, Signature, SigningKeyId, State,
        StreamName, Subject, Tombstone, TombstoneError,
    },
    vault::{KeyState, NoteKind, Vault, VaultError, Vouched},
};

/// Why an event of the tombstone's type says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unvouched {
    /// It does not have the form.
    Odd(TombstoneError),
    /// It claims this vault's word, and is not.
    Forged,
    /// Only a signing key says so that somebody else has as well, and the vault knows nothing of it.
    Compromised,
    /// Nothing in it is of this vault, as far as can be told.
    Foreign,
}

/// The signed tombstone of an erasure in a stream.
pub(crate) fn sign(
    vault: &Vault,
    id: EventId,
    stream: &StreamName,
    erasure: ErasureId,
    mut keys: Vec<KeyId>,
    subject: Option<Subject>,
) -> Result<Tombstone, VaultError> {
    // Their order must not tell in which order they were found.
    keys.sort_unstable();
    let mut tombstone = Tombstone {
        state: State::Forgotten,
        reference: vault.reference(erasure, stream),
        day: erasure.day(),
        keys,
        subject,
        key: SigningKeyId([0; 16]),
        sig: Signature([0; 64]),
    };
    (tombstone.key, tombstone.sig) = vault.sign(|key| {
        Tombstone { key, ..tombstone.clone() }.signed_bytes(vault.id().0, stream, id)
    })?;
    Ok(tombstone)
}

/// The tombstone that an event is, under its logical stream; or why it is none.
///
/// # Errors
/// Those of a vault whose signing keys cannot be read.
pub(crate) fn judge(
    vault: &Vault,
    event: &RecordedEvent,
) -> Result<Result<Tombstone, Unvouched>, VaultError> {
    let odd = || Ok(Err(Unvouched::Odd(TombstoneError::Malformed)));
    let Some(data) = event.data.as_ref().and_then(Payload::as_json) else { return odd() };
    let tombstone = match Tombstone::parse(data) {
        Ok(tombstone) => tombstone,
        Err(error) => return Ok(Err(Unvouched::Odd(error))),
    };
    let bytes = tombstone.signed_bytes(vault.id().0, &event.stream, event.id);
    Ok(match vault.vouches(tombstone.key, &bytes, &tombstone.sig)? {
        Vouched::Ours => Ok(tombstone),
        Vouched::Compromised if is_so(vault, &event.stream, &tombstone)? => Ok(tombstone),
        Vouched::Compromised => Err(Unvouched::Compromised),
        Vouched::Forged => Err(Unvouched::Forged),
        Vouched::UnknownKey if concerns(vault, &event.stream, &tombstone)? => {
            Err(Unvouched::Forged)
        }
        Vouched::UnknownKey => Err(Unvouched::Foreign),
    })
}

/// Whether the vault knows all that a tombstone says: then it is so, whoever says it. The day on which a
/// thief of a key says something is theirs to choose, so that no date is believed.
fn is_so(vault: &Vault, stream: &StreamName, tombstone: &Tombstone) -> Result<bool, VaultError> {
    let erasure = vault.erasure(tombstone.reference, stream);
    if vault.note(NoteKind::Erasure, erasure.0.into_bytes())?.is_none()
        || tombstone.day != erasure.day()
        || tombstone.subject.as_ref().is_some_and(|subject| *subject != Subject::of(stream))
    {
        return Ok(false);
    }
    for key in &tombstone.keys {
        match vault.opening_key(*key) {
            Ok(KeyState::Shredded { erasure: by }) if by == erasure => {}
            Ok(_) | Err(VaultError::KeyMissing(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    let fence = match &tombstone.subject {
        Some(subject) => vault.standing(subject)?.fence,
        None => return Ok(!tombstone.keys.is_empty()),
    };
    Ok(fence.is_some_and(|fence| fence.dead.iter().any(|(_, _, by)| *by == erasure)))
}

/// Whether a tombstone under a foreign key speaks of what is this vault's.
fn concerns(vault: &Vault, stream: &StreamName, tombstone: &Tombstone) -> Result<bool, VaultError> {
    for key in &tombstone.keys {
        match vault.opening_key(*key) {
            Ok(KeyState::Live { .. } | KeyState::Shredded { .. }) => return Ok(true),
            Err(VaultError::KeyMissing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    for subject in [Some(Subject::of(stream)), tombstone.subject.clone()].into_iter().flatten() {
        let standing = vault.standing(&subject)?;
        if standing.fence.is_some() || standing.current.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Json, VerifyingKey};

    /// The vectors of `docs/format.md`, which another program made.
    #[test]
    fn the_vectors_are_told_apart() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/tombstones.json")).unwrap();
        let vault = file["vault"].as_str().unwrap().parse().unwrap();
        let keys: Vec<VerifyingKey> = file["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| {
                let public: VerifyingKey = key["public"].as_str().unwrap().parse().unwrap();
                assert_eq!(public.id().to_string(), key["key"]);
                public
            })
            .collect();
        let told = |vector: &serde_json::Value| {
            let text = |name: &str| vector[name].as_str().unwrap();
            // What is no JSON of ours is never read.
            let Ok(data) = Json::parse(text("data")) else { return ("malformed", vec![]) };
            let tombstone = match Tombstone::parse(&data) {
                Ok(tombstone) => tombstone,
                Err(TombstoneError::Malformed) => return ("malformed", vec![]),
                Err(TombstoneError::Reserved(_)) => return ("reserved", vec![]),
            };
            let (stream, id) = (text("stream").parse().unwrap(), text("id").parse().unwrap());
            let bytes = tombstone.signed_bytes(vault, &stream, id);
            let told = match keys.iter().find(|key| key.id() == tombstone.key) {
                None => "unknown key",
                Some(key) if key.verifies(&bytes, &tombstone.sig) => "good",
                Some(_) => "forged",
            };
            (told, bytes)
        };
        for vector in file["vectors"].as_array().unwrap() {
            let (told, bytes) = told(vector);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((told, &*hex), ("good", vector["signed"].as_str().unwrap()), "{vector}");
            // It is written as it was read.
            let data = Json::parse(vector["data"].as_str().unwrap()).unwrap();
            assert_eq!(Json::of(&Tombstone::parse(&data).unwrap()).unwrap(), data);
        }
        for vector in file["bad"].as_array().unwrap() {
            assert_eq!(told(vector).0, vector["error"].as_str().unwrap(), "{vector}");
        }
    }
}
