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
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};

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

/// The line is cut while the server commits, so that nobody hears what became of it. A restore that returned then would have its
/// events appear later: it ends the server's process, and asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_answer_was_lost_is_over_when_it_returns() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let database = url.rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
    let (port, cut) = line_to(postgres.port()).await;
    let through = url.replace(&format!(":{}/", postgres.port()), &format!(":{port}/"));
    assert_ne!(through, url);
    let store = PostgresStore::create(&through).await.unwrap();
    postgres.sql(
        &database,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON oubliette.event DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let NewEvent { id, event_type, data, metadata, .. } = event("{}");
    let (name, at, recorded) = (stream("user-1"), Position::number(0), Timestamp::from_micros(7));
    let one = RecordedEvent::plain(name, Revision(3), at, id, event_type, recorded, data, metadata);
    let restoring = tokio::spawn({
        let store = store.clone();
        async move { store.restore(vec![one]).await }
    });
    let committing = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while postgres.sql(&database, committing).trim() != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut.notify_waiters();
    let done = restoring.await.unwrap().unwrap();
    assert_eq!(postgres.sql(&database, committing).trim(), "0", "the server is still at it");
    let found = everything(&store).await;
    assert_eq!(found.iter().map(|event| event.id).collect::<Vec<_>>(), [id]);
    // The first transaction did not come to its end: this one wrote it.
    assert_eq!((done.len(), done[0].already), (1, false));
}

/// A line to a port, which is cut when that is notified; what is connected afterwards goes through.
async fn line_to(port: u16) -> (u16, Arc<Notify>) {
    let (listener, cut) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(Notify::new()));
    let line = (listener.local_addr().unwrap().port(), Arc::clone(&cut));
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = cut.notified() => {}
                }
            });
        }
    });
    line
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
