//! Reading a token that was found somewhere, without knowing what it was bound to.

use aes::{
    Aes256,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use zeroize::Zeroizing;

use super::{
    NONCE_BYTES, Plaintext, Secret, TAG_BYTES,
    plaintext::HEAD_BYTES,
    token::{BODY_AT, NONCE_AT},
};

/// Whether a token can be read under a key: bytes that begin with one, and its length, where that
/// is known.
///
/// The tag cannot be checked without the event that the token belongs to; but whoever only wants
/// to read does not need it, and what comes out has the form of a plaintext by chance in fewer than
/// one of 2⁶⁰ cases (of 2²⁰, where the length is not known; but then its key's id has been
/// recognised before).
pub(crate) fn can_read(bytes: &[u8], length: Option<usize>, key: &Secret) -> bool {
    let head = bytes.split_first_chunk::<BODY_AT>();
    let Some((head, body)) = head else { return false };
    let mut nonce = [0; NONCE_BYTES];
    nonce.copy_from_slice(&head[NONCE_AT..]);
    let body = match length {
        Some(length) => body.get(..length.saturating_sub(BODY_AT + TAG_BYTES)),
        None => {
            let Some(opened) = body.get(..HEAD_BYTES).map(|head| counter(&nonce, key, head)) else {
                return false;
            };
            Plaintext::used(&opened).and_then(|used| body.get(..used))
        }
    };
    let Some(body) = body else { return false };
    let mut plain = counter(&nonce, key, body);
    let length = plain.len();
    Plaintext::parse(std::mem::take(&mut *plain), 0, length).is_ok()
}

/// AES-GCM encrypts in counter mode; the counter of the first block of text is 2.
fn counter(nonce: &[u8; NONCE_BYTES], key: &Secret, text: &[u8]) -> Zeroizing<Vec<u8>> {
    let cipher = Aes256::new((&**key).into());
    let mut text = Zeroizing::new(text.to_vec());
    for (chunk, counter) in text.chunks_mut(16).zip(2_u32..) {
        let mut block = [0; 16];
        block[..NONCE_BYTES].copy_from_slice(nonce);
        block[NONCE_BYTES..].copy_from_slice(&counter.to_be_bytes());
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        for (byte, pad) in chunk.iter_mut().zip(block) {
            *byte ^= pad;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        crypto::{Body, Context, DataKey, KeyId, PublicDigest, Purpose, SealPart, seal},
        event::{EventId, EventType, PolicyDigest, StreamName},
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
            assert!(can_read(bytes, Some(bytes.len()), &secret));
            assert!(can_read(&[bytes, &[1; 99]].concat(), None, &secret));
            let other = Secret::copy_of(&[8; 32]);
            assert!(!can_read(bytes, Some(bytes.len()), &other));
            for cut in 0..bytes.len() {
                // Cut off, it may be readable in part; it must not panic.
                can_read(&bytes[..cut], Some(cut), &secret);
                can_read(&bytes[..cut], None, &secret);
            }
        }
    }
}
