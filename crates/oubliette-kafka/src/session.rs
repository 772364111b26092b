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

/// Where a record came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) partition: i32,
    pub(crate) offset: u64,
}

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Outcome<E> {
    /// It is committed; where the records are.
    Stored(Vec<Arrival>),
    /// The records came to where they must not be, and were taken back before the commit: nothing of it is stored.
    Withdrawn(E),
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
}

/// A producer with a transactional id: opening it ends all others with the same.
///
/// After any outcome but [`Outcome::Stored`] another one has to be opened. librdkafka may have records of the transaction
/// that failed at hand still, and would purge those of the next one with them.
pub(crate) struct Session {
    producer: ThreadedProducer<Deliveries>,
    patience: Duration,
}

/// Which record it was, and where it came to.
type Arrived = Mutex<Vec<(usize, Result<Arrival, Cause>)>>;

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
            Ok(message) => Ok(Arrival {
                partition: message.partition(),
                offset: u64::try_from(message.offset()).unwrap_or(0),
            }),
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

    /// Writes these records in one transaction. Before it is committed `check` sees where they came to: after its error
    /// they are taken back.
    pub(crate) fn transact<E>(
        &self,
        records: Vec<Record<'_>>,
        check: impl FnOnce(&[Arrival]) -> Result<(), E>,
    ) -> Outcome<E> {
        let count = records.len();
        self.deliveries().lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Err(error) = self.producer.begin_transaction() {
            // Where the last one was not ended, or the producer is fenced.
            return Outcome::Nothing(self.trouble(Cause::of(&error)));
        }
        // From here to the commit: the broker was never told to commit, and without that it undoes the transaction.
        if let Err(cause) = self.send_all(records) {
            self.undo();
            return Outcome::Nothing(self.trouble(cause));
        }
        if let Err(error) = self.producer.flush(self.patience) {
            return Outcome::Nothing(self.trouble(Cause::of(&error)));
        }
        let arrivals = match self.delivered(count) {
            Ok(arrivals) => arrivals,
            Err(cause) => {
                self.undo();
                return Outcome::Nothing(self.trouble(cause));
            }
        };
        if let Err(misplaced) = check(&arrivals) {
            self.undo();
            return Outcome::Withdrawn(misplaced);
        }
        let began = Instant::now();
        loop {
            match self.producer.commit_transaction(STEP) {
                Ok(()) => return Outcome::Stored(arrivals),
                Err(ClientError::Transaction(error)) if error.txn_requires_abort() => {
                    let undone = self.undo();
                    let trouble = self.trouble(Cause::of(&ClientError::Transaction(error)));
                    // Only the broker's own answer says that it was not committed before.
                    return if undone && !trouble.fenced {
                        Outcome::Nothing(trouble)
                    } else {
                        Outcome::Unknown(trouble)
                    };
                }
                Err(ClientError::Transaction(error))
                    if error.is_retriable() && began.elapsed() < self.patience => {}
                Err(error) => return Outcome::Unknown(self.trouble(Cause::of(&error))),
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

    /// Where all records came to, in the order in which they were sent.
    fn delivered(&self, count: usize) -> Result<Vec<Arrival>, Cause> {
        let missing = || Cause::text("not every record was answered for");
        let mut arrivals = vec![None; count];
        // The thread that serves the answers may still be at the last of them.
        let began = Instant::now();
        loop {
            let done: Vec<_> = {
                let mut done = self.deliveries().lock().unwrap_or_else(PoisonError::into_inner);
                done.drain(..).collect()
            };
            // With a record that is refused others are thrown away: what is wrong with that one says more.
            let failed = done.iter().filter_map(|(_, arrived)| arrived.as_ref().err());
            if let Some(cause) = failed.max_by_key(|cause| cause.is_refusal()) {
                return Err(cause.clone());
            }
            for (number, arrived) in done {
                *arrivals.get_mut(number).ok_or_else(missing)? = arrived.ok();
            }
            if arrivals.iter().all(Option::is_some) {
                return arrivals.into_iter().collect::<Option<Vec<_>>>().ok_or_else(missing);
            }
            if began.elapsed() > self.patience {
                return Err(missing());
            }
            self.producer.poll(Duration::from_millis(5));
        }
    }

    /// Undoes the open transaction; says whether the broker said so.
    fn undo(&self) -> bool {
        self.producer.abort_transaction(self.patience.min(Duration::from_secs(5))).is_ok()
    }

    /// A fatal error says more than what followed from it.
    fn trouble(&self, cause: Cause) -> Trouble {
        let fatal = self.producer.client().fatal_error();
        let cause = fatal.map_or(cause, |(code, _)| Cause::of_code(code));
        Trouble { fenced: cause.is_fenced(), cause }
    }
}
