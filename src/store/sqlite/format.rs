//! The file format, version 1.
//!
//! `events.db` is a SQLite database in WAL mode, with SQLite's own application id and user
//! version saying whose it is and of which format. `event` holds the events in the order of
//! their positions; streams are numbered in `stream`, because a name would otherwise stand in
//! every event and in every entry of an index. JSON is kept as TEXT and anything else as BLOB,
//! verbatim: SQLite's JSON functions never touch it. `restored` is when the event was written here,
//! where another store recorded it; else it is null. The view `events` is for people.

/// The name of the database within the folder.
pub(super) const FILE: &str = "events.db";

/// SQLite's application id of our databases: "Oubl".
pub(super) const APPLICATION_ID: i64 = 0x4F75_626C;

/// The version of the format, SQLite's user version.
pub(super) const VERSION: i64 = 1;

/// Makes an empty database one of ours. Run within a transaction: the two pragmas are part of it.
pub(super) const SCHEMA: &str = "
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream (id),
    revision INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    type TEXT NOT NULL,
    recorded INTEGER NOT NULL,
    restored INTEGER,
    data ANY NOT NULL CHECK (typeof(data) IN ('text', 'blob')),
    metadata TEXT,
    UNIQUE (stream, revision)
) STRICT;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE VIEW events AS
    SELECT position, name AS stream, revision, hex(event.id) AS id, type,
        strftime('%FT%T', (recorded - micros) / 1000000, 'unixepoch')
            || printf('.%06dZ', micros) AS recorded,
        restored IS NOT NULL AS restored,
        data, metadata
    FROM (SELECT *, (recorded % 1000000 + 1000000) % 1000000 AS micros FROM event) AS event
        JOIN stream ON stream.id = event.stream;

PRAGMA application_id = 1333092972;
PRAGMA user_version = 1;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_says_whose_it_is() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        let number = |pragma: &str| -> i64 {
            db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(number("application_id"), APPLICATION_ID);
        assert_eq!(number("user_version"), VERSION);
    }
}
