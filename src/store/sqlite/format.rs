//! The file format, version 1.
//!
//! `events.db` is a SQLite database in WAL mode, with SQLite's own application id and user
//! version saying whose it is and of which format. `event` holds the events in the order of
//! their positions; streams are numbered in `stream`, because a name would otherwise be in
//! every event and in every entry of an index. JSON is kept as TEXT and anything else as BLOB,
//! verbatim: SQLite's JSON functions never touch it. `restored` is when the event was written here,
//! where another store recorded it; else it is null. The view `events` is for people.
//!
//! No number is used twice, also where rows are removed by another hand, the last ones too: a reader that goes on
//! from a position or a revision must not miss what comes after it. `AUTOINCREMENT` sees to that for
//! positions and for the numbers of streams; for revisions a trigger notes the highest one that was removed.
//! (A row of `stream` that is removed takes that note with it.)
//!
//! Application id and user version are lost where somebody copies the tables alone, as `.dump` and
//! `.clone` of SQLite's shell do. So `meta` names the format, too, and a database without marks that has
//! exactly these tables is ours and gets its marks back.

/// The name of the database within the folder.
pub(super) const FILE: &str = "events.db";

/// SQLite's application id of our databases: "Oubl".
pub(super) const APPLICATION_ID: i64 = 0x4F75_626C;

/// The version of the format, SQLite's user version.
pub(super) const VERSION: i64 = 1;

/// Under this key `meta` names the version as well.
pub(super) const VERSION_KEY: &str = "format";

/// What sets the marks of the two numbers above.
pub(super) const MARKS: &str = "
PRAGMA application_id = 1333092972;
PRAGMA user_version = 1;
";

/// Makes an empty database one of ours. Run within a transaction, with [`MARKS`].
pub(super) const SCHEMA: &str = "
CREATE TABLE stream (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    removed INTEGER NOT NULL DEFAULT -1
) STRICT;

CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
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

CREATE TRIGGER removal AFTER DELETE ON event BEGIN
    UPDATE stream SET removed = max(removed, OLD.revision) WHERE id = OLD.stream;
END;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('format', '1');

CREATE VIEW events AS
    SELECT position, name AS stream, revision, hex(event.id) AS id, type,
        strftime('%FT%T', (recorded - micros) / 1000000, 'unixepoch')
            || printf('.%06dZ', micros) AS recorded,
        restored IS NOT NULL AS restored,
        data, metadata
    FROM (SELECT *, (recorded % 1000000 + 1000000) % 1000000 AS micros FROM event) AS event
        JOIN stream ON stream.id = event.stream;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_says_whose_it_is() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch(MARKS).unwrap();
        let number = |pragma: &str| -> i64 {
            db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(number("application_id"), APPLICATION_ID);
        assert_eq!(number("user_version"), VERSION);
        let noted = "SELECT value FROM meta WHERE key = ?1";
        let noted: String = db.query_row(noted, [VERSION_KEY], |row| row.get(0)).unwrap();
        assert_eq!(noted, VERSION.to_string());
    }
}
