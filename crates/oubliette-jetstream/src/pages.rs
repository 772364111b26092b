//! Messages out of the stream: one, or a page of them.
//!
//! They are read by direct gets, and not by consumers: a page is one request and its answers, and leaves nothing on the server
//! that would be lost when it restarts. Any replica may answer a direct get, also one that is behind. So where there are
//! several, the leader is asked at the end of a page whether it knows of more.

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use oubliette::TaskError;

use crate::{
    envelope::Stored,
    error::{JetStreamError, code},
    identity::{self, Identity},
    link::{Failed, Link, Lost, Pauses},
};

/// The most messages in a page, and about the most bytes.
pub(crate) const PAGE: usize = 256;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A leader that was just chosen knows the stream's end after so long.
const CHOSEN: Duration = Duration::from_secs(2);

const NO_CONTENT: u16 = 204;
const NOT_FOUND: u16 = 404;

/// Where messages are read from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    link: Link,
    stream: String,
    /// Whether the server answers with many messages at once.
    pages: bool,
    /// Whether there are several replicas.
    replicated: bool,
    identity: Arc<Identity>,
}

/// Messages in the order of their sequences.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) messages: Vec<Stored>,
    /// Whether there were no more.
    pub(crate) end: bool,
}

impl Page {
    fn last(&self) -> Option<u64> {
        self.messages.last().map(|message| message.sequence)
    }
}

