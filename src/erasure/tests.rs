//! What a vault announced and this version does not carry out is never passed over.

use crate::{
    erasure::ErasureError,
    event::{
        ANNOUNCED, ANNOUNCEMENTS, Announcement, EventId, EventType, Json, NewEvent, StreamName,
    },
    layer::Oubliette,
    policy::Policy,
    store::{Append, EventStore, ExpectedRevision, MemoryStore},
    vault::Vault,
};

/// An announcement with these members, signed by the vault if it is to be.
fn said(vault: &Vault, members: &str, signed: bool) -> Announcement {
    let (id, of) = (EventId::random(), vault.id());
    let line = |key: &str, sig: &str| -> Announcement {
        format!(r#"{{"id":"{id}","vault":"{of}","key":"{key}","sig":"{sig}",{members}}}"#)
            .parse()
            .unwrap()
    };
    let none = "A".repeat(86);
    let (key, sig) = vault.sign(|key| line(&key.to_string(), &none).signed_bytes()).unwrap();
    line(&key.to_string(), &if signed { sig.to_string() } else { none })
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

const REST: &str = r#""log":1,"about":"01890a5d-ac96-774b-bcce-b302099a8057","at":"2026-11-28T00:00:00Z","epoch":1,"sealed":"AAAA""#;

#[tokio::test]
async fn what_this_version_does_not_carry_out_closes_it_by_name_and_a_forgery_does_not() {
    let vault = Vault::in_memory().unwrap();
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
    for (members, name) in told {
        let genuine = said(&vault, &members, true);
        match opened_beside(&genuine, &vault).await {
            Err(error @ ErasureError::NotCarriedOut { .. }) => {
                let text = error.to_string();
                assert!(text.contains(&name) && text.contains(&genuine.id().to_string()), "{text}");
            }
            other => panic!("{members}: {other:?}"),
        }
        opened_beside(&said(&vault, &members, false), &vault).await.unwrap();
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
    assert_eq!(bank.witnessed(), Default::default());
}
