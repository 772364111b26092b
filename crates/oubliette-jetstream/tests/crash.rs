//! Servers that are killed, stand still, or are cut off: nothing acknowledged is lost, nothing is doubled, and no event
//! arrives after its append was answered with an error.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use oubliette::{store::Append, *};
use tokio::time::{sleep, timeout};

use crate::common::{Proxy, append_of, event, events, fresh, ids, ids_of, name, options, server};

#[tokio::test(flavor = "multi_thread")]
async fn kills_amid_appends_lose_and_double_nothing() {
    let Some(mut nats) = server() else { return };
    let store = fresh(&nats).await;
    const WRITERS: usize = 4;
    let (done, written) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (store, done, written) = (store.clone(), Arc::clone(&done), Arc::clone(&written));
        writers.push(tokio::spawn(async move {
            let (own, other) = (format!("w{writer}"), format!("x{writer}"));
            let (mut expected, mut in_own, mut in_other) =
                (ExpectedRevision::NoStream, Vec::new(), Vec::new());
            while done.load(Ordering::SeqCst) == 0 || in_own.len() < 30 {
                // One message, a batch, and a batch over two streams.
                let round = in_own.len() % 3;
                let new = events(1 + round);
                in_own.extend(ids(&new));
                let mut appends = vec![Append::new(name(&own), expected, new)];
                if round == 2 {
                    let new = events(2);
                    in_other.extend(ids(&new));
                    appends.push(append_of(&other, new));
                }
                let answers = store.append(appends).await.unwrap();
                expected = ExpectedRevision::Exact(answers[0].revision);
                written.fetch_add(1, Ordering::SeqCst);
            }
            (own, in_own, other, in_other, expected)
        }));
    }
    for _ in 0..4 {
        let before = written.load(Ordering::SeqCst);
        while written.load(Ordering::SeqCst) < before + 15 {
            sleep(Duration::from_millis(2)).await;
        }
        nats.kill();
        nats.restart();
    }
    done.store(1, Ordering::SeqCst);
    for writer in writers {
        let (own, in_own, other, in_other, last) = writer.await.unwrap();
        assert_eq!(ids_of(&store, &own).await, in_own);
        assert_eq!(ids_of(&store, &other).await, in_other);
        let found = store.last(&name(&own)).await.unwrap().unwrap();
        assert_eq!(ExpectedRevision::Exact(found.revision), last);
    }
}

/// The server stores, and its answer is lost with the connection.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_found_out() {
    let Some(nats) = server() else { return };
    let (proxy, plain) = (Proxy::before(&nats).await, options(&nats.url()));
    let beyond = options(&proxy.url()).stream("LOST").prefix("lost").create().await.unwrap();
    let direct = plain.stream("LOST").prefix("lost").open().await.unwrap();
    let mut all = Vec::new();
    let mut last = None;
    for round in 0..6 {
        let new = events(1 + round % 3);
        all.extend(ids(&new));
        proxy.mute(true);
        let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let (store, append) = (beyond.clone(), Append::new(name("a"), expected, new));
        let appending = tokio::spawn(async move { store.append(vec![append]).await });
        while ids_of(&direct, "a").await.len() < all.len() {
            sleep(Duration::from_millis(5)).await;
        }
        // It was stored, and is not known to be.
        sleep(Duration::from_millis(50)).await;
        assert!(!appending.is_finished());
        proxy.mute(false);
        proxy.cut();
        let answer = appending.await.unwrap().unwrap()[0];
        let found = direct.last(&name("a")).await.unwrap().unwrap();
        assert_eq!((answer.revision, answer.position), (found.revision, found.position));
        assert_eq!(ids_of(&direct, "a").await, all);
        last = Some(found.revision);
    }
}

