//! Whose database a file is: ours, empty, another program's, or ours without its marks.

use std::path::Path;

use rusqlite::Connection;

use super::{
    OpenError, OpenMode,
    format::{APPLICATION_ID, SCHEMA, VERSION, VERSION_KEY},
};

/// Whose database it is.
pub(super) struct Identity {
    application: i64,
    version: i64,
    empty: bool,
    /// Without either mark: the version that `meta` names, and whether there is exactly what makes a
    /// store.
    unmarked: Option<(i64, bool)>,
}

impl Identity {
    /// All of it as of one moment: another process may be making the tables just now.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let read = || {
            let identity = Self {
                application: number("PRAGMA application_id")?,
                version: number("PRAGMA user_version")?,
                // SQLite's own tables stay when ours are dropped.
                empty: number("SELECT count(*) FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*'")?
                    == 0,
                unmarked: None,
            };
            if identity.empty || (identity.application, identity.version) != (0, 0) {
                return Ok(identity);
            }
            Ok(Self { unmarked: unmarked(connection)?, ..identity })
        };
        // A savepoint, because `make` asks within its transaction.
        connection.execute_batch("SAVEPOINT identity")?;
        let identity = read();
        let ended = connection.execute_batch("RELEASE identity");
        identity.and_then(|identity| ended.map(|()| identity))
    }

    /// Whether it is ours, and lost its marks.
    pub(super) fn is_bare(&self) -> bool {
        self.unmarked == Some((VERSION, true))
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.empty && self.application == 0 && self.version == 0
    }

    pub(super) fn check(&self, folder: &Path, mode: OpenMode) -> Result<(), OpenError> {
        let folder_of = || folder.to_owned();
        if self.is_fresh() {
            return match mode {
                OpenMode::Create => Ok(()),
                _ => Err(OpenError::Missing { folder: folder_of() }),
            };
        }
        match self.unmarked {
            Some((VERSION, true)) => return Ok(()),
            Some((found, _)) if found > VERSION => {
                return Err(OpenError::Newer { folder: folder_of(), found, known: VERSION });
            }
            Some(_) => {
                let why = "its events.db has lost its marks, and not exactly the tables of a store; \
                           restore it as a whole file, or with all that `.dump` wrote";
                return Err(OpenError::not_ours(folder, why));
            }
            None => {}
        }
        if self.application != APPLICATION_ID {
            return Err(OpenError::not_ours(folder, "its events.db belongs to another program"));
        }
        if self.version > VERSION {
            let (found, known) = (self.version, VERSION);
            return Err(OpenError::Newer { folder: folder_of(), found, known });
        }
        if self.version != VERSION {
            let problem = format!("format {} never existed", self.version);
            return Err(OpenError::Damaged { folder: folder_of(), problem });
        }
        Ok(())
    }
}

/// What is known of a database with tables and without marks; `None`: nothing says that it may be ours.
fn unmarked(connection: &Connection) -> rusqlite::Result<Option<(i64, bool)>> {
    let noted = connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [VERSION_KEY], |row| {
            row.get::<_, String>(0)
        })
        .ok();
    let Some(version) = noted.and_then(|noted| noted.parse().ok()) else { return Ok(None) };
    let made_of = |connection: &Connection| -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = connection.prepare(
            "SELECT name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' ORDER BY name",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let model = Connection::open_in_memory()?;
    model.execute_batch(SCHEMA)?;
    Ok(Some((version, made_of(connection)? == made_of(&model)?)))
}
