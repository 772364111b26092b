//! The broker is killed in the middle of appends, and started again.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use oubliette::{
    event::{NewEvent, StreamName},
    store::{Appended, Delivery, EventStoreExt, ExpectedRevision::Any, ReadOptions},
};
use oubliette_kafka::{KafkaConfig, KafkaStore};

use crate::{
    all, cause, event, is_sound, name,
    proxy::{Proxy, What},
    start, start_with, subscribed,
};

const WRITERS: usize = 4;

/// Tries again for as long as it is told that this may help.
async fn until_stored(store: &KafkaStore, stream: &StreamName, event: &NewEvent) -> Appended {
    loop {
        match store.append_to(stream, Any, vec![event.clone()]).await {
            Ok(appended) => return appended,
            Err(error) => assert!(error.is_temporary(), "{}", cause(&error)),
        }
    }
}

/// Nothing acknowledged is lost; what was refused is not there, then or later; what was tried again with the same id is
/// there once; and a subscription goes on without gap or repeat.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_broker_loses_nothing_and_doubles_nothing() {
    let Some(mut kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = KafkaConfig::new(kafka.servers(), &topic).with_patience(Duration::from_secs(3));
    drop(KafkaStore::create(config.clone().with_patience(Duration::from_secs(60))).await.unwrap());
    let store = KafkaStore::open(config.clone()).await.unwrap();
    let seen = {
        let mut subscription = subscribed(&store);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(delivery) = subscription.next().await {
                if let Delivery::Event(event) = delivery.unwrap() {
                    let is_last = event.stream.as_str() == "account-last";
                    seen.push((event.position, event.id));
                    if is_last {
                        break;
                    }
                }
            }
            seen
        })
    };
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, stop, done) = (store.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let stream = name(&format!("account-{writer}"));
                let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let events = vec![event(0), event(1)];
                    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
                    loop {
                        match store.append_to(&stream, Any, events.clone()).await {
                            Ok(_) => {
                                acknowledged.extend(ids);
                                done.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            Err(error) => {
                                assert!(error.is_temporary(), "{}", cause(&error));
                                // Half of them try again, the others rely on what they were told.
                                if writer % 2 == 0 {
                                    refused.extend(ids);
                                    break;
                                }
                            }
                        }
                    }
                }
                (acknowledged, refused)
            })
        })
        .collect();
    for _ in 0..2 {
        let before = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < before + 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kafka.kill();
        // Longer than anybody's patience.
        tokio::time::sleep(Duration::from_secs(5)).await;
        kafka.restart();
    }
    let before = done.load(Ordering::Relaxed);
    while done.load(Ordering::Relaxed) < before + 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut refused) = (HashSet::new(), HashSet::new());
    for writer in writers {
        let (own, not) = writer.await.unwrap();
        acknowledged.extend(own);
        refused.extend(not);
    }
    let last = event(9);
    store.append_to(&name("account-last"), Any, vec![last.clone()]).await.unwrap();
    acknowledged.insert(last.id);

    let found = all(&store).await;
    is_sound(&found);
    let ids: HashSet<_> = found.iter().map(|event| event.id).collect();
    assert!(ids == acknowledged, "{} found, {} acknowledged", ids.len(), acknowledged.len());
    assert!(ids.is_disjoint(&refused));
    let found: Vec<_> = found.iter().map(|event| (event.position, event.id)).collect();
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap().unwrap(), found);
    // Whoever opens it anew finds the same.
    let again = KafkaStore::open(config).await.unwrap();
    let again: Vec<_> = all(&again).await.iter().map(|event| (event.position, event.id)).collect();
    assert_eq!(again, found);
    eprintln!("{} acknowledged, {} refused", acknowledged.len(), refused.len());
}

