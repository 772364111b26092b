//! Which events are there already, by their ids.
//!
//! The server has no index of ids. So a process that appends keeps one (see `index`): it reads all events once, before its
//! first append, and from then on what has come since, before each. What was acknowledged before an append began is known to
//! it therefore, whoever wrote it. What another process writes meanwhile to the same stream is found out by the server,
//! because every append names the stream's last event. What another process writes meanwhile to *another* stream under the
//! same id is not: the server could not tell.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use oubliette::{
    StoreError,
    event::{EventId, StreamName},
    store::{Append, Appended, answer_retry},
};
use tokio::sync::{Mutex as Turnstile, Notify};

use crate::{
    index::Index,
    link::Failed,
    pages::{Ask, PAGE, Source},
};

#[derive(Default)]
pub(crate) struct Ids {
    index: Mutex<Index>,
    /// One round of reading at a time.
    turnstile: Turnstile<()>,
    /// How many rounds began, and how the last one ended.
    begun: AtomicU64,
    ended: Mutex<Option<(u64, Result<(), Failed>)>>,
    busy: Mutex<Busy>,
    freed: Notify,
}

/// What appends of this process are about.
#[derive(Default)]
struct Busy {
    streams: HashSet<StreamName>,
    ids: HashSet<EventId>,
}

/// Until it is dropped, no other append of this process is about the same streams or ids.
pub(crate) struct Turn {
    ids: Arc<Ids>,
    streams: Vec<StreamName>,
    events: Vec<EventId>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ids {
    /// Looks at all events that were acknowledged before this was called. Of several callers one reads.
    pub(crate) async fn catch_up(&self, source: &Source) -> Result<(), Failed> {
        let before = self.begun.load(Ordering::SeqCst);
        let _turn = self.turnstile.lock().await;
        // A round that began after this was called, while others waited as well.
        if let Some((number, outcome)) = &*lock(&self.ended)
            && *number > before
        {
            return outcome.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = self.round(source).await;
        if number == 1 {
            let events = lock(&self.index).events();
            tracing::info!(events, "the ids of the events that are there are read");
        }
        *lock(&self.ended) = Some((number, outcome.clone()));
        outcome
    }

    async fn round(&self, source: &Source) -> Result<(), Failed> {
        loop {
            let beyond = lock(&self.index).seen();
            let page = source.attempt(&Ask::All { beyond, backwards: false }, PAGE).await?;
            let mut index = lock(&self.index);
            page.found.iter().for_each(|found| index.take(found, &source.prefix));
            if page.end {
                return Ok(());
            }
        }
    }

    /// Whether an append was done before, as far as was read.
    pub(crate) fn known(&self, appends: &[Append]) -> Result<Option<Vec<Appended>>, StoreError> {
        let index = lock(&self.index);
        answer_retry(appends, |id, stream| Ok(index.find(id, stream)))
    }

    /// The number of a stream's last event, as far as was read.
    pub(crate) fn last(&self, stream: &StreamName) -> Option<u64> {
        lock(&self.index).last(stream)
    }

    /// Waits until no append of this process is about the same streams or ids.
    pub(crate) async fn turn(self: &Arc<Self>, appends: &[Append]) -> Turn {
        let streams: Vec<StreamName> = appends.iter().map(|append| append.stream.clone()).collect();
        let events: Vec<EventId> =
            appends.iter().flat_map(|append| &append.events).map(|event| event.id).collect();
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Before it is looked at, so that nobody is missed who goes in between.
            freed.as_mut().enable();
            {
                let mut busy = lock(&self.busy);
                let is_free = !streams.iter().any(|stream| busy.streams.contains(stream))
                    && !events.iter().any(|id| busy.ids.contains(id));
                if is_free {
                    busy.streams.extend(streams.iter().cloned());
                    busy.ids.extend(&events);
                    return Turn { ids: Arc::clone(self), streams, events };
                }
            }
            freed.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut busy = lock(&self.ids.busy);
        for stream in &self.streams {
            busy.streams.remove(stream);
        }
        for id in &self.events {
            busy.ids.remove(id);
        }
        drop(busy);
        self.ids.freed.notify_waiters();
    }
}
