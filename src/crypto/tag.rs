//! The tag that survives: what vouches for an event when its keys are gone.
//!
//! GCM's own tag dies with its key. This one is a MAC under a key of the vault's that no erasure
//! touches, over all that a token is bound to and over the tokens' key ids, nonces and GCM tags. So
//! of an event that is wholly shredded it is still known that this vault wrote it, which keys it had,
//! and that what is public of it is unchanged.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Token, base64url};
use crate::event::{ERA_BYTES, Era, VaultId};

const VAULT_BYTES: usize = 8;
const MAC_BYTES: usize = 16;
const TAG_BYTES: usize = VAULT_BYTES + ERA_BYTES + MAC_BYTES;

/// `vault(8) era(4) mac(16)`, as text in unpadded base64url: the beginning of the id of the vault that
/// wrote an event, the era whose key made the MAC, and the MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTag([u8; TAG_BYTES]);

impl EventTag {
    /// Makes the tag of an event with these tokens and this associated data, under the key of an era.
    pub(crate) fn new(
        key: &Hmac<Sha256>,
        vault: &[u8; 16],
        era: Era,
        associated: &[u8],
        tokens: &[Token],
    ) -> Self {
        let mac = covering(key, associated, tokens).finalize().into_bytes();
        let mut tag = [0; TAG_BYTES];
        tag[..VAULT_BYTES].copy_from_slice(&vault[..VAULT_BYTES]);
        tag[VAULT_BYTES..VAULT_BYTES + ERA_BYTES].copy_from_slice(&era.0);
        tag[VAULT_BYTES + ERA_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        Self(tag)
    }

    /// Reads a tag's text; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_exactly(text).map(Self)
    }

    /// Appends its text.
    pub fn write(&self, text: &mut String) {
        base64url::encode(&self.0, text);
    }

    /// The beginning of the id of the vault that it names.
    pub(crate) fn vault(&self) -> &[u8] {
        &self.0[..VAULT_BYTES]
    }

    /// Whether it names this vault.
    pub(crate) fn names(&self, vault: VaultId) -> bool {
        vault.0.as_bytes().starts_with(self.vault())
    }

    /// The era that it names.
    pub(crate) fn era(&self) -> Era {
        let mut era = Era([0; ERA_BYTES]);
        era.0.copy_from_slice(&self.0[VAULT_BYTES..VAULT_BYTES + ERA_BYTES]);
        era
    }

    /// Whether the MAC is the one of such an event, in constant time.
    pub(crate) fn covers(&self, key: &Hmac<Sha256>, associated: &[u8], tokens: &[Token]) -> bool {
        let mac = &self.0[VAULT_BYTES + ERA_BYTES..];
        covering(key, associated, tokens).verify_truncated_left(mac).is_ok()
    }
}

fn covering(key: &Hmac<Sha256>, associated: &[u8], tokens: &[Token]) -> Hmac<Sha256> {
    // Of fixed length are all but what is associated.
    let length = (associated.len() as u64).to_be_bytes();
    let mac = key.clone().chain_update(length).chain_update(associated);
    tokens.iter().fold(mac, |mac, token| {
        let (nonce, tag) = (token.nonce(), token.tag());
        mac.chain_update(token.key_id().0).chain_update(nonce).chain_update(tag)
    })
}

impl fmt::Display for EventTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TAG_BYTES * 4 / 3 + 1);
        self.write(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use hmac::KeyInit;
    use uuid::Uuid;

    use super::*;
    use crate::{
        crypto::{
            Body, Context, DataKey, KEY_ID_BYTES, KeyId, PublicDigest, Purpose, SealPart, seal,
        },
        event::{EventId, EventType, PolicyDigest, StreamName},
    };

    #[test]
    fn a_tag_names_its_vault_and_era_and_covers_what_it_was_made_for() {
        let key = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        let vault = VaultId(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
        let token = |id| {
            let data_key = DataKey::from_bytes(KeyId([id; KEY_ID_BYTES]), &[3; 32]);
            let part = SealPart {
                key: &data_key,
                policy: PolicyDigest::default(),
                body: Body::Json("{}"),
                metadata: "",
                pad: 0,
            };
            let stream = StreamName::new("user-456").unwrap();
            let event_type = EventType::new("Moved").unwrap();
            let context = Context {
                purpose: Purpose::Event,
                stream: &stream,
                event_id: EventId(Uuid::from_u128(7)),
                event_type: &event_type,
            };
            seal(&[part], &context, &PublicDigest::NOTHING).unwrap().remove(0)
        };
        let (one, other) = (token(1), token(2));
        let era = Era([5, 6, 7, 8]);
        let tag =
            EventTag::new(&key, vault.0.as_bytes(), era, b"bound", std::slice::from_ref(&one));
        assert_eq!(EventTag::parse(&tag.to_string()), Some(tag));
        assert!(tag.names(vault) && !tag.names(VaultId(Uuid::from_u128(1))));
        assert_eq!((tag.vault(), tag.era()), (&[1, 2, 3, 4, 5, 6, 7, 8][..], era));
        let covers = |associated: &[u8], tokens: &[Token]| tag.covers(&key, associated, tokens);
        assert!(covers(b"bound", &[one.stub()]) && covers(b"bound", std::slice::from_ref(&one)));
        for (associated, tokens) in [
            (&b"other"[..], vec![one.clone()]),
            (b"bound", vec![other.clone()]),
            (b"bound", vec![one.clone(), other]),
            (b"bound", vec![]),
        ] {
            assert!(!covers(associated, &tokens));
        }
        let another = Hmac::<Sha256>::new_from_slice(&[8; 32]).unwrap();
        assert!(!tag.covers(&another, b"bound", &[one]));
    }
}
