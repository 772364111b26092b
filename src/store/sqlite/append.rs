//! One append, or one restore, within the transaction of a group.

use std::collections::HashMap;

use rusqlite::{
    Connection, OptionalExtension, Statement, ffi, params,
    types::{ToSqlOutput, ValueRef},
};

use super::SqliteError;
use crate::{
    event::{
        EventId, Json, NewEvent, Payload, Position, RecordedEvent, Revision, StreamName, Timestamp,
    },
    store::{
        Append, Appended, Removed, Rewritten, StoreError,
        check::{Known, answer_retry, plan_restore},
    },
};

/// Why nothing of an append was kept.
pub(super) enum Stop {
    /// The contract refuses it.
    Refused(StoreError),
    /// The database failed.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// Writes an append. Where it stops, the caller rolls back to the savepoint before it.
///
/// The usual append is new and expects what is so: that is tried at once, and whether it is a
/// retry is asked only where something is in its way.
pub(super) fn append(
    connection: &Connection,
    appends: &[Append],
    recorded: Timestamp,
) -> Result<Vec<Appended>, Stop> {
    let mut streams = Vec::with_capacity(appends.len());
    for Append { stream, expected, .. } in appends {
        // Within the transaction of the group, on the one connection that writes: nothing changes until the insert.
        let known = find_stream(connection, stream)?;
        let last = known.and_then(|known| known.last);
        if !expected.matches(last) {
            // A retry whose answer was lost also finds the stream moved on. So known ids go before a conflict.
            if let Some(done) = retry(connection, appends)? {
                return Ok(done);
            }
            return Err(Stop::Refused(StoreError::Conflict {
                stream: stream.clone(),
                expected: *expected,
                actual: Some(last.into()),
            }));
        }
        streams.push(known);
    }
    match insert_all(connection, appends, &streams, recorded) {
        // The index on ids is the arbiter. Looking for each id before the insert would cost every append a lookup
        // that almost never finds something.
        Err(error) if is_unique_violation(&error) => {
            // Ids that this very append has written so far must not count as known.
            connection.prepare_cached(ROLL_BACK)?.execute([])?;
            match retry(connection, appends)? {
                Some(done) => Ok(done),
                None => Err(Stop::Failed(error)),
            }
        }
        result => Ok(result?),
    }
}

/// Where every request begins, so that it can fail alone.
pub(super) const SAVE: &str = "SAVEPOINT request";
/// Back to where the request began.
pub(super) const ROLL_BACK: &str = "ROLLBACK TO request";
/// The request is over.
pub(super) const RELEASE: &str = "RELEASE request";

#[derive(Clone, Copy)]
struct KnownStream {
    number: i64,
    /// Of the events that are there.
    last: Option<Revision>,
    /// That no event ever had.
    next: u64,
}

const INSERT: &str =
    "INSERT INTO event (stream, revision, id, type, recorded, restored, data, metadata)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Writes events as they were recorded elsewhere. Where it stops, the caller rolls back.
pub(super) fn restore(
    connection: &Connection,
    events: &[RecordedEvent],
    restored: Timestamp,
) -> Result<Vec<Appended>, Stop> {
    let last_of = |stream: &StreamName| match find_stream(connection, stream) {
        Ok(known) => Ok(known.and_then(|known| known.next.checked_sub(1)).map(Revision)),
        Err(error) => Err(SqliteError::from(error).into()),
    };
    let mut find = connection.prepare_cached(FIND)?;
    // All is judged before anything is written: a refusal in the middle would leave the caller with half a batch.
    let planned = plan_restore(events, |id, stream| find_id(&mut find, id, stream), last_of);
    let mut numbers: HashMap<&StreamName, i64> = HashMap::new();
    let mut insert = connection.prepare_cached(INSERT)?;
    let mut done = Vec::with_capacity(events.len());
    for (event, known) in events.iter().zip(planned.map_err(Stop::Refused)?) {
        let RecordedEvent { stream, revision, id, event_type, recorded, data, metadata, .. } =
            event;
        let position = match (known, data) {
            (Some(Known { revision, position, .. }), _) => {
                done.push(Appended { revision, position, already: true });
                continue;
            }
            (None, Some(data)) => {
                let number = match numbers.get(stream) {
                    Some(number) => *number,
                    None => match find_stream(connection, stream)? {
                        Some(known) => known.number,
                        None => make_stream(connection, stream)?,
                    },
                };
                numbers.insert(stream, number);
                let position = insert.insert(params![
                    number,
                    i64::try_from(revision.0).unwrap_or(i64::MAX),
                    id.0.as_bytes(),
                    event_type.as_str(),
                    recorded.as_micros(),
                    restored.as_micros(),
                    stored(data),
                    metadata.as_ref().map(Json::as_str),
                ])?;
                Position::number(unsigned(position))
            }
            // Refused before it came here.
            (None, None) => continue,
        };
        done.push(Appended { revision: *revision, position, already: false });
    }
    Ok(done)
}

const REWRITE: &str = "UPDATE event SET data = ?1, metadata = ?2
     WHERE id = ?3 AND revision = ?4 AND stream = (SELECT id FROM stream WHERE name = ?5)
        AND data IS ?6 AND metadata IS ?7";

/// Gives events other contents. Of each is answered whether it was otherwise by now, as a retry is.
pub(super) fn rewrite(
    connection: &Connection,
    events: &[Rewritten],
) -> Result<Vec<Appended>, Stop> {
    // Before the first page is freed: what was in it is overwritten with zeros.
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let mut rewrite = connection.prepare_cached(REWRITE)?;
    let mut done = Vec::with_capacity(events.len());
    for Rewritten { stream, revision, id, from, to } in events {
        let changed = rewrite.execute(params![
            stored(&to.data),
            to.metadata.as_ref().map(Json::as_str),
            id.0.as_bytes(),
            i64::try_from(revision.0).unwrap_or(i64::MAX),
            stream.as_str(),
            stored(&from.data),
            from.metadata.as_ref().map(Json::as_str),
        ])?;
        let position = Position::number(0);
        done.push(Appended { revision: *revision, position, already: changed == 0 });
    }
    Ok(done)
}

const REMOVE: &str = "DELETE FROM event
     WHERE id = ?1 AND revision = ?2 AND stream = (SELECT id FROM stream WHERE name = ?3)";

/// Removes events. Of each is answered whether it was not there, as a retry is.
pub(super) fn remove(connection: &Connection, events: &[Removed]) -> Result<Vec<Appended>, Stop> {
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let mut remove = connection.prepare_cached(REMOVE)?;
    let mut done = Vec::with_capacity(events.len());
    for Removed { stream, revision, id } in events {
        let number = i64::try_from(revision.0).unwrap_or(i64::MAX);
        let removed = remove.execute(params![id.0.as_bytes(), number, stream.as_str()])?;
        let position = Position::number(0);
        done.push(Appended { revision: *revision, position, already: removed == 0 });
    }
    Ok(done)
}

fn stored(data: &Payload) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match data {
        Payload::Json(json) => ValueRef::Text(json.as_str().as_bytes()),
        Payload::Bytes(bytes) => ValueRef::Blob(bytes),
    })
}