/// The broker stops answering in the middle of appends and is killed then: whether it had the last word of a
/// transaction is not known, and nobody is answered before it is.
#[tokio::test(flavor = "multi_thread")]
async fn whether_an_append_was_stored_is_found_out_before_it_is_answered() {
    let Some(mut kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = KafkaConfig::new(kafka.servers(), &topic).with_patience(Duration::from_secs(2));
    drop(KafkaStore::create(config.clone().with_patience(Duration::from_secs(60))).await.unwrap());
    let store = KafkaStore::open(config.clone()).await.unwrap();
    let stream = name("account-a");
    store.append_to(&stream, Any, vec![event(0)]).await.unwrap();
    let (mut acknowledged, mut refused) = (1, Vec::new());
    for round in 0..3 {
        // A little later in each round, so that it is caught in different steps.
        let running = {
            let (store, stream) = (store.clone(), stream.clone());
            tokio::spawn(async move {
                let mut last = (0, None);
                loop {
                    let next = event(1);
                    match store.append_to(&stream, Any, vec![next.clone()]).await {
                        Ok(_) => last.0 += 1,
                        Err(error) => {
                            assert!(error.is_temporary(), "{}", cause(&error));
                            last.1 = Some(next);
                            return last;
                        }
                    }
                    if last.0 > 400 {
                        return last;
                    }
                }
            })
        };
        tokio::time::sleep(Duration::from_millis(300 + 7 * round)).await;
        kafka.freeze();
        tokio::time::sleep(Duration::from_secs(3)).await;
        kafka.kill();
        kafka.restart();
        let (done, last) = running.await.unwrap();
        acknowledged += done;
        refused.extend(last);
        let found = store.events(&stream, ReadOptions::default()).await.unwrap();
        assert_eq!(found.len(), acknowledged);
    }
    let found = all(&store).await;
    is_sound(&found);
    assert!(!refused.is_empty(), "nobody was ever refused");
    for event in &refused {
        assert!(found.iter().all(|found| found.id != event.id));
        assert!(!until_stored(&store, &stream, event).await.already);
        assert!(until_stored(&store, &stream, event).await.already);
    }
    let again = KafkaStore::open(config).await.unwrap();
    assert_eq!(all(&again).await.len(), acknowledged + refused.len());
}

/// The broker gets the last word of a transaction and its answer is lost; or that word itself is lost, and nobody can be
/// reached for longer than anybody's patience.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_last_word_is_lost_is_answered_once_it_is_known() {
    let proxy = Proxy::start();
    let advertised = format!("PLAINTEXT://{}", proxy.address());
    let Some(kafka) = start_with(&[("advertised.listeners", &advertised)]) else { return };
    proxy.lead_to(&kafka);
    let config = KafkaConfig::new(proxy.address(), kafka.new_topic());
    let config = config.with_patience(Duration::from_secs(5));
    drop(KafkaStore::create(config.clone().with_patience(Duration::from_secs(60))).await.unwrap());
    let store = KafkaStore::open(config.clone()).await.unwrap();
    let stream = name("account-a");
    until_stored(&store, &stream, &event(0)).await;
    for (what, is_stored) in [(What::LosesAnswer, true), (What::LosesLastWord, false)] {
        let next = event(1);
        proxy.arm(what);
        let appending = {
            let (store, stream, next) = (store.clone(), stream.clone(), next.clone());
            tokio::spawn(async move { store.append_to(&stream, Any, vec![next]).await })
        };
        while !proxy.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(!appending.is_finished(), "nobody can know yet");
        proxy.open();
        let answered = appending.await.unwrap();
        assert_eq!(answered.is_ok(), is_stored, "{answered:?}");
        if let Err(error) = answered {
            assert!(error.is_temporary(), "{}", cause(&error));
        }
        let found = store.events(&stream, ReadOptions::default()).await.unwrap();
        assert_eq!(found.iter().any(|event| event.id == next.id), is_stored);
        assert_eq!(until_stored(&store, &stream, &next).await.already, is_stored);
    }
    let found = all(&store).await;
    is_sound(&found);
    assert_eq!(found.len(), 3);
    assert_eq!(all(&KafkaStore::open(config).await.unwrap()).await, found);
}
