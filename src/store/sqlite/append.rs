//! One append within the transaction of a group.

use rusqlite::{
    Connection, OptionalExtension, ffi, params,
    types::{ToSqlOutput, ValueRef},
};

use super::SqliteError;
use crate::{
    event::{NewEvent, Payload, Position, Revision, StreamName, Timestamp},
    store::{
        Append, Appended, StoreError,
        check::{Known, answer_retry},
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
/// retry is asked only where something stands in its way.
pub(super) fn append(
    connection: &Connection,
    appends: &[Append],
    recorded: Timestamp,
) -> Result<Vec<Appended>, Stop> {
    let mut streams = Vec::with_capacity(appends.len());
    for Append { stream, expected, .. } in appends {
        let known = find_stream(connection, stream)?;
        let last = known.and_then(|known| known.last);
        if !expected.matches(last) {
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
    let mut insert = connection.prepare_cached(
        "INSERT INTO event (stream, revision, id, type, recorded, data, metadata)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (Append { stream, events, .. }, known) in appends.iter().zip(streams) {
        let KnownStream { number, mut next, .. } = match known {
            Some(known) => *known,
            None => {
                let mut insert =
                    connection.prepare_cached("INSERT INTO stream (name) VALUES (?1)")?;
                KnownStream { number: insert.insert([stream.as_str()])?, last: None, next: 0 }
            }
        };
        let mut position = 0;
        for NewEvent { id, event_type, data, metadata, .. } in events {
            position = insert.insert(params![
                number,
                i64::try_from(next).unwrap_or(i64::MAX),
                id.0.as_bytes(),
                event_type.as_str(),
                recorded.as_micros(),
                ToSqlOutput::Borrowed(match data {
                    Payload::Json(json) => ValueRef::Text(json.as_str().as_bytes()),
                    Payload::Bytes(bytes) => ValueRef::Blob(bytes),
                }),
                metadata.as_ref().map(crate::event::Json::as_str),
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

fn retry(connection: &Connection, appends: &[Append]) -> Result<Option<Vec<Appended>>, Stop> {
    let mut find = connection.prepare_cached(
        "SELECT name, revision, position FROM event JOIN stream ON stream.id = event.stream
         WHERE event.id = ?1",
    )?;
    answer_retry(appends, |id, stream| {
        find.query_row([id.0.as_bytes()], |row| {
            Ok(Known {
                same_stream: row.get_ref(0)?.as_bytes()? == stream.as_str().as_bytes(),
                revision: Revision(unsigned(row.get(1)?)),
                position: Position::number(unsigned(row.get(2)?)),
            })
        })
        .optional()
        .map_err(|error| SqliteError::from(error).into())
    })
    .map_err(Stop::Refused)
}

/// Our own numbers are never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}
