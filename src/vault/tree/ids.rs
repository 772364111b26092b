//! The ids of pages. A store that is ordered by name, as sled is, keeps pages whose ids begin alike
//! in one node, which it reads and writes as a whole.
//!
//! Anyone who sees the page store learns from an id which pages are inner ones and which leaves were
//! neighbours once; nothing about who is in them.

use super::page::PageId;
use crate::{crypto::random, vault::VaultError};

/// How inner pages begin. There are some hundred times fewer of them than leaves, and each
/// erasure replaces several, so they are together where the store keeps them in memory.
const INNER: [u8; 4] = [0; 4];

/// How many bytes of a leaf's id are given by its parent.
const NEAR_BYTES: usize = 8;

/// A new id for an inner page or a root.
pub(super) fn inner() -> Result<PageId, VaultError> {
    let mut id: PageId = random()?;
    id[..INNER.len()].copy_from_slice(&INNER);
    Ok(id)
}

/// A new id for a leaf: it begins like those of its siblings, so that a walk finds neighbours beside
/// each other.
pub(super) fn leaf(parent: &PageId) -> Result<PageId, VaultError> {
    let mut id: PageId = random()?;
    id[..NEAR_BYTES].copy_from_slice(&parent[parent.len() - NEAR_BYTES..]);
    Ok(id)
}
