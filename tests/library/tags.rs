//! What is still known of an event when its keys are gone: the tag that no erasure touches.

#![allow(clippy::unwrap_used)]

mod names;

use crate::common::*;
use oubliette::{
    audit::{
        Location,
        verify::{Defect, VerifyOptions, VerifyProgress},
    },
    crypto::internals::Token,
    event::{EventType, Json, NewEvent, Payload, RecordedEvent},
    layer::{Codec, CodecError, EventRef, Oubliette},
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions, StoreError,
        Unreadable,
    },
};

/// All events of a stream, as they are stored.
async fn raw(store: &MemoryStore, of: &str) -> Vec<RecordedEvent> {
    store.events(&stream(of), ReadOptions::default()).await.unwrap()
}

/// Puts the events into a store of their own, which somebody else wrote.
async fn forged(events: Vec<RecordedEvent>) -> MemoryStore {
    let store = MemoryStore::new();
    for event in events {
        let mut new = NewEvent::new(event.event_type, event.data.unwrap()).with_id(event.id);
        new.metadata = event.metadata;
        store
            .append(vec![Append::new(event.stream, ExpectedRevision::Any, vec![new])])
            .await
            .unwrap();
    }
    store
}

fn text(event: &RecordedEvent) -> String {
    event.data.as_ref().and_then(Payload::as_json).unwrap().as_str().to_owned()
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

async fn why(layer: &Oubliette<MemoryStore>, of: &str) -> Option<Unreadable> {
    match layer.events(&stream(of), ReadOptions::default()).await {
        Err(StoreError::Unreadable { unreadable, .. }) => Some(unreadable),
        other => {
            other.unwrap();
            None
        }
    }
}

/// What `verify` calls the first event.
async fn defects(layer: &Oubliette<MemoryStore>) -> Vec<Defect> {
    let mut found = Vec::new();
    layer
        .verify(VerifyOptions::default(), |news| {
            if let VerifyProgress::Found(finding) = news
                && matches!(finding.at, Location::Event { .. })
            {
                found.push(finding.kind);
            }
        })
        .await
        .unwrap();
    found
}

const INLINE: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "inline"
public = ["/colour"]
[[stream]]
match  = "news-{id}"
layout = "inline"
public = ["*"]
"#;

fn policy() -> Policy {
    Policy::parse(INLINE).unwrap()
}

/// A store in which user-1 is forgotten and user-2 lives, and the vault over it.
async fn world() -> (MemoryStore, Oubliette<MemoryStore>) {
    let store = MemoryStore::new();
    let vault = oubliette::vault::Vault::in_memory().unwrap();
    let layer = Oubliette::open(store.clone(), vault, policy()).await.unwrap();
    for who in ["user-1", "user-2"] {
        let data = r#"{"colour":"blue","name":"Erika"}"#;
        put(&layer, who, event("UserRegistered", data)).await.unwrap();
    }
    put(&layer, "news-1", event("Published", r#"{"title":"hello"}"#)).await.unwrap();
    layer.forget(&subject("user-1"), "asked").await.unwrap();
    (store, layer)
}

async fn over(
    events: Vec<RecordedEvent>,
    vault_of: &Oubliette<MemoryStore>,
) -> Oubliette<MemoryStore> {
    let vault = vault_of.vault().unwrap().clone();
    // Without what the vault announced.
    Oubliette::unresumed(forged(events).await, vault, policy())
}

#[tokio::test]
async fn a_dead_keys_id_over_a_living_persons_event_is_no_forgotten_person() {
    let (store, layer) = world().await;
    let (dead, mut living) = (raw(&store, "user-1").await, raw(&store, "user-2").await);
    // The forger has the store alone: they take a token whose key is dead.
    living[0].data = dead[0].data.clone();
    let mut forgery = living.clone();
    assert_eq!(
        why(&over(forgery.clone(), &layer).await, "user-2").await,
        Some(Unreadable::Tampered)
    );
    // With the tag of the event that it is from, which names another stream and id.
    forgery[0].metadata = dead[0].metadata.clone();
    assert_eq!(
        why(&over(forgery.clone(), &layer).await, "user-2").await,
        Some(Unreadable::Tampered)
    );
    // Without one.
    forgery[0].metadata = None;
    let told = over(forgery, &layer).await;
    assert_eq!(why(&told, "user-2").await, Some(Unreadable::Untagged));
}

#[tokio::test]
async fn a_public_part_that_was_edited_after_the_forgetting_is_found_out() {
    let (store, layer) = world().await;
    let mut events = raw(&store, "user-1").await;
    assert_eq!(why(&over(events.clone(), &layer).await, "user-1").await, None);
    let edited = text(&events[0]).replace("blue", "red");
    events[0].data = Some(json(&edited).into());
    let told = over(events, &layer).await;
    assert_eq!(why(&told, "user-1").await, Some(Unreadable::Tampered));
    assert_eq!(defects(&told).await, [Defect::Tampered]);
}

/// Variants of a JSON text that differ in one bit, are still JSON, and mean something else.
fn variants(json: &Json) -> Vec<Json> {
    let canonical = json.to_canonical();
    let text = json.as_str().as_bytes();
    let flipped = (0..text.len() * 8).map(|bit| {
        let mut bytes = text.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let changed = flipped.filter_map(|bytes| Json::parse(std::str::from_utf8(&bytes).ok()?).ok());
    changed.filter(|json| json.to_canonical() != canonical).collect()
}

/// The token in stored data, without its ciphertext.
fn stub(data: &Json) -> Option<Token> {
    let data: serde_json::Value = data.to().ok()?;
    Some(Token::parse(data["$sealed"][0].as_str()?).ok()?.stub())
}

/// Nobody has a key any more, or ever had one: the tag alone vouches for it. Of a token it covers all
/// but the ciphertext, which a store may purge.
#[tokio::test]
async fn no_bit_of_an_event_without_a_living_key_can_change_unnoticed() {
    let (store, layer) = world().await;
    let codec = Codec::new(layer.vault().unwrap().clone(), policy());
    let mut told = std::collections::BTreeMap::<String, u32>::new();
    for of in ["user-1", "news-1"] {
        let event = raw(&store, of).await.remove(0);
        let (data, metadata) = (json(&text(&event)), event.metadata.clone().unwrap());
        let at = EventRef { stream: &event.stream, id: event.id, event_type: &event.event_type };
        let open =
            |data: &Json, metadata: &Json| codec.open(at, &data.clone().into(), Some(metadata));
        let whole = open(&data, &metadata).unwrap();
        assert!(!whole.unsealed);
        let of_data = variants(&data).into_iter().map(|changed| (changed, metadata.clone()));
        let of_metadata = variants(&metadata).into_iter().map(|changed| (data.clone(), changed));
        for (data_now, metadata_now) in of_data.chain(of_metadata) {
            let name = match open(&data_now, &metadata_now) {
                Err(CodecError::Unreadable(why)) => format!("{why:?}"),
                Err(error) => format!("{error:?}"),
                // Nobody's, and counted.
                Ok(opened) if opened.unsealed => "unsealed".to_owned(),
                // Of an era that the vault never had: that it is shredded is not said.
                Ok(opened) if opened.unvouched && opened.shredded.is_empty() => {
                    "unvouched".to_owned()
                }
                Ok(opened) => {
                    assert_eq!((&opened, stub(&data_now)), (&whole, stub(&data)), "{data_now:?}");
                    assert_eq!(metadata_now, metadata);
                    continue;
                }
            };
            *told.entry(name).or_default() += 1;
        }
    }
    for name in ["Tampered", "OtherVault", "unvouched", "Untagged", "unsealed"] {
        assert!(told.contains_key(name), "{name}: {told:?}");
    }
    assert!(told.values().sum::<u32>() > 1_000, "{told:?}");
}

#[tokio::test]
async fn a_forged_event_in_clear_is_counted_whatever_it_notes() {
    let (store, layer) = world().await;
    assert_eq!(layer.count_unsealed().await.unwrap().unsealed, 0);
    let news = raw(&store, "news-1").await;
    let forge = |metadata: Option<&str>| {
        let mut event = news[0].clone();
        event.data = Some(json(r#"{"title":"forged"}"#).into());
        event.event_type = EventType::new("Published").unwrap();
        event.metadata = metadata.map(json);
        event
    };
    for metadata in [None, Some("{}"), Some(r#"{"$oubliette":{"stream":"news-1"}}"#)] {
        let told = over(vec![forge(metadata)], &layer).await;
        assert_eq!(why(&told, "news-1").await, None);
        assert_eq!(
            (told.unsealed(), told.count_unsealed().await.unwrap().unsealed),
            (1, 1),
            "{metadata:?}"
        );
    }
    // Under the tag of an event that this vault wrote in clear it is worse than that.
    let tagged = news[0].metadata.as_ref().map(|json| json.as_str().to_owned());
    let told = over(vec![forge(tagged.as_deref())], &layer).await;
    assert_eq!(why(&told, "news-1").await, Some(Unreadable::Tampered));
    assert_eq!(defects(&told).await, [Defect::Tampered]);
}

#[tokio::test]
async fn an_event_of_another_vault_is_called_so() {
    let (store, _) = world().await;
    let other = oubliette::vault::Vault::in_memory().unwrap();
    let mut events = raw(&store, "user-2").await;
    events.extend(raw(&store, "news-1").await);
    let other = Oubliette::open(forged(events).await, other, policy()).await.unwrap();
    assert_eq!(why(&other, "user-2").await, Some(Unreadable::OtherVault));
    // In clear it can be read, and counts as none of ours.
    assert_eq!(why(&other, "news-1").await, None);
    assert_eq!(other.count_unsealed().await.unwrap().unsealed, 1);
}

#[tokio::test]
async fn a_tag_that_was_removed_while_the_key_lives_is_told() {
    let (store, layer) = world().await;
    let mut events = raw(&store, "user-2").await;
    events[0].metadata = None;
    let told = over(events, &layer).await;
    // The key vouches for it today, and nothing will when it is gone.
    assert_eq!(why(&told, "user-2").await, None);
    assert_eq!(defects(&told).await, [Defect::TagMissing]);
}

const SPLIT: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/colour"]
"#;

async fn split_world() -> (MemoryStore, Oubliette<MemoryStore>) {
    let store = MemoryStore::new();
    let vault = oubliette::vault::Vault::in_memory().unwrap();
    let policy = Policy::parse(SPLIT).unwrap();
    let layer = Oubliette::open(store.clone(), vault, policy).await.unwrap();
    for who in ["user-1", "user-2"] {
        for colour in ["blue", "green"] {
            let data = format!(r#"{{"colour":"{colour}","name":"Erika"}}"#);
            put(&layer, who, event("UserRegistered", &data)).await.unwrap();
        }
    }
    layer.forget(&subject("user-1"), "asked").await.unwrap();
    (store, layer)
}

async fn split_over(
    events: Vec<RecordedEvent>,
    vault_of: &Oubliette<MemoryStore>,
) -> Oubliette<MemoryStore> {
    let vault = vault_of.vault().unwrap().clone();
    let policy = Policy::parse(SPLIT).unwrap();
    // Without what the vault announced.
    Oubliette::unresumed(forged(events).await, vault, policy)
}

/// The tag is asked also by those who read the public half alone.
#[tokio::test]
async fn a_public_half_that_is_read_by_its_name_is_asked_for_its_tag() {
    let (store, layer) = split_world().await;
    for who in ["user-public-1", "user-public-2"] {
        let events = raw(&store, who).await;
        let told = split_over(events.clone(), &layer).await;
        assert_eq!((why(&told, who).await, told.unsealed()), (None, 0));
        let change = |at: fn(&mut RecordedEvent)| {
            let mut events = events.clone();
            at(&mut events[0]);
            events
        };
        let edited = change(|event| {
            event.data = Some(json(&text(event).replace("blue", "red")).into());
        });
        let told = split_over(edited, &layer).await;
        assert_eq!(why(&told, who).await, Some(Unreadable::Tampered));
        // Somebody forgotten, of whom nothing opens any more, needs the tag.
        let without = change(|event| {
            let text = event.metadata.as_ref().unwrap().as_str().to_owned();
            let (before, after) = text.split_once(r#","mac":"#).unwrap();
            let after = after.split_once('"').unwrap().1.split_once('"').unwrap().1;
            event.metadata = Some(json(&[before, after].concat()));
        });
        let told = split_over(without, &layer).await;
        let error = (who == "user-public-1").then_some(Unreadable::Untagged);
        assert_eq!(why(&told, who).await, error);
        let untagged = change(|event| event.metadata = None);
        let told = split_over(untagged, &layer).await;
        assert_eq!((why(&told, who).await, told.unsealed()), (None, 1));
    }
}

/// A store may purge private halves once their keys are gone. Nothing is lost by it.
#[tokio::test]
async fn what_is_shredded_is_read_without_its_private_half_and_what_lives_is_not() {
    let (store, layer) = split_world().await;
    let mut events = raw(&store, "user-public-1").await;
    let told = split_over(events.clone(), &layer).await;
    let read = told.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    let whole = layer.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    let shown = |events: &[RecordedEvent]| -> Vec<_> {
        events.iter().map(|event| (event.data.clone(), event.shredded.clone())).collect()
    };
    assert_eq!(shown(&read), shown(&whole));
    assert_eq!(shape(&read), "ppt");
    assert_eq!(defects(&told).await, []);
    // Its public half is still vouched for.
    events[0].data = Some(json(&text(&events[0]).replace("blue", "red")).into());
    let told = split_over(events, &layer).await;
    assert_eq!(why(&told, "user-1").await, Some(Unreadable::Tampered));
    assert_eq!(defects(&told).await, [Defect::Tampered]);
    // While the key lives there was something to be read.
    let told = split_over(raw(&store, "user-public-2").await, &layer).await;
    assert_eq!(why(&told, "user-2").await, Some(Unreadable::HalfMissing));
    assert!(defects(&told).await.contains(&Defect::HalfMissing));
}

/// Of somebody who came back, the halves from before are gone, and those from after are read.
#[tokio::test]
async fn a_purged_half_does_not_take_later_halves_with_it() {
    let (store, layer) = split_world().await;
    layer.reopen(&subject("user-1")).await.unwrap();
    for colour in ["red", "white"] {
        let data = format!(r#"{{"colour":"{colour}","name":"Erika"}}"#);
        put(&layer, "user-1", event("UserRegistered", &data)).await.unwrap();
    }
    let mut events = raw(&store, "user-public-1").await;
    let after = raw(&store, "user-private-1").await.split_off(2);
    events.splice(0..0, after);
    let told = split_over(events, &layer).await;
    let read = told.events(&stream("user-1"), ReadOptions::default()).await.unwrap();
    assert_eq!(shape(&read), "pptcc");
    assert_eq!(shape(&everything(&told).await), "pptcc");
}
