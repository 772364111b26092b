//! The cases about reading.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::StreamExt;

use super::kit::{
    Decision, Kit, TASKS, backwards, ensure, event_type, grows, is_unsupported, join, positions,
    refuses,
};
use crate::{
    event::{
        Json, MAX_STORED_BYTES, NewEvent, Payload, Position, RecordedEvent, Revision, StreamName,
        Timestamp,
    },
    store::{
        Append, Capability, Delivery, Direction, EventStore, ExpectedRevision, Filter,
        ReadAllOptions, ReadOptions, StoreError, lacking,
    },
};
use ExpectedRevision::{Any, NoStream};

/// Values that programs like to change: numbers beyond what a double holds, spellings, orders,
/// white space, look-alikes of other types.
const ODD_VALUES: &[&str] = &[
    "0",
    "-0",
    "1.0",
    "1E+2",
    "1e400",
    "-1e-400",
    "9007199254740993",
    "123456789012345678901234567890.123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    "null",
    "true",
    "false",
    r#""""#,
    r#"" ""#,
    r#""Zoë 🦀 日本 \u00e9\u00E9 é e\u0301""#,
    r#""\ud83e\udd80""#,
    r#""\u0000 \u001f \b\f\n\r\t \/ \\ \"""#,
    r#""2026-01-01T00:00:00Z""#,
    r#""123""#,
    r#""'; DROP TABLE event; --""#,
    "[]",
    "[ ]",
    "[1,[2,[3,[]]],{}]",
    "{}",
    "{ }",
    r#"{"b":1,"a":2,"":3,"A":4}"#,
    "{ \"a\" : [ 1 ,\t2 ] ,\n\"b\" : { } }",
    r#"{"\u0061":1,"~1/0":2,"a.b":3,"__proto__":4,"é":5}"#,
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{\"deep\":1e400}]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
];

pub(super) async fn payloads_come_back_as_they_went_in(kit: &Kit<'_>) -> Decision {
    let json = |text: &str| Json::parse(text).map_err(|error| error.to_string());
    let kind = event_type("SomethingHappened")?;
    let mut events = Vec::new();
    for value in ODD_VALUES {
        // In the profile's shape, by itself, and as metadata.
        events.push(NewEvent::new(kind.clone(), kit.payload(value)?));
        events.push(NewEvent::new(kind.clone(), json(value)?));
        let metadata = json(&format!("{{\"correlation\" : \"c-1\",\"about\":{value}}}"))?;
        events.push(NewEvent::new(kind.clone(), kit.payload(value)?).with_metadata(metadata));
    }
    events.push(kit.event(0)?.with_metadata(json("{}")?));
    let long = format!("\"{}\"", "long é ".repeat(150_000));
    events.push(NewEvent::new(kind.clone(), kit.payload(&long)?));
    let many: Vec<String> = (0..5_000).map(|i| format!("\"key{i}\":{i}")).collect();
    events.push(NewEvent::new(kind.clone(), json(&format!("{{{}}}", many.join(",")))?));

    let bytes: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0],
        (0..=255).collect(),
        b"{\"not\": \"JSON, though it looks like it\"}".to_vec(),
        "text é".as_bytes().to_vec(),
        vec![0xFF; 100_000],
    ];
    let bytes: Vec<NewEvent> = bytes
        .into_iter()
        .map(|bytes| NewEvent::new(kind.clone(), Payload::Bytes(bytes.into())))
        .collect();
    let stream = kit.stream("a")?;
    if kit.has(Capability::Bytes) {
        let metadata = json("{\"kind\":\"bytes\"}")?;
        events.extend(bytes.iter().map(|event| {
            NewEvent { id: crate::event::EventId::random(), ..event.clone() }
                .with_metadata(metadata.clone())
        }));
        events.extend(bytes);
    } else {
        let append = Append::new(stream.clone(), Any, bytes);
        is_unsupported(&kit.refused(vec![append]).await?, Capability::Bytes)?;
    }
    let events = append_what_is_kept(kit, &stream, events).await?;
    kit.holds(&stream, &events).await?;
    if kit.has(Capability::ReadAll) {
        let found = kit.read_all(ReadAllOptions::default()).await?;
        ensure!(found.len() == events.len(), "read_all returns {} events", found.len());
        events.iter().zip(&found).try_for_each(|(event, found)| kit.same(event, found))?;
    }
    the_largest_is_kept_or_refused(kit, json(&format!("\"{}\"", "x".repeat(MAX_STORED_BYTES - 2)))?)
        .await
}

