//! Claims whose appends are under way.
//!
//! Whether the event of a claim is in the store can be judged by looking only when nobody is
//! about to write it. The vault is what all appends of a process share, so that it keeps the list.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::event::EventId;

/// The events of claims under way, each with how many appends are about to write it (a retry can
/// overtake the first attempt).
#[derive(Debug, Default)]
pub(in crate::vault) struct Events(Mutex<HashMap<EventId, usize>>);

/// The events of an append's claims, from before they are claimed until their append is answered:
/// while it lives, none of them is withdrawn by [`Vault::settle`](super::Vault::settle).
#[derive(Debug)]
#[must_use]
pub(crate) struct InFlight {
    all: Arc<Events>,
    events: Vec<EventId>,
}

impl Events {
    pub(in crate::vault) fn begin(self: &Arc<Self>, events: Vec<EventId>) -> InFlight {
        self.with(|all| {
            for event in &events {
                *all.entry(*event).or_default() += 1;
            }
        });
        InFlight { all: Arc::clone(self), events }
    }

    pub(in crate::vault) fn has(&self, event: EventId) -> bool {
        self.with(|all| all.contains_key(&event))
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<EventId, usize>) -> T) -> T {
        // No code panics while it holds this lock.
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all.with(|all| {
            for event in &self.events {
                if let Some(appends) = all.get_mut(event) {
                    *appends -= 1;
                    if *appends == 0 {
                        all.remove(event);
                    }
                }
            }
        });
    }
}
