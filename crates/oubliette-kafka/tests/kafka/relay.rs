//! The relay, to topics that consumers read.

use std::{
    collections::{HashMap, HashSet},
    env,
    path::Path,
    process::Command,
    time::Duration,
};

use oubliette::{
    Codec, Content, EventStoreExt,
    ExpectedRevision::Any,
    Json, MemoryStore, NewEvent, Oubliette, Policy, SqliteStore, Subject, Vault,
    event::{Position, RecordedEvent, SUBJECT_FORGOTTEN},
    layer::EventRef,
};
use oubliette_kafka::{
    KafkaConfig, Relay, RelayError,
    rdkafka::{Message, message::OwnedMessage},
    relayed,
};
use oubliette_servers::{Kafka, Program};

use crate::{all, consumed, event, make_topic, name, start};

/// As a consumer gets them that goes by position: in each partition they grow.
fn events(messages: &[OwnedMessage]) -> Vec<RecordedEvent> {
    let mut last: HashMap<i32, Position> = HashMap::new();
    let mut events: Vec<RecordedEvent> = messages
        .iter()
        .map(|message| {
            let event = relayed(message).unwrap();
            let before = last.insert(message.partition(), event.position);
            assert!(before.is_none_or(|before| before < event.position), "{}", event.position);
            assert_eq!(message.key(), Some(event.stream.as_str().as_bytes()));
            event
        })
        .collect();
    events.sort_by_key(|event| event.position);
    events
}

