//! Nonces that stay apart where the generator repeats itself.
//!
//! A machine's image that is resumed twice may draw the same random bytes twice, and two texts under
//! one nonce and key give each other away, and GCM's authentication with them. So a nonce is not the
//! bytes that were drawn, but a keyed hash of them, of the associated data and of the text: other
//! texts have other nonces, and the same text has the same ciphertext, which says no more than that it
//! is the same.
//!
//! The hash is of the kind that AES-GCM-SIV (RFC 8452) makes its nonces with: POLYVAL, which is a
//! universal hash and costs less than encrypting, then one block of AES, so that nothing
//! of it shows. Both keys are the data key's own, and of no other use. As long as what is drawn is
//! random, so is the nonce: the block cipher is a permutation of what was drawn.

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use polyval::{Polyval, universal_hash::UniversalHash};

/// The length of a nonce, in bytes.
pub(crate) const NONCE_BYTES: usize = 12;
/// How many bytes of what the hash is keyed with.
pub(super) const KEY_BYTES: usize = 32;
/// How many random bytes are drawn for a nonce.
pub(super) const DRAWN_BYTES: usize = 16;

/// Makes the nonces of one key. On the heap, as all keys are.
pub(super) struct Nonces(Box<(Polyval, Aes128)>);

impl Nonces {
    #[inline(never)]
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let (hash, block) = key.split_at(KEY_BYTES / 2);
        let mut halves = [[0; KEY_BYTES / 2]; 2];
        halves[0].copy_from_slice(hash);
        halves[1].copy_from_slice(block);
        let nonces = Box::new((Polyval::new(&halves[0].into()), Aes128::new(&halves[1].into())));
        zeroize::Zeroize::zeroize(&mut halves);
        Self(nonces)
    }

    #[inline(never)]
    pub(super) fn nonce(
        &self,
        drawn: [u8; DRAWN_BYTES],
        associated: &[u8],
        text: &[u8],
    ) -> [u8; NONCE_BYTES] {
        let (hash, block) = &*self.0;
        let mut hash = hash.clone();
        hash.update_padded(associated);
        hash.update_padded(text);
        let mut lengths = [0; 16];
        lengths[..8].copy_from_slice(&(associated.len() as u64).to_be_bytes());
        lengths[8..].copy_from_slice(&(text.len() as u64).to_be_bytes());
        hash.update_padded(&lengths);
        let mut mixed = hash.finalize();
        for (byte, drawn) in mixed.iter_mut().zip(drawn) {
            *byte ^= drawn;
        }
        block.encrypt_block(&mut mixed);
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&mixed[..NONCE_BYTES]);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_differs_the_nonce_differs(
            key in any::<[u8; 32]>(), drawn in any::<[u8; 16]>(),
            associated in prop::collection::vec(any::<u8>(), 0..50), text in prop::collection::vec(any::<u8>(), 0..100),
            bit in any::<prop::sample::Index>(),
        ) {
            let nonces = Nonces::new(&key);
            let nonce = nonces.nonce(drawn, &associated, &text);
            prop_assert_eq!(nonces.nonce(drawn, &associated, &text), nonce);
            let flip = |bytes: &mut [u8]| {
                let bit = bit.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            };
            let mut other = drawn;
            flip(&mut other);
            prop_assert_ne!(nonces.nonce(other, &associated, &text), nonce);
            let mut longer = text.clone();
            longer.push(0);
            prop_assert_ne!(nonces.nonce(drawn, &associated, &longer), nonce);
            if let Some((first, rest)) = text.split_first() {
                let mut other = text.clone();
                flip(&mut other);
                prop_assert_ne!(nonces.nonce(drawn, &associated, &other), nonce);
                // The same bytes, divided otherwise.
                let shifted = [&associated[..], &[*first]].concat();
                prop_assert_ne!(nonces.nonce(drawn, &shifted, rest), nonce);
            }
            // Of two empty texts the hash is zero under every key. What is drawn tells them apart.
            if associated.is_empty() && text.is_empty() {
                return Ok(());
            }
            let mut other = key;
            flip(&mut other);
            prop_assert_ne!(Nonces::new(&other).nonce(drawn, &associated, &text), nonce);
        }
    }
}
