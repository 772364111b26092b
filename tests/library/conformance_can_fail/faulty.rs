//! A store in memory, and what can be wrong with it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use oubliette::{
    event::{
        EventId, Json, MAX_STORED_BYTES, NewEvent, Payload, Position, RecordedEvent, Revision,
        StreamName, Timestamp,
    },
    store::{
        Append, Appended, Capabilities, Capability, Current, Delivery, Direction, EventStore,
        EventStoreExt, EventStream, ExpectedRevision, Filter, MemoryStore, ReadAllOptions,
        ReadOptions, StoreError, Subscription,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    // Append
    IgnoresExpectations,
    IgnoresNoStream,
    LiesAboutActual,
    ReportsAnotherExpectation,
    WritesOneByOne,
    StopsHalfWhenDropped,
    WritesStreamsOneByOne,
    ReturnsTheFirstRevision,
    ReturnsPositionsOfItsOwn,
    HasPositionsOfTwoLengths,
    AnswersInTheOrderOfNames,
    SwallowsEventsSilently,
    AcceptsTheMalformed,
    // Retry
    TakesARetryForNew,
    ReportsTheHeadToARetry,
    ConflictsOnARetry,
    CompletesAPartialRetry,
    ForgetsThatARetryIsOne,
    // Capabilities
    PretendsToHaveAll,
    RefusesWhatItPromises,
    // Read
    RoundsNumbers,
    RoundsNumbersInsteadOfRefusing,
    RefusesNumbersThatItHolds,
    LosesNulInsteadOfRefusing,
    DropsWhiteSpace,
    DropsMetadata,
    TakesBytesForText,
    StartsBehindTheRevision,
    IgnoresTheLimit,
    IgnoresTheDirection,
    SwapsNeighbours,
    ShowsPositionsLate,
    ReadsFromThePositionToo,
    TakesAnyPosition,
    TakesAnyPositionToSubscribe,
    WaitsBeyondTheEnd,
    FoldsCase,
    FoldsCaseBeyondAscii,
    CutsNames,
    CannotHoldTheLargest,
    CutsTheLargest,
    RecordsNothing,
    // Subscribe
    LosesTheFirstLiveEvent,
    RepeatsAtTheJoin,
    IsCaughtUpTwice,
    IsNeverCaughtUpWithNothing,
    NeverGoesLive,
    NeverWakesAnybody,
    EndsAfterCatchingUp,
    DeliversTheStartToo,
    IgnoresPrefixes,
    IgnoresTypes,
    // Restore
    ForgetsTheTimes,
    DoesNotMark,
    MarksEverything,
    RestoresStreamByStream,
    RestoresOneByOne,
    RestoresHalfWhenDropped,
    ClosesGaps,
    RefusesGaps,
    TakesAnotherForTheSame,
    TakesARepeatForNew,
    RefusesARepeat,
    RestoresWhatALayerOpened,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) inner: MemoryStore,
    pub(crate) fault: Fault,
    /// The positions that some reader came by.
    pub(crate) met: Arc<Mutex<HashSet<Position>>>,
}

impl Faulty {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Some faults hit only some streams, so that the case gets as far as them.
    async fn head(&self, stream: &StreamName) -> Appended {
        let last = self.inner.last(stream).await.unwrap().unwrap();
        Appended { revision: last.revision, position: last.position, already: true }
    }

    async fn one_by_one(&self, append: Append) -> Result<Vec<Appended>, StoreError> {
        let mut expected = append.expected;
        let mut done = Vec::new();
        for event in append.events {
            done = self
                .inner
                .append(vec![Append::new(append.stream.clone(), expected, vec![event])])
                .await?;
            expected = ExpectedRevision::Any;
            tokio::task::yield_now().await;
        }
        Ok(done)
    }
}

/// Cut or padded until it fits.
fn ours(position: Position) -> Position {
    let mut bytes = position.as_bytes().to_vec();
    bytes.resize(8, 0);
    Position::of_bytes(&bytes).unwrap()
}

/// Still in order, but not of one length.
fn lengthened(position: Position) -> Position {
    let bytes = position.as_bytes();
    if bytes[7] < 4 { position } else { Position::of_bytes(&[bytes, &[0]].concat()).unwrap() }
}

