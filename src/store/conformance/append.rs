//! The cases about appending.

use std::{sync::Arc, time::Duration};

use tokio::sync::Barrier;

use super::kit::{Decision, Kit, TASKS, ensure, event_type, grows, is_unsupported, join};
use crate::{
    event::{Json, MAX_STORED_BYTES, NewEvent, Payload, Revision, StreamName},
    store::{Append, Capability, Current, ExpectedRevision, StoreError},
};
use ExpectedRevision::{Any, Exact, NoStream, StreamExists};

pub(super) async fn append_returns_revision_and_position(kit: &Kit<'_>) -> Decision {
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let mut answers = Vec::new();
    for (stream, count) in [(&a, 1), (&a, 3), (&b, 2), (&a, 1), (&b, 1)] {
        let events = kit.events(count)?;
        let last_id = events.last().map(|event| event.id);
        let appended = kit.append(stream, Any, events).await?;
        ensure!(!appended.already, "a first append was answered as a retry");
        let found = kit.read(stream).await?;
        let last = found.last().ok_or("what was appended is not there")?;
        ensure!(Some(last.id) == last_id, "the last event of {stream} is not the one appended");
        ensure!(
            (appended.revision, appended.position) == (last.revision, last.position),
            "the append returned revision {} and position {}, the event has {} and {}",
            appended.revision,
            appended.position,
            last.revision,
            last.position
        );
        answers.push((stream, appended));
    }
    if kit.has(Capability::AtomicMultiStream) {
        // Not in the order in which the streams began, nor in that of their names.
        let c = kit.stream("c")?;
        let streams = [&b, &c, &a];
        let appends = streams
            .iter()
            .map(|stream| Ok(Append::new((*stream).clone(), Any, kit.events(2)?)))
            .collect::<Decision<Vec<_>>>()?;
        for (stream, appended) in streams.iter().zip(kit.append_all(appends).await?) {
            let found = kit.read(stream).await?;
            ensure!(
                found.last().map(|last| (last.revision, last.position))
                    == Some((appended.revision, appended.position)),
                "the answers of an append to several streams are not in the order of its streams"
            );
        }
    }
    let all_positions: Vec<_> = answers.iter().map(|(_, appended)| appended.position).collect();
    ensure!(grows(&all_positions), "positions do not grow: {all_positions:?}");
    ensure!(
        all_positions.windows(2).all(|pair| pair[0].as_bytes().len() == pair[1].as_bytes().len()),
        "positions have several lengths: {all_positions:?}"
    );
    for stream in [&a, &b] {
        let found = kit.read(stream).await?;
        let revisions: Vec<_> = found.iter().map(|event| event.revision).collect();
        let positions: Vec<_> = found.iter().map(|event| event.position).collect();
        ensure!(grows(&revisions), "revisions do not grow: {revisions:?}");
        ensure!(grows(&positions), "positions do not grow within a stream: {positions:?}");
    }
    Ok(())
}

pub(super) async fn append_is_all_or_nothing(kit: &Kit<'_>) -> Decision {
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let taken = kit.event(0)?;
    kit.append(&b, Any, vec![taken.clone()]).await?;
    let first = kit.events(2)?;
    kit.append(&a, Any, first.clone()).await?;

    // The last of five is impossible: its id is in another stream.
    let mut events = kit.events(4)?;
    events.push(taken.clone());
    let again = events[..4].to_vec();
    kit.refused(vec![Append::new(a.clone(), Any, events)]).await?;
    kit.holds(&a, &first).await?;

    // What was refused left nothing behind: the four are new still.
    let appended = kit.append(&a, Any, again.clone()).await?;
    ensure!(!appended.already, "events of a refused append were taken for known ones");
    kit.holds(&a, &[first, again].concat()).await?;
    kit.holds(&b, &[taken]).await
}

