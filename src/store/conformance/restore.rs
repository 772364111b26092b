//! The cases about restoring what another store recorded.

use std::time::Duration;

use super::kit::{Decision, Kit, ensure, grows, is_unsupported, positions};
use crate::{
    event::{
        Json, MAX_STORED_BYTES, NewEvent, Payload, Position, RecordedEvent, Revision, StreamName,
        Subject, Timestamp,
    },
    store::{
        Appended, Capability, Current, Direction, EventStore, ExpectedRevision, ReadAllOptions,
        ReadOptions, StoreError,
    },
};
use ExpectedRevision::{Any, Exact, NoStream};

/// Checks that a store without the capability says so.
async fn refuses(kit: &Kit<'_>) -> Decision {
    let event = recorded(&kit.stream("a")?, 0, kit.event(0)?);
    is_unsupported(&refused(kit, vec![event]).await?, Capability::Restore)?;
    kit.holds(&kit.stream("a")?, &[]).await
}

/// An event of another store, recorded long ago. Its position is one that this store would not give.
fn recorded(stream: &StreamName, revision: u64, event: NewEvent) -> RecordedEvent {
    let micros = i64::try_from(revision).unwrap_or(0) * 61_000_001 - 86_400_000_000;
    RecordedEvent::plain(
        stream.clone(),
        Revision(revision),
        Position::pair(u64::MAX - revision, 0),
        event.id,
        event.event_type,
        Timestamp::from_micros(micros),
        event.data,
        event.metadata,
    )
}

/// One event for each revision.
fn all_recorded(stream: &StreamName, first: u64, events: &[NewEvent]) -> Vec<RecordedEvent> {
    (first..)
        .zip(events)
        .map(|(revision, event)| recorded(stream, revision, event.clone()))
        .collect()
}

/// Restores what must succeed.
async fn restore(kit: &Kit<'_>, events: Vec<RecordedEvent>) -> Decision<Vec<Appended>> {
    let count = events.len();
    let done = kit.store.restore(events).await;
    let done = done.map_err(|error| format!("a restore that must succeed failed: {error}"))?;
    ensure!(done.len() == count, "a restore of {count} events was answered for {}", done.len());
    Ok(done)
}

/// Restores what must fail.
async fn refused(kit: &Kit<'_>, events: Vec<RecordedEvent>) -> Decision<StoreError> {
    match kit.store.restore(events).await {
        Ok(_) => Err("a restore that must be refused was accepted".to_owned()),
        Err(error) => Ok(error),
    }
}