/// What is as large as it may be is kept whole. Where a store's own limit is lower, or a layer needs room around
/// it, it is refused as too large, and nothing else goes wrong.
async fn the_largest_is_kept_or_refused(kit: &Kit<'_>, largest: Json) -> Decision {
    let stream = kit.stream("largest")?;
    let event = NewEvent::new(event_type("SomethingHappened")?, largest);
    let append = Append::new(stream.clone(), NoStream, vec![event.clone()]);
    match kit.store.append(vec![append]).await {
        Ok(_) => kit.holds(&stream, &[event]).await,
        Err(StoreError::Invalid(_)) => kit.holds(&stream, &[]).await,
        Err(other) => {
            Err(format!("for {MAX_STORED_BYTES} bytes Invalid was due and came: {other}"))
        }
    }
}

pub(super) async fn recorded_is_when_it_was_written(kit: &Kit<'_>) -> Decision {
    // The clocks of two machines differ; nobody's is a day wrong.
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let stream = kit.stream("a")?;
    let before = Timestamp::now().as_micros();
    for _ in 0..3 {
        kit.append(&stream, Any, kit.events(2)?).await?;
    }
    let after = Timestamp::now().as_micros();
    let times = |events: Vec<RecordedEvent>| -> Vec<Timestamp> {
        events.into_iter().map(|event| event.recorded).collect()
    };
    let written = times(kit.read(&stream).await?);
    for at in &written {
        ensure!(
            (before - DAY..=after + DAY).contains(&at.as_micros()),
            "an event that is written now was recorded at {at}"
        );
    }
    let is_same = |how: &str, found: Vec<Timestamp>| {
        ensure!(found == written, "{how}: recorded at {found:?}, and before at {written:?}");
        Ok(())
    };
    // What takes the time of reading for that of writing is seen by a clock that went on.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    is_same("read again", times(kit.read(&stream).await?))?;
    if kit.has(Capability::ReadBackwards) {
        let mut found = times(kit.read_with(&stream, backwards()).await?);
        found.reverse();
        is_same("read backwards", found)?;
    }
    if kit.has(Capability::ReadAll) {
        is_same("read_all", times(kit.read_all(ReadAllOptions::default()).await?))?;
    }
    if kit.has(Capability::Subscribe) {
        let filter = Filter { stream_prefixes: vec![kit.name("a")], event_types: Vec::new() };
        let subscription = kit.store.subscribe(None, filter);
        let deliveries: Vec<_> = subscription.take(written.len()).collect().await;
        let events = deliveries.into_iter().map(|delivery| match delivery {
            Ok(Delivery::Event(event)) => Ok(event),
            Ok(Delivery::CaughtUp) => Err("CaughtUp came before all events".to_owned()),
            Err(error) => Err(format!("the subscription failed: {error}")),
        });
        is_same("subscribed", times(events.collect::<Decision<_>>()?))?;
    }
    Ok(())
}

/// Appends to an empty stream, and returns the events that were accepted: those that the store need
/// not keep, because of what it lacks, may be refused.
async fn append_what_is_kept(
    kit: &Kit<'_>,
    stream: &StreamName,
    events: Vec<NewEvent>,
) -> Decision<Vec<NewEvent>> {
    let (mut kept, mut doubtful) = (Vec::new(), Vec::new());
    for event in events {
        let mut parts = event.data.as_json().into_iter().chain(&event.metadata);
        match parts.find_map(|json| lacking(json, kit.store.capabilities())) {
            None => kept.push(event),
            Some(capability) => doubtful.push((event, capability)),
        }
    }
    kit.append(stream, NoStream, kept.clone()).await?;
    // A layer may well keep them, sealed, over a store that could not.
    for (event, lacked) in doubtful {
        let append = Append::new(stream.clone(), Any, vec![event.clone()]);
        match kit.store.append(vec![append]).await {
            Ok(_) => kept.push(event),
            Err(error) => is_unsupported(&error, lacked)?,
        }
    }
    Ok(kept)
}

