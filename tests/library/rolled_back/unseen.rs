//! Announcements that were changed so that nobody is asked about them.

use oubliette::{
    audit::verify::{Defect, VerifyOptions},
    erasure::{ErasureError, UnclearError, accept_gaps},
    event::{ANNOUNCEMENTS, EventId, EventType, RecordedEvent},
    layer::Oubliette,
    store::{EventStore, MemoryStore},
};

use super::{machine::Machine, two_people};
use crate::common::*;

/// As whoever writes to the database does it.
async fn with_changed(machine: &Machine, change: impl Fn(&mut RecordedEvent)) -> MemoryStore {
    let mut events = everything(&machine.store).await;
    let announced = events.iter_mut().filter(|event| event.stream.as_str() == ANNOUNCEMENTS);
    announced.for_each(change);
    let store = MemoryStore::new();
    store.restore(events).await.unwrap();
    store
}

/// Removed events were noticed; those that were made another vault's, or nobody's, were not.
#[tokio::test]
async fn announcements_that_were_made_somebody_elses_are_missed() {
    type Change = fn(&mut RecordedEvent);
    let changes: [(&str, Change); 4] = [
        ("none", |_| {}),
        ("type", |event| event.event_type = EventType::new("X").unwrap()),
        ("data", |event| event.data = Some(json("{}").into())),
        ("vault", |event| {
            let mut said: serde_json::Value = serde_json::from_str(&text(event)).unwrap();
            said["vault"] = "886313e1-3b8a-4372-9b90-0c9aee199e5d".into();
            event.data = Some(json(&said.to_string()).into());
        }),
    ];
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    machine.pin().await;
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    let before = machine.image();
    for (name, change) in changes {
        machine.restore(&before);
        let (store, vault) = (with_changed(&machine, change).await, machine.vault());
        let changed = name != "none";
        if changed {
            let opened = Oubliette::open(store.clone(), vault.clone(), bank_policy()).await;
            let closed = opened.unwrap_err();
            assert!(
                matches!(closed, ErasureError::Unclear(UnclearError::WitnessGap(_))),
                "{name}: {closed}"
            );
            accept_gaps(&vault, "ops").await.unwrap();
        }
        let bank = Oubliette::open(store, vault, bank_policy()).await.unwrap();
        let told = bank.witnessed();
        assert_eq!(told.gap, changed, "{name}: {told:?}");
        assert_eq!(told.odd.len(), if ["type", "data"].contains(&name) { 2 } else { 0 }, "{name}");
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        let count = |kind| report.found.get(&kind).copied().unwrap_or_default();
        assert_eq!(count(Defect::AnnouncementMissing), if changed { 2 } else { 0 }, "{name}");
        assert_eq!(count(Defect::ForgedAnnouncement), told.odd.len() as u64, "{name}");
    }
}

/// Nobody signed what stands beside an announcement. The layer never looked at it, and `verify` took it for an event
/// of a newer program, or moved, and for no announcement.
#[tokio::test]
async fn what_stands_beside_an_announcement_counts_for_nothing() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    machine.pin().await;
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    let said: Vec<_> = all(&machine.open().await, ANNOUNCEMENTS).await;
    let half = EventId::random();
    for beside in [
        None,
        Some("{}".to_owned()),
        Some(r#"{"a":1}"#.to_owned()),
        Some(r#"{"$sealed":[]}"#.to_owned()),
        Some(r#"{"$oubliette":7}"#.to_owned()),
        Some(r#"{"$oubliette":{"v":2}}"#.to_owned()),
        Some(r#"{"$oubliette":{"stream":"user-1"}}"#.to_owned()),
        Some(format!(r#"{{"$oubliette":{{"stream":"user-1","private":"{half}"}}}}"#)),
        Some(format!(r#"{{"$oubliette":{{"stream":"user-1","public":"{half}"}}}}"#)),
    ] {
        machine.restore(&before);
        let metadata = beside.as_deref().map(json);
        let store = with_changed(&machine, |event| event.metadata.clone_from(&metadata)).await;
        let bank = Oubliette::open(store, machine.vault(), bank_policy()).await.unwrap();
        let told = bank.witnessed();
        assert_eq!((told.replayed.len(), told.odd.len(), told.gap), (1, 0, false), "{beside:?}");
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        assert_eq!(report.found, [].into(), "{beside:?}");
        assert_eq!((report.events.newer, report.events.unsealed), (0, 0), "{beside:?}");
        let counted = bank.count_unsealed().await.unwrap();
        assert_eq!((counted.newer, counted.unsealed), (0, 0), "{beside:?}");
        assert_eq!(bank.rebuild_owners(true).await.unwrap().newer, 0, "{beside:?}");
        for (event, said) in all(&bank, ANNOUNCEMENTS).await.iter().zip(&said) {
            assert_eq!((&event.data, &event.metadata), (&said.data, &None), "{beside:?}");
        }
    }
}
