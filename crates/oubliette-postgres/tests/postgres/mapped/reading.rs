//! Rows that were there before: how they are read, and those of which no event can be made.

use std::collections::HashSet;

use futures::TryStreamExt;
use oubliette::{
    event::{EventId, EventType, Position, StreamName},
    store::{
        Capability, Delivery, EventStore, EventStoreExt, ExpectedRevision, Filter, ReadAllOptions,
        StoreError,
    },
};
use oubliette_postgres::{Options, TableMapping, TableStore};

use super::{EVENTS, database, events, row, table};
use crate::world::{event, everything, postgres, stream};

/// A table in clear as cqrs-es makes it, with a position added.
const CQRS: &str = "CREATE TABLE events (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL,
    event_version text NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
INSERT INTO events SELECT 'account', (n % 10)::text, n / 10 + 1, 'Paid', '1.0', '{ \"n\" : 1.50 }', '{}'
    FROM generate_series(0, 99) n;
ALTER TABLE events ADD position bigint GENERATED ALWAYS AS IDENTITY UNIQUE";

fn cqrs() -> TableMapping {
    TableMapping::new("events")
        .position("position")
        .stream("{aggregate_type}-{aggregate_id}")
        .revision("sequence")
        .first_revision(1)
        .event_type("event_type")
        .data("payload")
        .metadata("metadata")
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_ids_have_the_same_ones_each_time_and_however_they_are_read() {
    let Some(postgres) = postgres() else { return };
    let (name, store) = table(&postgres, CQRS, cqrs()).await;
    let all = everything(&store).await;
    assert_eq!(all.len(), 100);
    let ids: HashSet<EventId> = all.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 100);
    let again = TableStore::open(Options::new(postgres.url(&name)), cqrs()).await.unwrap();
    assert_eq!(everything(&again).await, all);
    let seven = store.events(&stream("account-7"), Default::default()).await.unwrap();
    assert_eq!(
        seven.iter().map(|event| event.revision.0).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
    assert!(seven.iter().all(|event| all.contains(event)));
    // Not of the payload: what is changed in it changes nothing.
    postgres.sql(&name, "UPDATE events SET payload = '{}'");
    assert!(everything(&store).await.iter().zip(&all).all(|(now, before)| now.id == before.id));
    // By one who writes the table's name in another way.
    let named = TableMapping::parse(
        "table = 'public.events'\nposition = 'position'\nstream = '{aggregate_type}-{aggregate_id}'\nrevision = 'sequence'\n\
         first_revision = 1\ntype = 'event_type'\ndata = 'payload'",
    );
    let named = TableStore::open(Options::new(postgres.url(&name)), named.unwrap()).await.unwrap();
    assert!(everything(&named).await.iter().zip(&all).all(|(now, before)| now.id == before.id));
    assert!(
        store.doubts().iter().any(|doubt| doubt.contains("`recorded`")),
        "{:?}",
        store.doubts()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_as_text_is_itself_where_it_is_a_uuid_and_derived_where_it_is_not() {
    let Some(postgres) = postgres() else { return };
    let sql = EVENTS
        .replace("event_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE", "event_id text UNIQUE");
    let (name, store) = table(&postgres, &sql, events()).await;
    let uuid = EventId::random();
    for (number, id) in
        [uuid.to_string(), uuid.to_string().to_uppercase(), "evt_1".into(), "evt_2".into()]
            .iter()
            .enumerate()
    {
        let sql = row(("user", "1"), number + 1, "{}");
        let sql = sql
            .replace("(aggregate_type", "(event_id, aggregate_type")
            .replace("VALUES (", &format!("VALUES ('{id}', "));
        postgres.sql(&name, &sql);
    }
    postgres.sql(&name, &row(("user", "1"), 5, "{}"));
    let ids: Vec<EventId> = everything(&store).await.iter().map(|event| event.id).collect();
    assert_eq!(ids[0], uuid);
    let others: HashSet<&EventId> = ids.iter().collect();
    assert_eq!(others.len(), 5);
}

/// Each kind of damage: what is there before and behind it can be read, and the error says where it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_told_with_its_position_and_keeps_nobody_from_the_rest() {
    let Some(postgres) = postgres() else { return };
    let loose = EVENTS
        .replace("NOT NULL,", ",")
        .replace("NOT NULL DEFAULT", "DEFAULT")
        .replace("payload json", "payload text");
    for (number, damage) in [
        "sequence = NULL",
        "sequence = 0",
        "aggregate_id = NULL",
        "aggregate_id = repeat('x', 300)",
    ]
    .into_iter()
    .enumerate()
    {
        let (name, store) = table(&postgres, &loose, events()).await;
        for sequence in 1..=5 {
            postgres.sql(&name, &row(("user", "1"), sequence, "{}"));
        }
        postgres.sql(&name, &format!("UPDATE events SET {damage} WHERE position = 3"));
        let third = Position::number(3);
        let is_told = |error: StoreError| match error {
            StoreError::Damaged { position, source } => {
                assert_eq!(position, third, "{damage}");
                assert!(source.to_string().contains("repair the row"), "{source}");
            }
            other => panic!("{damage}: {other:?}"),
        };
        for filter in [
            Filter::default(),
            Filter { stream_prefixes: vec!["user".into()], event_types: vec![] },
        ] {
            let mut deliveries = store.subscribe(None, filter.clone());
            for expected in 1..=2 {
                let delivery = deliveries.try_next().await.unwrap();
                let Some(Delivery::Event(event)) = delivery else {
                    panic!("{damage}: {delivery:?}")
                };
                assert_eq!(event.position, Position::number(expected));
            }
            is_told(deliveries.try_next().await.unwrap_err());
            assert!(deliveries.try_next().await.unwrap().is_none());
            let mut behind = store.subscribe(Some(third), filter);
            assert!(
                matches!(behind.try_next().await.unwrap(), Some(Delivery::Event(_))),
                "{damage}"
            );
        }
        let mut all = store.read_all(ReadAllOptions::default());
        assert!(all.try_next().await.unwrap().is_some() && all.try_next().await.unwrap().is_some());
        is_told(all.try_next().await.unwrap_err());
        let behind = ReadAllOptions { after: Some(third), ..ReadAllOptions::default() };
        let behind: Vec<_> = store.read_all(behind).try_collect().await.unwrap();
        assert_eq!(behind.len(), 2, "{number}");
    }
}

/// Rows at the end may have been deleted: what the sequence gave was given.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_sequence_never_gave_is_refused_and_that_of_a_deleted_row_is_not() {
    let Some(postgres) = postgres() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    for sequence in 1..=5 {
        postgres.sql(&name, &row(("user", "1"), sequence, "{}"));
    }
    postgres.sql(&name, "DELETE FROM events WHERE position > 3");
    for (position, is_ours) in [(3, true), (5, true), (6, false), (u64::MAX, false)] {
        let position = Position::number(position);
        match store.subscribe(Some(position), Filter::default()).try_next().await {
            Ok(Some(Delivery::CaughtUp)) => assert!(is_ours, "{position}"),
            Err(StoreError::ForeignPosition(named)) => assert!(!is_ours && named == position),
            other => panic!("{position}: {other:?}"),
        }
    }
    // Whether it gave it cannot be told by who may not look at it.
    postgres.sql(
        &name,
        "CREATE ROLE looks LOGIN; GRANT SELECT ON events TO looks;
         REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM looks, public",
    );
    let looks = postgres.url(&name).replace("postgres@", "looks@");
    let reader = TableStore::open(Options::new(looks), events()).await.unwrap();
    let mut waits = reader.subscribe(Some(Position::number(6)), Filter::default());
    assert!(matches!(waits.try_next().await, Ok(Some(Delivery::CaughtUp))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_position_is_damage() {
    let Some(postgres) = postgres() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    let negative =
        row(("user", "1"), 1, "{}").replace("(aggregate_type", "(position, aggregate_type");
    postgres.sql(&name, &negative.replace(" VALUES (", " OVERRIDING SYSTEM VALUE VALUES (-7, "));
    postgres.sql(&name, &row(("user", "2"), 1, "{}"));
    let all: Result<Vec<_>, _> = store.read_all(ReadAllOptions::default()).try_collect().await;
    assert!(matches!(all, Err(StoreError::Damaged { .. })), "{all:?}");
    assert_eq!(store.events(&stream("user-2"), Default::default()).await.unwrap().len(), 1);
    let after = Some(Position::number(0));
    let rest: Vec<_> =
        store.read_all(ReadAllOptions { after, ..Default::default() }).try_collect().await.unwrap();
    assert_eq!(rest.len(), 1);
}

/// A name that the columns cannot hold is that of an empty stream, and nobody can append to it.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_do_not_fit_the_table_are_empty_and_refused() {
    let Some(postgres) = postgres() else { return };
    let sql = EVENTS
        .replace("aggregate_type text", "aggregate_type int")
        .replace("aggregate_id text", "aggregate_id uuid");
    let (_, store) = table(&postgres, &sql, events()).await;
    let uuid = EventId::random().to_string();
    let fits = format!("7-{uuid}");
    store.append_to(&stream(&fits), ExpectedRevision::NoStream, vec![event("{}")]).await.unwrap();
    for name in [
        "ledger",
        "user-7",
        "7-7",
        &format!("07-{uuid}"),
        &format!("7-{}", uuid.to_uppercase()),
        &format!("99999999999-{uuid}"),
    ] {
        let name: StreamName = stream(name);
        assert!(store.events(&name, Default::default()).await.unwrap().is_empty());
        let refused = store.append_to(&name, ExpectedRevision::Any, vec![event("{}")]).await;
        let Err(StoreError::Invalid(told)) = refused else { panic!("{name}: {refused:?}") };
        assert!(
            told.contains("{aggregate_type}-{aggregate_id}") && told.contains("uuid"),
            "{told}"
        );
    }
    assert_eq!(everything(&store).await[0].stream.as_str(), fits);
}

/// Large rows come in several pages, and a filter that lets little through looks at many rows at once.
#[tokio::test(flavor = "multi_thread")]
async fn many_rows_and_large_ones_are_read_in_pages() {
    let Some(postgres) = postgres() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    postgres.sql(
        &name,
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, payload)
            SELECT 'user', (n % 7)::text, n / 7 + 1, CASE WHEN n % 997 = 0 THEN 'Rare' ELSE 'Often' END,
                ('\"' || repeat(md5(n::text), CASE WHEN n % 50 = 0 THEN 4000 ELSE 3 END) || '\"')::json
            FROM generate_series(0, 6999) n",
    );
    let all = everything(&store).await;
    assert_eq!(all.len(), 7000);
    let filter = Filter { event_types: vec![EventType::new("Rare").unwrap()], ..Filter::default() };
    let mut deliveries = store.subscribe(None, filter);
    let mut rare = Vec::new();
    while let Some(Delivery::Event(event)) = deliveries.try_next().await.unwrap() {
        rare.push(event);
    }
    let expected: Vec<_> =
        all.iter().filter(|event| event.event_type.as_str() == "Rare").cloned().collect();
    assert!(rare.len() == 8 && rare == expected);
}

/// Without a sequence nobody can say which position comes next.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_nothing_orders_leaves_reading_all_out() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    let sql = EVENTS.replace(
        "position bigint GENERATED ALWAYS AS IDENTITY",
        "position bigint DEFAULT (random() * 1e15)::bigint",
    );
    postgres.sql(database(&url), &sql);
    let store = TableStore::open(Options::new(&url), events()).await.unwrap();
    postgres.sql(database(&url), &row(("user", "1"), 1, "{}"));
    assert!(store.doubts()[0].contains("`sequence`"), "{:?}", store.doubts());
    for capability in [Capability::ReadAll, Capability::Subscribe] {
        assert!(!store.capabilities().has(capability));
    }
    let all: Result<Vec<_>, _> = store.read_all(ReadAllOptions::default()).try_collect().await;
    assert!(matches!(all, Err(StoreError::Unsupported(Capability::ReadAll))));
    let subscribed = store.subscribe(None, Filter::default()).try_next().await;
    assert!(matches!(subscribed, Err(StoreError::Unsupported(Capability::Subscribe))));
    assert_eq!(store.events(&stream("user-1"), Default::default()).await.unwrap().len(), 1);
}
