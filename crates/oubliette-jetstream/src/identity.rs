//! Which stream it is. One that is removed and made anew has the same name, and counts from 1 again: positions, revisions
//! and what was expected would be taken for those of other events.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::error::JetStreamError;

/// The server is asked at most so often. To ask for every request would cost a large cluster more than the requests.
const EVERY: Duration = Duration::from_secs(1);

/// What is known of the stream that was opened.
#[derive(Debug)]
pub(crate) struct Identity {
    stream: String,
    /// When the server made it, as the server says it.
    created: String,
    /// The highest sequence that was seen.
    highest: AtomicU64,
    asked: Mutex<Instant>,
    /// It is another one by now, or has lost its end: for good, because what is known does not fit it.
    gone: OnceLock<Gone>,
}

#[derive(Debug, Clone, Copy)]
enum Gone {
    Replaced,
    WentBack { last: u64, seen: u64 },
}

impl Identity {
    /// By what the server says of it.
    pub(crate) fn new(stream: &str, info: &Value) -> Self {
        Self {
            stream: stream.to_owned(),
            created: info["created"].as_str().unwrap_or_default().to_owned(),
            highest: AtomicU64::new(last(info)),
            asked: Mutex::new(Instant::now()),
            gone: OnceLock::new(),
        }
    }

    /// The highest sequence that was seen: what is stored from now on has a higher one.
    pub(crate) fn highest(&self) -> u64 {
        self.highest.load(Ordering::Acquire)
    }

    pub(crate) fn saw(&self, sequence: u64) {
        self.highest.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Whether it is time to ask the server again.
    pub(crate) fn is_due(&self) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= EVERY
    }

    pub(crate) fn check(&self) -> Result<(), JetStreamError> {
        let stream = || self.stream.clone();
        match self.gone.get() {
            None => Ok(()),
            Some(Gone::Replaced) => Err(JetStreamError::Replaced { stream: stream() }),
            Some(Gone::WentBack { last, seen }) => {
                Err(JetStreamError::WentBack { stream: stream(), last: *last, seen: *seen })
            }
        }
    }

    /// Looks at what the server says of the stream of this name, where `seen` had been seen before it was asked. Returns
    /// the last sequence; `None` where it is lower than it may be: a leader that was just chosen may not know yet.
    pub(crate) fn compare(&self, info: &Value, seen: u64) -> Result<Option<u64>, JetStreamError> {
        if info["created"].as_str() != Some(&self.created) {
            let _ = self.gone.set(Gone::Replaced);
        }
        self.check()?;
        let last = last(info);
        if last < seen {
            return Ok(None);
        }
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.saw(last);
        Ok(Some(last))
    }

    /// It ends before what was seen.
    pub(crate) fn went_back(&self, last: u64, seen: u64) -> JetStreamError {
        let _ = self.gone.set(Gone::WentBack { last, seen });
        match self.check() {
            Err(error) => error,
            Ok(()) => JetStreamError::WentBack { stream: self.stream.clone(), last, seen },
        }
    }
}

/// The last sequence that a stream gave, 0 for none.
pub(crate) fn last(info: &Value) -> u64 {
    info["state"]["last_seq"].as_u64().unwrap_or(0)
}
