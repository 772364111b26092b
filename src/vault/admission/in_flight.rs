//! Which events are about to be written, and who needs to know.
//!
//! Whether the event of a claim is in the store can be judged by looking only while nobody else is about to write
//! it: not when the look begins, nor at any time until it is judged. An append that ends in between may have stored
//! its event behind the reader. The vault is what all appends of a process share, so that it keeps the list.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use crate::event::EventId;

/// The events that somebody is about to write, or watches.
#[derive(Debug, Default)]
pub(in crate::vault) struct Events(Mutex<HashMap<EventId, Attempts>>);

/// What is known of one event while anyone watches it.
#[derive(Debug, Default)]
struct Attempts {
    watches: usize,
    /// How many appends are about to write it: a retry can overtake the first attempt.
    in_flight: usize,
    /// How many have begun, ended ones too.
    begun: u64,
}

/// Events that somebody watches: because they are about to write them, or because they look for them in the store.
#[derive(Debug)]
pub(crate) struct Watch {
    all: Arc<Events>,
    is_append: bool,
    /// How many attempts had begun with the watch; `None`: another was in flight already.
    begun: HashMap<EventId, Option<u64>>,
}

impl Events {
    /// For an append, from before its events are claimed until it is answered.
    pub(in crate::vault) fn begin(self: &Arc<Self>, events: Vec<EventId>) -> Watch {
        self.watch(events, true)
    }

    /// For a look into the store, from before it until its claims are settled by it.
    pub(in crate::vault) fn look(self: &Arc<Self>, events: Vec<EventId>) -> Watch {
        self.watch(events, false)
    }

    fn watch(self: &Arc<Self>, events: Vec<EventId>, is_append: bool) -> Watch {
        let events: HashSet<EventId> = events.into_iter().collect();
        let begin = |all: &mut HashMap<EventId, Attempts>, event| {
            let attempts: &mut Attempts = all.entry(event).or_default();
            let was_quiet = attempts.in_flight == 0;
            attempts.watches += 1;
            attempts.in_flight += usize::from(is_append);
            attempts.begun += u64::from(is_append);
            (event, was_quiet.then_some(attempts.begun))
        };
        let begun = self.with(|all| events.into_iter().map(|event| begin(all, event)).collect());
        Watch { all: Arc::clone(self), is_append, begun }
    }

    pub(in crate::vault) fn has(&self, event: EventId) -> bool {
        self.with(|all| all.get(&event).is_some_and(|attempts| attempts.in_flight > 0))
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<EventId, Attempts>) -> T) -> T {
        // No code panics while it holds this lock.
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watch {
    /// Whether no one else was about to write the event since this watch began.
    pub(in crate::vault) fn was_alone(&self, event: EventId) -> bool {
        let Some(Some(begun)) = self.begun.get(&event) else { return false };
        self.all.with(|all| all.get(&event).is_some_and(|attempts| attempts.begun == *begun))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.all.with(|all| {
            for event in self.begun.keys() {
                let Some(attempts) = all.get_mut(event) else { continue };
                attempts.in_flight -= usize::from(self.is_append);
                attempts.watches -= 1;
                if attempts.watches == 0 {
                    all.remove(event);
                }
            }
        });
    }
}
