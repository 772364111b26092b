//! What a vault announced and this version does not carry out is never passed over.

use std::sync::Arc;

use crate::{
    crypto::SigningKey,
    erasure::{
        Compromised, ErasureError, ErasureRecord, KeyChange, UnclearError, change_key,
        journal::Journal, witness::Mark,
    },
    event::{
        ANNOUNCED, ANNOUNCEMENTS, Announcement, EventId, EventType, Json, NewEvent, StreamName,
        Timestamp,
    },
    layer::Oubliette,
    policy::Policy,
    store::{Append, EventStore, ExpectedRevision, MemoryStore},
    vault::{MemoKind, Successor, Vault, VaultError, memos},
};

/// An announcement with these members, signed by the vault if it is to be.
fn said(vault: &Vault, members: &str, signed: bool) -> Announcement {
    vault.as_signer(|by| signed_by(by, vault, members, signed)).unwrap()
}

/// The same, signed by whoever has the file of a successor.
fn said_by(successor: &Successor, vault: &Vault, members: &str) -> Announcement {
    signed_by(successor.key(), vault, members, true)
}

fn signed_by(by: &SigningKey, vault: &Vault, members: &str, signed: bool) -> Announcement {
    let (id, public) = (EventId::random(), by.public());
    let line = |sig: &str| {
        let signer = format!(r#""public":"{public}","key":"{}","sig":"{sig}""#, public.id());
        let line = format!(r#"{{"id":"{id}","vault":"{}",{signer},{members}}}"#, vault.id());
        line.parse::<Announcement>().unwrap()
    };
    let unsigned = line(&no_sig());
    if signed { line(&by.sign(&unsigned.signed_bytes()).to_string()) } else { unsigned }
}

fn no_sig() -> String {
    "A".repeat(86)
}

async fn opened_beside(said: &Announcement, vault: &Vault) -> Result<(), ErasureError> {
    let store = MemoryStore::new();
    let events = vec![said.to_event().unwrap()];
    let stream = StreamName::new(ANNOUNCEMENTS).unwrap();
    store.append(vec![Append::new(stream, ExpectedRevision::Any, events)]).await.unwrap();
    let policy = Policy::sealed_by_default();
    let bank = Oubliette::open(store, vault.clone(), policy).await?;
    assert_eq!(bank.witnessed().unverifiable, [said.id()]);
    Ok(())
}

const REST: &str = r#""log":"AAAAAAAAAAAAAAAAAAAAAA","about":"01890a5d-ac96-774b-bcce-b302099a8057","at":"2023-06-30T03:34:18.518Z","epoch":1,"sealed":"AAAA""#;

#[tokio::test]
async fn what_this_version_does_not_carry_out_closes_it_by_name_and_a_forgery_does_not() {
    let mut told = Vec::new();
    let kinds = [
        "erasure-lifted",
        "hold",
        "hold-lifted",
        "suspension",
        "suspension-lifted",
        "restriction",
        "restriction-lifted",
        "link",
        "link-lifted",
        "pardon",
    ];
    for kind in kinds {
        told.push((format!(r#""format":1,"kind":"{kind}",{REST}"#), format!("`{kind}`")));
    }
    told.push((format!(r#""format":2,"kind":"erasure",{REST}"#), "format 2".to_owned()));
    told.push((format!(r#""format":1,"kind":"erasure","more":1,{REST}"#), "form".to_owned()));
    told.push((format!(r#""format":1,{REST}"#), "form".to_owned()));
    // What the members would be read as is not all that was said.
    let upper = REST.replace("bcce-b302099a8057", "BCCE-B302099A8057");
    assert_ne!(upper, REST);
    for rest in [format!(r#""previous":null,{REST}"#), upper] {
        told.push((format!(r#""format":1,"kind":"erasure",{rest}"#), "form".to_owned()));
    }
    // Whatever stands there: it is the vault's word.
    for kind in [r#"["hold"]"#, r#"{"name":"hold"}"#, "7", "null", r#""""#] {
        told.push((format!(r#""format":1,"kind":{kind},{REST}"#), "`?`".to_owned()));
    }
    for format in [r#""2""#, "2.5", "18446744073709551616", "1e400", "[1]", "null", "-1"] {
        let members = format!(r#""format":{format},"kind":"erasure",{REST}"#);
        told.push((members, "an announcement of format".to_owned()));
    }
    for (members, name) in told {
        // One that knows nothing of the others.
        let vault = Vault::in_memory().unwrap();
        let genuine = said(&vault, &members, true);
        match opened_beside(&genuine, &vault).await {
            Err(error @ ErasureError::Unclear(UnclearError::NotCarriedOut { .. })) => {
                let text = error.to_string();
                assert!(text.contains(&name) && text.contains(&genuine.id().to_string()), "{text}");
            }
            other => panic!("{members}: {other:?}"),
        }
        let vault = Vault::in_memory().unwrap();
        opened_beside(&said(&vault, &members, false), &vault).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_has_a_successor_that_was_stolen_or_given_up_cannot_close_the_vault() {
    let hold = format!(r#""format":1,"kind":"hold",{REST}"#);
    for stolen in [true, false] {
        let vault = Vault::in_memory().unwrap();
        let pin = async || {
            let successor = Arc::new(Successor::generate(vault.id()).unwrap());
            change_key(&vault, &KeyChange::Pin(Arc::clone(&successor))).await.unwrap();
            successor
        };
        let rotate = async |successor: Option<Arc<Successor>>, compromised| {
            let without_successor = successor.is_none();
            let change = KeyChange::Rotate { successor, compromised, without_successor };
            change_key(&vault, &change).await.unwrap();
        };
        let found = pin().await;
        if stolen {
            rotate(Some(Arc::clone(&found)), None).await;
            let by = Compromised { since: Timestamp::now(), keys: Vec::new() };
            let next = pin().await;
            rotate(Some(next), Some(by)).await;
        } else {
            rotate(None, None).await;
        }
        opened_beside(&said_by(&found, &vault, &hold), &vault).await.unwrap();
        let closed = opened_beside(&said(&vault, &hold, true), &vault).await;
        assert!(
            matches!(closed, Err(ErasureError::Unclear(UnclearError::NotCarriedOut { .. }))),
            "{closed:?}"
        );
    }
}

#[tokio::test]
async fn an_announcement_has_one_reading() {
    let vault = Vault::in_memory().unwrap();
    let twice = r#"{"vault":"886313e1-3b8a-4372-9b90-0c9aee199e5d","vault":"886313e1-3b8a-4372-9b90-0c9aee199e5d"}"#;
    assert!(twice.parse::<Announcement>().is_err());
    assert!(format!("{twice}x").parse::<Announcement>().is_err());
    // What nobody can read names no vault.
    let event_type = EventType::new(ANNOUNCED).unwrap();
    let store = MemoryStore::new();
    let stream = StreamName::new(ANNOUNCEMENTS).unwrap();
    let junk = NewEvent::new(event_type, Json::parse("[1]").unwrap());
    store.append(vec![Append::new(stream, ExpectedRevision::Any, vec![junk])]).await.unwrap();
    let bank = Oubliette::open(store, vault, Policy::sealed_by_default()).await.unwrap();
    assert_eq!((bank.witnessed().odd.len(), bank.witnessed().unverifiable.len()), (1, 0));
}

/// Anyone who can write to the store chooses every id. Only what is proved may lead to what the vault noted.
#[tokio::test]
async fn no_id_in_a_strangers_event_closes_the_vault() {
    let (vault, store) = (Vault::in_memory().unwrap(), MemoryStore::new());
    let open = || Oubliette::open(store.clone(), vault.clone(), Policy::sealed_by_default());
    let stream = |name| StreamName::new(name).unwrap();
    let bank = open().await.unwrap();
    let event = NewEvent::new(EventType::new("Said").unwrap(), Json::parse("[1]").unwrap());
    let append = Append::new(stream("user-1"), ExpectedRevision::Any, vec![event]);
    bank.append(vec![append]).await.unwrap();
    let subject = crate::event::Subject::new("user-1").unwrap();
    let erasure = bank.forget(&subject, "ticket 1").await.unwrap().erasure;
    let now = Timestamp::now();
    let stranger = SigningKey::generate().unwrap();
    for (about, at) in [
        (uuid::Uuid::nil(), now),
        (uuid::Uuid::from_u128(1), now),
        (uuid::Uuid::new_v4(), now),
        (now.new_uuid(), now),
        (erasure.0, erasure.at()),
    ] {
        let log = stranger.public().id();
        let members = format!(
            r#""format":1,"kind":"erasure","log":"{log}","about":"{about}","at":"{at}","epoch":1,"sealed":"AAAA""#
        );
        let signed = [
            signed_by(&stranger, &vault, &members, true),
            signed_by(&stranger, &vault, &members, false),
            said(&vault, &members, false),
        ];
        for (n, said) in signed.iter().enumerate() {
            // An id of notes of the vault's own.
            let events = [Some(EventId::random()), (n == 0).then_some(EventId(about))];
            for event in events.into_iter().flatten() {
                let said = said.to_event().unwrap().with_id(event);
                let append = Append::new(stream(ANNOUNCEMENTS), ExpectedRevision::Any, vec![said]);
                store.append(vec![append]).await.unwrap();
                let told = open().await.unwrap().witnessed();
                assert_eq!(told.unverifiable, [event], "{about} {event}");
            }
        }
    }
}

/// The vault was put back to between two attempts, and to before the eras for which the second is sealed.
#[tokio::test]
async fn an_attempt_that_opens_does_not_answer_for_one_that_does_not() {
    use crate::vault::{Dead, Destruction, Loss};
    let erasure = crate::event::ErasureId::now();
    let said_of = |vault: &Vault, record: &ErasureRecord| {
        let subject = crate::event::Subject::new("user-1").unwrap();
        let losses = vec![Loss { subject, dead: Dead::All }];
        let destruction = Destruction::new(erasure, losses);
        let decision = vault.decision(&destruction, &record.to_memo().unwrap()).unwrap();
        let draft = super::announce::Draft::of(&decision);
        draft.say(vault, EventId::random(), Some(&[]), None).unwrap()
    };
    let first = ErasureRecord { keys: 3, subjects: 2, ..ErasureRecord::attempted(erasure, 1) };
    let over = ErasureRecord { destroyed: true, ..first.clone() };
    for (record, is_over) in [(&first, false), (&over, true)] {
        for order in [[0, 1], [1, 0]] {
            let vault = Vault::in_memory().unwrap();
            let at = erasure.at();
            let members = format!(
                r#""format":1,"kind":"erasure","log":"AAAAAAAAAAAAAAAAAAAAAA","about":"{erasure}","at":"{at}","epoch":1,"sealed":"AAAA""#
            );
            let said = [said_of(&vault, record), said(&vault, &members, true)];
            let store = MemoryStore::new();
            let stream = StreamName::new(ANNOUNCEMENTS).unwrap();
            let events = order.map(|n| said[n].to_event().unwrap()).to_vec();
            let append = Append::new(stream, ExpectedRevision::Any, events);
            store.append(vec![append]).await.unwrap();
            let policy = Policy::sealed_by_default();
            let open = || Oubliette::open(store.clone(), vault.clone(), policy.clone());
            if !is_over {
                // Each time, though the first attempt is applied.
                for _ in 0..2 {
                    match open().await.map(drop) {
                        Err(ErasureError::Unclear(UnclearError::TooOld(doubts))) => {
                            let told = doubts.iter().map(|doubt| doubt.event);
                            assert_eq!(told.collect::<Vec<_>>(), [said[1].id()]);
                        }
                        other => panic!("{order:?} {other:?}"),
                    }
                }
                super::pass_over(&vault, &said, erasure.0).await.unwrap();
            }
            let bank = open().await.unwrap();
            let record = bank.erasures().unwrap().remove(0);
            assert_eq!(record.dealt_with.is_some(), !is_over, "{order:?}");
            // What the attempt took that was applied stays noted.
            assert_eq!((record.keys, record.subjects), (3, 2), "{order:?}");
            assert!(record.replayed.is_some(), "{order:?}");
        }
    }
}

/// Exports add it, and imports take it away.
#[tokio::test]
async fn no_announcement_has_a_member_id() {
    let (vault, store) = (Vault::in_memory().unwrap(), MemoryStore::new());
    let stream = StreamName::new(ANNOUNCEMENTS).unwrap();
    let id = EventId::random();
    let public = vault.as_signer(SigningKey::public).unwrap();
    let text = |sig: &str| {
        let (of, key) = (vault.id(), public.id());
        let members = format!(r#""format":1,"kind":"erasure",{REST},"id":"{id}""#);
        format!(r#"{{"vault":"{of}","public":"{public}","key":"{key}","sig":"{sig}",{members}}}"#)
    };
    let event = |text: &str| {
        let event_type = EventType::new(ANNOUNCED).unwrap();
        NewEvent::new(event_type, Json::parse(text).unwrap()).with_id(id)
    };
    let none = "A".repeat(86);
    let read = async |text: &str| {
        let store = MemoryStore::new();
        let events = vec![event(text)];
        store
            .append(vec![Append::new(stream.clone(), ExpectedRevision::Any, events)])
            .await
            .unwrap();
        super::announced(&store).await.unwrap().remove(0)
    };
    let unsigned = read(&text(&none)).await;
    let (_, sig) = vault.sign(|_| unsigned.signed_bytes()).unwrap();
    let events = vec![event(&text(&sig.to_string()))];
    store.append(vec![Append::new(stream.clone(), ExpectedRevision::Any, events)]).await.unwrap();
    let opened = Oubliette::open(store, vault, Policy::sealed_by_default()).await;
    assert!(
        matches!(opened, Err(ErasureError::Unclear(UnclearError::NotCarriedOut { .. }))),
        "{opened:?}"
    );
}

/// Which of two genuine statements of one erasure counts: an attacker who writes to the store chose it.
#[tokio::test]
async fn the_last_attempt_says_what_was_spared_in_whatever_order_the_store_has_them() {
    use crate::vault::{Dead, Destruction, KeyLookup, Loss};
    for (spares_first, lives) in [(false, true), (true, false)] {
        for order in [[0, 1], [1, 0]] {
            for at_once in [true, false] {
                let vault = Vault::in_memory().unwrap();
                let policy = "[[stream]]\nmatch = \"room-{id}\"\nsubject = \"user-{/author}\"\n";
                let policy = Policy::parse(policy).unwrap();
                let bank =
                    Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
                for room in ["room-1", "room-2"] {
                    let data = Json::parse(r#"{"author":1}"#).unwrap();
                    let said = NewEvent::new(EventType::new("Said").unwrap(), data);
                    let stream = StreamName::new(room).unwrap();
                    let append = Append::new(stream, ExpectedRevision::Any, vec![said]);
                    bank.append(vec![append]).await.unwrap();
                }
                let who = crate::event::Subject::of(&StreamName::new("user-1").unwrap());
                let keys = vault.keys_of(&who).unwrap();
                let erasure = crate::event::ErasureId::now();
                let said: Vec<_> = [1, 2]
                    .into_iter()
                    .map(|attempt| {
                        let losses = vec![Loss { subject: who.clone(), dead: Dead::All }];
                        let spares = (attempt == 1) == spares_first;
                        let spared = keys.iter().take(1).map(|key| key.id).filter(|_| spares);
                        let spared = spared.collect();
                        let destruction =
                            Destruction { spared, ..Destruction::new(erasure, losses) };
                        let record = ErasureRecord::attempted(erasure, attempt);
                        let decision =
                            vault.decision(&destruction, &record.to_memo().unwrap()).unwrap();
                        let draft = super::announce::Draft::of(&decision);
                        draft.say(&vault, EventId::random(), Some(&[]), None).unwrap()
                    })
                    .collect();
                let told = order.map(|n| said[n].clone());
                let (first, second) = told.split_at(if at_once { 2 } else { 1 });
                // What is dead stays so: of two at different times the earlier may be the one that spared.
                let dies_first = !at_once && order == [0, 1] && !spares_first;
                for some in [first, second] {
                    super::replay(&vault, some.to_vec()).await.unwrap();
                }
                let state = vault.opening_key(keys[0].id);
                let live = matches!(state, Ok(KeyLookup::Live { .. }));
                assert_eq!(live, lives && !dies_first, "{spares_first} {order:?} {at_once}");
                assert!(!matches!(vault.opening_key(keys[1].id), Ok(KeyLookup::Live { .. })));
            }
        }
    }
}

/// A bank with a subject whose erasure is journalled, as the vault has it then.
async fn forgotten() -> (Oubliette<MemoryStore>, Vault) {
    let vault = Vault::in_memory().unwrap();
    let policy = "[[stream]]\nmatch = \"account-{id}\"\nowner = [ { event = \"Opened\", add = \"{/owner}\" } ]\n";
    let policy = Policy::parse(policy).unwrap();
    let bank = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
    for (stream, name, data) in [
        ("user-1", "Registered", r#"{"name":"Erika"}"#),
        ("account-1", "Opened", r#"{"owner":"user-1"}"#),
        ("account-2", "Opened", r#"{"owner":"user-1"}"#),
    ] {
        let event = NewEvent::new(EventType::new(name).unwrap(), Json::parse(data).unwrap());
        let stream = StreamName::new(stream).unwrap();
        bank.append(vec![Append::new(stream, ExpectedRevision::Any, vec![event])]).await.unwrap();
    }
    (bank, vault)
}

#[tokio::test]
async fn no_other_bytes_are_read_for_a_journal_a_record_or_a_mark() {
    let (bank, vault) = forgotten().await;
    let subject = crate::event::Subject::new("user-1").unwrap();
    let plan = bank.plan(&subject).await.unwrap();
    let erasure = crate::event::ErasureId::now();
    let mut journal = Journal::new(erasure, "ticket 1".to_owned(), plan).unwrap();
    journal.try_anew();
    journal.tombstone_anew(&StreamName::new("a").unwrap());
    let text = memos::to_json(&journal).unwrap();
    let optional = ["taken", "through", "already", "generations"];
    let present: Vec<_> = optional
        .into_iter()
        .filter(|name| String::from_utf8_lossy(&text).contains(&format!("\"{name}\":")))
        .collect();
    assert!(present.contains(&"taken") && present.contains(&"through"));
    let kind = MemoKind::Journal;
    memos::tests::is_strict(kind, &text, &present, |text| {
        let read: Journal = memos::from_json(kind, text).ok()?;
        Some(memos::to_json(&read).unwrap())
    });

    let done = bank.forget(&subject, "ticket 1").await.unwrap().erasure;
    let record = ErasureRecord::find(&vault, done).unwrap().unwrap();
    let kind = MemoKind::Erasure;
    memos::tests::is_strict(kind, &record.to_memo().unwrap(), &["epoch"], |text| {
        let read: ErasureRecord = memos::from_json(kind, text).ok()?;
        Some(read.to_memo().unwrap())
    });
    assert!(ErasureRecord::read(erasure, &record.to_memo().unwrap()).is_err(), "of another");

    let kind = MemoKind::Witness;
    let mark = vault.memo(kind, [0; 16]).unwrap().unwrap();
    memos::tests::is_strict(kind, &mark, &["at", "tips", "seen"], |text| {
        let read: Mark = memos::from_json(kind, text).ok()?;
        Some(memos::to_json(&read).unwrap())
    });
}

/// What it takes is understood, what is noted of it is not: a later outcome, say.
#[tokio::test]
async fn an_announcement_whose_record_is_not_understood_closes_the_layer() {
    use crate::vault::{Dead, Destruction, Loss};
    let vault = Vault::in_memory().unwrap();
    let subject = crate::event::Subject::new("user-1").unwrap();
    let losses = vec![Loss { subject, dead: Dead::All }];
    let destruction = Destruction::new(crate::event::ErasureId::now(), losses);
    let record = br#"{"outcome":"deferred"}"#;
    let decision = vault.decision(&destruction, record).unwrap();
    let said =
        super::announce::Draft::of(&decision).say(&vault, EventId::random(), Some(&[]), None);
    let refused = opened_beside(&said.unwrap(), &vault).await.unwrap_err();
    assert!(
        matches!(refused, ErasureError::Unclear(UnclearError::NotCarriedOut { .. })),
        "{refused}"
    );
}

/// The memos that decide what happens on opening: a later one closes the layer, and is not written over.
#[tokio::test]
async fn what_a_newer_program_noted_closes_the_layer_and_stays() {
    let (bank, vault) = forgotten().await;
    let subject = crate::event::Subject::new("user-1").unwrap();
    let erasure = bank.forget(&subject, "ticket 1").await.unwrap().erasure;
    drop(bank);
    for (kind, id) in [
        (MemoKind::Journal, erasure.0.into_bytes()),
        (MemoKind::Witness, [0; 16]),
        (MemoKind::Witness, 1_u128.to_be_bytes()),
    ] {
        let content = vault.memo(kind, id).unwrap();
        vault.put_newer_memo(kind, id, b"{\"new\":1}").await.unwrap();
        let policy = Policy::sealed_by_default();
        let opened = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await;
        let error = opened.map(drop).unwrap_err();
        assert!(error.to_string().contains("written by a newer program"), "{kind:?}: {error}");
        let read = vault.memo(kind, id);
        assert!(matches!(read, Err(VaultError::NewerFormat { found: 2, .. })), "{kind:?}");
        match content {
            Some(content) => vault.put_memo(kind, id, &content).await.unwrap(),
            None => vault.remove_memo(kind, id).await.unwrap(),
        }
    }
}
