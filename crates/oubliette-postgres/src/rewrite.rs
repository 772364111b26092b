//! Giving events other contents, and removing them.

use std::collections::HashSet;

use oubliette::{
    event::Json,
    store::{Removed, Rewritten, StoreError},
};
use tokio_postgres::{
    Row, Transaction,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::{
    Payloads, append::as_columns, connect::lend, error::PostgresError, rows::stored, store::Inner,
};

/// Changes them in one transaction. What they are to be still is compared here and not at the server, whose log may show
/// what it is sent.
pub(crate) async fn rewrite(inner: &Inner, events: &[Rewritten]) -> Result<Vec<bool>, StoreError> {
    let mut connection = lend(&inner.pool).await?;
    let begun = connection.client_mut().transaction().await;
    let transaction = begun.map_err(PostgresError::from)?;
    let still = still_there(inner, &transaction, events).await?;
    let changed = change(inner, &transaction, events, &still).await?;
    transaction.commit().await.map_err(PostgresError::from)?;
    Ok(changed)
}

/// Locks the events that are there, and returns the numbers of those that are what they are said to be, each once.
async fn still_there(
    inner: &Inner,
    transaction: &Transaction<'_>,
    events: &[Rewritten],
) -> Result<Vec<usize>, StoreError> {
    let schema = &inner.schema;
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
    let streams: Vec<&str> = events.iter().map(|event| event.stream.as_str()).collect();
    let revisions: Vec<i64> = events.iter().map(|event| stored(event.revision.0)).collect();
    // By their places, so that two who do this wait for each other in one order.
    let sql = format!(
        "SELECT w.ord, e.data::text, e.bytes, e.metadata::text
         FROM unnest($1, $2, $3) WITH ORDINALITY AS w (id, stream, revision, ord)
            JOIN {schema}.stream s ON s.name = w.stream
            JOIN {schema}.event e ON e.id = w.id AND e.stream = s.number AND e.revision = w.revision
         ORDER BY e.tx, e.seq, w.ord FOR NO KEY UPDATE OF e"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&ids, Type::UUID_ARRAY), (&streams, Type::TEXT_ARRAY), (&revisions, Type::INT8_ARRAY)];
    let found = transaction.query_typed(&sql, &parameters).await.map_err(PostgresError::from)?;
    let is_jsonb = inner.payloads == Payloads::Jsonb;
    let (mut still, mut seen) = (Vec::with_capacity(found.len()), HashSet::new());
    for row in &found {
        let read = || -> Result<_, tokio_postgres::Error> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
        };
        let (number, data, bytes, metadata): (i64, Option<&str>, Option<&[u8]>, Option<&str>) =
            read().map_err(PostgresError::from)?;
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let Some(event) = events.get(at) else { continue };
        let (from_data, from_bytes) = as_columns(&event.from.data);
        let from_metadata = event.from.metadata.as_ref().map(Json::as_str);
        let is_still = is_same(is_jsonb, data, from_data)
            && bytes == from_bytes
            && is_same(is_jsonb, metadata, from_metadata);
        if is_still && seen.insert(event.id) {
            still.push(at);
        }
    }
    Ok(still)
}

/// `jsonb` is compared by value, and the others by their text.
fn is_same(is_jsonb: bool, one: Option<&str>, other: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one == other };
    let canonical = |text: &str| Json::parse(text).map(|json| json.to_canonical()).ok();
    one == other || is_jsonb && canonical(one).is_some_and(|one| Some(one) == canonical(other))
}

async fn change(
    inner: &Inner,
    transaction: &Transaction<'_>,
    events: &[Rewritten],
    still: &[usize],
) -> Result<Vec<bool>, StoreError> {
    let (schema, payload) = (&inner.schema, inner.payloads.name());
    let ids: Vec<Uuid> = still.iter().map(|at| events[*at].id.0).collect();
    let numbers: Vec<i64> = still.iter().map(|at| stored(*at as u64 + 1)).collect();
    let to = || still.iter().map(|at| &events[*at].to);
    let (data, bytes): (Vec<_>, Vec<_>) = to().map(|to| as_columns(&to.data)).unzip();
    let metadata: Vec<_> = to().map(|to| to.metadata.as_ref().map(Json::as_str)).collect();
    let sql = format!(
        "UPDATE {schema}.event e SET data = w.data::{payload}, bytes = w.bytes, metadata = w.metadata::{payload}
         FROM unnest($1, $2, $3, $4, $5) AS w (id, number, data, bytes, metadata) WHERE e.id = w.id RETURNING w.number"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
        (&ids, Type::UUID_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&data, Type::TEXT_ARRAY),
        (&bytes, Type::BYTEA_ARRAY),
        (&metadata, Type::TEXT_ARRAY),
    ];
    let rows = transaction.query_typed(&sql, &parameters).await;
    done(&rows.map_err(PostgresError::from)?, events.len())
}

/// Which of so many were done, by their numbers from 1: what is named twice is done once.
fn done(rows: &[Row], count: usize) -> Result<Vec<bool>, StoreError> {
    let mut done = vec![false; count];
    for row in rows {
        let number: i64 = row.try_get(0).map_err(PostgresError::from)?;
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(done) = at.and_then(|at| done.get_mut(at)) {
            *done = true;
        }
    }
    Ok(done)
}

/// Where `meta` names the highest transaction of which an event was removed.
pub(crate) const REMOVED: &str = "removed";

/// Removes them in one statement. A stream remembers its last revision by itself; the last transaction is noted, so that
/// a server that is filled from a dump goes on behind it.
pub(crate) async fn remove(inner: &Inner, events: &[Removed]) -> Result<Vec<bool>, StoreError> {
    let schema = &inner.schema;
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
    let streams: Vec<&str> = events.iter().map(|event| event.stream.as_str()).collect();
    let revisions: Vec<i64> = events.iter().map(|event| stored(event.revision.0)).collect();
    let sql = format!(
        "WITH removed AS (
            DELETE FROM {schema}.event e USING (
                SELECT id, stream, revision, min(ord) AS ord
                FROM unnest($1, $2, $3) WITH ORDINALITY AS u (id, stream, revision, ord) GROUP BY id, stream, revision
             ) w
                JOIN {schema}.stream s ON s.name = w.stream
             WHERE e.id = w.id AND e.stream = s.number AND e.revision = w.revision
             RETURNING w.ord, e.tx
         ), noted AS (
            INSERT INTO {schema}.meta AS m (key, value)
                SELECT '{REMOVED}', max(r.tx)::text FROM removed r HAVING count(*) > 0
                ON CONFLICT (key) DO UPDATE SET value = greatest(m.value::bigint, excluded.value::bigint)::text
         )
         SELECT r.ord FROM removed r"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&ids, Type::UUID_ARRAY), (&streams, Type::TEXT_ARRAY), (&revisions, Type::INT8_ARRAY)];
    let rows = lend(&inner.pool).await?.query_typed(&sql, &parameters).await;
    done(&rows.map_err(PostgresError::from)?, events.len())
}
