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

use zeroize::Zeroizing;

use crate::{
    crypto::{Cipher, Label, Secret, derive},
    event::VaultId,
    vault::VaultError,
};

/// The name of the retire list in the page store; shorter than a page's id.
pub(super) const RETIRE: &[u8] = b"retire";

/// The name under which the page store says, in clear, which epoch it reached at least. It only
/// tells one wrong state from another: what opens is decided by keys.
pub(super) const EPOCH: &[u8] = b"epoch";

/// The name of the marker of the last openings.
pub(super) const OPENINGS: &[u8] = b"openings";

/// What is kept under a name.
pub(super) struct Marker {
    /// The purpose, of which its key and the associated data are made.
    pub(super) purpose: Label,
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
        let blob = self.cipher(identity).seal_blob(&self.associated(vault), plain)?;
        Ok([&[self.format], blob.as_slice()].concat())
    }

    /// What was sealed; `None`: it does not open.
    ///
    /// # Errors
    /// [`VaultError::NewerFormat`]. The format is not believed before the marker opens with it.
    pub(super) fn open(
        &self,
        vault: VaultId,
        identity: &Secret,
        stored: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let Some((&format, blob)) = stored.split_first() else { return Ok(None) };
        let claimed = Self { format, ..*self };
        let plain = self.cipher(identity).open_blob(&claimed.associated(vault), blob);
        if plain.is_some() && format > self.format {
            let (what, found, known) = (self.what, format.into(), self.format.into());
            return Err(VaultError::NewerFormat { what, found, known });
        }
        Ok(plain.filter(|_| format == self.format))
    }

    fn cipher(&self, identity: &Secret) -> Cipher {
        Cipher::new(&derive(identity, self.purpose))
    }

    fn associated(&self, vault: VaultId) -> Vec<u8> {
        let mut bytes = self.purpose.text().to_vec();
        bytes.push(self.format);
        bytes.extend_from_slice(vault.0.as_bytes());
        bytes
    }
}