fn is_same(what: &str, found: &[RecordedEvent], wanted: &[RecordedEvent]) -> Decision {
    ensure!(
        found == wanted,
        "{what}: expected the events at {:?}, came those at {:?}",
        positions(wanted),
        positions(found)
    );
    Ok(())
}

fn reversed(events: &[RecordedEvent]) -> Vec<RecordedEvent> {
    events.iter().rev().cloned().collect()
}

pub(super) async fn read_is_in_order(kit: &Kit<'_>) -> Decision {
    let (stream, other) = (kit.stream("a")?, kit.stream("b")?);
    // More than any store's page.
    let mut events = Vec::new();
    for _ in 0..12 {
        let some = kit.events(100)?;
        kit.append(&stream, Any, some.clone()).await?;
        kit.append(&other, Any, kit.events(1)?).await?;
        events.extend(some);
    }
    kit.holds(&stream, &events).await?;
    let all = kit.read(&stream).await?;
    let revisions: Vec<Revision> = all.iter().map(|event| event.revision).collect();
    ensure!(grows(&revisions), "revisions do not grow: {revisions:?}");

    let beyond = Revision(all.last().map_or(0, |last| last.revision.0) + 1);
    let read = async |from, limit| {
        kit.read_with(&stream, ReadOptions { from, limit, ..ReadOptions::default() }).await
    };
    for at in [0, 1, 599, 1_198, 1_199] {
        let from = Some(all[at].revision);
        is_same("from a revision", &read(from, None).await?, &all[at..])?;
        let end = all.len().min(at + 3);
        is_same("from a revision, at most 3", &read(from, Some(3)).await?, &all[at..end])?;
    }
    for limit in [0, 1, 700, 1_200, 5_000, usize::MAX] {
        let end = limit.min(all.len());
        is_same("at most as many", &read(None, Some(limit)).await?, &all[..end])?;
    }
    for from in [beyond, Revision(u64::MAX)] {
        is_same("from beyond the last", &read(Some(from), None).await?, &[])?;
    }
    let unknown = kit.stream("unknown")?;
    ensure!(kit.read(&unknown).await?.is_empty(), "an unknown stream is not empty");

    if !kit.has(Capability::ReadBackwards) {
        return refuses(kit.store.read(&stream, backwards()), Capability::ReadBackwards).await;
    }
    let read = async |from, limit| {
        kit.read_with(&stream, ReadOptions { from, limit, ..backwards() }).await
    };
    is_same("backwards", &read(None, None).await?, &reversed(&all))?;
    for at in [0, 1, 599, 1_199] {
        let wanted = reversed(&all[..=at]);
        let from = Some(all[at].revision);
        is_same("backwards from a revision", &read(from, None).await?, &wanted)?;
        let end = wanted.len().min(2);
        is_same("backwards, at most 2", &read(from, Some(2)).await?, &wanted[..end])?;
    }
    for from in [beyond, Revision(u64::MAX)] {
        let found = read(Some(from), Some(700)).await?;
        is_same("backwards from beyond the last", &found, &reversed(&all)[..700])?;
    }
    is_same("backwards, at most 0", &read(None, Some(0)).await?, &[])?;
    ensure!(
        kit.read_with(&unknown, backwards()).await?.is_empty(),
        "an unknown stream is not empty backwards"
    );
    Ok(())
}

