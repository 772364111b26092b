//! The retire list: which pages an erasure adds and which it replaces, written before the first
//! new page and removed with the last old one, so that a crash leaves nothing lying for ever.
//!
//! It is sealed under a key derived from the vault's identity, like all that the page store holds.

use super::{marker::Marker, page::PageId};
use crate::{
    crypto::{Label, Secret},
    event::VaultId,
    vault::{
        VaultError,
        wire::{Reader, Writer},
    },
};

const MARKER: Marker =
    Marker { purpose: Label::RETIRE_LIST, what: "the list of pages to retire", format: 1 };

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
        let mut plain = Writer::new(12 + 16 * (self.added.len() + self.replaced.len()));
        plain.u64(self.epoch);
        plain.count(self.added.len());
        for id in self.added.iter().chain(&self.replaced) {
            plain.bytes(id);
        }
        MARKER.seal(vault, identity, &plain.done())
    }

    pub(super) fn open(
        vault: VaultId,
        identity: &Secret,
        stored: &[u8],
    ) -> Result<Self, VaultError> {
        match MARKER.open(vault, identity, stored)? {
            Some(plain) => Self::parse(&plain),
            None => Err(VaultError::Damaged("the retire list does not open".into())),
        }
    }

    fn parse(plain: &[u8]) -> Result<Self, VaultError> {
        let mut from = Reader::new(MARKER.what, plain);
        let (epoch, count) = (from.u64()?, from.u32()?);
        let added = (0..count).map(|_| from.array()).collect::<Result<_, _>>()?;
        let mut replaced = Vec::new();
        while !from.is_empty() {
            replaced.push(from.array()?);
        }
        Ok(Self { epoch, added, replaced })
    }
}