impl Source {
    /// `info` is what the server says of the stream that is opened.
    pub(crate) fn new(
        link: Link,
        stream: &str,
        info: &Value,
        pages: bool,
        replicated: bool,
    ) -> Self {
        let identity = Arc::new(Identity::new(stream, info));
        Self { link, stream: stream.to_owned(), pages, replicated, identity }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the stream is the one that was opened, as far as is known, or as the server says where it is time to ask.
    pub(crate) async fn check(&self) -> Result<(), JetStreamError> {
        self.identity.check()?;
        if self.identity.is_due() {
            self.last_sequence().await?;
        }
        Ok(())
    }

    /// The messages of a subject, which may be a pattern, from a sequence on: at most so many, at least one if there is one.
    pub(crate) async fn page(
        &self,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<Page, JetStreamError> {
        let page = self.page_of(subject, from, limit).await?;
        match page.last() {
            // Nothing behind what there must have been: a stream that counts anew is as empty.
            None if from > 1 && limit > 0 => drop(self.last_sequence().await?),
            last => {
                self.check().await?;
                self.identity.saw(last.unwrap_or(0));
            }
        }
        Ok(page)
    }

    async fn page_of(
        &self,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<Page, JetStreamError> {
        in_runtime()?;
        let limit = limit.min(PAGE);
        let mut page = Page::default();
        let mut pauses = Pauses::new();
        loop {
            let next = page.last().map_or(from, |last| last.saturating_add(1)).max(1);
            let left = limit - page.messages.len().min(limit);
            // No message has such a number, and the server would count on from it.
            if next > i64::MAX.unsigned_abs() {
                page.end = true;
            }
            if left == 0 || page.end {
                return Ok(page);
            }
            let got = if self.pages {
                self.fetch(subject, next, left, &mut page).await
            } else {
                self.fetch_one(subject, next, &mut page).await
            };
            let got = match got {
                Ok(()) if page.end && self.replicated => {
                    self.confirm(subject, &mut page, from).await
                }
                got => got,
            };
            match got {
                Ok(()) if self.pages && page.last().is_some_and(|last| last >= next) => {
                    return Ok(page);
                }
                Ok(()) => {}
                Err(failed) => self.retry(failed, &mut pauses).await?,
            }
        }
    }

    /// Asks for a page, and puts what comes into it: also where not all comes.
    async fn fetch(
        &self,
        subject: &str,
        from: u64,
        limit: usize,
        page: &mut Page,
    ) -> Result<(), Failed> {
        let request = json!({ "seq": from, "next_by_subj": subject, "batch": limit, "max_bytes": PAGE_BYTES });
        let direct = self.direct();
        let mut answers = self.link.request_many(&direct, request.to_string().into()).await?;
        let mut before = 0;
        loop {
            let message = answers.next(&[&direct]).await?;
            match message.status.map(|status| status.as_u16()) {
                None => {
                    let previous = number(&message, "Nats-Last-Sequence");
                    let stored = stored(message)?;
                    // One that was lost on the way would be a gap.
                    if previous != Some(before) {
                        return Err(Lost::Unanswered.into());
                    }
                    before = stored.sequence;
                    page.messages.push(stored);
                }
                Some(NO_CONTENT) => {
                    if number(&message, "Nats-Last-Sequence") != Some(before) {
                        return Err(Lost::Unanswered.into());
                    }
                    page.end = number(&message, "Nats-Num-Pending") == Some(0);
                    return Ok(());
                }
                Some(NOT_FOUND) => {
                    page.end = true;
                    return Ok(());
                }
                Some(_) => return Err(Lost::Unanswered.into()),
            }
        }
    }

    /// One message more, for servers that have no pages.
    async fn fetch_one(&self, subject: &str, from: u64, page: &mut Page) -> Result<(), Failed> {
        match self.get(&json!({ "seq": from, "next_by_subj": subject })).await? {
            Some(stored) => page.messages.push(stored),
            None => page.end = true,
        }
        Ok(())
    }

    /// Asks the leader whether something comes behind a page that ended. The replica that answered may not have it yet.
    async fn confirm(&self, subject: &str, page: &mut Page, from: u64) -> Result<(), Failed> {
        let next = page.last().map_or(from, |last| last.saturating_add(1)).max(1);
        page.end = false;
        match self.get_of_leader(&json!({ "seq": next, "next_by_subj": subject })).await? {
            Some(stored) => page.messages.push(stored),
            None => page.end = true,
        }
        Ok(())
    }

    /// The last message of a subject.
    pub(crate) async fn last(&self, subject: &str) -> Result<Option<Stored>, JetStreamError> {
        self.one(&json!({ "last_by_subj": subject })).await
    }

    /// The message with a sequence.
    pub(crate) async fn message(&self, sequence: u64) -> Result<Option<Stored>, JetStreamError> {
        self.one(&json!({ "seq": sequence })).await
    }

    /// The last sequence that the stream gave, 0 for none.
    ///
    /// # Errors
    /// Also where it is not the stream that was opened, or ends before what was seen of it.
    pub(crate) async fn last_sequence(&self) -> Result<u64, JetStreamError> {
        self.ends_behind(self.identity.highest()).await
    }

    /// The same, where it is to end there or behind it.
    pub(crate) async fn ends_behind(&self, seen: u64) -> Result<u64, JetStreamError> {
        in_runtime()?;
        let mut pauses = Pauses::new();
        loop {
            match self.link.api(&format!("STREAM.INFO.{}", self.stream), &Value::Null).await {
                Ok(info) => match self.identity.compare(&info, seen)? {
                    Some(last) => return Ok(last),
                    None if pauses.elapsed() < CHOSEN => pauses.pause().await,
                    None => return Err(self.identity.went_back(identity::last(&info), seen)),
                },
                Err(failed) => self.retry(failed, &mut pauses).await?,
            }
        }
    }

    async fn one(&self, request: &Value) -> Result<Option<Stored>, JetStreamError> {
        in_runtime()?;
        let mut pauses = Pauses::new();
        loop {
            let got = if self.replicated {
                self.get_of_leader(request).await
            } else {
                self.get(request).await
            };
            match got {
                Ok(stored) => {
                    self.check().await?;
                    self.identity.saw(stored.as_ref().map_or(0, |stored| stored.sequence));
                    return Ok(stored);
                }
                Err(failed) => self.retry(failed, &mut pauses).await?,
            }
        }
    }

    /// A direct get of one message: any replica answers.
    async fn get(&self, request: &Value) -> Result<Option<Stored>, Failed> {
        let message = self.link.request(&self.direct(), None, request.to_string().into()).await?;
        match message.status.map(|status| status.as_u16()) {
            None => Ok(Some(stored(message)?)),
            Some(NOT_FOUND) => Ok(None),
            Some(_) => Err(Lost::Unanswered.into()),
        }
    }

    /// The same of the leader, which has all that is acknowledged. It answers in JSON and base64.
    async fn get_of_leader(&self, request: &Value) -> Result<Option<Stored>, Failed> {
        match self.link.api(&format!("STREAM.MSG.GET.{}", self.stream), request).await {
            Ok(answer) => read(&answer["message"]).map(Some).ok_or(Failed::Lost(Lost::Unanswered)),
            Err(Failed::Said(said)) if said.code == code::NO_MESSAGE => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    fn direct(&self) -> String {
        format!("$JS.API.DIRECT.GET.{}", self.stream)
    }

    /// Waits, where it may help to ask again.
    async fn retry(&self, failed: Failed, pauses: &mut Pauses) -> Result<(), JetStreamError> {
        match failed {
            Failed::Lost(Lost::Unanswered | Lost::NobodyThere)
                if pauses.elapsed() < self.link.patience =>
            {
                pauses.pause().await;
                // A stream that was removed is not waited for.
                match self.link.api(&format!("STREAM.INFO.{}", self.stream), &Value::Null).await {
                    Err(Failed::Said(said)) if said.code == code::NO_STREAM => {
                        Err(JetStreamError::Missing { stream: self.stream.clone() })
                    }
                    _ => Ok(()),
                }
            }
            Failed::Said(said) if said.code == code::NO_STREAM => {
                Err(JetStreamError::Missing { stream: self.stream.clone() })
            }
            // A leader is being chosen.
            Failed::Said(said)
                if matches!(said.code, 10008 | 10009) && pauses.elapsed() < self.link.patience =>
            {
                pauses.pause().await;
                Ok(())
            }
            Failed::Said(said) => Err(said.into()),
            Failed::Lost(lost) => Err(self.link.explain(lost)),
        }
    }
}

/// The client needs a runtime, and would panic outside of one.
fn in_runtime() -> Result<(), JetStreamError> {
    Handle::try_current().map(drop).map_err(|_| TaskError::NoRuntime.into())
}

fn number(message: &Message, header: &'static str) -> Option<u64> {
    message.headers.as_ref()?.get(header)?.as_str().parse().ok()
}

/// The message that answers a direct get: the server adds where it is to its headers, at their end.
fn stored(message: Message) -> Result<Stored, Failed> {
    let unanswered = Failed::Lost(Lost::Unanswered);
    let headers = message.headers.ok_or_else(|| unanswered.clone())?;
    let text = |name: &'static str| headers.get_last(name).map(|value| value.as_str().to_owned());
    let (Some(sequence), Some(subject), Some(time)) = (
        text("Nats-Sequence").and_then(|sequence| sequence.parse().ok()),
        text("Nats-Subject"),
        text("Nats-Time-Stamp"),
    ) else {
        return Err(unanswered);
    };
    Ok(Stored { sequence, subject, time, headers, payload: message.payload })
}

/// The message in an answer of the leader.
fn read(message: &Value) -> Option<Stored> {
    let bytes = |name: &str| STANDARD.decode(message[name].as_str().unwrap_or_default()).ok();
    Some(Stored {
        sequence: message["seq"].as_u64()?,
        subject: message["subject"].as_str()?.to_owned(),
        time: message["time"].as_str()?.to_owned(),
        headers: parse(&bytes("hdrs")?),
        payload: bytes("data")?.into(),
    })
}

/// The headers of a message as they are stored. What is no header is left out: then the message is not one of ours.
fn parse(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in String::from_utf8_lossy(text).split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.trim().parse()) {
            headers.append::<HeaderName, HeaderValue>(name, value);
        }
    }
    headers
}
