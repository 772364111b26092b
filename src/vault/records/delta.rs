//! What a backup writes after its walk: what changed meanwhile, as it is now.

use super::{disk::Disk, places, tap::Changed};
use crate::vault::{
    VaultError,
    tree::{Place, Value},
};

/// One change, as it ended.
#[cfg_attr(test, derive(Clone))]
pub(in crate::vault) enum Delta {
    /// This is there now.
    Value(Place, Value),
    /// Nothing is there now.
    Gone(Place),
    /// Everything from (inclusive) to (exclusive) is gone; what is there now follows.
    RangeGone(Place, Place),
}

impl Delta {
    /// The state of everything that changed since the last call. Only the committer, which
    /// writes nothing meanwhile, reads a single moment.
    pub(in crate::vault) fn read(disk: &Disk) -> Result<Vec<Self>, VaultError> {
        let mut deltas = Vec::new();
        Self::each(disk, disk.tap.take(), &mut |delta| {
            deltas.push(delta);
            Ok::<(), VaultError>(())
        })?;
        Ok(deltas)
    }

    pub(in crate::vault) fn each<E: From<VaultError>>(
        disk: &Disk,
        changed: Changed,
        to: &mut dyn FnMut(Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut to = |delta| match &delta {
            Self::Value(place, _) | Self::Gone(place) if places::is_never_copied(place) => Ok(()),
            _ => to(delta),
        };
        for (from, end) in changed.ranges {
            to(Self::RangeGone(from.clone(), end.clone()))?;
            for found in disk.walk(from..end) {
                let (place, value) = found?;
                to(Self::Value(place, value))?;
            }
        }
        for place in changed.places {
            to(match disk.tree().get(&place)? {
                Some(value) => Self::Value(place, value),
                None => Self::Gone(place),
            })?;
        }
        Ok(())
    }
}