pub(super) async fn restore_keeps_what_was_recorded(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Restore) {
        return refuses(kit).await;
    }
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let json = |text: &str| Json::parse(text).map_err(|error| error.to_string());
    let mut of_a = kit.events(3)?;
    of_a[1].metadata = Some(json("{\"correlation\":\"c-1\"}")?);
    if kit.has(Capability::Bytes) {
        of_a[2].data = Payload::Bytes([0, 0xff].into());
    }
    let of_b = kit.events(2)?;
    let (in_a, in_b) = (all_recorded(&a, 0, &of_a), all_recorded(&b, 0, &of_b));
    // In the order in which they were recorded, which is not that of the streams.
    let given: Vec<_> = [&in_b[0], &in_a[0], &in_a[1], &in_b[1], &in_a[2]].map(Clone::clone).into();
    let (before, done) = (Timestamp::now(), restore(kit, given.clone()).await?);

    kit.holds(&a, &of_a).await?;
    kit.holds(&b, &of_b).await?;
    let found = [kit.read(&a).await?, kit.read(&b).await?].concat();
    for (event, appended) in given.iter().zip(&done) {
        let id = event.id;
        let found = found.iter().find(|found| found.id == id).ok_or("an event is gone")?;
        ensure!(
            (found.stream.clone(), found.revision) == (event.stream.clone(), event.revision),
            "event {id} was restored to another stream or revision"
        );
        ensure!(
            found.recorded == event.recorded,
            "event {id} was recorded {} and came back as of {}",
            event.recorded,
            found.recorded
        );
        // Clocks of two machines may differ by a little.
        let marked =
            found.restored.is_some_and(|at| at.as_micros() > before.as_micros() - 600_000_000);
        ensure!(marked, "event {id} is not marked with when it was restored: {:?}", found.restored);
        ensure!(
            (appended.revision, appended.position, appended.already)
                == (found.revision, found.position, false),
            "the restore of event {id} was answered with another place than it has"
        );
    }
    let order: Vec<Position> = done.iter().map(|done| done.position).collect();
    ensure!(grows(&order), "positions are not in the order in which events were given: {order:?}");
    if kit.has(Capability::ReadAll) {
        let all = kit.read_all(ReadAllOptions::default()).await?;
        ensure!(positions(&all) == order, "read_all returns restored events in another order");
    }

    // Then life goes on.
    let next = kit.event(7)?;
    let appended = kit.append(&a, Exact(Revision(2)), vec![next.clone()]).await?;
    ensure!(order.iter().all(|old| *old < appended.position), "a new event came before old ones");
    let last = kit.read(&a).await?.pop().ok_or("what was appended is not there")?;
    ensure!(last.id == next.id, "an append after a restore is not the last event");
    ensure!(
        last.restored.is_none() && last.recorded.as_micros() > before.as_micros() - 600_000_000,
        "an append after a restore was recorded {} and is marked {:?}",
        last.recorded,
        last.restored
    );
    let more = recorded(&a, last.revision.0 + 1, kit.event(8)?);
    restore(kit, vec![more]).await?;
    ensure!(restore(kit, Vec::new()).await?.is_empty(), "nothing was restored, and answered");
    Ok(())
}

pub(super) async fn restore_is_all_or_nothing(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Restore) {
        return refuses(kit).await;
    }
    // The last of three streams does not follow.
    let streams = [kit.stream("a")?, kit.stream("b")?, kit.stream("c")?];
    let mut events = Vec::new();
    for stream in &streams {
        events.extend(all_recorded(stream, 0, &kit.events(3)?));
    }
    events[8].revision = Revision(1);
    refused(kit, events.clone()).await?;
    for stream in &streams {
        kit.holds(stream, &[]).await?;
    }
    // What was refused left nothing behind: its events are new still.
    events.truncate(6);
    let done = restore(kit, events).await?;
    ensure!(
        done.iter().all(|done| !done.already),
        "events of a refused restore were taken for known ones"
    );

    let mut dropped = Vec::new();
    for round in 0..30_u64 {
        let (one, other) = (kit.stream(&format!("d{round}"))?, kit.stream(&format!("e{round}"))?);
        let events = [kit.events(5)?, kit.events(5)?];
        let given =
            [all_recorded(&one, 0, &events[0]), all_recorded(&other, 0, &events[1])].concat();
        let moment = Duration::from_micros(round * round * 10);
        let mut future = kit.store.restore(given.clone());
        match round {
            0 => drop(future),
            1..4 => drop(futures::poll!(&mut future)),
            _ => drop(tokio::time::timeout(moment, future).await),
        }
        dropped.push((one, other, events, given));
    }
    for (one, other, events, given) in dropped {
        let found = [kit.read(&one).await?.len(), kit.read(&other).await?.len()];
        ensure!(
            found == [0, 0] || found == [5, 5],
            "of a dropped restore of 5 events each {found:?} were written"
        );
        restore(kit, given).await?;
        kit.holds(&one, &events[0]).await?;
        kit.holds(&other, &events[1]).await?;
    }
    Ok(())
}

