//! Tombstones as they are signed, and whether one in the store is this vault's word.

use super::document::Notes;
use crate::{
    event::{
        ErasureId, EventId, Json, KeyId, Payload, RecordedEvent, Signature, SignedTombstone,
        SigningKeyId, State, StreamName, Subject, Tombstone, TombstoneError,
    },
    vault::{Fence, Keeper, KeyLookup, MemoKind, Vault, VaultError, Vouched},
};

/// Why an event of the tombstone's type says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unvouched {
    /// It does not have the form.
    Odd(TombstoneError),
    /// It notes another stream than the one that it is in.
    Misplaced,
    /// It names this key of the vault's, which did not sign it.
    Forged(SigningKeyId),
    /// It names a key of which this vault knows nothing.
    UnknownKey(Box<Tombstone>),
    /// Only a signing key says so that somebody else has as well.
    Compromised(Box<Tombstone>),
    /// It is this vault's word, and a newer version of this program wrote it: of a state with this name,
    /// or in a form that is not known here.
    Newer(Option<String>),
}

/// Whose a tombstone is that says nothing here, as far as the vault can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touches {
    /// It speaks of an erasure or a key of this vault's.
    Ours,
    /// It is in a stream, or about a subject, that the vault knows.
    Known,
    /// Nothing in it is of this vault.
    Nothing,
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
    keys.dedup();
    let mut tombstone = Tombstone {
        state: State::Forgotten,
        reference: vault.reference(erasure, stream),
        day: erasure.day(),
        keys,
        subject,
        key: SigningKeyId([0; 16]),
        sig: Signature([0; 64]),
    };
    let bytes = |key| {
        let said = Tombstone { key, ..tombstone.clone() };
        said.signed_bytes(vault.id().0, stream, id).unwrap_or_default()
    };
    (tombstone.key, tombstone.sig) = vault.sign(bytes)?;
    Ok(tombstone)
}

/// The tombstone that an event is, as it is stored, but under its logical stream; or why it is
/// none.
///
/// It counts if a key of the vault's history signed it that no one else has, and never because what it says is true:
/// anyone who can write to the store can repeat that where it does harm, after its subject was admitted again, say,
/// and can leave something out. See `docs/decisions/0023-the-history-of-signing-keys.md`.
///
/// # Errors
/// Those of a vault whose signing keys cannot be read.
pub(crate) async fn judge(
    vault: &dyn Keeper,
    event: &RecordedEvent,
) -> Result<Result<Tombstone, Unvouched>, VaultError> {
    let said = match claimed(event) {
        Ok(said) => said,
        Err(unvouched) => return Ok(Err(unvouched)),
    };
    let bytes = said.signed_bytes(vault.id().0, &event.stream, event.id);
    let vouched = vault.vouches(said.key, &bytes, &said.sig).await?;
    Ok(weighed(said, vouched))
}

/// What an event says, by whomever: it is signed, and nothing is beside it.
fn claimed(event: &RecordedEvent) -> Result<SignedTombstone, Unvouched> {
    let odd = Unvouched::Odd(TombstoneError::Malformed);
    let data = event.data.as_ref().and_then(Payload::as_json);
    let said = data.and_then(SignedTombstone::read).ok_or_else(|| odd.clone())?;
    // Metadata are not signed, so that nothing is allowed there but where it is. Some stores give `{}` back where
    // nothing was.
    if let Some(metadata) = &event.metadata
        && !metadata.is_same(&Json::trusted("{}".to_owned()))
    {
        let Ok(Notes { stream: Some(stream), .. }) = Notes::of(Some(metadata)) else {
            return Err(odd);
        };
        let elsewhere = stream != event.stream;
        let alone = Notes { stream: Some(stream), ..Notes::default() }.to_metadata();
        if !metadata.is_same(&alone) {
            return Err(odd);
        }
        if elsewhere {
            return Err(Unvouched::Misplaced);
        }
    }
    Ok(said)
}