/// Another writer comes in between: the one whose answer is lost is told what is so.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_before_the_message_arrives_ends_in_a_conflict_or_in_success() {
    let Some(nats) = server() else { return };
    let proxy = Proxy::before(&nats).await;
    let beyond = options(&proxy.url()).stream("CUT").prefix("cut").create().await.unwrap();
    let direct = options(&nats.url()).stream("CUT").prefix("cut").open().await.unwrap();
    let mut won = Vec::new();
    let mut expected = ExpectedRevision::NoStream;
    for round in 0..20 {
        let (ours, theirs) = (events(1 + round % 2), events(1 + round % 3));
        let (store, append) = (beyond.clone(), Append::new(name("a"), expected, ours.clone()));
        let appending = tokio::spawn(async move { store.append(vec![append]).await });
        if round % 2 == 0 {
            proxy.cut();
        }
        let their_answer =
            direct.append(vec![Append::new(name("a"), expected, theirs.clone())]).await;
        if round % 2 == 1 {
            proxy.cut();
        }
        let (winner, answer) = match (appending.await.unwrap(), their_answer) {
            (Ok(answer), Err(StoreError::Conflict { .. })) => (ours, answer),
            (Err(StoreError::Conflict { .. }), Ok(answer)) => (theirs, answer),
            other => panic!("{other:?}"),
        };
        won.extend(ids(&winner));
        expected = ExpectedRevision::Exact(answer[0].revision);
        assert_eq!(ids_of(&direct, "a").await, won);
    }
}

/// A server that stands still has the message in its socket's buffer, and stores it when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_waits_for_a_server_that_stands_still() {
    let Some(nats) = server() else { return };
    let store = options(&nats.url()).patience(Duration::from_secs(1)).create().await.unwrap();
    store.append(vec![append_of("a", events(1))]).await.unwrap();
    nats.freeze();
    let (dropped, kept) = (events(2), events(1));
    // Its caller goes away: whether it is written is then unknown, and a retry tells.
    let given_up =
        timeout(Duration::from_millis(300), store.append(vec![append_of("b", dropped.clone())]))
            .await;
    assert!(given_up.is_err());
    let waiting = store.clone();
    let append = append_of("c", kept.clone());
    let waiting = tokio::spawn(async move { waiting.append(vec![append]).await });
    // Longer than an answer is waited for, and than the store's patience.
    sleep(Duration::from_secs(7)).await;
    assert!(!waiting.is_finished(), "no error while the message may still be stored");
    nats.thaw();
    waiting.await.unwrap().unwrap();
    let again = store.append(vec![append_of("b", dropped.clone())]).await.unwrap();
    assert_eq!(ids_of(&store, "b").await, ids(&dropped));
    assert_eq!(ids_of(&store, "c").await, ids(&kept));
    assert_eq!(store.last(&name("b")).await.unwrap().unwrap().revision, again[0].revision);
}

/// Without a connection nothing is sent, also not later, and the caller is told so.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_without_a_connection_fails_and_arrives_never() {
    let Some(mut nats) = server() else { return };
    let store = options(&nats.url()).patience(Duration::from_millis(500)).create().await.unwrap();
    store.append(vec![append_of("a", events(1))]).await.unwrap();
    nats.kill();
    // Until the client has noticed, a message may be on its way, and is waited for.
    sleep(Duration::from_millis(500)).await;
    for new in [vec![event(1)], events(3)] {
        let refused = store.append(vec![append_of("b", new)]).await.unwrap_err();
        assert!(refused.is_temporary(), "{refused:?}");
        let told = std::error::Error::source(&refused).unwrap().to_string();
        assert!(told.contains("nothing was sent"), "{told}");
    }
    let refused = store.events(&name("a"), ReadOptions::default()).await.unwrap_err();
    assert!(refused.is_temporary(), "{refused:?}");
    nats.restart();
    while store.append(vec![append_of("c", events(1))]).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(ids_of(&store, "b").await, []);
    assert_eq!(ids_of(&store, "a").await.len(), 1);
}