/// The memory store's positions are numbers.
fn shifted(position: Position, by: i64) -> Position {
    Position::number(position.as_number().unwrap().saturating_add_signed(by))
}

/// What is left of a name, where some of it is.
fn folded(fault: Fault, stream: &StreamName) -> StreamName {
    let name = stream.as_str();
    let name = match fault {
        Fault::FoldsCase => name.to_lowercase(),
        Fault::FoldsCaseBeyondAscii => {
            let lower = |c: char| if c.is_ascii() { vec![c] } else { c.to_lowercase().collect() };
            name.chars().flat_map(lower).collect()
        }
        Fault::CutsNames => name.chars().take(64).collect(),
        _ => return stream.clone(),
    };
    StreamName::new(name).unwrap()
}

fn is_the_largest(event: &NewEvent) -> bool {
    event.data.as_bytes().len() == MAX_STORED_BYTES
}

/// The text without white space between its values.
fn compact(text: &str) -> String {
    let (mut within, mut escaped) = (false, false);
    let kept = text.chars().filter(|&c| {
        let keep = within || !c.is_ascii_whitespace();
        within ^= c == '"' && !escaped;
        escaped = within && c == '\\' && !escaped;
        keep
    });
    kept.collect()
}

fn change(fault: Fault, mut event: RecordedEvent) -> RecordedEvent {
    match (fault, &event.data) {
        (
            Fault::RoundsNumbers | Fault::RoundsNumbersInsteadOfRefusing,
            Some(Payload::Json(json)),
        ) => {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(json.as_str()) {
                event.data = Some(Json::of(&value).unwrap().into());
            }
        }
        (Fault::DropsWhiteSpace, Some(Payload::Json(json))) => {
            event.data = Some(Json::parse(&compact(json.as_str())).unwrap().into());
        }
        (Fault::TakesBytesForText, Some(Payload::Bytes(bytes))) => {
            let text = std::str::from_utf8(bytes).ok();
            if let Some(json) = text.and_then(|text| Json::parse(text).ok()) {
                event.data = Some(json.into());
            }
        }
        (Fault::LosesNulInsteadOfRefusing, Some(Payload::Json(json))) => {
            event.data = Some(Json::parse(&json.as_str().replace("\\u0000", "")).unwrap().into());
        }
        (Fault::DropsMetadata, _) => event.metadata = None,
        (Fault::DoesNotMark, _) => event.restored = None,
        (Fault::MarksEverything, _) => event.restored = Some(Timestamp::now()),
        (Fault::RecordsNothing, _) => event.recorded = Timestamp::from_micros(0),
        (Fault::ForgetsTheTimes, _) => event.recorded = Timestamp::now(),
        (Fault::HasPositionsOfTwoLengths, _) => event.position = lengthened(event.position),
        _ => {}
    }
    event
}

