//! A subscription: reads of all streams, one after the other, each from where the last one ended.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    Inner, SqliteError,
    pages::{Pages, Range, number_of},
};
use crate::{
    event::Position,
    runtime,
    store::{Delivery, Filter, StoreError, Subscription},
};

pub(super) fn subscribe(
    inner: Arc<Inner>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    let asked = after;
    let after = match after.map(number_of).transpose() {
        Ok(after) => after,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let state = State {
        head: inner.head.clone(),
        inner,
        asked,
        next: after.map_or(0, |after| after.saturating_add(1)),
        pages: None,
        caught_up: false,
        failed: false,
        filter,
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
    head: watch::Receiver<i64>,
    /// The position that was named, until it is known to be one of this store's.
    asked: Option<Position>,
    /// The first position that was not looked at yet.
    next: i64,
    /// The read that is in progress.
    pages: Option<Pages>,
    caught_up: bool,
    failed: bool,
    filter: Filter,
}

impl State {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        if let Some(asked) = self.asked.take() {
            let (inner, next) = (Arc::clone(&self.inner), self.next);
            let given = runtime::spawn_blocking(move || {
                inner.readers.with(|reader| Ok(reader.given().map_err(SqliteError::from)?))
            })?
            .await??;
            if next > given.saturating_add(1) {
                return Err(StoreError::ForeignPosition(asked));
            }
        }
        loop {
            if self.pages.is_none() && self.caught_up {
                let next = self.next;
                self.head.wait_for(|&head| head >= next).await.map_err(|_| SqliteError::Stopped)?;
            }
            if self.pages.is_none() && !self.caught_up {
                self.inner.writer.watch()?;
            }
            let next = self.next;
            let pages = self.pages.get_or_insert_with(|| {
                let filter = Some(self.filter.clone());
                Pages::new(Arc::clone(&self.inner), Range::from(next), filter)
            });
            if let Some(event) = pages.next().await {
                return event.map(Delivery::Event);
            }
            // What this read could see was looked at to its end, passing the filter or not.
            self.next = pages.end().map_or(self.next, |end| self.next.max(end.saturating_add(1)));
            self.pages = None;
            if !self.caught_up {
                self.caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
        }
    }
}