pub(super) async fn read_all_is_in_order(kit: &Kit<'_>) -> Decision {
    let streams = [kit.stream("a")?, kit.stream("b")?, kit.stream("c")?];
    let mut events = Vec::new();
    for round in 0..30 {
        let some = kit.events(1 + round)?;
        kit.append(&streams[round % 3], Any, some.clone()).await?;
        events.extend(some);
    }
    if !kit.has(Capability::ReadAll) {
        let all = kit.store.read_all(ReadAllOptions::default());
        return refuses(all, Capability::ReadAll).await;
    }
    let all = kit.read_all(ReadAllOptions::default()).await?;
    ensure!(all.len() == events.len(), "read_all returns {} of {}", all.len(), events.len());
    events.iter().zip(&all).try_for_each(|(event, found)| kit.same(event, found))?;
    ensure!(grows(&positions(&all)), "positions do not grow: {:?}", positions(&all));
    for stream in &streams {
        let of_stream: Vec<_> =
            all.iter().filter(|event| event.stream == *stream).cloned().collect();
        let found = kit.read(stream).await?;
        is_same("a stream by itself and within read_all", &found, &of_stream)?;
    }

    // Nothing else writes to the fresh store, so that what follows is all the suite's own, up to
    // what a layer may have put before it.
    let read = async |after, limit| {
        kit.read_all(ReadAllOptions { after, limit, ..ReadAllOptions::default() }).await
    };
    for at in [0, 1, 250, all.len() - 1] {
        let after = Some(all[at].position);
        let wanted = &all[at + 1..];
        is_same("after a position", &read(after, None).await?, wanted)?;
        let end = wanted.len().min(7);
        is_same("after a position, at most 7", &read(after, Some(7)).await?, &wanted[..end])?;
    }
    is_same("at most 0", &read(None, Some(0)).await?, &[])?;

    let options = ReadAllOptions { direction: Direction::Backwards, ..ReadAllOptions::default() };
    if !kit.has(Capability::ReadBackwards) {
        return refuses(kit.store.read_all(options), Capability::ReadBackwards).await;
    }
    let read = async |after, limit| kit.read_all(ReadAllOptions { after, limit, ..options }).await;
    is_same("backwards", &read(None, None).await?, &reversed(&all))?;
    for at in [0, 3, 250, all.len() - 1] {
        let wanted = reversed(&all[..at]);
        let after = Some(all[at].position);
        is_same("backwards from a position", &read(after, None).await?, &wanted)?;
        let end = wanted.len().min(3);
        is_same("backwards, at most 3", &read(after, Some(3)).await?, &wanted[..end])?;
    }
    Ok(())
}

pub(super) async fn foreign_positions_are_refused(kit: &Kit<'_>) -> Decision {
    let appended = kit.append(&kit.stream("a")?, Any, kit.events(2)?).await?;
    let ours = appended.position.as_bytes();
    // The same beginning, one byte more and one byte less.
    let (longer, shorter) = ([ours, &[0]].concat(), &ours[..ours.len() - 1]);
    for foreign in [&longer[..], shorter] {
        // There is no position of no byte, nor of 25.
        let Ok(foreign) = Position::of_bytes(foreign) else { continue };
        let is_refusal = |what: &str, error: Option<StoreError>| match error {
            Some(StoreError::ForeignPosition(named)) if named == foreign => Ok(()),
            Some(other) => Err(format!("{what}: ForeignPosition was due and came: {other}")),
            None => Err(format!("{what}: position {foreign} was taken for one of the store's")),
        };
        if kit.has(Capability::ReadAll) {
            for direction in [Direction::Forwards, Direction::Backwards] {
                if direction == Direction::Backwards && !kit.has(Capability::ReadBackwards) {
                    continue;
                }
                let options = ReadAllOptions { after: Some(foreign), direction, limit: None };
                let first = kit.store.read_all(options).next().await;
                is_refusal("read_all", first.and_then(Result::err))?;
            }
        }
        if kit.has(Capability::Subscribe) {
            let first = kit.store.subscribe(Some(foreign), Filter::default()).next().await;
            is_refusal("subscribe", first.and_then(Result::err))?;
        }
    }
    // Of its length, and farther than any store comes.
    let beyond =
        Position::of_bytes(&vec![u8::MAX; ours.len()]).map_err(|error| error.to_string())?;
    if kit.has(Capability::ReadAll) {
        let options = ReadAllOptions { after: Some(beyond), ..ReadAllOptions::default() };
        let found = kit.read_all(options).await?.len();
        ensure!(found == 0, "read_all returned {found} events from beyond the last");
    }
    if kit.has(Capability::Subscribe) {
        match kit.store.subscribe(Some(beyond), Filter::default()).next().await {
            Some(Err(StoreError::ForeignPosition(named))) if named == beyond => {}
            Some(Err(other)) => {
                return Err(format!("subscribe: ForeignPosition was due and came: {other}"));
            }
            _ => return Err("subscribe waits beyond all that the store ever gave".to_owned()),
        }
    }
    Ok(())
}

