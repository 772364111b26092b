//! Announcements that are missing in the store keep the vault closed, until somebody says by name that it
//! is to be opened without them.

use std::sync::atomic::Ordering;

use oubliette::{
    audit::verify::{Defect, VerifyOptions, VerifyProgress},
    erasure::{
        Compromised, ErasureError, KeyChange, OperatorError, PendingError, UnclearError,
        accept_gaps, change_key, gaps,
    },
    event::{EventId, RecordedEvent, Timestamp},
    layer::Oubliette,
    store::{MemoryStore, StoreError},
};

use super::{
    machine::{Announcements, Machine},
    shapes, two_people,
};
use crate::common::*;

async fn found(bank: &Oubliette<Announcements>) -> Vec<(Defect, String)> {
    let mut found = Vec::new();
    let take = |news| {
        if let VerifyProgress::Found(finding) = news {
            found.push((finding.kind, finding.what));
        }
    };
    bank.verify(VerifyOptions::default(), take).await.unwrap();
    found
}

fn is_gap(closed: ErasureError, missing: &[EventId]) {
    let ErasureError::Unclear(UnclearError::WitnessGap(mut events)) = closed else {
        panic!("{closed}")
    };
    let mut missing = missing.to_vec();
    events.sort_unstable();
    missing.sort_unstable();
    assert_eq!(events, missing);
}

async fn is_closed_over(machine: &Machine, missing: &[EventId]) {
    is_gap(machine.try_open().await.unwrap_err(), missing);
}

fn without(missing: &[EventId]) -> impl Fn(Vec<RecordedEvent>) -> Vec<RecordedEvent> + 'static {
    let missing = missing.to_vec();
    move |events| events.into_iter().filter(|event| !missing.contains(&event.id)).collect()
}

/// What the store announces, oldest first.
async fn said(machine: &Machine) -> Vec<EventId> {
    machine.announcements().await.iter().map(|said| said.id()).collect()
}

/// Opens the layer for each, and forgets them.
async fn forget(machine: &Machine, users: &[&str]) {
    for user in users {
        machine.open().await.forget(&subject(user), "asked").await.unwrap();
    }
}

/// A machine that is put back to before it forgot these two, and the events that announced it.
async fn put_back() -> (Machine, Vec<EventId>) {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    forget(&machine, &["user-1", "user-2"]).await;
    let said = said(&machine).await;
    machine.restore(&before);
    (machine, said)
}

