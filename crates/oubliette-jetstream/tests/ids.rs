//! Retries: recognised by the server, across processes, streams and restarts.

use std::sync::Arc;

use oubliette::{store::Append, *};

use crate::common::{append_of, event, events, fresh, ids, ids_of, name, options, server};

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_known_after_a_kill_and_on_another_stream() {
    let Some(mut nats) = server() else { return };
    let store = fresh(&nats).await;
    let (one, three) = (events(1), events(3));
    let first = store.append(vec![append_of("a", one.clone())]).await.unwrap()[0];
    let batch =
        store.append(vec![append_of("a", three.clone()), append_of("b", events(2))]).await.unwrap()
            [0];
    // The server's index is made of the messages: nothing of it has to survive.
    nats.kill();
    nats.restart();
    for expected in
        [ExpectedRevision::NoStream, ExpectedRevision::Any, ExpectedRevision::Exact(batch.revision)]
    {
        let again =
            store.append(vec![Append::new(name("a"), expected, one.clone())]).await.unwrap()[0];
        assert_eq!(
            (again.revision, again.position, again.already),
            (first.revision, first.position, true)
        );
        let again =
            store.append(vec![Append::new(name("a"), expected, three.clone())]).await.unwrap()[0];
        assert_eq!(
            (again.revision, again.position, again.already),
            (batch.revision, batch.position, true)
        );
        for refused in [
            one.clone(),
            three.clone(),
            vec![event(9), three[1].clone()],
            vec![three[2].clone(), event(9)],
        ] {
            let refused = store.append(vec![Append::new(name("c"), expected, refused)]).await;
            assert!(matches!(refused, Err(StoreError::IdInUse { .. })), "{refused:?}");
        }
    }
    assert_eq!(ids_of(&store, "a").await, ids(&[one, three].concat()));
    assert_eq!(ids_of(&store, "c").await, []);
}

/// Each of two clients writes the same events at the same time, and other events that expect the same.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_one_store() {
    let Some(nats) = server() else { return };
    let one = options(&nats.url());
    let (stream, prefix) = ("SHARED", "shared");
    let one = Arc::new(one.stream(stream).prefix(prefix).create().await.unwrap());
    let other = Arc::new(options(&nats.url()).stream(stream).prefix(prefix).open().await.unwrap());
    let mut written = Vec::new();
    let mut expected = ExpectedRevision::NoStream;
    for round in 0..30 {
        let same = events(1 + round % 3);
        let mut tasks = Vec::new();
        for store in [&one, &other, &one, &other] {
            let (store, append) =
                (Arc::clone(store), Append::new(name("a"), expected, same.clone()));
            tasks.push(tokio::spawn(async move { store.append(vec![append]).await }));
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap().unwrap()[0]);
        }
        assert_eq!(answers.iter().filter(|answer| !answer.already).count(), 1, "{answers:?}");
        assert!(answers.windows(2).all(|pair| pair[0].revision == pair[1].revision), "{answers:?}");
        written.extend(same);

        let next = ExpectedRevision::Exact(answers[0].revision);
        let mut tasks = Vec::new();
        for store in [&one, &other] {
            let (store, events) = (Arc::clone(store), events(1 + round % 2));
            let append = Append::new(name("a"), next, events.clone());
            tasks.push(tokio::spawn(async move { (store.append(vec![append]).await, events) }));
        }
        let mut winners = 0;
        for task in tasks {
            match task.await.unwrap() {
                (Ok(appended), events) => {
                    winners += 1;
                    expected = ExpectedRevision::Exact(appended[0].revision);
                    written.extend(events);
                }
                (Err(StoreError::Conflict { actual, .. }), _) => assert!(actual.is_some()),
                (Err(other), _) => panic!("{other}"),
            }
        }
        assert_eq!(winners, 1);
    }
    assert_eq!(ids_of(&*one, "a").await, ids(&written));
    assert_eq!(ids_of(&*other, "a").await, ids(&written));
}

/// A stream that must exist grows all the time: it is found to exist all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_must_exist_may_grow_meanwhile() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    store.append(vec![append_of("a", events(1))]).await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..4 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                let expected = if task % 2 == 0 {
                    ExpectedRevision::StreamExists
                } else {
                    ExpectedRevision::Any
                };
                let append = Append::new(name("a"), expected, events(1 + round % 2));
                store.append(vec![append]).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(ids_of(&store, "a").await.len(), 1 + 4 * 30);
}
