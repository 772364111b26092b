//! The embedded store: SQLite in a folder.
/// Events in a folder.
#[derive(Debug)]
pub struct SqliteStore;
