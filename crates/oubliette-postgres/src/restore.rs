//! Restoring: events as another store recorded them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use oubliette::{
    event::{EventId, Json, RecordedEvent, Revision},
    store::{Appended, Known, StoreError, plan_restore},
};
use tokio_postgres::{
    Transaction,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::{
    append::as_columns,
    connect::{Lent, Lost, lend},
    error::PostgresError,
    rows::{position, stored, unsigned},
    store::Inner,
};

/// How often another transaction is begun where others were in the way.
const ATTEMPTS: u32 = 20;

/// Writes them in a transaction of its own. Where the connection is lost, the server is made to end what it is at: doing it again
/// passes over what is there.
pub(crate) async fn restore(
    inner: &Inner,
    events: &[RecordedEvent],
) -> Result<Vec<Appended>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let Inner { pool, patience, .. } = inner;
    let mut lost: Option<Lost> = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
        }
        let mut connection = match &lost {
            None => lend(pool).await?,
            Some(lost) => lost.ended(pool, *patience).await?,
        };
        let backend = connection.backend;
        let failed = match try_once(&mut connection, inner, events).await {
            Err(StoreError::Backend { source, temporary }) => (source, temporary),
            done => return done,
        };
        match failed.0.downcast_ref::<PostgresError>() {
            Some(PostgresError::Connection(_)) => {
                let since = lost.map_or_else(Instant::now, |lost| lost.since);
                lost = Some(Lost { backend, since });
            }
            Some(error) if error.is_a_collision() || *error == PostgresError::TooLate => {}
            _ => return Err(StoreError::Backend { source: failed.0, temporary: failed.1 }),
        }
    }
    Err(PostgresError::Held.into())
}

async fn try_once(
    connection: &mut Lent,
    inner: &Inner,
    events: &[RecordedEvent],
) -> Result<Vec<Appended>, StoreError> {
    let begun = connection.client_mut().transaction().await;
    let transaction = begun.map_err(PostgresError::from)?;
    let done = within(&transaction, &inner.schema, inner.payloads.name(), events).await?;
    transaction.commit().await.map_err(PostgresError::from)?;
    Ok(done)
}

async fn within(
    transaction: &Transaction<'_>,
    schema: &str,
    payload: &str,
    events: &[RecordedEvent],
) -> Result<Vec<Appended>, StoreError> {
    let (lasts, tx) = lock(transaction, schema, events).await?;
    let known = known(transaction, schema, events).await?;
    let planned = plan_restore(
        events,
        |id, stream| {
            let found = known.get(&id);
            Ok(found.map(|(name, known)| Known { same_stream: name == stream.as_str(), ..*known }))
        },
        |stream| Ok(lasts.get(stream.as_str()).copied().flatten()),
    )?;
    let mut done = Vec::with_capacity(events.len());
    let mut new = Vec::new();
    for (event, known) in events.iter().zip(planned) {
        done.push(match known {
            Some(Known { revision, position, .. }) => {
                Appended { revision, position, already: true }
            }
            None => {
                new.push(event);
                let position = position(tx, stored(new.len() as u64 - 1));
                Appended { revision: event.revision, position, already: false }
            }
        });
    }
    insert(transaction, schema, payload, &new).await?;
    Ok(done)
}

type Lasts<'a> = HashMap<&'a str, Option<Revision>>;

