//! Another program writes to the topic.

use std::time::Duration;

use oubliette::{
    event::{EventId, Revision},
    store::{
        EventStoreExt,
        ExpectedRevision::{Any, Exact},
        ReadOptions,
    },
};
use oubliette_kafka::{
    KafkaConfig, KafkaStore, OpenError,
    rdkafka::{
        ClientConfig,
        message::{Header, OwnedHeaders},
        producer::{BaseProducer, BaseRecord, Producer},
    },
};
use oubliette_servers::Kafka;

use crate::{all, event, is_sound, name, start};

struct Stranger {
    producer: BaseProducer,
    topic: String,
}

impl Stranger {
    fn new(kafka: &Kafka, topic: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.servers());
        Self { producer: config.create().unwrap(), topic: topic.to_owned() }
    }

    fn write(&self, key: &str, value: &str, headers: &[(&str, &str)]) {
        let mut all = OwnedHeaders::new();
        for (key, value) in headers {
            all = all.insert(Header { key, value: Some(*value) });
        }
        let record = BaseRecord::to(&self.topic).partition(0).key(key).payload(value).headers(all);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.flush(Duration::from_secs(10)).unwrap();
    }

    /// As if it were ours.
    fn forge(&self, id: EventId, stream: &str, revision: &str) {
        let headers = [
            ("oubliette", "event/1"),
            ("stream", stream),
            ("revision", revision),
            ("type", "Counted"),
            ("recorded", "1"),
            ("kind", "json"),
        ];
        self.write(&id.to_string(), r#"{"forged":true}"#, &headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_do_not_follow_are_passed_over_and_told() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let store = KafkaStore::create(config()).await.unwrap();
    let stranger = Stranger::new(&kafka, &topic);
    let stream = name("account-a");
    let ours: Vec<_> = (0..4).map(event).collect();
    store.append_to(&stream, Any, vec![ours[0].clone()]).await.unwrap();
    stranger.write("key", "hello", &[]);
    stranger.forge(EventId::random(), "account-a", "7");
    stranger.forge(EventId::random(), "account-a", "0");
    stranger.forge(EventId::random(), "account-b", "1");
    stranger.forge(ours[0].id, "account-c", "0");
    stranger.write(&EventId::random().to_string(), "{}", &[("oubliette", "event/1")]);
    // Beside them life goes on, and whoever reads sees nothing of them.
    for event in &ours[1..] {
        store.append_to(&stream, Any, vec![event.clone()]).await.unwrap();
    }
    let found = all(&store).await;
    is_sound(&found);
    let ids: Vec<_> = found.iter().map(|event| event.id).collect();
    assert_eq!(ids, ours.iter().map(|event| event.id).collect::<Vec<_>>());
    assert_eq!(store.passed_over().count, 6, "{:?}", store.passed_over());

    let again = KafkaStore::open(config()).await.unwrap();
    assert_eq!(all(&again).await, found);
    assert_eq!(again.events(&stream, ReadOptions::default()).await.unwrap(), found);
    assert_eq!(again.passed_over(), store.passed_over());
    let told = again.doubts().join("\n");
    assert!(told.contains("6 records of the topic"), "{told}");
    let why: Vec<_> = again.passed_over().first.into_iter().map(|(_, why)| why).collect();
    assert!(why[0].contains("another program") && why[1].contains("revision 7"), "{why:?}");
}

/// The hardest case: a record that follows. Whoever reads the topic takes it, so the writer must see it before it
/// acknowledges one of the same revision.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_event_that_follows_is_seen_before_anything_is_acknowledged_over_it() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let store = KafkaStore::create(config()).await.unwrap();
    let stranger = Stranger::new(&kafka, &topic);
    let stream = name("account-a");
    let first = store.append_to(&stream, Any, vec![event(0)]).await.unwrap();
    let forged = EventId::random();
    stranger.forge(forged, "account-a", "1");
    let ours = event(1);
    let refused = store.append_to(&stream, Exact(first.revision), vec![ours.clone()]).await;
    assert!(refused.unwrap_err().is_temporary());
    let appended = store.append_to(&stream, Any, vec![ours.clone()]).await.unwrap();
    assert_eq!((appended.revision, appended.already), (Revision(2), false));
    let found = all(&store).await;
    is_sound(&found);
    assert_eq!([found[1].id, found[2].id], [forged, ours.id]);
    let again = KafkaStore::open(config()).await.unwrap();
    assert_eq!(all(&again).await, found);
}

