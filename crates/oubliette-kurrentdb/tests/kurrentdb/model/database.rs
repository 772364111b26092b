//! What the model keeps, and how it answers.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use prost::bytes::Bytes;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    status,
    wire::{
        AppendOptions, AppendResp, AppendResult, At, Count, Empty, Expect, FilterBy, Filtered,
        FromPosition, FromRevision, Id, IdValue, Proposed, ReadContent, ReadEvent, ReadOptions,
        Recorded, StreamIdentifier, Success, What, Wrong,
    },
};

/// An event to be stored, whatever the stream's state.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) stream: String,
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    pub(crate) json: bool,
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

impl New {
    pub(crate) fn json(stream: &str, event_type: &str, data: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            id: Uuid::new_v4(),
            event_type: event_type.to_owned(),
            json: true,
            data: Bytes::copy_from_slice(data.as_bytes()),
            metadata: Bytes::new(),
        }
    }
}

#[derive(Debug, Clone)]
struct Stored {
    new: New,
    revision: u64,
    position: u64,
    ticks: u128,
}

#[derive(Debug, Default)]
struct Stream {
    /// Where its events are in the log.
    events: Vec<usize>,
    /// The first number that readers see.
    truncated_before: u64,
    soft_deleted: bool,
    hard_deleted: bool,
}

#[derive(Debug)]
pub(crate) struct Database {
    log: Vec<Stored>,
    streams: HashMap<String, Stream>,
    /// Where the next record begins.
    end: u64,
    pub(crate) max_append: usize,
}

impl Database {
    pub(crate) fn new() -> Self {
        let mut database =
            Self { log: Vec::new(), streams: HashMap::new(), end: 0, max_append: 16 << 20 };
        database.put(New::json("$settings", "update", "{}"));
        database.put(New::json("$$$stats-127.0.0.1:2113", "$metadata", "{\"$maxAge\":86400}"));
        database
    }

    /// Stores an event at the end of its stream, and returns its number.
    pub(crate) fn put(&mut self, new: New) -> u64 {
        let stream = self.streams.entry(new.stream.clone()).or_default();
        let revision = stream.events.len() as u64;
        stream.events.push(self.log.len());
        if stream.soft_deleted {
            (stream.soft_deleted, stream.truncated_before) = (false, revision);
        }
        let ticks = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() / 100;
        let length = 120 + new.stream.len() + new.data.len() + new.metadata.len();
        self.log.push(Stored { new, revision, position: self.end, ticks });
        self.end += length as u64;
        revision
    }

    pub(crate) fn ids(&self, stream: &str) -> Vec<Uuid> {
        let events = self.streams.get(stream).map(|stream| stream.events.as_slice());
        events.unwrap_or_default().iter().map(|at| self.log[*at].new.id).collect()
    }

    pub(crate) fn soft_delete(&mut self, stream: &str) {
        self.streams.get_mut(stream).unwrap().soft_deleted = true;
    }

    pub(crate) fn hard_delete(&mut self, stream: &str) {
        self.streams.get_mut(stream).unwrap().hard_deleted = true;
    }

    pub(crate) fn truncate(&mut self, stream: &str, before: u64) {
        self.streams.get_mut(stream).unwrap().truncated_before = before;
    }

    pub(crate) fn append(
        &mut self,
        options: AppendOptions,
        events: Vec<Proposed>,
    ) -> Result<AppendResp, Status> {
        let bytes: usize = events.iter().map(|event| event.data.len()).sum();
        if bytes > self.max_append {
            let said = format!("Maximum Append Size of {} Exceeded.", self.max_append);
            let exception = [("exception", "maximum-append-size-exceeded")];
            return Err(status(Code::InvalidArgument, &said, &exception));
        }
        let name = name(options.stream);
        let stream = self.streams.entry(name.clone()).or_default();
        if stream.hard_deleted {
            return Err(deleted(&name));
        }
        let (last, soft_deleted) = (stream.events.len().checked_sub(1), stream.soft_deleted);
        let first = match options.expect.unwrap() {
            Expect::Any(_) => None,
            Expect::Exists(_) if last.is_some() && !soft_deleted => None,
            Expect::Exists(_) => return Ok(wrong(last)),
            Expect::NoStream(_) => Some(0),
            // As the server reads the largest number.
            Expect::Revision(u64::MAX) => Some(0),
            Expect::Revision(revision) => Some(usize::try_from(revision).unwrap() + 1),
        };
        let news: Vec<New> = events.into_iter().map(|event| proposed(&name, event)).collect();
        let next = last.map_or(0, |last| last + 1);
        match first {
            None => {}
            Some(first) if first == next || first == 0 && soft_deleted => {}
            Some(first) if first > next => return Ok(wrong(last)),
            // Something is there already: these events, by their ids, or others.
            Some(first) => {
                let there = self.ids(&name).into_iter().skip(first).map(Some);
                let same = news
                    .iter()
                    .map(|new| Some(new.id))
                    .zip(there.chain(std::iter::repeat(None)))
                    .all(|(sent, there)| sent == there);
                if !same {
                    return Ok(wrong(last));
                }
                let revision = Some((first + news.len() - 1) as u64);
                let success =
                    Success { revision, position: None, no_position: Some(Empty::default()) };
                return Ok(AppendResp { result: Some(AppendResult::Success(success)) });
            }
        }
        let begun = self.end;
        let mut revision = None;
        for new in news {
            revision = Some(self.put(new));
        }
        // What a projection of the server's makes of it.
        let link = format!("{}@{name}", revision.unwrap_or_default());
        let category = name.split('-').next().unwrap_or_default();
        self.put(New::json(&format!("$ce-{category}"), "$>", &link));
        let position = Some(At { commit: begun, prepare: begun });
        let success = Success { revision, position, no_position: None };
        Ok(AppendResp { result: Some(AppendResult::Success(success)) })
    }

