//! Servers that are killed, connections that are lost.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use oubliette::{
    erasure::ErasureError,
    event::{EventId, NewEvent, Position, RecordedEvent, Revision, Subject, Timestamp},
    store::{Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter},
};
use oubliette_postgres::{Options, PostgresStore};
use oubliette_servers::Postgres;

use crate::world::{event, everything, layer, postgres, stream};

/// Appends from many tasks until it is told to end; each append is tried again by its ids until it is acknowledged.
async fn write(store: impl EventStore + Clone, end: Arc<AtomicBool>) -> Vec<EventId> {
    let mut tasks = Vec::new();
    for writer in 0..8 {
        let (store, end) = (store.clone(), Arc::clone(&end));
        tasks.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while !end.load(Ordering::Relaxed) {
                let events: Vec<NewEvent> = (0..1 + writer % 3).map(|_| event("{}")).collect();
                let ids = events.iter().map(|event| event.id);
                let name = stream(&format!("user-{}", writer % 5));
                loop {
                    match store.append_to(&name, ExpectedRevision::Any, events.clone()).await {
                        Ok(_) => break,
                        Err(error) if error.is_temporary() => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                acknowledged.extend(ids);
            }
            acknowledged
        }));
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    acknowledged
}

async fn each_is_there_once(store: &dyn EventStore, acknowledged: &[EventId]) {
    let all = everything(store).await;
    let ids: HashSet<EventId> = all.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), all.len(), "an event is there twice");
    assert_eq!(ids, acknowledged.iter().copied().collect(), "lost, or not acknowledged");
    let mut next: HashMap<&str, u64> = HashMap::new();
    for event in &all {
        let next = next.entry(event.stream.as_str()).or_default();
        assert_eq!(event.revision.0, *next);
        *next += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let Some(postgres) = postgres() else { return };
    let store = PostgresStore::create(&postgres.database()).await.unwrap();
    goes_through_kills(postgres, store).await;
}

pub(crate) async fn goes_through_kills(mut postgres: Postgres, store: impl EventStore + Clone) {
    let mut deliveries = store.subscribe(None, Filter::default());
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tokio::spawn({
        let delivered = Arc::clone(&delivered);
        async move {
            while let Some(delivery) = deliveries.next().await {
                if let Delivery::Event(event) = delivery.unwrap() {
                    delivered.lock().unwrap().push(event);
                }
            }
        }
    });
    let end = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write(store.clone(), Arc::clone(&end)));
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(300 + round * 130)).await;
        postgres = tokio::task::spawn_blocking(move || {
            postgres.kill();
            postgres.restart();
            postgres
        })
        .await
        .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    end.store(true, Ordering::Relaxed);
    let acknowledged = writing.await.unwrap();
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    each_is_there_once(&store, &acknowledged).await;
    // The subscription went through it all, without gap or repeat.
    let all = everything(&store).await;
    for _ in 0..200 {
        if delivered.lock().unwrap().len() >= all.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(*delivered.lock().unwrap() == all);
    subscriber.abort();
}

/// The server's processes are ended while they append, so that answers are lost. Each append is answered all the same, and
/// what it says is so.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_lost_is_asked_for_and_never_doubled() {
    let Some(postgres) = postgres() else { return };
    let store = PostgresStore::create(&postgres.database()).await.unwrap();
    goes_through_lost_answers(postgres, store).await;
}

pub(crate) async fn goes_through_lost_answers(postgres: Postgres, store: impl EventStore + Clone) {
    let end = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write(store.clone(), Arc::clone(&end)));
    let postgres = tokio::task::spawn_blocking(move || {
        for _ in 0..40 {
            postgres.sql(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'oubliette'",
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        postgres
    })
    .await
    .unwrap();
    end.store(true, Ordering::Relaxed);
    let acknowledged = writing.await.unwrap();
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    each_is_there_once(&store, &acknowledged).await;
    drop(postgres);
}

/// The server's processes are ended while they restore. Each restore is answered, and all is there once, as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_answer_was_lost_is_asked_for_and_never_doubled() {
    let Some(postgres) = postgres() else { return };
    let store = PostgresStore::create(&postgres.database()).await.unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let restoring = tokio::spawn({
        let (store, end) = (store.clone(), Arc::clone(&end));
        async move {
            let mut restored = Vec::new();
            while !end.load(Ordering::Relaxed) {
                let one = |n: u64| {
                    let NewEvent { id, event_type, data, metadata, .. } = event("{}");
                    let (name, at) = (stream(&format!("user-{}", n % 3)), Position::number(0));
                    let revision = Revision(restored.len() as u64 / 6 * 2 + n / 3);
                    let recorded = Timestamp::from_micros(n as i64);
                    RecordedEvent::plain(
                        name, revision, at, id, event_type, recorded, data, metadata,
                    )
                };
                let some: Vec<RecordedEvent> = (0..6).map(one).collect();
                loop {
                    match store.restore(some.clone()).await {
                        Ok(done) => break assert_eq!(done.len(), 6),
                        Err(error) if error.is_temporary() => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                restored.extend(some.iter().map(|event| event.id));
            }
            restored
        }
    });
    let postgres = tokio::task::spawn_blocking(move || {
        for _ in 0..40 {
            postgres.sql(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'oubliette'",
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        postgres
    })
    .await
    .unwrap();
    end.store(true, Ordering::Relaxed);
    let restored = restoring.await.unwrap();
    assert!(restored.len() > 50, "{}", restored.len());
    each_is_there_once(&store, &restored).await;
    drop(postgres);
}

/// Forgetting goes through a server that is killed: at the end everybody who was to be forgotten is, with one tombstone.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgetting_goes_through_a_server_that_is_killed() {
    let Some(mut postgres) = postgres() else { return };
    let plain = Options::new(postgres.database()).patience(Duration::from_secs(5)).create().await;
    let store = layer(plain.unwrap()).await;
    let users: Vec<_> = (0..30).map(|number| stream(&format!("split-{number}"))).collect();
    for user in &users {
        let data = r#"{"id":1,"surname":"Ringelnatz"}"#;
        store.append_to(user, ExpectedRevision::Any, vec![event(data)]).await.unwrap();
    }
    let forgetting = tokio::spawn({
        let (store, users) = (store.clone(), users.clone());
        async move {
            for user in &users {
                loop {
                    match store.forget(&Subject::of(user), "asked").await {
                        // What waits for the store is done when it is back.
                        Ok(_) | Err(ErasureError::Pending(_)) => break,
                        // The store was away before anything was decided.
                        Err(error) if error.is_temporary() => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        postgres = tokio::task::spawn_blocking(move || {
            postgres.kill();
            postgres.restart();
            postgres
        })
        .await
        .unwrap();
    }
    forgetting.await.unwrap();
    store.resume().await.unwrap();
    for user in &users {
        let events = store.events(user, Default::default()).await.unwrap();
        assert_eq!(events.len(), 2, "{user}: {events:?}");
        assert!(events[0].shredded.len() == 1 && events[1].tombstone.is_some(), "{user}");
    }
    let report = store.verify(Default::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}
