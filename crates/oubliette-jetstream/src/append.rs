//! Appends: one message, or an atomic batch of them.
//!
//! What keeps the contract is the server's: `Nats-Expected-Last-Subject-Sequence` for expected revisions, `Nats-Msg-Id` for
//! ids (see `ids`), and the batch for all or nothing. Each is looked at in the step that stores the messages, so that
//! nothing here races with other writers.
//!
//! Where no answer comes, the same messages are sent again, until one comes. That is safe, because their ids are known if the
//! first ones arrived; and it is what makes an error final: a message that is still on its way when the last answer is
//! there is then refused by its id, or by the sequence that it expects.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use oubliette::{
    ExpectedRevision, StoreError, TaskError,
    event::{Position, Revision},
    store::{Append, Appended},
};
use serde_json::Value;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{
    config::Version,
    envelope::{self, MAX_HEADER_BYTES},
    error::{JetStreamError, Said, code},
    link::{Failed, Lost, Pauses, answered},
    store::Inner,
};

/// What is added to the headers of a message: expected sequence, batch, its number, and its end.
const ADDED_HEADER_BYTES: usize = 256;

/// Appends in a task of its own: a caller who goes away does not leave the parts of a batch on the way.
pub(crate) async fn append(
    inner: Arc<Inner>,
    appends: Vec<Append>,
) -> Result<Vec<Appended>, StoreError> {
    let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
    let outgoing = Outgoing::new(&inner, &appends)?;
    let task = runtime.spawn(async move { Appender { inner, appends, outgoing }.run().await });
    task.await.map_err(TaskError::from)?
}

/// The messages, but for what is expected.
struct Outgoing {
    messages: Vec<Message>,
}

