//! Reading: page by page, each from where the last one ended.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use oubliette::{
    event::{EventType, Position, RecordedEvent, StreamName},
    store::{Direction, EventStream, Filter, ReadAllOptions, ReadOptions, StoreError},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{
    connect::{OnItsOwn, query},
    error::PostgresError,
    rows::{COLUMNS, Names, numbers, position, stored},
    store::Inner,
};

/// A page ends with this many events …
const PAGE: i64 = 512;
/// … or with about this many bytes, as they are stored.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;
/// So many events that a filter lets through are fetched at once: they may be large.
const GROUP: usize = 32;
/// Between two looks whether older transactions have ended.
const GLANCES: [u64; 6] = [2, 5, 10, 20, 50, 100];

/// Before all positions, and behind them.
const FIRST: (i64, i64) = (-1, -1);
const LAST: (i64, i64) = (i64::MAX, i64::MAX);

impl Inner {
    /// As [`query`].
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, PostgresError> {
        query(&self.pool, sql, parameters).await
    }

    /// The rows of one page of events: of those that `events` selects in some order, as many as fit.
    fn page(&self, of: &str, order: &str, limit: usize) -> String {
        let schema = &self.schema;
        let limit = stored(limit as u64).min(PAGE);
        // What is stored is as large as it says without being fetched.
        format!(
            "SELECT {COLUMNS} FROM (
                SELECT p.*, sum(coalesce(pg_column_size(p.data), 0) + coalesce(pg_column_size(p.bytes), 0))
                    OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                FROM (SELECT * FROM {schema}.event p WHERE {of} ORDER BY {order} LIMIT {limit}) p
             ) e JOIN {schema}.stream s ON s.number = e.stream
             WHERE e.before IS NULL OR e.before < {PAGE_BYTES}
             ORDER BY {order}",
        )
    }
}

fn order(direction: Direction, columns: &[&str]) -> String {
    let ascending = match direction {
        Direction::Forwards => "ASC",
        Direction::Backwards => "DESC",
    };
    columns.iter().map(|column| format!("{column} {ascending}")).collect::<Vec<_>>().join(", ")
}

/// Where a read goes on.
trait Next: Sized + Send + 'static {
    /// The next page, of at most so many events.
    fn fetch(
        self,
        inner: Arc<Inner>,
        names: Names,
        left: usize,
    ) -> impl Future<Output = Result<Page<Self>, StoreError>> + Send;
}

/// Some events, in order, and how to go on, if there may be more.
struct Page<N> {
    events: VecDeque<RecordedEvent>,
    next: Option<N>,
    names: Names,
}

/// A read in progress, of whichever kind. The next page is fetched while the last one is used.
struct Pages<N: Next> {
    inner: Arc<Inner>,
    ready: VecDeque<RecordedEvent>,
    left: usize,
    next: Option<(N, Names)>,
    fetching: Option<OnItsOwn<Result<Page<N>, StoreError>>>,
}

impl<N: Next> Pages<N> {
    fn stream(inner: Arc<Inner>, limit: Option<usize>, next: N) -> EventStream {
        let left = limit.unwrap_or(usize::MAX);
        let next = Some((next, Names::default()));
        let pages = Self { inner, ready: VecDeque::new(), left, next, fetching: None };
        stream::unfold(pages, |mut pages| async move {
            let event = pages.next().await.transpose()?;
            Some((event, pages))
        })
        .fuse()
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<RecordedEvent>, StoreError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            self.fetch()?;
            let Some(fetching) = &mut self.fetching else { return Ok(None) };
            let page = fetching.await;
            self.fetching = None;
            let Page { events, next, names } = page??;
            self.left = self.left.saturating_sub(events.len());
            self.ready = events;
            self.next = next.map(|next| (next, names));
            self.fetch()?;
        }
    }

    fn fetch(&mut self) -> Result<(), StoreError> {
        let Some((next, names)) = self.next.take().filter(|_| self.left > 0) else { return Ok(()) };
        self.fetching = Some(OnItsOwn::run(next.fetch(Arc::clone(&self.inner), names, self.left))?);
        Ok(())
    }
}

