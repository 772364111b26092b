//! Sealed bytes that carry their nonce: `nonce(12) ciphertext tag(16)`. Everything that is sealed ends so;
//! what a format says in clear is before it.

use zeroize::Zeroizing;

use super::{Cipher, NONCE_BYTES, RandomError, TAG_BYTES};

/// How much longer than its plaintext a sealed blob is, in bytes.
pub(crate) const BLOB_OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;

impl Cipher {
    /// Seals a text under a fresh nonce.
    pub(crate) fn seal_blob(&self, associated: &[u8], text: &[u8]) -> Result<Vec<u8>, RandomError> {
        let mut blob = Vec::with_capacity(text.len() + BLOB_OVERHEAD);
        blob.resize(NONCE_BYTES, 0);
        blob.extend_from_slice(text);
        self.seal_in_place(associated, &mut blob, 0)?;
        Ok(blob)
    }

    /// Opens what [`Cipher::seal_blob`] sealed; `None`: it was changed, or sealed under another key.
    pub(crate) fn open_blob(&self, associated: &[u8], blob: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = blob.split_first_chunk::<NONCE_BYTES>()?;
        let length = sealed.len().checked_sub(TAG_BYTES)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let opens = self.open_in_place(nonce, associated, &mut opened);
        opened.truncate(length);
        opens.then_some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_opens_as_what_it_was_and_not_when_it_was_changed() {
        let cipher = Cipher::new(&[7; 32]);
        for text in [&b""[..], b"to Leipzig"] {
            let blob = cipher.seal_blob(b"a page", text).unwrap();
            assert_eq!(blob.len(), text.len() + BLOB_OVERHEAD);
            assert_eq!(*cipher.open_blob(b"a page", &blob).unwrap(), text);
            assert!(cipher.open_blob(b"another page", &blob).is_none());
            assert!(Cipher::new(&[8; 32]).open_blob(b"a page", &blob).is_none());
            for at in 0..blob.len() {
                let mut changed = blob.clone();
                changed[at] ^= 1;
                assert!(cipher.open_blob(b"a page", &changed).is_none(), "byte {at}");
                assert!(cipher.open_blob(b"a page", &blob[..at]).is_none(), "{at} bytes");
            }
        }
    }

    /// A buffer that grows leaves a copy of the text behind.
    #[test]
    fn a_blob_is_sealed_where_it_was_written() {
        let blob = Cipher::new(&[7; 32]).seal_blob(&[], &[1; 300]).unwrap();
        assert_eq!(blob.capacity(), blob.len());
    }
}
