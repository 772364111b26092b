//! What names become: keyed hashes, which say where records are, the ids of data keys, and what stands for an
//! erasure in a stream. The table of them is in [`super::places`].

use std::ops::Range;

use aes::{
    Aes256,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Builder;

use super::{
    entries::KeyEntry,
    eras::Eras,
    places::{self, HASH_END, Hash, SUBJECT_PREFIX},
};
use crate::{
    crypto::{Label, Secret, derive, keyed, random},
    event::{
        Class, ERA_BYTES, ErasureId, ErasureRef, EventId, Generation, KEY_ID_BYTES, KeyId,
        OwnerChange, StreamName, Subject,
    },
    vault::{
        VaultError,
        tree::Place,
        wire::{Writer, class_form},
    },
};

/// How many bytes of H(stream), or of H(class, stream), a key id carries: they narrow the search, no more.
const STREAM_PREFIX: usize = 2;

/// What a key id says to its vault.
pub(in crate::vault) struct KeyHint {
    /// The beginning of H(subject).
    pub(in crate::vault) subject: [u8; SUBJECT_PREFIX],
    stream: [u8; STREAM_PREFIX],
    /// The generation.
    pub(in crate::vault) generation: Generation,
}

/// The secrets from which places and key ids are made: places for ever from the vault's identity,
/// ids from the secret of their era.
pub(in crate::vault) struct Naming {
    names: Hmac<Sha256>,
    references: Hmac<Sha256>,
    halves: Hmac<Sha256>,
    pub(in crate::vault) eras: Eras,
}

impl Naming {
    pub(in crate::vault) fn new(identity: &Secret, eras: Eras) -> Self {
        let keyed = |label| keyed(&derive(identity, label));
        Self {
            names: keyed(Label::NAMES),
            references: keyed(Label::REFERENCES),
            halves: keyed(Label::PRIVATE_HALVES),
            eras,
        }
    }

    /// What stands for an erasure in a stream: its id, one block, encrypted under a key that is
    /// the stream's own. So two streams cannot be joined by it, and the vault can read it back.
    pub(in crate::vault) fn reference(
        &self,
        erasure: ErasureId,
        stream: &StreamName,
    ) -> ErasureRef {
        let mut block = erasure.0.into_bytes().into();
        self.references_of(stream).encrypt_block(&mut block);
        ErasureRef(block.into())
    }

    /// The erasure that a reference stands for in a stream, if it is one that this vault made:
    /// any bytes decrypt to something.
    pub(in crate::vault) fn erasure(
        &self,
        reference: ErasureRef,
        stream: &StreamName,
    ) -> ErasureId {
        let mut block = reference.0.into();
        self.references_of(stream).decrypt_block(&mut block);
        ErasureId(Builder::from_bytes(block.into()).into_uuid())
    }

    fn references_of(&self, stream: &StreamName) -> Aes256 {
        let key = self.references.clone().chain_update(stream.as_str()).finalize();
        Aes256::new(&key.into_bytes())
    }

    /// The id of the private half of an event: the same each time, and foreseen by nobody else.
    pub(in crate::vault) fn half(&self, event: EventId) -> EventId {
        let whole = self.halves.clone().chain_update(event.0.as_bytes()).finalize().into_bytes();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&whole[..16]);
        EventId(Builder::from_random_bytes(bytes).into_uuid())
    }

    pub(in crate::vault) fn subject(&self, subject: &Subject) -> Hash {
        self.hash(b"subject\0", subject.as_str())
    }

    fn stream(&self, stream: &StreamName, class: &Class) -> Hash {
        if class.is_empty() {
            return self.hash(b"stream\0", stream.as_str());
        }
        // Form and class say where the stream begins.
        let mut name = Writer::new(512);
        name.u8(class_form(class));
        name.class(class);
        name.bytes(stream.as_str().as_bytes());
        self.hash(b"class and stream\0", name.done().as_slice())
    }

    /// An owner change, without the name.
    pub(in crate::vault) fn change(&self, change: &OwnerChange) -> Hash {
        let what: &[u8] = match change {
            OwnerChange::Add(_) => b"add owner\0",
            OwnerChange::Remove(_) => b"remove owner\0",
            OwnerChange::Replace(_) => b"replace owner\0",
        };
        self.hash(what, change.owner().as_str())
    }

    /// The content of an event, for as long as its claim is open. Its digest alone would show
    /// whoever reads the vault whether they guessed it.
    pub(in crate::vault) fn content(&self, digest: &[u8; 32]) -> Hash {
        self.hash(b"content\0", digest)
    }

    fn hash(&self, what: &[u8], name: impl AsRef<[u8]>) -> Hash {
        let whole = self.names.clone().chain_update(what).chain_update(name).finalize();
        let mut hash = Hash::default();
        hash.copy_from_slice(&whole.into_bytes()[..16]);
        hash
    }

    /// The place of a data key.
    pub(in crate::vault) fn key(
        &self,
        subject: &Hash,
        stream: &StreamName,
        class: &Class,
        generation: Generation,
    ) -> Place {
        places::key(subject, &self.stream(stream, class), generation)
    }

    /// The place that a key belongs to.
    pub(in crate::vault) fn place_of(&self, key: &KeyEntry) -> Place {
        self.key(&self.subject(&key.subject), &key.stream, &key.class, key.generation)
    }

    /// A new id for the key at a place: the hint and three random bytes, so that a key made
    /// again at the same place (after a restored backup, say) has another id; permuted, so that
    /// ids do not link a person's streams to each other.
    pub(in crate::vault) fn mint(&self, key: &Place) -> Result<KeyId, VaultError> {
        self.id_of(key, random()?)
    }

    fn id_of(&self, key: &Place, salt: [u8; 3]) -> Result<KeyId, VaultError> {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&key[1..1 + SUBJECT_PREFIX]);
        block[8..10].copy_from_slice(&key[HASH_END + 1..HASH_END + 1 + STREAM_PREFIX]);
        block[10..13].copy_from_slice(&key[HASH_END + 18..HASH_END + 21]);
        block[13..].copy_from_slice(&salt);
        let mut block = block.into();
        let era = self.eras.with_current(|keys| {
            keys.ids.encrypt_block(&mut block);
            keys.era
        })?;
        let mut id = [0; KEY_ID_BYTES];
        id[..ERA_BYTES].copy_from_slice(&era.0);
        id[ERA_BYTES..].copy_from_slice(&block);
        Ok(KeyId(id))
    }

    /// As [`Naming::mint`], for vectors.
    #[cfg(test)]
    pub(in crate::vault) fn mint_as_vector(&self, key: &Place, salt: [u8; 3]) -> KeyId {
        self.id_of(key, salt).unwrap()
    }

    /// Whether an id says the place of its key.
    pub(in crate::vault) fn leads_to(&self, id: KeyId, place: &[u8]) -> bool {
        let (Ok(Some(hint)), Some(hash)) = (self.hint(id), places::hash_of(place)) else {
            return false;
        };
        hash.starts_with(&hint.subject)
            && place.starts_with(&hint.keys_of(&hash).start)
            && place.ends_with(&hint.generation.0.to_be_bytes())
    }

    /// Whether a key of this id may be a stream's: an id has the beginning of the stream's hash. If not, it is not,
    /// as long as there are no keys but those of the empty class.
    pub(in crate::vault) fn may_be_key_of(
        &self,
        id: KeyId,
        stream: &StreamName,
    ) -> Result<bool, VaultError> {
        let hash = self.stream(stream, &Class::default());
        Ok(self.hint(id)?.is_none_or(|hint| hash.starts_with(&hint.stream)))
    }

    /// What an id says; `None`: it is of an era that this vault does not know.
    pub(in crate::vault) fn hint(&self, id: KeyId) -> Result<Option<KeyHint>, VaultError> {
        let [_, _, _, _, block @ ..] = id.0;
        let mut block = block.into();
        if self.eras.with(id.era(), |keys| keys.ids.decrypt_block(&mut block))?.is_none() {
            return Ok(None);
        }
        let block: [u8; 16] = block.into();
        let mut hint = KeyHint { subject: [0; 8], stream: [0; 2], generation: Generation(0) };
        hint.subject.copy_from_slice(&block[..8]);
        hint.stream.copy_from_slice(&block[8..10]);
        hint.generation = Generation(u32::from_be_bytes([0, block[10], block[11], block[12]]));
        Ok(Some(hint))
    }
}