impl Inner {
    /// The events of rows. What is damaged ends them behind what is before it: whoever goes on meets it first.
    fn events(
        &self,
        names: &mut Names,
        rows: &[Row],
    ) -> Result<VecDeque<RecordedEvent>, StoreError> {
        let mut events = VecDeque::with_capacity(rows.len());
        for row in rows {
            match names.event(row, self.payloads) {
                Ok(event) => events.push_back(event),
                Err(error) if events.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(events)
    }
}

/// Reads one stream.
pub(crate) fn read(inner: Arc<Inner>, stream: StreamName, options: ReadOptions) -> EventStream {
    Pages::stream(inner, options.limit, OfStream { stream, options, bounds: None })
}

struct OfStream {
    stream: StreamName,
    options: ReadOptions,
    /// The stream's number, and what is left of its revisions, both inclusive: fixed when the first event is asked for, so
    /// that all pages together are one consistent picture without a transaction being held.
    bounds: Option<(i64, i64, i64)>,
}

impl Next for OfStream {
    async fn fetch(
        mut self,
        inner: Arc<Inner>,
        mut names: Names,
        left: usize,
    ) -> Result<Page<Self>, StoreError> {
        let schema = &inner.schema;
        let direction = self.options.direction;
        let (number, first, last) = match self.bounds {
            Some(bounds) => bounds,
            None => {
                let sql = format!("SELECT number, last FROM {schema}.stream WHERE name = $1");
                let rows = inner.query(&sql, &[(&self.stream.as_str(), Type::TEXT)]).await?;
                let Some(row) = rows.first() else {
                    return Ok(Page { events: VecDeque::new(), next: None, names });
                };
                let (number, last): (i64, i64) = (
                    row.try_get(0).map_err(PostgresError::from)?,
                    row.try_get(1).map_err(PostgresError::from)?,
                );
                let from = self.options.from.map(|from| stored(from.0));
                match direction {
                    Direction::Forwards => (number, from.unwrap_or(0), last),
                    Direction::Backwards => (number, 0, from.map_or(last, |from| from.min(last))),
                }
            }
        };
        let of = "p.stream = $1 AND p.revision BETWEEN $2 AND $3";
        let sql = inner.page(of, &order(direction, &["revision"]), left);
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&number, Type::INT8), (&first, Type::INT8), (&last, Type::INT8)];
        let rows = inner.query(&sql, &parameters).await?;
        let events = inner.events(&mut names, &rows)?;
        let next = events.back().map(|event| {
            let at = stored(event.revision.0);
            self.bounds = Some(match direction {
                Direction::Forwards => (number, at.saturating_add(1), last),
                Direction::Backwards => (number, first, at.saturating_sub(1)),
            });
            self
        });
        let next = next.filter(|next| next.bounds.is_some_and(|(_, first, last)| first <= last));
        Ok(Page { events, next, names })
    }
}

/// Up to which transaction everything is decided, and up to which it must be before a read is complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Horizon {
    /// No transaction below is open.
    pub(crate) decided: i64,
    /// No transaction from here on has begun.
    pub(crate) begun: i64,
}

impl Inner {
    pub(crate) async fn horizon(&self) -> Result<Horizon, PostgresError> {
        let sql = format!(
            "SELECT c.ahead + pg_snapshot_xmin(s.now)::text::bigint, c.ahead + pg_snapshot_xmax(s.now)::text::bigint
             FROM {}.clock c, pg_current_snapshot() AS s (now)",
            self.schema
        );
        let rows = self.query(&sql, &[]).await?;
        let Some(row) = rows.first() else {
            return Err(PostgresError::Damaged(
                "the table `clock` of the schema is empty: it has one row",
            ));
        };
        Ok(Horizon { decided: row.try_get(0)?, begun: row.try_get(1)? })
    }

