//! Appending: rows are inserted as any other writer of the table inserts them, and what keeps two from one revision is the
//! table's own unique index.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    Inner,
    columns::Columns,
    rows::position,
    shape::{Clock, Column, Ids, Kept, Shape},
};
use crate::{
    connect::{Lent, Lost, lend},
    error::PostgresError,
    rows::unsigned,
};
use futures::future::try_join3;
use oubliette::{
    event::{EventId, Revision, StreamName},
    store::{Append, Appended, Known, StoreError, answer_retry},
};
use tokio_postgres::{
    Row, Transaction,
    error::{DbError, SqlState},
    types::{ToSql, Type},
};

/// How often we begin another transaction where others were in the way. Each time the others have gone on.
const ATTEMPTS: u32 = 50;
/// … and where the server says only that something is not unique.
const UNKNOWN: u32 = 5;

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Why an attempt came to nothing.
enum Failed {
    /// The connection was lost: what became of it is not known.
    Lost,
    /// Others were in the way.
    Collision,
    /// An index that is none of those we know is in the way.
    NotUnique(String),
    Refused(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Appends in a transaction of its own.
pub(super) async fn append(inner: &Inner, appends: &[Append]) -> Result<Vec<Appended>, StoreError> {
    let columns = Columns::of(inner, appends)?;
    let mut lost: Option<Lost> = None;
    let mut unknown = 0;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(u64::from(attempt.min(20)))).await;
        }
        let mut connection = match &lost {
            None => lend(&inner.pool).await?,
            Some(lost) => lost.ended(&inner.pool, inner.patience).await?,
        };
        let backend = connection.backend;
        match run(inner, &mut connection, &columns, appends).await {
            Ok(done) => return Ok(done),
            // Whether it was written is not known yet. The same append again, by its ids, says so.
            Err(Failed::Lost) => {
                let since = lost.map_or_else(Instant::now, |lost| lost.since);
                lost = Some(Lost { backend, since });
            }
            Err(Failed::Collision) => {}
            Err(Failed::NotUnique(_)) if unknown < UNKNOWN => unknown += 1,
            Err(Failed::NotUnique(index)) => {
                return Err(StoreError::Invalid(format!(
                    "the index {index} of the table {} does not take the events: something that it keeps unique is there \
                     already",
                    inner.shape.name
                )));
            }
            Err(Failed::Refused(error)) => return Err(error),
        }
    }
    Err(PostgresError::Held.into())
}

async fn run(
    inner: &Inner,
    connection: &mut Lent,
    columns: &Columns,
    appends: &[Append],
) -> Result<Vec<Appended>, Failed> {
    let shape = &inner.shape;
    let failed = |error: tokio_postgres::Error| judge(shape, &error);
    let transaction = connection.client_mut().transaction().await.map_err(failed)?;
    let (known, lasts) = look(shape, &transaction, columns).await.map_err(failed)?;
    let found = known_ids(&known).map_err(failed)?;
    let find = |id: EventId, stream: &StreamName| {
        let found = found.get(&id.to_string());
        Ok(found.map(|(parts, revision, at)| Known {
            same_stream: inner.parts_of(stream).as_deref() == Some(&parts[..]),
            revision: Revision(unsigned(revision.saturating_sub(shape.first_revision))),
            position: position(*at),
        }))
    };
    // A retry whose answer was lost finds that the stream has moved on. So known ids go before a conflict.
    if let Some(done) = answer_retry(appends, find)? {
        return Ok(done);
    }
    let lasts = lasts
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<Option<i64>>, _>>()
        .map_err(failed)?;
    for (append, last) in appends.iter().zip(&lasts) {
        let last = last.map(|last| Revision(unsigned(last.saturating_sub(shape.first_revision))));
        if !append.expected.matches(last) {
            return Err(Failed::Refused(StoreError::Conflict {
                stream: append.stream.clone(),
                expected: append.expected,
                actual: Some(last.into()),
            }));
        }
    }
    let done = insert(shape, &transaction, columns, appends, &lasts).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(done)
}