impl KeyHint {
    /// The keys of one subject that the id may mean.
    pub(in crate::vault) fn keys_of(&self, subject: &Hash) -> Range<Place> {
        places::keys_like(subject, &self.stream)
    }
}

/// The reference of a vault with this identity, for the vectors of `docs/format.md`.
#[cfg(test)]
pub(crate) fn reference_as_vector(
    identity: &[u8; 32],
    erasure: ErasureId,
    stream: &StreamName,
) -> ErasureRef {
    Naming::new(&Secret::copy_of(identity), Eras::over(Vec::new())).reference(erasure, stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The references of the vectors of `docs/format.md`.
    #[test]
    fn a_reference_is_the_erasure_to_the_vault_alone() {
        let file: serde_json::Value = crate::layer::document::vectors::committed("tombstones.json");
        let mut identity = Secret::default();
        identity.copy_from_slice(&(0..32).collect::<Vec<u8>>());
        let naming = Naming::new(&identity, Eras::over(Vec::new()));
        let mut seen = Vec::new();
        for vector in file["vectors"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let (erasure, stream) =
                (text("erasure").parse().unwrap(), text("stream").parse().unwrap());
            let data: serde_json::Value = serde_json::from_str(text("data")).unwrap();
            let reference = naming.reference(erasure, &stream);
            assert_eq!(data["ref"], reference.to_string());
            assert_eq!(naming.erasure(reference, &stream), erasure);
            seen.push((stream, reference));
        }
        for (stream, reference) in &seen {
            let same = seen.iter().filter(|(_, other)| other == reference);
            assert!(same.into_iter().all(|(other, _)| other == stream));
        }
    }

    #[test]
    fn a_private_half_has_one_id() {
        let naming = Naming::new(&Secret::default(), Eras::over(Vec::new()));
        let (one, other) = (EventId::random(), EventId::random());
        assert_eq!(naming.half(one), naming.half(one));
        assert_ne!(naming.half(one), naming.half(other));
        let mut another = Secret::default();
        another[0] = 1;
        assert_ne!(naming.half(one), Naming::new(&another, Eras::over(Vec::new())).half(one));
    }
}
