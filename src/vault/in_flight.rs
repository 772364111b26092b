//! Which events' owner claims belong to an append that is under way.
//!
//! Whether such an event is in the store is not to be judged by looking: it may be there a moment
//! later. The vault keeps the list, because every layer over it must know it, and because only
//! the committer can tell whether a claim was taken up again since somebody looked. An event may
//! be under way more than once, where a caller did not wait for the first answer: each counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::core::Core;
use crate::event::EventId;

/// The events, each with how often it is under way.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<EventId, usize>>);

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<EventId, usize>> {
        // No code panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, event: &EventId) -> bool {
        self.lock().contains_key(event)
    }
}

/// Events that are under way while it lives.
pub(crate) struct InFlight {
    core: Arc<Core>,
    events: Vec<EventId>,
}

impl InFlight {
    pub(super) fn begin(core: &Arc<Core>, events: Vec<EventId>) -> Self {
        {
            let mut under_way = core.under_way.lock();
            for event in &events {
                *under_way.entry(*event).or_default() += 1;
            }
        }
        Self { core: Arc::clone(core), events }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut under_way = self.core.under_way.lock();
        for event in &self.events {
            if let Some(times) = under_way.get_mut(event) {
                *times -= 1;
                if *times == 0 {
                    under_way.remove(event);
                }
            }
        }
    }
}
