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
    /// A key signed it of which this vault knows nothing; it names none of the vault's keys, and is in a
    /// stream, or about a subject, that the vault knows.
    Stranger,
    /// Only a signing key says so that somebody else has as well, and the vault knows nothing of it.
    Compromised,
    /// Nothing in it is of this vault, as far as can be told.
    Foreign,
    /// It is this vault's word, and a newer version of this program wrote it.
    Newer(State),
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
        Vouched::Ours if tombstone.state == State::Forgotten => Ok(tombstone),
        Vouched::Ours => Err(Unvouched::Newer(tombstone.state)),
        // An earlier restoration of the same backup, say, whose word the operator took.
        Vouched::Compromised | Vouched::UnknownKey
            if tombstone.state == State::Forgotten && is_so(vault, &event.stream, &tombstone)? =>
        {
            Ok(tombstone)
        }
        Vouched::Compromised => Err(Unvouched::Compromised),
        Vouched::Forged => Err(Unvouched::Forged),
        Vouched::UnknownKey if names_keys_of(vault, &tombstone)? => Err(Unvouched::Forged),
        Vouched::UnknownKey if knows_whom(vault, &event.stream, &tombstone)? => {
            Err(Unvouched::Stranger)
        }
        Vouched::UnknownKey => Err(Unvouched::Foreign),
    })
}

/// The keys that live though a tombstone of this vault's says that they are destroyed: the vault was put
/// back to before that erasure, and nothing has told it so.
pub(crate) fn living<'a>(
    vault: &'a Vault,
    tombstone: &'a Tombstone,
) -> impl Iterator<Item = KeyId> + 'a {
    let lives = |key: &KeyId| matches!(vault.opening_key(*key), Ok(KeyState::Live { .. }));
    tombstone.keys.iter().copied().filter(lives)
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