/// A transaction that was undone leaves its records in the topic: nobody may take them for events.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_committed_is_no_event() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let store = KafkaStore::create(config()).await.unwrap();
    let stream = name("account-a");
    let first = store.append_to(&stream, Any, vec![event(0)]).await.unwrap();
    let mut transactional = ClientConfig::new();
    transactional.set("bootstrap.servers", kafka.servers()).set("transactional.id", "stranger");
    let stranger = Stranger { producer: transactional.create().unwrap(), topic: topic.clone() };
    let wait = Duration::from_secs(30);
    stranger.producer.init_transactions(wait).unwrap();
    stranger.producer.begin_transaction().unwrap();
    stranger.forge(EventId::random(), "account-a", "1");
    stranger.producer.abort_transaction(wait).unwrap();
    let second = event(1);
    store.append_to(&stream, Exact(first.revision), vec![second.clone()]).await.unwrap();
    let found = all(&store).await;
    assert_eq!((found.len(), found[1].id), (2, second.id));
    assert_eq!(all(&KafkaStore::open(config()).await.unwrap()).await, found);
    assert_eq!(all(&KafkaStore::open_reader(config()).await.unwrap()).await, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_another_program_or_a_newer_one_is_left_as_it_is() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let settings = [("retention.ms", "-1")];
    crate::make_topic(&kafka, &topic, 1, &settings).await;
    let stranger = Stranger::new(&kafka, &topic);
    stranger.write("key", "hello", &[]);
    for refused in [KafkaStore::create(config()).await, KafkaStore::open_reader(config()).await] {
        assert!(matches!(refused, Err(OpenError::NotOurs { .. })), "{refused:?}");
    }
    assert_eq!(crate::consumed(&kafka, &topic, 1).len(), 1);

    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let store = KafkaStore::create(config()).await.unwrap();
    store.append_to(&name("account-a"), Any, vec![event(0)]).await.unwrap();
    drop(store);
    let stranger = Stranger::new(&kafka, &topic);
    stranger.write(&EventId::random().to_string(), "{}", &[("oubliette", "event/2")]);
    let refused = KafkaStore::open_reader(config()).await.unwrap_err();
    assert!(refused.to_string().contains("`event/2`"), "{refused}");
    let refused = KafkaStore::open(config()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_is_told_by_its_position_and_the_rest_is_read() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let store = KafkaStore::create(config()).await.unwrap();
    let stream = name("account-a");
    store.append_to(&stream, Any, vec![event(0)]).await.unwrap();
    // It follows, says that it is JSON, and is not.
    let stranger = Stranger::new(&kafka, &topic);
    let headers = [
        ("oubliette", "event/1"),
        ("stream", "account-a"),
        ("revision", "1"),
        ("type", "Counted"),
        ("recorded", "1"),
        ("kind", "json"),
    ];
    stranger.write(&EventId::random().to_string(), "hunter2", &headers);
    drop(store);
    let store = KafkaStore::open(config()).await.unwrap();
    store.append_to(&stream, Any, vec![event(2)]).await.unwrap();
    damaged_between(&store).await;
}

async fn damaged_between(store: &KafkaStore) {
    use futures::StreamExt;
    use oubliette::store::{Direction, EventStore, ReadAllOptions, StoreError};
    let stream = name("account-a");
    for direction in [Direction::Forwards, Direction::Backwards] {
        let one = ReadOptions { direction, ..ReadOptions::default() };
        let every = ReadAllOptions { direction, ..ReadAllOptions::default() };
        for mut events in [store.read(&stream, one), store.read_all(every)] {
            let first = events.next().await.unwrap().unwrap();
            let Some(Err(StoreError::Damaged { position, source })) = events.next().await else {
                panic!("it is damaged");
            };
            assert!(!format!("{source} {source:?}").contains("hunter2"));
            assert!(events.next().await.is_none());
            // Behind it one can go on.
            let beyond = ReadAllOptions { after: Some(position), direction, limit: None };
            let mut rest = store.read_all(beyond);
            let last = rest.next().await.unwrap().unwrap();
            assert_ne!(first.id, last.id);
        }
    }
}
