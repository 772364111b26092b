//! Tombstones that somebody else wrote, before a vault that knows the erasure.

use oubliette::{
    audit::{Finding, Location, verify::Defect},
    event::{Content, EventId, EventType, NewEvent, RecordedEvent, SUBJECT_FORGOTTEN},
    layer::Oubliette,
    store::MemoryStore,
    vault::internals::Plumbing as _,
};
use serde_json::Value;

use super::{found, kinds, meddled, note, peopled, plant, plant_as, raw, value};
use crate::common::{
    all, bank_policy, event, everything, json, layer, layer_over, put, shape, stream, subject,
};

/// The id and the signature of nobody.
fn unsigned(mut tombstone: Value) -> Value {
    tombstone["key"] = "A".repeat(22).into();
    tombstone["sig"] = "A".repeat(86).into();
    tombstone
}

/// All that it says is so. It is not the vault that says it.
#[tokio::test]
async fn a_tombstone_that_was_overwritten_in_its_place_counts_no_more_and_is_missed() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    for drop_keys in [true, false] {
        let other = meddled(&bank, |event| {
            if event.is_tombstone() {
                let mut tombstone = unsigned(value(event));
                if drop_keys {
                    tombstone["keys"] = Value::Array(vec![]);
                }
                event.data = Some(json(&tombstone.to_string()).into());
            }
        });
        let other = other.await;
        for (name, expected) in
            [("user-1", "pf"), ("bankaccount-1", "pf"), ("room-selfhelp", "pcf")]
        {
            assert_eq!(shape(&all(&other, name).await), expected, "{name}");
        }
        let told = kinds(&other).await;
        assert_eq!(told, [Defect::TombstonesMissing, Defect::UnknownSigner].into(), "{told:?}");
    }
}

