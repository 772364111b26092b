//! Giving rows other contents, and removing them: those that are still what somebody read, as events are read.

use std::{collections::HashSet, time::Duration};

use oubliette::{
    event::{EventId, Payload, RecordedEvent, Revision, StreamName},
    store::{Capability, Removed, Rewritten, StoreError, Stored},
};
use tokio_postgres::{
    Row, Transaction,
    types::{ToSql, Type},
};

use super::{
    Inner, TableError,
    append::refused,
    columns,
    rows::{BEFORE_PARTS, Seen, to_bytes},
    shape::{Kept, Shape},
};
use crate::{
    append::as_columns,
    connect::lend,
    error::PostgresError,
    rows::{stored, unsigned},
};

/// How often another transaction is begun where others were in the way.
const ATTEMPTS: u32 = 20;

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// An event that is named, and where it would be.
struct Named<'a> {
    stream: &'a StreamName,
    revision: Revision,
    id: EventId,
}

/// A row that was found under a name, and is locked.
struct Locked {
    /// The number of the name.
    of: usize,
    at: i64,
    event: RecordedEvent,
    /// Whether nothing that is given out again goes with it.
    may_go: bool,
}

/// What the table does instead, where it neither does what it is told nor refuses.
const CHANGES: &str = "a trigger or rule of the table changes what is written to it, or leaves it out; nothing was done";

/// What is to be done.
enum Change<'a> {
    /// With the metadata as they are to be in the table.
    Rewrite(&'a [Rewritten], Vec<Option<String>>),
    Remove(&'a [Removed]),
}

/// Gives events other contents, all of them in one transaction.
pub(super) async fn rewrite(inner: &Inner, events: &[Rewritten]) -> Result<Vec<bool>, StoreError> {
    let shape = &inner.shape;
    if !shape.not_in_place.is_empty() {
        return Err(not_in_place(shape, &shape.not_in_place));
    }
    let mut metadata = Vec::with_capacity(events.len());
    for Rewritten { id, to, .. } in events {
        // Also where it was derived until now: an event that is sealed keeps its id, whatever becomes of the table's name.
        metadata.push(columns::metadata(shape, *id, to.metadata.as_ref())?);
        if matches!(to.data, Payload::Bytes(_)) && shape.data.kind != Kept::Bytes {
            return Err(StoreError::Unsupported(Capability::Bytes));
        }
    }
    run(inner, &Change::Rewrite(events, metadata)).await
}

/// Removes events in one transaction.
pub(super) async fn remove(inner: &Inner, events: &[Removed]) -> Result<Vec<bool>, StoreError> {
    run(inner, &Change::Remove(events)).await
}

fn not_in_place(shape: &Shape, why: &[String]) -> StoreError {
    TableError::NotInPlace { table: shape.name.clone(), why: why.join("; ") }.into()
}

/// Does it, again where transactions got in each other's way.
async fn run(inner: &Inner, change: &Change<'_>) -> Result<Vec<bool>, StoreError> {
    let mut attempt = 0;
    loop {
        match once(inner, change).await {
            Err(StoreError::Backend { source, temporary }) => {
                let error = source.downcast_ref::<PostgresError>();
                attempt += 1;
                if !error.is_some_and(PostgresError::is_a_collision) || attempt > ATTEMPTS {
                    return Err(StoreError::Backend { source, temporary });
                }
                tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
            }
            done => return done,
        }
    }
}

async fn once(inner: &Inner, change: &Change<'_>) -> Result<Vec<bool>, StoreError> {
    let shape = &inner.shape;
    let mut connection = lend(&inner.pool).await?;
    let begun = connection.client_mut().transaction().await;
    let transaction = begun.map_err(PostgresError::from)?;
    let names = change.names();
    let rows = match change {
        Change::Rewrite(events, metadata) => {
            let mut rows = find(inner, &transaction, &names, false).await?;
            rows.retain(|row| is_still(shape, &row.event, &events[row.of].from));
            let rows = one_each(rows);
            update(shape, &transaction, &rows, events, metadata).await?;
            rows
        }
        Change::Remove(_) => {
            let kept = why_kept(shape, &transaction).await?;
            if !kept.is_empty() {
                return Err(not_in_place(shape, &kept));
            }
            let mut rows = find(inner, &transaction, &names, true).await?;
            rows.retain(|row| row.may_go);
            let rows = one_each(rows);
            delete(shape, &transaction, &rows).await?;
            rows
        }
    };
    // What is deferred is refused here.
    transaction.commit().await.map_err(|error| judge(shape, &error))?;
    let mut done = vec![false; names.len()];
    rows.iter().for_each(|row| done[row.of] = true);
    Ok(done)
}

impl Change<'_> {
    fn names(&self) -> Vec<Named<'_>> {
        match self {
            Self::Rewrite(events, _) => events
                .iter()
                .map(|Rewritten { stream, revision, id, .. }| Named {
                    stream,
                    revision: *revision,
                    id: *id,
                })
                .collect(),
            Self::Remove(events) => events
                .iter()
                .map(|Removed { stream, revision, id }| Named {
                    stream,
                    revision: *revision,
                    id: *id,
                })
                .collect(),
        }
    }
}

