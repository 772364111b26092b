//! The cases about subscriptions.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{try_join, try_join_all},
};

use super::kit::{
    Decision, Kit, TASKS, ensure, event_type, grows, is_unsupported, join, positions,
};
use crate::{
    event::{EventId, NewEvent, Position, RecordedEvent, StreamName},
    store::{Append, Capability, Delivery, ExpectedRevision, Filter, StoreError, Subscription},
};
use ExpectedRevision::Any;

/// Checks that a store without subscriptions says so.
async fn refuses(kit: &Kit<'_>) -> Decision {
    match kit.store.subscribe(None, Filter::default()).next().await {
        Some(Err(error)) => is_unsupported(&error, Capability::Subscribe),
        _ => Err("the store does not have subscriptions, and pretends to".to_owned()),
    }
}

/// The next delivery that concerns this case: `None` for "caught up".
async fn next(kit: &Kit<'_>, subscription: &mut Subscription) -> Decision<Option<RecordedEvent>> {
    loop {
        match subscription.next().await {
            Some(Ok(Delivery::CaughtUp)) => return Ok(None),
            Some(Ok(Delivery::Event(event))) if kit.is_mine(&event) => return Ok(Some(event)),
            Some(Ok(Delivery::Event(_))) => {}
            Some(Err(error)) => return Err(format!("the subscription failed: {error}")),
            None => return Err("the subscription ended by itself".to_owned()),
        }
    }
}

async fn delivers(kit: &Kit<'_>, subscription: &mut Subscription, events: &[NewEvent]) -> Decision {
    for event in events {
        match next(kit, subscription).await? {
            Some(found) => kit.same(event, &found)?,
            None => return Err(format!("CaughtUp came where event {} was due", event.id)),
        }
    }
    Ok(())
}

async fn is_caught_up(kit: &Kit<'_>, subscription: &mut Subscription) -> Decision {
    match next(kit, subscription).await? {
        None => Ok(()),
        Some(event) => {
            Err(format!("the event at position {} came where CaughtUp was due", event.position))
        }
    }
}

pub(super) async fn subscription_catches_up_then_goes_live(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Subscribe) {
        return refuses(kit).await;
    }
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let mut from_nothing = kit.store.subscribe(None, Filter::default());
    is_caught_up(kit, &mut from_nothing).await?;

    // More than any store's page.
    let mut events = kit.events(700)?;
    let first = kit.append(&a, Any, events[..1].to_vec()).await?;
    kit.append(&a, Any, events[1..].to_vec()).await?;
    let more = kit.events(2)?;
    let last = kit.append(&b, Any, more.clone()).await?;
    events.extend(more);

    let mut all = kit.store.subscribe(None, Filter::default());
    delivers(kit, &mut all, &events).await?;
    is_caught_up(kit, &mut all).await?;
    let mut after_first = kit.store.subscribe(Some(first.position), Filter::default());
    delivers(kit, &mut after_first, &events[1..]).await?;
    is_caught_up(kit, &mut after_first).await?;
    let mut after_last = kit.store.subscribe(Some(last.position), Filter::default());
    is_caught_up(kit, &mut after_last).await?;
    delivers(kit, &mut from_nothing, &events).await?;

    // A subscriber that goes away disturbs no other.
    drop(after_first);
    for round in 0..6 {
        let events = kit.events(1 + round % 2)?;
        let stream = if round % 2 == 0 { &a } else { &b };
        let append = kit.append(stream, Any, events.clone());
        // Delivered now: no later append is needed to push it out.
        if round < 3 {
            append.await?;
            for subscription in [&mut all, &mut after_last, &mut from_nothing] {
                delivers(kit, subscription, &events).await?;
            }
        } else {
            // They wait already when the append begins, and must be woken.
            let waiting = [&mut all, &mut after_last, &mut from_nothing]
                .map(|subscription| delivers(kit, subscription, &events));
            let late = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                append.await
            };
            try_join(try_join_all(waiting), late).await?;
        }
    }
    Ok(())
}

