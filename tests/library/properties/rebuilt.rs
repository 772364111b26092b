//! Owners whom events stated before anybody noted them: from before the layer, or before the policy.

use oubliette::{
    audit::verify::{Defect, VerifyOptions},
    erasure::{Erased, ForgetOptions},
    layer::{NotMended, OwnersRebuilt},
};
use proptest::prelude::*;

use super::*;

/// The bank before anybody thought of owners.
const BEFORE: &str = r#"
[[stream]]
match  = "bankaccount-{id}"
public = ["/owner", "/newOwner", "/amount", "/currency"]

[[stream]]
match  = "ledger-{id}"
public = ["/account", "/amount"]
"#;

async fn found<S: EventStore>(bank: &Oubliette<S>) -> BTreeMap<Defect, u64> {
    bank.verify(VerifyOptions::default(), |_| {}).await.unwrap().found
}

async fn despite<S: EventStore>(bank: &Oubliette<S>, who: &str) -> Erased {
    let options = ForgetOptions { despite_unsealed: true, ..ForgetOptions::default() };
    bank.forget_with(&subject(who), "ticket 1", options, |_| {}).await.unwrap()
}

/// The same store and vault under another policy.
async fn under(bank: &Oubliette<MemoryStore>, policy: &str) -> Oubliette<MemoryStore> {
    let (store, vault) = (bank.store().clone(), bank.vault().unwrap().clone());
    Oubliette::open(store, vault, Policy::parse(policy).unwrap()).await.unwrap()
}

async fn rebuild(bank: &Oubliette<MemoryStore>) -> OwnersRebuilt {
    let dry = bank.rebuild_owners(true).await.unwrap();
    let mut rebuilt = bank.rebuild_owners(false).await.unwrap();
    assert!(dry.dry_run && !rebuilt.dry_run);
    rebuilt.dry_run = true;
    assert_eq!(dry, rebuilt);
    let again = bank.rebuild_owners(false).await.unwrap();
    assert_eq!((again.mended, again.skipped), (0, 0), "{again:?}");
    rebuilt
}

