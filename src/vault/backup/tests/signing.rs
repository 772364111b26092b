//! Anyone who finds a backup cannot sign.

use std::sync::Arc;

use super::*;
use crate::{
    erasure::{ErasureError, KeyChange, UnclearError, change_key},
    vault::{
        KeyOrigin, Successor, Vouched,
        records::{memos, places},
    },
};

#[tokio::test]
async fn the_secret_that_signs_is_in_no_backup() {
    let place = Place::new();
    let vault = place.vault();
    key(&vault, "a", "a").await.unwrap();
    let secrets = vault.memos(MemoKind::SigningSecret).unwrap();
    let [(_, secret)] = secrets.as_slice() else { panic!("one key, one secret") };
    // Also where it is written while the backup is made.
    let (within, changed) = (vault.clone(), secret.clone());
    let progress = move |_| {
        let place = places::memo(MemoKind::SigningSecret, &[7; 16]);
        let changes = within.shared().disk.set_whole(&place, &memos::stored(&changed)).unwrap();
        within.shared().disk.put(changes).unwrap();
    };
    let path = place.path("copy.age");
    vault.back_up(&path, &place.recipients(), in_days(1), progress).await.unwrap();
    assert_eq!(vault.memos(MemoKind::SigningSecret).unwrap().len(), 2);
    let opened = place.open("copy.age");
    let public = vault.signing_keys().unwrap()[0].public.to_string();
    let holds = |needle: &[u8]| opened.windows(needle.len()).any(|window| window == needle);
    assert!(holds(public.as_bytes()));
    assert!(!holds(secret.as_slice()));
}

/// Nor the successor's, nor that of a key that was replaced; and neither is left in the vault.
#[tokio::test]
async fn no_secret_of_any_key_is_in_a_backup_also_while_the_key_changes() {
    let place = Place::new();
    let vault = place.vault();
    let mut secrets = vec![secret_of(&vault)];
    let successor = Arc::new(Successor::generate(vault.id()).unwrap());
    secrets.push(successor.key().secret().to_vec());
    change_key(&vault, &KeyChange::Pin(Arc::clone(&successor))).await.unwrap();
    assert_eq!(vault.memos(MemoKind::SigningSecret).unwrap().len(), 1);
    let within = vault.clone();
    let (path, recipients) = (place.path("copy.age"), place.recipients());
    let (go, mut wait) = tokio::sync::mpsc::unbounded_channel();
    let making = vault.back_up(&path, &recipients, in_days(1), move |_| {
        let _ = go.send(());
    });
    let changing = async {
        let _ = wait.recv().await;
        let successor = Some(Arc::clone(&successor));
        let rotate = KeyChange::Rotate { successor, compromised: None, without_successor: false };
        change_key(&within, &rotate).await.unwrap();
        let rotate =
            KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
        change_key(&within, &rotate).await.unwrap();
    };
    let (made, ()) = tokio::join!(making, changing);
    made.unwrap();
    place.back_up(&vault, "after.age").await.unwrap();
    secrets.push(secret_of(&vault));
    assert_eq!(vault.memos(MemoKind::SigningSecret).unwrap().len(), 1, "the earlier are destroyed");
    assert!(!secrets[..2].contains(&secrets[2]));
    for file in ["copy.age", "after.age"] {
        let opened = place.open(file);
        for secret in &secrets {
            let text = {
                let mut text = String::new();
                crate::crypto::base64url::encode(secret, &mut text);
                text
            };
            for needle in [secret.as_slice(), text.as_bytes()] {
                assert!(!opened.windows(needle.len()).any(|window| window == needle), "{file}");
            }
        }
    }
}

fn secret_of(vault: &Vault) -> Vec<u8> {
    let secrets = vault.memos(MemoKind::SigningSecret).unwrap();
    let [(_, secret)] = secrets.as_slice() else { panic!("one key, one secret") };
    secret.to_vec()
}

