//! A topic that is deleted and made again has the same name and none of the events: Kafka takes records for it from
//! whoever had the first one open, from offset 0 on.

use std::time::{Duration, Instant};

use futures::StreamExt;
use oubliette::{
    MemoryStore,
    store::{
        EventStore, EventStoreExt, ExpectedRevision::Any, Filter, ReadAllOptions, ReadOptions,
        StoreError,
    },
};
use oubliette_kafka::{
    KafkaConfig, KafkaError, KafkaStore, Relay, RelayError,
    rdkafka::{
        ClientConfig, Message,
        admin::{AdminClient, AdminOptions, NewPartitions},
        client::DefaultClientContext,
        consumer::{BaseConsumer, Consumer},
    },
};
use oubliette_servers::Kafka;
use tokio::time::timeout;

use crate::{all, config, consumed, event, make_topic, name, start};

const KEEPS: [(&str, &str); 2] = [("retention.ms", "-1"), ("retention.bytes", "-1")];

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", kafka.servers()).create().unwrap()
}

async fn make_anew(kafka: &Kafka, topic: &str, settings: &[(&str, &str)]) {
    admin(kafka).delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    let asking: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka.servers()).create().unwrap();
    let has = async |partitions: Option<usize>| {
        for _ in 0..600 {
            let found = asking.fetch_metadata(None, Duration::from_secs(10)).unwrap();
            let found = found.topics().iter().find(|found| found.name() == topic);
            if found.map(|found| found.partitions().len()) == partitions {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the topic does not come to have {partitions:?} partitions");
    };
    has(None).await;
    make_topic(kafka, topic, 1, settings).await;
    // A broker that is busy tells of the old one and the new for a moment.
    has(Some(1)).await;
}

fn is_lost(what: &str, error: &StoreError) {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<KafkaError>());
    assert!(matches!(source, Some(KafkaError::Lost { .. })), "{what}: {error:?}");
    assert!(!error.is_temporary());
}

