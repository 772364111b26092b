//! What is in the tables, what comes back, and what does not because somebody changed it.

use std::collections::HashMap;

use cqrs_es::{
    AggregateError, EventStore,
    persist::{PersistedEventStore, PersistenceError, QueryReplay},
};
use oubliette_cqrs_es::bank::Account;

use crate::world::{
    BankError, OF_ADA, OF_BEN, Seen, World, assert_has_none, bank, life, live, payloads, seal_error,
};

#[tokio::test]
async fn nothing_of_a_person_is_in_any_table() {
    let Some(world) = World::new().await else { return };
    // What the framework does by itself, so that the search is known to find what is there.
    let plain = bank(PersistedEventStore::new_snapshot_store(world.plain(), 2));
    live(&plain, "plain", life(OF_ADA, "customer-1")).await;
    let clear = world.dump().await;
    for word in OF_ADA {
        assert!(clear.matches(word).count() >= 1, "{word}");
    }
    assert!(clear.matches("Ringelnatz").count() >= 2, "in the snapshot as well");
    assert!(clear.contains("Petersen"), "in the metadata");

    world.run("DELETE FROM events; DELETE FROM snapshots").await;
    let store = PersistedEventStore::new_snapshot_store(world.sealed(), 2);
    let sealed = bank(store);
    live(&sealed, "1", life(OF_ADA, "customer-1")).await;
    live(&sealed, "2", life(OF_BEN, "customer-2")).await;
    let dump = world.dump().await;
    assert_has_none(&dump, &OF_ADA);
    assert_has_none(&dump, &OF_BEN);
    assert_has_none(&dump, &["Petersen", "Harbour", "0042", "holder", "is_open"]);
    assert_eq!(world.number("SELECT count(*) FROM snapshots").await, 2);
    // What the policy calls public is there.
    assert!(dump.contains("customer-1") && dump.contains(r#"""balance"": 70"#), "{dump}");
}

#[tokio::test]
async fn what_was_stored_comes_back() {
    let Some(world) = World::new().await else { return };
    let plain = bank(PersistedEventStore::new_event_store(world.plain()));
    live(&plain, "plain", life(OF_ADA, "customer-1")).await;
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;

    let as_it_was: Vec<_> = {
        let store = PersistedEventStore::<_, Account>::new_event_store(world.plain());
        store.load_events("plain").await.unwrap()
    };
    let opened = world.store().load_events("1").await.unwrap();
    let clerk = HashMap::from([("clerk".to_owned(), "Mr. Petersen".to_owned())]);
    assert!(opened.iter().all(|event| event.metadata == clerk));
    let numbers: Vec<_> = opened.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(payloads(opened), payloads(as_it_was));
    assert_eq!(world.account("1").await.balance, 50);
}

#[tokio::test]
async fn queries_are_replayed() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    live(&world.bank(), "2", life(OF_BEN, "customer-2")).await;

    let one = Seen::default();
    QueryReplay::new(world.sealed(), one.clone()).replay("1").await.unwrap();
    let all = Seen::default();
    QueryReplay::new(world.sealed(), all.clone()).replay_all().await.unwrap();
    for (account, seen) in [("1", &one), ("1", &all), ("2", &all)] {
        let numbers: Vec<_> = seen.of(account).iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        let events: Vec<_> = seen.of(account).into_iter().map(|(_, event)| event).collect();
        assert_eq!(events, world.events(account).await);
    }
    assert!(one.of("2").is_empty());
}

#[tokio::test]
async fn what_was_there_before_is_read_and_counted() {
    let Some(world) = World::new().await else { return };
    let plain = bank(PersistedEventStore::new_event_store(world.plain()));
    let mut commands = life(OF_ADA, "customer-1");
    let later = commands.split_off(2);
    live(&plain, "1", commands).await;

    live(&world.bank(), "1", later).await;
    assert_eq!(world.account("1").await.balance, 50);
    assert_eq!(world.sealed().unsealed::<Account>("1").await.unwrap(), 2);
    let dump = world.dump().await;
    assert!(dump.contains("Ringelnatz") && !dump.contains("Weiss"), "the later ones are sealed");
}

/// How an account reads, after a change to the rows.
async fn load_after(world: &World, account: &str, change: &str) -> Result<Account, BankError> {
    world.run("CREATE TABLE kept AS TABLE events").await;
    world.run(change).await;
    let differ = "SELECT count(*) FROM (SELECT e::text FROM events e EXCEPT SELECT k::text FROM kept k) changed";
    assert!(
        world.number(differ).await > 0,
        "{change}: {:?}",
        world.texts("SELECT payload::text FROM kept").await
    );
    let loaded = world.store().load_aggregate(account).await.map(|context| context.aggregate);
    world.run("DELETE FROM events; INSERT INTO events SELECT * FROM kept; DROP TABLE kept").await;
    loaded
}

const MOVED: [(&str, &str); 7] = [
    (
        "to another place of its account",
        "UPDATE events e SET payload = o.payload, metadata = o.metadata, event_type = o.event_type FROM events o \
         WHERE e.aggregate_id = '1' AND e.sequence = 3 AND o.aggregate_id = '1' AND o.sequence = 2",
    ),
    (
        "to another account",
        "UPDATE events e SET payload = o.payload, metadata = o.metadata FROM events o \
         WHERE e.aggregate_id = '1' AND o.aggregate_id = '2' AND e.sequence = 2 AND o.sequence = 2",
    ),
    (
        "without what it is known by",
        "UPDATE events e SET payload = o.payload, metadata = (o.metadata::jsonb - '$event_id')::json FROM events o \
         WHERE e.aggregate_id = '1' AND o.aggregate_id = '2' AND e.sequence = 2 AND o.sequence = 2",
    ),
    (
        "in two places",
        "INSERT INTO events SELECT aggregate_type, aggregate_id, 5, event_type, event_version, payload, metadata FROM events \
         WHERE aggregate_id = '1' AND sequence = 2",
    ),
    (
        "as an event of another type",
        "UPDATE events SET event_type = 'CashWithdrawn' WHERE aggregate_id = '1' AND sequence = 2",
    ),
    (
        "with another public part",
        "UPDATE events SET payload = replace(payload::text, '\"balance\": 100', '\"balance\": 900')::json \
         WHERE aggregate_id = '1' AND sequence = 2",
    ),
    (
        "with the id of its new place",
        "UPDATE events e SET payload = o.payload FROM events o \
         WHERE e.aggregate_id = '1' AND o.aggregate_id = '1' AND e.sequence = 3 AND o.sequence = 4",
    ),
];

#[tokio::test]
async fn a_row_that_was_moved_is_tampered_with_and_not_shredded() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    live(&world.bank(), "2", life(OF_BEN, "customer-2")).await;
    for (how, change) in MOVED {
        let error = load_after(&world, "1", change).await.expect_err(how);
        assert!(seal_error(&error).is_tampered(), "{how}: {error}");
        assert_has_none(&format!("{error} {error:?}"), &OF_ADA);
    }
    world.account("1").await;

    // Nor does it pass for the hole that it would leave: neither of one who is forgotten, nor in their place.
    world.forget("customer-1").await;
    for (how, change) in MOVED {
        let error = load_after(&world, "1", change).await.expect_err(how);
        assert!(seal_error(&error).is_tampered(), "{how}, forgotten: {error}");
    }
    world.account("1").await;
}

