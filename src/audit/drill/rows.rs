//! Values of a SQLite database: a long one lies over pages that do not follow each other, so that
//! it cannot be found in the file as it lies.

use std::{fs, path::Path};

use rusqlite::{Connection, OpenFlags, types::ValueRef};

/// Shows every text and every blob of every table, with the table and the column. The database is
/// copied before, with what is not yet written back to it.
pub(super) fn walk(path: &Path, see: &mut dyn FnMut(&str, &str, &[u8])) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("oubliette-drill").tempdir();
    let folder = folder.map_err(|error| error.to_string())?;
    let copy = folder.path().join("copy.db");
    fs::copy(path, &copy).map_err(|error| error.to_string())?;
    for beside in ["-wal", "-journal"] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(beside);
            name
        };
        // Without it the database is as it was when it was last written back.
        let _ = fs::copy(with(path), with(&copy));
    }
    walk_copy(&copy, see).map_err(|error| error.to_string())
}

fn walk_copy(path: &Path, see: &mut dyn FnMut(&str, &str, &[u8])) -> Result<(), rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    // Whoever made it must not have anything run here.
    db.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;")?;
    let mut tables = db.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
    )?;
    let names = tables.query_map([], |row| row.get::<_, String>(0))?;
    for name in names {
        let name = name?;
        let mut rows = db.prepare(&format!("SELECT * FROM \"{}\"", name.replace('"', "\"\"")))?;
        let columns: Vec<String> = rows.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            for (index, column) in columns.iter().enumerate() {
                if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(index)? {
                    see(&name, column, bytes);
                }
            }
        }
    }
    Ok(())
}
