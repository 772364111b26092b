//! Erasures that are decided and wait for the event store, while everybody else goes on: what they
//! take in the end, and what a copy of the vault from that time may bring back.

use super::*;

/// Decides to forget a subject while the store is away, so that the erasure waits.
async fn decide(
    machine: &Machine,
    bank: &oubliette::layer::Oubliette<machine::Announcements>,
    who: &str,
) {
    machine.store.away.store(true, Ordering::SeqCst);
    let waits = bank.forget(&subject(who), "asked").await.unwrap_err();
    assert!(matches!(waits, ErasureError::Pending(PendingError::Announcement { .. })), "{waits:?}");
    machine.store.away.store(false, Ordering::SeqCst);
}

fn transfer(to: &str) -> NewEvent {
    event("AccountTransferred", &format!(r#"{{"newOwner":"{to}","memo":"of {to}"}}"#))
}

#[tokio::test]
async fn an_erasure_that_waits_spares_whoever_became_the_owner_meanwhile() {
    let machine = Machine::new();
    {
        let bank = machine.open().await;
        two_people(&bank).await;
        decide(&machine, &bank, "user-1").await;
        put(&bank, "bankaccount-1", transfer("user-2")).await.unwrap();
        let deposit = event("Deposited", r#"{"memo":"user-2 again"}"#);
        put(&bank, "bankaccount-1", deposit).await.unwrap();
    }
    let bank = machine.open().await;
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "pcct");
    put(&bank, "bankaccount-1", event("Deposited", r#"{"memo":"more"}"#)).await.unwrap();
    bank.forget(&subject("user-2"), "asked").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "ppstst");
}

#[tokio::test]
async fn an_erasure_that_waits_takes_only_the_part_of_an_owner_who_left_meanwhile() {
    let machine = Machine::new();
    let bank = machine.open().await;
    two_people(&bank).await;
    put(&bank, "user-3", event("UserRegistered", r#"{"id":3,"surname":"s"}"#)).await.unwrap();
    put(&bank, "bankaccount-1", transfer("user-2")).await.unwrap();
    decide(&machine, &bank, "user-2").await;
    put(&bank, "bankaccount-1", transfer("user-3")).await.unwrap();
    bank.resume().await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "cpct");
}

#[tokio::test]
async fn an_image_of_a_waiting_erasure_hides_nothing_that_was_announced_later() {
    let machine = Machine::new();
    {
        let bank = machine.open().await;
        two_people(&bank).await;
        let noted = event("Noted", r#"{"memo":"secret of user-1"}"#);
        put(&bank, "bankaccount-3", noted).await.unwrap();
        decide(&machine, &bank, "user-1").await;
    }
    machine.store.away.store(true, Ordering::SeqCst);
    let image = machine.image();
    {
        let bank = machine.try_open().await.unwrap();
        machine.store.away.store(false, Ordering::SeqCst);
        let open = event("AccountOpened", r#"{"owner":"user-1","memo":"memo-3"}"#);
        put(&bank, "bankaccount-3", open).await.unwrap();
    }
    let live = {
        let bank = machine.open().await;
        (shapes(&bank).await, shape(&all(&bank, "bankaccount-3").await))
    };
    machine.restore(&image);
    let bank = machine.open().await;
    assert_eq!(bank.witnessed().replayed.len(), 1);
    assert_eq!((shapes(&bank).await, shape(&all(&bank, "bankaccount-3").await)), live);
    assert!(bank.resume().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_image_of_a_waiting_erasure_spares_whoever_became_the_owner_meanwhile() {
    let machine = Machine::new();
    {
        let bank = machine.open().await;
        two_people(&bank).await;
        machine.store.after_announcing(true);
        bank.forget(&subject("user-1"), "asked").await.unwrap_err();
        machine.store.after_announcing(false);
        put(&bank, "bankaccount-1", transfer("user-2")).await.unwrap();
    }
    let image = machine.image();
    assert_eq!(shape(&all(&machine.open().await, "bankaccount-1").await), "pct");
    machine.restore(&image);
    assert_eq!(shape(&all(&machine.open().await, "bankaccount-1").await), "pct");
}

#[tokio::test]
async fn all_that_any_attempt_to_announce_an_erasure_names_is_fenced() {
    let machine = Machine::new();
    two_people(&machine.open().await).await;
    let before = machine.image();
    {
        let bank = machine.open().await;
        machine.store.after_announcing(true);
        bank.forget(&subject("user-1"), "asked").await.unwrap_err();
        machine.store.after_announcing(false);
        bank.rotate(&subject("user-1")).await.unwrap();
        let renamed = event("Renamed", r#"{"surname":"B"}"#);
        put(&bank, "user-1", renamed).await.unwrap();
    }
    let live = shape(&all(&machine.open().await, "user-1").await);
    machine.restore(&before);
    let bank = machine.open().await;
    assert_eq!(shape(&all(&bank, "user-1").await), live);
    // A generation that died is not begun again.
    let begun = bank.reopen(&subject("user-1")).await.unwrap().generation.unwrap();
    assert!(begun.0 > 2, "{begun}");
}

#[tokio::test]
async fn a_late_retry_is_not_sealed_for_the_present_owner() {
    let vault = Vault::in_memory().unwrap();
    let over =
        |vault: Vault| oubliette::layer::Oubliette::open(MemoryStore::new(), vault, bank_policy());
    let bank = over(vault.clone()).await.unwrap();
    two_people(&bank).await;
    put(&bank, "user-3", event("UserRegistered", r#"{"id":3,"surname":"s"}"#)).await.unwrap();
    let first = transfer("user-2");
    put(&bank, "bankaccount-1", first.clone()).await.unwrap();
    put(&bank, "bankaccount-1", transfer("user-3")).await.unwrap();
    bank.forget(&subject("user-2"), "asked").await.unwrap();
    bank.reopen(&subject("user-2")).await.unwrap();
    drop(bank);
    // The event store was put back to before the transfers, and the sender repeats what it lost.
    let bank = over(vault).await.unwrap();
    let late = put(&bank, "bankaccount-1", first).await;
    assert!(late.is_err(), "{late:?}");
    assert_eq!(all(&bank, "bankaccount-1").await.len(), 0);
}
