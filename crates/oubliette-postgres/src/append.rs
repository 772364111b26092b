//! Appending: one statement, which is one transaction or a part of the caller's.

use std::time::{Duration, Instant};

use oubliette::{
    event::{EventId, Json, MAX_STORED_BYTES, Payload, Position, Revision, StreamName},
    store::{Append, Appended, Current, ExpectedRevision, Known, StoreError, answer_retry},
};
use tokio_postgres::{
    Row, Transaction,
    types::{ToSql, Type},
};
use uuid::Uuid;

#[cfg(feature = "sqlx")]
use crate::sqlx;

use crate::{
    connect::{Lent, Lost, Pool, lend},
    error::PostgresError,
    rows::{position, unsigned},
};

/// The most that one append may have, in bytes: PostgreSQL's own limit for a message is a gigabyte.
const MOST: usize = 512 * 1024 * 1024;
/// How often we begin another transaction where others were in the way. Each time the others have gone on.
const ATTEMPTS: u32 = 50;

/// The statement, for a schema.
pub(crate) fn statement(schema: &str) -> String {
    format!("SELECT * FROM {schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
}

const TYPES: [Type; 10] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::UUID_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::BYTEA_ARRAY,
    Type::TEXT_ARRAY,
];

/// What the function `append` of the schema is called with.
struct Columns<'a> {
    names: Vec<&'a str>,
    expected: Vec<i64>,
    counts: Vec<i64>,
    of: Vec<i64>,
    nth: Vec<i64>,
    ids: Vec<Uuid>,
    types: Vec<&'a str>,
    data: Vec<Option<&'a str>>,
    bytes: Vec<Option<&'a [u8]>>,
    metadata: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(appends: &'a [Append]) -> Self {
        let mut columns = Self {
            names: Vec::with_capacity(appends.len()),
            expected: Vec::with_capacity(appends.len()),
            counts: Vec::with_capacity(appends.len()),
            of: Vec::new(),
            nth: Vec::new(),
            ids: Vec::new(),
            types: Vec::new(),
            data: Vec::new(),
            bytes: Vec::new(),
            metadata: Vec::new(),
        };
        // PostgreSQL counts from 1.
        for (stream, append) in (1..).zip(appends) {
            columns.names.push(append.stream.as_str());
            columns.expected.push(match append.expected {
                ExpectedRevision::Any => -1,
                ExpectedRevision::NoStream => -2,
                ExpectedRevision::StreamExists => -3,
                // Beyond what can be stored nothing is stored.
                ExpectedRevision::Exact(revision) => i64::try_from(revision.0).unwrap_or(i64::MAX),
            });
            columns.counts.push(i64::try_from(append.events.len()).unwrap_or(i64::MAX));
            for (nth, event) in (1..).zip(&append.events) {
                columns.of.push(stream);
                columns.nth.push(nth);
                columns.ids.push(event.id.0);
                columns.types.push(event.event_type.as_str());
                let (data, bytes) = as_columns(&event.data);
                columns.data.push(data);
                columns.bytes.push(bytes);
                columns.metadata.push(event.metadata.as_ref().map(Json::as_str));
            }
        }
        columns
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 10] {
        [
            &self.names,
            &self.expected,
            &self.counts,
            &self.of,
            &self.nth,
            &self.ids,
            &self.types,
            &self.data,
            &self.bytes,
            &self.metadata,
        ]
    }
}

/// A payload goes into one of two columns.
pub(crate) fn as_columns(payload: &Payload) -> (Option<&str>, Option<&[u8]>) {
    match payload {
        Payload::Json(json) => (Some(json.as_str()), None),
        Payload::Bytes(bytes) => (None, Some(bytes)),
    }
}

/// Refuses what the server would not take in one message.
pub(crate) fn check_size<'a>(
    events: impl Iterator<Item = (&'a Payload, Option<&'a Json>)>,
) -> Result<(), StoreError> {
    let bytes: usize = events
        .map(|(data, metadata)| {
            data.as_bytes().len() + metadata.map_or(0, |json| json.as_str().len())
        })
        .sum();
    if bytes <= MOST.max(2 * MAX_STORED_BYTES) {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "the events of this append have {bytes} bytes together, at most {MOST} are accepted: append them in several calls"
    )))
}

/// What the server answered.
enum Answer {
    Done(Vec<Appended>),
    /// Another transaction is to be begun.
    Again,
}

/// A row of what the function answers.
pub(crate) struct Line {
    pub(crate) outcome: String,
    pub(crate) at: Option<i64>,
    pub(crate) id: Option<Uuid>,
    pub(crate) stream: Option<String>,
    pub(crate) revision: Option<i64>,
    pub(crate) tx: Option<i64>,
    pub(crate) seq: Option<i64>,
}

impl Line {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            outcome: row.try_get(0)?,
            at: row.try_get(1)?,
            id: row.try_get(2)?,
            stream: row.try_get(3)?,
            revision: row.try_get(4)?,
            tx: row.try_get(5)?,
            seq: row.try_get(6)?,
        })
    }

    fn place(&self) -> Option<(Revision, Position)> {
        Some((Revision(unsigned(self.revision?)), position(self.tx?, self.seq?)))
    }
}

fn lines(rows: &[Row]) -> Result<Vec<Line>, PostgresError> {
    rows.iter().map(|row| Line::of(row).map_err(PostgresError::from)).collect()
}