/// It is so, and was so before she was admitted again.
#[tokio::test]
async fn a_tombstone_that_is_set_once_more_over_somebody_admitted_again_says_nothing() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    bank.reopen(&subject("user-1")).await.unwrap();
    put(&bank, "user-1", event("UserRegistered", r#"{"id":1,"name":"Erika again"}"#))
        .await
        .unwrap();
    let tombstone =
        |event: &RecordedEvent| event.is_tombstone() && event.stream == stream("user-public-1");
    let genuine = raw(bank.store()).await.into_iter().find(tombstone).unwrap();
    let mut bit = value(&genuine);
    let key = bit["key"].as_str().unwrap().to_owned();
    let first = if key.starts_with('A') { "B" } else { "A" };
    bit["key"] = [first, &key[1..]].concat().into();
    assert!(kinds(&bank).await.is_empty());
    // The last one is a copy, under another id.
    for forged in [unsigned(value(&genuine)), bit, value(&genuine)] {
        let event_type = EventType::new(SUBJECT_FORGOTTEN).unwrap();
        let event = NewEvent::new(event_type, json(&forged.to_string()));
        let noted = note(r#"{"stream":"user-1"}"#).unwrap();
        plant_as(&bank, "user-public-1", event.with_metadata(noted)).await;
        let read = all(&bank, "user-1").await;
        assert!(shape(&read).starts_with("ptc") && shape(&read).ends_with('f'), "{}", shape(&read));
        assert!(read.last().unwrap().tombstone.is_none());
    }
    assert_eq!(kinds(&bank).await, [Defect::ForgedTombstone, Defect::UnknownSigner].into());
}

#[tokio::test]
async fn a_forged_tombstone_forgets_nobody_and_is_named_as_forged() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let genuine = raw(bank.store()).await;
    let genuine = genuine
        .iter()
        .find(|event| event.stream == stream("bankaccount-1") && event.is_tombstone());
    let genuine = value(genuine.unwrap());
    let living = bank.vault().unwrap().keys_of(&subject("user-2")).unwrap()[0].id.to_string();
    let with = |changes: &[(&str, Value)]| {
        let mut changed = genuine.clone();
        for (name, value) in changes {
            changed[*name] = value.clone();
        }
        json(&changed.to_string())
    };
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    let forgeries = [
        // A genuine one, set once more; then changed in each of its parts.
        with(&[]),
        with(&[("subject", "user-2".into())]),
        with(&[("keys", vec![living.clone()].into())]),
        with(&[("day", "2020-01-01".into())]),
        with(&[("ref", unknown.into())]),
        with(&[("key", unknown.into())]),
        // Of no vault at all, with a living key and without.
        with(&[("key", unknown.into()), ("keys", vec![living].into())]),
        with(&[("key", unknown.into()), ("keys", Value::Array(vec![]))]),
        // As it was written once.
        json(r#"{"erasure":"01890a5d-ac96-774b-bcce-b302099a8057","keys":[]}"#),
        with(&[("state", "suspended".into())]),
    ];
    for forgery in &forgeries {
        plant(&bank, "user-public-2", forgery).await;
    }
    let read = all(&bank, "user-2").await;
    assert_eq!(shape(&read), format!("c{}", "f".repeat(forgeries.len())));
    assert!(read.iter().all(|event| event.tombstone.is_none()));
    assert!(matches!(read[1].content(), Content::Unverified(_)));
    // Nor by the name of the public half, nor among all events.
    assert!(all(&bank, "user-public-2").await.iter().all(|event| event.tombstone.is_none()));
    let everywhere = everything(&bank).await;
    assert_eq!(everywhere.iter().filter(|event| event.tombstone.is_some()).count(), 3);

    let found = found(&bank).await;
    assert_eq!(found.len(), forgeries.len(), "{found:?}");
    for finding in &found {
        let remedy = match finding.kind {
            Defect::ForgedTombstone => "forged",
            Defect::UnknownSigner => "it does not count",
            _ => panic!("{finding:?}"),
        };
        assert!(finding.remedy.starts_with(remedy), "{}", finding.remedy);
        assert!(!finding.remedy.contains("forget the subject"), "{}", finding.remedy);
        // Nobody announces such an erasure, so that there is nothing to be believed.
        assert!(!finding.remedy.contains("erasure::"), "{}", finding.remedy);
        assert!(!finding.what.contains("Otto"), "{finding:?}");
        let Location::Event { id, .. } = &finding.at else { panic!("{finding:?}") };
        assert!(finding.what.contains(&id.to_string()), "{finding:?}");
        let names = finding.signer.is_none_or(|signer| finding.what.contains(&signer.to_string()));
        assert!(names, "{finding:?}");
    }
    let key = genuine["key"].as_str().unwrap();
    let of = |signer: &str| {
        let is_it =
            |finding: &&Finding<Defect>| finding.signer.is_some_and(|s| s.to_string() == signer);
        found.iter().filter(is_it).count()
    };
    assert_eq!((of(key), of(unknown)), (5, 3));
    // Nobody was forgotten by it: she still can be, once.
    let erased = bank.forget(&subject("user-2"), "asked").await.unwrap();
    assert!(!erased.already && erased.keys > 0);
}

#[tokio::test]
async fn a_tombstone_counts_only_where_it_was_set() {
    let bank = layer().await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let events = raw(bank.store()).await;
    let is_it =
        |event: &&RecordedEvent| event.is_tombstone() && event.stream == stream("bankaccount-1");
    let genuine = events.iter().find(is_it).unwrap();
    // The same event in the store of a test system with the same vault: as it was, in another stream, under
    // another id.
    for (to, id, expected) in [
        ("bankaccount-1", genuine.id, "t"),
        ("room-other", genuine.id, "f"),
        ("bankaccount-1", EventId::random(), "f"),
    ] {
        let copy = NewEvent::new(genuine.event_type.clone(), genuine.data.clone().unwrap());
        let vault = bank.vault().unwrap().clone();
        let other = Oubliette::open(MemoryStore::new(), vault, bank_policy()).await.unwrap();
        plant_as(&other, to, copy.with_id(id)).await;
        assert_eq!(shape(&all(&other, to).await), expected, "{to}");
        let forged = kinds(&other).await.contains(&Defect::ForgedTombstone);
        assert_eq!(forged, expected == "f", "{to}");
    }
}

#[tokio::test]
async fn the_tombstones_of_another_vault_on_the_same_store_are_told_from_forged_ones() {
    let store = MemoryStore::new();
    let ours = layer_over(store.clone()).await;
    peopled(&ours).await;
    let theirs = layer_over(store).await;
    put(&theirs, "member-7", event("Joined", r#"{"name":"Max"}"#)).await.unwrap();
    theirs.forget(&subject("member-7"), "asked").await.unwrap();
    let found = found(&ours).await;
    let kinds: Vec<Defect> = found.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&Defect::ForeignTombstone), "{kinds:?}");
    assert!(!kinds.contains(&Defect::ForgedTombstone), "{kinds:?}");
}