#[async_trait]
impl EventStore for Faulty {
    async fn append(&self, mut appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        match self.fault {
            Fault::IgnoresExpectations => {
                for append in &mut appends {
                    append.expected = ExpectedRevision::Any;
                }
            }
            Fault::IgnoresNoStream => {
                for append in &mut appends {
                    if append.expected == ExpectedRevision::NoStream {
                        append.expected = ExpectedRevision::Any;
                    }
                }
            }
            Fault::WritesOneByOne if appends.len() == 1 => {
                return self.one_by_one(appends.remove(0)).await;
            }
            // Polled to its end it is perfect.
            Fault::StopsHalfWhenDropped if appends.iter().all(|a| !a.events.is_empty()) => {
                let mut half = appends.clone();
                half.truncate(1);
                half[0].events.truncate(2);
                let rest = appends[0].events.split_off(half[0].events.len());
                if appends.len() > 1 || rest.is_empty() {
                    appends[0].events.extend(rest);
                } else {
                    self.inner.append(half).await?;
                    tokio::task::yield_now().await;
                    appends[0].events = rest;
                    appends[0].expected = ExpectedRevision::Any;
                }
            }
            Fault::WritesStreamsOneByOne if appends.len() > 1 => {
                let mut done = Vec::new();
                for append in appends {
                    done.extend(self.inner.append(vec![append]).await?);
                }
                return Ok(done);
            }
            Fault::SwallowsEventsSilently => {
                for append in &mut appends {
                    append.events.truncate(4);
                }
            }
            Fault::RefusesNumbersThatItHolds
                if appends.iter().flat_map(|append| &append.events).any(|event| {
                    event.data.as_json().is_some_and(|json| json.as_str().contains("1.0"))
                }) =>
            {
                return Err(StoreError::Unsupported(Capability::LongNumbers));
            }
            Fault::RefusesWhatItPromises if appends.len() > 1 => {
                return Err(StoreError::Unsupported(Capability::AtomicMultiStream));
            }
            Fault::CannotHoldTheLargest
                if appends.iter().flat_map(|append| &append.events).any(is_the_largest) =>
            {
                return Err(StoreError::Backend {
                    source: "the row is too large".into(),
                    temporary: false,
                });
            }
            Fault::CutsTheLargest => {
                for event in appends.iter_mut().flat_map(|append| &mut append.events) {
                    if is_the_largest(event) {
                        event.data = Json::parse("\"x\"").unwrap().into();
                    }
                }
            }
            _ => {
                for append in &mut appends {
                    append.stream = folded(self.fault, &append.stream);
                }
            }
        }
        let asked = appends.clone();
        let result = self.inner.append(appends).await;
        match (self.fault, result) {
            (Fault::LiesAboutActual, Err(StoreError::Conflict { stream, expected, .. })) => {
                let actual = Some(Current::Revision(Revision(4711)));
                Err(StoreError::Conflict { stream, expected, actual })
            }
            (Fault::ReportsAnotherExpectation, Err(StoreError::Conflict { stream, .. })) => {
                let expected = ExpectedRevision::Any;
                Err(StoreError::Conflict { stream, expected, actual: None })
            }
            (Fault::AcceptsTheMalformed, Err(StoreError::Invalid(_))) => Ok(Vec::new()),
            (Fault::ReturnsTheFirstRevision, Ok(mut done)) => {
                for (done, asked) in done.iter_mut().zip(&asked) {
                    done.revision.0 -= asked.events.len() as u64 - 1;
                }
                Ok(done)
            }
            (Fault::ReturnsPositionsOfItsOwn, Ok(mut done)) => {
                done.iter_mut().for_each(|done| done.position = shifted(done.position, 1));
                Ok(done)
            }
            (Fault::HasPositionsOfTwoLengths, Ok(mut done)) => {
                done.iter_mut().for_each(|done| done.position = lengthened(done.position));
                Ok(done)
            }
            (Fault::AnswersInTheOrderOfNames, Ok(done)) => {
                let mut named: Vec<_> =
                    asked.iter().map(|append| &append.stream).zip(done).collect();
                named.sort_by_key(|(stream, _)| (*stream).clone());
                Ok(named.into_iter().map(|(_, done)| done).collect())
            }
            (Fault::TakesARetryForNew, Ok(done)) if done.iter().any(|done| done.already) => {
                let fresh = |event: NewEvent| event.with_id(EventId::random());
                let again = asked.into_iter().map(|append| Append {
                    events: append.events.into_iter().map(fresh).collect(),
                    ..append
                });
                self.inner.append(again.collect()).await
            }
            (Fault::ReportsTheHeadToARetry, Ok(done)) if done.iter().any(|done| done.already) => {
                Ok(vec![self.head(&asked[0].stream).await])
            }
            (Fault::ConflictsOnARetry, Ok(done)) if done.iter().any(|done| done.already) => {
                let Append { stream, expected, .. } = asked[0].clone();
                Err(StoreError::Conflict { stream, expected, actual: None })
            }
            (Fault::ForgetsThatARetryIsOne, Ok(mut done)) => {
                done.iter_mut().for_each(|done| done.already = false);
                Ok(done)
            }
            (Fault::CompletesAPartialRetry, Err(StoreError::IdInUse { id, .. })) => {
                let mut rest = asked;
                rest[0].events.retain(|event| event.id != id);
                let Some(Ok(done)) = self.append(rest).now_or_never() else {
                    return Ok(Vec::new());
                };
                Ok(done)
            }
            (_, result) => result,
        }
    }

