//! The topic's one partition as a log: its ends, and cursors that read it.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError as ClientError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode as Code,
};

use crate::{
    KafkaConfig,
    config::{Purpose, Quiet},
    error::{Cause, KafkaError},
};

/// Never longer without looking whether somebody still waits.
const GLANCE: Duration = Duration::from_millis(50);
/// Records that are cheaper to read than to jump over.
const NEAR: u64 = 256;
/// Each has threads of its own and connections to the brokers.
const MOST: usize = 8;

/// The ends of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) begins: u64,
    /// All records before this offset are decided: committed or not.
    pub(crate) decided: u64,
    /// One behind the last record.
    pub(crate) end: u64,
}

/// Asks for the ends of partitions.
pub(crate) struct Asking {
    committed: BaseConsumer<Quiet>,
    all: BaseConsumer<Quiet>,
    patience: Duration,
}

impl Asking {
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, Cause> {
        let committed = config.consumer(Purpose::Ask)?;
        let all = config.consumer(Purpose::AskForAll)?;
        Ok(Self { committed, all, patience: config.patience() })
    }

    pub(crate) fn ends(&self, topic: &str, partition: i32) -> Result<Ends, Cause> {
        let ask = |consumer: &BaseConsumer<Quiet>| {
            let asked = consumer.fetch_watermarks(topic, partition, self.patience);
            asked.map_err(|error| Cause::of(&error))
        };
        // In this order what is decided is not beyond the end.
        let (_, decided) = ask(&self.committed)?;
        let (begins, end) = ask(&self.all)?;
        let offset = |number| u64::try_from(number).unwrap_or(0);
        Ok(Ends { begins: offset(begins), decided: offset(decided), end: offset(end) })
    }
}

/// What a cursor met.
pub(crate) enum Met<'a> {
    Record(BorrowedMessage<'a>),
    /// All that is committed now was read.
    End,
    /// Nothing yet.
    Nothing,
}

/// A consumer that reads one partition on from an offset.
pub(crate) struct Cursor {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    partition: i32,
    patience: Duration,
    /// The offset that it reads on from; `None` where it has to be sent to one.
    next: Option<u64>,
    trouble: Option<Cause>,
    /// Whether there was trouble since somebody asked.
    was_interrupted: bool,
}

impl Cursor {
    pub(crate) fn new(
        config: &KafkaConfig,
        purpose: Purpose,
        partition: i32,
    ) -> Result<Self, KafkaError> {
        let consumer = config.consumer(purpose).map_err(|source| KafkaError::Denied { source })?;
        let topic = config.topic();
        let topic = topic.to_owned();
        let patience = config.patience();
        let (next, trouble, was_interrupted) = (None, None, false);
        Ok(Self { consumer, topic, partition, patience, next, trouble, was_interrupted })
    }

    /// Whether Kafka's client had trouble since this was asked last.
    pub(crate) fn was_interrupted(&mut self) -> bool {
        std::mem::take(&mut self.was_interrupted)
    }

    /// Reads on from this offset.
    pub(crate) fn go_to(&mut self, offset: u64) -> Result<(), KafkaError> {
        let near =
            self.next.is_some_and(|next| (next..=next.saturating_add(NEAR)).contains(&offset));
        if near {
            return Ok(());
        }
        self.jump_to(offset)
    }