#[tokio::test]
async fn another_version_is_tampering() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    let change = "UPDATE events SET event_version = '0.9' WHERE sequence = 2";
    let error = load_after(&world, "1", change).await.unwrap_err();
    assert!(seal_error(&error).is_tampered(), "{error}");
}

#[tokio::test]
async fn one_bad_row_does_not_end_a_replay() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    world.run(MOVED[0].1).await;
    let (seen, errors) = (Seen::default(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let mut replay = QueryReplay::new(world.sealed(), seen.clone());
    let told = errors.clone();
    replay.use_error_handler(Box::new(move |error| told.lock().unwrap().push(error)));
    replay.replay_all().await.unwrap();
    let numbers: Vec<_> = seen.of("1").iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2, 4]);
    let errors = errors.lock().unwrap();
    assert!(matches!(errors.as_slice(), [PersistenceError::UnknownError(_)]), "{errors:?}");
}

#[tokio::test]
async fn an_id_that_is_no_name_is_refused_before_anything_is_stored() {
    let Some(world) = World::new().await else { return };
    for account in ["with space", "ada@example.org", "cafe\u{301}"] {
        let commands = life(OF_ADA, "customer-1");
        let refused = world.bank().execute(account, commands[0].clone()).await.unwrap_err();
        assert!(matches!(refused, AggregateError::UnexpectedError(_)), "{refused:?}");
    }
    assert_eq!(world.number("SELECT count(*) FROM events").await, 0);
    assert!(world.codec.unsettled().unwrap().is_empty());
}
