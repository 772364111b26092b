//! What forgetting does not reach is named: events in clear, what is others', owners nobody knows.

use oubliette::{
    audit::verify::{Defect, VerifyOptions, VerifyReport},
    erasure::{Erased, ForgetOptions, UnfitReason},
    event::{EventId, OwnerChange},
    vault::internals::{Claim, Plumbing as _},
};

use super::*;

async fn verified<S: EventStore>(bank: &Oubliette<S>) -> VerifyReport {
    bank.verify(VerifyOptions::default(), |_| {}).await.unwrap()
}

async fn despite<S: EventStore>(bank: &Oubliette<S>, who: &str) -> Erased {
    let options = ForgetOptions { despite_unsealed: true, ..ForgetOptions::default() };
    bank.forget_with(&subject(who), "ticket 1", options, |_| {}).await.unwrap()
}

#[tokio::test]
async fn whose_events_are_from_before_the_layer_is_not_called_forgotten() {
    let store = MemoryStore::new();
    put(&store, "erika-1", event("Registered", r#"{"name":"Erika"}"#)).await.unwrap();
    put(&store, "erika-1", event("Moved", r#"{"town":"Ulm"}"#)).await.unwrap();
    let bank = layer_over(store).await;
    let erika = subject("erika-1");
    let plan = bank.plan(&erika).await.unwrap();
    assert_eq!((plan.keys(), plan.unsealed_events(), plan.passed_over), (0, 2, 0));

    let refused = bank.forget(&erika, "ticket 1").await.unwrap_err();
    assert!(
        matches!(&refused, ErasureError::Refused(ErasureRefusal::Unsealed { unsealed, .. }) if unsealed.len() == 1)
    );
    assert!(refused.to_string().contains("2 events in 1 stream were never sealed"), "{refused}");
    assert!(bank.erasures().unwrap().is_empty());
    assert_eq!(verified(&bank).await.found.get(&Defect::ForgottenInClear), None);
    // Nothing is closed.
    put(&bank, "erika-1", event("Moved", r#"{"town":"Bonn"}"#)).await.unwrap();

    let erased = despite(&bank, "erika-1").await;
    assert_eq!((erased.keys, erased.unsealed, erased.passed_over), (1, 2, 0));
    assert_eq!(shape(&all(&bank, "erika-1").await), "ccst");
    let report = verified(&bank).await;
    assert_eq!(report.found.get(&Defect::ForgottenInClear), Some(&2));
    assert!(!report.is_clean());
    let again = bank.forget(&erika, "ticket 1").await.unwrap();
    assert_eq!((again.already, again.unsealed), (true, 2));
}

#[tokio::test]
async fn clear_events_count_where_they_may_be_about_the_forgotten() {
    let store = MemoryStore::new();
    for (name, data) in [
        // Theirs, somebody else's, and it is not known whose.
        ("room-1", r#"{"author":1,"text":"a"}"#),
        ("room-1", r#"{"author":2,"text":"b"}"#),
        ("room-1", r#"{"author":[1],"text":"c"}"#),
        // Public as a whole.
        ("bankaccount-1", r#"{"amount":5}"#),
        ("bankaccount-1", r#"{"amount":5,"memo":"m"}"#),
    ] {
        put(&store, name, event("Old", data)).await.unwrap();
    }
    let bank = layer_over(store).await;
    put(&bank, "room-1", event("Said", r#"{"author":1,"text":"d"}"#)).await.unwrap();
    put(&bank, "bankaccount-1", event("AccountOpened", r#"{"owner":"user-1","memo":"m"}"#))
        .await
        .unwrap();
    let plan = bank.plan(&subject("user-1")).await.unwrap();
    let found: BTreeMap<&str, u64> =
        plan.unsealed.iter().map(|found| (found.stream.as_str(), found.events)).collect();
    assert_eq!(found, BTreeMap::from([("room-1", 2), ("bankaccount-1", 1)]));
}

/// Anybody can give an event that type, and what follows was not looked into.
#[tokio::test]
async fn an_event_of_a_tombstones_type_does_not_hide_what_follows_it() {
    let store = MemoryStore::new();
    put(&store, "erika-1", event("SubjectForgotten", r#"{"name":"Erika"}"#)).await.unwrap();
    put(&store, "erika-1", event("Moved", r#"{"town":"Ulm"}"#)).await.unwrap();
    let bank = layer_over(store).await;
    let refused = bank.forget(&subject("erika-1"), "ticket 1").await.unwrap_err();
    assert!(
        matches!(&refused, ErasureError::Refused(ErasureRefusal::Unsealed { unsealed, .. }) if unsealed.len() == 1)
    );
}

#[tokio::test]
async fn a_stream_sealed_from_its_first_event_on_is_not_looked_into() {
    let store = MemoryStore::new();
    let bank = layer_over(store.clone()).await;
    bank_of_456(&bank).await;
    // Written past the layer, later on.
    put(&store, "bankaccount-1", event("Old", r#"{"memo":"m"}"#)).await.unwrap();
    assert_eq!(bank.plan(&subject("user-456")).await.unwrap().unsealed_events(), 1);
    let erased = bank.forget(&subject("user-456"), "ticket 1").await.unwrap();
    // Of the ledger, which may hold what is others', every event is read; and of no other.
    assert_eq!((erased.unsealed, erased.passed_over), (0, 3));
    assert_eq!(verified(&bank).await.found.get(&Defect::ForgottenInClear), Some(&1));
}

#[tokio::test]
async fn what_is_others_in_a_subjects_own_stream_is_named_and_stays() {
    let policy = r#"
        [[stream]]
        match     = "user-{id}"
        otherwise = "named"
        [[stream]]
        match     = "pair-{id}"
        layout    = "split"
        public    = ["/a"]
        otherwise = "named"
    "#;
    for name in ["user-1", "pair-1"] {
        let vault = Vault::in_memory().unwrap();
        let policy = Policy::parse(policy).unwrap();
        let bank = Oubliette::open(MemoryStore::new(), vault, policy).await.unwrap();
        put(&bank, name, event("Noted", r#"{"a":1,"text":"hers"}"#)).await.unwrap();
        for _ in 0..2 {
            let about = event("Noted", r#"{"a":1,"text":"his"}"#).with_subject(subject("user-2"));
            put(&bank, name, about).await.unwrap();
        }
        let plan = bank.plan(&subject(name)).await.unwrap();
        let erased = bank.forget(&subject(name), "ticket 1").await.unwrap();
        for bystanders in [plan.bystanders, erased.bystanders.unwrap()] {
            assert_eq!(bystanders.len(), 1);
            let bystander = &bystanders[0];
            assert_eq!(
                (bystander.stream.as_str(), bystander.subject.as_str(), bystander.keys),
                (name, "user-2", 1)
            );
        }
        let shapes = if name == "user-1" { "scct" } else { "pcct" };
        assert_eq!(shape(&all(&bank, name).await), shapes);
        // And nothing comes after, whoever it is about.
        let late = event("Noted", "{}").with_subject(subject("user-2"));
        let late = put(&bank, name, late).await;
        assert!(matches!(late, Err(StoreError::Forgotten { .. })), "{late:?}");
    }
}

#[tokio::test]
async fn an_owner_whom_nobody_knows_is_named() {
    let bank = layer().await;
    for user in ["user-1", "user-2"] {
        put(&bank, user, event("UserRegistered", USER)).await.unwrap();
    }
    for (account, other) in [("bankaccount-1", "user-2"), ("bankaccount-2", "usr-2")] {
        for owner in ["user-1", other] {
            let open = format!(r#"{{"owner":"{owner}","memo":"m"}}"#);
            put(&bank, account, event("AccountOpened", &open)).await.unwrap();
        }
    }
    let kept = bank.plan(&subject("user-1")).await.unwrap().kept;
    let by: Vec<(&str, &str, bool)> = kept
        .iter()
        .flat_map(|kept| kept.by.iter().map(|by| (kept.subject.as_str(), by)))
        .map(|(kept, by)| (kept, by.subject.as_str(), by.unknown))
        .collect();
    assert_eq!(by, [("bankaccount-1", "user-2", false), ("bankaccount-2", "usr-2", true)]);
    assert!(kept[1].to_string().contains("nobody called usr-2 is known here"), "{}", kept[1]);
    // They may be somebody who is yet to come: what is theirs stays.
    bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-2").await), "cc");
}

#[tokio::test]
async fn accounts_that_own_each_other_go_with_the_only_one_outside() {
    let bank = layer().await;
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();
    for (account, owner) in [
        ("bankaccount-1", "user-1"),
        ("bankaccount-1", "bankaccount-2"),
        ("bankaccount-2", "bankaccount-1"),
    ] {
        let open = format!(r#"{{"owner":"{owner}","memo":"m"}}"#);
        put(&bank, account, event("AccountOpened", &open)).await.unwrap();
    }
    bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "ppt");
    assert_eq!(shape(&all(&bank, "bankaccount-2").await), "pt");
}

/// As when the codec was told that it is stored, and it is not; or when the event was removed.
#[tokio::test]
async fn an_edge_that_no_event_states_is_found() {
    let bank = layer().await;
    bank_of_456(&bank).await;
    put(&bank, "user-7", event("UserRegistered", USER)).await.unwrap();
    for keys_at_once in [1, 1000] {
        let options = VerifyOptions { keys_at_once, ..VerifyOptions::default() };
        let report = bank.verify(options, |_| {}).await.unwrap();
        assert_eq!(report.found.get(&Defect::OwnerNotStated), None);
    }
    let claim = Claim {
        subject: subject("bankaccount-1"),
        event: EventId::random(),
        change: OwnerChange::Add(subject("user-7")),
        any: false,
        content: [0; 32],
        stored: false,
    };
    let vault = bank.vault().unwrap();
    vault.claim(std::slice::from_ref(&claim)).await.unwrap();
    vault.settle(&claim.subject, &[claim.event], true).await.unwrap();
    for keys_at_once in [1, 1000] {
        let options = VerifyOptions { keys_at_once, ..VerifyOptions::default() };
        let report = bank.verify(options, |_| {}).await.unwrap();
        assert_eq!(report.found.get(&Defect::OwnerNotStated), Some(&1));
        assert!(!report.is_clean());
    }
}

#[tokio::test]
async fn a_reason_that_says_whose_request_it_was_is_not_kept() {
    let bank = layer().await;
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();
    for reason in ["erika@example.org asked", "DE89 3704 0044 0532 0130 00", "user-1", ""] {
        let refused = bank.forget(&subject("user-1"), reason).await;
        assert!(
            matches!(&refused, Err(ErasureError::Refused(ErasureRefusal::UnfitReason(_)))),
            "{reason}: {refused:?}"
        );
    }
    let email = bank.forget(&subject("user-1"), "erika@example.org asked").await.unwrap_err();
    let ErasureError::Refused(ErasureRefusal::UnfitReason(UnfitReason::Personal(_))) = &email
    else {
        panic!("{email}")
    };
    assert!(email.to_string().contains("number of the request or ticket"), "{email}");
    assert!(!email.to_string().contains("erika"));
    assert!(bank.erasures().unwrap().is_empty());
}

/// Somebody else has the keys of what is in the streams of the forgotten: it was called forgotten, with no
/// keys and one tombstone.
#[tokio::test]
async fn events_under_keys_that_the_vault_does_not_have_are_not_called_forgotten() {
    for name in ["erika-1", "user-1"] {
        let store = MemoryStore::new();
        let before = layer_over(store.clone()).await;
        for _ in 0..2 {
            put(&before, name, event("Moved", r#"{"id":1,"town":"Ulm"}"#)).await.unwrap();
        }
        let bank = layer_over(store).await;
        let who = subject(name);
        let plan = bank.plan(&who).await.unwrap();
        assert_eq!((plan.keys(), plan.unsealed_events(), plan.unknown_key_events()), (0, 0, 2));
        let refused = bank.forget(&who, "ticket 1").await.unwrap_err();
        let ErasureError::Refused(ErasureRefusal::UnknownKeys { unknown, .. }) = &refused else {
            panic!("{refused}")
        };
        assert_eq!((unknown.len(), unknown[0].events), (1, 2));
        assert!(refused.to_string().contains("2 events in 1 stream are sealed under keys"));
        assert!(bank.erasures().unwrap().is_empty());

        let options = ForgetOptions { despite_unknown_keys: true, ..ForgetOptions::default() };
        let erased = bank.forget_with(&who, "ticket 1", options, |_| {}).await.unwrap();
        assert_eq!((erased.keys, erased.unknown_keys), (0, 2));
        assert_eq!(bank.forget(&who, "ticket 1").await.unwrap().unknown_keys, 2, "it is kept");
        assert_eq!(bank.erasures().unwrap()[0].unknown_keys, 2);
    }
}

/// What is in clear stays so, whatever is beside it.
#[tokio::test]
async fn nothing_hides_an_event_in_clear_from_the_count() {
    let store = MemoryStore::new();
    let bank = layer_over(store.clone()).await;
    put(&bank, "erika-2", event("Moved", r#"{"town":"Bonn"}"#)).await.unwrap();
    put(&bank, "user-2", event("Moved", r#"{"id":2,"town":"Bonn"}"#)).await.unwrap();
    let sealed = all(&store, "erika-2").await.remove(0);
    let half = all(&store, "user-private-2").await.remove(0).id;
    let token = text(&sealed).split('"').nth(3).unwrap().to_owned();
    bank.forget(&subject("erika-2"), "ticket 1").await.unwrap();
    let name = r#""name":"Erika""#;
    let clear = |data: &str, metadata: Option<&str>| {
        let mut event = event("Registered", data);
        event.metadata = metadata.map(json);
        event
    };
    let private = format!(r#"{{"$oubliette":{{"stream":"erika-1","private":"{half}"}}}}"#);
    let no_half = private.replace(&half.to_string(), &EventId::random().to_string());
    let public = private.replace("private", "public");
    let in_metadata = format!(r#"{{"$sealed":["{token}"]}}"#);
    for (data, metadata) in [
        (format!("{{{name}}}"), Some(private.as_str())),
        (format!("{{{name}}}"), Some(no_half.as_str())),
        (format!("{{{name}}}"), Some(public.as_str())),
        (format!("{{{name}}}"), Some(in_metadata.as_str())),
        (format!("{{{name}}}"), Some(r#"{"$oubliette":{"mac":7}}"#)),
        (format!(r#"{{{name},"$sealed":["{token}"]}}"#), None),
        (format!(r#"{{{name},"$sealed":"odd"}}"#), None),
    ] {
        let store = MemoryStore::new();
        put(&store, "erika-1", clear(&data, metadata)).await.unwrap();
        // It is another store, without what the vault announced.
        let bank = Oubliette::unresumed(store, bank.vault().unwrap().clone(), bank_policy());
        let plan = bank.plan(&subject("erika-1")).await.unwrap();
        assert_eq!(plan.unsealed_events(), 1, "{data} {metadata:?}");
        let refused = bank.forget(&subject("erika-1"), "ticket 1").await;
        let refused =
            matches!(&refused, Err(ErasureError::Refused(ErasureRefusal::Unsealed { .. })));
        assert!(refused, "{data} {metadata:?}");
    }
    // Nor the stream of the private halves, which nobody reads by its name.
    put(&store, "user-private-2", clear(&format!("{{{name}}}"), None)).await.unwrap();
    assert_eq!(bank.plan(&subject("user-2")).await.unwrap().unsealed_events(), 1);
    // What the vault wrote in clear, and other vaults' tombstones, are nothing of the kind.
    let other = layer_over(store.clone()).await;
    let options =
        ForgetOptions { despite_unsealed: true, despite_unknown_keys: true, ..Default::default() };
    put(&other, "erika-3", event("Moved", r#"{"town":"Bonn"}"#)).await.unwrap();
    other.forget_with(&subject("erika-3"), "ticket 1", options, |_| {}).await.unwrap();
    assert_eq!(bank.plan(&subject("erika-3")).await.unwrap().unsealed_events(), 0);
}

/// The guard is for what comes. A store may have such names from before the layer, or from before a later
/// version of the guard.
#[tokio::test]
async fn a_stored_name_that_an_append_would_refuse_is_read_and_forgotten() {
    let store = MemoryStore::new();
    for (others, name) in
        ["room-anna@example.org", "user-DE89370400440532013000"].into_iter().enumerate()
    {
        put(&store, name, event("Registered", r#"{"name":"Anna"}"#)).await.unwrap();
        let bank = layer_over(store.clone()).await;
        let refused = put(&bank, name, event("Moved", r#"{"town":"Ulm"}"#)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
        assert_eq!(shape(&all(&bank, name).await), "c");
        let plan = bank.plan(&subject(name)).await.unwrap();
        // Of another one that the policy refuses it is not known whose it is.
        assert_eq!((plan.unsealed_events(), plan.clear_unknown), (1, others > 0));
        despite(&bank, name).await;
        assert_eq!(bank.erasures().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn who_stays_and_who_keeps_them_is_in_the_answer() {
    let bank = layer().await;
    put(&bank, "user-1", event("UserRegistered", r#"{"id":1,"surname":"A"}"#)).await.unwrap();
    for owner in ["user-1", "user-9x"] {
        let data = format!(r#"{{"owner":"{owner}","memo":"m"}}"#);
        put(&bank, "bankaccount-1", event("AccountOpened", &data)).await.unwrap();
    }
    let erased = bank.forget(&subject("user-1"), "ticket 1").await.unwrap();
    let kept = erased.kept.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].by[0].unknown);
    let again = bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!((again.already, again.kept, again.bystanders), (true, None, None));
    assert_eq!(bank.erasures().unwrap()[0].kept, 1);
}
