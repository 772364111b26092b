//! Reading a token that was found somewhere, without knowing what it was bound to.

use aes::{
    Aes256,
    cipher::{KeyIvInit, StreamCipher},
};
use ctr::Ctr32BE;
use zeroize::Zeroizing;

use super::{
    NONCE_BYTES, Plaintext, Secret,
    plaintext::HEAD_BYTES,
    token::{BODY_AT, NONCE_AT},
};

/// Whether bytes that begin with a token's can be read under the key that the token names.
///
/// The tag cannot be checked without the event that the token belongs to; but anyone who only wants
/// to read does not need it. The head of the plaintext must have its form, which a wrong key gives
/// in one of 2¹⁸ cases; but then the key's id, of 16 bytes, has been recognised before.
pub(crate) fn can_read(bytes: &[u8], key: &Secret) -> bool {
    let Some((head, body)) = bytes.split_first_chunk::<BODY_AT>() else { return false };
    let Some(body) = body.first_chunk::<HEAD_BYTES>() else { return false };
    let mut nonce = [0; NONCE_BYTES];
    nonce.copy_from_slice(&head[NONCE_AT..]);
    Plaintext::used(&*decrypt(&nonce, key, body)).is_some_and(|used| used <= LONGEST)
}

/// No plaintext is longer: a payload, its metadata, and as much again.
const LONGEST: usize = 64 << 20;

/// What a text that AES-GCM encrypted is, by the first bytes of it. GCM encrypts in counter mode; the counter
/// of the first block of text is 2.
fn decrypt(
    nonce: &[u8; NONCE_BYTES],
    key: &Secret,
    text: &[u8; HEAD_BYTES],
) -> Zeroizing<[u8; HEAD_BYTES]> {
    let mut first = [0; NONCE_BYTES + 4];
    first[..NONCE_BYTES].copy_from_slice(nonce);
    first[NONCE_BYTES + 3] = 2;
    let mut text = Zeroizing::new(*text);
    Ctr32BE::<Aes256>::new((&**key).into(), &first.into()).apply_keystream(&mut *text);
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        crypto::{Body, Context, DataKey, PublicDigest, Purpose, SealPart, seal},
        event::{EventId, EventType, KeyId, PolicyDigest, StreamName},
    };

    #[test]
    fn a_token_is_readable_under_its_key_and_under_no_other() {
        let secret = Secret::copy_of(&[7; 32]);
        let key = DataKey::new(KeyId([9; crate::crypto::KEY_ID_BYTES]), &secret);
        let (stream, event_type) = (StreamName::new("s").unwrap(), EventType::new("T").unwrap());
        let (purpose, event_id) = (Purpose::Event, EventId(Uuid::from_u128(1)));
        let context = Context { purpose, stream: &stream, event_id, event_type: &event_type };
        for (body, pad) in
            [(Body::Nothing, 0), (Body::Json(r#"{"a":1}"#), 256), (Body::Bytes(&[0; 40]), 0)]
        {
            let (policy, metadata) = (PolicyDigest([0; 8]), "");
            let part = SealPart { key: &key, policy, body, metadata, pad };
            let tokens = seal(&[part], &context, &PublicDigest::NOTHING).unwrap();
            let bytes = tokens[0].as_bytes();
            assert!(can_read(bytes, &secret));
            assert!(can_read(&[bytes, &[1; 99]].concat(), &secret));
            assert!(!can_read(bytes, &Secret::copy_of(&[8; 32])));
            for cut in 0..bytes.len() {
                // Cut off, it may be readable in part; it must not panic.
                assert_eq!(can_read(&bytes[..cut], &secret), cut >= BODY_AT + HEAD_BYTES);
            }
        }
    }
}
