//! Which keys are used: a lot of them at a time, as many as memory may hold.

use crate::crypto::KeyId;

/// Key ids, each with whether it was seen.
pub(super) struct Lot {
    ids: Vec<KeyId>,
    seen: Vec<bool>,
}

impl Lot {
    pub(super) fn new(mut ids: Vec<KeyId>) -> Self {
        ids.sort_unstable();
        let seen = vec![false; ids.len()];
        Self { ids, seen }
    }

    pub(super) fn see(&mut self, id: KeyId) {
        if let Ok(at) = self.ids.binary_search(&id)
            && let Some(seen) = self.seen.get_mut(at)
        {
            *seen = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Those that nobody saw.
    pub(super) fn unseen(&self) -> impl Iterator<Item = KeyId> {
        self.ids.iter().zip(&self.seen).filter(|(_, seen)| !**seen).map(|(id, _)| *id)
    }
}