/// Locks the streams. Returns their last revisions, and the number of the transaction.
async fn lock<'a>(
    transaction: &Transaction<'_>,
    schema: &str,
    events: &'a [RecordedEvent],
) -> Result<(Lasts<'a>, i64), PostgresError> {
    let mut names: Vec<&str> = events.iter().map(|event| event.stream.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let make = vec![true; names.len()];
    let sql = format!("SELECT {schema}.lock_streams($1, $2)");
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&names, Type::TEXT_ARRAY), (&make, Type::BOOL_ARRAY)];
    transaction.query_typed(&sql, &parameters).await?;
    // Assigned by now, and in an own statement, so that it is looked at what others committed.
    let sql = format!(
        "SELECT s.name, s.last, s.tx, {schema}.this_tx() FROM {schema}.stream s WHERE s.name = ANY ($1)"
    );
    let rows = transaction.query_typed(&sql, &[(&names, Type::TEXT_ARRAY)]).await?;
    let (mut lasts, mut number) = (HashMap::with_capacity(names.len()), 0);
    for row in rows {
        let (name, last, by): (&str, i64, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        number = row.try_get(3)?;
        if by > number {
            return Err(PostgresError::TooLate);
        }
        if let Ok(at) = names.binary_search(&name) {
            lasts.insert(names[at], (last >= 0).then(|| Revision(unsigned(last))));
        }
    }
    Ok((lasts, number))
}

/// Where ids are that are there already.
async fn known(
    transaction: &Transaction<'_>,
    schema: &str,
    events: &[RecordedEvent],
) -> Result<HashMap<EventId, (String, Known)>, PostgresError> {
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
    let sql = format!(
        "SELECT e.id, s.name, e.revision, e.tx, e.seq
         FROM {schema}.event e JOIN {schema}.stream s ON s.number = e.stream WHERE e.id = ANY ($1)"
    );
    let mut known = HashMap::new();
    for row in transaction.query_typed(&sql, &[(&ids, Type::UUID_ARRAY)]).await? {
        let found = Known {
            same_stream: false,
            revision: Revision(unsigned(row.try_get(2)?)),
            position: position(row.try_get(3)?, row.try_get(4)?),
        };
        known.insert(EventId(row.try_get(0)?), (row.try_get(1)?, found));
    }
    Ok(known)
}

async fn insert(
    transaction: &Transaction<'_>,
    schema: &str,
    payload: &str,
    events: &[&RecordedEvent],
) -> Result<(), PostgresError> {
    if events.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = events.iter().map(|event| event.stream.as_str()).collect();
    let revisions: Vec<i64> = events.iter().map(|event| stored(event.revision.0)).collect();
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
    let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    let recorded: Vec<i64> = events.iter().map(|event| event.recorded.as_micros()).collect();
    let (data, bytes): (Vec<Option<&str>>, Vec<Option<&[u8]>>) =
        events.iter().map(|event| event.data.as_ref().map_or((None, None), as_columns)).unzip();
    let metadata: Vec<Option<&str>> =
        events.iter().map(|event| event.metadata.as_ref().map(Json::as_str)).collect();
    let sql = format!(
        "WITH inserted AS (
            INSERT INTO {schema}.event
                (tx, seq, stream, revision, id, type, recorded, restored, data, bytes, metadata)
            SELECT {schema}.this_tx(), u.ord - 1, s.number, u.revision, u.id, u.type, u.recorded,
                (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                u.data::{payload}, u.bytes, u.metadata::{payload}
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY
                    AS u (name, revision, id, type, recorded, data, bytes, metadata, ord)
                JOIN {schema}.stream s ON s.name = u.name
            RETURNING stream, revision, tx
         )
         UPDATE {schema}.stream s SET last = i.last, tx = i.tx
         FROM (SELECT stream, max(revision) AS last, max(tx) AS tx FROM inserted GROUP BY stream) i
         WHERE s.number = i.stream"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 8] = [
        (&names, Type::TEXT_ARRAY),
        (&revisions, Type::INT8_ARRAY),
        (&ids, Type::UUID_ARRAY),
        (&types, Type::TEXT_ARRAY),
        (&recorded, Type::INT8_ARRAY),
        (&data, Type::TEXT_ARRAY),
        (&bytes, Type::BYTEA_ARRAY),
        (&metadata, Type::TEXT_ARRAY),
    ];
    transaction.query_typed(&sql, &parameters).await?;
    Ok(())
}
