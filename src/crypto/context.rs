//! What a token is bound to: its associated data.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{
    KEY_ID_BYTES, KeyId,
    token::{AES_256_GCM, VERSION},
};
use crate::event::{EventId, EventType, Sink, StreamName};

/// What is sealed. A token of one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Purpose {
    /// A part of an event.
    Event = 1,
    /// A part of a snapshot.
    Snapshot = 2,
}

/// Where a token belongs. It opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What kind of thing is sealed.
    pub purpose: Purpose,
    /// The logical stream: `user-456`, also where its events are split in two halves.
    pub stream: &'a StreamName,
    /// The event's id; the public half's, where there are two.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: &'a EventType,
}

/// Associated data: of an event with one token and ordinary names, without an allocation.
pub type Associated = SmallVec<[u8; 192]>;

/// The digest of what is in clear beside the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicDigest([u8; 32]);

impl PublicDigest {
    /// The digest if nothing is in clear: the SHA-256 of eight zero bytes.
    pub const NOTHING: Self = Self([
        0xaf, 0x55, 0x70, 0xf5, 0xa1, 0x81, 0x0b, 0x7a, 0xf7, 0x8c, 0xaf, 0x4b, 0xc7, 0x0a, 0x66,
        0x0f, 0x0d, 0xf5, 0x1e, 0x42, 0xba, 0xf9, 0x1d, 0x4d, 0xe5, 0xb2, 0x32, 0x8d, 0xe0, 0xe8,
        0x3d, 0xfc,
    ]);

    /// The digest of public data and public metadata, each in canonical form (`docs/format.md`);
    /// what is absent has no bytes.
    pub fn of(data: &[u8], metadata: &[u8]) -> Self {
        let mut hash = PublicHash::default();
        hash.update(data);
        hash.end_of_data();
        hash.update(metadata);
        hash.finish()
    }

    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A [`PublicDigest`] that is taken as its bytes come: first those of the data, then those of the
/// metadata. The length of the former comes last, because it is not known before.
pub(crate) struct PublicHash {
    hash: Sha256,
    /// What is not hashed yet: canonical text comes in pieces of a few bytes, each of which would cost as much as many.
    pending: [u8; PENDING],
    held: usize,
    length: u64,
    data: u64,
}

const PENDING: usize = 256;

impl Default for PublicHash {
    fn default() -> Self {
        Self { hash: Sha256::default(), pending: [0; PENDING], held: 0, length: 0, data: 0 }
    }
}

impl PublicHash {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if let Some(room) = self.pending.get_mut(self.held..self.held + bytes.len()) {
            room.copy_from_slice(bytes);
            self.held += bytes.len();
            return;
        }
        self.hash.update(&self.pending[..self.held]);
        self.hash.update(bytes);
        self.held = 0;
    }

    /// What comes from now on is metadata.
    pub(crate) fn end_of_data(&mut self) {
        self.data = self.length;
    }

    pub(crate) fn finish(self) -> PublicDigest {
        if self.length == 0 {
            return PublicDigest::NOTHING;
        }
        let hash = self.hash.chain_update(&self.pending[..self.held]);
        PublicDigest(hash.chain_update(self.data.to_be_bytes()).finalize().into())
    }
}

impl Sink for PublicHash {
    fn put(&mut self, text: &str) {
        self.update(text.as_bytes());
    }
}

impl Context<'_> {
    /// The associated data of every token of an event: `keys` are the ids of all of them, in
    /// their order.
    pub fn associated(
        &self,
        keys: impl ExactSizeIterator<Item = KeyId>,
        public: &PublicDigest,
    ) -> Associated {
        let (stream, event_type) = (self.stream.as_str(), self.event_type.as_str());
        let fixed = 8 * 4 + 3 + 16 + 32;
        let length = fixed + stream.len() + event_type.len() + KEY_ID_BYTES * keys.len();
        // All of it at once: to let it grow field by field costs more than half of all that follows.
        let mut bytes = Associated::from_elem(0, length);
        let mut room = &mut bytes[..];
        put(&mut room, &[VERSION]);
        put(&mut room, &[AES_256_GCM]);
        put(&mut room, &[self.purpose as u8]);
        put(&mut room, stream.as_bytes());
        put(&mut room, self.event_id.0.as_bytes());
        put(&mut room, event_type.as_bytes());
        take(&mut room, 4).copy_from_slice(&((keys.len() * KEY_ID_BYTES) as u32).to_be_bytes());
        for id in keys {
            take(&mut room, KEY_ID_BYTES).copy_from_slice(&id.0);
        }
        put(&mut room, &public.0);
        bytes
    }
}

/// Writes a field behind its length.
fn put(room: &mut &mut [u8], field: &[u8]) {
    // No field comes near 4 GiB: names are short and payloads limited.
    take(room, 4).copy_from_slice(&(field.len() as u32).to_be_bytes());
    take(room, field.len()).copy_from_slice(field);
}

fn take<'b>(room: &mut &'b mut [u8], length: usize) -> &'b mut [u8] {
    let (taken, rest) = std::mem::take(room).split_at_mut(length);
    *room = rest;
    taken
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// As `docs/format.md` says: sealing and opening would also agree on something else.
    #[test]
    fn the_digest_is_of_all_that_came_and_of_the_datas_length() {
        assert_eq!(PublicDigest::of(b"", b""), PublicDigest::NOTHING);
        for data in [0, 1, 255, 256, 257, 1000] {
            for metadata in [0, 1, 300] {
                let (data, metadata) = (vec![b'd'; data], vec![b'm'; metadata]);
                let length = (data.len() as u64).to_be_bytes();
                let whole = Sha256::new().chain_update(&data).chain_update(&metadata);
                let expected: [u8; 32] = whole.chain_update(length).finalize().into();
                assert_eq!(PublicDigest::of(&data, &metadata).as_bytes(), &expected);
                // In pieces, as canonical text comes.
                let mut hash = PublicHash::default();
                data.chunks(7).for_each(|piece| hash.put(std::str::from_utf8(piece).unwrap()));
                hash.end_of_data();
                metadata.chunks(100).for_each(|piece| hash.update(piece));
                assert_eq!(hash.finish().as_bytes(), &expected);
            }
        }
    }

    #[test]
    fn associated_data_are_their_fields_and_nothing_behind_them() {
        let (stream, event_type) =
            (StreamName::new("user-456").unwrap(), EventType::new("Moved").unwrap());
        let event_id = EventId(Uuid::from_u128(7));
        let context =
            Context { purpose: Purpose::Event, stream: &stream, event_id, event_type: &event_type };
        let keys = [KeyId([1; KEY_ID_BYTES]), KeyId([2; KEY_ID_BYTES])];
        let digest = PublicDigest::of(b"public", b"");
        let mut expected = Vec::new();
        for field in [
            &[VERSION][..],
            &[AES_256_GCM],
            &[Purpose::Event as u8],
            b"user-456",
            event_id.0.as_bytes(),
            b"Moved",
            &[[1; KEY_ID_BYTES], [2; KEY_ID_BYTES]].concat(),
            digest.as_bytes(),
        ] {
            expected.extend_from_slice(&(field.len() as u32).to_be_bytes());
            expected.extend_from_slice(field);
        }
        assert_eq!(context.associated(keys.into_iter(), &digest)[..], expected[..]);
    }
}
