//! Announcements that only the operator can judge: a word for one of them is no word for another.

use oubliette::{
    audit::verify::{Ill, VerifyOptions},
    erasure::{Announcement, ErasureError, InDoubt, export},
    event::{ANNOUNCED, ANNOUNCEMENTS, ErasureId, RecordedEvent},
    layer::Oubliette,
    store::{EventStore, MemoryStore},
    vault::{Dead, Destruction, Doomed},
};

use crate::{
    FIRST_IS_FORGOTTEN,
    common::*,
    machine::{Image, Machine},
    shapes, two_people,
};

/// A machine that was put back to before a restoration which forgot user-1 under a key of its own.
async fn put_back() -> (Machine, Image, ErasureId) {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    let restored = machine.stranger(&before);
    let erased = restored.open().await.forget(&subject("user-1"), "asked").await.unwrap().erasure;
    (machine, before, erased)
}

/// Whoever has the backup announces that the same erasure took user-2, and bankaccount-2.
async fn forge(machine: &Machine, before: &Image, erasure: ErasureId) -> Announcement {
    let finder = machine.stranger(before).vault();
    let doomed = ["user-2", "bankaccount-2"]
        .map(|who| Doomed { subject: subject(who), dead: Dead::All });
    finder.destroy(&Destruction::new(erasure, doomed.into()), b"").await.unwrap();
    let forged = export(&finder).map(Result::unwrap).last().unwrap();
    put_announcement(machine, &forged).await;
    forged
}

async fn put_announcement(machine: &Machine, said: &Announcement) {
    let mut line: serde_json::Value = serde_json::to_value(said).unwrap();
    line.as_object_mut().unwrap().remove("id");
    let event = event(ANNOUNCED, &line.to_string()).with_id(said.id());
    put(&machine.store, ANNOUNCEMENTS, event).await.unwrap();
}

async fn doubts(machine: &Machine) -> Vec<InDoubt> {
    match machine.try_open().await {
        Err(ErasureError::UnknownSigner(doubts)) => doubts,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_word_for_one_announcement_is_none_for_another_of_the_same_erasure() {
    let (machine, before, erasure) = put_back().await;
    let genuine = machine.announcements().await.remove(0);
    let forged = forge(&machine, &before, erasure).await;
    let told = doubts(&machine).await;
    let named: Vec<_> = told.iter().map(|doubt| (doubt.erasure, doubt.event)).collect();
    assert_eq!(named, [(erasure, genuine.id()), (erasure, forged.id())]);
    assert_ne!(told[0].signer, told[1].signer);
    let text = ErasureError::UnknownSigner(told.clone()).to_string();
    for doubt in &told {
        assert!(text.contains(&doubt.event.to_string()) && text.contains(&doubt.signer.to_string()));
    }
    for refused in [machine.believe(erasure.0).await, machine.pass_over(erasure.0).await] {
        match refused {
            Err(ErasureError::SeveralStatements(several)) => assert_eq!(several, told),
            other => panic!("{other:?}"),
        }
    }
    let stray = ErasureId::now().0;
    assert!(matches!(machine.believe(stray).await, Err(ErasureError::NotInDoubt(id)) if id == stray));

    machine.believe(genuine.id().0).await.unwrap();
    assert_eq!(doubts(&machine).await, told[1..]);
    machine.pass_over(forged.id().0).await.unwrap();
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().unverifiable, [forged.id()]);
    assert_eq!(shapes(&bank).await, FIRST_IS_FORGOTTEN);
    drop(bank);
    assert_eq!(machine.open().await.witnessed(), Default::default());
    // What is known needs no word.
    machine.believe(erasure.0).await.unwrap_err();
    machine.believe(genuine.id().0).await.unwrap();
}

/// Under the id of the event that the operator has looked at.
#[tokio::test]
async fn a_word_is_for_what_is_said_and_not_for_the_events_id() {
    let (machine, before, erasure) = put_back().await;
    let genuine = machine.announcements().await.remove(0);
    machine.believe(genuine.id().0).await.unwrap();
    let forged = forge(&machine, &before, erasure).await;
    let id = genuine.id();
    // Signed for another id it opens nowhere else; so the finder's own event takes the place.
    machine.store.tamper(move |events| {
        let forged = events.iter().find(|event| event.id == forged.id()).cloned().unwrap();
        let place = events.into_iter().filter(|event| event.id == id);
        place.map(|event| RecordedEvent { data: forged.data.clone(), ..event }).collect()
    });
    let bank = machine.open().await;
    assert_eq!((bank.witnessed().replayed, bank.witnessed().unverifiable), (vec![], vec![id]));
}

#[tokio::test]
async fn who_passed_over_a_forgery_has_nothing_pending() {
    let (machine, _, erasure) = put_back().await;
    machine.pass_over(erasure.0).await.unwrap();
    let bank = machine.open().await;
    assert_eq!(bank.erasures().unwrap(), []);
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(!report.found.contains_key(&Ill::ErasurePending), "{:?}", report.found);
}

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
    let changes: [(&str, fn(&mut RecordedEvent)); 4] = [
        ("none", |_| {}),
        ("type", |event| event.event_type = oubliette::event::EventType::new("X").unwrap()),
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
    for (name, change) in changes {
        let store = with_changed(&machine, change).await;
        let bank = Oubliette::open(store, machine.vault(), bank_policy()).await.unwrap();
        let changed = name != "none";
        let told = bank.witnessed();
        assert_eq!(told.gap, changed, "{name}: {told:?}");
        assert_eq!(told.odd.len(), if ["type", "data"].contains(&name) { 2 } else { 0 }, "{name}");
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        let count = |kind| report.found.get(&kind).copied().unwrap_or_default();
        assert_eq!(count(Ill::AnnouncementMissing), if changed { 2 } else { 0 }, "{name}");
        assert_eq!(count(Ill::ForgedAnnouncement), told.odd.len() as u64, "{name}");
    }
}

/// The thief changed the key as well, so that the owner's vault does not know theirs.
#[tokio::test]
async fn a_change_of_the_key_is_announced_though_something_else_is_in_doubt() {
    let (machine, before, erasure) = put_back().await;
    let change = oubliette::erasure::KeyChange::Rotate {
        successor: None,
        compromised: None,
        without_successor: false,
    };
    let key = oubliette::erasure::change_key(&machine.vault(), &change).await.unwrap();
    assert_eq!(doubts(&machine).await[0].erasure, erasure);
    let said = machine.announcements().await;
    let last = said.last().unwrap();
    assert_eq!((said.len(), last.kind().unwrap().as_str()), (2, "signing-key"));
    machine.pass_over(erasure.0).await.unwrap();
    let told = machine.open().await.witnessed();
    assert!(!told.gap && told.refused.is_empty(), "{told:?}");
    machine.restore(&before);
    machine.pass_over(erasure.0).await.unwrap();
    assert_eq!(machine.open().await.witnessed().keys, [key]);
}
