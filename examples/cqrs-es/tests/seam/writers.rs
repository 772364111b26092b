//! Writers at once, lost answers, and what the vault is told of them.

use std::sync::atomic::Ordering;

use cqrs_es::{AggregateError, EventStore, persist::PersistedEventStore};
use oubliette::vault::Settled;
use oubliette_cqrs_es::bank::{Account, AccountError, AccountEvent};

use crate::world::{
    ANSWER_LOST, BankError, CALL_LOST, Faulty, LATE_CONFLICT, NO_FAULT, OF_ADA, OF_BEN, REFUSED,
    World, bank, deposit, life, live,
};

fn opened(of: [&str; 4], customer: &str) -> AccountEvent {
    let [holder, iban, ..] = of.map(str::to_owned);
    AccountEvent::AccountOpened { customer: customer.to_owned(), holder, iban }
}

/// Takes the place of the fifth event, in a transaction that is open.
const IN_THE_WAY: &str = "INSERT INTO events SELECT aggregate_type, aggregate_id, 5, event_type, event_version, payload, \
                          metadata FROM events WHERE aggregate_id = '1' AND sequence = 2";

fn is_hole(event: &AccountEvent) -> bool {
    matches!(event, AccountEvent::HolderForgotten { .. })
}

#[tokio::test]
async fn of_two_writers_one_is_told_and_its_permit_is_let_go() {
    let Some(world) = World::new().await else { return };
    let store = world.store();
    let (first, second) =
        (store.load_aggregate("1").await.unwrap(), store.load_aggregate("1").await.unwrap());
    store.commit(vec![opened(OF_ADA, "customer-1")], first, [].into()).await.unwrap();
    let late = store.commit(vec![opened(OF_BEN, "customer-2")], second, [].into()).await;
    assert!(matches!(late, Err(AggregateError::AggregateConflict)), "{late:?}");

    // What the refused event stated of an owner is withdrawn, and nothing is open.
    assert!(world.codec.unsettled().unwrap().is_empty());
    let of_nobody = world.forget("customer-2").await;
    assert_eq!((of_nobody.keys, of_nobody.streams), (0, 0), "the account is not theirs");
    assert_eq!(world.events("1").await, [opened(OF_ADA, "customer-1")]);

    // The one who was first counts, and forgetting them waits for nobody.
    assert_eq!(world.forget("customer-1").await.keys, 1);
    assert!(world.account("1").await.is_forgotten);
}