fn make_stream(connection: &Connection, stream: &StreamName) -> rusqlite::Result<i64> {
    connection.prepare_cached("INSERT INTO stream (name) VALUES (?1)")?.insert([stream.as_str()])
}

fn find_stream(
    connection: &Connection,
    stream: &StreamName,
) -> rusqlite::Result<Option<KnownStream>> {
    connection
        .prepare_cached(
            "SELECT id, (SELECT max(revision) FROM event WHERE stream = stream.id), removed
             FROM stream WHERE name = ?1",
        )?
        .query_row([stream.as_str()], |row| {
            let (last, removed): (Option<i64>, i64) = (row.get(1)?, row.get(2)?);
            // Revisions of removed events are never given again: a reader that kept one would miss what comes.
            let used = last.unwrap_or(-1).max(removed);
            Ok(KnownStream {
                number: row.get(0)?,
                last: last.map(|last| Revision(unsigned(last))),
                next: unsigned(used.saturating_add(1)),
            })
        })
        .optional()
}

fn insert_all(
    connection: &Connection,
    appends: &[Append],
    streams: &[Option<KnownStream>],
    recorded: Timestamp,
) -> rusqlite::Result<Vec<Appended>> {
    let mut done = Vec::with_capacity(appends.len());
    let mut insert = connection.prepare_cached(INSERT)?;
    for (Append { stream, events, .. }, known) in appends.iter().zip(streams) {
        let KnownStream { number, mut next, .. } = match known {
            Some(known) => *known,
            None => KnownStream { number: make_stream(connection, stream)?, last: None, next: 0 },
        };
        let mut position = 0;
        for NewEvent { id, event_type, data, metadata, .. } in events {
            position = insert.insert(params![
                number,
                i64::try_from(next).unwrap_or(i64::MAX),
                id.0.as_bytes(),
                event_type.as_str(),
                recorded.as_micros(),
                None::<i64>,
                stored(data),
                metadata.as_ref().map(Json::as_str),
            ])?;
            next += 1;
        }
        done.push(Appended {
            revision: Revision(next.saturating_sub(1)),
            position: Position::number(unsigned(position)),
            already: false,
        });
    }
    Ok(done)
}

const FIND: &str =
    "SELECT name, revision, position FROM event JOIN stream ON stream.id = event.stream
     WHERE event.id = ?1";

fn retry(connection: &Connection, appends: &[Append]) -> Result<Option<Vec<Appended>>, Stop> {
    let mut find = connection.prepare_cached(FIND)?;
    answer_retry(appends, |id, stream| find_id(&mut find, id, stream)).map_err(Stop::Refused)
}

fn find_id(
    find: &mut Statement<'_>,
    id: EventId,
    stream: &StreamName,
) -> Result<Option<Known>, StoreError> {
    find.query_row([id.0.as_bytes()], |row| {
        Ok(Known {
            same_stream: row.get_ref(0)?.as_bytes()? == stream.as_str().as_bytes(),
            revision: Revision(unsigned(row.get(1)?)),
            position: Position::number(unsigned(row.get(2)?)),
        })
    })
    .optional()
    .map_err(|error| SqliteError::from(error).into())
}

/// Our own numbers are never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}