    /// Waits until everything below is decided. Returns up to where it is.
    async fn decided_up_to(&self, end: i64) -> Result<i64, PostgresError> {
        let (until, mut glances) = (Instant::now() + self.patience, GLANCES.into_iter());
        loop {
            let decided = self.horizon().await?.decided;
            if decided >= end {
                return Ok(decided);
            }
            if Instant::now() >= until {
                return Err(PostgresError::HeldBack(self.who_holds_back().await?));
            }
            let pause = glances.next().unwrap_or(100);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// The oldest transactions that are open, in words.
    async fn who_holds_back(&self) -> Result<String, PostgresError> {
        let sql = "SELECT pid, coalesce(state, 'in a state that only its own user may see'),
                coalesce(extract(epoch FROM now() - xact_start)::bigint, 0)
             FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
             ORDER BY age(backend_xid) DESC LIMIT 3";
        let mut told = Vec::new();
        for row in self.query(sql, &[]).await? {
            let (pid, state, seconds): (i32, String, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            told.push(format!("process {pid}, {state}, open for {seconds} s"));
        }
        let prepared = self.query("SELECT count(*) FROM pg_prepared_xacts", &[]).await?;
        let prepared: i64 = prepared.first().map_or(Ok(0), |row| row.try_get(0))?;
        if prepared > 0 {
            told.push(format!(
                "{prepared} prepared and neither committed nor rolled back (pg_prepared_xacts)"
            ));
        }
        Ok(if told.is_empty() { "they ended just now".to_owned() } else { told.join("; ") })
    }
}

/// Reads all streams.
pub(crate) fn read_all(inner: Arc<Inner>, options: ReadAllOptions) -> EventStream {
    let after = match options.after.map(numbers).transpose() {
        Ok(after) => after,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let range = match options.direction {
        Direction::Forwards => Range { after: after.unwrap_or(FIRST), before: LAST },
        Direction::Backwards => Range { after: FIRST, before: after.unwrap_or(LAST) },
    };
    Pages::stream(
        inner,
        options.limit,
        OfAll { direction: options.direction, range, horizon: None },
    )
}

/// What is between two positions, both exclusive.
#[derive(Debug, Clone, Copy)]
struct Range {
    after: (i64, i64),
    before: (i64, i64),
}

struct OfAll {
    direction: Direction,
    range: Range,
    /// What was so when the first event was asked for, or later: all that was acknowledged by then is of a transaction that
    /// had begun.
    horizon: Option<Horizon>,
}

impl Next for OfAll {
    async fn fetch(
        mut self,
        inner: Arc<Inner>,
        mut names: Names,
        left: usize,
    ) -> Result<Page<Self>, StoreError> {
        loop {
            let mut horizon = match self.horizon {
                Some(horizon) => horizon,
                None => inner.horizon().await?,
            };
            let end = horizon.begun;
            if horizon.decided < end && self.direction == Direction::Backwards {
                horizon.decided = inner.decided_up_to(end).await?;
            }
            self.horizon = Some(horizon);
            let safe = horizon.decided.min(end);
            let rows = inner.fetch(self.direction, self.range, safe, left).await?;
            let events = inner.events(&mut names, &rows)?;
            match events.back().map(|event| numbers(event.position)).transpose()? {
                Some(at) if self.direction == Direction::Forwards => self.range.after = at,
                Some(at) => self.range.before = at,
                None if horizon.decided >= end => {
                    return Ok(Page { events, next: None, names });
                }
                // Something that was acknowledged may be above what is still open.
                None => {
                    let decided = inner.decided_up_to(end).await?;
                    self.horizon = Some(Horizon { decided, ..horizon });
                    continue;
                }
            }
            return Ok(Page { events, next: Some(self), names });
        }
    }
}

impl Inner {
    /// A page of events whose transactions are below `safe`.
    async fn fetch(
        &self,
        direction: Direction,
        range: Range,
        safe: i64,
        limit: usize,
    ) -> Result<Vec<Row>, PostgresError> {
        let Range { after, before } = range;
        // Nothing has the place -1: what is safe is a bound as any other.
        let before = before.min((safe, -1));
        let of = "(p.tx, p.seq) > ($1, $2) AND (p.tx, p.seq) < ($3, $4)";
        let sql = self.page(of, &order(direction, &["tx", "seq"]), limit);
        let numbers = [after.0, after.1, before.0, before.1];
        let parameters =
            numbers.each_ref().map(|number| (number as &(dyn ToSql + Sync), Type::INT8));
        self.query(&sql, &parameters).await
    }

    /// A page of what a filter lets through, below `safe`; and where the next one begins, if there is more.
    pub(crate) async fn filtered(
        &self,
        names: &mut Names,
        filter: &Filter,
        after: (i64, i64),
        safe: i64,
    ) -> Result<(Vec<RecordedEvent>, Option<(i64, i64)>), StoreError> {
        if filter.stream_prefixes.is_empty() && filter.event_types.is_empty() {
            let range = Range { after, before: LAST };
            let rows = self.fetch(Direction::Forwards, range, safe, usize::MAX).await?;
            let events = self.events(names, &rows)?;
            let next = events.back().map(|event| numbers(event.position)).transpose()?;
            return Ok((events.into(), next));
        }
        // First what is looked at, which is small; then what passes.
        let schema = &self.schema;
        let sql = format!(
            "SELECT e.tx, e.seq, s.name, e.type FROM {schema}.event e JOIN {schema}.stream s ON s.number = e.stream
             WHERE (e.tx, e.seq) > ($1, $2) AND e.tx < $3 ORDER BY e.tx, e.seq LIMIT {}",
            PAGE * 4
        );
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&after.0, Type::INT8), (&after.1, Type::INT8), (&safe, Type::INT8)];
        let rows = self.query(&sql, &parameters).await?;
        let (mut passing, mut next) = (Vec::new(), None);
        for row in &rows {
            match looked_at(row, names, filter) {
                Ok((at, passes)) => {
                    passing.extend(passes.then_some(at));
                    next = Some(at);
                }
                // What is before it comes first; whoever goes on meets it then.
                Err(_) if next.is_some() => break,
                Err(error) => return Err(error),
            }
        }
        let (mut events, mut passing) = (Vec::with_capacity(passing.len()), &passing[..]);
        while !passing.is_empty() {
            let (group, rest) = passing.split_at(passing.len().min(GROUP));
            passing = rest;
            let (txs, seqs): (Vec<_>, Vec<_>) = group.iter().copied().unzip();
            let sql = format!(
                "SELECT {COLUMNS} FROM unnest($1, $2) AS w (tx, seq) JOIN {schema}.event e ON (e.tx, e.seq) = (w.tx, w.seq)
                    JOIN {schema}.stream s ON s.number = e.stream ORDER BY e.tx, e.seq"
            );
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&txs, Type::INT8_ARRAY), (&seqs, Type::INT8_ARRAY)];
            let mut bytes = 0;
            for row in self.query(&sql, &parameters).await? {
                match names.event(&row, self.payloads) {
                    Ok(event) => {
                        bytes += stored(
                            event.data.as_ref().map_or(0, |data| data.as_bytes().len()) as u64,
                        );
                        events.push(event);
                    }
                    Err(error) if events.is_empty() => return Err(error),
                    Err(_) => {
                        let next =
                            events.last().map(|event| numbers(event.position)).transpose()?;
                        return Ok((events, next));
                    }
                }
            }
            if bytes > PAGE_BYTES && !passing.is_empty() {
                return Ok((events, group.last().copied()));
            }
        }
        Ok((events, next))
    }
}

/// Where a row is, and whether a filter lets it through.
fn looked_at(
    row: &Row,
    names: &mut Names,
    filter: &Filter,
) -> Result<((i64, i64), bool), StoreError> {
    let client = |error: tokio_postgres::Error| StoreError::from(PostgresError::from(&error));
    let at: (i64, i64) = (row.try_get(0).map_err(client)?, row.try_get(1).map_err(client)?);
    let position: Position = position(at.0, at.1);
    let damaged =
        |what| StoreError::Damaged { position, source: PostgresError::Damaged(what).into() };
    let stream = StreamName::new(row.try_get::<_, &str>(2).map_err(client)?)
        .map_err(|_| damaged("its stream has no valid name"))?;
    let event_type: Option<EventType> = names.event_type(row.try_get(3).map_err(client)?);
    let event_type = event_type.ok_or_else(|| damaged("its type is no valid name"))?;
    Ok((at, filter.passes(&stream, &event_type)))
}