/// Each event of the store once, as it is there.
fn is_copy(found: &[RecordedEvent], of: &[RecordedEvent]) {
    let ids: HashSet<_> = found.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), found.len(), "an event came twice");
    assert!(found == of, "{} relayed, {} in the store", found.len(), of.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_stays_sealed_and_consumers_open_it() {
    let Some(kafka) = start() else { return };
    let (topic, forgotten) = (kafka.new_topic(), kafka.new_topic());
    make_topic(&kafka, &topic, 3, &[]).await;
    make_topic(&kafka, &forgotten, 1, &[("cleanup.policy", "compact")]).await;
    let policy = "[[stream]]\nmatch = 'user-{id}'\npublic = ['/country']";
    let policy = || Policy::parse(policy).unwrap();
    let (store, vault) = (MemoryStore::new(), Vault::in_memory().unwrap());
    let layer = Oubliette::open(store.clone(), vault.clone(), policy()).await.unwrap();
    for user in 0..20 {
        let data = format!(r#"{{"name":"Erika {user}","country":"DE"}}"#);
        let registered = NewEvent::new("Registered".parse().unwrap(), Json::parse(&data).unwrap());
        layer.append_to(&name(&format!("user-{user}")), Any, vec![registered]).await.unwrap();
    }
    let config = || KafkaConfig::new(kafka.servers(), &topic);
    let relay = Relay::new(store.clone(), config()).with_forgotten(&forgotten);
    let progress = relay.catch_up().await.unwrap();
    assert!(progress.events >= 20);
    // It goes on where it stopped.
    let erased = Subject::new("user-7").unwrap();
    layer.forget(&erased, "asked").await.unwrap();
    let again = Relay::new(store.clone(), config()).with_forgotten(&forgotten);
    let more = again.catch_up().await.unwrap();
    assert!(more.events > 0 && more.events < 10, "{more:?}");
    assert_eq!(again.catch_up().await.unwrap().events, 0);

    let messages = consumed(&kafka, &topic, 3);
    let found = events(&messages);
    let stored = all(&store).await;
    is_copy(&found, &stored);
    let partitions: HashSet<i32> = messages.iter().map(Message::partition).collect();
    assert_eq!(partitions.len(), 3);
    // No clear text on the way.
    for message in &messages {
        let text = String::from_utf8_lossy(message.payload().unwrap());
        assert!(!text.contains("Erika"), "{text}");
    }
    // With the vault, and without it.
    let codec = Codec::new(vault, policy());
    let public = Codec::without_vault(policy());
    for event in found.iter().filter(|event| event.event_type.as_str() == "Registered") {
        let of = || EventRef { stream: &event.stream, id: event.id, event_type: &event.event_type };
        let data = event.data.as_ref().unwrap();
        let opened = codec.open(of(), data, event.metadata.as_ref()).unwrap();
        let is_forgotten = event.stream.as_str() == "user-7";
        assert_eq!(opened.shredded.is_empty(), !is_forgotten);
        let json =
            |data: Option<oubliette::Payload>| data.unwrap().as_json().unwrap().as_str().to_owned();
        let opened = json(opened.data);
        assert_eq!(opened.contains("Erika"), !is_forgotten, "{opened}");
        let seen = public.open(of(), data, event.metadata.as_ref()).unwrap();
        assert_eq!(json(seen.data), r#"{"country":"DE"}"#);
    }

    // A cache learns by the reference whom it must not know any more.
    let tombstone =
        layer.events(&erased.stream(), Default::default()).await.unwrap().pop().unwrap();
    let Content::Tombstone(tombstone) = tombstone.content() else { panic!("it is one") };
    let references: Vec<String> = consumed(&kafka, &forgotten, 1)
        .iter()
        .map(|message| String::from_utf8(message.key().unwrap().to_vec()).unwrap())
        .collect();
    let tombstones = stored.iter().filter(|event| event.event_type.as_str() == SUBJECT_FORGOTTEN);
    assert_eq!(references.len(), tombstones.count());
    assert!(references.contains(&tombstone.reference.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_doubles_nothing() {
    let Some(mut kafka) = start() else { return };
    let topic = kafka.new_topic();
    make_topic(&kafka, &topic, 2, &[]).await;
    let store = MemoryStore::new();
    let config = KafkaConfig::new(kafka.servers(), &topic).with_patience(Duration::from_secs(3));
    let relaying = {
        let relay = Relay::new(store.clone(), config.clone());
        tokio::spawn(async move {
            let ended = relay.run().await;
            eprintln!("{ended:?}");
            ended
        })
    };
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..600 {
                let stream = name(&format!("account-{}", number % 7));
                store.append_to(&stream, Any, vec![event(number), event(number)]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        })
    };
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        kafka.kill();
        tokio::time::sleep(Duration::from_secs(4)).await;
        kafka.restart();
    }
    writing.await.unwrap();
    assert!(!relaying.is_finished(), "it goes on through all of it");
    wait_for(&kafka, &topic, 2, 1_200).await;
    assert!(!relaying.is_finished(), "it goes on through all of it");
    relaying.abort();
    assert!(relaying.await.unwrap_err().is_cancelled());
    let progress = Relay::new(store.clone(), config).catch_up().await.unwrap();
    assert_eq!(progress.events, 0);
    is_copy(&events(&consumed(&kafka, &topic, 2)), &all(&store).await);
}

async fn wait_for(kafka: &Kafka, topic: &str, partitions: i32, count: usize) {
    for _ in 0..120 {
        if consumed(kafka, topic, partitions).len() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("of {count} there are {}", consumed(kafka, topic, partitions).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_goes_on_where_it_stopped() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    make_topic(&kafka, &topic, 2, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path().join("events")).unwrap();
    let append = async |count: usize| {
        for number in 0..count {
            let stream = name(&format!("account-{}", number % 5));
            store.append_to(&stream, Any, vec![event(number)]).await.unwrap();
        }
    };
    append(300).await;
    for round in 0..5_u64 {
        let mut child = child(&kafka, &topic, folder.path());
        append(200).await;
        // In the middle of its start, of its first transactions, and of later ones.
        tokio::time::sleep(Duration::from_millis(150 * round * round)).await;
        child.kill();
    }
    let config = KafkaConfig::new(kafka.servers(), &topic);
    let progress = Relay::new(store.clone(), config).catch_up().await.unwrap();
    assert!(progress.events < 1_300, "every one of them was killed before it had done anything");
    is_copy(&events(&consumed(&kafka, &topic, 2)), &all(&store).await);
}

fn child(kafka: &Kafka, topic: &str, folder: &Path) -> Program {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "relay::child_that_relays", "--nocapture"])
        .env("RELAY_FROM", folder.join("events"))
        .env("RELAY_TO", format!("kafka://{}/{topic}", kafka.servers()));
    Program::start(&command, &folder.join("log"))
}

/// Run by another test, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_relay_that_is_killed_goes_on_where_it_stopped"]
async fn child_that_relays() {
    let (Ok(from), Ok(to)) = (env::var("RELAY_FROM"), env::var("RELAY_TO")) else { return };
    let relay = Relay::new(SqliteStore::open(from).unwrap(), to.parse().unwrap());
    let ended = relay.run().await.unwrap_err();
    eprintln!("{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_relays_one_ends_and_nothing_is_doubled() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    make_topic(&kafka, &topic, 2, &[]).await;
    let store = MemoryStore::new();
    let relay = || {
        let relay = Relay::new(store.clone(), KafkaConfig::new(kafka.servers(), &topic));
        tokio::spawn(async move { relay.run().await.unwrap_err() })
    };
    let relays = [relay(), relay()];
    let mut number = 0;
    while !relays.iter().any(tokio::task::JoinHandle::is_finished) {
        store.append_to(&name("account-1"), Any, vec![event(number)]).await.unwrap();
        number += 1;
        assert!(number < 2_000, "they go on both");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_for(&kafka, &topic, 2, number).await;
    for relay in relays {
        if relay.is_finished() {
            let ended = relay.await.unwrap();
            assert!(matches!(ended, RelayError::TakenOver { .. }), "{ended:?}");
        } else {
            relay.abort();
        }
    }
    is_copy(&events(&consumed(&kafka, &topic, 2)), &all(&store).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_cannot_do_it_says() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let config = |topic: &str| KafkaConfig::new(kafka.servers(), topic);
    let store = MemoryStore::new();
    let ended = Relay::new(store.clone(), config(&topic)).catch_up().await.unwrap_err();
    assert!(matches!(ended, RelayError::Missing { .. }) && !ended.is_temporary(), "{ended:?}");
    let told = ended.to_string();
    assert!(told.contains("delete") && !told.contains("KafkaStore"), "{told}");

    // A compacted topic would keep of each stream one event; a cache's one that is not would forget the forgotten.
    let (compacted, plain) = (kafka.new_topic(), kafka.new_topic());
    make_topic(&kafka, &compacted, 1, &[("cleanup.policy", "compact")]).await;
    make_topic(&kafka, &plain, 1, &[("max.message.bytes", "2000")]).await;
    for relay in [
        Relay::new(store.clone(), config(&compacted)),
        Relay::new(store.clone(), config(&plain)).with_forgotten(&plain),
    ] {
        let ended = relay.catch_up().await.unwrap_err();
        let told = std::error::Error::source(&ended).unwrap().to_string();
        assert!(told.contains("cleanup.policy"), "{told}");
    }

    // What does not fit stops it, behind all that does.
    let stream = name("account-1");
    store.append_to(&stream, Any, vec![event(0), event(1)]).await.unwrap();
    let large = format!("\"{}\"", "x".repeat(2_000));
    let large = NewEvent::new("Large".parse().unwrap(), Json::parse(&large).unwrap());
    store.append_to(&stream, Any, vec![large.clone(), event(2)]).await.unwrap();
    for _ in 0..2 {
        let ended = Relay::new(store.clone(), config(&plain)).catch_up().await.unwrap_err();
        assert!(ended.to_string().contains("max.message.bytes"), "{ended}");
        assert!(matches!(ended, RelayError::TooLarge { id, .. } if id == large.id), "{ended:?}");
        assert_eq!(consumed(&kafka, &plain, 1).len(), 2);
    }

    // Where the topic does not say any more how far it came, somebody has to.
    use oubliette_kafka::rdkafka::{
        ClientConfig, Offset, TopicPartitionList,
        admin::{AdminClient, AdminOptions},
        client::DefaultClientContext,
    };
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.servers()).create().unwrap();
    let mut cut = TopicPartitionList::new();
    cut.add_partition_offset(&plain, 0, Offset::End).unwrap();
    admin.delete_records(&cut, &AdminOptions::new()).await.unwrap();
    let ended = Relay::new(store.clone(), config(&plain)).catch_up().await.unwrap_err();
    assert!(matches!(ended, RelayError::Expired { .. }), "{ended:?}");
    assert!(ended.to_string().contains("starting_after"));
    let third = all(&store).await[2].position;
    let relay = Relay::new(store.clone(), config(&plain)).starting_after(third);
    assert_eq!(relay.catch_up().await.unwrap().events, 1);
    let found = events(&consumed(&kafka, &plain, 1));
    assert_eq!(found[..], all(&store).await[3..]);
}

/// From Kafka to Kafka: the store's own topic has one partition, for consumers one may want more.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_kafka_is_relayed_as_any_other() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    make_topic(&kafka, &topic, 2, &[]).await;
    let own = KafkaConfig::new(kafka.servers(), kafka.new_topic());
    let store = oubliette_kafka::KafkaStore::create(own).await.unwrap();
    for number in 0..30 {
        let stream = format!("account-{}", number % 4);
        store.append_to(&name(&stream), Any, vec![event(number)]).await.unwrap();
    }
    let config = KafkaConfig::new(kafka.servers(), &topic);
    assert_eq!(Relay::new(store.clone(), config).catch_up().await.unwrap().events, 30);
    // How far it came is said by whichever partition the last event went to.
    for number in 0..8 {
        store.append_to(&name(&format!("user-{number}")), Any, vec![event(number)]).await.unwrap();
        let config = KafkaConfig::new(kafka.servers(), &topic);
        assert_eq!(Relay::new(store.clone(), config).catch_up().await.unwrap().events, 1);
    }
    is_copy(&events(&consumed(&kafka, &topic, 2)), &all(&store).await);
}
