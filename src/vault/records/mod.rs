//! What is recorded, and where it is in the tree.
//!
//! `places` is the table of all places in the tree, and `naming` makes the keyed hashes in them. `entries`, `fence`, `claims`, `memos`, `eras` and `catalogue` are
//! what is at them, and state their bytes as tables. `announced` is what leaves the vault in announcements. `disk` is the
//! tree with these types; `tap` and `delta` tell a backup what changes while it walks. Used by `commit`, which changes records, by `reading`,
//! `signing` and `backup`. It decides nothing.

pub(in crate::vault) mod announced;
pub(in crate::vault) mod catalogue;
pub(in crate::vault) mod claims;
#[cfg(feature = "backup")]
pub(in crate::vault) mod delta;
pub(in crate::vault) mod disk;
pub(in crate::vault) mod entries;
pub(in crate::vault) mod eras;
pub(in crate::vault) mod fence;
pub(crate) mod memos;
pub(in crate::vault) mod naming;
pub(in crate::vault) mod places;
#[cfg(feature = "backup")]
pub(in crate::vault) mod tap;