pub(super) async fn restore_keeps_gaps(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Restore) {
        return refuses(kit).await;
    }
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let (events, other) = (kit.events(5)?, kit.event(5)?);
    let at = [2, 5, 6, 40, 41];
    let mut given: Vec<_> =
        at.iter().zip(&events).map(|(at, event)| recorded(&a, *at, event.clone())).collect();
    given.insert(1, recorded(&b, 1, other.clone()));
    restore(kit, given[..3].to_vec()).await?;
    let again = restore(kit, given.clone()).await?;
    let already: Vec<bool> = again.iter().map(|done| done.already).collect();
    ensure!(
        already == [true, true, true, false, false, false],
        "of six events, of which three were there, it was answered that these were: {already:?}"
    );

    let revisions = |events: Vec<RecordedEvent>| -> Vec<u64> {
        events.iter().map(|event| event.revision.0).collect()
    };
    let reads = [
        (Direction::Forwards, None, None, &[2, 5, 6, 40, 41][..]),
        (Direction::Forwards, Some(2), None, &[2, 5, 6, 40, 41]),
        (Direction::Forwards, Some(3), Some(2), &[5, 6]),
        (Direction::Forwards, Some(7), None, &[40, 41]),
        (Direction::Forwards, Some(42), None, &[]),
        (Direction::Backwards, None, Some(1), &[41]),
        (Direction::Backwards, Some(39), Some(2), &[6, 5]),
        (Direction::Backwards, Some(6), None, &[6, 5, 2]),
        (Direction::Backwards, Some(1), None, &[]),
    ];
    for (direction, from, limit, wanted) in reads {
        if direction == Direction::Backwards && !kit.has(Capability::ReadBackwards) {
            continue;
        }
        let options = ReadOptions { from: from.map(Revision), direction, limit };
        let found = revisions(kit.read_with(&a, options).await?);
        ensure!(
            found == wanted,
            "of revisions {at:?} a read with {options:?} returned {found:?}, not {wanted:?}"
        );
    }
    let found = revisions(kit.read(&b).await?);
    ensure!(found == [1], "a stream whose first event has revision 1 came back with {found:?}");
    if kit.has(Capability::ReadAll) {
        let all: Vec<_> = kit.read_all(ReadAllOptions::default()).await?;
        let found: Vec<_> = all.iter().map(|event| event.id).collect();
        let wanted: Vec<_> = given.iter().map(|event| event.id).collect();
        ensure!(found == wanted, "read_all does not return them in the order in which they came");
    }

    // Nothing comes into a gap afterwards, and what is appended goes behind the last.
    for (revision, expected) in [(3, Revision(2)), (7, Revision(6)), (41, Revision(40))] {
        match refused(kit, vec![recorded(&a, revision, kit.event(7)?)]).await? {
            StoreError::Conflict { expected: Exact(said), .. } if said == expected => {}
            other => {
                return Err(format!("revision {revision} behind 41: no conflict, but {other}"));
            }
        }
    }
    let next = kit.append(&a, Exact(Revision(41)), vec![kit.event(8)?]).await?;
    ensure!(next.revision == Revision(42), "behind revision 41 came {}", next.revision);
    let next = kit.append(&b, Any, vec![kit.event(9)?]).await?;
    ensure!(next.revision == Revision(2), "behind revision 1 came {}", next.revision);
    Ok(())
}

