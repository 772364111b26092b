//! What is read of a vault: keys and what is kept of them in memory, the inventory, what judges all of it, and what a
//! copy of its pages gives away.
//!
//! Used by the vault's callers, by way of methods of the vault. Nothing here writes.

pub(in crate::vault) mod cache;
#[cfg(feature = "drill")]
pub(in crate::vault) mod copy;
pub(in crate::vault) mod inventory;
pub(in crate::vault) mod lookup;
pub(in crate::vault) mod tag;
pub(in crate::vault) mod verify;
