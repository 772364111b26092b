//! A producer and its transactions.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError as ClientError,
    message::{DeliveryResult, Message, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode as Code,
};

use crate::{KafkaConfig, error::Cause};

/// How long one call of librdkafka's may take before we look around.
const STEP: Duration = Duration::from_millis(500);

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) topic: &'a str,
    /// `None`: by the key.
    pub(crate) partition: Option<i32>,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) headers: OwnedHeaders,
}

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is committed; the records' offsets.
    Stored(Vec<u64>),
    /// Nothing of it is stored, nor ever will be.
    Nothing(Trouble),
    /// The broker may have committed it, or may yet.
    Unknown(Trouble),
}

/// Why a transaction did not come about.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    /// A producer with the same id was opened since, or the broker gave up waiting for this one.
    pub(crate) fenced: bool,
    /// The session can be used on.
    pub(crate) usable: bool,
}

/// A producer with a transactional id: opening it ends all others with the same.
pub(crate) struct Session {
    producer: ThreadedProducer<Deliveries>,
    patience: Duration,
}

/// Which record it was, and its offset.
type Arrived = Mutex<Vec<(usize, Result<u64, Cause>)>>;

/// Where the records arrived.
#[derive(Debug, Default)]
struct Deliveries {
    done: Arrived,
}

impl ClientContext for Deliveries {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let arrived = match result {
            Ok(message) => Ok(u64::try_from(message.offset()).unwrap_or(0)),
            Err((error, _)) => Err(Cause::of(error)),
        };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((number, arrived));
    }
}

impl Session {
    /// Opens a producer, and ends all others with this id: what they have in flight is undone or finished.
    ///
    /// # Errors
    /// What librdkafka said.
    pub(crate) fn open(
        config: &KafkaConfig,
        transactional_id: &str,
        max_bytes: usize,
    ) -> Result<Self, Cause> {
        let deliveries = Deliveries::default();
        let producer: ThreadedProducer<Deliveries> =
            config.producer(transactional_id, max_bytes, deliveries)?;
        let (began, patience) = (Instant::now(), config.patience());
        loop {
            match producer.init_transactions(STEP) {
                Ok(()) => return Ok(Self { producer, patience }),
                // It goes on where it stopped.
                Err(ClientError::Transaction(error))
                    if error.is_retriable() && began.elapsed() < patience => {}
                Err(error) => return Err(Cause::of(&error)),
            }
        }
    }

    /// Writes these records in one transaction.
    pub(crate) fn transact(&self, records: Vec<Record<'_>>) -> Outcome {
        let count = records.len();
        self.deliveries().lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Err(error) = self.producer.begin_transaction() {
            // Where the last one was not ended, or the producer is fenced.
            return Outcome::Nothing(self.trouble(Cause::of(&error), false));
        }
        if let Err(cause) = self.send_all(records) {
            return self.give_up(cause);
        }
        if let Err(error) = self.producer.flush(self.patience) {
            // The broker was never told to commit: without that it undoes the transaction by itself.
            return Outcome::Nothing(self.trouble(Cause::of(&error), false));
        }
        let offsets = match self.delivered(count) {
            Ok(offsets) => offsets,
            Err(cause) => return self.give_up(cause),
        };
        let began = Instant::now();
        loop {
            match self.producer.commit_transaction(STEP) {
                Ok(()) => return Outcome::Stored(offsets),
                Err(ClientError::Transaction(error)) if error.txn_requires_abort() => {
                    let cause = Cause::of(&ClientError::Transaction(error));
                    return match self.give_up(cause) {
                        // Only the broker's own answer says that it was not committed before.
                        Outcome::Nothing(trouble) if !trouble.usable => Outcome::Unknown(trouble),
                        outcome => outcome,
                    };
                }
                Err(ClientError::Transaction(error))
                    if error.is_retriable() && began.elapsed() < self.patience => {}
                Err(error) => return Outcome::Unknown(self.trouble(Cause::of(&error), false)),
            }
        }
    }

    fn deliveries(&self) -> &Arrived {
        &self.producer.context().done
    }

    fn send_all(&self, records: Vec<Record<'_>>) -> Result<(), Cause> {
        for (number, record) in records.into_iter().enumerate() {
            let mut sending = BaseRecord::with_opaque_to(record.topic, number)
                .key(record.key)
                .payload(record.value)
                .headers(record.headers);
            sending.partition = record.partition;
            let began = Instant::now();
            while let Err((error, back)) = self.producer.send(sending) {
                let full = error.rdkafka_error_code() == Some(Code::QueueFull);
                if !full || began.elapsed() > self.patience {
                    return Err(Cause::of(&error));
                }
                self.producer.poll(Duration::from_millis(20));
                sending = back;
            }
        }
        Ok(())
    }

    /// The offsets of all records, in the order in which they were sent.
    fn delivered(&self, count: usize) -> Result<Vec<u64>, Cause> {
        let missing = || Cause::text("not every record was answered for");
        let mut offsets = vec![None; count];
        // The thread that serves the answers may still be at the last of them.
        let began = Instant::now();
        loop {
            let done: Vec<_> = {
                let mut done = self.deliveries().lock().unwrap_or_else(PoisonError::into_inner);
                done.drain(..).collect()
            };
            for (number, arrived) in done {
                *offsets.get_mut(number).ok_or_else(missing)? = Some(arrived?);
            }
            if offsets.iter().all(Option::is_some) {
                return offsets.into_iter().collect::<Option<Vec<u64>>>().ok_or_else(missing);
            }
            if began.elapsed() > self.patience {
                return Err(missing());
            }
            self.producer.poll(Duration::from_millis(5));
        }
    }

    /// Undoes the open transaction.
    fn give_up(&self, cause: Cause) -> Outcome {
        let undone = self.producer.abort_transaction(self.patience.min(Duration::from_secs(5)));
        Outcome::Nothing(self.trouble(cause, undone.is_ok()))
    }

    /// A fatal error says more than what followed from it.
    fn trouble(&self, cause: Cause, usable: bool) -> Trouble {
        let fatal = self.producer.client().fatal_error();
        let cause = fatal.map_or(cause, |(code, _)| Cause::of_code(code));
        Trouble { fenced: cause.is_fenced(), usable: usable && !cause.is_fenced(), cause }
    }
}
