//! Subscriptions over servers that go away and come back.

use std::{fs, path::Path, time::Duration};

use futures::StreamExt;
use oubliette::{
    event::Position,
    store::{Delivery, Filter, Purge, ReadAllOptions, Removed, Subscription},
    *,
};
use oubliette_jetstream::JetStreamError;
use tokio::time::{Instant, timeout};

use crate::common::{Proxy, append_of, edit, events, fresh, ids, options, server};

const PATIENCE: Duration = Duration::from_secs(30);

/// The ids of the next events; "caught up" where it comes.
async fn next(
    subscription: &mut Subscription,
    count: usize,
    caught_up: &mut usize,
) -> Vec<EventId> {
    let mut found = Vec::new();
    while found.len() < count {
        match timeout(PATIENCE, subscription.next()).await.unwrap().unwrap().unwrap() {
            Delivery::Event(event) => found.push(event.id),
            Delivery::CaughtUp => *caught_up += 1,
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_a_restart_without_gap_or_repeat() {
    let Some(mut nats) = server() else { return };
    let store = fresh(&nats).await;
    let mut all = events(700);
    store.append(vec![append_of("a", all.clone())]).await.unwrap();
    let mut subscriptions: Vec<Subscription> =
        (0..3).map(|_| store.subscribe(None, Filter::default())).collect();
    let (mut seen, mut caught_up) = (vec![Vec::new(); 3], [0; 3]);
    // Live, in the middle of catching up, and not yet begun when the server goes.
    for (number, count) in [(0, 700), (1, 300)] {
        seen[number] = next(&mut subscriptions[number], count, &mut caught_up[number]).await;
    }
    for round in 0..3 {
        if round == 1 {
            nats.stop();
        } else {
            nats.kill();
        }
        nats.restart();
        let new = events(5);
        all.extend(new.clone());
        store.append(vec![append_of("b", new)]).await.unwrap();
        let (subscription, seen) = (&mut subscriptions[0], &mut seen[0]);
        seen.extend(next(subscription, 5, &mut caught_up[0]).await);
    }
    for ((subscription, seen), caught_up) in
        subscriptions.iter_mut().zip(&mut seen).zip(&mut caught_up)
    {
        let missing = all.len() - seen.len();
        seen.extend(next(subscription, missing, caught_up).await);
        assert_eq!(*seen, ids(&all));
        // Nothing comes twice: the next is the next.
        let more = events(1);
        all.extend(more.clone());
        store.append(vec![append_of("c", more.clone())]).await.unwrap();
        seen.extend(next(subscription, 1, caught_up).await);
        assert_eq!(*seen, ids(&all));
        assert_eq!(*caught_up, 1);
    }
}

/// The connection is cut amid pages, again and again, while events come.
#[tokio::test(flavor = "multi_thread")]
async fn cuts_leave_no_gap() {
    let Some(nats) = server() else { return };
    let proxy = Proxy::before(&nats).await;
    let beyond = options(&proxy.url()).stream("CUTS").prefix("cuts").create().await.unwrap();
    let direct = options(&nats.url()).stream("CUTS").prefix("cuts").open().await.unwrap();
    let mut all = Vec::new();
    for _ in 0..6 {
        let new = events(900);
        all.extend(ids(&new));
        direct.append(vec![append_of("a", new)]).await.unwrap();
    }
    let late: Vec<NewEvent> = events(40);
    all.extend(ids(&late));
    let cutting = tokio::spawn(async move {
        for new in late {
            // Not in the rhythm of anything else.
            tokio::time::sleep(Duration::from_millis(15 + (new.id.0.as_u128() % 20) as u64)).await;
            proxy.cut();
            direct.append(vec![append_of("b", vec![new])]).await.unwrap();
        }
        proxy
    });
    let (mut first, mut caught_up) = (beyond.subscribe(None, Filter::default()), 0);
    assert_eq!(next(&mut first, all.len(), &mut caught_up).await, all);
    if caught_up == 0 {
        assert_eq!(
            timeout(PATIENCE, first.next()).await.unwrap().unwrap().unwrap(),
            Delivery::CaughtUp
        );
        caught_up = 1;
    }
    assert_eq!(caught_up, 1);
    let _proxy = cutting.await.unwrap();
}

/// The server's word wakes it at once; without that it looks by itself, a little later.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_woken_and_also_looks_by_itself() {
    let Some(nats) = server() else { return };
    for told in [true, false] {
        let (stream, prefix) = (format!("WOKEN-{told}"), format!("woken-{told}"));
        let make = || options(&nats.url()).stream(stream.clone()).prefix(prefix.clone());
        let mut store = make().create().await.unwrap();
        if !told {
            let edited = edit(&nats.url(), &stream, serde_json::json!({ "republish": null })).await;
            assert!(edited["error"].is_null(), "{edited}");
            store = make().open().await.unwrap();
        }
        let mut subscription = store.subscribe(None, Filter::default());
        assert_eq!(
            timeout(PATIENCE, subscription.next()).await.unwrap().unwrap().unwrap(),
            Delivery::CaughtUp
        );
        let mut slowest = Duration::ZERO;
        for _ in 0..8 {
            // So that it waits when the event comes.
            tokio::time::sleep(Duration::from_millis(30)).await;
            let began = Instant::now();
            let new = events(1);
            store.append(vec![append_of("a", new.clone())]).await.unwrap();
            assert_eq!(next(&mut subscription, 1, &mut 0).await, ids(&new));
            slowest = slowest.max(began.elapsed());
        }
        // A second is what it would take where the server's word is not heard.
        let most = if told { Duration::from_millis(700) } else { Duration::from_secs(5) };
        assert!(slowest < most, "told {told}: {slowest:?}");
    }
}

/// A server that comes back from a backup has other events at the same sequences: a subscription says so, and does not skip
/// them silently.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_end_is_noticed() {
    let Some(mut nats) = server() else { return };
    let store = fresh(&nats).await;
    store.append(vec![append_of("a", events(5))]).await.unwrap();
    nats.stop();
    let backup = tempfile::tempdir().unwrap();
    copy(&nats.data(), backup.path());
    nats.restart();
    store.append(vec![append_of("a", events(5))]).await.unwrap();
    let mut subscription = store.subscribe(None, Filter::default());
    next(&mut subscription, 10, &mut 0).await;
    assert_eq!(subscription.next().await.unwrap().unwrap(), Delivery::CaughtUp);
    // It is looking while the server is away.
    let waiting = tokio::spawn(async move { timeout(PATIENCE, subscription.next()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    nats.kill();
    fs::remove_dir_all(nats.data()).unwrap();
    copy(backup.path(), &nats.data());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    nats.restart();
    let error = waiting.await.unwrap().unwrap().unwrap().unwrap_err();
    let source = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<JetStreamError>());
    assert!(
        matches!(source, Some(JetStreamError::WentBack { last: 5, seen: 10, .. })),
        "{error:?}"
    );
}

/// The same of an append: its sequence is one that other events had.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_end_acknowledges_nothing_to_who_knew_that() {
    let Some(mut nats) = server() else { return };
    let store = fresh(&nats).await;
    store.append(vec![append_of("a", events(5))]).await.unwrap();
    nats.stop();
    let backup = tempfile::tempdir().unwrap();
    copy(&nats.data(), backup.path());
    nats.restart();
    store.append(vec![append_of("a", events(5))]).await.unwrap();
    nats.kill();
    fs::remove_dir_all(nats.data()).unwrap();
    copy(backup.path(), &nats.data());
    nats.restart();
    for count in [1, 2] {
        let error = store.append(vec![append_of("a", events(count))]).await.unwrap_err();
        let source = std::error::Error::source(&error)
            .and_then(|source| source.downcast_ref::<JetStreamError>());
        let is_told = matches!(source, Some(JetStreamError::WentBack { last: 5, seen: 10, .. }));
        assert!(is_told, "{error:?}");
    }
}

/// A checkpoint of another store, or from before this one was put back: behind it events would be missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_store_never_gave_is_refused() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    let longer = options(&nats.url()).stream("LONGER").prefix("longer").create().await.unwrap();
    let last = store.append(vec![append_of("a", events(3))]).await.unwrap()[0].position;
    let next = longer.append(vec![append_of("a", events(4))]).await.unwrap()[0].position;
    for foreign in [next, Position::number(u64::MAX)] {
        let mut refused = store.subscribe(Some(foreign), Filter::default());
        let error = timeout(PATIENCE, refused.next()).await.unwrap().unwrap().unwrap_err();
        assert!(
            matches!(error, StoreError::ForeignPosition(named) if named == foreign),
            "{error:?}"
        );
        assert!(refused.next().await.is_none());
    }
    let mut behind = store.subscribe(Some(last), Filter::default());
    assert_eq!(behind.next().await.unwrap().unwrap(), Delivery::CaughtUp);
    // That of an event which is gone since.
    let removed = store.read_all(ReadAllOptions { after: None, ..ReadAllOptions::default() });
    let removed: Vec<_> = removed.map(|event| event.unwrap()).collect().await;
    let event = removed.last().unwrap();
    let gone = Removed { stream: event.stream.clone(), revision: event.revision, id: event.id };
    if store.remove(vec![gone]).await.unwrap() == [true] {
        let mut behind = store.subscribe(Some(last), Filter::default());
        assert_eq!(behind.next().await.unwrap().unwrap(), Delivery::CaughtUp);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
