//! The retire list: which pages an erasure adds and which it replaces, written before the first
//! new page and removed with the last old one, so that a crash leaves nothing lying for ever.
//!
//! It is sealed under a key derived from the vault's identity, like all that the page store holds.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::page::PageId;
use crate::{
    crypto::{Cipher, NONCE_BYTES, Secret},
    vault::{VaultError, VaultId},
};

const FORMAT: u8 = 1;

/// The pages of one erasure.
pub(super) struct RetireList {
    /// The epoch that it leads to.
    pub(super) epoch: u64,
    /// Pages that belong to the tree from that epoch on.
    pub(super) added: Vec<PageId>,
    /// Pages that belong to it before.
    pub(super) replaced: Vec<PageId>,
}

impl RetireList {
    /// `format(1) nonce(12)`, then sealed: `epoch(8) count of added(4) added replaced`.
    pub(super) fn seal(&self, vault: VaultId, identity: &Secret) -> Result<Vec<u8>, VaultError> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&[0; NONCE_BYTES]);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&(self.added.len() as u32).to_be_bytes());
        for id in self.added.iter().chain(&self.replaced) {
            bytes.extend_from_slice(id);
        }
        let nonce =
            cipher(identity).seal_in_place(&associated(vault), &mut bytes, 1 + NONCE_BYTES)?;
        bytes[1..1 + NONCE_BYTES].copy_from_slice(&nonce);
        Ok(bytes)
    }

    pub(super) fn open(
        vault: VaultId,
        identity: &Secret,
        stored: &[u8],
    ) -> Result<Self, VaultError> {
        Self::parse(vault, identity, stored)
            .ok_or_else(|| VaultError::Damaged("the retire list does not open".into()))
    }

    fn parse(vault: VaultId, identity: &Secret, stored: &[u8]) -> Option<Self> {
        let (&format, rest) = stored.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if format != FORMAT {
            return None;
        }
        let plain = cipher(identity).open(nonce, &associated(vault), sealed).ok()?;
        let (epoch, rest) = plain.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (ids, odd) = rest.as_chunks::<16>();
        let (added, replaced) = ids.split_at_checked(u32::from_be_bytes(*count) as usize)?;
        odd.is_empty().then(|| Self {
            epoch: u64::from_be_bytes(*epoch),
            added: added.to_vec(),
            replaced: replaced.to_vec(),
        })
    }
}

fn cipher(identity: &Secret) -> Cipher {
    let mut key = Secret::default();
    // A key of any length is a key to HMAC.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(identity.as_slice()) {
        mac.update(b"oubliette retire list");
        key.copy_from_slice(&mac.finalize().into_bytes());
    }
    Cipher::new(&key)
}

fn associated(vault: VaultId) -> Vec<u8> {
    let mut bytes = b"oubliette retire list".to_vec();
    bytes.push(FORMAT);
    bytes.extend_from_slice(vault.0.as_bytes());
    bytes
}
