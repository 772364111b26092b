//! What is refused, and in which words.

use std::time::Duration;

use oubliette::{
    event::{Json, NewEvent},
    store::{EventStoreExt, ExpectedRevision::Any, StoreError},
};
use oubliette_kafka::{
    KafkaConfig, KafkaStore, OpenError,
    rdkafka::{
        ClientConfig, Offset, TopicPartitionList,
        admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
        client::DefaultClientContext,
    },
};
use oubliette_servers::{Kafka, free_port};

use crate::{event, make_topic, name, start, start_with};

fn told(error: &OpenError) -> String {
    let mut told = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        told.push_str(&format!(": {error}"));
        source = error.source();
    }
    assert!(!told.contains("hunter2"), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_answers_is_named() {
    let config = KafkaConfig::new(format!("127.0.0.1:{}", free_port()), "bank")
        .with("sasl.username", "me")
        .with("sasl.password", "hunter2")
        .with_patience(Duration::from_secs(2));
    for refused in [
        KafkaStore::create(config.clone()).await,
        KafkaStore::open(config.clone()).await,
        KafkaStore::open_reader(config).await,
    ] {
        let error = refused.unwrap_err();
        assert!(
            error.is_temporary() && matches!(error, OpenError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(told(&error).contains("see whether the address is right"), "{}", told(&error));
    }
    let typo = KafkaConfig::new("127.0.0.1:1", "bank").with("sasl.pasword", "hunter2");
    let error = KafkaStore::open(typo).await.unwrap_err();
    assert!(told(&error).contains("sasl.pasword"), "{}", told(&error));
    let wrong = KafkaConfig::new("127.0.0.1:1", "bank").with("retries", "hunter2");
    let error = KafkaStore::open(wrong).await.unwrap_err();
    assert!(told(&error).contains("retries"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_would_lose_events_is_refused_and_left_alone() {
    let Some(kafka) = start() else { return };
    let config = |topic: &str| KafkaConfig::new(kafka.servers(), topic);
    let missing = KafkaStore::open(config("nowhere")).await.unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }) && !missing.is_temporary());
    assert!(told(&missing).contains("KafkaStore::create"));
    let keeps = [("retention.ms", "-1"), ("retention.bytes", "-1")];
    for (partitions, setting, value) in [
        (1, "retention.ms", "604800000"),
        (1, "retention.bytes", "1073741824"),
        (1, "cleanup.policy", "compact"),
        (3, "partitions", "3"),
    ] {
        let topic = kafka.new_topic();
        let mut settings: Vec<_> =
            keeps.iter().filter(|(name, _)| *name != setting).copied().collect();
        if partitions == 1 {
            settings.push((setting, value));
        }
        make_topic(&kafka, &topic, partitions, &settings).await;
        for refused in [
            KafkaStore::open(config(&topic)).await,
            KafkaStore::create(config(&topic)).await,
            KafkaStore::open_reader(config(&topic)).await,
        ] {
            let error = refused.unwrap_err();
            assert!(matches!(error, OpenError::Unfit { .. }) && !error.is_temporary(), "{error:?}");
            assert!(told(&error).contains(&format!("{setting} = {value}")), "{}", told(&error));
        }
        assert!(crate::consumed(&kafka, &topic, partitions).is_empty());
    }

    // What one broker's "stored" means is told.
    let topic = kafka.new_topic();
    let store = KafkaStore::create(config(&topic)).await.unwrap();
    let doubts = store.doubts().join("\n");
    assert!(
        doubts.contains("power cut") && doubts.contains("log.flush.interval.messages"),
        "{doubts}"
    );

    // Somebody deletes its beginning.
    for number in 0..3 {
        store.append_to(&name("account-a"), Any, vec![event(number)]).await.unwrap();
    }
    drop(store);
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.servers()).create().unwrap();
    let mut cut = TopicPartitionList::new();
    cut.add_partition_offset(&topic, 0, Offset::Offset(3)).unwrap();
    admin.delete_records(&cut, &AdminOptions::new()).await.unwrap();
    for refused in
        [KafkaStore::open(config(&topic)).await, KafkaStore::open_reader(config(&topic)).await]
    {
        assert!(matches!(refused, Err(OpenError::Cut { begins: 3, .. })), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_doubt_about_a_broker_that_writes_everything_through() {
    let Some(kafka) = start_with(&[("log.flush.interval.messages", "1")]) else { return };
    let store = KafkaStore::create(KafkaConfig::new(kafka.servers(), "bank")).await.unwrap();
    assert!(store.doubts().is_empty(), "{:?}", store.doubts());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_does_not_take_is_refused_before_it_is_sent() {
    let Some(kafka) = start() else { return };
    let topic = kafka.new_topic();
    let settings = [("retention.ms", "-1"), ("max.message.bytes", "20000")];
    make_topic(&kafka, &topic, 1, &settings).await;
    let store = KafkaStore::open(KafkaConfig::new(kafka.servers(), &topic)).await.unwrap();
    let stream = name("account-a");
    let of = |bytes: usize| NewEvent {
        data: Json::parse(&format!("\"{}\"", "x".repeat(bytes))).unwrap().into(),
        ..event(0)
    };
    let refused = store.append_to(&stream, Any, vec![event(0), of(20_000)]).await.unwrap_err();
    let StoreError::Invalid(why) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("max.message.bytes") && why.contains("20000"), "{why}");
    let metadata = Json::parse(&format!("{{\"note\":\"{}\"}}", "x".repeat(20_000))).unwrap();
    let refused = store.append_to(&stream, Any, vec![event(0).with_metadata(metadata)]).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    // What is said to fit does, also many of them at once.
    let fits: Vec<NewEvent> = (0..50).map(|_| of(19_400)).collect();
    store.append_to(&stream, Any, fits).await.unwrap();
    assert_eq!(crate::all(&store).await.len(), 50);
}

/// Who may what, by Kafka's own rules: an administrator, one who may only read, one with a wrong password.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_right_is_told_which() {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" \
                password=\"hunter2\" user_admin=\"hunter2\" user_guest=\"hunter2\";";
    let Some(kafka) = start_with(&[
        ("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.plaintext.plain.sasl.jaas.config", jaas),
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", "User:admin;User:ANONYMOUS"),
    ]) else {
        return;
    };
    let login = |user: &str, password: &str| {
        KafkaConfig::new(kafka.servers(), "bank")
            .with("security.protocol", "SASL_PLAINTEXT")
            .with("sasl.mechanism", "PLAIN")
            .with("sasl.username", user)
            .with("sasl.password", password)
            .with_patience(Duration::from_secs(5))
    };
    let store = KafkaStore::create(login("admin", "hunter2")).await.unwrap();
    store.append_to(&name("account-a"), Any, vec![event(0)]).await.unwrap();
    let error = KafkaStore::open(login("guest", "hunter2")).await.unwrap_err();
    // Without a right on it Kafka does not even show it.
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(told(&error).contains("grant this program `Describe`"));
    let error = KafkaStore::create(login("guest", "hunter2")).await.unwrap_err();
    assert!(matches!(error, OpenError::Denied { .. }) && !error.is_temporary(), "{error:?}");
    told(&error);
    let error = KafkaStore::open(login("admin", "hunter3")).await.unwrap_err();
    assert!(told(&error).contains("uthentication"), "{}", told(&error));
    assert!(matches!(error, OpenError::Denied { .. }), "{error:?}");
    // The writer is still the writer.
    store.append_to(&name("account-a"), Any, vec![event(1)]).await.unwrap();
}

/// Lowers settings of a topic beneath an open store.
async fn alter(kafka: &Kafka, topic: &str, setting: &str, value: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.servers()).create().unwrap();
    let altered = AlterConfig::new(ResourceSpecifier::Topic(topic))
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1")
        .set(setting, value);
    admin.alter_configs([&altered], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    // The broker takes it a moment later.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_broker_refuses_fails_alone_and_what_comes_behind_it_does_not() {
    let Some(kafka) = start() else { return };
    let config = KafkaConfig::new(kafka.servers(), kafka.new_topic());
    let store = KafkaStore::create(config.clone()).await.unwrap();
    store.append_to(&name("account-a"), Any, vec![event(0)]).await.unwrap();
    alter(&kafka, config.topic(), "max.message.bytes", "1000").await;
    let large = NewEvent {
        data: Json::parse(&format!("\"{}\"", "x".repeat(5_000))).unwrap().into(),
        ..event(0)
    };
    for number in 0..2 {
        let refused = store.append_to(&name("account-a"), Any, vec![large.clone()]).await;
        let StoreError::Invalid(why) = refused.unwrap_err() else { panic!("it is not temporary") };
        assert!(why.contains("max.message.bytes"), "{why}");
        store.append_to(&name("account-b"), Any, vec![event(number)]).await.unwrap();
    }
    // Among those that share its transaction, in an order that stays.
    let appends = (0..40).map(|number| {
        let (store, large) = (store.clone(), large.clone());
        let new = if number == 20 { large } else { event(number) };
        let stream = name(&format!("account-{}", number % 4));
        tokio::spawn(async move { store.append_to(&stream, Any, vec![new]).await })
    });
    let answers = futures::future::join_all(appends).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match answer.unwrap() {
            Err(StoreError::Invalid(_)) if number == 20 => {}
            Ok(_) if number != 20 => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    let found = crate::all(&store).await;
    crate::is_sound(&found);
    assert_eq!(found.len(), 42);
    // A time that the topic does not take any more.
    alter(&kafka, config.topic(), "message.timestamp.before.max.ms", "1").await;
    let refused = store.append_to(&name("account-a"), Any, vec![event(0)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)), "{refused:?}");
    alter(&kafka, config.topic(), "max.message.bytes", "1000000").await;
    store.append_to(&name("account-a"), Any, vec![large]).await.unwrap();
    assert_eq!(crate::all(&KafkaStore::open(config).await.unwrap()).await.len(), 43);
}

/// A broker forgets producers that wrote nothing for some days; here for some seconds.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_append_after_a_long_while_is_stored() {
    let Some(kafka) = start_with(&[
        ("transactional.id.expiration.ms", "3000"),
        ("transaction.remove.expired.transaction.cleanup.interval.ms", "500"),
        ("producer.id.expiration.ms", "2000"),
        ("producer.id.expiration.check.interval.ms", "500"),
    ]) else {
        return;
    };
    let store = KafkaStore::create(KafkaConfig::new(kafka.servers(), "bank")).await.unwrap();
    for number in 0..2 {
        store.append_to(&name("account-a"), Any, vec![event(number)]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    store.append_to(&name("account-a"), Any, vec![event(2)]).await.unwrap();
    let found = crate::all(&store).await;
    crate::is_sound(&found);
    assert_eq!(found.len(), 3);
}
