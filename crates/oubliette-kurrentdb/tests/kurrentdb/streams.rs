//! What operators and other programs do in the same database.

use oubliette::{
    event::Revision,
    store::{Current, ReadAllOptions},
    *,
};

use crate::{
    common::{append_of, events, ids, ids_of, name, open, options, told},
    model::{Model, New},
};
use futures::TryStreamExt as _;

fn of(stream: &str, expected: ExpectedRevision) -> Vec<store::Append> {
    vec![store::Append::new(name(stream), expected, events(1))]
}

fn is_conflict(error: &StoreError, wanted: Current) {
    match error {
        StoreError::Conflict { actual, .. } => assert_eq!(*actual, Some(wanted)),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_soft_deleted_stream_is_empty_and_goes_on_with_its_numbers() {
    let model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(3))]).await.unwrap();
    model.database(|database| database.soft_delete("a-1"));
    assert!(ids_of(&store, "a-1").await.is_empty());
    let refused = store.append(of("a-1", ExpectedRevision::StreamExists)).await.unwrap_err();
    is_conflict(&refused, Current::NoStream);
    let done = store.append(of("a-1", ExpectedRevision::NoStream)).await.unwrap();
    assert_eq!(done[0].revision, Revision(3));
    assert_eq!(ids_of(&store, "a-1").await.len(), 1);

    store.append(vec![append_of("b-1", events(2))]).await.unwrap();
    model.database(|database| database.soft_delete("b-1"));
    let done = store.append(of("b-1", ExpectedRevision::Any)).await.unwrap();
    assert_eq!(done[0].revision, Revision(2));
}

#[tokio::test]
async fn a_hard_deleted_stream_takes_nothing_and_says_so() {
    let model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(3))]).await.unwrap();
    model.database(|database| database.hard_delete("a-1"));
    for expected in [ExpectedRevision::Any, ExpectedRevision::NoStream] {
        let error = store.append(of("a-1", expected)).await.unwrap_err();
        assert!(!error.is_temporary() && told(&error).contains("another name"), "{}", told(&error));
    }
    let error = store.events(&name("a-1"), ReadOptions::default()).await.unwrap_err();
    assert!(told(&error).contains("hard-deleted"), "{}", told(&error));
}

#[tokio::test]
async fn a_truncated_stream_begins_later_and_a_retry_is_still_known() {
    let model = Model::start();
    let store = open(&model).await;
    let some = events(5);
    let first = store.append(vec![append_of("a-1", some.clone())]).await.unwrap();
    model.database(|database| database.truncate("a-1", 3));
    assert_eq!(ids_of(&store, "a-1").await, ids(&some[3..]));
    let again = store.append(vec![append_of("a-1", some.clone())]).await.unwrap();
    assert_eq!((again[0].already, again[0].revision), (true, first[0].revision));

    // All of it is cut off: readers see nothing, and the server's number stays.
    model.database(|database| database.truncate("a-1", 5));
    assert!(ids_of(&store, "a-1").await.is_empty());
    let refused = store.append(of("a-1", ExpectedRevision::NoStream)).await.unwrap_err();
    is_conflict(&refused, Current::Revision(Revision(4)));
    let done = store.append(of("a-1", ExpectedRevision::Any)).await.unwrap();
    assert_eq!(done[0].revision, Revision(5));
}

#[tokio::test]
async fn links_and_the_servers_streams_are_left_out() {
    let model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    model.database(|database| {
        database.put(New::json("a-1", "$>", "0@b-1"));
        database.put(New::json("$$a-1", "$metadata", "{}"));
    });
    let done = store.append(vec![append_of("a-1", events(2))]).await.unwrap();
    assert_eq!(done[0].revision, Revision(3), "the link has a number");
    let found = store.events(&name("a-1"), ReadOptions::default()).await.unwrap();
    let revisions: Vec<u64> = found.iter().map(|event| event.revision.0).collect();
    assert_eq!(revisions, [0, 2, 3]);
    let all: Vec<RecordedEvent> =
        store.read_all(ReadAllOptions::default()).try_collect().await.unwrap();
    assert_eq!(all, found);
    let last = ReadOptions { direction: store::Direction::Backwards, limit: Some(3), from: None };
    assert_eq!(store.events(&name("a-1"), last).await.unwrap().len(), 3);
}

#[tokio::test]
async fn stores_with_prefixes_do_not_see_each_other() {
    let model = Model::start();
    let one = options(&model).prefix("one-").open().await.unwrap();
    let two = options(&model).prefix("two-").open().await.unwrap();
    let some = events(2);
    for store in [&one, &two] {
        let done = store.append(vec![append_of("a-1", some.clone())]).await.unwrap();
        assert!(!done[0].already);
        let all: Vec<RecordedEvent> =
            store.read_all(ReadAllOptions::default()).try_collect().await.unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|event| event.stream == name("a-1")));
    }
    assert_eq!(model.database(|database| database.ids("one-a-1").len()), 2);
    // Another program's stream, whose name we cannot have.
    model.database(|database| database.put(New::json("two a", "Counted", "{}")));
    assert_eq!(
        two.read_all(ReadAllOptions::default()).try_collect::<Vec<_>>().await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn what_another_program_wrote_is_read_or_told_as_damage_where_it_is() {
    let model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    model.database(|database| {
        database.put(New::json("a-1", "Foreign", r#"{"fine":1.50}"#));
        database.put(New::json("a-1", "Foreign", r#"{"twice":1,"twice":2}"#));
    });
    let done = store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    assert_eq!(done[0].revision, Revision(3));
    let mut events = store.read(&name("a-1"), ReadOptions::default());
    assert!(events.try_next().await.unwrap().is_some());
    let foreign = events.try_next().await.unwrap().unwrap();
    assert_eq!(foreign.data.unwrap().as_bytes(), br#"{"fine":1.50}"#);
    let error = events.try_next().await.unwrap_err();
    let StoreError::Damaged { position, .. } = error else { panic!("{error}") };
    assert!(events.try_next().await.unwrap().is_none(), "the first error ends it");
    // What is behind it can be read.
    let after = ReadAllOptions { after: Some(position), ..ReadAllOptions::default() };
    let behind: Vec<RecordedEvent> = store.read_all(after).try_collect().await.unwrap();
    assert_eq!(behind.len(), 1);
}

#[tokio::test]
async fn events_without_a_position_are_told() {
    let model = Model::start();
    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    model.fault(|faults| faults.no_positions = true);
    let error = store.events(&name("a-1"), ReadOptions::default()).await.unwrap_err();
    assert!(told(&error).contains("22.6"), "{}", told(&error));
    let all = store.read_all(ReadAllOptions::default()).try_collect::<Vec<_>>().await;
    assert_eq!(all.unwrap().len(), 1);
}

/// To the server the largest number of 64 bits means "no stream".
#[tokio::test]
async fn a_revision_that_no_event_has_is_a_conflict_on_an_empty_stream_too() {
    let model = Model::start();
    let store = open(&model).await;
    for revision in [i64::MAX.unsigned_abs(), i64::MAX.unsigned_abs() + 1, u64::MAX] {
        let expected = ExpectedRevision::Exact(Revision(revision));
        is_conflict(&store.append(of("a-1", expected)).await.unwrap_err(), Current::NoStream);
    }
    assert!(ids_of(&store, "a-1").await.is_empty());
    store.append(vec![append_of("a-1", events(2))]).await.unwrap();
    let expected = ExpectedRevision::Exact(Revision(u64::MAX));
    let refused = store.append(of("a-1", expected)).await.unwrap_err();
    is_conflict(&refused, Current::Revision(Revision(1)));
}