/// A machine with somebody more: `user-3` and `user-4`.
async fn four_people() -> Machine {
    let machine = Machine::new();
    let bank = machine.open().await;
    two_people(&bank).await;
    for n in [3, 4] {
        let user = format!(r#"{{"id":{n},"surname":"surname-{n}"}}"#);
        put(&bank, &format!("user-{n}"), event("UserRegistered", &user)).await.unwrap();
    }
    machine
}

#[tokio::test]
async fn a_vault_put_back_over_a_gap_serves_nothing_until_somebody_accepts_it_by_name() {
    let (machine, said) = put_back().await;
    machine.store.tamper(without(&said[..1]));
    for _ in 0..2 {
        is_closed_over(&machine, &said[..1]).await;
    }
    let vault = machine.vault();
    for unfit in ["", "  ", "anna@example.org", &"x".repeat(300)] {
        let refused = accept_gaps(&vault, unfit).await.unwrap_err();
        assert!(matches!(refused, OperatorError::UnfitName), "{refused}");
    }
    assert!(gaps(&vault).unwrap().iter().all(|gap| gap.accepted.is_none()));
    let [accepted] = &accept_gaps(&vault, "ticket 12").await.unwrap()[..] else { panic!() };
    assert_eq!(accepted.event, said[0]);
    let again = accept_gaps(&vault, "ticket 12").await.unwrap_err();
    assert!(matches!(again, OperatorError::NoGap), "{again}");
    drop(vault);
    // From then on, and `verify` goes on telling.
    for _ in 0..2 {
        let bank = machine.open().await;
        assert_eq!(gaps(bank.vault().unwrap()).unwrap()[0].accepted, accepted.accepted);
        assert_eq!(shapes(&bank).await, "! ! pt pt");
        let found = found(&bank).await;
        let told = |(kind, what): &&(Defect, String)| {
            *kind == Defect::AcceptedGap
                && what.contains("ticket 12")
                && what.contains(&said[0].to_string())
        };
        assert_eq!(found.iter().filter(told).count(), 1, "{found:?}");
    }
    // As cheap as ever.
    machine.store.read.store(0, Ordering::SeqCst);
    drop(machine.open().await);
    assert_eq!(machine.store.read.load(Ordering::SeqCst), 1);
    // Of what was found, and of nothing that is missed later.
    machine.store.tamper(|_| Vec::new());
    is_closed_over(&machine, &said[1..]).await;
}

/// In one step: what is there is applied, and that is told; what is missing is accepted.
#[tokio::test]
async fn an_opening_accepts_the_gap_that_it_finds_and_none_in_advance() {
    let (machine, said) = put_back().await;
    machine.store.tamper(without(&said[..1]));
    let open = |by| {
        let (store, vault) = (machine.store.clone(), machine.vault());
        Oubliette::open_past_gap(store, vault, bank_policy(), by)
    };
    let unfit = open(" ").await.map(drop).unwrap_err();
    assert!(matches!(unfit, ErasureError::Operator(OperatorError::UnfitName)), "{unfit}");
    is_closed_over(&machine, &said[..1]).await;

    let (machine, said) = put_back().await;
    machine.store.tamper(without(&said[..1]));
    let open = |by| {
        let (store, vault) = (machine.store.clone(), machine.vault());
        Oubliette::open_past_gap(store, vault, bank_policy(), by)
    };
    let (bank, accepted) = open("ticket 12").await.unwrap();
    let events: Vec<_> = accepted.iter().map(|gap| gap.event).collect();
    assert_eq!(events, said[..1]);
    assert_eq!(bank.witnessed().replayed.len(), 1);
    assert_eq!(shapes(&bank).await, "! ! pt pt");
    drop(bank);
    let advance = open("ticket 13").await.map(drop).unwrap_err();
    assert!(matches!(advance, ErasureError::Operator(OperatorError::NoGap)), "{advance}");
    drop(machine.open().await);
}

#[tokio::test]
async fn what_comes_back_is_applied_and_nobody_has_to_accept_anything() {
    let (machine, said) = put_back().await;
    machine.store.tamper(without(&said[..1]));
    is_closed_over(&machine, &said[..1]).await;
    machine.store.tamper(|events| events);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed.len(), 1, "the other one was applied before");
    assert_eq!(shapes(&bank).await, "pt pt pt pt");
    assert_eq!(gaps(bank.vault().unwrap()).unwrap(), []);
}

