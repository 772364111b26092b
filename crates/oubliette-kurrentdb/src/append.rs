//! Appends, to one stream each.
//!
//! An append is three requests: what has come since, for the ids (see `ids`); the append itself, with the stream's last event
//! (see `expected`); and its last event, read back.
//!
//! That last one tells the position, and whether the server stored these bytes: it answers an append that it knows already
//! like one that it has just stored, and what it knows may have been sealed otherwise.
//!
//! Where no answer comes, all of it is done again, until it is known what became of it. That is safe: the first attempt is
//! either found by its ids, or its expectation is not met any more by the time that it arrives.

use std::sync::Arc;

use kurrentdb::{AppendToStreamOptions, EventData, StreamPosition, StreamState};
use oubliette::{
    StoreError, TaskError,
    event::Revision,
    store::{Append, Appended},
};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    error::KurrentError,
    event::{outgoing, position},
    expected::{self, Expected, conflict},
    link::{DEADLINE, Failed, Pauses},
    pages::Ask,
    store::Inner,
};

/// The server's own limit for an append, which its `MaxAppendSize` can only lower.
const MAX_APPEND_BYTES: usize = 16 * 1024 * 1024;

/// Appends in a task of its own: a caller who goes away leaves nothing half done.
pub(crate) async fn append(
    inner: Arc<Inner>,
    appends: Vec<Append>,
) -> Result<Vec<Appended>, StoreError> {
    let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
    let events = encoded(&appends)?;
    let task = runtime.spawn(async move {
        let _turn = inner.ids.turn(&appends).await;
        Appender { inner, appends, events, guess: None }.run().await
    });
    task.await.map_err(TaskError::from)?
}

fn encoded(appends: &[Append]) -> Result<Vec<EventData>, StoreError> {
    let events = || appends.iter().flat_map(|append| &append.events);
    let bytes: usize = events().map(|event| event.data.as_bytes().len()).sum();
    let largest = events().map(|event| {
        let metadata = event.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len());
        event.data.as_bytes().len() + metadata
    });
    if bytes.max(largest.max().unwrap_or(0)) > MAX_APPEND_BYTES {
        return Err(StoreError::Invalid(format!(
            "the append has {bytes} bytes, and KurrentDB takes at most {MAX_APPEND_BYTES} at once; part it"
        )));
    }
    events().map(outgoing).collect()
}

struct Appender {
    inner: Arc<Inner>,
    /// Exactly one: the store does not have the capability for more.
    appends: Vec<Append>,
    events: Vec<EventData>,
    /// What the server said the stream's state is, where it is not as it was believed to be.
    guess: Option<StreamState>,
}

/// How an attempt went.
enum Attempt {
    Done(Vec<Appended>),
    /// To be tried again: others were first.
    Again,
    /// Nothing was sent.
    NotSent(String),
    /// What became of it is not known.
    Unknown(String),
}

