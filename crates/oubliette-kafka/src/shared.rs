//! What the writer, the readers and the store have in common.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    KafkaConfig,
    config::Purpose,
    error::KafkaError,
    index::Index,
    log::{Asking, Cursors, Ends},
    record,
};

pub(crate) struct Shared {
    pub(crate) config: KafkaConfig,
    index: RwLock<Index>,
    /// One behind the last event's offset: what subscriptions wait on.
    pub(crate) head: watch::Sender<u64>,
    pub(crate) cursors: Arc<Cursors>,
    /// Why the topic is not followed any more.
    stopped: OnceLock<KafkaError>,
}

impl Shared {
    pub(crate) fn new(config: KafkaConfig) -> Self {
        let cursors = Arc::new(Cursors::new(config.clone()));
        let (index, head) = (RwLock::default(), watch::Sender::new(0));
        Self { config, index, head, cursors, stopped: OnceLock::new() }
    }

    /// Tells all who wait for events that none will come.
    pub(crate) fn stop(&self, error: KafkaError) {
        if self.stopped.set(error).is_ok() {
            self.head.send_modify(|_| ());
        }
    }

    pub(crate) fn stopped(&self) -> Option<&KafkaError> {
        self.stopped.get()
    }

    /// A thread that panicked while it held the lock had changed nothing or one event.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut index);
        let head = index.head();
        drop(index);
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
        changed
    }

    /// Takes what is in a record.
    pub(crate) fn take(
        &self,
        offset: u64,
        record: &rdkafka::message::BorrowedMessage<'_>,
    ) -> Result<(), KafkaError> {
        let entry = record::entry(record);
        let topic = || self.config.topic().to_owned();
        self.change(|index| index.take(offset, entry))
            .map_err(|found| KafkaError::Newer { topic: topic(), found })
    }

    /// Looks at all records up to this offset that are not in the index yet.
    pub(crate) fn catch_up(&self, until: u64, go_on: impl Fn() -> bool) -> Result<(), KafkaError> {
        let from = self.index().end();
        if from < until {
            let mut cursor = self.cursors.make(Purpose::Jump)?;
            cursor.read_until(from, until, go_on, |offset, record| {
                self.take(offset, record).map(ControlFlow::Continue)
            })?;
            self.change(|index| index.looked_until(until));
        }
        Ok(())
    }

    /// Asks where the topic ends.
    pub(crate) fn ends(&self) -> Result<Ends, KafkaError> {
        let topic = self.config.topic();
        let ends = Asking::new(&self.config).and_then(|asking| asking.ends(topic, 0));
        let ends = ends.map_err(|source| KafkaError::Silent { source: Some(source) })?;
        if ends.end < self.index().end() {
            return Err(KafkaError::Lost { topic: topic.to_owned(), offset: ends.end });
        }
        Ok(ends)
    }

    /// Whether the topic is the one that was read before: another one of the same name has another first record.
    pub(crate) fn check_identity(&self) -> Result<(), KafkaError> {
        let Some((offset, id)) = self.index().first() else { return Ok(()) };
        let mut found = None;
        let mut cursor = self.cursors.make(Purpose::Jump)?;
        let read = cursor.read_until(
            offset,
            offset + 1,
            || true,
            |_, record| {
                found = record::entry(record).ok().map(|entry| entry.id());
                Ok(ControlFlow::Break(()))
            },
        );
        match read {
            Ok(()) if found == Some(id) => Ok(()),
            Ok(()) => Err(KafkaError::Lost { topic: self.config.topic().to_owned(), offset }),
            Err(error) => Err(error),
        }
    }

    /// Why records that must be there do not come, where the topic ends before them.
    pub(crate) fn explain(&self, error: KafkaError) -> KafkaError {
        match error {
            KafkaError::Silent { source: None } => match self.ends() {
                Err(lost @ KafkaError::Lost { .. }) => lost,
                _ => error,
            },
            error => error,
        }
    }

    /// Looks at all records that are decided now, and returns the ends.
    pub(crate) fn look(&self, go_on: impl Fn() -> bool) -> Result<Ends, KafkaError> {
        let ends = self.ends()?;
        self.catch_up(ends.decided, go_on)?;
        Ok(ends)
    }

    /// Waits until all transactions that have begun are decided, and looks at all records of theirs. Afterwards it is known
    /// that they are those of the topic that was read before.
    pub(crate) fn settle(&self, go_on: impl Fn() -> bool) -> Result<(), KafkaError> {
        let (began, end) = (Instant::now(), self.look(&go_on)?.end);
        while self.index().end() < end {
            if !go_on() || began.elapsed() > self.config.patience() {
                return Err(KafkaError::Silent { source: None });
            }
            thread::sleep(Duration::from_millis(20));
            self.look(&go_on)?;
        }
        self.check_identity()
    }
}