    async fn restore(&self, mut events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        match self.fault {
            Fault::RestoresStreamByStream => events.sort_by_key(|event| event.stream.clone()),
            Fault::RestoresOneByOne => {
                let mut done = Vec::new();
                for event in events {
                    done.extend(self.inner.restore(vec![event]).await?);
                }
                return Ok(done);
            }
            // Polled to its end it is perfect.
            Fault::RestoresHalfWhenDropped if events.len() == 10 => {
                let rest = events.split_off(5);
                let done = self.inner.restore(events).await?;
                tokio::task::yield_now().await;
                return Ok([done, self.inner.restore(rest).await?].concat());
            }
            Fault::ClosesGaps => {
                let mut next = HashMap::new();
                for event in &mut events {
                    let last = self.inner.last(&event.stream).await?;
                    let next = next
                        .entry(event.stream.clone())
                        .or_insert(last.map_or(0, |last| last.revision.0 + 1));
                    event.revision.0 = event.revision.0.min(*next);
                    *next = (*next).max(event.revision.0 + 1);
                }
            }
            Fault::RefusesGaps => {
                for event in &events {
                    let last = self.inner.last(&event.stream).await?;
                    if event.revision.0 > last.map_or(0, |last| last.revision.0 + 1) {
                        return Err(StoreError::Invalid("a gap".to_owned()));
                    }
                }
            }
            Fault::TakesAnotherForTheSame => {
                for event in &mut events {
                    let there = self.inner.events(&event.stream, ReadOptions::default()).await?;
                    let there = there.iter().find(|there| there.revision == event.revision);
                    event.id = there.map_or(event.id, |there| there.id);
                }
            }
            Fault::TakesARepeatForNew => {
                let all: Vec<_> = self.inner.read_all(ReadAllOptions::default()).collect().await;
                let known: HashSet<_> = all.iter().flatten().map(|event| event.id).collect();
                for event in &mut events {
                    if known.contains(&event.id) {
                        event.id = EventId::random();
                    }
                }
            }
            Fault::RestoresWhatALayerOpened => {
                for event in &mut events {
                    event.subject = None;
                }
            }
            _ => {}
        }
        let first = events.first().map(|event| (event.id, event.stream.clone()));
        match (self.fault, self.inner.restore(events).await?, first) {
            (Fault::RefusesARepeat, done, Some((id, stream)))
                if done.iter().any(|done| done.already) =>
            {
                Err(StoreError::IdInUse { id, stream })
            }
            (_, done, _) => Ok(done),
        }
    }

    fn read(&self, stream: &StreamName, mut options: ReadOptions) -> EventStream {
        let fault = self.fault;
        let mut stream = stream.clone();
        match fault {
            Fault::StartsBehindTheRevision => {
                if let Some(from) = &mut options.from {
                    from.0 = from.0.saturating_add(1);
                }
            }
            Fault::IgnoresTheLimit => options.limit = None,
            Fault::IgnoresTheDirection => options.direction = Direction::Forwards,
            _ => stream = folded(fault, &stream),
        }
        let events = self.inner.read(&stream, options);
        events.map(move |event| event.map(|event| change(fault, event))).boxed()
    }

    fn read_all(&self, mut options: ReadAllOptions) -> EventStream {
        let fault = self.fault;
        match fault {
            Fault::ReadsFromThePositionToo => {
                options.after = options.after.map(|after| match options.direction {
                    Direction::Forwards => shifted(after, -1),
                    Direction::Backwards => shifted(after, 1),
                });
            }
            Fault::TakesAnyPosition => options.after = options.after.map(ours),
            _ => {}
        }
        let events = self.inner.read_all(options);
        let events = events.map(move |event| event.map(|event| change(fault, event)));
        match fault {
            Fault::SwapsNeighbours => events
                .chunks(2)
                .flat_map(|mut pair| {
                    pair.reverse();
                    stream::iter(pair)
                })
                .boxed(),
            // As where a sequence hands out positions and commits come in another order: some
            // show only to the second reader who comes by.
            Fault::ShowsPositionsLate => {
                let met = Arc::clone(&self.met);
                events
                    .filter(move |event| {
                        let late = event.as_ref().is_ok_and(|event| {
                            event.position.as_number().unwrap() % 3 == 1
                                && met.lock().unwrap().insert(event.position)
                        });
                        futures::future::ready(!late)
                    })
                    .boxed()
            }
            _ => events.boxed(),
        }
    }

