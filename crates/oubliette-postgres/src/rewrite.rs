//! Giving events other contents, removing them, and clearing away what they were.

use std::collections::HashSet;

use oubliette::{
    event::Json,
    store::{Removed, Rewritten, StoreError},
};
use tokio_postgres::types::{ToSql, Type};
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
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) AS w
                (id, stream, revision, from_data, from_bytes, from_metadata, to_data, to_bytes, to_metadata)
            JOIN {schema}.stream s ON s.name = w.stream
         WHERE e.id = w.id AND e.stream = s.number AND e.revision = w.revision
            AND e.data::{compared} IS NOT DISTINCT FROM w.from_data::{compared}
            AND e.bytes IS NOT DISTINCT FROM w.from_bytes
            AND e.metadata::{compared} IS NOT DISTINCT FROM w.from_metadata::{compared}
         RETURNING e.id"
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
    let mut changed = HashSet::new();
    for row in rows.map_err(PostgresError::from)? {
        changed.insert(row.try_get::<_, Uuid>(0).map_err(PostgresError::from)?);
    }
    Ok(ids.iter().map(|id| changed.contains(id)).collect())
}

/// Removes them in one statement. A stream remembers its last revision by itself.
pub(crate) async fn remove(inner: &Inner, events: &[Removed]) -> Result<Vec<bool>, StoreError> {
    let schema = &inner.schema;
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
    let streams: Vec<&str> = events.iter().map(|event| event.stream.as_str()).collect();
    let revisions: Vec<i64> = events.iter().map(|event| stored(event.revision.0)).collect();
    let sql = format!(
        "DELETE FROM {schema}.event e USING unnest($1, $2, $3) AS w (id, stream, revision)
            JOIN {schema}.stream s ON s.name = w.stream
         WHERE e.id = w.id AND e.stream = s.number AND e.revision = w.revision
         RETURNING e.id"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&ids, Type::UUID_ARRAY), (&streams, Type::TEXT_ARRAY), (&revisions, Type::INT8_ARRAY)];
    let rows = lend(&inner.pool).await?.query_typed(&sql, &parameters).await;
    let mut removed = HashSet::new();
    for row in rows.map_err(PostgresError::from)? {
        removed.insert(row.try_get::<_, Uuid>(0).map_err(PostgresError::from)?);
    }
    // An event that is named twice is removed once.
    Ok(ids.iter().map(|id| removed.remove(id)).collect())
}

/// Writes the table anew, so that no page has a former row, and has the log begin a new segment. The old ones go when the
/// server removes them.
pub(crate) async fn scrub(inner: &Inner) -> Result<Vec<String>, StoreError> {
    let connection = lend(&inner.pool).await?;
    let schema = &inner.schema;
    let vacuum = async {
        // It takes as long as the table is large.
        connection.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0").await?;
        connection.batch_execute(&format!("VACUUM FULL {schema}.event")).await?;
        let timeouts = inner.timeouts();
        connection.batch_execute(&timeouts).await
    };
    vacuum.await.map_err(PostgresError::from)?;
    let mut still = vec![
        "backups of the database, its archived write-ahead log and its standbys, from before: destroy them, or keep them for as long \
         as they are needed, and say so in what you tell the person"
            .to_owned(),
        "blocks of the server's disk that are free now: overwrite them".to_owned(),
    ];
    // Who may do that differs; what is not done is told.
    let mut switched = Ok(());
    for statement in
        ["SELECT pg_switch_wal()", "CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"]
    {
        switched = switched.and(connection.batch_execute(statement).await);
    }
    let recycles = connection.query_one("SELECT current_setting('wal_recycle')", &[]).await;
    let recycles: String = recycles.and_then(|row| row.try_get(0)).map_err(PostgresError::from)?;
    if switched.is_err() {
        still.push(
            "the server's write-ahead log (pg_wal): as a superuser run CHECKPOINT, SELECT pg_switch_wal() and CHECKPOINT again"
                .to_owned(),
        );
    }
    if recycles == "on" {
        still.push(
            "segments of the write-ahead log that the server keeps to use them again (wal_recycle = on): set wal_recycle = off, and \
             run CHECKPOINT until pg_wal has no segment from before"
                .to_owned(),
        );
    }
    Ok(still)
}
