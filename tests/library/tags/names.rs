//! What somebody who writes to the store can put there: each has a name of its own.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use oubliette::{
    audit::verify::{Defect, VerifyOptions},
    event::RecordedEvent,
    store::{MemoryStore, Unreadable},
};

use super::*;

/// What is in place of the event of user-2, who lives.
async fn told(
    events: Vec<RecordedEvent>,
    layer: &Oubliette<MemoryStore>,
) -> (Option<Unreadable>, Vec<Defect>, u64) {
    let told = over(events, layer).await;
    let report = told.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    (why(&told, "user-2").await, defects(&told).await, report.events.unsealed)
}

/// The event with the key id of another one over its token.
fn with_key_of(event: &RecordedEvent, dead: &RecordedEvent) -> RecordedEvent {
    let token = |event: &RecordedEvent| {
        let text = text(event);
        let (_, after) = text.split_once(r#""$sealed":[""#).unwrap();
        after.split_once('"').unwrap().0.to_owned()
    };
    let (own, theirs) = (token(event), token(dead));
    let bytes = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let mut forged = bytes(&own);
    forged[2..22].copy_from_slice(&bytes(&theirs)[2..22]);
    let data = text(event).replace(&own, &BASE64_URL_SAFE_NO_PAD.encode(forged));
    with_data(event, &data)
}

fn with_data(event: &RecordedEvent, data: &str) -> RecordedEvent {
    let mut event = event.clone();
    event.data = Some(json(data).into());
    event
}

fn with_metadata(event: &RecordedEvent, metadata: Option<&str>) -> RecordedEvent {
    let mut event = event.clone();
    event.metadata = metadata.map(json);
    event
}

/// Of a key id two bytes say of which stream it is. So of two dead keys one may pass for a key of this
/// stream, once in 65,536 times, but not both.
#[tokio::test]
async fn a_dead_keys_id_over_a_living_event_is_a_borrowed_key() {
    let (store, layer) = world().await;
    put(&layer, "user-3", event("UserRegistered", r#"{"colour":"red","name":"Ada"}"#))
        .await
        .unwrap();
    layer.forget(&subject("user-3"), "asked").await.unwrap();
    let living = raw(&store, "user-2").await.remove(0);
    let other_vault = {
        let (store, _) = world().await;
        raw(&store, "user-2").await.remove(0)
    };
    type Forge = fn(&RecordedEvent, &RecordedEvent, &RecordedEvent) -> RecordedEvent;
    let forgeries: [(&str, Unreadable, Forge); 6] = [
        ("the key id", Unreadable::Tampered, |living, dead, _| with_key_of(living, dead)),
        ("the token", Unreadable::Tampered, |living, dead, _| with_data(living, &text(dead))),
        ("and the tag", Unreadable::Tampered, |_, dead, _| dead.clone()),
        ("and no tag", Unreadable::Untagged, |_, dead, _| with_metadata(dead, None)),
        ("and the tag of another vault", Unreadable::OtherVault, |_, dead, other| {
            let mut forged = dead.clone();
            forged.metadata = other.metadata.clone();
            forged
        }),
        ("and a tag of no era", Unreadable::Tampered, |_, dead, _| {
            let metadata = dead.metadata.as_ref().unwrap().as_str().to_owned();
            let (before, after) = metadata.split_once(r#""mac":""#).unwrap();
            let (mac, after) = after.split_once('"').unwrap();
            let mut mac = BASE64_URL_SAFE_NO_PAD.decode(mac).unwrap();
            mac[8] ^= 1;
            let mac = BASE64_URL_SAFE_NO_PAD.encode(mac);
            with_metadata(dead, Some(&format!(r#"{before}"mac":"{mac}"{after}"#)))
        }),
    ];
    for (name, error, forge) in forgeries {
        let mut names = Vec::new();
        for who in ["user-1", "user-3"] {
            let dead = raw(&store, who).await.remove(0);
            let mut forged = forge(&living, &dead, &other_vault);
            (forged.stream, forged.id) = (living.stream.clone(), living.id);
            let (why, defects, _) = told(vec![forged], &layer).await;
            // With a tag of no era that the vault knows, nobody is said to be forgotten, and nothing ends.
            let expected = if name == "and a tag of no era" { None } else { Some(error.clone()) };
            assert_eq!(why, expected, "{name}");
            assert_eq!(defects.len(), 1, "{name}: {defects:?}");
            names.extend(defects);
        }
        assert!(names.contains(&Defect::BorrowedKey), "{name}: {names:?}");
    }
    // Where the key is of this stream, something of it was changed, or its tag removed: those are other names.
    let mut dead = raw(&store, "user-1").await;
    dead[0].metadata = None;
    assert_eq!(defects(&over(dead.clone(), &layer).await).await, [Defect::Untagged]);
    layer.reopen(&subject("user-1")).await.unwrap();
    let data = r#"{"colour":"green","name":"Erika"}"#;
    put(&layer, "user-1", event("UserMoved", data)).await.unwrap();
    let back = raw(&store, "user-1").await.pop().unwrap();
    let forged = with_key_of(&back, &dead[0]);
    assert_eq!(defects(&over(vec![forged], &layer).await).await, [Defect::Tampered]);
    assert_eq!(defects(&over(vec![back], &layer).await).await, []);
}

/// With the genuine events there is nothing to tell, and readers read them.
#[tokio::test]
async fn what_nobody_touched_has_no_name() {
    let (store, layer) = world().await;
    let living = raw(&store, "user-2").await;
    assert_eq!(told(living, &layer).await, (None, vec![], 0));
    let dead = over(raw(&store, "user-1").await, &layer).await;
    assert_eq!((why(&dead, "user-1").await, defects(&dead).await), (None, vec![]));
}

#[tokio::test]
async fn a_public_part_that_was_changed_after_the_forgetting_is_tampered() {
    let (store, layer) = world().await;
    let dead = raw(&store, "user-1").await.remove(0);
    let changed = with_data(&dead, &text(&dead).replace("blue", "red"));
    let over = over(vec![changed], &layer).await;
    assert_eq!(defects(&over).await, [Defect::Tampered]);
    assert_eq!(why(&over, "user-1").await, Some(Unreadable::Tampered));
}

#[tokio::test]
async fn a_forged_event_in_clear_is_unsealed_and_under_a_genuine_tag_tampered() {
    let (store, layer) = world().await;
    let living = raw(&store, "user-2").await.remove(0);
    let clear = with_data(&living, r#"{"colour":"blue","name":"Erika"}"#);
    let unsealed = with_metadata(&clear, None);
    assert_eq!(told(vec![unsealed], &layer).await, (None, vec![], 1));
    let (why, defects, unsealed) = told(vec![clear], &layer).await;
    assert_eq!((why, defects, unsealed), (Some(Unreadable::Tampered), vec![Defect::Tampered], 0));
}

#[tokio::test]
async fn a_hole_that_nobody_noted_is_a_forged_hole() {
    let (store, layer) = world().await;
    let living = raw(&store, "user-2").await.remove(0);
    let metadata = living.metadata.as_ref().unwrap().as_str();
    let notes = r#""$oubliette":{"#;
    let hole = [notes, r#""holes":{"withheld":[["/name"]]},"#].concat();
    let hole = with_metadata(&living, Some(&metadata.replacen(notes, &hole, 1)));
    let expected = (Some(Unreadable::ForgedHole), vec![Defect::ForgedHole], 0);
    assert_eq!(told(vec![hole], &layer).await, expected);
}

#[tokio::test]
async fn a_tombstone_in_somebody_elses_stream_is_a_forged_tombstone() {
    let (store, layer) = world().await;
    let dead = raw(&store, "user-1").await;
    let mut tombstone = dead.into_iter().find(RecordedEvent::is_tombstone).unwrap();
    tombstone.stream = stream("user-2");
    assert_eq!(told(vec![tombstone], &layer).await, (None, vec![Defect::ForgedTombstone], 0));
}

#[tokio::test]
async fn an_event_that_another_vault_wrote_is_another_vaults() {
    let (theirs, _) = world().await;
    let (_, layer) = world().await;
    let theirs = raw(&theirs, "user-2").await;
    let expected = (Some(Unreadable::OtherVault), vec![Defect::OtherVault], 0);
    assert_eq!(told(theirs, &layer).await, expected);
}

/// What binds an event is its stream, id and type. The order is the store's.
#[tokio::test]
async fn events_that_are_removed_or_put_in_another_order_are_not_noticed() {
    let (store, layer) = world().await;
    for colour in ["red", "green"] {
        let data = format!(r#"{{"colour":"{colour}","name":"Erika"}}"#);
        put(&layer, "user-2", event("UserMoved", &data)).await.unwrap();
    }
    let whole = raw(&store, "user-2").await;
    for kept in [vec![0, 2], vec![0, 1], vec![2, 0, 1]] {
        let events: Vec<_> = kept.iter().map(|&at| whole[at].clone()).collect();
        assert_eq!(told(events.clone(), &layer).await, (None, vec![], 0), "{kept:?}");
        let read = all(&over(events, &layer).await, "user-2").await;
        let ids: Vec<_> = read.iter().map(|event| event.id).collect();
        assert_eq!(ids, kept.iter().map(|&at| whole[at].id).collect::<Vec<_>>());
        assert_eq!(shape(&read), "c".repeat(kept.len()));
    }
    // One that is there again, in its own place, after what came later was removed.
    let again = vec![whole[0].clone()];
    assert_eq!(told(again, &layer).await, (None, vec![], 0));
}
