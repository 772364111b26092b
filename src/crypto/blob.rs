//! Sealed bytes that carry their nonce: `nonce(12) ciphertext tag(16)`.

use zeroize::Zeroizing;

use super::{Cipher, NONCE_BYTES, RandomError, TAG_BYTES};

/// How much longer than its plaintext a sealed blob is, in bytes.
pub(crate) const BLOB_OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;

impl Cipher {
    /// Seals a text under a fresh nonce, which precedes it.
    pub(crate) fn seal_blob(&self, associated: &[u8], text: &[u8]) -> Result<Vec<u8>, RandomError> {
        // With room for the tag: a secret in a buffer that grows would leave a copy behind.
        let mut blob = Vec::with_capacity(text.len() + BLOB_OVERHEAD);
        blob.resize(NONCE_BYTES, 0);
        blob.extend_from_slice(text);
        let nonce = self.seal_in_place(associated, &mut blob, NONCE_BYTES)?;
        blob[..NONCE_BYTES].copy_from_slice(&nonce);
        Ok(blob)
    }

    /// Opens what [`Cipher::seal_blob`] sealed; `None`: it was changed, or sealed under another key.
    pub(crate) fn open_blob(&self, associated: &[u8], blob: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = blob.split_first_chunk::<NONCE_BYTES>()?;
        self.open(nonce, associated, sealed).ok()
    }
}