struct Message {
    /// Which of the appends it belongs to.
    append: usize,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Outgoing {
    /// Refuses what the server cannot take, before anything is sent.
    fn new(inner: &Inner, appends: &[Append]) -> Result<Self, StoreError> {
        let count: usize = appends.iter().map(|append| append.events.len()).sum();
        if count > 1 && !inner.facts.batches {
            let (version, stream) = (inner.version.clone(), inner.stream.clone());
            let could = Version::parse(&version).is_some_and(|version| version >= Version::BATCHES);
            return Err(if could {
                JetStreamError::BatchesOff { stream }.into()
            } else {
                JetStreamError::NeedsBatches { version }.into()
            });
        }
        let limit = inner.batch_limit;
        if count > limit {
            return Err(StoreError::Invalid(format!(
                "an append has {count} events, and an atomic batch of NATS has at most {limit} here; part it, or raise \
                 max_msgs in the servers' limits for batches, and the store's batch_limit"
            )));
        }
        let most = inner.facts.max_message.unwrap_or(usize::MAX).min(inner.link.max_payload());
        let mut messages = Vec::with_capacity(count);
        for (number, append) in appends.iter().enumerate() {
            let subject = inner.prefix.subject(&append.stream);
            for event in &append.events {
                let (headers, payload) = envelope::message(event);
                let header_bytes = envelope::header_bytes(&headers) + ADDED_HEADER_BYTES;
                if header_bytes > MAX_HEADER_BYTES {
                    return Err(StoreError::Invalid(format!(
                        "the metadata of event {} make headers of {header_bytes} bytes, and a message of JetStream has at \
                         most {MAX_HEADER_BYTES}; put what is long into the payload",
                        event.id
                    )));
                }
                let bytes = header_bytes + payload.len();
                if bytes > most {
                    return Err(StoreError::Invalid(format!(
                        "event {} has {bytes} bytes with its headers, and this NATS server takes at most {most}; raise \
                         its max_payload, and max_msg_size of the stream where it is set",
                        event.id
                    )));
                }
                messages.push(Message {
                    append: number,
                    subject: subject.clone(),
                    headers,
                    payload,
                });
            }
        }
        Ok(Self { messages })
    }
}

struct Appender {
    inner: Arc<Inner>,
    appends: Vec<Append>,
    outgoing: Outgoing,
}

/// What the server did.
enum Done {
    /// It stored all of them; the last has this sequence.
    Stored(u64),
    /// It knows the id.
    Known,
}

/// What an append's expectation comes to.
enum Expected {
    /// This last sequence of the subject, or any.
    Sequence(Option<u64>),
    /// What cannot be: no sequence is that, or the stream is not there. With its last.
    Never(Option<Revision>),
}

impl Appender {
    async fn run(self) -> Result<Vec<Appended>, StoreError> {
        // Whether messages may be on their way, of which it is not known what became.
        let mut sent = false;
        let mut pauses = Pauses::new();
        loop {
            match self.attempt(&mut sent).await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => pauses.pause().await,
                // Until it is known, however long that takes: an error is the word that nothing comes any more.
                Err(error) if sent && error.is_temporary() => pauses.pause().await,
                Err(error)
                    if error.is_temporary() && pauses.elapsed() < self.inner.link.patience =>
                {
                    pauses.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `None`: to be tried again.
    async fn attempt(&self, sent: &mut bool) -> Result<Option<Vec<Appended>>, StoreError> {
        let inner = &self.inner;
        // Not into another stream of the same name.
        inner.source.check().await?;
        let seen = inner.source.identity().highest();
        let mut expected = Vec::with_capacity(self.appends.len());
        for append in &self.appends {
            match self.expected(append).await? {
                Expected::Sequence(sequence) => expected.push(sequence),
                // A retry finds its stream moved on, and is answered all the same.
                Expected::Never(last) => {
                    let known = inner.known(&self.appends).await?;
                    return known.map(Some).ok_or_else(|| conflict(append, last));
                }
            }
        }
        let published = match &self.outgoing.messages[..] {
            [message] => self.publish(message, expected.first().copied().flatten()).await,
            messages => self.publish_batch(messages, &expected).await,
        };
        match published {
            Ok(Done::Stored(last)) => {
                let before = last.saturating_sub(self.outgoing.messages.len() as u64);
                if before < seen {
                    // Another stream, or this one without its end.
                    inner.source.ends_behind(0).await?;
                    return Err(inner.source.identity().went_back(before, seen).into());
                }
                inner.source.identity().saw(last);
                Ok(Some(self.answer(last)))
            }
            Ok(Done::Known) => inner.known(&self.appends).await,
            Err(Failed::Lost(Lost::Unanswered)) => {
                *sent = true;
                Ok(None)
            }
            Err(Failed::Lost(Lost::NobodyThere)) => {
                // Without a stream nobody is there, and nobody will be.
                inner.source.last_sequence().await?;
                Err(JetStreamError::NoAnswer(inner.link.patience).into())
            }
            Err(Failed::Lost(lost)) => Err(inner.link.explain(lost).into()),
            Err(Failed::Said(said)) => self.refused(said).await,
        }
    }

    async fn refused(&self, said: Said) -> Result<Option<Vec<Appended>>, StoreError> {
        let number = said.code;
        if code::BUSY.contains(&number) || code::BATCH_AGAIN.contains(&number) {
            return Ok(None);
        }
        // An attempt before this one may have been stored, or this may be a retry: known ids go before any refusal.
        if let Some(done) = self.inner.known(&self.appends).await? {
            return Ok(Some(done));
        }
        match number {
            code::STALE => {
                for append in &self.appends {
                    let last = self.last(append).await?;
                    if !append.expected.matches(last) {
                        return Err(conflict(append, last));
                    }
                }
                // It has become what was expected, or the stream that must exist moved on meanwhile.
                Ok(None)
            }
            code::BATCH_HAS_KNOWN_ID => Ok(None),
            code::BATCH_TOO_LARGE => Err(StoreError::Invalid(format!(
                "{}; part the append, or raise max_msgs in the servers' limits for batches",
                said.text
            ))),
            _ if code::TOO_LARGE.contains(&number) || said.text.contains("too large") => {
                Err(StoreError::Invalid(format!(
                    "JetStream does not take a message of this length: {}",
                    said.text
                )))
            }
            _ => Err(JetStreamError::from(said).into()),
        }
    }

    async fn last(&self, append: &Append) -> Result<Option<Revision>, StoreError> {
        let last = self.inner.source.last(&self.inner.prefix.subject(&append.stream)).await?;
        Ok(last.map(|last| Revision(last.sequence)))
    }

    async fn expected(&self, append: &Append) -> Result<Expected, StoreError> {
        Ok(match append.expected {
            ExpectedRevision::Any => Expected::Sequence(None),
            ExpectedRevision::NoStream => Expected::Sequence(Some(0)),
            // Sequences begin at 1, and to the server a 0 means that there is none. It reads them as 63 bits, and what is
            // beyond that as no expectation at all.
            ExpectedRevision::Exact(Revision(exact))
                if exact == 0 || i64::try_from(exact).is_err() =>
            {
                Expected::Never(self.last(append).await?)
            }
            ExpectedRevision::Exact(Revision(exact)) => Expected::Sequence(Some(exact)),
            // There is no header for it. So the last sequence is asked for and expected: a stream that grows in between
            // is tried again.
            ExpectedRevision::StreamExists => match self.last(append).await? {
                Some(Revision(last)) => Expected::Sequence(Some(last)),
                None => Expected::Never(None),
            },
        })
    }

    async fn publish(&self, message: &Message, expected: Option<u64>) -> Result<Done, Failed> {
        let mut headers = message.headers.clone();
        expect(&mut headers, expected);
        let link = &self.inner.link;
        let answer = link.request(&message.subject, Some(headers), message.payload.clone()).await?;
        self.acknowledged(&answered(&answer.payload)?)
    }

    async fn publish_batch(
        &self,
        messages: &[Message],
        expected: &[Option<u64>],
    ) -> Result<Done, Failed> {
        // The semaphore is never closed.
        let _permit = self.inner.batches.acquire().await;
        let mut answers = self.inner.link.answers().await?;
        let client = self.inner.link.client();
        let batch = Uuid::new_v4().simple().to_string();
        let mut begun = None;
        for (number, message) in messages.iter().enumerate() {
            let mut headers = message.headers.clone();
            // The server takes an expectation once for each subject, with its first message.
            if begun != Some(message.append) {
                begun = Some(message.append);
                expect(&mut headers, expected.get(message.append).copied().flatten());
            }
            headers.insert("Nats-Batch-Id", batch.as_str());
            headers.insert("Nats-Batch-Sequence", (number + 1).to_string().as_str());
            let last = number + 1 == messages.len();
            if last {
                headers.insert("Nats-Batch-Commit", "1");
            }
            let (subject, payload) = (message.subject.clone(), message.payload.clone());
            // The first says whether the batch was begun, the last whether it was stored.
            let publishing = if number == 0 || last {
                client
                    .publish_with_reply_and_headers(
                        subject,
                        answers.inbox.clone(),
                        headers,
                        payload,
                    )
                    .await
            } else {
                client.publish_with_headers(subject, headers, payload).await
            };
            publishing.map_err(|_| Lost::Unanswered)?;
        }
        let subjects: Vec<&str> = messages.iter().map(|message| message.subject.as_str()).collect();
        loop {
            let answer = answers.next(&subjects).await?;
            // An empty answer says that the first message arrived.
            if !answer.payload.is_empty() {
                return self.acknowledged(&answered(&answer.payload)?);
            }
        }
    }

    /// Reads an acknowledgement, which is of our stream and of all messages.
    fn acknowledged(&self, answer: &Value) -> Result<Done, Failed> {
        let not_ours = || {
            let text =
                "another stream took the message; which streams have subjects of this prefix?"
                    .to_owned();
            Failed::Said(Said { code: 0, text })
        };
        let Some(sequence) = answer["seq"].as_u64() else { return Err(Lost::Unanswered.into()) };
        if answer["stream"] != self.inner.stream.as_str() {
            return Err(not_ours());
        }
        if answer["duplicate"] == true {
            return Ok(Done::Known);
        }
        Ok(Done::Stored(sequence))
    }

    /// A batch is stored as one: its messages have sequences one after the other.
    fn answer(&self, last: u64) -> Vec<Appended> {
        let mut behind: u64 = self.appends.iter().map(|append| append.events.len() as u64).sum();
        let appended = self.appends.iter().map(|append| {
            behind -= append.events.len() as u64;
            let sequence = last.saturating_sub(behind);
            Appended {
                revision: Revision(sequence),
                position: Position::number(sequence),
                already: false,
            }
        });
        appended.collect()
    }
}

fn expect(headers: &mut HeaderMap, sequence: Option<u64>) {
    if let Some(sequence) = sequence {
        headers.insert("Nats-Expected-Last-Subject-Sequence", sequence.to_string().as_str());
    }
}

fn conflict(append: &Append, last: Option<Revision>) -> StoreError {
    let (stream, expected) = (append.stream.clone(), append.expected);
    StoreError::Conflict { stream, expected, actual: Some(last.into()) }
}
