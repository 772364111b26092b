//! How far a relay came: the position of the last event that is in the topic for good.

use std::{
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

use oubliette::event::Position;

use super::RelayError;
use crate::{
    KafkaConfig,
    config::Purpose,
    error::{Cause, KafkaError},
    log::{Asking, Cursor},
    record,
};

/// So many records are looked at from the end of a partition, then eight times as many.
const LOOK: u64 = 64;

/// The highest position in the topic. All events before it are there too: they were sent in order, each transaction
/// whole.
///
/// # Errors
/// [`RelayError::Expired`] where the topic had events and has none; those of Kafka.
pub(super) fn last(
    config: &KafkaConfig,
    partitions: usize,
) -> Result<Option<Position>, RelayError> {
    let failed = |source| RelayError::Kafka { source };
    let asking = Asking::new(config).map_err(failed)?;
    let (mut highest, mut was_cut) = (None, false);
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
        let found = last_of(config, partition, ends.begins, ends.decided);
        highest = highest.max(found.map_err(|error| failed(cause(error)))?);
    }
    if highest.is_none() && was_cut {
        return Err(RelayError::Expired { topic: config.topic().to_owned() });
    }
    Ok(highest)
}

fn last_of(
    config: &KafkaConfig,
    partition: i32,
    begins: u64,
    decided: u64,
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
                last = last.max(record::position(message).ok());
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
