//! A subscription: pages, one after the other, each from where the last one ended.
//!
//! The server tells of each message that it stored, without its data (the stream's `republish`). That only wakes a
//! subscription: what it delivers it reads from the stream, in the order of sequences. So nothing is lost or doubled where a
//! word of the server's is lost, or where the server restarts; it is then found a little later.

use std::{sync::Arc, time::Duration, vec};

use futures::{StreamExt as _, stream};
use oubliette::{
    StoreError,
    event::Position,
    store::{Delivery, Filter, Subscription},
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    envelope::{Stored, event},
    error::JetStreamError,
    pages::{PAGE, Page},
    read::sequence,
    store::Inner,
};

/// How often to look where the server tells of new messages, and where it does not.
const TOLD: Duration = Duration::from_secs(1);
const UNTOLD: Duration = Duration::from_millis(200);
/// After a word of the server's, a replica may not have the message yet.
const SOON: Duration = Duration::from_millis(20);

pub(crate) fn subscribe(
    inner: Arc<Inner>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    let asked = after;
    let after = match after.map(sequence).transpose() {
        Ok(after) => after.unwrap_or(0),
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let connection = inner.link.connection_number();
    let state = State {
        subject: inner.prefix.all(),
        inner,
        filter,
        asked,
        seen: after,
        ready: Vec::new().into_iter(),
        head: None,
        at_end: false,
        caught_up: false,
        connection,
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
    subject: String,
    filter: Filter,
    /// The position that was named, until it is known to be one of this store's.
    asked: Option<Position>,
    /// The last sequence that was looked at.
    seen: u64,
    ready: vec::IntoIter<Stored>,
    /// The highest sequence that the server told of.
    head: Option<watch::Receiver<u64>>,
    /// Whether the last page was the end.
    at_end: bool,
    caught_up: bool,
    /// The connection over which the end of the stream was seen last.
    connection: u64,
    failed: bool,
}

impl State {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        loop {
            for stored in self.ready.by_ref() {
                self.seen = stored.sequence;
                let event = event(&stored, &self.inner.prefix)?;
                if self.filter.passes(&event.stream, &event.event_type) {
                    return Ok(Delivery::Event(event));
                }
            }
            if self.at_end && !self.caught_up {
                self.caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
            if self.at_end {
                self.wait().await;
            }
            self.fetch().await?;
        }
    }

    /// Waits until there may be more.
    async fn wait(&mut self) {
        let every = if self.inner.news.told { TOLD } else { UNTOLD };
        let seen = self.seen;
        let Some(head) = &mut self.head else { return sleep(every).await };
        if *head.borrow() > seen {
            // Told of already, and the page did not have it.
            return sleep(SOON).await;
        }
        let _ = timeout(every, head.wait_for(|head| *head > seen)).await;
    }

    async fn fetch(&mut self) -> Result<(), StoreError> {
        // Before the first page, so that nothing which comes behind it is missed.
        if self.head.is_none() && Handle::try_current().is_ok() {
            self.head = Some(self.inner.news.listen(&self.inner.link, &self.inner.prefix));
        }
        let page = match self.seen.checked_add(1) {
            Some(next) => self.inner.source.page(&self.subject, next, PAGE).await,
            // Behind the last of all numbers nothing comes.
            None => Ok(Page { messages: Vec::new(), end: true }),
        };
        match page {
            Ok(page) => {
                let nothing = page.messages.is_empty();
                let connection = self.inner.link.connection_number();
                if nothing && (self.asked.is_some() || connection != self.connection) {
                    // Where the server does not say, it is asked again.
                    let Some(last) = self.last_sequence().await? else { return Ok(()) };
                    self.is_not_behind(last)?;
                    self.connection = connection;
                }
                self.asked = None;
                self.at_end = page.end;
                self.ready = page.messages.into_iter();
                Ok(())
            }
            // For as long as it takes: whoever does not want to wait drops the subscription.
            Err(error) if error.is_temporary() => {
                tracing::warn!(stream = %self.inner.stream, "a subscription waits for the server: {error}");
                self.at_end = false;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A server that lost the end of the stream gives its sequences again, to other events: who has seen the first would
    /// never see these. Nor would they who name a position of another store.
    fn is_not_behind(&self, last: u64) -> Result<(), StoreError> {
        if last >= self.seen {
            return Ok(());
        }
        let (stream, seen) = (self.inner.stream.clone(), self.seen);
        Err(match self.asked {
            Some(asked) => StoreError::ForeignPosition(asked),
            None => JetStreamError::WentBack { stream, last, seen }.into(),
        })
    }

    /// `None`: it is not known yet. Then there will be another connection, or another look.
    async fn last_sequence(&self) -> Result<Option<u64>, StoreError> {
        match self.inner.source.last_sequence().await {
            Ok(last) => Ok(Some(last)),
            Err(error) if error.is_temporary() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