/// The tombstone in what is said. What the vault says in a form that is not known here is not passed over; what
/// anyone else says so means nothing.
fn weighed(said: SignedTombstone, vouched: Vouched) -> Result<Tombstone, Unvouched> {
    match (said.body, vouched) {
        (Ok(tombstone), Vouched::Ours) => Ok(tombstone),
        (Ok(tombstone), Vouched::Compromised) => Err(Unvouched::Compromised(Box::new(tombstone))),
        (Ok(tombstone), Vouched::UnknownKey) => Err(Unvouched::UnknownKey(Box::new(tombstone))),
        (Ok(tombstone), Vouched::Forged) => Err(Unvouched::Forged(tombstone.key)),
        (Err(state), Vouched::Ours) => Err(Unvouched::Newer(state)),
        (Err(_), _) => Err(Unvouched::Odd(TombstoneError::Malformed)),
    }
}

/// The keys that live though a tombstone of this vault's says that they are destroyed: the vault was put
/// back to before that erasure, and nothing has told it so.
pub(crate) async fn living(vault: &dyn Keeper, tombstone: &Tombstone) -> Vec<KeyId> {
    let mut living = Vec::new();
    for &key in &tombstone.keys {
        if let Ok(KeyLookup::Live { .. }) = vault.opening_key(key).await {
            living.push(key);
        }
    }
    living
}

/// Whether nothing in a tombstone contradicts what the vault knows of its erasure. It does not count for that: no one
/// knows whether it is all that was to be said, nor when it was set. It only says how loud `verify` has to be.
pub(crate) fn agrees(
    vault: &Vault,
    stream: &StreamName,
    tombstone: &Tombstone,
) -> Result<bool, VaultError> {
    let erasure = vault.erasure(tombstone.reference, stream);
    if !is_recorded(vault, erasure)?
        || tombstone.day != erasure.day()
        || tombstone.subject.as_ref().is_some_and(|subject| *subject != Subject::of(stream))
    {
        return Ok(false);
    }
    for key in &tombstone.keys {
        match vault.opening_key(*key) {
            Ok(KeyLookup::Shredded { erasure: by })
                if by == erasure && vault.may_be_key_of(*key, stream)? => {}
            Ok(_) | Err(VaultError::KeyMissing(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    if tombstone.subject.is_none() {
        return Ok(!tombstone.keys.is_empty());
    }
    Ok(own_fence(vault, stream, erasure)?.is_some())
}

/// The fence of a stream's own subject, if the erasure took them.
pub(crate) fn own_fence(
    vault: &Vault,
    stream: &StreamName,
    erasure: ErasureId,
) -> Result<Option<Fence>, VaultError> {
    let fence = vault.subject_state(&Subject::of(stream))?.fence;
    Ok(fence.filter(|fence| fence.dead.iter().any(|(_, _, by)| *by == erasure)))
}

/// Whether the erasure took the stream's own subject, and they were admitted again since, or a part of them lives.
/// The vault sets no tombstone of it there again: it would come after what they have said since, and a reader would
/// take it for the end of that as well.
pub(crate) fn lives_on(
    vault: &Vault,
    stream: &StreamName,
    erasure: ErasureId,
) -> Result<bool, VaultError> {
    Ok(own_fence(vault, stream, erasure)?.is_some_and(|fence| !fence.closed))
}

/// What a tombstone by a key that is not known has to do with this vault.
pub(crate) fn touches(
    vault: &Vault,
    stream: &StreamName,
    tombstone: &Tombstone,
) -> Result<Touches, VaultError> {
    if is_recorded(vault, vault.erasure(tombstone.reference, stream))? {
        return Ok(Touches::Ours);
    }
    for key in &tombstone.keys {
        match vault.opening_key(*key) {
            Ok(KeyLookup::Live { .. } | KeyLookup::Shredded { .. }) => return Ok(Touches::Ours),
            Err(VaultError::KeyMissing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    for subject in [Some(Subject::of(stream)), tombstone.subject.clone()].into_iter().flatten() {
        let state = vault.subject_state(&subject)?;
        if state.fence.is_some() || state.current.is_some() {
            return Ok(Touches::Known);
        }
    }
    Ok(Touches::Nothing)
}

fn is_recorded(vault: &Vault, erasure: ErasureId) -> Result<bool, VaultError> {
    Ok(vault.memo(MemoKind::Erasure, erasure.0.into_bytes())?.is_some())
}

#[cfg(test)]
mod forged;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
