//! Purging a table that was there before: what is dead goes, what a number depends on stays.

use oubliette::{
    event::RecordedEvent,
    store::{EventStoreExt, ExpectedRevision, Purge, Removed},
};
use oubliette_postgres::{Options, TableMapping, TableStore};

use super::{
    EVENTS,
    conformance::{with_bytes, without_ids},
    events, row, table,
};
use crate::{
    purged::{
        LAYOUTS, a_retry_is_answered, only_what_is_still_so_is_changed, removed, what_is_dead_goes,
    },
    world::{event, everything, in_files, quick, stream},
};

/// Tables of each kind.
fn kinds() -> Vec<(String, TableMapping)> {
    let as_text = EVENTS.replace("json", "text");
    vec![
        (EVENTS.to_owned(), events()),
        (EVENTS.replace("json", "jsonb"), events()),
        (as_text.replace("metadata text", "metadata text NOT NULL"), events()),
        without_ids("json"),
        without_ids("jsonb"),
        with_bytes(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_goes_and_all_reads_as_before() {
    let Some(mut postgres) = quick() else { return };
    let (mut gone, mut living) = (Vec::new(), Vec::new());
    for (sql, mapping) in kinds() {
        for layout in LAYOUTS {
            let (_, store) = table(&postgres, &sql, mapping.clone()).await;
            assert_eq!(store.why_not_in_place(), [""; 0]);
            // The last of the private halves stays: the next one's revision comes of it.
            let (these, others) = what_is_dead_goes(&store, layout, 1).await;
            gone.extend(these);
            living.extend(others);
        }
    }
    postgres.stop();
    assert_eq!(in_files(&postgres.data(), &gone), []);
    assert_eq!(in_files(&postgres.data(), &living).len(), living.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_as_before_the_purge() {
    let Some(postgres) = quick() else { return };
    // One in which ids have a column, and one in which they have none.
    for (sql, mapping) in kinds().into_iter().skip(1).step_by(2) {
        for layout in LAYOUTS {
            let (_, store) = table(&postgres, &sql, mapping.clone()).await;
            a_retry_is_answered(&store, layout, 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_meanwhile_is_not_written_over() {
    let Some(postgres) = quick() else { return };
    for (sql, mapping) in kinds() {
        let (_, store) = table(&postgres, &sql, mapping).await;
        only_what_is_still_so_is_changed(&store).await;
    }
}

/// Positions by a sequence go on; those that an application counts itself do not, and nor do revisions.
#[tokio::test(flavor = "multi_thread")]
async fn no_revision_and_no_position_is_given_again() {
    let Some(mut postgres) = quick() else { return };
    let (name, store) = table(&postgres, EVENTS, events()).await;
    let three = || (0..3).map(|_| event("{}")).collect();
    let wide = store.append_to(&stream("user-1"), ExpectedRevision::Any, three()).await.unwrap();
    let other = store.append_to(&stream("user-2"), ExpectedRevision::Any, three()).await.unwrap();
    let all = everything(&store).await;
    let elsewhere = Removed { stream: stream("user-3"), ..removed(&all[0]) };
    let later = Removed { revision: all[1].revision, ..removed(&all[0]) };
    let nowhere = Removed { stream: stream("ledger"), ..removed(&all[0]) };
    let mut asked = vec![elsewhere, later, nowhere];
    asked.extend(all.iter().map(removed));
    asked.push(removed(&all[0]));
    let done = store.remove(asked).await.unwrap();
    assert_eq!(
        done,
        [false, false, false, true, true, false, true, true, false, false],
        "the last one of each stream stays"
    );
    assert_eq!(everything(&store).await, [all[2].clone(), all[5].clone()]);
    // Somebody else removes the last of all, and the server is started again: the sequence goes on.
    postgres.sql(&name, "DELETE FROM events WHERE aggregate_id = '2'");
    let postgres = tokio::task::spawn_blocking(move || {
        postgres.restart();
        postgres
    })
    .await
    .unwrap();
    let store = TableStore::open(Options::new(postgres.url(&name)), events()).await.unwrap();
    let next = store.append_to(&stream("user-1"), ExpectedRevision::Any, three()).await.unwrap();
    assert_eq!((wide.revision.0, next.revision.0), (2, 5));
    assert!(next.position > other.position);

    // One who counts positions as well: the highest one stays, also where it is not the last of its stream.
    let sql =
        EVENTS.replace("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bigint PRIMARY KEY");
    let (name, store) = table(&postgres, &sql, events()).await;
    for (position, sequence) in [(1, 1), (9, 2), (3, 3)] {
        let insert = row(("user", "1"), sequence, "{}")
            .replace("(aggregate_type", "(position, aggregate_type")
            .replace("('user'", &format!("({position}, 'user'"));
        postgres.sql(&name, &insert);
    }
    let all: Vec<RecordedEvent> =
        store.events(&stream("user-1"), Default::default()).await.unwrap();
    let done = store.remove(all.iter().map(removed).collect()).await.unwrap();
    assert_eq!(done, [true, false, false]);
}
