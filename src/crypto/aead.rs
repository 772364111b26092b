//! The one seam to the cipher: AES-256-GCM (NIST SP 800-38D) with 96-bit nonces, random and hedged
//! against a generator that repeats itself.
//!
//! The cipher itself is a library's: `aes-gcm`, or `aws-lc-rs` where the feature `aws-lc` is on. What one seals the
//! other opens.

use std::{
    fmt,
    hint::black_box,
    ops::{Deref, DerefMut},
    sync::OnceLock,
};

use rand::{TryRng, rngs::SysRng};
use zeroize::Zeroizing;

use super::nonce::{DRAWN_BYTES, KEY_BYTES, NONCE_BYTES, Nonces};

/// The length of a key, in bytes.
pub(crate) const SECRET_BYTES: usize = 32;
/// The length of an authentication tag, in bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// A key's bytes, wiped when dropped. They are on the heap and are moved by their pointer: an array
/// that is moved, or is in a vector that grows, leaves a copy that is never wiped.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secret(Box<Zeroizing<[u8; SECRET_BYTES]>>);

impl Secret {
    /// Takes a copy; the original is its owner's to wipe.
    pub(crate) fn copy_of(bytes: &[u8; SECRET_BYTES]) -> Self {
        let mut secret = Self::default();
        secret.copy_from_slice(bytes);
        secret
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Deref for Secret {
    type Target = [u8; SECRET_BYTES];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Secret {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// AES-256-GCM with one key's schedule, by one library. What works with a key does so in a frame of its own, never
/// inlined, so that the wiping reaches it.
trait Gcm: Sized {
    fn schedule(secret: &[u8; SECRET_BYTES]) -> Self;

    /// Encrypts in place. `None` only beyond GCM's limits: 64 GiB of text and 2^61 bytes of associated data.
    fn encrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        body: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]>;

    /// Decrypts a text in place, behind which its tag is. If it does not open, it is left as it was or wiped.
    fn decrypt(&self, nonce: &[u8; NONCE_BYTES], associated: &[u8], sealed: &mut [u8]) -> bool;
}

#[cfg(not(feature = "aws-lc"))]
type Provider = rust_crypto::Provider;
#[cfg(feature = "aws-lc")]
type Provider = aws_lc::Provider;

#[cfg(any(test, not(feature = "aws-lc")))]
mod rust_crypto {
    use aes_gcm::{
        Aes256Gcm, KeyInit,
        aead::{AeadInOut, inout::InOutBuf},
    };

    use super::{Gcm, NONCE_BYTES, SECRET_BYTES, TAG_BYTES};

    /// On the heap, as [`Secret`](super::Secret) is: the schedule begins with the key.
    pub(super) struct Provider(Box<Aes256Gcm>);

    impl Gcm for Provider {
        #[inline(never)]
        fn schedule(secret: &[u8; SECRET_BYTES]) -> Self {
            Self(Box::new(Aes256Gcm::new(secret.into())))
        }

        #[inline(never)]
        fn encrypt(
            &self,
            nonce: &[u8; NONCE_BYTES],
            associated: &[u8],
            body: &mut [u8],
        ) -> Option<[u8; TAG_BYTES]> {
            let tag = self.0.encrypt_inout_detached(nonce.into(), associated, InOutBuf::from(body));
            tag.ok().map(Into::into)
        }

        #[inline(never)]
        fn decrypt(&self, nonce: &[u8; NONCE_BYTES], associated: &[u8], sealed: &mut [u8]) -> bool {
            let Some((body, tag)) = sealed.split_last_chunk_mut::<TAG_BYTES>() else {
                return false;
            };
            let (body, tag) = (InOutBuf::from(body), &*tag);
            self.0.decrypt_inout_detached(nonce.into(), associated, body, tag.into()).is_ok()
        }
    }
}

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{Gcm, NONCE_BYTES, SECRET_BYTES, TAG_BYTES};

    /// The library keeps the schedule on the heap, and wipes it when it is dropped.
    pub(super) struct Provider(LessSafeKey);

    impl Gcm for Provider {
        #[inline(never)]
        fn schedule(secret: &[u8; SECRET_BYTES]) -> Self {
            // Refused only where the length is another.
            Self(LessSafeKey::new(
                UnboundKey::new(&AES_256_GCM, secret).expect("32 bytes are a key"),
            ))
        }

        #[inline(never)]
        fn encrypt(
            &self,
            nonce: &[u8; NONCE_BYTES],
            associated: &[u8],
            body: &mut [u8],
        ) -> Option<[u8; TAG_BYTES]> {
            let (nonce, associated) = (Nonce::assume_unique_for_key(*nonce), Aad::from(associated));
            let tag = self.0.seal_in_place_separate_tag(nonce, associated, body).ok()?;
            tag.as_ref().try_into().ok()
        }

        #[inline(never)]
        fn decrypt(&self, nonce: &[u8; NONCE_BYTES], associated: &[u8], sealed: &mut [u8]) -> bool {
            let (nonce, associated) = (Nonce::assume_unique_for_key(*nonce), Aad::from(associated));
            self.0.open_in_place(nonce, associated, sealed).is_ok()
        }
    }
}

/// How much of the stack is wiped: several times what a cipher takes below its caller.
const STACK_BYTES: usize = 16 * 1024;

/// Overwrites what the functions that have returned by now left on this thread's stack: a
/// cipher builds its schedule there, and compilers spill what they like. To be called as soon as a
/// piece of work with keys is over, because what is left may be carried elsewhere: moving a value with
/// gaps in it moves what is in the gaps. It takes about a microsecond.
pub(crate) fn wipe_stack() {
    wipe::<STACK_BYTES>();
}

/// How much of it a cipher that seals or opens may take, in an optimised build: it spills round keys
/// there, any two neighbours of which give the key back. About twice what `encrypt` and all below it
/// take as compiled for x86-64, in hardware or in software.
const CIPHER_STACK_BYTES: usize = match (cfg!(debug_assertions), cfg!(feature = "aws-lc")) {
    (true, _) => STACK_BYTES,
    // Its functions for processors with wide vectors take more, and those without any.
    (false, true) => 8 * 1024,
    (false, false) => 2048,
};

#[inline(never)]
fn wipe<const BYTES: usize>() {
    let unused = [0_u8; BYTES];
    black_box(&unused);
}

/// The operating system's random number generator failed. Nothing can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random number generator failed")]
pub struct RandomError;

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// A new key from the operating system's generator.
pub(crate) fn random_secret() -> Result<Secret, RandomError> {
    let mut secret = Secret::default();
    SysRng.try_fill_bytes(secret.as_mut_slice()).map_err(|_| RandomError)?;
    Ok(secret)
}

/// A key with its schedule computed, which is the expensive part of a short message.
pub(crate) struct Cipher {
    gcm: Provider,
    /// Made when something is sealed first: most keys only open.
    nonces: OnceLock<Nonces>,
}

/// The nonce under which nothing is sealed: what the cipher would encrypt with is the key of the
/// nonces.
const SET_APART: [u8; NONCE_BYTES] = [0xFF; NONCE_BYTES];

/// Any nonce but the one that is set apart, for which another stands in.
fn spared(mut nonce: [u8; NONCE_BYTES]) -> [u8; NONCE_BYTES] {
    if nonce == SET_APART {
        nonce[0] = 0;
    }
    nonce
}

impl Cipher {
    pub(crate) fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        // Wiped at once: the frame of the next call overlaps what the schedule
        // was computed in, and where it has gaps, that would stay.
        let gcm = Provider::schedule(secret);
        wipe_stack();
        Self { gcm, nonces: OnceLock::new() }
    }

    /// Seals the end of a buffer in place: `buffer[at..]` is room for a nonce, then the text, and becomes
    /// `nonce(12) ciphertext tag(16)`, as every sealed thing ends. What is before stays as it is. A buffer
    /// with room for the tag is not moved: one that grows leaves a copy of the text behind.
    pub(crate) fn seal_in_place(
        &self,
        associated: &[u8],
        buffer: &mut Vec<u8>,
        at: usize,
    ) -> Result<(), RandomError> {
        let nonce = self.nonce(random()?, associated, &buffer[at + NONCE_BYTES..])?;
        self.seal_under(nonce, associated, buffer, at)
    }

    /// The nonce of a text, from what was drawn for it.
    fn nonce(
        &self,
        drawn: [u8; DRAWN_BYTES],
        associated: &[u8],
        text: &[u8],
    ) -> Result<[u8; NONCE_BYTES], RandomError> {
        let nonces = match self.nonces.get() {
            Some(nonces) => nonces,
            None => {
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                // Of a cipher that fails, the key of all nonces would be one of zeros, for good.
                self.gcm.encrypt(&SET_APART, &[], &mut *key).ok_or(RandomError)?;
                let nonces = Nonces::new(&key);
                wipe_stack();
                self.nonces.get_or_init(|| nonces)
            }
        };
        Ok(spared(nonces.nonce(drawn, associated, text)))
    }

    fn seal_under(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        buffer: &mut Vec<u8>,
        at: usize,
    ) -> Result<(), RandomError> {
        let text = at + NONCE_BYTES;
        // No payload comes near GCM's limits.
        let tag = self.gcm.encrypt(&nonce, associated, &mut buffer[text..]);
        wipe::<CIPHER_STACK_BYTES>();
        buffer[at..text].copy_from_slice(&nonce);
        buffer.extend_from_slice(&tag.ok_or(RandomError)?);
        Ok(())
    }

    /// As [`Cipher::seal_in_place`] under a given nonce, for test vectors alone: a nonce that is
    /// used twice gives the key's text away.
    #[cfg(test)]
    pub(crate) fn seal_with_nonce(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        buffer: &mut Vec<u8>,
        at: usize,
    ) -> Result<(), RandomError> {
        self.seal_under(nonce, associated, buffer, at)
    }

    /// Decrypts a text in place, behind which its tag is, and says whether it opens. If not, it is left as it was
    /// or wiped.
    pub(crate) fn open_in_place(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        sealed: &mut [u8],
    ) -> bool {
        let opens = self.gcm.decrypt(nonce, associated, sealed);
        wipe::<CIPHER_STACK_BYTES>();
        opens
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's image was resumed twice, and drew the same bytes twice for two texts: under one
    /// nonce, their ciphertexts would have differed as they do.
    #[test]
    fn two_texts_for_which_the_same_was_drawn_have_two_nonces() {
        let cipher = Cipher::new(&[7; SECRET_BYTES]);
        let drawn = [9; DRAWN_BYTES];
        let seal = |associated: &[u8], text: &[u8]| {
            let mut buffer = [&[0; NONCE_BYTES], text].concat();
            let nonce = cipher.nonce(drawn, associated, text).unwrap();
            cipher.seal_under(nonce, associated, &mut buffer, 0).unwrap();
            assert_eq!(*cipher.open_blob(associated, &buffer).unwrap(), text);
            (nonce, buffer)
        };
        let one = seal(b"a", b"to Leipzig");
        assert_eq!(seal(b"a", b"to Leipzig"), one);
        for (associated, text) in [(b"a", b"to Wurzen "), (b"b", b"to Leipzig")] {
            assert_ne!(seal(associated, text).0, one.0);
        }
        // Another instance of the same key, as in the other clone.
        let clone = Cipher::new(&[7; SECRET_BYTES]);
        assert_eq!(clone.nonce(drawn, b"a", b"to Leipzig").unwrap(), one.0);
        assert_ne!(clone.nonce([8; DRAWN_BYTES], b"a", b"to Leipzig").unwrap(), one.0);
    }

    /// Who changes the library reads what was sealed by the other: nonce, ciphertext and tag are the same bytes.
    #[cfg(feature = "aws-lc")]
    #[test]
    fn what_one_library_seals_the_other_opens() {
        for length in [0, 1, 15, 16, 17, 300, 5000] {
            let (secret, nonce) = (random().unwrap(), random().unwrap());
            let (associated, text) = (vec![0xA5; length / 3], vec![0x5A; length]);
            let ours = rust_crypto::Provider::schedule(&secret);
            let theirs = aws_lc::Provider::schedule(&secret);
            let mut one = text.clone();
            let tag = ours.encrypt(&nonce, &associated, &mut one).unwrap();
            one.extend_from_slice(&tag);
            let mut other = text.clone();
            let tag = theirs.encrypt(&nonce, &associated, &mut other).unwrap();
            other.extend_from_slice(&tag);
            assert_eq!(one, other, "{length} bytes");
            assert!(theirs.decrypt(&nonce, &associated, &mut one));
            assert_eq!(one[..length], text);
            *other.last_mut().unwrap() ^= 1;
            assert!(!ours.decrypt(&nonce, &associated, &mut other.clone()));
            assert!(!theirs.decrypt(&nonce, &associated, &mut other));
        }
    }

    #[test]
    fn nothing_is_drawn_twice() {
        let secrets = [random_secret().unwrap(), random_secret().unwrap(), Secret::default()];
        assert!(secrets[0] != secrets[1] && secrets[0] != secrets[2]);
        let cipher = Cipher::new(&secrets[0]);
        let nonce = || {
            let mut buffer = [&[0; NONCE_BYTES], &b"text"[..]].concat();
            cipher.seal_in_place(&[], &mut buffer, 0).unwrap();
            buffer[..NONCE_BYTES].to_vec()
        };
        assert_ne!(nonce(), nonce());
    }

    /// Under the nonce that is set apart the key of the nonces is made: a text sealed under it would give it away.
    #[test]
    fn nothing_is_sealed_under_the_nonce_that_is_set_apart() {
        assert_ne!(spared(SET_APART), SET_APART);
        let mut next = SET_APART;
        next[NONCE_BYTES - 1] = 0;
        assert_eq!(spared(next), next);
    }

    #[test]
    fn what_seals_goes_through_the_hash() {
        let cipher = Cipher::new(&[7; SECRET_BYTES]);
        assert!(cipher.nonces.get().is_none());
        cipher.seal_blob(&[], b"text").unwrap();
        assert!(cipher.nonces.get().is_some());
    }
}
