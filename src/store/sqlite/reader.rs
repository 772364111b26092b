//! Connections that read, and how rows become events.

use std::{
    collections::{HashMap, HashSet},
    num::NonZero,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use rusqlite::{Connection, OptionalExtension, Row, types::ValueRef};
use uuid::Uuid;

use super::{SqliteError, location::Location};
use crate::{
    event::{
        EventId, EventType, Json, Payload, Position, RecordedEvent, Revision, StreamName, Timestamp,
    },
    store::{Direction, Filter, StoreError},
};

/// A page ends with this many events: enough that the hop to a blocking thread costs little by
/// event, few enough that a reader who wants ten does not pay for much more.
const PAGE: usize = 512;
/// … or with about this many bytes, because events may be large.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// … or after looking at this many, because a filter may pass few.
const PAGE_ROWS: usize = 16 * 1024;
/// How many streams' names a connection remembers.
const NAMES: usize = 16 * 1024;

/// A few connections, shared by all who read.
pub(super) struct Readers {
    location: Location,
    pool: Mutex<Pool>,
    returned: Condvar,
    most: usize,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Reader>,
    open: usize,
}

impl Readers {
    pub(super) fn new(location: Location) -> Self {
        // A page is computation for the most part: more connections than processors buy nothing.
        let most = thread::available_parallelism().map_or(4, NonZero::get).max(4);
        Self { location, pool: Mutex::default(), returned: Condvar::new(), most }
    }

    /// Lends a connection; blocks until one is free.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&mut Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut loan = Loan { readers: self, reader: self.take()? };
        let reader = match &mut loan.reader {
            Some(reader) => reader,
            empty => empty.insert(Reader::new(&self.location).map_err(SqliteError::from)?),
        };
        let result = read(reader);
        if result.is_err() {
            // Whatever is wrong with the connection, the next reader starts afresh.
            loan.reader = None;
        }
        result
    }

    /// Closes the connections that are not in use.
    pub(super) fn close(&self) {
        let mut pool = self.lock();
        pool.open -= pool.idle.len();
        pool.idle.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection, or leave to open one.
    fn take(&self) -> Result<Option<Reader>, StoreError> {
        let mut pool = self
            .returned
            .wait_while(self.lock(), |pool| pool.idle.is_empty() && pool.open >= self.most)
            .unwrap_or_else(PoisonError::into_inner);
        let reader = pool.idle.pop();
        pool.open += usize::from(reader.is_none());
        Ok(reader)
    }
}

/// A lent connection; it goes back also where its reader panics.
struct Loan<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.lock();
        match self.reader.take() {
            Some(reader) => pool.idle.push(reader),
            None => pool.open -= 1,
        }
        self.readers.returned.notify_one();
    }
}

/// Whose events.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// Everybody's, by position.
    All,
    /// The stream's of this number, by revision.
    Stream(i64),
}

/// A connection and the names that it met.
pub(super) struct Reader {
    connection: Connection,
    streams: HashMap<i64, StreamName>,
    types: HashSet<EventType>,
}

/// Some events, in order.
pub(super) struct Page {
    pub(super) events: Vec<RecordedEvent>,
    /// The number (position or revision) of the last row looked at; `None` where the rows ended.
    pub(super) stopped_at: Option<i64>,
}

impl Reader {
    fn new(location: &Location) -> rusqlite::Result<Self> {
        let connection = location.connect()?;
        Ok(Self { connection, streams: HashMap::new(), types: HashSet::new() })
    }

    pub(super) fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|error| SqliteError::from(error).into())
    }

    /// The number of a stream, where it exists.
    pub(super) fn stream_number(&self, stream: &StreamName) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT id FROM stream WHERE name = ?1")?
            .query_row([stream.as_str()], |row| row.get(0))
            .optional()
    }

    /// The last position, or the last revision of a stream; `None` where there are no events.
    pub(super) fn last(&self, scope: Scope) -> rusqlite::Result<Option<i64>> {
        match scope {
            Scope::All => self
                .connection
                .prepare_cached("SELECT max(position) FROM event")?
                .query_row([], |row| row.get(0)),
            Scope::Stream(number) => self
                .connection
                .prepare_cached("SELECT max(revision) FROM event WHERE stream = ?1")?
                .query_row([number], |row| row.get(0)),
        }
    }

    /// The last position that was ever given, also where its event is removed.
    pub(super) fn given(&self) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached(
                "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0),
                            coalesce((SELECT max(position) FROM event), 0))",
            )?
            .query_row([], |row| row.get(0))
    }

    /// The next page of what is between two numbers, both inclusive.
    pub(super) fn page(
        &mut self,
        scope: Scope,
        direction: Direction,
        (first, last): (i64, i64),
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Page, StoreError> {
        let Self { connection, streams, types } = self;
        let mut read = || -> Result<Page, Problem> {
            let mut statement = connection.prepare_cached(match (scope, direction) {
                (Scope::All, Direction::Forwards) => concat!(select!(), all!(), "ASC"),
                (Scope::All, Direction::Backwards) => concat!(select!(), all!(), "DESC"),
                (Scope::Stream(_), Direction::Forwards) => concat!(select!(), one!(), "ASC"),
                (Scope::Stream(_), Direction::Backwards) => concat!(select!(), one!(), "DESC"),
            })?;
            let mut rows = match scope {
                Scope::All => statement.query([first, last])?,
                Scope::Stream(number) => statement.query([first, last, number])?,
            };
            let most = limit.min(PAGE);
            let mut page = Page { events: Vec::with_capacity(most), stopped_at: None };
            let mut bytes = 0;
            let (mut looked_at, mut last) = (0, None);
            while let Some(row) = rows.next()? {
                let row = EventRow { row, position: row.get(0)? };
                let number = row.row.get(match scope {
                    Scope::All => 0,
                    Scope::Stream(_) => 2,
                })?;
                match row.passing(connection, streams, types, filter) {
                    Ok(None) => {}
                    Ok(Some(event)) => {
                        bytes += event.bytes();
                        page.events.push(event);
                    }
                    // What is before it is delivered first; the next page begins with it.
                    Err(Problem::Damaged(..)) if last.is_some() => {
                        page.stopped_at = last;
                        break;
                    }
                    Err(problem) => return Err(problem),
                }
                looked_at += 1;
                last = Some(number);
                if page.events.len() >= most || bytes >= PAGE_BYTES || looked_at >= PAGE_ROWS {
                    page.stopped_at = last;
                    break;
                }
            }
            Ok(page)
        };
        read().map_err(|problem| match problem {
            Problem::Sqlite(error) => SqliteError::from(error).into(),
            Problem::Damaged(position, problem) => {
                let source = SqliteError::Damaged(problem);
                match u64::try_from(position) {
                    Ok(position) => {
                        let position = Position::number(position);
                        StoreError::Damaged { position, source: source.into() }
                    }
                    Err(_) => source.into(),
                }
            }
        })
    }
}

