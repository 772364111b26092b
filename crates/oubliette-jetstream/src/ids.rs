//! Which events are there already, by their ids.
//!
//! The server keeps the index. It knows the `Nats-Msg-Id` of every message within the stream's `duplicate_window`, which is a
//! hundred years here, so of every message that is there; it makes that index of the messages themselves when it starts, replicates it with
//! them, and looks into it in the same step that stores a message. So no two processes store an event twice, on one stream or
//! on two, now or after years, and no index of ours can differ from what is stored. The id of a message that was purged it
//! knows until it starts again.
//!
//! (The other way would be a second message for each id, in the same atomic batch, on a subject of its own. It would need
//! a batch for every append, which costs the server a folder and several files each, twice the messages, and about twice the
//! memory for their subjects.)
//!
//! There is no request that looks an id up. But the server looks at the id of a message before it looks at its
//! `Nats-Rollup`, and one with a word there that is none is never stored: it is either answered as a duplicate, with the
//! sequence of the first, or refused.

use std::collections::HashMap;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::future::try_join_all;
use oubliette::{
    EventId, StoreError, StreamName,
    event::{Position, Revision},
    store::{Append, Appended, Known, answer_retry},
};

use crate::{
    envelope::MESSAGE_ID,
    error::{JetStreamError, code},
    link::{Failed, Link, Lost, Pauses, answered},
    store::Inner,
};

/// How many questions are under way at once.
const AT_ONCE: usize = 32;

/// The sequence of the message with this id. The question is sent to a subject of the stream's, and never stored.
pub(crate) async fn sequence(
    link: &Link,
    subject: &str,
    id: EventId,
) -> Result<Option<u64>, Failed> {
    let mut pauses = Pauses::new();
    loop {
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, id.to_string().as_str());
        headers.insert("Nats-Rollup", "never");
        let answer = match link.request(subject, Some(headers), Bytes::new()).await {
            Ok(message) => answered(&message.payload),
            Err(lost) => Err(lost.into()),
        };
        let again = match &answer {
            Err(Failed::Lost(Lost::NobodyThere | Lost::Unanswered)) => true,
            Err(Failed::Said(said)) => code::BUSY.contains(&said.code),
            _ => false,
        };
        if again && pauses.elapsed() < link.patience {
            pauses.pause().await;
            continue;
        }
        return match answer {
            Ok(known) if known["duplicate"] == true => Ok(known["seq"].as_u64()),
            Ok(_) => Err(Failed::Said(crate::error::Said {
                code: 0,
                text: "the server stored a message that it must refuse; is there a stream of 2.9 or later?".to_owned(),
            })),
            Err(Failed::Said(said)) if said.code == code::ROLLUP_REFUSED => Ok(None),
            Err(failed) => Err(failed),
        };
    }
}

impl Inner {
    /// Whether an append was done before.
    pub(crate) async fn known(
        &self,
        appends: &[Append],
    ) -> Result<Option<Vec<Appended>>, StoreError> {
        let mut questions = Vec::new();
        for append in appends {
            let subject = self.prefix.subject(&append.stream);
            questions.extend(append.events.iter().map(|event| (event.id, subject.clone())));
        }
        let mut found: HashMap<EventId, Option<Place>> = HashMap::with_capacity(questions.len());
        for some in questions.chunks(AT_ONCE) {
            let places =
                try_join_all(some.iter().map(|(id, subject)| self.place(*id, subject))).await?;
            found.extend(some.iter().map(|(id, _)| *id).zip(places));
        }
        answer_retry(appends, |id, stream| {
            let place = found.get(&id).and_then(Option::as_ref);
            Ok(place.map(|place| Known {
                same_stream: place.stream.as_ref().is_none_or(|found| found == stream),
                revision: Revision(place.sequence),
                position: Position::number(place.sequence),
            }))
        })
    }

    async fn place(&self, id: EventId, subject: &str) -> Result<Option<Place>, StoreError> {
        let sequence =
            sequence(&self.link, subject, id).await.map_err(|failed| self.failed(failed))?;
        let Some(sequence) = sequence else { return Ok(None) };
        let stored = self.source.message(sequence).await?;
        Ok(Some(Place {
            sequence,
            stream: stored.and_then(|stored| self.prefix.stream(&stored.subject)),
        }))
    }

    pub(crate) fn failed(&self, failed: Failed) -> JetStreamError {
        match failed {
            Failed::Lost(lost) => self.link.explain(lost),
            Failed::Said(said) => said.into(),
        }
    }
}

/// Where an event is.
struct Place {
    sequence: u64,
    /// `None` where the message was purged since: whoever repeats its append is told that it was done.
    stream: Option<StreamName>,
}