/// What the lines mean.
fn answer(appends: &[Append], lines: &[Line]) -> Result<Answer, StoreError> {
    let mut done = Vec::with_capacity(appends.len());
    let mut known: Vec<(EventId, &str, Known)> = Vec::new();
    for line in lines {
        match (&*line.outcome, line.place()) {
            ("late", _) => return Ok(Answer::Again),
            ("conflict", _) => {
                let at = usize::try_from(line.at.unwrap_or(0) - 1).unwrap_or(usize::MAX);
                let append = appends.get(at).ok_or_else(misunderstood)?;
                let last = line.revision.map(|last| Revision(unsigned(last)));
                return Err(StoreError::Conflict {
                    stream: append.stream.clone(),
                    expected: append.expected,
                    actual: Some(Current::from(last)),
                });
            }
            ("written", Some((revision, position))) => {
                done.push(Appended { revision, position, already: false });
            }
            ("known", Some((revision, position))) => {
                let (Some(id), Some(stream)) = (line.id, &line.stream) else {
                    return Err(misunderstood().into());
                };
                known.push((EventId(id), stream, Known { same_stream: false, revision, position }));
            }
            _ => return Err(misunderstood().into()),
        }
    }
    if known.is_empty() {
        return match done.len() == appends.len() {
            true => Ok(Answer::Done(done)),
            false => Err(misunderstood().into()),
        };
    }
    let find = |id: EventId, stream: &StreamName| {
        let found = known.iter().find(|(known, ..)| *known == id);
        Ok(found.map(|(_, name, known)| Known { same_stream: *name == stream.as_str(), ..*known }))
    };
    let retry = answer_retry(appends, find)?;
    retry.map(Answer::Done).ok_or_else(|| misunderstood().into())
}

/// The function of the schema is not ours, or not as we made it.
fn misunderstood() -> PostgresError {
    PostgresError::Damaged(
        "the function `append` of the schema answers what it should not: somebody changed it",
    )
}

/// Appends in a transaction of its own.
pub(crate) async fn append(
    pool: &Pool,
    patience: Duration,
    appends: &[Append],
) -> Result<Vec<Appended>, StoreError> {
    let columns = Columns::of(appends);
    let mut lost: Option<Lost> = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(u64::from(attempt.min(20)))).await;
        }
        let mut connection = match &lost {
            None => lend(pool).await?,
            Some(lost) => lost.ended(pool, patience).await?,
        };
        let backend = connection.backend;
        match run(&mut connection, pool, &columns).await {
            Ok(rows) => match answer(appends, &lines(&rows)?)? {
                Answer::Done(done) => return Ok(done),
                Answer::Again => {}
            },
            // Whether it was written is not known yet. The same append again, by its ids, says so.
            Err(PostgresError::Connection(_)) => {
                let since = lost.map_or_else(Instant::now, |lost| lost.since);
                lost = Some(Lost { backend, since });
            }
            Err(error) if error.is_a_collision() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(PostgresError::Held.into())
}

async fn run(
    connection: &mut Lent,
    pool: &Pool,
    columns: &Columns<'_>,
) -> Result<Vec<Row>, PostgresError> {
    let statement = pool.manager().append_on(connection).await?;
    Ok(connection.query(&statement, &columns.parameters()).await?)
}

/// Appends within a transaction of the caller's.
pub(crate) async fn append_in(
    transaction: &Transaction<'_>,
    schema: &str,
    appends: &[Append],
) -> Result<Vec<Appended>, StoreError> {
    let columns = Columns::of(appends);
    let parameters: Vec<_> = columns.parameters().into_iter().zip(TYPES).collect();
    let rows = transaction.query_typed(&statement(schema), &parameters).await;
    for_a_callers_transaction(appends, &lines(&rows.map_err(PostgresError::from)?)?)
}

/// Of a transaction of the caller's, which only they can begin again.
fn for_a_callers_transaction(
    appends: &[Append],
    lines: &[Line],
) -> Result<Vec<Appended>, StoreError> {
    match answer(appends, lines)? {
        Answer::Done(done) => Ok(done),
        Answer::Again => Err(PostgresError::TooLate.into()),
    }
}

/// As [`append_in`], for sqlx.
#[cfg(feature = "sqlx")]
pub(crate) async fn append_in_sqlx(
    connection: &mut sqlx::PgConnection,
    schema: &str,
    appends: &[Append],
) -> Result<Vec<Appended>, StoreError> {
    type Row =
        (String, Option<i64>, Option<Uuid>, Option<String>, Option<i64>, Option<i64>, Option<i64>);
    let columns = Columns::of(appends);
    // The schema's name was checked when the store was opened.
    let statement = sqlx::AssertSqlSafe(statement(schema));
    let rows: Vec<Row> = sqlx::query_as(statement)
        .bind(&columns.names)
        .bind(&columns.expected)
        .bind(&columns.counts)
        .bind(&columns.of)
        .bind(&columns.nth)
        .bind(&columns.ids)
        .bind(&columns.types)
        .bind(&columns.data)
        .bind(&columns.bytes)
        .bind(&columns.metadata)
        .fetch_all(connection)
        .await
        .map_err(|error| PostgresError::of_sqlx(&error))?;
    let line = |(outcome, at, id, stream, revision, tx, seq)| Line {
        outcome,
        at,
        id,
        stream,
        revision,
        tx,
        seq,
    };
    for_a_callers_transaction(appends, &rows.into_iter().map(line).collect::<Vec<_>>())
}