fn judge(shape: &Shape, error: &tokio_postgres::Error) -> StoreError {
    let refused = error.as_db_error().and_then(|error| refused(shape, error, "let events change"));
    refused.unwrap_or_else(|| PostgresError::from(error).into())
}

/// Finds rows by their places and locks them; those that are events with these ids are returned.
async fn find(
    inner: &Inner,
    transaction: &Transaction<'_>,
    names: &[Named<'_>],
    to_remove: bool,
) -> Result<Vec<Locked>, StoreError> {
    let shape = &inner.shape;
    let mut parts: Vec<Vec<String>> = vec![Vec::with_capacity(names.len()); shape.parts.len()];
    let (mut revisions, mut numbers) = (Vec::new(), Vec::new());
    for (number, name) in names.iter().enumerate() {
        // What the columns cannot hold is not there.
        let Some(values) = inner.parts_of(name.stream) else { continue };
        for (column, value) in parts.iter_mut().zip(values) {
            column.push(value);
        }
        revisions.push(stored(name.revision.0).saturating_add(shape.first_revision));
        numbers.push(stored(number as u64));
    }
    let mut parameters: Vec<Parameter<'_>> =
        parts.iter().map(|part| (part as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
    parameters.extend([
        (&revisions as &(dyn ToSql + Sync), Type::INT8_ARRAY),
        (&numbers, Type::INT8_ARRAY),
    ]);
    let sql = found(shape, to_remove);
    let rows = transaction.query_typed(&sql, &parameters).await;
    let rows = rows.map_err(|error| judge(shape, &error))?;
    let (mut seen, mut locked) = (Seen::default(), Vec::with_capacity(rows.len()));
    for row in &rows {
        // What is no event is none that was named.
        let Ok(event) = shape.event(row, &mut seen) else { continue };
        let read = |row: &Row| {
            let behind = BEFORE_PARTS + shape.parts.len();
            Ok::<_, tokio_postgres::Error>((
                row.try_get::<_, i64>(0)?,
                row.try_get::<_, i64>(behind)?,
                row.try_get::<_, Option<bool>>(behind + 1)?,
            ))
        };
        let (at, of, may_go) = read(row).map_err(PostgresError::from)?;
        let of = usize::try_from(unsigned(of)).unwrap_or(usize::MAX);
        let Some(name) = names.get(of) else { continue };
        if event.id == name.id {
            locked.push(Locked { of, at, event, may_go: may_go == Some(true) });
        }
    }
    Ok(locked)
}

/// The statement that finds and locks.
fn found(shape: &Shape, to_remove: bool) -> String {
    let numbered = || shape.parts.iter().enumerate();
    let count = shape.parts.len();
    let lists: Vec<String> = (1..=count + 2).map(|at| format!("${at}")).collect();
    let names: Vec<String> = (0..count).map(|at| format!("w{at}")).collect();
    let on: Vec<String> = numbered()
        .map(|(at, part)| format!("t.{} = w.w{at}{}", part.sql, part.kind.cast()))
        .collect();
    // The next revision is the highest one and one; so is the next position, where nothing else gives it.
    let mut may_go = "false".to_owned();
    if to_remove {
        let same: Vec<String> =
            shape.parts.iter().map(|part| format!("o.{0} = t.{0}", part.sql)).collect();
        may_go = format!(
            "t.{0} < (SELECT max(o.{0}) FROM {1} o WHERE {2})",
            shape.revision.sql,
            shape.table,
            same.join(" AND ")
        );
        if shape.sequence.is_none() {
            may_go.push_str(&format!(
                " AND t.{0} < (SELECT max(o.{0}) FROM {1} o)",
                shape.position, shape.table
            ));
        }
    }
    // By their places, so that two who do this wait for each other in one order.
    format!(
        "SELECT {cooked}, e.ord, e.may_go FROM (
            SELECT {raw}, w.ord, {may_go} AS may_go
            FROM unnest({lists}) AS w ({names}, revision, ord)
                JOIN {table} t ON {on} AND t.{revision} = w.revision
            ORDER BY t.{position} FOR NO KEY UPDATE OF t
         ) e ORDER BY e.ord, e.at",
        cooked = shape.cooked(),
        raw = shape.raw(),
        lists = lists.join(", "),
        names = names.join(", "),
        table = shape.table,
        on = on.join(" AND "),
        revision = shape.revision.sql,
        position = shape.position,
    )
}

/// Whether an event is what it is said to be.
fn is_still(shape: &Shape, event: &RecordedEvent, from: &Stored) -> bool {
    let is_same = |kind: Kept, one: &oubliette::event::Json, other: &oubliette::event::Json| {
        one == other || kind == Kept::Jsonb && one.to_canonical() == other.to_canonical()
    };
    let data = match (&event.data, &from.data) {
        (Some(Payload::Json(one)), Payload::Json(other)) => is_same(shape.data.kind, one, other),
        (one, other) => one.as_ref() == Some(other),
    };
    // Metadata without members are none.
    let from = from.metadata.as_ref().filter(|json| json.as_str() != "{}");
    let metadata = match (&event.metadata, from, &shape.metadata) {
        (Some(one), Some(other), Some(column)) => is_same(column.kind, one, other),
        (one, other, _) => one.as_ref() == other,
    };
    data && metadata
}

/// Of what is named twice one, and of what is there twice each once.
fn one_each(rows: Vec<Locked>) -> Vec<Locked> {
    let (mut names, mut places) = (HashSet::new(), HashSet::new());
    rows.into_iter()
        .filter(|row| {
            let is_new = !names.contains(&row.of) && !places.contains(&row.at);
            is_new && names.insert(row.of) && places.insert(row.at)
        })
        .collect()
}

async fn update(
    shape: &Shape,
    transaction: &Transaction<'_>,
    rows: &[Locked],
    events: &[Rewritten],
    metadata: &[Option<String>],
) -> Result<(), StoreError> {
    let Some(noted) = shape.metadata.as_ref().filter(|_| !rows.is_empty()) else { return Ok(()) };
    let places: Vec<i64> = rows.iter().map(|row| row.at).collect();
    let metadata: Vec<Option<&str>> = rows.iter().map(|row| metadata[row.of].as_deref()).collect();
    let to = rows.iter().map(|row| &events[row.of].to.data);
    let (mut texts, mut bytes) = (Vec::new(), Vec::new());
    match shape.data.kind {
        Kept::Bytes => bytes.extend(to.map(to_bytes)),
        _ => texts.extend(to.map(|data| as_columns(data).0)),
    }
    let data: Parameter<'_> = match shape.data.kind {
        Kept::Bytes => (&bytes, Type::BYTEA_ARRAY),
        _ => (&texts, Type::TEXT_ARRAY),
    };
    let parameters =
        [(&places as &(dyn ToSql + Sync), Type::INT8_ARRAY), data, (&metadata, Type::TEXT_ARRAY)];
    // What stays is compared with the row as it was: a trigger may set a time.
    let sql = format!(
        "UPDATE {table} t SET {data} = w.data{as_data}, {metadata} = w.metadata{as_metadata}
         FROM unnest($1, $2, $3) AS w (at, data, metadata) JOIN {table} o ON o.{position} = w.at
         WHERE t.{position} = w.at
         RETURNING {holds_data} AND {holds_metadata} AND {now} IS NOT DISTINCT FROM {before}",
        table = shape.table,
        data = shape.data.sql,
        as_data = shape.data.kind.cast(),
        metadata = noted.sql,
        as_metadata = noted.kind.cast(),
        position = shape.position,
        holds_data = Shape::holds(&shape.data, "w.data"),
        holds_metadata = Shape::holds(noted, "w.metadata"),
        now = shape.stays("t"),
        before = shape.stays("o"),
    );
    let changed = transaction.query_typed(&sql, &parameters).await;
    let changed = changed.map_err(|error| judge(shape, &error))?;
    let mut as_told = 0;
    for row in &changed {
        as_told += usize::from(row.try_get::<_, bool>(0).map_err(PostgresError::from)?);
    }
    match as_told == rows.len() {
        true => Ok(()),
        false => Err(PostgresError::Damaged(CHANGES).into()),
    }
}

async fn delete(
    shape: &Shape,
    transaction: &Transaction<'_>,
    rows: &[Locked],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let places: Vec<i64> = rows.iter().map(|row| row.at).collect();
    let sql = format!(
        "DELETE FROM {0} t USING unnest($1) AS w (at) WHERE t.{1} = w.at RETURNING t.{1}",
        shape.table, shape.position
    );
    let gone = transaction.query_typed(&sql, &[(&places, Type::INT8_ARRAY)]).await;
    let gone = gone.map_err(|error| judge(shape, &error))?;
    match gone.len() == rows.len() {
        true => Ok(()),
        false => Err(PostgresError::Damaged(CHANGES).into()),
    }
}

/// Why nothing may be removed from the table: asked each time, since it is not asked for when the store is opened.
async fn why_kept(
    shape: &Shape,
    transaction: &Transaction<'_>,
) -> Result<Vec<String>, PostgresError> {
    let mut kept = Vec::new();
    let sql = "SELECT has_table_privilege($1, 'DELETE') AND has_any_column_privilege($1, 'UPDATE')";
    let may = transaction.query_typed(sql, &[(&shape.number, Type::OID)]).await?;
    if !may.first().map_or(Ok(false), |row| row.try_get(0))? {
        kept.push(format!(
            "this user may not remove rows: run GRANT DELETE, UPDATE ON {} TO this user",
            shape.table
        ));
    }
    // Rows of others would go as well, or change.
    let sql = "SELECT format('the foreign key %I of %s removes or changes rows there when an event is removed: give it ON DELETE \
            RESTRICT', c.conname, c.conrelid::regclass)
         FROM pg_constraint c WHERE c.confrelid = $1 AND c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd')";
    for row in transaction.query_typed(sql, &[(&shape.number, Type::OID)]).await? {
        kept.push(row.try_get(0)?);
    }
    Ok(kept)
}
