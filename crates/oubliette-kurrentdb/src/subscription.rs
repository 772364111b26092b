//! A subscription: pages of all events, one after the other, each from where the last one ended.
//!
//! It asks again and again, more often when something came a moment ago. The client has pushed subscriptions, but one whose
//! answer the server ends in an orderly way keeps a thread busy for ever (kurrentdb 1.2.0, `Subscription` in `commands.rs`),
//! and nothing can stop it. The server says that it is caught up, and that it fell behind, as often as that is so; here
//! a page that has an end says it, once.

use std::{sync::Arc, time::Duration, vec};

use futures::{StreamExt as _, stream};
use oubliette::{
    StoreError,
    event::Position,
    store::{Delivery, Filter, Subscription},
};
use tokio::time::sleep;

use crate::{
    event::{Found, Pair, incoming, pair},
    link::Failed,
    pages::{Ask, PAGE},
    store::Inner,
};

/// How long to wait before looking again: at first, and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// Where no server answers.
const LOST: Duration = Duration::from_millis(500);

pub(crate) fn subscribe(
    inner: Arc<Inner>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    let asked = after;
    let seen = match after.map(pair).transpose() {
        Ok(seen) => seen,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let state = State {
        inner,
        filter,
        asked,
        seen,
        ready: Vec::new().into_iter(),
        end: false,
        caught_up: false,
        wait: WAITS.0,
        failed: false,
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
    inner: Arc<Inner>,
    filter: Filter,
    /// The position that was named, until it is known to be one of this store's.
    asked: Option<Position>,
    /// The last position that was looked at.
    seen: Option<Pair>,
    ready: vec::IntoIter<Found>,
    /// Whether there was nothing behind the last page.
    end: bool,
    caught_up: bool,
    /// How long to wait before the next page.
    wait: Duration,
    failed: bool,
}

impl State {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        loop {
            for found in self.ready.by_ref() {
                self.seen = found.position.or(self.seen);
                match incoming(&found, &self.inner.source.prefix)? {
                    Some(event) if self.filter.passes(&event.stream, &event.event_type) => {
                        return Ok(Delivery::Event(event));
                    }
                    _ => {}
                }
            }
            if self.end && !self.caught_up {
                self.caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
            if self.end {
                sleep(self.wait).await;
                self.wait = (self.wait * 2).min(WAITS.1);
            }
            self.fetch().await?;
        }
    }

    async fn fetch(&mut self) -> Result<(), StoreError> {
        if let Some(asked) = self.asked {
            let last = Ask::All { beyond: None, backwards: true };
            let page = match self.inner.source.attempt(&last, 1).await {
                Ok(page) => page,
                Err(failed) => return self.bear(failed, &last).await,
            };
            let last = page.found.first().and_then(|last| last.position);
            if last.is_some() && last < self.seen {
                return Err(StoreError::ForeignPosition(asked));
            }
            self.asked = None;
        }
        let ask = Ask::All { beyond: self.seen, backwards: false };
        match self.inner.source.attempt(&ask, PAGE).await {
            Ok(page) => {
                if !page.found.is_empty() {
                    self.wait = WAITS.0;
                }
                self.end = page.end;
                self.ready = page.found.into_iter();
                Ok(())
            }
            Err(failed) => self.bear(failed, &ask).await,
        }
    }

    /// Waits for a server that is away, for as long as it takes: whoever does not want to wait drops the subscription.
    async fn bear(&self, failed: Failed, ask: &Ask) -> Result<(), StoreError> {
        if !failed.is_lost() {
            return Err(self.inner.read_failed(failed, ask).into());
        }
        let server = &self.inner.source.link.address.servers;
        tracing::warn!(%server, "a subscription waits for the server: {failed:?}");
        sleep(LOST).await;
        Ok(())
    }
}
