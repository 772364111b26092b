//! Reading: page by page, each from where the last one ended.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, stream};
use oubliette::{
    event::{Position, RecordedEvent, StreamName},
    store::{Capability, Direction, EventStream, Filter, ReadAllOptions, ReadOptions, StoreError},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    Inner,
    rows::{Seen, position},
};
use crate::{connect::query, error::PostgresError, rows::stored};

/// A page ends with this many events …
const PAGE: i64 = 512;
/// … or with about this many bytes, as they are stored.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;
/// So many events that a filter lets through are fetched at once: they may be large.
const GROUP: usize = 32;

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Inner {
    /// As [`query`].
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, PostgresError> {
        query(&self.pool, sql, parameters).await
    }

    /// The rows of one page: of those for which `of` holds, in this order, as many as fit.
    fn page(&self, of: &str, by: &str, column: &str, direction: Direction, limit: usize) -> String {
        let (raw, cooked) = (self.shape.raw(), self.shape.cooked());
        let limit = stored(limit as u64).min(PAGE);
        let way = match direction {
            Direction::Forwards => "ASC",
            Direction::Backwards => "DESC",
        };
        // What is stored is as large as it says without being fetched.
        format!(
            "SELECT {cooked} FROM (
                SELECT p.*, sum(coalesce(pg_column_size(p.data), 0))
                    OVER (ORDER BY p.{by} {way} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                FROM (SELECT {raw} FROM {} t WHERE {of} ORDER BY t.{column} {way} LIMIT {limit}) p
             ) e WHERE e.before IS NULL OR e.before < {PAGE_BYTES} ORDER BY e.{by} {way}",
            self.shape.table
        )
    }

    /// The events of a page up to the first that is damaged; the error where that is the first of all.
    fn events(&self, rows: &[Row], seen: &mut Seen) -> Result<Vec<RecordedEvent>, StoreError> {
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            match self.shape.event(row, seen) {
                Ok(event) => events.push(event),
                Err(error) if events.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(events)
    }
}

/// A read in progress, of whichever kind.
struct Reading<Next> {
    inner: Arc<Inner>,
    seen: Seen,
    ready: VecDeque<RecordedEvent>,
    left: usize,
    next: Option<Next>,
}

impl<Next> Reading<Next> {
    fn new(inner: Arc<Inner>, limit: Option<usize>, next: Next) -> Self {
        let left = limit.unwrap_or(usize::MAX);
        Self { inner, seen: Seen::default(), ready: VecDeque::new(), left, next: Some(next) }
    }

    fn take(&mut self, rows: &[Row]) -> Result<Option<&RecordedEvent>, StoreError> {
        self.ready.extend(self.inner.events(rows, &mut self.seen)?);
        self.left = self.left.saturating_sub(self.ready.len());
        Ok(self.ready.back())
    }
}

/// Reads one stream.
pub(super) fn read(inner: Arc<Inner>, stream: &StreamName, options: ReadOptions) -> EventStream {
    // A stream whose name the table cannot hold is empty, as any that nobody wrote to.
    let Some(parts) = inner.parts_of(stream) else { return stream::empty().boxed() };
    let state = Reading::new(inner, options.limit, OfStream { parts, options, bounds: None });
    stream::unfold(state, |mut state| async move {
        let event = state.next_of_stream().await.transpose()?;
        Some((event, state))
    })
    .fuse()
    .boxed()
}

struct OfStream {
    parts: Vec<String>,
    options: ReadOptions,
    /// What is left of its revisions as the table has them, both inclusive: fixed when the first event is asked for.
    bounds: Option<(i64, i64)>,
}

impl Reading<OfStream> {
    async fn next_of_stream(&mut self) -> Result<Option<RecordedEvent>, StoreError> {
        if self.ready.is_empty()
            && let Some(next) = self.next.take().filter(|_| self.left > 0)
        {
            self.next = self.fetch_of_stream(next).await?;
        }
        Ok(self.ready.pop_front())
    }

    async fn fetch_of_stream(
        &mut self,
        mut next: OfStream,
    ) -> Result<Option<OfStream>, StoreError> {
        let inner = Arc::clone(&self.inner);
        let shape = &inner.shape;
        let (of, direction) = (shape.of_stream(), next.options.direction);
        let mut parameters: Vec<Parameter<'_>> =
            next.parts.iter().map(|part| (part as &(dyn ToSql + Sync), Type::TEXT)).collect();
        let (first, last) = match next.bounds {
            Some(bounds) => bounds,
            None => {
                let sql = format!(
                    "SELECT max(t.{})::bigint FROM {} t WHERE {of}",
                    shape.revision.sql, shape.table
                );
                let rows = inner.query(&sql, &parameters).await?;
                let last = rows
                    .first()
                    .map(|row| row.try_get(0))
                    .transpose()
                    .map_err(PostgresError::from)?
                    .flatten();
                let Some(last) = last else { return Ok(None) };
                let from = next
                    .options
                    .from
                    .map(|from| stored(from.0).saturating_add(shape.first_revision));
                match direction {
                    // From what is before the first, too: that is damage, and told.
                    Direction::Forwards => (from.unwrap_or(i64::MIN), last),
                    Direction::Backwards => (i64::MIN, from.map_or(last, |from| from.min(last))),
                }
            }
        };
        let count = parameters.len();
        let of =
            format!("{of} AND t.{} BETWEEN ${} AND ${}", shape.revision.sql, count + 1, count + 2);
        parameters.extend([(&first as &(dyn ToSql + Sync), Type::INT8), (&last, Type::INT8)]);
        let sql = inner.page(&of, "revision", &shape.revision.sql, direction, self.left);
        let rows = inner.query(&sql, &parameters).await?;
        let Some(event) = self.take(&rows)? else { return Ok(None) };
        let at = stored(event.revision.0).saturating_add(shape.first_revision);
        next.bounds = Some(match direction {
            Direction::Forwards => (at.saturating_add(1), last),
            Direction::Backwards => (first, at.saturating_sub(1)),
        });
        Ok(Some(next))
    }
}

/// The number of a position of this store's.
pub(super) fn number(position: Position) -> Result<i64, StoreError> {
    position.as_number().map(stored).ok_or(StoreError::ForeignPosition(position))
}

/// Reads all streams.
pub(super) fn read_all(inner: Arc<Inner>, options: ReadAllOptions) -> EventStream {
    if !inner.shape.is_ordered {
        return stream::iter([Err(StoreError::Unsupported(Capability::ReadAll))]).boxed();
    }
    let after = match options.after.map(number).transpose() {
        Ok(after) => after,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let (after, before) = match options.direction {
        Direction::Forwards => (after.unwrap_or(i64::MIN), None),
        Direction::Backwards => (i64::MIN, after),
    };
    let all = OfAll { direction: options.direction, after, before, decided: false };
    let state = Reading::new(inner, options.limit, all);
    stream::unfold(state, |mut state| async move {
        let event = state.next_of_all().await.transpose()?;
        Some((event, state))
    })
    .fuse()
    .boxed()
}

struct OfAll {
    direction: Direction,
    /// What is left is between these two, both exclusive.
    after: i64,
    before: Option<i64>,
    /// Whether everything there is decided: that is waited for when the first event is asked for.
    decided: bool,
}

impl Reading<OfAll> {
    async fn next_of_all(&mut self) -> Result<Option<RecordedEvent>, StoreError> {
        if self.ready.is_empty()
            && let Some(next) = self.next.take().filter(|_| self.left > 0)
        {
            self.next = self.fetch_of_all(next).await?;
        }
        Ok(self.ready.pop_front())
    }

    async fn fetch_of_all(&mut self, mut next: OfAll) -> Result<Option<OfAll>, StoreError> {
        let inner = Arc::clone(&self.inner);
        if !next.decided {
            let Some(high) = inner.decided().await? else { return Ok(None) };
            let behind = high.saturating_add(1);
            next.before = Some(next.before.map_or(behind, |before| before.min(behind)));
            next.decided = true;
        }
        let before = next.before.unwrap_or(i64::MAX);
        let rows = inner.fetch(next.direction, next.after, before, self.left).await?;
        let Some(event) = self.take(&rows)? else { return Ok(None) };
        let at = number(event.position)?;
        match next.direction {
            Direction::Forwards => next.after = at,
            Direction::Backwards => next.before = Some(at),
        }
        Ok(Some(next))
    }
}

impl Inner {
    /// A page of what is between two positions, both exclusive.
    async fn fetch(
        &self,
        direction: Direction,
        after: i64,
        before: i64,
        limit: usize,
    ) -> Result<Vec<Row>, PostgresError> {
        let column = &self.shape.position;
        let of = format!("t.{column} > $1 AND t.{column} < $2");
        let sql = self.page(&of, "at", column, direction, limit);
        self.query(&sql, &[(&after, Type::INT8), (&before, Type::INT8)]).await
    }

    /// A page of what a filter lets through, up to and with a position; and up to where was looked, if there was anything.
    pub(super) async fn filtered(
        &self,
        seen: &mut Seen,
        filter: &Filter,
        after: i64,
        up_to: i64,
    ) -> Result<(Vec<RecordedEvent>, Option<i64>), StoreError> {
        let before = up_to.saturating_add(1);
        if filter.stream_prefixes.is_empty() && filter.event_types.is_empty() {
            let rows = self.fetch(Direction::Forwards, after, before, usize::MAX).await?;
            let events = self.events(&rows, seen)?;
            let next = events.last().map(|event| number(event.position)).transpose()?;
            return Ok((events, next));
        }
        // First what is looked at, which is small; then what passes.
        let (passing, next) = self.passing(seen, filter, after, before).await?;
        let mut events = Vec::with_capacity(passing.len());
        let mut rest = &passing[..];
        while !rest.is_empty() {
            let (group, others) = rest.split_at(rest.len().min(GROUP));
            rest = others;
            let (raw, cooked) = (self.shape.raw(), self.shape.cooked());
            let sql = format!(
                "SELECT {cooked} FROM (SELECT {raw} FROM {} t WHERE t.{} = ANY ($1)) e ORDER BY e.at",
                self.shape.table, self.shape.position
            );
            let rows = self.query(&sql, &[(&group, Type::INT8_ARRAY)]).await?;
            let found = match self.events(&rows, seen) {
                Ok(found) => found,
                Err(error) if events.is_empty() => return Err(error),
                // What is before it is delivered first.
                Err(_) => Vec::new(),
            };
            let (is_whole, bytes) =
                (found.len() == rows.len(), found.iter().map(bytes_of).sum::<i64>());
            events.extend(found);
            if !is_whole || bytes > PAGE_BYTES && !rest.is_empty() {
                let last = events.last().map(|event| number(event.position)).transpose()?;
                return Ok((events, last.or(Some(after))));
            }
        }
        Ok((events, next))
    }

    /// The positions of what a filter lets through, and up to where was looked.
    async fn passing(
        &self,
        seen: &mut Seen,
        filter: &Filter,
        after: i64,
        before: i64,
    ) -> Result<(Vec<i64>, Option<i64>), StoreError> {
        let shape = &self.shape;
        let parts: Vec<String> =
            shape.parts.iter().map(|part| format!("t.{}::text", part.sql)).collect();
        let sql = format!(
            "SELECT t.{0}::bigint, t.{1}::text, {2} FROM {3} t WHERE t.{0} > $1 AND t.{0} < $2 ORDER BY t.{0} LIMIT {4}",
            shape.position,
            shape.event_type.sql,
            parts.join(", "),
            shape.table,
            PAGE * 4
        );
        let (mut passing, mut next) = (Vec::new(), None);
        for row in self.query(&sql, &[(&after, Type::INT8), (&before, Type::INT8)]).await? {
            match self.looked_at(&row, seen, filter) {
                Ok((at, passes)) => {
                    passing.extend(passes.then_some(at));
                    next = Some(at);
                }
                Err(error) if next.is_none() => return Err(error),
                Err(_) => break,
            }
        }
        Ok((passing, next))
    }

    fn looked_at(
        &self,
        row: &Row,
        seen: &mut Seen,
        filter: &Filter,
    ) -> Result<(i64, bool), StoreError> {
        let client = |error: tokio_postgres::Error| StoreError::from(PostgresError::from(&error));
        let at: i64 = row.try_get(0).map_err(client)?;
        let stream = self.shape.stream(row, at, 2, seen)?;
        let event_type = seen.event_type(row.try_get(1).map_err(client)?);
        let event_type = event_type.ok_or_else(|| StoreError::Damaged {
            position: position(at),
            source: PostgresError::Damaged("its type can be no name").into(),
        })?;
        Ok((at, filter.passes(&stream, &event_type)))
    }
}

fn bytes_of(event: &RecordedEvent) -> i64 {
    stored(event.data.as_ref().map_or(0, |data| data.as_bytes().len()) as u64)
}
