//! Reads, page by page, in both directions.

use std::{sync::Arc, vec};

use futures::{StreamExt as _, stream};
use oubliette::{
    ReadOptions, RecordedEvent, StoreError, TaskError,
    event::Position,
    store::{Direction, EventStream, ReadAllOptions},
};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    envelope::{Stored, event},
    error::JetStreamError,
    pages::{PAGE, Page},
    store::Inner,
};

/// What was asked for. Revisions and positions are both sequences, so that a stream is read as the whole is, through another
/// subject.
#[derive(Debug)]
pub(crate) struct Range {
    subject: String,
    direction: Direction,
    /// The first sequence, inclusive: `None` for the first of all, or, backwards, the last.
    from: Option<u64>,
    limit: Option<usize>,
}

impl Range {
    pub(crate) fn of_stream(subject: String, options: ReadOptions) -> Self {
        let ReadOptions { from, direction, limit } = options;
        Self { subject, direction, from: from.map(|revision| revision.0), limit }
    }

    pub(crate) fn of_all(subject: String, options: ReadAllOptions) -> Result<Self, StoreError> {
        let ReadAllOptions { after, direction, mut limit } = options;
        let from = match after.map(sequence).transpose()? {
            None => None,
            Some(after) => {
                let next = match direction {
                    Direction::Forwards => after.checked_add(1),
                    Direction::Backwards => after.checked_sub(1),
                };
                if next.is_none() {
                    limit = Some(0);
                }
                next
            }
        };
        Ok(Self { subject, direction, from, limit })
    }
}

/// The sequence that a position is.
pub(crate) fn sequence(position: Position) -> Result<u64, StoreError> {
    position.as_number().ok_or(StoreError::ForeignPosition(position))
}

/// The events of a range. Nothing is fetched before it is polled.
pub(crate) fn events(inner: Arc<Inner>, range: Range) -> EventStream {
    let Range { subject, direction, from, limit } = range;
    let next = match direction {
        Direction::Forwards => Next::Forwards(from.unwrap_or(1)),
        Direction::Backwards => Next::FromTheEnd(from),
    };
    let left = limit.unwrap_or(usize::MAX);
    let fetch = Fetch { inner, subject: subject.into() };
    let reader =
        Reader { fetch, next, left, coming: None, ready: Vec::new().into_iter(), failed: false };
    stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) }).boxed()
}

/// What is to be fetched next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// From this sequence on.
    Forwards(u64),
    /// From the end, or, where it is before that, from this sequence back.
    FromTheEnd(Option<u64>),
    /// What is at this sequence or before it, in a window of so many sequences.
    Backwards(u64, u64),
    Nothing,
}

/// What was fetched, and what comes behind it.
type Fetched = Result<(Vec<Stored>, Next), JetStreamError>;

struct Reader {
    fetch: Fetch,
    next: Next,
    left: usize,
    /// The next page, which is fetched while this one is used.
    coming: Option<JoinHandle<Fetched>>,
    ready: vec::IntoIter<Stored>,
    failed: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<RecordedEvent, StoreError>> {
        loop {
            if self.failed || self.left == 0 {
                return None;
            }
            if let Some(stored) = self.ready.next() {
                self.left -= 1;
                let event = event(&stored, &self.fetch.inner.prefix);
                self.failed = event.is_err();
                return Some(event);
            }
            if matches!(self.next, Next::Nothing) {
                return None;
            }
            if let Err(error) = self.turn().await {
                self.failed = true;
                return Some(Err(error.into()));
            }
        }
    }

    async fn turn(&mut self) -> Result<(), JetStreamError> {
        if self.coming.is_none() {
            self.send_for(self.left)?;
        }
        let Some(coming) = &mut self.coming else { return Ok(()) };
        let fetched = coming.await;
        self.coming = None;
        let (messages, next) = fetched.map_err(TaskError::from)??;
        let left = self.left.saturating_sub(messages.len());
        (self.ready, self.next) = (messages.into_iter(), next);
        if left > 0 && !matches!(self.next, Next::Nothing) {
            self.send_for(left)?;
        }
        Ok(())
    }

    fn send_for(&mut self, left: usize) -> Result<(), JetStreamError> {
        let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
        let (fetch, next) = (self.fetch.clone(), self.next);
        self.coming = Some(runtime.spawn(async move { fetch.page(next, left).await }));
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(coming) = &self.coming {
            coming.abort();
        }
    }
}

#[derive(Clone)]
struct Fetch {
    inner: Arc<Inner>,
    subject: Arc<str>,
}

impl Fetch {
    /// A page, of which at most so many messages are wanted.
    async fn page(&self, next: Next, left: usize) -> Fetched {
        let source = &self.inner.source;
        Ok(match next {
            Next::Nothing => (Vec::new(), Next::Nothing),
            Next::Forwards(from) => {
                let Page { messages, end } =
                    source.page(&self.subject, from, left.min(PAGE)).await?;
                let last = messages.last().and_then(|last| last.sequence.checked_add(1));
                let next =
                    if end { Next::Nothing } else { last.map_or(Next::Nothing, Next::Forwards) };
                (messages, next)
            }
            Next::FromTheEnd(from) => match source.last(&self.subject).await? {
                None => (Vec::new(), Next::Nothing),
                // Most who read backwards want the last event alone.
                Some(last) if from.is_none_or(|from| last.sequence <= from) => {
                    let next = before(last.sequence, FIRST_WINDOW);
                    (vec![last], next)
                }
                Some(_) => {
                    let from = from.map(|from| from.saturating_add(1));
                    (Vec::new(), from.map_or(Next::Nothing, |from| before(from, FIRST_WINDOW)))
                }
            },
            Next::Backwards(high, window) => self.backwards(high, window).await?,
        })
    }

    /// JetStream finds the next message of a subject, and not the one before. So a window of sequences is read forwards and
    /// turned round; the next one is wider where little was in it, and narrower where it held more than a page.
    async fn backwards(&self, high: u64, window: u64) -> Fetched {
        let low = high.saturating_sub(window - 1).max(1);
        let limit = usize::try_from(high - low + 1).unwrap_or(PAGE).min(PAGE);
        let Page { mut messages, end } = self.inner.source.page(&self.subject, low, limit).await?;
        let whole = end || messages.last().is_some_and(|last| last.sequence >= high);
        if !whole && window > 1 {
            return Ok((Vec::new(), Next::Backwards(high, window / 4 + 1)));
        }
        messages.retain(|message| message.sequence <= high);
        messages.reverse();
        let few = messages.len() < PAGE / 8;
        let wider = if few { window.saturating_mul(4) } else { window };
        Ok((messages, before(low, wider)))
    }
}

/// As many sequences as messages that one page holds in any case.
const FIRST_WINDOW: u64 = 64;

/// What is before a sequence.
fn before(sequence: u64, window: u64) -> Next {
    match sequence.saturating_sub(1) {
        0 => Next::Nothing,
        high => Next::Backwards(high, window),
    }
}