#[tokio::test]
async fn an_announcement_that_was_changed_is_missing() {
    let (machine, said) = put_back().await;
    machine.store.tamper(|mut events| {
        let text = text(&events[0]);
        events[0].data = Some(json(&text.replacen(r#""epoch":"#, r#""epoch":1"#, 1)).into());
        events
    });
    is_closed_over(&machine, &said[..1]).await;
}

#[tokio::test]
async fn a_vault_that_knows_them_misses_the_newest() {
    let (machine, said) = put_back().await;
    drop(machine.open().await);
    machine.store.tamper(without(&said[1..]));
    is_closed_over(&machine, &said[1..]).await;
    // It was another store, or an old one, by mistake.
    machine.store.tamper(|events| events);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed(), Default::default());
    assert_eq!(gaps(bank.vault().unwrap()).unwrap(), []);
    drop(bank);
    machine.store.tamper(without(&said[1..]));
    is_closed_over(&machine, &said[1..]).await;
    accept_gaps(&machine.vault(), "ops").await.unwrap();
    assert_eq!(shapes(&machine.open().await).await, "pt pt pt pt");
}

/// It said that nobody knows whom they took, and called the day on which it was noticed the one since when.
#[tokio::test]
async fn what_is_told_of_a_gap_is_true_of_a_vault_that_knows_the_erasures_and_of_one_that_does_not()
{
    for knows in [true, false] {
        let (machine, said) = put_back().await;
        if knows {
            drop(machine.open().await);
        }
        // One that knows them misses the newest; the other, what the newest names.
        let missing = if knows { &said[1..] } else { &said[..1] };
        machine.store.tamper(without(missing));
        let closed = machine.try_open().await.unwrap_err().to_string();
        assert!(closed.contains("unless this vault knows of those erasures"), "{closed}");
        assert!(!closed.contains("not known"), "{closed}");
        let over = Oubliette::unresumed(machine.store.clone(), machine.vault(), bank_policy());
        let found = found(&over).await;
        let (_, what) = found.iter().find(|(kind, _)| *kind == Defect::WitnessGap).unwrap();
        let [gap] = &gaps(over.vault().unwrap()).unwrap()[..] else { panic!() };
        assert_eq!(what.split_once("noticed ").unwrap().1, gap.found.to_string());
        assert!(!what.contains("since"), "{what}");
    }
}

/// What is removed in two places is two gaps, and each is accepted or comes back for itself.
/// What is told again is sealed again, and what is in the store is what was told first.
#[tokio::test]
async fn an_announcement_whose_answer_was_lost_is_named_as_it_stands() {
    // Whether or not what others announced can be read again by then.
    for in_doubt in [false, true] {
        let machine = four_people().await;
        forget(&machine, &["user-3", "user-4"]).await;
        let (before, said_before) = (machine.image(), said(&machine).await);
        let bank = machine.open().await;
        machine.store.after_announcing(true);
        let pending = bank.forget(&subject("user-1"), "asked").await.unwrap_err();
        assert!(
            matches!(pending, ErasureError::Pending(PendingError::Announcement { .. })),
            "{pending}"
        );
        machine.store.after_announcing(false);
        if in_doubt {
            machine.store.tamper(without(&said_before[1..]));
        }
        // What waits is done first.
        bank.forget(&subject("user-2"), "asked").await.unwrap();
        drop(bank);
        machine.store.tamper(|all| all);
        let said = machine.announcements().await;
        assert!(said.len() == 4 && said[3].previous().eq([said[2].id()]));
        assert!(!machine.open().await.witnessed().gap);

        machine.restore(&before);
        let bank = machine.open().await;
        assert_eq!((bank.witnessed().replayed.len(), bank.witnessed().gap), (2, false));
        assert!(shapes(&bank).await.starts_with("pt pt pt pt"));
    }
}

#[tokio::test]
async fn each_gap_waits_for_itself() {
    let machine = four_people().await;
    let before = machine.image();
    forget(&machine, &["user-1", "user-2", "user-3", "user-4"]).await;
    let said = said(&machine).await;
    machine.restore(&before);
    machine.store.tamper(without(&[said[0], said[2]]));
    is_closed_over(&machine, &[said[0], said[2]]).await;
    machine.store.tamper(without(&said[2..3]));
    is_closed_over(&machine, &said[2..3]).await;
    accept_gaps(&machine.vault(), "ticket 12").await.unwrap();
    assert_eq!(shapes(&machine.open().await).await, "pt pt pt pt");
    machine.store.tamper(without(&said[2..]));
    is_closed_over(&machine, &said[3..]).await;
    accept_gaps(&machine.vault(), "ticket 13").await.unwrap();
    let bank = machine.open().await;
    let by: Vec<_> = gaps(bank.vault().unwrap()).unwrap();
    let by: Vec<_> = by.iter().map(|gap| gap.accepted.as_ref().unwrap().by.as_str()).collect();
    assert_eq!(by, ["ticket 12", "ticket 13"]);
    drop(bank);
    // All is there again, and somebody read it as a whole: nothing is missing, whoever had accepted it.
    machine.store.tamper(|events| events);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed.len(), 1, "whom only the missing one took");
    assert_eq!(gaps(bank.vault().unwrap()).unwrap(), []);
}

/// Where a gap was found, nothing lifts it but the event or somebody's word: not an empty store, in which there is
/// nothing to be missed, nor a word about something else, after which all is compared again.
#[tokio::test]
async fn an_open_gap_outlives_another_store_and_another_word() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let thief = Machine::new().over_the_store_of(&machine);
    thief.restore(&machine.image());
    forget(&thief, &["user-2"]).await;
    let theirs = said(&machine).await[0];
    let change = KeyChange::Rotate {
        successor: None,
        compromised: Some(Compromised { since: Timestamp::now(), keys: vec![] }),
        without_successor: false,
    };
    change_key(&machine.vault(), &change).await.unwrap();
    forget(&machine, &["user-1"]).await;
    let newest = *said(&machine).await.last().unwrap();
    machine.store.tamper(without(&[newest]));
    // Also where nobody has missed it yet.
    let before = machine.image();
    machine.believe(theirs.0).await.unwrap();
    is_closed_over(&machine, &[newest]).await;
    machine.restore(&before);
    is_closed_over(&machine, &[newest]).await;
    Oubliette::open(MemoryStore::new(), machine.vault(), bank_policy()).await.unwrap();
    is_closed_over(&machine, &[newest]).await;
    machine.believe(theirs.0).await.unwrap();
    is_closed_over(&machine, &[newest]).await;
    assert_eq!(machine.open_past_a_gap().await.witnessed().replayed, []);
}