#[tokio::test]
async fn nothing_is_lost_where_many_write() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    let writers: Vec<_> = (1..=8)
        .map(|amount| {
            let bank = world.bank();
            tokio::spawn(async move {
                loop {
                    match bank.execute("1", deposit(amount)).await {
                        Ok(()) => return,
                        Err(AggregateError::AggregateConflict) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(world.account("1").await.balance, 50 + 36);
    assert_eq!(world.events("1").await.len(), 12);
    assert!(world.codec.unsettled().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_stored_counts_whatever_the_answer() {
    let Some(world) = World::new().await else { return };
    for (account, answer) in [("1", ANSWER_LOST), ("2", LATE_CONFLICT)] {
        let (faulty, fault) = Faulty::new(world.plain());
        fault.store(answer, Ordering::SeqCst);
        let bank = bank(PersistedEventStore::new_event_store(world.around(faulty)));
        // The command is not to be carried out twice, so it is no failure.
        live(&bank, account, life(OF_ADA, "customer-1")).await;
        assert_eq!(world.account(account).await.balance, 50);
    }
    assert!(world.codec.unsettled().unwrap().is_empty());
    assert_eq!(world.forget("customer-1").await.keys, 2);
}

#[tokio::test]
async fn what_is_not_known_to_be_stored_is_settled_at_the_next_start() {
    let Some(world) = World::new().await else { return };
    for (account, lost) in [("1", CALL_LOST), ("2", REFUSED)] {
        let (faulty, fault) = Faulty::new(world.plain());
        fault.store(lost, Ordering::SeqCst);
        let repository = world.around(faulty);
        let open = life(OF_ADA, "customer-1").remove(0);
        let bank = bank(PersistedEventStore::new_event_store(repository));
        let error: BankError = bank.execute(account, open.clone()).await.unwrap_err();
        assert!(!matches!(error, AggregateError::AggregateConflict), "{error:?}");

        // Nothing is there; but whether that stays so only a start can tell.
        let settled = world.sealed().settle::<Account>().await.unwrap();
        let [(claim, Settled::Withdrawn)] = settled.as_slice() else { panic!("{settled:?}") };
        assert_eq!(claim.stream.as_ref().unwrap().as_str(), format!("Account-{account}"));

        // Tried again, it is another event, and it is stored once.
        fault.store(NO_FAULT, Ordering::SeqCst);
        bank.execute(account, open.clone()).await.unwrap();
        let again = bank.execute(account, open).await;
        assert!(matches!(again, Err(AggregateError::UserError(AccountError::IsOpen))), "{again:?}");
        assert_eq!(world.events(account).await.len(), 1);
    }
    assert!(world.sealed().settle::<Account>().await.unwrap().is_empty());
    assert_eq!(world.forget("customer-1").await.streams, 2, "both accounts");
}

#[tokio::test]
async fn an_attempt_that_was_cut_off_is_not_taken_for_the_one_that_came_after() {
    let Some(world) = World::new().await else { return };
    let (faulty, fault) = Faulty::new(world.plain());
    fault.store(CALL_LOST, Ordering::SeqCst);
    let bank = bank(PersistedEventStore::new_event_store(world.around(faulty)));
    // Ben's attempt is lost; Ada opens the account in the same place.
    bank.execute("1", life(OF_BEN, "customer-2").remove(0)).await.unwrap_err();
    fault.store(NO_FAULT, Ordering::SeqCst);
    bank.execute("1", life(OF_ADA, "customer-1").remove(0)).await.unwrap();

    let settled = world.sealed().settle::<Account>().await.unwrap();
    assert!(matches!(settled.as_slice(), [(_, Settled::Withdrawn)]), "{settled:?}");
    // So the account is Ada's alone, and falls with her.
    world.forget("customer-1").await;
    assert!(world.account("1").await.is_forgotten);
}

#[tokio::test]
async fn a_command_that_is_dropped_keeps_nobody_waiting() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    // A transaction of somebody else's is in the command's way, at the server.
    let mut other = world.pool.begin().await.unwrap();
    sqlx::query(IN_THE_WAY).execute(&mut *other).await.unwrap();
    let bank = world.bank();
    let command = bank.execute("1", deposit(1));
    let cut_off = tokio::time::timeout(std::time::Duration::from_millis(500), command).await;
    assert!(cut_off.is_err(), "{cut_off:?}");
    other.rollback().await.unwrap();

    assert_eq!(world.forget("customer-1").await.keys, 1);
    // Stored after all, or not: it is of Ada, and not to be read.
    let events = world.events("1").await;
    assert!(events.len() >= 4 && events.iter().all(is_hole), "{events:?}");
}

#[tokio::test]
async fn a_slow_server_delays_a_forgetting_by_a_permit_at_most() {
    let Some(mut world) = World::new().await else { return };
    world.codec = world.codec.lasting_for(std::time::Duration::from_millis(300));
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    let mut other = world.pool.begin().await.unwrap();
    sqlx::query(IN_THE_WAY).execute(&mut *other).await.unwrap();
    let bank = world.bank();
    let (done, erased) = tokio::join!(bank.execute("1", deposit(1)), async {
        let erased = world.forget("customer-1").await;
        other.rollback().await.unwrap();
        erased
    });
    done.unwrap();
    assert_eq!(erased.keys, 1);
    // It was stored in time for the server, and too late for Ada.
    let events = world.events("1").await;
    assert_eq!(events.len(), 5);
    assert!(events.iter().all(is_hole), "{events:?}");
}
