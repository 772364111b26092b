//! Giving events other contents, and removing them.

use oubliette::{
    event::Json,
    store::{Removed, Rewritten, StoreError},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::{append::halves, connect::lend, error::PostgresError, rows::stored, store::Inner};

/// Changes them in one statement, and so in one transaction.
pub(crate) async fn rewrite(inner: &Inner, events: &[Rewritten]) -> Result<Vec<bool>, StoreError> {
    let (schema, payload) = (&inner.schema, inner.payloads.name());
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
    let streams: Vec<&str> = events.iter().map(|event| event.stream.as_str()).collect();
    let revisions: Vec<i64> = events.iter().map(|event| stored(event.revision.0)).collect();
    let metadata = |json: &'_ Option<Json>| json.as_ref().map(|json| json.as_str().to_owned());
    let (from_data, from_bytes): (Vec<_>, Vec<_>) =
        events.iter().map(|event| halves(&event.from.data)).unzip();
    let from_metadata: Vec<_> = events.iter().map(|event| metadata(&event.from.metadata)).collect();
    let (to_data, to_bytes): (Vec<_>, Vec<_>) =
        events.iter().map(|event| halves(&event.to.data)).unzip();
    let to_metadata: Vec<_> = events.iter().map(|event| metadata(&event.to.metadata)).collect();
    // `jsonb` is compared by value, and the others by their text.
    let compared = if payload == "jsonb" { "jsonb" } else { "text" };
    let sql = format!(
        "UPDATE {schema}.event e SET data = w.to_data::{payload}, bytes = w.to_bytes, metadata = w.to_metadata::{payload}
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY AS w
                (id, stream, revision, from_data, from_bytes, from_metadata, to_data, to_bytes, to_metadata, ord)
            JOIN {schema}.stream s ON s.name = w.stream
         WHERE e.id = w.id AND e.stream = s.number AND e.revision = w.revision
            AND e.data::{compared} IS NOT DISTINCT FROM w.from_data::{compared}
            AND e.bytes IS NOT DISTINCT FROM w.from_bytes
            AND e.metadata::{compared} IS NOT DISTINCT FROM w.from_metadata::{compared}
         RETURNING w.ord"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 9] = [
        (&ids, Type::UUID_ARRAY),
        (&streams, Type::TEXT_ARRAY),
        (&revisions, Type::INT8_ARRAY),
        (&from_data, Type::TEXT_ARRAY),
        (&from_bytes, Type::BYTEA_ARRAY),
        (&from_metadata, Type::TEXT_ARRAY),
        (&to_data, Type::TEXT_ARRAY),
        (&to_bytes, Type::BYTEA_ARRAY),
        (&to_metadata, Type::TEXT_ARRAY),
    ];
    let rows = lend(&inner.pool).await?.query_typed(&sql, &parameters).await;
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
