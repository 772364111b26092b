//! Owners: what is somebody else's stays, whatever is claimed, sold or shared.

use oubliette::vault::internals::Plumbing as _;

use super::*;

#[tokio::test]
async fn no_wrong_person() {
    let bank = layer().await;
    bank_of_456(&bank).await;
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();
    // A rejected append states an owner: it never counts.
    let stale = vec![event("AccountTransferred", r#"{"newOwner":"user-1","memo":"nie"}"#)];
    let rejected =
        bank.append_to(&stream("bankaccount-1"), ExpectedRevision::NoStream, stale).await;
    assert!(matches!(rejected, Err(StoreError::Conflict { .. })));
    let added = vec![event("AccountOpened", r#"{"owner":"user-1"}"#)];
    let rejected =
        bank.append_to(&stream("bankaccount-1"), ExpectedRevision::NoStream, added).await;
    assert!(matches!(rejected, Err(StoreError::Conflict { .. })));
    bank.forget(&subject("user-1"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "cc");
    // And the account still follows its owner.
    bank.forget(&subject("user-456"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "ppt");
}

#[tokio::test]
async fn an_account_that_changed_hands_loses_only_the_old_owners_part() {
    for forget_old_first in [true, false] {
        let bank = layer().await;
        for user in ["user-1", "user-2"] {
            put(&bank, user, event("UserRegistered", USER)).await.unwrap();
        }
        let account = "bankaccount-7";
        put(&bank, account, event("AccountOpened", r#"{"owner":"user-1","memo":"a"}"#))
            .await
            .unwrap();
        put(&bank, account, event("Deposited", r#"{"amount":1,"memo":"b"}"#)).await.unwrap();
        // In one append: before, the change itself, after.
        let batch = vec![
            event("Deposited", r#"{"amount":2,"memo":"c"}"#),
            event("AccountTransferred", r#"{"newOwner":"user-2","memo":"d"}"#),
            event("Deposited", r#"{"amount":3,"memo":"e"}"#),
        ];
        bank.append_to(&stream(account), ExpectedRevision::Any, batch.clone()).await.unwrap();
        // A late retry changes nothing.
        let again = bank.append_to(&stream(account), ExpectedRevision::Any, batch).await.unwrap();
        assert!(again.already);
        put(&bank, account, event("Deposited", r#"{"amount":4,"memo":"f"}"#)).await.unwrap();
        if forget_old_first {
            bank.forget(&subject("user-1"), "test").await.unwrap();
            assert_eq!(shape(&all(&bank, account).await), "pppccct");
            bank.forget(&subject("user-2"), "test").await.unwrap();
            assert_eq!(shape(&all(&bank, account).await), "pppppptt");
        } else {
            bank.forget(&subject("user-2"), "test").await.unwrap();
            assert_eq!(shape(&all(&bank, account).await), "cccpppt");
            let late = put(&bank, account, event("Deposited", r#"{"amount":5,"memo":"g"}"#)).await;
            assert!(matches!(late, Err(StoreError::Forgotten { .. })), "{late:?}");
            bank.forget(&subject("user-1"), "test").await.unwrap();
            assert_eq!(shape(&all(&bank, account).await), "pppppptt");
        }
    }
}

#[tokio::test]
async fn a_late_retry_of_a_change_whose_part_is_forgotten_is_answered_as_done() {
    let bank = layer().await;
    for user in ["user-1", "user-2"] {
        put(&bank, user, event("UserRegistered", USER)).await.unwrap();
    }
    let account = "bankaccount-7";
    let to =
        |user: &str| event("AccountTransferred", &format!(r#"{{"newOwner":"{user}","memo":"m"}}"#));
    let first = to("user-1");
    put(&bank, account, first.clone()).await.unwrap();
    put(&bank, account, to("user-2")).await.unwrap();
    bank.forget(&subject("user-1"), "test").await.unwrap();
    let late = put(&bank, account, first.clone()).await;
    assert!(matches!(late, Err(StoreError::Forgotten { .. })), "{late:?}");
    bank.reopen(&subject("user-1")).await.unwrap();
    assert!(put(&bank, account, first).await.unwrap().already);
    // It is the second owner's all the same.
    bank.forget(&subject("user-1"), "again").await.unwrap();
    assert_eq!(shape(&all(&bank, account).await), "pct");
}

#[tokio::test]
async fn a_joint_account_goes_with_its_last_owner_and_a_cycle_ends() {
    let bank = layer().await;
    for user in ["user-1", "user-2"] {
        put(&bank, user, event("UserRegistered", USER)).await.unwrap();
        let open = format!(r#"{{"owner":"{user}","memo":"m"}}"#);
        put(&bank, "bankaccount-1", event("AccountOpened", &open)).await.unwrap();
    }
    // Two ledgers that depend on each other, and one of them on the account.
    for (ledger, account) in
        [("ledger-1", "ledger-2"), ("ledger-2", "ledger-1"), ("ledger-3", "bankaccount-1")]
    {
        let open = format!(r#"{{"account":"{account}","note":"n"}}"#);
        put(&bank, ledger, event("LedgerOpened", &open)).await.unwrap();
    }
    let plan = bank.plan(&subject("user-1")).await.unwrap();
    assert_eq!(plan.kept.len(), 1, "{plan:?}");
    bank.forget(&subject("user-1"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "cc");
    bank.forget(&subject("user-2"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "ppt");
    assert_eq!(shape(&all(&bank, "ledger-3").await), "pt");
    assert_eq!(shape(&all(&bank, "ledger-1").await), "c");
    bank.forget(&subject("ledger-1"), "test").await.unwrap();
    assert_eq!(shape(&all(&bank, "ledger-1").await), "pt");
    assert_eq!(shape(&all(&bank, "ledger-2").await), "pt");
}

/// Two layers, or a codec and a layer, over one vault: a plan by the one does not withdraw what
/// the other is about to write.
#[tokio::test]
async fn no_wrong_person_with_a_codec_beside_the_layer() {
    let vault = Vault::in_memory().unwrap();
    let layer = Oubliette::open(MemoryStore::new(), vault.clone(), bank_policy()).await.unwrap();
    put(&layer, "user-1", event("UserRegistered", USER)).await.unwrap();
    let codec = oubliette::layer::Codec::new(vault.clone(), bank_policy());
    let (to, account) = (stream("bankaccount-1"), r#"{"owner":"user-1","memo":"m"}"#);
    let opened = event("AccountOpened", account);
    let (id, event_type) = (opened.id, opened.event_type.clone());
    let sealed = codec.seal(&to, opened).await.unwrap();
    let (data, metadata) = (sealed.data.clone(), sealed.metadata.clone());
    assert_eq!(layer.plan(&subject("user-1")).await.unwrap().subjects.len(), 1);
    sealed.stored().await.unwrap();
    assert_eq!(layer.plan(&subject("user-1")).await.unwrap().subjects.len(), 2);
    layer.forget(&subject("user-1"), "asked").await.unwrap();
    let place = oubliette::layer::EventRef { stream: &to, id, event_type: &event_type };
    let gone = codec.open(place, &data, metadata.as_ref()).unwrap();
    assert_eq!(gone.shredded.len(), 1);

    // And what was never stored never counts.
    put(&layer, "user-2", event("UserRegistered", USER)).await.unwrap();
    let account = event("AccountOpened", r#"{"owner":"user-2","memo":"m"}"#);
    codec.seal(&stream("bankaccount-2"), account).await.unwrap().rejected().await.unwrap();
    assert_eq!(layer.plan(&subject("user-2")).await.unwrap().subjects.len(), 1);
}

/// An event of which only other people's fields are sealed is not said to be theirs.
#[tokio::test]
async fn other_peoples_fields_do_not_make_it_their_event() {
    let bank = layer().await;
    let booked = r#"{"amount":1,"counterparty":{"iban":"DE","user":"user-7"}}"#;
    let policy = r#"
        [[stream]]
        match  = "ledger-{id}"
        public = ["*"]
        [[stream.field]]
        pointer = "/counterparty/iban"
        subject = "{/counterparty/user}"
    "#;
    let store = Oubliette::open(
        MemoryStore::new(),
        bank.vault().unwrap().clone(),
        Policy::parse(policy).unwrap(),
    )
    .await
    .unwrap();
    put(&store, "ledger-1", event("Booked", booked)).await.unwrap();
    let read = store.last(&stream("ledger-1")).await.unwrap().unwrap();
    assert_eq!((read.subject.clone(), text(&read).as_str()), (None, booked));
}

/// The store answers by id alone, so an id that was taken stands for whatever came first.
#[tokio::test]
async fn an_id_that_another_event_has_moves_no_owner() {
    let bank = layer().await;
    for user in ["user-1", "user-2"] {
        put(&bank, user, event("UserRegistered", USER)).await.unwrap();
    }
    let account = "bankaccount-1";
    put(&bank, account, event("AccountOpened", r#"{"owner":"user-1","memo":"m"}"#)).await.unwrap();
    let noted = event("Noted", r#"{"memo":"n"}"#);
    put(&bank, account, noted.clone()).await.unwrap();
    let transfer = event("AccountTransferred", r#"{"newOwner":"user-2","memo":"m"}"#);
    let transfer = transfer.with_id(noted.id);
    let opened = event("AccountOpened", r#"{"owner":"user-2","memo":"m"}"#).with_id(noted.id);
    for other in [transfer.clone(), opened] {
        let answer = put(&bank, account, other).await;
        assert!(matches!(answer, Err(StoreError::OtherContent { .. })), "{answer:?}");
    }
    // Nor does an append that the store refuses because the id is taken.
    let both = vec![transfer, event("Deposited", r#"{"amount":1}"#)];
    let refused = bank.append_to(&stream(account), ExpectedRevision::Any, both).await;
    assert!(matches!(refused, Err(StoreError::IdInUse { .. })), "{refused:?}");

    assert_eq!(bank.plan(&subject("user-2")).await.unwrap().subjects.len(), 1);
    bank.forget(&subject("user-2"), "asked").await.unwrap();
    assert_eq!(shape(&all(&bank, account).await), "cc");
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(shape(&all(&bank, account).await), "pst");
}

/// A claim that a crash left open is judged by what its event says, not by its id.
#[tokio::test]
async fn an_open_claim_counts_only_if_the_event_of_its_id_states_it() {
    let bank = layer().await;
    for user in ["user-1", "user-2"] {
        put(&bank, user, event("UserRegistered", USER)).await.unwrap();
    }
    let stored = event("AccountOpened", r#"{"owner":"user-1","memo":"m"}"#);
    put(&bank, "bankaccount-1", stored.clone()).await.unwrap();
    let noted = event("Noted", r#"{"memo":"n"}"#);
    put(&bank, "bankaccount-2", noted.clone()).await.unwrap();
    let vault = bank.vault().unwrap();
    let claim = |account: &str, event, owner: &str| oubliette::vault::internals::Claim {
        subject: subject(account),
        event,
        change: oubliette::event::OwnerChange::Add(subject(owner)),
        any: false,
        content: [7; 32],
        stored: false,
    };
    vault.claim(&[claim("bankaccount-1", stored.id, "user-2")]).await.unwrap();
    vault.claim(&[claim("bankaccount-2", noted.id, "user-2")]).await.unwrap();
    assert_eq!(bank.plan(&subject("user-2")).await.unwrap().subjects.len(), 1);
    assert_eq!(bank.plan(&subject("user-1")).await.unwrap().subjects.len(), 2);
}

#[tokio::test]
async fn a_retry_is_the_same_event_whatever_its_metadata() {
    let bank = layer().await;
    put(&bank, "user-1", event("UserRegistered", USER)).await.unwrap();
    for name in ["user-1", "bankaccount-1", "plain-1"] {
        let one = event("Noted", r#"{"id":1,"amount":2,"memo":"a"}"#);
        let two = event("Noted", r#"{"id":1,"amount":3,"memo":"b"}"#);
        let both = vec![one.clone(), two.clone()];
        bank.append_to(&stream(name), ExpectedRevision::Any, both.clone()).await.unwrap();
        put(&bank, name, event("Later", r#"{"memo":"c"}"#)).await.unwrap();
        let traced = one.clone().with_metadata(json(r#"{"traceparent":"00-other"}"#));
        let respelled = NewEvent {
            data: json(r#"{ "memo": "\u0061", "amount": 2, "id": 1 }"#).into(),
            ..one.clone()
        };
        for again in [vec![one.clone()], both, vec![traced], vec![respelled], vec![two.clone()]] {
            let answer = bank.append_to(&stream(name), ExpectedRevision::NoStream, again).await;
            assert!(answer.unwrap().already, "{name}");
        }
        let sealed = event("Noted", r#"{"id":1,"amount":2,"memo":"b"}"#).with_id(one.id);
        let public = event("Noted", r#"{"id":2,"amount":4,"memo":"a"}"#).with_id(one.id);
        let typed = NewEvent { event_type: event("Other", "{}").event_type, ..one.clone() };
        for other in [sealed, public, typed] {
            let answer = put(&bank, name, other).await;
            assert!(matches!(answer, Err(StoreError::OtherContent { .. })), "{name}: {answer:?}");
        }
        assert_eq!(all(&bank, name).await.iter().filter(|event| event.id == one.id).count(), 1);
    }
}

/// What is left of the stored event is compared, what opens of it and what is in clear.
#[tokio::test]
async fn an_id_that_an_event_has_of_which_a_part_is_forgotten_is_no_other_events() {
    let bank = layer().await;
    let registered = event("UserRegistered", USER);
    put(&bank, "user-456", registered.clone()).await.unwrap();
    let booked = event(
        "Booked",
        r#"{"amount":1,"memo":"m","counterparty":{"iban":"DE","user":"user-456"}}"#,
    );
    put(&bank, "ledger-1", booked.clone()).await.unwrap();
    bank.forget(&subject("user-456"), "asked").await.unwrap();
    bank.reopen(&subject("user-456")).await.unwrap();
    assert_eq!(shape(&all(&bank, "user-456").await), "pt");
    assert_eq!(shape(&all(&bank, "ledger-1").await), "pt");

    // The policy of later: another field is public, and no residue stays.
    let later = r#"
        [[stream]]
        match  = "user-{id}"
        layout = "split"
        public = ["/id", "/surname"]
        [[stream]]
        match  = "ledger-{id}"
        layout = "inline"
        public = ["/amount", "/memo"]
        [[stream.field]]
        pointer     = "/counterparty/iban"
        subject     = "{/counterparty/user}"
        placeholder = "gone"
    "#;
    let (store, vault) = (bank.store().clone(), bank.vault().unwrap().clone());
    let later = Oubliette::open(store, vault, Policy::parse(later).unwrap()).await.unwrap();
    let say = |of: &NewEvent, data: &str| NewEvent { data: json(data).into(), ..of.clone() };
    for bank in [&bank, &later] {
        for (name, retry) in [
            ("user-456", registered.clone()),
            ("ledger-1", booked.clone()),
            // As it is respelled, and with what cannot be compared any more.
            (
                "user-456",
                say(
                    &registered,
                    r#"{ "plate":"B-", "colour":"\u0062lue", "id":4.56e2, "surname":"Otto" }"#,
                ),
            ),
            (
                "ledger-1",
                say(
                    &booked,
                    r#"{"memo":"m","amount":1.0,"counterparty":{"user":"user-456","iban":"FR"}}"#,
                ),
            ),
        ] {
            assert!(put(bank, name, retry).await.unwrap().already, "{name}");
        }
        for (name, other) in [
            ("user-456", say(&registered, r#"{"id":457,"colour":"blue","plate":"B-XY 12"}"#)),
            ("user-456", say(&registered, r#"{"id":456,"plate":"B-XY 12"}"#)),
            (
                "ledger-1",
                say(&booked, r#"{"amount":2,"memo":"m","counterparty":{"user":"user-456"}}"#),
            ),
            (
                "ledger-1",
                say(&booked, r#"{"amount":1,"memo":"n","counterparty":{"user":"user-456"}}"#),
            ),
            ("ledger-1", say(&booked, r#"{"amount":1,"counterparty":{"user":"user-456"}}"#)),
        ] {
            let answer = put(bank, name, other).await;
            assert!(matches!(answer, Err(StoreError::OtherContent { .. })), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_forgotten_subjects_own_stream_takes_no_events_until_reopened() {
    let bank = layer().await;
    bank_of_456(&bank).await;
    bank.forget(&subject("user-456"), "asked").await.unwrap();
    // Sealed for them, wholly public, about somebody else: it is their stream all the same.
    let others = r#"{"counterparty":{"iban":"DE","user":"user-7"}}"#;
    for (name, event) in [
        ("user-456", event("UserMoved", USER)),
        ("user-456", event("UserSeen", r#"{"id":456}"#)),
        ("bankaccount-1", event("Deposited", r#"{"amount":1}"#)),
        ("ledger-1", event("Booked", others)),
    ] {
        let answer = put(&bank, name, event).await;
        assert!(matches!(answer, Err(StoreError::Forgotten { .. })), "{name}: {answer:?}");
    }
    // In a stream that many share, the others go on.
    put(&bank, "room-1", event("Said", r#"{"author":789,"text":"noch da"}"#)).await.unwrap();
    put(&bank, "room-1", event("Said", r#"{"text":"niemand"}"#)).await.unwrap();
    bank.reopen(&subject("user-456")).await.unwrap();
    put(&bank, "user-456", event("UserSeen", r#"{"id":456}"#)).await.unwrap();
}

/// The last owner leaves, and says why: that is theirs, and goes with them.
#[tokio::test]
async fn what_an_owner_says_on_leaving_goes_with_them() {
    let policy = Policy::parse(
        r#"
        [[stream]]
        match  = "bankaccount-{id}"
        public = ["/owner"]
        owner  = [ { event = "AccountOpened", add    = "{/owner}" },
                   { event = "OwnerLeft",     remove = "{/owner}" } ]
        "#,
    )
    .unwrap();
    for together in [false, true] {
        let vault = Vault::in_memory().unwrap();
        let bank = Oubliette::open(MemoryStore::new(), vault, policy.clone()).await.unwrap();
        let opened = event("AccountOpened", r#"{"owner":"user-2","memo":"a"}"#);
        let left = event("OwnerLeft", r#"{"owner":"user-2","memo":"b"}"#);
        let later = event("Noted", r#"{"memo":"c"}"#);
        let account = "bankaccount-1";
        let appends = match together {
            true => vec![vec![opened, left, later]],
            false => vec![vec![opened], vec![left], vec![later]],
        };
        for events in appends {
            let appended =
                bank.append_to(&stream(account), ExpectedRevision::Any, events.clone()).await;
            assert!(!appended.unwrap().already);
            // A late retry changes nothing.
            let again = bank.append_to(&stream(account), ExpectedRevision::Any, events).await;
            assert!(again.unwrap().already);
        }
        assert_eq!(shape(&all(&bank, account).await), "ccc");
        bank.forget(&subject("user-2"), "asked").await.unwrap();
        assert_eq!(shape(&all(&bank, account).await), "ppct", "{together}");
    }
}

/// Whoever comes back comes back alone: what depended on them has no owner, and says so.
#[tokio::test]
async fn a_reopened_dependent_seals_nothing_before_it_has_an_owner() {
    let bank = layer().await;
    let account = "bankaccount-3";
    let opened = || event("AccountOpened", r#"{"owner":"user-3","memo":"m"}"#);
    put(&bank, "user-3", event("UserRegistered", USER)).await.unwrap();
    put(&bank, account, opened()).await.unwrap();
    bank.forget(&subject("user-3"), "asked").await.unwrap();
    assert_eq!(bank.reopen(&subject("user-3")).await.unwrap().owner_events, [""; 0]);
    let reopened = bank.reopen(&subject(account)).await.unwrap();
    assert_eq!(reopened.owner_events, ["AccountOpened", "AccountTransferred"]);

    let memo = || event("Deposited", r#"{"amount":1,"memo":"geheim"}"#);
    let transfer = event("AccountTransferred", r#"{"newOwner":"user-3","memo":"m"}"#);
    for events in [vec![memo()], vec![memo(), transfer.clone()]] {
        let refused = bank.append_to(&stream(account), ExpectedRevision::Any, events).await;
        let Err(StoreError::Refused { refusal: Refusal::Ownerless(why), .. }) = &refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("(AccountOpened, AccountTransferred)"), "{why}");
    }
    // What is public needs no owner, and a codec is refused alike.
    put(&bank, account, event("Deposited", r#"{"amount":1}"#)).await.unwrap();
    let codec = oubliette::layer::Codec::new(bank.vault().unwrap().clone(), bank_policy());
    assert!(codec.seal(&stream(account), memo()).await.is_err());

    // An event that states one comes first, or in the same append.
    let both = vec![memo(), opened()];
    bank.append_to(&stream(account), ExpectedRevision::Any, both).await.unwrap();
    put(&bank, account, memo()).await.unwrap();
    assert_eq!(shape(&all(&bank, account).await), "ptcccc");
    bank.forget(&subject("user-3"), "again").await.unwrap();
    assert_eq!(shape(&all(&bank, account).await), "ptcpppt");
}

/// A ledger keeps no account of whose its account was when: it is named, never passed over.
#[tokio::test]
async fn a_ledger_of_an_account_that_changed_hands_is_named_and_goes_with_the_last() {
    use oubliette::audit::verify::{Defect, VerifyOptions};

    for asked in [["user-1", "user-2"], ["user-2", "user-1"]] {
        let bank = layer().await;
        for user in asked {
            put(&bank, user, event("UserRegistered", USER)).await.unwrap();
        }
        let account = "bankaccount-1";
        for (to, kind, data) in [
            (account, "AccountOpened", r#"{"owner":"user-1","memo":"m"}"#),
            ("ledger-1", "LedgerOpened", r#"{"account":"bankaccount-1"}"#),
            ("ledger-1", "Booked", r#"{"memo":"rent of Eins"}"#),
            (account, "AccountTransferred", r#"{"newOwner":"user-2","memo":"m"}"#),
            ("ledger-1", "Booked", r#"{"memo":"rent of Zwei"}"#),
            // Of this one's time nothing is forgotten but with user-2.
            ("ledger-2", "LedgerOpened", r#"{"account":"bankaccount-1","note":"n"}"#),
        ] {
            put(&bank, to, event(kind, data)).await.unwrap();
        }
        let missed = |found: &[oubliette::erasure::Kept]| -> Vec<String> {
            let missed = found.iter().filter(|kept| kept.is_missed());
            missed.map(|kept| format!("{}: {kept}", kept.subject)).collect()
        };
        let plan = bank.plan(&subject(asked[0])).await.unwrap();
        let told = missed(&plan.kept);
        assert!(told[0].starts_with("ledger-1: its owner bankaccount-1 changed hands"), "{told:?}");
        let erased = bank.forget(&subject(asked[0]), "asked").await.unwrap();
        assert_eq!(missed(&erased.kept.unwrap()), told);
        assert_eq!(shape(&all(&bank, "ledger-1").await), "ccc");
        let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
        let others = usize::from(asked[0] == "user-2");
        assert_eq!(report.found[&Defect::MissedInPart] as usize, 1 + others, "{report:?}");
        assert!(!report.is_clean());

        // When nobody is left who owned any of it, it goes.
        bank.forget(&subject(asked[1]), "asked").await.unwrap();
        assert_eq!(shape(&all(&bank, "ledger-1").await), "csst");
        assert!(bank.verify(VerifyOptions::default(), |_| {}).await.unwrap().is_clean());
    }
}
