//! Tombstones and halves that somebody moved, or noted as what they are not.

use futures::TryStreamExt;
use oubliette::{
    audit::verify::Defect,
    event::{RecordedEvent, StreamName},
    layer::Oubliette,
    store::{
        EventStore, EventStoreExt, MemoryStore, ReadAllOptions, ReadOptions, StoreError, Unreadable,
    },
};

use super::{kinds, meddled, note, peopled};
use crate::common::{all, everything, json, layer, shape, stream, subject};

#[tokio::test]
async fn a_tombstone_that_was_moved_is_nobodys_whatever_it_notes() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    for (from, to, noted) in [
        // As it was noted; and with a note that the attacker adds.
        ("user-public-1", "elsewhere", None),
        ("bankaccount-1", "elsewhere", note(r#"{"stream":"bankaccount-1"}"#)),
        // In a half, but of another stream, or in the private one.
        ("user-public-1", "user-public-2", None),
        ("user-public-1", "user-private-1", None),
    ] {
        let moved = meddled(&bank, |event| {
            if event.is_tombstone() && event.stream == stream(from) {
                event.stream = stream(to);
                event.metadata = noted.clone().or(event.metadata.take());
            }
        });
        let moved = moved.await;
        let read = everything(&moved).await;
        let told = read.iter().filter(|event| event.is_tombstone());
        assert_eq!(
            shape(&told.cloned().collect::<Vec<_>>()).replace('t', "").as_str(),
            "f",
            "{to}"
        );
        for name in [to, "user-2"] {
            let read = all(&moved, name).await;
            let at = |event: &RecordedEvent| event.stream == stream(name);
            assert!(read.iter().all(|event| event.tombstone.is_none() && at(event)), "{name}");
        }
        let kinds = kinds(&moved).await;
        assert!(kinds.contains(&Defect::Misplaced), "{to}: {kinds:?}");
        assert!(kinds.contains(&Defect::TombstonesMissing), "{to}: {kinds:?}");
    }
}

#[tokio::test]
async fn a_tombstone_has_no_other_metadata() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    for metadata in [
        r#"{"evil":"user-2 is a thief"}"#,
        r#"{"$oubliette":{"stream":"bankaccount-1"},"evil":"user-2 is a thief"}"#,
        r#"{"$oubliette":{"stream":"bankaccount-1","others":true}}"#,
        r#"{"$oubliette":{}}"#,
    ] {
        let other = meddled(&bank, |event| {
            if event.is_tombstone() && event.stream == stream("bankaccount-1") {
                event.metadata = Some(json(metadata));
            }
        });
        let other = other.await;
        let read = all(&other, "bankaccount-1").await;
        assert_eq!(shape(&read), "pf", "{metadata}");
        assert!(read[1].metadata.is_none() && read[1].tombstone.is_none(), "{metadata}");
        assert!(kinds(&other).await.contains(&Defect::ForgedTombstone), "{metadata}");
    }
    // What some stores give back where nothing was.
    let same = meddled(&bank, |event| {
        if event.is_tombstone() && event.stream == stream("bankaccount-1") {
            event.metadata = Some(json("{}"));
        }
    });
    let same = same.await;
    assert_eq!(shape(&all(&same, "bankaccount-1").await), "pt");
    assert!(kinds(&same).await.is_empty());
}

/// How reading a stream ends that holds what is misplaced.
async fn misplaced(bank: &Oubliette<MemoryStore>, name: &str) -> bool {
    let read = bank.events(&stream(name), ReadOptions::default()).await;
    let all: Result<Vec<_>, _> = bank.read_all(ReadAllOptions::default()).try_collect().await;
    let is = |error: &StoreError| match error {
        StoreError::Unreadable { unreadable, .. } => *unreadable == Unreadable::Misplaced,
        _ => false,
    };
    read.is_err_and(|error| is(&error)) && all.is_err_and(|error| is(&error))
}

#[tokio::test]
async fn halves_that_were_moved_are_found_out() {
    let bank = layer().await;
    peopled(&bank).await;
    let moved = async |from: &'static [&'static str], to: &'static str| {
        let from: Vec<StreamName> = from.iter().map(|name| stream(name)).collect();
        meddled(&bank, move |event| {
            if from.contains(&event.stream) {
                event.stream = stream(to);
            }
        })
        .await
    };
    let both = moved(&["user-public-2", "user-private-2"], "elsewhere").await;
    assert!(misplaced(&both, "elsewhere").await);
    assert!(all(&both, "user-2").await.is_empty(), "what is not there is not missed");
    assert_eq!(shape(&all(&both, "user-1").await), shape(&all(&bank, "user-1").await));
    assert_eq!(kinds(&both).await, [Defect::Misplaced, Defect::UnusedKey].into());

    // Into the halves of somebody else, as that reader meets them, and as the surveyor of a forgetting does.
    let public = moved(&["user-public-2"], "user-public-1").await;
    assert!(misplaced(&public, "user-1").await && misplaced(&public, "user-public-1").await);
    assert!(kinds(&public).await.contains(&Defect::Misplaced));
    let plan = public.plan(&subject("user-1")).await.unwrap();
    assert_eq!(plan.unsealed_events(), 1, "{plan:?}");

    let private = moved(&["user-private-2"], "user-private-1").await;
    let all: Result<Vec<_>, _> = private.read_all(ReadAllOptions::default()).try_collect().await;
    assert!(all.is_err());
    assert_eq!(
        kinds(&private).await,
        [Defect::Misplaced, Defect::HalfMissing, Defect::UnusedKey].into()
    );
}

#[tokio::test]
async fn what_is_noted_as_a_half_and_is_none_is_not_hidden() {
    let bank = layer().await;
    peopled(&bank).await;
    let half = r#""public":"6fa459ea-ee8a-4ca4-894e-db77e1603500""#;
    for (name, physical, stream_note) in [
        ("bankaccount-1", "bankaccount-1", ""),
        ("bankaccount-1", "bankaccount-1", r#","stream":"bankaccount-1""#),
        ("user-2", "user-public-2", r#","stream":"user-2""#),
        ("user-public-2", "user-public-2", r#","stream":"user-2""#),
    ] {
        let hidden = meddled(&bank, |event| {
            if event.stream == stream(physical) {
                event.metadata = note(&format!("{{{half}{stream_note}}}"));
            }
        });
        let hidden = hidden.await;
        assert!(misplaced(&hidden, name).await, "{name}");
        assert!(kinds(&hidden).await.contains(&Defect::Misplaced), "{name}");
        // Whoever forgets its owner hears that something there is not sealed as it should be.
        let whom = if name == "bankaccount-1" { "user-1" } else { "user-2" };
        let plan = hidden.plan(&subject(whom)).await.unwrap();
        assert_eq!(plan.unsealed_events(), 1, "{name}: {plan:?}");
    }
    // The private half itself is nobody's event, by whichever name.
    assert!(all(&bank, "user-private-2").await.is_empty());
}