/// The table that was there before the layer was says who owns what, in clear.
#[tokio::test]
async fn owners_from_before_the_layer_are_not_known_until_somebody_looks() {
    let account = "bankaccount-1";
    let store = MemoryStore::new();
    let opened = event("AccountOpened", r#"{"owner":"user-1","iban":"DE1"}"#);
    put(&store, account, opened).await.unwrap();
    let bank = layer_over(store).await;
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();
    put(&bank, account, event("Noted", r#"{"memo":"geheim"}"#)).await.unwrap();
    put(&bank, "ledger-1", event("LedgerOpened", r#"{"account":"bankaccount-1","note":"n"}"#))
        .await
        .unwrap();
    let plan = bank.plan(&subject("user-1")).await.unwrap();
    assert!(plan.owners_unknown);
    assert_eq!(plan.subjects.len(), 1);
    assert_eq!(found(&bank).await.get(&Defect::OwnerInClear), Some(&1));

    let rebuilt = rebuild(&bank).await;
    assert_eq!((rebuilt.events, rebuilt.streams, rebuilt.mended), (4, 2, 1));
    assert_eq!(rebuilt.left, []);
    assert!(!found(&bank).await.contains_key(&Defect::OwnerInClear));
    let plan = bank.plan(&subject("user-1")).await.unwrap();
    assert!(!plan.owners_unknown);
    assert_eq!(plan.subjects.len(), 3);
    // And now forgetting sees that something is in clear.
    assert!(matches!(
        bank.forget(&subject("user-1"), "ticket 1").await,
        Err(ErasureError::Refused(ErasureRefusal::Unsealed { .. }))
    ));
    assert!(!despite(&bank, "user-1").await.owners_unknown);
    assert_eq!(shape(&all(&bank, account).await), "cst");
    assert_eq!(shape(&all(&bank, "ledger-1").await), "pt");
}

/// What a forgetting missed is told for as long as it is there.
#[tokio::test]
async fn whom_a_forgetting_missed_is_told_after_it() {
    let (account, ledger) = ("bankaccount-4", "ledger-4");
    let old = Oubliette::open(
        MemoryStore::new(),
        Vault::in_memory().unwrap(),
        Policy::parse(BEFORE).unwrap(),
    )
    .await
    .unwrap();
    for (to, kind, data) in [
        ("user-4", "UserRegistered", USER),
        (account, "AccountOpened", r#"{"owner":"user-4","memo":"m"}"#),
        (ledger, "LedgerOpened", r#"{"account":"bankaccount-4","note":"n"}"#),
    ] {
        put(&old, to, event(kind, data)).await.unwrap();
    }
    let new = under(&old, BANK).await;
    let compared = new.compare_policy(new.policy()).await.unwrap();
    assert_eq!((compared.events, compared.owners_not_noted, compared.in_clear), (3, 2, 0));
    assert!(compared.differs());
    assert_eq!(found(&new).await[&Defect::OwnerNotNoted], 2);
    assert!(despite(&new, "user-4").await.owners_unknown);
    assert_eq!(shape(&all(&new, account).await), "c");
    let after = found(&new).await;
    assert_eq!((after[&Defect::Missed], after[&Defect::OwnerNotNoted]), (1, 1));

    // It cannot be mended, but by name: and then the rest is.
    let rebuilt = rebuild(&new).await;
    let missed = NotMended::Missed { stream: stream(account), owner: subject("user-4") };
    assert_eq!((rebuilt.mended, rebuilt.left), (1, vec![missed]));
    despite(&new, account).await;
    assert_eq!(shape(&all(&new, account).await), "pt");
    assert_eq!(shape(&all(&new, ledger).await), "pt");
    assert_eq!(found(&new).await, BTreeMap::new());
    assert!(!new.compare_policy(new.policy()).await.unwrap().differs());
}

/// A change of hands that nobody noted began no generation: neither owner takes the other's along.
#[tokio::test]
async fn what_changed_hands_unnoted_goes_with_the_last_owner_and_what_comes_next_with_the_present_one()
 {
    for (imported_again, present_first) in [(false, false), (true, false), (false, true)] {
        let account = "bankaccount-1";
        let policy = Policy::parse(BEFORE).unwrap();
        let vault = Vault::in_memory().unwrap();
        let old = Oubliette::open(MemoryStore::new(), vault, policy).await.unwrap();
        let users = ["user-1", "user-2"];
        for user in users {
            put(&old, user, event("UserRegistered", USER)).await.unwrap();
        }
        let history = [
            event("AccountOpened", r#"{"owner":"user-1","memo":"a"}"#),
            event("AccountTransferred", r#"{"newOwner":"user-2","memo":"b"}"#),
            event("Noted", r#"{"memo":"c"}"#),
        ];
        for event in &history {
            put(&old, account, event.clone()).await.unwrap();
        }
        let new = under(&old, BANK).await;
        if imported_again {
            // It is answered as there, and noted from now on: for what is there that is too late.
            for event in &history {
                assert!(put(&new, account, event.clone()).await.unwrap().already);
            }
        }
        let rebuilt = rebuild(&new).await;
        let owners = users.map(subject).to_vec();
        let left = NotMended::OneGeneration { stream: stream(account), owners };
        assert_eq!((rebuilt.mended, rebuilt.left), (1, vec![left]));
        put(&new, account, event("Noted", r#"{"memo":"d"}"#)).await.unwrap();

        if present_first {
            // The present owner takes what is theirs alone.
            new.forget(&subject("user-2"), "asked").await.unwrap();
            assert_eq!(shape(&all(&new, account).await), "cccst");
            new.forget(&subject("user-1"), "asked").await.unwrap();
            assert_eq!(shape(&all(&new, account).await), "ppsstt");
            continue;
        }
        let plan = new.plan(&subject("user-1")).await.unwrap();
        assert_eq!(plan.subjects.len(), 1);
        assert_eq!(plan.kept[0].by[0].subject, subject("user-2"));
        new.forget(&subject("user-1"), "asked").await.unwrap();
        assert_eq!(shape(&all(&new, account).await), "cccc");
        new.forget(&subject("user-2"), "asked").await.unwrap();
        assert_eq!(shape(&all(&new, account).await), "ppsst", "{imported_again}");
    }
}

/// A policy that names a subject later changes nothing that is sealed.
#[tokio::test]
async fn what_is_sealed_for_another_subject_than_the_policy_says_is_told_before_and_after() {
    let vault = Vault::in_memory().unwrap();
    let before = Policy::parse("").unwrap();
    let old = Oubliette::open(MemoryStore::new(), vault, before).await.unwrap();
    put(&old, "user-1", event("UserRegistered", USER)).await.unwrap();
    let memo = || event("Booked", r#"{"customer":1,"memo":"geheim"}"#);
    put(&old, "book-1", memo()).await.unwrap();
    let policy = r#"
        [[stream]]
        match     = "book-{id}"
        subject   = "user-{/customer}"
    "#;
    let new = under(&old, policy).await;
    let other = new.compare_policy(new.policy()).await.unwrap();
    assert_eq!((other.other_subject, other.owners_not_noted), (1, 0));
    assert_eq!(found(&new).await, BTreeMap::from([(Defect::OtherSubject, 1)]));
    put(&new, "book-1", memo()).await.unwrap();
    assert_eq!(found(&new).await, BTreeMap::from([(Defect::OtherSubject, 1)]));
    new.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(shape(&all(&new, "book-1").await), "cst");
    assert_eq!(found(&new).await, BTreeMap::from([(Defect::Missed, 1)]));
}

#[derive(Debug, Clone, Copy)]
enum What {
    Noted,
    Opened(u8),
    Left(u8),
    Transferred(u8),
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        3 => Just(What::Noted),
        3 => (1..4u8).prop_map(What::Opened),
        1 => (1..4u8).prop_map(What::Left),
        1 => (1..4u8).prop_map(What::Transferred),
    ]
}

fn told(what: What) -> NewEvent {
    match what {
        What::Noted => event("Noted", r#"{"memo":"m"}"#),
        What::Opened(n) => event("AccountOpened", &format!(r#"{{"owner":"user-{n}","memo":"m"}}"#)),
        What::Left(n) => event("OwnerLeft", &format!(r#"{{"owner":"user-{n}","memo":"m"}}"#)),
        What::Transferred(n) => {
            event("AccountTransferred", &format!(r#"{{"newOwner":"user-{n}","memo":"m"}}"#))
        }
    }
}

/// Before, in clear; before the policy; and under it.
type Times = (Vec<What>, Vec<What>, Vec<What>);

/// Looks through the store after the second part of a history, or after its end; forgets in this order;
/// and compares each event with whom it belonged to.
async fn rebuilt_and_forgotten((clear, sealed, noted): Times, at_the_end: bool, order: [u8; 3]) {
    let account = "bankaccount-1";
    let store = MemoryStore::new();
    for what in &clear {
        put(&store, account, told(*what)).await.unwrap();
    }
    let vault = Vault::in_memory().unwrap();
    let old = Oubliette::open(store, vault, Policy::parse(BEFORE).unwrap()).await.unwrap();
    for n in order {
        put(&old, &format!("user-{n}"), event("UserRegistered", USER)).await.unwrap();
    }
    for what in &sealed {
        put(&old, account, told(*what)).await.unwrap();
    }
    let new = under(&old, BANK).await;
    if !at_the_end {
        rebuild(&new).await;
    }
    for what in &noted {
        put(&new, account, told(*what)).await.unwrap();
    }
    rebuild(&new).await;

    // Of each event, who owned it.
    let mut owners: Vec<u8> = Vec::new();
    let mut whose: Vec<Vec<u8>> = Vec::new();
    for what in clear.iter().chain(&sealed).chain(&noted) {
        let before = owners.clone();
        match *what {
            What::Noted => {}
            What::Opened(n) if owners.contains(&n) => {}
            What::Opened(n) => owners.push(n),
            What::Left(n) => owners.retain(|owner| *owner != n),
            What::Transferred(n) => owners = vec![n],
        }
        whose.push(if matches!(what, What::Left(_)) { before } else { owners.clone() });
    }
    let mut forgotten: Vec<u8> = Vec::new();
    for n in order {
        forgotten.push(n);
        despite(&new, &format!("user-{n}")).await;
        let events = all(&new, account).await;
        for (at, (event, owners)) in events.iter().zip(&whose).enumerate().skip(clear.len()) {
            let is_gone = !event.shredded.is_empty();
            let all_gone = owners.iter().all(|owner| forgotten.contains(owner));
            // No wrong person: nobody's goes while they, or somebody with them, are there.
            assert!(!is_gone || all_gone, "{at} of {owners:?}, {forgotten:?} are forgotten");
            let everybody = forgotten.len() == order.len();
            assert!(is_gone || !everybody || owners.is_empty(), "{at} of {owners:?} is missed");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_missed_and_nobody_wrong_is_hit_by_owners_that_are_noted_late(
        times in (
            prop::collection::vec(what(), 0..4),
            prop::collection::vec(what(), 0..6),
            prop::collection::vec(what(), 0..5),
        ),
        at_the_end in any::<bool>(),
        order in Just([1u8, 2, 3]).prop_shuffle(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(rebuilt_and_forgotten(times, at_the_end, order));
    }
}

/// What every reader refuses says nothing of owners, and neither does what somebody wrote past the layer.
#[tokio::test]
async fn a_forged_owner_is_left_by_the_rebuilding() {
    let store = MemoryStore::new();
    let bank = layer_over(store.clone()).await;
    for who in ["user-1", "user-2"] {
        put(&bank, who, event("UserRegistered", r#"{"id":1,"surname":"A"}"#)).await.unwrap();
    }
    let opened = r#"{"owner":"user-1","memo":"m"}"#;
    put(&bank, "bankaccount-1", event("AccountOpened", opened)).await.unwrap();
    let sealed = all(&store, "bankaccount-1").await.remove(0);
    let edited = json(&text(&sealed).replace("user-1", "user-2"));
    let forged = MemoryStore::new();
    let mut event_of = NewEvent::new(sealed.event_type, edited).with_id(sealed.id);
    event_of.metadata = sealed.metadata;
    put(&forged, "bankaccount-1", event_of).await.unwrap();
    let vault = bank.vault().unwrap().clone();
    let told = Oubliette::open(forged, vault, bank_policy()).await.unwrap();
    let rebuilt = told.rebuild_owners(true).await.unwrap();
    assert_eq!((rebuilt.mended, rebuilt.left.len()), (0, 1), "{rebuilt:?}");
    // In clear, behind what the vault wrote.
    let transferred = r#"{"newOwner":"user-2","memo":"m"}"#;
    put(&store, "bankaccount-1", event("AccountTransferred", transferred)).await.unwrap();
    let rebuilt = bank.rebuild_owners(false).await.unwrap();
    assert_eq!((rebuilt.mended, rebuilt.left.len()), (0, 1), "{rebuilt:?}");
    assert_eq!(bank.plan(&subject("user-2")).await.unwrap().subjects.len(), 1);
}
