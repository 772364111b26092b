//! What somebody did not find in the store while an append was in flight says nothing of it.

use super::*;

/// Somebody looks for an account's event, and does not find it yet. While they are about to say so, it is stored, and
/// neither the answer arrives nor what the append looks up itself. The claim stays, and forgetting the owner reaches
/// the account.
#[tokio::test]
async fn a_look_from_before_an_event_was_stored_does_not_withdraw_its_claim() {
    for handle in BOTH {
        let (store, vault) = (Slow::default(), Vault::in_memory().unwrap());
        let bank = keepers(store.clone(), &vault).await;
        let other = handle.layer(store.clone(), &vault, BANK);
        put(&bank, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
        // From now on each of them knows where the account's events lie, and reads for nothing but the look.
        for layer in [&bank, &other] {
            put(layer, "account-1", "Noted", r#"{"memo":"leer"}"#).await.unwrap();
        }

        store.wait.store(true, Ordering::SeqCst);
        store.loses_the_answer.store(true, Ordering::SeqCst);
        let appending = tokio::spawn({
            let other = other.clone();
            async move {
                put(&other, "account-1", "Opened", r#"{"owner":"user-1","memo":"geheim"}"#).await
            }
        });
        store.waits.notified().await;
        store.read.store(true, Ordering::SeqCst);
        let forgetting = tokio::spawn({
            let bank = bank.clone();
            async move { bank.forget(&subject("user-1"), "ticket 1").await }
        });
        store.reading.notified().await;
        store.unreachable.store(1, Ordering::SeqCst);
        store.go_on.notify_one();
        appending.await.unwrap().unwrap_err();
        assert_eq!(store.unreachable.load(Ordering::SeqCst), 0, "the append has looked itself");
        store.read_on.notify_one();

        let erased = forgetting.await.unwrap().unwrap();
        assert_eq!((erased.subjects, erased.not_reached.len()), (2, 0), "{handle:?}");
        assert_eq!(shape(&bank, "account-1").await, "sspt", "{handle:?}");
    }
}

/// An event that is there and does not open this time is not another event: its claim stays open, and whoever asked is
/// told. Its owner is sealed, so that it shows nothing of what it states.
#[tokio::test]
async fn an_event_that_cannot_be_opened_just_now_does_not_withdraw_its_claim() {
    let bank_policy = BANK.replace(r#"["/owner", "/amount"]"#, r#"["/amount"]"#);
    let policy = || Policy::parse(&bank_policy).unwrap();
    let (store, vault) = (Slow::default(), Vault::in_memory().unwrap());
    let bank = Oubliette::open(store.clone(), vault.clone(), policy()).await.unwrap();
    let relay = Relay::to(&vault);
    let other = Oubliette::over(store.clone(), Codec::over(Arc::new(relay.clone()), policy()));
    put(&bank, "user-1", "Registered", r#"{"id":1,"name":"Ada"}"#).await.unwrap();
    for layer in [&bank, &other] {
        put(layer, "account-1", "Noted", r#"{"memo":"leer"}"#).await.unwrap();
    }
    // Stored, and neither its answer nor its own look arrives.
    store.loses_the_answer.store(true, Ordering::SeqCst);
    store.unreachable.store(1, Ordering::SeqCst);
    put(&other, "account-1", "Opened", r#"{"owner":"user-1"}"#).await.unwrap_err();

    relay.lose_a_key();
    let late = put(&other, "account-1", "Opened", r#"{"owner":"user-2"}"#).await.unwrap_err();
    assert!(crate::words::chain(&late).contains("the line was cut"), "{late}");
    let erased = bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    assert_eq!((erased.subjects, erased.not_reached.len()), (2, 0));
}