pub(super) async fn read_all_skips_nothing_in_flight(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::ReadAll) {
        let all = kit.store.read_all(ReadAllOptions::default());
        return refuses(all, Capability::ReadAll).await;
    }
    const APPENDS: usize = 40;
    let running = Arc::new(AtomicUsize::new(TASKS));
    let mut writers = Vec::new();
    for task in 0..TASKS {
        let stream = kit.stream(&format!("w{task}"))?;
        let appends = (0..APPENDS)
            .map(|round| Ok(Append::new(stream.clone(), Any, kit.events(1 + (task + round) % 3)?)))
            .collect::<Decision<Vec<_>>>()?;
        let (store, running) = (Arc::clone(kit.store), Arc::clone(&running));
        writers.push(tokio::spawn(async move {
            let mut result = Ok(());
            for append in appends {
                result = store.append(vec![append]).await.map(drop);
                if result.is_err() {
                    break;
                }
            }
            running.fetch_sub(1, Ordering::SeqCst);
            result
        }));
    }
    // A reader that always goes on behind the last position it saw.
    let mut seen: Vec<RecordedEvent> = Vec::new();
    loop {
        let was_running = running.load(Ordering::SeqCst) > 0;
        let after = seen.last().map(|last| last.position);
        seen.extend(kit.read_all(ReadAllOptions { after, ..ReadAllOptions::default() }).await?);
        ensure!(grows(&positions(&seen)), "positions do not grow while appends run");
        if !was_running {
            break;
        }
    }
    for writer in writers {
        join(writer).await?.map_err(|error| format!("an append failed: {error}"))?;
    }
    let all = kit.read_all(ReadAllOptions::default()).await?;
    let seen_ids: HashSet<_> = seen.iter().map(|event| event.id).collect();
    if let Some(skipped) = all.iter().find(|event| !seen_ids.contains(&event.id)) {
        return Err(format!(
            "the event at position {} appeared after a higher position had been seen",
            skipped.position
        ));
    }
    is_same("read at once and read piece by piece", &seen, &all)
}

pub(super) async fn streams_are_apart(kit: &Kit<'_>) -> Decision {
    let long = |end: &str| format!("{}{end}", "x".repeat(96));
    let written = ["", "x", "X", "xx", "xX", "y", "x-", "x-1", "x_1", "x%", "x%1", "xa1", "1x"];
    // Collations of databases take some of these for equal.
    let beyond_ascii =
        ["\u{e9}", "\u{c9}", "e", "\u{df}", "ss", "\u{434}", "\u{414}", "\u{131}", "i"];
    let tags = written.into_iter().chain(beyond_ascii).map(str::to_owned);
    let tags: Vec<String> = tags.chain([long("1"), long("2"), long("")]).collect();
    let mut events = Vec::new();
    for tag in &tags {
        let event = kit.event(events.len())?;
        kit.append(&kit.stream(tag)?, NoStream, vec![event.clone()]).await?;
        events.push(event);
    }
    for (tag, event) in tags.iter().zip(events) {
        kit.holds(&kit.stream(tag)?, &[event]).await?;
    }
    for tag in ["Y", "x-2", "xb1", "x%%", "\u{e8}", "SS", "\u{436}", &long("3")] {
        kit.holds(&kit.stream(tag)?, &[]).await?;
    }
    Ok(())
}