/// The columns, in the order that [`EventRow`] reads them in.
macro_rules! select {
    () => {
        "SELECT position, stream, revision, id, type, recorded, metadata, data, restored FROM event "
    };
}
macro_rules! all {
    () => {
        "WHERE position BETWEEN ?1 AND ?2 ORDER BY position "
    };
}
macro_rules! one {
    () => {
        "WHERE stream = ?3 AND revision BETWEEN ?1 AND ?2 ORDER BY revision "
    };
}
use {all, one, select};

enum Problem {
    Sqlite(rusqlite::Error),
    /// A row that this program did not write: its position, and what is wrong.
    Damaged(i64, &'static str),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

struct EventRow<'a> {
    row: &'a Row<'a>,
    position: i64,
}

impl EventRow<'_> {
    fn damaged(&self, problem: &'static str) -> Problem {
        Problem::Damaged(self.position, problem)
    }

    fn text(&self, column: usize, problem: &'static str) -> Result<&str, Problem> {
        self.row.get_ref(column)?.as_str().map_err(|_| self.damaged(problem))
    }

    /// The event, if the filter lets it through.
    fn passing(
        &self,
        connection: &Connection,
        streams: &mut HashMap<i64, StreamName>,
        types: &mut HashSet<EventType>,
        filter: Option<&Filter>,
    ) -> Result<Option<RecordedEvent>, Problem> {
        let stream = self.stream(connection, streams)?;
        let event_type = self.event_type(types)?;
        let passes = filter.is_none_or(|filter| filter.passes(&stream, &event_type));
        passes.then(|| self.event(stream, event_type)).transpose()
    }

    fn stream(
        &self,
        connection: &Connection,
        streams: &mut HashMap<i64, StreamName>,
    ) -> Result<StreamName, Problem> {
        let number: i64 = self.row.get(1)?;
        if let Some(name) = streams.get(&number) {
            return Ok(name.clone());
        }
        let name: Option<String> = connection
            .prepare_cached("SELECT name FROM stream WHERE id = ?1")?
            .query_row([number], |row| row.get(0))
            .optional()?;
        let name = name
            .and_then(|name| StreamName::new(name).ok())
            .ok_or_else(|| self.damaged("its stream has no valid name"))?;
        if streams.len() >= NAMES {
            streams.clear();
        }
        streams.insert(number, name.clone());
        Ok(name)
    }

    fn event_type(&self, types: &mut HashSet<EventType>) -> Result<EventType, Problem> {
        let text = self.text(4, "its type is no text")?;
        if let Some(event_type) = types.get(text) {
            return Ok(event_type.clone());
        }
        let event_type =
            EventType::new(text).map_err(|_| self.damaged("its type is no valid name"))?;
        if types.len() >= NAMES {
            types.clear();
        }
        types.insert(event_type.clone());
        Ok(event_type)
    }

    fn event(&self, stream: StreamName, event_type: EventType) -> Result<RecordedEvent, Problem> {
        let revision = u64::try_from(self.row.get::<_, i64>(2)?)
            .map_err(|_| self.damaged("its revision is negative"))?;
        let position =
            u64::try_from(self.position).map_err(|_| self.damaged("its position is negative"))?;
        let id = self.row.get_ref(3)?.as_blob().ok().and_then(|id| Uuid::from_slice(id).ok());
        let metadata = match self.row.get_ref(6)? {
            ValueRef::Null => None,
            _ => Some(Json::trusted(self.text(6, "its metadata is no text")?)),
        };
        let data = match self.row.get_ref(7)? {
            ValueRef::Text(_) => Json::trusted(self.text(7, "its data is not UTF-8")?).into(),
            ValueRef::Blob(bytes) => Payload::Bytes(bytes.into()),
            _ => return Err(self.damaged("its data is neither text nor bytes")),
        };
        let mut event = RecordedEvent::plain(
            stream,
            Revision(revision),
            Position::number(position),
            EventId(id.ok_or_else(|| self.damaged("its id does not have 16 bytes"))?),
            event_type,
            Timestamp::from_micros(self.row.get(5)?),
            data,
            metadata,
        );
        event.restored = self.row.get::<_, Option<i64>>(8)?.map(Timestamp::from_micros);
        Ok(event)
    }
}