    fn subscribe(&self, after: Option<Position>, mut filter: Filter) -> Subscription {
        match self.fault {
            Fault::IgnoresPrefixes => filter.stream_prefixes.clear(),
            Fault::IgnoresTypes => filter.event_types.clear(),
            _ => {}
        }
        let after = match self.fault {
            Fault::TakesAnyPositionToSubscribe => after.map(ours),
            Fault::WaitsBeyondTheEnd => after.filter(|after| *after != Position::number(u64::MAX)),
            Fault::DeliversTheStartToo => after.map(|after| shifted(after, -1)),
            _ => after,
        };
        let deliveries = self.inner.subscribe(after, filter);
        let is_caught_up =
            |delivery: &Result<Delivery, StoreError>| matches!(delivery, Ok(Delivery::CaughtUp));
        match self.fault {
            Fault::LosesTheFirstLiveEvent => deliveries
                .scan(0, move |since, delivery| {
                    *since += usize::from(*since > 0 || is_caught_up(&delivery));
                    futures::future::ready(Some((*since != 2).then_some(delivery)))
                })
                .filter_map(futures::future::ready)
                .boxed(),
            Fault::RepeatsAtTheJoin => deliveries
                .scan(None, move |last, delivery| {
                    let mut out = vec![delivery];
                    match (&out[0], &last) {
                        (Ok(Delivery::CaughtUp), Some(event)) => {
                            out.push(Ok(Delivery::Event(RecordedEvent::clone(event))));
                        }
                        (Ok(Delivery::Event(event)), _) => *last = Some(event.clone()),
                        _ => {}
                    }
                    futures::future::ready(Some(stream::iter(out)))
                })
                .flatten()
                .boxed(),
            Fault::IsCaughtUpTwice => deliveries
                .flat_map(move |delivery| {
                    let twice = is_caught_up(&delivery);
                    stream::iter(
                        [delivery].into_iter().chain(twice.then_some(Ok(Delivery::CaughtUp))),
                    )
                })
                .boxed(),
            // As where one looks for the end only behind something that passed.
            Fault::IsNeverCaughtUpWithNothing => deliveries
                .scan(false, move |passed, delivery| {
                    *passed |= !is_caught_up(&delivery);
                    futures::future::ready(Some((*passed).then_some(delivery)))
                })
                .filter_map(futures::future::ready)
                .boxed(),
            Fault::NeverGoesLive | Fault::EndsAfterCatchingUp => {
                let catching_up = deliveries.scan(false, move |done, delivery| {
                    let before = *done;
                    *done |= is_caught_up(&delivery);
                    futures::future::ready((!before).then_some(delivery))
                });
                if self.is(Fault::NeverGoesLive) {
                    catching_up.chain(stream::pending()).boxed()
                } else {
                    catching_up.boxed()
                }
            }
            Fault::NeverWakesAnybody => {
                let mut deliveries = deliveries;
                stream::poll_fn(move |_| {
                    deliveries.poll_next_unpin(&mut Context::from_waker(Waker::noop()))
                })
                .boxed()
            }
            _ => deliveries,
        }
    }

    fn capabilities(&self) -> Capabilities {
        match self.fault {
            Fault::PretendsToHaveAll => Capabilities::NONE,
            Fault::RoundsNumbersInsteadOfRefusing | Fault::RefusesNumbersThatItHolds => {
                Capabilities::ALL.without(Capability::Verbatim).without(Capability::LongNumbers)
            }
            Fault::LosesNulInsteadOfRefusing => {
                Capabilities::ALL.without(Capability::Verbatim).without(Capability::Nul)
            }
            _ => self.inner.capabilities(),
        }
    }
}
