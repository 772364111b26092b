//! What only says that something was missing: it is found, and told by its own name.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use oubliette::{
    audit::verify::Defect,
    event::{Json, NewEvent, RecordedEvent, WithheldReason},
    layer::Oubliette,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions, StoreError,
        Unreadable,
    },
};
use serde_json::Value;

use super::{Layer, copied, origin, verified};
use crate::common::{bank_policy, json, layer, stream, text};

/// All events of a store, as they lie in it.
async fn raw(layer: &Layer, of: &str) -> Vec<RecordedEvent> {
    layer.store().events(&stream(of), ReadOptions::default()).await.unwrap()
}

/// The same vault over a store that somebody else wrote.
async fn over(layer: &Layer, events: Vec<RecordedEvent>) -> Layer {
    let store = MemoryStore::new();
    for event in events {
        let mut new = NewEvent::new(event.event_type, event.data.unwrap()).with_id(event.id);
        new.metadata = event.metadata;
        let append = Append::new(event.stream, ExpectedRevision::Any, vec![new]);
        store.append(vec![append]).await.unwrap();
    }
    // Without what the vault announced.
    Oubliette::unresumed(store, layer.vault().unwrap().clone(), bank_policy())
}

async fn why(layer: &Layer, of: &str) -> Option<Unreadable> {
    match layer.events(&stream(of), ReadOptions::default()).await {
        Err(StoreError::Unreadable { unreadable, .. }) => Some(unreadable),
        other => {
            other.unwrap();
            None
        }
    }
}

fn notes(event: &RecordedEvent) -> Value {
    serde_json::from_str(event.metadata.as_ref().map_or("{}", Json::as_str)).unwrap()
}

fn with_metadata(event: &RecordedEvent, metadata: &str) -> RecordedEvent {
    let mut event = event.clone();
    event.metadata = Some(json(metadata));
    event
}

fn with_notes(event: &RecordedEvent, edit: impl FnOnce(&mut Value)) -> RecordedEvent {
    let mut notes = notes(event);
    edit(&mut notes["$oubliette"]);
    with_metadata(event, &notes.to_string())
}

/// A change of the noted holes.
type Edit = fn(&mut Value);

/// Changes the bytes of a tag.
fn with_tag(mac: &mut Value, edit: impl FnOnce(&mut [u8])) {
    let mut tag = BASE64_URL_SAFE_NO_PAD.decode(mac.as_str().unwrap()).unwrap();
    edit(&mut tag);
    *mac = BASE64_URL_SAFE_NO_PAD.encode(tag).into();
}

#[tokio::test]
async fn a_forged_hole_is_called_so() {
    let a = origin().await;
    let (b, other) = (copied(&a).await, copied(&a).await);
    // One with something readable beside it, one without.
    let (partly, wholly) = (raw(&b, "ledger-2").await.remove(0), raw(&b, "room-1").await.remove(0));
    let theirs = raw(&other, "room-1").await.remove(0);
    let living = raw(&b, "room-1").await.remove(1);
    let holes_of = |event: &RecordedEvent| notes(event)["$oubliette"]["holes"].clone();
    let mac = holes_of(&theirs)["mac"].clone();
    let mut forgeries: Vec<(&str, RecordedEvent)> = vec![
        ("over a readable event", with_notes(&living, |n| n["holes"] = holes_of(&wholly))),
        (
            "over a readable event, untagged",
            with_notes(&living, |n| {
                n["holes"] = holes_of(&wholly);
                n["holes"].as_object_mut().unwrap().remove("mac");
            }),
        ),
        ("of another event", with_notes(&wholly, |n| n["holes"] = holes_of(&partly))),
        ("under another id", {
            let mut moved = wholly.clone();
            moved.id = living.id;
            moved
        }),
    ];
    for event in [&partly, &wholly] {
        let edits: [(&str, Edit); 7] = [
            ("untagged", |h| drop(h.as_object_mut().unwrap().remove("mac"))),
            ("ref", |h| h["shredded"][0]["ref"] = "AAAAAAAAAAAAAAAAAAAAAA".into()),
            ("day", |h| h["shredded"][0]["day"] = "2020-01-01".into()),
            ("keys", |h| h["shredded"][0]["keys"] = Value::Array(vec![])),
            ("fields", |h| h["shredded"][0]["fields"] = vec![Value::from("/else")].into()),
            ("origin", |h| {
                h["shredded"][0]["origin"] = "00000000-0000-0000-0000-000000000000".into();
            }),
            ("one more", |h| {
                let part = h["shredded"][0].clone();
                h["shredded"].as_array_mut().unwrap().push(part);
            }),
        ];
        for (name, edit) in edits {
            forgeries.push((name, with_notes(event, |n| edit(&mut n["holes"]))));
        }
        forgeries
            .push(("another vault's tag", with_notes(event, |n| n["holes"]["mac"] = mac.clone())));
        forgeries.push((
            "a bit",
            with_notes(event, |n| {
                with_tag(&mut n["holes"]["mac"], |tag| tag[25] ^= 1);
            }),
        ));
    }
    for (name, forgery) in forgeries {
        let of = forgery.stream.as_str().to_owned();
        let told = over(&b, vec![forgery]).await;
        assert_eq!(why(&told, &of).await, Some(Unreadable::ForgedHole), "{name}");
        let (defects, report) = verified(&told).await;
        assert_eq!((defects, report.events.holes), (vec![Defect::ForgedHole], 0), "{name}");
        let error = Unreadable::ForgedHole.to_string();
        assert!(error.contains("forged hole") && !error.contains("tampered"), "{error}");
    }
}

