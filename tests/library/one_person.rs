//! Spellings that are one person by sight or number are one person: forgetting finds all of it.

#![allow(clippy::unwrap_used)]

use crate::common::*;
use futures::TryStreamExt;
use oubliette::{
    event::SUBJECT_FORGOTTEN,
    layer::Oubliette,
    policy::Policy,
    store::{Delivery, EventStore, Filter, MemoryStore, Refusal, StoreError},
    vault::Vault,
};

async fn layer_of(policy: &str) -> Oubliette<MemoryStore> {
    let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(policy).unwrap());
    Oubliette::open(MemoryStore::new(), vault, policy).await.unwrap()
}

const ROOM: &str = "[[stream]]\nmatch = 'room-{id}'\nsubject = 'user-{/u}'";

/// Of `user-{/u}` with these four, forgetting `user-1` had found one.
#[tokio::test]
async fn a_number_names_one_person_however_it_is_spelled() {
    let layer = layer_of(ROOM).await;
    for number in ["1", "1.0", "1e0", "10e-1", "\"1\""] {
        put(&layer, "room-1", event("Said", &format!(r#"{{"u":{number}}}"#))).await.unwrap();
    }
    put(&layer, "room-1", event("Said", r#"{"u":1.5}"#)).await.unwrap();
    put(&layer, "room-1", event("Said", r#"{"u":-0}"#)).await.unwrap();
    layer.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(shape(&all(&layer, "room-1").await), "ssssscct");
    layer.forget(&subject("user-0"), "asked").await.unwrap();
    assert_eq!(shape(&all(&layer, "room-1").await), "ssssscstt");
    layer.forget(&subject("user-1.5"), "asked").await.unwrap();
    assert_eq!(shape(&all(&layer, "room-1").await), "sssssssttt");
    // Nobody is named by a number that nobody would write out.
    for number in ["1e40", "1e-41", "12345678901234567890123456789012345678901"] {
        let refused = put(&layer, "room-1", event("Said", &format!(r#"{{"u":{number}}}"#))).await;
        let Err(StoreError::Refused { refusal: Refusal::Policy(why), .. }) = refused else {
            panic!("{number}: {refused:?}")
        };
        assert!(why.contains("40 digits"), "{why}");
    }
}

/// The same in the other places that name somebody: fields and owners.
#[tokio::test]
async fn fields_and_owners_are_named_by_numbers_in_one_form_too() {
    let layer = layer_of(
        "[[stream]]\nmatch = 'ledger-{id}'\npublic = ['/n']\n\
         [[stream.field]]\npointer = '/iban'\nsubject = 'user-{/u}'\n\
         [[stream]]\nmatch = 'acc-{id}'\nowner = [{ event = 'Opened', add = 'user-{/u}' }]",
    )
    .await;
    put(&layer, "user-7", event("Came", "{}")).await.unwrap();
    put(&layer, "ledger-1", event("Booked", r#"{"n":1,"iban":"DE02","u":70e-1}"#)).await.unwrap();
    put(&layer, "acc-1", event("Opened", r#"{"u":7.00}"#)).await.unwrap();
    layer.forget(&subject("user-7"), "asked").await.unwrap();
    for (name, expected) in [("user-7", "st"), ("ledger-1", "pt"), ("acc-1", "st")] {
        assert_eq!(shape(&all(&layer, name).await), expected, "{name}");
    }
}

const COMPOSED: &str = "user-Andr\u{e9}";
const DECOMPOSED: &str = "user-Andre\u{301}";

#[tokio::test]
async fn a_name_typed_in_another_form_finds_the_same_person() {
    let layer = layer_of(
        // The policy's own file, too, may have been typed in either form.
        "[[stream]]\nmatch = 'cafe\u{301}-{id}'\nsubject = '{/pre\u{301}nom}'\nowner = [{ event = 'Ne\u{301}', add = '{/prénom}' }]\n\
         [stream.type.'Publie\u{301}']\npublic = ['*']\n[[stream.type.'Publie\u{301}'.field]]\npointer = '/téléphone'",
    )
    .await;
    put(&layer, COMPOSED, event("Came", "{}")).await.unwrap();
    put(&layer, DECOMPOSED, event("Went", "{}")).await.unwrap();
    for (key, who) in [("pr\u{e9}nom", COMPOSED), ("pre\u{301}nom", DECOMPOSED)] {
        let said = event("Said", &format!(r#"{{"{key}":"{who}"}}"#));
        put(&layer, "café-1", said).await.unwrap();
    }
    assert_eq!(all(&layer, DECOMPOSED).await.len(), 2);
    // What a rule takes out of a public payload is not shown because its key was typed otherwise.
    let shown = event("Publié", "{\"pr\u{e9}nom\":\"x\",\"te\u{301}le\u{301}phone\":\"112\"}");
    put(&layer, "cafe\u{301}-2", shown).await.unwrap();
    let stored = everything(layer.store()).await.pop().unwrap();
    assert!(!text(&stored).contains("112"), "{}", text(&stored));

    let filter = Filter { stream_prefixes: vec!["cafe\u{301}-".to_owned()], ..Filter::default() };
    let mut met = 0;
    let mut events = layer.subscribe(None, filter);
    while let Some(Delivery::Event(_)) = events.try_next().await.unwrap() {
        met += 1;
    }
    assert_eq!(met, 3);

    layer.forget(&subject(DECOMPOSED), "asked").await.unwrap();
    assert_eq!(shape(&all(&layer, COMPOSED).await), "sst");
    assert_eq!(shape(&all(&layer, "café-1").await), "sst");
    let tombstones = everything(layer.store()).await;
    let tombstones =
        tombstones.iter().filter(|event| event.event_type.as_str() == SUBJECT_FORGOTTEN);
    assert_eq!(tombstones.count(), 2);
}

/// Nobody is named with characters that do not show, from a payload as little as by hand.
#[tokio::test]
async fn characters_that_do_not_show_name_nobody() {
    let layer = layer_of(ROOM).await;
    for odd in ["\u{200b}", "\u{ad}", "\u{fe0f}", "\u{202e}", "\u{e000}", "\u{3164}"] {
        let said = event("Said", &format!(r#"{{"u":"1{odd}"}}"#));
        let refused = put(&layer, "room-1", said).await;
        let Err(StoreError::Refused { source, .. }) = refused else {
            panic!("{odd:?}: {refused:?}")
        };
        // And the name, which comes from a payload, is not repeated.
        assert!(source.unwrap().to_string().contains("U+FFFD"));
        assert!(oubliette::event::Subject::new(format!("user-{odd}")).is_err());
    }
}
