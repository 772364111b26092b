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

    /// Looks at all records that are decided now, and returns the ends.
    pub(crate) fn look(&self, go_on: impl Fn() -> bool) -> Result<Ends, KafkaError> {
        let topic = self.config.topic();
        let ends = Asking::new(&self.config).and_then(|asking| asking.ends(topic, 0));
        let ends = ends.map_err(|source| KafkaError::Silent { source: Some(source) })?;
        if ends.end < self.index().end() {
            return Err(KafkaError::Lost { topic: topic.to_owned(), offset: ends.end });
        }
        self.catch_up(ends.decided, go_on)?;
        Ok(ends)
    }

    /// Waits until all transactions that have begun are decided, and looks at all records of theirs.
    pub(crate) fn settle(&self, go_on: impl Fn() -> bool) -> Result<(), KafkaError> {
        let (began, end) = (Instant::now(), self.look(&go_on)?.end);
        while self.index().end() < end {
            if !go_on() || began.elapsed() > self.config.patience() {
                return Err(KafkaError::Silent { source: None });
            }
            thread::sleep(Duration::from_millis(20));
            self.look(&go_on)?;
        }
        Ok(())
    }
}
