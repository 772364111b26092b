//! The one thread that writes: it takes what waits, commits it at once, and answers after the
//! commit.

use std::{mem, sync::mpsc, thread, time::Duration};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{oneshot, watch};

use super::{
    SqliteError,
    append::{RELEASE, ROLL_BACK, SAVE, Stop, append, remove, restore, rewrite},
    open::last_position_of,
};
use crate::{
    event::{NewEvent, RecordedEvent, Timestamp},
    store::{Append, Appended, Removed, Rewritten, StoreError, Stored},
};

/// How often to look for other processes' commits while somebody subscribes.
const GLANCE: Duration = Duration::from_millis(250);
/// The most requests that one commit takes, so that the first of them does not wait for long.
const GROUP: usize = 1024;
/// The most payload that one commit takes beyond its first request, in bytes, likewise.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

type Reply = oneshot::Sender<Result<Vec<Appended>, StoreError>>;

/// Something to be committed.
pub(super) enum Task {
    Append(Vec<Append>),
    Restore(Vec<RecordedEvent>),
    Rewrite(Vec<Rewritten>),
    Remove(Vec<Removed>),
    SetMeta(String, String),
}

enum Request {
    Commit(Task, Reply),
    /// Somebody subscribed: look for other processes' commits from now on.
    Watch,
    /// Former contents are to be cleared away.
    Scrub(oneshot::Sender<Result<Vec<String>, StoreError>>),
    #[cfg(test)]
    Pragma(String),
}

/// The handle by which the thread is reached.
pub(super) struct Writer {
    /// `None` once stopped.
    queue: Option<mpsc::Sender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, head: watch::Sender<i64>) -> std::io::Result<Self> {
        let (queue, requests) = mpsc::channel();
        let run = move || {
            Thread { connection, requests, head, poisoned: false, seen: None }.run();
        };
        let thread = thread::Builder::new().name("oubliette-sqlite".to_owned()).spawn(run)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Has a task committed. Once this was polled the task is done whole or not at all, also
    /// where the caller goes away.
    pub(super) async fn commit(&self, task: Task) -> Result<Vec<Appended>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Commit(task, reply))?;
        answer.await.map_err(|_| SqliteError::Stopped)?
    }

    /// Has other processes' commits looked for.
    pub(super) fn watch(&self) -> Result<(), SqliteError> {
        self.send(Request::Watch)
    }

    /// Has former contents cleared away.
    pub(super) async fn scrub(&self) -> Result<Vec<String>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Scrub(reply))?;
        answer.await.map_err(|_| SqliteError::Stopped)?
    }

    /// Sets something on the writer's own connection.
    #[cfg(test)]
    pub(super) fn pragma(&self, pragma: &str) {
        self.send(Request::Pragma(format!("PRAGMA {pragma}"))).unwrap();
    }

    fn send(&self, request: Request) -> Result<(), SqliteError> {
        let queue = self.queue.as_ref().ok_or(SqliteError::Stopped)?;
        queue.send(request).map_err(|_| SqliteError::Stopped)
    }

    /// Lets the thread finish what is queued, and waits for it.
    pub(super) fn stop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // Should it have panicked, the panic hook has told so, and those who waited know.
            let _ = thread.join();
        }
    }
}

struct Thread {
    connection: Connection,
    requests: mpsc::Receiver<Request>,
    head: watch::Sender<i64>,
    poisoned: bool,
    /// SQLite's `data_version` when last looked at: it changes with other connections' commits.
    seen: Option<i64>,
}