impl Appender {
    async fn run(mut self) -> Result<Vec<Appended>, StoreError> {
        let patience = self.inner.source.link.patience;
        let mut pauses = Pauses::new();
        // Since when it is not known what became of an attempt, though the server answers.
        let mut sent: Option<Instant> = None;
        loop {
            match self.attempt().await? {
                Attempt::Done(done) => return Ok(done),
                Attempt::Again if pauses.elapsed() >= patience => {
                    return Err(KurrentError::Contended(pauses.elapsed()).into());
                }
                // However long that takes: an error is the word that nothing comes any more.
                Attempt::NotSent(_) if sent.is_some() => sent = Some(Instant::now()),
                Attempt::NotSent(why) if pauses.elapsed() >= patience => {
                    return Err(KurrentError::NotConnected { waited: pauses.elapsed(), why }.into());
                }
                Attempt::Again | Attempt::NotSent(_) => {}
                Attempt::Unknown(why) => {
                    let since = *sent.get_or_insert_with(Instant::now);
                    // What was stored would have been found: the server answers what is read.
                    if since.elapsed() >= patience {
                        let waited = since.elapsed();
                        return Err(KurrentError::NoOutcome { waited, why }.into());
                    }
                }
            }
            pauses.pause().await;
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, StoreError> {
        let inner = Arc::clone(&self.inner);
        let Some(append) = self.appends.first() else {
            return Err(StoreError::Invalid("an append needs a stream".to_owned()));
        };
        let name = inner.source.prefix.theirs(&append.stream);
        if let Err(failed) = inner.ids.catch_up(&inner.source).await {
            return self.lost(failed, "read $all");
        }
        // A retry finds its stream moved on, and is answered all the same.
        if let Some(done) = inner.ids.known(&self.appends)? {
            return Ok(Attempt::Done(done));
        }
        let state = match Expected::of(append.expected) {
            Expected::State(state) => state,
            Expected::Any => {
                self.guess.unwrap_or_else(|| expected::state(inner.ids.last(&append.stream)))
            }
            wanted => {
                let last = match inner.source.last(&name).await {
                    Ok(last) => last.map(|last| last.revision),
                    Err(failed) => return self.lost(failed, "read the stream"),
                };
                if wanted == Expected::Never || last.is_none() {
                    return Err(conflict(append, last));
                }
                expected::state(last)
            }
        };
        match self.send(&name, state).await {
            Ok(last) => Ok(self.confirm(&name, last).await),
            Err(Failed::NotSent(why)) => Ok(Attempt::NotSent(why)),
            Err(Failed::Unknown(why)) => Ok(Attempt::Unknown(why)),
            Err(Failed::WrongRevision(current)) => self.stale(expected::last(current)).await,
            // Where an attempt before this one may have been stored, its events would have been found.
            Err(Failed::Invalid(said)) => Err(StoreError::Invalid(format!(
                "KurrentDB does not take the append: {said}; where it is too large, part it, or raise MaxAppendSize of the \
                 server"
            ))),
            Err(failed) => Err(failed.explain(DEADLINE, "append to the stream", &name).into()),
        }
    }

    /// Sends the events, and returns the number of the last.
    async fn send(&self, name: &str, state: StreamState) -> Result<u64, Failed> {
        let link = &self.inner.source.link;
        let mut options = AppendToStreamOptions::default()
            .stream_state(state)
            .requires_leader(true)
            .deadline(DEADLINE);
        if let Some(credentials) = &link.address.credentials {
            options = options.authenticated(credentials.clone());
        }
        let events = self.events.clone();
        let sent =
            link.ask(async |client| client.append_to_stream(name, &options, events).await).await;
        let (written, _) = sent?;
        Ok(written.next_expected_version)
    }

    /// Reads the last event back. What is not as it was sent is found by its ids, in the next attempt.
    async fn confirm(&self, name: &str, last: u64) -> Attempt {
        let ask = Ask::Stream {
            name: name.into(),
            from: StreamPosition::Position(last),
            backwards: false,
        };
        let sent = self.appends.iter().flat_map(|append| &append.events).last();
        let found = self.inner.source.attempt(&ask, 1).await;
        let found = found.map(|mut page| page.found.pop());
        match (found, sent) {
            (Ok(Some(found)), Some(sent)) if found.revision == last && found.id == sent.id.0 => {
                let Some(at) = found.position else {
                    return Attempt::Unknown("the server does not tell positions".to_owned());
                };
                Attempt::Done(vec![Appended {
                    revision: Revision(last),
                    position: position(at),
                    // Another attempt stored it, whose bytes are other ones.
                    already: !found.is_as(sent),
                }])
            }
            (Err(Failed::NotSent(why) | Failed::Unknown(why)), _) => Attempt::Unknown(why),
            _ => Attempt::Unknown("what was stored is not there".to_owned()),
        }
    }

    /// The server said that the stream ends elsewhere.
    async fn stale(&mut self, last: Option<u64>) -> Result<Attempt, StoreError> {
        let inner = Arc::clone(&self.inner);
        // This may be a retry, of another process even: known ids go before any refusal.
        if let Err(failed) = inner.ids.catch_up(&inner.source).await {
            return self.lost(failed, "read $all");
        }
        if let Some(done) = inner.ids.known(&self.appends)? {
            return Ok(Attempt::Done(done));
        }
        let Some(append) = self.appends.first() else { return Ok(Attempt::Again) };
        self.guess = Some(expected::state(last));
        if append.expected.matches(last.map(Revision)) {
            return Ok(Attempt::Again);
        }
        Err(conflict(append, last))
    }

    /// Of a request that was only to look.
    fn lost(&self, failed: Failed, what: &str) -> Result<Attempt, StoreError> {
        match failed {
            Failed::NotSent(why) | Failed::Unknown(why) => Ok(Attempt::NotSent(why)),
            failed => {
                let name = self.appends.first().map_or("", |append| append.stream.as_str());
                Err(failed.explain(DEADLINE, what, name).into())
            }
        }
    }
}
