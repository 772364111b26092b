//! A read as a stream: pages are fetched on blocking threads, the next while the last is used.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use futures::{FutureExt, Stream};

use super::{
    Inner, SqliteError,
    reader::{Page, Reader, Scope},
};
use crate::{
    event::{Position, RecordedEvent, StreamName},
    runtime::{self, Task},
    store::{Direction, Filter, ReadAllOptions, ReadOptions, StoreError},
};

/// What was asked for.
#[derive(Debug)]
pub(super) struct Range {
    stream: Option<StreamName>,
    direction: Direction,
    /// The first number (position or revision) to return.
    from: Option<i64>,
    limit: Option<usize>,
}

impl Range {
    pub(super) fn of_stream(stream: StreamName, options: ReadOptions) -> Self {
        let ReadOptions { from, direction, limit } = options;
        Self { stream: Some(stream), direction, from: from.map(|from| stored(from.0)), limit }
    }

    pub(super) fn of_all(options: ReadAllOptions) -> Result<Self, StoreError> {
        let ReadAllOptions { after, direction, mut limit } = options;
        let from = match after.map(number_of).transpose()? {
            None => None,
            Some(after) => {
                let next = match direction {
                    Direction::Forwards => after.checked_add(1),
                    Direction::Backwards => after.checked_sub(1).filter(|before| *before >= 0),
                };
                if next.is_none() {
                    limit = Some(0);
                }
                next
            }
        };
        Ok(Self { stream: None, direction, from, limit })
    }

    /// All streams, from a number (inclusive).
    pub(super) fn from(first: i64) -> Self {
        Self { stream: None, direction: Direction::Forwards, from: Some(first), limit: None }
    }

    /// Fixes what the read will see: what is there now. Events only ever come behind it, so
    /// that all pages together are one consistent picture without a transaction being held.
    fn begin(self, reader: &Reader, filter: Option<Filter>) -> Result<Cursor, SqliteError> {
        let scope = match &self.stream {
            None => Some(Scope::All),
            Some(stream) => reader.stream_number(stream)?.map(Scope::Stream),
        };
        let last = match scope {
            Some(scope) => reader.last(scope)?,
            None => None,
        };
        let (first, last) = match (self.direction, last) {
            (Direction::Forwards, Some(last)) => (self.from.unwrap_or(0), last),
            (Direction::Backwards, Some(last)) => {
                (0, self.from.map_or(last, |from| from.min(last)))
            }
            (_, None) => (1, 0),
        };
        Ok(Cursor {
            scope: scope.unwrap_or(Scope::All),
            direction: self.direction,
            first,
            last,
            left: self.limit.unwrap_or(usize::MAX),
            filter,
        })
    }
}

/// The number that a position is.
pub(super) fn number_of(position: Position) -> Result<i64, StoreError> {
    position.as_number().map(stored).ok_or(StoreError::ForeignPosition(position))
}

/// Beyond what can be stored nothing is stored.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How far a read has come.
struct Cursor {
    scope: Scope,
    direction: Direction,
    /// What is left is between these numbers, both inclusive.
    first: i64,
    last: i64,
    left: usize,
    filter: Option<Filter>,
}

impl Cursor {
    fn is_done(&self) -> bool {
        self.left == 0 || self.first > self.last
    }

    fn page(&mut self, reader: &mut Reader) -> Result<Vec<RecordedEvent>, StoreError> {
        if self.is_done() {
            return Ok(Vec::new());
        }
        let between = (self.first, self.last);
        let Page { events, stopped_at } =
            reader.page(self.scope, self.direction, between, self.left, self.filter.as_ref())?;
        self.left -= events.len().min(self.left);
        match (stopped_at, self.direction) {
            (Some(at), Direction::Forwards) => self.first = at.saturating_add(1),
            (Some(at), Direction::Backwards) => self.last = at.saturating_sub(1),
            (None, _) => self.left = 0,
        }
        Ok(events)
    }
}

enum Progress {
    Start(Range, Option<Filter>),
    Going(Cursor),
}

struct Fetched {
    events: Vec<RecordedEvent>,
    cursor: Cursor,
    /// The last number that this read will see, where it goes over all streams.
    end: i64,
}

/// The events of a range. Fetches nothing before it is polled.
pub(super) struct Pages {
    inner: Arc<Inner>,
    /// What to fetch next; `None` while it is being fetched, and at the end.
    next: Option<Progress>,
    fetching: Option<Task<Result<Fetched, StoreError>>>,
    ready: vec::IntoIter<RecordedEvent>,
    end: Option<i64>,
}

impl Pages {
    pub(super) fn new(inner: Arc<Inner>, range: Range, filter: Option<Filter>) -> Self {
        Self {
            inner,
            next: Some(Progress::Start(range, filter)),
            fetching: None,
            ready: Vec::new().into_iter(),
            end: None,
        }
    }

    /// The last position that a read of all streams could see, once it has begun.
    pub(super) fn end(&self) -> Option<i64> {
        self.end
    }

    fn fetch(&mut self) -> Result<(), StoreError> {
        let Some(progress) = self.next.take() else { return Ok(()) };
        let inner = Arc::clone(&self.inner);
        self.fetching = Some(runtime::spawn_blocking(move || {
            inner.readers.with(|reader| {
                let mut cursor = match progress {
                    Progress::Start(range, filter) => range.begin(reader, filter)?,
                    Progress::Going(cursor) => cursor,
                };
                let end = cursor.last;
                let events = cursor.page(reader)?;
                Ok(Fetched { events, cursor, end })
            })
        })?);
        Ok(())
    }
}

impl Stream for Pages {
    type Item = Result<RecordedEvent, StoreError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.ready.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            if this.fetching.is_none()
                && let Err(error) = this.fetch()
            {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(fetching) = &mut this.fetching else { return Poll::Ready(None) };
            let fetched = ready!(fetching.poll_unpin(context));
            this.fetching = None;
            match fetched.unwrap_or_else(|error| Err(error.into())) {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(Fetched { events, cursor, end }) => {
                    this.end.get_or_insert(end);
                    this.ready = events.into_iter();
                    if !cursor.is_done() {
                        this.next = Some(Progress::Going(cursor));
                        // The next page is fetched while this one is used.
                        if let Err(error) = this.fetch() {
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
    }
}