/// The vault is lost, and so is the key. What the restored one announces by a key of its own only it
/// knows; under the successor everybody does.
#[tokio::test]
async fn what_a_restored_vault_says_counts_once_it_says_it_under_the_successor() {
    use crate::{layer::Oubliette, policy::Policy, store::MemoryStore};
    let place = Place::new();
    let vault = place.vault();
    let store = MemoryStore::new();
    let over = |vault: Vault| Oubliette::open(store.clone(), vault, Policy::parse("").unwrap());
    for who in ["user-1", "user-2"] {
        key(&vault, who, who).await.unwrap();
    }
    let successor = Arc::new(Successor::generate(vault.id()).unwrap());
    change_key(&vault, &KeyChange::Pin(Arc::clone(&successor))).await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    drop(vault);

    place.restore("copy.age").unwrap();
    let bank = over(place.restored()).await.unwrap();
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let signs = |vault: &Vault| vault.signing_keys().unwrap().last().unwrap().key;
    let log = bank.vault().unwrap().log().unwrap();
    assert_eq!(log, signs(bank.vault().unwrap()));
    let rotate = KeyChange::Rotate {
        successor: Some(Arc::clone(&successor)),
        compromised: None,
        without_successor: false,
    };
    let origins = |vault: &Vault| -> Vec<_> {
        vault.signing_keys().unwrap().iter().map(|info| info.origin).collect()
    };
    let restore_again = || {
        std::fs::remove_dir_all(place.path("restored")).unwrap();
        std::fs::remove_file(place.path("restored.root")).unwrap();
        place.restore("copy.age").unwrap();
        place.restored()
    };
    let image = (place.path("restored"), place.path("moved"));
    change_key(bank.vault().unwrap(), &rotate).await.unwrap();
    let own = origins(bank.vault().unwrap());
    assert_eq!(own, [KeyOrigin::Created, KeyOrigin::Restored, KeyOrigin::Successor]);
    // Until the store has heard of it, nobody can tell who forgot user-1.
    drop(bank);
    std::fs::rename(&image.0, &image.1).unwrap();
    std::fs::rename(place.path("restored.root"), place.path("moved.root")).unwrap();
    place.restore("copy.age").unwrap();
    let closed = over(place.restored()).await.unwrap_err();
    assert!(matches!(closed, ErasureError::Unclear(UnclearError::UnknownSigner(_))), "{closed}");

    let moved = Vault::open_as(&image.1, &place.path("moved.root"), crate::vault::OpenAs::TheOne);
    let bank = over(moved.unwrap()).await.unwrap();
    assert_eq!(bank.witnessed(), Default::default());
    drop(bank);
    let bank = over(restore_again()).await.unwrap();
    let told = bank.witnessed();
    assert_eq!((told.replayed.len(), told.keys), (1, vec![successor.id()]));
    let vault = bank.vault().unwrap();
    assert_eq!(origins(vault), [KeyOrigin::Created, KeyOrigin::Successor, KeyOrigin::Restored]);
    assert!(vault.is_closed(&subject("user-1")).unwrap());
    // Two restorations of one backup are two logs.
    let again = vault.log().unwrap();
    assert_eq!(again, signs(vault));
    assert_ne!(again, log);
}

/// Folder and slot of a restored vault were stolen: the key that it made is the thief's as well as the one
/// whose place the successor takes.
#[tokio::test]
async fn the_successor_distrusts_what_a_restored_vault_signed_with_too() {
    use crate::erasure::{Compromised, KeyChangeError};
    let place = Place::new();
    let vault = place.vault();
    let successor = Arc::new(Successor::generate(vault.id()).unwrap());
    change_key(&vault, &KeyChange::Pin(Arc::clone(&successor))).await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    place.restore("copy.age").unwrap();
    let restored = place.restored();
    let first = restored.signing_keys().unwrap()[0].key;
    // While a successor waits for it, that is what distrusts the first.
    let since = Timestamp::now();
    let distrust = KeyChange::Distrust(Compromised { since, keys: vec![first] });
    let told = change_key(&restored, &distrust).await.unwrap_err();
    let waits = |told: &_| {
        matches!(told, KeyChangeError::SuccessorWaits { key, successor: by }
            if (*key, *by) == (first, successor.id()))
    };
    assert!(waits(&told), "{told}");
    let rotate = KeyChange::Rotate {
        successor: Some(Arc::clone(&successor)),
        compromised: Some(Compromised { since, keys: vec![] }),
        without_successor: false,
    };
    change_key(&restored, &rotate).await.unwrap();
    let keys = restored.signing_keys().unwrap();
    let told: Vec<_> = keys.iter().map(|info| (info.origin, info.compromised.is_some())).collect();
    use KeyOrigin::{Created, Restored, Successor as Pinned};
    assert_eq!(told, [(Created, true), (Restored, true), (Pinned, false)]);
    // The pin, the change and the distrust wait for the event store, and survive closing.
    assert_eq!(restored.unsaid().unwrap().statements.len(), 3);
    drop(restored);
    assert_eq!(place.restored().unsaid().unwrap().statements.len(), 3);
    // The vault that was not lost takes the change, and knows nothing of the other key.
    let said = place.restored().unsaid().unwrap().statements;
    let mut own = vault.signing_history().unwrap();
    let learned = own.learn_all(&said.iter().collect::<Vec<_>>());
    assert_eq!((learned.len(), own.learn(&said[2])), (1, Ok(false)));
}

