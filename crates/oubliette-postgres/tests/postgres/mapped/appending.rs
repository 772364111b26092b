//! Appending to a table that others write to as well.

use std::{collections::HashSet, time::Duration};

use oubliette::{
    event::{EventId, EventType, Json, Revision},
    store::{Append, Capability, Current, EventStore, EventStoreExt, ExpectedRevision, StoreError},
};
use oubliette_postgres::{Options, PostgresError, TableMapping, TableStore};

use super::{EVENTS, database, events, row, table};
use crate::world::{client, event, everything, postgres, stream};

/// What others insert keeps its place: of two that want a revision one gets it, whoever they are.
#[tokio::test(flavor = "multi_thread")]
async fn we_and_others_write_to_the_same_streams() {
    let Some(postgres) = postgres() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    let url = postgres.url(&name);
    let mut tasks = Vec::new();
    for writer in 0..6 {
        let url = url.clone();
        tasks.push(tokio::spawn(async move {
            let client = client(&url).await;
            for number in 0..30 {
                let of = ("user", if (writer + number) % 4 == 0 { "2" } else { "1" });
                loop {
                    // As an application does: the next one behind the last that it saw.
                    let sql = format!(
                        "SELECT coalesce(max(sequence), 0) FROM events WHERE aggregate_id = '{}'",
                        of.1
                    );
                    let last: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
                    let next = usize::try_from(last + 1).unwrap();
                    if client.batch_execute(&row(of, next, "{}")).await.is_ok() {
                        break;
                    }
                }
            }
            HashSet::new()
        }));
    }
    for writer in 0..6 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut ids = HashSet::new();
            for number in 0..30 {
                let names = if (writer + number) % 3 == 0 {
                    &["user-1", "user-2"][..]
                } else {
                    &["user-1"]
                };
                let append = |name: &&str| {
                    Append::new(stream(name), ExpectedRevision::Any, vec![event("{}")])
                };
                let appends: Vec<Append> = names.iter().map(append).collect();
                ids.extend(appends.iter().flat_map(|append| &append.events).map(|event| event.id));
                store.append(appends).await.unwrap();
            }
            ids
        }));
    }
    let mut ours = HashSet::new();
    for task in tasks {
        ours.extend(task.await.unwrap());
    }
    for name in ["user-1", "user-2"] {
        let events = store.events(&stream(name), Default::default()).await.unwrap();
        let revisions: Vec<u64> = events.iter().map(|event| event.revision.0).collect();
        assert_eq!(revisions, (0..events.len() as u64).collect::<Vec<_>>(), "{name}");
        assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position), "{name}");
    }
    let all = everything(&store).await;
    let there: HashSet<EventId> = all.iter().map(|event| event.id).collect();
    assert!(ours.is_subset(&there));
    assert_eq!(all.len(), 180 + ours.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_somebody_else_says_where_the_stream_is() {
    let Some(postgres) = postgres() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    let first = store
        .append_to(&stream("user-1"), ExpectedRevision::NoStream, vec![event("{}")])
        .await
        .unwrap();
    // Another one is quicker, and has not committed yet: we wait for it.
    let other = client(&postgres.url(&name)).await;
    other.batch_execute(&format!("BEGIN; {}", row(("user", "1"), 2, "{}"))).await.unwrap();
    let appending = tokio::spawn({
        let store = store.clone();
        async move {
            let expected = ExpectedRevision::Exact(first.revision);
            store.append_to(&stream("user-1"), expected, vec![event("{}")]).await
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!appending.is_finished());
    other.batch_execute("COMMIT").await.unwrap();
    match appending.await.unwrap() {
        Err(StoreError::Conflict { actual, .. }) => {
            assert_eq!(actual, Some(Current::Revision(Revision(1))));
        }
        other => panic!("{other:?}"),
    }
    // Had it been rolled back, ours would have been in time.
    other.batch_execute(&format!("BEGIN; {}", row(("user", "1"), 3, "{}"))).await.unwrap();
    let appending = tokio::spawn({
        let store = store.clone();
        async move { store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(appending.await.unwrap().unwrap().revision.0, 2);
}

/// One who holds a revision open for longer than the store waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_somebody_holds_up_ends_and_leaves_nothing() {
    let Some(postgres) = postgres() else { return };
    let (name, _) = table(&postgres, EVENTS, events()).await;
    let url = postgres.url(&name);
    let store = TableStore::open(Options::new(&url).patience(Duration::from_millis(400)), events())
        .await
        .unwrap();
    let other = client(&url).await;
    other.batch_execute(&format!("BEGIN; {}", row(("user", "1"), 1, "{}"))).await.unwrap();
    let held = store
        .append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")])
        .await
        .unwrap_err();
    let StoreError::Backend { source, temporary: true } = &held else { panic!("{held:?}") };
    assert_eq!(source.downcast_ref(), Some(&PostgresError::Held));
    other.batch_execute("COMMIT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(everything(&store).await.len(), 1);
}

/// What the table's own rules refuse is refused with words, and nothing of what was appended is in them.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_refuses_is_invalid_and_nothing_of_it_is_told() {
    let Some(postgres) = postgres() else { return };
    let sql = EVENTS.replace("event_type text", "event_type varchar(20)") + ";
        CREATE UNIQUE INDEX once ON events (event_type) WHERE event_type = 'Founded';
        ALTER TABLE events ADD CONSTRAINT positive CHECK (payload ->> 'amount' IS NULL OR (payload ->> 'amount')::numeric > 0);
        CREATE FUNCTION strict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.payload ->> 'who' = 'Ringelnatz' THEN RAISE EXCEPTION 'no % here', NEW.payload; END IF;
            IF NEW.payload ->> 'who' = 'nobody' THEN RETURN NULL; END IF;
            IF NEW.payload ->> 'who' = 'later' THEN NEW.sequence := NEW.sequence + 1; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER strict BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION strict()";
    let (_, store) = table(&postgres, &sql, events()).await;
    let founded = |data: &str| {
        let mut founded = event(data);
        founded.event_type = EventType::new("Founded").unwrap();
        founded
    };
    store.append_to(&stream("firm-1"), ExpectedRevision::Any, vec![founded("{}")]).await.unwrap();
    let mut long = event(r#"{"surname":"Ringelnatz"}"#);
    long.event_type = EventType::new("SomethingThatHasALongName").unwrap();
    for (refused, told) in [
        (founded(r#"{"surname":"Ringelnatz"}"#), "index once"),
        (event(r#"{"surname":"Ringelnatz","amount":-1}"#), "constraint positive"),
        (event(r#"{"who":"Ringelnatz"}"#), "trigger"),
        (long, "too long"),
    ] {
        let refused = store
            .append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}"), refused])
            .await;
        let Err(error @ StoreError::Invalid(_)) = refused else { panic!("{told}: {refused:?}") };
        let text = format!("{error} {error:?}");
        assert!(text.contains(told) && !text.contains("Ringelnatz"), "{text}");
    }
    for who in ["nobody", "later"] {
        let data = format!(r#"{{"who":"{who}"}}"#);
        let changed = store
            .append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}"), event(&data)])
            .await;
        let Err(StoreError::Backend { source, temporary: false }) = &changed else {
            panic!("{who}: {changed:?}")
        };
        assert!(source.to_string().contains("trigger"), "{source}");
    }
    assert!(store.events(&stream("user-1"), Default::default()).await.unwrap().is_empty());
    assert_eq!(everything(&store).await.len(), 1);
}

/// What the mapping has no place for is refused, and not left out.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_place_is_refused() {
    let Some(postgres) = postgres() else { return };
    let sql = EVENTS.replace("metadata json,", "");
    let without = TableMapping::parse(
        "table = 'events'\nposition = 'position'\nstream = '{aggregate_type}-{aggregate_id}'\nrevision = 'sequence'\n\
         id = 'event_id'\ntype = 'event_type'\ndata = 'payload'\nrecorded = 'at'",
    )
    .unwrap();
    let (_, store) = table(&postgres, &sql, without).await;
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    let with = event("{}").with_metadata(Json::parse(r#"{"a":1}"#).unwrap());
    let refused = store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![with]).await;
    assert!(
        matches!(&refused, Err(StoreError::Invalid(told)) if told.contains("`metadata`")),
        "{refused:?}"
    );
    let restored = store.restore(everything(&store).await).await;
    assert!(matches!(restored, Err(StoreError::Unsupported(Capability::Restore))));

    let sql = EVENTS.replace("event_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,", "")
        + "; CREATE UNIQUE INDEX ON events ((metadata ->> '$event_id'))";
    let mapping = TableMapping::parse(
        "table = 'events'\nposition = 'position'\nstream = '{aggregate_type}-{aggregate_id}'\nrevision = 'sequence'\n\
         type = 'event_type'\ndata = 'payload'\nmetadata = 'metadata'\nrecorded = 'at'",
    )
    .unwrap();
    let (name, store) = table(&postgres, &sql, mapping).await;
    let taken = event("{}").with_metadata(Json::parse(r#"{"$event_id":"x"}"#).unwrap());
    let refused = store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![taken]).await;
    assert!(
        matches!(&refused, Err(StoreError::Invalid(told)) if told.contains("$event_id")),
        "{refused:?}"
    );
    // As others read what we wrote.
    let id = EventId::random();
    let ours =
        event("{}").with_id(id).with_metadata(Json::parse(r#"{ "trace" : "t-1" }"#).unwrap());
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![ours]).await.unwrap();
    assert_eq!(
        postgres.sql(&name, "SELECT metadata FROM events"),
        format!(r#"{{"$event_id":"{id}", "trace" : "t-1" }}"#)
    );
}

/// Two databases on one server have tables and transactions of their own.
#[tokio::test(flavor = "multi_thread")]
async fn another_database_of_the_server_keeps_nobody_waiting() {
    let Some(postgres) = postgres() else { return };
    let url = postgres.database();
    // The same oid is likely: the other database is a copy.
    postgres.sql(database(&url), EVENTS);
    postgres.sql("postgres", &format!("CREATE DATABASE other TEMPLATE {}", database(&url)));
    let options = Options::new(&url).patience(Duration::from_millis(500));
    let store = TableStore::open(options, events()).await.unwrap();
    let other = client(&postgres.url("other")).await;
    other.batch_execute(&format!("BEGIN; {}", row(("user", "1"), 1, "{}"))).await.unwrap();
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    assert_eq!(everything(&store).await.len(), 1);
}