/// Each way to read says that the events are not there any more.
async fn reads_are_lost(store: &KafkaStore) {
    let of_stream = store.events(&name("account-a"), ReadOptions::default()).await;
    is_lost("a stream", &of_stream.unwrap_err());
    let mut every = store.read_all(ReadAllOptions::default());
    is_lost("all streams", &every.next().await.unwrap().unwrap_err());
    let mut subscription = store.subscribe(None, Filter::default());
    let told = timeout(Duration::from_secs(60), subscription.next()).await;
    is_lost("a subscription", &told.unwrap().unwrap().unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_takes_nothing_of_the_store_that_was_open() {
    let Some(kafka) = start() else { return };
    let config = config(&kafka).with_patience(Duration::from_secs(8));
    let store = KafkaStore::create(config.clone()).await.unwrap();
    for number in 0..5 {
        store.append_to(&name("account-a"), Any, vec![event(number)]).await.unwrap();
    }
    let reader = KafkaStore::open_reader(config.clone()).await.unwrap();
    assert_eq!(all(&reader).await.len(), 5);
    make_anew(&kafka, config.topic(), &KEEPS).await;
    for number in 0..2 {
        let refused = store.append_to(&name("account-b"), Any, vec![event(number)]).await;
        is_lost("an append", &refused.unwrap_err());
    }
    assert!(consumed(&kafka, config.topic(), 1).is_empty(), "it was written to the new topic");
    reads_are_lost(&store).await;
    reads_are_lost(&reader).await;
    // What is there now is a store like any other.
    let again = KafkaStore::open(config).await.unwrap();
    assert_eq!(all(&again).await, []);
    again.append_to(&name("account-a"), Any, vec![event(7)]).await.unwrap();
}

/// Where the new topic has more records than the one before, no offset is out of its range.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_and_is_longer_is_not_taken_for_the_one_before() {
    let Some(kafka) = start() else { return };
    let config = config(&kafka).with_patience(Duration::from_secs(8));
    let store = KafkaStore::create(config.clone()).await.unwrap();
    for number in 0..3 {
        store.append_to(&name("account-a"), Any, vec![event(number)]).await.unwrap();
    }
    let reader = KafkaStore::open_reader(config.clone()).await.unwrap();
    make_anew(&kafka, config.topic(), &KEEPS).await;
    let other = KafkaStore::open(config.clone()).await.unwrap();
    let others: Vec<_> = (0..40).map(event).collect();
    for number in 0..2 {
        let stream = name(&format!("account-{number}"));
        other.append_to(&stream, Any, others[20 * number..][..20].to_vec()).await.unwrap();
    }
    reads_are_lost(&store).await;
    reads_are_lost(&reader).await;
    let refused = store.append_to(&name("account-a"), Any, vec![event(9)]).await;
    is_lost("an append", &refused.unwrap_err());
    // Nor does it end the writer of the new one.
    other.append_to(&name("account-0"), Any, vec![event(9)]).await.unwrap();
    assert_eq!(all(&KafkaStore::open(config).await.unwrap()).await.len(), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_does_not_go_on_in_a_topic_that_was_made_anew() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    make_topic(&kafka, &topic, 1, &[]).await;
    let store = MemoryStore::new();
    let append = async |count: usize| {
        for number in 0..count {
            store.append_to(&name("account-a"), Any, vec![event(number)]).await.unwrap();
        }
    };
    append(5).await;
    let config = KafkaConfig::new(kafka.servers(), &topic).with_patience(Duration::from_secs(8));
    let relay = Relay::new(store.clone(), config.clone());
    let relaying = tokio::spawn(async move { relay.run().await.unwrap_err() });
    while consumed(&kafka, &topic, 1).len() < 5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    make_anew(&kafka, &topic, &[]).await;
    append(3).await;
    let ended = timeout(Duration::from_secs(90), relaying).await.unwrap().unwrap();
    assert!(matches!(ended, RelayError::Lost { .. }) && !ended.is_temporary(), "{ended:?}");
    assert!(consumed(&kafka, &topic, 1).is_empty(), "the new topic begins in the middle");
    // Started again it begins at the first event.
    assert_eq!(Relay::new(store.clone(), config).catch_up().await.unwrap().events, 8);
    assert_eq!(consumed(&kafka, &topic, 1).len(), 8);
}

/// By more partitions a key comes to another one: of one stream the later events would overtake the earlier.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_stops_where_partitions_are_added() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    make_topic(&kafka, &topic, 2, &[]).await;
    let store = MemoryStore::new();
    let append = async || {
        for number in 0..20 {
            let stream = name(&format!("account-{number}"));
            store.append_to(&stream, Any, vec![event(number)]).await.unwrap();
        }
    };
    append().await;
    let config =
        KafkaConfig::new(kafka.servers(), &topic).with("topic.metadata.refresh.interval.ms", "200");
    let relay = Relay::new(store.clone(), config.clone());
    let relaying = tokio::spawn(async move { relay.run().await.unwrap_err() });
    while consumed(&kafka, &topic, 2).len() < 20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let more = NewPartitions::new(&topic, 7);
    admin(&kafka).create_partitions([&more], &AdminOptions::new()).await.unwrap();
    let began = Instant::now();
    while !relaying.is_finished() {
        assert!(began.elapsed() < Duration::from_secs(60), "it goes on");
        append().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = relaying.await.unwrap();
    assert!(matches!(ended, RelayError::Partitions { .. }), "{ended:?}");
    let added =
        || consumed(&kafka, &topic, 7).iter().filter(|message| message.partition() > 1).count();
    assert_eq!(added(), 0);
    // Also one that was not there when they were added, by what is in the topic.
    let ended = Relay::new(store.clone(), config.clone()).catch_up().await.unwrap_err();
    assert!(matches!(ended, RelayError::Partitions { .. }), "{ended:?}");
    assert_eq!(added(), 0);
    // Who wants it all the same.
    let relay = Relay::new(store.clone(), config).with_added_partitions();
    relay.catch_up().await.unwrap();
    assert!(added() > 0);
    assert_eq!(consumed(&kafka, &topic, 7).len(), all(&store).await.len());
}