/// Locks the streams for others who append by this crate; then looks for ids that are there, and for the streams' ends.
async fn look(
    shape: &Shape,
    transaction: &Transaction<'_>,
    columns: &Columns,
) -> Result<(Vec<Row>, Vec<Row>), tokio_postgres::Error> {
    // What is acknowledged is on the disk, whatever the database is set to.
    let lock = format!(
        "SELECT CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END,
            pg_advisory_xact_lock({}, w.key) FROM unnest($1) WITH ORDINALITY AS w (key, ord) ORDER BY w.ord",
        shape.number.cast_signed()
    );
    let parts: Vec<String> =
        shape.parts.iter().map(|part| format!("t.{}::text", part.sql)).collect();
    let id = shape.id().unwrap_or_else(|| "NULL::text".to_owned());
    let known = format!(
        "SELECT ({id})::text, t.{}::bigint, t.{}::bigint, {} FROM {} t WHERE {id} = ANY ($1)",
        shape.revision.sql,
        shape.position,
        parts.join(", "),
        shape.table
    );
    let numbered = shape.parts.iter().enumerate();
    let of: Vec<String> = numbered
        .map(|(at, part)| format!("t.{} = ${}[w.at]{}", part.sql, at + 1, part.kind.cast()))
        .collect();
    let lasts = format!(
        "SELECT (SELECT max(t.{})::bigint FROM {} t WHERE {}) FROM generate_series(1, cardinality($1)) AS w (at) ORDER BY w.at",
        shape.revision.sql,
        shape.table,
        of.join(" AND ")
    );
    let ids: Parameter<'_> = match shape.ids {
        Ids::Uuid(_) => (&columns.ids, Type::UUID_ARRAY),
        _ => (&columns.id_texts, Type::TEXT_ARRAY),
    };
    // Sent together, and done one after the other: each looks at what is committed when it begins.
    let (locks, ids, parts) =
        ([(&columns.locks as _, Type::INT4_ARRAY)], [ids], of_streams(columns));
    let locked = transaction.query_typed(&lock, &locks);
    let (_, known, lasts) = try_join3(
        locked,
        transaction.query_typed(&known, &ids),
        transaction.query_typed(&lasts, &parts),
    )
    .await?;
    Ok((known, lasts))
}

fn of_streams(columns: &Columns) -> Vec<Parameter<'_>> {
    columns.parts.iter().map(|part| (part as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect()
}

type Place = (Vec<String>, i64, i64);

/// Where ids are that are there already: their stream's parts, revision and position.
fn known_ids(rows: &[Row]) -> Result<HashMap<String, Place>, tokio_postgres::Error> {
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let parts = (3..row.len()).map(|column| row.try_get::<_, Option<String>>(column));
        let parts = parts
            .map(|part| Ok(part?.unwrap_or_default()))
            .collect::<Result<Vec<_>, tokio_postgres::Error>>()?;
        let revision: Option<i64> = row.try_get(1)?;
        known.insert(row.try_get(0)?, (parts, revision.unwrap_or_default(), row.try_get(2)?));
    }
    Ok(known)
}

/// Inserts the events behind the streams' ends.
async fn insert(
    shape: &Shape,
    transaction: &Transaction<'_>,
    columns: &Columns,
    appends: &[Append],
    lasts: &[Option<i64>],
) -> Result<Vec<Appended>, Failed> {
    let mut revisions = Vec::with_capacity(columns.of.len());
    for (append, last) in appends.iter().zip(lasts) {
        let next = last.map_or(shape.first_revision, |last| last.saturating_add(1));
        revisions.extend((next..).take(append.events.len()));
    }
    let sql = statement(shape);
    let mut parameters = of_streams(columns);
    parameters.extend([
        (&columns.of as &(dyn ToSql + Sync), Type::INT8_ARRAY),
        (&revisions, Type::INT8_ARRAY),
    ]);
    parameters.push((&columns.types, Type::TEXT_ARRAY));
    parameters.push(match shape.data.kind {
        Kept::Bytes => (&columns.bytes, Type::BYTEA_ARRAY),
        _ => (&columns.data, Type::TEXT_ARRAY),
    });
    parameters.extend([(&columns.metadata as &(dyn ToSql + Sync), Type::TEXT_ARRAY)]);
    parameters.push(match shape.ids {
        Ids::Uuid(_) => (&columns.ids, Type::UUID_ARRAY),
        _ => (&columns.id_texts, Type::TEXT_ARRAY),
    });
    let failed = |error: tokio_postgres::Error| judge(shape, &error);
    let rows = transaction.query_typed(&sql, &parameters).await.map_err(failed)?;
    let mut places = HashMap::with_capacity(rows.len());
    for row in &rows {
        let read = || Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)));
        let (id, place): (Option<String>, (i64, i64)) = read().map_err(failed)?;
        places.insert(id.unwrap_or_default(), place);
    }
    // What a trigger changes or leaves out is not what was asked for.
    let changed = || {
        let what = "a trigger or rule of the table changes events that are inserted, or leaves them out; nothing was appended";
        StoreError::from(PostgresError::Damaged(what))
    };
    let (mut done, mut before) = (Vec::with_capacity(appends.len()), i64::MIN);
    let mut written = columns.id_texts.iter().zip(&revisions);
    for append in appends {
        let mut last = None;
        for (id, revision) in written.by_ref().take(append.events.len()) {
            let &(found, at) = places.get(id).ok_or_else(changed)?;
            if found != *revision || at <= before || at < 0 {
                return Err(changed().into());
            }
            before = at;
            last = Some((found, at));
        }
        let (revision, at) = last.ok_or_else(changed)?;
        let revision = Revision(unsigned(revision.saturating_sub(shape.first_revision)));
        done.push(Appended { revision, position: position(at), already: false });
    }
    Ok(done)
}

