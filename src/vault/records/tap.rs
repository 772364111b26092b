//! What a backup must know of the changes that happen while it walks: where, not what.
//!
//! A walk reads a few places at a time while others write, so that it shows no single moment.
//! The tap memos every place that is changed from the beginning of the walk on. When the walk is
//! done, what is at those places then is written after it, which makes the whole show the
//! moment at which the last of them was read with no write in between.
//!
//! A place is noted *after* its change can be read: anyone who takes the memos and then reads may
//! read too new a value, which is noted again, and never too old a one.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use crate::vault::tree::{Erasure, Place};

/// What was changed.
#[derive(Debug, Default)]
pub(in crate::vault) struct Changed {
    pub(in crate::vault) places: BTreeSet<Place>,
    /// From (inclusive) and to (exclusive).
    pub(in crate::vault) ranges: BTreeSet<(Place, Place)>,
}

impl Changed {
    pub(in crate::vault) fn len(&self) -> usize {
        self.places.len() + self.ranges.len()
    }
}

/// The tap: closed, unless a backup has opened it.
#[derive(Debug, Default)]
pub(in crate::vault) struct Tap(Mutex<Option<Changed>>);

impl Tap {
    pub(in crate::vault) fn open(&self) {
        *self.lock() = Some(Changed::default());
    }

    pub(in crate::vault) fn close(&self) {
        *self.lock() = None;
    }

    /// What was noted since the tap was opened, or since the last call.
    pub(in crate::vault) fn take(&self) -> Changed {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What a write is about to change, where somebody wants to know.
    pub(in crate::vault) fn listen(&self, erasure: &Erasure) -> Option<Changed> {
        self.lock().as_ref()?;
        Some(Changed {
            places: erasure.changes.iter().map(|(place, _)| place.clone()).collect(),
            ranges: erasure.remove_ranges.iter().cloned().collect(),
        })
    }

    /// Records what a write has changed.
    pub(in crate::vault) fn note(&self, changed: Changed) {
        if let Some(noted) = self.lock().as_mut() {
            noted.places.extend(changed.places);
            noted.ranges.extend(changed.ranges);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Changed>> {
        // No code panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
