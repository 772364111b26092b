//! Small things that the page store holds beside the pages, each under a name shorter than a page's
//! id. They are sealed under keys derived from the vault's identity, which the root page holds: who
//! has no root key can neither read nor forge them. One that opens under a later format than this program
//! knows is [`VaultError::NewerFormat`]; so every later format begins as this one does.
//!
//! | bytes | as it is stored |
//! | --- | --- |
//! | 1 | format: 1 |
//! | 12 | nonce |
//! | … | ciphertext, AES-256-GCM under HMAC-SHA-256(identity, purpose) |
//! | 16 | tag, also over `purpose ‖ format ‖ vault(16)` |
//!
//! | name | purpose | the plaintext, big-endian |
//! | --- | --- | --- |
//! | `openings` | `oubliette openings` | the number that is in the root slot(16) and the one that takes its place(16), the same twice as soon as the slot has it; when the folder was made(16) in nanoseconds since 1970 or 0, its path |
//! | `epoch` | | not sealed: the epoch(8) that the page store reached at least. It only tells one wrong state from another |
//! | `retire` | `oubliette retire list` | epoch(8), how many pages were added(4), their ids(16 each), the ids of those that they replace(16 each) |

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    crypto::{Cipher, NONCE_BYTES, Secret},
    event::VaultId,
    vault::VaultError,
};

/// What is kept under a name.
pub(super) struct Marker {
    /// What the key and the associated data are of.
    pub(super) purpose: &'static [u8],
    /// What it is, for messages.
    pub(super) what: &'static str,
    pub(super) format: u8,
}

impl Marker {
    /// `format(1) nonce(12)`, then sealed.
    pub(super) fn seal(
        &self,
        vault: VaultId,
        identity: &Secret,
        plain: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let mut bytes = vec![self.format];
        bytes.extend_from_slice(&[0; NONCE_BYTES]);
        bytes.extend_from_slice(plain);
        let cipher = self.cipher(identity);
        let nonce = cipher.seal_in_place(&self.associated(vault), &mut bytes, 1 + NONCE_BYTES)?;
        bytes[1..1 + NONCE_BYTES].copy_from_slice(&nonce);
        Ok(bytes)
    }

    /// What was sealed; `None`: it does not open.
    ///
    /// # Errors
    /// [`VaultError::NewerFormat`]. The format is not believed before the note opens with it.
    pub(super) fn open(
        &self,
        vault: VaultId,
        identity: &Secret,
        stored: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let Some((&format, rest)) = stored.split_first() else { return Ok(None) };
        let Some((nonce, sealed)) = rest.split_first_chunk::<NONCE_BYTES>() else {
            return Ok(None);
        };
        let claimed = Self { format, ..*self };
        let plain = self.cipher(identity).open(nonce, &claimed.associated(vault), sealed).ok();
        if plain.is_some() && format > self.format {
            let (what, found, known) = (self.what, format.into(), self.format.into());
            return Err(VaultError::NewerFormat { what, found, known });
        }
        Ok(plain.filter(|_| format == self.format))
    }

    fn cipher(&self, identity: &Secret) -> Cipher {
        let mut key = Secret::default();
        // A key of any length is a key to HMAC.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(identity.as_slice()) {
            mac.update(self.purpose);
            key.copy_from_slice(&mac.finalize().into_bytes());
        }
        Cipher::new(&key)
    }

    fn associated(&self, vault: VaultId) -> Vec<u8> {
        let mut bytes = self.purpose.to_vec();
        bytes.push(self.format);
        bytes.extend_from_slice(vault.0.as_bytes());
        bytes
    }
}