#[tokio::test]
async fn a_restored_vault_signs_with_a_key_of_its_own_and_knows_the_earlier_ones() {
    let place = Place::new();
    let vault = place.vault();
    let message = b"said before".to_vec();
    let (before, signature) = vault.sign(|_| message.clone()).unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    let backup = place.read("copy.age").unwrap();
    assert_eq!(backup.signing_history().judge(before, &message, &signature), Vouched::Ours);
    assert_eq!(backup.signing_history().judge(before, b"another", &signature), Vouched::Forged);
    place.restore("copy.age").unwrap();

    let again = place.restored();
    let keys = again.signing_keys().unwrap();
    let origins: Vec<_> = keys.iter().map(|key| key.origin).collect();
    assert_eq!(origins, [KeyOrigin::Created, KeyOrigin::Restored]);
    assert_eq!(again.vouches(before, &message, &signature).unwrap(), Vouched::Ours);
    let (now, signature) = again.sign(|_| message.clone()).unwrap();
    assert_eq!(now, keys[1].key);
    assert_ne!(now, before);
    assert_eq!(again.vouches(now, &message, &signature).unwrap(), Vouched::Ours);
    // The vault that was not lost knows nothing of it: what a finder of the backup signs is not its word.
    assert_eq!(vault.vouches(now, &message, &signature).unwrap(), Vouched::UnknownKey);
    drop(again);
    assert_eq!(place.restored().signing_keys().unwrap(), keys, "opened again, it stays so");
}

/// The key that seals announcements is in every backup. Before they were signed, this sufficed
/// to have anybody forgotten.
#[tokio::test]
async fn whoever_finds_a_backup_has_nobody_forgotten() {
    use crate::{
        event::{EventType, Json, NewEvent},
        layer::Oubliette,
        policy::Policy,
        store::{Append, EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
    };
    let place = Place::new();
    let store = MemoryStore::new();
    let nothing_public = || Policy::parse("").unwrap();
    let bank = Oubliette::open(store.clone(), place.vault(), nothing_public()).await.unwrap();
    let name = stream("user-1");
    let registered =
        NewEvent::new(EventType::new("A").unwrap(), Json::parse(r#"{"a":1}"#).unwrap());
    bank.append_to(&name, ExpectedRevision::Any, vec![registered]).await.unwrap();
    place.back_up(bank.vault().unwrap(), "copy.age").await.unwrap();
    let vault = bank.vault().unwrap().clone();

    // The finder restores it, and forgets her over a store of their own.
    place.restore("copy.age").unwrap();
    let theirs =
        Oubliette::open(MemoryStore::new(), place.restored(), nothing_public()).await.unwrap();
    theirs.forget(&subject("user-1"), "out of malice").await.unwrap();
    let erasures = crate::event::StreamName::new(crate::event::ANNOUNCEMENTS).unwrap();
    let announced = theirs.store().events(&erasures, ReadOptions::default()).await.unwrap();
    let [announced] = announced.as_slice() else { panic!("one announcement") };
    let planted = NewEvent::new(announced.event_type.clone(), announced.data.clone().unwrap());
    let append =
        Append::new(erasures.clone(), ExpectedRevision::Any, vec![planted.with_id(announced.id)]);
    crate::store::EventStore::append(&store, vec![append]).await.unwrap();

    drop(bank);
    // It opens, and might be an earlier vault's own word: nobody but the operator can tell.
    let closed = Oubliette::open(store.clone(), vault.clone(), nothing_public()).await.unwrap_err();
    let ErasureError::Unclear(UnclearError::UnknownSigner(erasures)) = closed else {
        panic!("{closed}")
    };
    assert_eq!((erasures.len(), erasures[0].event), (1, announced.id));
    let said = crate::erasure::announced(&store).await.unwrap();
    crate::erasure::pass_over(&vault, &said, erasures[0].event.0).await.unwrap();
    let bank = Oubliette::open(store, vault, nothing_public()).await.unwrap();
    assert_eq!(bank.witnessed().replayed, []);
    assert_eq!(bank.witnessed().unverifiable, [announced.id]);
    let read = bank.events(&name, ReadOptions::default()).await.unwrap();
    assert!(read[0].data.is_some() && read[0].shredded.is_empty());
    // Nor by a file of announcements.
    let exported = crate::erasure::export(theirs.vault().unwrap());
    let exported: Vec<_> = exported.map(Result::unwrap).collect();
    let replayed = bank.replay(exported).await;
    assert!(
        matches!(replayed, Err(ErasureError::Unclear(UnclearError::UnknownSigner(_)))),
        "{replayed:?}"
    );
    assert!(bank.events(&name, ReadOptions::default()).await.unwrap()[0].data.is_some());
}
