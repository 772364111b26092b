//! All that changes a vault: one thread carries it out, in batches that are durable before anyone is answered.
//!
//! `committer` is that thread. The others say what one kind of change does to the records, and are methods of
//! the vault for its callers. Nothing else writes to the tree of an open vault.

pub(in crate::vault) mod backfill;
pub(in crate::vault) mod claiming;
pub(in crate::vault) mod committer;
pub(in crate::vault) mod decision;
pub(in crate::vault) mod destroy;
pub(in crate::vault) mod keep;
pub(in crate::vault) mod rotate;
pub(in crate::vault) mod unsettled;
