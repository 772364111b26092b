//! A subscription: pages of all streams, one after the other, read by a consumer of its own that goes on for as long as
//! the subscription does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
    vec,
};

use futures::{StreamExt, stream};
use oubliette::{
    TaskError,
    event::{Position, RecordedEvent},
    store::{Delivery, Filter, StoreError, Subscription},
};
use tokio::sync::watch;

use crate::{
    config::Purpose,
    error::KafkaError,
    log::{Cursor, close},
    pages::{Events, blocking, forwards, offset_of},
    shared::Shared,
};

/// At most so many events are fetched at once.
const PAGE: usize = 256;
/// How long to wait before Kafka is asked again, when it did not answer.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) fn subscribe(
    shared: Arc<Shared>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    let asked = after;
    let after = match after.map(offset_of).transpose() {
        Ok(after) => after,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let state = State {
        head: shared.head.subscribe(),
        shared,
        asked,
        next: after.map_or(0, |after| after.saturating_add(1)),
        catching_up_to: None,
        caught_up: false,
        failed: false,
        cursor: None,
        ready: Vec::new().into_iter(),
        cancelled: Arc::default(),
        filter: Arc::new(filter),
    };
    stream::unfold(state, |mut state| async move {
        if state.failed {
            return None;
        }
        let delivery = state.next().await;
        state.failed = delivery.is_err();
        Some((delivery, state))
    })
    .boxed()
}

struct State {
    shared: Arc<Shared>,
    head: watch::Receiver<u64>,
    /// The position that was named, until it is known to be one of this store's.
    asked: Option<Position>,
    /// The first offset that was not looked at yet.
    next: u64,
    /// One behind the last event that was there at the start.
    catching_up_to: Option<u64>,
    caught_up: bool,
    failed: bool,
    cursor: Option<Cursor>,
    ready: vec::IntoIter<Result<RecordedEvent, StoreError>>,
    cancelled: Arc<AtomicBool>,
    filter: Arc<Filter>,
}

impl State {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        loop {
            if let Some(event) = self.ready.next() {
                return event.map(Delivery::Event);
            }
            let head = *self.head.borrow_and_update();
            if let Some(asked) = self.asked {
                // What is known here may be behind what the writer wrote.
                if self.next > head && self.next > self.end_of_topic().await? {
                    return Err(StoreError::ForeignPosition(asked));
                }
                self.asked = None;
            }
            let target = *self.catching_up_to.get_or_insert(head);
            if !self.caught_up && self.next >= target {
                self.caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
            if self.next >= head {
                if let Some(error) = self.shared.stopped() {
                    return Err(error.clone().into());
                }
                // The sender is in `shared`, so that this fails never.
                let _ = self.head.changed().await;
                continue;
            }
            // What is there now comes first, and "caught up" directly behind it.
            let end = if self.caught_up { head } else { target };
            match self.fetch(end - 1).await? {
                Ok((events, next)) => {
                    self.ready = events.into_iter();
                    self.next = next.unwrap_or(end);
                }
                // A broker that is started again is waited for.
                Err(error) if error.is_temporary() => {
                    tracing::warn!(%error, "a subscription waits for Kafka");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One behind the topic's last record, as a broker says.
    async fn end_of_topic(&self) -> Result<u64, StoreError> {
        loop {
            let shared = Arc::clone(&self.shared);
            match blocking(move || shared.ends())?.await.map_err(TaskError::from)? {
                Ok(ends) => return Ok(ends.end),
                Err(error) if error.is_temporary() => {
                    tracing::warn!(%error, "a subscription waits for Kafka");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn fetch(
        &mut self,
        last: u64,
    ) -> Result<Result<(Events, Option<u64>), KafkaError>, StoreError> {
        let (shared, cancelled) = (Arc::clone(&self.shared), Arc::clone(&self.cancelled));
        let (filter, first, cursor) = (Arc::clone(&self.filter), self.next, self.cursor.take());
        let read = move || {
            let mut cursor = match cursor {
                Some(cursor) => cursor,
                None => shared.cursors.make(Purpose::Follow)?,
            };
            let page =
                forwards(&shared, &mut cursor, (first, last), PAGE, Some(&filter), &cancelled);
            Ok((page.map_err(|error| shared.explain(error))?, cursor))
        };
        match blocking(read)?.await.map_err(TaskError::from)? {
            Ok((page, cursor)) => {
                self.cursor = Some(cursor);
                Ok(Ok(page))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        close(self.cursor.take());
    }
}
