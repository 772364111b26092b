//! One writer at a time: the second ends the first, which is told so.

use std::time::Duration;

use oubliette::store::{Capability, EventStore, EventStoreExt, ExpectedRevision::Any};
use oubliette_kafka::{KafkaConfig, KafkaStore, OpenError};

use crate::{all, cause, event, is_sound, name, next_event, start, subscribed};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_ends_the_first_and_nothing_of_that_is_written() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let first = KafkaStore::create(config()).await.unwrap();
    let (a, b) = (name("account-a"), name("account-b"));
    let kept = event(0);
    first.append_to(&a, Any, vec![kept.clone()]).await.unwrap();
    let mut followed = subscribed(&first);

    let second = KafkaStore::open(config()).await.unwrap();
    for _ in 0..2 {
        let refused = first.append_to(&a, Any, vec![event(1)]).await.unwrap_err();
        assert!(!refused.is_temporary());
        let told = cause(&refused);
        assert!(
            told.contains("another writer took over this topic") && told.contains(&topic),
            "{told}"
        );
    }
    // What it wrote before, it still knows; and it goes on reading what the other writes.
    assert!(first.append_to(&a, Any, vec![kept.clone()]).await.unwrap().already);
    let more = event(2);
    second.append_to(&b, Any, vec![more.clone()]).await.unwrap();
    assert_eq!(next_event(&mut followed).await.id, kept.id);
    assert_eq!(next_event(&mut followed).await.id, more.id);
    assert!(first.capabilities().has(Capability::Subscribe));

    let ids: Vec<_> = all(&second).await.iter().map(|event| event.id).collect();
    assert_eq!(ids, [kept.id, more.id]);
    assert_eq!(second.passed_over().count, 0);
    drop((first, second));
    let third = KafkaStore::open(config()).await.unwrap();
    assert_eq!(all(&third).await.len(), 2);
}

/// Whoever loses opens again, and takes the topic back: again and again, while both append.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_will_not_let_go_lose_nothing_and_double_nothing() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = KafkaConfig::new(kafka.servers(), &topic).with_patience(Duration::from_secs(20));
    drop(KafkaStore::create(config.clone()).await.unwrap());
    let writer = |number: usize| {
        let config = config.clone();
        async move {
            let mut acknowledged = Vec::new();
            let (mut turns, mut pending) = (0, None);
            while turns < 5 {
                let store = match KafkaStore::open(config.clone()).await {
                    Ok(store) => store,
                    Err(OpenError::Fenced { .. }) => continue,
                    Err(error) => panic!("{error:?}"),
                };
                turns += 1;
                loop {
                    let next = pending.take().unwrap_or_else(|| event(acknowledged.len()));
                    let stream = name(&format!("account-{}", acknowledged.len() % 3));
                    match store.append_to(&stream, Any, vec![next.clone()]).await {
                        Ok(_) => acknowledged.push(next.id),
                        Err(error) => {
                            assert!(cause(&error).contains("another writer"), "{}", cause(&error));
                            // Nothing of it is there, here or in a moment.
                            pending = Some(next);
                            break;
                        }
                    }
                    if acknowledged.len() > 60 * turns + number {
                        break;
                    }
                }
            }
            acknowledged
        }
    };
    let (a, b) = tokio::join!(tokio::spawn(writer(0)), tokio::spawn(writer(1)));
    let store = KafkaStore::open(config.clone()).await.unwrap();
    let found = all(&store).await;
    is_sound(&found);
    assert_eq!(store.passed_over().count, 0, "{:?}", store.passed_over());
    let mut acknowledged = [a.unwrap(), b.unwrap()].concat();
    let mut found: Vec<_> = found.iter().map(|event| event.id).collect();
    acknowledged.sort();
    found.sort();
    assert_eq!(acknowledged, found);
}
