//! What a newer program wrote is called so, and never "in clear": a later token, later notes, a later stub.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::TryStreamExt;
use oubliette::{
    audit::verify::{Defect, VerifyOptions, VerifyReport},
    erasure::ForgetOptions,
    event::{EventId, OwnerChange, RecordedEvent},
    store::{ReadAllOptions, ReadOptions},
    vault::internals::{Claim, Plumbing as _},
};

use super::*;

/// The kinds of what is newer.
const LATE: [fn(&mut RecordedEvent); 3] = [
    |event| event.data = Some(json(&later(&text(event), r#""$sealed":[""#, 0)).into()),
    |event| event.data = Some(json(&later(&text(event), r#""$sealed":[""#, 1)).into()),
    |event| {
        event.data = Some(json(r#"{"elsewhere":7}"#).into());
        event.metadata = Some(json(r#"{"$oubliette":{"v":2,"parts":["…"]}}"#));
    },
];

/// The text with the first token or stub behind a mark of a later version (0) or another algorithm (1).
fn later(text: &str, mark: &str, at: usize) -> String {
    let (before, after) = text.split_once(mark).unwrap();
    let (token, after) = after.split_once('"').unwrap();
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
    bytes[at] = 2;
    format!("{before}{mark}{}\"{after}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn again(event: RecordedEvent) -> NewEvent {
    let new = NewEvent::new(event.event_type, event.data.unwrap()).with_id(event.id);
    NewEvent { metadata: event.metadata, ..new }
}

/// A store with the same events, some of them changed, under the same vault and policy.
async fn changed(
    bank: &Oubliette<MemoryStore>,
    mut change: impl FnMut(&mut RecordedEvent),
) -> Oubliette<MemoryStore> {
    let store = MemoryStore::new();
    for mut event in everything(bank.store()).await {
        change(&mut event);
        put(&store, event.stream.clone().as_str(), again(event)).await.unwrap();
    }
    let vault = bank.vault().unwrap().clone();
    Oubliette::open(store, vault, bank_policy()).await.unwrap()
}

async fn unreadable(bank: &Oubliette<MemoryStore>, of: &str) -> Unreadable {
    match bank.events(&stream(of), ReadOptions::default()).await {
        Err(StoreError::Unreadable { unreadable, .. }) => unreadable,
        other => panic!("{other:?}"),
    }
}

async fn verified(bank: &Oubliette<MemoryStore>) -> VerifyReport {
    bank.verify(VerifyOptions::default(), |_| {}).await.unwrap()
}

/// An account that is stored in one piece, and a customer whose events are in two.
async fn bank() -> Oubliette<MemoryStore> {
    let bank = layer().await;
    put(&bank, "user-1", event("UserRegistered", r#"{"id":1,"surname":"A"}"#)).await.unwrap();
    put(&bank, "bankaccount-1", event("AccountOpened", r#"{"owner":"user-1","memo":"a"}"#))
        .await
        .unwrap();
    put(&bank, "bankaccount-1", event("Noted", r#"{"memo":"b"}"#)).await.unwrap();
    bank
}

#[tokio::test]
async fn what_a_newer_program_wrote_is_called_newer_wherever_it_is_met() {
    let bank = bank().await;
    for (at, late) in LATE.iter().enumerate() {
        let mut behind_the_first = 0;
        // The last event alone: who goes back from a newer program has its events behind their own.
        let newer = changed(&bank, |event| {
            if event.stream.as_str() == "bankaccount-1" {
                behind_the_first += 1;
                if behind_the_first == 2 {
                    late(event);
                }
            }
        })
        .await;
        let told = unreadable(&newer, "bankaccount-1").await;
        assert!(told.is_newer(), "{told}");
        assert!(told.to_string().contains("open it with the newer one"), "{told}");
        let all: Result<Vec<_>, _> = newer.read_all(ReadAllOptions::default()).try_collect().await;
        assert!(
            matches!(all, Err(StoreError::Unreadable { unreadable, .. }) if unreadable == told)
        );

        let plan = newer.plan(&subject("bankaccount-1")).await.unwrap();
        let events: Vec<_> = plan.newer.iter().map(|n| (n.stream.as_str(), n.events)).collect();
        assert_eq!((events, plan.unsealed_events()), (vec![("bankaccount-1", 1)], 0), "{at}");

        let report = verified(&newer).await;
        assert_eq!(report.found.get(&Defect::Newer), Some(&1), "{:?}", report.found);
        assert_eq!((report.events.newer, report.events.unsealed), (1, 0));
        for silent in
            [Defect::Unreadable, Defect::UnusedKey, Defect::OwnerNotStated, Defect::HalfMissing]
        {
            assert_eq!(report.found.get(&silent), None, "{silent}");
        }
        assert!(!Defect::Newer.remedy().contains("restore") && !report.is_clean());
        assert_eq!(report.vault.unused_keys, None);

        let counted = newer.count_unsealed().await.unwrap();
        assert_eq!((counted.unsealed, counted.newer), (0, 1));
        let compared = newer.compare_policy(&bank_policy()).await.unwrap();
        assert_eq!((compared.in_clear, compared.newer), (0, 1));
        assert!(compared.differs());
        let rebuilt = newer.rebuild_owners(false).await.unwrap();
        assert_eq!(rebuilt.newer, 1);

        // Whoever is forgotten with it is forgotten neither by way of an owner nor by name.
        for who in ["user-1", "bankaccount-1"] {
            let refused = newer.forget(&subject(who), "ticket 1").await.unwrap_err();
            assert!(
                matches!(&refused, ErasureError::Refused(ErasureRefusal::Newer { newer, .. }) if newer[0].events == 1)
            );
            let told = refused.to_string();
            assert!(told.contains("despite them") && !told.contains("remove"), "{told}");
        }
        assert!(newer.erasures().unwrap().is_empty());
    }
    // Nothing was closed by it.
    put(&bank, "bankaccount-1", event("Noted", r#"{"memo":"c"}"#)).await.unwrap();
}

#[tokio::test]
async fn who_forgets_despite_what_is_newer_says_so_and_is_told() {
    let bank = bank().await;
    let newer = changed(&bank, |event| {
        if text(event).contains("$sealed") && event.stream.as_str() == "bankaccount-1" {
            LATE[0](event);
        }
    })
    .await;
    let all = ForgetOptions {
        despite_unsealed: true,
        despite_unknown_keys: true,
        ..ForgetOptions::default()
    };
    let account = subject("bankaccount-1");
    let refused = newer.forget_with(&account, "ticket 1", all, |_| {}).await.unwrap_err();
    assert!(matches!(&refused, ErasureError::Refused(ErasureRefusal::Newer { .. })), "{refused}");
    let options = ForgetOptions { despite_newer: true, ..ForgetOptions::default() };
    let erased = newer.forget_with(&account, "ticket 1", options, |_| {}).await.unwrap();
    assert_eq!((erased.keys, erased.newer, erased.unknown_keys), (1, 2, 0));
    assert_eq!(newer.erasures().unwrap()[0].unknown_keys, 2, "it is kept");
    // That the key is gone does not make it anything else.
    assert!(unreadable(&newer, "bankaccount-1").await.is_newer());
    assert!(verified(&newer).await.found.contains_key(&Defect::Newer));
}

#[tokio::test]
async fn a_later_half_makes_the_whole_event_newer() {
    let bank = bank().await;
    let late_notes = |event: &mut RecordedEvent| {
        let metadata = event.metadata.as_ref().unwrap().as_str();
        event.metadata = Some(json(&metadata.replace("{\"stream\"", "{\"v\":2,\"stream\"")));
    };
    let late_token = |event: &mut RecordedEvent| LATE[0](event);
    let late_stub = |event: &mut RecordedEvent| {
        let metadata = event.metadata.as_ref().unwrap().as_str();
        event.metadata = Some(json(&later(metadata, r#""stubs":[""#, 0)));
    };
    type Change<'a> = &'a dyn Fn(&mut RecordedEvent);
    let cases: [(Option<Change<'_>>, Option<Change<'_>>); 5] = [
        (Some(&late_notes), Some(&late_notes)),
        (Some(&late_stub), Some(&late_token)),
        (Some(&late_notes), None),
        (Some(&late_stub), None),
        (None, Some(&late_token)),
    ];
    for (public, private) in cases {
        let newer = changed(&bank, |event| match event.stream.as_str() {
            "user-public-1" => public.iter().for_each(|change| change(event)),
            "user-private-1" => private.iter().for_each(|change| change(event)),
            _ => {}
        })
        .await;
        assert!(unreadable(&newer, "user-1").await.is_newer());
        let all: Result<Vec<_>, _> = newer.read_all(ReadAllOptions::default()).try_collect().await;
        assert!(
            matches!(all, Err(StoreError::Unreadable { unreadable, .. }) if unreadable.is_newer())
        );
        let plan = newer.plan(&subject("user-1")).await.unwrap();
        assert_eq!((plan.newer_events(), plan.unsealed_events()), (1, 0));
        let report = verified(&newer).await;
        assert!(report.events.newer > 0 && report.events.unsealed == 0, "{report:?}");
        // Which keys it uses is not known.
        assert_eq!(report.found.get(&Defect::UnusedKey), None, "{report:?}");
        if private.is_some() || public.is_none() {
            assert_eq!(report.found.get(&Defect::HalfMissing), None, "{report:?}");
        }
    }
}

/// A policy that changed must not lead past a stream because the notes of its first event are later.
#[tokio::test]
async fn a_stream_that_begins_with_what_is_newer_is_not_taken_for_an_empty_one() {
    let bank = bank().await;
    let newer = changed(&bank, |event| {
        if event.stream.as_str() == "user-public-1" {
            LATE[2](event);
        }
    })
    .await;
    let inline = BANK.replacen("layout = \"split\"", "layout = \"inline\"", 1);
    let vault = bank.vault().unwrap().clone();
    let policy = Policy::parse(&inline).unwrap();
    let newer = Oubliette::open(newer.store().clone(), vault, policy).await.unwrap();
    assert!(unreadable(&newer, "user-1").await.is_newer());
}

/// The claim is this program's, the event a newer one's: what it states, this one cannot say.
#[tokio::test]
async fn a_claim_whose_event_is_newer_stays_open_and_is_named() {
    let bank = bank().await;
    let mut last = all(bank.store(), "bankaccount-1").await.pop().unwrap();
    last.id = EventId::random();
    LATE[2](&mut last);
    let claim = Claim {
        subject: subject("bankaccount-1"),
        event: last.id,
        change: OwnerChange::Add(subject("user-7")),
        any: false,
        content: [0; 32],
        stored: false,
    };
    bank.vault().unwrap().claim(std::slice::from_ref(&claim)).await.unwrap();
    put(bank.store(), "bankaccount-1", again(last)).await.unwrap();
    let plan = bank.plan(&subject("user-7")).await.unwrap();
    let named: Vec<_> = plan.not_reached.iter().map(|open| open.subject.as_str()).collect();
    assert_eq!(named, ["bankaccount-1"]);
}
