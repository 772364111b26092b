//! What whoever writes to the event store can do with announcements, and what is noticed of it.

use oubliette::{
    event::{ANNOUNCED, ANNOUNCEMENTS, EventId, RecordedEvent},
    layer::Oubliette,
};

use super::{
    FIRST_IS_FORGOTTEN,
    machine::{Announcements, Machine},
    shapes, two_people,
};
use crate::common::*;

/// Changes one announcement as it is read: its text, its id.
async fn with_announcement(
    change: impl Fn(&mut RecordedEvent) + Send + Sync + 'static,
) -> (Machine, Oubliette<Announcements>) {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    machine.restore(&before);
    machine.store.tamper(move |mut events| {
        events.iter_mut().for_each(&change);
        events
    });
    let bank = machine.open().await;
    (machine, bank)
}

#[tokio::test]
async fn a_changed_announcement_does_not_count_and_is_told() {
    fn replaced(event: &mut RecordedEvent, from: &str, to: &str) {
        let text = text(event).replace(from, to);
        event.data = Some(json(&text).into());
    }
    let untouched = with_announcement(|_| {}).await.1;
    assert_eq!(untouched.witnessed().replayed.len(), 1, "the test of the test");
    for field in
        ["about", "kind", "log", "epoch", "at", "sealed", "format", "previous", "id", "more"]
    {
        let (_machine, bank) = with_announcement(move |event| match field {
            "about" => {
                let other = oubliette::event::ErasureId::now().to_string();
                let ours = text(event).split(r#""about":""#).nth(1).unwrap()[..36].to_owned();
                replaced(event, &ours, &other);
            }
            "kind" => replaced(event, r#""kind":"erasure""#, r#""kind":"hold""#),
            "log" => {
                let log = text(event).split(r#""log":""#).nth(1).unwrap()[..22].to_owned();
                replaced(event, &log, "AAAAAAAAAAAAAAAAAAAAAA");
            }
            "more" => replaced(event, r#""log":"#, r#""more":1,"log":"#),
            "epoch" => replaced(event, r#""epoch":"#, r#""epoch":9"#),
            "at" => replaced(event, r#""at":"2"#, r#""at":"1"#),
            "sealed" => {
                let sealed = text(event).split(r#""sealed":""#).nth(1).unwrap()[..30].to_owned();
                let other: String = sealed.chars().rev().collect();
                replaced(event, &sealed, &other);
            }
            "format" => replaced(event, r#""format":1"#, r#""format":2"#),
            "previous" => {
                let (other, digest) = (EventId::random(), "A".repeat(43));
                let previous = format!(r#""previous":[{{"event":"{other}","digest":"{digest}"}}]"#);
                replaced(event, r#""previous":[]"#, &previous);
            }
            _ => event.id = EventId::random(),
        })
        .await;
        let told = bank.witnessed();
        assert_eq!((told.replayed.len(), told.unverifiable.len()), (0, 1), "{field}");
        // Who can write to the store could have removed it as well: it is no reason to serve
        // nobody.
        assert_eq!(shapes(&bank).await, "! ! c c", "{field}");
    }
}

#[tokio::test]
async fn junk_in_the_stream_closes_nothing() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    let vault = machine.announcements().await[0].vault();
    for data in [
        "1".to_owned(),
        r#"{"format":1}"#.to_owned(),
        format!(
            r#"{{"format":9,"kind":"erasure","vault":"{vault}","about":"{vault}","at":"2026-01-01T00:00:00Z","epoch":1,"sealed":"AAAA"}}"#
        ),
    ] {
        put(&machine.store, ANNOUNCEMENTS, event(ANNOUNCED, &data)).await.unwrap();
    }
    put(&machine.store, ANNOUNCEMENTS, event("Noise", "{}")).await.unwrap();
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed.len(), 1);
    assert_eq!(bank.witnessed().unverifiable.len(), 1, "that which names this vault");
    assert_eq!(bank.witnessed().odd.len(), 3, "and those that are nothing");
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
    drop(bank);
    // It is read once.
    assert_eq!(machine.open().await.witnessed(), Default::default());
    machine.open().await.forget(&subject("user-2"), "asked").await.unwrap();
    assert_eq!(machine.open().await.witnessed(), Default::default());
}

/// What is removed at the end cannot be told from what never was. What is removed before it, can.
#[tokio::test]
async fn a_removed_announcement_is_noticed_unless_it_was_the_last() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.open().await.forget(&subject("user-1"), "one").await.unwrap();
    machine.open().await.forget(&subject("user-2"), "two").await.unwrap();
    let after = machine.image();

    machine.restore(&before);
    machine.store.tamper(|mut events| {
        events.remove(0);
        events
    });
    let bank = machine.open_past_a_gap().await;
    assert!(bank.witnessed().gap);
    assert_eq!(shapes(&bank).await, "! ! pt pt");
    drop(bank);

    machine.restore(&before);
    machine.store.tamper(|mut events| {
        events.pop();
        events
    });
    assert!(!machine.open().await.witnessed().gap, "the end is open");

    // A vault that was not rolled back misses it.
    machine.restore(&after);
    assert!(machine.open_past_a_gap().await.witnessed().gap);
    machine.restore(&after);
    machine.store.tamper(|_| Vec::new());
    let bank = machine.open_past_a_gap().await;
    assert!(bank.witnessed().gap);
    assert_eq!(shapes(&bank).await, "pt pt pt pt");
}

#[tokio::test]
async fn announcements_in_another_order_are_all_applied_and_it_is_noticed() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.open().await.forget(&subject("user-1"), "one").await.unwrap();
    machine.open().await.forget(&subject("user-2"), "two").await.unwrap();
    machine.restore(&before);
    machine.store.tamper(|mut events| {
        let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
        events.reverse();
        events.iter_mut().zip(revisions).for_each(|(event, revision)| event.revision = revision);
        events
    });
    let bank = machine.open().await;
    assert!(bank.witnessed().gap);
    assert_eq!(bank.witnessed().replayed.len(), 2);
    assert_eq!(shapes(&bank).await, "pt pt pt pt");
}