pub(super) async fn dropped_append_is_all_or_nothing(kit: &Kit<'_>) -> Decision {
    let mut dropped = Vec::new();
    for number in 0..60_u64 {
        let round = number / 2;
        let mut appends =
            vec![Append::new(kit.stream(&format!("a{number}"))?, NoStream, kit.events(5)?)];
        if number % 2 == 1 && kit.has(Capability::AtomicMultiStream) {
            let stream = kit.stream(&format!("b{number}"))?;
            appends.push(Append::new(stream, NoStream, kit.events(5)?));
        }
        // From "never polled" by way of "polled once" to "nearly or wholly done".
        let future = kit.store.append(appends.clone());
        match round {
            0 => drop(future),
            1..4 => {
                let mut future = future;
                for _ in 0..round {
                    if futures::poll!(&mut future).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            _ => {
                let moment = Duration::from_micros(round * round * 10);
                let _ = tokio::time::timeout(moment, future).await;
            }
        }
        dropped.push(appends);
    }
    for appends in dropped {
        for Append { stream, events, .. } in &appends {
            let found = kit.read(stream).await?.len();
            ensure!(
                found == 0 || found == events.len(),
                "of a dropped append of {} events {found} were written",
                events.len()
            );
        }
        // Asking again with the same ids tells what happened to it, and completes it.
        let (mut known, mut new) = (0, 0);
        for appended in kit.append_all(appends.clone()).await? {
            *(if appended.already { &mut known } else { &mut new }) += 1;
        }
        ensure!(known == 0 || new == 0, "of a dropped append one stream was written, one not");
        for Append { stream, events, .. } in &appends {
            kit.holds(stream, events).await?;
        }
    }
    Ok(())
}

/// Checks the refusal of an append that expects what is not so.
async fn conflicts(
    kit: &Kit<'_>,
    stream: &StreamName,
    expected: ExpectedRevision,
    last: Option<Revision>,
    appends: Vec<Append>,
) -> Decision {
    match kit.refused(appends).await? {
        StoreError::Conflict { stream: found, expected: said, actual } => {
            ensure!(found == *stream, "a conflict on {stream} was reported on {found}");
            ensure!(said == expected, "a conflict says {said}, and {expected} was expected");
            let truth = Current::from(last);
            ensure!(
                actual.is_none_or(|actual| actual == truth),
                "a conflict says {actual:?}, the stream is at {truth:?}"
            );
            Ok(())
        }
        other => Err(format!("a conflict was due and came: {other}")),
    }
}

pub(super) async fn stale_append_writes_nothing(kit: &Kit<'_>) -> Decision {
    let (a, empty) = (kit.stream("a")?, kit.stream("empty")?);
    let events = kit.events(3)?;
    let last = kit.append(&a, Any, events.clone()).await?.revision;
    let first = kit.read(&a).await?.first().map_or(last, |event| event.revision);
    let wrong = [
        (&a, NoStream, Some(last)),
        (&a, Exact(first), Some(last)),
        (&a, Exact(Revision(last.0 + 1)), Some(last)),
        (&a, Exact(Revision(u64::MAX)), Some(last)),
        (&empty, StreamExists, None),
        (&empty, Exact(first), None),
        (&empty, Exact(Revision(0)), None),
        // To some servers a number for "no stream".
        (&empty, Exact(Revision(u64::MAX)), None),
    ];
    for (stream, expected, actual) in wrong {
        let append = Append::new(stream.clone(), expected, kit.events(2)?);
        conflicts(kit, stream, expected, actual, vec![append]).await?;
    }
    if kit.has(Capability::AtomicMultiStream) {
        // In either order: what matches must not be written because it came first.
        for turn in [false, true] {
            let mut appends = vec![
                Append::new(empty.clone(), NoStream, kit.events(2)?),
                Append::new(a.clone(), Exact(first), kit.events(2)?),
            ];
            if turn {
                appends.reverse();
            }
            conflicts(kit, &a, Exact(first), Some(last), appends).await?;
        }
    }
    kit.holds(&a, &events).await?;
    kit.holds(&empty, &[]).await
}

pub(super) async fn expected_revisions_are_honoured(kit: &Kit<'_>) -> Decision {
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let mut all = Vec::new();
    let mut last = Revision(0);
    for (round, expected) in
        [|_| NoStream, |last| Exact(last), |_| StreamExists, |_| Any, |last| Exact(last)]
            .into_iter()
            .enumerate()
    {
        let events = kit.events(1 + round % 2)?;
        all.extend(events.clone());
        last = kit.append(&a, expected(last), events).await?.revision;
    }
    kit.holds(&a, &all).await?;

    let event = kit.event(0)?;
    kit.append(&b, Any, vec![event.clone()]).await?;
    kit.holds(&b, &[event]).await?;

    // Another stream's events move no revision of this one.
    let event = kit.event(1)?;
    all.push(event.clone());
    kit.append(&a, Exact(last), vec![event]).await?;
    kit.holds(&a, &all).await
}

pub(super) async fn one_writer_wins(kit: &Kit<'_>) -> Decision {
    let stream = kit.stream("a")?;
    let mut expected = NoStream;
    let mut winners = Vec::new();
    for round in 0..10 {
        let barrier = Arc::new(Barrier::new(TASKS));
        let mut tasks = Vec::new();
        for _ in 0..TASKS {
            let (store, barrier) = (Arc::clone(kit.store), Arc::clone(&barrier));
            let events = kit.events(2)?;
            let append = Append::new(stream.clone(), expected, events.clone());
            tasks.push(tokio::spawn(async move {
                barrier.wait().await;
                (store.append(vec![append]).await, events)
            }));
        }
        let mut won = Vec::new();
        for task in tasks {
            match join(task).await? {
                (Ok(appended), events) => won.push((appended, events)),
                (Err(StoreError::Conflict { .. }), _) => {}
                (Err(other), _) => return Err(format!("a conflict was due and came: {other}")),
            }
        }
        ensure!(won.len() == 1, "{} of {TASKS} writers won round {round}", won.len());
        for (appended, events) in won {
            expected = Exact(appended.first().ok_or("no answer")?.revision);
            winners.extend(events);
        }
    }
    kit.holds(&stream, &winners).await
}

pub(super) async fn several_streams_need_the_capability(kit: &Kit<'_>) -> Decision {
    let streams = [kit.stream("a")?, kit.stream("b")?, kit.stream("c")?];
    let appends = streams
        .iter()
        .map(|stream| Ok(Append::new(stream.clone(), NoStream, kit.events(2)?)))
        .collect::<Decision<Vec<_>>>()?;
    if !kit.has(Capability::AtomicMultiStream) {
        is_unsupported(&kit.refused(appends).await?, Capability::AtomicMultiStream)?;
        for stream in &streams {
            kit.holds(stream, &[]).await?;
        }
        return Ok(());
    }
    kit.append_all(appends.clone()).await?;
    for Append { stream, events, .. } in &appends {
        kit.holds(stream, events).await?;
    }
    // The last of the three is stale, or holds a known id: nothing in any.
    let taken = appends[0].events[0].clone();
    for (expected, events) in [(NoStream, kit.events(2)?), (Any, vec![kit.event(0)?, taken])] {
        kit.refused(vec![
            Append::new(streams[0].clone(), Any, kit.events(2)?),
            Append::new(streams[1].clone(), StreamExists, kit.events(2)?),
            Append::new(streams[2].clone(), expected, events),
        ])
        .await?;
        for Append { stream, events, .. } in &appends {
            kit.holds(stream, events).await?;
        }
    }
    Ok(())
}

pub(super) async fn malformed_appends_are_refused(kit: &Kit<'_>) -> Decision {
    let stream = kit.stream("a")?;
    let of = |events| vec![Append::new(stream.clone(), Any, events)];
    let invalid = |what: &str, error: &StoreError| match error {
        StoreError::Invalid(_) => Ok(()),
        other => Err(format!("{what}: Invalid was due and came: {other}")),
    };
    let json = |text: &str| Json::parse(text).map_err(|error| error.to_string());
    invalid("no streams", &kit.refused(Vec::new()).await?)?;
    invalid("no events", &kit.refused(of(Vec::new())).await?)?;
    if kit.has(Capability::AtomicMultiStream) {
        let twice = [of(kit.events(1)?), of(kit.events(1)?)].concat();
        invalid("the same stream twice", &kit.refused(twice).await?)?;
        let one_without =
            [of(kit.events(1)?), vec![Append::new(kit.stream("b")?, Any, Vec::new())]].concat();
        invalid("no events for one of two streams", &kit.refused(one_without).await?)?;
        kit.holds(&kit.stream("b")?, &[]).await?;
    }
    // Quotes and what the profile puts around make it longer yet.
    let long = kit.payload(&format!("\"{}\"", "x".repeat(MAX_STORED_BYTES - 1)))?;
    let long = NewEvent::new(event_type("TooLong")?, long);
    invalid("a payload too long", &kit.refused(of(vec![kit.event(0)?, long])).await?)?;
    let bytes = Payload::Bytes(vec![0; MAX_STORED_BYTES + 1].into());
    let bytes = NewEvent::new(event_type("TooLong")?, bytes);
    if kit.has(Capability::Bytes) {
        invalid("bytes too long", &kit.refused(of(vec![bytes])).await?)?;
    }
    for metadata in ["[]", "\"text\"", "1", "null", "[{}]"] {
        let event = kit.event(0)?.with_metadata(json(metadata)?);
        invalid("metadata that is no object", &kit.refused(of(vec![event])).await?)?;
    }
    kit.holds(&stream, &[]).await
}