pub(super) async fn subscription_joins_without_gap_or_repeat(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Subscribe) {
        return refuses(kit).await;
    }
    const APPENDS: usize = 40;
    const SUBSCRIBERS: usize = 6;
    let before = kit.append(&kit.stream("before")?, Any, kit.events(3)?).await?;
    let mut writers = Vec::new();
    for task in 0..TASKS {
        let stream = kit.stream(&format!("w{task}"))?;
        let appends = (0..APPENDS)
            .map(|round| Ok(Append::new(stream.clone(), Any, kit.events(1 + (task + round) % 3)?)))
            .collect::<Decision<Vec<_>>>()?;
        let store = Arc::clone(kit.store);
        writers.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            for append in appends {
                let new: Vec<EventId> = append.events.iter().map(|event| event.id).collect();
                store.append(vec![append]).await?;
                ids.extend(new);
                // Leaves room for others on few processors.
                tokio::task::yield_now().await;
            }
            Ok::<_, StoreError>(ids)
        }));
    }

    // Each subscribes a little later than the one before; all of them join amid the appends.
    let last_stream = kit.stream("last")?;
    let subscribers = (0..SUBSCRIBERS).map(|number| {
        let last_stream = &last_stream;
        async move {
            for _ in 0..number * 3 {
                let stream = kit.stream(&format!("pace{number}"))?;
                kit.append(&stream, Any, kit.events(1)?).await?;
            }
            let mut subscription = kit.store.subscribe(Some(before.position), Filter::default());
            let (mut events, mut caught_up, mut last) = (Vec::new(), 0, 0);
            // Two last events: a repeat of the first would come before the second. A subscriber that is slow has caught up
            // only behind them: the last that it finds there belong to what it catches up with.
            while last < 2 || caught_up == 0 {
                match next(kit, &mut subscription).await? {
                    None => caught_up += 1,
                    Some(event) => {
                        last += usize::from(event.stream == *last_stream);
                        events.push(event);
                    }
                }
            }
            ensure!(caught_up == 1, "CaughtUp was delivered {caught_up} times");
            Ok(events)
        }
    });
    let subscribers = try_join_all(subscribers);
    let writing = async {
        let mut ids = Vec::new();
        for writer in writers {
            let written = join(writer).await?;
            ids.extend(written.map_err(|error| format!("an append failed: {error}"))?);
        }
        Ok::<_, String>(ids)
    };
    // The paces of the subscribers end before their subscriptions begin, so that the last
    // events are the last.
    let ending = async {
        let ids = writing.await?;
        let paced = SUBSCRIBERS * (SUBSCRIBERS - 1) / 2 * 3;
        while count(kit, "pace", SUBSCRIBERS).await? < paced {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            kit.append(&last_stream, Any, kit.events(1)?).await?;
        }
        Ok(ids)
    };
    let (seen, ids) = try_join(subscribers, ending).await?;
    for events in &seen {
        ensure!(
            grows(&positions(events)),
            "a subscription repeated or reordered events: positions {:?}",
            first_fall(&positions(events))
        );
        if let Some(id) = ids.iter().find(|id| !events.iter().any(|event| event.id == **id)) {
            return Err(format!("a subscription skipped event {id}"));
        }
        ensure!(
            positions(events) == positions(&seen[0]),
            "two subscriptions delivered different events: {} and {}",
            events.len(),
            seen[0].len()
        );
    }
    Ok(())
}

/// Where positions stop growing.
fn first_fall(positions: &[Position]) -> Option<&[Position]> {
    positions.windows(2).find(|pair| pair[0] >= pair[1])
}

async fn count(kit: &Kit<'_>, tag: &str, streams: usize) -> Decision<usize> {
    let mut events = 0;
    for number in 0..streams {
        events += kit.read(&kit.stream(&format!("{tag}{number}"))?).await?.len();
    }
    Ok(events)
}

pub(super) async fn subscription_filters(kit: &Kit<'_>) -> Decision {
    if !kit.has(Capability::Subscribe) {
        return refuses(kit).await;
    }
    let tags = ["a_1", "a_2", "A_1", "ab1", "a%1", "b_1"];
    let types = [event_type("SomethingHappened")?, event_type("Something")?];
    let mine = Filter { stream_prefixes: vec![kit.name("")], event_types: Vec::new() };
    let filters = [
        mine.clone(),
        Filter { stream_prefixes: vec![kit.name("a_")], ..mine.clone() },
        Filter { stream_prefixes: vec![kit.name("a%")], ..mine.clone() },
        Filter { stream_prefixes: vec![kit.name("A"), kit.name("b_1")], ..mine.clone() },
        Filter { stream_prefixes: vec![kit.name("none")], ..mine.clone() },
        Filter { event_types: vec![types[1].clone()], ..mine.clone() },
        Filter { event_types: types.to_vec(), stream_prefixes: vec![kit.name("a_1")] },
        Filter { event_types: vec![types[0].clone()], stream_prefixes: vec![kit.name("a")] },
        Filter { event_types: vec![event_type("Nothing")?], ..mine },
    ];
    // One round to catch up with and two live ones, so that something too much at the end of
    // the first is met in the second.
    let mut subscriptions: Vec<Subscription> = Vec::new();
    for round in 0..3 {
        let mut all: Vec<(StreamName, NewEvent)> = Vec::new();
        for tag in tags {
            let stream = kit.stream(tag)?;
            let events: Vec<NewEvent> = types
                .iter()
                .map(|kind| Ok(NewEvent { event_type: kind.clone(), ..kit.event(all.len())? }))
                .collect::<Decision<_>>()?;
            kit.append(&stream, Any, events.clone()).await?;
            all.extend(events.into_iter().map(|event| (stream.clone(), event)));
        }
        if round == 0 {
            let subscribe = |filter: &Filter| kit.store.subscribe(None, filter.clone());
            subscriptions = filters.iter().map(subscribe).collect();
        }
        for (filter, subscription) in filters.iter().zip(&mut subscriptions) {
            let passing: Vec<NewEvent> = all
                .iter()
                .filter(|(stream, event)| filter.passes(stream, &event.event_type))
                .map(|(_, event)| event.clone())
                .collect();
            delivers(kit, subscription, &passing)
                .await
                .map_err(|what| format!("with {filter:?}: {what}"))?;
            if round == 0 {
                is_caught_up(kit, subscription).await?;
            }
        }
    }
    Ok(())
}