/// An event of the same id that stands where everything is known already, and says nothing.
#[tokio::test]
async fn what_is_put_behind_the_mark_counts_only_if_it_is_judged() {
    let machine = four_people().await;
    forget(&machine, &["user-1", "user-2"]).await;
    let before = machine.image();
    forget(&machine, &["user-3", "user-4"]).await;
    let said = said(&machine).await;
    machine.restore(&before);
    let (first, removed) = (said[0], said[2]);
    machine.store.tamper(move |mut events| {
        events.retain(|event| event.id != removed);
        events[0].id = removed;
        events
    });
    is_closed_over(&machine, &[first, removed]).await;
}

/// Two copies of a vault are at work at once: their announcements fork, and none is missing.
#[tokio::test]
async fn a_fork_is_no_gap() {
    let machine = four_people().await;
    forget(&machine, &["user-1"]).await;
    let other = Machine::new().over_the_store_of(&machine);
    other.restore(&machine.image());
    let (one, two) = (machine.open().await, other.open().await);
    for (bank, user) in [(&two, "user-2"), (&one, "user-3"), (&two, "user-4")] {
        bank.forget(&subject(user), "asked").await.unwrap();
    }
    drop((one, two));
    for machine in [machine, other] {
        let bank = machine.open().await;
        assert_eq!(gaps(bank.vault().unwrap()).unwrap(), []);
        assert_eq!(shapes(&bank).await, "pt pt pt pt");
        assert_eq!(shape(&all(&bank, "user-3").await), "pt");
        assert_eq!(shape(&all(&bank, "user-4").await), "pt");
    }
}

/// It was told as missing, or in another place or order.
#[tokio::test]
async fn two_copies_at_work_at_once_are_told_as_that_and_another_order_is_not() {
    // Also where the copy was made before anything was announced.
    for copied_after in [1, 0] {
        let machine = four_people().await;
        let before = machine.image();
        forget(&machine, &["user-1"][..copied_after]).await;
        let other = Machine::new().over_the_store_of(&machine);
        other.restore(&machine.image());
        let (one, two) = (machine.open().await, other.open().await);
        for (bank, user) in [(&two, "user-2"), (&one, "user-3"), (&two, "user-4")] {
            bank.forget(&subject(user), "asked").await.unwrap();
        }
        // As soon as each can know it, and once.
        let forks = said(&machine).await.split_off(copied_after + 1);
        let told =
            |bank: &Oubliette<Announcements>| (bank.witnessed().forked, bank.witnessed().gap);
        assert_eq!(told(&one), (forks[..1].to_vec(), false));
        assert_eq!(told(&two), (forks.clone(), false));
        drop((one, two));
        assert_eq!(told(&other.open().await), (vec![], false));
        // The other one has not read the last.
        assert_eq!(told(&machine.open().await), (forks[1..].to_vec(), false));
        assert_eq!(told(&machine.open().await), (vec![], false));
        // A vault from before reads all of it.
        machine.restore(&before);
        assert_eq!(told(&machine.open().await), (forks.clone(), false));
        // Where the order was changed, or something is missing, nobody can say.
        machine.restore(&before);
        machine.store.tamper(|mut events| {
            let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
            events.reverse();
            let numbered = events.iter_mut().zip(revisions);
            numbered.for_each(|(event, revision)| event.revision = revision);
            events
        });
        assert_eq!(told(&machine.open().await), (vec![], true));
        machine.restore(&before);
        let first = said(&machine).await.pop().unwrap();
        machine.store.tamper(without(&[first]));
        assert_eq!(told(&machine.open_past_a_gap().await), (vec![], true));
    }
}