    /// Reads on from this offset, and meets [`Met::End`] also where it stood there before.
    pub(crate) fn jump_to(&mut self, offset: u64) -> Result<(), KafkaError> {
        self.next = None;
        let assign = || {
            let mut list = TopicPartitionList::with_capacity(1);
            let at = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, self.partition, at)?;
            self.consumer.assign(&list)
        };
        assign().map_err(|error| KafkaError::Denied { source: Cause::of(&error) })?;
        self.next = Some(offset);
        Ok(())
    }

    /// Fetches nothing more, if it would wait for what comes from this offset on.
    fn rest_at(&mut self, head: u64) {
        if self.next.is_some_and(|next| next >= head) && self.consumer.unassign().is_ok() {
            self.next = None;
        }
    }

    /// What comes next within so long.
    pub(crate) fn poll(&mut self, wait: Duration) -> Result<Met<'_>, KafkaError> {
        match self.consumer.poll(wait) {
            None => Ok(Met::Nothing),
            Some(Ok(record)) => {
                self.trouble = None;
                self.next = u64::try_from(record.offset()).ok().map(|offset| offset + 1);
                Ok(Met::Record(record))
            }
            Some(Err(ClientError::PartitionEOF(_))) => Ok(Met::End),
            Some(Err(error)) => {
                let source = Cause::of(&error);
                match source.code {
                    Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => {
                        let offset = self.next.take().unwrap_or(0);
                        Err(KafkaError::Lost { topic: self.topic.clone(), offset })
                    }
                    Some(Code::TopicAuthorizationFailed) => Err(KafkaError::Denied { source }),
                    // librdkafka connects again by itself.
                    _ => {
                        tracing::debug!(%source, "Kafka's client goes on after an error");
                        (self.trouble, self.was_interrupted) = (Some(source), true);
                        Ok(Met::Nothing)
                    }
                }
            }
        }
    }

    /// Reads from an offset until `visit` breaks, or a record at `last` or behind it was visited. There must be one.
    pub(crate) fn read(
        &mut self,
        from: u64,
        last: u64,
        cancelled: &AtomicBool,
        mut visit: impl FnMut(u64, &BorrowedMessage<'_>) -> Result<ControlFlow<()>, KafkaError>,
    ) -> Result<(), KafkaError> {
        self.go_to(from)?;
        let mut heard = Instant::now();
        loop {
            if cancelled.load(Ordering::Relaxed) {
                return Ok(());
            }
            // The end may come before the mark of a transaction that was acknowledged already.
            if let Met::Record(record) = self.poll(GLANCE)? {
                heard = Instant::now();
                let offset = u64::try_from(record.offset()).unwrap_or(0);
                if offset >= from && visit(offset, &record)?.is_break() || offset >= last {
                    return Ok(());
                }
            }
            if heard.elapsed() > self.patience {
                self.next = None;
                return Err(KafkaError::Silent { source: self.trouble.take() });
            }
        }
    }

    /// Reads from an offset until all before `until` was visited. `go_on` says whether it is still wanted.
    pub(crate) fn read_until(
        &mut self,
        from: u64,
        until: u64,
        go_on: impl Fn() -> bool,
        mut visit: impl FnMut(u64, &BorrowedMessage<'_>) -> Result<ControlFlow<()>, KafkaError>,
    ) -> Result<(), KafkaError> {
        if from >= until {
            return Ok(());
        }
        self.jump_to(from)?;
        let mut heard = Instant::now();
        while go_on() {
            match self.poll(GLANCE)? {
                Met::Record(record) => {
                    heard = Instant::now();
                    let offset = u64::try_from(record.offset()).unwrap_or(0);
                    if offset < until && visit(offset, &record)?.is_break() || offset + 1 >= until {
                        return Ok(());
                    }
                }
                // What was decided before is read now: the last records are marks of transactions.
                Met::End => return Ok(()),
                Met::Nothing => {}
            }
            if heard.elapsed() > self.patience {
                return Err(KafkaError::Silent { source: self.trouble.take() });
            }
        }
        Err(KafkaError::Silent { source: None })
    }
}

/// Cursors that are lent for a page each.
pub(crate) struct Cursors {
    config: KafkaConfig,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Cursor>,
    lent: usize,
}

impl Cursors {
    pub(crate) fn new(config: KafkaConfig) -> Self {
        Self { config, pool: Mutex::default(), returned: Condvar::new() }
    }

    pub(crate) fn make(&self, purpose: Purpose) -> Result<Cursor, KafkaError> {
        Cursor::new(&self.config, purpose, 0)
    }

    /// Lends a cursor, if possible one that stands at the offset; blocks until there is one. There are no events from
    /// `head` on.
    pub(crate) fn with<T>(
        self: &Arc<Self>,
        near: u64,
        head: u64,
        read: impl FnOnce(&mut Cursor) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let mut loan = Loan { cursors: Arc::clone(self), cursor: self.take(near) };
        let cursor = match &mut loan.cursor {
            Some(cursor) => cursor,
            empty => empty.insert(self.make(Purpose::Jump)?),
        };
        let result = read(cursor);
        match result {
            Ok(_) => cursor.rest_at(head),
            Err(_) => loan.cursor = None,
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle one, or leave to make one.
    fn take(&self, near: u64) -> Option<Cursor> {
        let pool = self.returned.wait_while(self.lock(), |pool| pool.lent >= MOST);
        let mut pool = pool.unwrap_or_else(PoisonError::into_inner);
        pool.lent += 1;
        let there = pool.idle.iter().position(|cursor| cursor.next == Some(near));
        match there {
            Some(at) => Some(pool.idle.swap_remove(at)),
            None => pool.idle.pop(),
        }
    }
}

/// Closing waits for librdkafka's threads: elsewhere, because the caller may be asynchronous.
pub(crate) fn close(cursors: impl IntoIterator<Item = Cursor>) {
    let cursors: Vec<Cursor> = cursors.into_iter().collect();
    if !cursors.is_empty() {
        // Without a thread they are closed here and now.
        let name = "oubliette-kafka-close".to_owned();
        drop(thread::Builder::new().name(name).spawn(move || drop(cursors)));
    }
}

impl Drop for Cursors {
    fn drop(&mut self) {
        close(self.lock().idle.drain(..));
    }
}

/// A lent cursor; it goes back also where its reader panics.
struct Loan {
    cursors: Arc<Cursors>,
    cursor: Option<Cursor>,
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut pool = self.cursors.lock();
        pool.lent -= 1;
        // Closing one takes a moment: not while others wait for the lock.
        let closed = match self.cursor.take() {
            Some(cursor) if pool.idle.len() < MOST => {
                pool.idle.push(cursor);
                None
            }
            other => other,
        };
        drop(pool);
        self.cursors.returned.notify_one();
        drop(closed);
    }
}
