//! Two vaults over one event store: each knows its own, and judges nothing of the other's.

use super::*;

/// A bank and another one, over one store. Both write to room-1 and to bankaccount-1.
async fn two_banks() -> [Oubliette<MemoryStore>; 2] {
    let store = MemoryStore::new();
    let ours = layer_over(store.clone()).await;
    put(&ours, "user-1", event("UserRegistered", r#"{"id":1,"name":"Erika"}"#)).await.unwrap();
    let opened = |owner: &str| format!(r#"{{"owner":"{owner}","memo":"first"}}"#);
    put(&ours, "bankaccount-1", event("AccountOpened", &opened("user-1"))).await.unwrap();
    put(&ours, "room-1", event("Said", r#"{"author":"1","text":"hello"}"#)).await.unwrap();
    let theirs = layer_over(store).await;
    put(&theirs, "user-7", event("UserRegistered", r#"{"id":7,"name":"Max"}"#)).await.unwrap();
    for account in ["bankaccount-7", "bankaccount-1"] {
        put(&theirs, account, event("AccountOpened", &opened("user-7"))).await.unwrap();
    }
    put(&theirs, "ledger-7", event("LedgerOpened", r#"{"account":"bankaccount-7","memo":"m"}"#))
        .await
        .unwrap();
    put(&theirs, "room-1", event("Said", r#"{"author":"7","text":"hello"}"#)).await.unwrap();
    // In clear: all of it is public there.
    put(&theirs, "bankaccount-9", event("AccountTransferred", r#"{"newOwner":"user-8"}"#))
        .await
        .unwrap();
    [ours, theirs]
}

/// What `verify` tells, but for notices of the other's events.
async fn told(bank: &Oubliette<MemoryStore>) -> Vec<(Defect, String)> {
    let (_, found) = verify(bank).await;
    kinds(&found).into_iter().filter(|(kind, _)| *kind != Defect::OtherVault).collect()
}

#[tokio::test]
async fn what_another_vaults_events_state_is_nothing_of_this_ones() {
    let [ours, theirs] = two_banks().await;
    for (bank, others) in [(&ours, 6), (&theirs, 3)] {
        let (report, found) = verify(bank).await;
        assert_eq!(kinds(&found).iter().filter(|(kind, _)| *kind != Defect::OtherVault).count(), 0);
        assert_eq!(report.found[&Defect::OtherVault], others, "{found:?}");
        assert!(report.is_clean());
        assert_eq!((report.events.other_vaults, report.events.unknown), (others, 0));
        let rebuilt = bank.rebuild_owners(true).await.unwrap();
        assert_eq!((rebuilt.left, rebuilt.mended), (vec![], 0));
        let compared = bank.compare_policy(&bank_policy()).await.unwrap();
        assert_eq!((compared.owners_not_noted, compared.other_subject), (0, 0));
    }
}

#[tokio::test]
async fn tombstones_of_another_vault_are_its_own_also_in_a_stream_of_both() {
    let [ours, theirs] = two_banks().await;
    let options = oubliette::erasure::ForgetOptions {
        despite_unknown_keys: true,
        despite_unsealed: true,
        ..Default::default()
    };
    theirs.forget_with(&subject("user-7"), "asked", options, |_| {}).await.unwrap();
    let found = told(&ours).await;
    assert!(found.iter().all(|(kind, _)| *kind == Defect::ForeignTombstone), "{found:?}");
    let streams: BTreeSet<_> = found.iter().map(|(_, stream)| stream.as_str()).collect();
    assert!(streams.contains("room-1") && streams.contains("bankaccount-1"), "{streams:?}");
    assert_eq!(told(&theirs).await, []);
    // Where the other writes nothing, somebody forged it; and wherever it names a key of ours.
    let theirs = everything(theirs.store()).await;
    let tombstone = theirs.iter().rfind(|event| event.is_tombstone()).unwrap();
    let mut planted = again(tombstone);
    planted.metadata = Some(json(r#"{"$oubliette":{"stream":"user-1"}}"#));
    plant(&ours, "user-public-1", planted).await;
    let found = told(&ours).await;
    assert!(found.contains(&(Defect::UnknownSigner, "user-1".into())), "{found:?}");
}

/// The other vault knows that nobody can open it any more; this one cannot.
#[tokio::test]
async fn a_half_that_another_vaults_store_purged_is_that_vaults() {
    let [ours, theirs] = two_banks().await;
    let kept = |event: &RecordedEvent| event.stream != stream("user-private-7");
    let store = MemoryStore::new();
    for old in everything(theirs.store()).await.iter().filter(|event| kept(event)) {
        let mut same = again(old);
        same.id = old.id;
        let append = Append::new(old.stream.clone(), ExpectedRevision::Any, vec![same]);
        store.append(vec![append]).await.unwrap();
    }
    let over = async |bank: &Oubliette<MemoryStore>| {
        let vault = bank.vault().unwrap().clone();
        Oubliette::open(store.clone(), vault, bank_policy()).await.unwrap()
    };
    assert_eq!(told(&over(&ours).await).await, []);
    let found = told(&over(&theirs).await).await;
    assert!(found.contains(&(Defect::HalfMissing, "user-7".into())), "{found:?}");
}

/// A tag that names another vault proves nothing: it hides neither an event of ours, nor what is
/// there in clear of somebody who is forgotten.
#[tokio::test]
async fn nothing_of_this_vaults_hides_behind_the_tag_of_another() {
    let [ours, _theirs] = two_banks().await;
    let mac = |event: &RecordedEvent| {
        let text = event.metadata.as_ref().unwrap().as_str().to_owned();
        let (_, after) = text.split_once(r#""mac":""#).unwrap();
        after.split_once('"').unwrap().0.to_owned()
    };
    let all = everything(ours.store()).await;
    let of = |name: &str| all.iter().find(|event| event.stream == stream(name)).unwrap();
    let (room, other) = (of("room-1"), of("ledger-7"));
    let swapped = async |bank: &Oubliette<MemoryStore>| {
        let store = MemoryStore::new();
        let mut event = again(room);
        event.id = room.id;
        let text = room.metadata.as_ref().unwrap().as_str();
        event.metadata = Some(json(&text.replace(&mac(room), &mac(other))));
        let append = Append::new(room.stream.clone(), ExpectedRevision::Any, vec![event]);
        store.append(vec![append]).await.unwrap();
        let vault = bank.vault().unwrap().clone();
        // Without what the vault announced.
        let over = Oubliette::unresumed(store, vault, bank_policy());
        let found = told(&over).await.into_iter().filter(|(_, at)| at == "room-1");
        found.map(|(kind, _)| kind).filter(|kind| *kind != Defect::UnusedKey).collect::<Vec<_>>()
    };
    assert_eq!(swapped(&ours).await, [Defect::TagMissing]);
    let options = oubliette::erasure::ForgetOptions {
        despite_unknown_keys: true,
        despite_unsealed: true,
        ..Default::default()
    };
    ours.forget_with(&subject("user-1"), "asked", options, |_| {}).await.unwrap();
    assert_eq!(swapped(&ours).await, [Defect::Untagged]);
    // In clear, under the other's tag.
    let mut planted = event("Said", r#"{"author":"1","text":"Erika was here"}"#);
    planted.metadata = Some(json(&format!(r#"{{"$oubliette":{{"mac":"{}"}}}}"#, mac(other))));
    plant(&ours, "room-1", planted).await;
    let found = told(&ours).await;
    assert!(found.contains(&(Defect::ForgottenInClear, "room-1".into())), "{found:?}");
}