#[tokio::test]
async fn a_hole_that_was_removed_or_lost_its_vouchers_is_found_too() {
    let b = copied(&origin().await).await;
    let (partly, wholly) = (raw(&b, "ledger-2").await.remove(0), raw(&b, "room-1").await.remove(0));
    let without = |event: &RecordedEvent, member: &str| {
        with_notes(event, |n| drop(n.as_object_mut().unwrap().remove(member)))
    };
    let edited = |event: &RecordedEvent| {
        let text = text(event).replacen(":3", ":4", 1).replacen(":7", ":8", 1);
        let mut event = event.clone();
        event.data = Some(json(&text).into());
        event
    };
    for (event, error, defect) in [
        (without(&partly, "holes"), Unreadable::Tampered, Defect::Tampered),
        (without(&wholly, "holes"), Unreadable::Tampered, Defect::Tampered),
        (edited(&partly), Unreadable::Tampered, Defect::Tampered),
        (edited(&wholly), Unreadable::Tampered, Defect::Tampered),
        (without(&wholly, "mac"), Unreadable::Untagged, Defect::Untagged),
    ] {
        let of = event.stream.as_str().to_owned();
        let told = over(&b, vec![event]).await;
        assert_eq!(why(&told, &of).await, Some(error));
        assert_eq!(verified(&told).await.0, [defect]);
    }
    // Malformed is what never had the form.
    for odd in [
        r#"{"holes":{}}"#,
        r#"{"holes":{"shredded":[]}}"#,
        r#"{"holes":{"withheld":[["*"]],"bare":false}}"#,
        r#"{"holes":{"withheld":[["*"]],"more":1}}"#,
        r#"{"holes":{"withheld":[["*"]],"mac":"AAAA"}}"#,
        r#"{"holes":{"shredded":[{"ref":"AAAAAAAAAAAAAAAAAAAAAA"}]}}"#,
    ] {
        let metadata = format!(r#"{{"$oubliette":{odd}}}"#);
        let told = over(&b, vec![with_metadata(&wholly, &metadata)]).await;
        let error = why(&told, "room-1").await;
        assert!(matches!(error, Some(Unreadable::Malformed(_))), "{odd}: {error:?}");
    }
}

#[tokio::test]
async fn a_hole_of_another_vault_on_the_same_store_is_told_from_a_forged_one() {
    let b = copied(&origin().await).await;
    let mut events = raw(&b, "room-1").await;
    events.extend(raw(&b, "ledger-2").await.into_iter().take(1));
    let stranger = layer().await;
    let told = over(&stranger, events).await;
    assert_eq!(why(&told, "room-1").await, Some(Unreadable::OtherVault));
    assert_eq!(why(&told, "ledger-2").await, Some(Unreadable::OtherVault));
    let (defects, report) = verified(&told).await;
    assert_eq!(defects, [Defect::OtherVault; 3]);
    assert!(report.is_clean() && report.events.holes == 0);
}

/// The era of the vault that noted it is not known: it was restored from a backup before.
#[tokio::test]
async fn for_a_hole_that_was_noted_in_a_later_era_nobody_vouches() {
    let b = copied(&origin().await).await;
    let later = |mac: &mut Value| with_tag(mac, |tag| tag[8] = 0x7f);
    let wholly = raw(&b, "room-1").await.remove(0);
    let noted = with_notes(&wholly, |n| {
        later(&mut n["holes"]["mac"]);
        later(&mut n["mac"]);
    });
    let told = over(&b, vec![noted]).await;
    // It ends no reading, and calls no one forgotten.
    let read = told.events(&stream("room-1"), ReadOptions::default()).await.unwrap().remove(0);
    assert!(read.shredded.is_empty() && !read.withheld.is_empty(), "{read:?}");
    assert!(
        read.withheld
            .iter()
            .all(|part| matches!(part.why, WithheldReason::Unvouched | WithheldReason::NotCopied))
    );
    assert_eq!((told.unsealed(), told.unvouched()), (0, 1));
    assert_eq!(verified(&told).await.0, [Defect::UnknownEra]);
}