/// Whether a tombstone calls a key of this vault's dead.
fn names_keys_of(vault: &Vault, tombstone: &Tombstone) -> Result<bool, VaultError> {
    for key in &tombstone.keys {
        match vault.opening_key(*key) {
            Ok(KeyState::Live { .. } | KeyState::Shredded { .. }) => return Ok(true),
            Err(VaultError::KeyMissing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a tombstone is in a stream of this vault's, or about a subject of its.
fn knows_whom(
    vault: &Vault,
    stream: &StreamName,
    tombstone: &Tombstone,
) -> Result<bool, VaultError> {
    for subject in [Some(Subject::of(stream)), tombstone.subject.clone()].into_iter().flatten() {
        let standing = vault.standing(&subject)?;
        if standing.fence.is_some() || standing.current.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::{
        audit::verify::{Ill, VerifyOptions},
        event::{EventType, Json, NewEvent, SUBJECT_FORGOTTEN, VerifyingKey},
        layer::Oubliette,
        policy::Policy,
        store::{
            Append, Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter, MemoryStore,
            ReadAllOptions, ReadOptions, StoreError, Unreadable,
        },
    };

    /// A bank of a person who is there, in whose stream the vault says this.
    async fn saying(state: State, forged: bool) -> Oubliette<MemoryStore> {
        let policy = "[[stream]]\nmatch = 'user-{id}'\nlayout = 'split'\npublic = ['/id']";
        let vault = Vault::in_memory().unwrap();
        let policy = Policy::parse(policy).unwrap();
        let bank = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
        let (stream, half) = (StreamName::new("user-1").unwrap(), "user-public-1");
        let named = |name: &str| EventType::new(name).unwrap();
        let data = Json::parse(r#"{"id":1,"name":"Erika"}"#).unwrap();
        let registered = NewEvent::new(named("UserRegistered"), data);
        bank.append_to(&stream, ExpectedRevision::Any, vec![registered]).await.unwrap();

        let id = EventId::random();
        let erasure = ErasureId::now();
        let mut said =
            Tombstone { state, ..sign(&vault, id, &stream, erasure, vec![], None).unwrap() };
        (said.key, said.sig) = vault
            .sign(|key| Tombstone { key, ..said.clone() }.signed_bytes(vault.id().0, &stream, id))
            .unwrap();
        if forged {
            said.day = "2020-01-01".parse().unwrap();
        }
        let mut event = NewEvent::new(named(SUBJECT_FORGOTTEN), Json::of(&said).unwrap());
        event.id = id;
        event.metadata = bank.layer.placement(&stream).await.unwrap().note(&stream);
        let half = StreamName::new(half).unwrap();
        bank.store()
            .append(vec![Append::new(half, ExpectedRevision::Any, vec![event])])
            .await
            .unwrap();
        bank
    }

    /// How each way of reading ends.
    async fn ends(bank: &Oubliette<MemoryStore>) -> [Result<usize, StoreError>; 4] {
        let read = async |name: &str| {
            let name = StreamName::new(name).unwrap();
            bank.events(&name, ReadOptions::default()).await.map(|events| events.len())
        };
        let all: Result<Vec<_>, _> = bank.read_all(ReadAllOptions::default()).try_collect().await;
        let filter =
            Filter { event_types: vec![EventType::new("Other").unwrap()], ..Filter::default() };
        let until = |delivery: &Delivery| std::future::ready(Ok(*delivery != Delivery::CaughtUp));
        let told: Result<Vec<_>, _> =
            bank.subscribe(None, filter).try_take_while(until).try_collect().await;
        [
            read("user-1").await,
            read("user-public-1").await,
            all.map(|events| events.len()),
            told.map(|told| told.len() + 1),
        ]
    }

    async fn ills(bank: &Oubliette<MemoryStore>) -> Vec<Ill> {
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        report.found.into_keys().collect()
    }

    /// A program that does not know what is suspended must not go on as if nothing were.
    #[tokio::test]
    async fn what_the_vault_says_and_this_version_does_not_understand_ends_every_read() {
        for (state, name) in [(State::Suspended, "suspended"), (State::Lifted, "lifted")] {
            let bank = saying(state, false).await;
            for end in ends(&bank).await {
                let error = end.unwrap_err();
                let told = error.to_string();
                let StoreError::Unreadable { unreadable, .. } = error else { panic!("{told}") };
                assert_eq!(unreadable, Unreadable::State(name));
                assert!(told.contains(name) && told.contains("newer"), "{told}");
            }
            assert_eq!(ills(&bank).await, [Ill::NewerState]);

            // Whoever is not the vault stops nobody.
            let bank = saying(state, true).await;
            for end in ends(&bank).await {
                assert_eq!(end.unwrap(), 2);
            }
            assert_eq!(ills(&bank).await, [Ill::ForgedTombstone]);
        }
    }

    fn vectors() -> serde_json::Value {
        crate::layer::document::vectors::committed("tombstones.json")
    }

    /// What is said of a tombstone by a vault with the signing keys of the vectors, and what is signed.
    fn told(file: &serde_json::Value, vector: &serde_json::Value) -> (&'static str, Vec<u8>) {
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
        let text = |name: &str| vector[name].as_str().unwrap();
        // What is no JSON of ours is never read.
        let Ok(data) = Json::parse(text("data")) else { return ("malformed", vec![]) };
        let tombstone = match Tombstone::parse(&data) {
            Ok(tombstone) => tombstone,
            Err(_) => return ("malformed", vec![]),
        };
        let (stream, id) = (text("stream").parse().unwrap(), text("id").parse().unwrap());
        let bytes = tombstone.signed_bytes(vault, &stream, id);
        let told = match keys.iter().find(|key| key.id() == tombstone.key) {
            None => "unknown key",
            Some(key) if !key.verifies(&bytes, &tombstone.sig) => "forged",
            Some(_) if tombstone.state != State::Forgotten => "reserved",
            Some(_) => "good",
        };
        (told, bytes)
    }

    /// The vectors of `docs/format.md`, which another program made.
    #[test]
    fn the_vectors_are_told_apart() {
        let file = vectors();
        for vector in file["vectors"].as_array().unwrap() {
            let (told, bytes) = told(&file, vector);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((told, &*hex), ("good", vector["signed"].as_str().unwrap()), "{vector}");
            // It is written as it was read.
            let data = Json::parse(vector["data"].as_str().unwrap()).unwrap();
            assert_eq!(Json::of(&Tombstone::parse(&data).unwrap()).unwrap(), data);
        }
        for vector in file["bad"].as_array().unwrap() {
            assert_eq!(told(&file, vector).0, vector["error"].as_str().unwrap(), "{vector}");
        }
    }

    /// Whatever still reads as a tombstone of this vault's is the same one.
    #[test]
    fn no_bit_and_no_byte_of_a_tombstone_can_change_unnoticed() {
        let file = vectors();
        let mut read = 0;
        for vector in file["vectors"].as_array().unwrap() {
            let text = vector["data"].as_str().unwrap();
            let whole = Tombstone::parse(&Json::parse(text).unwrap()).unwrap();
            let flipped = (0..text.len() * 8).map(|bit| {
                let mut bytes = text.as_bytes().to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            });
            let cut = (0..text.len()).map(|at| {
                let mut bytes = text.as_bytes().to_vec();
                bytes.remove(at);
                bytes
            });
            let short = (0..text.len()).map(|length| text.as_bytes()[..length].to_vec());
            for bytes in flipped.chain(cut).chain(short) {
                let Ok(text) = String::from_utf8(bytes) else { continue };
                let mut changed = vector.clone();
                changed["data"] = text.as_str().into();
                let (told, _) = told(&file, &changed);
                let other = Json::parse(&text).ok().and_then(|data| Tombstone::parse(&data).ok());
                let Some(other) = other else {
                    assert_eq!(told, "malformed", "{text}");
                    continue;
                };
                read += u32::from(other != whole);
                assert_eq!(told == "good", other == whole, "{told}: {text}");
            }
        }
        assert!(read > 1_000, "{read}");
    }
}
