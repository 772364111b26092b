//! Opening a token that was found somewhere, without knowing what it was bound to.

use aes::{
    Aes256,
    cipher::{BlockCipherEncrypt, KeyInit},
};

use super::{Plaintext, Secret, TAG_BYTES, Token, token::BODY_AT};

/// Whether a token can be read under a key. The tag cannot be checked without the event that the
/// token belongs to; but whoever only wants to read does not need it, and what comes out has the
/// form of a plaintext by chance in fewer than one of 2⁶⁰ cases.
pub(crate) fn can_read(token: &Token, key: &Secret) -> bool {
    let nonce = token.nonce();
    let bytes = token.as_bytes();
    let end = bytes.len().saturating_sub(TAG_BYTES);
    let cipher = Aes256::new((&**key).into());
    let mut plain = zeroize::Zeroizing::new(bytes[BODY_AT.min(end)..end].to_vec());
    // AES-GCM encrypts in counter mode; the counter of the first block of text is 2.
    for (chunk, counter) in plain.chunks_mut(16).zip(2_u32..) {
        let mut block = [0; 16];
        block[..12].copy_from_slice(&nonce);
        block[12..].copy_from_slice(&counter.to_be_bytes());
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        for (byte, pad) in chunk.iter_mut().zip(block) {
            *byte ^= pad;
        }
    }
    let length = plain.len();
    Plaintext::parse(std::mem::take(&mut *plain), 0, length).is_ok()
}