/// A vault that is new to the store, or another one, misses nothing of what this one said.
#[tokio::test]
async fn what_another_vault_misses_closes_nothing() {
    let (machine, said) = put_back().await;
    let other = Machine::new().over_the_store_of(&machine);
    put(&other.open().await, "user-9", event("U", r#"{"id":9}"#)).await.unwrap();
    machine.store.tamper(without(&said[..1]));
    forget(&other, &["user-9"]).await;
    assert_eq!(other.open().await.witnessed(), Default::default());
    is_closed_over(&machine, &said[..1]).await;
}

/// It knows its vault to be whole, and goes on; the next one is closed.
#[tokio::test]
async fn a_layer_that_is_open_serves_and_forgets_on_and_the_next_one_is_closed() {
    let machine = Machine::new();
    let bank = machine.open().await;
    two_people(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let removed = said(&machine).await;
    machine.store.tamper(without(&removed));
    let other = Machine::new().over_the_store_of(&machine);
    put(&other.open().await, "user-9", event("U", r#"{"id":9}"#)).await.unwrap();
    forget(&other, &["user-9"]).await;

    assert!(bank.forget(&subject("user-2"), "asked").await.unwrap().announced);
    assert_eq!(shapes(&bank).await, "pt pt pt pt");
    is_gap(bank.resume().await.unwrap_err(), &removed);
    let found = found(&bank).await;
    assert!(found.iter().any(|(kind, _)| *kind == Defect::WitnessGap), "{found:?}");
    drop(bank);
    is_closed_over(&machine, &removed).await;
    assert_eq!(shapes(&machine.open_past_a_gap().await).await, "pt pt pt pt");
}

/// Whoever is decided upon waits as well: what is missing may say that something is to be kept.
#[tokio::test]
async fn nothing_is_destroyed_and_nothing_is_sealed_over_a_gap() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    forget(&machine, &["user-1"]).await;
    let bank = machine.open().await;
    machine.store.away.store(true, Ordering::SeqCst);
    let waits = bank.forget(&subject("user-2"), "asked").await.unwrap_err();
    assert!(matches!(waits, ErasureError::Pending(_)), "{waits}");
    drop(bank);
    machine.store.away.store(false, Ordering::SeqCst);
    let removed = said(&machine).await;
    machine.store.tamper(without(&removed));
    for _ in 0..2 {
        is_closed_over(&machine, &removed).await;
    }
    assert_eq!(said(&machine).await, []);
    let audited = Oubliette::unresumed(machine.store.clone(), machine.vault(), bank_policy());
    let found = found(&audited).await;
    let told = |defect| found.iter().filter(|(kind, _)| *kind == defect).count();
    assert_eq!((told(Defect::WitnessGap), told(Defect::ErasureNotCarriedOut)), (1, 1), "{found:?}");
    drop(audited);
    // Without the vault, what is public is read as ever, and nothing is written.
    let public = Oubliette::without_vault(machine.store.clone(), bank_policy());
    assert_eq!(all(&public, "user-1").await.len(), 2);
    let refused = put(&public, "user-2", event("UserRegistered", r#"{"id":2}"#)).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    drop(public);
    let bank = machine.open_past_a_gap().await;
    assert_eq!(shapes(&bank).await, "pt pt pt pt", "what was decided is done");
}

/// Their announcements name each other, and they remove some.
#[tokio::test]
async fn a_thief_of_the_key_closes_nothing_by_a_gap_of_theirs() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let successor = machine.pin().await;
    machine.open().await.forget(&subject("user-1"), "asked").await.unwrap();
    let before = machine.announcements().await.len();
    let thief = Machine::new().over_the_store_of(&machine);
    thief.restore(&machine.image());
    let theirs = thief.open().await;
    put(&theirs, "user-3", event("UserRegistered", r#"{"id":3}"#)).await.unwrap();
    for user in ["user-2", "user-3"] {
        theirs.forget(&subject(user), "malice").await.unwrap();
    }
    let removed = machine.announcements().await[before].id();
    machine.store.tamper(without(&[removed]));
    let change = KeyChange::Rotate {
        successor: Some(successor),
        compromised: Some(Compromised { since: Timestamp::now(), keys: vec![] }),
        without_successor: false,
    };
    change_key(&machine.vault(), &change).await.unwrap();
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().compromised.len(), 1);
    assert_eq!(shapes(&bank).await, "pft pft cf cf");
    assert_eq!(gaps(bank.vault().unwrap()).unwrap(), []);
    drop(bank);
    // Unless the operator says that it was the vault itself.
    let second = machine.announcements().await[before].id();
    machine.believe(second.0).await.unwrap();
    is_closed_over(&machine, &[removed]).await;
}
