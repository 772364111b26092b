//! How far a relay came: the position of the last event that is in the topic for good.

use std::{
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

use oubliette::event::Position;
use rdkafka::{Message, message::BorrowedMessage};

use super::{RelayError, floors};
use crate::{
    KafkaConfig,
    config::Purpose,
    error::{Cause, KafkaError},
    log::{Asking, Cursor},
    record,
};

/// So many records are looked at from the end of a partition, then eight times as many.
const LOOK: u64 = 64;

/// How far a relay came.
pub(super) struct Found {
    /// The highest position in the topic. All events before it are there too: they were sent in order, each transaction
    /// whole.
    pub(super) last: Option<Position>,
    /// Where each partition ends.
    pub(super) ends: Vec<u64>,
    /// The topic had events, and has none: how far it came is not known.
    pub(super) is_expired: bool,
    /// Records are in other partitions than their keys have now: there were fewer.
    pub(super) has_moved: bool,
}

/// Asks the topic how far a relay came.
///
/// # Errors
/// Those of Kafka.
pub(super) fn ask(config: &KafkaConfig, partitions: usize) -> Result<Found, RelayError> {
    let failed = |source| RelayError::Kafka { source };
    let asking = Asking::new(config).map_err(failed)?;
    let (mut highest, mut was_cut, mut has_moved) = (None, false, false);
    let mut all = Vec::with_capacity(partitions);
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        let began = Instant::now();
        let ends = loop {
            let ends = asking.ends(config.topic(), partition).map_err(failed)?;
            // Our own transactions are ended; their marks come a moment later.
            if ends.decided >= ends.end {
                break ends;
            }
            if began.elapsed() > config.patience() {
                let what = "a transaction of another program is open on the topic";
                return Err(failed(Cause::text(what)));
            }
            thread::sleep(Duration::from_millis(20));
        };
        was_cut |= ends.begins > 0;
        all.push(ends.decided);
        let is_moved =
            |key: &[u8]| i32::try_from(floors::partition(key, partitions)) != Ok(partition);
        let see = |message: &BorrowedMessage<'_>| has_moved |= message.key().is_some_and(is_moved);
        let found = last_of(config, partition, ends.begins, ends.decided, see);
        highest = highest.max(found.map_err(|error| failed(cause(error)))?);
    }
    let is_expired = highest.is_none() && was_cut;
    Ok(Found { last: highest, ends: all, is_expired, has_moved })
}

/// Where the partitions of another topic end.
pub(super) fn ends(
    config: &KafkaConfig,
    topic: &str,
    partitions: usize,
) -> Result<Vec<u64>, RelayError> {
    let failed = |source| RelayError::Kafka { source };
    let asking = Asking::new(config).map_err(failed)?;
    (0..i32::try_from(partitions).unwrap_or(i32::MAX))
        .map(|partition| asking.ends(topic, partition).map(|ends| ends.decided).map_err(failed))
        .collect()
}

fn last_of(
    config: &KafkaConfig,
    partition: i32,
    begins: u64,
    decided: u64,
    mut see: impl FnMut(&BorrowedMessage<'_>),
) -> Result<Option<Position>, KafkaError> {
    if begins >= decided {
        return Ok(None);
    }
    let mut cursor = Cursor::new(config, Purpose::Jump, partition)?;
    let (mut look, mut end) = (LOOK, decided);
    while end > begins {
        let from = end.saturating_sub(look).max(begins);
        let mut last = None;
        cursor.read_until(
            from,
            end,
            || true,
            |_, message| {
                let position = record::position(message).ok();
                if position.is_some() {
                    see(message);
                }
                last = last.max(position);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        if last.is_some() {
            return Ok(last);
        }
        (end, look) = (from, look.saturating_mul(8));
    }
    Ok(None)
}

fn cause(error: KafkaError) -> Cause {
    match error {
        KafkaError::Silent { source: Some(source) } | KafkaError::Denied { source } => source,
        other => Cause::text(other.to_string()),
    }
}
