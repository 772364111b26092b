//! Reads, page by page, in both directions.

use std::{sync::Arc, vec};

use futures::{StreamExt as _, stream};
use kurrentdb::StreamPosition;
use oubliette::{
    ReadOptions, RecordedEvent, StoreError,
    event::Revision,
    store::{Direction, EventStream, ReadAllOptions},
};

use crate::{
    event::{Found, incoming, pair},
    pages::{Ask, PAGE, Page},
    store::Inner,
};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The next page; `None` where nothing comes any more.
    next: Option<Ask>,
    limit: usize,
}

impl Range {
    /// A stream, by its name on the server.
    pub(crate) fn of_stream(name: String, options: ReadOptions) -> Self {
        let ReadOptions { from, direction, limit } = options;
        let backwards = direction == Direction::Backwards;
        // The server counts with 63 bits, and takes the largest number of 64 for the end.
        let from = match from {
            Some(Revision(from)) if i64::try_from(from).is_ok() => {
                Some(StreamPosition::Position(from))
            }
            Some(_) if !backwards => None,
            None if !backwards => Some(StreamPosition::Start),
            _ => Some(StreamPosition::End),
        };
        let next = from.map(|from| Ask::Stream { name: name.into(), from, backwards });
        Self { next, limit: limit.unwrap_or(usize::MAX) }
    }

    pub(crate) fn of_all(options: ReadAllOptions) -> Result<Self, StoreError> {
        let ReadAllOptions { after, direction, limit } = options;
        let beyond = after.map(pair).transpose()?;
        let backwards = direction == Direction::Backwards;
        Ok(Self { next: Some(Ask::All { beyond, backwards }), limit: limit.unwrap_or(usize::MAX) })
    }
}

/// What comes behind a page.
pub(crate) fn behind(ask: &Ask, page: &Page) -> Option<Ask> {
    let last = page.found.last().filter(|_| !page.end)?;
    match ask {
        Ask::Stream { name, backwards, .. } => {
            let next = if *backwards {
                last.revision.checked_sub(1)
            } else {
                last.revision.checked_add(1)
            };
            let from = StreamPosition::Position(next?);
            Some(Ask::Stream { name: Arc::clone(name), from, backwards: *backwards })
        }
        Ask::All { backwards, .. } => {
            Some(Ask::All { beyond: Some(last.position?), backwards: *backwards })
        }
    }
}

/// The events of a range. Nothing is fetched before it is polled.
pub(crate) fn events(inner: Arc<Inner>, range: Range) -> EventStream {
    let Range { next, limit } = range;
    let reader = Reader { inner, next, left: limit, ready: Vec::new().into_iter(), failed: false };
    stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) }).boxed()
}

struct Reader {
    inner: Arc<Inner>,
    next: Option<Ask>,
    left: usize,
    ready: vec::IntoIter<Found>,
    failed: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<RecordedEvent, StoreError>> {
        while self.left > 0 && !self.failed {
            for found in self.ready.by_ref() {
                match incoming(&found, &self.inner.source.prefix) {
                    Ok(None) => {}
                    Ok(Some(event)) => {
                        self.left -= 1;
                        return Some(Ok(event));
                    }
                    Err(error) => {
                        self.failed = true;
                        return Some(Err(error));
                    }
                }
            }
            let ask = self.next.take()?;
            match self.inner.source.page(&ask, self.left.min(PAGE)).await {
                Ok(page) => {
                    self.next = behind(&ask, &page);
                    self.ready = page.found.into_iter();
                }
                Err(failed) => {
                    self.failed = true;
                    return Some(Err(self.inner.read_failed(failed, &ask).into()));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(revision: u64, position: u64) -> Found {
        Found {
            stream: "a".to_owned(),
            revision,
            position: Some((position, position)),
            id: uuid::Uuid::nil(),
            event_type: "Paid".to_owned(),
            json: true,
            ticks: Some(0),
            data: "{}".into(),
            metadata: bytes::Bytes::new(),
        }
    }

    fn page(revisions: &[u64], end: bool) -> Page {
        Page { found: revisions.iter().map(|at| found(*at, at * 100)).collect(), end }
    }

    fn stream(from: StreamPosition<u64>, backwards: bool) -> Ask {
        Ask::Stream { name: "a".into(), from, backwards }
    }

    #[test]
    fn a_read_of_a_stream_begins_at_the_revision_named() {
        use StreamPosition::{End, Position, Start};
        let most = i64::MAX.unsigned_abs();
        for (from, forwards, backwards) in [
            (None, Some(Start), Some(End)),
            (Some(0), Some(Position(0)), Some(Position(0))),
            (Some(most), Some(Position(most)), Some(Position(most))),
            (Some(most + 1), None, Some(End)),
            (Some(u64::MAX), None, Some(End)),
        ] {
            for (direction, wanted) in
                [(Direction::Forwards, forwards), (Direction::Backwards, backwards)]
            {
                let options = ReadOptions { from: from.map(Revision), direction, limit: Some(3) };
                let range = Range::of_stream("a".to_owned(), options);
                let back = direction == Direction::Backwards;
                assert_eq!(range.next, wanted.map(|from| stream(from, back)), "{from:?}");
                assert_eq!(range.limit, 3);
            }
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        use StreamPosition::{End, Position, Start};
        let next = |ask: &Ask, page| behind(ask, &page);
        let forwards = stream(Start, false);
        assert_eq!(next(&forwards, page(&[5, 6, 9], false)), Some(stream(Position(10), false)));
        assert_eq!(next(&forwards, page(&[5, 6, 9], true)), None);
        assert_eq!(next(&forwards, page(&[], true)), None);
        let backwards = stream(End, true);
        assert_eq!(next(&backwards, page(&[9, 6], false)), Some(stream(Position(5), true)));
        assert_eq!(next(&backwards, page(&[1, 0], false)), None);
        for backwards in [false, true] {
            let all = Ask::All { beyond: None, backwards };
            let beyond = Some((300, 300));
            assert_eq!(next(&all, page(&[9, 3], false)), Some(Ask::All { beyond, backwards }));
            assert_eq!(next(&all, page(&[9, 3], true)), None);
        }
    }
}
