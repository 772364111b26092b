//! The retire list: which pages an erasure adds and which it replaces, written before the first
//! new page and removed with the last old one, so that a crash leaves nothing lying for ever.
//!
//! It is sealed under a key derived from the vault's identity, like all that the page store holds.

use super::{marker::Marker, page::PageId};
use crate::{crypto::Secret, event::VaultId, vault::VaultError};

const MARKER: Marker =
    Marker { purpose: b"oubliette retire list", what: "the list of pages to retire", format: 1 };

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
    /// `epoch(8) count of added(4) added replaced`, sealed.
    pub(super) fn seal(&self, vault: VaultId, identity: &Secret) -> Result<Vec<u8>, VaultError> {
        let mut plain = self.epoch.to_be_bytes().to_vec();
        plain.extend_from_slice(&(self.added.len() as u32).to_be_bytes());
        for id in self.added.iter().chain(&self.replaced) {
            plain.extend_from_slice(id);
        }
        MARKER.seal(vault, identity, &plain)
    }

    pub(super) fn open(
        vault: VaultId,
        identity: &Secret,
        stored: &[u8],
    ) -> Result<Self, VaultError> {
        let plain = MARKER.open(vault, identity, stored)?;
        plain
            .and_then(|plain| Self::parse(&plain))
            .ok_or_else(|| VaultError::Damaged("the retire list does not open".into()))
    }

    fn parse(plain: &[u8]) -> Option<Self> {
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