    pub(crate) fn read(
        &self,
        options: &ReadOptions,
        positions: bool,
    ) -> Result<Vec<ReadContent>, Status> {
        let Some(Count::Events(count)) = options.count else {
            return Err(Status::unimplemented("subscriptions"));
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let backwards = options.direction == 1;
        match options.what.clone().unwrap() {
            What::Stream(wanted) => {
                let name = name(wanted.stream);
                let stream = match self.streams.get(&name) {
                    Some(stream) if stream.hard_deleted => return Err(deleted(&name)),
                    Some(stream) if !stream.events.is_empty() && !stream.soft_deleted => stream,
                    _ => return Ok(vec![ReadContent::NotFound(Empty::default())]),
                };
                let events = stream.events.iter().map(|at| &self.log[*at]);
                let visible = events.filter(|event| event.revision >= stream.truncated_before);
                let from = match wanted.from.unwrap() {
                    FromRevision::Revision(from) => from,
                    FromRevision::Start(_) => 0,
                    FromRevision::End(_) => u64::MAX,
                };
                let chosen: Vec<&Stored> = if backwards {
                    visible.rev().filter(|event| event.revision <= from).take(count).collect()
                } else {
                    visible.filter(|event| event.revision >= from).take(count).collect()
                };
                let mut answers: Vec<ReadContent> =
                    chosen.into_iter().map(|event| sent(event, positions)).collect();
                answers.push(ReadContent::LastStreamPosition(stream.events.len() as u64 - 1));
                Ok(answers)
            }
            What::All(wanted) => {
                let passes = |event: &&Stored| passes(options.filter.as_ref(), &event.new);
                let from = match wanted.from.unwrap() {
                    FromPosition::Position(at) if at.prepare > at.commit => {
                        return Err(Status::unknown("Exception was thrown by handler."));
                    }
                    FromPosition::Position(at) => at.commit,
                    FromPosition::Start(_) => 0,
                    FromPosition::End(_) => u64::MAX,
                };
                // Inclusive forwards, exclusive backwards.
                let (before, behind) =
                    self.log.split_at(self.log.partition_point(|event| event.position < from));
                let chosen: Vec<&Stored> = if backwards {
                    before.iter().rev().filter(passes).take(count).collect()
                } else {
                    behind.iter().filter(passes).take(count).collect()
                };
                Ok(chosen.into_iter().map(|event| sent(event, true)).collect())
            }
        }
    }
}

fn passes(filter: Option<&Filtered>, new: &New) -> bool {
    let Some(Filtered::Filter(filter)) = filter else { return true };
    let Some(FilterBy::Stream(wanted)) = &filter.by else { panic!("a filter by type") };
    match wanted.regex.as_str() {
        "^[^\\$].*" => !new.stream.starts_with('$'),
        "" => wanted.prefixes.iter().any(|prefix| new.stream.starts_with(prefix)),
        other => panic!("an expression that is not modelled: {other}"),
    }
}

fn name(stream: Option<StreamIdentifier>) -> String {
    String::from_utf8(stream.unwrap().stream_name.to_vec()).unwrap()
}

fn proposed(stream: &str, event: Proposed) -> New {
    let id = match event.id.unwrap().value.unwrap() {
        IdValue::Text(id) => id.parse().unwrap(),
        IdValue::Structured(id) => {
            Uuid::from_u64_pair(id.most.cast_unsigned(), id.least.cast_unsigned())
        }
    };
    New {
        stream: stream.to_owned(),
        id,
        event_type: event.metadata["type"].clone(),
        json: match event.metadata["content-type"].as_str() {
            "application/json" => true,
            "application/octet-stream" => false,
            other => panic!("a content type that is not modelled: {other}"),
        },
        data: event.data,
        metadata: event.custom_metadata,
    }
}

fn sent(event: &Stored, positions: bool) -> ReadContent {
    let Stored { new, revision, position, ticks } = event.clone();
    let position = if positions { position } else { u64::MAX };
    let kind = if new.json { "application/json" } else { "application/octet-stream" };
    let metadata = [
        ("type", new.event_type),
        ("created", ticks.to_string()),
        ("content-type", kind.to_owned()),
    ];
    ReadContent::Event(ReadEvent {
        event: Some(Recorded {
            id: Some(Id { value: Some(IdValue::Text(new.id.to_string())) }),
            stream: Some(StreamIdentifier { stream_name: new.stream.into_bytes().into() }),
            revision,
            prepare: position,
            commit: position,
            metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            custom_metadata: new.metadata,
            data: new.data,
        }),
    })
}

fn wrong(last: Option<usize>) -> AppendResp {
    let current = last.map(|last| last as u64);
    let no_stream = current.is_none().then(Empty::default);
    let wrong = Wrong { current, no_stream, expected_any: Some(Empty::default()) };
    AppendResp { result: Some(AppendResult::Wrong(wrong)) }
}

fn deleted(stream: &str) -> Status {
    let said = format!("Event stream '{stream}' is deleted.");
    status(Code::FailedPrecondition, &said, &[("exception", "stream-deleted")])
}