pub(super) async fn restore_refuses_what_does_not_follow(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Restore) {
        return refuses(kit).await;
    }
    let (a, empty) = (kit.stream("a")?, kit.stream("empty")?);
    let known = kit.events(3)?;
    restore(kit, all_recorded(&a, 0, &known)).await?;
    let new =
        |stream: &StreamName, revision| Ok::<_, String>(recorded(stream, revision, kit.event(9)?));
    let at_two = Some(Revision(2));
    let conflicts = [
        (
            "another event at a revision that is taken",
            vec![new(&a, 2)?],
            Exact(Revision(1)),
            at_two,
        ),
        ("another first event", vec![new(&a, 0)?], NoStream, at_two),
        ("a revision twice", vec![new(&a, 3)?, new(&a, 3)?], Exact(Revision(2)), Some(Revision(3))),
        ("the wrong order", vec![new(&a, 4)?, new(&a, 3)?], Exact(Revision(2)), Some(Revision(4))),
    ];
    for (what, events, wanted, last) in conflicts {
        match refused(kit, events).await? {
            StoreError::Conflict { expected, actual, .. } => {
                let truth = Current::from(last);
                ensure!(expected == wanted, "{what}: a conflict says {expected}, not {wanted}");
                ensure!(
                    actual.is_none_or(|actual| actual == truth),
                    "{what}: a conflict says {actual:?}, the stream is at {truth:?}"
                );
            }
            other => return Err(format!("{what}: a conflict was due and came: {other}")),
        }
    }
    let twice = kit.event(1)?;
    let in_use = [
        ("a known id at another revision", vec![recorded(&a, 3, known[0].clone())]),
        ("a known id in another stream", vec![recorded(&empty, 0, known[0].clone())]),
        ("a new id twice", vec![recorded(&a, 3, twice.clone()), recorded(&a, 4, twice.clone())]),
        ("a known event twice", vec![recorded(&a, 0, known[0].clone()); 2]),
    ];
    for (what, events) in in_use {
        match refused(kit, events).await? {
            StoreError::IdInUse { .. } => {}
            other => return Err(format!("{what}: IdInUse was due and came: {other}")),
        }
    }
    let json = |text: &str| Json::parse(text).map_err(|error| error.to_string());
    // The last of all revisions, behind which nothing could come.
    match refused(kit, vec![new(&a, u64::MAX)?]).await? {
        StoreError::Invalid(_) => {}
        other => return Err(format!("revision 2^64 - 1: Invalid was due and came: {other}")),
    }
    let mut malformed = [new(&a, 3)?, new(&a, 3)?, new(&a, 3)?, new(&a, 3)?];
    malformed[0].metadata = Some(json("[]")?);
    malformed[1].data = Some(json(&format!("\"{}\"", "x".repeat(MAX_STORED_BYTES)))?.into());
    // As a layer hands out what it opened, or could not open.
    malformed[2].data = None;
    malformed[3].subject = Some(Subject::of(&a));
    for event in malformed {
        match refused(kit, vec![new(&a, 3)?, RecordedEvent { revision: Revision(4), ..event }])
            .await?
        {
            StoreError::Invalid(_) => {}
            other => return Err(format!("Invalid was due and came: {other}")),
        }
    }
    kit.holds(&a, &known).await?;
    kit.holds(&empty, &[]).await
}

pub(super) async fn restore_can_be_repeated(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Restore) {
        return refuses(kit).await;
    }
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let events = kit.events(6)?;
    let given = all_recorded(&a, 0, &events);
    let first = restore(kit, given[..2].to_vec()).await?;
    // As after a cut: what is there already, and what is not yet.
    let again = restore(kit, given[..4].to_vec()).await?;
    for (first, again) in first.iter().zip(&again) {
        let same = (first.revision, first.position) == (again.revision, again.position);
        ensure!(same && again.already, "an event that is there was not answered as a retry");
    }
    ensure!(!again[2].already && !again[3].already, "a new event was answered as a retry");
    let before = kit.read(&a).await?;

    // Other bytes: as another store spells them.
    let mut respelled = given[..4].to_vec();
    respelled[1].data = Some(kit.payload("\"respelled\"")?.into());
    let again = restore(kit, respelled).await?;
    ensure!(again.iter().all(|again| again.already), "a repeated restore wrote something");
    ensure!(kit.read(&a).await? == before, "a repeated restore changed something");

    // One that had to come later, because its place was taken.
    let moved = RecordedEvent { revision: Revision(2), ..given[3].clone() };
    let again = restore(kit, vec![moved]).await?;
    ensure!(
        (again[0].revision, again[0].already) == (Revision(3), true),
        "an event that is at a later revision was answered with {:?}",
        again[0]
    );

    // What was appended meanwhile stays where it is.
    let late = kit.event(9)?;
    kit.append(&b, Any, vec![late.clone()]).await?;
    restore(kit, given).await?;
    kit.holds(&a, &events).await?;
    kit.holds(&b, &[late]).await
}