/// The statement that inserts. Its parameters are the parts of the streams' names, then what each event has.
fn statement(shape: &Shape) -> String {
    let count = shape.parts.len();
    let numbered = shape.parts.iter().enumerate();
    let mut columns: Vec<(String, String)> = numbered
        .map(|(at, part)| (part.sql.clone(), format!("${}[u.stream]{}", at + 1, part.kind.cast())))
        .collect();
    let mut add = |column: &str, value: String| columns.push((column.to_owned(), value));
    add(&shape.revision.sql, format!("u.revision{}", shape.revision.kind.cast()));
    add(&shape.event_type.sql, format!("u.type{}", shape.event_type.kind));
    add(&shape.data.sql, format!("u.data{}", shape.data.kind.cast()));
    if let Some(Column { sql, kind }) = &shape.metadata {
        add(sql, format!("u.metadata{}", kind.cast()));
    }
    if let Ids::Uuid(sql) | Ids::Text(sql) = &shape.ids {
        add(sql, "u.id".to_owned());
    }
    if let Some(Column { sql, kind }) = &shape.recorded {
        let now = match kind {
            Clock::Zoned => "clock_timestamp()",
            Clock::Utc => "clock_timestamp() AT TIME ZONE 'UTC'",
            Clock::Micros => "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        };
        add(sql, now.to_owned());
    }
    if let (true, Some(sequence)) = (shape.says_position, &shape.sequence) {
        add(&shape.position, format!("nextval('{}')", sequence.replace('\'', "''")));
    }
    let (names, values): (Vec<String>, Vec<String>) = columns.into_iter().unzip();
    let id = match &shape.ids {
        Ids::Metadata => shape
            .metadata
            .as_ref()
            .map(|column| format!("({} ->> '{}')", column.sql, super::shape::EVENT_ID)),
        Ids::Uuid(sql) | Ids::Text(sql) => Some(format!("{sql}::text")),
        Ids::Nowhere => None,
    };
    // Ordered before defaults are computed, so that positions grow as revisions do.
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM (
            SELECT * FROM unnest(${}, ${}, ${}, ${}, ${}, ${}) WITH ORDINALITY
                AS w (stream, revision, type, data, metadata, id, ord) ORDER BY w.ord
         ) u RETURNING {}, {}::bigint, {}::bigint",
        shape.table,
        names.join(", "),
        values.join(", "),
        count + 1,
        count + 2,
        count + 3,
        count + 4,
        count + 5,
        count + 6,
        id.unwrap_or_else(|| "NULL::text".to_owned()),
        shape.revision.sql,
        shape.position,
    )
}

/// What an error of the server means for an append.
fn judge(shape: &Shape, error: &tokio_postgres::Error) -> Failed {
    let told = PostgresError::from(error);
    if matches!(told, PostgresError::Connection(_)) {
        return Failed::Lost;
    }
    let Some(error) = error.as_db_error() else { return Failed::Refused(told.into()) };
    let (code, index) = (error.code(), error.constraint().unwrap_or("of no name"));
    if *code == SqlState::UNIQUE_VIOLATION {
        if index == shape.position_index {
            return Failed::Refused(StoreError::backend(
                false,
                PostgresError::Damaged(
                    "the sequence of positions is behind the highest one in the table: set it with setval, as opening the store \
                     anew tells",
                ),
            ));
        }
        if shape.other_indexes.iter().any(|own| own == index) {
            return Failed::Collision;
        }
        return Failed::NotUnique(index.to_owned());
    }
    if told.is_a_collision() {
        return Failed::Collision;
    }
    Failed::Refused(refused(shape, error, "take the events").unwrap_or_else(|| told.into()))
}

/// What the table's own rules mean by refusing something. A message of theirs may quote what it is about, and is left out.
pub(super) fn refused(shape: &Shape, error: &DbError, what: &str) -> Option<StoreError> {
    let (code, index) = (error.code().code(), error.constraint().unwrap_or("of no name"));
    let why = match code.get(..2)? {
        _ if code == SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED.code() => {
            "the sequence of positions has given its last number: give it a higher MAXVALUE, and the column a larger type"
                .to_owned()
        }
        "22" => "a value is too long or too large for its column, or none of its type".to_owned(),
        "23" => format!("the constraint {index} refuses it"),
        "P0" => "a trigger of the table refuses it".to_owned(),
        "0A" => "a rule of the table is in the way".to_owned(),
        _ => return None,
    };
    Some(StoreError::Invalid(format!(
        "the table {} does not {what}: {why} (SQLSTATE {code})",
        shape.name
    )))
}