impl Thread {
    fn run(mut self) {
        let mut group = Vec::new();
        while let Some(first) = self.wait() {
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Commit(task, reply) => {
                        bytes += task.bytes();
                        group.push((task, reply));
                    }
                    Request::Watch => self.look_around(),
                    Request::Scrub(reply) => {
                        // No transaction is open: a group is collected before it begins one.
                        let _ = reply
                            .send(self.scrub().map_err(|error| SqliteError::from(error).into()));
                    }
                    #[cfg(test)]
                    Request::Pragma(sql) => {
                        self.connection.query_row(&sql, [], |_| Ok(())).ok();
                    }
                }
                next = match group.len() < GROUP && bytes < GROUP_BYTES {
                    true => self.requests.try_recv().ok(),
                    false => None,
                };
            }
            if !group.is_empty() {
                self.commit(mem::take(&mut group));
            }
        }
        // Best effort: what is not brought home now is when the store is opened again. Without patience: for as long as
        // somebody reads in another process nothing can be cut off, and waiting for them would keep all writers out.
        if !self.connection.is_readonly("main").unwrap_or(true) {
            let _ = self.connection.busy_timeout(Duration::ZERO);
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// The next request; `None` when the store is closed. Only with subscribers the thread
    /// wakes by itself. (One receiver is the store's own.)
    fn wait(&mut self) -> Option<Request> {
        loop {
            if self.head.receiver_count() <= 1 {
                return self.requests.recv().ok();
            }
            match self.requests.recv_timeout(GLANCE) {
                Ok(request) => return Some(request),
                Err(mpsc::RecvTimeoutError::Timeout) => self.look_around(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Tells subscribers of other processes' commits. An error is not theirs to know: their own
    /// reads will meet it.
    fn look_around(&mut self) {
        let version = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .ok();
        if version != self.seen {
            self.seen = version;
            if let Ok(last) = last_position_of(&self.connection) {
                self.announce(last);
            }
        }
    }

    fn announce(&self, last: i64) {
        self.head.send_if_modified(|head| {
            let grown = last > *head;
            *head = last.max(*head);
            grown
        });
    }

    fn commit(&mut self, group: Vec<(Task, Reply)>) {
        let (tasks, replies): (Vec<Task>, Vec<Reply>) = group.into_iter().unzip();
        let results = if self.poisoned {
            Err(SqliteError::Poisoned)
        } else {
            self.transact(&tasks).map_err(|error| self.give_up(&error))
        };
        match results {
            Ok(results) => {
                let done = results.iter().flatten().flatten();
                // Of what was rewritten there is no position, and nothing new.
                let last = done.filter_map(|done| done.position.as_number()).max();
                self.announce(last.and_then(|last| i64::try_from(last).ok()).unwrap_or(0));
                for (reply, result) in replies.into_iter().zip(results) {
                    // A caller who does not wait any more need not know.
                    let _ = reply.send(result);
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone().into()));
                }
            }
        }
    }

    /// Runs all tasks in one transaction; each succeeds or fails by itself. An error of this
    /// function is everybody's.
    fn transact(&self, tasks: &[Task]) -> rusqlite::Result<Vec<Result<Vec<Appended>, StoreError>>> {
        let execute = |sql| self.connection.prepare_cached(sql)?.execute([]).map(drop);
        let now = Timestamp::now();
        let mut results = Vec::with_capacity(tasks.len());
        // Immediate: one that reads first and writes later may find itself overtaken.
        execute("BEGIN IMMEDIATE")?;
        for task in tasks {
            execute(SAVE)?;
            let result = match self.perform(task, now) {
                Ok(done) => Ok(done),
                Err(stop) => {
                    let error = match stop {
                        Stop::Refused(error) => error,
                        // SQLite ended the transaction itself: nothing of it is left.
                        Stop::Failed(error) if self.connection.is_autocommit() => {
                            return Err(error);
                        }
                        Stop::Failed(error) => SqliteError::from(error).into(),
                    };
                    execute(ROLL_BACK)?;
                    Err(error)
                }
            };
            execute(RELEASE)?;
            results.push(result);
        }
        execute("COMMIT")?;
        Ok(results)
    }

    fn perform(&self, task: &Task, now: Timestamp) -> Result<Vec<Appended>, Stop> {
        match task {
            Task::Append(appends) => append(&self.connection, appends, now),
            Task::Restore(events) => restore(&self.connection, events, now),
            Task::Rewrite(events) => rewrite(&self.connection, events),
            Task::Remove(events) => remove(&self.connection, events),
            Task::SetMeta(key, value) => {
                self.connection
                    .prepare_cached("REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
                    .execute([key, value])?;
                Ok(Vec::new())
            }
        }
    }

    /// Writes the database anew, without the pages that are free, and cuts the log off.
    fn scrub(&self) -> rusqlite::Result<Vec<String>> {
        self.connection.execute_batch("PRAGMA secure_delete = ON; VACUUM")?;
        let (busy, left): (bool, i64) =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let mut still = vec![
            "blocks of the disk that are free now, and copies of the folder from before: overwrite the one, destroy the other"
                .to_owned(),
        ];
        if busy || left > 0 {
            still.push(
                "the file events.db-wal, because somebody reads in the store at this moment: do it again when nobody does"
                    .to_owned(),
            );
        }
        Ok(still)
    }

    /// After a transaction failed: leaves a store that can be used, or one that says that it
    /// cannot. A full or busy disk is understood; after any other failure nothing is known.
    fn give_up(&mut self, error: &rusqlite::Error) -> SqliteError {
        let understood = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        );
        let rolled_back =
            self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok();
        self.poisoned = !(understood && rolled_back);
        error.into()
    }
}

impl Task {
    fn bytes(&self) -> usize {
        match self {
            Self::Append(appends) => {
                appends.iter().flat_map(|append| &append.events).map(NewEvent::bytes).sum()
            }
            Self::Restore(events) => events.iter().map(RecordedEvent::bytes).sum(),
            Self::Rewrite(events) => {
                let bytes = |stored: &Stored| {
                    let metadata = stored.metadata.as_ref().map_or(0, |json| json.as_str().len());
                    stored.data.as_bytes().len() + metadata
                };
                events.iter().map(|event| bytes(&event.from) + bytes(&event.to)).sum()
            }
            Self::Remove(events) => events.iter().map(|event| event.stream.as_str().len()).sum(),
            Self::SetMeta(key, value) => key.len() + value.len(),
        }
    }
}
